"""The module of shared products, where more is wanted of it than numbers."""

import warnings

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from subpixel.kernels import resize_conv_to_products
from subpixel.rewriter.pytorch.products import SharedResizeConv

torch.manual_seed(0)
WEIGHT, BIAS = torch.randn(2, 3, 3, 3), torch.randn(2)
SMALL, LARGE = torch.randn(1, 3, 4, 5), torch.randn(2, 3, 600, 60)


def module() -> SharedResizeConv:
    return SharedResizeConv(resize_conv_to_products(WEIGHT), BIAS, (2, 3))


def padded(x: Tensor) -> Tensor:
    return F.pad(x, [1] * 4)


def assert_close(result: Tensor, x: Tensor, tolerance: float = 1e-5) -> None:
    wanted = F.conv2d(F.interpolate(x, scale_factor=(2.0, 3.0)), WEIGHT, BIAS, padding=1)
    assert result.shape == wanted.shape
    assert (result - wanted).abs().max() <= tolerance * wanted.abs().max()


def test_its_weights_may_be_trained() -> None:
    """Whether or not a gradient of the input is wanted."""
    result = module().requires_grad_()(padded(SMALL))
    assert result.requires_grad
    assert_close(result.detach(), SMALL)


def test_a_recording_holds_at_other_sizes() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated, and still what many deploy
        traced = torch.jit.trace(module(), padded(SMALL))
    for x in (SMALL, LARGE):
        assert_close(traced(padded(x)), x)


@pytest.mark.parametrize("given", [torch.float32, torch.bfloat16])
def test_autocast_decides_on_the_precision(given: torch.dtype) -> None:
    """As in a convolution, whatever the input's is."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = module()(padded(SMALL.to(given)))
    assert result.dtype == torch.bfloat16
    assert_close(result.float(), SMALL, 2e-2)


def test_a_batch_of_models() -> None:
    batch = torch.stack([SMALL, 2 * SMALL])
    for result, x in zip(torch.vmap(module())(padded(batch)), batch, strict=True):
        assert_close(result, x)
