"""Studies of what the models do: DeepSpeech's layers, the heads of the attention, and figures of finished runs."""
