"""Copies of a model that share its weights while they are compared, so that memory stays low."""

import copy
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from subpixel.rewriter.pytorch.comparison import run_model


def copy_model(model: nn.Module, *, share: bool) -> nn.Module:
    """Return a copy of a model: all is its own, except the memory of the parameters if that is shared."""
    # `deepcopy` takes what its memo has for the copy.
    shared = _plain(model).values() if share else ()
    memo: dict[int, Any] = {id(each): nn.Parameter(each.detach(), each.requires_grad) for each in shared}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PyTorch's own, about a program's tree of arguments
        return copy.deepcopy(model, memo)


def first_copy(
    model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, share: bool
) -> nn.Module:
    """Return a copy of a model as its user gives it, which PyTorch may refuse to copy.

    It does where the old `weight_norm` computed a weight that carries the graph of its gradient. A run
    without gradients computes the weight anew; such a model is run itself, this once.
    """
    try:
        return copy_model(model, share=share)
    except RuntimeError:
        run_model(model, args, kwargs, seed=0)
        return copy_model(model, share=share)


def share_weights(copied: nn.Module, original: nn.Module) -> bool:
    """Let a copy that was run share the memory of the original's parameters; return whether it may.

    It may not where they differ: such a forward writes to its parameters.
    """
    ours, theirs = _plain(copied), _plain(original)
    if not all(name in theirs and torch.equal(ours[name], theirs[name]) for name in ours):
        return False
    for name, parameter in ours.items():
        parameter.data = theirs[name].data
    return True


def separate_weights(copied: nn.Module, original: nn.Module) -> None:
    """Give a copy that is to live on parameters in memory of their own."""
    shared = {p.untyped_storage().data_ptr() for p in _plain(original).values()}
    for parameter in _plain(copied).values():
        if parameter.untyped_storage().data_ptr() in shared:
            parameter.data = parameter.data.clone()


def _plain(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters whose memory can be shared, by name: of PyTorch's own class.

    Those of a copy of a scripted module are not, nor are quantised ones.
    """
    return {name: each for name, each in model.named_parameters() if type(each) is nn.Parameter}
