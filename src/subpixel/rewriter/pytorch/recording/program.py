"""Exported programs: their graph for the search, and a changed module as a program again."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx, nn
from torch.export import Dim, ExportedProgram
from torch.utils._pytree import tree_unflatten

from subpixel.rewriter.pytorch.graph import Scope, Values
from subpixel.rewriter.pytorch.recording.moves import REASONS, Moves
from subpixel.rewriter.pytorch.recording.sizes import read_factors


def as_module(program: ExportedProgram) -> nn.Module:
    """Return the program as a module without checks of sizes, which the final program makes again."""
    options = (
        {"check_guards": False} if "check_guards" in inspect.signature(program.module).parameters else {}
    )
    return program.module(**options)


def record_program(model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Scope]:
    """Return the one graph of a program, with the values of the example, and what moves pixels in it."""
    assert isinstance(model, fx.GraphModule)
    values, moves = Values(), Moves()
    moved: list[tuple[fx.Node, str]] = []

    class Watcher(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            values[n] = super().run_node(n)
            # Operators of aten do not come by a mode of functions, so they are looked at here.
            arguments, named = self.fetch_args_kwargs_from_env(n)
            name = getattr(n.target, "__name__", "").partition(".")[0]
            if n.op == "call_function" and (kind := moves.kind(name, arguments, named, values[n])):
                moved.append((n, kind))
            return values[n]

    Watcher(model).run(*args, *kwargs.values())
    scope = Scope(model, "", model.graph, values)
    read_factors(scope)
    others = (Scope(model, n.name, fx.Graph(), Values(), reason=REASONS[kind], was=kind) for n, kind in moved)
    return [scope, *others]


def export_like(
    program: ExportedProgram, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> ExportedProgram:
    """Export a module that came from a program, with sizes that are as free as those of the program."""
    return torch.export.export(model, args, kwargs, dynamic_shapes=_dynamic_shapes(program, kwargs))


def _dynamic_shapes(program: ExportedProgram, kwargs: Mapping[str, Any]) -> Any:
    inputs = set(program.graph_signature.user_inputs)
    nodes = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in inputs]
    dims: dict[str, Any] = {}
    specs = [_spec(program, node.meta.get("val"), dims) for node in nodes]
    if not dims:
        return None
    by_position, by_name = tree_unflatten(specs, program.call_spec.in_spec)
    if not kwargs:
        return by_position
    names = list(inspect.signature(as_module(program).forward).parameters)
    return dict(zip(names, by_position, strict=False)) | by_name


def _spec(program: ExportedProgram, value: Any, dims: dict[str, Any]) -> dict[int, Any] | None:
    if not isinstance(value, torch.Tensor):
        return None
    sizes: list[Any] = list(value.shape)
    free = {axis: size for axis, size in enumerate(sizes) if isinstance(size, torch.SymInt)}
    return {axis: _dim(program, size, dims) for axis, size in free.items()} or None


def _dim(program: ExportedProgram, size: torch.SymInt, dims: dict[str, Any]) -> Any:
    expression = size.node.expr
    name = str(expression)
    if name not in dims:
        limits = program.range_constraints.get(expression)
        if not expression.is_symbol or limits is None:
            dims[name] = Dim.AUTO
        else:
            low, high = (int(limit) if limit.is_Integer else None for limit in (limits.lower, limits.upper))
            dims[name] = Dim(name, min=low, max=high)
    return dims[name]
