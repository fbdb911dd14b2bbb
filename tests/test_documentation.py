"""What is documented is what runs."""

import re
import runpy
from pathlib import Path
from shutil import copytree

import PIL.Image
import pytest

ROOT = Path(__file__).parent.parent


def test_the_command_reference_is_the_commands_help() -> None:
    """If this fails: python docs/make_commands.py."""
    reference = runpy.run_path(str(ROOT / "docs" / "make_commands.py"))["reference"]()
    assert (ROOT / "docs" / "commands.md").read_text() == reference


@pytest.mark.parametrize("page", ["README.md", "docs/python.md", "docs/rewriting.md", "docs/extending.md"])
def test_python_in_the_documentation_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python blocks of a page, one after the other, in a folder with a photo."""
    copytree(ROOT / "examples", tmp_path / "examples")
    PIL.Image.open(ROOT / "examples" / "photo.png").resize((60, 40)).save(tmp_path / "a.jpg")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert blocks
    exec("\n".join(blocks), {})


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/*.md")), ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page: Path) -> None:
    """Links, and paths in the repository, of which a pattern names one at least."""
    text = page.read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert all((page.parent / link).exists() for link in links), links
    paths = re.findall(r"`((?:src|tests|docs|tools|benchmarks|examples)/[^` ]*)`", text)
    assert all([*ROOT.glob(path)] for path in paths), paths
