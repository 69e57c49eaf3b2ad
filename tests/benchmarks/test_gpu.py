"""The measurements on a GPU, on the CPU in its place: their parts work, and differ from the CPU in nothing."""

import numpy as np
import pytest
import torch

from benchmarks import bench_gpu
from speech_emotion.pretrained.shipped_model import packaged_model
from tests.synthetic import speech_like

CLIPS = [speech_like(seconds=seconds, seed=index) for index, seconds in enumerate((0.6, 0.5, 0.4))]
SMALL = {"d_model": 16, "encoder_layers": 3, "encoder_attention_heads": 2, "encoder_ffn_dim": 16}


@pytest.fixture
def shipped() -> None:
    try:
        packaged_model()
    except FileNotFoundError as error:
        pytest.skip(str(error))


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert bench_gpu.main() == "## On a GPU\n\nNot measured: torch sees no GPU here."


@pytest.mark.usefixtures("shipped")
def test_scores_of_the_same_device_do_not_differ() -> None:
    ways = {name: bench_gpu.PLAIN[name] for name in ("float32", "encoder in bfloat16")}
    exact, rounded = bench_gpu.scores("cpu", CLIPS, ways, [2])
    assert exact[0] == "float32" and float(exact[5]) < 1e-5 and exact[6] == 0
    assert 1e-5 < float(rounded[5]) < 0.1


@pytest.mark.parametrize("how", bench_gpu.KINDS)
def test_losses_of_the_same_device_do_not_differ(how: str) -> None:
    if how == "lora":
        pytest.importorskip("peft")
    exact, rounded = bench_gpu.trainings("cpu", CLIPS, [how], SMALL, [1, 3])
    assert float(exact[5]) < 1e-6 < float(rounded[5]) < 0.1 and float(exact[2]) > 0


def test_what_learns_is_what_is_asked_for() -> None:
    learned = {}
    for how in ("top-2", "all"):
        network = bench_gpu.learner(how, SMALL, [1, 3])
        before = {name: value.clone() for name, value in network.state_dict().items()}
        batch = bench_gpu.training_batch(how, CLIPS, network.config.input_size)
        losses, _ = bench_gpu.steps(network, batch, "cpu", False, 2)
        assert losses[1] < losses[0] and all(
            torch.equal(before[name], one) for name, one in network.state_dict().items()
        )
        learned[how] = {name for name, one in network.named_parameters() if one.requires_grad}
    assert learned["top-2"] < learned["all"] and not any("layers.0." in name for name in learned["top-2"])


@pytest.mark.slow
@pytest.mark.usefixtures("shipped")
def test_two_processes_score_each_file_once() -> None:
    rows = bench_gpu.shared_device("cpu", CLIPS, number=70)
    assert [row[0] for row in rows] == [1, 2] and all(float(row[2]) < 1e-5 and float(row[1]) > 0 for row in rows)


def test_what_cannot_be_run_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> list[list[object]]:
        raise RuntimeError("CUDA out of memory\nmore")

    text = bench_gpu.attempted("Scores.", ["a"], fail)
    assert text == "Scores. **Could not be run:** RuntimeError: CUDA out of memory"
    assert "Traceback" in capsys.readouterr().err
    assert bench_gpu.attempted("Scores.", ["a"], lambda: [[np.int64(1)]]) == "Scores.\n\n| a |\n| --- |\n| 1 |"
