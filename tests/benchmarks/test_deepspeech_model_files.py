import numpy as np
import pytest

from benchmarks.deepspeech_model_files import frozen_graph, lite_model, random_weights
from feature_extraction.convert.deepspeech_graph import read_graph
from feature_extraction.convert.deepspeech_lite import read_lite
from tests.feature_extraction.deepspeech_fixtures import weights


@pytest.mark.parametrize("hidden", [64, 128, 192])
def test_written_models_hold_their_weights(hidden: int) -> None:
    given = random_weights(hidden, seed=hidden)
    exact = read_graph(memoryview(frozen_graph(given)))
    rounded = read_lite(memoryview(lite_model(given)))
    for key, value in given.items():
        assert np.array_equal(exact.weights[key], value)
        step = np.abs(value).max() / 127 if key.startswith("w") or key == "lstm_kernel" else 0.0
        assert np.abs(rounded.weights[key] - value).max() <= 0.501 * step
    for facts in (exact, rounded):
        assert (facts.relu_clip, facts.forget_bias, len(facts.alphabet)) == (20.0, 0.0, 28)


def test_the_fixtures_own_weights_come_back() -> None:
    written = read_graph(memoryview(frozen_graph(weights("v09"))))
    assert all(np.array_equal(written.weights[key], value) for key, value in weights("v09").items())


def test_other_numbers_of_units_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 64"):
        frozen_graph(random_weights(100))
