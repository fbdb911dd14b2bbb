"""`import subpixel`: the public names are there at their first use, for people and for type checkers."""

import subprocess
import sys
from pathlib import Path

import pytest

import subpixel


def run(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_dir_lists_the_public_names() -> None:
    """Before they are loaded, and nothing private among them."""
    names = run("-c", "import subpixel; print(*dir(subpixel))").split()
    assert set(subpixel.__all__) <= set(names)
    assert {name for name in names if not name.startswith("__")} == set(subpixel.__all__)


@pytest.mark.parametrize("name", subpixel.__all__)
def test_a_public_name_is_found_where_it_is_defined(name: str) -> None:
    """By the lookup itself, which is not asked once something else has imported a module."""
    assert subpixel.__getattr__(name).__name__.removeprefix("subpixel.") == name


def test_a_module_needs_no_import_of_its_own() -> None:
    assert "subpixel.nn" in run("-c", "import subpixel; print(subpixel.nn.ConvTranspose2d)")


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'subpixel' has no attribute 'Upscalr'"):
        subpixel.Upscalr  # noqa: B018 (looking it up is the test)


def test_a_type_checker_knows_each_name_and_no_other(tmp_path: Path) -> None:
    """A name spelt wrongly is an error before the program runs, and a right one is none."""
    uses = [f"subpixel.{name}" for name in [*subpixel.__all__, "Upscalr"]]
    (tmp_path / "user.py").write_text("\n".join(["import subpixel", *uses]))
    files = (str(tmp_path / "user.py"), subpixel.__file__)
    printed = run("-m", "mypy", "--config-file=", "--follow-imports=skip", f"--cache-dir={tmp_path}", *files)
    errors = [line.partition("error: ")[2] for line in printed.splitlines() if "user.py" in line]
    assert len(errors) == 1, printed
    assert errors[0].startswith('Module has no attribute "Upscalr"')
