"""How people write zero insertion in PyTorch: an assignment to every r-th pixel of zeros, or a padded reshape."""

import operator
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, fx

from subpixel.rewriter.layers import Chain, Pad, ZeroInsertion


def zero_insertions(graph: fx.Graph, values: Mapping[fx.Node, Any]) -> Iterator[tuple[fx.Node, Chain]]:
    """Nodes of such idioms, and the layers that they are."""
    for node in graph.nodes:
        if node.op == "call_function" and node.target is operator.setitem:
            yield from _assigned(node, values)
        elif isinstance(values.get(node), Tensor) and values[node].ndim in (4, 6, 8):
            yield from _reshaped(node, values)


def canvas(node: fx.Node) -> fx.Node | None:
    """The assignment that fills the zeros which a node reads, if nothing else touches them."""
    zeros = node.args[0] if node.args else None
    if not isinstance(zeros, fx.Node) or getattr(zeros.target, "__name__", zeros.target) not in (
        "new_zeros",
        "zeros",
    ):
        return None
    others = [user for user in zeros.users if user is not node]
    return others[0] if len(others) == 1 and others[0].target is operator.setitem else None


def _assigned(node: fx.Node, values: Mapping[fx.Node, Any]) -> Iterator[tuple[fx.Node, Chain]]:
    """`zeros[..., ::r, ::r] = x`."""
    zeros, index, x = node.args
    readers = [user for user in zeros.users if user is not node]  # type: ignore[union-attr]
    if len(readers) != 1 or canvas(readers[0]) is not node or not isinstance(x, fx.Node):
        return
    given, size = values.get(x), values[zeros].shape  # type: ignore[index]
    steps = [item.step for item in index if isinstance(item, slice)] if isinstance(index, tuple) else []  # type: ignore[union-attr]
    ndim = len(size) - 2
    plain = all(
        item is Ellipsis or (isinstance(item, slice) and not item.start and item.stop is None)
        for item in index
    )  # type: ignore[union-attr]
    if not plain or not isinstance(given, Tensor) or given.ndim != len(size) or len(steps) < ndim:
        return
    if any(step not in (None, 1) for step in steps[:-ndim]) or not all(
        isinstance(s, int) for s in steps[-ndim:]
    ):
        return
    factors = tuple(steps[-ndim:])
    behind = tuple(n - (m - 1) * r - 1 for n, m, r in zip(size[2:], given.shape[2:], factors, strict=True))
    if all(n < r for n, r in zip(behind, factors, strict=True)):
        yield node, (ZeroInsertion(factors, behind),)


def _reshaped(node: fx.Node, values: Mapping[fx.Node, Any]) -> Iterator[tuple[fx.Node, Chain]]:
    """`pad(x.reshape(b, c, h, 1, w, 1), ...).reshape(b, c, h * r, w * r)`, the pads behind each pixel."""
    padded = node.args[0] if node.args else None
    split = padded.args[0] if isinstance(padded, fx.Node) and padded.args else None
    if not isinstance(padded, fx.Node) or not isinstance(split, fx.Node) or not split.args:
        return
    x, result = values.get(split.args[0]), values[node]  # type: ignore[call-overload]
    ndim = result.ndim - 2
    shapes = [tuple(getattr(values.get(n), "shape", ())) for n in (split, padded)]
    if not isinstance(x, Tensor) or x.ndim != result.ndim or len(padded.users) + len(split.users) > 2:
        return
    factors = shapes[1][3::2]
    cells = [(size, 1) for size in x.shape[2:]]
    grown = [(size, factor) for size, factor in zip(x.shape[2:], factors, strict=False)]
    expected = tuple(x.shape[:2]) + sum(cells, ()), tuple(x.shape[:2]) + sum(grown, ())
    if getattr(padded.target, "__name__", "") != "pad" or shapes != [*expected] or len(factors) != ndim:
        return
    flat = list(padded.args[1])[: 2 * 2 * ndim]  # type: ignore[arg-type]
    if flat != [n for factor in reversed(factors) for n in (0, factor - 1, 0, 0)][: len(flat)]:
        return
    none = Pad(((0, 0),) * ndim)
    yield split, (ZeroInsertion(tuple(factors), tuple(factor - 1 for factor in factors)),)
    yield from ((n, (none,)) for n in (padded, node))
