"""Which forwards of a model hold its up-samplers, and their graphs, from a run on the example inputs."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from subpixel.rewriter.pytorch.comparison import copied, difference, run_model
from subpixel.rewriter.pytorch.graph import Scope, Values
from subpixel.rewriter.pytorch.guards import require
from subpixel.rewriter.pytorch.modules import asks_for_classes, is_row
from subpixel.rewriter.pytorch.operators import UP_SAMPLERS, own_kind
from subpixel.rewriter.pytorch.recording.tracer import Tracer
from subpixel.rewriter.rules import strided

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
Users = dict[nn.Module, set[nn.Module | None]]  # who calls it; None if something looks at its weights
SAME = 1e-3  # of the largest output: the same functions in the same order give the same
PAIRED = (nn.Upsample, nn.PixelShuffle)  # what makes a site together with its neighbours
ALONE = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, *PAIRED)


def scopes(model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Scope]:
    """The graphs to search; each up-sampler that ran is in exactly one."""
    names = {module: name for name, module in model.named_modules()}
    callers, users = _callers(model, args, kwargs)
    owners = list(dict.fromkeys(_owner(model, names[caller]) for caller in callers))
    alone = [name for module, name in names.items() if isinstance(module, ALONE) or _few_channels(module)]
    calls, ways = _calls(model, args, kwargs, {*owners, *alone})
    traced = [_traced(model, name, calls[name], len(ways[name]) > 1) for name in owners if name in calls]
    inside = {name for scope in traced for name in _called_modules(scope)}
    found = traced + [
        _alone(model, name, calls[name]) for name in alone if name in calls and name not in inside
    ]
    for scope in found:
        scope.used_elsewhere = {
            names[module]
            for module, by in users.items()
            if module in names
            and any(user is None or _owner(model, names[user]) != scope.prefix for user in by)
        }
    return found


def _callers(
    model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[list[nn.Module], Users]:
    """Modules whose own forward must be seen, as it up-samples, pairs or looks at layers; who uses each."""
    stack: list[nn.Module] = []
    callers: dict[nn.Module, None] = {}
    users: Users = {}

    class Watch(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if _up_samples(function, args) and stack and own_kind(stack[-1]) is None:
                callers[stack[-1]] = None
            return function(*args, **(kwargs or {}))

    def entered(module: nn.Module, *_: Any) -> None:
        if stack and (
            isinstance(module, PAIRED) or (isinstance(module, ALONE) and asks_for_classes(stack[-1]))
        ):
            callers[stack[-1]] = None
        users.setdefault(module, set()).update(stack[-1:])
        stack.append(module)

    def left(*_: Any) -> None:
        stack.pop()

    def read(module: nn.Module) -> None:
        if stack and stack[-1] is not module:
            users.setdefault(module, set()).add(None)

    with _hooked(model.modules(), entered, left), _weights_watched(read), Watch():
        model(*args, **kwargs)
    return list(callers), users


@contextmanager
def _weights_watched(read: Callable[[nn.Module], None]) -> Iterator[None]:
    """Say whose weights are looked at, as in `x.to(self.conv.weight.dtype)`."""
    plain = nn.Module.__getattr__

    def watched(module: nn.Module, name: str) -> Any:
        if name in vars(module).get("_parameters", ()):
            read(module)
        return plain(module, name)

    nn.Module.__getattr__ = watched  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.__getattr__ = plain  # type: ignore[method-assign]


def _up_samples(function: Any, args: tuple[Any, ...]) -> bool:
    """Whether a call may be one; zeros may be inserted by an assignment, or by padding cells of one pixel."""
    name = getattr(function, "__name__", "")
    cells = name == "pad" and isinstance(args[0], Tensor) and args[0].ndim > 5
    return name in UP_SAMPLERS or name == "__setitem__" or cells


def _owner(model: nn.Module, name: str) -> str:
    """The module whose trace shows a caller's neighbours too: rows are part of what holds them."""
    while name and is_row(model.get_submodule(name)):
        name = name.rpartition(".")[0]
        if isinstance(model.get_submodule(name), nn.ModuleList | nn.ModuleDict):
            name = name.rpartition(".")[0]
    return name


def _calls(
    model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], wanted: set[str]
) -> tuple[dict[str, Arguments], dict[str, set[str]]]:
    """The arguments of the largest call of each module, and in which ways it is called."""
    calls: dict[str, Arguments] = {}
    ways: dict[str, set[str]] = {}
    names = {model.get_submodule(name): name for name in wanted}

    def entered(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        ways.setdefault(names[module], set()).add(str(tree_map(_kind, (args, kwargs))))
        before = calls.get(names[module])
        if before is None or _size(before) < _size((args, kwargs)):
            calls[names[module]] = args, kwargs

    with _hooked(names, entered, lambda *_: None):
        model(*args, **kwargs)
    return calls, ways


@contextmanager
def _hooked(modules: Any, entered: Callable[..., None], left: Callable[..., None]) -> Iterator[None]:
    with ExitStack() as handles:
        for module in modules:
            if isinstance(module, torch.jit.ScriptModule):
                continue  # it has no hooks, and no Python to see
            handles.enter_context(module.register_forward_pre_hook(entered, prepend=True, with_kwargs=True))
            handles.enter_context(module.register_forward_hook(left, always_call=True))
        yield


def _traced(model: nn.Module, name: str, call: Arguments, in_many_ways: bool) -> Scope:
    """The graph of a module's forward; where Python hides it, one that says why."""
    owner, tracer = model.get_submodule(name), Tracer(*copied(call))
    try:
        graph = run_model(partial(tracer.trace, owner), (), {}, seed=0)
        if in_many_ways and any(node.target is require for node in graph.nodes):
            raise TypeError("Python branches in it, and it is called in several ways")
        *_, output = graph.nodes
        expected = run_model(owner.forward, *call, seed=0)
        if difference(*map(_tensors, (tracer.values[output], expected))) > SAME:
            raise TypeError("its graph computes something else")
        return Scope(owner, name, graph, tracer.values)
    except Exception as error:  # noqa: BLE001 (whatever the forward of a stranger raises)
        reason = f"the forward of {type(owner).__name__} cannot be traced, {type(error).__name__}: {error}"
        return Scope(owner, name, fx.Graph(), Values(), reason=" ".join(reason.split())[:200])


def _alone(model: nn.Module, name: str, call: Arguments) -> Scope:
    """The graph of a module by itself, called by what is not traced."""
    graph, (args, kwargs) = fx.Graph(), call
    module = model.get_submodule(name)
    x = graph.placeholder("x")
    node = graph.call_module(name, (x, *args[1:]), kwargs)
    values = Values()
    values[x], values[node] = args[0] if args else kwargs.get("input"), module(*args, **kwargs)
    return Scope(model, "", graph, values, alone=True)


def _called_modules(scope: Scope) -> Iterator[str]:
    for node in scope.graph.nodes:
        if node.op == "call_module":
            yield scope.full_name(node.target)


def _few_channels(module: nn.Module) -> bool:
    convolutions = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    return isinstance(module, convolutions) and module.in_channels <= strided.FEW and max(module.stride) > 1


def _size(call: Arguments) -> int:
    return sum(value.numel() for value in (*call[0], *call[1].values()) if isinstance(value, Tensor))


def _tensors(result: Any) -> list[Tensor]:
    return [value for value in tree_leaves(result) if isinstance(value, Tensor)]


def _kind(value: Any) -> Any:
    """What a branch may depend on, but for the numbers in a tensor."""
    return (tuple(value.shape), value.dtype) if isinstance(value, Tensor) else value
