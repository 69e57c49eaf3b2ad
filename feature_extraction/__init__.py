"""From a waveform to the sequence of features that a speech emotion model reads."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .audio_decoding import load_audio, load_audio_blocks
    from .configuration_deepspeech import DeepSpeechConfig
    from .convert.deepspeech import convert_deepspeech
    from .convert.whisper import convert_whisper
    from .feature_extraction_deepspeech import DeepSpeechFeatureExtractor
    from .feature_extraction_ser import SERFeatureExtractor
    from .modeling_deepspeech import DeepSpeechForCTC, DeepSpeechModel
    from .streaming_deepspeech import DeepSpeechStream

# Read when first asked for: decoding a file needs no torch, features need neither network nor converter.
_MODULES = {
    "DeepSpeechConfig": "configuration_deepspeech",
    "DeepSpeechFeatureExtractor": "feature_extraction_deepspeech",
    "DeepSpeechForCTC": "modeling_deepspeech",
    "DeepSpeechModel": "modeling_deepspeech",
    "DeepSpeechStream": "streaming_deepspeech",
    "SERFeatureExtractor": "feature_extraction_ser",
    "convert_deepspeech": "convert.deepspeech",
    "convert_whisper": "convert.whisper",
    "load_audio": "audio_decoding",
    "load_audio_blocks": "audio_decoding",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    return value


__all__ = [
    "DeepSpeechConfig",
    "DeepSpeechFeatureExtractor",
    "DeepSpeechForCTC",
    "DeepSpeechModel",
    "DeepSpeechStream",
    "SERFeatureExtractor",
    "convert_deepspeech",
    "convert_whisper",
    "load_audio",
    "load_audio_blocks",
]
