"""Sizes as formulas of the input's sizes, so that a resize to twice the input's size is one by a factor.

A size is written as factor * symbol + offset, where the symbol is some size of which nothing is known. Two
sizes are proven to have a ratio k in every call where both depend on the same symbol and

    factor_1 = k * factor_2  and  offset_1 = k * offset_2.
"""

import math
from collections.abc import Hashable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, fx

from subpixel.rewriter.layers import Chain, Convolution, Layer, Opaque
from subpixel.rewriter.pytorch.graph import Scope, Values, data_input
from subpixel.rewriter.pytorch.operators import function_of

MANY = 2**20  # pixels: at this size any geometry gives an output, so that its offset can be read from it
SAME_SHAPE = {"add", "iadd", "sub", "isub", "mul", "imul", "truediv", "itruediv", "div"}
AXES = ("pads", "geometry", "factors")  # attributes of layers, an entry for each axis
ROUNDINGS = {"round", "floor", "ceil", "trunc", "int"}


@dataclass(frozen=True)
class Size:
    """factor * symbol + offset; a constant has the factor 0 and no symbol."""

    symbol: Hashable
    factor: Fraction
    offset: Fraction

    def scaled(self, factor: Fraction | int, offset: Fraction | int = 0) -> "Size":
        """Return factor * self + offset."""
        symbol = self.symbol if factor else None
        return Size(symbol, self.factor * factor, self.offset * factor + offset)

    def ratio(self, other: "Size") -> int | None:
        """Return k where this size is proven to be k times the other one, else None."""
        if self.symbol != other.symbol:
            return None
        mine, theirs = (size.factor if size.symbol is not None else size.offset for size in (self, other))
        if theirs == 0 or self != other.scaled(mine / theirs) or (mine / theirs).denominator != 1:
            return None
        return int(mine / theirs)


def constant(value: float) -> Size:
    """Return a size that is the same in every call."""
    return Size(None, Fraction(0), Fraction(value))


def unknown(symbol: Hashable) -> Size:
    """Return a size of which nothing is known except its name."""
    return Size(symbol, Fraction(1), Fraction(0))


def read_factors(scope: Scope) -> None:
    """Write each resize to a size that is proven to be a multiple of its input's as one by a factor.

    PyTorch computes the same for both: the scale of its kernels is input size / output size for a size that
    is given, and 1 / factor for a factor.
    """
    sizes = Sizes(scope)
    for node in scope.graph.nodes:
        source = data_input(node)
        if source is not None and isinstance(scope.values.get(source), Tensor):
            # Before anything asks for the layers of the node, which depend on how it is written.
            factors = sizes.factors(_wanted_size(node), sizes.of(source)[2:])
            if factors is not None:
                _set_factors(node, factors)
        sizes.of(node)  # in the order of the graph, so that no row of nodes is too long for recursion


def _wanted_size(node: fx.Node) -> Any:
    """Return the argument of a resize that gives the size of its output, or None."""
    if node.op != "call_function":
        return None
    name, named = function_of(node)
    if name in ("interpolate", "upsample"):
        return named.get("size") if named.get("scale_factor") is None else None
    return named.get("output_size") if str(node.target).endswith(".vec") else None


def _set_factors(node: fx.Node, factors: list[float]) -> None:
    name, named = function_of(node)
    if name in ("interpolate", "upsample"):
        source = named.pop("input")
        node.args, node.kwargs = (source,), {**named, "size": None, "scale_factor": factors}
    else:
        node.args = tuple({**named, "output_size": None, "scale_factors": factors}.values())
        node.kwargs = {}


class Sizes:
    """The sizes of all values of a recorded forward."""

    def __init__(self, scope: Scope) -> None:
        self._scope, self._values = scope, scope.values
        self._known: dict[fx.Node, tuple[Size, ...]] = {}

    def of(self, node: fx.Node) -> tuple[Size, ...]:
        """Return the sizes of a tensor, axis by axis; none of what is no tensor."""
        if node not in self._known:
            x = self._values.get(node)
            self._known[node] = self._of_tensor(node, x) if isinstance(x, Tensor) else ()
        return self._known[node]

    def factors(self, wanted: Any, given: tuple[Size, ...]) -> list[float] | None:
        """Return by which factors a resize to the size `wanted` enlarges, where that is proven."""
        sizes = None if wanted is None else self._numbers(wanted)
        if sizes is None:
            return None
        ratios = [size.ratio(other) for size, other in zip(sizes * len(given), given, strict=False)]
        if len(sizes) not in (1, len(given)) or None in ratios:
            return None
        return [float(ratio) for ratio in ratios if ratio is not None]

    def _of_tensor(self, node: fx.Node, x: Tensor) -> tuple[Size, ...]:
        exported = node.meta.get("val")
        if isinstance(exported, Tensor):  # by torch.export, which has proven more
            return tuple(map(_of_export, exported.shape))
        fresh = tuple(unknown((node, axis)) for axis in range(x.ndim))
        source = data_input(node)
        if source is None or not isinstance(self._values.get(source), Tensor):
            return fresh
        layers, sizes = self._scope.layers(node), self.of(source)
        if layers and len(sizes) == x.ndim:
            return _through(layers, sizes, x) or fresh
        tensors = [other for other in node.all_input_nodes if isinstance(self._values[other], Tensor)]
        if _name(node) not in SAME_SHAPE or any(len(self.of(other)) != x.ndim for other in tensors):
            return fresh
        axes = zip(fresh, *map(self.of, tensors), strict=True)  # one of size 1 would be repeated
        return tuple(first if {first} == {first, *others} else own for own, first, *others in axes)

    def _numbers(self, argument: Any) -> tuple[Size, ...] | None:
        """Return the sizes that an argument names: a number, or several of them."""
        if isinstance(argument, list | tuple):
            found = [self._number(each) for each in argument]
            return tuple(size for size in found if size is not None) if None not in found else None
        if isinstance(argument, fx.Node) and (shape := self._shape(argument)) is not None:
            return shape
        number = self._number(argument)
        return None if number is None else (number,)

    def _shape(self, node: fx.Node) -> tuple[Size, ...] | None:
        """Return the sizes in a shape, or in a part of one."""
        name, (source, *others) = _name(node), node.args or (None,)
        if not isinstance(source, fx.Node):
            return None
        if isinstance(self._values.get(source), Tensor):
            whole = (name, others) == ("getattr", ["shape"]) or (name == "size" and not others)
            return self.of(source) if whole and not node.kwargs else None
        if name == "getitem" and isinstance(others[0], slice) and (shape := self._shape(source)) is not None:
            return shape[others[0]]
        return None

    def _number(self, argument: Any) -> Size | None:
        """Return a size that Python computed."""
        if isinstance(argument, int | float):
            return constant(argument)
        if not isinstance(argument, fx.Node):
            return None
        if "val" in argument.meta:
            return _of_export(argument.meta["val"])
        name, arguments = _name(argument), argument.args
        if (found := self._item(argument)) is not None:
            return found
        numbers = [self._number(each) for each in arguments]
        known = [size for size in numbers if size is not None]
        if len(known) < len(numbers) or argument.kwargs:
            return None
        return _computed(name, known)

    def _item(self, node: fx.Node) -> Size | None:
        """Return one entry of a shape: `x.shape[2]`, `x.size(2)`."""
        source, *others = node.args or (None,)
        index = others[0] if others else node.kwargs.get("dim")
        if not isinstance(source, fx.Node) or not isinstance(index, int):
            return None
        name = _name(node)
        shape = self._shape(source) if name == "getitem" else None
        if name in ("size", "sym_size") and isinstance(self._values.get(source), Tensor):
            shape = self.of(source)
        return None if shape is None else shape[index]


def depends_on_size(node: fx.Node, values: Values) -> bool:
    """Say whether a number is computed from the number of pixels, or of images, of some tensor."""
    seen, pending = {node}, [node]
    while pending:
        inner = pending.pop()
        for source in inner.all_input_nodes:
            if isinstance(values[source], Tensor | torch.Size):
                if _reads_size(inner, source, values):
                    return True
            elif source not in seen and _name(inner) != "len":
                seen.add(source)
                pending.append(source)
    return False


def _reads_size(node: fx.Node, source: fx.Node, values: Values) -> bool:
    """Say whether a node reads an entry of a shape, other than the number of axes or of channels."""
    name, index = _name(node), node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
    if isinstance(values[source], Tensor):
        ndim = values[source].ndim
        return name in ("len", "numel") or (name == "size" and not _is_channels(index, ndim))
    part = _name(source) == "getitem"  # of a shape, so that the index counts from elsewhere
    return name != "len" and (part or not _is_channels(index, len(values[source])))


def _is_channels(index: Any, ndim: int) -> bool:
    """Say whether an axis is the one of channels: in images the second, elsewhere the last."""
    return isinstance(index, int) and index % ndim == (1 if ndim > 3 else ndim - 1)


def _name(node: fx.Node) -> str:
    name = node.target if node.op == "call_method" else getattr(node.target, "__name__", "")
    return str(name).partition(".")[0]


def _computed(name: str, sizes: list[Size]) -> Size | None:
    """Return what an operator of Python makes of sizes, where it is a formula of the same kind."""
    first, other = sizes[0], sizes[-1]
    if len(sizes) == 2 and name == "mul":
        first, other = (other, first) if first.symbol is None else (first, other)
        return first.scaled(other.offset) if other.symbol is None else None
    if len(sizes) == 2 and name in ("truediv", "floordiv") and other.symbol is None and other.offset:
        return _whole(first.scaled(1 / other.offset), name == "floordiv")
    if len(sizes) == 2 and name in ("add", "sub") and None in (first.symbol, other.symbol):
        sign = 1 if name == "add" else -1
        if other.symbol is None:
            return first.scaled(1, sign * other.offset)
        return other.scaled(sign, first.offset)
    return _whole(first, True) if len(sizes) == 1 and name in ROUNDINGS else None


def _whole(size: Size, rounded: bool) -> Size | None:
    """Return a size, unless it is rounded and not known to be whole."""
    whole = size.factor.denominator == size.offset.denominator == 1
    return size if whole or not rounded else None


def _of_export(size: Any) -> Size:
    """Return a size of an exported program: a number, or a formula of SymPy's."""
    if isinstance(size, int | float):
        return constant(size)
    expression = size.node.expr
    symbols = sorted(expression.free_symbols, key=str)
    if len(symbols) == 1:
        factor, offset = expression.coeff(symbols[0], 1), expression.coeff(symbols[0], 0)
        if expression == factor * symbols[0] + offset and factor.is_Rational and offset.is_Rational:
            return unknown(str(symbols[0])).scaled(Fraction(str(factor)), Fraction(str(offset)))
    return unknown(str(expression))


def _through(layers: Chain, sizes: tuple[Size, ...], x: Tensor) -> tuple[Size, ...] | None:
    """Return the sizes of the output of layers, or None where one rounds them."""
    spatial: list[Size] = list(sizes[2:])
    for layer in layers:
        lines = _lines(layer, len(spatial))
        if lines is None:
            return None
        spatial = [size.scaled(*line) for size, line in zip(spatial, lines, strict=True)]
    return (sizes[0], constant(x.shape[1]), *spatial)


def _lines(layer: Layer, ndim: int) -> list[tuple[int, int]] | None:
    """Return (a, b) of each axis where a layer makes a * size + b of a size, else None."""
    axes = next((getattr(layer, name) for name in AXES if hasattr(layer, name)), range(ndim))
    strided = isinstance(layer, Convolution) and max(layer.stride) > 1  # which rounds
    if strided or isinstance(layer, Opaque) or len(axes) != ndim:
        return None
    channels = math.prod(getattr(layer, "factors", (1,)))  # a shuffle takes so many
    at, after = (layer.output_shape((1, channels, *[size] * ndim))[2:] for size in (MANY, MANY + 1))
    return [(b - a, a - (b - a) * MANY) for a, b in zip(at, after, strict=True)]
