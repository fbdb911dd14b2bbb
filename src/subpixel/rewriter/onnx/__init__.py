"""ONNX models: files, `ModelProto`s and `onnx_ir` models."""

from pathlib import Path
from typing import Any

import numpy as np

from subpixel.extras import needing

with needing("onnx"):
    import onnx_ir as ir

from subpixel.rewriter.cache import Cache
from subpixel.rewriter.decide import Settings, decide
from subpixel.rewriter.onnx.examples import feeds
from subpixel.rewriter.onnx.files import checked, from_proto, load_model
from subpixel.rewriter.onnx.runtimes import Runtime, find_runtime
from subpixel.rewriter.onnx.target import OnnxTarget
from subpixel.rewriter.report import Report
from subpixel.rewriter.target import Target

__all__ = ["find_runtime", "rewrite_onnx"]


def rewrite_onnx(
    model: Any, example_inputs: Any, runtime: Runtime, settings: Settings, cache: Cache
) -> tuple[Any, Report]:
    """See `subpixel.rewrite`."""
    if isinstance(model, str | Path):
        original = load_model(Path(model))
    else:
        original = checked(model.clone()) if isinstance(model, ir.Model) else from_proto(model)
    example = feeds(original, example_inputs, settings.seed)
    with np.errstate(all="ignore"):  # a stranger's weights may be infinite or NaN
        target: Target[Any] = OnnxTarget(original, example, runtime, settings.seed)
        rewritten, report = decide(target, settings, cache)
    del target  # and with it the compiled models
    result = original if rewritten is None else rewritten
    return (result if isinstance(model, ir.Model) else ir.to_proto(result)), report
