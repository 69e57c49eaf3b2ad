"""The layer study and the head study: numbers on inputs whose answer is known, and whole runs on small corpora."""

import csv
import json
import os
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from dataset_scripts import load_corpus, speaker_folds
from feature_extraction import (
    DeepSpeechConfig,
    DeepSpeechFeatureExtractor,
    DeepSpeechForCTC,
    DeepSpeechModel,
    SERFeatureExtractor,
)
from feature_extraction.audio_decoding import load_audio
from feature_extraction.speech_encoders import DeepSpeechEncoder, load_encoder
from modeling_ser import SERConfig, SEREnsembleForAudioClassification, SERForAudioClassification
from reproduction.studies.head_agreement import pool_heads
from reproduction.studies.head_dropping import HeadScores, score_without_heads, without_head
from reproduction.studies.head_findings import HeadStudy, summarize_heads
from reproduction.studies.layer_activations import LAYERS, clip_statistics, layer_activations, resample_frames
from reproduction.studies.layer_correlation import (
    CONDITIONS,
    Take,
    pair_masks,
    pearson_matrix,
    ravdess_takes,
    summarize_correlations,
)
from reproduction.studies.layer_probe import logistic_probe, ua_by_layer
from reproduction.studies.rank_agreement import (
    kendall_w,
    rank_agreement,
    rank_shares,
    shuffled_profile,
    sorted_profile,
)
from speech_emotion.cli.main import main as ser
from speech_emotion.evaluation import classification_metrics
from speech_emotion.evaluation.intervals import mean_over_pairs, mean_over_speakers, speaker_counts
from speech_emotion.inference.clip_attention import clip_attention, head_places
from speech_emotion.training.main import main as train
from tests.modeling_ser.small_models import enlivened, padded, random_clips, small_config
from tests.synthetic import speech_like, write_polish, write_ravdess

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning", "ignore:.*pin_memory.*:UserWarning")


@pytest.fixture(scope="module")
def deepspeech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoders") / "tiny-deepspeech"
    torch.manual_seed(0)
    DeepSpeechForCTC(DeepSpeechConfig(hidden_size=16)).save_pretrained(folder)
    DeepSpeechFeatureExtractor().save_pretrained(folder)
    return folder


# Layers


def test_all_layers_come_from_one_pass_and_equal_the_features_of_each(
    deepspeech: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waves = [torch.from_numpy(speech_like(seconds=seconds, seed=2)) for seconds in (0.5, 0.9)]
    encoder = load_encoder(str(deepspeech))
    assert isinstance(encoder, DeepSpeechEncoder)
    calls, forward = [], DeepSpeechModel.forward

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return forward(*args, **kwargs)

    monkeypatch.setattr(DeepSpeechModel, "forward", counted)
    clips = layer_activations(encoder, waves)
    assert len(calls) == 1
    assert [layer.shape for layer in clips[0]] == [(25, 26), *[(25, 16)] * 5, (25, 29)]
    for number in range(1, 7):
        alone = load_encoder(str(deepspeech), layer=number)(waves)
        for clip, expected in zip(clips, alone, strict=True):
            np.testing.assert_allclose(clip[number], expected.numpy(), atol=1e-5)
    coefficients = DeepSpeechFeatureExtractor()(waves[1].numpy(), sampling_rate=16000)["input_features"][0]
    np.testing.assert_allclose(clips[1][0], coefficients, atol=1e-5)


@pytest.mark.parametrize("frames", [2, 7, 50, 131])
def test_resampling_is_torchs_linear_interpolation(frames: int) -> None:
    values = np.random.default_rng(frames).standard_normal((frames, 3)).astype(np.float32)
    columns = torch.from_numpy(values.T.copy())[None]  # (1, units, frames)
    expected = torch.nn.functional.interpolate(columns, size=50, mode="linear", align_corners=True)[0].T
    # torch places the frames in float32, so its shares are off by some 1e-5.
    np.testing.assert_allclose(resample_frames(values, 50), expected.numpy(), atol=1e-4)


def test_one_frame_is_repeated() -> None:
    np.testing.assert_array_equal(resample_frames(np.array([[3.0, 4.0]]), 4), [[3.0, 4.0]] * 4)


def test_pearson_of_known_signals() -> None:
    time = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    mix = 0.6 * np.sin(time) + 0.8 * np.cos(time)
    signals = np.stack([np.sin(time), 5 * np.sin(time) + 3, np.cos(time), -np.sin(time), mix])
    expected = [1, 1, 0, -1, 0.6]
    np.testing.assert_allclose(pearson_matrix(signals)[0], expected, atol=1e-12)
    noisy = signals + np.random.default_rng(0).standard_normal(signals.shape)
    np.testing.assert_allclose(pearson_matrix(noisy), np.corrcoef(noisy), atol=1e-12)
    assert np.isnan(pearson_matrix(np.stack([time, 0 * time]))[1]).all()


def every_take(speakers: int = 3) -> list[Take]:
    return [
        Take(f"s{speaker}", sentence, emotion, "01", repetition)
        for speaker in range(speakers)
        for sentence in ("01", "02")
        for emotion in ("anger", "calm")
        for repetition in ("01", "02")
    ]


def test_pairs_differ_in_one_thing() -> None:
    takes = every_take()
    for name, field in zip(CONDITIONS, ("emotion", "repetition", "speaker"), strict=True):
        mask = pair_masks(takes)[name]
        assert (mask == mask.T).all()
        for one, other in np.ndindex(mask.shape):
            differing = [key for key in Take._fields if getattr(takes[one], key) != getattr(takes[other], key)]
            assert mask[one, other] == (differing == [field])


def test_correlations_are_averaged_over_pairs_and_speakers() -> None:
    takes = every_take()
    of_speaker = {"s0": 0.2, "s1": 0.4, "s2": 0.9}
    matrix = np.zeros((len(takes), len(takes)))
    for one, other in np.ndindex(matrix.shape):
        a, b = takes[one], takes[other]
        if a.speaker != b.speaker:
            matrix[one, other] = {"s0s1": 0.1, "s0s2": 0.3, "s1s2": 0.8}["".join(sorted((a.speaker, b.speaker)))]
        elif a.emotion != b.emotion:
            matrix[one, other] = of_speaker[a.speaker]
        else:
            matrix[one, other] = 0.95
    found = summarize_correlations(matrix, takes)
    assert found.conditions["two emotions"][0] == pytest.approx(0.5)
    np.testing.assert_allclose(found.conditions["two repetitions"], 0.95)
    assert found.conditions["two speakers"][0] == pytest.approx(0.4)
    assert found.effects["emotion"][0] == pytest.approx(0.45)
    assert found.effects["speaker"][0] == pytest.approx(0.55)
    # Of 3 speakers all draws are of s0 alone, or of s2 alone, in 1 of 27 cases each: more than 2.5%.
    np.testing.assert_allclose(found.conditions["two emotions"][1:], [0.2, 0.9])
    np.testing.assert_allclose(found.conditions["two speakers"][1:], [0.1, 0.8])
    np.testing.assert_allclose(found.effects["emotion"][1:], [0.05, 0.75])


def test_speakers_without_pairs_are_named() -> None:
    takes = [take for take in every_take() if (take.speaker, take.repetition) != ("s1", "02")]
    with pytest.raises(ValueError, match="no pairs of two repetitions for s1"):
        summarize_correlations(np.eye(len(takes)), takes)
    takes = every_take(1)
    with pytest.raises(ValueError, match="there is only s0"):
        summarize_correlations(np.eye(len(takes)), takes)


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


def test_takes_are_read_from_ravdess_names() -> None:
    row = {"speaker": "Actor_03", "sentence": "02", "label": "calm"}
    (take,) = ravdess_takes([row | {"file": "Actor_03/03-01-02-01-02-02-03.flac"}])
    assert take == Take("Actor_03", "02", "calm", "01", "02")
    with pytest.raises(ValueError, match="not named as RAVDESS"):
        ravdess_takes([row | {"file": "03a01Wa.wav"}])


def probe_rows() -> list[dict[str, str]]:
    return [
        {"id": f"{speaker}{label}{number}", "speaker": speaker, "label": label, "sex": "f"}
        for speaker in "abcd"
        for label in ("anger", "calm")
        for number in range(6)
    ]


def test_a_probe_reads_what_is_there_and_nothing_else() -> None:
    rows = probe_rows()
    labels = np.array([row["label"] == "calm" for row in rows], dtype=int)
    random = np.random.default_rng(0)
    features = {
        "clear": labels[:, None] * 2.0 + 0.1 * random.standard_normal((len(rows), 3)),
        "speaker": np.array([[ord(row["speaker"])] for row in rows], dtype=float),
    }
    columns = {name: [row[name] for row in rows] for name in ("id", "speaker")}
    found = ua_by_layer(features, columns["id"], labels, columns["speaker"], speaker_folds(rows))
    assert found["clear"].ua.value == 1
    assert (found["clear"].ua.low, found["clear"].ua.high) == (1, 1)
    assert found["speaker"].ua.value == pytest.approx(0.5)
    assert len(found["clear"].chosen) == 4


def test_a_probe_of_ones_own_sees_only_its_fold() -> None:
    rows = probe_rows()
    labels = [int(row["label"] == "calm") for row in rows]
    speakers = np.array([[ord(row["speaker"])] for row in rows], dtype=float)

    def probe(train: np.ndarray, y: np.ndarray, validation: np.ndarray, v: np.ndarray, test: np.ndarray) -> Any:
        people = [set(part.ravel()) for part in (train, validation, test)]
        assert not people[0] & people[1] and not people[0] & people[2] and not people[1] & people[2]
        return np.zeros(len(test), dtype=int), {"people": len(people[0])}

    ids, names = [row["id"] for row in rows], [row["speaker"] for row in rows]
    found = ua_by_layer({"1": speakers}, ids, labels, names, speaker_folds(rows), probe)
    assert found["1"].ua.value == 0.5
    assert [one["people"] for one in found["1"].chosen] == [2, 2, 2, 2]
    with pytest.raises(ValueError, match="must be tested once"):
        ua_by_layer({"1": speakers}, ids, labels, names, speaker_folds(rows)[:2], probe)


def test_the_probe_chooses_by_validation_and_scales_by_training() -> None:
    random = np.random.default_rng(0)
    labels = np.tile([0, 1, 2], 20)
    features = np.eye(3)[labels] * [1.0, 1000.0, 1e-3] + random.standard_normal((60, 3)) * [0.2, 200, 2e-4]
    predicted, about = logistic_probe(features[:30], labels[:30], features[30:45], labels[30:45], features[45:])
    assert classification_metrics(labels[45:], predicted, 3)["ua"] > 0.9
    assert about["C"] > 0
    assert clip_statistics(np.array([[1.0], [3.0]])).tolist() == [2.0, 1.0]


def test_the_layer_study_from_corpus_to_files(
    deepspeech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: no figures")
    corpus = write_ravdess(tmp_path / "ravdess", actors=range(1, 5), seconds=0.3)
    output = tmp_path / "study"
    words = ["--data_dir", corpus, "--encoder", deepspeech, "--output_dir", output, "--cache_dir", tmp_path / "cache"]
    assert ser(["study", "layers", *map(str, words), "--num_folds", "4"]) == 0
    printed = capsys.readouterr().out
    assert "Linear probe" in printed and "effect of emotion" in printed
    names = {path.name for path in output.iterdir()}
    assert names == {"activations.png", "layers.csv", "layers.json", "layers.png", "layers.svg"}
    facts = json.loads((output / "layers.json").read_text())
    assert facts["correlated"]["clips"] == 4 * 2 * 2 * 5  # speakers, sentences, repetitions, emotions
    assert facts["probe"] == {"labels": sorted(facts["probe"]["labels"]), "clips": 128, "folds": 4}
    assert facts["encoder"] == "tiny-deepspeech"
    rows = list(csv.DictReader((output / "layers.csv").open()))
    assert [row["layer"] for row in rows if row["quantity"] == "probe UA"] == list(LAYERS)
    for row in rows:
        assert float(row["low"]) <= float(row["estimate"]) <= float(row["high"])
    values = {(row["layer"], row["quantity"]): float(row["estimate"]) for row in rows}
    # The clips' sound depends on the emotion: its takes are more alike than its neighbors'.
    assert values["MFCC", "centered effect of the emotion"] > 0.1
    assert str(tmp_path) not in (output / "layers.json").read_text()

    # One number by hand: the plain correlation of two emotions in layer 1.
    encoder = load_encoder(str(deepspeech), layer=1)
    clips = {
        row["file"]: resample_frames(encoder([torch.from_numpy(load_audio(row["audio"]))])[0].numpy())
        for row in load_corpus("ravdess", data_dir=corpus, cache_dir=tmp_path / "cache")
    }
    paper = ("02", "03", "04", "05", "06")  # calm, happy, sad, angry, fearful

    def name(actor: int, emotion: str, sentence: int, repetition: int) -> str:
        return f"Actor_{actor:02}/03-01-{emotion}-01-{sentence:02}-{repetition:02}-{actor:02}.wav"

    expected = np.mean(
        [
            np.corrcoef(clips[name(a, one, s, r)].ravel(), clips[name(a, other, s, r)].ravel())[0, 1]
            for a in range(1, 5)
            for s in (1, 2)
            for r in (1, 2)
            for one in paper
            for other in paper
            if one < other
        ]
    )
    assert values["1", "plain r, two emotions"] == pytest.approx(expected, abs=1e-5)


def test_a_recording_that_occurs_twice_enters_once(deepspeech: Path, tmp_path: Path) -> None:
    from reproduction.studies.layer_study import read_clips

    corpus = write_ravdess(tmp_path / "ravdess", actors=(1,), emotions=("calm",), seconds=0.3)
    files = sorted(corpus.rglob("*.wav"))
    files[1].write_bytes(files[0].read_bytes())
    rows = load_corpus("ravdess", data_dir=corpus, cache_dir=tmp_path / "cache")
    kept, statistics, sequences = read_clips(rows, load_encoder(str(deepspeech)), [True] * 4)
    assert kept == [0, 2, 3]
    assert [len(clip) for clip in statistics] == [7, 7, 7]
    assert [layer.shape for layer in sequences] == [(3, 50, 26), *[(3, 50, 16)] * 5, (3, 50, 29)]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--labels anger joy", "no clips labelled joy"),
        (
            "--labels anger calm --intensity strong",
            "Nobody says a sentence in all of anger, calm with",
        ),
        ("--encoder no/such/folder", "no/such/folder"),
    ],
)
def test_what_the_layer_study_cannot_do_is_named(
    more: str, message: str, deepspeech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: no figures")
    corpus = write_ravdess(tmp_path / "ravdess", actors=(1,), emotions=("angry", "calm"), seconds=0.1)
    words = ["--data_dir", corpus, "--encoder", deepspeech, "--output_dir", tmp_path / "o", "--cache_dir", tmp_path]
    assert ser(["study", "layers", *map(str, words), *shlex.split(more)]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


# Heads


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
            expected = model.classifier(pooled)
            with without_head(model, stream, head):
                found = model(features, attention_mask=mask).logits
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_all_heads_dropped_leave_the_encoders_output() -> None:
    model = small_classifier()
    features, mask = padded(random_clips([6, 4]))
    with torch.no_grad(), without_head(model, 0, 0), without_head(model, 0, 1):
        output = model.ser(features, attention_mask=mask, output_hidden_states=True)
    encoded, context = output.hidden_states
    torch.testing.assert_close(context, encoded * mask[..., None])


def test_a_head_comes_back_even_after_an_error() -> None:
    model = small_classifier()
    features, mask = padded(random_clips([6]))
    with torch.no_grad():
        before = model(features, attention_mask=mask).logits
        with pytest.raises(KeyError), without_head(model, 0, 1):
            raise KeyError
        torch.testing.assert_close(model(features, attention_mask=mask).logits, before, rtol=0, atol=0)
    for stream, head in ((0, 2), (1, 0), (0, -1)):
        with pytest.raises(ValueError, match="There is no head"), without_head(model, stream, head):
            pass


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
    with pytest.raises(ValueError, match="no clips"):
        score_without_heads(model, [])


def test_heads_of_several_streams_are_named_after_them() -> None:
    model = small_classifier(fusion="late", stream_sizes=[4, 2])
    assert list(head_places(model, ["mel", "deepspeech"])) == ["mel 1", "mel 2", "deepspeech 1", "deepspeech 2"]


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
        assert found.kendall_w == kendall_w(values)


def test_agreement_beyond_chance_is_told_from_chance() -> None:
    random = np.random.default_rng(0)
    by_chance = [rank_agreement(random.standard_normal((30, 4)), permutations=200) for _ in range(20)]
    assert 0.3 < np.mean([one.permutation_p for one in by_chance]) < 0.7
    noise = random.standard_normal((60, 4))
    agreed = rank_agreement(noise + np.array([0, 0.5, 1, 3]))
    assert agreed.kendall_w > agreed.chance_w[1]
    assert agreed.permutation_p == pytest.approx(1 / 2001)
    assert kendall_w(np.ones((5, 3))) == 0
    with pytest.raises(ValueError, match="at least 2 raters"):
        kendall_w(np.ones((1, 3)))
    with pytest.raises(ValueError, match="finite"):
        kendall_w(np.array([[1.0, np.nan], [1.0, 2.0]]))


def test_profiles_forget_the_names_of_the_heads() -> None:
    random = np.random.default_rng(0)
    values = random.standard_normal((40, 4)) + np.array([0, 2, 0, 1])
    np.testing.assert_allclose(sorted_profile(values), sorted_profile(values[:, [3, 1, 0, 2]]))
    np.testing.assert_allclose(sorted_profile(values), sorted(values.mean(axis=0), reverse=True))
    chance = shuffled_profile(values, permutations=200)
    assert (np.diff(chance) <= 0).all()
    assert chance[0] < sorted_profile(values)[0]
    assert chance.mean() == pytest.approx(values.mean())
    np.testing.assert_allclose(rank_shares(values).sum(axis=0), 1)


def hand_made_scores(speakers: int) -> tuple[HeadScores, list[str]]:
    """Four clips per speaker; head 1 makes every class-1 clip right, head 2 does nothing."""
    truth = np.tile([0, 1], 2 * speakers)
    full = np.log(np.where(np.eye(2)[truth] > 0, 0.8, 0.2))
    without_1 = np.log(np.tile([0.6, 0.4], (len(truth), 1)))
    return HeadScores(["1", "2"], truth, full, np.stack([without_1, full])), [f"s{n // 4}" for n in range(len(truth))]


def test_what_dropping_does_to_ua_and_importance() -> None:
    scores, speakers = hand_made_scores(5)
    found = summarize_heads(scores, "run", [str(n) for n in range(20)], speakers, ["calm", "fear"])
    expected = (np.log(0.8 / 0.6) + np.log(0.8 / 0.4)) / 2
    np.testing.assert_allclose(found.mean_importance[0], [expected, 0])
    np.testing.assert_allclose(found.ua_change, [[-0.5, 0], [-0.5, 0], [-0.5, 0]])
    assert found.ua == 1
    assert found.clips.kendall_w == pytest.approx(1)
    assert found.speakers_agreement.raters == 5
    facts = json.loads(json.dumps(found.facts(), allow_nan=False))
    assert facts["heads"][0]["ua_change"] == {"value": -0.5, "low": -0.5, "high": -0.5}


@pytest.mark.parametrize("number", [1, 2, 4])
def test_few_speakers_give_no_interval(number: int) -> None:
    scores, speakers = hand_made_scores(number)
    found = summarize_heads(scores, "run", [str(n) for n in range(4 * number)], speakers, ["calm", "fear"])
    assert (found.speakers_agreement is None) == (number == 1)
    assert found.ua_change[0].tolist() == [-0.5, 0]
    assert np.isnan(found.mean_importance[1:]).all() and np.isnan(found.ua_change[1:]).all()
    facts = json.loads(json.dumps(found.facts(), allow_nan=False))
    assert facts["heads"][0]["importance"]["low"] is None
    assert (facts["agreement_of_speakers"] is None) == (number == 1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A run on a small corpus: its folder, the corpus, the cache."""
    root = tmp_path_factory.mktemp("run")
    corpus = write_polish(root / "polish")
    words = shlex.split("--corpus polish --hidden_size 8 --dense_size 8 --use_cpu true --num_train_epochs 2")
    places = ["--data_dir", corpus, "--output_dir", root / "model", "--cache_dir", root / "cache"]
    assert train([*words, *map(str, places)]) == 0
    return root / "model", corpus, root / "cache"


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


def test_the_head_study_from_a_saved_run_to_files(
    run: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: no figures")
    folder, corpus, cache = run
    output = tmp_path / "heads"
    words = ["--model", folder, folder, "--corpus", "polish", "--data_dir", corpus, "--cache_dir", cache]
    assert ser(["study", "heads", *map(str, words), "--output_dir", str(output)]) == 0
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
    assert ser(["study", "heads", *map(str, words)]) == 1
    assert "has no fold.jsonl" in capsys.readouterr().err


def test_one_head_cannot_be_unequal() -> None:
    scores = HeadScores(["1"], np.array([0, 1]), np.zeros((2, 2)), np.zeros((1, 2, 2)))
    with pytest.raises(ValueError, match="has one head"):
        summarize_heads(scores, "run", ["a", "b"], ["s", "t"], ["calm", "fear"])


def test_a_clips_attention_is_drawn_with_its_numbers(
    run: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: no figures")
    folder, corpus, _ = run
    clip = corpus / "m1.a_nie_1.wav"
    words = ["figures", "attention", "--model", str(folder)]
    assert ser([*words, "--file", str(clip), "--output", str(tmp_path / "a.svg")]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "a.svg"), str(tmp_path / "a.json")]
    numbers = json.loads((tmp_path / "a.json").read_text())
    features = SERFeatureExtractor().extract([SERFeatureExtractor().load_audio(clip)])["input_features"]
    model = SERForAudioClassification.from_pretrained(folder)
    output = model(features, output_attentions=True)
    assert list(numbers["attention_received"]) == ["1", "2", "3", "4"]
    received = features.shape[1] * output.attentions[0][0].mean(dim=1)
    np.testing.assert_allclose(list(numbers["attention_received"].values()), received.detach(), rtol=1e-5)
    np.testing.assert_allclose(numbers["times"], 0.025 * np.arange(features.shape[1]))
    assert sum(numbers["scores"].values()) == pytest.approx(1)
    assert ser([*words, "--file", str(tmp_path / "no.wav")]) == 1
    assert "no.wav" in capsys.readouterr().err


def test_frames_of_a_model_2_stand_where_the_encoder_says(deepspeech: Path) -> None:
    extractor = SERFeatureExtractor(
        streams=("deepspeech",), encoders={"deepspeech": {"name_or_path": str(deepspeech)}}
    )
    model = SERForAudioClassification(SERConfig(input_size=16, hidden_size=8, num_labels=3))
    found = clip_attention(model, extractor, {"array": speech_like(seconds=0.5), "sampling_rate": 16000})
    np.testing.assert_allclose(found.times, (320 * np.arange(25) + 256) / 16000)
    assert found.attention.shape == (4, 25, 25)
    assert found.log_mel.shape == (21, 128)
    np.testing.assert_allclose(found.attention.sum(axis=-1), 1, atol=1e-6)


def test_heads_of_an_ensemble_are_those_of_its_members() -> None:
    clip = {"array": speech_like(seconds=0.5), "sampling_rate": 16000}
    members = [SERForAudioClassification(SERConfig(hidden_size=8, num_attention_heads=2)).eval() for _ in range(2)]
    ensemble = SEREnsembleForAudioClassification.from_members(members)
    found = clip_attention(ensemble, SERFeatureExtractor(), clip)
    assert found.head_names == ["member 1 head 1", "member 1 head 2", "member 2 head 1", "member 2 head 2"]
    for number, member in enumerate(members):
        alone = clip_attention(member, SERFeatureExtractor(), clip)
        np.testing.assert_array_equal(found.attention[2 * number : 2 * number + 2], alone.attention)


# Real speech


@pytest.mark.skipif("SER_DATA_DIR" not in os.environ, reason="SER_DATA_DIR is not set: no real corpora")
def test_real_takes_are_more_alike_than_emotions_and_speakers(deepspeech: Path, tmp_path: Path) -> None:
    from reproduction.studies.layer_study import PAPER_LABELS, correlate_layers, read_clips

    if not Path(os.environ["SER_DATA_DIR"], "ravdess").is_dir():
        pytest.skip("there is no ravdess in SER_DATA_DIR")
    rows = load_corpus("ravdess", cache_dir=tmp_path)
    takes = ravdess_takes(rows.remove_columns("audio"))
    people = {f"Actor_{number:02}" for number in range(1, 5)}
    chosen = [
        index
        for index, take in enumerate(takes)
        if take.speaker in people and take.emotion in PAPER_LABELS and take.intensity == "01" and take.sentence == "01"
    ]
    kept, _, sequences = read_clips(rows.select(chosen), load_encoder(str(deepspeech)), [True] * len(chosen))
    found = correlate_layers(sequences, [takes[chosen[index]] for index in kept])
    # Of the coefficients, whatever the weights of the network are.
    centered = found["centered"]["MFCC"]
    assert centered.effects["emotion"][0] > 0
    assert centered.effects["speaker"][0] > 0
