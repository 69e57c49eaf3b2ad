"""The stem: against a convolution written out place by place, and everything that padding must not change."""

import numpy as np
import pytest
import torch

from modeling_ser import SERModel
from modeling_ser.spectrogram_stem import SpectrogramStem, average_frames
from tests.modeling_ser.small_models import LENGTHS, STEM, clips_for, padded, random_clips, small_config, small_model

BANDS = 8
SIZE = 3 * BANDS


def convolve(image: np.ndarray, kernel: np.ndarray, strides: tuple[int, int]) -> np.ndarray:
    """Slide a kernel (out, in, width, width) over (frames, bands, in) in steps, each output at the kernel's center."""
    width = kernel.shape[2]
    framed = np.pad(image, [(width // 2, width // 2)] * 2 + [(0, 0)])
    rows = range(0, image.shape[0], strides[0])
    columns = range(0, image.shape[1], strides[1])
    return np.array(
        [[np.einsum("xyi,oixy->o", framed[x : x + width, y : y + width], kernel) for y in columns] for x in rows]
    )


def stem_of_one(stem: SpectrogramStem, clip: np.ndarray) -> np.ndarray:
    """The stem in evaluation mode on one clip, (frames, 3 × bands), in numpy."""
    image = clip.reshape(len(clip), 3, BANDS).transpose(0, 2, 1)  # (frames, bands, planes)
    for conv, norm, strides in zip(stem.convs, stem.norms, ((2, 2), (2, 2), (1, 2)), strict=True):
        image = convolve(image, conv.weight.detach().double().numpy(), strides)
        mean, variance, weight, bias = (
            tensor.detach().double().numpy()
            for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        )
        image = np.maximum((image - mean) / np.sqrt(variance + 1e-5) * weight + bias, 0)
    return image.reshape(len(image), -1)


def test_it_is_three_strided_convolutions_of_frames_and_bands() -> None:
    stem = small_model(**STEM).ser.stem
    clips = random_clips(LENGTHS, SIZE)
    features, mask = padded(clips)
    output, shorter = stem(features, mask.float().unsqueeze(-1))
    assert (stem.frame_stride, stem.output_size) == (4, 2)
    assert shorter.sum(dim=(1, 2)).tolist() == [-(-length // 4) for length in LENGTHS]
    for row, clip, length in zip(output, clips, LENGTHS, strict=True):
        frames = -(-length // 4)
        expected = stem_of_one(stem, clip.double().numpy())
        np.testing.assert_allclose(row[:frames].detach(), expected, rtol=0, atol=1e-5)
        assert (row[frames:] == 0).all()


@pytest.mark.parametrize("channels", [(3,), (3, 2)])
def test_one_or_two_layers_halve_frames_once_or_twice(channels: tuple[int, ...]) -> None:
    stem = SpectrogramStem(channels, SIZE)
    output, mask = stem(torch.randn(2, 9, SIZE), torch.ones(2, 9, 1))
    assert stem.frame_stride == 2 ** len(channels)
    assert output.shape == (2, -(-9 // stem.frame_stride), stem.output_size)
    assert mask.shape == (*output.shape[:2], 1)


def test_other_streams_are_averaged_around_the_frames_of_the_stem() -> None:
    frames = torch.arange(1.0, 11.0).view(1, 10, 1)
    mask = torch.ones(1, 10, 1)
    # Around frames 0, 4 and 8: 1 to 3, 3 to 7, 7 to 10.
    assert average_frames(frames, mask, 4).flatten().tolist() == pytest.approx([2.0, 5.0, 8.5])
    mask[:, 8:] = 0  # the third output frame is padding, though frames 6 and 7 lie in its window
    assert average_frames(frames * mask, mask, 4).flatten().tolist() == pytest.approx([2.0, 5.0, 0.0])


def test_contexts_and_attentions_have_a_quarter_of_the_frames() -> None:
    model = small_model(**STEM)
    output = model.ser(*clips_for(model), output_attentions=True, output_hidden_states=True)
    assert model.ser.frame_stride == 4
    assert [tensor.shape for tensor in (output.last_hidden_state, *output.hidden_states)] == 3 * [(4, 3, 8)]
    assert [weights.shape for weights in output.attentions] == [(4, 2, 3, 3)]
    assert (output.last_hidden_state[1, 1:] == 0).all()  # padding
    assert SERModel(small_config()).frame_stride == 1
