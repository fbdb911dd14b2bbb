"""`docs/algebra.md` shows what it says."""

import doctest
from pathlib import Path

from subpixel import kernels

PAGE = Path(__file__).parent.parent / "docs" / "algebra.md"


def test_every_snippet_prints_what_is_shown() -> None:
    results = doctest.testfile(str(PAGE), module_relative=False)
    assert results.failed == 0
    assert results.attempted > 25


def test_the_table_names_every_map() -> None:
    page = PAGE.read_text()
    public = [
        name for name, value in vars(kernels).items() if getattr(value, "__module__", "") == kernels.__name__
    ]
    maps = [name for name in public if not name.startswith("_") and name.islower()]
    assert len(maps) == 13
    assert [name for name in maps if f"`{name}`" not in page and f"{name}(" not in page] == []
