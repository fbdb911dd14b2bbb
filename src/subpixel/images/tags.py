"""EXIF and TIFF tags kept as they are, but for what enlarging changes.

libvips rewrites EXIF and drops the tags that it does not know, and drops most tags of TIFF files. EXIF is
itself a TIFF structure: a header, then directories (IFD) of entries of 12 bytes. All of it is untrusted.

References: TIFF 6.0, section 2; Exif 2.32, section 4.6.
"""

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Union

import numpy as np

EXIF_IFD, GPS_IFD, INTEROPERABILITY_IFD = 0x8769, 0x8825, 0xA005
SUBFILE_TYPE, ORIENTATION = 0x00FE, 0x0112
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
WIDTHS = (0x0100, 0xA002)  # ImageWidth, PixelXDimension
HEIGHTS = (0x0101, 0xA003)
THUMBNAIL, THUMBNAIL_LENGTH = 0x0201, 0x0202

# The tags of a TIFF file that tell of the picture, not of how the file stores it.
DESCRIPTIVE = {
    X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT,
    0x010D, 0x010E, 0x010F, 0x0110, 0x011D, 0x0131, 0x0132, 0x013B, 0x013C,  # DocumentName ... HostComputer
    0x4746, 0x4749,  # Rating, RatingPercent
    0x8298, EXIF_IFD, GPS_IFD,
    0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F,  # XPTitle ... XPSubject
    0xC614, 0xC62F,  # UniqueCameraModel, CameraSerialNumber
}  # fmt: skip

CARRIED_BY_LIBVIPS = {
    0x83BB,
    0x8649,
    0x8773,
}  # IPTC, Photoshop's data, the ICC profile; XMP is no private tag
FIRST_PRIVATE = 0x8000

MAX_ENTRIES = 4096  # of a directory
MAX_BYTES = 2**26  # entries may overlap, and so could ask for more than the file has

_POINTERS = (EXIF_IFD, GPS_IFD, INTEROPERABILITY_IFD)
_UNITS = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 4,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 4,
    11: 4,
    12: 8,
}  # bytes that swap together
_RATIONALS = (5, 10)
_HEADER = b"II*\0\x08\0\0\0"


class Entry(NamedTuple):
    """An entry: TIFF's type, the number of values, and the values in little-endian order."""

    kind: int
    number: int
    values: bytes


Ifd = dict[int, Union[Entry, "Ifd"]]


def corrected(exif: bytes, width: int, height: int) -> bytes:
    """EXIF of an upright picture of a new size, without thumbnail; all other bytes as they were.

    Raises:
        ValueError: it is broken.
    """
    data = bytearray(exif)
    try:
        order, first = _header(data)
        _correct(data, first, order, width, height)
        if (pointer := dict(_entries(data, first, order)).get(EXIF_IFD)) is not None:
            _correct(data, struct.unpack_from(order + "I", data, pointer + 8)[0], order, width, height)
        _remove_thumbnail(data, first, order)
    except struct.error as error:
        raise ValueError("EXIF must not point beyond its end.") from error
    return bytes(data)


def of_tiff(path: Path) -> Ifd:
    """The first directory of a TIFF file; empty for a BigTIFF.

    Raises:
        ValueError: it is broken.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _parse(data) if data[:4] in (b"II*\0", b"MM\0*") else {}


def has_only_previews(path: Path) -> bool:
    """Whether what is behind the first page of a TIFF file are smaller versions of it, as thumbnails are."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[:4] not in (b"II*\0", b"MM\0*"):
            return False
        order, first = _header(data)
        try:
            further = list(_following(data, first, order))
            return bool(further) and all(_is_reduced(data, ifd, order) for ifd in further)
        except struct.error:
            return False


def to_exif(tags: Ifd) -> tuple[bytes | None, list[int]]:
    """What a TIFF file tells of its picture, as EXIF if it tells anything; and the private tags left out."""
    kept_tags = {tag: value for tag, value in tags.items() if tag in DESCRIPTIVE}
    left_out = [tag for tag in tags if tag >= FIRST_PRIVATE and tag not in DESCRIPTIVE | CARRIED_BY_LIBVIPS]
    return (_HEADER + serialised(kept_tags, len(_HEADER)) if kept_tags else None), left_out


def add_to_tiff(path: Path, exif: bytes) -> bool:
    """Add to a TIFF file what EXIF tells of the picture and the file does not.

    The file's first directory is written anew, at its end.

    Returns:
        Whether it was possible: a BigTIFF takes none.
    """
    kept_tags = {tag: value for tag, value in _parse(exif).items() if tag in DESCRIPTIVE}
    with path.open("r+b") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data[:4] != b"II*\0":
                return not kept_tags.keys() - {X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT}
            order, first = _header(data)
            ifd, following = _parse(data), next(_following(data, first, order), 0)
            end = len(data) + len(data) % 2
        file.seek(4)
        file.write(struct.pack("<I", end))
        file.seek(end)
        file.write(serialised({**kept_tags, **ifd}, end, following))
    return True


def of_resolution(across: float, down: float) -> bytes:
    """EXIF that tells a resolution, in pixels a millimetre, for formats that have no other place for it."""
    x, y = (Entry(5, 1, struct.pack("<II", round(dots * 25400), 1000)) for dots in (across, down))
    inches = Entry(3, 1, b"\2\0")
    tags: Ifd = {X_RESOLUTION: x, Y_RESOLUTION: y, RESOLUTION_UNIT: inches}
    return _HEADER + serialised(tags, len(_HEADER))


def has_resolution(exif: bytes) -> bool:
    """Whether valid EXIF tells a resolution."""
    order, first = _header(exif)
    return any(tag == X_RESOLUTION for tag, _ in _entries(exif, first, order))


def _header(data: bytes | bytearray | mmap.mmap) -> tuple[str, int]:
    """The byte order, as `struct` writes it, and where the first directory is."""
    orders = {b"II": "<", b"MM": ">"}
    if bytes(data[:2]) not in orders:
        raise ValueError(f"EXIF must start with II or MM; got {bytes(data[:2])!r}.")
    order = orders[bytes(data[:2])]
    return order, struct.unpack_from(order + "I", data, 4)[0]


def _entries(data: bytes | bytearray | mmap.mmap, ifd: int, order: str) -> Iterator[tuple[int, int]]:
    """The tag and the place of each entry."""
    (count,) = struct.unpack_from(order + "H", data, ifd)
    if count > MAX_ENTRIES:
        raise ValueError(f"a directory of tags must have at most {MAX_ENTRIES}; got {count}.")
    for at in range(ifd + 2, ifd + 2 + 12 * count, 12):
        yield struct.unpack_from(order + "H", data, at)[0], at


def _correct(data: bytearray, ifd: int, order: str, width: int, height: int) -> None:
    for tag, at in _entries(data, ifd, order):
        if tag == ORIENTATION:
            struct.pack_into(order + "HIHH", data, at + 2, 3, 1, 1, 0)
        elif tag in WIDTHS:
            struct.pack_into(order + "HII", data, at + 2, 4, 1, width)
        elif tag in HEIGHTS:
            struct.pack_into(order + "HII", data, at + 2, 4, 1, height)


def _remove_thumbnail(data: bytearray, first: int, order: str) -> None:
    """Blank the second directory's JPEG, and unlink the directory."""
    link = _link(data, first, order)
    (second,) = struct.unpack_from(order + "I", data, link)
    if second:
        fields = dict(_entries(data, second, order))
        if THUMBNAIL in fields and THUMBNAIL_LENGTH in fields:
            start, length = (
                struct.unpack_from(order + "I", data, fields[tag] + 8)[0]
                for tag in (THUMBNAIL, THUMBNAIL_LENGTH)
            )
            data[start : start + length] = bytes(len(data[start : start + length]))
        struct.pack_into(order + "I", data, link, 0)


def _parse(data: bytes | mmap.mmap) -> Ifd:
    order, first = _header(data)
    try:
        return _directory(data, first, order, depth=2, budget=[MAX_BYTES])
    except struct.error as error:
        raise ValueError("TIFF tags must not point beyond the end of the file.") from error


def _directory(data: bytes | mmap.mmap, ifd: int, order: str, depth: int, budget: list[int]) -> Ifd:
    directory: Ifd = {}
    for tag, at in dict(_entries(data, ifd, order)).items():  # a tag counts once, or pointers could multiply
        kind, count, pointer = struct.unpack_from(order + "HII", data, at + 2)
        if tag in _POINTERS and depth:
            directory[tag] = _directory(data, pointer, order, depth - 1, budget)
        elif kind in _UNITS:
            length = count * _UNITS[kind] * (2 if kind in _RATIONALS else 1)
            start = at + 8 if length <= 4 else pointer
            budget[0] -= length
            if budget[0] < 0 or start + length > len(data):
                raise ValueError("TIFF tags must be of a reasonable size and lie within the file.")
            directory[tag] = Entry(kind, count, _little(data[start : start + length], _UNITS[kind], order))
    return directory


def _little(values: bytes, unit: int, order: str) -> bytes:
    if order == "<" or unit == 1:
        return values
    return np.frombuffer(values, f"u{unit}").byteswap().tobytes()


def _link(data: bytes | bytearray | mmap.mmap, ifd: int, order: str) -> int:
    """Where a directory says where the next one is."""
    return ifd + 2 + 12 * int(struct.unpack_from(order + "H", data, ifd)[0])


def _following(data: bytes | mmap.mmap, ifd: int, order: str) -> Iterator[int]:
    """Where the directories behind one are."""
    for _ in range(MAX_ENTRIES):
        (ifd,) = struct.unpack_from(order + "I", data, _link(data, ifd, order))
        if ifd == 0:
            return
        yield ifd


def _is_reduced(data: bytes | mmap.mmap, ifd: int, order: str) -> bool:
    at = dict(_entries(data, ifd, order)).get(SUBFILE_TYPE)
    return at is not None and bool(struct.unpack_from(order + "I", data, at + 8)[0] & 1)


def serialised(ifd: Ifd, position: int, following: int = 0, *, big: bool = False) -> bytes:
    """Return a little-endian directory for this position in a file, with its values after it.

    Args:
        ifd: the entries, and the directories that entries point to.
        position: where in the file the directory will be.
        following: where the next directory is; 0 for none.
        big: whether the file is a BigTIFF, whose counts and offsets have 8 bytes.
    """
    counts, word, size = ("<Q", "<Q", 8) if big else ("<H", "<I", 4)
    entries, values = [struct.pack(counts, len(ifd))], bytearray()
    end = position + len(entries[0]) + (4 + 2 * size) * len(ifd) + size  # where the values start
    for tag, value in sorted(ifd.items()):
        place = end + len(values)
        if isinstance(value, dict):
            kind, number, inline = 4, 1, struct.pack(word, place)
            values += serialised(value, place, big=big)
        elif len(value.values) <= size:
            kind, number, inline = value.kind, value.number, value.values.ljust(size, b"\0")
        else:
            kind, number, inline = value.kind, value.number, struct.pack(word, place)
            values += value.values + b"\0" * (len(value.values) % 2)  # each starts at an even place
        entries.append(struct.pack("<HH", tag, kind) + struct.pack(word, number) + inline)
    return b"".join([*entries, struct.pack(word, following), values])
