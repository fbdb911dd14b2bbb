"""A nearest resize and a convolution of three taps share three products an axis, whatever the factor."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from subpixel import strips
from subpixel.functional import resize_conv
from subpixel.kernels import resize_conv_to_products
from subpixel.nn import ResizeConv

CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    """One to three axes, a factor each, one pixel and more."""
    ndim = draw(st.integers(1, 3))
    factors = tuple(draw(st.integers(2, 4)) for _ in range(ndim))
    sizes = [draw(st.integers(1, 5)) for _ in range(ndim)]
    batch, c_in, c_out = (draw(st.integers(1, 3)) for _ in range(3))
    torch.manual_seed(draw(st.integers(0, 999)))
    return {
        "x": torch.randn(batch, c_in, *sizes, dtype=torch.float64),
        "weight": torch.randn(c_out, c_in, *[3] * ndim, dtype=torch.float64),
        "bias": torch.randn(c_out, dtype=torch.float64) if draw(st.booleans()) else None,
        "factors": factors,
    }


def assert_close(actual: Tensor, expected: Tensor) -> None:
    """Within 1e-12 of the largest value; what cancels between the products leaves that much of it."""
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max() <= 1e-12 * expected.abs().max()


def padded(x: Tensor, pixels: int, mode: str = "constant") -> Tensor:
    return functional.pad(x, [pixels] * (2 * (x.ndim - 2)), mode=mode)


def expected(x: Tensor, weight: Tensor, bias: Tensor | None, factors: Any, mode: str = "constant") -> Tensor:
    """PyTorch's resize and convolution, padded in HR space."""
    resized = functional.interpolate(x, scale_factor=tuple(map(float, factors)), mode="nearest")
    return CONVOLUTIONS[x.ndim - 2](padded(resized, 1, mode), weight, bias)


@given(case=cases(), mode=st.sampled_from(("constant", "replicate")))
@settings(max_examples=300)
def test_shared_products_equal_resize_and_convolution(case: dict[str, Any], mode: str) -> None:
    """Borders included, by zeros and by the repeated edge."""
    products = resize_conv_to_products(case["weight"])
    result = resize_conv(padded(case["x"], 1, mode), products, case["bias"], case["factors"])
    assert_close(result, expected(**case, mode=mode))


@given(case=cases(), strip=st.sampled_from((1, 2000, 2**22)))
@settings(max_examples=200)
def test_strips_are_the_whole(case: dict[str, Any], strip: int) -> None:
    """However many rows are done at a time."""
    products = resize_conv_to_products(case["weight"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strips, "STRIP", strip)
        patch.setattr(strips, "COLUMNS", 1)
        result = resize_conv(padded(case["x"], 1), products, case["bias"], case["factors"])
        assert_close(result, expected(**case))


@given(case=cases())
@settings(max_examples=30)
def test_the_gradient_of_the_module_is_that_of_the_convolution(case: dict[str, Any]) -> None:
    """It is of the input alone; where it is recorded, nothing is written over."""
    module = ResizeConv(resize_conv_to_products(case["weight"]), case["bias"], case["factors"])
    x = case["x"].requires_grad_()
    outputs = module(padded(x, 1)), expected(**case)
    direction = torch.randn_like(outputs[0])
    assert_close(*(torch.autograd.grad(output, x, direction)[0] for output in outputs))


WRONG: dict[str, Callable[[Tensor], Tensor]] = {
    "neighbours exchanged": lambda products: products.flip(0),
    "no sum of all taps": lambda products: torch.cat([products[:4], products[3:4], products[5:]]),
    "axes exchanged": lambda products: products.unflatten(0, (3, 3)).transpose(0, 1).flatten(0, 1),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_found(mistake: str) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(1, 2, 4, 5).double(), torch.randn(3, 2, 3, 3).double()
    products = WRONG[mistake](resize_conv_to_products(weight))
    with pytest.raises(AssertionError):
        assert_close(resize_conv(padded(x, 1), products, None, (2, 3)), expected(x, weight, None, (2, 3)))


def test_numpy_and_pytorch_agree() -> None:
    weight = np.random.default_rng(0).standard_normal((2, 3, 3, 3))
    ours = resize_conv_to_products(torch.from_numpy(weight)).numpy()
    np.testing.assert_allclose(ours, resize_conv_to_products(weight), rtol=1e-14)


def test_nine_products_of_sixteen() -> None:
    """What a pair of channels costs for each LR pixel, at a factor of 2 and at any other."""
    assert resize_conv_to_products(np.ones((1, 1, 3, 3))).size == 9


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must have three taps on each axis; got \(3, 5\)"):
        resize_conv_to_products(np.ones((1, 1, 3, 5)))
    with pytest.raises(ValueError, match="upscale_factors must be at least 2, one an axis of x"):
        resize_conv(torch.ones(1, 1, 3), torch.ones(3, 1, 1), None, (1,))
