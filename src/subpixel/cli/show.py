"""What commands print besides errors: names, progress and tables."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


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
    """Show a progress bar over jobs if stderr is a terminal.

    Yields:
        A function of a job's index and name; it returns the function to call with the fraction done.
    """
    if not sys.stderr.isatty():
        yield lambda _index, _name: lambda _done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
    apart = not sys.stdout.isatty()  # where output goes elsewhere than the bar, it must not be drawn above it
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=not apart) as bar:
        task = bar.add_task("", total=count)
        yield (
            lambda index, name: (
                lambda done: bar.update(task, completed=index + done, description=printable(name))
            )
        )


def print_rows(rows: list[dict[str, Any]], *, title: str = "") -> None:
    """Print rows of one kind as a table, or where that is wider than the terminal, one figure a line."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, highlight=False)
    first, *figures = dict.fromkeys(name for row in rows for name in row)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False)
    table.add_column(first.replace(", ", "\n"), no_wrap=True)
    for name in figures:
        table.add_column(name.replace(", ", "\n"), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(_cell(name, row.get(name, "")) for name in (first, *figures)))
    if title:
        console.print(printable(title))
    if _fits(console, table):
        console.print(table)
    else:
        _print_blocks(console, rows)


def _fits(console: "Console", table: "Table") -> bool:
    from rich.measure import Measurement

    width = Measurement.get(console, console.options.update(max_width=10_000), table).maximum
    if not console.is_terminal:  # a file or a pipe has no width
        console.width = max(console.width, width)
    return width <= console.width


def _print_blocks(console: "Console", rows: list[dict[str, Any]]) -> None:
    """Print the first value of each row, and below it the others with their names."""
    names = dict.fromkeys(name for row in rows for name in row)
    for row in rows:
        first, *others = row
        console.print(_cell(first, row[first]), soft_wrap=True)
        for name in others:
            console.print(f"  {name.replace(',', ''):{max(map(len, names))}}  {_cell(name, row[name])}")


def _cell(name: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2f}" if "PSNR" in name else f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else printable(value)
