"""What is documented is what runs."""

import re
import runpy
import shlex
from pathlib import Path
from shutil import copytree

import PIL.Image
import pytest
from typer.main import get_command

from subpixel.cli import _repeated, app

ROOT = Path(__file__).parent.parent
PAGES = {str(page.relative_to(ROOT)): page for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]}
TEXTS = {name: page.read_text() for name, page in sorted(PAGES.items())}


def code(text: str, language: str) -> str:
    """Return the code blocks of one language, one after the other; not those of a session (>>>)."""
    blocks = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return "\n".join(block for block in blocks if not block.startswith(">>>"))


def command_lines(text: str) -> list[str]:
    """Return our command lines: in blocks for a shell, alone in backticks, and in the examples of a help."""
    typed = re.findall(r"^(?:.*&& )?(subpixel .*)", code(text, "sh"), re.MULTILINE)
    typed += re.findall(r"`(subpixel \w[^`\n]*)`", text)
    return typed + re.findall(r"Example: (subpixel .*)", text)


def test_the_command_reference_is_the_commands_help() -> None:
    """If this fails: python docs/make_commands.py."""
    reference = runpy.run_path(str(ROOT / "docs" / "make_commands.py"))["reference"]()
    assert TEXTS["docs/commands.md"] == reference


def test_the_picture_of_the_engine_is_what_its_script_draws() -> None:
    """If this fails: python docs/make_engine.py."""
    drawn = runpy.run_path(str(ROOT / "docs" / "make_engine.py"))["picture"]()
    assert (ROOT / "docs" / "engine.svg").read_text() == drawn


@pytest.mark.parametrize("page", [name for name, text in TEXTS.items() if code(text, "python")])
def test_python_in_the_documentation_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python blocks of a page, one after the other, in a folder with a photo."""
    copytree(ROOT / "examples", tmp_path / "examples")
    PIL.Image.open(ROOT / "examples" / "photo.png").resize((60, 40)).save(tmp_path / "a.jpg")
    monkeypatch.chdir(tmp_path)
    exec(code(TEXTS[page], "python"), {})


def test_code_and_command_lines_are_found() -> None:
    """The tests that run what they find would pass if they found nothing."""
    found = {name for name, text in TEXTS.items() if code(text, "python")}
    assert {"README.md", "docs/python.md", "docs/layers.md", "docs/rewriting.md"} <= found
    assert code(TEXTS["docs/algebra.md"], "python") == ""  # tests/test_algebra_page.py runs its sessions
    assert sum(len(command_lines(text)) for text in TEXTS.values()) > 30


@pytest.mark.parametrize("page", [name for name, text in TEXTS.items() if command_lines(text)])
def test_command_lines_can_be_typed(page: str) -> None:
    """Every command exists, with every option that is given, and every option has its value."""
    group = get_command(app)
    for line in command_lines(TEXTS[page]):
        name, *arguments = _repeated(shlex.split(line, comments=True)[1:])
        command = group if name.startswith("-") else group.commands[name]
        parser = command.make_parser(command.context_class(command, info_name=name))
        parser.parse_args([name] if command is group else arguments)


@pytest.mark.parametrize("page", TEXTS)
def test_files_that_a_page_names_exist(page: str) -> None:
    """Links, which stay within the folder of the site's pages, and paths in the repository."""
    folder = PAGES[page].parent
    links = [link for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", TEXTS[page]) if "://" not in link]
    assert all((folder / link).exists() for link in links), links
    if page == "README.md":
        return
    assert all(ROOT / "docs" in (folder / link).resolve().parents for link in links), links
    paths = re.findall(r"`((?:src|tests|docs|tools|benchmarks|examples)/[^` ]*)`", TEXTS[page])
    assert all([*ROOT.glob(path)] for path in paths), paths
