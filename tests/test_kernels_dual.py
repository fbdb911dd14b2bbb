"""Section 1 and its dual: the transposed convolution is the transpose of the strided one, in LR space too."""

import torch
from cases import Case, assert_close, cases
from hypothesis import given, settings
from torch import Tensor
from torch.nn import functional

from subpixel.functional import conv_transpose, periodic_unshuffle
from subpixel.kernels import strided_to_unshuffled


def pad(x: Tensor, pads: list[tuple[int, int]]) -> Tensor:
    """Zero-pad the last axes; a negative pad crops, into the zeros of the other side too."""
    grown = functional.pad(x, [max(side, 0) for pair in reversed(pads) for side in pair])
    for dim, (low, high) in enumerate(pads, start=-len(pads)):
        start = max(-low, 0)
        grown = grown.narrow(dim, start, grown.shape[dim] - start - max(-high, 0))
    return grown


def strided_in_lr_space(case: Case, y: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """The convolution that strides, of the case's weight and geometry, by its dual form."""
    lr = [axis.lr("aligned") for axis in case.geometry]
    rows = [-(-size // stride) for size, stride in zip(y.shape[-len(sizes) :], case.strides, strict=True)]
    whole = [(0, n * r - size) for n, r, size in zip(rows, case.strides, y.shape[-len(sizes) :], strict=True)]
    unshuffled = periodic_unshuffle(pad(y, whole), case.strides)
    padded = pad(unshuffled, [a.unshuffled_pad(n, size) for a, n, size in zip(lr, rows, sizes, strict=True)])
    weight = strided_to_unshuffled(case.weight, case.geometry, groups=case.groups)
    convolution = getattr(functional, f"conv{len(sizes)}d")
    return convolution(padded, weight, groups=case.groups)


@given(case=cases(output_padding=0))
@settings(max_examples=1000)
def test_strided_convolution_is_a_convolution_of_the_unshuffled_input(case: Case) -> None:
    y = conv_transpose(case.x, case.weight, **case.options, form="compact")
    options = {name: value for name, value in case.options.items() if name != "output_padding"}
    expected = getattr(functional, f"conv{len(case.sizes)}d")(y, case.weight, **options)
    assert_close(strided_in_lr_space(case, y, case.sizes), expected)


@given(case=cases())
@settings(max_examples=1000)
def test_adjoint(case: Case) -> None:
    """<A x, y> = <x, A' y>: A in LR space by section 1, A' in LR space by the dual."""
    for form in ("aligned", "compact", "split"):
        ax = conv_transpose(case.x, case.weight, **case.options, form=form)
        y = torch.rand(ax.shape, generator=torch.Generator().manual_seed(case.seed), dtype=ax.dtype) + 1
        assert_close((ax * y).sum(), (case.x * strided_in_lr_space(case, y, case.sizes)).sum())
