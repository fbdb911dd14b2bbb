"""A forward of its own for one module of a model: written by `torch.fx`, kept by pickle and by copies."""

from importlib import import_module
from types import ModuleType
from typing import Any

from torch import fx, nn


def give_forward(owner: nn.Module, graph: fx.Graph) -> None:
    """Give a module the forward of a graph, and leave all else of it as it is."""
    if isinstance(owner, fx.GraphModule):
        owner.graph = graph
        owner.delete_all_unused_submodules()
        return
    code = graph.python_code("self")
    original = getattr(type(owner), "_original_class", type(owner))  # it may have been rewritten before
    # `python_code` writes the same names for the same graph, so what it refers to is kept by name and value.
    owner.__class__ = _with_forward(original, code.src, dict(code.globals))


def _with_forward(original: type[nn.Module], source: str, names: dict[str, Any]) -> type[nn.Module]:
    """Return a subclass of the original class whose forward is compiled from the source.

    Such a class has no place in a module from which pickle could import it, so that its instances are pickled
    as the original class, the source, and their attributes.
    """
    scope = dict(names)
    exec(compile(source, f"<rewritten {original.__name__}>", "exec"), scope)  # noqa: S102 (as torch.fx does)

    def reduce(self: Any) -> tuple[Any, ...]:
        modules = {name: value.__name__ for name, value in names.items() if isinstance(value, ModuleType)}
        others = {name: value for name, value in names.items() if name not in modules}
        return _restore, (original, source, modules, others), self.__getstate__()

    body = {
        "forward": scope["forward"],
        "__reduce__": reduce,
        "__module__": original.__module__,
        "__doc__": original.__doc__,
        "_original_class": original,
    }
    return type(original.__name__, (original,), body)


def _restore(
    original: type[nn.Module], source: str, modules: dict[str, str], others: dict[str, Any]
) -> nn.Module:
    """Return an instance without attributes, which pickle adds."""
    kind = _with_forward(original, source, {n: import_module(name) for n, name in modules.items()} | others)
    return kind.__new__(kind)
