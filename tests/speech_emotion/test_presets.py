"""Presets: defaults that a name sets and the command line overrides."""

from dataclasses import MISSING, fields

import pytest

from speech_emotion.training import ModelArguments, SERTrainingArguments, parse_arguments
from speech_emotion.training.arguments import PRESETS
from speech_emotion.training.building import make_extractor

START = ["--corpus", "polish", "--use_cpu", "true", "--report_to", "none"]


def values(words: list[str]) -> dict[str, object]:
    _, model, training = parse_arguments([*START, *words])
    return {item.name: getattr(part, item.name) for part in (training, model) for item in fields(part)}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_name_fields_and_change_them(name: str) -> None:
    known = {item.name: item for kind in (SERTrainingArguments, ModelArguments) for item in fields(kind)}
    assert set(PRESETS[name]) <= set(known)
    assert "preset" not in PRESETS[name]
    changed = [field for field, value in PRESETS[name].items() if known[field].default != value]
    assert changed == list(PRESETS[name])  # a preset names nothing that is a default anyway
    assert values(["--preset", name]) | {"preset": "paper"} | dict(PRESETS[name]) == values([]) | dict(PRESETS[name])


def test_the_paper_is_the_default() -> None:
    plain = values([])
    assert plain["preset"] == "paper"
    assert plain == values(["--preset", "paper"])
    for item in fields(ModelArguments):
        assert plain[item.name] == (item.default if item.default_factory is MISSING else item.default_factory())


def test_a_preset_is_recorded_by_name_and_by_its_settings() -> None:
    best = values(["--preset=best"])
    assert best["preset"] == "best"
    for field, value in PRESETS["best"].items():
        assert best[field] == value


@pytest.mark.parametrize("preset_first", [True, False])
def test_what_is_given_wins_over_the_preset(preset_first: bool) -> None:
    given = ["--dynamic_range", "0", "--pooling", "mean", "--learning_rate", "0.5", "--num_train_epochs", "3"]
    preset = ["--preset", "best"]
    mixed = values([*preset, *given] if preset_first else [*given, *preset])
    assert (mixed["dynamic_range"], mixed["pooling"], mixed["learning_rate"]) == (0.0, "mean", 0.5)
    assert mixed["num_train_epochs"] == 3
    untouched = set(PRESETS["best"]) - {"dynamic_range", "pooling", "learning_rate", "num_train_epochs"}
    assert {field: mixed[field] for field in untouched} == {field: PRESETS["best"][field] for field in untouched}


def test_a_default_that_is_given_explicitly_wins_too() -> None:
    plain = values([])
    for field, value in PRESETS["best"].items():
        assert plain[field] != value
        given = "0" if plain[field] == [] else str(plain[field])
        assert values(["--preset", "best", f"--{field}", given])[field] == plain[field]


def test_features_that_are_no_image_have_no_stem() -> None:
    for streams in (["mel"], ["mel", "deepspeech"]):
        best = values(["--preset", "best", "--streams", *streams])
        assert best["stem_channels"] == PRESETS["best"]["stem_channels"]
    assert values(["--preset", "best", "--streams", "deepspeech"])["stem_channels"] == []


def test_settings_of_the_features_reach_the_extractor() -> None:
    _, model, _ = parse_arguments([*START, "--win_length", "1024", "--dynamic_range", "60"])
    extractor = make_extractor(model)
    assert (extractor.win_length, extractor.dynamic_range, extractor.n_fft) == (1024, 60.0, 2048)
    plain = make_extractor(parse_arguments(START)[1])
    assert (plain.win_length, plain.dynamic_range) == (400, None)


def test_an_unknown_preset_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_arguments([*START, "--preset", "better"])
    assert "invalid choice: 'better'" in capsys.readouterr().err


def test_one_parse_leaves_no_preset_behind() -> None:
    before = values([])
    values(["--preset", "best"])
    assert values([]) == before
