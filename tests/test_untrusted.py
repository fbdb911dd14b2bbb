"""Files made to exhaust or mislead whoever reads them."""

import struct
from collections.abc import Callable
from typing import Any

import pytest

from subpixel import exif

HEADER = b"II*\0\x08\0\0\0"


def directory(*entries: tuple[int, int, int, int]) -> bytes:
    fields = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return struct.pack("<H", len(entries)) + fields + bytes(4)


def count_calls(monkeypatch: pytest.MonkeyPatch, name: str, most: int) -> list[Any]:
    """Have a function of `exif` fail when it is called more often than that."""
    original: Callable[..., Any] = getattr(exif, name)
    calls = []

    def counting(*arguments: Any) -> Any:
        calls.append(arguments)
        assert len(calls) <= most
        return original(*arguments)

    monkeypatch.setattr(exif, name, counting)
    return calls


@pytest.mark.parametrize("tag", [exif.EXIF_IFD, exif.GPS_IFD])
@pytest.mark.parametrize("read", [lambda data: exif.corrected(data, 8, 6), exif._parse])
def test_many_pointers_to_one_directory_are_followed_once(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[bytes], Any], tag: int
) -> None:
    """Each pointer that were followed again would read all pointers again."""
    calls = count_calls(monkeypatch, "_entries", 8)
    read(HEADER + directory(*[(tag, 4, 1, 8)] * 200))
    assert calls


def test_a_directory_has_a_bounded_number_of_tags() -> None:
    tags = [(tag, 3, 1, 0) for tag in range(exif.MAX_ENTRIES + 1)]
    with pytest.raises(ValueError, match="at most 4096; got 4097"):
        exif.corrected(HEADER + directory(*tags), 8, 6)
    exif.corrected(HEADER + directory(*tags[1:]), 8, 6)


@pytest.mark.parametrize(("kind", "unit"), [(1, 1), (3, 2), (4, 4), (5, 4), (12, 8)])
def test_big_endian_values_are_swapped_by_their_unit(kind: int, unit: int) -> None:
    values = bytes(range(16))
    number = 16 // exif._UNITS[kind] // (2 if kind == 5 else 1)
    data = b"MM\0*" + struct.pack(">IHHHIII", 8, 1, 0x010E, kind, number, 26, 0) + values
    entry = exif._parse(data)[0x010E]
    expected = b"".join(values[i : i + unit][::-1] for i in range(0, 16, unit))
    assert entry == exif.Entry(kind, number, expected)
