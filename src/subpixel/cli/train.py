"""`subpixel train`: train a network on folders of images."""

import os
import shlex
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from subpixel.cli.errors import as_option_error, describe, interruptible
from subpixel.cli.options import Debug, Verbose, local_path, name_or_path, network_names
from subpixel.cli.show import printable
from subpixel.models import MODELS
from subpixel.training.recipe import Loss, Recipe

if TYPE_CHECKING:
    from subpixel.training.loop import ProgressReport

_NOT_IN_A_CONFIG = ("resume", "help")  # nor what begins with "_", which does not belong to a run


def _model_name(text: str) -> str:
    if text not in MODELS:
        raise typer.BadParameter(f"it must be one of {', '.join(MODELS)}; got {text!r}.")
    return text


def _take_config(context: typer.Context, file: Path | None) -> Path | None:
    """Make what a TOML file holds the defaults of the command."""
    if file is not None:
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise typer.BadParameter(f"it must be a readable TOML file; {describe(error)}") from error
        known = {
            each.name.replace("_", "-"): each
            for each in context.command.params
            if each.name and not each.name.startswith("_") and each.name not in _NOT_IN_A_CONFIG
        }
        for name in values:
            if name not in known:
                raise typer.BadParameter(f"its entries must be among {', '.join(known)}; got {name!r}.")
        context.default_map = {
            each.name: _as_given(name, values[name], several=getattr(each, "multiple", False))
            for name, each in known.items()
            if name in values
        }
    return file


def _as_given(name: str, value: Any, *, several: bool) -> str | list[str]:
    """Return a value as a command line would give it: as text, a table as a list of NAME=VALUE."""
    if isinstance(value, dict):
        value = [f"{each}={value[each]}" for each in value]
    if isinstance(value, list) and not several:
        raise typer.BadParameter(f"{name} must be one value; got {value}.")
    return [str(each) for each in (value if isinstance(value, list) else [value])] if several else str(value)


def train(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help=f"What to train: {', '.join(MODELS)}.",
            parser=_model_name,
            autocompletion=lambda incomplete: [name for name in MODELS if name.startswith(incomplete)],
        ),
    ],
    data: Annotated[
        list[Path],
        typer.Option(
            metavar="DIR...",
            help="Folders of high-resolution images; folders in them are searched too.",
            parser=local_path,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE.safetensors",
            help="The file for the network; the checkpoint is kept beside it.",
            parser=local_path,
        ),
    ],
    *,
    _config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE.toml",
            help="A file of arguments and options by name; those of the command line come first.",
            parser=local_path,
            callback=_take_config,
            is_eager=True,
        ),
    ] = None,
    scale: Annotated[int, typer.Option(min=2, max=16, help="The upscale factor.")] = 3,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="An option of the model, such as activation=relu of espcn."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="A network to take the first weights from.",
            parser=name_or_path,
            autocompletion=network_names,
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="The number of steps.")] = Recipe.steps,
    batch: Annotated[
        int, typer.Option(min=1, help="How many patches a step sees on each device.")
    ] = Recipe.batch,
    patch: Annotated[
        int, typer.Option(min=1, help="The side of a training patch, in low-resolution pixels.")
    ] = Recipe.patch,
    learning_rate: Annotated[
        float, typer.Option(help="The highest learning rate, which falls along a cosine.")
    ] = Recipe.learning_rate,
    loss: Annotated[Loss, typer.Option(help="What the training lowers.")] = Recipe.loss,
    seed: Annotated[
        int, typer.Option(min=0, help="Seeds the first weights and the choice of patches.")
    ] = Recipe.seed,
    precision: Annotated[
        Literal["f32", "bf16"], typer.Option(help="The precision of products while training.")
    ] = "f32",
    devices: Annotated[
        int, typer.Option(min=1, help="The number of processes, each on a GPU of its own if there are any.")
    ] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the checkpoint.")] = False,
    _verbose: Verbose = False,
    _debug: Debug = False,
) -> None:
    """Train a network on folders of images.

    Needs: pip install 'subpixel[train]'

    Example: subpixel train espcn --scale 3 --data photos --out mine.safetensors

    Example: subpixel train espcn --data photos --out mine.safetensors --resume

    Example: subpixel train --config nano-x2.toml
    """
    from subpixel.network import load
    from subpixel.training.run import check_output, run

    with as_option_error("--out"):
        check_output(out, resume=resume)
    with as_option_error("--option"):
        chosen = MODELS[model].parse_options(dict(map(_name_and_value, option or ())))
    with as_option_error("--start"):
        first = None if start is None else load(start)
    recipe = Recipe(steps=steps, batch=batch, patch=patch, learning_rate=learning_rate, seed=seed, loss=loss)
    with _training_progress(steps) as report, interruptible("--resume continues from the last checkpoint"):
        network = run(
            partial(MODELS[model], scale, **chosen),
            recipe,
            data,
            out,
            start=first,
            precision=precision,
            devices=devices,
            resume=resume,
            command=shlex.join(["subpixel", *sys.argv[1:]]),
            report=report,
        )
    if network is None:
        return  # one of several processes, not the first
    (*_, stage) = network.metadata["training"]
    print(f"{printable(out)}: validation PSNR {stage['validation_psnr']:.3f} dB")


def _name_and_value(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ValueError(f"it must be like activation=relu; got {text!r}.")
    return name, value


@contextmanager
def _training_progress(steps: int) -> Iterator[Callable[["ProgressReport"], None]]:
    """Show a bar with the loss and the validation PSNR; print a line for each report outside a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal or "LOCAL_RANK" in os.environ:  # one of several processes
        yield lambda progress: print(f"step {progress.step}/{steps}: {_text(progress)}", file=sys.stderr)
        return
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("reading images", total=steps)
        yield lambda progress: bar.update(task, completed=progress.step, description=_text(progress))


def _text(progress: "ProgressReport") -> str:
    loss = f"loss {progress.loss:.6f}"
    if progress.validation_psnr is None:
        return loss
    return f"{loss}, validation {progress.validation_psnr:.3f} dB"
