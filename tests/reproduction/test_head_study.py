"""The head study: numbers on inputs whose answer is known, and a whole study of a small run."""

import csv
import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from feature_extraction import SERFeatureExtractor
from modeling_ser import SERConfig, SERForAudioClassification
from reproduction.studies.head_study import (
    HeadScores,
    HeadStudy,
    pool_heads,
    score_without_heads,
    summarize_heads,
    without_head,
)
from reproduction.studies.rank_agreement import (
    rank_agreement,
    shuffled_profile,
    sorted_profile,
)
from speech_emotion.cli.train import main as train
from speech_emotion.evaluation.intervals import mean_over_pairs, mean_over_speakers, speaker_counts
from speech_emotion.inference.explanation import head_places
from tests.modeling_ser.small_models import enlivened, padded, random_clips, small_config
from tests.reproduction.test_layer_study import run_study
from tests.synthetic import write_polish

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning", "ignore:.*pin_memory.*:UserWarning")


def small_classifier(**fields: Any) -> SERForAudioClassification:
    return enlivened(SERForAudioClassification(small_config(**fields)))


@pytest.mark.parametrize("late", [False, True], ids=["one stream", "two streams"])
def test_a_dropped_head_equals_the_computation_by_hand(late: bool) -> None:
    fields = {"fusion": "late", "stream_sizes": [4, 2]} if late else {}
    model = small_classifier(**fields, attention_bias=True)
    features, mask = padded(random_clips([9, 5, 7]))
    size = model.config.head_size
    for stream, head in head_places(model).values():
        # Pooling is linear: C without the head is C - A_i W_i, and so are their means over the real frames.
        attended: list[torch.Tensor] = []
        output = model.ser.streams[stream].attention.output
        hook = output.register_forward_pre_hook(lambda module, inputs, kept=attended: kept.append(inputs[0]))
        with torch.no_grad():
            pooled = model.ser(features, attention_mask=mask).pooler_output
        hook.remove()
        share = slice(head * size, (head + 1) * size)
        addend = attended[0][..., share] @ output.weight[:, share].T  # (batch, frames, hidden_size)
        mean = (addend * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        units = slice(stream * model.config.hidden_size, (stream + 1) * model.config.hidden_size)
        pooled[:, units] -= mean
        with torch.no_grad():
            (expected,) = model.classifier(pooled)
            with without_head(model, stream, head):
                found = model(features, attention_mask=mask).logits
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_head_comes_back_even_after_an_error() -> None:
    model = small_classifier()
    features, mask = padded(random_clips([6]))
    with torch.no_grad():
        before = model(features, attention_mask=mask).logits
        with pytest.raises(KeyError), without_head(model, 0, 1):
            raise KeyError
        torch.testing.assert_close(model(features, attention_mask=mask).logits, before, rtol=0, atol=0)


def test_importance_is_the_fall_of_the_true_classs_log_probability() -> None:
    model = small_classifier()
    batches = []
    for seed, lengths in enumerate(([5, 8], [7])):
        features, mask = padded(random_clips(lengths, seed=seed))
        labels = torch.arange(len(lengths)) + seed
        batches.append({"input_features": features, "attention_mask": mask, "labels": labels})
    scores = score_without_heads(model.train(), batches)  # dropout would show
    assert scores.names == ["1", "2"]
    assert scores.truth.tolist() == [0, 1, 1]
    assert scores.importance.shape == (3, 2)
    with torch.no_grad(), without_head(model, 0, 1):
        without = model(batches[1]["input_features"], attention_mask=batches[1]["attention_mask"]).logits
    full = model(batches[1]["input_features"], attention_mask=batches[1]["attention_mask"]).logits
    fall = (full.log_softmax(-1) - without.log_softmax(-1))[0, 1]
    assert scores.importance[2, 1] == pytest.approx(float(fall.detach()), abs=1e-5)


def test_agreement_equals_scipys_friedman_and_spearman() -> None:
    random = np.random.default_rng(0)
    for values in (
        random.standard_normal((12, 4)) + np.arange(4),
        random.integers(0, 3, (15, 4)).astype(float),  # with ties
    ):
        found = rank_agreement(values, permutations=50)
        chi2, p = stats.friedmanchisquare(*values.T)
        assert found.friedman_chi2 == pytest.approx(chi2)
        assert found.friedman_p == pytest.approx(p)
        kept = [row for row in values if len(set(row)) > 1]
        pairs = [stats.spearmanr(a, b).statistic for i, a in enumerate(kept) for b in kept[i + 1 :]]
        assert found.mean_spearman == pytest.approx(np.mean(pairs))


def test_agreement_beyond_chance_is_told_from_chance() -> None:
    random = np.random.default_rng(0)
    by_chance = [rank_agreement(random.standard_normal((30, 4)), permutations=200) for _ in range(20)]
    assert 0.3 < np.mean([one.permutation_p for one in by_chance]) < 0.7
    noise = random.standard_normal((60, 4))
    agreed = rank_agreement(noise + np.array([0, 0.5, 1, 3]))
    assert agreed.kendall_w > agreed.chance_w[1]
    assert agreed.permutation_p == pytest.approx(1 / 2001)
    assert rank_agreement(np.ones((5, 3))).kendall_w == 0
    assert rank_agreement(np.array([[1.0, 2.0], [2.0, 1.0]])).kendall_w == 0
    with pytest.raises(ValueError, match="at least 2 raters"):
        rank_agreement(np.ones((1, 3)))
    with pytest.raises(ValueError, match="finite"):
        rank_agreement(np.array([[1.0, np.nan], [1.0, 2.0]]))


def test_profiles_forget_the_names_of_the_heads() -> None:
    random = np.random.default_rng(0)
    values = random.standard_normal((40, 4)) + np.array([0, 2, 0, 1])
    np.testing.assert_allclose(sorted_profile(values), sorted_profile(values[:, [3, 1, 0, 2]]))
    np.testing.assert_allclose(sorted_profile(values), sorted(values.mean(axis=0), reverse=True))
    chance = shuffled_profile(values, permutations=200)
    assert (np.diff(chance) <= 0).all()
    assert chance[0] < sorted_profile(values)[0]
    assert chance.mean() == pytest.approx(values.mean())


def hand_made_scores(speakers: int) -> tuple[HeadScores, list[str]]:
    """Four clips per speaker; head 1 makes every class-1 clip right, head 2 does nothing."""
    truth = np.tile([0, 1], 2 * speakers)
    full = np.log(np.where(np.eye(2)[truth] > 0, 0.8, 0.2))
    without_1 = np.log(np.tile([0.6, 0.4], (len(truth), 1)))
    return HeadScores(["1", "2"], truth, full, np.stack([without_1, full])), [f"s{n // 4}" for n in range(len(truth))]


@pytest.mark.parametrize("number", [1, 2, 4, 5])
def test_what_dropping_does_to_ua_and_importance(number: int) -> None:
    scores, speakers = hand_made_scores(number)
    found = summarize_heads(scores, "run", [str(n) for n in range(4 * number)], speakers, ["calm", "fear"])
    expected = (np.log(0.8 / 0.6) + np.log(0.8 / 0.4)) / 2
    np.testing.assert_allclose(found.mean_importance[0], [expected, 0])
    assert found.ua == 1 and found.ua_change[0].tolist() == [-0.5, 0]
    assert found.clips.kendall_w == pytest.approx(1)
    few = number < 5  # then there is no interval
    assert np.isnan(found.mean_importance[1:]).all() == few
    np.testing.assert_array_equal(found.ua_change[1:], np.full((2, 2), np.nan) if few else [[-0.5, 0], [-0.5, 0]])
    facts = json.loads(json.dumps(found.facts(), allow_nan=False))
    end = None if few else -0.5
    assert facts["heads"][0]["ua_change"] == {"value": -0.5, "low": end, "high": end}
    assert (facts["agreement_of_speakers"] or {"raters": 1})["raters"] == number


def test_models_together_say_whether_heads_matter_alike_to_others() -> None:
    random = np.random.default_rng(3)

    def study(strength: float, speakers: list[str]) -> HeadStudy:
        """Head 2 of 3 counts for more in every clip, by `strength`; the rest is noise."""
        people = [name for name in speakers for _ in range(40)]
        importance = random.normal(size=(len(people), 3)) + strength * np.array([0, 1, 0])
        dropped = np.stack([np.stack([-column, np.zeros(len(people))], axis=1) for column in importance.T])
        scores = HeadScores(["1", "2", "3"], np.zeros(len(people), int), np.zeros((len(people), 2)), dropped)
        return summarize_heads(scores, "run", [str(n) for n in range(len(people))], people, ["calm", "fear"])

    def models(strength: float) -> list[HeadStudy]:
        return [study(strength, [f"{fold}{letter}" for letter in "abc"]) for fold in range(4) for _ in range(2)]

    unequal, alike = pool_heads(models(1.0)), pool_heads(models(0.0))
    assert (unequal.models, unequal.speakers) == (8, 12)
    assert unequal.lead[1] > 0.8 and unequal.lead[2] < 1.2 and unequal.correlation[1] > 0.15
    assert alike.lead[1] < 0 < alike.lead[2] and alike.correlation[1] < 0 < alike.correlation[2]

    # By hand: every pair of clips of two speakers of the one model, and the head that the other speaker ranks first.
    one = study(0.5, ["s", "t"])
    found = pool_heads([one, study(1.0, ["u"])])
    first, second = one.importance[:40], one.importance[40:]
    pairs = [stats.spearmanr(a, b).statistic for a in first for b in second]
    assert found.models == 1 and found.speakers == 2
    assert found.correlation[0] == pytest.approx(np.mean(pairs))
    expected = []
    for mine, others in ((first, second), (second, first)):
        head, means = others.mean(axis=0).argmax(), mine.mean(axis=0)
        expected.append(means[head] - np.delete(means, head).mean())
    assert found.lead[0] == pytest.approx(np.mean(expected))
    assert pool_heads([study(1.0, ["u"])]) is None


def test_the_head_study_from_a_saved_run_to_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: no figures")
    folder, corpus, cache = tmp_path / "model", write_polish(tmp_path / "polish"), tmp_path / "cache"
    words = shlex.split("--preset paper --corpus polish --hidden_size 8 --dense_size 8 --use_cpu --num_train_epochs 2")
    places = ["--data_dir", corpus, "--output_dir", folder, "--cache_dir", cache]
    assert train([*words, *map(str, places)]) == 0
    output = tmp_path / "heads"
    words = ["--model", folder, folder, "--corpus", "polish", "--data_dir", corpus, "--cache_dir", cache]
    assert run_study("heads", *words, "--output_dir", output) == 0
    assert "Kendall's W" in capsys.readouterr().out
    figures = {f"heads-model-{number}.{ending}" for number in (1, 2) for ending in ("png", "svg")}
    assert {path.name for path in output.iterdir()} == {"heads.json", "importance.csv", "profiles.png", *figures}
    facts = json.loads((output / "heads.json").read_text())
    first, second = facts["models"]
    assert facts["pooled"] is None  # one test speaker each
    assert {**first, "model": None} == {**second, "model": None}
    report = json.loads((folder / "results.json").read_text())
    assert first["ua"] == pytest.approx(report["test"]["metrics"]["ua"])  # the run's own test clips
    assert first["speakers"] == report["test"]["speakers"]
    tested = {entry["id"] for line in (folder / "fold.jsonl").open() if (entry := json.loads(line))["split"] == "test"}
    rows = list(csv.DictReader((output / "importance.csv").open()))
    assert {row["id"] for row in rows} == tested
    assert len(rows) == 2 * 4 * len(tested)
    assert str(tmp_path) not in (output / "heads.json").read_text()


def test_the_head_study_needs_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: no figures")
    SERForAudioClassification(SERConfig(hidden_size=8)).save_pretrained(tmp_path / "model")
    SERFeatureExtractor().save_pretrained(tmp_path / "model")
    words = ["--model", tmp_path / "model", "--corpus", "polish", "--output_dir", tmp_path / "o"]
    assert run_study("heads", *words) == 1
    assert "fold.jsonl" in capsys.readouterr().err


def test_one_head_cannot_be_unequal() -> None:
    scores = HeadScores(["1"], np.array([0, 1]), np.zeros((2, 2)), np.zeros((1, 2, 2)))
    with pytest.raises(ValueError, match="one head"):
        summarize_heads(scores, "run", ["a", "b"], ["s", "t"], ["calm", "fear"])


def test_resampled_means_equal_those_of_drawn_speakers() -> None:
    random = np.random.default_rng(1)
    values, pairs = random.random((5, 2)), random.random((5, 5))
    pairs += pairs.T
    counts = speaker_counts(5, resamples=20, seed=3)
    for row, mean, pair_mean in zip(
        counts, mean_over_speakers(values, counts), mean_over_pairs(pairs, counts), strict=True
    ):
        drawn = np.repeat(np.arange(5), row)
        np.testing.assert_allclose(mean, values[drawn].mean(axis=0))
        apart = [pairs[a, b] for i, a in enumerate(drawn) for b in drawn[i + 1 :] if a != b]
        np.testing.assert_allclose(pair_mean, np.mean(apart))
    assert np.isnan(mean_over_pairs(pairs, np.array([[5, 0, 0, 0, 0]]))).all()
