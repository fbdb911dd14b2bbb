"""The forward of one module as a graph, by running it: its children are leaves, its sizes stay symbolic.

Each value is computed as the graph is recorded, so that Python may branch on it. What it branched on becomes
a guard in the graph: a call that would branch another way is an error, not a wrong result.
"""

import builtins
import inspect
import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn
from torch.fx.node import map_aggregate
from torch.utils._pytree import tree_leaves, tree_map

from subpixel.rewriter.pytorch.graph import Value, Values
from subpixel.rewriter.pytorch.guards import require
from subpixel.rewriter.pytorch.modules import has_hooks, is_row, own_forward

PLAIN = (type(None), bool, str)  # what Python compares by identity or branches on is recorded as it is


class Witness(fx.Proxy):
    """A proxy that knows its value in the example."""

    tracer: "Tracer"

    @property
    def value(self) -> Value:
        """What it is in the example."""
        return self.tracer.values[self.node]

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.value, name)
        if callable(found):
            return super().__getattr__(name)  # a method, to be called
        return self.tracer.create_proxy("call_function", getattr, (self, name), {})

    def __setitem__(self, index: Any, value: Any) -> None:
        arguments: Any = self.tracer.create_arg((self, index, value))
        self.tracer.create_node("call_function", operator.setitem, arguments, {})

    def __len__(self) -> int:
        return self.tracer.fixed(self.tracer.create_proxy("call_function", len, (self,), {}))  # type: ignore[no-any-return]

    def __index__(self) -> int:
        return operator.index(self.tracer.fixed(self))

    def __int__(self) -> int:
        return int(self.tracer.fixed(self))

    def __float__(self) -> float:
        return float(self.tracer.fixed(self))

    def __format__(self, spec: str) -> str:
        return format(self.tracer.fixed(self), spec)

    def __str__(self) -> str:
        return format(self)

    def __contains__(self, item: object) -> bool:
        found: bool = self.tracer.create_proxy("call_function", operator.contains, (self, item), {})
        return found


@contextmanager
def _seen_through() -> Iterator[None]:
    """Let `isinstance` ask what a proxy stands for.

    Its `__class__` must not lie: C++ would take the proxy for the tensor that it is not, and crash.
    """
    plain = builtins.isinstance

    def seen_through(value: Any, kinds: Any) -> bool:
        return plain(value, kinds) or (type(value) is Witness and plain(value.value, kinds))

    builtins.isinstance = seen_through
    try:
        yield
    finally:
        builtins.isinstance = plain


class Tracer(fx.Tracer):
    """Records the forward of a module with the example that it was called with.

    Attributes:
        values: of every node in the example.
    """

    proxy_buffer_attributes = True

    def __init__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        super().__init__()
        self.values = Values()
        self._call = args, kwargs
        self._given: dict[str, Value] = {}
        self._computing = False

    def trace(self, root: nn.Module, concrete_args: dict[str, Any] | None = None) -> fx.Graph:  # type: ignore[override]
        """Record the forward of `root`."""
        if own_forward(root) is None:
            raise TypeError("the instance has another one than its class")
        args, kwargs = self._call
        signature = inspect.signature(root.forward)
        kinds = {parameter.kind for parameter in signature.parameters.values()}
        if {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.KEYWORD_ONLY} <= kinds:
            raise TypeError("a graph takes no arguments by name alone behind *args")
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        self._given = bound.arguments
        before, self._random = _attributes(root), torch.get_rng_state()
        self._autocast = autocast()
        try:
            with _seen_through():
                graph = super().trace(root, concrete_args)
        finally:
            changed = _restored(root, before)
        if changed:
            raise TypeError(f"it changes {', '.join(changed)} of itself, which a graph does not")
        return graph

    def proxy(self, node: fx.Node) -> Witness:
        """See `fx.Tracer`."""
        return Witness(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002
        """All children are leaves, but rows of modules."""
        return not is_row(m) or has_hooks(m)

    def create_node(
        self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **named: Any
    ) -> fx.Node:
        """Record a node, and what it gives in the example."""
        values = map_aggregate((args, kwargs), lambda a: self.values[a] if isinstance(a, fx.Node) else a)
        self._computing = True  # what runs for its value is not recorded
        arguments: Any = values
        if not torch.equal(self._random, torch.get_rng_state()):
            raise TypeError("it draws random numbers that depend on no input, which a graph would repeat")
        if self._autocast != autocast():
            raise TypeError("it switches autocast, which a graph does not")
        value = self._run(kind, target, *arguments)
        self._random = torch.get_rng_state()
        self._computing = False
        node = super().create_node(kind, target, args, kwargs, *rest, **named)
        self.values[node] = value
        return node

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """See `fx.Tracer`."""
        return forward(*args, **kwargs) if self._computing else super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """See `fx.Tracer`."""
        return attr_val if self._computing else super().getattr(attr, attr_val, parameter_proxy_cache)

    def create_arg(self, a: Any) -> Any:
        """See `fx.Tracer`, which takes what says that it is a tensor for a constant."""
        return a.node if isinstance(a, fx.Proxy) else super().create_arg(a)

    def create_proxy(self, *args: Any, **kwargs: Any) -> Any:
        """Give what Python may compare by identity as it is, all else as a proxy."""
        proxy: Any = super().create_proxy(*args, **kwargs)
        if isinstance(proxy.value, PLAIN):
            return self.fixed(proxy)
        if proxy.node.op == "placeholder" and proxy.node.args == (None,):  # given, which it need not be
            self.create_proxy("call_function", operator.is_, (proxy, None), {})
        return proxy

    def fixed(self, proxy: Any) -> Value:
        """The value in the example, from now on required."""
        value = self.values[proxy.node]
        if isinstance(value, torch.Tensor):
            value = value.item()
        self.create_node("call_function", require, (proxy.node, value, type(self.root).__name__), {})
        return value

    def to_bool(self, obj: Any) -> bool:
        """What Python branches on."""
        return bool(self.fixed(obj))

    def iter(self, obj: Any) -> Iterator[Any]:
        """As many items as in the example."""
        return iter([obj[index] for index in range(len(obj))])

    def keys(self, obj: Any) -> Any:
        """The keys in the example."""
        return list(self.values[obj.node])

    def _run(self, kind: str, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Value:
        if kind == "placeholder":
            return self._given[target.lstrip("*")]
        if kind == "get_attr":
            return operator.attrgetter(target)(self.root)
        if kind == "call_method":
            receiver, *others = args
            return getattr(receiver, target)(*others, **kwargs)
        if kind == "output":
            return args[0]
        call: Callable[..., Any] = self.root.get_submodule(target) if kind == "call_module" else target
        return call(*args, **kwargs)


def autocast() -> list[tuple[bool, torch.dtype]]:
    """What precision each kind of device computes in of its own accord, if any."""
    kinds = ("cpu", "cuda")
    return [(torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in kinds]


def _attributes(module: nn.Module) -> dict[str, Value]:
    """What a module holds, in copies of its lists and dicts; but for the constants of a graph."""
    held = {name: value for name, value in vars(module).items() if not name.startswith("_tensor_constant")}
    return {name: tree_map(lambda leaf: leaf, value) for name, value in held.items()}


def _restored(module: nn.Module, before: Mapping[str, Value]) -> list[str]:
    """Give a module its attributes back; the names of those that had changed."""
    after = _attributes(module)
    changed = [name for name in {**before, **after} if _leaves(before, name) != _leaves(after, name)]
    for name in changed:
        del vars(module)[name]
    vars(module).update({name: before[name] for name in changed if name in before})
    return changed


def _leaves(attributes: Mapping[str, Value], name: str) -> list[int]:
    return [id(leaf) for leaf in tree_leaves(attributes[name])] if name in attributes else []
