"""Rows of nodes that only move pixels and together are a shuffle or a nearest resize.

Not every exporter writes DepthToSpace and Resize: a shuffle is often Reshape, Transpose, Reshape, and pixels
are repeated by Unsqueeze, Expand, Reshape. What a row does is read off a picture of indices that goes through
it: two maps of pixels are equal if they take every index to the same place.
"""

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from subpixel.rewriter.layers import Chain, Layer, Resize, Shape, Shuffle
from subpixel.rewriter.reference import compute

LONGEST = 6  # nodes in a row
LARGEST = 2**23  # pixels of the picture, so that a row is read in a moment
MOST_REPEATED = 16  # times the largest picture: no node of a row makes fewer pixels than it reads

Parameter = Callable[[ir.Value | None], NDArray[Any] | None]


class Row(NamedTuple):
    """Nodes that are one up-sampler.

    Attributes:
        nodes: in order; the first one reads the pixels.
        chain: what they compute at the sizes of the example.
    """

    nodes: tuple[ir.Node, ...]
    chain: Chain


def read_row(last: ir.Node, shapes: Mapping[str, Shape], parameter: Parameter) -> Row | None:
    """Return the shortest row that ends in this node and is an up-sampler, or None.

    Args:
        last: a Reshape, else there is none.
        shapes: of what nodes read, by name, in the example.
        parameter: gives what a Reshape or another node reads besides pixels, in the example.
    """
    if last.op_type != "Reshape" or last.domain:
        return None
    row: tuple[ir.Node, ...] = (last,)
    result = _reshaped_shape(last, shapes, parameter)
    while result is not None and len(row) <= LONGEST:
        value = row[0].inputs[0]
        shape = None if value is None else shapes.get(value.name or "")
        if shape is not None and (chain := _recognised(row, shape, result, parameter)):
            return Row(row, chain)
        producer = None if value is None else value.producer()
        if producer is None or producer.domain or producer.op_type not in MOVES:
            return None
        row = (producer, *row)
    return None


def _reshaped_shape(node: ir.Node, shapes: Mapping[str, Shape], parameter: Parameter) -> Shape | None:
    value, wanted = node.inputs[0], parameter(node.inputs[1])
    shape = None if value is None else shapes.get(value.name or "")
    if shape is None or wanted is None or prod(shape) == 0:
        return None
    sizes = _with_copied(node, shape, wanted)
    rest = prod(shape) // prod(size for size in sizes if size != -1)
    return tuple(rest if size == -1 else size for size in sizes)


def _recognised(row: tuple[ir.Node, ...], shape: Shape, result: Shape, parameter: Parameter) -> Chain:
    """Return what a row does, or an empty chain: candidates follow from the sizes, the picture decides."""
    if not 3 <= len(shape) == len(result) or shape[0] != result[0] or not 0 < prod(shape) <= LARGEST:
        return ()
    if prod(result) > MOST_REPEATED * LARGEST:
        return ()
    factors = tuple(after // before for after, before in zip(result[2:], shape[2:], strict=True))
    if max(factors) < 2 or any(a % b for a, b in zip(result[2:], shape[2:], strict=True)):
        return ()
    candidates: list[Layer] = []
    if result[1] * prod(factors) == shape[1]:
        candidates += [Shuffle(factors, "CRD"), Shuffle(factors, "DCR")]
    if result[1] == shape[1]:
        candidates.append(Resize("nearest", factors, shape[1]))
    if not candidates or any(parameter(value) is None for node in row for value in node.inputs[1:]):
        return ()
    picture = np.arange(prod(shape), dtype=np.float64).reshape(shape)
    moved: NDArray[Any] = picture
    for node in row:
        moved = _moved(node, moved, parameter)
    return next(((layer,) for layer in candidates if np.array_equal(compute((layer,), picture), moved)), ())


def _moved(node: ir.Node, x: NDArray[Any], parameter: Parameter) -> NDArray[Any]:
    """Return what a node makes of an array."""
    return MOVES[node.op_type](node, x, *(parameter(value) for value in node.inputs[1:]))


def _reshape(node: ir.Node, x: NDArray[Any], wanted: Any) -> NDArray[Any]:
    return x.reshape(_with_copied(node, x.shape, wanted))


def _with_copied(node: ir.Node, shape: Shape, wanted: Any) -> Shape:
    """Return the sizes that a Reshape asks for; 0 keeps the size that was there, unless allowzero is set."""
    copied = node.attributes.get_int("allowzero", 0) == 0
    return tuple(shape[i] if n == 0 and copied else n for i, n in enumerate(wanted.tolist()))


def _transpose(node: ir.Node, x: NDArray[Any]) -> NDArray[Any]:
    return x.transpose(node.attributes.get_ints("perm", range(x.ndim)[::-1]))


def _expand(_node: ir.Node, x: NDArray[Any], shape: Any) -> NDArray[Any]:
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape.tolist())))


def _axes(node: ir.Node, axes: Any) -> tuple[int, ...]:
    """Return the axes, which are an input from opset 13 on, and an attribute before."""
    return tuple(node.attributes.get_ints("axes", ()) if axes is None else axes.tolist())


MOVES: dict[str, Callable[..., NDArray[Any]]] = {
    "Expand": _expand,
    "Identity": lambda _node, x: x,
    "Reshape": _reshape,
    "Squeeze": lambda node, x, axes=None: x.squeeze(_axes(node, axes) or None),
    "Tile": lambda _node, x, repeats: np.tile(x, repeats.tolist()),
    "Transpose": _transpose,
    "Unsqueeze": lambda node, x, axes=None: np.expand_dims(x, _axes(node, axes)),
}
