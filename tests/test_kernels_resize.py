"""A nearest resize and a convolution are one transposed convolution, borders included."""

from math import prod

import pytest
import torch
from cases import Case, assert_close, cases
from hypothesis import assume, given, settings
from torch.nn import functional

from subpixel.functional import conv_transpose
from subpixel.geometry import axes
from subpixel.kernels import lr_to_transposed, resize_conv_to_transposed, transposed_to_lr


@given(case=cases(output_padding=0))
@settings(max_examples=1000)
def test_nearest_resize_and_convolution(case: Case) -> None:
    """Any size, dilation, groups, factor an axis, and padding up to d * (k - 1)."""
    dilations = [axis.dilation for axis in case.geometry]
    reaches = [axis.extent - 1 for axis in case.geometry]
    paddings = [min(axis.padding, reach) for axis, reach in zip(case.geometry, reaches, strict=True)]
    resized = case.x
    for dim, factor in enumerate(case.strides, start=-len(case.strides)):
        resized = resized.repeat_interleave(factor, dim)
    sizes = zip(resized.shape[-len(reaches) :], paddings, reaches, strict=True)
    assume(all(size + 2 * padding > reach for size, padding, reach in sizes))

    convolution = getattr(functional, f"conv{len(case.sizes)}d")
    expected = convolution(resized, case.conv_weight, case.bias, 1, paddings, dilations, case.groups)

    fused = resize_conv_to_transposed(case.conv_weight, case.strides, dilation=dilations, groups=case.groups)
    crops = [reach - padding for reach, padding in zip(reaches, paddings, strict=True)]
    for form in ("transposed", "compact", "split"):
        options = {"stride": case.strides, "padding": crops, "groups": case.groups, "form": form}
        assert_close(conv_transpose(case.x, fused, case.bias, **options), expected)


def test_cost_of_the_usual_case() -> None:
    """With r = 2 and k = 3, 36 multiply-accumulates an LR pixel become 16."""
    fused = resize_conv_to_transposed(torch.rand(1, 1, 3, 3), 2)
    assert fused.shape == (1, 1, 4, 4)
    assert transposed_to_lr(fused, axes((4, 4), stride=2, padding=1)).numel() == 16


@pytest.mark.parametrize("factor", [2, 3, (2, 3)])
def test_a_kernel_of_one_tap_is_the_resize_itself(factor: int | tuple[int, int]) -> None:
    ones = resize_conv_to_transposed(torch.ones(1, 1, 1, 1), factor)
    assert torch.equal(ones, lr_to_transposed(torch.ones(prod(ones.shape), 1, 1, 1), factor))
