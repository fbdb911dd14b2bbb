"""Sub-pixel convolution layers, shuffle layers, ICNR."""

import copy
from typing import Any

import pytest
import torch

from subpixel import nn
from subpixel.functional import periodic_shuffle
from subpixel.geometry import axes
from subpixel.kernels import lr_to_transposed

LAYERS: dict[int, Any] = {1: nn.SubPixelConv1d, 2: nn.SubPixelConv2d, 3: nn.SubPixelConv3d}


@pytest.mark.parametrize("kernel_size", [2, 3])
@pytest.mark.parametrize("ndim", LAYERS)
def test_is_a_convolution_and_a_shuffle(ndim: int, kernel_size: int) -> None:
    """By default an image of n pixels becomes one of n * r."""
    layer = LAYERS[ndim](4, 2, kernel_size, 3, groups=2, dilation=2)
    conv = getattr(torch.nn, f"Conv{ndim}d")(
        4, 2 * 3**ndim, kernel_size, padding="same", groups=2, dilation=2
    )
    conv.load_state_dict(layer.state_dict())
    x = torch.randn(2, 4, *range(5, 5 + ndim), generator=torch.Generator().manual_seed(0))
    assert torch.equal(layer(x), periodic_shuffle(conv(x), (3,) * ndim))
    assert layer(x).shape == (2, 2, *(3 * n for n in range(5, 5 + ndim)))
    assert torch.equal(layer(x[0]), periodic_shuffle(conv(x[0]), (3,) * ndim))


@pytest.mark.parametrize("ndim", LAYERS)
def test_is_a_transposed_convolution(ndim: int) -> None:
    """Section 2 of the note, as layers: padding K // 2 in LR pixels."""
    layer = LAYERS[ndim](4, 2, 3, 2, bias=False, dtype=torch.float64)
    x = torch.randn(1, 4, *range(4, 4 + ndim), generator=torch.Generator().manual_seed(0)).double()
    weight = lr_to_transposed(layer.weight, 2)
    padding = next(axis.padding for axis in axes(weight.shape[2:], stride=2, padding=2))
    expected = getattr(torch.nn.functional, f"conv_transpose{ndim}d")(x, weight, stride=2, padding=padding)
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)


def test_factors_may_differ_and_padding_be_chosen() -> None:
    layer = nn.SubPixelConv2d(
        1, 1, 3, (2, 3), padding="valid", padding_mode="zeros", bias=False, device="meta"
    )
    assert layer.weight.shape == (6, 1, 3, 3)
    assert layer.out_channels == 1
    assert layer(torch.zeros(1, 1, 5, 5, device="meta")).shape == (1, 1, 6, 9)
    assert "upscale_factors=(2, 3)" in repr(layer)
    assert repr(layer).startswith("SubPixelConv2d(1, 1, kernel_size=(3, 3)")
    with pytest.raises(ValueError, match="upscale_factor must be one integer or one an axis"):
        nn.SubPixelConv2d(1, 1, 3, (2, 2, 2))
    with pytest.raises(ValueError, match="upscale_factor must be at least 1; got upscale_factor=0"):
        nn.SubPixelConv2d(1, 1, 3, 0)


def test_replicate_padding_keeps_a_constant() -> None:
    layer = nn.SubPixelConv2d(1, 1, 3, 2, padding_mode="replicate")
    torch.nn.init.constant_(layer.weight, 1 / 9)
    torch.nn.init.zeros_(layer.bias)
    torch.testing.assert_close(layer(torch.ones(1, 1, 4, 4)), torch.ones(1, 1, 8, 8))


def whole_numbers() -> tuple[nn.SubPixelConv2d, torch.Tensor, torch.Tensor]:
    """A layer and an input of small whole numbers, whose sums every dtype holds exactly, and the output."""
    layer = nn.SubPixelConv2d(2, 1, 3, 2)
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(-2, 3, (1, 2, 4, 4), generator=generator).float()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randint(-2, 3, parameter.shape, generator=generator))
        weight = lr_to_transposed(layer.weight, 2)
        expected = torch.nn.functional.conv_transpose2d(x, weight, stride=2, padding=2)
        expected += torch.nn.functional.pixel_shuffle(layer.bias.view(1, 4, 1, 1).expand(1, 4, 4, 4), 2)
    return layer, x, expected


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_every_dtype_gives_the_same_whole_numbers(dtype: torch.dtype) -> None:
    """18 products of at most 4, and a bias: below 256, which bfloat16 counts to without a gap."""
    layer, x, expected = whole_numbers()
    y = copy.deepcopy(layer).to(dtype)(x.to(dtype))
    assert y.dtype == dtype
    assert torch.equal(y.float(), expected)


def test_autocast_gives_the_same_whole_numbers() -> None:
    layer, x, expected = whole_numbers()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y.float(), expected)


def test_channels_last_gives_the_same_in_channels_last() -> None:
    layer, x, expected = whole_numbers()
    two = torch.cat([expected, expected], dim=1)
    both = nn.SubPixelConv2d(2, 2, 3, 2)  # with one channel both formats are the same
    both.load_state_dict({name: torch.cat([value] * 2) for name, value in layer.state_dict().items()})
    y = both(x.contiguous(memory_format=torch.channels_last))
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(y, two)


def test_shuffle_layers() -> None:
    x = torch.arange(24).reshape(1, 6, 4)
    shuffle, unshuffle = nn.PeriodicShuffle((3,)), nn.PeriodicUnshuffle((3,))
    assert torch.equal(shuffle(x), periodic_shuffle(x, (3,)))
    assert torch.equal(unshuffle(shuffle(x)), x)
    assert repr(shuffle) == "PeriodicShuffle(upscale_factors=(3,))"
    assert repr(unshuffle) == "PeriodicUnshuffle(downscale_factors=(3,))"


@pytest.mark.parametrize("ndim", LAYERS)
def test_icnr_starts_as_a_convolution_and_a_nearest_resize(ndim: int) -> None:
    """So no checkerboard: all HR pixels of an LR pixel are equal."""
    layer = LAYERS[ndim](4, 2, 3, 2, bias=False)
    before = layer.weight.clone()
    assert nn.icnr_(layer.weight, 2) is layer.weight
    assert not torch.equal(layer.weight, before)
    x = torch.randn(1, 4, *[5] * ndim, generator=torch.Generator().manual_seed(0))
    y = layer(x)
    nearest = torch.nn.functional.interpolate(y[(..., *[slice(None, None, 2)] * ndim)], scale_factor=2)
    torch.testing.assert_close(y, nearest, rtol=0, atol=1e-6)


def test_icnr_takes_any_initialisation() -> None:
    weight = torch.empty(8, 3, 3, 3)
    nn.icnr_(weight, 2, initialise=torch.nn.init.ones_)
    assert torch.equal(weight, torch.ones_like(weight))
    torch.manual_seed(0)
    nn.icnr_(weight, 2)
    torch.manual_seed(0)
    kernels = torch.nn.init.kaiming_normal_(torch.empty(2, 3, 3, 3))
    assert torch.equal(weight, kernels.repeat_interleave(4, dim=0))
    with pytest.raises(ValueError, match=r"the output channels must be a multiple of 9; got \(8, 3, 3, 3\)"):
        nn.icnr_(weight, 3)
    with pytest.raises(ValueError, match="upscale_factor must be at least 1; got upscale_factor=0"):
        nn.icnr_(weight, 0)
