"""Small encoders of every kind, with random weights, and noise for them to read."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import PreTrainedModel, Wav2Vec2FeatureExtractor

from feature_extraction import DeepSpeechConfig, DeepSpeechFeatureExtractor, DeepSpeechForCTC

RATE = 16000


def noise(samples: int = RATE, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


CONVOLUTIONS = {"conv_dim": (8,) * 7, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
SMALL = {**CONVOLUTIONS, "intermediate_size": 16, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}

MODELS = {
    "wav2vec2": ("Wav2Vec2", "group"),
    "wav2vec2-layer": ("Wav2Vec2", "layer"),
    "hubert": ("Hubert", "group"),
    "wavlm": ("WavLM", "layer"),
}


def small_model(kind: str) -> tuple[PreTrainedModel, Any]:
    torch.manual_seed(0)
    if kind == "deepspeech":
        return DeepSpeechForCTC(DeepSpeechConfig(hidden_size=24)), DeepSpeechFeatureExtractor()
    if kind == "whisper":
        config = transformers.WhisperConfig(
            d_model=16, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
            encoder_ffn_dim=16, decoder_ffn_dim=16, max_source_positions=40, vocab_size=50, pad_token_id=0,
            bos_token_id=0, eos_token_id=0, decoder_start_token_id=0,
        )  # fmt: skip
        return transformers.WhisperModel(config), transformers.WhisperFeatureExtractor()
    name, norm = MODELS[kind]
    config = getattr(transformers, f"{name}Config")(
        **SMALL, feat_extract_norm=norm, do_stable_layer_norm=norm == "layer"
    )
    return getattr(transformers, f"{name}Model")(config), Wav2Vec2FeatureExtractor(do_normalize=True)


def saved_encoder(kind: str, folder: Path) -> Path:
    """Save a small encoder, with its feature extractor, into a folder."""
    for part in small_model(kind):
        part.save_pretrained(folder)
    return folder


KINDS = ("deepspeech", *MODELS, "whisper")
