"""The configuration of a DeepSpeech acoustic model: its sizes, and what its layers do with them."""

import copy
import os
from typing import Any, Self

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from .encoder_files import check_settings, naming

# What a saved config.json names so that plain `pipeline()` and the auto classes find the code beside it.
AUTO_MAP = {
    "AutoConfig": "configuration_deepspeech.DeepSpeechConfig",
    "AutoModel": "modeling_deepspeech.DeepSpeechModel",
    "AutoModelForCTC": "modeling_deepspeech.DeepSpeechForCTC",
}
CUSTOM_PIPELINES = {
    "automatic-speech-recognition": {
        "impl": "pipeline_deepspeech.DeepSpeechPipeline",
        "pt": ["AutoModelForCTC"],
        "type": "multimodal",
    }
}

# Shared with modeling_ser/configuration_ser.py, which the Hub holds without this folder: a test compares them.
# Keys that transformers itself passes or writes beyond its declared fields; everything else unknown is a mistake.
TRANSFORMERS_KEYS = frozenset(
    {
        "attn_implementation",
        "auto_map",
        "experts_implementation",
        "model_type",
        "name_or_path",
        "num_labels",
        "output_attentions",
        "quantization_config",
        "torch_dtype",
        "transformers_weights",
        "use_return_dict",
    }
)


@strict
class DeepSpeechConfig(PreTrainedConfig):
    """Sizes and constants of a Mozilla DeepSpeech model, releases 0.4 to 0.9, and of Coqui STT.

    The defaults are those of the released English models. All of these releases share one architecture: three dense
    layers over a window of frames, a uni-directional LSTM, a fifth dense layer, and a sixth that gives the logits.

    Args:
        input_size: Coefficients of one frame.
        context_size: Frames that the first layer sees on either side of each frame.
        hidden_size: Units of every layer but the last.
        vocab_size: Labels of the alphabet, plus one for the blank of CTC.
        relu_clip: Upper limit of the activations of layers 1, 2, 3 and 5.
        forget_bias: Added to the bias of the LSTM's forget gate when a new model is initialized: 1 in releases 0.4
            and 0.5, 0 since. Stored weights hold it already.
        dropout: Probability of dropping a unit after layers 1, 2, 3 and 5, in [0, 1).
        pad_token_id: Index of the blank; `None` takes the last one, as DeepSpeech does.
        ctc_loss_reduction: `"mean"` (over the clips, of each clip's loss per label) or `"sum"`.
        ctc_zero_infinity: Whether clips with more labels than frames can carry count as zero loss instead of infinity.
        kwargs: Fields of `transformers.PreTrainedConfig`.

    Raises:
        ValueError: If a value is out of its range, or a keyword is neither one of these nor one of transformers'.

    Source: mozilla/DeepSpeech v0.4.1, `DeepSpeech.py` and `util/flags.py`; v0.9.3, `training/deepspeech_training`.

    Example:
        >>> config = DeepSpeechConfig(hidden_size=512)
        >>> config.window_size, config.pad_token_id
        (494, 28)
    """

    model_type = "deepspeech"

    input_size: int = 26
    context_size: int = 9
    hidden_size: int = 2048
    vocab_size: int = 29
    relu_clip: float | int = 20.0
    forget_bias: float | int = 1.0
    dropout: float | int = 0.05
    pad_token_id: int | None = None
    ctc_loss_reduction: str = "mean"
    ctc_zero_infinity: bool = False
    custom_pipelines: dict[str, Any] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        unknown = sorted(key for key in kwargs if key not in TRANSFORMERS_KEYS and not key.startswith("_"))
        if unknown:
            raise ValueError(
                f"DeepSpeechConfig knows no {', '.join(map(repr, unknown))}. Its own fields are "
                f"{', '.join(name for name in DeepSpeechConfig.__annotations__ if name != 'custom_pipelines')}."
            )
        if self.pad_token_id is None:
            self.pad_token_id = self.vocab_size - 1
        if self.custom_pipelines is None:
            self.custom_pipelines = copy.deepcopy(CUSTOM_PIPELINES)
        kwargs.setdefault("auto_map", dict(AUTO_MAP))
        super().__post_init__(**kwargs)
        self._check_ranges()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any) -> Self:
        """Load a configuration; one that cannot be used is a ValueError that names its place."""
        with naming(pretrained_model_name_or_path, "its config.json cannot be used"):
            return super().from_pretrained(pretrained_model_name_or_path, **kwargs)

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Self:
        """Make a configuration of what a `config.json` holds."""
        check_settings(config_dict)
        return super().from_dict(config_dict, **kwargs)

    @property
    def window_size(self) -> int:
        """Size of what the first layer sees: all coefficients of a frame and of its neighbors."""
        return (2 * self.context_size + 1) * self.input_size

    def _check_ranges(self) -> None:
        ranges = {
            "input_size": (1 <= self.input_size <= 1024, "at least 1 and at most 1024"),
            "context_size": (0 <= self.context_size <= 100, "at least 0 and at most 100"),
            "hidden_size": (1 <= self.hidden_size <= 16_384, "at least 1 and at most 16384"),
            "vocab_size": (2 <= self.vocab_size <= 100_000, "at least 2 and at most 100000"),
            "relu_clip": (0 < self.relu_clip < float("inf"), "positive and finite"),
            "forget_bias": (abs(self.forget_bias) < float("inf"), "finite"),
            "dropout": (0 <= self.dropout < 1, "in [0, 1)"),
            "pad_token_id": (0 <= self.pad_token_id < self.vocab_size, f"a label, below vocab_size={self.vocab_size}"),
            "ctc_loss_reduction": (self.ctc_loss_reduction in ("mean", "sum"), "'mean' or 'sum'"),
        }
        for name, (fits, range_) in ranges.items():
            if not fits:
                raise ValueError(f"{name} must be {range_}, not {getattr(self, name)!r}.")

    # Shared with modeling_ser/configuration_ser.py as well.
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


# Registered where the class is defined, so that it is saved with its code however it was imported.
DeepSpeechConfig.register_for_auto_class()
