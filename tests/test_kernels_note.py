"""The note's own numbers (arXiv:1609.07009)."""

import numpy as np
import pytest
import torch
from torch.nn.functional import conv1d, conv2d, conv_transpose1d, conv_transpose2d, pixel_shuffle

from subpixel.functional import periodic_shuffle, sub_pixel_conv
from subpixel.geometry import axes
from subpixel.kernels import (
    lift_conv,
    lr_to_transposed,
    sub_pixel_to_transposed,
    transposed_to_lr,
    transposed_to_phases,
)


def test_figure_3_even_kernel() -> None:
    """The kernel f = (1, 2, 3, 4) becomes f1 = (2, 4) and f2 = (1, 3)."""
    kernel = sub_pixel_to_transposed(np.array([[[1, 2, 3, 4]]]))
    phases = transposed_to_phases(kernel, axes((4,), stride=2, padding=2))
    assert [tuple(phase.weight.ravel()) for phase in phases] == [(2, 4), (1, 3)]


def test_figure_3_uneven_kernel() -> None:
    """The kernel f = (1, 2, 3) becomes f1 = (2) and f2 = (1, 3)."""
    kernel = sub_pixel_to_transposed(np.array([[[1, 2, 3]]]))
    phases = transposed_to_phases(kernel, axes((3,), stride=2, padding=1))
    assert [tuple(phase.weight.ravel()) for phase in phases] == [(2,), (1, 3)]


def test_figure_3_layer() -> None:
    """Five pixels and four taps give eight pixels, sub-pixel or transposed convolution."""
    x = torch.arange(1.0, 6).reshape(1, 1, 5).double()
    f = torch.tensor([[[1.0, 2, 3, 4]]]).double()
    y = sub_pixel_conv(x, f, stride=2, padding=2)
    assert y[0, 0].tolist() == [10, 7, 16, 11, 22, 15, 28, 19]
    assert torch.equal(y, conv_transpose1d(x, f.flip(-1), stride=2, padding=2))
    # y1 = f1 * x and y2 = f2 * x, combined.
    y1, y2 = (conv1d(x, torch.tensor([[taps]]).double()) for taps in ((2, 4), (1, 3)))
    assert torch.equal(y[..., ::2], y1)
    assert torch.equal(y[..., 1::2], y2)


def test_figures_4_to_7() -> None:
    """A (1, 1, 4, 4) kernel on a (1, 4, 4) input is a (4, 1, 2, 2) kernel and a shuffle to (1, 8, 8)."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 4, 4, generator=generator, dtype=torch.float64)
    kernel = torch.randn(1, 1, 4, 4, generator=generator, dtype=torch.float64)
    high_resolution = sub_pixel_conv(x, kernel, stride=2, padding=1)
    phases = transposed_to_lr(sub_pixel_to_transposed(kernel), axes((4, 4), stride=2, padding=1))
    assert phases.shape == (4, 1, 2, 2)
    maps = conv2d(x, phases, padding=1)
    assert high_resolution.shape == (1, 8, 8)
    assert torch.allclose(periodic_shuffle(maps, (2, 2))[:, 1:-1, 1:-1], high_resolution, rtol=0, atol=1e-14)


@pytest.mark.parametrize("padding", [0, 1])
def test_the_papers_last_layer(padding: int) -> None:
    """A (9, 32, 3, 3) LR convolution is a transposed one of (1, 32, 9, 9), channels exchanged, and back."""
    generator = torch.Generator().manual_seed(0)
    kernels = torch.randn(9, 32, 3, 3, generator=generator, dtype=torch.float64)
    x = torch.rand(1, 32, 6, 5, generator=generator, dtype=torch.float64)
    deconvolution = lr_to_transposed(kernels, 3)
    assert deconvolution.shape == (32, 1, 9, 9)
    assert torch.equal(transposed_to_lr(deconvolution, axes((9, 9), stride=3)), kernels)
    by_lr = pixel_shuffle(conv2d(x, kernels, padding=padding), 3)
    by_hr = conv_transpose2d(x, deconvolution, stride=3, padding=3 * (2 - padding))
    assert torch.allclose(by_lr, by_hr, rtol=0, atol=1e-12)


def test_section_3_an_hr_layer_is_an_lr_layer_with_fewer_parameters_of_its_own() -> None:
    """8 HR maps are 32 LR maps; the lifted kernels repeat each HR weight once a phase, the rest is zero."""
    kernel = np.random.default_rng(0).standard_normal((8, 8, 5, 5))
    lifted = lift_conv(kernel, 2, padding=2)
    assert lifted.shape == (32, 32, 3, 3)
    assert np.count_nonzero(lifted) == 4 * kernel.size
    assert set(lifted.ravel()) == {0.0, *kernel.ravel()}
