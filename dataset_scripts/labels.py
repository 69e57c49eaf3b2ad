"""The house vocabulary of emotions, into which every corpus translates its own labels."""

LABELS = (
    "anger",
    "boredom",
    "calm",
    "disgust",
    "excitement",
    "fear",
    "frustration",
    "happiness",
    "neutral",
    "sadness",
    "surprise",
    "other",
)
"""All emotions a clip's ``label`` may have."""

FOUR_LABELS = ("anger", "happiness", "neutral", "sadness")
"""The four classes of most published figures; ``label4`` is ``None`` for every other emotion."""
