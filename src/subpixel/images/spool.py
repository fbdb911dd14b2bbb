"""Pixels in a scratch file: an uncompressed BigTIFF, which libvips streams.

libvips would map a file of nothing but pixels into memory whole.

References: TIFF 6.0, section 8; BigTIFF.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from subpixel.files import DISK_FULL, naming_a_full_disk
from subpixel.images import libvips
from subpixel.images.tags import Entry, Ifd, serialised
from subpixel.raster import Colour, Layout, Raster

STRIP_BYTES = 2**22

_PHOTOMETRIC: dict[Colour, int] = {"grey": 1, "rgb": 2, "cmyk": 5}
_STRIP_OFFSETS = 0x0111
_HEADER = b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0"  # little-endian, 8 bytes an offset, the directory at 16


class Scratch(NamedTuple):
    """An open file without a name, which not even SIGKILL leaves behind, and a folder on its disk."""

    file: IO[bytes]
    folder: Path


@contextmanager
def scratch_file(folder: Path, pages: Sequence[Raster]) -> Iterator[Scratch]:
    """Open a scratch file for all pixels of an output in this folder, where there is room for it.

    Raises:
        OSError: there is not enough room.
    """
    first = pages[0]
    needed = first.width * first.height * len(pages) * first.layout.bands * first.dtype.itemsize
    place = roomier(folder, _temporary_folder() or folder)
    total, _, free = shutil.disk_usage(place)
    if free < needed and total > 0:  # some file systems give neither
        reason = f"{DISK_FULL}: {needed / 1e6:.0f} MB are needed for a while, {free / 1e6:.0f} MB are free"
        raise OSError(errno.ENOSPC, reason, str(place))
    with tempfile.TemporaryFile(dir=place) as file:
        yield Scratch(file, place)


def roomier(folder: Path, temporary: Path) -> Path:
    """Return the temporary folder where it is on another disk with more room, else the folder.

    Memory that looks like a disk does not count: a scratch file is as large as the output, uncompressed.
    """
    if _device(folder) == _device(temporary) or _is_in_memory(temporary):
        return folder
    return max(folder, temporary, key=lambda place: shutil.disk_usage(place).free)


def _temporary_folder() -> Path | None:
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:  # there is none that can be written to
        return None


def _device(folder: Path) -> int:
    return folder.stat().st_dev


def _is_in_memory(folder: Path) -> bool:
    """Return whether a folder is on a file system in memory, as far as Linux says."""
    device = _device(folder)
    number = f"{os.major(device)}:{os.minor(device)}" if hasattr(os, "major") else ""
    try:
        mounts = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return False
    kinds = [line.partition(" - ")[2].split()[0] for line in mounts if line.split()[2] == number]
    return any(kind in ("tmpfs", "ramfs") for kind in kinds)


def write(pages: Sequence[Raster], scratch: Scratch) -> Iterator[float]:
    """Write all pixels to a scratch file, giving the fraction done after each strip."""
    first = pages[0]
    scratch.file.write(head(first.width, first.height * len(pages), first.layout, first.dtype.itemsize))
    rows = sum(page.height for page in pages)
    done = 0
    for page in pages:
        for strip in page.strips:
            with naming_a_full_disk(scratch.folder):
                scratch.file.write(np.ascontiguousarray(strip, strip.dtype.newbyteorder("<")).data)
            done += len(strip)
            yield done / rows
    with naming_a_full_disk(scratch.folder):
        scratch.file.flush()


def opened(scratch: Scratch, pages: Sequence[Raster]) -> Any:
    """Return a scratch file as an image, opened by its descriptor: it has no name."""
    image = libvips.open_descriptor(scratch.file.fileno()).copy()
    if len(pages) > 1:
        libvips.set_page_height(image, pages[0].height)
    return image


def head(width: int, height: int, layout: Layout, itemsize: int) -> bytes:
    """Return what comes before the pixels, which follow in rows from the top, little-endian.

    Args:
        width: in pixels.
        height: in pixels.
        layout: what the bands are.
        itemsize: bytes a sample, 1 or 2.
    """
    line = width * layout.bands * itemsize
    rows = max(1, STRIP_BYTES // line)
    tops = range(0, height, rows)
    tags: Ifd = {
        0x0100: _long8(width),
        0x0101: _long8(height),
        0x0102: _short(*[8 * itemsize] * layout.bands),
        0x0103: _short(1),  # not compressed
        0x0106: _short(_PHOTOMETRIC[layout.colour]),
        _STRIP_OFFSETS: _long8(*tops),  # of the right length for now
        0x0115: _short(layout.bands),
        0x0116: _long8(rows),
        0x0117: _long8(*(line * min(rows, height - top) for top in tops)),  # bytes of each strip
    }
    if layout.alpha:
        tags[0x0152] = _short(2)  # opacity, not premultiplied
    length = len(_HEADER) + len(serialised(tags, len(_HEADER), big=True))
    tags[_STRIP_OFFSETS] = _long8(*(length + line * top for top in tops))
    return _HEADER + serialised(tags, len(_HEADER), big=True)


def _short(*numbers: int) -> Entry:
    return Entry(3, len(numbers), np.array(numbers, "<u2").tobytes())


def _long8(*numbers: int) -> Entry:
    return Entry(16, len(numbers), np.array(numbers, "<u8").tobytes())
