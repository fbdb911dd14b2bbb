"""Random chains for the rewriter's tests, what PyTorch makes of them, and mistakes that must be found."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce, singledispatch
from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from cases import assert_close
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from subpixel.geometry import Axis
from subpixel.rewriter import layers, reference
from subpixel.rewriter.layers import (
    Chain,
    Convolution,
    Layer,
    Pad,
    Pads,
    Resize,
    Shuffle,
    Transposed,
    UnshuffledConvolution,
    ZeroInsertion,
)
from subpixel.rewriter.rules import Rule

SIZES = {1: 7, 2: 4, 3: 3}  # pixels and taps at most, by the number of axes, so that every case is quick
Array = NDArray[np.float64]


class Pointwise(layers.Pointwise):
    """One that can be computed: its node is a function of arrays."""


@reference._compute.register
def _(layer: Pointwise, x: Array) -> Array:
    return np.asarray(layer.node(torch.from_numpy(x)))


def by_pytorch(chain: Chain, x: Array) -> Array:
    """What PyTorch makes of a chain, in float64."""
    return reduce(lambda x, layer: _by_pytorch(layer, x), chain, torch.from_numpy(x)).numpy()


@singledispatch
def _by_pytorch(layer: Layer, x: Tensor) -> Tensor:
    raise TypeError(f"{layer} of {x.shape}")


@_by_pytorch.register
def _(layer: Pointwise, x: Tensor) -> Tensor:
    return layer.node(x)


@_by_pytorch.register
def _(layer: Pad, x: Tensor) -> Tensor:
    return F.pad(x, _flat(layer.pads), mode="constant" if layer.mode == "zeros" else layer.mode)


@_by_pytorch.register
def _(layer: Convolution, x: Tensor) -> Tensor:
    weight, bias = torch.from_numpy(layer.weight), _bias(layer)
    operator = getattr(F, f"conv{len(layer.pads)}d")
    return operator(F.pad(x, _flat(layer.pads)), weight, bias, layer.stride, 0, layer.dilation, layer.groups)


@_by_pytorch.register
def _(layer: Transposed, x: Tensor) -> Tensor:
    names = ("stride", "padding", "output_padding", "dilation")
    options = {name: [getattr(axis, name) for axis in layer.geometry] for name in names}
    operator = getattr(F, f"conv_transpose{len(layer.geometry)}d")
    return operator(x, torch.from_numpy(layer.weight), _bias(layer), **options, groups=layer.groups)


@_by_pytorch.register
def _(layer: Resize, x: Tensor) -> Tensor:
    names = {1: "linear", 2: "bilinear", 3: "trilinear"}
    mode = {"linear": names[x.ndim - 2], "cubic": "bicubic"}.get(layer.mode, layer.mode)
    return F.interpolate(x, scale_factor=layer.factors, mode=mode)


@_by_pytorch.register
def _(layer: Shuffle, x: Tensor) -> Tensor:
    """Phase by phase, each where the definition puts it."""
    phases, result = prod(layer.factors), x.new_empty(layer.output_shape(tuple(x.shape)))
    for index, start in enumerate(np.ndindex(*layer.factors)):
        count = x.shape[1] // phases
        channels = x[:, index::phases] if layer.order == "CRD" else x[:, index * count : (index + 1) * count]
        result[_phase(start, layer.factors)] = channels
    return result


@_by_pytorch.register
def _(layer: ZeroInsertion, x: Tensor) -> Tensor:
    sizes = zip(x.shape[2:], layer.factors, layer.after, strict=True)
    result = x.new_zeros((*x.shape[:2], *((n - 1) * factor + 1 + after for n, factor, after in sizes)))
    result[_phase([0] * len(layer.factors), layer.factors)][(..., *(slice(n) for n in x.shape[2:]))] = x
    return result


def _phase(starts: Sequence[int], factors: Sequence[int]) -> Any:
    return (..., *(slice(start, None, factor) for start, factor in zip(starts, factors, strict=True)))


def _flat(pads: Pads) -> list[int]:
    return [n for pair in reversed(pads) for n in pair]


def _bias(layer: Any) -> Tensor | None:
    return None if layer.bias is None else torch.from_numpy(layer.bias)


def assert_forms_equal(rule: Rule, chain: Chain, x: Array) -> None:
    """Every form that a rule gives equals the chain to 1e-12 of each output, and says its shape."""
    assert rule.matches(chain)
    assert rule.check(chain) is None
    expected = by_pytorch(chain, x)
    assert layers.output_shape(chain, x.shape) == expected.shape
    for form in rule.rewrite(chain).values():
        assert_close(reference.compute(form, x), expected)
        assert layers.output_shape(form, x.shape) == expected.shape


def noise(shape: Sequence[int], seed: int = 0) -> Array:
    """Values in [1, 2): nothing cancels, so that relative errors are those of rounding alone."""
    return np.random.default_rng((seed, *shape)).random(shape) + 1


NDIMS = st.integers(1, 3)
SEEDS = st.integers(0, 2**16)


@st.composite
def convolutions(
    draw: st.DrawFn, ndim: int, pads: Sequence[Any], *, groups: int = 1, outputs: int = 1, dilation: int = 2
) -> Convolution:
    """A convolution of stride 1.

    Args:
        draw: Hypothesis's.
        ndim: spatial axes.
        pads: a function of the reach a spatial axis, which gives a strategy of (low, high).
        groups: at most.
        outputs: what the channels of each group are a multiple of.
        dilation: at most.
    """
    groups, seed = draw(st.integers(1, groups)), draw(SEEDS)
    kernel_size = [draw(st.integers(1, min(SIZES[ndim], 5))) for _ in range(ndim)]
    dilations = tuple(draw(st.integers(1, dilation)) for _ in range(ndim))
    c_in, c_out = draw(st.integers(1, 2)), draw(st.integers(1, 2)) * outputs
    weight = noise((c_out * groups, c_in, *kernel_size), seed)
    bias = noise((c_out * groups,), seed) if draw(st.booleans()) else None
    reaches = (d * (k - 1) for d, k in zip(dilations, kernel_size, strict=True))
    drawn = tuple(draw(pad(reach)) for pad, reach in zip(pads, reaches, strict=True))
    return Convolution(weight, bias, (1,) * ndim, drawn, dilations, groups)


@st.composite
def inputs(draw: st.DrawFn, chain: Chain, channels: int) -> Array:
    """An input that the chain takes."""
    ndim = next(
        len(pads) for layer in chain if (pads := getattr(layer, "pads", getattr(layer, "geometry", ())))
    )
    sizes = draw(st.tuples(*[st.integers(1, SIZES[ndim])] * ndim).filter(lambda sizes: _fits(chain, sizes)))
    return noise((draw(st.integers(1, 2)), channels, *sizes), draw(SEEDS))


def _fits(chain: Chain, sizes: tuple[int, ...]) -> bool:
    shape: tuple[int, ...] = (1, 1, *sizes)
    for layer in chain:
        if (
            isinstance(layer, Pad)
            and layer.mode == "reflect"
            and any(max(pair) >= size for pair, size in zip(layer.pads, shape[2:], strict=True))
        ):
            return False
        cropped = Pad(layer.pads).output_shape(shape)[2:] if isinstance(layer, Convolution) else (1,)
        try:
            shape = layer.output_shape(shape)
        except ValueError:  # a padding that leaves no pixel
            return False
        if min(*cropped, *shape[2:]) < 1:
            return False
    return True


@st.composite
def transposed(draw: st.DrawFn, ndim: int) -> Transposed:
    """A transposed convolution of any geometry."""
    geometry, groups, seed = (
        tuple(draw(_axis(SIZES[ndim])) for _ in range(ndim)),
        draw(st.integers(1, 3)),
        draw(SEEDS),
    )
    c_in, c_out = draw(st.integers(1, 2)) * groups, draw(st.integers(1, 2))
    weight = noise((c_in, c_out, *(axis.kernel_size for axis in geometry)), seed)
    return Transposed(
        weight, noise((c_out * groups,), seed) if draw(st.booleans()) else None, geometry, groups
    )


@st.composite
def _axis(draw: st.DrawFn, most: int) -> Axis:
    k, r, d = (draw(st.integers(1, n)) for n in (most, min(most, 4), 3))
    return Axis(k, r, draw(st.integers(0, d * (k - 1) + 1)), draw(st.integers(0, max(r, d) - 1)), d)


def corrupted(chain: Chain, wrong: str) -> Chain | None:
    """A chain whose first layer that can be is wrong in this way; None if it has none."""
    for index, layer in enumerate(chain):
        if (changed := _corrupted(layer, wrong)) is not None:
            return (*chain[:index], changed, *chain[index + 1 :])
    return None


def _corrupted(layer: Any, wrong: str) -> Layer | None:
    changes: dict[str, Any] = {}
    match layer, wrong:
        case Convolution() | Transposed() | UnshuffledConvolution(), _ if wrong in WRONG_WEIGHTS:
            changes["weight"] = WRONG_WEIGHTS[wrong](layer.weight)
        case Convolution() | Transposed(), "no bias" if layer.bias is not None:
            changes["bias"] = None
        case Pad() | Convolution(), "a padding off by one":
            changes["pads"] = tuple((low + 1, high - 1) for low, high in layer.pads)
        case Transposed(geometry=(first, *rest)), "a padding off by one":
            changes["geometry"] = (replace(first, padding=first.padding + 1), *rest)
        case Shuffle(), "DCR for CRD":
            changes["order"] = "DCR"
        case layers.Split(), "two phases swapped":
            changes["phases"] = layer.phases[::-1]
    return replace(layer, **changes) if changes else None


WRONG_WEIGHTS: Mapping[str, Callable[[Array], Array]] = {
    "a tap off by one": lambda w: np.roll(w, 1, axis=-1),
    "taps reversed": lambda w: w[..., ::-1],
    "channels exchanged": lambda w: w[::-1],
    "weights a billionth too large": lambda w: w * (1 + 1e-9),
}
WRONG = (*WRONG_WEIGHTS, "no bias", "a padding off by one", "DCR for CRD", "two phases swapped")


def caught(rule: Rule, chain: Chain, x: Array, wrong: str) -> int:
    """How many forms can be wrong in this way; the comparison of the laws must find each."""
    expected, count = by_pytorch(chain, x), 0
    for form in rule.rewrite(chain).values():
        assert_close(reference.compute(form, x), expected)
        if (mistaken := corrupted(form, wrong)) is not None:
            count += 1
            with pytest.raises((AssertionError, ValueError)):
                assert_close(reference.compute(mistaken, x), expected)
    return count
