import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from safetensors.numpy import save as safetensors

from subpixel import cli, engines
from subpixel.engines import choice
from subpixel.network import bicubic

Run = Callable[..., tuple[int, str, list[str]]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run `subpixel upscale` in a folder of its own: exit status, output, lines of errors."""
    monkeypatch.chdir(tmp_path)
    bicubic(2).save(".network.safetensors")
    terminate = signal.getsignal(signal.SIGTERM)

    def upscale(*arguments: str, network: str | None = ".network.safetensors") -> tuple[int, str, list[str]]:
        chosen = () if network is None else ("--network", network)
        monkeypatch.setattr(sys, "argv", ["subpixel", "upscale", *arguments, *chosen])
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = capsys.readouterr()
        return int(end.value.code or 0), printed.out, printed.err.splitlines()

    yield upscale
    signal.signal(signal.SIGTERM, terminate)


def photo(*names: str, size: tuple[int, int] = (20, 12)) -> None:
    for index, name in enumerate(names):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", size, (40 * index, 90, 200)).save(name)


def size_of(name: str) -> tuple[int, int]:
    with PIL.Image.open(name) as image:
        return image.size


def files() -> list[str]:
    return sorted(
        str(path) for path in Path().rglob("*") if path.is_file() and path.name != ".network.safetensors"
    )


def test_a_photo_is_enlarged_beside_itself(run: Run) -> None:
    photo("photo.png")
    assert run("photo.png") == (0, "photo-x2.png: 40x24\n", [])
    assert size_of("photo-x2.png") == (40, 24)


@pytest.mark.parametrize(
    ("scale", "size"), [((), (40, 24)), (("--scale", "3"), (60, 36)), (("--scale", "4"), (80, 48))]
)
def test_networks_ship_for_every_scale(run: Run, scale: tuple[str, ...], size: tuple[int, int]) -> None:
    photo("photo.png")
    status, out, errors = run("photo.png", "-o", "out.png", *scale, network=None)
    assert (status, out, errors) == (0, f"out.png: {size[0]}x{size[1]}\n", [])
    assert size_of("out.png") == size


def test_what_exists_is_skipped_unless_it_is_to_be_replaced(run: Run) -> None:
    photo("a.png", "b.png")
    Path("a-x2.png").write_text("before")
    assert run("a.png", "b.png") == (
        0,
        "b-x2.png: 40x24\n",
        ["subpixel: skipped a-x2.png, which exists; --overwrite replaces"],
    )
    assert Path("a-x2.png").read_text() == "before"
    assert run("a.png", "b.png")[2] == ["subpixel: skipped 2 outputs that exist; --overwrite replaces"]
    assert run("a.png", "--overwrite") == (0, "a-x2.png: 40x24\n", [])
    assert size_of("a-x2.png") == (40, 24)


def test_folders_keep_their_tree(run: Run) -> None:
    photo("in/a.png", "in/sub/b.png")
    status, _, errors = run("in", "--recursive", "-o", "out", "--format", "webp")
    assert (status, errors) == (0, [])
    assert [name for name in files() if name.startswith("out")] == ["out/a.webp", "out/sub/b.webp"]


def test_the_size_is_reached(run: Run) -> None:
    photo("a.png")
    assert run("a.png", "--size", "50x25")[1] == "a-50x25.png: 50x25\n"
    assert run("a.png", "--size", "100x")[1] == "a-100x.png: 100x60\n"
    assert size_of("a-100x.png") == (100, 60)


def test_quality_is_passed_on(run: Run) -> None:
    Path("a.png").touch()
    noise = np.random.default_rng(0).integers(0, 256, (50, 50, 3), np.uint8)
    PIL.Image.fromarray(noise).save("a.png")
    for quality in ("5", "95"):
        assert run("a.png", "-o", f"{quality}.jpg", "--quality", quality)[0] == 0
    assert Path("5.jpg").stat().st_size < Path("95.jpg").stat().st_size / 3


def test_json_tells_all(run: Run) -> None:
    photo("a.png", "b.png", "b-x2.png")
    PIL.Image.new("RGBA", (9, 9)).save("t.png")
    status, out, _ = run("a.png", "b.png", "none.png", "--json")
    assert status == 1
    assert json.loads(out) == [
        {"input": "a.png", "output": "a-x2.png", "status": "written", "width": 40, "height": 24, "notes": []},
        {"input": "b.png", "output": "b-x2.png", "status": "skipped"},
        {
            "input": "none.png",
            "output": "none-x2.png",
            "status": "failed",
            "error": "none.png: No such file or directory",
        },
    ]
    notes = json.loads(run("t.png", "-o", "t.jpg", "--json")[1])[0]["notes"]
    assert notes == ["JPEG has no transparency: put on white"]


def test_what_is_lost_is_said(run: Run) -> None:
    PIL.Image.new("RGBA", (9, 9)).save("t.png")
    assert run("t.png", "-o", "t.jpg")[2] == ["subpixel: t.jpg: JPEG has no transparency: put on white"]


def test_other_images_are_done_and_failures_summed_up(run: Run) -> None:
    photo("good.png")
    Path("empty.png").touch()
    Path("text.png").write_text("hello")
    Path("cut.png").write_bytes(Path("good.png").read_bytes()[:50])
    status, out, errors = run("empty.png", "text.png", "good.png", "cut.png", "none.png")
    assert status == 1
    assert out == "good-x2.png: 40x24\n"
    assert [line.split(": ")[1] for line in errors[:-1]] == ["empty.png", "text.png", "cut.png", "none.png"]
    assert errors[0].endswith("the file is empty.")
    assert errors[3] == "subpixel: none.png: No such file or directory"
    assert errors[-1] == "subpixel: 4 of 5 failed: empty.png, text.png, cut.png, none.png"
    assert files() == ["cut.png", "empty.png", "good-x2.png", "good.png", "text.png"]


def test_one_failure_is_one_line(run: Run) -> None:
    Path("text.png").write_text("hello")
    status, out, errors = run("text.png")
    assert (status, out) == (1, "")
    assert len(errors) == 1
    assert errors[0].startswith("subpixel: text.png: not an image that can be read")


def test_a_folder_without_images_is_a_failure(run: Run) -> None:
    Path("folder").mkdir()
    assert run("folder") == (
        1,
        "",
        ["subpixel: folder: holds no images; --recursive searches the folders in it"],
    )


def test_files_of_other_kinds_in_a_folder_are_counted(run: Run) -> None:
    """In one line, and without a failure; each folder once, and what is hidden not at all."""
    photo("d/a.png", "e.png")
    for name in ("d/b.HEIC", "d/c.heic", "d/.hidden.heic", "d/notes.txt", "d/in/d.bmp", "f.bmp"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    line = "subpixel: left out, since they are not supported: "
    assert run("d", "d/", "e.png", "--overwrite")[::2] == (0, [f"{line}2 HEIC"])
    assert run("d", "--recursive", "--overwrite")[::2] == (0, [f"{line}1 BMP, 2 HEIC"])
    assert run("e.png", "--overwrite")[::2] == (0, [])
    Path("d/a.png").unlink()
    assert run("d")[2] == [
        (
            "subpixel: d: holds no images that can be read: 2 HEIC are not supported; "
            "--recursive searches the folders in it"
        )
    ]


def test_an_output_that_cannot_be_written_is_a_failure(run: Run) -> None:
    photo("a.png")
    Path("file").touch()
    Path("folder.jpg").mkdir()
    assert run("a.png", "-o", "file/a.png")[0] == 1
    assert run("a.png", "-o", "a.png")[2] == ["subpixel: a.png: the output must not be an input; got a.png"]
    assert run("a.png", "--format", "gif", "-o", "/proc/none")[0] == 1
    assert files() == ["a.png", "file"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--network", "espcn-x9"), "--network: a network must be"),
        (("--network", "text"), "--network: "),
        (("--scale", "7"), "--scale: the scale must be 2, 3 or 4; got 7"),
        (("--scale", "two"), "'--scale': "),
        (("--size", "0x"), "--size: it must be like 1920x1080, 1920x or x1080; got '0x'"),
        (("--size", "x"), "--size: it must be like"),
        (("--size", "9x9", "--scale", "2"), "--size: it cannot be given together with --scale"),
        (("--quality", "0"), "'--quality': "),
        (("--format", "bmp"), "--format: "),
        (("--format", "jpg", "-o", "out.png"), "--format: it must agree with --out, out.png"),
        (("--engine", "abacus"), "'--engine': "),
        (("--precision", "f16"), "'--precision': "),
        (("other.png", "-o", "out.png"), "--out: the output of several images must be a folder"),
        (("--frobnicate",), "No such option: --frobnicate"),
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_one_line_and_status_2(
    run: Run, arguments: tuple[str, ...], told: str
) -> None:
    photo("a.png")
    Path("text").write_text("hello")
    status, out, errors = run("a.png", *arguments, network=None)
    assert (status, out) == (2, "")
    assert len(errors) == 1
    assert told in errors[0]
    assert files() == ["a.png", "text"]


def hostile_weights() -> dict[str, bytes]:
    weights = {"convolutions.0.weight": np.ones((4, 1, 3, 3), np.float32)}
    return {
        "empty": b"",
        "text": b"hello, world",
        "pickle": b"\x80\x04cos\nsystem\n(S'touch owned'\ntR.",
        "a header longer than the file": (2**60).to_bytes(8, "little") + b"{}",
        "another's": safetensors(weights),
        "no numbers": safetensors({"convolutions.0.weight": np.full((4, 1, 3, 3), np.nan, np.float32)}),
    }


@pytest.mark.parametrize("kind", hostile_weights())
def test_a_corrupt_or_hostile_weights_file_is_refused(run: Run, kind: str) -> None:
    photo("a.png")
    Path("weights.safetensors").write_bytes(hostile_weights()[kind])
    status, out, errors = run("a.png", network="weights.safetensors")
    assert (status, out) == (2, "")
    assert len(errors) == 1
    assert "weights.safetensors must hold a valid LR network" in errors[0]
    assert files() == ["a.png", "weights.safetensors"]


@pytest.mark.parametrize("engine", ["onnxruntime", "torch"])
def test_a_missing_extra_is_told_with_its_remedy(
    run: Run, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo("a.png")
    monkeypatch.setitem(sys.modules, engine, None)
    importers = ("subpixel.engines.", "subpixel.without_telemetry.")
    for name in [name for name in sys.modules if name.startswith(importers)]:
        monkeypatch.delitem(sys.modules, name)
    status, out, errors = run("a.png", "--engine", engine)
    assert (status, out) == (2, "")
    assert len(errors) == 1
    assert f"pip install 'subpixel[{engine}]'" in errors[0]


@pytest.mark.parametrize(
    ("engine", "told"),
    [("auto", "at least one engine must start; got "), ("openvino", "no such instruction")],
)
def test_an_engine_that_does_not_start_is_no_internal_error(
    run: Run, monkeypatch: pytest.MonkeyPatch, engine: str, told: str
) -> None:
    def broken(*_arguments: object) -> None:
        raise RuntimeError("no such instruction")

    photo("a.png")
    for module in (engines, choice):
        monkeypatch.setattr(module, "build", broken)
    status, out, (error,) = run("a.png", "--engine", engine)
    assert (status, out) == (2, "")
    assert error.startswith(f"subpixel: Invalid value for --engine: {told}")
    assert "no such instruction" in error


def start(*arguments: str, **options: Any) -> "subprocess.Popen[str]":
    """The command in a process of its own."""
    # What runs in the background of a script ignores Ctrl-C, and so would its children.
    heeding = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heeding}; from subpixel.cli import main; main()"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(
        [sys.executable, "-c", code, "upscale", *arguments], text=True, **pipes, **options
    )  # type: ignore[call-overload,no-any-return]


def test_v_says_what_runs(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (20, 12)).save(tmp_path / "a.png")
    for engine, more in (("onnxruntime", ""), ("native", r" with \w+ on \d+ threads?")):
        with start("a.png", "-v", "--engine", engine, "--overwrite", cwd=tmp_path) as process:
            _, errors = process.communicate()
        assert process.returncode == 0
        assert re.search(f"^subpixel: espcn-x2 runs on {engine} in f32{more}$", errors, re.MULTILINE)


def test_debug_shows_where_and_nothing_else_does(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("hello")
    for option, expected in (("--debug", True), ("--verbose", False)):
        with start("a.png", option, "--engine", "onnxruntime", cwd=tmp_path) as process:
            _, errors = process.communicate()
        assert process.returncode == 1
        assert ("Traceback" in errors) == expected


@pytest.fixture
def batch(tmp_path: Path) -> Path:
    """A folder whose images take longer than it takes to interrupt them."""
    noise = np.random.default_rng(0).integers(0, 256, (700, 900, 3), np.uint8)
    (tmp_path / "in").mkdir()
    for index in range(3):
        PIL.Image.fromarray(noise).save(tmp_path / "in" / f"{index}.png", compress_level=1)
    return tmp_path


def interrupt(batch: Path, number: signal.Signals) -> tuple[int, str]:
    """Send a signal while the second image is in work."""
    with start("in", "-o", "out", cwd=batch) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "out/0.png: 1800x1400\n"
        deadline = time.monotonic() + 60
        while not list(batch.glob("out/.subpixel-*")):
            assert time.monotonic() < deadline
        process.send_signal(number)
        _, errors = process.communicate()
    return process.returncode, errors


@pytest.mark.parametrize(
    ("number", "status", "told"),
    [
        (signal.SIGINT, 130, "subpixel: interrupted; the same command continues where it stopped\n"),
        (signal.SIGTERM, 143, ""),
        (signal.SIGKILL, -signal.SIGKILL, ""),
    ],
)
def test_an_interrupted_batch_leaves_whole_files_and_goes_on(
    batch: Path, number: signal.Signals, status: int, told: str
) -> None:
    """Ctrl-C and termination remove what is half done; a kill leaves at most a hidden file."""
    assert interrupt(batch, number) == (status, told)
    done = sorted(batch.glob("out/[0-2].png"))
    hidden = list(batch.glob("out/.*"))
    assert 1 <= len(done) < 3
    assert len(hidden) <= (1 if number == signal.SIGKILL else 0)
    for path in done:
        with PIL.Image.open(path) as image:
            image.load()
    times = {path: path.stat().st_mtime_ns for path in done}
    with start("in", "-o", "out", cwd=batch) as process:
        _, errors = process.communicate()
    assert process.returncode == 0
    assert "skipped" in errors
    assert sorted(path.name for path in batch.glob("out/*")) == [f"{index}.png" for index in range(3)]
    assert {path: path.stat().st_mtime_ns for path in done} == times


def test_a_progress_bar_shows_on_a_terminal_and_only_there(batch: Path) -> None:
    leader, follower = pty.openpty()
    command = [sys.executable, "-c", "from subpixel.cli import main; main()", "upscale", "in/0.png"]
    with subprocess.Popen(command, cwd=batch, stdout=subprocess.PIPE, stderr=follower, text=True) as process:
        os.close(follower)
        shown = b""
        while True:
            try:
                shown += os.read(leader, 2**16)
            except OSError:  # the other end is closed
                break
        out, _ = process.communicate()
    os.close(leader)
    assert process.returncode == 0
    assert out == "in/0-x2.png: 1800x1400\n"
    assert "━".encode() in shown
    assert b"0.png" in shown
