"""A model and a call in, the graphs of the forwards that up-sample out; replaceable as a whole."""

import importlib
import threading
from collections.abc import Mapping
from typing import Any

from torch import nn

from subpixel.rewriter.pytorch.graph import Scope
from subpixel.rewriter.pytorch.recording.program import as_module, export_like, record_program
from subpixel.rewriter.pytorch.recording.scopes import find_scopes
from subpixel.rewriter.pytorch.recording.tracer import autocast

__all__ = ["as_module", "autocast", "export_like", "record", "record_program"]

_ONE_AT_A_TIME = threading.Lock()  # recording replaces `isinstance` and parts of `nn.Module` for a while


def record(model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Scope]:
    """Record the forwards of a model that hold its up-samplers; each that ran is in exactly one.

    Other threads may rewrite and run models meanwhile: one thread records at a time, and what is replaced
    for it acts in that thread alone.

    Args:
        model: a module that may be run, and that gets no lasting change.
        args: of the call.
        kwargs: of the call.
    """
    # PyTorch imports this when it is first needed, and what is imported during a recording would keep the
    # functions of `math` that stand in for the real ones.
    importlib.import_module("torch._dynamo")
    with _ONE_AT_A_TIME:
        return find_scopes(model, args, kwargs)
