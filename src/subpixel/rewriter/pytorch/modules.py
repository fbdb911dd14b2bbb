"""Questions about modules: whose forward they run, and what else runs when they are called."""

import inspect
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.weight_norm import WeightNorm


def own_forward(module: nn.Module) -> Any:
    """Return the forward of a module's class, or None where the instance has a forward of its own."""
    return None if "forward" in vars(module) else type(module).forward


def is_row(module: nn.Module) -> bool:
    """Say whether a module only calls its children one after another."""
    return own_forward(module) is nn.Sequential.forward


def asks_for_classes(module: nn.Module) -> bool:
    """Say whether a forward may look at the classes of its children."""
    # A decorated forward has the decorator's code; `unwrap` finds its own.
    code = getattr(inspect.unwrap(type(module).forward), "__code__", None)
    return code is not None and not {"isinstance", "type"}.isdisjoint(code.co_names)


def has_hooks(module: nn.Module) -> bool:
    """Say whether more runs than the forward when a module is called.

    A hook that only computes the module's weight does not count.
    """
    before = list(vars(module)["_forward_pre_hooks"].values())
    others = [vars(module)[name] for name in ("_forward_hooks", "_backward_hooks", "_backward_pre_hooks")]
    return any(others) or not all(isinstance(hook, WeightNorm) for hook in before)


def without_sizes(model: nn.Module) -> str | None:
    """Return the name of a lazy module that has not seen an input yet, or None."""
    for name, module in model.named_modules():
        held = [*vars(module)["_parameters"].values(), *vars(module)["_buffers"].values()]
        if any(map(is_lazy, held)):
            return name or type(module).__name__
    return None


def computes_weight(module: nn.Module) -> bool:
    """Say whether the old `weight_norm` computes a module's weight before each call."""
    return any(isinstance(hook, WeightNorm) for hook in vars(module)["_forward_pre_hooks"].values())
