"""What every card says."""

from dataclasses import replace

import pytest

from dataset_scripts.registry import CORPORA
from modeling_ser import SERConfig
from speech_emotion.training.card import ENCODER, model_card
from speech_emotion.training.card_parts import TrainingReport
from speech_emotion.training.ctc_arguments import CTCModelArguments
from speech_emotion.training.ctc_card import GroupErrors, RecognitionReport, SpokenSplit, recognizer_card
from speech_emotion.training.descriptions import describe_architecture

from .test_card_results import report_of


@pytest.mark.parametrize(
    ("corpus", "license_id"),
    [
        ("crema_d", "odbl"),
        ("ravdess", "cc-by-nc-sa-4.0"),
        ("speechocean762", "cc-by-4.0"),
        ("tess", "cc-by-nc-nd-4.0"),
        ("emodb", "other"),
    ],
)
def test_the_hub_is_told_the_corpuss_license(corpus: str, license_id: str) -> None:
    report = replace(report_of(), corpus=corpus, corpus_license=CORPORA[corpus].license)
    assert model_card(report, "you/emotions").data.license == license_id


@pytest.mark.parametrize(("start", "base"), [("you/first", "you/first"), ("a-folder", None)])
def test_a_fine_tuned_models_licence_is_that_of_no_single_corpus(start: str, base: str | None) -> None:
    report = replace(report_of(model_name_or_path=start), corpus_license=CORPORA["crema_d"].license)
    data = model_card(report, "you/emotions").data
    assert (data.license, data.base_model) == ("other", base)


def text_of(**arguments: object) -> str:
    return " ".join(model_card(report_of(**arguments), "you/emotions").text.split())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "The validation speakers chose the epoch; the test speakers chose nothing. One training with"),
        ({"load_best_model_at_end": False}, "The last epoch was kept; the validation speakers chose when to stop"),
        (
            {"load_best_model_at_end": False, "early_stopping_patience": 0},
            "The last epoch was kept: neither the validation nor the test speakers chose anything.",
        ),
    ],
)
def test_a_card_says_who_chose_the_epoch(arguments: dict[str, object], told: str) -> None:
    assert told in text_of(**arguments)
    assert text_of(**arguments).count("chose the epoch") == ("load_best_model_at_end" not in arguments)


def test_a_card_says_where_the_weights_began() -> None:
    fresh, tuned = text_of(), text_of(model_name_or_path="you/first")
    assert f"{ENCODER}, trained from scratch with [modeling-ser]" in fresh
    assert "deviation of the training clips." in fresh
    assert f"{ENCODER}, fine-tuned from `you/first` with [modeling-ser]" in tuned
    assert "deviation of the clips that the original model was trained on." in tuned


def test_the_network_is_described_as_it_is() -> None:
    assert describe_architecture(SERConfig()) == ENCODER
    late = SERConfig(fusion="late", stream_sizes=[300, 84], stem_channels=[4], pooling="attention_statistics")
    expected = (
        f"{ENCODER}, one for each stream, behind 1 convolution over frames × mel bands, pooled by attention statistics"
    )
    assert describe_architecture(late) == expected
    assert expected in model_card(replace(report_of(), architecture=expected), "you/emotions").text


@pytest.mark.parametrize("tested", [False, True])
@pytest.mark.parametrize("best_epoch", [None, 2.0])
def test_a_recognizers_card_says_who_chose_the_epoch(best_epoch: float | None, tested: bool) -> None:
    part = SpokenSplit(1, 0.1, {"adults": ["s0"]}, 1.0, {"adults": GroupErrors(1, 1, 9, 2, 0.5, 0.9)})
    report = RecognitionReport(
        **{name: getattr(report_of(), name) for name in TrainingReport.__dataclass_fields__ if name != "arguments"},
        arguments=vars(CTCModelArguments()) | report_of().arguments,
        hidden_size=8,
        half=False,
        best_epoch=best_epoch,
        train=part,
        validation=part,
        test=part if tested else None,
        curve=[],
    )
    text = " ".join(recognizer_card(report, "you/recognizer").text.split())
    assert ("The last epoch was kept" in text) == (best_epoch is None)
    assert ("The validation speakers chose the epoch" in text) == (best_epoch is not None)
    assert ("The test speakers have not been read." in text) != tested
    assert ("the test speakers chose nothing and were read once." in text) == tested
