"""A saved model that is trained further has features and sizes of its own, which must not be asked to be others."""

from dataclasses import fields, replace
from typing import Any

from feature_extraction import SERFeatureExtractor
from modeling_ser import SERConfig

from .arguments import ModelArguments, model_sizes
from .presets import preset_settings


def loaded_arguments(args: ModelArguments, config: SERConfig, extractor: SERFeatureExtractor) -> ModelArguments:
    """Return the arguments as the model that was loaded fulfills them.

    Args:
        args: The arguments; of features and model they may say what a new model would have by default, or what the
            loaded one has.
        config: Configuration of the loaded model.
        extractor: Its feature extractor.

    Returns:
        The arguments, with the loaded model's own features and sizes.

    Raises:
        ValueError: If an argument asks for something that the loaded model has not, naming both.

    Example:
        >>> args = ModelArguments(model_name_or_path="you/emotions", tempo=0.1)
        >>> found = loaded_arguments(args, SERConfig(hidden_size=64), SERFeatureExtractor())
        >>> found.hidden_size, found.tempo
        (64, 0.1)
        >>> loaded_arguments(ModelArguments(hidden_size=32), SERConfig(hidden_size=64), SERFeatureExtractor())
        Traceback (most recent call last):
        ...
        ValueError: hidden_size is asked to be 32, but the model to fine-tune has 64. ...
    """
    own: dict[str, Any] = {name: getattr(config, name) for name in model_sizes(args)}
    own |= {
        "stem_channels": list(config.stem_channels or []),
        "streams": list(extractor.streams),
        "win_length": extractor.win_length,
        "dynamic_range": extractor.dynamic_range or 0.0,
        "clip_normalization": extractor.clip_normalization,
        "encoder": None,
        "encoder_revision": None,
        "encoder_layer": None,
    }
    preset = preset_settings(args.preset, args.streams)
    names = {item.name for item in fields(args)}
    default = ModelArguments(**{name: value for name, value in preset.items() if name in names})
    for name, value in own.items():
        asked = getattr(args, name)
        if asked not in (value, getattr(default, name)):
            raise ValueError(
                f"{name} is asked to be {asked!r}, but the model to fine-tune has {value if value else 'its own'}. "
                "Leave it out, or train a new model."
            )
    return replace(args, **own)


__all__ = ["loaded_arguments"]
