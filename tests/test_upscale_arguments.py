"""Arguments that are wrong, or unusual: one clear error, and before any work."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from subpixel import files, images
from subpixel.images import writer
from subpixel.jobs.plan import Job, Naming, plan
from subpixel.jobs.run import run
from subpixel.network import bicubic
from subpixel.upscale import Upscaler

UPSCALER = Upscaler(bicubic(2))
NAMING = Naming("-x2")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    PIL.Image.new("RGB", (6, 4), (200, 30, 90)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def command(*arguments: Any) -> "subprocess.CompletedProcess[str]":
    code = "from subpixel.cli import main; main()"
    line = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_an_intermediate_image_is_bounded(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A single row is asked for, but the factors reach it by an image of 96x64."""
    monkeypatch.setattr(writer, "MAX_OUTPUT_PIXELS", 96 * 64 - 1)
    with pytest.raises(ValueError, match=r"what is resampled to a size must have at most .*; got 96x64"):
        UPSCALER.file(photo, photo.with_name("out.png"), size=(60, 1))
    assert [file.name for file in photo.parent.iterdir()] == ["photo.png"]
    monkeypatch.setattr(writer, "MAX_OUTPUT_PIXELS", 96 * 64)
    assert UPSCALER.file(photo, photo.with_name("out.png"), size=(60, 1)).height == 1


def test_an_engines_failure_is_its_images_alone(photo: Path) -> None:
    def broken(_source: Path, _destination: Path) -> images.Written:
        raise RuntimeError("out of device memory")

    outcome = run(Job(photo, photo.with_name("out.png")), broken, overwrite=False)
    assert outcome.status == "failed"
    assert str(outcome.error) == "out of device memory"


def test_an_engine_that_cannot_is_told_once_and_first(photo: Path) -> None:
    inputs = (photo, photo.with_name("missing.png"))
    done = command("upscale", *inputs, "--engine", "onnxruntime", "--precision", "bf16")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Invalid value for --precision: " in done.stderr
    assert "precision must be f32 with the engine onnxruntime" in done.stderr


def test_an_empty_input_is_not_the_current_folder(photo: Path) -> None:
    done = command("upscale", photo, "")
    assert done.returncode == 2
    assert "a path must not be empty" in done.stderr


def test_one_file_spelt_twice_is_one_job(photo: Path) -> None:
    folder = photo.parent
    again = folder / ".." / folder.name / photo.name
    assert plan([photo, again], None, NAMING) == [Job(photo, folder / "photo-x2.png")]
    assert len(plan([folder, folder / ".." / folder.name], None, NAMING)) == 1


def test_a_file_is_no_output_folder(photo: Path) -> None:
    for out in (photo / "out.png", photo / "deeper" / "out.png"):
        outcome = run(Job(photo, out), UPSCALER.file, overwrite=False)
        assert str(outcome.error) == f"{photo} must be a folder; it is a file."


def test_what_cannot_be_cleaned_up_stops_no_write(tmp_path: Path) -> None:
    """A folder of that name, and a link to nowhere; an abandoned file is removed."""
    names = [f"{files.PREFIX}{name}.partial.png" for name in ("folder", "link", "file")]
    folder, link, file = (tmp_path / name for name in names)
    folder.mkdir()
    link.symlink_to("nowhere")
    file.touch()
    for path in (folder, file):
        long_ago = time.time() - 2 * files.ABANDONED_AFTER
        os.utime(path, (long_ago, long_ago))
    with files.replacing(tmp_path / "a") as temporary:
        temporary.write_text("whole")
    assert (tmp_path / "a").read_text() == "whole"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["a", folder.name, link.name])


def test_outputs_have_the_rights_of_any_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the process's mask is never touched: other threads create files meanwhile."""
    old = os.umask(0o027)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(os, "umask", lambda _: pytest.fail("the mask was changed"))
            with files.replacing(tmp_path / "a") as temporary:
                assert temporary.stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_gif_says_what_it_loses(photo: Path) -> None:
    gif = photo.with_suffix(".gif")
    told = ("GIF has 256 colours and no partial transparency: reduced",)
    assert UPSCALER.file(photo, gif).notes == told
    assert UPSCALER.file(gif, gif.with_name("again.gif")).notes == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": (0, 0)}, r"size must be two integers from 1, one of them perhaps None; got \(0, 0\)"),
        ({"size": (-5, None)}, "size must be two integers"),
        ({"size": (None, None)}, "size must be two integers"),
        ({"size": (9.5, 9)}, "size must be two integers"),
        ({"size": (9, 9, 9)}, "size must be two integers"),
        ({"size": (9, 9), "scale": 2}, r"scale must not be given with size; got scale=2, size=\(9, 9\)"),
        ({"quality": 0}, "quality must be an integer from 1 to 100; got 0"),
        ({"quality": 101}, "quality must be an integer from 1 to 100; got 101"),
        ({"quality": 90.5}, "quality must be an integer from 1 to 100; got 90.5"),
        ({"quality": float("nan")}, "quality must be an integer from 1 to 100; got nan"),
    ],
    ids=str,
)
def test_options_out_of_range_are_refused_before_the_file_is_read(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        UPSCALER.file(tmp_path / "missing.png", tmp_path / "out.jpg", **arguments)


def test_a_network_of_factor_one_reaches_no_size(photo: Path) -> None:
    same = Upscaler(bicubic(1))
    with pytest.raises(ValueError, match="a network must enlarge, to reach 20x10; its factor is 1"):
        same.file(photo, photo.with_name("out.png"), size=(20, 10))
    assert same.file(photo, photo.with_name("out.png"), size=(3, 2)).width == 3


@pytest.mark.parametrize("scale", [np.int8(2), np.uint8(2), np.int64(2)])
def test_a_scale_may_be_any_integer_of_numpy(scale: Any, photo: Path) -> None:
    """Small ones too, whose type cannot hold the width of the result."""
    assert UPSCALER.image(np.zeros((70, 200), np.uint8), scale).shape == (140, 400)
    assert UPSCALER.file(photo, photo.with_name("out.png"), scale=scale).width == 12
    assert type(UPSCALER.factor(scale)) is int


@pytest.mark.parametrize("side", [np.int8(100), np.int64(100)])
def test_a_size_may_have_any_integers_of_numpy(side: Any, photo: Path) -> None:
    written = UPSCALER.file(photo, photo.with_name("out.png"), size=(side, None))
    assert (written.width, written.height) == (100, 67)


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (5, 0)])
def test_an_image_without_pixels_is_refused(size: tuple[int, int]) -> None:
    message = f"an image must have at least one pixel; got {size[0]}x{size[1]}"
    for mode in ("RGB", "P", "1"):
        with pytest.raises(ValueError, match=message):
            UPSCALER.image(PIL.Image.new(mode, size))
    with pytest.raises(ValueError, match="pixels must be"):
        UPSCALER.image(np.zeros((*size[::-1], 3), np.uint8))


@pytest.mark.parametrize("scale", [2.0, "2", [2], float("nan"), np.float32(2)])
def test_a_scale_is_an_integer(scale: Any) -> None:
    with pytest.raises(TypeError, match="the scale must be an integer"):
        UPSCALER.image(np.zeros((4, 4), np.uint8), scale)


def test_a_network_is_a_name_a_path_or_a_network() -> None:
    with pytest.raises(TypeError, match="a network must be a name, a path or an LRNetwork; got 3"):
        Upscaler(3)  # type: ignore[arg-type]


def test_a_plane_is_an_array() -> None:
    with pytest.raises(TypeError, match="pixels must be a NumPy array; got list"):
        UPSCALER.plane([[1, 2]])  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_are_finite(value: float) -> None:
    plane = np.zeros((4, 4), np.float32)
    plane[2, 1] = value
    for enlarge in (UPSCALER.plane, UPSCALER.image):
        with pytest.raises(ValueError, match="pixels must be finite"):
            enlarge(plane)
