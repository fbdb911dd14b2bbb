"""EXIF, text, comments and colour chunks, which libvips drops or rewrites, put into image files as they are.

References: JPEG (T.81, B.1), PNG (third edition, 5.3), WebP (RFC 9649, 2.7), HEIF (ISO 23008-12, 9.3).
"""

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from subpixel.images import formats, tags
from subpixel.images.formats import Format

# PNG chunks that say how colours are meant and when the picture was made, and text.
PNG_CHUNKS = (b"cHRM", b"gAMA", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"tIME", b"tEXt", b"zTXt", b"iTXt")
XMP_KEYWORD = b"XML:com.adobe.xmp\0"
JPEG_COMMENT = 0xFE
MAX_JPEG_EXIF = 65527
MAX_EXTRAS = 2**26  # bytes

BLOCK = 2**20


@dataclass(frozen=True)
class Extras:
    """The parts of a file that are put in after libvips has written it.

    Attributes:
        exif: without any prefix.
        raw: what `raw_extras` of a file of the same format gave.
        xmp: as it is; only PNG wants it, into which libvips puts it where few look for it.
        resolution: across and down, in pixels a millimetre; only JPEG wants it.
        iptc: records; only TIFF wants them, of which libvips writes a quarter.
    """

    exif: bytes | None
    raw: bytes
    xmp: bytes | None
    resolution: tuple[float, float] | None
    iptc: bytes | None


def raw_extras(path: Path, file_format: Format) -> bytes:
    """Return the text, comments and colour chunks of a PNG or JPEG file, as they are.

    Raises:
        ValueError: they are unreasonably large.
    """
    pieces = b""
    with path.open("rb") as file:
        walk = {formats.PNG: _png_extras, formats.JPEG: _jpeg_comments}.get(file_format)
        for piece in walk(file) if walk else ():
            pieces += piece
            if len(pieces) > MAX_EXTRAS:
                raise ValueError(f"text and comments must have at most {MAX_EXTRAS} bytes.")
    return pieces


def png_palette(path: Path) -> bytes:
    """Return the palette of a PNG file, three bytes a colour; nothing if it has none."""
    with path.open("rb") as file:
        return next((file.read(length) for length, kind in _png_chunks(file) if kind == b"PLTE"), b"")


def is_whole(path: Path, file_format: Format) -> bool:
    """Return whether no page or frame is cut off, where libvips would give the others in silence."""
    if file_format == formats.TIFF:
        return tags.has_whole_chain(path)
    if file_format != formats.GIF:
        return True
    with path.open("rb") as file:
        return _gif_ends_well(file)


def has_further_pictures(path: Path, file_format: Format) -> bool:
    """Return whether a JPEG file holds pictures after the first, such as a gain map (CIPA DC-007)."""
    if file_format != formats.JPEG:
        return False
    with path.open("rb") as file:
        return any(marker == 0xE2 and raw[4:8] == b"MPF\0" for marker, raw in _jpeg_segments(file))


def is_lossless_webp(path: Path) -> bool:
    """Return whether a WebP file's picture, or its first frame, is kept without loss."""
    with path.open("rb") as file:
        file.seek(12)
        while len(head := file.read(8)) == 8:
            kind, length = struct.unpack("<4sI", head)
            if kind == b"ANMF":  # a frame: its own head, then chunks
                file.seek(16, os.SEEK_CUR)
            elif kind in (b"VP8 ", b"VP8L"):
                return bool(kind == b"VP8L")
            else:
                file.seek(length + length % 2, os.SEEK_CUR)
    return False


def embed(path: Path, file_format: Format, extras: Extras, size: tuple[int, int], alpha: bool) -> bool:
    """Put extras into an image file that has none, in place; an AVIF file must have some EXIF to replace.

    Args:
        path: the file.
        file_format: its format.
        extras: what to put in.
        size: width and height of the image in the file.
        alpha: whether it has opacity.

    Returns:
        Whether there was a place for EXIF.
    """
    data = extras.exif
    if file_format == formats.PNG:
        chunks = b"" if data is None else _png_chunk(b"eXIf", data)
        chunks += b"" if extras.xmp is None else _png_chunk(b"iTXt", XMP_KEYWORD + bytes(4) + extras.xmp)
        _insert(path, 33, extras.raw + chunks)  # after the signature and IHDR
    elif file_format == formats.JPEG:
        fits = data is None or len(data) <= MAX_JPEG_EXIF
        segment = _jpeg_segment(0xE1, b"Exif\0\0" + data) if data is not None and fits else b""
        _insert(path, 2, _jfif(extras.resolution) + segment + extras.raw)
        return fits
    elif file_format == formats.WEBP and data is not None:
        _embed_in_webp(path, data, size, alpha)
    elif file_format == formats.AVIF and data is not None:
        _embed_in_avif(path, data)
    elif file_format == formats.TIFF and (data is not None or extras.iptc is not None):
        tags.add_to_tiff(path, data, extras.iptc)
    return True


def _gif_ends_well(file: IO[bytes]) -> bool:
    """Return whether a GIF ends after a block, with or without the trailer that many writers forget."""
    head = file.read(13)
    _skip_gif_palette(file, head[10:11])
    while introducer := file.read(1):
        if introducer == b"\x2c":  # a frame
            _skip_gif_palette(file, file.read(9)[8:9])
            file.seek(1, os.SEEK_CUR)  # the size of LZW's first codes
        elif introducer == b"\x21":  # an extension
            file.seek(1, os.SEEK_CUR)  # its kind
        else:
            return True  # the trailer, or what is no longer GIF
        while length := file.read(1):
            file.seek(length[0], os.SEEK_CUR)
            if length == b"\0":
                break
        else:
            return False
    return True


def _skip_gif_palette(file: IO[bytes], flags: bytes) -> None:
    if flags and flags[0] & 0x80:
        file.seek(3 * 2 ** ((flags[0] & 7) + 1), os.SEEK_CUR)


def _png_extras(file: IO[bytes]) -> Iterator[bytes]:
    for length, kind in _png_chunks(file):
        if kind in PNG_CHUNKS and length <= MAX_EXTRAS:
            chunk = struct.pack(">I", length) + kind + file.read(length + 4)
            if not chunk[8:].startswith(XMP_KEYWORD):
                yield chunk


def _png_chunks(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Give the length and the kind of each chunk, with the file at its contents."""
    at = 8
    while file.seek(at) == at and len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        yield length, kind
        at += 12 + length


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _jpeg_segments(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Give the segments before the pixels."""
    file.seek(2)
    while len(head := file.read(4)) == 4:
        mark, marker, length = struct.unpack(">BBH", head)
        if mark != 0xFF or marker == 0xDA:
            return
        yield marker, head + file.read(length - 2)


def _jpeg_segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def _jpeg_comments(file: IO[bytes]) -> Iterator[bytes]:
    return (raw for marker, raw in _jpeg_segments(file) if marker == JPEG_COMMENT)


def _jfif(resolution: tuple[float, float] | None) -> bytes:
    """Return the segment that holds a resolution, in dots an inch; nothing if there is none."""
    if resolution is None:
        return b""
    dots = (min(round(25.4 * across), 65535) for across in resolution)
    return _jpeg_segment(0xE0, b"JFIF\0" + struct.pack(">HBHHBB", 0x0102, 1, *dots, 0, 0))


def _embed_in_webp(path: Path, exif_data: bytes, size: tuple[int, int], alpha: bool) -> None:
    """Append an EXIF chunk, and announce it in the VP8X chunk, which a plain file has not yet."""
    with path.open("rb") as file:
        plain = file.read(16)[12:] != b"VP8X"
    if plain:
        sides = b"".join((side - 1).to_bytes(3, "little") for side in size)
        _insert(path, 12, b"VP8X" + struct.pack("<II", 10, 0x10 if alpha else 0) + sides)
    with path.open("r+b") as file:
        file.seek(20)
        flags = file.read(1)[0]
        file.seek(20)
        file.write(bytes([flags | 0x08]))
        file.seek(0, os.SEEK_END)
        file.write(b"EXIF" + struct.pack("<I", len(exif_data)) + exif_data + b"\0" * (len(exif_data) % 2))
        length = file.tell() - 8
        file.seek(4)
        file.write(struct.pack("<I", length))


def _embed_in_avif(path: Path, exif_data: bytes) -> None:
    """Append EXIF as media data, and point the EXIF item at it."""
    with path.open("r+b") as file:
        head = file.read(BLOCK)
        (meta,) = (box for kind, box in _boxes(head, 0, len(head)) if kind == b"meta")
        parts = dict(_boxes(head, meta.start + 4, meta.stop))
        place, base, sizes = _extent(head, parts[b"iloc"].start, _exif_item(head, parts[b"iinf"]))
        payload = bytes(4) + exif_data  # four bytes say how far after them EXIF starts: at once
        start = file.seek(0, os.SEEK_END) + 8
        file.write(struct.pack(">I4s", len(payload) + 8, b"mdat") + payload)
        file.seek(place)
        file.write((start - base).to_bytes(sizes[0]) + len(payload).to_bytes(sizes[1]))


def _boxes(data: bytes, start: int, stop: int) -> Iterator[tuple[bytes, range]]:
    """Give the kind of each box and where its contents are."""
    while start + 8 <= stop:
        length, kind = struct.unpack_from(">I4s", data, start)
        yield kind, range(start + 8, start + length)
        start += max(length, 8)


def _exif_item(data: bytes, iinf: range) -> int:
    """Return the number of the EXIF item."""
    first = iinf.start + (6 if data[iinf.start] == 0 else 8)
    for _, box in _boxes(data, first, iinf.stop):
        item, _, kind = struct.unpack_from(">HH4s", data, box.start + 4)
        if kind == b"Exif":
            return int(item)
    raise ValueError("an AVIF file must have an EXIF item here.")


def _extent(data: bytes, iloc: int, wanted: int) -> tuple[int, int, tuple[int, int]]:
    """Return where an item's only extent is stored, from where it counts, and the sizes of its numbers."""
    version, sizes, more = data[iloc], data[iloc + 4], data[iloc + 5]
    offset_size, length_size, base_size = sizes >> 4, sizes & 15, more >> 4
    (count,) = struct.unpack_from(">H", data, iloc + 6)
    at = iloc + 8
    for _ in range(count):
        (item,) = struct.unpack_from(">H", data, at)
        at += (6 if version else 4) + base_size
        base = int.from_bytes(data[at - base_size : at])
        (extents,) = struct.unpack_from(">H", data, at)
        if item == wanted:
            return at + 2, base, (offset_size, length_size)
        at += 2 + extents * (offset_size + length_size)
    raise ValueError("an AVIF file must say where its EXIF is.")


def _insert(path: Path, at: int, data: bytes) -> None:
    """Insert into a file, in place, moving the rest a block at a time from its end."""
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        while data and end > at:
            start = max(at, end - BLOCK)
            file.seek(start)
            block = file.read(end - start)
            file.seek(start + len(data))
            file.write(block)
            end = start
        file.seek(at)
        file.write(data)
