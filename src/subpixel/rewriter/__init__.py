"""Rewriting models: the same function, faster where a form of an up-sampler is faster on this machine."""

from pathlib import Path
from typing import Any

from subpixel.rewriter.cache import Cache
from subpixel.rewriter.decide import Change, MismatchError, Progress, Settings
from subpixel.rewriter.report import Record, Report

__all__ = ["MismatchError", "Record", "Report", "rewrite"]


def rewrite(
    model: Any,
    example_inputs: Any = None,
    *,
    change: Change = "faster",
    runtime: str | None = None,
    threads: int | None = None,
    cache: str | Path | None = None,
    seconds: float = 2.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Any, Report]:
    """Return an equal model whose up-samplers have the form that is fastest on this machine, and a report.

    Every site is timed by itself, at the shapes that it has with the example inputs, in each form that equals
    it; it changes only if a form is at least 3 % faster, and the model only if the whole of it is faster
    beyond chance. Each form chosen, and the whole model, are proven: run beside the original in float64, at
    more than one size, and in the model's own precision. A site that cannot be proven is kept.

    Args:
        model: a `torch.nn.Module` in eval mode, a `torch.export.ExportedProgram`, an ONNX `ModelProto`, or
            the path of an ONNX file. The model is left as it is.
        example_inputs: a tensor or the tuple of the model's arguments; for ONNX a dict of arrays by name, or
            None where all sizes are fixed.
        change: which sites to change: "faster" where a form is measured to be faster, "all" where there is an
            exact LR form, for machines without transposed convolution or resize.
        runtime: what will run an ONNX model, "onnxruntime" (the default) or "openvino".
        threads: of that runtime; None leaves their number to it. PyTorch has `torch.set_num_threads`.
        cache: a JSON file that keeps the decisions; the next call with the same `seconds` repeats them
            without timing.
        seconds: time to spend on timing each site, and eight times as much on the whole model. What runs is
            not interrupted: even with 0 each form runs two or three times, and so does the whole model before
            and after. With `change="all"` the whole is not timed. Recording and proofs run a PyTorch model up
            to fourteen times more; one that takes five seconds or more runs 18 times in all.
        seed: of random inputs and of the order of timing.
        progress: called with how many of how many steps are done, and the name of the next one.

    Returns:
        The model, of the type that was given (for a path a `ModelProto`), and the report.

    Raises:
        MismatchError: the model differs from itself, so that nothing can be proven.
        TypeError: the model is of another kind.
        ValueError: an argument or the file is not what it must be.
        ModuleNotFoundError: the package for such models is not installed.

    Example:
        >>> import torch
        >>> layers = torch.nn.Upsample(scale_factor=2), torch.nn.Conv2d(64, 64, 3, padding=1)
        >>> model = torch.nn.Sequential(*layers).eval()
        >>> faster, report = rewrite(model, torch.zeros(1, 64, 32, 32), seconds=0.1)
        >>> [record.was for record in report.sites]
        ['nearest resize + convolution']

    References: Shi et al. 2016 (arXiv:1609.07009).
    """
    settings = Settings(change, seconds, seed, progress or Settings.progress)
    decisions = Cache(None if cache is None else Path(cache))
    library = type(model).__module__.partition(".")[0]
    if isinstance(model, str | Path) or library in ("onnx", "onnx_ir"):
        from subpixel.rewriter.onnx import find_runtime, rewrite_onnx  # noqa: PLC0415 (others lack the packages)

        found = find_runtime(runtime or "onnxruntime", threads)
        return rewrite_onnx(model, example_inputs, found, settings, decisions)
    if runtime is not None or threads is not None:
        raise ValueError(
            "runtime and threads are for ONNX models; "
            f"got runtime={runtime!r}, threads={threads} for a {type(model).__name__}."
        )
    from subpixel.rewriter.pytorch import rewrite_pytorch  # noqa: PLC0415

    return rewrite_pytorch(model, example_inputs, settings, decisions)
