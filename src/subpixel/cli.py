"""The command: parse, call, print.

Results go to stdout; errors, a line each, and progress to stderr. Exit status: 0 all done, 1 something
failed, 2 the command line is wrong, 130 interrupted.
"""

import json
import logging
import math
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from subpixel.training.recipe import Recipe

if TYPE_CHECKING:
    from subpixel.batch import Outcome

log = logging.getLogger("subpixel")

app = typer.Typer(
    help="Enlarge images with sub-pixel networks; make models that up-sample faster.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain text, the same in a terminal, a file and the documentation
    add_completion=False,
)


def main() -> None:
    """Run the command line: one line an error, a traceback only with --debug."""
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # as an exception, so that temporary files are removed
    try:
        sys.exit(app(repeated(sys.argv[1:]) or ["--help"], standalone_mode=False))
    except typer.TyperException as error:
        fail(error.format_message(), error.exit_code)
    except Exception as error:
        log.debug("traceback:", exc_info=True)
        fail(describe(error), 1)


def repeated(arguments: Sequence[str]) -> list[str]:
    """Repeat --data before each of the folders that follow it: option parsers know one value an option.

    Example:
        >>> repeated(["evaluate", "espcn-x3", "--data", "Set5", "Set14", "--json"])
        ['evaluate', 'espcn-x3', '--data', 'Set5', '--data', 'Set14', '--json']
    """
    result: list[str] = []
    option = None
    for argument in arguments:
        if argument.startswith("-"):
            option = argument
        elif option == "--data" and result[-1] != "--data":
            result.append("--data")
        result.append(argument)
    return result


def complain(message: str) -> None:
    """Print one line to stderr."""
    if message:
        print("subpixel:", " ".join(message.split()), file=sys.stderr)


def fail(message: str, status: int) -> NoReturn:
    """Print one line and exit."""
    complain(message)
    sys.exit(status)


def describe(error: Exception) -> str:
    """What went wrong in one line, without Python's names for what callers are expected to meet."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, OSError | ValueError | ImportError):
        return str(error)
    return f"internal error, {type(error).__name__}: {error} (--debug shows where)"


def _log_from(level: int) -> Callable[[bool], None]:
    def set_level(wanted: bool) -> None:
        if wanted:
            logging.basicConfig(format="subpixel: %(message)s", level=logging.WARNING)
            log.setLevel(min(level, log.level or level))

    return set_level


def _path(text: str) -> Path:
    if not text:
        raise typer.BadParameter("a path must not be empty.")  # an unset variable; as a Path it would be "."
    return Path(text)


# Every command takes these two last, as `_verbose: Verbose = False, _debug: Debug = False`.
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say what is chosen.", callback=_log_from(logging.INFO))
]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.", callback=_log_from(logging.DEBUG))]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Engine = Annotated[
    Literal["auto", "openvino", "onnxruntime", "torch"],
    typer.Option(help="What runs the network; auto takes the fastest that works here."),
]
Precision = Annotated[
    Literal["auto", "f32", "bf16"],
    typer.Option(help="What it computes in; auto is bf16 where the processor has it."),
]


@app.command()
def upscale(
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="INPUT...", help="Images, and folders of images.", parser=_path),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="A file for a single image, or a folder; else beside the input."),
    ] = None,
    *,
    scale: Annotated[int | None, typer.Option(help="2, 3 or 4; else the network's own, or 2.")] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="The size to reach instead; Wx and xH keep proportions.")
    ] = None,
    network: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="A shipped name, or a safetensors file.")
    ] = None,
    engine: Engine = "auto",
    precision: Precision = "auto",
    recursive: Annotated[bool, typer.Option("--recursive", help="Search the folders in folders.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")] = False,
    quality: Annotated[
        int | None, typer.Option(min=1, max=100, help="Of JPEG, WebP, AVIF; 100 is lossless in the latter.")
    ] = None,
    suffix: Annotated[
        str | None,
        typer.Option("--format", metavar="EXT", help="Of outputs: png, jpg, webp, tif, avif, gif."),
    ] = None,
    as_json: Json = False,
    _verbose: Verbose = False,
    _debug: Debug = False,
) -> None:
    """Enlarge images, with all that they carry.

    Outputs that exist are skipped, so that a second run goes on where the first one stopped.

    Example: subpixel upscale photo.jpg

    Example: subpixel upscale photos --recursive --out large --size 3840x --format webp
    """
    from subpixel.batch import Naming, plan, run
    from subpixel.upscale import Upscaler

    with blaming("--network"):
        upscaler = Upscaler(network, engine, precision)
    with blaming("--scale"):
        factor = upscaler.factor(scale)
    with blaming("--size"):
        wanted = None if size is None else _size(size, scale)
    with blaming("--engine"):
        upscaler.prepare(factor)
    with blaming("--format"):
        naming = Naming(f"-x{factor}" if size is None else f"-{size}", suffix and _suffix(suffix, out))
    with blaming("--out"):
        jobs = plan(inputs, out, naming, recursive=recursive, overwrite=overwrite)
    outcomes = []
    with bar_progress(len(jobs)) as report, going_on_later(AGAIN):
        for index, job in enumerate(jobs):
            enlarge = partial(
                upscaler.file,
                scale=None if wanted else factor,
                size=wanted,
                quality=quality,
                progress=report(index, job.source.name),
            )
            outcomes.append(run(job, enlarge, overwrite))
            print_outcome(outcomes[-1], as_json)
    if as_json:
        print(json.dumps([_as_dict(outcome) for outcome in outcomes], indent=1))
    sum_up(outcomes)


def _size(text: str, scale: int | None) -> tuple[int | None, int | None]:
    match = re.fullmatch(r"(?=.*[1-9])([1-9]\d{0,5})?x([1-9]\d{0,5})?", text)
    if match is None:
        raise ValueError(f"it must be like 1920x1080, 1920x or x1080; got {text!r}.")
    if scale is not None:
        raise ValueError("it cannot be given together with --scale.")
    width, height = (None if side is None else int(side) for side in match.groups())
    return width, height


def _suffix(name: str, out: Path | None) -> str:
    from subpixel.formats import by_suffix

    suffix = "." + name.lower().removeprefix(".")
    file_format = by_suffix(suffix)
    if out is not None and out.suffix and not out.is_dir() and by_suffix(out.suffix) != file_format:
        raise ValueError(f"it must agree with --out, {out}; got {name!r}.")
    return suffix


@contextmanager
def blaming(option: str) -> Iterator[None]:
    """Turn what is wrong with a value into an error of its option."""
    try:
        yield
    except (ValueError, ImportError) as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


AGAIN = "the same command goes on where it stopped"


@contextmanager
def going_on_later(how: str) -> Iterator[None]:
    """Say on Ctrl-C how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        fail(f"interrupted; {how}", 130)


@contextmanager
def bar_progress(count: int) -> Iterator[Callable[[int, str], Callable[[float], None]]]:
    """A progress bar over jobs where stderr is a terminal: gives what each is to report to."""
    if not sys.stderr.isatty():
        yield lambda _index, _name: lambda _done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    apart = not sys.stdout.isatty()  # where output goes elsewhere than the bar, it must not be drawn above it
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=not apart) as bar:
        task = bar.add_task("", total=count)
        yield lambda index, name: lambda done: bar.update(task, completed=index + done, description=name)


def print_outcome(outcome: "Outcome", as_json: bool) -> None:
    """Say what became of an image: outputs on stdout, and all else on stderr."""
    if outcome.error is not None:
        log.debug("traceback:", exc_info=outcome.error)
        complain(f"{outcome.job.source}: {describe(outcome.error).removeprefix(f'{outcome.job.source}: ')}")
    elif outcome.written is not None:
        for note in outcome.written.notes:
            complain(f"{outcome.job.destination}: {note}")
        if not as_json:
            print(f"{outcome.job.destination}: {outcome.written.width}x{outcome.written.height}", flush=True)


def sum_up(outcomes: list["Outcome"]) -> None:
    """Say how many images were skipped or failed; exit with 1 if any failed."""
    skipped = [str(outcome.job.destination) for outcome in outcomes if outcome.status == "skipped"]
    failed = [str(outcome.job.source) for outcome in outcomes if outcome.status == "failed"]
    if skipped:
        what = f"{skipped[0]}, which exists" if len(skipped) == 1 else f"{len(skipped)} outputs that exist"
        complain(f"skipped {what}; --overwrite replaces")
    if failed:
        fail("" if len(outcomes) == 1 else f"{len(failed)} of {len(outcomes)} failed: {', '.join(failed)}", 1)


def _as_dict(outcome: "Outcome") -> dict[str, Any]:
    job, written = outcome.job, outcome.written
    record: dict[str, Any] = {
        "input": str(job.source),
        "output": str(job.destination),
        "status": outcome.status,
    }
    if written is not None:
        record |= {"width": written.width, "height": written.height, "notes": written.notes}
    return record if outcome.error is None else record | {"error": describe(outcome.error)}


@app.command()
def networks(*, as_json: Json = False, _verbose: Verbose = False, _debug: Debug = False) -> None:
    """List the networks that ship: what they cost, and the PSNR in dB that they were measured to reach."""
    from subpixel.network import load, shipped

    rows = []
    for network in map(load, shipped()):
        row = {
            "network": network.name,
            "scale": network.upscale_factor,
            "parameters": network.parameters,
            "MACs / LR pixel": network.macs_per_lr_pixel,
            "receptive field": network.receptive_field,
        }
        rows.append(row | {f"PSNR {name}": psnr for name, psnr in network.metadata.get("psnr", {}).items()})
    print_rows(rows, as_json)


@app.command()
def evaluate(
    network: Annotated[
        list[str], typer.Argument(metavar="NETWORK...", help="Shipped names, or safetensors files.")
    ],
    data: Annotated[list[Path], typer.Option(metavar="DIR...", help="Folders of HR images.")],
    *,
    engine: Engine = "auto",
    precision: Precision = "auto",
    as_json: Json = False,
    _verbose: Verbose = False,
    _debug: Debug = False,
) -> None:
    """Measure PSNR in dB and SSIM as the super-resolution tables do, bicubic interpolation beside them.

    Example: subpixel evaluate espcn-x3 mine.safetensors --data Set5 Set14
    """
    from subpixel.evaluation.protocol import mean_row, score_folder
    from subpixel.network import load
    from subpixel.upscale import Upscaler

    for_machines = []
    for loaded in map(load, network):
        upscaler = Upscaler(loaded, engine=engine, precision=precision)
        colour = loaded.channels == 3
        enlarge: Any = upscaler.image if colour else upscaler.plane
        for folder in data:
            scored = list(score_folder(enlarge, folder, loaded.upscale_factor, colour=colour))
            rows = [
                {
                    "image": row.image,
                    "PSNR": _finite(row.network.psnr, 4),
                    "SSIM": round(row.network.ssim, 6),
                    "bicubic PSNR": _finite(row.bicubic.psnr, 4),
                    "bicubic SSIM": round(row.bicubic.ssim, 6),
                }
                for row in (*scored, mean_row(scored))
            ]
            title = {"network": loaded.name, "scale": loaded.upscale_factor, "data": folder.name}
            if as_json:
                for_machines.append(title | {"images": rows[:-1], "mean": rows[-1]})
            else:
                print_rows(rows, title=f"{loaded.name} on {folder.name}")
    if as_json:
        print(json.dumps(for_machines, indent=1))


@app.command()
def rewrite(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="An ONNX file of opset 11 or newer.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="OUT.onnx", help="Else MODEL-rewritten.onnx beside it."),
    ] = None,
    *,
    runtime: Annotated[
        Literal["onnxruntime", "openvino"], typer.Option("--for", help="What will run the model.")
    ] = "onnxruntime",
    keep: Annotated[
        Literal["faster", "all"],
        typer.Option(help="Change what is measured to be faster, or all that has an exact LR form."),
    ] = "faster",
    shape: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=DIMS", help="Of an input, as x=1x3x64x64; needed where it is not fixed."),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Decisions, read and written, to decide alike again.")
    ] = None,
    report_to: Annotated[
        Path | None, typer.Option("--json", metavar="REPORT", help="A file for the report, as JSON.")
    ] = None,
    _verbose: Verbose = False,
    _debug: Debug = False,
) -> None:
    """Give an ONNX model the up-samplers that are fastest on this machine; it computes what it did.

    Where nothing is faster no file is written, unless --out asks for one.

    Example: subpixel rewrite decoder.onnx --shape latent=1x4x64x64

    Example: subpixel rewrite detector.onnx --for openvino --out faster.onnx --json report.json
    """
    from subpixel.files import replacing
    from subpixel.rewriter import rewrite as rewrite_model
    from subpixel.rewriter.onnx.examples import random_feeds
    from subpixel.rewriter.onnx.files import load_model, save_model

    for option, path in {"--out": out, "--json": report_to, "--cache": cache}.items():
        with blaming(option):
            _writable(path)
    original = load_model(model)
    with blaming("--shape"):
        example = random_feeds(original, dict(map(_shape, shape or ())), seed=0)
    with bar_progress(1) as report_on, going_on_later("nothing was written"):
        result, report = rewrite_model(
            original,
            example,
            keep=keep,
            runtime=runtime,
            cache=cache,
            progress=lambda done, count, name: report_on(0, name)(done / count),
        )
    print(report)
    if report_to is not None:
        with replacing(report_to) as temporary:
            temporary.write_text(report.json())
    if out is not None or report.changed:
        destination = out or model.with_name(f"{model.stem}-rewritten{model.suffix}")
        save_model(result, destination)
        print(destination if report.changed else f"{destination}: equal to {model}")


def _writable(path: Path | None) -> None:
    """Say at once what would fail after minutes."""
    if path is not None and not path.parent.is_dir():
        raise ValueError(f"its folder must exist; got {path}.")
    if path is not None and (path.is_dir() or not os.access(path.parent, os.W_OK)):
        raise ValueError(f"it must be a file in a folder that can be written to; got {path}.")


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, _, sizes = text.rpartition("=")
    if not name or not re.fullmatch(r"[1-9]\d{0,8}(x[1-9]\d{0,8})*", sizes):
        raise ValueError(f"it must be like x=1x3x64x64; got {text!r}.")
    return name, tuple(map(int, sizes.split("x")))


@app.command()
def train(
    model: Annotated[Literal["espcn"], typer.Argument(help="What to train.")],
    data: Annotated[
        list[Path], typer.Option(metavar="DIR...", help="Folders of HR images, with all folders in them.")
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="FILE", help="The network, a safetensors file; its checkpoint goes beside it."),
    ],
    *,
    scale: Annotated[int, typer.Option(min=2, max=16, help="The upscale factor.")] = 3,
    activation: Annotated[
        Literal["tanh", "relu"], typer.Option(help="Tanh is the paper's better one.")
    ] = "tanh",
    start: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="A network to take the first weights from.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="A batch each.")] = Recipe.steps,
    batch: Annotated[int, typer.Option(min=1, help="Patches a step and a device.")] = Recipe.batch,
    patch: Annotated[int, typer.Option(min=1, help="Side of a patch, in LR pixels.")] = Recipe.patch,
    learning_rate: Annotated[
        float, typer.Option(help="At its highest; a cosine lowers it.")
    ] = Recipe.learning_rate,
    seed: Annotated[int, typer.Option(min=0, help="Of the first weights and the patches.")] = Recipe.seed,
    precision: Annotated[Literal["f32", "bf16"], typer.Option(help="What products are computed in.")] = "f32",
    devices: Annotated[int, typer.Option(min=1, help="Processes, a GPU each where there are any.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint.")] = False,
    _verbose: Verbose = False,
    _debug: Debug = False,
) -> None:
    """Train a network on folders of images.

    Example: subpixel train espcn --scale 3 --data photos --out mine.safetensors
    """
    from subpixel.network import load
    from subpixel.training.run import run

    recipe = Recipe(steps=steps, batch=batch, patch=patch, learning_rate=learning_rate, seed=seed)
    with training_progress(steps) as report, going_on_later("--resume goes on from the last checkpoint"):
        network = run(
            lambda: _model(model, scale, activation),
            recipe,
            data,
            out,
            start=None if start is None else load(start),
            precision=precision,
            devices=devices,
            resume=resume,
            command=shlex.join(["subpixel", *sys.argv[1:]]),
            report=report,
        )
    if network is None:
        return  # one of several processes, not the first
    (*_, stage) = network.metadata["training"]
    print(f"{out}: validation PSNR {stage['validation_psnr']:.3f} dB")


def _finite(figure: float, digits: int) -> float | None:
    """Rounded; None for the PSNR of a perfect image, which JSON cannot hold."""
    return round(figure, digits) if math.isfinite(figure) else None


def _model(name: str, scale: int, activation: Literal["tanh", "relu"]) -> Any:
    from subpixel.models.espcn import ESPCN

    return {"espcn": ESPCN}[name](scale, activation)


@contextmanager
def training_progress(steps: int) -> Iterator[Callable[[Any], None]]:
    """A progress bar with the loss and the validation PSNR; a line a report where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    def text(progress: Any) -> str:
        validation = (
            "" if progress.validation_psnr is None else f", validation {progress.validation_psnr:.3f} dB"
        )
        return f"loss {progress.loss:.6f}{validation}"

    console = Console(stderr=True)
    if not console.is_terminal or "LOCAL_RANK" in os.environ:  # one of several processes
        yield lambda progress: print(f"step {progress.step}/{steps}: {text(progress)}", file=sys.stderr)
        return
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("reading images", total=steps)
        yield lambda progress: bar.update(task, completed=progress.step, description=text(progress))


def print_rows(rows: list[dict[str, Any]], as_json: bool = False, *, title: str | None = None) -> None:
    """Print rows of one kind as a table, or as JSON."""
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=SIMPLE, padding=(0, 1), pad_edge=False)
    first, *figures = dict.fromkeys(name for row in rows for name in row)
    table.add_column(first, no_wrap=True)
    for name in figures:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*(_cell(name, row.get(name, "")) for name in (first, *figures)))
    Console().print(table)


def _cell(name: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2f}" if "PSNR" in name else f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
