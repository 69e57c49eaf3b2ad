"""Studies of what the models do: DeepSpeech's layers, and the heads of the attention."""
