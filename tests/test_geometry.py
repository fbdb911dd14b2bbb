"""One axis: its limits are PyTorch's, and its phases share out the kernel."""

from typing import Any

import numpy as np
import pytest
import torch
from cases import Case, cases
from hypothesis import given, settings

from subpixel.geometry import Axis, axes


@given(case=cases())
@settings(max_examples=300)
def test_output_size_is_pytorchs(case: Case) -> None:
    """On the meta device PyTorch computes no more than the size."""
    meta = (tensor.to("meta") for tensor in (case.x, case.weight))
    operator = getattr(torch.nn.functional, f"conv_transpose{len(case.sizes)}d")
    assert operator(*meta, **case.options).shape[-len(case.sizes) :] == case.output_sizes


@given(case=cases(ndims=(1,)))
@settings(max_examples=1000)
def test_phases_share_out_the_kernel(case: Case) -> None:
    """Every tap belongs to one phase, and falls on it."""
    (axis,) = case.geometry
    taps = {f: range(p.first, axis.kernel_size, p.step) for f, p in enumerate(axis.phases())}
    assert sorted(t for phase in taps.values() for t in phase) == list(range(axis.kernel_size))
    assert all((axis.dilation * t - axis.padding - f) % axis.stride == 0 for f in taps for t in taps[f])
    assert [len(taps[f]) for f in taps] == [phase.taps for phase in axis.phases()]


@given(case=cases(ndims=(1,)))
@settings(max_examples=1000)
def test_compact_has_the_fewest_taps_and_aligned_no_crop(case: Case) -> None:
    (axis,) = case.geometry
    aligned, compact = axis.lr("aligned"), axis.lr("compact")
    assert aligned.crop == 0
    assert (compact.taps - 1) * axis.stride < axis.extent <= compact.taps * axis.stride
    assert compact.taps <= aligned.taps <= compact.taps + 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 0}, "kernel_size must be at least 1; got kernel_size=0"),
        ({"stride": 0}, "stride must be at least 1"),
        ({"padding": -1}, "padding must be at least 0"),
        ({"output_padding": -1}, "output_padding must be at least 0"),
        ({"dilation": 0}, "dilation must be at least 1"),
        ({"stride": 2, "output_padding": 2}, "output_padding must be smaller than stride or dilation; got"),
    ],
)
def test_refuses_with_the_reason(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Axis(**{"kernel_size": 3, **options})


@pytest.mark.parametrize("value", [2.0, "2", None])
def test_numbers_are_integers(value: Any) -> None:
    with pytest.raises(TypeError, match="stride must be an integer; got stride="):
        Axis(3, stride=value)
    with pytest.raises(TypeError, match="dilation must be an integer; got dilation="):
        axes((3, 3), dilation=(1, value))


def test_numpys_integers_are_integers() -> None:
    theirs = Axis(*np.array([5, 4, 1, 2, 3]))
    assert theirs.phases() == Axis(5, 4, 1, 2, 3).phases()
    assert theirs.lr("aligned") == Axis(5, 4, 1, 2, 3).lr("aligned")


def test_output_padding_may_reach_the_larger_of_stride_and_dilation() -> None:
    assert Axis(2, stride=2, dilation=3, output_padding=2).output_size(4) == 12


def test_no_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="the output must have at least one pixel; got -1 from 2 by Axis"):
        Axis(3, stride=2, padding=3).output_size(2)
    with pytest.raises(ValueError, match="the input must have at least one pixel; got 0"):
        Axis(3).output_size(0)


def test_options_are_one_integer_or_one_an_axis() -> None:
    assert axes((4, 4), stride=[2, 3]) == (Axis(4, 2), Axis(4, 3))
    assert axes((4, 4), stride=(2,)) == axes((4, 4), stride=2)
    with pytest.raises(
        ValueError, match=r"stride must be one integer or one an axis; got stride=\(1, 2, 3\)"
    ):
        axes((4, 4), stride=(1, 2, 3))
    with pytest.raises(ValueError, match="form must be one of"):
        Axis(4).lr("split")  # type: ignore[arg-type]
