"""`subpixel rewrite`: make an ONNX model that up-samples faster."""

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from subpixel.cli.errors import as_option_error, interruptible
from subpixel.cli.options import Debug, Verbose, check_writable, local_path
from subpixel.cli.show import bar_progress, printable


def rewrite(
    model: Annotated[
        Path,
        typer.Argument(metavar="MODEL.onnx", help="An ONNX file of opset 11 or newer.", parser=local_path),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="OUT.onnx",
            help="The file to write. Without it MODEL-rewritten.onnx beside the model.",
            parser=local_path,
        ),
    ] = None,
    *,
    runtime: Annotated[
        Literal["onnxruntime", "openvino"], typer.Option("--for", help="The runtime that will run the model.")
    ] = "onnxruntime",
    change: Annotated[
        Literal["faster", "all"],
        typer.Option(help="Change the up-samplers that become faster, or all that have another exact form."),
    ] = "faster",
    shape: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=DIMS",
            help="The shape of an input, such as x=1x3x64x64; needed where the model leaves it open.",
        ),
    ] = None,
    inputs: Annotated[
        Path | None,
        typer.Option(
            "--input",
            metavar="FILE.npz",
            help="Example inputs by name, as numpy.savez writes them. Without it they are random.",
            parser=local_path,
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads of the runtime. Without it the runtime chooses.")
    ] = None,
    seconds: Annotated[
        float,
        typer.Option(help="Seconds for measuring each up-sampler; the whole model takes eight times this."),
    ] = 2.0,
    seed: Annotated[int, typer.Option(help="The seed of random inputs and of the order of timing.")] = 0,
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A file that keeps the decisions; the next run repeats them without measuring.",
            parser=local_path,
        ),
    ] = None,
    report_to: Annotated[
        Path | None,
        typer.Option("--json", metavar="REPORT", help="A file for the report, as JSON.", parser=local_path),
    ] = None,
    _verbose: Verbose = False,
    _debug: Debug = False,
) -> None:
    """Make an ONNX model faster on this machine.

    The new model computes the same function: each of its up-samplers gets the equivalent form that is
    measured to be fastest. If none is faster, no file is written unless --out asks for one.

    Needs: pip install 'subpixel[onnx]', or 'subpixel[onnx,openvino]' with --for openvino

    Example: subpixel rewrite decoder.onnx --shape latent=1x4x64x64

    Example: subpixel rewrite detector.onnx --for openvino --out faster.onnx --json report.json
    """
    from subpixel.files import replacing
    from subpixel.rewriter import rewrite as rewrite_model
    from subpixel.rewriter.decide import Settings
    from subpixel.rewriter.onnx.arrays import load_arrays
    from subpixel.rewriter.onnx.examples import feeds, random_feeds
    from subpixel.rewriter.onnx.files import load_model, save_model
    from subpixel.rewriter.onnx.runtimes import find_runtime

    for option, path in {"--out": out, "--json": report_to, "--cache": cache}.items():
        with as_option_error(option):
            check_writable(path)
    with as_option_error("--seconds"):
        Settings(seconds=seconds)
    with as_option_error("--seed"):
        Settings(seed=seed)
    with as_option_error("--threads"):
        find_runtime(runtime, threads)
    original = load_model(model)
    with as_option_error("--shape"):
        if inputs is not None and shape:
            raise ValueError("it cannot be given together with --input, whose arrays have shapes.")
        example = {} if inputs is not None else random_feeds(original, dict(map(_shape, shape or ())), seed)
    with as_option_error("--input"):
        example = example if inputs is None else feeds(original, load_arrays(inputs), seed)
    with bar_progress(1) as report_on, interruptible("nothing was written"):
        result, report = rewrite_model(
            original,
            example,
            change=change,
            runtime=runtime,
            threads=threads,
            seconds=seconds,
            seed=seed,
            cache=cache,
            progress=lambda done, count, name: report_on(0, name)(done / count),
        )
    print(*map(printable, str(report).split("\n")), sep="\n")  # names of nodes come from strangers
    if report_to is not None:
        with replacing(report_to) as temporary:
            temporary.write_text(report.json())
    if out is not None or report.changed:
        destination = out or model.with_name(f"{model.stem}-rewritten{model.suffix}")
        save_model(result, destination)
        line = f"{destination}" if report.changed else f"{destination}: equal to {model}"
        print(printable(line))


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, _, sizes = text.rpartition("=")
    if not name or not re.fullmatch(r"[1-9]\d{0,8}(x[1-9]\d{0,8})*", sizes):
        raise ValueError(f"it must be like x=1x3x64x64; got {text!r}.")
    return name, tuple(map(int, sizes.split("x")))
