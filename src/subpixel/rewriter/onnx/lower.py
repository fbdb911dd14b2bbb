"""Chains of layers written as ONNX nodes, which leave symbolic sizes symbolic."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import singledispatchmethod
from math import prod
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from subpixel.kernels import Phase, crd_to_dcr
from subpixel.rewriter.layers import (
    Chain,
    Convolution,
    Layer,
    Order,
    Pad,
    Pads,
    Pointwise,
    ResizeConvolution,
    Shape,
    Shuffle,
    Split,
    Transposed,
    Unshuffle,
    UnshuffledConvolution,
)

TO_ONNX_PAD = {"zeros": "constant", "replicate": "edge", "reflect": "reflect"}
END = np.iinfo(np.int64).max


class Lowering:
    """Writes nodes; the caller puts them into a graph.

    Args:
        prefix: what all names begin with, and no other name of the model.
        dtype: the type of the pixels.
        data: gives the data input of a node; a pointwise function reads the chain there.
    """

    def __init__(self, prefix: str, dtype: ir.DataType, data: Callable[[ir.Node], ir.Value | None]) -> None:
        self.prefix, self.dtype, self.data = prefix, dtype, data
        self.nodes: list[ir.Node] = []
        self.initializers: list[ir.Value] = []

    def chain(self, chain: Chain, x: ir.Value, shape: Shape) -> ir.Value:
        """Write a chain and return its output; `shape` is the shape of the input in the example."""
        for layer in _joined([part for whole in chain for part in _grown_first(whole)]):
            x = self._layer(layer, x, shape)
            shape = layer.output_shape(shape)
        return x

    @singledispatchmethod
    def _layer(self, layer: Layer, x: ir.Value, _shape: Shape) -> ir.Value:
        raise TypeError(f"a layer must have an ONNX form; got {type(layer).__name__} for {x.name}.")

    @_layer.register
    def _(self, layer: Convolution, x: ir.Value, _shape: Shape) -> ir.Value:
        maps = self.op(
            "Conv",
            self._crop(x, layer.pads),
            *self.weights(layer),
            kernel_shape=layer.weight.shape[2:],
            strides=layer.stride,
            dilations=layer.dilation,
            pads=_flat(_grown(layer.pads)),
            group=layer.groups,
        )
        return self.convolved(maps)

    @_layer.register
    def _(self, layer: Transposed, x: ir.Value, _shape: Shape) -> ir.Value:
        return self.op(
            "ConvTranspose",
            x,
            *self.weights(layer),
            kernel_shape=layer.weight.shape[2:],
            strides=layer.stride,
            dilations=[axis.dilation for axis in layer.geometry],
            pads=_flat([(axis.padding, axis.padding) for axis in layer.geometry]),
            output_padding=[axis.output_padding for axis in layer.geometry],
            group=layer.groups,
        )

    @_layer.register
    def _(self, layer: Split, x: ir.Value, shape: Shape) -> ir.Value:
        phases = [self.chain((_convolution(phase, layer),), x, shape) for phase in layer.phases]
        maps = self.op("Concat", *phases, axis=1)
        strides = tuple(axis.stride for axis in layer.geometry)
        _, channels, *sizes = layer.output_shape(shape)
        return self._crop(
            self._shuffle(maps, channels, strides, "DCR"),
            [(0, -(-size % stride)) for size, stride in zip(sizes, strides, strict=True)],
        )

    @_layer.register
    def _(self, layer: ResizeConvolution, x: ir.Value, shape: Shape) -> ir.Value:
        count, channels, c_in = layer.products.shape
        maps = [x]
        for axis in range(len(layer.factors)):
            maps = [each for value in maps for each in self._differences(value, axis, len(layer.factors))]
        weight = layer.products.reshape(count * channels, c_in, *[1] * len(layer.factors))
        bias = np.zeros((count, channels), weight.dtype)
        # Each phase sums the middle term exactly once, so the bias belongs there.
        bias[count // 2] = 0 if layer.bias is None else layer.bias
        products = Convolution.plain(weight, bias.ravel(), ((0, 0),) * len(layer.factors), count)
        products_of_all = self._layer(products, self.op("Concat", *maps, axis=1), shape)
        terms = [self._channels(products_of_all, index * channels, channels) for index in range(count)]
        phases = self.op("Concat", *self._sums(terms, layer.factors), axis=1)
        return self._shuffle(phases, channels, layer.factors, "DCR")

    @_layer.register
    def _(self, layer: Shuffle, x: ir.Value, shape: Shape) -> ir.Value:
        return self._shuffle(x, shape[1] // prod(layer.factors), layer.factors, layer.order)

    @_layer.register
    def _(self, layer: UnshuffledConvolution, x: ir.Value, shape: Shape) -> ir.Value:
        """Write the layer for inputs of this size alone."""
        *pad, unshuffle, convolution = layer.lower(shape[2:])
        assert isinstance(unshuffle, Unshuffle)
        assert isinstance(convolution, Convolution)
        if _even(unshuffle.factors) and layer.groups == 1:
            x = self.chain(tuple(pad), x, shape)
            x = self.op("SpaceToDepth", x, blocksize=unshuffle.factors[0])
            weight = crd_to_dcr(layer.weight.swapaxes(0, 1), prod(unshuffle.factors)).swapaxes(0, 1)
            return self.chain((Convolution.plain(weight, layer.bias, convolution.pads),), x, shape)
        return self.chain((*pad, unshuffle, convolution), x, shape)

    @_layer.register
    def _(self, layer: Unshuffle, x: ir.Value, shape: Shape) -> ir.Value:
        ndim = len(layer.factors)
        blocks = [
            n for size, factor in zip(shape[2:], layer.factors, strict=True) for n in (size // factor, factor)
        ]
        x = self.op("Reshape", x, np.array([0, shape[1], *blocks]))
        x = self.op("Transpose", x, perm=[0, 1, *range(3, 3 + 2 * ndim, 2), *range(2, 2 + 2 * ndim, 2)])
        return self.op("Reshape", x, np.array([0, *layer.output_shape(shape)[1:]]))

    @_layer.register
    def _(self, layer: Pad, x: ir.Value, _shape: Shape) -> ir.Value:
        grown = _grown(layer.pads)
        if any(map(any, grown)):
            x = self.op("Pad", x, np.array(_flat([(0, 0), (0, 0), *grown])), mode=TO_ONNX_PAD[layer.mode])
        return self._crop(x, layer.pads)

    @_layer.register
    def _(self, layer: Pointwise, x: ir.Value, _shape: Shape) -> ir.Value:
        node: ir.Node = layer.node
        data = self.data(node)
        inputs = [x if value is data else value for value in node.inputs]
        return self._add(node.op_type, inputs, node.attributes.values())

    def weights(self, layer: Convolution | Transposed) -> Sequence[ir.Value | NDArray[Any]]:
        """Return the weight, and the bias if there is one."""
        return [layer.weight] if layer.bias is None else [layer.weight, layer.bias]

    def convolved(self, maps: ir.Value) -> ir.Value:
        """Return the output of a convolution after all that belongs to it: here, nothing does."""
        return maps

    def op(self, op_type: str, *inputs: ir.Value | NDArray[Any] | None, **attributes: Any) -> ir.Value:
        """Add a node; arrays become initializers, fractions of them in the type of the pixels."""
        values = [self._constant(value) if isinstance(value, np.ndarray) else value for value in inputs]
        return self._add(op_type, values, ir.convenience.convert_attributes(attributes))

    def _add(self, op_type: str, inputs: Sequence[ir.Value | None], attributes: Any) -> ir.Value:
        output = ir.Value(name=self._name(op_type))
        self.nodes.append(ir.Node("", op_type, inputs, attributes, outputs=[output], name=output.name))
        return output

    def _constant(self, array: NDArray[Any]) -> ir.Value:
        dtype = self.dtype if array.dtype.kind == "f" else ir.DataType.from_numpy(array.dtype)
        name = self._name("constant")
        tensor = ir.Tensor(np.ascontiguousarray(array, dtype.numpy()), dtype, name=name)
        value = ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(dtype), const_value=tensor)
        self.initializers.append(value)
        return value

    def _name(self, what: str) -> str:
        return f"{self.prefix}/{what}_{len(self.nodes) + len(self.initializers)}"

    def _crop(self, x: ir.Value, pads: Sequence[tuple[int, int]]) -> ir.Value:
        """Cut away the pixels that negative pads stand for."""
        rows = [(axis, -min(low, 0), min(high, 0) or END) for axis, (low, high) in enumerate(pads, start=2)]
        rows = [row for row in rows if row[1:] != (0, END)]
        if not rows:
            return x
        axes, starts, ends = np.array(rows).T
        return self.op("Slice", x, starts, ends, axes)

    def _differences(self, x: ir.Value, axis: int, ndim: int) -> list[ir.Value]:
        """Return x[n - 1] - x[n], x[n] and x[n + 1] - x[n] along an axis that is padded by one pixel."""
        pairs = [(0, -2), (-1, -1), (-2, 0)]
        low, pixels, high = (
            self._crop(x, [(0, 0)] * axis + [pair] + [(0, 0)] * (ndim - axis - 1)) for pair in pairs
        )
        return [self.op("Sub", low, pixels), pixels, self.op("Sub", high, pixels)]

    def _channels(self, x: ir.Value, start: int, count: int) -> ir.Value:
        return self.op("Slice", x, np.array([start]), np.array([start + count]), np.array([1]))

    def _sums(self, terms: Sequence[ir.Value], factors: Sequence[int]) -> list[ir.Value]:
        """Return each phase, the last axis fastest, from terms whose first axis is slowest.

        Along an axis the first phase is low + pixels, the last one pixels + high, all between them pixels.
        """
        if not factors:
            return list(terms)
        third = len(terms) // 3
        low, pixels, high = (terms[start : start + third] for start in range(0, len(terms), third))
        first, last = (
            [self.op("Add", a, b) for a, b in zip(edge, pixels, strict=True)] for edge in (low, high)
        )
        sums = [first, *[pixels] * (factors[0] - 2), last]
        return [phase for each in sums for phase in self._sums(each, factors[1:])]

    def _shuffle(self, x: ir.Value, channels: int, factors: tuple[int, ...], order: Order) -> ir.Value:
        if _even(factors):
            return self.op("DepthToSpace", x, blocksize=factors[0], mode=order)
        ndim = len(factors)
        split, first = ((channels, *factors), 2) if order == "CRD" else ((*factors, channels), 1)
        pixels = [axis for i in range(ndim) for axis in (2 + ndim + i, first + i)]
        blocks, shuffled = self._shuffled_shapes(x, split, channels, factors)
        x = self.op("Reshape", x, blocks)
        x = self.op("Transpose", x, perm=[0, 1 if order == "CRD" else 1 + ndim, *pixels])
        return self.op("Reshape", x, shuffled)

    def _shuffled_shapes(
        self, x: ir.Value, split: Sequence[int], channels: int, factors: Sequence[int]
    ) -> tuple[ir.Value | NDArray[Any], ir.Value | NDArray[Any]]:
        """Return the shapes before and after the transposition; for one axis, -1 leaves its size open."""
        if len(factors) == 1:
            return np.array([0, *split, -1]), np.array([0, channels, -1])
        shape, zero = self.op("Shape", x), np.array([0])
        batch = self.op("Slice", shape, zero, np.array([1]), zero)
        sizes = self.op("Slice", shape, np.array([2]), np.array([END]), zero)
        blocks = self.op("Concat", batch, np.array(split), sizes, axis=0)
        enlarged = self.op("Mul", sizes, np.array(factors))
        return blocks, self.op("Concat", batch, np.array([channels]), enlarged, axis=0)


def _grown_first(layer: Layer) -> Chain:
    """Pad the side that grows before the other is cropped, which might leave no pixel in between."""
    if not isinstance(layer, Convolution) or not any(min(pair) < 0 < max(pair) for pair in layer.pads):
        return (layer,)
    both = tuple(pair if min(pair) < 0 < max(pair) else (0, 0) for pair in layer.pads)
    others = tuple((0, 0) if any(turned) else pair for pair, turned in zip(layer.pads, both, strict=True))
    return Pad(both), replace(layer, pads=others)


def _joined(chain: Sequence[Layer]) -> Chain:
    """Return the chain with one crop in place of several in a row."""
    result: list[Layer] = []
    for layer in chain:
        last = result[-1] if result else None
        if isinstance(last, Pad) and isinstance(layer, Pad) and max(map(max, last.pads + layer.pads)) <= 0:
            pairs = zip(last.pads, layer.pads, strict=True)
            result[-1] = Pad(tuple((a + c, b + d) for (a, b), (c, d) in pairs))
        else:
            result.append(layer)
    return tuple(result)


def _convolution(phase: Phase[Any], layer: Split) -> Convolution:
    """Return one phase as a convolution; a phase without a tap gets one tap of zero."""
    taps = [axis.taps for axis in phase.axes]
    pads = [axis.pad if axis.taps else (0, sum(axis.pad) + axis.dilation) for axis in phase.axes]
    weight = phase.weight if all(taps) else np.zeros((*phase.weight.shape[:2], *(max(n, 1) for n in taps)))
    dilation = tuple(axis.dilation for axis in phase.axes)
    return Convolution(weight, layer.bias, (1,) * len(taps), tuple(pads), dilation, layer.groups)


def _even(factors: Sequence[int]) -> bool:
    """Tell whether DepthToSpace can shuffle by these factors."""
    return len(factors) == 2 and factors[0] == factors[1]


def _grown(pads: Pads) -> Pads:
    return tuple((max(low, 0), max(high, 0)) for low, high in pads)


def _flat(pads: Sequence[tuple[int, int]]) -> list[int]:
    """Return pads as ONNX lists them: all starts before all ends."""
    return [low for low, _ in pads] + [high for _, high in pads]
