"""What is done with a trained model. Names are loaded when they are used."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .emotion_stream import EmotionStream
    from .explanation import Explanation, draw_explanation, explain
    from .onnx_export import export_onnx
    from .onnx_model import onnx_pipeline
    from .timeline import Timeline, timeline_of

_PLACES = {
    "EmotionStream": "emotion_stream",
    "Explanation": "explanation",
    "Timeline": "timeline",
    "draw_explanation": "explanation",
    "explain": "explanation",
    "export_onnx": "onnx_export",
    "onnx_pipeline": "onnx_model",
    "timeline_of": "timeline",
}

__all__ = [
    "EmotionStream",
    "Explanation",
    "Timeline",
    "draw_explanation",
    "explain",
    "export_onnx",
    "onnx_pipeline",
    "timeline_of",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
