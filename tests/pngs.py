"""PNG files of any depth, read and written without an image library."""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def header(width: int, height: int, bits: int, bands: int) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, COLOUR_TYPES[bands], 0, 0, 0))


def encode_png(pixels: NDArray[np.unsignedinteger], *before: bytes) -> bytes:
    """A PNG file with further chunks before the pixels."""
    height, width = pixels.shape[:2]
    rows = np.atleast_3d(pixels).astype(pixels.dtype.newbyteorder(">")).reshape(height, -1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    head = header(width, height, 8 * pixels.itemsize, np.atleast_3d(pixels).shape[2])
    return SIGNATURE + head + b"".join(before) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def chunks_of(png: bytes) -> list[tuple[bytes, bytes]]:
    assert png.startswith(SIGNATURE)
    at, found = 8, []
    while at < len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        data = png[at + 8 : at + 8 + length]
        assert png[at + 8 + length : at + 12 + length] == struct.pack(">I", zlib.crc32(kind + data))
        found.append((kind, data))
        at += 12 + length
    return found


def decode_png(png: bytes) -> NDArray[np.unsignedinteger]:
    """The pixels of a file that is not interlaced and has no palette, with 8 or 16 bits."""
    chunks = chunks_of(png)
    width, height, bits, colour, _, _, interlace = struct.unpack(">IIBBBBB", chunks[0][1])
    bands = {value: key for key, value in COLOUR_TYPES.items()}[colour]
    assert interlace == 0
    step = bands * bits // 8
    data = np.frombuffer(zlib.decompress(b"".join(d for kind, d in chunks if kind == b"IDAT")), np.uint8)
    rows = data.reshape(height, 1 + width * step)
    decoded = np.zeros((height + 1, step + width * step), np.uint8)
    for y in range(height):
        _unfilter(rows[y, 0], rows[y, 1:], decoded[y], decoded[y + 1], step)
    pixels = np.ascontiguousarray(decoded[1:, step:]).view(">u2" if bits == 16 else np.uint8)
    return pixels.astype(pixels.dtype.newbyteorder("=")).reshape(height, width, bands).squeeze()


def _unfilter(
    kind: int, row: NDArray[np.uint8], above: NDArray[np.uint8], out: NDArray[np.uint8], step: int
) -> None:
    for i, value in enumerate(row.tolist()):
        a, b, c = int(out[i]), int(above[i + step]), int(above[i])
        out[i + step] = (value + (0, a, b, (a + b) // 2, _paeth(a, b, c))[kind]) & 255


def _paeth(a: int, b: int, c: int) -> int:
    return min((a, b, c), key=lambda value: abs(a + b - c - value))
