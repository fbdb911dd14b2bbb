"""Disks without room, and where scratch files go."""

import errno
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import pytest
import pyvips

from subpixel.images import libvips, spool
from subpixel.network import bicubic
from subpixel.raster import Layout, Raster
from subpixel.upscale import Upscaler


class Usage(NamedTuple):
    """As `shutil.disk_usage` gives it."""

    total: int
    used: int
    free: int


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (500, 600, 3), np.uint8)
    PIL.Image.fromarray(noise).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def check_refused(photo: Path, message: str, folder: Path) -> None:
    """Nothing is left, and the error names a folder on the disk."""
    with pytest.raises(OSError, match=message) as error:
        Upscaler(bicubic(2)).file(photo, photo.with_name("out.png"))
    assert (error.value.errno, error.value.filename) == (errno.ENOSPC, str(folder))
    assert [path.name for path in photo.parent.iterdir()] == [photo.name]


@pytest.mark.parametrize(
    ("free", "temporary_free", "in_memory", "chosen"),
    [
        (10, 20, False, "temporary"),
        (20, 10, False, "folder"),
        (10, 10, False, "folder"),
        (10, 20, True, "folder"),
    ],
)
def test_scratch_files_go_to_the_disk_with_more_room_but_not_into_memory(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    free: int,
    temporary_free: int,
    in_memory: bool,
    chosen: str,
) -> None:
    folder, temporary = tmp_path / "folder", tmp_path / "temporary"
    for path in (folder, temporary):
        path.mkdir()
    room = {folder: free, temporary: temporary_free}
    assert spool.roomier(folder, temporary) == folder  # of the same disk
    monkeypatch.setattr(spool, "_device", lambda path: room[path] + (path == folder))
    monkeypatch.setattr(spool, "_is_in_memory", lambda _: in_memory)
    monkeypatch.setattr(spool.shutil, "disk_usage", lambda path: Usage(99, 0, room[path]))
    assert spool.roomier(folder, temporary).name == chosen


def test_a_machine_without_a_temporary_folder_needs_none(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(spool.tempfile, "gettempdir", missing)
    assert Upscaler(bicubic(2)).file(photo, photo.with_name("out.png")).width == 1200


def test_what_has_no_room_is_refused_before_any_work(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scratch file takes 1200 * 1000 * 3 bytes."""
    monkeypatch.setattr(spool.shutil, "disk_usage", lambda _: Usage(10**9, 0, 3_599_999))
    check_refused(photo, "disk full: 4 MB are needed for a while, 4 MB are free", photo.parent)
    monkeypatch.setattr(spool.shutil, "disk_usage", lambda _: Usage(0, 0, 0))  # a disk that does not tell
    assert Upscaler(bicubic(2)).file(photo, photo.with_name("out.png")).width == 1200


def test_a_disk_that_fills_up_under_the_scratch_file_is_named(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            if memoryview(data).nbytes > 10_000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    monkeypatch.setattr(spool.tempfile, "TemporaryFile", lambda **_: Full())
    check_refused(photo, "disk full", photo.parent)


def test_a_disk_that_fills_up_under_the_output_is_named(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said in the middle of libvips's words."""

    def full(*_: Any) -> None:
        raise pyvips.Error(
            "unable to call pngsave", "wbuffer_write: write failed\nunix error: No space left on device"
        )

    monkeypatch.setattr(libvips, "save", full)
    check_refused(photo, "disk full", photo.parent)


def test_pixels_come_out_of_a_scratch_file_as_they_went_in(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 2**16, (70, 33, 2), np.uint16)

    def strips() -> Iterator[Any]:
        yield pixels[:50]
        yield pixels[50:]

    page = Raster(33, 70, Layout("grey", alpha=True), pixels.dtype, strips())
    with spool.scratch_file(tmp_path, [page]) as scratch:
        assert list(spool.write([page], scratch)) == [50 / 70, 1]
        np.testing.assert_array_equal(spool.opened(scratch, [page]).numpy(), pixels)
    assert list(tmp_path.iterdir()) == []
