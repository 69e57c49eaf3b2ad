"""Conversion of every container: weights, facts, what must be asked for, and what is left behind when it fails."""

import hashlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from feature_extraction.convert import deepspeech_lite, output_folder
from feature_extraction.convert.alphabet import read_alphabet, unpack_alphabet
from feature_extraction.convert.command import get_parser
from feature_extraction.convert.deepspeech import complete_facts, convert_deepspeech, read_model
from feature_extraction.convert.file_bytes import ModelFileError
from feature_extraction.convert.model_facts import find_release
from feature_extraction.convert.tensorflow_lite import Operator
from feature_extraction.convert.torch_model import build_model, to_state_dict
from feature_extraction.convert.weights import VARIABLES
from feature_extraction.feature_extraction_deepspeech import DeepSpeechFeatureExtractor
from feature_extraction.modeling_deepspeech import DeepSpeechForCTC, DeepSpeechModel
from feature_extraction.tokenizer_deepspeech import ENGLISH
from tests.feature_extraction.deepspeech_fixtures import (
    CHECKPOINTS,
    FIXTURES,
    VERSIONS,
    container,
    expected,
    hashes,
    largest_difference,
    waveform,
    weights,
    write_bundle,
    write_checkpoint,
    write_container,
)
from tests.full_disk import little_room
from tests.subprocess_tools import offline_environment, run_python

FILES = [name for name in hashes() if "/checkpoint/" not in name]
INT8 = "v09/output_graph.tflite"
EXACT = [name for name in FILES if name != INT8]
ALPHABET = str(FIXTURES / "alphabet.txt")


def write(folder: Path, name: str) -> Path:
    return write_checkpoint(folder, name[:3]) if name in CHECKPOINTS else write_container(folder, name)


def convert_in_memory(path: Path, release: str) -> tuple[DeepSpeechModel, DeepSpeechFeatureExtractor]:
    facts = read_model(path)
    complete_facts(facts, str(path), VERSIONS[release], ALPHABET)
    model, extractor, _ = build_model(facts)
    return model.deepspeech, extractor


@pytest.mark.parametrize("name", EXACT)
def test_graphs_state_their_facts(name: str, tmp_path: Path) -> None:
    facts = read_model(write(tmp_path, name))
    assert (facts.input_size, facts.context_size, facts.relu_clip) == (26, 9, 20.0)
    if name.startswith("v04"):
        assert (facts.releases, facts.forget_bias, facts.front_end, facts.alphabet) == (("0.4",), 1.0, None, None)
        return
    assert "0.9" in facts.releases
    assert (facts.forget_bias, facts.alphabet) == (0.0, list(ENGLISH))
    stated = {"sampling_rate": 16000, "win_length": 512, "hop_length": 320, "num_coefficients": 26}
    stated |= {"lower_frequency": 20.0, "upper_frequency": 8000.0, "num_mel_bins": 40}
    assert facts.front_end == {"mfcc": "tensorflow", **stated}


def test_fixtures_are_the_original_files() -> None:
    for name, digest in hashes().items():
        assert hashlib.sha256(container(name)).hexdigest() == digest, name


@pytest.mark.parametrize("name", [*EXACT, *CHECKPOINTS])
@torch.no_grad()
def test_every_container_gives_tensorflows_answers(name: str, tmp_path: Path) -> None:
    release, path = name[:3], write(tmp_path, name)
    if name in EXACT:
        path = path.rename(tmp_path / "model.bin")  # content decides, not the name
    model, extractor = convert_in_memory(path, release)
    wanted = to_state_dict(weights(release), 1.0 if release == "v04" else 0.0)
    assert all(torch.equal(value, wanted[key]) for key, value in model.state_dict().items())
    output = model(**extractor(waveform("a_24137"), 16000, return_tensors="pt"), output_hidden_states=True)
    softmax = output.last_hidden_state.softmax(-1)[0]
    assert largest_difference(output.layer_5[0], expected()[f"{release}/a_24137/layer_5"]) < 1e-4
    assert largest_difference(softmax, expected()[f"{release}/a_24137/softmax"]) < 5e-6


@torch.no_grad()
def test_int8_is_within_half_a_step_and_near_the_int8_runtime(tmp_path: Path) -> None:
    model, extractor = convert_in_memory(write(tmp_path, INT8), "v09")
    wanted = to_state_dict(weights("v09"), 0.0)
    for key, value in model.state_dict().items():
        if "weight" in key:
            # One scale for a whole matrix, that of the LSTM for both of its halves.
            scale = max(wanted[other].abs().max() for other in wanted if other.split("_l0")[0][:4] == key[:4]) / 127
            largest = wanted[key].abs().max() / 127 if "lstm" not in key else scale
            assert (value - wanted[key]).abs().max() <= 0.5001 * largest
        else:
            assert torch.equal(value, wanted[key])
    samples = waveform("a_24137")
    inputs = extractor(samples, 16000, return_tensors="pt")
    softmax = model(**inputs).last_hidden_state.softmax(-1)[0]
    assert largest_difference(softmax, expected()["v09/a_24137/softmax"]) < 0.074

    # The runtime quantizes activations too. It runs 16 frames at a time; its states after the last run are compared.
    cell, hidden = (expected()[f"int8_v09/a_24137/{kind}"][-1] for kind in "ch")
    state = model(inputs["input_features"][:, : 64 + 9], final=False, return_state=True).state
    assert largest_difference(state.cell[0], cell) < 0.32
    assert largest_difference(state.hidden[0], hidden) < 0.15


def test_int8_bytes_that_are_labelled_unsigned_are_the_same(tmp_path: Path) -> None:
    """TensorFlow up to 1.13 writes them so."""
    import tflite

    content = bytearray(container(INT8))
    graph = tflite.Model.GetRootAs(bytes(content)).Subgraphs(0)
    relabelled = 0
    for index in range(graph.TensorsLength()):
        tensor = graph.Tensors(index)
        if tensor.Type() == tflite.TensorType.INT8:
            content[tensor._tab.Pos + tensor._tab.Offset(6)] = tflite.TensorType.UINT8
            relabelled += 1
    assert relabelled >= 6
    signed = read_model(write_container(tmp_path, "signed.tflite", container(INT8)))
    unsigned = read_model(write_container(tmp_path, "unsigned.tflite", bytes(content)))
    assert all(np.array_equal(value, unsigned.weights[key]) for key, value in signed.weights.items())


@pytest.mark.parametrize("release", ["v04", "v09"])
def test_checkpoints_are_found_by_any_of_their_paths(release: str, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, release)
    prefix = tmp_path / CHECKPOINTS[release]
    for path in (folder, prefix, f"{prefix}.index", f"{prefix}.data-00000-of-00001", f"{prefix}.meta"):
        assert np.array_equal(read_model(path).weights["w1"], weights(release)["w1"])
    (folder / "checkpoint").unlink(missing_ok=True)
    (folder / "best_dev_checkpoint").unlink(missing_ok=True)
    assert np.array_equal(read_model(folder).weights["w1"], weights(release)["w1"])


@pytest.mark.parametrize(
    ("style", "version", "mfcc", "upper", "forget_bias"),
    [
        ("h1", "0.4.1", "python_speech_features", 8000.0, 1.0),
        ("layer_1", None, "tensorflow", 4000.0, 1.0),
        ("cudnn_lstm", "0.6.1", "tensorflow", 4000.0, 0.0),
        ("cudnn_lstm", "0.7.4", "tensorflow", 8000.0, 0.0),
        ("cudnn_lstm", "v0.9.3", "tensorflow", 8000.0, 0.0),
        ("cudnn_lstm", "1.4.0", "tensorflow", 8000.0, 0.0),
    ],
)
def test_checkpoints_of_every_release(
    style: str, version: str | None, mfcc: str, upper: float, forget_bias: float, tmp_path: Path
) -> None:
    variables = {name: weights("v09")[key] for key, name in VARIABLES[style].items()}
    variables["global_step"] = np.array(5, "<f4")
    source = write_bundle(tmp_path, variables)
    folder = convert_deepspeech(source, tmp_path / "converted", version=version, alphabet="english")
    model = DeepSpeechModel.from_pretrained(folder)
    assert model.config.forget_bias == forget_bias
    wanted = to_state_dict(weights("v09"), forget_bias)
    assert all(torch.equal(value, wanted[key]) for key, value in model.state_dict().items())
    extractor = DeepSpeechFeatureExtractor.from_pretrained(folder)
    assert extractor.mfcc == mfcc
    if mfcc == "tensorflow":
        assert extractor.front_end.upper_frequency == upper


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("v04/output_graph.pb", {}, "does not state .*alphabet="),
        ("v04", {"alphabet": ALPHABET}, "does not state .*version="),
        ("v09", {"alphabet": ALPHABET}, "does not state .*'0.6', '0.7', '0.8', '0.9', 'coqui'"),
        ("v04/output_graph.pb", {"version": "0.9.3", "alphabet": ALPHABET}, "contradicts the file, which is of 0.4"),
        ("v04/output_graph.pb", {"version": "0.3.0", "alphabet": ALPHABET}, "before 0.4"),
        ("v04/output_graph.pb", {"version": "newest", "alphabet": ALPHABET}, "not a version"),
        ("v04/output_graph.pb", {"alphabet": ["a", "b"]}, "28 labels and a blank; the one given has 2"),
        ("v04/output_graph.pb", {"alphabet": [*"abcdefghijklmnopqrstuvwxyz' ", "a"]}, "'a' occurs twice"),
        ("v04/output_graph.pb", {"alphabet": "nowhere.txt"}, "no such file"),
        ("v09/output_graph.pb", {"alphabet": [*"abcdefghijklmnopqrstuvwxyz' "]}, "contradicts the file"),
    ],
)
def test_what_is_not_stated_is_asked_for_and_what_cannot_be_right_refused(
    name: str, arguments: dict[str, Any], message: str, tmp_path: Path
) -> None:
    source = write(tmp_path, name)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        convert_deepspeech(source, tmp_path / "model", **arguments)
    assert [path.name for path in tmp_path.iterdir()] == [name[:3]]


def command(*words: Any) -> list[Path]:
    args = get_parser().parse_args([str(word) for word in words])
    return list(args.run(args))


def test_a_folder_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = write(tmp_path, INT8), tmp_path / "models" / "model"
    better = write(tmp_path, "v09/output_graph_float.tflite")

    def second_layer() -> np.ndarray:
        assert [path.name for path in target.parent.iterdir()] == ["model"]
        return load_file(target / "model.safetensors")["deepspeech.layer_2.weight"].numpy()

    def fail(*arguments: Any, **keywords: Any) -> None:
        raise OSError("no space left on device")

    assert command(source, target) == [target]
    before = second_layer()
    with pytest.raises(FileExistsError, match="overwrite=True"):
        command(source, target)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space left"):
        patch.setattr(DeepSpeechFeatureExtractor, "save_pretrained", fail)
        command(better, target, "--overwrite")
    assert np.array_equal(second_layer(), before)
    command(better, target, "-f")
    assert np.array_equal(second_layer(), weights("v09")["w2"].T)


@pytest.mark.parametrize(
    ("appeared", "atomic"),
    [("folder", True), ("empty folder", True), ("file", True), ("link", True), ("folder", False)],
)
def test_what_appears_meanwhile_is_left_as_it_is(
    appeared: str, atomic: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = write(tmp_path, INT8), tmp_path / "models" / "model"

    def appear(path: Path) -> None:
        if "folder" in appeared:
            path.mkdir()
            if appeared == "folder":
                (path / "chapter1.txt").write_text("years of work")
        elif appeared == "file":
            path.write_text("years of work")
        else:
            path.symlink_to(tmp_path)

    # As late as can be: after the last look at the place. Else as on a system that knows no such renaming.
    monkeypatch.setattr(output_folder, "check_output", lambda place, *_: appear(place))
    if not atomic:
        monkeypatch.setattr(output_folder, "_rename", lambda *_: None)
    with pytest.raises(OSError, match="model"):
        command(source, target)
    assert [path.name for path in target.parent.iterdir()] == ["model"]
    assert not (target / "config.json").exists() and target.is_symlink() == (appeared == "link")


def test_a_full_disk_leaves_nothing_and_is_told(tmp_path: Path) -> None:
    source, target = write(tmp_path, INT8), tmp_path / "models" / "model"
    with little_room(100_000), pytest.raises(OSError, match=rf"{target} could not be written: .*model\.safetensors"):
        command(source, target)
    assert not list(target.parent.iterdir())


KILLS = {  # what is killed, and whether the system can swap two folders in one step
    "before the swap": ("output_folder._exchange = kill", True),
    "after the swap": ("output_folder.shutil = SimpleNamespace(rmtree=kill)", True),
    "between two renames": ("rename = Path.rename; Path.rename = lambda *names: kill(rename(*names))", False),
}


@pytest.mark.parametrize("killed_at", KILLS)
def test_a_killed_replacement_leaves_a_model_and_the_next_run_clears(killed_at: str, tmp_path: Path) -> None:
    source, target = write(tmp_path, INT8), tmp_path / "models" / "model"
    convert_deepspeech(source, target)
    patch, atomic = KILLS[killed_at]
    code = f"""
    import os, signal
    from pathlib import Path
    from types import SimpleNamespace
    from feature_extraction import convert_deepspeech
    from feature_extraction.convert import output_folder

    def kill(*arguments, **keywords):
        os.kill(os.getpid(), signal.SIGKILL)

    if not {atomic}:
        output_folder._rename = lambda *_: None
    {patch}
    convert_deepspeech({str(source)!r}, {str(target)!r}, overwrite=True)
    """
    environment = offline_environment(tmp_path)
    done = run_python(code, env=environment, cwd=tmp_path, with_project=True, check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (target / "model.safetensors").is_file() == atomic
    assert [path.name for path in target.parent.iterdir()] != ["model"]
    with pytest.raises(FileExistsError, match="overwrite=True"):  # brought back, and told before the work
        convert_deepspeech(source, target)
    assert [path.name for path in target.parent.iterdir()] == ["model"]
    assert DeepSpeechForCTC.from_pretrained(target)


def test_folders_that_hold_something_else_are_never_replaced(tmp_path: Path) -> None:
    source = write(tmp_path, INT8)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("years of work")
    (tmp_path / "file").write_text("")
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "config.json").write_text('{"name": "my web app"}')
    convert_deepspeech(source, tmp_path / "mixed")
    (tmp_path / "mixed" / "checkpoint-4").mkdir()
    for name in ("thesis", "file", "app", "mixed"):
        with pytest.raises(FileExistsError):
            convert_deepspeech(source, tmp_path / name, overwrite=True)
    assert (tmp_path / "app" / "config.json").is_file() and (tmp_path / "mixed" / "checkpoint-4").is_dir()
    assert (tmp_path / "thesis" / "chapter1.txt").read_text() == "years of work"


def test_converted_folder_loads_with_its_tokenizer(tmp_path: Path) -> None:
    folder = convert_deepspeech(write(tmp_path, "v09/output_graph.pbmm"), tmp_path / "model", version="0.9.3")
    model, tokenizer = DeepSpeechForCTC.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert tokenizer.pad_token_id == model.config.pad_token_id == 28
    assert len(tokenizer) == 29
    assert tokenizer("don't say so").input_ids == [ENGLISH.index(letter) for letter in "don't say so"]
    assert tokenizer.decode(tokenizer("don't say so").input_ids) == "don't say so"
    assert tokenizer.decode([8, 28, 5, 5, 12, 28, 12, 15, 0, 0, 28, 1]) == "hello a"
    # Everything that is needed, and nothing of the converter.
    code = {path.stem for path in folder.glob("*.py")}
    assert {"configuration_deepspeech", "feature_extraction_deepspeech", "modeling_deepspeech"} <= code
    assert not code & {path.stem for path in Path(deepspeech_lite.__file__).parent.glob("*.py")}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.pb", b"", "empty"),
        ("text.pb", b"not a model at all\n" * 50, "no model but text"),
        ("weights.pbmm", bytes(4096), "number 0"),
        ("short.tflite", b"\x10\0\0\0TFL3", "truncated or damaged"),
        ("cut.pb", container("v04/output_graph.pb")[:100_000], "truncated or damaged"),
        ("cut.pbmm", container("v09/output_graph.pbmm")[:100_000], "damaged"),
        ("pointer.pb", b"version https://git-lfs.github.com/spec/v1\n", "no model but a Git LFS pointer"),
        ("page.pb", b"<html>404</html>", "no model but an HTML page, .*; fetch the model itself"),
        ("cut.tflite", container(INT8)[:100_000], "damaged"),
    ],
)
def test_files_that_are_no_models_are_named_and_refused(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    path = write_container(tmp_path, name, content)
    with pytest.raises(ModelFileError, match=rf"{name}: .*{message}"):
        convert_deepspeech(path, tmp_path / "model", alphabet="english")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_missing_sources(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file, folder or checkpoint"):
        read_model(tmp_path / "output_graph.pb")
    with pytest.raises(ValueError, match="null: is no regular file"):
        read_model(os.devnull)
    with pytest.raises(ModelFileError, match=r"no \.index file"):
        read_model(tmp_path)
    folder = write_checkpoint(tmp_path, "v04")
    next(folder.glob("*.data-*")).unlink()
    with pytest.raises(FileNotFoundError, match=r"data-00000-of-00001"):
        read_model(folder)
    next(folder.glob("*.index")).unlink()
    with pytest.raises(FileNotFoundError, match="names this checkpoint"):
        read_model(folder)


@pytest.mark.parametrize(("package", "name"), [("tflite", INT8), ("google_crc32c", "v04")])
def test_missing_packages_are_named(package: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as if it could not be found
    with pytest.raises(ImportError, match=r"modeling-ser\[convert\]"):
        read_model(write(tmp_path, name))


def test_alphabets(tmp_path: Path) -> None:
    assert read_alphabet(ALPHABET) == read_alphabet("english") == list(ENGLISH)
    path = tmp_path / "alphabet.txt"
    path.write_bytes("# comment\r\n \r\n\\#\r\nä\r\n# the end\r\n".encode())
    assert read_alphabet(path) == [" ", "#", "ä"]
    assert unpack_alphabet([b"\2\0\1\0\2\0\xc3\xa4\0\0\1\0 "]) == [" ", "ä"]
    cut, gaps = (b"\2\0\0\0\1\0a", b"\1\0\0\0\5\0a", b""), b"\1\0\3\0\1\0a"
    for packed in (*cut, gaps, b"\0\0", b"\1\0\0\0\1\0\xff"):
        with pytest.raises(ModelFileError, match=r"cut off|gaps|no labels|bytes output mode"):
            unpack_alphabet([packed])
    wrong = {b"": "no labels", b"a\n\nb\n": "empty label", b"\xff\n": "UTF-8", b"a\na": "twice"}
    for content, message in wrong.items():
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            read_alphabet(path)


def test_versions() -> None:
    names = {"0.4": "0.4", "v0.5.1": "0.5", "0.9.3-alpha.1": "0.9"}
    names |= dict.fromkeys(("coqui", "1.3.0", "0.10.0"), "coqui")
    assert {version: find_release(version).name for version in names} == names
    for version in ("0.1.1", "1.5", "2", "0.4.", ""):
        with pytest.raises(ValueError, match="version="):
            find_release(version)


def test_a_lite_model_that_normalizes_its_layers_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Normalizing(deepspeech_lite.LiteModel):
        def __init__(self, buffer: memoryview) -> None:
            super().__init__(buffer)
            extra = [Operator(code, "", [0], [0], b"") for code in (40, 99, 76, 0)]
            self.operators = [*self.operators, *extra]

    monkeypatch.setattr(deepspeech_lite, "LiteModel", Normalizing)
    with pytest.raises(ModelFileError, match=r"normalizes its layers \(MEAN, RSQRT, SQUARED_DIFFERENCE\)"):
        read_model(write(tmp_path, INT8))
