import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from subpixel.images import tags


def sample(order: str) -> bytes:
    """EXIF in a byte order: a name, an orientation and sizes; a directory within, and a thumbnail's."""
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8)
    inner, thumbnail, values = 8 + 2 + 4 * 12 + 4, 8 + 2 + 4 * 12 + 4 + 2 + 2 * 12 + 4, 140
    main = struct.pack(order + "H", 4) + b"".join(
        (
            struct.pack(order + "HHII", 0x010F, 2, 6, values),
            struct.pack(order + "HHIHH", 0x0112, 3, 1, 6, 0),
            struct.pack(order + "HHII", 0x4746, 4, 1, 5),
            struct.pack(order + "HHII", 0x8769, 4, 1, inner),
        )
    )
    sizes = struct.pack(order + "H", 2) + b"".join(
        struct.pack(order + "HHIHH", tag, 3, 1, side, 0) for tag, side in ((0xA002, 300), (0xA003, 200))
    )
    last = struct.pack(order + "H", 2) + b"".join(
        struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in ((0x0201, values + 6), (0x0202, 9))
    )
    whole = head + main + struct.pack(order + "I", thumbnail) + sizes + bytes(4) + last + bytes(4)
    return whole.ljust(values, b"\0") + b"maker\0" + b"thumbnail" + b"behind"


def read(data: bytes) -> dict[Any, Any]:
    """All tags, by Pillow."""
    exif = PIL.Image.Exif()
    exif.load(b"Exif\0\0" + data)
    return {**{k: v for k, v in exif.items() if k != 0x8769}, **exif.get_ifd(0x8769)}


@pytest.mark.parametrize("order", ["<", ">"])
def test_only_orientation_sizes_and_thumbnail_change(order: str) -> None:
    before = sample(order)
    assert read(before) == {0x010F: "maker", 0x0112: 6, 0x4746: 5, 0xA002: 300, 0xA003: 200}
    after = tags.corrected(before, 70_000, 400)
    assert read(after) == {0x010F: "maker", 0x0112: 1, 0x4746: 5, 0xA002: 70_000, 0xA003: 400}
    assert len(after) == len(before)
    assert after.endswith(b"maker\0" + bytes(9) + b"behind")


@pytest.mark.parametrize("big", [False, True])
def test_a_tiff_takes_tags_and_gives_them_back(tmp_path: Path, big: bool) -> None:
    """Both byte orders give the same; what a TIFF has itself stays; its pages too."""
    for order in "<>":
        with tifffile.TiffWriter(tmp_path / "a.tif", byteorder="<", bigtiff=big) as writer:
            for _ in range(2):
                writer.write(np.full((3, 4), 7, np.uint8), extratags=[(0x4746, "I", 1, 1, True)])
        tags.add_to_tiff(tmp_path / "a.tif", sample(order))
        with tifffile.TiffFile(tmp_path / "a.tif") as file:
            assert len(file.pages) == 2
            assert file.pages[0].tags["Make"].value == "maker"
            assert file.pages[0].tags[0x4746].value == 1
            assert file.pages[0].tags["ExifTag"].value == {"PixelXDimension": 300, "PixelYDimension": 200}
            assert (file.asarray() == 7).all()
        data, left_out = tags.to_exif(tags.of_tiff(tmp_path / "a.tif"))
        assert data is not None
        assert read(data).items() >= {0x010F: "maker", 0x4746: 1, 0xA002: 300, 0xA003: 200}.items()
        assert left_out == []


def test_a_resolution_is_told() -> None:
    data = tags.of_resolution(300 / 25.4, 72 / 25.4)
    assert read(data) == {0x011A: 300, 0x011B: 72, 0x0128: 2}
    assert tags.has_resolution(data)
    assert not tags.has_resolution(sample("<"))


@settings(max_examples=300)
@given(st.data(), st.sampled_from("<>"))
def test_broken_exif_is_an_error_or_stays_what_it_was(data: st.DataObject, order: str) -> None:
    """Whatever bytes are wrong: nothing else is raised, and the length stays."""
    broken = bytearray(sample(order))
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(broken[: data.draw(st.integers(0, len(broken)))])
    with suppress(ValueError):
        kept = tags.corrected(cut, 10, 10)
        assert len(kept) == len(cut)
        assert not tags.has_resolution(kept) or b"\x1a" in kept


@pytest.mark.parametrize(
    "data", [b"", b"II", b"XX*\0\x08\0\0\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08"]
)
def test_what_is_no_exif_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="EXIF must"):
        tags.corrected(data, 10, 10)
