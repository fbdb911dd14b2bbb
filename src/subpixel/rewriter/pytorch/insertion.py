"""Zero insertion as people write it in PyTorch: an assignment to every r-th zero, or pads after a reshape."""

import operator
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, fx

from subpixel.rewriter.layers import Chain, Pad, ZeroInsertion

MADE_BY = ("new_zeros", "zeros")


def zero_insertions(graph: fx.Graph, values: Mapping[fx.Node, Any]) -> Iterator[tuple[fx.Node, Chain]]:
    """Yield the nodes that insert zeros, and the layers that they compute."""
    for node in graph.nodes:
        if node.op == "call_function" and node.target is operator.setitem:
            yield from _assigned(node, values)
        elif isinstance(values.get(node), Tensor) and values[node].ndim in (3, 4, 5):
            yield from _reshaped(node, values)


def canvas(node: fx.Node) -> fx.Node | None:
    """Return the assignment that fills the zeros which a node reads; None if anything else touches them."""
    zeros = node.args[0] if node.args else None
    if not isinstance(zeros, fx.Node) or getattr(zeros.target, "__name__", zeros.target) not in MADE_BY:
        return None
    others = [user for user in zeros.users if user is not node]
    return others[0] if len(others) == 1 and others[0].target is operator.setitem else None


def _assigned(node: fx.Node, values: Mapping[fx.Node, Any]) -> Iterator[tuple[fx.Node, Chain]]:
    """Read `zeros[..., ::r, ::r] = x`."""
    arguments: Any = node.args
    zeros, index, x = arguments
    readers = [user for user in zeros.users if user is not node]
    if len(readers) != 1 or canvas(readers[0]) is not node or not isinstance(x, fx.Node):
        return
    given, size = values[x], values[zeros].shape
    steps = _steps(index, len(size))
    if steps is None or not isinstance(given, Tensor) or given.ndim != len(size):
        return
    if given.shape[:2] != size[:2] or given.dtype != values[zeros].dtype or not _only_of(zeros, x):
        return
    # m pixels r apart reach (m - 1) * r + 1 zeros; the rest, fewer than r, follows the last pixel.
    after = tuple(n - (m - 1) * r - 1 for n, m, r in zip(size[2:], given.shape[2:], steps, strict=True))
    if all(n < r for n, r in zip(after, steps, strict=True)):
        yield node, (ZeroInsertion(steps, after),)


def _only_of(node: fx.Node, x: fx.Node) -> bool:
    """Say whether a node is made of x and of constants alone."""
    seen, pending = {x, node}, [node]
    while pending:
        inner = pending.pop()
        if inner.op == "placeholder":
            return False
        fresh = {*inner.all_input_nodes} - seen
        seen |= fresh
        pending += fresh
    return True


def _steps(index: Any, ndim: int) -> tuple[int, ...] | None:
    """Return the spatial steps of an index that takes every r-th pixel from the first on, else None."""
    items = list(index) if isinstance(index, tuple) else [index]
    gap = items.index(Ellipsis) if Ellipsis in items else len(items)
    slices = [*items[:gap], *[slice(None)] * (ndim - len(items) + (gap < len(items))), *items[gap + 1 :]]
    if not all(isinstance(item, slice) and not item.start and item.stop is None for item in slices):
        return None
    steps = tuple(item.step or 1 for item in slices)
    return steps[2:] if steps[:2] == (1, 1) and all(isinstance(step, int) for step in steps) else None


def _reshaped(node: fx.Node, values: Mapping[fx.Node, Any]) -> Iterator[tuple[fx.Node, Chain]]:
    """Read `pad(x.reshape(b, c, h, 1, w, 1), ...).reshape(b, c, h * r, w * r)` with pads after pixels."""
    row: list[Any] = [node]
    while len(row) < 4 and row[0].args and isinstance(row[0].args[0], fx.Node):
        row = [row[0].args[0], *row]
    if (
        len(row) < 4
        or getattr(row[2].target, "__name__", "") != "pad"
        or len(row[2].args) > 2
        or row[2].kwargs.get("value")
    ):
        return
    if any(len(inner.users) > 1 for inner in row[1:3]):
        return
    x, _, padded, _ = (values[n] for n in row)
    factors = tuple(padded.shape[3::2])
    # The shapes on the way: (b, c, h, 1, w, 1), then (b, c, h, r, w, r), then (b, c, h * r, w * r).
    single = (n for size in x.shape[2:] for n in (size, 1))
    grown = (n for pair in zip(x.shape[2:], factors, strict=False) for n in pair)
    # From the last axis on, as F.pad wants them: (0, r - 1) on each cell, (0, 0) on each row of cells.
    after = [n for factor in reversed(factors) for n in (0, factor - 1, 0, 0)]
    pads = list(row[2].args[1])
    result = (n * factor for n, factor in zip(x.shape[2:], factors, strict=False))
    shapes = ((*x.shape[:2], *sizes) for sizes in (single, grown, result))
    found = *(tuple(values[n].shape) for n in row[1:]), pads
    if found != (*shapes, after[: len(pads)]):
        return
    yield row[1], (ZeroInsertion(factors, tuple(factor - 1 for factor in factors)),)
    # The first node stands for all; the others do nothing more to its output.
    nothing = Pad(((0, 0),) * len(factors))
    yield from ((n, (nothing,)) for n in row[2:])
