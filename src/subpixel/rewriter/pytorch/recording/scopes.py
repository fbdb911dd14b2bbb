"""Which forwards of a model hold its up-samplers, and their graphs, from a run on the example inputs."""

from collections.abc import Callable, Container, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves, tree_map

from subpixel.rewriter.pytorch.comparison import clone_arguments, difference, run_model
from subpixel.rewriter.pytorch.graph import Scope, Values
from subpixel.rewriter.pytorch.guards import require
from subpixel.rewriter.pytorch.modules import has_hooks, is_row, own_forward
from subpixel.rewriter.pytorch.recording.casts import drop_casts
from subpixel.rewriter.pytorch.recording.lines import line_of_error
from subpixel.rewriter.pytorch.recording.moves import REASONS
from subpixel.rewriter.pytorch.recording.sizes import read_factors
from subpixel.rewriter.pytorch.recording.tracer import Tracer
from subpixel.rewriter.pytorch.recording.watch import ALONE, Seen, hooked, watch
from subpixel.rewriter.rules import strided

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
SAME = 1e-3  # of the largest output: the same functions in the same order give the same
LONGEST = 160  # characters of an error in the report
ADVICE = "Move what up-samples into an nn.Sequential to have it rewritten"


class Recording(NamedTuple):
    """A scope, and the modules whose forward is in its graph."""

    scope: Scope
    forwards: set[nn.Module]


def find_scopes(model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Scope]:
    """Return the graphs to search; each up-sampler that ran is in exactly one."""
    names = {module: name for name, module in model.named_modules()}
    seen = watch(model, args, kwargs)
    inlined = {caller for caller in seen.callers if caller is not model and _only_moves_pixels(caller)}
    candidates = {caller: _candidates(model, names[caller], inlined) for caller in seen.callers}
    alone = [name for module, name in names.items() if isinstance(module, ALONE) or _few_channels(module)]
    wanted = {name for chain in candidates.values() for name in chain}
    calls, ways = _calls(model, args, kwargs, {*wanted, *alone})

    def record(name: str) -> Recording:
        return _recorded(model, name, calls[name], len(ways[name]) > 1, inlined)

    recordings = _first_that_work(candidates, calls, record)
    found = [each for each in recordings if _is_final(each, seen)]
    inside = {name for each in found for name in _called_modules(each.scope)}
    by_root = {module for module, name in names.items() if not _candidates(model, name, set())[0]}
    found += [
        Recording(_alone(model, name, calls[name]), by_root)
        for name in alone
        if name in calls and name not in inside
    ]
    for scope, forwards in found:
        scope.used_elsewhere = {
            names[module] for module, users in seen.users.items() if module in names and not users <= forwards
        }
    return [*(each.scope for each in found), *_moves(names, seen)]


def _only_moves_pixels(module: nn.Module) -> bool:
    """Say whether a module has no weights: what it up-samples can be fused with its neighbours only."""
    plain = own_forward(module) is not None and not has_hooks(module)
    return plain and not is_row(module) and not [*module.parameters(), *module.buffers()]


def _candidates(model: nn.Module, name: str, inlined: set[nn.Module]) -> list[str]:
    """Return the modules whose graph may show a caller's forward, the best first, the caller last.

    Rows, and what is inlined, are part of what holds them, so that its graph shows their neighbours too.
    """
    chain = [name]
    while name and (is_row(module := model.get_submodule(name)) or module in inlined):
        name = name.rpartition(".")[0]
        if isinstance(model.get_submodule(name), nn.ModuleList | nn.ModuleDict):
            name = name.rpartition(".")[0]
        chain.insert(0, name)
    return chain


def _first_that_work(
    candidates: Mapping[nn.Module, list[str]], calls: Container[str], record: Callable[[str], Recording]
) -> list[Recording]:
    """Record for each caller the first of its candidates that shows its forward; with those that failed."""
    recorded: dict[str, Recording] = {}
    for caller, chain in candidates.items():
        for name in (name for name in chain if name in calls):
            if name not in recorded:
                recorded[name] = record(name)
            if caller in recorded[name].forwards:
                break
    return list(recorded.values())


def _is_final(recording: Recording, seen: Seen) -> bool:
    """Say whether a recording is to be searched, or its reason to be shown: that of a certain up-sampler."""
    return recording.scope.reason is None or seen.callers.get(recording.scope.owner, False)


def _calls(
    model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], wanted: set[str]
) -> tuple[dict[str, Arguments], dict[str, set[str]]]:
    """Return the arguments of the largest call of each module, and in which ways it is called."""
    args, kwargs = clone_arguments((args, dict(kwargs)))
    calls: dict[str, Arguments] = {}
    ways: dict[str, set[str]] = {}
    names = {model.get_submodule(name): name for name in wanted}

    def entered(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        ways.setdefault(names[module], set()).add(str(tree_map(_kind, (args, kwargs))))
        # Times at the largest size decide, for most of the time goes there.
        before = calls.get(names[module])
        if before is None or _size(before) < _size((args, kwargs)):
            calls[names[module]] = tree_map(lambda leaf: leaf, (args, kwargs))  # lists may change in the call

    with hooked(names, entered, lambda *_: None):
        model(*args, **kwargs)
    return calls, ways


def _recorded(
    model: nn.Module, name: str, call: Arguments, in_many_ways: bool, inlined: set[nn.Module]
) -> Recording:
    """Record the forward of a module; where Python hides it, give a scope that says why."""
    owner, (args, kwargs) = model.get_submodule(name), clone_arguments(call)
    tracer = Tracer(args, kwargs, inlined)
    try:
        graph = run_model(partial(tracer.trace, owner), (), {}, seed=0)
        # The guards of one way would refuse the others.
        if in_many_ways and any(node.target is require for node in graph.nodes):
            raise TypeError("Python branches in it, and it is called in several ways")
        # Python may have asked for a class, or for random numbers of its own, which no guard sees.
        *_, output = graph.nodes
        expected = run_model(owner.forward, *call, seed=0)
        if difference(*map(_tensors, (tracer.values[output], expected))) > SAME:
            raise TypeError("its graph computes something else")
        scope = Scope(owner, name, graph, tracer.values, fixed_sizes=tracer.fixed_sizes)
        read_factors(scope)
        drop_casts(scope)
    except Exception as error:  # noqa: BLE001 (whatever the forward of a stranger raises)
        return Recording(Scope(owner, name, fx.Graph(), Values(), reason=_reason(owner, error)), set())
    return Recording(scope, {owner, *tracer.forwards})


def _reason(owner: nn.Module, error: Exception) -> str:
    message = " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST].rstrip(".")
    where = f" ({line})" if (line := line_of_error(error)) else ""
    return f"the forward of {type(owner).__name__} cannot be traced, {message}{where}. {ADVICE}"


def _moves(names: Mapping[nn.Module, str], seen: Seen) -> Iterator[Scope]:
    """Yield the modules that up-sample by moving pixels, which no rule reads."""
    for module, kind in seen.moves:
        yield Scope(module, names[module], fx.Graph(), Values(), reason=REASONS[kind], was=kind)


def _alone(model: nn.Module, name: str, call: Arguments) -> Scope:
    """Return the call of one module as a graph, for a module that is in no recorded forward."""
    graph, (args, kwargs) = fx.Graph(), call
    module = model.get_submodule(name)
    x = graph.placeholder("x")
    if args:
        node = graph.call_module(name, (x, *args[1:]), kwargs)
    else:
        node = graph.call_module(name, (), kwargs | {"input": x})
    values = Values()
    values[x], values[node] = args[0] if args else kwargs["input"], module(*args, **kwargs)
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
    """Return what a branch may depend on, except for the numbers in a tensor."""
    return (tuple(value.shape), value.dtype) if isinstance(value, Tensor) else value
