"""Error rates, transcripts, speakers, masks, scaled first layer: the parts of a DeepSpeech training, one by one."""

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch

from dataset_scripts import load_corpus, save_fold
from feature_extraction import DeepSpeechConfig, DeepSpeechFeatureExtractor, DeepSpeechForCTC
from feature_extraction.tokenizer_deepspeech import ENGLISH, build_tokenizer
from speech_emotion.evaluation import edit_distance, error_rates
from speech_emotion.training.augmentation_masking import SpecAugment
from speech_emotion.training.ctc_arguments import CTCDataArguments
from speech_emotion.training.ctc_collator import CTCCollator
from speech_emotion.training.ctc_input_scaling import ScaledLinear, scale_inputs, scaled_input_layer, unscale_inputs
from speech_emotion.training.ctc_perturbation import Perturbation
from speech_emotion.training.ctc_speakers import age_group, choose_speakers, choose_transcribed_fold, speaker_rows
from speech_emotion.training.ctc_split import make_transcribed_split
from speech_emotion.training.ctc_trainer import clip_losses
from speech_emotion.training.ctc_transcripts import decode_greedily, encode_transcript, normalize_transcript
from speech_emotion.training.feature_cache import cache_features
from tests.speech_emotion.spelled_speech import SPEAKERS, write_spelled

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning")
VOCABULARY = build_tokenizer(ENGLISH).get_vocab()


# Error rates ---------------------------------------------------------------------------------------------------------


def slow_edit_distance(one: Any, other: Any) -> int:
    table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i in range(len(one) + 1):
        for j in range(len(other) + 1):
            if not i or not j:
                table[i][j] = i + j
            else:
                replaced = table[i - 1][j - 1] + (one[i - 1] != other[j - 1])
                table[i][j] = min(replaced, table[i - 1][j] + 1, table[i][j - 1] + 1)
    return table[-1][-1]


def test_edit_distance_is_that_of_the_whole_table() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        one, other = ("".join(random.choice(list("ab c"), random.integers(0, 12))) for _ in range(2))
        assert edit_distance(one, other) == slow_edit_distance(one, other), (one, other)
        assert edit_distance(one.split(), other.split()) == slow_edit_distance(one.split(), other.split())


@pytest.mark.parametrize(
    ("reference", "hypothesis", "cer", "wer"),
    [
        ("a b", "a b", 0.0, 0.0),
        ("a b", "", 1.0, 1.0),
        ("ab", "a b", 1 / 2, 2.0),  # one letter too many, but two words for one
        ("a b", "  a   b ", 0.0, 0.0),
        ("a", "abcd", 3.0, 1.0),
    ],
)
def test_error_rates_of_one_clip(reference: str, hypothesis: str, cer: float, wer: float) -> None:
    rates = error_rates([reference], [hypothesis])
    assert (rates.cer, rates.wer) == (pytest.approx(cer), pytest.approx(wer))


def test_errors_are_pooled_over_clips_and_not_averaged() -> None:
    rates = error_rates(["a" * 9, "b"], ["a" * 9, "c"])
    assert rates.cer == pytest.approx(1 / 10)
    assert (rates.clips, rates.characters, rates.words, rates.word_errors) == (2, 10, 2, 1)


@pytest.mark.parametrize(
    ("references", "hypotheses", "message"),
    [([], [], "at least 1"), (["a"], ["a", "b"], "1 and 2"), (["a", " "], ["", ""], "Reference 1 has no word")],
)
def test_rates_of_nothing_are_refused(references: list[str], hypotheses: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        error_rates(references, hypotheses)


# Transcripts ---------------------------------------------------------------------------------------------------------


def test_labels_are_the_tokenizers_and_decode_to_the_transcript() -> None:
    tokenizer = build_tokenizer(ENGLISH)
    text = normalize_transcript(" IT'S  A Zoo ")
    labels = encode_transcript(text, VOCABULARY, "x")
    assert labels == tokenizer(text).input_ids
    assert len(tokenizer) == 29
    assert VOCABULARY["<blank>"] == 28
    assert tokenizer.decode(labels, group_tokens=False) == text == "it's a zoo"


def test_greedy_decoding_merges_repetitions_and_drops_blanks_and_padding() -> None:
    a, blank = VOCABULARY["a"], VOCABULARY["<blank>"]
    rows = [np.array([blank, a, a, blank, a, 0, a, -100, -100]), np.array([blank, blank, -100])]
    assert decode_greedily(rows, build_tokenizer(ENGLISH)) == ["aa a", ""]


@pytest.mark.parametrize(("text", "message"), [("", "clip 'c7' has no transcript"), ("café 2", r"'c7', .*'2', 'é'")])
def test_transcripts_that_cannot_be_learned_name_their_clip(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode_transcript(text, VOCABULARY, "c7")


# Speakers ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> datasets.Dataset:
    folder = write_spelled(tmp_path_factory.mktemp("spelled"))
    return load_corpus("speechocean762", data_dir=folder, cache_dir=tmp_path_factory.mktemp("cache"))


def test_validation_is_balanced_by_age_and_sex_and_taken_from_the_training_half(rows: datasets.Dataset) -> None:
    fold = choose_transcribed_fold(rows, CTCDataArguments(validation_speakers=4))
    speaker = dict(zip(rows["id"], rows["speaker"], strict=True))
    validating = {speaker[clip] for clip in fold.validation}
    about = sorted((age_group(SPEAKERS[name][2]), SPEAKERS[name][1]) for name in validating)
    assert about == [("adults", "f"), ("adults", "m"), ("children", "f"), ("children", "m")]
    assert {SPEAKERS[name][0] for name in validating} == {"train"}
    assert {speaker[clip] for clip in fold.test} == {"0009", "0010"}
    assert not validating & {speaker[clip] for clip in fold.train}
    assert sum(map(len, fold.splits.values())) == len(rows)
    assert choose_transcribed_fold(rows, CTCDataArguments(validation_speakers=4)) == fold


def test_chosen_speakers_are_of_all_ages() -> None:
    people = [{"speaker": f"s{age}", "sex": "f", "age": age} for age in range(6, 16)]
    assert choose_speakers(people, 3) == ["s7", "s11", "s14"]


@pytest.mark.parametrize("number", [0, 10])
def test_numbers_of_speakers_that_leave_none_are_refused(number: int) -> None:
    people = [{"speaker": str(i), "sex": None, "age": None} for i in range(10)]
    with pytest.raises(ValueError, match=f"Cannot take {number} of 10"):
        choose_speakers(people, number)


def test_a_speaker_of_both_halves_is_caught(rows: datasets.Dataset) -> None:
    table = speaker_rows(rows)
    leaking = next(row for row in table if row["split"] == "test")
    leaking["speaker"] = next(row["speaker"] for row in table if row["split"] == "train")
    for name in ("sex", "age"):
        leaking[name] = next(row[name] for row in table if row["speaker"] == leaking["speaker"])
    with pytest.raises(ValueError, match=r"speaker '0001' is in (train|validation) and in test"):
        choose_transcribed_fold(datasets.Dataset.from_list(table), CTCDataArguments(validation_speakers=2))


def test_a_tested_speakers_session_partner_may_not_train(rows: datasets.Dataset, tmp_path: Path) -> None:
    table = [row | {"session": row["speaker"]} for row in speaker_rows(rows)]
    fold = choose_transcribed_fold(datasets.Dataset.from_list(table), CTCDataArguments(validation_speakers=2))
    file = tmp_path / "fold.jsonl"
    save_fold(fold, table, file)
    arguments = CTCDataArguments(folds_file=str(file))
    assert choose_transcribed_fold(datasets.Dataset.from_list(table), arguments).splits == fold.splits
    for row in table:
        row["session"] = "all"
    with pytest.raises(ValueError, match="the session 'all' is in train"):
        choose_transcribed_fold(datasets.Dataset.from_list(table), arguments)


def test_a_corpus_without_halves_asks_for_a_file_of_folds(rows: datasets.Dataset) -> None:
    with pytest.raises(ValueError, match="--folds_file"):
        choose_transcribed_fold(rows.remove_columns("split"), CTCDataArguments())


# Splits --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def features(rows: datasets.Dataset) -> datasets.Dataset:
    return cache_features(rows, DeepSpeechFeatureExtractor())


def test_cached_coefficients_equal_fresh_ones(rows: datasets.Dataset, features: datasets.Dataset) -> None:
    extractor = DeepSpeechFeatureExtractor()
    for index in (0, 23, len(rows) - 1):
        fresh = extractor.extract([extractor.load_audio(rows[index]["audio"])])["input_features"][0].numpy()
        np.testing.assert_array_equal(features[index]["input_features"].reshape(-1, 26), fresh)


def test_a_split_joins_clips_by_id_in_order_of_length(rows: datasets.Dataset, features: datasets.Dataset) -> None:
    some = rows.select(range(5, 25))
    split = make_transcribed_split("train", some, features, VOCABULARY)
    assert sorted(split.ids) == sorted(some["id"])
    assert split.num_frames.tolist() == sorted(split.num_frames)
    texts = dict(zip(rows["id"], rows["transcript"], strict=True))
    frames = dict(zip(features["id"][:].tolist(), features["num_frames"][:].tolist(), strict=True))
    for index, clip in enumerate(split.ids):
        item = split[index]
        assert split.transcripts[index] == texts[clip].lower()
        assert item["labels"] == [VOCABULARY[letter] for letter in texts[clip].lower()]
        assert len(item["input_features"]) == 26 * frames[clip]
    assert split.groups == [age_group(SPEAKERS[speaker][2]) for speaker in split.speakers]


@pytest.mark.parametrize(
    ("text", "message"),
    [("LÀ BAS", r"'000010001'.*'à'"), ("A" * 40, r"'000010001' has \d+ frames, too few"), ("", "no transcript")],
)
def test_clips_that_cannot_be_learned_are_named_or_skipped(
    text: str, message: str, rows: datasets.Dataset, features: datasets.Dataset
) -> None:
    some = rows.select(range(4)).to_list()
    some[0]["transcript"] = text
    broken = datasets.Dataset.from_list(some)
    with pytest.raises(ValueError, match=message):
        make_transcribed_split("train", broken, features, VOCABULARY)
    assert len(make_transcribed_split("train", broken, features, VOCABULARY, skip_bad=True)) == 3


def test_a_corpus_without_transcripts_is_refused(rows: datasets.Dataset, features: datasets.Dataset) -> None:
    with pytest.raises(ValueError, match="no transcripts"):
        make_transcribed_split("train", rows.remove_columns("transcript"), features, VOCABULARY)


def test_batches_pad_features_with_zeros_and_labels_with_what_is_ignored() -> None:
    clips = [
        {"input_features": np.ones(6, np.float32), "labels": [4]},
        {"input_features": np.ones(2), "labels": [1, 2]},
    ]
    batch = CTCCollator(2)(clips)
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [[4, -100], [1, 2]]
    assert batch["input_features"][1, 1:].abs().sum() == 0


# SpecAugment ---------------------------------------------------------------------------------------------------------


def test_masks_are_within_their_limits() -> None:
    fill = torch.arange(26.0)
    augment = SpecAugment(fill, time_masks=1, time_mask_frames=15, time_mask_share=0.2, feature_masks=1)
    features = torch.full((400, 100, 26), -1.0)
    lengths = torch.tensor([100, 30] * 200)
    mask = (torch.arange(100) < lengths[:, None]).long()
    torch.manual_seed(0)
    batch = {"input_features": features, "attention_mask": mask}
    masked = augment(batch)["input_features"] != features  # (batch, frames, features)
    assert features.eq(-1).all()  # the batch itself is left alone
    runs, stretches = masked.all(dim=1).sum(dim=1), masked.all(dim=2).sum(dim=1)
    assert set(runs.tolist()) == set(range(6))
    assert set(stretches[0::2].tolist()) == set(range(16))  # at most 15 frames,
    assert set(stretches[1::2].tolist()) == set(range(7))  # and at most a fifth of the clip,
    assert not masked[1::2, 30:].all(dim=2).any()  # within the clip
    starts = masked[0::2].all(dim=2).float().argmax(dim=1)
    assert starts.max() > 70


def test_masked_places_hold_the_mean() -> None:
    fill = torch.arange(26.0)
    augment = SpecAugment(fill, time_masks=2, feature_masks=2)
    torch.manual_seed(1)
    features = torch.full((50, 80, 26), -1.0)
    changed = augment({"input_features": features, "attention_mask": torch.ones(50, 80)})["input_features"]
    assert (changed != features).any()
    assert ((changed == features) | (changed == fill)).all()


def test_masks_depend_on_the_seed_only() -> None:
    augment = SpecAugment(torch.zeros(26))
    batch = {"input_features": torch.ones(4, 60, 26), "attention_mask": torch.ones(4, 60)}
    results = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        results.append(augment(batch)["input_features"])
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"time_masks": -1}, "time_masks"),
        ({"time_mask_share": 2.0}, "time_mask_share"),
        ({"feature_mask_size": 26}, "26"),
    ],
)
def test_impossible_masks_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpecAugment(torch.zeros(26), **settings)


# Perturbation --------------------------------------------------------------------------------------------------------


def batch_of(lengths: list[int], letters: int = 3) -> dict[str, torch.Tensor]:
    """Ramps: coefficient k of frame t is t + 100 k."""
    frames = max(lengths)
    mask = (torch.arange(frames) < torch.tensor(lengths)[:, None]).long()
    features = torch.arange(frames)[:, None] + 100.0 * torch.arange(26)  # (frames, features)
    features = features.expand(len(lengths), -1, -1) * mask[..., None]
    return {"input_features": features, "attention_mask": mask, "labels": torch.ones(len(lengths), letters).long()}


def test_tempo_stretches_within_its_limits_and_keeps_both_ends() -> None:
    torch.manual_seed(0)
    lengths = [200, 120] * 100
    changed = Perturbation(tempo=0.1, gain=0)(batch_of(lengths))
    ratios = changed["attention_mask"].sum(dim=1) / torch.tensor(lengths)
    assert 0.895 <= ratios.min() < 0.91
    assert 1.09 < ratios.max() <= 1.105
    for index in (0, 1, 57):
        clip = changed["input_features"][index][changed["attention_mask"][index] == 1]
        line = torch.linspace(0, lengths[index] - 1, len(clip))
        torch.testing.assert_close(clip[:, 4], line + 400, atol=1e-3, rtol=0)
        assert not changed["input_features"][index, len(clip) :].any()


def test_gain_is_that_of_a_louder_waveform() -> None:
    extractor, random = DeepSpeechFeatureExtractor(), np.random.default_rng(0)
    wave = (0.01 * random.standard_normal(8000)).astype(np.float32)
    torch.manual_seed(5)
    features = extractor.extract([wave])
    batch = {**features, "labels": torch.ones(1, 2).long()}
    changed = Perturbation(tempo=0, gain=6)(batch)["input_features"]
    decibels = (changed - features["input_features"])[0, 0, 0].item() * 10 / np.log(10)
    assert 0.1 < abs(decibels) <= 6
    louder = extractor.extract([wave * np.float32(10 ** (decibels / 20))])["input_features"]
    torch.testing.assert_close(changed, louder, atol=1e-3, rtol=0)


def test_no_clip_becomes_too_short_for_its_transcript() -> None:
    torch.manual_seed(0)
    changed = Perturbation(tempo=0.5, gain=0)(batch_of([21] * 200, letters=10))
    lengths = changed["attention_mask"].sum(dim=1)
    assert lengths.min() == 21
    assert lengths.max() > 25


def test_no_perturbation_changes_nothing() -> None:
    batch = batch_of([30, 1, 17], letters=1)
    changed = Perturbation(tempo=0, gain=0)(batch)
    assert all(torch.equal(changed[name], value) for name, value in batch.items())


@pytest.mark.parametrize("settings", [{"tempo": 1.0}, {"tempo": -0.1}, {"gain": -1.0}, {"gain": float("inf")}])
def test_impossible_perturbations_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        Perturbation(**settings)


# The scaled first layer ----------------------------------------------------------------------------------------------


@pytest.fixture
def statistics() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    mean, std = torch.randn(26, generator=random) * 10, torch.rand(26, generator=random) * 15 + 0.3
    mean[0], std[0] = 14.0, 3.7
    return mean, std


def test_a_scaled_network_stores_a_plain_one_that_computes_the_same(
    statistics: tuple[torch.Tensor, torch.Tensor], tmp_path: Path
) -> None:
    mean, std = statistics
    torch.manual_seed(0)
    model = DeepSpeechForCTC(DeepSpeechConfig(hidden_size=32, dropout=0.0))
    initial = model.deepspeech.layer_1.weight.detach().clone()
    features = mean + std * torch.randn(3, 40, 26)
    scale_inputs(model, mean, std)
    layer = scaled_input_layer(model)
    assert torch.equal(layer.weight, initial)
    # In the middle of a clip it sees what the new layer would see of normalized coefficients.
    windows = torch.randn(5, 494) * std.repeat(19) + mean.repeat(19)
    expected = torch.nn.functional.linear((windows - mean.repeat(19)) / std.repeat(19), initial)
    torch.testing.assert_close(layer(windows), expected, rtol=0, atol=1e-4)
    scaled = model(features).logits

    model.save_pretrained(tmp_path)
    loaded = DeepSpeechForCTC.from_pretrained(tmp_path)
    assert type(loaded.deepspeech.layer_1) is torch.nn.Linear
    assert torch.equal(loaded(features).logits, scaled)
    unscale_inputs(model)
    assert type(model.deepspeech.layer_1) is torch.nn.Linear
    assert torch.equal(model(features).logits, scaled)
    unscale_inputs(model)  # a plain one is left alone
    assert list(model.state_dict()) == list(loaded.state_dict())


def test_a_plain_checkpoint_loads_into_a_scaled_layer_and_the_exact_state_is_exact() -> None:
    torch.manual_seed(0)
    mean, std = torch.tensor([14.0, -8.0, 0.2]), torch.tensor([3.7, 15.8, 0.3])
    one, other = ScaledLinear(mean, std, 8), ScaledLinear(mean, std, 8)
    exact = one.exact_state()
    other.load_state_dict(one.state_dict())
    torch.testing.assert_close(other.weight, one.weight, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(other.bias, one.bias, rtol=1e-5, atol=1e-5)
    other.load_exact_state(exact)
    assert torch.equal(other.weight, one.weight)
    assert torch.equal(other.bias, one.bias)


def test_gradients_are_those_of_normalized_inputs() -> None:
    torch.manual_seed(0)
    mean, std = torch.tensor([14.0, -8.0]), torch.tensor([3.7, 0.3])
    layer, reference = ScaledLinear(mean, std, 4), torch.nn.Linear(2, 4)
    reference.load_state_dict(layer.exact_state())
    x, target = torch.randn(9, 2) * std + mean, torch.randn(9, 4)
    ((layer(x) - target) ** 2).sum().backward()
    ((reference((x - mean) / std) - target) ** 2).sum().backward()
    torch.testing.assert_close(layer.weight.grad, reference.weight.grad, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(layer.bias.grad, reference.bias.grad, rtol=1e-4, atol=1e-3)


def test_a_deviation_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        ScaledLinear(torch.zeros(2), torch.tensor([1.0, 0.0]), 4)


# Losses --------------------------------------------------------------------------------------------------------------


def test_the_mean_of_the_clips_losses_is_the_models_loss() -> None:
    torch.manual_seed(0)
    model = DeepSpeechForCTC(DeepSpeechConfig(hidden_size=16)).eval()
    features = torch.randn(3, 30, 26)
    mask = (torch.arange(30) < torch.tensor([30, 22, 17])[:, None]).long()
    labels = torch.tensor([[1, 2, 3, 3], [4, -100, -100, -100], [0, 5, -100, -100]])
    output = model(features, attention_mask=mask, labels=labels)
    losses = clip_losses(output.logits, mask, labels, blank=28)
    torch.testing.assert_close(losses.mean(), output.loss)
    alone = model(features[1:2, :22], labels=labels[1:2, :1]).loss
    torch.testing.assert_close(losses[1], alone, rtol=1e-5, atol=1e-5)
