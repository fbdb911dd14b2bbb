"""How our docstrings appear on the site: an extension of Griffe, which reads them there."""

import re
from collections.abc import Iterator
from typing import Any

from griffe import Extension, Object

# Stars without a space on either side, which Markdown would take for emphasis: n*r, d*(k - 1), r**d.
PRODUCT = re.compile(r"(?<=[\w)\]])\*+(?=[\w(\[])")


class Sections(Extension):
    """Names the sections of our docstrings as Griffe does, and keeps the stars of formulas from Markdown."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Change the docstring of a module, a class, a function or an attribute."""
        if obj.docstring is not None:
            obj.docstring.value = "\n".join(_as_markdown(obj.docstring.value.splitlines()))


def _as_markdown(lines: list[str]) -> Iterator[str]:
    section = ""
    for line in lines:
        if line and not line.startswith(" "):
            section = line if re.fullmatch(r"[A-Z][a-z]+:", line) else ""
        if line == "Example:":
            yield "Examples:"
        elif line.startswith("References: "):
            yield line.replace("References:", "**References:**", 1)
        elif line.startswith(" ") and section in ("", "Example:"):  # a formula, or code
            yield line
        else:
            yield _escape_stars(line)


def _escape_stars(line: str) -> str:
    r"""Return a line in which no star of a product, as in n*r, begins emphasis; code in backticks stays."""
    prose_and_code = line.split("`")
    prose_and_code[::2] = [PRODUCT.sub(_escape, prose) for prose in prose_and_code[::2]]
    return "`".join(prose_and_code)


def _escape(stars: re.Match[str]) -> str:
    return r"\*" * len(stars[0])
