"""What is documented is what runs."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_the_command_reference_is_the_commands_help() -> None:
    """If this fails: python docs/make_commands.py."""
    reference = runpy.run_path(str(ROOT / "docs" / "make_commands.py"))["reference"]()
    assert (ROOT / "docs" / "commands.md").read_text() == reference


@pytest.mark.parametrize("page", ["README.md", "docs/rewriting.md"])
def test_python_in_the_documentation_runs(page: str) -> None:
    """The Python blocks of a page, one after the other."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert blocks
    exec("\n".join(blocks), {})
