"""Settings that the name of a system stands for."""

# Setting → the system to choose instead: another value would be another system under the same name.
NAMED = {
    "class_weights": "model-1-class-weights",
    "fusion": "model-3-late",
    "loss": "model-1-focal",
    "streams": "model-1, model-2 or model-3",
}

__all__ = ["NAMED"]
