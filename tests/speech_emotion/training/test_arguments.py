"""What a command line gives: fields, presets that it overrides, and transformers' own; and help without waiting."""

import re
import shlex
from collections.abc import Callable
from dataclasses import MISSING, fields

import pytest
from transformers import TrainingArguments

from speech_emotion.cli.train import main, main_deepspeech
from speech_emotion.training import ModelArguments, SERTrainingArguments, parse_arguments
from speech_emotion.training.arguments import DEFAULT_PRESET, PRESETS, DataArguments, TrainingDefaults, corpus_places
from speech_emotion.training.building import make_extractor
from speech_emotion.training.command_line import CTC_GROUPS, GROUPS, get_parser

START = ["--corpus", "polish", "--use_cpu", "true", "--report_to", "none"]


def values(words: str) -> dict[str, object]:
    task, training = parse_arguments([*START, *shlex.split(words)])
    return {item.name: getattr(part, item.name) for part in (training, task.model) for item in fields(part)}


def test_fields_are_found_by_either_spelling_and_in_any_form() -> None:
    words = "--scheme k-fold --num-folds 6 --labels anger calm --class-weights=balanced --adam_beta1 0.8 --bf16"
    task, training = parse_arguments([*START, *shlex.split(words), "--no_load_best_model_at_end"])
    assert (task.data.scheme, task.data.num_folds, task.data.labels) == ("k-fold", 6, ["anger", "calm"])
    assert task.model.class_weights == "balanced"
    assert (training.adam_beta1, training.bf16, training.load_best_model_at_end) == (0.8, True, False)
    assert training.metric_for_best_model == "ua"
    for said, meant in (("true", True), ("False", False), ("outputs/run/checkpoint-4", "outputs/run/checkpoint-4")):
        assert values(f"--resume_from_checkpoint {said}")["resume_from_checkpoint"] == meant
    assert task.model.given == {"class_weights"}
    assert values("--stem_channels 0")["stem_channels"] == []


@pytest.mark.parametrize(
    ("words", "sparse"),
    [
        ("", True),
        ("--preset best --save_total_limit 3", True),
        ("--eval_strategy epoch", False),
        ("--logging-steps 5", False),
        ("--preset paper", False),  # which keeps the best epoch
        ("--preset best --load_best_model_at_end true", False),
        ("--early_stopping_patience 3", False),
    ],
)
def test_few_epochs_are_told_where_none_is_chosen_and_nobody_says_when(words: str, sparse: bool) -> None:
    assert parse_arguments([*START, *shlex.split(words)])[1].sparse == sparse


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "the following arguments are required: --corpus"),
        ("--corpus polish --no_such 1", "no_such"),
        ("--corpus polish --scheme x", "invalid choice: 'x'"),
        ("--corpus polish --preset better", "invalid choice: 'better'"),
        ("--corpus polish --use_cpu perhaps", "'perhaps'"),
        ("--corpus polish --adam_beta1 high", "adam_beta1"),
    ],
)
def test_wrong_words_end_the_program_in_few_lines(
    words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse_arguments(words.split())
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) < 4


@pytest.mark.parametrize(("groups", "option"), [(GROUPS, "--band_warp"), (CTC_GROUPS, "--evaluate_test")])
def test_help_names_every_field_once_and_explains_it(groups: tuple[type, ...], option: str) -> None:
    listed = re.findall(r"^  --(\w+)", get_parser("train.py", groups).format_help(), re.MULTILINE)
    assert option.removeprefix("--") in listed
    items = [item for kind in groups for item in fields(kind)]
    assert sorted(listed) == sorted(item.name for item in items)
    for item in items:
        assert item.metadata["help"] and item.metadata["changes"] in ("weights", "features", "clips", "looks")


@pytest.mark.parametrize("command", [main, main_deepspeech])
def test_all_of_transformers_is_listed_on_request(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        command(["--help_all"])
    printed = capsys.readouterr().out
    assert stopped.value.code == 0
    assert all(f"--{item.name}" in printed for item in fields(TrainingArguments))


def test_what_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--corpus", "polish", "--resume_from_checkpoint", "gone"]) == 1
    assert "gone" in capsys.readouterr().err


def test_settings_shown_with_transformers_own_defaults_have_them() -> None:
    own = {item.name: item.default for item in fields(TrainingArguments)}
    names = "max_steps gradient_accumulation_steps max_grad_norm seed bf16 use_cpu push_to_hub"
    for name in names.split():
        assert TrainingDefaults.__dataclass_fields__[name].default == own[name], name


# Presets -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_presets_name_fields_and_change_them(name: str) -> None:
    known = {item.name: item for kind in (SERTrainingArguments, ModelArguments) for item in fields(kind)}
    assert set(PRESETS[name]) <= set(known) - {"preset"}
    changed = [field for field, value in PRESETS[name].items() if known[field].default != value]
    assert changed == list(PRESETS[name])  # a preset names nothing that is a default anyway
    plain = values("--preset paper")  # after which, as before, no preset is left behind
    assert values(f"--preset {name}") == plain | dict(PRESETS[name]) | {"preset": name}
    assert values("--preset paper") == plain


def test_a_command_that_names_no_preset_takes_the_recommended_one() -> None:
    assert values("") == values("--preset recommended")


def test_the_paper_is_the_default_of_the_classes() -> None:
    plain = values("--preset paper")
    assert plain["preset"] == "paper"
    for item in fields(ModelArguments):
        assert plain[item.name] == (item.default if item.default_factory is MISSING else item.default_factory())


@pytest.mark.parametrize("order", ["{preset} {given}", "{given} {preset}"])
def test_what_is_given_wins_over_the_preset(order: str) -> None:
    given = "--dynamic_range 0 --pooling mean --learning_rate 0.5 --num_train_epochs 3"
    mixed = values(order.format(preset="--preset best", given=given))
    said = {"dynamic_range": 0.0, "pooling": "mean", "learning_rate": 0.5, "num_train_epochs": 3}
    expected = values("--preset paper") | dict(PRESETS["best"]) | said | {"preset": "best"}
    assert mixed == expected


def test_a_default_that_is_given_explicitly_wins_too() -> None:
    plain = values("--preset paper")
    for field in PRESETS["best"]:
        given = "0" if plain[field] == [] else str(plain[field])
        assert values(f"--preset best --{field} {given}")[field] == plain[field]


def test_one_layer_is_a_number_and_several_are_a_list() -> None:
    layers = [values(f"--encoder_layer {words}")["encoder_layer"] for words in ("3", "2 3 4")]
    assert layers == [3, [2, 3, 4]]  # so that runs that were saved with a number are the same runs


def test_features_that_are_no_image_have_no_stem() -> None:
    for streams, stem in (("mel", [8, 16, 32]), ("mel deepspeech", [8, 16, 32]), ("deepspeech", [])):
        assert values(f"--preset best --streams {streams}")["stem_channels"] == stem


def test_the_recommended_encoder_and_its_layers_make_way_for_others() -> None:
    for words, encoder, layers in (
        ("", "whisper-base", [2, 3, 4, 5]),
        ("--streams mel encoder", "whisper-base", [2, 3, 4, 5]),
        ("--encoder whisper-base --encoder_layer 3", "whisper-base", 3),
        ("--encoder you/encoder", "you/encoder", None),
        ("--streams mel", None, None),
        ("--streams mel deepspeech", None, None),
    ):
        found = values(words)
        assert (found["encoder"], found["encoder_layer"]) == (encoder, layers)
        assert (found["front"], found["variants"]) == ("speech", PRESETS["recommended"]["variants"])


def test_values_are_learned_with_the_preset_but_for_what_is_of_classes() -> None:
    found = values("--attributes valence arousal")
    assert (found["label_smoothing"], found["statistics_head"]) == (0.0, True)
    assert found["metric_for_best_model"] == "ccc"


def test_settings_of_the_features_reach_the_extractor() -> None:
    task, _ = parse_arguments([*START, "--preset", "paper", "--win_length", "1024", "--dynamic_range", "60"])
    made = [make_extractor(model) for model in (task.model, ModelArguments())]
    assert [(one.win_length, one.dynamic_range, one.n_fft) for one in made] == [(1024, 60.0, 2048), (400, None, 2048)]


def test_help_tells_the_defaults_of_the_preset_that_is_taken() -> None:
    told = " ".join(get_parser().format_help().split())
    for name, value in PRESETS[DEFAULT_PRESET].items():
        words = " ".join(map(str, value)) if isinstance(value, list) else str(value).lower()
        option = told.partition(f" --{name} ")[2].partition(" --")[0]
        assert f"(default: {words})" in option, name


def test_the_longest_file_of_a_corpus_is_told_to_who_loads_it() -> None:
    data = DataArguments(corpus="recordings", max_seconds=7200.0, skip_bad=True)
    assert corpus_places(data).items() >= {"max_seconds": 7200.0, "skip_bad": True}.items()
    assert not {"max_seconds", "skip_bad"} & corpus_places(DataArguments(corpus="recordings")).keys()
    # The audio of a copy, which lies in its table, is only looked at when features are made of it.
    assert "max_seconds" not in corpus_places(DataArguments(corpus="me/copy", max_seconds=7200.0))
