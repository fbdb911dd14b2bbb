"""EXIF and TIFF tags kept as they are, except for what enlarging changes.

libvips rewrites EXIF and drops the tags that it does not know, and drops most tags of TIFF files. EXIF is
itself a TIFF structure: a header, then directories (IFD) of entries. All of it is untrusted.

References: TIFF 6.0, section 2; BigTIFF; Exif 2.32, section 4.6; DNG 1.7, chapter 4.
"""

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Union

import numpy as np

EXIF_IFD, GPS_IFD, INTEROPERABILITY_IFD = 0x8769, 0x8825, 0xA005
SUBFILE_TYPE, ORIENTATION = 0x00FE, 0x0112
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
WIDTHS = (0x0100, 0xA002)  # ImageWidth, PixelXDimension
HEIGHTS = (0x0101, 0xA003)
THUMBNAIL, THUMBNAIL_LENGTH = 0x0201, 0x0202

# The tags of a TIFF file that describe the picture, and not how the file stores it.
DESCRIPTIVE = {
    X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT,
    0x010D, 0x010E, 0x010F, 0x0110, 0x011D, 0x0131, 0x0132, 0x013B, 0x013C,  # DocumentName ... HostComputer
    0x4746, 0x4749,  # Rating, RatingPercent
    0x8298, EXIF_IFD, GPS_IFD,
    0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F,  # XPTitle ... XPSubject
    0xC614, 0xC62F,  # UniqueCameraModel, CameraSerialNumber
}  # fmt: skip

IPTC, PHOTOSHOP, ICC_PROFILE = 0x83BB, 0x8649, 0x8773
CARRIED_OTHERWISE = {IPTC, PHOTOSHOP, ICC_PROFILE}  # XMP is not a private tag
FIRST_PRIVATE = 0x8000

SUB_IFDS, PHOTOMETRIC, SAMPLE_FORMAT, DNG_VERSION = 0x014A, 0x0106, 0x0153, 0xC612
COMPRESSION = 0x0103
FAX = (2, 3, 4)  # CCITT compressions of 1 bit a pixel
JPEG = 7  # the compression
YCBCR = 6  # the photometric interpretation
SENSOR_PHOTOMETRIC = (32803, 34892)  # colour filter array, linear raw: what a sensor saw, not a picture

MAX_ENTRIES = 4096  # of a directory
MAX_BYTES = 2**26  # entries may overlap, and so could ask for more than the file has

_POINTERS = (EXIF_IFD, GPS_IFD, INTEROPERABILITY_IFD)
# For each of TIFF's types, how many bytes swap together in the other byte order.
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
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_RATIONALS = (5, 10)  # two numbers a value
_LONG, _UNDEFINED, _LONG8 = 4, 7, 16
_HEADER = b"II*\0\x08\0\0\0"


class Entry(NamedTuple):
    """An entry: TIFF's type, the number of values, and the values in little-endian order."""

    kind: int
    number: int
    values: bytes


Ifd = dict[int, Union[Entry, "Ifd"]]
Data = bytes | bytearray | mmap.mmap


class _Layout(NamedTuple):
    """How a TIFF structure stores numbers: the byte order, as `struct` writes it, and the size of counts."""

    order: str
    big: bool

    @property
    def word(self) -> str:
        """The `struct` format of an offset, and of an entry's number of values."""
        return self.order + ("Q" if self.big else "I")

    @property
    def counts(self) -> str:
        """The `struct` format of a directory's number of entries."""
        return self.order + ("Q" if self.big else "H")

    @property
    def inline(self) -> int:
        """How many bytes of values an entry holds itself."""
        return 8 if self.big else 4

    def entries_start(self, ifd: int) -> int:
        """Return where a directory's entries start."""
        return ifd + (8 if self.big else 2)

    @property
    def entry(self) -> int:
        """The bytes of an entry: tag, type, number of values, values or where they are."""
        return 4 + 2 * self.inline


def corrected(exif: bytes, width: int, height: int) -> bytes:
    """Return EXIF data with upright orientation, the new size and no thumbnail; other bytes are unchanged.

    Raises:
        ValueError: the EXIF is broken.
    """
    data = bytearray(exif)
    try:
        layout, first = _header(data)
        if layout.big:
            raise ValueError("EXIF must not be a BigTIFF.")
        _correct(data, first, layout, width, height)
        if (at := dict(_entries(data, first, layout)).get(EXIF_IFD)) is not None:
            _correct(data, _values_at(data, at, layout), layout, width, height)
        _remove_thumbnail(data, first, layout)
    except struct.error as error:
        raise ValueError("EXIF must not point beyond its end.") from error
    return bytes(data)


def of_tiff(path: Path) -> Ifd:
    """Return the first directory of a TIFF file.

    Raises:
        ValueError: the directory is broken.
    """
    with _opened(path) as (data, _, _):
        return _parse(data)


def has_only_previews(path: Path) -> bool:
    """Return whether all pages of a TIFF file after the first are smaller versions of it."""
    try:
        with _opened(path) as (data, layout, first):
            further = list(_following(data, first, layout))
            return bool(further) and all(_number(data, ifd, layout, SUBFILE_TYPE) & 1 for ifd in further)
    except (struct.error, ValueError):
        return False


def is_raw(path: Path) -> bool:
    """Return whether a TIFF file holds what a camera's sensor saw, beside a thumbnail at most."""
    try:
        with _opened(path) as (data, layout, first):
            chain = [first, *_following(data, first, layout)][:16]  # cameras write a handful
            subs = [sub for ifd in chain for sub in _sub_ifds(data, ifd, layout)]
            kinds = (_number(data, ifd, layout, PHOTOMETRIC) for ifd in chain + subs)
            return bool(_number(data, first, layout, DNG_VERSION)) or any(
                kind in SENSOR_PHOTOMETRIC for kind in kinds
            )
    except (struct.error, ValueError):
        return False


def has_whole_chain(path: Path) -> bool:
    """Return whether all directories of a TIFF file that others point to lie within the file."""
    try:
        with _opened(path) as (data, layout, first):
            return all(_link(data, ifd, layout) for ifd in (first, *_following(data, first, layout)))
    except struct.error:
        return False


def number_in_tiff(path: Path, tag: int) -> int:
    """Return the first value of a tag of a TIFF file's first directory; 0 if it cannot be read there."""
    try:
        with _opened(path) as (data, layout, first):
            return _number(data, first, layout, tag)
    except (struct.error, ValueError):
        return 0


def to_exif(tags: Ifd) -> tuple[bytes | None, list[int]]:
    """Return what a TIFF file says of its picture, as EXIF, or None; and the private tags left out."""
    kept_tags = {tag: value for tag, value in tags.items() if tag in DESCRIPTIVE}
    left_out = [tag for tag in tags if tag >= FIRST_PRIVATE and tag not in DESCRIPTIVE | CARRIED_OTHERWISE]
    return (_HEADER + serialised(kept_tags, len(_HEADER)) if kept_tags else None), left_out


def add_to_tiff(path: Path, exif: bytes | None, records: bytes | None = None) -> None:
    """Add to a little-endian TIFF file IPTC records, and what EXIF says of the picture and the file does not.

    The file's first directory is written anew, at its end.
    """
    kept_tags = {tag: value for tag, value in _parse(exif).items() if tag in DESCRIPTIVE} if exif else {}
    if records is not None:
        kept_tags[IPTC] = Entry(_UNDEFINED, len(records), records)
    with path.open("r+b") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            layout, first = _header(data)
            ifd, following = _parse(data), next(_following(data, first, layout), 0)
            end = len(data) + len(data) % 2
        file.seek(8 if layout.big else 4)
        file.write(struct.pack(layout.word, end))
        file.seek(end)
        file.write(serialised({**kept_tags, **ifd}, end, following, big=layout.big))


def of_resolution(across: float, down: float) -> bytes:
    """Return EXIF that holds a resolution, in pixels a millimetre, for formats that have no other place."""
    x, y = (Entry(5, 1, struct.pack("<II", round(dots * 25400), 1000)) for dots in (across, down))
    inches = Entry(3, 1, b"\2\0")
    tags: Ifd = {X_RESOLUTION: x, Y_RESOLUTION: y, RESOLUTION_UNIT: inches}
    return _HEADER + serialised(tags, len(_HEADER))


def has_resolution(exif: bytes) -> bool:
    """Return whether valid EXIF holds a resolution."""
    layout, first = _header(exif)
    return any(tag == X_RESOLUTION for tag, _ in _entries(exif, first, layout))


def iptc_records(path: Path) -> bytes | None:
    """Return the IPTC records of a TIFF file's first directory, or None if it has none that can be read.

    Their type is LONG by tradition, though they are bytes: some writers swap them in big-endian files, and
    some do not. The first byte of records is 0x1C, which gives the order away.
    """
    try:
        with _opened(path) as (data, layout, first):
            at = dict(_entries(data, first, layout)).get(IPTC)
            entry = None if at is None else _entry(data, at, layout, [MAX_BYTES])
    except (struct.error, ValueError):
        return None
    if entry is None:
        return None
    swapped = _little(entry.values, 4, ">") if entry.kind == _LONG else entry.values
    return swapped if swapped.startswith(b"\x1c") else entry.values


@contextmanager
def _opened(path: Path) -> Iterator[tuple[mmap.mmap, _Layout, int]]:
    """Give the bytes of a TIFF file, how it stores numbers, and where its first directory is."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data, *_header(data)


def _header(data: Data) -> tuple[_Layout, int]:
    """Return how numbers are stored, and where the first directory is."""
    orders = {b"II": "<", b"MM": ">"}
    if bytes(data[:2]) not in orders:
        raise ValueError(f"EXIF must start with II or MM; got {bytes(data[:2])!r}.")
    order = orders[bytes(data[:2])]
    layout = _Layout(order, big=struct.unpack_from(order + "H", data, 2)[0] == 43)
    return layout, struct.unpack_from(layout.word, data, 8 if layout.big else 4)[0]


def _entries(data: Data, ifd: int, layout: _Layout) -> Iterator[tuple[int, int]]:
    """Give the tag and the place of each entry."""
    (count,) = struct.unpack_from(layout.counts, data, ifd)
    if count > MAX_ENTRIES:
        raise ValueError(f"a directory of tags must have at most {MAX_ENTRIES}; got {count}.")
    start = layout.entries_start(ifd)
    for at in range(start, start + layout.entry * count, layout.entry):
        yield struct.unpack_from(layout.order + "H", data, at)[0], at


def _values_at(data: Data, at: int, layout: _Layout) -> int:
    """Return where the values of an entry are that do not fit into it."""
    return int(struct.unpack_from(layout.word, data, at + 4 + layout.inline)[0])


def _number(data: Data, ifd: int, layout: _Layout, tag: int) -> int:
    """Return the first value of an entry of SHORT, LONG or bytes; 0 if the directory does not have it."""
    at = dict(_entries(data, ifd, layout)).get(tag)
    if at is None:
        return 0
    kind, number = struct.unpack_from(layout.order + "H" + layout.word[1], data, at + 2)
    unit = "H" if kind == 3 else "I"
    fits = number * struct.calcsize(unit) <= layout.inline
    place = at + 4 + layout.inline if fits else _values_at(data, at, layout)
    return int(struct.unpack_from(layout.order + unit, data, place)[0])


def _sub_ifds(data: Data, ifd: int, layout: _Layout) -> list[int]:
    """Return where the directories within a directory are, the first 16 of them."""
    at = dict(_entries(data, ifd, layout)).get(SUB_IFDS)
    if at is None:
        return []
    kind, number = struct.unpack_from(layout.order + "H" + layout.word[1], data, at + 2)
    unit = "Q" if kind in (_LONG8, 18) else "I"
    number = min(number, 16)
    fits = number * struct.calcsize(layout.order + unit) <= layout.inline
    place = at + 4 + layout.inline if fits else _values_at(data, at, layout)
    return list(struct.unpack_from(f"{layout.order}{number}{unit}", data, place))


def _correct(data: bytearray, ifd: int, layout: _Layout, width: int, height: int) -> None:
    for tag, at in _entries(data, ifd, layout):
        if tag == ORIENTATION:
            struct.pack_into(layout.order + "HIHH", data, at + 2, 3, 1, 1, 0)
        elif tag in WIDTHS:
            struct.pack_into(layout.order + "HII", data, at + 2, 4, 1, width)
        elif tag in HEIGHTS:
            struct.pack_into(layout.order + "HII", data, at + 2, 4, 1, height)


def _remove_thumbnail(data: bytearray, first: int, layout: _Layout) -> None:
    """Blank the second directory's JPEG, and unlink the directory."""
    link = _link(data, first, layout)
    (second,) = struct.unpack_from(layout.word, data, link)
    if second:
        fields = dict(_entries(data, second, layout))
        if THUMBNAIL in fields and THUMBNAIL_LENGTH in fields:
            start, length = (_values_at(data, fields[tag], layout) for tag in (THUMBNAIL, THUMBNAIL_LENGTH))
            data[start : start + length] = bytes(len(data[start : start + length]))
        struct.pack_into(layout.word, data, link, 0)


def _parse(data: bytes | mmap.mmap) -> Ifd:
    layout, first = _header(data)
    try:
        return _directory(data, first, layout, depth=2, budget=[MAX_BYTES])
    except struct.error as error:
        raise ValueError("TIFF tags must not point beyond the end of the file.") from error


def _directory(data: bytes | mmap.mmap, ifd: int, layout: _Layout, depth: int, budget: list[int]) -> Ifd:
    directory: Ifd = {}
    for tag, at in dict(_entries(data, ifd, layout)).items():  # a tag counts once, or pointers could multiply
        if tag in _POINTERS and depth:
            directory[tag] = _directory(data, _values_at(data, at, layout), layout, depth - 1, budget)
        elif (entry := _entry(data, at, layout, budget)) is not None:
            directory[tag] = entry
    return directory


def _entry(data: bytes | mmap.mmap, at: int, layout: _Layout, budget: list[int]) -> Entry | None:
    """Return an entry, or None if its type is unknown; take its length from the budget."""
    kind, count = struct.unpack_from(layout.order + "H" + layout.word[1], data, at + 2)
    if kind not in _UNITS:
        return None
    length = count * _UNITS[kind] * (2 if kind in _RATIONALS else 1)
    start = at + 4 + layout.inline if length <= layout.inline else _values_at(data, at, layout)
    budget[0] -= length
    if budget[0] < 0 or start + length > len(data):
        raise ValueError("TIFF tags must be of a reasonable size and lie within the file.")
    return Entry(kind, count, _little(data[start : start + length], _UNITS[kind], layout.order))


def _little(values: bytes, unit: int, order: str) -> bytes:
    if order == "<" or unit == 1:
        return values
    return np.frombuffer(values, f"u{unit}").byteswap().tobytes()


def _link(data: Data, ifd: int, layout: _Layout) -> int:
    """Return where a directory says where the next one is."""
    (count,) = struct.unpack_from(layout.counts, data, ifd)
    return layout.entries_start(ifd) + layout.entry * int(count)


def _following(data: bytes | mmap.mmap, ifd: int, layout: _Layout) -> Iterator[int]:
    """Give where the directories after one are; a chain that comes back to itself ends there."""
    seen = {ifd}
    while len(seen) <= MAX_ENTRIES:
        (ifd,) = struct.unpack_from(layout.word, data, _link(data, ifd, layout))
        if ifd == 0 or ifd in seen:
            return
        seen.add(ifd)
        yield ifd


def serialised(ifd: Ifd, position: int, following: int = 0, *, big: bool = False) -> bytes:
    """Return a little-endian directory for this position in a file, with its values after it.

    Args:
        ifd: the entries, and the directories that entries point to.
        position: where in the file the directory will be.
        following: where the next directory is; 0 for none.
        big: whether the file is a BigTIFF, whose counts and offsets have 8 bytes.
    """
    counts, word, size, pointer = ("<Q", "<Q", 8, _LONG8) if big else ("<H", "<I", 4, _LONG)
    entries, values = [struct.pack(counts, len(ifd))], bytearray()
    end = position + len(entries[0]) + (4 + 2 * size) * len(ifd) + size  # where the values start
    for tag, value in sorted(ifd.items()):
        place = end + len(values)
        if isinstance(value, dict):
            kind, number, inline = pointer, 1, struct.pack(word, place)
            values += serialised(value, place, big=big)
        elif len(value.values) <= size:
            kind, number, inline = value.kind, value.number, value.values.ljust(size, b"\0")
        else:
            kind, number, inline = value.kind, value.number, struct.pack(word, place)
            values += value.values + b"\0" * (len(value.values) % 2)  # each starts at an even place
        entries.append(struct.pack("<HH", tag, kind) + struct.pack(word, number) + inline)
    return b"".join([*entries, struct.pack(word, following), values])
