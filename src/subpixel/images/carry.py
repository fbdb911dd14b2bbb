"""What an image file holds besides pixels, carried to the output, and sentences on what could not be."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from subpixel.images import containers, formats, iptc, libvips, tags, xmp
from subpixel.images.formats import Format
from subpixel.images.pixels import Size
from subpixel.images.reader import Picture

# What libvips carries from an input's header to its output, and what to call it; EXIF is ours to carry.
_CARRIED: dict[str, str] = {
    "icc-profile-data": "the colour profile",
    "xmp-data": "XMP",
    "iptc-data": "IPTC",
    "photoshop-data": "Photoshop's data",
    "delay": "the frames' times",
    "gif-comment": "comments",
}
_IPTC_FIELDS = ("iptc-data", "photoshop-data")
_ASSUMED_RESOLUTION = 72 / 25.4  # pixels a millimetre, where a file has no resolution


def with_header(image: Any, picture: Picture, target: Format, size: Size) -> Any:
    """Return an image with the fields of the original header that libvips can write."""
    original = picture.image
    across, down = _resolution(original) or (_ASSUMED_RESOLUTION, _ASSUMED_RESOLUTION)
    carried = (*_CARRIED, "loop", "image-description", "resolution-unit")
    names = [name for name in original.get_fields() if name.startswith(carried) and name not in _IPTC_FIELDS]
    image = libvips.with_fields(image.copy(xres=across, yres=down), original, names)
    for name, data in _iptc_fields(picture, target).items():
        libvips.set_blob(image, name, data)
    if (packet := _xmp(picture, size)) is not None:
        libvips.set_blob(image, "xmp-data", packet)
    return image


def exif_for(picture: Picture, target: Format, size: Size) -> tuple[bytes | None, list[str]]:
    """Return the EXIF for an output, and sentences on what of it was lost."""
    resolution = _resolution(picture.image) if target in (formats.WEBP, formats.AVIF) else None
    try:
        data, notes = _original_exif(picture)
        if data is None:
            return None if resolution is None else tags.of_resolution(*resolution), notes
        data = tags.corrected(data, *size)
    except ValueError as error:
        return None, [f"EXIF could not be kept: {error}"]
    if resolution is not None and not tags.has_resolution(data):
        notes.append(f"the resolution could not be kept in {target.name}")
    return data, notes


def carry(path: Path, target: Format, picture: Picture, data: bytes | None, size: Size) -> Iterator[str]:
    """Put into an output what libvips does not carry; give a sentence for each part that could not be."""
    if containers.has_further_pictures(picture.path, picture.format):
        yield "further pictures in the file, such as a gain map, could not be kept"
    raw = containers.raw_extras(picture.path, picture.format)
    if raw and target != picture.format:
        raw = b""
        yield f"text, comments or colour chunks of {picture.format.name} could not be kept in {target.name}"
    records, _ = _iptc(picture.image, picture.format, picture.path)
    extras = containers.Extras(data, raw, _xmp(picture, size), _resolution(picture.image), records)
    if not containers.embed(path, target, extras, size, picture.layout.alpha):
        yield f"EXIF could not be kept in {target.name}"


def lost_header(path: Path, target: Format, picture: Picture) -> Iterator[str]:
    """Give a sentence for each thing that the original's header has and the output's, read back, has not."""
    written = _kinds(libvips.load(path, target), target, path)
    for kind in _kinds(picture.image, picture.format, picture.path):
        if kind not in written and (kind != _CARRIED["delay"] or picture.pages > 1):
            yield f"{kind} could not be kept in {target.name}"


def lost_pixels(target: Format, picture: Picture) -> Iterator[str]:
    """Give a sentence for each property of the pixels that the format does not have; 1 bit is always said.

    Pixels that the original itself has lost are said as well.
    """
    if picture.format == formats.JPEG and libvips.is_damaged_jpeg(picture.path):
        yield "the original is damaged: parts of the picture may be wrong"
    if picture.bilevel and target.bilevel:
        yield "black and white, as the original: 1 bit a pixel"
    elif picture.bilevel:
        yield f"{target.name} has no 1 bit a pixel: black and white became grey"
    if picture.layout.alpha and not target.alpha:
        yield f"{target.name} has no transparency: put on white"
    if 8 * picture.dtype.itemsize > target.bits:
        yield f"{target.name} has {target.bits} bits a sample: reduced from 16"
    if picture.layout.colour == "cmyk" and not target.cmyk:
        yield f"{target.name} has no CMYK: converted to sRGB"
    if target == formats.GIF != picture.format and not picture.bilevel:
        yield "GIF has 256 colours and no partial transparency: reduced"


def _xmp(picture: Picture, size: Size) -> bytes | None:
    packet = libvips.field(picture.image, "xmp-data", None)
    return None if packet is None else xmp.corrected(packet, *size)


def _resolution(image: Any) -> tuple[float, float] | None:
    """Return pixels a millimetre, if the file says so itself and does not leave it to its format."""
    assumed = any(abs(image.xres - default) < 0.01 for default in (1, _ASSUMED_RESOLUTION))
    return None if assumed else (image.xres, image.yres)


def _original_exif(picture: Picture) -> tuple[bytes | None, list[str]]:
    if picture.format != formats.TIFF:
        data: bytes | None = libvips.field(picture.image, "exif-data", None)
        return data if data is None else data.removeprefix(b"Exif\0\0"), []
    data, left_out = tags.to_exif(tags.of_tiff(picture.path))
    return data, [f"private tags could not be kept: {', '.join(map(str, left_out))}"] if left_out else []


def _kinds(image: Any, file_format: Format, path: Path) -> list[str]:
    """Return what a header holds, by the names of `_CARRIED`."""
    names = [name for name in image.get_fields() if name not in _IPTC_FIELDS]
    records, resources = _iptc(image, file_format, path)
    names += [name for name, data in zip(_IPTC_FIELDS, (records, resources), strict=True) if data]
    return [kind for prefix, kind in _CARRIED.items() if any(name.startswith(prefix) for name in names)]


def _iptc(image: Any, file_format: Format, path: Path) -> tuple[bytes | None, bytes]:
    """Return a file's IPTC records, if it has any, and its Photoshop resources."""
    resources: bytes = libvips.field(image, "photoshop-data", b"")
    if file_format == formats.JPEG:
        return iptc.from_jpeg(libvips.field(image, "iptc-data", b""))
    if file_format == formats.TIFF:
        return tags.iptc_records(path), resources
    return libvips.field(image, "iptc-data", None), resources


def _iptc_fields(picture: Picture, target: Format) -> dict[str, bytes]:
    """Return the fields by which libvips writes IPTC and Photoshop's data to a format."""
    records, resources = _iptc(picture.image, picture.format, picture.path)
    if target == formats.JPEG and (records or resources):
        return {"iptc-data": iptc.to_jpeg(records, resources)}
    return {"photoshop-data": resources} if target == formats.TIFF and resources else {}
