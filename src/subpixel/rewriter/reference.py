# mypy: disable-error-code="no-any-return"
# (an index of slices is of no type that NumPy declares)
"""The definition of each layer, in float64 and NumPy: slow and clear, the specification of the rewriter.

Layers are computed tap by tap, and nothing is shared with the maps between the forms.
"""

from collections.abc import Sequence
from functools import reduce, singledispatch
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subpixel.rewriter.layers import (
    Chain,
    Convolution,
    Layer,
    Pad,
    Pads,
    Pointwise,
    Resize,
    ResizeConvolution,
    Shuffle,
    Split,
    Transposed,
    Unchanged,
    Unshuffle,
    UnshuffledConvolution,
    ZeroInsertion,
)

Array = NDArray[np.float64]


def compute(chain: Chain, x: Array) -> Array:
    """Return the output of a chain. Pointwise functions are passed over, since rules only move them.

    Args:
        chain: layers whose weights NumPy can read.
        x: (batch, channels, *sizes).

    Raises:
        TypeError: a layer has no definition.
        ValueError: the input is too small.

    Example:
        >>> compute((ZeroInsertion((2,), (0,)), Pad(((1, 0),))), np.array([[[1.0, 2.0]]]))
        array([[[0., 1., 0., 2.]]])
    """
    return reduce(lambda x, layer: _compute(layer, x), chain, np.asarray(x, np.float64))


@singledispatch
def _compute(layer: Layer, x: Array) -> Array:
    raise TypeError(f"a layer must have a definition; got {type(layer).__name__} for {x.shape}.")


@_compute.register
def _(_layer: Pointwise | Unchanged, x: Array) -> Array:
    return x


@_compute.register
def _(layer: Pad, x: Array) -> Array:
    modes: Any = {"zeros": "constant", "replicate": "edge", "reflect": "reflect"}
    cropped = x[_slices(*((max(-low, 0), min(high, 0) or None) for low, high in layer.pads))]
    grown = [(max(low, 0), max(high, 0)) for low, high in layer.pads]
    return np.pad(cropped, [(0, 0), (0, 0), *grown], modes[layer.mode])


@_compute.register
def _(layer: Convolution, x: Array) -> Array:
    layer.output_shape(x.shape)
    return _convolve(x, layer.weight, layer.pads, layer.stride, layer.dilation, layer.groups) + _bias(
        layer, x
    )


@_compute.register
def _(layer: Transposed, x: Array) -> Array:
    """Add the kernel, times its value, for each input pixel; what leaves the output is lost."""
    weight = _groups(layer.weight, layer.groups)
    batch, channels, *sizes = layer.output_shape(x.shape)
    grown = [
        max(a.padding + n, (m - 1) * a.stride + a.extent)
        for a, n, m in zip(layer.geometry, sizes, x.shape[2:], strict=True)
    ]
    output = np.zeros((batch, layer.groups, channels // layer.groups, *grown))
    for tap in np.ndindex(*weight.shape[3:]):
        starts = [axis.dilation * t for axis, t in zip(layer.geometry, tap, strict=True)]
        reached = _window(starts, layer.stride, x.shape[2:])
        output[reached] += np.einsum("gio,ngi...->ngo...", weight[(..., *tap)], _grouped(x, layer.groups))
    window = _window([axis.padding for axis in layer.geometry], [1] * len(sizes), sizes)
    return output[window].reshape(batch, channels, *sizes) + _bias(layer, x)


@_compute.register
def _(layer: Split, x: Array) -> Array:
    batch, channels, *sizes = layer.output_shape(x.shape)
    output = np.zeros((batch, channels, *sizes))
    strides = [axis.stride for axis in layer.geometry]
    for start, phase in zip(np.ndindex(*strides), layer.phases, strict=True):
        if 0 in phase.weight.shape:
            continue  # no tap falls on it
        pads, ones = tuple(axis.pad for axis in phase.axes), [1] * len(strides)
        rows = _convolve(x, phase.weight, pads, ones, [axis.dilation for axis in phase.axes], layer.groups)
        place = output[_phase(start, strides)]
        place += rows[_slices(*((size,) for size in place.shape[2:]))]
    return output + _bias(layer, x)


@_compute.register
def _(layer: Shuffle, x: Array) -> Array:
    ndim, channels = len(layer.factors), x.shape[1] // prod(layer.factors)
    split = (channels, *layer.factors) if layer.order == "CRD" else (*layer.factors, channels)
    blocks = x.reshape(x.shape[0], *split, *x.shape[2:])
    if layer.order == "DCR":
        blocks = np.moveaxis(blocks, 1 + ndim, 1)
    pairs = [axis for i in range(ndim) for axis in (2 + ndim + i, 2 + i)]
    return blocks.transpose(0, 1, *pairs).reshape(layer.output_shape(x.shape))


@_compute.register
def _(layer: Unshuffle, x: Array) -> Array:
    phases = [x[_phase(start, layer.factors)] for start in np.ndindex(*layer.factors)]
    return np.stack(phases, axis=2).reshape(layer.output_shape(x.shape))


@_compute.register
def _(layer: UnshuffledConvolution, x: Array) -> Array:
    return compute(layer.lower(x.shape[2:]), x)


@_compute.register
def _(layer: ResizeConvolution, x: Array) -> Array:
    """Add a product with a neighbour to the phases that lie beside that neighbour alone."""
    output = np.zeros(layer.output_shape(x.shape))
    edges = [(0, factor - 1) for factor in layer.factors]
    for term, product in zip(np.ndindex(*[3] * len(edges)), layer.products, strict=True):
        values = np.einsum("oi,ni...->no...", product, _differences(x, term))
        for phase in np.ndindex(*layer.factors):
            axes = zip(term, phase, edges, strict=True)
            if all(t == 1 or f == edge[t // 2] for t, f, edge in axes):
                output[_phase(phase, layer.factors)] += values
    return output + _bias(layer, x)


def _differences(x: Array, term: Sequence[int]) -> Array:
    """Return, by axis: the lower neighbour less the pixel (0), the pixel (1), the higher one less it (2)."""
    for axis, which in enumerate(term, start=2):
        triple = [x.take(range(start, x.shape[axis] - 2 + start), axis) for start in range(3)]
        x = triple[1] if which == 1 else triple[which] - triple[1]
    return x


@_compute.register
def _(layer: ZeroInsertion, x: Array) -> Array:
    output = np.zeros(layer.output_shape(x.shape))
    output[_window([0] * len(layer.factors), layer.factors, x.shape[2:])] = x
    return output


@_compute.register
def _(layer: Resize, x: Array) -> Array:
    for axis, factor in enumerate(layer.factors, start=2):
        x = np.moveaxis(_resize(np.moveaxis(x, axis, -1), factor, layer.mode), -1, axis)
    return x


def _resize(x: Array, factor: int, mode: str) -> Array:
    """Resize the last axis, HR pixel by HR pixel; beyond the border is the value at the border."""
    columns = []
    for index in range(x.shape[-1] * factor):
        centre = (index + 0.5) / factor - 0.5
        if mode == "nearest":
            columns.append(x[..., index // factor])
            continue
        near = int(np.floor(centre)) + np.arange(-1, 3)
        inside = np.clip(near, 0, x.shape[-1] - 1)
        columns.append(x[..., inside] @ _profile(np.abs(near - centre), mode))
    return np.stack(columns, axis=-1)


def _profile(distance: Array, mode: str) -> Array:
    if mode == "linear":
        return np.maximum(1 - distance, 0)
    a = -0.75
    inner = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    outer = a * (((distance - 5) * distance + 8) * distance - 4)
    return np.where(distance <= 1, inner, np.where(distance < 2, outer, 0))


def _convolve(
    x: Array, weight: Any, pads: Pads, stride: Sequence[int], dilation: Sequence[int], groups: int
) -> Array:
    weight, x = _groups(weight, groups), _compute(Pad(pads), x)
    sizes = [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(x.shape[2:], weight.shape[3:], stride, dilation, strict=True)
    ]
    if min(sizes) < 1:
        raise ValueError(f"the kernel must fit the input; got outputs of {sizes}.")
    output = np.zeros((x.shape[0], groups, weight.shape[1], *sizes))
    for tap in np.ndindex(*weight.shape[3:]):
        starts = [d * t for d, t in zip(dilation, tap, strict=True)]
        seen = _grouped(x, groups)[_window(starts, stride, sizes)]
        output += np.einsum("goi,ngi...->ngo...", weight[(..., *tap)], seen)
    return output.reshape(x.shape[0], -1, *sizes)


def _window(starts: Sequence[int], steps: Sequence[int], counts: Sequence[int]) -> Any:
    axes = zip(starts, steps, counts, strict=True)
    return _slices(*((start, start + step * (count - 1) + 1, step) for start, step, count in axes))


def _grouped(x: Array, groups: int) -> Array:
    return x.reshape(x.shape[0], groups, -1, *x.shape[2:])


def _phase(starts: Sequence[int], factors: Sequence[int]) -> Any:
    return _slices(*((start, None, factor) for start, factor in zip(starts, factors, strict=True)))


def _slices(*bounds: tuple[int | None, ...]) -> Any:
    return (..., *(slice(*bound) for bound in bounds))


def _groups(weight: Any, groups: int) -> Array:
    weight = np.asarray(weight, np.float64)
    return weight.reshape(groups, -1, *weight.shape[1:])


def _bias(layer: Convolution | Transposed | Split | ResizeConvolution, x: Array) -> Array:
    bias = np.zeros(1) if layer.bias is None else np.asarray(layer.bias, np.float64)
    return bias.reshape(-1, *[1] * (x.ndim - 2))
