"""`subpixel export`: what it writes, where, and what it refuses."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest
from networks import random_network

from subpixel import cli
from subpixel.exporting.glsl import shader
from subpixel.exporting.onnx import model
from subpixel.network import load

Run = Callable[..., tuple[int, str, list[str]]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run `subpixel export` in a folder with a network: exit status, output, lines of errors."""
    monkeypatch.chdir(tmp_path)
    Path("models").mkdir()
    random_network(2, 3).save("models/mine.safetensors")
    terminate = signal.getsignal(signal.SIGTERM)

    def export(*arguments: str) -> tuple[int, str, list[str]]:
        monkeypatch.setattr(sys, "argv", ["subpixel", "export", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = capsys.readouterr()
        return int(end.value.code or 0), printed.out, printed.err.splitlines()

    yield export
    signal.signal(signal.SIGTERM, terminate)


def new_files() -> list[str]:
    return sorted(str(path) for path in Path().rglob("*") if path.is_file() and path.stem != "mine")


def test_a_shipped_network_goes_into_the_working_folder(run: Run) -> None:
    assert run("espcn-x2", "--to", "onnx") == (0, "espcn-x2.onnx\n", [])
    assert new_files() == ["espcn-x2.onnx"]
    assert onnx.load("espcn-x2.onnx") == model(load("espcn-x2"))


def test_a_shader_goes_there_too_and_needs_no_onnx(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert run("espcn-x2", "--to", "glsl") == (0, "espcn-x2.glsl\n", [])
    assert Path("espcn-x2.glsl").read_text() == shader(load("espcn-x2"))


def test_a_network_of_ones_own_is_written_beside_it_or_where_one_says(run: Run) -> None:
    mine = "models/mine.safetensors"
    assert run(mine, "--to", "onnx") == (0, "models/mine.onnx\n", [])
    assert run(mine, "--to", "onnx", "-o", "other.onnx") == (0, "other.onnx\n", [])
    assert Path("models/mine.onnx").read_bytes() == Path("other.onnx").read_bytes()
    assert onnx.load("other.onnx") == model(load(mine))


@pytest.mark.parametrize(
    ("arguments", "status", "error"),
    [
        (
            ("espcn-x9", "--to", "onnx"),
            2,
            "Invalid value for NETWORK: a network must be an existing file or one of",
        ),
        (("text.safetensors", "--to", "onnx"), 2, "text.safetensors must hold a valid LR network"),
        (("espcn-x2", "--to", "coreml"), 2, "Invalid value for '--to': 'coreml' is not"),
        (
            ("models/mine.safetensors", "--to", "glsl"),
            2,
            "Invalid value for --to: a shader enlarges luma, so the network must have one channel; got 3.",
        ),
        (("espcn-x2",), 2, "Missing option '--to'"),
        ((), 2, "Missing argument 'NETWORK'"),
        (
            ("espcn-x2", "--to", "onnx", "-o", "no/x.onnx"),
            2,
            "--out: its folder must exist; got no/x.onnx.",
        ),
        (
            ("espcn-x2", "--to", "onnx", "-o", "models"),
            2,
            "--out: it must be a file in a folder that can be written to; got models.",
        ),
        (
            ("espcn-x2", "--to", "onnx", "-o", "text.safetensors"),
            2,
            "--out: it must not exist; got text.safetensors. Remove it, or choose another.",
        ),
        (("espcn-x2", "--to", "onnx", "-o", ""), 2, "'--out' / '-o': a path must not be empty."),
        (("https://example.org/x", "--to", "onnx"), 2, "there is no network access"),
    ],
)
def test_errors_are_one_line(run: Run, arguments: tuple[str, ...], status: int, error: str) -> None:
    Path("text.safetensors").write_text("no network")
    actual, out, errors = run(*arguments)
    assert (actual, out, len(errors)) == (status, "", 1)
    assert error in errors[0]
    assert new_files() == ["text.safetensors"]
    assert Path("text.safetensors").read_text() == "no network"


def test_a_folder_that_cannot_be_written_to(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda _path, mode: mode != os.W_OK)
    status, out, (error,) = run("espcn-x2", "--to", "onnx")
    assert (status, out, new_files()) == (2, "", [])
    assert "--out: it must be a file in a folder that can be written to; got espcn-x2.onnx." in error


def test_a_missing_package_is_named_with_its_command(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "subpixel.exporting.onnx")
    status, out, (error,) = run("espcn-x2", "--to", "onnx")
    assert (status, out, new_files()) == (2, "", [])
    assert "onnx must be installed for this. Run: pip install 'subpixel[onnx]'" in error
