"""Runs the code of the README and of docs/, page by page and block by block, in a folder that has what they speak of.

Run as a process of its own, whose environment names a Hub: `python -m tests.documented_code FOLDER`. Trainings are the
pages' own, on a few synthetic clips, with a tiny network in Whisper's place and for two steps.
"""

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCED = re.compile(
    r"(?:^<!-- not run: (?P<why>[^\n]+) -->\n)?^ *```(?P<language>\w*)\n(?P<code>.*?)^ *```$", re.M | re.S
)
SHORT = shlex.split("--max_steps 2 --hidden_size 8 --dense_size 8 --stem_channels 0 --variants 0 --use_cpu true")
SHORT_FOLDS = ["--set", "max_steps=2", "hidden_size=8"]
REPOSITORY = "you/emotions"


class Block(NamedTuple):
    """A fenced block: what it is written in, what it says, and why it is not run, if so."""

    language: str
    code: str
    why: str | None


def blocks(page: Path) -> list[Block]:
    """Find the blocks of a page."""
    found = FENCED.finditer(page.read_text(encoding="utf-8"))
    return [Block(match["language"], match["code"], match["why"]) for match in found]


def commands(code: str) -> Iterator[list[str]]:
    """Yield the words of each command of a block."""
    for line in code.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words


def run_command(words: list[str]) -> None:
    """Run a command of ours in this process."""
    from speech_emotion.cli.main import main

    if words[:2] == ["hf", "auth"]:  # the Hub of the tests knows who we are
        return
    if words[0] == "python":
        words = ["ser", {"train.py": "train", "cross_validate.py": "cross-validate"}[words[1]], *words[2:]]
    assert words[0] == "ser", f"{words[0]}: say why it is not run"
    more = SHORT if words[1] == "train" else []
    if "--model_name_or_path" in words:  # which has sizes of its own
        more = SHORT[:2] + SHORT[-4:]
    if words[1] == "cross-validate":
        more = ["--workers", "1", *(SHORT_FOLDS if "model-1" in words else [])]
    code = main([*words[1:], *more])
    assert code == 0, f"{shlex.join(words)}: exit code {code}"


def prepare(home: Path) -> None:
    """Write recordings and a model into this folder, and weights into the cache, as the pages take them for given."""
    import numpy as np
    import soundfile
    import torch
    import transformers

    from speech_emotion.pretrained.fetched_weights import FETCHED
    from tests.synthetic import speech_like, write_polish, write_ravdess
    from tests.synthetic_corpora import write_emodb

    torch.manual_seed(0)
    config = transformers.WhisperConfig(
        d_model=16, encoder_layers=6, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=16, decoder_ffn_dim=16, vocab_size=50, pad_token_id=0, bos_token_id=0, eos_token_id=0,
        decoder_start_token_id=0,
    )  # fmt: skip
    weights = home / "ser_weights" / FETCHED["whisper-base"].digest / "whisper-base"
    for part in (transformers.WhisperModel(config), transformers.WhisperFeatureExtractor()):
        part.save_pretrained(weights)
    write_polish("data/polish", speakers=range(1, 4), repetitions=(1, 2))
    write_ravdess("data/ravdess", actors=(1, 2, 3), statements=(1,), repetitions=(1,))
    write_emodb(Path("data/emodb"))
    for speaker, name in enumerate(("anna", "ben", "carla")):
        for emotion in ("angry", "happy", "calm"):
            for number in range(4):
                wave = speech_like(emotion, 100 + 40 * speaker, seed=number)
                for file in (f"my_recordings/{emotion}/{name}/{number}", f"new_recordings/{name}/{emotion}{number}"):
                    Path(file).parent.mkdir(parents=True, exist_ok=True)
                    soundfile.write(f"{file}.wav", wave, 16000)
    lines = ["file,speaker,valence,arousal"]
    for number, path in enumerate(sorted(Path("new_recordings").rglob("*.wav"))):
        lines.append(f"{Path('..', path)},{path.parent.name},{number % 5},{(3 * number) % 7}")
    Path("my_ratings").mkdir()
    Path("my_ratings/metadata.csv").write_text("\n".join(lines))
    long = np.concatenate([speech_like(emotion, seconds=4.0) for emotion in ("angry", "neutral", "sad")])
    for name, wave in (("interview.wav", long), ("speech.wav", long[:32000]), ("speech.ogg", long[:32000])):
        soundfile.write(name, wave, 16000)
    run_command(["python", "train.py", "--corpus", "polish", "--output_dir", "outputs/polish"])
    shutil.copytree("outputs/polish", "model", ignore=shutil.ignore_patterns("checkpoint-*"))


def given_names() -> dict[str, Any]:
    """Return the names that a page's code takes for given."""
    import soundfile

    wave, _ = soundfile.read("interview.wav", dtype="float32")
    clips = [str(path) for path in sorted(Path("new_recordings/anna").glob("*.wav"))]
    return {"waveform": wave, "microphone": [wave[:64000], wave[64000:]], "clips_of_one_speaker": clips}


def run_page(page: Path) -> str:
    """Run the blocks of a page, and return what failed."""
    names = given_names()
    shutil.rmtree("outputs")
    for place in ("polish", "demo/recommended"):
        shutil.copytree("model", f"outputs/{place}")
    for block in blocks(page):
        if block.why is not None or not block.language:
            continue
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                if block.language == "python":
                    exec(compile(pinned(block.code), page.name, "exec"), names)
                else:
                    for words in commands(block.code):
                        run_command(words)
        except (Exception, SystemExit):
            return f"{block.code}\n{printed.getvalue()[-3000:]}\n{traceback.format_exc()}"
    return ""


def pinned(code: str) -> str:
    """Put a commit where a page leaves it open."""
    if 'revision="…"' not in code:
        return code
    from huggingface_hub import model_info

    return code.replace('revision="…"', f'revision="{model_info(REPOSITORY).sha}"')


def main(folder: str) -> None:
    """Run all pages, and write what failed, by page, into `failed.json`."""
    from speech_emotion import training

    parse = training.parse_arguments
    training.parse_arguments = lambda words: parse([*words, *SHORT])
    os.chdir(folder)
    prepare(Path(os.environ["HF_HOME"]))
    failed = {page.relative_to(ROOT).as_posix(): run_page(page) for page in PAGES}
    Path("failed.json").write_text(json.dumps(failed), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
