"""Systems by name: the library's, those of the compared papers, and the control with a shuffled DeepSpeech."""

import importlib
from collections.abc import Mapping
from typing import Any

from speech_emotion.cross_validation import registry
from speech_emotion.cross_validation.system import System
from speech_emotion.cross_validation.titles import CONTROL, SHUFFLED, VARIANTS
from speech_emotion.cross_validation.titles import system_title as library_title

# Name → the file that makes it, and its title. Reduced: with fewer filters, cells or steps than the original. Our
# reading: of the paper only an outline was at hand.
PAPERS: dict[str, tuple[str, str]] = {
    "satt-2017": ("satt_2017", "Satt et al. 2017 (reduced)"),
    "yenigalla-2018-spectrogram": ("yenigalla_2018", "Yenigalla et al. 2018, spectrogram (reduced)"),
    "yenigalla-2018-phonemes": ("yenigalla_2018", "Yenigalla et al. 2018, phonemes"),
    "yenigalla-2018-combined": ("yenigalla_2018", "Yenigalla et al. 2018, combined (reduced)"),
    "lee-2015": ("lee_2015", "Lee and Tashev 2015 (our reading)"),
    "lakomkin-2017": ("lakomkin_2017", "Lakomkin et al. 2017 (our reading)"),
}
# Models whose DeepSpeech may be shuffled.
SHUFFLED_MODELS = {f"{model}-{SHUFFLED}": model for model in ("model-2", "model-3")}


def list_systems() -> list[str]:
    """Return the names of all systems; each may be followed by `-permuted`.

    >>> [name for name in list_systems() if name.startswith("yenigalla")][0]
    'yenigalla-2018-spectrogram'
    """
    return list(dict.fromkeys([*registry.list_systems(), *SHUFFLED_MODELS, *PAPERS]))


def get_system(name: str, overrides: Mapping[str, Any] | None = None, encoder: str | None = None) -> System:
    """Make a system. Settings are the library's models' alone: the papers' are what they are.

    >>> get_system("satt-2017-permuted").title
    'Satt et al. 2017 (reduced), labels permuted (control)'
    """
    base = name.removesuffix(f"-{CONTROL}")
    if base not in SHUFFLED_MODELS and base not in PAPERS:
        return registry.get_system(name, overrides, encoder)
    if base != name:
        from speech_emotion.cross_validation.permuted_system import PermutedSystem

        return PermutedSystem(get_system(base, overrides, encoder))
    if name in SHUFFLED_MODELS:
        from .shuffled_encoder import ShuffledEncoderSystem

        return ShuffledEncoderSystem(name, system_title(name), SHUFFLED_MODELS[name], overrides, encoder)
    module, title = PAPERS[name]
    made = importlib.import_module(f"{__package__}.{module}")
    return made.make_system(name, title, encoder) if name == "lakomkin-2017" else made.make_system(name, title)


def system_title(name: str) -> str:
    """Return what a system is called in tables.

    >>> system_title("model-2-shuffled"), system_title("lee-2015")
    ("Model-2 (linguistic), DeepSpeech's weights shuffled (control)", 'Lee and Tashev 2015 (our reading)')
    """
    if name in PAPERS:
        return PAPERS[name][1]
    if name in SHUFFLED_MODELS:
        return f"{library_title(SHUFFLED_MODELS[name])}, DeepSpeech's weights shuffled (control)"
    base = name.removesuffix(f"-{CONTROL}")
    return f"{system_title(base)}, {VARIANTS[CONTROL]}" if base != name else library_title(name)
