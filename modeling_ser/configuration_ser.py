"""The configuration of the speech-emotion model: every choice that the paper leaves open is a field with a default."""

import copy
import math
import os
from pathlib import Path
from typing import Any, Self

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from .checkpoint_files import check_settings, naming

# What a saved config.json names so that plain `pipeline()` and the auto classes find the code beside it.
AUTO_MAP = {
    "AutoConfig": "configuration_ser.SERConfig",
    "AutoModel": "modeling_ser.SERModel",
    "AutoModelForAudioClassification": "modeling_ser.SERForAudioClassification",
}
# An ensemble has no body of one model that `AutoModel` could give.
ENSEMBLE_AUTO_MAP = {
    "AutoConfig": "configuration_ser.SERConfig",
    "AutoModelForAudioClassification": "modeling_ser_ensemble.SEREnsembleForAudioClassification",
}
PIPELINE = {"impl": "pipeline_ser.SERPipeline", "pt": ["AutoModelForAudioClassification"], "type": "audio"}

# Fields whose values are names, the default first.
CHOICES = {
    "loss": ("cross_entropy", "focal", "ccc"),
    "fusion": ("frame", "late"),
    "pooling": ("mean", "attention_statistics", "functionals"),
}

# The largest that has sense of what takes memory: beyond it a number is a mistake, or a file is hostile.
MOST = dict.fromkeys(("hidden_size", "num_attention_heads", "head_size", "dense_size"), 16_384)
MOST |= {"input_size": 1 << 17, "conv_kernel_size": 1024, "num_members": 128, "num_labels": 1000}
MOST_STREAMS = 64
# Encoders that can belong to a model, by their `model_type` in transformers.
ENCODER_KINDS = ("whisper", "wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat")
SHARES = ("dropout", "attention_dropout", "encoder_dropout", "label_smoothing")

# Keys that transformers itself passes or writes beyond its declared fields; everything else unknown is a mistake.
# Shared with feature_extraction/configuration_deepspeech.py, which the Hub holds without this folder: a test compares
# them, and `to_dict`.
TRANSFORMERS_KEYS = {"attn_implementation", "auto_map", "experts_implementation", "model_type", "name_or_path"}
TRANSFORMERS_KEYS |= {"num_labels", "output_attentions", "quantization_config", "torch_dtype", "transformers_weights"}
TRANSFORMERS_KEYS |= {"use_return_dict"}


@strict
class SERConfig(PreTrainedConfig):
    """Shape and regularization of a speech-emotion model.

    The paper's slides fix two Conv1d layers with batch normalization and ReLU, multi-head self-attention with a
    residual connection, average pooling and two dense layers. They give no sizes: those below are this project's.

    Args:
        input_size: Features per frame: 384 for mel + Δ + ΔΔ (Model-1), 2048 for DeepSpeech's fifth layer (Model-2),
            2432 for both (Model-3).
        hidden_size: Channels of both convolutions, and so the size of E and of the context C.
        conv_kernel_size: Frames that one convolution sees; stride 1, the number of frames is kept.
        num_attention_heads: Heads h of the self-attention.
        head_size: d_K of one head; `None` takes `hidden_size // num_attention_heads`.
        attention_bias: Whether W_Q, W_K, W_V and W_E have a bias (the paper's formulas have none).
        dense_size: Units of the first dense layer; the second gives the logits.
        dropout: Probability of dropping a unit of the first dense layer, in [0, 1).
        attention_dropout: Probability of dropping an attention weight, in [0, 1).
        encoder_dropout: Probability of dropping a single value of the encoder's output E before the attention and its
            residual connection read it, in [0, 1).
        fusion: `"frame"`: one encoder and one attention over all features of a frame. `"late"`: one of each per
            stream, the pooled contexts concatenated before the dense layers.
        stream_sizes: Features of each stream, in order, summing to `input_size`; needed for late fusion.
        stem_channels: Channels of convolutions over frames × mel bands before the encoder (`SpectrogramStem`), such as
            `(16, 32, 64)`, for log-mel, Δ and ΔΔ as the first or only stream; `None`, as in the paper, for none. The
            encoder then reads a quarter of the frames (half of them after a single layer), to which other streams are
            averaged.
        layer_mix: Layers that each stream holds side by side, in order, such as `(1, 4)` for log-mel and four layers
            of Whisper: the model averages them with learned weights that sum to 1, after normalization and before
            everything else. `None` for one layer in each; needs `stream_sizes`.
        pooling: `"mean"`: the average of the contexts over the frames, as in the paper. `"attention_statistics"`:
            their mean and standard deviation under learned weights of the frames (Okabe et al., 2018), twice the size.
            `"functionals"`: their mean, deviation, trend and rhythm over the clip, eight times the size.
        statistics_head: Whether a second, linear classifier reads mean and standard deviation over the clip of every
            normalized feature, before they are mixed or convolved. Each of the two learns by a loss of its own, and
            the model's scores are the average of their posteriors: less certain where they disagree, and less shaken
            by what a recording device does.
        encoder_config: Configuration, as a dictionary with its `model_type`, of a speech encoder of transformers that
            belongs to the model: Whisper's, wav2vec 2.0, HuBERT, WavLM or UniSpeech. What the extractor gives is then
            the encoder's input, log-mel energies or a waveform, and `input_size` is that of the layers that the model
            reads. `None`: what the extractor gives is read as it is.
        encoder_layers: Which of that encoder's layers are read, side by side, 0 for what enters its first block.
        class_weights: Weight w_y of each class in the loss, in the order of the labels; `None` weighs all alike. Use
            weights of mean 1 over the training clips to keep the loss on its usual scale.
        label_smoothing: Share of the target spread over all classes, in [0, 1); of cross entropy only.
        loss: `"cross_entropy"`, or `"focal"`: cross entropy times (1 - p_t)^γ, which makes little of clips whose
            emotion is already recognized with a high probability p_t (Lin et al., 2017). With `problem_type`
            "regression", whose loss is else the mean square, `"ccc"`: 1 less the concordance of a batch's values.
        focal_gamma: γ of the focal loss, at least 0, where it is cross entropy.
        num_members: Models in an ensemble (`SEREnsembleForAudioClassification`); 1 for a single model.
        temperature: What the pipeline divides logits by before it makes probabilities of them, 0.01 to 100; fitted on
            validation speakers (Guo et al., 2017), it makes scores mean what they say. The model's own logits and its
            loss know nothing of it.
        value_ranges: Of each label of a regression the lowest and highest value in the training, such as
            `[[1.0, 5.0]]`: the model's outputs are in these units, though they may lie outside. `None`: no units.
        adapted_clips: Clips without labels that the model's normalization was estimated from (`SERPipeline.adapt`);
            0 where it is that of the training.
        kwargs: Fields of `transformers.PreTrainedConfig` (`id2label`, `label2id`, `num_labels`, …).

    Raises:
        ValueError: If a value is out of its range, or a keyword is neither one of these nor one of transformers'.

    Source: slides of Bhosale et al., ICASSP 2020, "Proposed architecture"; sizes are our choice.

    Example:
        >>> config = SERConfig(hidden_size=64, num_attention_heads=4)
        >>> config.head_size
        16
    """

    model_type = "ser"

    input_size: int = 384
    hidden_size: int = 128
    conv_kernel_size: int = 5
    num_attention_heads: int = 4
    head_size: int | None = None
    attention_bias: bool = False
    dense_size: int = 64
    dropout: float | int = 0.3
    attention_dropout: float | int = 0.1
    encoder_dropout: float | int = 0.0
    fusion: str = "frame"
    stream_sizes: list[int] | tuple[int, ...] | None = None
    stem_channels: list[int] | tuple[int, ...] | None = None
    layer_mix: list[int] | tuple[int, ...] | None = None
    pooling: str = "mean"
    statistics_head: bool = False
    encoder_config: dict[str, Any] | None = None
    encoder_layers: list[int] | tuple[int, ...] | None = None
    class_weights: list[float] | tuple[float, ...] | None = None
    label_smoothing: float | int = 0.0
    loss: str = "cross_entropy"
    focal_gamma: float | int = 2.0
    num_members: int = 1
    temperature: float | int = 1.0
    value_ranges: list[list[float]] | tuple[tuple[float, float], ...] | None = None
    adapted_clips: int = 0
    custom_pipelines: dict[str, Any] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        unknown = sorted(key for key in kwargs if key not in TRANSFORMERS_KEYS and not key.startswith("_"))
        if unknown:
            raise ValueError(
                f"SERConfig knows no {', '.join(map(repr, unknown))}. Its own fields are "
                f"{', '.join(SERConfig.own_fields())}."
            )
        self._check_sizes(kwargs.get("num_labels"))  # before anything is made of them
        if self.head_size is None and self.num_attention_heads >= 1:
            if self.hidden_size % self.num_attention_heads:
                raise ValueError(
                    f"hidden_size {self.hidden_size} cannot be divided among {self.num_attention_heads} heads; "
                    "set head_size, or choose sizes that divide."
                )
            self.head_size = self.hidden_size // self.num_attention_heads
        if self.custom_pipelines is None:
            self.custom_pipelines = {"audio-classification": copy.deepcopy(PIPELINE)}
        kwargs.setdefault("auto_map", code_references(self.num_members))
        if self.id2label is None and self.label2id:
            self.id2label = {index: label for label, index in self.label2id.items()}
        super().__post_init__(**kwargs)
        self._name_labels()
        self.check_ranges()

    @classmethod
    def own_fields(cls) -> list[str]:
        """Return the names of the fields that this class adds to transformers' own."""
        return [name for name in SERConfig.__annotations__ if name != "custom_pipelines"]

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any) -> Self:
        """Load a configuration; one that cannot be used is a ValueError that names its place."""
        folder = Path(pretrained_model_name_or_path, kwargs.get("subfolder") or "")
        if folder.is_dir() and not (folder / "config.json").is_file():  # for which transformers takes default values
            raise FileNotFoundError(f"{folder} holds no config.json, which says what its weights are; fetch it anew.")
        with naming(pretrained_model_name_or_path, "its config.json cannot be used"):
            return super().from_pretrained(pretrained_model_name_or_path, **kwargs)

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Self:
        """Make a configuration of what a `config.json` holds; that of another kind of model is a ValueError."""
        check_settings(config_dict)
        kind = config_dict.get("model_type", cls.model_type)
        if kind != cls.model_type:
            raise ValueError(
                f"This is the configuration of a model of the type {kind!r}, not of a speech-emotion model of this "
                f"library, whose type is {cls.model_type!r}; load it with its own classes."
            )
        loaded = super().from_dict(config_dict, **kwargs)
        config = loaded[0] if isinstance(loaded, tuple) else loaded  # with return_unused_kwargs
        # transformers has just put the labels among `kwargs` in their place, one of the two names or both.
        if kwargs.get("label2id") is not None and kwargs.get("id2label") is None:
            config.id2label = {index: label for label, index in config.label2id.items()}
        config._name_labels()
        return loaded

    def _name_labels(self) -> None:
        """Derive `label2id` from `id2label`: only one may have been given, or another one than the file has."""
        labels = {int(index): label for index, label in self.id2label.items()}  # JSON's keys are strings
        if not all(isinstance(label, str) for label in labels.values()):
            raise ValueError(f"id2label must name labels by text; it is {labels}.")
        if sorted(labels) != list(range(len(labels))) or len(set(labels.values())) < len(labels):
            raise ValueError(f"id2label must number different labels from 0, without a gap; it is {labels}.")
        self.id2label = dict(sorted(labels.items()))
        self.label2id = {label: index for index, label in self.id2label.items()}

    def with_members(self, num_members: int) -> Self:
        """Return a copy for so many models, whose code references name the class that holds them.

        >>> SERConfig().with_members(5).auto_map["AutoModelForAudioClassification"]
        'modeling_ser_ensemble.SEREnsembleForAudioClassification'
        """
        config = copy.deepcopy(self)
        config.num_members = num_members
        config.auto_map = code_references(num_members)
        config.check_ranges()
        return config

    def check_ranges(self) -> None:
        """Check every field against its range; a ValueError names the field, its value and what it may be."""
        self._check_sizes(self.num_labels)
        for name in SHARES:
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), not {getattr(self, name)}.")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                known = " or ".join(map(repr, choices))
                raise ValueError(f"{name} must be {known}, not {getattr(self, name)!r}.")
        if not 0 <= self.focal_gamma < float("inf"):
            raise ValueError(f"focal_gamma must be finite and at least 0, not {self.focal_gamma}.")
        if self.adapted_clips < 0:
            raise ValueError(f"adapted_clips must be at least 0, not {self.adapted_clips}.")
        if not 0.01 <= self.temperature <= 100:  # beyond, every score would be 1, or all alike
            raise ValueError(f"temperature must be from 0.01 to 100, not {self.temperature}.")
        if self.loss == "focal" and self.label_smoothing:
            raise ValueError(
                f"The focal loss knows one true class and no smoothed target: set label_smoothing to 0, not "
                f"{self.label_smoothing}, or loss to 'cross_entropy'."
            )
        plain = self.loss == "cross_entropy" or (self.loss == "ccc" and self.problem_type == "regression")
        plain = plain and not self.label_smoothing and self.class_weights is None
        if self.problem_type in ("regression", "multi_label_classification") and not plain:
            raise ValueError(
                f"problem_type {self.problem_type!r} has a loss of its own: leave loss, label_smoothing and "
                "class_weights at their defaults."
            )
        if self.loss == "ccc" and self.problem_type != "regression":
            raise ValueError(f"loss 'ccc' is of values: set problem_type to 'regression', not {self.problem_type!r}.")
        if self.statistics_head and self.problem_type == "multi_label_classification":
            raise ValueError(
                f"statistics_head averages probabilities that sum to 1, and problem_type {self.problem_type!r} has "
                "none; leave one of the two out."
            )
        if self.value_ranges is not None:
            self._check_value_ranges()
        if self.fusion == "late" and not self.stream_sizes:
            raise ValueError("fusion='late' needs stream_sizes, the number of features of each stream.")
        if self.stream_sizes is not None and (
            min(self.stream_sizes, default=0) < 1 or sum(self.stream_sizes) != self.input_size
        ):
            raise ValueError(
                f"stream_sizes {list(self.stream_sizes)} must be positive and sum to input_size {self.input_size}."
            )
        if self.layer_mix is not None:  # after the sizes of the streams, which it reads
            self._check_layer_mix()
        if self.encoder_config is not None or self.encoder_layers is not None:
            self._check_encoder()
        if self.stem_channels:  # likewise
            self._check_stem()
        if self.class_weights is not None and not all(0 < weight < float("inf") for weight in self.class_weights):
            raise ValueError(f"class_weights must be positive and finite, not {list(self.class_weights)}.")

    def _check_sizes(self, num_labels: int | None) -> None:
        for name, most in MOST.items():
            value = num_labels if name == "num_labels" else getattr(self, name)
            if value is not None and not 1 <= value <= most:
                raise ValueError(f"{name} must be at least 1 and at most {most}, not {value}.")
        for name in ("stream_sizes", "stem_channels", "layer_mix", "encoder_layers"):
            values = getattr(self, name) or ()
            if len(values) > MOST_STREAMS or max(values, default=0) > MOST["input_size"]:
                raise ValueError(
                    f"{name} must be at most {MOST_STREAMS} numbers of at most {MOST['input_size']}, not "
                    f"{len(values)} of up to {max(values)}."
                )

    def _check_value_ranges(self) -> None:
        ranges = [list(pair) for pair in self.value_ranges]
        fits = all(len(pair) == 2 and -math.inf < pair[0] < pair[1] < math.inf for pair in ranges)
        if self.problem_type != "regression" or len(ranges) != self.num_labels or not fits:
            raise ValueError(
                f"value_ranges {ranges} must name the lowest and highest value of each of the {self.num_labels} "
                f"labels of a regression; problem_type is {self.problem_type!r}."
            )

    def _check_layer_mix(self) -> None:
        if self.stream_sizes is None:
            raise ValueError("layer_mix needs stream_sizes, the number of features of each stream.")
        mix, sizes = list(self.layer_mix), list(self.stream_sizes)
        fits = len(mix) == len(sizes) and all(
            layers >= 1 and size % layers == 0 for layers, size in zip(mix, sizes, strict=False)
        )
        if not fits:
            raise ValueError(
                f"layer_mix {mix} must name for each of the streams, whose sizes are {sizes}, a number of layers, at "
                "least 1, that divides its size."
            )
        if self.stem_channels and mix[0] != 1:
            raise ValueError(f"stem_channels convolve over log-mel energies, which have one layer, not {mix[0]}.")

    def _check_encoder(self) -> None:
        if not self.encoder_config or not self.encoder_layers:
            raise ValueError("encoder_config and encoder_layers go together: an encoder, and which layers are read.")
        kind, layers = self.encoder_config.get("model_type"), list(self.encoder_layers)
        if kind not in ENCODER_KINDS:
            known = ", ".join(ENCODER_KINDS)
            raise ValueError(f"encoder_config has the model_type {kind!r}; choose one of {known}.")
        if min(layers) < 0 or len(set(layers)) < len(layers):
            raise ValueError(f"encoder_layers must name different layers, from 0, not {layers}.")
        if len(self.stream_sizes or [1]) != 1:
            raise ValueError(
                f"An encoder that belongs to the model is its only stream, not one of {len(self.stream_sizes)}."
            )
        if self.stem_channels:
            raise ValueError("stem_channels convolve over mel bands, not over the layers of an encoder.")

    def _check_stem(self) -> None:
        if min(self.stem_channels) < 1:
            raise ValueError(f"stem_channels must be positive, not {list(self.stem_channels)}.")
        size = self.stream_sizes[0] if self.stream_sizes else self.input_size
        bands, rest = divmod(size, 3)
        if rest or bands < 2 ** len(self.stem_channels):
            raise ValueError(
                f"stem_channels {list(self.stem_channels)} halve the mel bands {len(self.stem_channels)} times: the "
                f"first stream must have 3 features for each of at least {2 ** len(self.stem_channels)} bands; it has "
                f"{size} features."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary that loads again, whose code references point into its own folder.

        A configuration loaded from the Hub names its code as `user/repo--module.Class`. Saved again, beside its own
        copy of the code, it must not go on pointing at somebody else's repository. And what tools hang onto a
        configuration while they work (Trainer: `use_cache`) is no part of it, and would be refused as unknown.
        """
        fields = set(type(self).__dataclass_fields__) | TRANSFORMERS_KEYS
        output = {key: value for key, value in super().to_dict().items() if key in fields or key.startswith("_")}
        if output.get("auto_map"):
            output["auto_map"] = {key: value.split("--")[-1] for key, value in output["auto_map"].items()}
        for task in (output.get("custom_pipelines") or {}).values():
            task["impl"] = task["impl"].split("--")[-1]
        return output


def code_references(num_members: int) -> dict[str, str]:
    """Return what a saved config.json names as its code: that of a single model, or of an ensemble."""
    return dict(AUTO_MAP if num_members == 1 else ENSEMBLE_AUTO_MAP)


SERConfig.register_for_auto_class()  # its code is copied beside what is saved
