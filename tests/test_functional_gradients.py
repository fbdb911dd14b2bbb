"""Gradients of every form equal PyTorch's, first and second."""

from typing import Any

import pytest
import torch
from cases import Case, assert_close, cases
from hypothesis import given, settings
from torch import Tensor

from subpixel.functional import Form, conv_transpose, sub_pixel_conv
from subpixel.geometry import axes
from subpixel.kernels import transposed_to_sub_pixel


def gradients(case: Case, form: Form) -> list[Tensor]:
    """With respect to input, weight and bias, from one gradient of the output."""
    leaves = [t.detach().clone().requires_grad_() for t in (case.x, case.weight, case.bias) if t is not None]
    y = conv_transpose(*leaves, **case.options, form=form)
    upstream = torch.rand(y.shape, generator=torch.Generator().manual_seed(0), dtype=y.dtype) + 1
    return list(torch.autograd.grad(y, leaves, upstream))


@given(case=cases())
@settings(max_examples=500)
def test_equal_pytorchs(case: Case) -> None:
    expected = gradients(case, "transposed")
    for form in ("aligned", "compact", "split"):
        for gradient, other in zip(gradients(case, form), expected, strict=True):
            assert_close(gradient, other)


@pytest.mark.parametrize("form", ["aligned", "compact", "split", "auto"])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_gradcheck(ndim: int, form: Form) -> None:
    geometry = axes((3,) * ndim, stride=2, padding=1, output_padding=1, dilation=2)
    case = Case(geometry, (2,) * ndim, 1, groups=2, channels=(1, 1), with_bias=True, seed=0)

    def forward(*leaves: Any) -> Tensor:
        return conv_transpose(*leaves, **case.options, form=form)

    leaves = [t.clone().requires_grad_() for t in (case.x, case.weight, case.bias) if t is not None]
    assert torch.autograd.gradcheck(forward, leaves)
    if ndim == 1:
        assert torch.autograd.gradgradcheck(forward, leaves)


def test_gradcheck_of_the_specification() -> None:
    case = Case(axes((3, 4), stride=(2, 3), padding=1), (2, 2), 1, 1, (2, 1), with_bias=True, seed=0)
    leaves = [case.x.clone(), transposed_to_sub_pixel(case.weight).contiguous(), case.bias]
    leaves = [leaf.requires_grad_() for leaf in leaves if leaf is not None]
    assert torch.autograd.gradcheck(lambda *leaves: sub_pixel_conv(*leaves, **case.options), leaves)
