"""The configuration: defaults, ranges, and what a saved config.json says."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.errors import StrictDataclassFieldValidationError

from feature_extraction import DeepSpeechConfig
from modeling_ser import SERConfig

DEFAULTS = {
    "input_size": 384,
    "hidden_size": 128,
    "conv_kernel_size": 5,
    "num_attention_heads": 4,
    "head_size": 32,
    "attention_bias": False,
    "dense_size": 64,
    "dropout": 0.3,
    "attention_dropout": 0.1,
    "encoder_dropout": 0.0,
    "fusion": "frame",
    "stream_sizes": None,
    "stem_channels": None,
    "layer_mix": None,
    "pooling": "mean",
    "statistics_head": False,
    "encoder_config": None,
    "encoder_layers": None,
    "class_weights": None,
    "label_smoothing": 0.0,
    "loss": "cross_entropy",
    "focal_gamma": 2.0,
    "num_members": 1,
    "temperature": 1.0,
    "value_ranges": None,
    "adapted_clips": 0,
}
SIZES = ("input_size", "hidden_size", "dense_size", "conv_kernel_size", "head_size", "num_members")
NAN, INFINITY = float("nan"), float("inf")

# Fields and what the error names, beside the first of them.
OUT_OF_RANGE: list[tuple[dict[str, Any], str]] = [
    *(({name: 0}, "not 0") for name in (*SIZES, "num_attention_heads")),
    *(({name: 1.0}, "not 1.0") for name in ("dropout", "attention_dropout", "encoder_dropout")),
    *(({name: -0.1}, "not -0.1") for name in ("dropout", "label_smoothing")),
    *(({"focal_gamma": value}, "finite and at least 0") for value in (-0.5, INFINITY, NAN)),
    *(({"class_weights": [1.0, value]}, "positive and finite") for value in (0.0, INFINITY, NAN)),
    ({"num_attention_heads": -2}, "not -2"),
    ({"attention_dropout": NAN}, "must lie"),
    ({"label_smoothing": 1}, "must lie"),
    ({"hidden_size": 130}, "130 cannot be divided among 4 heads"),
    ({"loss": "hinge"}, "'cross_entropy' or 'focal' or 'ccc', not 'hinge'"),
    ({"label_smoothing": 0.1, "loss": "focal"}, "0, not 0.1"),
    ({"problem_type": "regression", "loss": "focal"}, "'regression'"),
    ({"loss": "ccc"}, "set problem_type to 'regression', not None"),
    *(
        ({"value_ranges": ranges, "problem_type": kind, "num_labels": 1}, "lowest and highest value of each of the 1")
        for kind, ranges in (
            ("regression", [[1.0, 5.0], [0.0, 1.0]]),
            ("regression", [[5.0, 1.0]]),
            ("regression", [[1.0, INFINITY]]),
            (None, [[1.0, 5.0]]),
        )
    ),
    ({"pooling": "max"}, "'mean' or 'attention_statistics' or 'functionals', not 'max'"),
    ({"stem_channels": [8, 0]}, r"positive, not \[8, 0\]"),
    ({"stem_channels": [8], "stream_sizes": [184, 200]}, "at least 2 bands; it has 184 features"),
    ({"stem_channels": [8], "input_size": 385}, "at least 2 bands; it has 385 features"),
    ({"stem_channels": [4] * 8}, "at least 256 bands; it has 384 features"),
    ({"layer_mix": [2]}, "stream_sizes"),
    ({"layer_mix": [1, 2], "stream_sizes": [384]}, r"\[1, 2\] .*\[384\]"),
    ({"layer_mix": [0], "stream_sizes": [384]}, "at least 1"),
    ({"layer_mix": [5], "stream_sizes": [384]}, "divides"),
    ({"stem_channels": [8], "layer_mix": [2], "stream_sizes": [384]}, "one layer, not 2"),
    ({"fusion": "early"}, "'frame' or 'late', not 'early'"),
    ({"fusion": "late"}, "stream_sizes"),
    ({"fusion": "late", "stream_sizes": []}, "stream_sizes"),
    ({"encoder_layers": [3]}, "go together"),
    ({"encoder_config": {"model_type": "bert"}, "encoder_layers": [3]}, "'bert'; choose one of whisper"),
    ({"encoder_layers": [3, 3], "encoder_config": {"model_type": "whisper"}}, "different layers"),
    ({"stream_sizes": [300, 83]}, r"\[300, 83\] .*input_size 384"),
    ({"stream_sizes": [385, -1]}, "must be positive"),
    *(({"temperature": value}, "from 0.01 to 100") for value in (0, -1.0, 1e-30, 1e9, INFINITY, NAN)),
    ({"adapted_clips": -1}, "at least 0"),
]

WRONG_TYPES = [{"hidden_size": "128"}, {"hidden_size": 12.5}, {"fusion": 1}, {"class_weights": 2.0}]


def saved(config: SERConfig, folder: Path) -> dict[str, Any]:
    config.save_pretrained(folder)
    return json.loads((folder / "config.json").read_text())


def test_defaults() -> None:
    config = SERConfig()
    assert {name: getattr(config, name) for name in DEFAULTS} == DEFAULTS
    assert SERConfig.own_fields() == list(DEFAULTS)


@pytest.mark.parametrize(("fields", "named"), OUT_OF_RANGE, ids=str)
def test_a_value_out_of_range_is_named(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(fields))}.*{named}"):
        SERConfig(**fields)


@pytest.mark.parametrize("fields", WRONG_TYPES, ids=str)
def test_a_value_of_the_wrong_type_is_named(fields: dict[str, Any]) -> None:
    with pytest.raises(StrictDataclassFieldValidationError, match=f"'{next(iter(fields))}'"):
        SERConfig(**fields)


def test_unknown_fields_are_all_named_also_when_loading(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'hiden_size', 'num_heads'.* hidden_size"):
        SERConfig(num_heads=8, hiden_size=64)
    with pytest.raises(ValueError, match="'kernel'"):
        SERConfig.from_dict(saved(SERConfig(), tmp_path) | {"kernel": 5})


@pytest.mark.parametrize(
    ("fields", "head_size"),
    [
        ({}, 32),
        ({"hidden_size": 64}, 16),
        ({"num_attention_heads": 8}, 16),
        ({"head_size": 7}, 7),
        ({"hidden_size": 10, "num_attention_heads": 3, "head_size": 5}, 5),
    ],
    ids=str,
)
def test_head_size(fields: dict[str, int], head_size: int) -> None:
    assert SERConfig(**fields).head_size == head_size


def test_every_field_survives_saving(tmp_path: Path) -> None:
    fields = {
        "input_size": 30,
        "hidden_size": 12,
        "conv_kernel_size": 7,
        "num_attention_heads": 3,
        "head_size": 5,
        "attention_bias": True,
        "dense_size": 9,
        "dropout": 0,
        "attention_dropout": 0.25,
        "encoder_dropout": 0.375,
        "fusion": "late",
        "stream_sizes": [12, 18],
        "stem_channels": [2],
        "layer_mix": [1, 3],
        "pooling": "attention_statistics",
        "statistics_head": True,
        "encoder_config": None,  # it would be the only stream; test_encoder_network.py saves one
        "encoder_layers": None,
        "class_weights": [0.5, 1.0, 1.5],
        "label_smoothing": 0.0,  # what the focal loss asks for
        "loss": "focal",
        "focal_gamma": 0.5,
        "num_members": 4,
        "temperature": 1.75,
        "value_ranges": None,  # of a regression, whose loss is another
        "adapted_clips": 40,
    }
    assert fields.keys() == DEFAULTS.keys()
    text = saved(SERConfig(**fields, id2label={0: "anger", 1: "sadness", 2: "neutral"}), tmp_path)
    loaded = SERConfig.from_pretrained(tmp_path)
    assert {name: getattr(loaded, name) for name in fields} == fields
    values = SERConfig(num_labels=1, problem_type="regression", loss="ccc", value_ranges=((1.0, 5.0),))
    saved(values, tmp_path)
    assert list(SERConfig.from_pretrained(tmp_path).value_ranges[0]) == [1.0, 5.0]
    assert (loaded.id2label, loaded.num_labels) == ({0: "anger", 1: "sadness", 2: "neutral"}, 3)
    assert saved(loaded, tmp_path / "again") == text


def test_config_json_points_to_the_code_beside_it(tmp_path: Path) -> None:
    single, ensemble = saved(SERConfig(), tmp_path / "one"), saved(SERConfig(num_members=3), tmp_path / "many")
    assert single["model_type"] == ensemble["model_type"] == "ser"
    assert single["auto_map"] == {
        "AutoConfig": "configuration_ser.SERConfig",
        "AutoModel": "modeling_ser.SERModel",
        "AutoModelForAudioClassification": "modeling_ser.SERForAudioClassification",
    }
    assert ensemble["auto_map"] == {
        "AutoConfig": "configuration_ser.SERConfig",
        "AutoModelForAudioClassification": "modeling_ser_ensemble.SEREnsembleForAudioClassification",
    }
    pipeline = {"impl": "pipeline_ser.SERPipeline", "pt": ["AutoModelForAudioClassification"], "type": "audio"}
    assert single["custom_pipelines"] == ensemble["custom_pipelines"] == {"audio-classification": pipeline}


def test_with_members_changes_the_class_and_nothing_else() -> None:
    config = SERConfig(label_smoothing=0.1, id2label={0: "anger", 1: "fear"})
    ensemble = config.with_members(3)
    of_three = {"num_members": 3, "auto_map": SERConfig(num_members=3).auto_map}
    assert ensemble.to_dict() == config.to_dict() | of_three
    assert ensemble.with_members(1).to_dict() == config.to_dict()
    assert config.num_members == 1
    with pytest.raises(ValueError, match=r"num_members .*not 0"):
        config.with_members(0)


def test_a_configuration_saved_before_a_field_existed_loads_with_its_default(tmp_path: Path) -> None:
    old = SERConfig(hidden_size=64).to_dict()
    for name in ("encoder_dropout", "pooling", "statistics_head", "focal_gamma", "stem_channels", "layer_mix"):
        del old[name]
    (tmp_path / "config.json").write_text(json.dumps(old))
    assert SERConfig.from_pretrained(tmp_path).to_dict() == SERConfig(hidden_size=64).to_dict()


def test_code_references_to_another_repository_are_dropped_when_saved_again(tmp_path: Path) -> None:
    own, foreign = SERConfig().to_dict(), SERConfig().to_dict()
    foreign["auto_map"] = {key: f"alice/emotions--{value}" for key, value in own["auto_map"].items()}
    foreign["custom_pipelines"]["audio-classification"]["impl"] = "alice/emotions--pipeline_ser.SERPipeline"
    config = SERConfig.from_dict(foreign)
    config.to_dict()
    # While it is loaded, transformers still has to know where its code came from.
    assert config.auto_map["AutoConfig"] == "alice/emotions--configuration_ser.SERConfig"
    assert config.custom_pipelines["audio-classification"]["impl"].startswith("alice/emotions--")
    text = saved(config, tmp_path)
    assert (text["auto_map"], text["custom_pipelines"]) == (own["auto_map"], own["custom_pipelines"])


def test_configurations_share_no_state() -> None:
    first, second = SERConfig(), SERConfig()
    first.custom_pipelines["audio-classification"]["impl"] = "other.Pipeline"
    first.auto_map["AutoConfig"] = "other.Config"
    assert second.to_dict()["custom_pipelines"]["audio-classification"]["impl"] == "pipeline_ser.SERPipeline"
    assert SERConfig().auto_map["AutoConfig"] == "configuration_ser.SERConfig"


@pytest.mark.parametrize("kind", [SERConfig, DeepSpeechConfig])
def test_how_weights_were_quantized_is_kept(kind: type, tmp_path: Path) -> None:
    config = kind()
    config.quantization_config = {"quant_method": "quanto", "weights": "int8"}
    config.save_pretrained(tmp_path)
    assert kind.from_pretrained(tmp_path).quantization_config == config.quantization_config


@pytest.mark.parametrize(
    "given",
    [
        {"id2label": {0: "ira", 1: "paura"}},
        {"id2label": {"1": "paura", "0": "ira"}},
        {"label2id": {"paura": 1, "ira": 0}},
    ],
)
def test_names_of_labels_agree_whichever_is_given(given: dict[str, Any], tmp_path: Path) -> None:
    SERConfig(id2label={0: "anger", 1: "fear"}).save_pretrained(tmp_path)
    for config in (SERConfig(**given), SERConfig.from_pretrained(tmp_path, **given)):
        assert (config.id2label, config.label2id) == ({0: "ira", 1: "paura"}, {"ira": 0, "paura": 1})


@pytest.mark.parametrize("labels", [{1: "a", 2: "b"}, {0: "a", 2: "b"}, {0: "a", 1: "a"}])
def test_labels_without_a_number_from_0_or_there_twice_are_refused(labels: dict[int, str], tmp_path: Path) -> None:
    SERConfig(id2label={0: "anger", 1: "fear"}).save_pretrained(tmp_path)
    for make in (SERConfig, partial(SERConfig.from_pretrained, tmp_path)):
        with pytest.raises(ValueError, match="from 0, without a gap"):
            make(id2label=labels)
