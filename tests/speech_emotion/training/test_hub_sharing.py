"""A training that pushes: every commit loads without the project, nothing private travels, a stop pushes nothing."""

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import CommitOperationDelete
from huggingface_hub.utils import httpx
from transformers.trainer_utils import HubStrategy

from feature_extraction import DeepSpeechConfig, DeepSpeechFeatureExtractor, DeepSpeechForCTC, SERFeatureExtractor
from feature_extraction.tokenizer_deepspeech import ENGLISH, build_tokenizer
from modeling_ser import SERConfig, SERForAudioClassification
from speech_emotion.training.hub_push import HubPushCallback, push_folder, shared_files
from tests.dataset_scripts.test_plain_dataset import write_dataset
from tests.hub.hub_store import Commit
from tests.hub.local_hub import LocalHub
from tests.speech_emotion.training.trainings import SMALL, read_rows, scores_of, words
from tests.subprocess_tools import PROJECT_ROOT, run_command, run_python_json

REPO, LETTERS = "alice/polish-emotions", "alice/deepspeech-small"
SMALL_LETTERS = "--hidden_size 16 --validation_speakers 2 --use_cpu true"


def saved_files(*parts: Any) -> set[str]:
    """Name the files that parts of a model save, code among them."""
    with tempfile.TemporaryDirectory() as folder:
        for part in parts:
            part.save_pretrained(folder)
        return {path.name for path in Path(folder).iterdir()}


MODEL = saved_files(SERForAudioClassification(SERConfig()), SERFeatureExtractor())
RECOGNIZER = saved_files(
    DeepSpeechForCTC(DeepSpeechConfig(hidden_size=8)), DeepSpeechFeatureExtractor(), build_tokenizer(ENGLISH)
)


@pytest.fixture(scope="module")
def train(
    local_hub: LocalHub, polish_dir: Path, spelled_dir: Path, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Any]:
    """Run a training in a process of its own, as a user of the Hub."""
    home = tmp_path_factory.mktemp("home")

    def run(folder: Path, more: str, user: str | None = "alice", script: str = "train.py", check: bool = True) -> Any:
        corpus, small = (polish_dir, SMALL) if script == "train.py" else (spelled_dir, SMALL_LETTERS)
        line = [PROJECT_ROOT / script, *words(corpus, cache_dir, folder, more, small)]
        env = local_hub.env(home, user=user) | {"PYTHONPATH": str(PROJECT_ROOT)}
        del env["HF_HUB_DISABLE_PROGRESS_BARS"]  # as users have it
        return run_command([sys.executable, *line], env=env, cwd=home, check=check)

    return run


@pytest.fixture(scope="module")
def trained(train: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """Train for three epochs with --push_to_hub; the run's folder, and what it printed."""
    folder = tmp_path_factory.mktemp("run") / "model"
    return folder, train(folder, f"--num_train_epochs 3 --save_total_limit 1 --push_to_hub true --hub_model_id {REPO}")


@pytest.fixture(scope="module")
def run(trained: tuple[Path, Any]) -> Path:
    return trained[0]


@pytest.fixture(scope="module")
def commits(run: Path, local_hub: LocalHub) -> list[Commit]:
    return local_hub.commits(REPO)


def test_a_push_shows_no_bar_where_nobody_watches(trained: tuple[Path, Any]) -> None:
    _, done = trained
    assert "it/s" not in done.stderr and "B/s" not in done.stderr


def test_each_checkpoint_is_one_whole_commit_and_nothing_else_travels(
    commits: list[Commit], run: Path, polish_dir: Path
) -> None:
    titles = [commit.title for commit in commits]
    progress = [f"Training in progress, step {step}" for step in (4, 8, 12)]
    assert titles == [*progress, "End of training", "Model card"]
    for commit in commits[:3]:
        assert set(commit.files) == MODEL and not commit.deleted
    assert set(commits[-1].files) == MODEL | {"README.md", "results.json", "confusions.png"}
    for commit in commits:
        assert {Path(name).suffix for name in commit.files} <= {".json", ".md", ".png", ".py", ".safetensors"}
        # The first bytes of pickles: zip files of torch.save, and protocols 2 to 5.
        assert not any(content.startswith((b"PK", b"\x80")) for content in commit.files.values())
        content = b"".join(commit.files.values())
        assert not any(private.encode() in content for private in (str(run.parent), str(polish_dir), "hf_alice"))
    weights = [commit.files["model.safetensors"] for commit in commits]
    assert len(set(weights[:3])) == 3
    assert weights[-1] in weights[:3] and weights[-1] == (run / "model.safetensors").read_bytes()


def test_the_card_is_filled_and_pins_the_commit_of_the_weights(commits: list[Commit]) -> None:
    text = commits[-1].files["README.md"].decode()
    for part in (f'model="{REPO}"', f'revision="{commits[-2].oid}"', "Training speakers: m3, m4, m5"):
        assert part in text
    assert "pipeline_tag: audio-classification" in text and "{{" not in text


def _tempered(scores: dict[str, float], temperature: float) -> dict[str, float]:
    """Softmax of logits divided by a temperature, from the softmax of the logits."""
    powers = {label: score ** (1 / temperature) for label, score in scores.items()}
    return {label: power / sum(powers.values()) for label, power in powers.items()}


def test_a_stranger_gets_the_trainers_scores_from_every_commit(
    run: Path, commits: list[Commit], local_hub: LocalHub, polish_dir: Path, tmp_path: Path
) -> None:
    expected = scores_of(run)
    clips = list(expected)[::3]
    given = run_python_json(
        f"""
        import json
        from transformers import pipeline
        scores = []
        for revision in {[commit.oid for commit in commits]!r}:
            classifier = pipeline("audio-classification", model={REPO!r}, revision=revision, trust_remote_code=True)
            results = classifier({[str(polish_dir / f"{clip}.wav") for clip in clips]!r}, batch_size=4)
            scores.append([{{entry["label"]: entry["score"] for entry in result}} for result in results])
        print(json.dumps(scores))
        """,
        env=local_hub.env(tmp_path / "home"),
        cwd=tmp_path,
    )
    best = [commit.files["model.safetensors"] for commit in commits].index((run / "model.safetensors").read_bytes())
    # The temperature is fitted when the training is over: the best epoch's own commit has none yet.
    temperature = json.loads((run / "config.json").read_text()).get("temperature", 1.0)
    for scores in ([_tempered(one, temperature) for one in given[best]], *given[3:]):
        assert scores == [pytest.approx(expected[clip], abs=1e-5) for clip in clips]
    # Each commit is loaded for what it is: other weights, other scores.
    assert len({json.dumps(scores) for scores in given[:3]}) == 3


@pytest.mark.parametrize("user", ["mallory", None])
def test_another_user_cannot_be_pushed_to(
    user: str | None, train: Callable[..., Any], local_hub: LocalHub, tmp_path: Path, run: Path
) -> None:
    before = len(local_hub.commits(REPO))
    more = f"--num_train_epochs 1 --push_to_hub true --hub_model_id {REPO}"
    done = train(tmp_path / "model", more, user=user, check=False)
    assert done.returncode == 1
    assert "403" in done.stderr or "401" in done.stderr or "rights" in done.stderr
    assert "hf auth login" in done.stderr
    assert len(local_hub.commits(REPO)) == before


def test_training_on_a_streamed_copy_equals_training_on_the_corpus(
    local_hub: LocalHub, polish_dir: Path, tmp_path: Path
) -> None:
    outcome = run_python_json(
        f"""
        import json
        from pathlib import Path
        from dataset_scripts import push_corpus
        from speech_emotion.cli.train import main

        push_corpus("polish", "alice/polish-copy", data_dir={str(polish_dir)!r}, i_have_permission=True)
        common = "--preset paper --hidden_size 8 --use_cpu true --num_train_epochs 1 --corpus".split()
        ways = {{
            "corpus": ["polish", "--data_dir", {str(polish_dir)!r}],
            "copy": ["alice/polish-copy"],
            "stream": ["alice/polish-copy", "--streaming", "true"],
        }}
        codes = [main([*common, *words, "--output_dir", way]) for way, words in ways.items()]
        results = {{way: json.loads(Path(way, "results.json").read_text()) for way in ways}}
        for way, result in results.items():
            result.pop("arguments")
            result["weights"] = Path(way, "model.safetensors").read_bytes().hex()
        print(json.dumps([codes, results]))
        """,
        env=local_hub.env(tmp_path / "home"),
        cwd=tmp_path,
        with_project=True,
    )
    codes, results = outcome
    assert codes == [0, 0, 0]
    for way in ("copy", "stream"):
        assert results[way].pop("corpus") == "alice/polish-copy"
    assert results["corpus"].pop("corpus") == "polish"
    assert results["corpus"] == results["copy"] == results["stream"]


def test_a_strangers_data_set_is_trained_on_streamed_or_not_and_an_unsafe_split_is_told(
    local_hub: LocalHub, tmp_path: Path
) -> None:
    folder = write_dataset(tmp_path / "set", train=48, test=24)
    outcome = run_python_json(
        f"""
        import json
        from pathlib import Path
        from huggingface_hub import HfApi
        from speech_emotion.cli.train import main

        HfApi().create_repo("alice/voices", repo_type="dataset")
        HfApi().upload_folder(repo_id="alice/voices", repo_type="dataset", folder_path={str(folder)!r})
        common = "--preset paper --hidden_size 8 --use_cpu true --num_train_epochs 1 --corpus alice/voices"
        common = [*common.split(), "--label_column", "emotion"]
        ways = {{
            "whole": ["--speaker_column", "who"],
            "stream": ["--speaker_column", "who", "--streaming", "true"],
            "nobody": [],
            "unsafe": ["--unsafe_split", "true"],
            "again": ["--unsafe_split", "true", "--folds_file", "unsafe/fold.jsonl"],
            "half": ["--speaker_column", "who", "--audio_column", "dialog"],
        }}
        codes = {{way: main([*common, *words, "--output_dir", way]) for way, words in ways.items()}}
        results = {{}}
        for way in ("whole", "stream", "unsafe", "again"):
            result = json.loads(Path(way, "results.json").read_text())
            scheme = result.pop("arguments")["scheme"]
            weights = Path(way, "model.safetensors").read_bytes().hex()
            results[way] = [scheme, Path(way, "README.md").read_text(), result, weights]
        print(json.dumps([codes, results]))
        """,
        env=local_hub.env(tmp_path / "home"),
        cwd=tmp_path,
        with_project=True,
    )
    codes, results = outcome
    assert codes == {"whole": 0, "stream": 0, "nobody": 1, "unsafe": 0, "again": 0, "half": 1}
    assert results["whole"][2:] == results["stream"][2:]
    scheme, card, result, weights = results["unsafe"]
    assert (scheme, result["fold"]) == ("unsafe", "unsafe-10-fold-0") and weights == results["again"][3]
    assert result["train"]["speakers"] == result["test"]["speakers"] == ["unknown"]
    assert "**The clips were divided whoever speaks" in card and "never seen" not in card
    assert "whoever speaks" not in results["whole"][1] and "speakers never seen in training" in results["whole"][1]


class Api:
    """Stands in for the client: notes commits, or refuses them."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.titles, self.operations = error, [], []

    def list_repo_files(self, repo_id: str, revision: str | None = None) -> list[str]:
        return ["README.md", "confusions.png", "config.json", "model.safetensors", "results.json"]

    def create_commit(self, repo_id: str, operations: list[Any], commit_message: str, **kwargs: Any) -> Any:
        self.titles.append(commit_message)
        self.operations += operations
        return SimpleNamespace(exception=lambda: self.error)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint-4"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")
    return tmp_path


def pushed(folder: Path, api: Api, stopped: bool = False, times: int = 1) -> None:
    """Train as far as the callback knows: begin, save some times, end."""
    callback = HubPushCallback(REPO, stop=SimpleNamespace(stopped=stopped))
    callback.api = api
    args = SimpleNamespace(output_dir=str(folder), hub_strategy=HubStrategy.EVERY_SAVE)
    state = SimpleNamespace(is_world_process_zero=True, global_step=4)
    callback.on_train_begin(args, state, None)
    assert args.hub_strategy == HubStrategy.END  # Trainer itself is to push nothing
    for _ in range(times):
        callback.on_save(args, state, None)
    callback.on_train_end(args, state, None)
    assert args.hub_strategy == HubStrategy.EVERY_SAVE


def test_nothing_is_pushed_while_a_signal_stops_the_training(checkpoint: Path) -> None:
    for stopped, titles in ((True, []), (False, ["Training in progress, step 4"])):
        api = Api()
        pushed(checkpoint, api, stopped)
        assert api.titles == titles


def test_a_push_that_fails_is_reported_and_training_goes_on(
    checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    api = Api(OSError("the line is dead"))
    pushed(checkpoint, api, times=2)
    assert len(api.titles) == caplog.text.count("the line is dead") == 2

    def lost(*_: object, **__: object) -> None:
        raise httpx.ConnectError("no route to the Hub")

    api.list_repo_files = lost
    pushed(checkpoint, api)
    assert len(api.titles) == 2 and caplog.text.count("no route to the Hub") == 1


def test_files_are_read_before_the_commit_travels(checkpoint: Path) -> None:
    api = Api()
    push_folder(api, REPO, checkpoint / "checkpoint-4", "x", in_background=True)
    (checkpoint / "checkpoint-4" / "config.json").write_text("changed")
    content = {operation.path_in_repo: operation.path_or_fileobj for operation in api.operations}
    assert content["config.json"] == b"{}"


def test_what_is_said_of_other_weights_goes_with_the_first_checkpoint(checkpoint: Path) -> None:
    api = Api()
    pushed(checkpoint, api)
    removed = {one.path_in_repo for one in api.operations if isinstance(one, CommitOperationDelete)}
    assert removed == {"README.md", "results.json", "confusions.png"}


def test_of_an_untidy_folder_only_the_model_and_its_encoders_are_pushed(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "deepspeech", tmp_path / "other-run", tmp_path / "checkpoint-7"):
        folder.mkdir(exist_ok=True)
        for name in ("config.json", "model.safetensors"):
            (folder / name).write_text("{}")
    for name in ("optimizer.pt", "training_args.bin", "clip.wav", "notes.txt", "cache-1.arrow", "trainer_state.json"):
        (tmp_path / name).write_bytes(b"private")
    own = {"config.json", "model.safetensors"}
    assert set(shared_files(tmp_path)) == own
    (tmp_path / "preprocessor_config.json").write_text('{"encoders": {"deepspeech": {}, "elsewhere": {}}}')
    encoder = {"deepspeech/config.json", "deepspeech/model.safetensors"}
    assert set(shared_files(tmp_path)) == own | encoder | {"preprocessor_config.json"}
    (tmp_path / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match="holds no saved model"):
        shared_files(tmp_path)


def test_a_finished_run_is_pushed_by_resuming_it_once_and_to_a_branch_made_for_it(
    run: Path, train: Callable[..., Any], local_hub: LocalHub, tmp_path: Path
) -> None:
    folder = shutil.copytree(run, tmp_path / "model")
    more = "--num_train_epochs 3 --save_total_limit 1 --resume_from_checkpoint true"
    train(folder, f"{more} --push_to_hub true --hub_model_id alice/later --hub_strategy end --hub_revision next")
    before = len(local_hub.commits("alice/later"))
    pushed, card = local_hub.commits("alice/later", "next")[before:]
    assert (pushed.title, card.title) == ("End of training", "Model card")
    assert set(card.files) == MODEL | {"README.md", "results.json", "confusions.png"}
    assert card.files["model.safetensors"] == (run / "model.safetensors").read_bytes()


# A recognizer --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def letters(train: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a recognizer for two epochs with --push_to_hub; the run's folder."""
    folder = tmp_path_factory.mktemp("letters") / "model"
    more = f"--num_train_epochs 2 --half true --push_to_hub true --hub_model_id {LETTERS}"
    train(folder, more, script="train_deepspeech.py")
    return folder


def test_each_checkpoint_of_a_recognizer_is_one_whole_commit(letters: Path, local_hub: LocalHub) -> None:
    commits = local_hub.commits(LETTERS)
    titles = [commit.title for commit in commits]
    assert titles == [*(f"Training in progress, step {step}" for step in (3, 6)), "End of training", "Model card"]
    assert [set(commit.files) for commit in commits[:2]] == [RECOGNIZER] * 2
    final = commits[-1].files
    assert set(final) == RECOGNIZER | {"README.md", "results.json"}
    assert final["model.safetensors"] == (letters / "model.safetensors").read_bytes()
    card = final["README.md"].decode()
    assert f'model="{LETTERS}"' in card and f'revision="{commits[-2].oid}"' in card
    for name, content in final.items():
        assert str(letters.parent).encode() not in content, name


def test_a_stranger_transcribes_with_every_commit(
    letters: Path, local_hub: LocalHub, spelled_dir: Path, tmp_path: Path
) -> None:
    rows = read_rows(letters / "transcripts.jsonl")
    files = [str(spelled_dir / "WAVE" / f"SPEAKER{row['speaker']}" / f"{row['id']}.WAV") for row in rows]
    given, dtype, layer = run_python_json(
        f"""
        import json
        from transformers import pipeline
        texts = []
        for revision in {[commit.oid for commit in local_hub.commits(LETTERS)]!r}:
            recognizer = pipeline(
                "automatic-speech-recognition", model={LETTERS!r}, revision=revision, trust_remote_code=True
            )
            texts.append([result["text"] for result in recognizer({files!r}, batch_size=4)])
        texts.append([result["text"] for result in recognizer({files!r})])
        layer = recognizer.model.deepspeech.layer_1
        print(json.dumps([texts, str(layer.weight.dtype), type(layer).__name__]))
        """,
        env=local_hub.env(tmp_path / "home"),
        cwd=tmp_path,
    )
    assert len(given) == 5
    assert given[-1] == given[-2] == given[-3] == [row["hypothesis"] for row in rows]
    assert (dtype, layer) == ("torch.float32", "Linear")
