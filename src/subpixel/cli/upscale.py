"""`subpixel upscale`: enlarge images."""

import json
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from subpixel.cli.errors import (
    as_engine_error,
    as_option_error,
    complain,
    describe,
    fail,
    interruptible,
)
from subpixel.cli.options import (
    Debug,
    Engine,
    Json,
    Precision,
    Verbose,
    local_path,
    name_or_path,
    network_names,
)
from subpixel.cli.show import bar_progress, printable

if TYPE_CHECKING:
    from subpixel.jobs.run import Outcome

AGAIN = "the same command continues where it stopped"
NAMED = 10  # failures that the summary names; each has had a line of its own before


def upscale(
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="INPUT", help="Images, and folders of images.", parser=local_path),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE|DIR",
            help="A file for a single image, or a folder. Without it outputs go beside their inputs.",
            parser=local_path,
        ),
    ] = None,
    *,
    scale: Annotated[
        int | None, typer.Option(help="2, 3 or 4. Without it the scale of --network, or else 2.")
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="WxH", help="The size to reach instead of a scale; Wx and xH keep the proportions."
        ),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="A network that ships (subpixel networks lists them), or a safetensors file.",
            parser=name_or_path,
            autocompletion=network_names,
        ),
    ] = None,
    engine: Engine = "auto",
    precision: Precision = "f32",
    recursive: Annotated[
        bool, typer.Option("--recursive", help="Search the folders within folders too.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace outputs that exist; without it they are skipped.")
    ] = False,
    quality: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100,
            help="The quality of JPEG, WebP and AVIF outputs; WebP and AVIF lose nothing at 100.",
        ),
    ] = None,
    suffix: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="EXT", help="The format of outputs: png, jpg, webp, tif, avif, gif."
        ),
    ] = None,
    as_json: Json = False,
    _verbose: Verbose = False,
    _debug: Debug = False,
) -> None:
    """Enlarge images.

    Metadata, colour profiles and transparency are kept. Outputs that exist are skipped, so that a second run
    continues where the first one stopped.

    Example: subpixel upscale photo.jpg

    Example: subpixel upscale photos --recursive --out large --size 3840x --format webp
    """
    from subpixel.jobs.plan import Naming, left_out, plan
    from subpixel.jobs.run import run
    from subpixel.upscale import Upscaler

    with as_option_error("--network"):
        upscaler = Upscaler(network, engine, precision)
    with as_option_error("--scale"):
        factor = upscaler.factor(scale)
    with as_option_error("--size"):
        wanted = None if size is None else _size(size, scale)
    with as_engine_error():
        upscaler.prepare(factor)
    with as_option_error("--format"):
        naming = Naming(f"-x{factor}" if size is None else f"-{size}", suffix and _suffix(suffix, out))
    with as_option_error("--out"):
        jobs = plan(inputs, out, naming, recursive=recursive, overwrite=overwrite)
    outcomes = []
    with bar_progress(len(jobs)) as report, interruptible(AGAIN):
        for index, job in enumerate(jobs):
            enlarge = partial(
                upscaler.file,
                scale=None if wanted else factor,
                size=wanted,
                quality=quality,
                progress=report(index, job.source.name),
            )
            outcomes.append(run(job, enlarge, overwrite))
            _print_outcome(outcomes[-1], as_json)
    if as_json:
        print(json.dumps([_as_dict(outcome) for outcome in outcomes], indent=1))
    # A folder that is a job itself has an error that counts them.
    searched = {*inputs} - {job.source for job in jobs}
    if kinds := left_out([*searched], recursive=recursive):
        complain(f"left out, since they are not supported: {kinds}")
    _sum_up(outcomes)


def _size(text: str, scale: int | None) -> tuple[int | None, int | None]:
    match = re.fullmatch(r"(?=.*[1-9])([1-9]\d{0,5})?x([1-9]\d{0,5})?", text)
    if match is None:
        raise ValueError(f"it must be like 1920x1080, 1920x or x1080; got {text!r}.")
    if scale is not None:
        raise ValueError("it cannot be given together with --scale.")
    width, height = (None if side is None else int(side) for side in match.groups())
    return width, height


def _suffix(name: str, out: Path | None) -> str:
    from subpixel.images import by_suffix

    suffix = "." + name.lower().removeprefix(".")
    file_format = by_suffix(suffix)
    if out is not None and out.suffix and not out.is_dir() and by_suffix(out.suffix) != file_format:
        raise ValueError(f"it must agree with --out, {out}; got {name!r}.")
    return suffix


def _print_outcome(outcome: "Outcome", as_json: bool) -> None:
    """Print what became of an image: outputs to stdout, all else to stderr."""
    if outcome.error is not None:
        source = outcome.job.source
        complain(f"{printable(source)}: {describe(outcome.error).removeprefix(f'{source}: ')}")
    elif outcome.written is not None:
        for note in outcome.written.notes:
            complain(f"{printable(outcome.job.destination)}: {note}")
        if not as_json:
            size = f"{outcome.written.width}x{outcome.written.height}"
            print(f"{printable(outcome.job.destination)}: {size}", flush=True)


def _sum_up(outcomes: list["Outcome"]) -> None:
    """Print how many images were skipped or failed; exit with 1 if any failed."""
    skipped = [printable(outcome.job.destination) for outcome in outcomes if outcome.status == "skipped"]
    failed = [printable(outcome.job.source) for outcome in outcomes if outcome.status == "failed"]
    if skipped:
        what = f"{skipped[0]}, which exists" if len(skipped) == 1 else f"{len(skipped)} outputs that exist"
        complain(f"skipped {what}; --overwrite replaces")
    if failed:
        fail("" if len(outcomes) == 1 else f"{len(failed)} of {len(outcomes)} failed: {_some(failed)}", 1)


def _some(names: list[str]) -> str:
    """Join the first names, and count the others."""
    others = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {others:,} more" if others > 0 else "")


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
