"""An encoder that belongs to the model: alone and in batches, from its input and from states, saved and loaded."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from modeling_ser import SERConfig, SERForAudioClassification
from modeling_ser.encoder_blocks import encoder_states

SIZE, BINS = 16, 20
CONVOLUTIONS = {"conv_dim": (8,) * 7, "hidden_size": SIZE, "num_hidden_layers": 3, "num_attention_heads": 2}
SMALL = {**CONVOLUTIONS, "intermediate_size": 16, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
KINDS = ("whisper", "wav2vec2", "hubert", "wavlm", "wav2vec2-layer")


def encoder_config(kind: str, **more: Any) -> dict[str, Any]:
    """Write the configuration of a tiny encoder with three blocks."""
    if kind == "whisper":
        config = transformers.WhisperConfig(
            d_model=SIZE, encoder_layers=3, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
            encoder_ffn_dim=16, decoder_ffn_dim=16,
            max_source_positions=40, num_mel_bins=BINS, **more,
        )  # fmt: skip
    else:
        name = {"wav2vec2": "Wav2Vec2", "hubert": "Hubert", "wavlm": "WavLM"}[kind.partition("-")[0]]
        norm = "layer" if kind.endswith("layer") else "group"
        own = {"feat_extract_norm": norm, "do_stable_layer_norm": norm == "layer"}
        config = getattr(transformers, f"{name}Config")(**SMALL, **own, **more)
    return config.to_diff_dict() | {"model_type": config.model_type}


def model_with(kind: str, layers: tuple[int, ...] = (1, 2), **more: Any) -> SERForAudioClassification:
    """Make a small classifier on layers of a tiny encoder, in evaluation mode."""
    size = SIZE * len(layers)
    mix = {"stream_sizes": [size], "layer_mix": [len(layers)]} if len(layers) > 1 else {}
    config = SERConfig(
        input_size=size, hidden_size=8, dense_size=8, num_labels=3, encoder_config=encoder_config(kind, **more),
        encoder_layers=list(layers), **mix,
    )  # fmt: skip
    torch.manual_seed(0)
    return SERForAudioClassification(config).eval()


def clips_for(kind: str, lengths: tuple[int, ...] | None = None) -> list[torch.Tensor]:
    """Make clips of various lengths, each (frames, size of the encoder's input)."""
    torch.manual_seed(1)
    whisper = kind == "whisper"
    lengths = lengths or ((31, 80, 55) if whisper else (3000, 8000, 401))
    return [torch.randn(length, BINS if whisper else 1) for length in lengths]


def joined(clips: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Pad clips to a batch; what stands in the padding must not matter."""
    lengths = torch.tensor([len(clip) for clip in clips])
    features = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True, padding_value=7.0)
    mask = torch.arange(features.shape[1]) < lengths[:, None]
    return {"input_features": features, "attention_mask": mask.long()}


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_clip_has_the_same_scores_alone_and_in_any_batch(kind: str) -> None:
    model, clips = model_with(kind), clips_for(kind)
    alone = torch.cat([model(clip[None]).logits for clip in clips])
    torch.testing.assert_close(model(**joined(clips)).logits, alone, rtol=1e-5, atol=1e-5)
    assert alone.std(dim=0).min() > 1e-4  # clips that all score alike would prove nothing


@torch.no_grad()
def test_longer_clips_than_whisper_reads_at_once_are_read_in_windows() -> None:
    model, clips = model_with("whisper"), clips_for("whisper", (200, 31, 80, 161))
    states, mask = model.ser.encoder(*joined(clips).values())
    assert mask.sum(dim=1).tolist() == [100, 16, 40, 81]
    for row, clip in zip(states, clips, strict=True):
        parts = [encoder_states(model.ser.encoder.network, part.T[None], None, [1, 2])[0] for part in clip.split(80)]
        expected = torch.cat([torch.cat(part, dim=-1)[0] for part in parts])
        torch.testing.assert_close(row[: len(expected)], expected, rtol=1e-4, atol=1e-5)
    alone = torch.cat([model(clip[None]).logits for clip in clips])
    torch.testing.assert_close(model(**joined(clips)).logits, alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("given", [(0,), (1,), (2,), (0, 3, 1), (1, 2, 3)], ids=str)
@torch.no_grad()
def test_the_model_goes_on_from_layers_that_were_computed_before(kind: str, given: tuple[int, ...]) -> None:
    layers = (2, 3) if max(given) == 2 else (3, 1, 2) if given == (1, 2, 3) else (1, 3)
    model, batch = model_with(kind, layers), joined(clips_for(kind))
    whole = model(**batch).logits
    model.ser.encoder.layers = list(given)
    states, mask = model.ser.encoder(batch["input_features"], batch["attention_mask"])
    model.ser.encoder.layers = list(layers)
    before = states.clone()
    torch.testing.assert_close(model(states, mask, given_layers=given).logits, whole, rtol=1e-5, atol=1e-6)
    assert torch.equal(states, before)  # they may come from a cache


@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_is_saved_with_the_model(kind: str, tmp_path: Path) -> None:
    model, batch = model_with(kind), joined(clips_for(kind))
    model.save_pretrained(tmp_path)
    loaded = SERForAudioClassification.from_pretrained(tmp_path)
    assert loaded.config.encoder_config == model.config.encoder_config and loaded.config.encoder_layers == [1, 2]
    assert torch.equal(loaded(**batch).logits, model(**batch).logits)
    assert len(loaded.ser.encoder.blocks) == 2  # the third gives nothing that is read


@pytest.mark.parametrize("kind", KINDS)
def test_checkpointing_gradients_gives_the_same_ones(kind: str) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = model_with(kind, hidden_dropout=0.0, attention_dropout=0.0) if kind != "whisper" else model_with(kind)
        model.train()
        if checkpointing:
            model.activation_checkpointing_enable()
            assert all(block.gradient_checkpointing for block in model.ser.encoder.blocks)
        torch.manual_seed(0)
        model(**joined(clips_for(kind)), labels=torch.tensor([0, 1, 2])).loss.backward()
        gradients.append({name: one.grad for name, one in model.named_parameters() if one.requires_grad})
    assert all(one is not None for one in gradients[0].values())  # every weight that is held is used
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


def test_what_is_frozen_computes_in_training_as_in_use() -> None:
    model, batch = model_with("wav2vec2", (2,), hidden_dropout=0.5), joined(clips_for("wav2vec2"))
    encoder = model.ser.encoder
    encoder.requires_grad_(False)
    used, _ = encoder(*batch.values())
    assert torch.equal(encoder.train()(*batch.values())[0], used)
    encoder.blocks[1].requires_grad_(True)
    model.train()
    assert [block.training for block in encoder.blocks] == [False, True] and not encoder.network.training
    assert not torch.equal(encoder(*batch.values())[0], used)


def test_what_does_not_fit_is_said() -> None:
    for fields, message in (
        ({"encoder_layers": [1, 4]}, "layers 0 to 3"),
        ({"encoder_layers": [1]}, "input_size must be 16"),
        ({"stream_sizes": [16, 16]}, "only stream"),
        ({"encoder_layers": None}, "go together"),
    ):
        settings = {"input_size": 32, "encoder_config": encoder_config("whisper"), "encoder_layers": [1, 2]} | fields
        with pytest.raises(ValueError, match=message):
            SERForAudioClassification(SERConfig(**settings))
    model, states = model_with("whisper"), torch.zeros(1, 5, SIZE)
    with pytest.raises(ValueError, match=r"\(batch, frames, 20\)"):
        model(states)
    with pytest.raises(ValueError, match=r"States of the layers \[2\] came"):
        model(states, given_layers=[2])  # without layer 1
    with pytest.raises(ValueError, match="given_layers is for models"):
        SERForAudioClassification(SERConfig(input_size=SIZE))(states, given_layers=[2])


def test_frames_of_the_context_are_counted_in_frames_of_the_input() -> None:
    assert (model_with("whisper").ser.frame_stride, model_with("hubert").ser.frame_stride) == (2, 320)
