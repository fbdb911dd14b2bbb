import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageCms
import PIL.ImageOps
import PIL.PngImagePlugin
import pytest
import tifffile
from numpy.typing import NDArray
from pngs import chunk, chunks_of, decode_png, encode_png

from subpixel import images
from subpixel.network import bicubic
from subpixel.raster import Layout, Raster
from subpixel.upscale import Upscaler

UPSCALER = Upscaler(bicubic(2))
ICC = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6" exif:PixelXDimension="46"/></x:xmpmeta>'

Save = Callable[..., Path]


def photo(bands: int = 3, height: int = 30, width: int = 46) -> NDArray[np.uint8]:
    """Smooth colours, different in every corner."""
    y, x = np.mgrid[:height, :width]
    planes = [
        128 + 90 * np.sin(x / 9 + 2 * band) * np.cos(y / (7 + band)) + x + y / 2 for band in range(bands)
    ]
    return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8).squeeze()


def enlarge(source: Path, suffix: str = "", **options: Any) -> tuple[Path, tuple[str, ...]]:
    """Enlarge by two; the output, and what is said of it."""
    out = source.with_name(f"{source.stem}-x2{suffix or source.suffix}")
    return out, UPSCALER.file(source, out, **options).notes


def pixels_of(path: Path) -> NDArray[Any]:
    """Decoded by Pillow."""
    with PIL.Image.open(path) as image:
        return np.asarray(image)


def exif_of(path: Path) -> dict[Any, Any]:
    """All tags, by Pillow."""
    with PIL.Image.open(path) as image:
        exif = image.getexif()
        inner = {(ifd, tag): value for ifd in (0x8769, 0x8825) for tag, value in exif.get_ifd(ifd).items()}
        return {tag: value for tag, value in exif.items() if tag not in (0x8769, 0x8825)} | inner


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Save an array or a PIL image by Pillow."""

    def write(pixels: Any, name: str, **options: Any) -> Path:
        image = PIL.Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return write


@pytest.mark.parametrize(
    ("name", "bands"),
    [("a.png", 1), ("a.png", 2), ("a.png", 3), ("a.png", 4), ("a.tif", 1), ("a.tif", 3), ("a.tif", 4)]
    + [("a.webp", 3), ("a.webp", 4)],
)
def test_a_lossless_file_holds_the_enlarged_array(save: Save, name: str, bands: int) -> None:
    image = photo(bands)
    out, notes = enlarge(save(image, name, **{"lossless": True, "exact": True} if "webp" in name else {}))
    np.testing.assert_array_equal(pixels_of(out), UPSCALER.image(image))
    assert notes == ()


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_a_png_of_sixteen_bits_gives_one(tmp_path: Path, bands: int) -> None:
    image = photo(bands).astype(np.uint16) * 257 + 5
    (tmp_path / "a.png").write_bytes(encode_png(image))
    out, notes = enlarge(tmp_path / "a.png")
    np.testing.assert_array_equal(decode_png(out.read_bytes()), UPSCALER.image(image))
    assert notes == ()


@pytest.mark.parametrize("bands", [1, 3])
def test_a_tiff_of_sixteen_bits_gives_one(tmp_path: Path, bands: int) -> None:
    image = photo(bands).astype(np.uint16) * 257 + 5
    tifffile.imwrite(tmp_path / "a.tif", image)
    out, notes = enlarge(tmp_path / "a.tif")
    np.testing.assert_array_equal(tifffile.imread(out), UPSCALER.image(image))
    assert notes == ()


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize(("mode", "becomes"), [("1", "L"), ("P", "RGB")])
def test_bits_and_palettes_become_colours(save: Save, name: str, mode: str, becomes: str) -> None:
    image = PIL.Image.fromarray(photo()).convert(mode)
    out, notes = enlarge(save(image, name))
    np.testing.assert_array_equal(pixels_of(out), UPSCALER.image(np.asarray(image.convert(becomes))))
    assert notes == ()


def test_a_palettes_transparent_colour_becomes_alpha(save: Save) -> None:
    image = PIL.Image.fromarray(photo()).convert("P")
    source = save(image, "a.png", transparency=image.getpixel((0, 0)))
    with PIL.Image.open(source) as reopened:
        expected = UPSCALER.image(np.asarray(reopened.convert("RGBA")))
    assert 0 < (expected[..., 3] == 0).mean() < 1
    np.testing.assert_array_equal(pixels_of(enlarge(source)[0]), expected)


@pytest.mark.parametrize("name", ["a.tif", "a.jpg"])
def test_cmyk_stays_cmyk(save: Save, name: str) -> None:
    source = save(PIL.Image.fromarray(photo()).convert("CMYK"), name)
    out, notes = enlarge(source)
    with PIL.Image.open(out) as enlarged, PIL.Image.open(source) as original:
        assert enlarged.mode == "CMYK"
        error = np.asarray(enlarged).astype(int) - np.asarray(UPSCALER.image(original))
    assert np.abs(error).max() <= (0 if name == "a.tif" else 8)
    assert notes == ()


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".avif"])
def test_lossy_files_come_close(save: Save, suffix: str) -> None:
    source = save(photo(), f"a{suffix}", quality=95)
    out, notes = enlarge(source)
    error = pixels_of(out).astype(int) - UPSCALER.image(pixels_of(source))
    assert np.abs(error).mean() < 2
    assert notes == ()


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".avif"])
def test_quality_is_obeyed(save: Save, suffix: str) -> None:
    source = save(photo(), "a.png")
    sizes = [enlarge(source, suffix, quality=quality)[0].stat().st_size for quality in (10, 60, 98)]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize("suffix", [".webp", ".avif"])
def test_quality_100_is_lossless(save: Save, suffix: str) -> None:
    out, _ = enlarge(save(photo(), "a.png"), suffix, quality=100)
    np.testing.assert_array_equal(pixels_of(out), UPSCALER.image(photo()))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(save: Save, suffix: str, orientation: int) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    options = {".webp": {"lossless": True, "exact": True}, ".jpg": {"quality": 100, "subsampling": 0}}
    source = save(photo(), f"a{suffix}", exif=exif, **options.get(suffix, {}))
    out, _ = enlarge(source, "" if suffix != ".jpg" else ".png")
    with PIL.Image.open(source) as image:
        expected = UPSCALER.image(np.asarray(PIL.ImageOps.exif_transpose(image)))
    np.testing.assert_allclose(pixels_of(out), expected, rtol=0, atol=4 if suffix == ".jpg" else 0)
    assert exif_of(out).get(0x0112, 1) == 1


TAGS: dict[Any, Any] = {
    0x010F: "Maker",
    0x0112: 6,
    0x0100: 46,
    0x0101: 30,
    0x8298: "(c) me",
    0x4746: 3,
    0xC614: "Model",
}
EXIF_TAGS = {
    0x9003: "2020:01:02 03:04:05",
    0xA002: 46,
    0xA003: 30,
    0x829A: 0.25,
    0x927C: b"the maker's own",
    0x9999: "?",
}
GPS_TAGS = {1: "N", 2: (50.0, 6.0, 7.0)}


def rich_exif() -> PIL.Image.Exif:
    exif = PIL.Image.Exif()
    exif.update(TAGS)
    exif.get_ifd(0x8769).update(EXIF_TAGS)
    exif.get_ifd(0x8825).update(GPS_TAGS)
    return exif


def expected_tags(width: int, height: int) -> dict[Any, Any]:
    """Upright, and of this size."""
    tags = {**TAGS, 0x0100: width, 0x0101: height}
    del tags[0x0112]
    tags |= {(0x8769, tag): value for tag, value in EXIF_TAGS.items()}
    tags |= {(0x8825, tag): value for tag, value in GPS_TAGS.items()}
    return tags | {(0x8769, 0xA002): width, (0x8769, 0xA003): height}


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".avif"])
@pytest.mark.parametrize("source", ["a.jpg", "a.png", "a.webp", "a.avif"])
def test_every_exif_tag_is_kept(save: Save, source: str, suffix: str) -> None:
    """Unknown ones too, and none is added; sizes and orientation are those of the output."""
    out, notes = enlarge(save(photo(), source, exif=rich_exif()), suffix)
    tags = exif_of(out)
    assert tags.pop(0x0112, 1) == 1
    assert tags == expected_tags(60, 92)
    assert notes == ()


@pytest.mark.parametrize("source", ["a.jpg", "a.png", "a.webp", "a.avif"])
def test_exif_becomes_tags_of_a_tiff(save: Save, source: str) -> None:
    """Which says also how it is stored; and back again."""
    out, notes = enlarge(save(photo(), source, exif=rich_exif()), ".tif")
    assert exif_of(out).items() >= expected_tags(60, 92).items()
    assert notes == ()
    again, notes = enlarge(out, ".png")
    tags = {tag: value for tag, value in expected_tags(120, 184).items() if tag not in (0x0100, 0x0101)}
    assert exif_of(again).items() >= tags.items()
    assert notes == ()


def test_a_tiff_keeps_its_tags(tmp_path: Path) -> None:
    """Those that tell of the picture; of private ones that are left out the numbers are told."""
    tags = [(0x010F, "s", 0, "Maker", True), (0x8298, "s", 0, "(c)", True), (0x8480, "d", 1, 4.5, True)]
    tifffile.imwrite(tmp_path / "a.tif", photo(), description="a view", extratags=tags, byteorder=">")
    out, notes = enlarge(tmp_path / "a.tif")
    kept = exif_of(out)
    assert (kept[0x010F], kept[0x8298], kept[0x010E]) == ("Maker", "(c)", "a view")
    assert notes == ("private tags could not be kept: 33920",)


def test_an_embedded_thumbnail_is_removed(save: Save) -> None:
    """It would show the picture unrotated; the EXIF around it stays."""
    thumbnail = b"\xff\xd8 the thumbnail \xff\xd9"
    exif = b"MM\0*\0\0\0\x08" + b"\0\1" + bytes.fromhex("010f 0002 00000004 4d6b7200") + b"\0\0\0\x1a"
    exif += (
        b"\0\2" + bytes.fromhex("0201 0004 00000001 00000038 0202 0004 00000001") + b"\0\0\0\x13" + bytes(4)
    )
    source = save(photo(), "a.jpg", exif=b"Exif\0\0" + exif + thumbnail)
    out, _ = enlarge(source)
    assert thumbnail in source.read_bytes()
    assert b"the thumbnail" not in out.read_bytes()
    assert exif_of(out) == {0x010F: "Mkr"}


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".avif", ".tif"])
@pytest.mark.parametrize("source", ["a.jpg", "a.png", "a.webp", "a.avif", "a.tif"])
def test_the_colour_profile_is_kept(save: Save, source: str, suffix: str) -> None:
    out, notes = enlarge(save(photo(), source, icc_profile=ICC), suffix)
    with PIL.Image.open(out) as image:
        assert image.info["icc_profile"] == ICC
    assert notes == ()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".avif", ".tif"])
@pytest.mark.parametrize("source", ["a.jpg", "a.png", "a.tif"])
def test_the_resolution_is_kept(save: Save, source: str, suffix: str) -> None:
    out, notes = enlarge(save(photo(), source, dpi=(300, 300)), suffix)
    with PIL.Image.open(out) as image:
        exif = image.getexif()
        told = image.info.get("dpi", (exif.get(0x011A), exif.get(0x011B)))
    assert told == pytest.approx((300, 300), abs=0.1)
    assert notes == ()


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".avif", ".png", ".tif"])
@pytest.mark.parametrize("source", ["a.jpg", "a.webp", "a.avif"])
def test_xmp_is_kept_and_agrees_with_the_output(save: Save, source: str, suffix: str) -> None:
    out, notes = enlarge(save(photo(), source, xmp=XMP), suffix)
    corrected = XMP.replace(b'"6"', b'"1"').replace(b'"46"', b'"92"')
    with PIL.Image.open(out) as image:
        xmp = image.info["xmp"] if suffix != ".tif" else image.tag_v2[700]
    assert xmp == corrected
    assert notes == ()


SAID_OF_PNG = "text, comments or colour chunks of PNG could not be kept in {}"


def test_text_of_a_png_is_kept(save: Save) -> None:
    text = PIL.PngImagePlugin.PngInfo()
    text.add_text("Title", "A view")
    text.add_text("Long", "word " * 200, zip=True)
    text.add_itxt("Description", "日本 ☕")
    out, notes = enlarge(save(photo(), "a.png", pnginfo=text))
    with PIL.Image.open(out) as image:
        assert image.text == {"Title": "A view", "Long": "word " * 200, "Description": "日本 ☕"}
    assert notes == ()
    assert enlarge(out, ".webp")[1] == (SAID_OF_PNG.format("WebP"),)


def test_a_png_keeps_the_chunks_that_tell_its_colours(tmp_path: Path) -> None:
    gamma, time = chunk(b"gAMA", bytes(4)), chunk(b"tIME", bytes([7, 228, 1, 2, 3, 4, 5]))
    (tmp_path / "a.png").write_bytes(encode_png(photo(), gamma, time))
    out, notes = enlarge(tmp_path / "a.png")
    kinds = [kind for kind, _ in chunks_of(out.read_bytes())]
    assert kinds[:3] == [b"IHDR", b"gAMA", b"tIME"]
    assert notes == ()
    assert enlarge(out, ".jpg")[1] == (SAID_OF_PNG.format("JPEG"),)


def test_a_jpegs_comment_is_kept(save: Save) -> None:
    out, notes = enlarge(save(photo(), "a.jpg", comment=b"a comment"))
    with PIL.Image.open(out) as image:
        assert image.info["comment"] == b"a comment"
    assert notes == ()


def frames() -> list[PIL.Image.Image]:
    return [PIL.Image.fromarray(np.roll(photo(), 15 * index, axis=1)) for index in range(3)]


def test_all_pages_of_a_tiff_are_kept(save: Save) -> None:
    """Each by itself: no row of one page touches another."""
    first, *others = frames()
    out, notes = enlarge(save(first, "a.tif", save_all=True, append_images=others))
    with PIL.Image.open(out) as image:
        assert image.n_frames == 3
        for index, frame in enumerate(frames()):
            image.seek(index)
            np.testing.assert_array_equal(np.asarray(image), UPSCALER.image(np.asarray(frame)))
    assert notes == ()


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
@pytest.mark.parametrize("source", ["a.gif", "a.webp"])
@pytest.mark.parametrize("size", [None, (100, 70)])
def test_all_frames_of_an_animation_are_kept(
    save: Save, source: str, suffix: str, size: tuple[int, int] | None
) -> None:
    """With their times and the number of loops."""
    first, *others = frames()
    times = [100, 250, 70]
    plays = {"a.gif": 4, "a.webp": 3}[source]  # GIF counts the repetitions
    saved = save(first, source, save_all=True, append_images=others, duration=times, loop=3, lossless=True)
    out, notes = enlarge(saved, suffix, size=size)
    assert notes == ()
    with PIL.Image.open(out) as image:
        loops = plays - 1 if suffix == ".gif" else plays
        assert (image.n_frames, image.size, image.info["loop"]) == (3, size or (92, 60), loops)
        for index, frame in enumerate(frames()):
            image.seek(index)
            image.load()
            assert image.info["duration"] == times[index]
            resized = frame.resize(image.size, PIL.Image.Resampling.BICUBIC)
            assert np.abs(np.asarray(image.convert("RGB")).astype(int) - np.asarray(resized)).mean() < 6


def test_what_a_format_cannot_hold_is_said(save: Save, tmp_path: Path) -> None:
    assert enlarge(save(photo(4), "a.png"), ".jpg")[1] == ("JPEG has no transparency: put on white",)
    assert enlarge(save(photo(), "a.gif"), ".png")[1] == ()
    (tmp_path / "b.png").write_bytes(encode_png(photo().astype(np.uint16) * 257))
    assert enlarge(tmp_path / "b.png", ".jpg")[1] == ("JPEG has 8 bits a sample: reduced from 16",)
    assert enlarge(tmp_path / "b.png", ".avif")[1] == ("AVIF has 12 bits a sample: reduced from 16",)
    cmyk = save(PIL.Image.fromarray(photo()).convert("CMYK"), "c.jpg")
    assert enlarge(cmyk, ".png")[1] == ("PNG has no CMYK: converted to sRGB",)


def test_sixteen_bits_are_rounded_to_eight_not_cut(tmp_path: Path) -> None:
    image = np.full((8, 8), 255 * 257 - 1, np.uint16)
    (tmp_path / "a.png").write_bytes(encode_png(image))
    assert (pixels_of(enlarge(tmp_path / "a.png", ".webp", quality=100)[0]) == 255).all()


def test_transparency_is_put_on_white(save: Save) -> None:
    image = np.dstack([photo(), np.zeros((30, 46), np.uint8)])
    assert pixels_of(enlarge(save(image, "a.png"), ".jpg")[0]).min() >= 254


def test_cmyk_becomes_the_same_colours(save: Save) -> None:
    """Paper is white, black is dark, cyan lacks red."""
    inks = np.zeros((30, 40, 4), np.uint8)
    inks[:10, :, 3] = inks[20:, :, 0] = 255
    colours = pixels_of(enlarge(save(PIL.Image.fromarray(inks, "CMYK"), "a.jpg"), ".png")[0])[..., :3]
    black, white, cyan = colours[8], colours[30], colours[50]
    assert black.max() < 60
    assert white.min() > 240
    assert (cyan[:, 0].astype(int) < cyan[:, 1:].min(axis=1) - 80).all()
