"""ONNX operators as layers: each operator's function of its data input, or the reason why it is not known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from subpixel.geometry import Axis
from subpixel.rewriter.layers import (
    Chain,
    Convolution,
    Opaque,
    Pad,
    PadMode,
    Pads,
    Pointwise,
    Resize,
    Shape,
    Shuffle,
    Transposed,
    Unchanged,
)
from subpixel.rewriter.onnx.sizes import Size, read_sizes

Constant = Callable[[ir.Value | None], NDArray[Any] | None]


@dataclass(frozen=True)
class Operation:
    """A node and what is known of its inputs.

    Attributes:
        node: a node of the default domain.
        shape: the shape of the data input in the example.
        constant: gives the value of an input that is the same in every run; None for any other input.
    """

    node: ir.Node
    shape: Shape
    constant: Constant

    def has_input(self, index: int) -> bool:
        """Tell whether the node has an optional input."""
        return index < len(self.node.inputs) and self.node.inputs[index] is not None

    def input(self, index: int) -> NDArray[Any] | None:
        """Return the value of a constant input, or None."""
        return self.constant(self.node.inputs[index]) if self.has_input(index) else None

    def text(self, name: str, default: str) -> str:
        """Return an attribute that is a text."""
        return self.node.attributes.get_string(name, default)

    def integer(self, name: str, default: int) -> int:
        """Return an attribute that is an integer."""
        return self.node.attributes.get_int(name, default)

    def integers(self, name: str, default: Sequence[int]) -> tuple[int, ...]:
        """Return an attribute that is a list of integers."""
        return tuple(self.node.attributes.get_ints(name, default))


def data_input(node: ir.Node, constant: Constant) -> ir.Value | None:
    """Return the input that a chain goes through: the first, or the operand that is not constant."""
    if not node.inputs:
        return None
    if node.op_type in BINARY and constant(node.inputs[0]) is not None:
        return node.inputs[1]
    return node.inputs[0]


def _conv(operation: Operation) -> Chain:
    weight, ndim = operation.input(1), len(operation.shape) - 2
    if weight is None or (operation.has_input(2) and operation.input(2) is None):
        return ()
    strides = operation.integers("strides", [1] * ndim)
    dilations = operation.integers("dilations", [1] * ndim)
    extents = [d * (k - 1) + 1 for d, k in zip(dilations, weight.shape[2:], strict=True)]
    pads = _conv_pads(operation, strides, extents)
    if pads is None:
        return ()
    return (Convolution(weight, operation.input(2), strides, pads, dilations, _groups(operation, weight)),)


def _groups(operation: Operation, weight: NDArray[Any]) -> int:
    groups = operation.integer("group", 1)
    if weight.shape[0] % groups:
        raise ValueError(f"group must divide the {weight.shape[0]} kernels; got {groups}")
    return groups


def _conv_pads(operation: Operation, strides: Sequence[int], extents: Sequence[int]) -> Pads | None:
    """Return the zeros around the input; None where their number depends on the size of the input."""
    mode = operation.text("auto_pad", "NOTSET")
    if mode == "NOTSET":
        return pairs(operation.integers("pads", [0] * (2 * len(extents))))
    if mode == "VALID":
        return ((0, 0),) * len(extents)
    if set(strides) != {1}:
        return None
    return _halved([extent - 1 for extent in extents], mode)


def _halved(totals: Sequence[int], mode: str) -> Pads:
    """Share out pads to both sides: an odd one goes to the end, or with SAME_LOWER to the start."""
    low_first = mode == "SAME_LOWER"
    lows = [(total + low_first) // 2 for total in totals]
    return tuple((low, total - low) for low, total in zip(lows, totals, strict=True))


def _conv_transpose(operation: Operation) -> Chain:
    weight, bias, ndim = operation.input(1), operation.input(2), len(operation.shape) - 2
    if weight is None or (operation.has_input(2) and bias is None):
        return (Opaque("its weight is computed at run time"),)
    strides, dilations = (operation.integers(name, [1] * ndim) for name in ("strides", "dilations"))
    more = operation.integers("output_padding", [0] * ndim)
    extents = [d * (k - 1) + 1 for d, k in zip(dilations, weight.shape[2:], strict=True)]
    pads = _transposed_pads(operation, strides, extents, more)
    if isinstance(pads, str):
        return (Opaque(pads),)
    if any(n >= max(s, d) for n, s, d in zip(more, strides, dilations, strict=True)):
        return (Opaque(f"its output_padding {more} is not below its stride {strides}"),)
    geometry, crop = [], []
    for axis, (low, high) in enumerate(pads):
        uneven = low - high + more[axis]
        inside = 0 <= uneven < max(strides[axis], dilations[axis])
        at, extra = (low, uneven) if inside else (min(low, high), more[axis])
        geometry.append(Axis(weight.shape[2 + axis], strides[axis], at, extra, dilations[axis]))
        crop.append((0, 0) if inside else (at - low, at - high))
    layer = Transposed(weight, bias, tuple(geometry), _groups(operation, weight))
    return (layer, Pad(tuple(crop))) if any(map(any, crop)) else (layer,)


def _transposed_pads(
    operation: Operation, strides: Sequence[int], extents: Sequence[int], more: Sequence[int]
) -> Pads | str:
    """Return what is cropped from the output, or the reason why runtimes do not agree on it."""
    mode = operation.text("auto_pad", "NOTSET")
    if "output_shape" in operation.node.attributes:
        return _pads_to_reach(operation, strides, extents, more)
    if mode == "NOTSET":
        pads = pairs(operation.integers("pads", [0] * (2 * len(extents))))
        return pads if min(map(min, pads)) >= 0 else f"its padding {pads} is negative"
    if mode == "VALID":
        return ((0, 0),) * len(extents)
    # SAME asks for sizes of n * stride. With a kernel as long as the stride they come without any pad; with
    # other kernels some runtimes pad and some do not.
    if list(extents) != list(strides) or any(more):
        return f"runtimes disagree on auto_pad={mode} with this kernel and output_padding"
    return ((0, 0),) * len(extents)


def _pads_to_reach(
    operation: Operation, strides: Sequence[int], extents: Sequence[int], more: Sequence[int]
) -> Pads | str:
    wanted, shape = operation.integers("output_shape", []), _static(operation.node.inputs[0])
    if shape is None:
        return "its output_shape is fixed, whatever the size of its input"
    sizes = shape[2:]
    axes = zip(sizes, strides, extents, more, wanted[-len(sizes) :], strict=True)
    totals = [(n - 1) * stride + extent + extra - size for n, stride, extent, extra, size in axes]
    if min(totals) < 0 or any(total % 2 for total in totals):
        return "runtimes disagree on which side its output_shape crops"
    return tuple((total // 2, total // 2) for total in totals)


def _resize(operation: Operation) -> Chain:
    scales = _scales(operation)
    if scales is None:
        return (Opaque("its output size is not proven to be a multiple of its input size"),)
    if max(scales) <= 1:
        return (Unchanged(),) if min(scales) == 1 and _gives_the_same(operation) else ()
    if reason := _no_factors(scales) or _irregular(operation, [int(scale) for scale in scales[2:]]):
        return (Opaque(reason),)
    mode: Any = operation.text("mode", "nearest")
    return (Resize(mode, tuple(int(scale) for scale in scales[2:]), operation.shape[1]),)


def _gives_the_same(operation: Operation) -> bool:
    """Tell whether a resize by a factor of 1 leaves every pixel where it is."""
    where = operation.text("coordinate_transformation_mode", "half_pixel")
    if where in ("tf_crop_and_resize", "tf_half_pixel_for_nn") or operation.integer("antialias", 0):
        return False
    rounding = operation.text("nearest_mode", "round_prefer_floor")
    return (
        operation.text("mode", "nearest") != "nearest"
        or where == "align_corners"
        or repeats(where, rounding, 1)
    )


def _no_factors(scales: Sequence[Fraction]) -> str | None:
    """Return why no rule fits these factors, or None."""
    if any(scale != 1 for scale in scales[:2]):
        return "it resizes batch or channels"
    if min(scales) < 1 or any(scale.denominator > 1 for scale in scales):
        return f"its factors {', '.join(str(float(scale)) for scale in scales[2:])} are no integers"
    return None


def _scales(operation: Operation) -> list[Fraction] | None:
    """Return the factor of each axis; None where it follows from a size that is known only at run time."""
    rank = len(operation.shape)
    axes, scales = operation.integers("axes", range(rank)), operation.input(2)
    factors = _ratios(operation, axes) if scales is None or scales.size == 0 else scales.tolist()
    if factors is None:
        return None
    result = [Fraction(1)] * rank
    for axis, scale in zip(axes, factors, strict=True):
        result[axis] = Fraction(scale)
    return result


def _ratios(operation: Operation, axes: Sequence[int]) -> list[Fraction] | None:
    """Return the factors that a resize to given sizes has for every size of its input, or None."""
    stretched = operation.text("keep_aspect_ratio_policy", "stretch") == "stretch"
    value = operation.node.inputs[0]
    sizes = read_sizes(operation.node.inputs[3], operation.constant) if operation.has_input(3) else None
    if sizes is None or value is None or not stretched:
        return None
    rank = len(operation.shape)
    ratios = [_ratio(size, value, axis % rank) for size, axis in zip(sizes, axes, strict=True)]
    known = [ratio for ratio in ratios if ratio is not None]
    return known if len(known) == len(ratios) else None


def _ratio(size: Size, value: ir.Value, axis: int) -> Fraction | None:
    """Return how many times an axis of a value a size is, or None."""
    if size.value is not None:
        return size.factor if (size.value, size.axis) == (value, axis) else None
    before = None if value.shape is None else value.shape[axis]
    return Fraction(size.factor, before) if isinstance(before, int) and before > 0 else None


def _irregular(operation: Operation, factors: Sequence[int]) -> str | None:
    """Return why the kernels of a resize differ from LR pixel to LR pixel, or None."""
    mode = operation.text("mode", "nearest")
    where = operation.text("coordinate_transformation_mode", "half_pixel")
    if mode == "nearest":
        nearest = operation.text("nearest_mode", "round_prefer_floor")
        alike = all(repeats(where, nearest, factor) for factor in factors)
        return None if alike else f"with {where} and {nearest} it does not repeat each pixel alike"
    if not _channels_are_fixed(operation.node.inputs[0]):
        return "its channels are symbolic"
    if where not in HALF_PIXEL:
        return f"with {where} no two pixels have the same kernel"
    if operation.integer("antialias", 0) or operation.integer("exclude_outside", 0):
        return "it is antialiased, or leaves out what is outside"
    if mode == "cubic" and operation.node.attributes.get_float("cubic_coeff_a", -0.75) != -0.75:
        return "its cubic coefficient is not -0.75"
    return None


HALF_PIXEL = ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric")
_ROUNDINGS: dict[str, Callable[[Fraction], int]] = {
    "floor": floor,
    "ceil": ceil,
    "round_prefer_floor": lambda position: ceil(position - Fraction(1, 2)),
    "round_prefer_ceil": lambda position: floor(position + Fraction(1, 2)),
}


def repeats(where: str, nearest: str, factor: int) -> bool:
    """Tell whether a nearest resize repeats each pixel: whether HR pixel i shows LR pixel i // factor.

    HR pixel i lies at (i + 1/2) / factor - 1/2 with half-pixel centres, and at i / factor without. Both the
    position and its rounding repeat after `factor` pixels, so two periods are looked at.

    Example:
        >>> repeats("asymmetric", "floor", 3), repeats("asymmetric", "round_prefer_floor", 3)
        (True, False)
    """
    if where == "asymmetric":
        shift = Fraction(0)
    elif where == "tf_half_pixel_for_nn":
        shift = Fraction(1, 2 * factor)
    elif where in HALF_PIXEL:
        shift = Fraction(1, 2 * factor) - Fraction(1, 2)
    else:
        return False
    rounded = _ROUNDINGS[nearest]
    return all(rounded(Fraction(i, factor) + shift) == i // factor for i in range(2 * factor))


def _depth_to_space(operation: Operation) -> Chain:
    factor = operation.integer("blocksize", 0)
    if factor < 1:
        raise ValueError(f"blocksize must be 1 or more; got {factor}")
    return (Shuffle((factor, factor), "CRD" if operation.text("mode", "DCR") == "CRD" else "DCR"),)


FROM_ONNX_PAD: dict[str, PadMode] = {"constant": "zeros", "edge": "replicate", "reflect": "reflect"}


def _pad(operation: Operation) -> Chain:
    mode, flat, rank = operation.text("mode", "constant"), operation.input(1), len(operation.shape)
    value, axes = operation.input(2), operation.input(3)
    unknown = any(operation.has_input(i) and operation.input(i) is None for i in (2, 3))
    if mode not in FROM_ONNX_PAD or flat is None or unknown or (value is not None and value.any()):
        return ()
    pads = [(0, 0)] * rank
    chosen = range(rank) if axes is None else axes.tolist()
    for axis, pair in zip(chosen, pairs(flat.tolist()), strict=True):
        pads[axis] = pair
    return (Pad(tuple(pads[2:]), FROM_ONNX_PAD[mode]),) if not any(map(any, pads[:2])) else ()


def _norm(operation: Operation) -> Chain:
    constant = all(operation.input(index) is not None for index in range(1, 5))
    training = operation.integer("training_mode", 0) or len(operation.node.outputs) > 1
    return (Pointwise(operation.node, per_channel=True),) if constant and not training else ()


def _dropout(operation: Operation) -> Chain:
    mode = operation.input(2)
    training = operation.has_input(2) if mode is None else mode.any()
    return () if training else (Pointwise(operation.node),)


def _quantiser(operation: Operation) -> Chain:
    """Read QuantizeLinear and DequantizeLinear by constants."""
    scale, node = operation.input(1), operation.node
    shifted = operation.has_input(2) and operation.input(2) is None  # by an unknown zero point
    if scale is None or shifted or operation.integer("block_size", 0):
        return ()
    if scale.size > 1 and operation.integer("axis", 1) % len(operation.shape) != 1:
        return ()
    return (Pointwise(node, per_channel=scale.size > 1),)


def _col2im(_operation: Operation) -> Chain:
    return (Opaque("it sums blocks of pixels that overlap, which no rule is about"),)


def _max_unpool(_operation: Operation) -> Chain:
    return (Opaque("another input says where its pixels go"),)


def _unary(operation: Operation) -> Chain:
    return (Pointwise(operation.node),)


def _binary(operation: Operation) -> Chain:
    """Read an operation of pixels and constants: one number, or one number for each channel."""
    data = data_input(operation.node, operation.constant)
    others = [value for value in operation.node.inputs if value is not data]
    arrays = [operation.constant(value) for value in others if value is not None]
    scopes = [None if array is None else _scope(array, operation.shape) for array in arrays]
    if None in scopes or len(others) < len(operation.node.inputs) - 1:
        return ()
    return (Pointwise(operation.node, per_channel="channel" in scopes),)


def _scope(array: NDArray[Any], shape: Shape) -> str | None:
    """Tell whether an array, broadcast to a shape, is a number, or a number for each channel, or neither."""
    padded = (1,) * (len(shape) - array.ndim) + array.shape
    if array.size == 1 and len(padded) == len(shape):
        return "number"
    return "channel" if padded == (1, shape[1], *[1] * (len(shape) - 2)) else None


def _channels_are_fixed(value: ir.Value | None) -> bool:
    return value is not None and value.shape is not None and isinstance(value.shape[1], int)


def _static(value: ir.Value | None) -> Shape | None:
    shape = None if value is None else value.shape
    return shape.numpy() if shape is not None and shape.is_static() else None


def pairs(flat: Sequence[int]) -> Pads:
    """Return pads by axis from ONNX's list, in which all starts come before all ends."""
    half = len(flat) // 2
    return tuple(zip(map(int, flat[:half]), map(int, flat[half:]), strict=True))


UNARY = """
    Abs Celu Elu Erf Exp Gelu HardSigmoid HardSwish Identity LeakyRelu Mish Neg Relu Selu Sigmoid Softplus
    Softsign Swish Tanh ThresholdedRelu
"""
BINARY = ("Add", "Div", "Max", "Min", "Mul", "Sub")
READERS: dict[str, Callable[[Operation], Chain]] = {
    "BatchNormalization": _norm,
    "Clip": _binary,
    "Col2Im": _col2im,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DepthToSpace": _depth_to_space,
    "DequantizeLinear": _quantiser,
    "Dropout": _dropout,
    "MaxUnpool": _max_unpool,
    "PRelu": _binary,
    "Pad": _pad,
    "QuantizeLinear": _quantiser,
    "Resize": _resize,
    **dict.fromkeys(UNARY.split(), _unary),
    **dict.fromkeys(BINARY, _binary),
}
