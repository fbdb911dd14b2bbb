"""A PyTorch model in, an equal one and a report out."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from subpixel.rewriter.cache import Cache
from subpixel.rewriter.decide import Settings, decide
from subpixel.rewriter.pytorch.comparison import clone_arguments
from subpixel.rewriter.pytorch.copies import copy_model, separate_weights
from subpixel.rewriter.pytorch.modules import without_sizes
from subpixel.rewriter.pytorch.operators import own_kind
from subpixel.rewriter.pytorch.recording import as_module, autocast, export_like, record_program
from subpixel.rewriter.pytorch.target import ModuleTarget
from subpixel.rewriter.report import Report
from subpixel.rewriter.target import Target


def rewrite_pytorch(model: Any, example_inputs: Any, settings: Settings, cache: Cache) -> tuple[Any, Report]:
    """See `subpixel.rewrite`."""
    if isinstance(model, ExportedProgram):
        return _rewrite_program(model, example_inputs, settings, cache)
    _check(model)
    with torch.no_grad():
        args, kwargs = clone_arguments(_arguments(example_inputs))
        layer_alone = own_kind(model) is not None  # no forward to search; a row of one has
        given = nn.Sequential(model) if layer_alone else model
        target: Target[nn.Module] = ModuleTarget(given, args, kwargs, settings.seed)
        found = decide(target, settings, cache)
        rewritten, report = found
        result: Any = copy_model(given, share=True) if rewritten is None else rewritten
        separate_weights(result, given)
    return result[0] if layer_alone else result, report


def _rewrite_program(
    program: ExportedProgram, example_inputs: Any, settings: Settings, cache: Cache
) -> tuple[ExportedProgram, Report]:
    own = None if example_inputs is not None else program.example_inputs
    with torch.no_grad():
        args, kwargs = clone_arguments(own or _arguments(example_inputs))
        module = as_module(program)
        target: Target[nn.Module] = ModuleTarget(module, args, kwargs, settings.seed, record_program)
        found = decide(target, settings, cache)
        rewritten, report = found
        if rewritten is None:
            return program, report
        separate_weights(rewritten, module)
        return export_like(program, rewritten, args, kwargs), report


def _check(model: Any) -> None:
    """Refuse what is no module, or none that can be run and recorded as it is."""
    if not isinstance(model, nn.Module):
        raise TypeError(
            "model must be a torch.nn.Module, a torch.export.ExportedProgram, an ONNX model or the path of "
            f"one; got {type(model).__name__}."
        )
    # `torch.compile` puts a module into one of its own, under this name.
    compiled = any("_orig_mod" in dict(part.named_children()) for part in model.modules())
    if isinstance(model, torch.jit.ScriptModule) or compiled:
        raise TypeError(
            f"model must run Python; got a scripted or compiled {type(model).__name__}, "
            "or one of which a part is compiled. "
            "Rewrite the module that it was made of, then script or compile it again."
        )
    if model.training:
        raise ValueError("the model must be in eval mode; got one in training. Call model.eval() first.")
    if (lazy := without_sizes(model)) is not None:
        raise ValueError(
            f"each weight of the model must have its size; got {lazy}, a lazy module without one. "
            "Run the model once, then rewrite it."
        )
    if any(switched_on for switched_on, _ in autocast()):
        raise ValueError("a model must be rewritten in a precision of its own; got autocast. Switch it off.")


def _arguments(example_inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(example_inputs, Tensor):
        return (example_inputs,), {}
    if isinstance(example_inputs, Mapping):
        return (), dict(example_inputs)
    if isinstance(example_inputs, tuple | list) and example_inputs:
        return tuple(example_inputs), {}
    raise TypeError(
        "example_inputs must be a tensor, the tuple of the model's arguments, or a dict of them by name; "
        f"got {type(example_inputs).__name__}."
    )
