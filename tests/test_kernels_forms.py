"""All forms compute the transposed convolution: against a brute-force scatter and against PyTorch."""

from collections.abc import Callable

import numpy as np
import pytest
from cases import Case, assert_close, cases, scatter
from hypothesis import find, given, settings
from torch import Tensor

from subpixel import functional, kernels
from subpixel.functional import conv_transpose, sub_pixel_conv
from subpixel.geometry import axes

FORMS = ("transposed", "aligned", "compact", "split")


@given(case=cases())
@settings(max_examples=2000)
def test_all_forms_equal_a_brute_force_scatter(case: Case) -> None:
    """To 1e-12 of each output, in float64; PyTorch's operator, the oracle of the other tests, among them."""
    expected = scatter(case)
    for form in FORMS:
        assert_close(conv_transpose(case.x, case.weight, case.bias, **case.options, form=form), expected)


@given(case=cases())
@settings(max_examples=1000)
def test_sub_pixel_convolution_is_the_transposed_one_reversed(case: Case) -> None:
    weight = kernels.transposed_to_sub_pixel(case.weight, groups=case.groups)
    expected = conv_transpose(case.x, case.weight, case.bias, **case.options, form="transposed")
    assert_close(sub_pixel_conv(case.x, weight, case.bias, **case.options), expected)


@given(case=cases())
@settings(max_examples=500)
def test_float32_differs_by_reassociation_alone(case: Case) -> None:
    """Summing n products in any order errs by at most n*u / (1 - n*u) of their sizes' sum, u = 2**-24."""
    expected = scatter(case)
    terms = case.channels[0] * case.weight[0, 0].numel() + 2  # a product's own rounding, and the bias
    single = [None if t is None else t.float() for t in (case.x, case.weight, case.bias)]
    inputs = 3 * 2.0**-24  # the rounding of x, weight and bias to float32
    bound = terms * 2.0**-24 / (1 - terms * 2.0**-24) + inputs
    for form in FORMS:
        assert_close(conv_transpose(*single, **case.options, form=form).double(), expected, bound)


CORNERS: dict[str, Callable[[Case], bool]] = {
    "a kernel smaller than the stride": lambda c: any(a.kernel_size < a.stride for a in c.geometry),
    "a kernel that is no multiple of the stride": lambda c: any(a.kernel_size % a.stride for a in c.geometry),
    "dilation and stride share a factor": lambda c: any(np.gcd(a.dilation, a.stride) > 1 for a in c.geometry),
    "output_padding at its limit": lambda c: all(
        a.output_padding == max(a.stride, a.dilation) - 1 > 0 for a in c.geometry
    ),
    "padding beyond the kernel": lambda c: any(a.padding >= a.extent for a in c.geometry),
    "a negative LR pad": lambda c: any(min(a.lr("compact").pad) < 0 for a in c.geometry),
    "a pad and a crop on one axis": lambda c: any(
        a.lr("aligned").pad[0] < 0 < a.lr("aligned").pad[1] for a in c.geometry
    ),
    "an empty phase": lambda c: any(phase.taps == 0 for a in c.geometry for phase in a.phases()),
    "inputs of one pixel": lambda c: set(c.sizes) == {1},
    "depthwise": lambda c: c.groups > 1 and c.channels == (1, 1),
    "uneven axes in three dimensions": lambda c: len({(a.kernel_size, a.stride) for a in c.geometry}) == 3,
    "no batch": lambda c: c.batch is None,
}


@pytest.mark.parametrize("corner", CORNERS)
def test_the_cases_reach(corner: str) -> None:
    """The generator draws what usually breaks such code."""
    assert CORNERS[corner](find(cases(), CORNERS[corner]))


# Wrong in the ways that such code goes wrong. All are caught, so the comparisons above can fail.
WRONG: dict[str, Callable[[Tensor], Tensor]] = {
    "a tap off by one": lambda w: w.roll(1, dims=-1),
    "taps not reversed": lambda w: w.flip(2, 3),
    "two phases swapped": lambda w: w.unflatten(0, (-1, 4))[:, [1, 0, 2, 3]].flatten(0, 1),
    "phases of the axes exchanged": lambda w: w.unflatten(0, (-1, 2, 2)).transpose(1, 2).flatten(0, 2),
    "axes exchanged": lambda w: w.transpose(2, 3),
    "DCR for CRD": lambda w: kernels.crd_to_dcr(w, 4),
    "groups in the wrong order": lambda w: w.unflatten(0, (2, -1)).flip(0).flatten(0, 1),
    "channels before groups": lambda w: w.unflatten(0, (2, -1)).transpose(0, 1).flatten(0, 1),
    "weights a billionth too large": lambda w: w * (1 + 1e-9),
}


@pytest.mark.parametrize("form", ["aligned", "compact"])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_kernel_fails(wrong: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    geometry = axes((4, 4), stride=2, padding=1)
    case = Case(geometry, sizes=(4, 4), batch=1, groups=2, channels=(2, 3), with_bias=True, seed=0)
    expected = scatter(case)

    def forward() -> Tensor:
        return conv_transpose(case.x, case.weight, case.bias, **case.options, form=form)

    assert_close(forward(), expected)
    right = kernels.transposed_to_lr
    monkeypatch.setattr(
        functional, "transposed_to_lr", lambda *args, **options: WRONG[wrong](right(*args, **options))
    )
    with pytest.raises(AssertionError):
        assert_close(forward(), expected)


@pytest.mark.parametrize("wrong", ["a phase too late", "taps not reversed", "two phases swapped"])
def test_a_wrong_phase_fails(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(axes((5,), stride=2, padding=1), (4,), 1, groups=2, channels=(2, 3), with_bias=True, seed=0)

    def mistaken(*args: object, **options: object) -> list[kernels.Phase[Tensor]]:
        phases = kernels.transposed_to_phases(*args, **options)  # type: ignore[arg-type]
        if wrong == "two phases swapped":
            return phases[::-1]
        if wrong == "taps not reversed":
            return [phase._replace(weight=phase.weight.flip(-1)) for phase in phases]
        return [phase._replace(weight=phase.weight.roll(1, dims=-1)) for phase in phases]

    monkeypatch.setattr(functional, "transposed_to_phases", mistaken)
    with pytest.raises(AssertionError):
        assert_close(
            conv_transpose(case.x, case.weight, case.bias, **case.options, form="split"), scatter(case)
        )
