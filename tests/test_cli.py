"""What every command does alike: version, help, completion, statuses, and what a terminal is sent."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from typer.main import get_command

import subpixel
from subpixel import cli
from subpixel.cli import app
from subpixel.cli.errors import describe
from subpixel.cli.show import print_rows, printable
from subpixel.models import MODELS
from subpixel.network import bicubic, shipped
from subpixel.rewriter import MismatchError

Run = Callable[..., tuple[int, str, str]]

COMMANDS = sorted(get_command(app).commands)  # type: ignore[attr-defined]


# What runs in the background of a script ignores Ctrl-C, and so would its children.
HEEDING = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
MAIN = f"{HEEDING}; from subpixel.cli import main; main()"


def start(*arguments: object, **environment: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", MAIN, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, env=os.environ | environment, **pipes)  # type: ignore[call-overload,no-any-return]


def in_a_process(*arguments: object, **environment: str) -> tuple[int, str, str]:
    with start(*arguments, **environment) as process:
        out, errors = process.communicate()
    return process.returncode, out, errors


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run the command in this process: exit status, output, errors."""
    terminate = signal.getsignal(signal.SIGTERM)

    def main(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["subpixel", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return (int(end.value.code or 0), *capsys.readouterr())

    yield main
    signal.signal(signal.SIGTERM, terminate)


def test_the_version(run: Run) -> None:
    assert run("--version") == (0, f"subpixel {subpixel.__version__}\n", "")


def test_python_runs_the_package_as_the_command() -> None:
    command = [sys.executable, "-m", "subpixel", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"subpixel {subpixel.__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_that_parses(name: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each example uses options and choices that the command has."""
    monkeypatch.setenv("COLUMNS", "200")
    status, out, errors = run(name, "--help")
    examples = re.findall(rf"Example: subpixel {name} (.*)", out)
    assert (status, errors) == (0, "")
    assert examples
    for example in examples:
        options = re.findall(r"(?<!\S)--[a-z-]+", example)
        assert all(re.search(rf"^\s+(-\w, )?{option}\b", out, re.MULTILINE) for option in options), example


def test_help_lists_the_commands_and_the_statuses(run: Run) -> None:
    out = run("--help")[1]
    assert re.findall(r"^  (\w+)  +\S.*[^.…]\.$", out, re.MULTILINE) != []
    assert set(re.findall(r"^  (\w+)  ", out, re.MULTILINE)) == set(COMMANDS)
    assert "..." not in out.partition("Commands:")[2]  # no sentence that is cut
    assert "Exit status: 0 all done, 1 something failed, 2 the command line is wrong" in out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("subpixel up", ["upscale"]),
        ("subpixel upscale --precision ", ["f32", "bf16"]),
        ("subpixel evaluate espcn", [*shipped()]),
        ("subpixel upscale --network espcn-x3", ["espcn-x3"]),
        ("subpixel upscale --network mine", []),
        ("subpixel train ", [*MODELS]),
    ],
)
def test_a_shell_completes(words: str, expected: list[str]) -> None:
    """By what bash asks of the command; it writes nothing."""
    position = str(len(words.split(" ")) - 1)
    asked = {"_SUBPIXEL_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": position}
    assert in_a_process(**asked)[1].split() == expected


def test_completion_is_shown_without_being_installed(tmp_path: Path) -> None:
    status, out, _ = in_a_process(
        "--show-completion", "bash", HOME=str(tmp_path), _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1"
    )
    assert status == 0
    assert "complete -o default -F _subpixel_completion subpixel" in out
    assert list(tmp_path.rglob("*")) == []


URL = "https://example.org/a.png"
WITHOUT_NETWORK = {
    "an image": ("upscale", URL),
    "a network": ("upscale", "a.png", "--network", URL),
    "an output": ("upscale", "a.png", "-o", URL),
    "a network to measure": ("evaluate", URL, "--data", "x"),
    "a test set": ("evaluate", "espcn-x2", "--data", URL),
    "a model": ("rewrite", URL),
    "training data": ("train", "espcn", "--data", URL, "--out", "x.safetensors"),
}


@pytest.mark.parametrize("what", WITHOUT_NETWORK)
def test_a_url_is_answered_as_such(what: str, run: Run) -> None:
    status, out, errors = run(*WITHOUT_NETWORK[what])
    assert (status, out, errors.count("\n")) == (2, "", 1)
    assert f"there is no network access; got {URL}. Download it first, and give its path." in errors


@pytest.mark.parametrize(
    "arguments", [("upscale", "a.png", "-o", ""), ("evaluate", "espcn-x2", "--data", "")]
)
def test_an_empty_path_names_its_option(arguments: tuple[str, ...], run: Run) -> None:
    status, _, errors = run(*arguments)
    assert status == 2
    assert errors.endswith(": a path must not be empty.\n")
    assert re.search("--out|--data", errors)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("photo.jpg", "No such command 'photo.jpg'. See: subpixel --help"),
        ("upscle", "No such command 'upscle'. Did you mean 'upscale'? See: subpixel --help"),
        ("networks --all", "No such option: --all. See: subpixel networks --help"),
        ("upscale", "Missing argument 'INPUT'. See: subpixel upscale --help"),
        ("upscale a.png --scale two", "Invalid value for '--scale': "),
        (
            "evaluate espcn-x9 --data .",
            "Invalid value for NETWORK: a network must be an existing file or one of",
        ),
        (
            "evaluate espcn-x2 --data . --engine onnxruntime --precision bf16",
            "Invalid value for --precision: ",
        ),
        (
            "train unet --data . --out x.safetensors",
            "Invalid value for 'MODEL': it must be one of espcn, plain; got 'unet'.",
        ),
        ("upscale a.png --engine foo", "Invalid value for '--engine': 'foo' is not one of "),
    ],
)
def test_a_wrong_command_line_is_one_line_that_says_what_or_where_to_look(
    line: str, told: str, run: Run
) -> None:
    status, out, errors = run(*line.split())
    assert (status, out, errors.count("\n")) == (2, "", 1)
    assert errors.startswith(f"subpixel: {told}")
    assert ("See: " in errors) == ("See: " in told)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (FileNotFoundError(2, "No such file or directory", "a.png"), "a.png: No such file or directory"),
        (FileNotFoundError(2, "No such file or directory", b"a.png"), "a.png: No such file or directory"),
        (ValueError("the scale must be 2; got 3."), "the scale must be 2; got 3."),
        (MismatchError("the model does not equal itself."), "the model does not equal itself."),
        (KeyError("x"), "internal error, KeyError: 'x' (--debug shows where)"),
    ],
)
def test_an_error_that_is_expected_is_told_without_its_type(error: Exception, line: str) -> None:
    assert describe(error) == line


@pytest.mark.parametrize("hidden", ["torch", "lightning_fabric"])
def test_training_names_its_own_extra(hidden: str, tmp_path: Path) -> None:
    """Whichever of its packages is missing: `[torch]` would not be enough."""
    code = f"import sys; sys.modules[{hidden!r}] = None; from subpixel.cli import main; main()"
    arguments = ("train", "espcn", "--data", tmp_path, "--out", tmp_path / "x.safetensors")
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"subpixel: {hidden} must be installed for this. Run: pip install 'subpixel[train]'\n"
    )


def test_a_reader_that_has_gone_is_no_error() -> None:
    """As in `subpixel networks --json | head -1`."""
    with start("networks", "--json") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_a_measurement_names_the_folder_and_its_images(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bicubic interpolation differs from itself at borders at most; the table says what JSON says."""
    monkeypatch.chdir(tmp_path)
    bicubic(2).save(tmp_path / "bicubic.safetensors")
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    PIL.Image.fromarray(noise).save(tmp_path / "a.png")
    status, table, errors = run("evaluate", "bicubic.safetensors", "--data", ".")
    assert (status, errors) == (0, "")
    assert table.startswith(f"bicubic-x2 on {tmp_path.name}\n")
    (result,) = json.loads(run("evaluate", "bicubic.safetensors", "--data", ".", "--json")[1])
    assert (result["network"], result["scale"], result["data"]) == ("bicubic-x2", 2, tmp_path.name)
    (image,) = result["images"]
    assert image["image"] == "a.png"
    assert image["PSNR"] == pytest.approx(image["bicubic PSNR"], abs=0.1)
    assert result["mean"] == image | {"image": "mean"}
    assert f"{image['PSNR']:.2f}" in table


def test_an_interrupted_measurement_is_one_line(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    for index in range(60):
        PIL.Image.fromarray(noise).save(tmp_path / f"{index}.png", compress_level=1)
    with start("evaluate", "espcn-x2", "-v", "--data", tmp_path) as process:
        assert process.stderr is not None
        ready = any(line.startswith("subpixel: bicubic-x2 runs on") for line in process.stderr)
        assert ready  # with the last network that is needed, for the chroma
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate()
    assert (process.returncode, out) == (130, "")
    assert errors.splitlines()[-1] == "subpixel: interrupted"
    assert "Traceback" not in errors


def test_control_characters_never_reach_the_terminal(tmp_path: Path, run: Run) -> None:
    """A name may hold colours, line breaks, or bytes that are not UTF-8."""
    for name in (b"ok\x1b[31m\n.png", b"bad\x1b[2J\r.png", b"odd\xff.png"):
        with (tmp_path / os.fsdecode(name)).open("wb") as file:
            if name.startswith(b"bad"):
                file.write(b"no image")
            else:
                PIL.Image.new("L", (8, 8)).save(file, "png")
    status, out, errors = run("upscale", tmp_path, "--recursive", "-o", tmp_path / "out")
    assert status == 1
    assert all(character.isprintable() or character == "\n" for character in out + errors)
    assert r"/ok\x1b[31m\n.png: 16x16" in out
    assert r"/bad\x1b[2J\r.png: " in errors
    assert r"/odd\xff.png: " in out + errors


def test_the_summary_names_ten_failures_and_counts_the_others(tmp_path: Path, run: Run) -> None:
    names = [f"{index:02}.png" for index in range(13)]
    for name in names:
        (tmp_path / name).write_text("no image")
    status, _, errors = run("upscale", tmp_path)
    last = errors.splitlines()[-1]
    assert status == 1
    assert len(errors.splitlines()) == 14
    assert last.startswith("subpixel: 13 of 13 failed: ")
    assert last.endswith(f"{tmp_path / '09.png'} and 3 more")
    assert last.count(".png") == 10


@pytest.mark.parametrize("text", ["plain é 漢字.png", "a  b.png"])
def test_ordinary_names_are_printed_as_they_are(text: str) -> None:
    assert printable(text) == text


def columns(text: str) -> int:
    return max(len(line.rstrip()) for line in text.splitlines())


@pytest.fixture
def terminal() -> Mapping[int, str]:
    """What `subpixel networks` prints on terminals of 60 and of 80 columns."""
    return {width: on_terminal(width) for width in (60, 80)}


def on_terminal(width: int) -> str:
    leader, follower = pty.openpty()
    command = [sys.executable, "-c", MAIN, "networks"]
    environment = os.environ | {"COLUMNS": str(width), "NO_COLOR": "1", "TERM": "xterm"}
    with subprocess.Popen(command, stdout=follower, stderr=subprocess.PIPE, env=environment):
        os.close(follower)
        shown = b""
        while True:
            try:
                shown += os.read(leader, 2**16)
            except OSError:  # the other end is closed
                break
    os.close(leader)
    return re.sub(r"\x1b\[[\d;]*m", "", shown.decode()).replace("\r", "")


def test_networks_tell_what_runs_them() -> None:
    """Only with -v: it takes longer; and where nothing can, why, beside the list."""
    status, out, errors = in_a_process("networks", "-v", "--json")
    for name in shipped():
        assert re.search(f"^subpixel: {name} runs on [a-z]+ in f32", errors, re.MULTILINE)
    assert [network["network"] for network in json.loads(out)] == [*shipped()]
    assert in_a_process("networks", "--json", SUBPIXEL_ISA="mmx") == (0, out, "")
    status, unchanged, errors = in_a_process("networks", "-v", "--json", SUBPIXEL_ISA="mmx")
    assert (status, unchanged) == (0, out)
    assert errors.startswith("subpixel: SUBPIXEL_ISA must be one of ")
    assert errors.count("\n") == 1


def test_networks_are_readable_in_narrow_terminals(terminal: Mapping[int, str], run: Run) -> None:
    """No line is wider than the terminal, and no word or figure is cut or broken."""
    figures = json.loads(run("networks", "--json")[1])
    assert [figure["network"] for figure in figures] == list(shipped())
    for width, text in terminal.items():
        assert columns(text) <= width
        assert "…" not in text
        for word in ("scale", "parameters", "MACs", "sees", "Set14"):
            assert word in text.split()
        for figure in figures:
            assert f"{figure['parameters']:,}" in text.split()
            assert f"{figure['psnr']['Set5']:.2f}" in text.split()


def test_a_table_in_a_file_is_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    """Only a terminal has a width."""
    name = "n" * 70
    print_rows([{"image": name, "PSNR": 30.123, "SSIM": 0.9}], title="[bold]title")
    title, header, _, row = (line.split() for line in capsys.readouterr().out.splitlines())
    assert (title, header, row) == (["[bold]title"], ["image", "PSNR", "SSIM"], [name, "30.12", "0.9000"])
