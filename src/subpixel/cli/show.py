"""What commands print besides errors: progress and tables."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def printable(text: object) -> str:
    r"""Escape what could move the cursor of a terminal or end a line: names come from strangers.

    Bytes of a file name that are not UTF-8, which Python holds as lone surrogates, are escaped as well.

    Example:
        >>> printable("a\x1b[31m\udcff é.png")
        'a\\x1b[31m\\xff é.png'
    """
    return "".join(_escape(character) for character in str(text))


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # how Python holds a byte that is no UTF-8: PEP 383
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character if character.isprintable() else ascii(character)[1:-1]


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
