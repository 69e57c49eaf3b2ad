"""From a waveform to the sequence of features that a speech emotion model reads."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .audio_decoding import load_audio
from .feature_extraction_ser import SERFeatureExtractor

if TYPE_CHECKING:
    from .configuration_deepspeech import DeepSpeechConfig
    from .convert_model import convert_deepspeech
    from .feature_extraction_deepspeech import DeepSpeechFeatureExtractor
    from .modeling_deepspeech import DeepSpeechForCTC, DeepSpeechModel
    from .streaming_deepspeech import DeepSpeechStream

# So that whatever `save_pretrained` writes carries the extractor's code with it.
SERFeatureExtractor.register_for_auto_class("AutoFeatureExtractor")

# Read when first asked for: who wants features of frames needs neither the network nor the converter.
_LAZY = {
    "DeepSpeechConfig": "configuration_deepspeech",
    "DeepSpeechFeatureExtractor": "feature_extraction_deepspeech",
    "DeepSpeechForCTC": "modeling_deepspeech",
    "DeepSpeechModel": "modeling_deepspeech",
    "DeepSpeechStream": "streaming_deepspeech",
    "convert_deepspeech": "convert_model",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_LAZY[name]}", __name__), name)


__all__ = [
    "DeepSpeechConfig",
    "DeepSpeechFeatureExtractor",
    "DeepSpeechForCTC",
    "DeepSpeechModel",
    "DeepSpeechStream",
    "SERFeatureExtractor",
    "convert_deepspeech",
    "load_audio",
]
