"""A result as files: a page in Markdown, its table, its pictures as SVG and PNG."""

import csv
import io
import platform
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryFile

from subpixel.extras import needing
from subpixel.files import replacing
from subpixel.measure.machine import features, processor, processors
from subpixel.studies.lab.palette import STYLE
from subpixel.studies.lab.study import Picture, Result, Row, Study

with needing("study"):
    import matplotlib as mpl

VECTORS = ("avx2", "avx512f", "avx512bf16", "amxbf16", "asimd", "sve")  # instruction sets worth a word


def check_writable(folder: Path) -> None:
    """Make a folder, and refuse one that could not be written after hours.

    Raises:
        OSError: the folder cannot be made, or nothing can be written into it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from None


def write(study: Study, result: Result, folder: Path, *, command: str, seconds: float, data: str) -> Path:
    """Write the page of a study, its table and its pictures: all of them, or none if one does not fit.

    Args:
        study: what was asked.
        result: what was found.
        folder: where the files go.
        command: the command line that made the result.
        seconds: how long that took.
        data: what it was made from.

    Returns:
        The page, NAME.md.
    """
    with mpl.rc_context(STYLE):
        pictures = study.draw(result)
        files = {name: content for picture in pictures for name, content in _drawn(picture)}
    files[f"{study.name}.csv"] = _as_csv(result.table).encode()
    page = "\n\n".join(_sections(study, result, pictures, command, seconds, data)) + "\n"
    files[f"{study.name}.md"] = page.encode()
    with ExitStack() as stack:  # files take their places when all are written, the page last
        for name, content in reversed(files.items()):
            stack.enter_context(replacing(folder / name)).write_bytes(content)
    return folder / f"{study.name}.md"


def _drawn(picture: Picture) -> Iterator[tuple[str, bytes]]:
    """Yield the names and the bytes of a picture's files."""
    for suffix, metadata in (("svg", {"Date": None}), ("png", {})):
        stream = io.BytesIO()
        picture.figure.savefig(stream, format=suffix, metadata=metadata)
        yield f"{picture.name}.{suffix}", stream.getvalue()


def _sections(
    study: Study, result: Result, pictures: Sequence[Picture], command: str, seconds: float, data: str
) -> Iterator[str]:
    yield f"# {study.title}"
    yield _prose(study.text.strip())
    yield "## What was found"
    yield "\n".join(f"- {_prose(finding)}" for finding in result.findings)
    for picture in pictures:
        caption = _prose(picture.caption)
        yield f"![{caption}]({picture.name}.svg)\n\n*{caption}*"
    yield f"## The table\n\n[As CSV]({study.name}.csv)"
    yield as_markdown(result.table)
    yield "## What must hold, and " + ("does" if all(result.checks.values()) else "does not always")
    marks = {True: "", False: "**Does not hold:** "}
    yield "\n".join(f"- {marks[holds]}{_prose(check)}" for check, holds in result.checks.items())
    yield f"## How it was made\n\n    {command}"
    yield f"In {duration(seconds)}, on {machine()}." + (f" Data: {data}." if data else "")


def _prose(text: str) -> str:
    r"""Return text in which Markdown takes no star of a product, as in k*r or r**d, for emphasis.

    Example:
        >>> print(_prose("r**d maps, *each* of `k*r` taps"))
        r\*\*d maps, *each* of `k*r` taps
    """
    prose_and_code = text.split("`")
    for index, prose in enumerate(prose_and_code[::2]):
        prose_and_code[2 * index] = re.sub(r"(?<=[\w)\]])\*+(?=[\w(\[])", _escape, prose)
    return "`".join(prose_and_code)


def _escape(stars: re.Match[str]) -> str:
    return r"\*" * len(stars[0])


def machine() -> str:
    """Return the machine and the versions in one line."""
    vectors = ", ".join(name for name in features() if name in VECTORS)
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "torch"))
    python = platform.python_version()
    count = processors()
    used = f"{count} processor{'s' if count > 1 else ''}"
    return f"{processor()}, {used}, {vectors}; Python {python}, {packages}"


def duration(seconds: float) -> str:
    """Return a length of time in words.

    Example:
        >>> duration(7.26), duration(754)
        ('7.3 s', '13 min')
    """
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def as_markdown(table: Sequence[Row]) -> str:
    """Return rows as a table in Markdown.

    Example:
        >>> print(as_markdown([{"network": "LR", "PSNR": 31.254}]))
        | network | PSNR |
        |---|--:|
        | LR | 31.25 |
    """
    columns = list(table[0])
    sides = ["---" if isinstance(table[0][name], str) else "--:" for name in columns]
    rows = [columns, *([as_text(row[name]) for name in columns] for row in table)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], f"|{'|'.join(sides)}|", *lines[1:]])


def as_text(value: str | float) -> str:
    """Return a cell of a table: integers with separators, other numbers with four digits that count.

    Example:
        >>> as_text(9216), as_text(31.2544), as_text(1.25e-9), as_text("tanh")
        ('9,216', '31.25', '1.25e-09', 'tanh')
    """
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _as_csv(table: Sequence[Row]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return stream.getvalue()
