"""The forward of one module as a graph, by running it: its children are leaves, its sizes stay symbolic.

Each value is computed as the graph is recorded, so that Python may branch on it. What it branched on becomes
a guard in the graph: a call that would branch another way is an error, not a wrong result.
"""

import inspect
import operator
import sys
from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from subpixel.rewriter.pytorch.graph import FixedSize, Value, Values
from subpixel.rewriter.pytorch.guards import require
from subpixel.rewriter.pytorch.modules import has_hooks, is_row, own_forward
from subpixel.rewriter.pytorch.recording.lines import line_of_frame
from subpixel.rewriter.pytorch.recording.patches import patched, with_recorded_int
from subpixel.rewriter.pytorch.recording.sizes import depends_on_size
from subpixel.rewriter.pytorch.recording.witness import Witness, has_witness

PLAIN = (type(None), bool, str)  # what Python compares by identity or branches on is recorded as it is


class Tracer(fx.Tracer):
    """Records the forward of a module with the example that it was called with.

    Args:
        args: of the call.
        kwargs: of the call.
        inlined: the children whose forward is recorded in the place of their call.

    Attributes:
        values: what each node gives in the example.
        fixed_sizes: the numbers that depend on a size of the input and that Python made constant.
        forwards: the children whose forward is in the graph, rows for example.
    """

    def __init__(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], inlined: Container[nn.Module] = ()
    ) -> None:
        super().__init__()
        self.values = Values()
        self.fixed_sizes: list[FixedSize] = []
        self.forwards: set[nn.Module] = set()
        self._call, self._inlined = (args, kwargs), inlined
        self._given: dict[str, Value] = {}
        self._proxies: dict[str, Any] = {}  # of parameters and buffers, by name
        self._lists: list[_RecordedList] = []
        self._computing = False

    def trace(self, root: nn.Module, concrete_args: dict[str, Any] | None = None) -> fx.Graph:  # type: ignore[override]  # noqa: ARG002
        """Record the forward of `root`.

        `fx.Tracer.trace` is not called: it patches `nn.Module` for all threads.
        """
        self._given = _arguments(root, *self._call)
        self.root, self.graph = root, fx.Graph()
        # `fx.Tracer` looks into these for the names of modules, and of tensors that are no parameters.
        self.submodule_paths = {module: name for name, module in root.named_modules()}
        self.tensor_attrs = {value: name for name, value in _plain_tensors(root)}
        before, seed = _attributes(root), torch.initial_seed()
        self._autocast = autocast()
        names = inspect.unwrap(type(root).forward).__globals__
        try:
            with _Draws(self) as mode:
                mode.import_compiler()
            with patched(self, names), _Draws(self):
                result = self._run_forward(root)
                self._settle(before)
                self.create_node("output", "output", (self.create_arg(result),), {})
        finally:
            changed = _restored(root, before)
        if changed:
            raise TypeError(f"it changes {', '.join(changed)} of itself, which a graph does not")
        if seed != torch.initial_seed():
            raise TypeError("it seeds the random numbers, which a graph does not")
        return self.graph

    def _run_forward(self, root: nn.Module) -> Any:
        """Call the forward with a placeholder for each argument, by position or by name as in the example.

        `fx.Tracer.create_args_for_root` patches the code of forwards with *args or **kwargs, which fails for
        decorated ones.
        """
        positional: list[Any] = []
        named: dict[str, Any] = {}
        for index, parameter in enumerate(inspect.signature(root.forward).parameters.values()):
            value, name = self._placeholder(parameter), parameter.name
            by_position = index < len(self._call[0])
            if parameter.kind is parameter.VAR_POSITIONAL:
                positional += [value[item] for item in range(len(value))]
            elif parameter.kind is parameter.VAR_KEYWORD:
                self.fixed(self.create_proxy("call_function", sorted, (value,), {}))
                named |= {key: value[key] for key in value.value}
            elif hasattr(type(root).forward, "__wrapped__") and not by_position and name not in self._call[1]:
                if type(value) is Witness:
                    self.fixed(value)  # a decorator may give the forward another default
            elif by_position or parameter.kind is parameter.POSITIONAL_ONLY:
                positional.append(self._unpacked(value))
            else:
                named[name] = self._unpacked(value)
        return with_recorded_int(type(root).forward, self)(root, *positional, **named)

    def _placeholder(self, parameter: inspect.Parameter) -> Any:
        name, default = str(parameter).partition(":")[0].partition("=")[0], parameter.default
        return self.create_proxy("placeholder", name, () if default is parameter.empty else (default,), {})

    def proxy(self, node: fx.Node) -> Witness:
        """See `fx.Tracer`."""
        return Witness(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002
        """All children are leaves, except rows of modules and those that are to be inlined."""
        return not (is_row(m) or m in self._inlined) or has_hooks(m)

    def create_node(
        self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **named: Any
    ) -> fx.Node:
        """Record a node, and what it gives in the example."""
        if self._autocast != autocast():
            raise TypeError("it switches autocast, which a graph does not")
        arguments: Any = map_aggregate(
            (args, kwargs), lambda a: self.values[a] if isinstance(a, fx.Node) else a
        )
        self._computing = True  # what runs for its value is not recorded
        try:
            value = self._run(kind, target, *arguments)
        finally:
            self._computing = False
        node = super().create_node(kind, target, args, kwargs, *rest, **named)
        self.values[node] = value
        return node

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """See `fx.Tracer`; a list among the arguments is a node, as the module may change it."""
        if self._computing:
            return forward(*args, **kwargs)
        if not self.is_leaf_module(m, ""):
            self.forwards.add(m)
            return super().call_module(m, forward, args, kwargs)
        given = [each for each in (*args, *kwargs.values()) if type(each) is list and has_witness(each)]
        # The graph makes a list of the same items, calls the module with it, and reads the items again.
        lists = {id(each): self._list_node(each) for each in given}
        args, kwargs = (
            tuple(lists.get(id(each), each) for each in args),
            {name: lists.get(id(each), each) for name, each in kwargs.items()},
        )
        before = {id(each): list(lists[id(each)].value) for each in given}
        result = super().call_module(m, forward, args, kwargs)
        for each in given:
            passed: Any = lists[id(each)]
            if not _same(passed.value, before[id(each)]):
                each[:] = [passed[index] for index in range(len(passed.value))]
        return result

    def attribute(self, value: Any) -> Any:
        """Return the proxy of a parameter or buffer that a forward reads; all else as it is."""
        # `fx.Tracer.getattr` goes by the value alone, so that it needs no name.
        return value if self._computing else self.getattr("", value, self._proxies)

    def create_arg(self, a: Any) -> Any:
        """See `fx.Tracer`, which would take what `isinstance` calls a tensor for a constant."""
        return a.node if type(a) is Witness else super().create_arg(a)

    def create_proxy(self, *args: Any, **kwargs: Any) -> Any:
        """Record a call, and return its proxy; or its value, where Python may compare that by identity."""
        proxy: Any = super().create_proxy(*args, **kwargs)
        if isinstance(proxy.value, PLAIN):
            return self.fixed(proxy)
        if proxy.node.op != "placeholder":
            return self._unpacked(proxy)
        if proxy.node.args == (None,):  # given, which it need not be
            self.create_proxy("call_function", operator.is_, (proxy, None), {})
        return proxy

    def fixed(self, proxy: Any) -> Value:
        """Return the value in the example, from now on required."""
        value = self.values[proxy.node]
        if isinstance(value, Tensor):
            value = value.item()  # that of one element, for Python can branch on no other
        self.create_node("call_function", require, (proxy.node, value, type(self.root).__name__), {})
        if self.is_size(proxy):
            self.fixed_sizes.append(FixedSize(value, line_of_frame(sys._getframe())))  # noqa: SLF001 (`inspect` reads the source of every frame)
        return value

    def is_size(self, proxy: Any) -> bool:
        """Say whether a number depends on a size of the input, so that it is another one in other calls."""
        return type(self.values[proxy.node]) in (int, float) and depends_on_size(proxy.node, self.values)

    def to_bool(self, obj: Any) -> bool:
        """Return what Python branches on."""
        return bool(self.fixed(obj))

    def iter(self, obj: Any) -> Iterator[Any]:
        """Iterate over as many items as in the example."""
        if not hasattr(type(obj.value), "__getitem__") or isinstance(
            obj.value, Mapping
        ):  # the views of a dict
            obj = self.proxy(self.create_node("call_function", list, (obj.node,), {}))
        return iter([obj[index] for index in range(len(obj))])

    def keys(self, obj: Any) -> Any:
        """Return the keys in the example."""
        return list(self.values[obj.node])

    def _run(self, kind: str, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Value:
        if kind == "placeholder":
            return self._given[target.lstrip("*")]
        if kind == "get_attr":
            value = operator.attrgetter(target)(self.root)
            return value.value if type(value) is Witness else value  # set again by the forward
        if kind == "call_method":
            receiver, *others = args
            return getattr(receiver, target)(*others, **kwargs)
        if kind == "output":
            return args[0]
        call: Callable[..., Any] = self.root.get_submodule(target) if kind == "call_module" else target
        return call(*args, **kwargs)

    def _unpacked(self, given: Any) -> Any:
        """Return a list or tuple of tensors as one of proxies: C++ takes no proxy for a list."""
        value = given.value if type(given) is Witness else None
        if type(value) not in (list, tuple) or not any(
            isinstance(leaf, Tensor) for leaf in tree_leaves(value)
        ):
            return given
        items = [given[index] for index in range(len(given))]
        if type(value) is tuple:
            return tuple(items)
        self._lists.append(_RecordedList(given, items, list(items)))
        return items

    def _list_node(self, items: list[Any]) -> Witness:
        return self.proxy(self.create_node("call_function", list, (self.create_arg(items),), {}))

    def _settle(self, before: Mapping[str, Value]) -> None:
        """Record what the forward leaves: lists that it changed, attributes that it only set again."""
        for each in self._lists:
            if not _same(each.items, each.before):
                arguments: Any = self.create_arg((each.witness, slice(None), each.items))
                self.create_node("call_function", operator.setitem, arguments, {})
        # In another precision the forward would set another tensor, and keep it: that is guarded against.
        for held, old in ((vars(self.root), before), (vars(self.root)["_buffers"], before["_buffers"])):
            for name, value in list(held.items()):
                if type(value) is Witness and name in old and value.value is old[name]:
                    held[name] = old[name]
                    self.create_proxy("call_function", operator.is_, (value, old[name]), {})


class _RecordedList(NamedTuple):
    """A list that the forward got, its items as it has them now, and as it got them."""

    witness: Witness
    items: list[Any]
    before: list[Any]


class _Draws(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses random numbers that are drawn outside of the graph, which would be the same in each call."""

    def __init__(self, tracer: Tracer) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tracer = tracer

    def import_compiler(self) -> None:
        """Have PyTorch import its compiler, as it does at the first call in a mode.

        The compiler keeps tables of the functions of `math` and of PyTorch, which must be the real ones.
        """
        torch.zeros(1).add(1)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in function.tags and not self.tracer._computing:  # noqa: SLF001
            raise TypeError("it draws random numbers that depend on no input, which a graph would repeat")
        return function(*args, **(kwargs or {}))


def autocast() -> list[tuple[bool, torch.dtype]]:
    """Return the precision that each kind of device computes in of its own accord, if any."""
    kinds = ("cpu", "cuda")
    return [(torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in kinds]


def _arguments(root: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Value]:
    """Return the arguments of a call by the names that the forward gives them."""
    if own_forward(root) is None:
        raise TypeError("the instance has another forward than its class")
    signature = inspect.signature(root.forward)
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    if {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.KEYWORD_ONLY} <= kinds:
        raise TypeError("a graph takes no arguments by name alone after *args")
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    return bound.arguments


def _plain_tensors(root: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Return the tensors that modules hold as plain attributes, by their names in the root."""
    for prefix, module in root.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, Tensor):
                yield (f"{prefix}.{name}" if prefix else name), value


def _attributes(module: nn.Module) -> dict[str, Value]:
    """Return what a module holds, in copies of its lists and dicts, without the constants of a graph."""
    held = {name: value for name, value in vars(module).items() if not name.startswith("_tensor_constant")}
    return {name: tree_map(lambda leaf: leaf, value) for name, value in held.items()}


def _restored(module: nn.Module, before: Mapping[str, Value]) -> list[str]:
    """Give a module its attributes back, and return the names of those that had changed."""
    after = _attributes(module)
    changed = [name for name in {**before, **after} if _leaves(before, name) != _leaves(after, name)]
    for name in changed:
        del vars(module)[name]
    vars(module).update({name: before[name] for name in changed if name in before})
    return changed


def _leaves(attributes: Mapping[str, Value], name: str) -> list[int]:
    return [id(leaf) for leaf in tree_leaves(attributes[name])] if name in attributes else []


def _same(items: list[Any], others: list[Any]) -> bool:
    """Say whether two lists hold the same objects; equality would compare tensors."""
    return list(map(id, items)) == list(map(id, others))
