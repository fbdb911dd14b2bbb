"""A recorded forward, or an exported program, as the search sees it."""

import operator
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from subpixel.rewriter.layers import Chain, Opaque, Pointwise
from subpixel.rewriter.pytorch.insertion import canvas, zero_insertions
from subpixel.rewriter.pytorch.operators import (
    POINTWISE_NAMES,
    READERS,
    UP_SAMPLERS,
    function_of,
    read_module,
)
from subpixel.rewriter.sites import Site, find, up_samples

Value = Any


class Values(dict[fx.Node, Value]):
    """The values that nodes give in the example, by node."""

    def __init__(self) -> None:
        super().__init__()
        self._versions: dict[fx.Node, int] = {}

    def __setitem__(self, node: fx.Node, value: Value) -> None:
        super().__setitem__(node, value)
        self._versions[node] = _version(value)

    def changed_in_place(self) -> set[fx.Node]:
        """Return the nodes whose tensor was written to after the node gave it, for example through a view."""
        return {node for node, value in self.items() if _version(value) != self._versions[node]}


def _version(value: Value) -> int:
    """Return PyTorch's count of the writes to a tensor's memory."""
    tracked = isinstance(value, torch.Tensor) and not value.is_inference()
    return value._version if tracked else 0  # noqa: SLF001 (there is no public way)


class FixedSize(NamedTuple):
    """A number that depends on the input's size, and that a recorded forward has as a constant.

    Attributes:
        value: the number.
        line: where in the user's code Python asked for it, for example "net.py, line 7: range(h)".
    """

    value: float
    line: str

    def __str__(self) -> str:
        return f"{self.value!r} in {self.line}"


class Scope:
    """One forward of a model, or one call of a module, as the search sees it (see `sites.Graph`).

    Args:
        owner: the module whose forward it is.
        prefix: the owner's name in the model.
        graph: the nodes of the forward; none where it could not be recorded.
        values: what each node gives in the example.
        alone: whether it is a call of one module rather than the owner's forward.
        reason: why nothing of the forward can be changed, or None.
        was: what up-samples there, if there is a reason.
        fixed_sizes: the numbers by which a rewritten forward takes inputs of the example's size only.

    Attributes:
        used_elsewhere: names in the model of modules that another forward calls, or whose weights it reads.
    """

    def __init__(
        self,
        owner: nn.Module,
        prefix: str,
        graph: fx.Graph,
        values: Values,
        *,
        alone: bool = False,
        reason: str | None = None,
        was: str = "up-sampler",
        fixed_sizes: Sequence[FixedSize] = (),
    ) -> None:
        self.owner, self.prefix, self.graph, self.values = owner, prefix, graph, values
        self.alone, self.reason, self.was = alone, reason, was
        self.fixed_sizes = tuple(fixed_sizes)
        self.used_elsewhere: set[str] = set()
        self._changed = values.changed_in_place()
        self._layers: dict[fx.Node, Chain] = dict(zero_insertions(graph, values))
        self._constant: dict[fx.Node, bool] = {}

    def sites(self) -> list[Site[fx.Node]]:
        """Return the up-samplers of the forward; a single one where there is a reason to change nothing."""
        if self.reason is None:
            return find(self)
        path = self.prefix or type(self.owner).__name__
        return [Site(path, (), (), self.was, None, self.reason)]

    def nodes(self) -> Iterable[fx.Node]:
        """See `Graph`."""
        return self.graph.nodes

    def layers(self, node: fx.Node) -> Chain:
        """See `Graph`."""
        if node not in self._layers:
            self._layers[node] = self._read(node)
        return self._layers[node]

    def source(self, node: fx.Node) -> fx.Node | None:
        """See `Graph`.

        There is none where something else changes the source in place, or where others read the change.
        """
        if (assignment := canvas(node)) in self._layers:
            return assignment
        source = data_input(node)
        alone = in_place(node, self.owner) and source is not None and len(source.users) == 1
        return None if source in self._changed and not alone else source

    def shared(self, node: fx.Node) -> bool:
        """See `Graph`."""
        return len(node.users) > 1

    def path(self, node: fx.Node) -> str:
        """See `Graph`."""
        return self.full_name(local_name(node))

    def name(self, site: Site[fx.Node]) -> str:
        """Return the name of a site within the owner."""
        return site.path.removeprefix(f"{self.prefix}.") if self.prefix else site.path

    def full_name(self, target: object) -> str:
        """Return the name in the model of what the owner has under the name `target`."""
        return f"{self.prefix}.{target}" if self.prefix else str(target)

    def constant(self, node: fx.Node) -> bool:
        """Say whether a node depends on parameters and buffers alone."""
        if node not in self._constant:
            inputs = node.all_input_nodes
            self._constant[node] = node.op == "get_attr" or (bool(inputs) and all(map(self.constant, inputs)))
        return self._constant[node]

    def _read(self, node: fx.Node) -> Chain:
        source = data_input(node)
        x = None if source is None else self.values[source]
        # From a signal without a batch to a batch of volumes.
        if not isinstance(x, Tensor) or not isinstance(self.values[node], Tensor) or not 2 <= x.ndim <= 5:
            return ()
        layers = self._read_call(node, source, x)
        if x.is_complex():
            return (Opaque("it computes with complex numbers"),) if up_samples(layers) else ()
        return layers

    def _read_call(self, node: fx.Node, source: fx.Node | None, x: Tensor) -> Chain:
        if node.op == "call_module":
            return read_module(self.owner.get_submodule(str(node.target)), x, node)
        name, named = function_of(node)
        arguments = {key: self._fixed(value) for key, value in named.items() if value is not source}
        if name in READERS:
            # Only what up-samples is in the report, with its reason; no chain goes through the others.
            if any(_at_run_time(value) for value in arguments.values()):
                return (Opaque("its size or weight is computed at run time"),) if name in UP_SAMPLERS else ()
            return READERS[name](arguments, x, node)
        plain = not any(isinstance(value, Tensor) or _at_run_time(value) for value in arguments.values())
        return (Pointwise(node),) if name in POINTWISE_NAMES and plain else ()

    def _fixed(self, argument: Any) -> Any:
        """Return an argument of every call, or `_AT_RUN_TIME` where it depends on the input."""
        if isinstance(argument, fx.Node):
            return self.values[argument] if self.constant(argument) else _AT_RUN_TIME
        if isinstance(argument, list | tuple):
            return tuple(map(self._fixed, argument))
        return argument


_AT_RUN_TIME = object()


def _at_run_time(value: Any) -> bool:
    return value is _AT_RUN_TIME or (isinstance(value, tuple) and any(map(_at_run_time, value)))


def local_name(node: fx.Node) -> str:
    """Return a module's name in its owner, or the node's name where a function is called."""
    return str(node.target) if node.op == "call_module" else node.name


def data_input(node: fx.Node) -> fx.Node | None:
    """Return the first argument, or what an assignment assigns, if that is a node."""
    if node.op not in ("call_module", "call_function", "call_method"):
        return None
    first = node.args[0] if node.args else node.kwargs.get("input")
    if node.target is operator.setitem:
        first = node.args[2]
    return first if isinstance(first, fx.Node) else None


def in_place(user: fx.Node, owner: nn.Module) -> bool:
    """Say whether a node changes what it reads."""
    if user.op == "call_module":
        return bool(getattr(owner.get_submodule(str(user.target)), "inplace", False))
    name = str(user.target) if user.op == "call_method" else getattr(user.target, "__name__", "")
    name = name.partition(".")[0]  # an operator's overload
    changes = name.endswith("_") and not name.endswith("__")
    return changes or name == "setitem" or "out" in user.kwargs or bool(user.kwargs.get("inplace"))
