"""Interpolation is a fixed depthwise LR convolution, replicate padding and a periodic shuffle."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from subpixel.functional import periodic_shuffle
from subpixel.kernels import interpolation_to_lr

NAMES = {
    ("nearest", 1): "nearest", ("nearest", 2): "nearest", ("nearest", 3): "nearest",
    ("linear", 1): "linear", ("linear", 2): "bilinear", ("linear", 3): "trilinear", ("cubic", 2): "bicubic",
}  # fmt: skip


def interpolate(x: Tensor, kernels: Tensor, factor: int) -> Tensor:
    """Each channel by itself."""
    ndim, channels, reach = x.ndim - 2, x.shape[1], kernels.shape[-1] // 2
    padded = functional.pad(x, [reach] * 2 * ndim, mode="replicate")
    weight = kernels.repeat(channels, *[1] * (ndim + 1))
    return periodic_shuffle(
        getattr(functional, f"conv{ndim}d")(padded, weight, groups=channels), [factor] * ndim
    )


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize(("mode", "ndim"), NAMES)
def test_equals_pytorchs(mode: str, ndim: int, factor: int) -> None:
    """To 1e-14 of values up to 1, on inputs down to one pixel, borders included."""
    kernels = torch.from_numpy(interpolation_to_lr(mode, factor, ndim))  # type: ignore[arg-type]
    corners = {} if mode == "nearest" else {"align_corners": False}
    for size in (1, 2, 7):
        generator = torch.Generator().manual_seed(size)
        x = torch.rand(1, 2, *range(size, size + ndim), generator=generator, dtype=torch.float64)
        expected = functional.interpolate(x, scale_factor=factor, mode=NAMES[mode, ndim], **corners)
        torch.testing.assert_close(interpolate(x, kernels, factor), expected, rtol=0, atol=1e-14)


def test_cubic_in_one_dimension_is_the_two_dimensional_one_along_an_axis() -> None:
    """PyTorch has no 1-D cubic; rows of a constant column give it."""
    x = torch.rand(1, 1, 9, dtype=torch.float64)
    flat = interpolate(x, torch.from_numpy(interpolation_to_lr("cubic", 3, 1)), 3)
    plane = functional.interpolate(x[..., None, :].expand(1, 1, 4, 9), scale_factor=3, mode="bicubic")
    torch.testing.assert_close(flat, plane[:, :, 5], rtol=0, atol=1e-14)


@pytest.mark.parametrize(("mode", "taps"), [("nearest", 1), ("linear", 3), ("cubic", 5)])
def test_shape_and_unit_sum(mode: str, taps: int) -> None:
    """Each phase keeps constants."""
    kernels = interpolation_to_lr(mode, 3, 2)  # type: ignore[arg-type]
    assert kernels.shape == (9, 1, taps, taps)
    assert kernels.dtype == np.float64
    np.testing.assert_allclose(kernels.sum(axis=(2, 3)), 1, rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("bicubic", 2, 2), "mode must be one of .*; got 'bicubic'"),
        (("cubic", 0, 2), "upscale_factor and ndim must be at least 1; got upscale_factor=0, ndim=2"),
        (("cubic", 2, 0), "got upscale_factor=2, ndim=0"),
    ],
)
def test_refuses_with_the_reason(arguments: tuple[str, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        interpolation_to_lr(*arguments)  # type: ignore[arg-type]
