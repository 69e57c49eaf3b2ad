"""The model `emotions`: `speech_emotion.pretrained.pretrained_path("emotions")` finds it, `ser predict` takes it."""
