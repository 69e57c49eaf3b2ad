"""What is done with a trained model. Names are loaded when they are used."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .emotion_stream import EmotionStream
    from .timeline import Timeline, timeline_of

_PLACES = {"EmotionStream": "emotion_stream", "Timeline": "timeline", "timeline_of": "timeline"}

__all__ = ["EmotionStream", "Timeline", "timeline_of"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
