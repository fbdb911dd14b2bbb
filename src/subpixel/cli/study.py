"""`subpixel study`: put the note's claims to real computation."""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from subpixel.cli.errors import as_option_error, complain, interruptible
from subpixel.cli.options import Debug, Json, Verbose, local_path
from subpixel.cli.show import bar_progress, print_rows, printable
from subpixel.studies import NAMES

if TYPE_CHECKING:
    from subpixel.studies.lab.study import Result, Study

ALL = "all"


def _known(name: str) -> str:
    if name not in {*NAMES, ALL}:
        raise typer.BadParameter(f"it must be one of {', '.join(NAMES)}, or {ALL}; got {name!r}.")
    return name


def _names(incomplete: str) -> list[str]:
    return [name for name in (*NAMES, ALL) if name.startswith(incomplete)]


def study(
    name: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME",
            help=f"{', '.join(NAMES)}, or {ALL}.",
            parser=_known,
            autocompletion=_names,
        ),
    ],
    *,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="The folder for the results.", parser=local_path)
    ] = Path("studies"),
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="A folder with train/ (images), test/ (a folder for each set) and mnist/ (the four gzipped "
            "files); without it, a few samples that ship are taken.",
            parser=local_path,
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Show the whole way in seconds; the figures say little then.")
    ] = False,
    as_json: Json = False,
    _verbose: Verbose = False,
    _debug: Debug = False,
) -> None:
    """Put claims of the paper to real computation.

    Each study writes its page NAME.md, its table NAME.csv, and its pictures into DIR/NAME. Networks that are
    trained are kept in DIR/trials, so that the same command goes on after an interruption.

    Needs: pip install 'subpixel[study]'

    Example: subpixel study figures kernels --out results

    Example: subpixel study all --quick
    """
    from subpixel.studies import load
    from subpixel.studies.lab.run import run
    from subpixel.studies.lab.samples import Samples

    names = [*dict.fromkeys(NAMES if ALL in name else name)]
    with as_option_error("--data"):
        samples = Samples(data)
    command = shlex.join(["subpixel", *sys.argv[1:]])
    summaries = []
    with bar_progress(len(names)) as report, interruptible("the same command goes on"):
        studies = [load(name) for name in names]  # a missing package is told before hours of work
        for index, study in enumerate(studies):
            result, page = run(
                study, out, samples, quick=quick, command=command, report=report(index, study.name)
            )
            summaries.append(_as_dict(study, result, page))
            if not as_json:
                _print(study, result, page)
    if as_json:
        print(json.dumps(summaries, indent=1))
    failed = [check for summary in summaries for check, holds in summary["checks"].items() if not holds]
    for check in failed:
        complain(f"this must hold and does not: {check}")
    if failed:
        raise typer.Exit(1)


def _print(study: "Study", result: "Result", page: Path) -> None:
    from subpixel.studies.lab.page import as_text

    rows = [{name: as_text(value) for name, value in row.items()} for row in result.table]
    print_rows(rows, title=f"{study.name}: {study.title}")
    for finding in result.findings:
        print(f"- {finding}")
    print(f"{printable(page)}\n")


def _as_dict(study: "Study", result: "Result", page: Path) -> dict[str, Any]:
    return {
        "study": study.name,
        "page": str(page),
        "findings": list(result.findings),
        "checks": dict(result.checks),
        "table": [dict(row) for row in result.table],
    }
