"""The convolution over blocks against torch's own."""

import pytest
import torch
from torch.nn import functional as F

from reproduction.block_convolution import BlockConv2d


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("kernel", [(4, 8), (5, 3), (9, 14)])
@pytest.mark.parametrize("size", [(16, 24), (17, 30), (13, 19)])
def test_it_is_torchs_strided_convolution(stride: int, kernel: tuple[int, int], size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    convolution = BlockConv2d(3, kernel, stride)
    x = torch.randn(2, 1, *size)
    own, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    found = convolution(own)
    expected = F.conv2d(theirs, convolution.weight, convolution.bias, stride=stride)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    weights = torch.randn_like(expected)
    gradients = torch.autograd.grad((found * weights).sum(), [own, convolution.weight, convolution.bias])
    known = torch.autograd.grad((expected * weights).sum(), [theirs, convolution.weight, convolution.bias])
    for gradient, other in zip(gradients, known, strict=True):
        torch.testing.assert_close(gradient, other, rtol=0, atol=1e-4)
