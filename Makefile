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

# What of onnxruntime-web the page in web/ needs.
PAGE_RUNTIME := ort.wasm.min.mjs ort-wasm-simd-threaded.mjs ort-wasm-simd-threaded.wasm

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: no-interpreter help demo docs page test test-all test-newest fuzz lint format bench experiments checkpoint heads layers report lock clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-11s %s\n", $$1, $$2}' Makefile

demo: $(STAMP)  ## Train on real speech, save, and classify an unseen speaker's clips
	@$(WITH_DATA) exec $(PY) -m speech_emotion.cli demo

test: $(STAMP)  ## Run the tests and the examples in the docstrings
	@$(WITH_DATA) exec $(PY) -m pytest -n $(TEST_WORKERS) --dist loadfile --max-worker-restart 2 -m "not slow"

test-all: $(STAMP)  ## Run the slow tests, too, some of them in a browser (Debian's chromium)
	@$(WITH_DATA) exec $(PY) -m pytest -n $(TEST_WORKERS) --dist loadfile --max-worker-restart 2

test-newest:  ## Run the tests with the newest releases that pyproject.toml admits, in .venv-newest
	@$(CHECK_PYTHON)
	@"$(PYTHON)" -m venv .venv-newest
	@.venv-newest/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager --editable ".[$(EXTRAS)]" --editable weights/emotions
	@.venv-newest/bin/python -m pip list | grep -E '^(torch|transformers|datasets|huggingface_hub|numpy) '
	@$(WITH_DATA) exec .venv-newest/bin/python -m pytest -n $(TEST_WORKERS) --dist loadfile --max-worker-restart 2

fuzz: $(STAMP)  ## Read thousands of damaged and hostile files (ten minutes, perhaps)
	@exec $(PY) -m tests.fuzzing

docs: $(STAMP)  ## Build the documentation into site/
	@NO_MKDOCS_2_WARNING=1 exec $(PY) -m mkdocs build --quiet --strict
	@echo "Open site/index.html; for the search too: $(VENV)/bin/python -m http.server -d site"

page: $(STAMP)  ## Build the page that scores in the browser into web/dist (ARGS="FOLDER --int8": of another model)
	@command -v npm >/dev/null || { echo "error: npm was not found; it fetches onnxruntime-web; on Debian and Ubuntu: apt install npm" >&2; exit 1; }
	@npm ci --prefix web --silent --ignore-scripts --no-audit --no-fund
	@mkdir -p web/dist
	@cp web/index.html web/page.css web/page.js web/scorer.js $(PAGE_RUNTIME:%=web/node_modules/onnxruntime-web/dist/%) web/dist
	@$(PY) -m speech_emotion.cli export onnx $(ARGS) --output web/dist/model.onnx
	@echo "To see it: $(VENV)/bin/python -m http.server -d web/dist, then http://localhost:8000"

lint: $(STAMP)  ## Check style and formatting
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

format: $(STAMP)  ## Mend style and formatting where ruff can
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

bench: $(STAMP)  ## Run every benchmark and write benchmarks/RESULTS.md
	@$(WITH_DATA) exec $(PY) -m benchmarks

experiments: $(STAMP)  ## Compute what of the paper's comparisons results/ lacks (a day, on 2 cores), then write the pages
	@$(PY) -m pip install --quiet --constraint constraints.txt --editable ".[$(EXTRAS),bench]"
	@$(WITH_DATA) exec $(PY) -m reproduction run --workers 2
	@$(MAKE) --no-print-directory heads layers
	@exec $(PY) -m reproduction report --pack --readme README.md

checkpoint: $(STAMP)  ## Train the model that comes along anew (ARGS="--corpora …" from others), and measure it (hours)
	@$(WITH_DATA) exec $(PY) -m speech_emotion.cli checkpoint $(ARGS)

heads: $(STAMP)  ## Train models and drop each of their attention heads in turn
	@$(WITH_DATA) exec $(PY) -m reproduction heads --output_dir results/heads

layers: $(STAMP)  ## Correlate and probe the layers of the small DeepSpeech and of Whisper base
	@$(WITH_DATA) exec $(PY) -m reproduction layers --output_dir results/layers

report: $(STAMP)  ## Write pages, tables and the README's results from results/
	@exec $(PY) -m reproduction report --readme README.md

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
	rm -rf "$(VENV)" .venv-newest build dist site web/dist web/node_modules ./*.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An update of the system's Python can leave .venv without its interpreter: then it is made anew.
$(STAMP): pyproject.toml setup.py constraints.txt weights/emotions/pyproject.toml $(if $(realpath $(VENV)/bin/python),,no-interpreter)
	@$(CHECK_PYTHON)
	@if [ -e "$@" ] && $(PY) -c '' 2>/dev/null; then rm "$@"; else echo "Making the environment $(VENV) (a few minutes, once)"; "$(PYTHON)" -m venv --clear "$(VENV)"; fi
	@$(PY) -m pip install --quiet --constraint constraints.txt --editable ".[$(EXTRAS)]" --editable weights/emotions
	@touch "$@"
