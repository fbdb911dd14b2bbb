"""IPTC records and the Photoshop resources that hold them, between JPEG and TIFF.

A TIFF file has a tag for the records and one for the resources. A JPEG file has the resources alone, and the
records are one of them.

References: IPTC-IIM 4.2; Photoshop file formats, image resources; TIFF technical note 3.
"""

import struct
from collections.abc import Iterator

JPEG_PREFIX = b"Photoshop 3.0\0"
RECORDS = 0x0404  # the number of the resource that holds IPTC
_SIGNATURE = b"8BIM"


def to_jpeg(records: bytes | None, resources: bytes) -> bytes:
    """Return the contents of a JPEG's segment that holds these records and resources."""
    if records is not None and all(number != RECORDS for number, _ in _resources(resources)):
        resources += _resource(RECORDS, records)
    return JPEG_PREFIX + resources


def from_jpeg(segment: bytes) -> tuple[bytes | None, bytes]:
    """Return the records, if there are any, and the resources of a JPEG's segment."""
    if not segment.startswith(JPEG_PREFIX):
        return segment or None, b""
    resources = segment.removeprefix(JPEG_PREFIX)
    records = [data for number, data in _resources(resources) if number == RECORDS]
    return (records[0] if records else None), resources


def _resources(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Give the number and the contents of each resource; what is broken ends them."""
    at = 0
    while data[at : at + 4] == _SIGNATURE and at + 12 <= len(data):
        (number,) = struct.unpack_from(">H", data, at + 4)
        name = 1 + data[at + 6]  # a length, then so many letters, together padded to be even
        at += 6 + name + name % 2
        if at + 4 > len(data):
            return
        (length,) = struct.unpack_from(">I", data, at)
        yield number, data[at + 4 : at + 4 + length]
        at += 4 + length + length % 2


def _resource(number: int, data: bytes) -> bytes:
    head = _SIGNATURE + struct.pack(">HHI", number, 0, len(data))
    return head + data + b"\0" * (len(data) % 2)
