"""Quantised weights (QuantizeLinear, DequantizeLinear): integers that the phase splits only move.

    weight = (values - zero_point) * scale

Taps that are added hold the zero point; each phase of a channel has the channel's scale. A resize that is
folded into a kernel sums taps, which would need new integers: such a site is kept.

A file travels between machines, so its arithmetic must be right on all of them. Runtimes compute a quantised
ConvTranspose in float32, but a quantised Conv in integers, and a processor without VNNI adds products of
uint8 pixels and int8 weights in pairs in 16 bits, with saturation (`may_saturate`). Where two weights of a
channel can reach that limit, the same integers are stored as uint8, 128 higher together with their zero
point: no kernel for those saturates.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from subpixel.rewriter.layers import Chain, Convolution, Transposed
from subpixel.rewriter.onnx.lower import Lowering

Constant = Callable[[ir.Value | None], NDArray[Any] | None]
BYTES = (np.dtype(np.int8), np.dtype(np.uint8))


@dataclass(frozen=True, eq=False)
class QuantisedConstant:
    """A constant that DequantizeLinear reads.

    Attributes:
        values: the integers: int8 or uint8, or int32 for a bias.
        scale: a number, or a number for each index of an axis.
        zero_point: an integer of the type of the values, or as many as there are scales.
        axis: the axis along which the scales lie.
    """

    values: NDArray[Any]
    scale: NDArray[Any]
    zero_point: NDArray[Any]
    axis: int

    def along(self, parameter: NDArray[Any]) -> NDArray[Any]:
        """Return a scale or zero point in a shape that broadcasts to the values."""
        shape = [1] * self.values.ndim
        if parameter.size > 1:
            shape[self.axis] = -1
        return parameter.reshape(shape)

    @property
    def centred(self) -> NDArray[np.int32]:
        """Return the values less their zero points."""
        return self.values.astype(np.int32) - self.along(self.zero_point).astype(np.int32)

    @property
    def floats(self) -> NDArray[Any]:
        """Return the numbers that the integers stand for."""
        floats: NDArray[np.float32] = (self.centred * self.along(self.scale)).astype(np.float32)
        return floats


@dataclass(frozen=True, eq=False)
class QuantisedWeights:
    """The weight and the bias of a transposed convolution.

    Attributes:
        weight: integers in the layout of the layer.
        bias: integers, or fractions, or None.
        groups: the groups of the layer, each of which has the same scales.
    """

    weight: QuantisedConstant
    bias: QuantisedConstant | NDArray[Any] | None
    groups: int

    def of_channels(self, parameter: NDArray[Any], channels: NDArray[Any]) -> NDArray[Any]:
        """Return the scales or zero points of these output channels; a single one is that of all."""
        return parameter if parameter.size == 1 else np.tile(parameter, self.groups)[channels]


def quantised_constant(value: ir.Value | None, constant: Constant) -> QuantisedConstant | None:
    """Return the constant that a DequantizeLinear reads to give this value, or None."""
    node = None if value is None else value.producer()
    if node is None or node.op_type != "DequantizeLinear" or node.domain:
        return None
    values, scale, *zero_point = (constant(value) for value in node.inputs)
    axis = node.attributes.get_int("axis", 1)
    if values is None or scale is None or "block_size" in node.attributes:
        return None
    zero = zero_point[0] if zero_point else np.zeros(scale.shape, values.dtype)
    return None if zero is None else QuantisedConstant(values, scale, zero, axis % max(values.ndim, 1))


def quantised_weights(node: ir.Node, constant: Constant) -> QuantisedWeights | None:
    """Return the weights of a transposed convolution that has one scale, or one for each output channel."""
    weight = quantised_constant(node.inputs[1], constant)
    if weight is None or weight.values.dtype not in BYTES or (weight.scale.size > 1 and weight.axis != 1):
        return None
    bias_value = node.inputs[2] if len(node.inputs) > 2 else None
    bias = quantised_constant(bias_value, constant)
    if bias is None:
        return QuantisedWeights(weight, constant(bias_value), node.attributes.get_int("group", 1))
    return QuantisedWeights(weight, bias, node.attributes.get_int("group", 1))


def may_saturate(values: NDArray[Any]) -> bool:
    """Tell whether a convolution by these weights can go wrong on a processor without VNNI.

    Its instruction vpmaddubsw computes a * w + b * v of pixels a, b in 0 ... 255 and int8 weights w, v, and
    clips the sum to -2**15 ... 2**15 - 1. As 255 * 128 < 2**15 < 255 * 129, nothing is clipped as long as
    the weights of one sign in a pair sum to 128 at most. Which weights of an output channel make a pair is
    the runtime's choice, so the two largest and the two smallest are looked at.

    Args:
        values: as they are stored, (c_out, ...).

    Example:
        >>> may_saturate(np.array([[64, 64]], np.int8)), may_saturate(np.array([[64, 65]], np.int8))
        (False, True)
    """
    if values.dtype != np.int8:
        return False
    ordered = np.sort(values.reshape(len(values), -1).astype(np.int32), axis=1)
    largest, smallest = ordered[:, -2:].clip(min=0), ordered[:, :2].clip(max=0)
    return bool((largest.sum(axis=1) > 128).any() or (smallest.sum(axis=1) < -128).any())


def _as_uint8(values: NDArray[Any], zero_point: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Move int8 values and their zero points up by 128, which leaves their differences."""
    values, zero_point = (np.add(array, 128, dtype=np.int16) for array in (values, zero_point))
    return np.asarray(values, np.uint8), np.asarray(zero_point, np.uint8)


def centred(chain: Chain, weights: QuantisedWeights) -> Chain:
    """Return the transposed convolution of the integers, whose zero is 0.

    Its biases are the numbers of its channels: a form moves them, and so tells which scale goes where.
    """
    layer, *crop = chain
    assert isinstance(layer, Transposed)
    channels = np.arange(layer.weight.shape[1] * layer.groups)
    return replace(layer, weight=weights.weight.centred, bias=channels), *crop


class QuantisedLowering(Lowering):
    """Writes the forms of a quantised transposed convolution, their weights as integers.

    Args:
        lowering: the arguments of a `Lowering`.
        weights: the quantised weights of the layer.
        quantiser: the only reader of the site; its rounding is repeated before the shuffle, so that runtimes
            find quantised inputs and outputs around the convolution.
    """

    def __init__(self, *lowering: Any, weights: QuantisedWeights, quantiser: ir.Node | None) -> None:
        super().__init__(*lowering)
        self._quantised, self._quantiser = weights, quantiser

    def weights(self, layer: Convolution | Transposed) -> Sequence[ir.Value | NDArray[Any]]:
        """See `Lowering`; the layer comes from a form of the `centred` chain."""
        quantised, channels = self._quantised, np.asarray(layer.bias)
        old = quantised.weight
        parameters = old.scale, old.zero_point
        scale, zero = (quantised.of_channels(each, channels) for each in parameters)
        centred = QuantisedConstant(layer.weight.astype(np.int32), scale, zero, axis=0)
        stored = (centred.values + centred.along(zero)).astype(old.values.dtype)
        if may_saturate(stored):
            stored, zero = _as_uint8(stored, zero)
        weight = self._dequantise(stored, scale, zero)
        if quantised.bias is None:
            return [weight]
        if not isinstance(quantised.bias, QuantisedConstant):
            return [weight, quantised.bias[channels]]
        scale = quantised.bias.scale
        return [
            weight,
            self._dequantise(quantised.bias.values[channels], scale[channels] if scale.size > 1 else scale),
        ]

    def convolved(self, maps: ir.Value) -> ir.Value:
        """See `Lowering`."""
        if self._quantiser is None:
            return maps
        parameters, attributes = self._quantiser.inputs[1:], self._quantiser.attributes.values()
        rounded = self._add("QuantizeLinear", [maps, *parameters], attributes)
        return self._add("DequantizeLinear", [rounded, *parameters], [])

    def _dequantise(self, values: NDArray[Any], scale: NDArray[Any], *zero_point: NDArray[Any]) -> ir.Value:
        axis = {"axis": 0} if scale.size > 1 else {}
        return self.op("DequantizeLinear", values, scale, *zero_point, **axis)
