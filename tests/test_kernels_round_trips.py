"""Inverse maps give back the very same bits."""

import torch
from cases import Case, cases
from hypothesis import given, settings
from torch import Tensor

from subpixel.geometry import Axis
from subpixel.kernels import (
    crd_to_dcr,
    dcr_to_crd,
    lr_to_transposed,
    sub_pixel_to_transposed,
    transposed_to_lr,
    transposed_to_sub_pixel,
)


def whole_taps(case: Case) -> tuple[Tensor, tuple[Axis, ...]]:
    """A weight of k = k_of_the_case * r, and its geometry: no zero is filled in."""
    geometry = tuple(Axis(axis.kernel_size * axis.stride, axis.stride) for axis in case.geometry)
    sizes = (axis.kernel_size for axis in geometry)
    generator = torch.Generator().manual_seed(case.seed)
    return torch.randn(*case.weight.shape[:2], *sizes, generator=generator), geometry


@given(case=cases())
@settings(max_examples=500)
def test_transposed_to_lr_and_back(case: Case) -> None:
    weight, geometry = whole_taps(case)
    there = transposed_to_lr(weight, geometry, groups=case.groups)
    assert there.numel() == weight.numel()
    assert torch.equal(lr_to_transposed(there, case.strides, groups=case.groups), weight)


@given(case=cases())
@settings(max_examples=500)
def test_lr_to_transposed_and_back(case: Case) -> None:
    weight, geometry = whole_taps(case)
    lr = torch.randn_like(transposed_to_lr(weight, geometry, groups=case.groups))
    there = lr_to_transposed(lr, case.strides, groups=case.groups)
    assert torch.equal(transposed_to_lr(there, geometry, groups=case.groups), lr)


@given(case=cases(dilation=1))
@settings(max_examples=500)
def test_uneven_kernels_come_back_after_their_lead_and_before_zeros(case: Case) -> None:
    """Where k is no multiple of r, the round trip fills up to K * r."""
    for form in ("aligned", "compact"):
        there = transposed_to_lr(case.weight, case.geometry, form=form, groups=case.groups)
        back = lr_to_transposed(there, case.strides, groups=case.groups)
        window = back
        for dim, axis in enumerate(case.geometry, start=2):
            window = window.narrow(dim, axis.lr(form).lead, axis.kernel_size)
        assert torch.equal(window, case.weight)
        assert back.count_nonzero() == case.weight.numel()


@given(case=cases())
@settings(max_examples=300)
def test_transposed_to_sub_pixel_and_back(case: Case) -> None:
    there = transposed_to_sub_pixel(case.weight, groups=case.groups)
    assert torch.equal(sub_pixel_to_transposed(there, groups=case.groups), case.weight)
    assert torch.equal(there, sub_pixel_to_transposed(case.weight, groups=case.groups))


@given(case=cases())
@settings(max_examples=100)
def test_crd_to_dcr_and_back(case: Case) -> None:
    lr = transposed_to_lr(case.weight, case.geometry, groups=case.groups)
    phases = lr.shape[0] // (case.channels[1] * case.groups)
    assert torch.equal(dcr_to_crd(crd_to_dcr(lr, phases), phases), lr)
    assert torch.equal(crd_to_dcr(dcr_to_crd(lr, phases), phases), lr)
