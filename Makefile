# Every target makes its own environment in .venv; the second time that costs nothing.
# Another interpreter: make PYTHON=python3.12 test. Another environment: make VENV=/some/where test.

PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= dev
# Processes that run the tests, each on one thread; what a file's tests share is made once, so files stay together.
TEST_WORKERS ?= 2
# The release that constraints.txt is made with; a plain CPU build stands for all of its builds.
TORCH ?= 2.13.0

PY := "$(VENV)/bin/python"
# Written after the last step of an installation: an interrupted one is never taken for whole.
STAMP := $(VENV)/.installed

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# The shell decides, not make: make's own functions split paths at spaces.
WITH_DATA := if [ -z "$${SER_DATA_DIR-}" ] && [ -d ../shared/data ]; then SER_DATA_DIR=$$(cd ../shared/data && pwd -P); export SER_DATA_DIR; fi;

define CHECK_PYTHON
command -v "$(PYTHON)" >/dev/null || { echo "error: '$(PYTHON)' was not found; name a Python 3.11 or newer: make PYTHON=/path/to/python3" >&2; exit 1; }; \
"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: '$(PYTHON)' is $$("$(PYTHON)" -V 2>&1), but 3.11 or newer is needed; name another: make PYTHON=python3.12" >&2; exit 1; }; \
"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "error: '$(PYTHON)' cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
endef

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: no-interpreter help demo test lint format bench experiments heads layers report lock clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-11s %s\n", $$1, $$2}' Makefile

demo: $(STAMP)  ## Train on real speech, save, and classify an unseen speaker's clips
	@$(WITH_DATA) exec $(PY) -m speech_emotion.cli demo

test: $(STAMP)  ## Run the tests and the examples in the docstrings
	@$(WITH_DATA) exec $(PY) -m pytest -n $(TEST_WORKERS) --dist loadfile

lint: $(STAMP)  ## Check style and formatting
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

format: $(STAMP)  ## Mend style and formatting where ruff can
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

bench: $(STAMP)  ## Run every benchmark and write benchmarks/RESULTS.md
	@$(WITH_DATA) exec $(PY) -m benchmarks

# The paper's models in the tables are half as wide as the default, without dropout of attention weights (which keeps
# torch's fused attention away on a CPU), and learn for 800 steps each: what 2 cores can do for every fold and seed.
COMPACT := --set hidden_size=64 attention_dropout=0 learning_rate=0.002 max_steps=800
HEAD_MODEL := --use_cpu true --hidden_size 64 --attention_dropout 0 --learning_rate 0.002 --max_steps 800 --overwrite_output_dir true
COMPARE := $(PY) cross_validate.py --seeds 0 1 2 --workers 2 --threads 1
CONDITIONS := emodb ravdess ased ased-common ased-own
OF_OTHERS := satt-2017 yenigalla-2018-spectrogram yenigalla-2018-phonemes yenigalla-2018-combined lee-2015 lakomkin-2017

experiments: $(STAMP)  ## Compute the folds that results/ lacks (a day, on 2 cores), then write the tables
	@$(PY) -m pip install --quiet --constraint constraints.txt --editable ".[$(EXTRAS),bench]"
	@$(WITH_DATA) set -e; \
	$(COMPARE) --corpora $(CONDITIONS) --systems model-1 model-2 model-3 $(COMPACT); \
	$(COMPARE) --corpora emodb ravdess ased --systems model-1-best opensmile-compare-svm model-3-functionals; \
	$(COMPARE) --corpora ravdess --systems model-1-average-best; \
	$(COMPARE) --corpora ased-imbalanced --systems model-1 model-1-ensemble model-1-average $(COMPACT); \
	$(COMPARE) --corpora $(CONDITIONS) --systems model-1-ensemble model-2-ensemble model-3-ensemble $(COMPACT); \
	$(COMPARE) --corpora ased-common ased-own --systems opensmile-compare-svm; \
	$(COMPARE) --corpora emodb --systems model-1-permuted $(COMPACT); \
	$(COMPARE) --corpora ased-own ased-common emodb --systems model-2-shuffled $(COMPACT); \
	$(COMPARE) --corpora ased-imbalanced $(COMPACT) \
		--systems model-3 model-3-late model-1-class-weights model-1-oversampling model-1-focal; \
	$(COMPARE) --corpora emodb --systems model-3-late opensmile-egemaps-svm $(OF_OTHERS) $(COMPACT)
	@$(MAKE) --no-print-directory heads layers
	@exec $(PY) -m speech_emotion.cli report --readme README.md

# Every speaker is tested, two or four at a time, by a model of each seed; a model that is there is not trained again.
HEAD_SEEDS := 0 1 2
heads: $(STAMP)  ## Train models and drop each of their attention heads in turn
	@$(WITH_DATA) set -e; \
	for study in emodb:5 ravdess:6; do \
		corpus=$${study%:*}; folds=$${study#*:}; \
		for seed in $(HEAD_SEEDS); do for fold in $$(seq 0 $$((folds - 1))); do \
			run=outputs/heads/$$corpus/seed-$${seed}_fold-$$fold; \
			[ -f $$run/results.json ] || $(PY) train.py --corpus $$corpus --scheme k-fold --num_folds $$folds \
				--fold $$fold --seed $$seed --output_dir $$run $(HEAD_MODEL); \
		done; done; \
		$(PY) -m speech_emotion.cli study heads --model outputs/heads/$$corpus/seed-* --corpus $$corpus \
			--output_dir results/heads/$$corpus; \
	done

layers: $(STAMP)  ## Correlate and probe the layers of the small DeepSpeech on RAVDESS
	@$(WITH_DATA) exec $(PY) -m speech_emotion.cli study layers --output_dir results/layers

report: $(STAMP)  ## Write the tables and the README's results from results/
	@exec $(PY) -m speech_emotion.cli report --readme README.md

lock:  ## Make constraints.txt anew from pyproject.toml
	@rm -rf .lock-venv constraints.txt.partial
	@$(CHECK_PYTHON)
	@"$(PYTHON)" -m venv .lock-venv
	@.lock-venv/bin/python -m pip install --quiet "torch==$(TORCH)" ".[$(EXTRAS)]"
	@.lock-venv/bin/python -m pip check
	@sed -n '/^#/p' constraints.txt > constraints.txt.partial
	@.lock-venv/bin/python -m pip freeze --exclude modeling-ser > .lock-venv/frozen.txt
	@sed -e 's/+cpu$$//' -e '/^nvidia-/d' -e '/^cuda-/d' -e '/^triton==/d' .lock-venv/frozen.txt >> constraints.txt.partial
	@mv constraints.txt.partial constraints.txt
	@rm -rf .lock-venv build ./*.egg-info

clean:  ## Remove the environment and everything that was built
	rm -rf "$(VENV)" build dist ./*.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An update of the system's Python can leave .venv without its interpreter: then it is made anew.
$(STAMP): pyproject.toml setup.py constraints.txt $(if $(realpath $(VENV)/bin/python),,no-interpreter)
	@$(CHECK_PYTHON)
	@if [ -e "$@" ] && $(PY) -c '' 2>/dev/null; then rm "$@"; else echo "Making the environment $(VENV) (a few minutes, once)"; "$(PYTHON)" -m venv --clear "$(VENV)"; fi
	@$(PY) -m pip install --quiet --constraint constraints.txt --editable ".[$(EXTRAS)]"
	@touch "$@"
