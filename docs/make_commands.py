"""Write docs/commands.md from the commands' own help: python docs/make_commands.py."""

from pathlib import Path

from typer.main import get_command
from typer.testing import CliRunner

from subpixel.cli import app

HEADER = """# Commands

Results go to stdout, errors and progress to stderr. The exit status is 0 if all is done, 1 if something
failed, 2 if the command line is wrong, 130 after Ctrl-C, and 128 + n if another signal n ended the command.

`subpixel --install-completion` sets up completion by Tab in bash, zsh, fish or PowerShell;
`subpixel --show-completion` prints the script instead, and writes nothing. `subpixel --version` says which
version runs. `python -m subpixel` is the same command.

This page is made by `docs/make_commands.py`; the tests hold it to the commands' own help.
"""


def reference() -> str:
    """Return the help of every command, each in a code block of its own."""
    names = sorted(get_command(app).commands)
    return HEADER + "".join(f"\n## subpixel {name}\n\n```text\n{_help(name)}\n```\n" for name in names)


def _help(name: str) -> str:
    result = CliRunner().invoke(app, [name, "--help"], prog_name="subpixel", terminal_width=100)
    return "\n".join(line.rstrip() for line in result.output.strip().splitlines())


if __name__ == "__main__":
    Path(__file__).with_name("commands.md").write_text(reference())
