"""Sizes that a graph computes from the sizes of its values, as multiples of them.

    Resize(x, sizes=Concat(batch, channels, 2 * height of x, 2 * width of x))

enlarges by two, whatever the size of x. What is proven here holds for every input.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

# A file from a stranger may have any number of these.
DEEPEST = 32  # nodes from a value of the graph to a size
LONGEST = 16  # sizes in a list

Constant = Callable[[ir.Value | None], NDArray[Any] | None]


class Size(NamedTuple):
    """A number of pixels: factor times the size of an axis, or the factor alone.

    Attributes:
        factor: how many times.
        value: the value whose axis it is; None for a constant.
        axis: the index of the axis.
    """

    factor: Fraction
    value: ir.Value | None = None
    axis: int = 0


Sizes = tuple[Size, ...]


def read_sizes(value: ir.Value | None, constant: Constant) -> Sizes | None:
    """Return the entries of a value as sizes, a scalar as one entry; None where that is not proven.

    Args:
        value: a scalar or a list, of integers or of fractions.
        constant: gives a value that is the same in every run, else None.
    """
    known: dict[ir.Value | None, Sizes | None] = {}

    def read(value: ir.Value | None, depth: int) -> Sizes | None:
        if value not in known:
            sizes = compute(value, depth)
            known[value] = None if sizes is None or len(sizes) > LONGEST else sizes
        return known[value]

    def compute(value: ir.Value | None, depth: int) -> Sizes | None:
        array = constant(value)
        if array is not None:
            return _constants(array)
        node = None if value is None else value.producer()
        if node is None or node.domain or node.op_type not in READERS or depth == 0:
            return None
        parts = [read(each, depth - 1) for each in _sizes_of(node)]
        return None if None in parts else READERS[node.op_type](node, constant, *parts)

    return read(value, DEEPEST)


def _constants(array: NDArray[Any]) -> Sizes | None:
    usable = array.size <= LONGEST and array.dtype.kind in "iuf" and np.isfinite(array).all()
    return tuple(Size(Fraction(n)) for n in array.ravel().tolist()) if usable else None


def _sizes_of(node: ir.Node) -> Sequence[ir.Value | None]:
    """Return the inputs that hold sizes: not those that say which sizes, nor what Shape measures."""
    if node.op_type in ("Concat", "Div", "Mul"):
        return node.inputs
    return () if node.op_type == "Shape" else node.inputs[:1]


def _shape(node: ir.Node, _constant: Constant) -> Sizes | None:
    (value,) = node.inputs
    if value is None or value.shape is None:
        return None
    start, end = node.attributes.get_int("start", 0), node.attributes.get_int("end", len(value.shape))
    return tuple(Size(Fraction(1), value, axis) for axis in range(len(value.shape)))[start:end]


def _gather(node: ir.Node, constant: Constant, sizes: Sizes) -> Sizes | None:
    indices = constant(node.inputs[1])
    return None if indices is None else tuple(sizes[index] for index in indices.ravel().tolist())


def _slice(node: ir.Node, constant: Constant, sizes: Sizes) -> Sizes | None:
    ends = [constant(value) for value in node.inputs[1:3]]
    steps = [constant(value) for value in node.inputs[4:5]]
    if any(each is None or each.size != 1 for each in (*ends, *steps)):
        return None
    return sizes[slice(*(int(each.item()) for each in (*ends, *steps) if each is not None))]


def _concat(_node: ir.Node, _constant: Constant, *parts: Sizes) -> Sizes:
    return tuple(size for part in parts for size in part)


def _product(_node: ir.Node, _constant: Constant, a: Sizes, b: Sizes) -> Sizes | None:
    if len(a) != len(b):
        a, b = a * (len(b) if len(a) == 1 else 1), b * (len(a) if len(b) == 1 else 1)
    if len(a) != len(b) or any(
        x.value is not None and y.value is not None for x, y in zip(a, b, strict=True)
    ):
        return None
    pairs = ((x, y) if y.value is None else (y, x) for x, y in zip(a, b, strict=True))
    return tuple(x._replace(factor=x.factor * y.factor) for x, y in pairs)


def _quotient(node: ir.Node, constant: Constant, a: Sizes, b: Sizes) -> Sizes | None:
    if any(size.value is not None or size.factor == 0 for size in b):
        return None
    result = _product(node, constant, a, tuple(Size(1 / size.factor) for size in b))
    return _whole(node, constant, result or ()) or None  # of integers it drops what is left


def _whole(_node: ir.Node, _constant: Constant, sizes: Sizes) -> Sizes | None:
    """Return sizes that rounding leaves as they are, or None."""
    return sizes if all(size.factor.denominator == 1 for size in sizes) else None


def _cast(node: ir.Node, constant: Constant, sizes: Sizes) -> Sizes | None:
    to = node.attributes.get_int("to", 0)
    if to in (ir.DataType.FLOAT, ir.DataType.DOUBLE):
        return sizes
    return _whole(node, constant, sizes) if to in (ir.DataType.INT32, ir.DataType.INT64) else None


def _same(_node: ir.Node, _constant: Constant, sizes: Sizes) -> Sizes:
    return sizes


READERS: dict[str, Callable[..., Sizes | None]] = {
    "Cast": _cast,
    "Ceil": _whole,
    "Concat": _concat,
    "Div": _quotient,
    "Floor": _whole,
    "Gather": _gather,
    "Identity": _same,
    "Mul": _product,
    "Reshape": _same,
    "Round": _whole,
    "Shape": _shape,
    "Slice": _slice,
    "Squeeze": _same,
    "Unsqueeze": _same,
}
