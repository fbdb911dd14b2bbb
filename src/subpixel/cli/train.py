"""`subpixel train`: train a network on folders of images."""

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from subpixel.cli.errors import interruptible
from subpixel.cli.options import Debug, Verbose
from subpixel.training.recipe import Recipe


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
    with training_progress(steps) as report, interruptible("--resume goes on from the last checkpoint"):
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
