"""What every card says: licences, who chose the epoch, where the weights began, what the network is."""

from dataclasses import replace
from typing import Any

import pytest

from dataset_scripts.registry import CORPORA
from modeling_ser import SERConfig
from speech_emotion.training.arguments import CTCModelArguments
from speech_emotion.training.card import (
    ENCODER,
    RunReport,
    SplitReport,
    TrainingReport,
    describe_architecture,
    model_card,
)
from speech_emotion.training.ctc_card import GroupErrors, RecognitionReport, SpokenSplit, recognizer_card

PART = SplitReport(8, ["m1"], {"wa": 0.75, "ua": 0.5, "macro_f1": 0.4, "weighted_f1": 0.6}, [[6, 0], [2, 0]])


def report_of(**arguments: Any) -> RunReport:
    return RunReport(
        corpus="polish",
        title="Emotions in Polish speech",
        homepage="https://example.org",
        corpus_license="CC BY 4.0; with a remark",
        citation="Somebody, 2020",
        language="pl",
        fold="k-fold-0",
        seed=42,
        epochs=3.0,
        parameters=1234,
        arguments={"early_stopping_patience": 20, "world_size": 1, "gradient_accumulation_steps": 1}
        | {"lr_scheduler_type": "cosine", "learning_rate": 0.001, "per_device_train_batch_size": 16}
        | arguments,
        versions={"python": "3.11", "torch": "2.13.0"},
        labels=["anger", "fear"],
        streams=["mel: 128 bands"],
        train=SplitReport(24, ["m2", "m3"]),
        validation=PART,
        test=PART,
    )


def text_of(report: RunReport) -> str:
    text = str(model_card(report, "you/emotions"))
    assert "{{" not in text and "{%" not in text
    return " ".join(text.split())


@pytest.mark.parametrize(
    ("license_text", "start", "license_id", "base"),
    [
        (CORPORA["crema_d"].license, None, "odbl", None),
        (CORPORA["ravdess"].license, None, "cc-by-nc-sa-4.0", None),
        (CORPORA["speechocean762"].license, None, "cc-by-4.0", None),
        (CORPORA["tess"].license, None, "cc-by-nc-nd-4.0", None),
        (CORPORA["emodb"].license, None, "other", None),
        # A fine-tuned model's licence is that of no single corpus.
        (CORPORA["crema_d"].license, "you/first", "other", "you/first"),
        (CORPORA["crema_d"].license, "a-folder", "other", None),
    ],
)
def test_the_hub_is_told_the_licence_and_the_model_begun_with(
    license_text: str, start: str | None, license_id: str, base: str | None
) -> None:
    report = replace(report_of(model_name_or_path=start), corpus_license=license_text)
    data = model_card(report, "you/emotions").data
    assert (data.license, data.base_model) == (license_id, base)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "The validation speakers chose the epoch; the test"),
        ({"load_best_model_at_end": False}, "The last epoch was kept; the validation speakers chose when to stop"),
        ({"load_best_model_at_end": False, "early_stopping_patience": 0}, "The last epoch was kept: neither"),
    ],
)
def test_a_card_says_who_chose_the_epoch(arguments: dict[str, object], told: str) -> None:
    assert told in text_of(report_of(**arguments))


def test_a_card_says_where_the_weights_began_and_what_was_changed_on_the_way() -> None:
    fresh, tuned = text_of(report_of()), text_of(report_of(model_name_or_path="you/first"))
    assert "fine-tuned from `you/first`" in tuned and "fine-tuned" not in fresh
    assert "the original model was trained on" in tuned and "original model" not in fresh
    assert "had heard is not known" in text_of(replace(report_of(), heard_before=None))
    stages = [{"epoch": 0.0, "settings": {"dropout": 0.1}}, {"epoch": 24.0, "settings": {"dropout": 0.3}}]
    staged = text_of(replace(report_of(), stages=stages))
    assert "After epoch 24 it was resumed with dropout 0.3 instead of 0.1." in staged and "resumed" not in fresh


def test_a_card_says_whose_the_encoders_weights_are() -> None:
    assert "MIT License, Copyright (c) 2022 OpenAI" in text_of(report_of(encoder="whisper-base"))
    assert "Weights of the encoder" not in text_of(report_of())


def test_a_card_names_its_preset() -> None:
    assert "--preset recommended" in text_of(report_of(preset="recommended"))


def test_a_cards_figures_are_the_reports() -> None:
    text = text_of(report_of())
    assert "| test | 75.0% | 50.0% | 50.0% | 8 | 1 |" in text
    for fact in ("learned: 1,234. Epochs trained: 3.", "Training speakers: m2, m3.", "python 3.11, torch 2.13.0."):
        assert fact in text
    figures = {
        (one.dataset_split, one.metric_name): one.metric_value
        for one in model_card(report_of(), "x").data.eval_results
    }
    assert figures["test", "UA"] == 0.5 and figures["validation", "WA"] == 0.75


def test_the_network_is_described_as_it_is() -> None:
    assert describe_architecture(SERConfig()) == ENCODER
    late = SERConfig(fusion="late", stream_sizes=[300, 84], stem_channels=[4], pooling="attention_statistics")
    late.statistics_head = True
    described = describe_architecture(late)
    parts = "one for each stream", "behind 1 convolution over", "pooled by attention statistics", "linear classifier"
    for part in parts:
        assert part in described
    assert described in text_of(replace(report_of(), architecture=described))


@pytest.mark.parametrize("tested", [False, True])
@pytest.mark.parametrize("best_epoch", [None, 2.0])
def test_a_recognizers_card_says_who_chose_the_epoch(best_epoch: float | None, tested: bool) -> None:
    part = SpokenSplit(1, 0.1, {"adults": ["s0"]}, 1.0, {"adults": GroupErrors(1, 1, 9, 2, 0.5, 0.9)})
    common = {name: getattr(report_of(), name) for name in TrainingReport.__dataclass_fields__ if name != "arguments"}
    report = RecognitionReport(
        **common,
        arguments=vars(CTCModelArguments()) | report_of().arguments,
        hidden_size=8,
        half=False,
        best_epoch=best_epoch,
        train=part,
        validation=part,
        test=part if tested else None,
        curve=[{"epoch": 1.0, "loss": None, "eval_loss": 2.0, "eval_cer": 0.5, "eval_wer": 0.9}],
    )
    text = " ".join(str(recognizer_card(report, "you/recognizer")).split())
    assert "{{" not in text and "{%" not in text
    assert ("The last epoch was kept" in text) == (best_epoch is None)
    assert ("The validation speakers chose the epoch" in text) == (best_epoch is not None)
    assert ("have not been read" in text) != tested and ("were read once" in text) == tested
    assert "| validation | adults | 1 | 1 | 50.0% | 90.0% |" in text and "| 1 | - | 2.000 | 50.0% | 90.0% |" in text


def test_no_label_and_no_speaker_writes_on_the_card() -> None:
    hostile = ["<script>x", "a|b", "<!-- cross-validation:end -->", "[x](http://y)", "`z`\n# big", "\x1b[2J"]
    part = replace(PART, speakers=hostile, confusion=[[1] * 6] * 6)
    report = replace(report_of(), labels=hostile, test=part, train=part, title="T<b>", fold=hostile[2])
    card = str(model_card(report, 'path/to/a"\n```x'))
    body = card.split("\n---\n", 1)[1]  # behind the YAML
    assert body.count("<!-- cross-validation:end -->") == 1 == body.count("\n# ")
    assert not any(bad in body for bad in ("<script", "<b>", "](http://y", "a|b", "`z`", "\x1b", '"\n```x'))
    (row,) = [line for line in body.splitlines() if line.startswith("| &lt;script>x")]
    assert row.replace("\\|", "").count("|") == 9
