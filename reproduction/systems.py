"""Systems by name: the library's, the compared papers', the control with a shuffled DeepSpeech, trained encoders."""

import pkgutil
from collections.abc import Mapping
from typing import Any

from speech_emotion.cross_validation import systems
from speech_emotion.cross_validation.system import System
from speech_emotion.cross_validation.system_names import CONTROL, SYSTEM_TITLES
from speech_emotion.cross_validation.system_names import system_title as library_title

# Name → what makes it, and its title. Reduced: with fewer filters, cells or steps than the original. Our reading: of
# the paper only an outline was at hand.
PAPERS: dict[str, tuple[str, str]] = {
    "satt-2017": ("satt_2017:Satt", "Satt et al. 2017 (reduced)"),
    "yenigalla-2018-spectrogram": ("yenigalla_2018:Yenigalla", "Yenigalla et al. 2018, spectrogram (reduced)"),
    "yenigalla-2018-phonemes": ("yenigalla_2018:Yenigalla", "Yenigalla et al. 2018, phonemes"),
    "yenigalla-2018-combined": ("yenigalla_2018:Yenigalla", "Yenigalla et al. 2018, combined (reduced)"),
    "lee-2015": ("lee_2015:Lee", "Lee and Tashev 2015 (our reading)"),
    "lakomkin-2017": ("lakomkin_2017:make_system", "Lakomkin et al. 2017 (our reading)"),
}
# Models whose DeepSpeech may be shuffled.
SHUFFLED_MODELS = {f"{model}-shuffled": model for model in ("model-2", "model-3")}
# The model whose encoder learns too → what of it learns, as `train.py --train_encoder` says it, and in words.
TRAINED_ENCODERS = {
    "model-2-whisper-top-2": ("model-2-whisper", "top-2", "its upper 2 blocks trained"),
    "model-2-whisper-lora": ("model-2-whisper", "lora", "trained by LoRA"),
}
# All systems but their controls with permuted labels.
TITLES: dict[str, str] = {
    **SYSTEM_TITLES,
    **{
        name: f"{SYSTEM_TITLES[model]}, DeepSpeech's weights shuffled (control)"
        for name, model in SHUFFLED_MODELS.items()
    },
    **{name: f"{SYSTEM_TITLES[model]}, {what}" for name, (model, _, what) in TRAINED_ENCODERS.items()},
    **{name: title for name, (_, title) in PAPERS.items()},
}


def get_system(name: str, overrides: Mapping[str, Any] | None = None, encoder: str | None = None) -> System:
    """Make a system. Settings are the library's models' alone: the papers' are what they are."""
    base = name.removesuffix(CONTROL)
    if base in TRAINED_ENCODERS and base == name:
        model, how, _ = TRAINED_ENCODERS[name]
        system = systems.get_system(model, {**(overrides or {}), "train_encoder": how}, encoder)
        system.name, system.title = name, TITLES[name]
        return system
    if base not in SHUFFLED_MODELS and base not in PAPERS and base not in TRAINED_ENCODERS:
        return systems.get_system(name, overrides, encoder)
    if base != name:
        return systems.PermutedSystem(get_system(base, overrides, encoder))
    if name in SHUFFLED_MODELS:
        from .shuffled_encoder import ShuffledEncoderSystem

        return ShuffledEncoderSystem(name, TITLES[name], SHUFFLED_MODELS[name], overrides, encoder)
    maker, title = PAPERS[name]
    make = pkgutil.resolve_name(f"{__package__}.{maker}")
    return make(name, title, encoder) if name == "lakomkin-2017" else make(name, title)


def system_title(name: str) -> str:
    """Return what a system is called in tables.

    >>> system_title("model-2-shuffled"), system_title("lee-2015")
    ("Model-2 (linguistic), DeepSpeech's weights shuffled (control)", 'Lee and Tashev 2015 (our reading)')
    """
    return library_title(name, TITLES)
