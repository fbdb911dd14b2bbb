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
    memo: dict[int, Any] = {id(p): nn.Parameter(p.detach(), p.requires_grad) for p in _plain(model) if share}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PyTorch's own, about a program's tree of arguments
        return copy.deepcopy(model, memo)


def first_copy(
    model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, share: bool
) -> nn.Module:
    """Return a copy of a model that may not have been copied before.

    Such a model cannot be copied where an old hook has computed a weight, which carries the graph of its
    gradient: until the model is run without gradients.
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
    pairs = list(zip(_plain(copied), _plain(original), strict=True))
    if not all(torch.equal(*pair) for pair in pairs):
        return False
    for ours, theirs in pairs:
        ours.data = theirs.data
    return True


def separate_weights(copied: nn.Module, original: nn.Module) -> None:
    """Give a copy that is to live on parameters in memory of their own."""
    shared = {p.untyped_storage().data_ptr() for p in _plain(original)}
    for parameter in _plain(copied):
        if parameter.untyped_storage().data_ptr() in shared:
            parameter.data = parameter.data.clone()


def _plain(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters whose memory can be shared: of PyTorch's own class, not for example quantised."""
    return [parameter for parameter in model.parameters() if type(parameter) is nn.Parameter]
