import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL.Image
import PIL.ImageCms
import PIL.ImageOps
import PIL.IptcImagePlugin
import PIL.PngImagePlugin
import pytest
import tifffile
from numpy.typing import NDArray
from pngs import SIGNATURE, chunk, chunks_of, decode_png, encode_png, header

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
    [
        *(("a.png", bands) for bands in (1, 2, 3, 4)),
        *(("a.tif", bands) for bands in (1, 3, 4)),
        *(("a.webp", bands) for bands in (3, 4)),
    ],
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
def test_palettes_become_colours(save: Save, name: str) -> None:
    image = PIL.Image.fromarray(photo()).convert("P")
    out, notes = enlarge(save(image, name))
    np.testing.assert_array_equal(pixels_of(out), UPSCALER.image(np.asarray(image.convert("RGB"))))
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


def test_cmyk_with_opacity_stays_both(tmp_path: Path) -> None:
    image = np.dstack([photo(4), photo()[..., 0]])
    tifffile.imwrite(
        tmp_path / "a.tif", image, photometric="separated", extrasamples=["unassalpha"], planarconfig="contig"
    )
    out, notes = enlarge(tmp_path / "a.tif")
    enlarged = tifffile.imread(out)
    assert enlarged.shape == (60, 92, 5)
    np.testing.assert_array_equal(
        enlarged[..., 4], UPSCALER.image(np.dstack([photo(), image[..., 4]]))[..., 3]
    )
    assert notes == ()
    assert enlarge(out, ".jpg")[1] == ("JPEG has no transparency: put on white",)


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


IPTC = b"".join(
    b"\x1c\x02" + bytes([number]) + len(text).to_bytes(2) + text
    for number, text in ((5, b"A title"), (80, b"By me"), (120, b"A caption"))
)
RECORDS = {(2, 5): b"A title", (2, 80): b"By me", (2, 120): b"A caption"}
RESOLUTION_RESOURCE = b"8BIM\x03\xed\0\0\0\0\0\x10" + bytes(16)


def iptc_of(path: Path) -> dict[Any, Any] | None:
    """The records, by Pillow."""
    with PIL.Image.open(path) as image:
        return PIL.IptcImagePlugin.getiptcinfo(image)


def with_iptc(path: Path, kind: str, byteorder: Literal["<", ">"] = "<", *, big: bool = False) -> Path:
    """A TIFF with IPTC of this type, and one of Photoshop's resources."""
    padded = IPTC + bytes(-len(IPTC) % 4)
    values = np.frombuffer(padded, "u1" if kind == "B" else byteorder + "u4")
    tags = [
        (33723, kind, len(values), values.tobytes(), True),
        (34377, "B", len(RESOLUTION_RESOURCE), RESOLUTION_RESOURCE, True),
    ]
    tifffile.imwrite(path, photo(), extratags=tags, byteorder=byteorder, bigtiff=big)
    return path


@pytest.mark.parametrize("suffix", [".tif", ".jpg"])
@pytest.mark.parametrize("kind", ["B", "I"])
@pytest.mark.parametrize(("byteorder", "big"), [("<", False), (">", False), ("<", True)])
def test_iptc_of_a_tiff_is_kept_whole(
    tmp_path: Path, byteorder: Literal["<", ">"], kind: str, suffix: str, big: bool
) -> None:
    source = with_iptc(tmp_path / "a.tif", kind, byteorder, big=big)
    out, notes = enlarge(source, suffix)
    assert iptc_of(out) == iptc_of(source) == RECORDS
    assert RESOLUTION_RESOURCE in out.read_bytes()
    assert notes == ()


@pytest.mark.parametrize("suffix", [".tif", ".jpg"])
def test_iptc_of_a_jpeg_is_kept_whole(tmp_path: Path, suffix: str) -> None:
    """It is one of Photoshop's resources there; the others are kept as well."""
    source, _ = enlarge(with_iptc(tmp_path / "a.tif", "B"), ".jpg")
    out, notes = enlarge(source, suffix)
    assert iptc_of(out) == RECORDS
    assert RESOLUTION_RESOURCE in out.read_bytes()
    assert notes == ()


@pytest.mark.parametrize("suffix", [".png", ".webp", ".avif"])
def test_iptc_that_a_format_cannot_hold_is_said_to_be_lost(tmp_path: Path, suffix: str) -> None:
    out, notes = enlarge(with_iptc(tmp_path / "a.tif", "B"), suffix)
    name = {".png": "PNG", ".webp": "WebP", ".avif": "AVIF"}[suffix]
    assert notes == (f"IPTC could not be kept in {name}", f"Photoshop's data could not be kept in {name}")
    assert out.exists()


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


SAID_OF_GIF = "GIF has 256 colours and no partial transparency: reduced"


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


def test_a_tiffs_thumbnail_is_no_page(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(photo())
        writer.write(photo()[::4, ::4], subfiletype=1)
    out, notes = enlarge(tmp_path / "a.tif")
    np.testing.assert_array_equal(tifffile.imread(out), UPSCALER.image(photo()))
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
    assert notes == ((SAID_OF_GIF,) if suffix == ".gif" != saved.suffix else ())
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


SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "a.png": {},
    "a.jpg": {},
    "a.webp": {"lossless": True},
    "a.tif": {"compression": "tiff_lzw"},
    "a.avif": {},
    "a.gif": {},
}


def noisy(name: str, save: Save, side: int = 200) -> Path:
    """A file large enough to cut anywhere."""
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    return save(pixels, name, **SAVE_OPTIONS[name])


def check_refused(source: Path, message: str, capfd: pytest.CaptureFixture[str] | None) -> None:
    """A clear error, nothing written, and not a word from the libraries."""
    out = source.with_name("out.png")
    with pytest.raises(ValueError, match=message) as error:
        UPSCALER.file(source, out)
    assert "\n" not in str(error.value)
    assert not out.exists()
    assert not list(source.parent.glob(".*"))
    assert capfd is None or capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", SAVE_OPTIONS)
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.95])
def test_a_truncated_file_is_refused(
    save: Save, name: str, kept: float, capfd: pytest.CaptureFixture[str]
) -> None:
    source = noisy(name, save)
    whole = source.read_bytes()
    source.write_bytes(whole[: int(len(whole) * kept)])
    check_refused(source, "broken or incomplete|not an image that can be read", capfd)


@pytest.mark.parametrize("name", ["a.gif", "a.tif", "a.webp"])
@pytest.mark.parametrize("kept", [0.3, 0.5, 0.8])
def test_a_file_cut_between_its_frames_is_refused(
    save: Save, name: str, kept: float, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of which libvips gives what comes before the cut in silence."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, 60, 50, 3), np.uint8)
    first, *others = map(PIL.Image.fromarray, pixels)
    source = save(first, name, save_all=True, append_images=others, **SAVE_OPTIONS[name])
    whole = source.read_bytes()
    source.write_bytes(whole[: int(len(whole) * kept)])
    check_refused(source, "broken or incomplete", capfd)


def test_a_gif_without_its_last_byte_is_whole(save: Save) -> None:
    """Many writers forget the trailer."""
    first, *others = frames()
    source = save(first, "a.gif", save_all=True, append_images=others)
    data = source.read_bytes()
    assert data.endswith(b"\0;")
    source.write_bytes(data[:-1])
    with PIL.Image.open(enlarge(source)[0]) as image:
        assert image.n_frames == 3


def end_early(data: bytearray) -> None:
    """End in the middle, with the mark of an end that has been reached."""
    data[len(data) // 2 :] = b"\xff\xd9"


def erase_a_block(data: bytearray) -> None:
    """Erase bytes in the middle, as a bad block of a disk does."""
    data[len(data) // 2 : len(data) // 2 + 512] = bytes(512)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("damage", [end_early, erase_a_block])
def test_a_jpeg_of_which_pixels_are_made_up_is_said_to_be_damaged(
    save: Save, damage: Callable[[bytearray], None], progressive: bool
) -> None:
    """As libjpeg does where codes are wrong or missing, in silence: often in grey."""
    source = save(photo(height=200, width=300), "a.jpg", progressive=progressive)
    assert enlarge(source, ".png")[1] == ()
    data = bytearray(source.read_bytes())
    damage(data)
    source.write_bytes(data)
    assert enlarge(source, ".png")[1] == ("the original is damaged: parts of the picture may be wrong",)


REFUSALS = (
    r"(not an image that can be read: )?the (PNG|JPEG|WebP|TIFF|AVIF|GIF) file is broken or incomplete"
    r"(: it ends too early|: all pages must be alike, and page \d+ differs from page \d+)?\."
    r"|not an image that can be read: it must be PNG, JPEG, WebP, TIFF, AVIF or GIF; it starts with .*"
    r"|an image must (be|have) .*|a TIFF of .* is not supported: .*|[\w ]+ is not supported: .*"
    r"|an animation must be .*"
)


@pytest.mark.parametrize("name", SAVE_OPTIONS)
def test_a_damaged_file_is_enlarged_or_refused_in_plain_words(
    save: Save, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither libvips nor what it is made of says a word, in the error or on the terminal."""
    whole = noisy(name, save, side=24)
    data = whole.read_bytes()
    random = np.random.default_rng(0)
    refusals = []
    for _ in range(60):
        broken = bytearray(data)
        for at in random.integers(0, min(len(data), 400), 3):
            broken[at] = random.integers(0, 256)
        whole.write_bytes(broken)
        try:
            enlarge(whole, ".png")
        except ValueError as error:
            refusals.append(str(error))
    assert len(refusals) > 2
    assert [refusal for refusal in refusals if not re.fullmatch(REFUSALS, refusal)] == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", SAVE_OPTIONS)
def test_a_file_with_nothing_after_its_first_bytes_is_refused(
    save: Save, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    source = noisy(name, save)
    source.write_bytes(source.read_bytes()[:32])
    check_refused(source, "not an image that can be read", capfd)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "the file is empty"),
        (b"hello, world", "it starts with b'hello, w'"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 500, "not an image that can be read"),
    ],
    ids=["empty", "text", "zeros"],
)
def test_what_is_no_image_is_refused(
    tmp_path: Path, contents: bytes, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.png").write_bytes(contents)
    check_refused(tmp_path / "a.png", message, capfd)


SAVED_BY_PILLOW = {
    "BMP": "bmp",
    "JPEG 2000": "jp2",
    "PDF": "pdf",
    "PostScript": "eps",
    "ICO": "ico",
    "TGA": "tga",
    "PNM": "ppm",
    "DDS": "dds",
}
FIRST_BYTES = {
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "HEIF other than AVIF": b"\0\0\0\x18ftypmif1\0\0\0\0mif1unci",
    "JPEG XL": b"\xff\x0a\xfa\x1f\x41\x91",
    "SVG": b'<?xml version="1.0"?><!-- made by hand -->\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "HTML": b"<!DOCTYPE html><html><body><svg></svg></body></html>",
    "Photoshop": b"8BPS\0\1",
    "OpenEXR": b"\x76\x2f\x31\x01\2\0\0\0",
    "Radiance HDR": b"#?RADIANCE\n",
    "GIMP": b"gimp xcf v011",
    "QOI": b"qoif\0\0\0\1",
    "RAW": b"II*\0\x10\0\0\0CR\x02\0",
    "video": b"\0\0\0\x18ftypisom\0\0\2\0",
}


@pytest.mark.parametrize("kind", [*SAVED_BY_PILLOW, *FIRST_BYTES])
def test_kinds_that_are_not_read_are_called_by_name(
    save: Save, tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever the file's name: they are not broken."""
    if kind in FIRST_BYTES:
        (tmp_path / "a.png").write_bytes(FIRST_BYTES[kind].ljust(2000, b"\0"))
    else:
        save(photo(3, 32, 32), f"a.{SAVED_BY_PILLOW[kind]}").rename(tmp_path / "a.png")
    check_refused(tmp_path / "a.png", f"^{kind} is not supported: an image must be PNG, JPEG, WebP", capfd)


def test_avif_is_told_from_heic_by_all_its_brands(save: Save) -> None:
    source = save(photo(), "a.avif")
    data = source.read_bytes()
    assert data[4:12] == b"ftypavif"
    source.write_bytes(data[:8] + b"mif1" + data[12:])
    assert pixels_of(enlarge(source, ".png")[0]).shape == (60, 92, 3)


@pytest.mark.parametrize("kind", ["DNG", "sensor", "sensor within"])
def test_a_raw_file_is_refused_though_its_thumbnail_could_be_read(
    tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """DNG says so by a tag; NEF, ARW and others by the kind of their pixels, in whatever directory."""
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        extra = [(50706, "B", 4, b"\1\4\0\0", True)] if kind == "DNG" else []
        writer.write(photo(), extratags=extra, subifds=int(kind == "sensor within"), subfiletype=1)
        if kind != "DNG":
            writer.write(
                np.zeros((64, 64), np.uint16), photometric=32803, extratags=[(33421, "H", 2, (2, 2))]
            )
    check_refused(tmp_path / "a.tif", "^RAW is not supported: an image must be", capfd)


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "a.png")
    check_refused(tmp_path / "a.png", "an image must be a file; got a pipe", capfd)
    with pytest.raises(ValueError, match="got a pipe, a socket or a device"):
        UPSCALER.file("/dev/zero", tmp_path / "out.png")


def test_a_decompression_bomb_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """By its header: its pixels are never decoded."""
    (tmp_path / "a.png").write_bytes(
        SIGNATURE + header(60_000, 60_000, 8, 4) + chunk(b"IDAT", bytes(1000)) + chunk(b"IEND", b"")
    )
    check_refused(tmp_path / "a.png", "at most 268 megapixels; got 60000x60000, 3600 megapixels", capfd)


def test_an_animation_of_which_frames_would_be_lost_is_refused(
    save: Save, capfd: pytest.CaptureFixture[str]
) -> None:
    first, *others = frames()
    for name in ("a.png", "a.avif"):
        source = save(first, name, save_all=True, append_images=others)
        check_refused(source, "an animation must be GIF or WebP", capfd)
        source.unlink()
    check_refused(save(first, "a.gif", save_all=True, append_images=others), "PNG has one page; got 3", capfd)


def test_a_tiff_that_would_lose_something_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.tif"
    for pixels, options, message in (
        (np.zeros((9, 9), np.float32), {}, "a TIFF of floating-point numbers is not supported"),
        (np.zeros((9, 9, 3), np.float32), {"photometric": "rgb"}, "a TIFF of floating-point numbers is not"),
        (np.zeros((9, 9), np.float64), {}, "a TIFF of floating-point numbers is not supported"),
        (np.zeros((9, 9), np.complex64), {}, "a TIFF of complex numbers is not supported"),
        (np.zeros((9, 9, 3), np.uint8), {"photometric": "cielab"}, "a TIFF of CIELAB colours is not"),
        (np.zeros((9, 9), np.int16), {}, "got 1 bands of signed 16 bits"),
        (
            np.zeros((9, 9, 7), np.uint8),
            {"photometric": "minisblack", "planarconfig": "contig"},
            "got 7 bands",
        ),
    ):
        tifffile.imwrite(path, pixels, **options)
        check_refused(path, message, capfd)
    with tifffile.TiffWriter(path) as writer:
        writer.write(np.zeros((9, 9), np.uint8))
        writer.write(np.zeros((5, 9), np.uint8))
    check_refused(path, "page 1 differs from page 0", capfd)


def test_ycbcr_in_a_tiff_is_converted_or_refused_but_never_taken_for_rgb(
    save: Save, capfd: pytest.CaptureFixture[str]
) -> None:
    image = PIL.Image.fromarray(photo()).convert("YCbCr")
    check_refused(save(image, "a.tif"), "a TIFF of YCbCr colours without JPEG compression is not", capfd)
    out, _ = enlarge(save(image, "b.tif", compression="jpeg", quality=95))
    assert np.abs(pixels_of(out).astype(int) - UPSCALER.image(photo())).mean() < 3


def test_a_side_longer_than_the_format_allows_is_refused_before_any_work(save: Save) -> None:
    source = save(photo(), "a.png")
    with pytest.raises(ValueError, match=r"WebP has at most 16383 pixels; got 20000x20. Use PNG, JPEG"):
        UPSCALER.file(source, source.with_name("out.webp"), size=(20_000, 20))
    with pytest.raises(ValueError, match=r"JPEG has at most 65500 pixels; got 65501x1. Use PNG, TIFF or GIF"):
        UPSCALER.file(source, source.with_name("out.jpg"), size=(65_501, 1))
    with pytest.raises(ValueError, match="at most 4295 megapixels; got 100000x100000"):
        UPSCALER.file(source, source.with_name("out.png"), size=(100_000, 100_000))


def test_an_output_of_unknown_format_is_refused(save: Save) -> None:
    source = save(photo(), "a.png")
    with pytest.raises(ValueError, match=r"must end in one of \.png, .* got '\.bmp': BMP is not supported"):
        UPSCALER.file(source, source.with_name("out.bmp"))


def test_broken_exif_is_left_out_and_said(save: Save) -> None:
    out, notes = enlarge(save(photo(), "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\0"))
    assert notes == ("EXIF could not be kept: EXIF must not point beyond its end.",)
    assert exif_of(out) == {}


def test_further_pictures_in_a_jpeg_are_said_to_be_lost(save: Save) -> None:
    source = save(photo(), "a.jpg")
    data = source.read_bytes()
    source.write_bytes(data[:2] + b"\xff\xe2\0\x08MPF\0\0\0" + data[2:])
    assert enlarge(source)[1] == ("further pictures in the file, such as a gain map, could not be kept",)


@pytest.mark.parametrize("size", [(92, 60), (70, 50), (46, 30), (20, 10), (200, 50), (400, 300), (1, 1)])
def test_any_size_is_reached_exactly(save: Save, size: tuple[int, int]) -> None:
    out, _ = enlarge(save(photo(4), "a.png"), size=size)
    with PIL.Image.open(out) as image:
        assert image.size == size
        expected = PIL.Image.fromarray(photo(4)).resize(size, PIL.Image.Resampling.LANCZOS)
        near = np.abs(np.asarray(image).astype(int) - np.asarray(expected))
    assert near.mean() < 12


def test_one_side_keeps_the_proportions(save: Save) -> None:
    source = save(photo(), "a.png")
    for size, expected in (((69, None), (69, 45)), ((None, 120), (184, 120)), ((1, None), (1, 1))):
        written = UPSCALER.file(source, source.with_name("out.png"), size=size)
        assert (written.width, written.height) == expected
    with pytest.raises(ValueError, match="two integers from 1"):
        UPSCALER.file(source, source.with_name("out.png"), size=(None, None))


def test_a_resampling_down_is_antialiased(save: Save) -> None:
    """A fine checkerboard becomes grey."""
    checkers = (255 * (np.indices((64, 64)).sum(0) % 2)).astype(np.uint8)
    out, _ = enlarge(save(checkers, "a.png"), size=(16, 16))
    inner = pixels_of(out)[4:-4, 4:-4].astype(int)
    assert np.abs(inner - 128).max() < 12


def test_a_resampling_down_weighs_colours_by_opacity(save: Save) -> None:
    image = np.zeros((40, 40, 4), np.uint8)
    image[::2] = 255  # white rows, and transparent black ones
    out, _ = enlarge(save(image, "a.png"), size=(10, 10))
    small = pixels_of(out)
    assert small[..., :3][small[..., 3] > 20].min() > 250


def raster(strips: Any) -> Raster:
    return Raster(4, 4, Layout("rgb"), np.dtype(np.uint8), strips)


def test_what_fails_on_the_way_leaves_nothing(save: Save) -> None:
    """An output that existed stays as it was."""
    source = save(photo(), "a.png")
    out = source.with_name("out.png")
    out.write_bytes(b"before")

    def failing() -> Any:
        yield np.zeros((2, 4, 3), np.uint8)
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        images.write(out, [raster(failing())], images.read(source))
    assert out.read_bytes() == b"before"
    assert sorted(file.name for file in out.parent.iterdir()) == ["a.png", "out.png"]


@pytest.mark.parametrize("at", [0.2, 0.7])
def test_what_a_progress_callback_raises_comes_out(save: Save, at: float) -> None:
    """While the network works, and while libvips encodes, through which no exception gets."""
    source = noisy("a.png", save)

    def stop(done: float) -> None:
        if done > at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        UPSCALER.file(source, source.with_name("out.png"), progress=stop)
    assert [file.name for file in source.parent.iterdir()] == ["a.png"]


def test_progress_goes_from_0_to_1(save: Save) -> None:
    told: list[float] = []
    source = noisy("a.png", save)
    UPSCALER.file(source, source.with_name("out.png"), progress=told.append)
    assert told == sorted(told)
    assert 0 < told[0] <= 0.5 < told[-1] <= 1


@pytest.mark.parametrize(
    "name", ["über ☕.png", "a [1].png", "a[n=2].png", "-o.png", "new\nline.png", "a%20.png"]
)
def test_any_name_will_do(save: Save, name: str) -> None:
    source = save(photo(), name)
    written = UPSCALER.file(source, source.with_name("x2 " + name))
    np.testing.assert_array_equal(pixels_of(written.path), UPSCALER.image(photo()))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".avif", ".gif"])
def test_a_name_that_is_not_utf_8_will_do(save: Save, tmp_path: Path, suffix: str) -> None:
    """As old archives hold them; Python gives such a byte as half of a surrogate pair."""
    source = save(photo(), f"a{suffix}").rename(tmp_path / os.fsdecode(b"caf\xe9" + suffix.encode()))
    out, _ = enlarge(source)
    assert os.fsencode(out.name) == b"caf\xe9-x2" + suffix.encode()
    with out.open("rb") as file:
        assert pixels_of(file).shape[:2] == (60, 92)  # type: ignore[arg-type]
    source.write_bytes(source.read_bytes()[:60])
    check_refused(source, "broken or incomplete", None)


def test_a_file_that_has_changed_is_read_anew(save: Save) -> None:
    for level in (10, 200):
        out, _ = enlarge(save(np.full((9, 9), level, np.uint8), "a.png"))
        assert (pixels_of(out) == level).all()


def test_names_do_not_decide_what_a_file_is(save: Save) -> None:
    source = save(photo(), "a.png").rename(save(photo(), "b.jpg"))
    np.testing.assert_array_equal(pixels_of(enlarge(source, ".png")[0]), UPSCALER.image(photo()))


def test_the_images_of_a_folder_are_found(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "c.txt", ".hidden.png", "sub/d.webp", ".git/e.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert images.image_files(tmp_path) == [tmp_path / "a.jpg", tmp_path / "b.PNG"]
    assert images.image_files(tmp_path, recursive=True)[2:] == [tmp_path / "sub/d.webp"]
    with pytest.raises(FileNotFoundError):
        images.image_files(tmp_path / "none")


def test_arrays_have_8_bits_and_no_opacity(save: Save, tmp_path: Path) -> None:
    np.testing.assert_array_equal(images.read_array(save(photo(1), "a.png")), photo(1))
    np.testing.assert_array_equal(images.read_array(save(photo(3), "a.png")), photo(3))
    np.testing.assert_array_equal(images.read_array(save(photo(4), "a.png")), photo(4)[..., :3])
    (tmp_path / "a.png").write_bytes(encode_png(photo().astype(np.uint16) * 256 + 200))
    np.testing.assert_array_equal(images.read_array(tmp_path / "a.png"), photo())
    with pytest.raises(ValueError, match="grey or RGB"):
        images.read_array(save(PIL.Image.fromarray(photo()).convert("CMYK"), "a.jpg"))


def in_a_process(code: str, *arguments: object) -> str:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


UPSCALE_IN_500_KB = """if True:
    import resource, sys
    from subpixel.network import bicubic
    from subpixel.upscale import Upscaler
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, -1))
    try:
        Upscaler(bicubic(2)).file(sys.argv[1], sys.argv[2])
    except OSError as error:
        print(error)
"""


@pytest.mark.parametrize(
    ("name", "height", "options"),
    [
        ("a.png", 300, {}),
        ("a.png", 30, {"pnginfo": PIL.PngImagePlugin.PngInfo()}),
        ("a.tif", 30, {"tiffinfo": {700: b"x" * 600_000}}),
    ],
    ids=["pixels", "what we write", "what libvips writes"],
)
def test_a_full_disk_is_an_error_and_leaves_nothing(
    save: Save, name: str, height: int, options: dict[str, Any]
) -> None:
    """As a limit to the size of files shows."""
    if "pnginfo" in options:
        options["pnginfo"].add_text("Title", "x" * 600_000)
    source = save(photo(3, height, 400), name, **options)
    message = in_a_process(UPSCALE_IN_500_KB, source, source.with_name(f"out{source.suffix}"))
    assert len(message.splitlines()) == 1
    assert "vips" not in message
    assert "unable to call" not in message
    assert [file.name for file in source.parent.iterdir()] == [name]


UPSCALE_AND_PRINT_PEAK = """if True:
    import re, sys
    from subpixel.network import bicubic
    from subpixel.upscale import Upscaler
    Upscaler(bicubic(2)).file(sys.argv[1], sys.argv[2])
    print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
"""


def test_memory_does_not_grow_with_the_image(save: Save) -> None:
    """For an image 40 times as high by less than half of what the output has, 123 MB.

    (The peak that getrusage tells would start from that of pytest.)
    """
    peaks = []
    for height in (512, 20_000):
        source = save(np.full((height, 512, 3), 99, np.uint8), f"{height}.jpg")
        peaks.append(int(in_a_process(UPSCALE_AND_PRINT_PEAK, source, source.with_name("out.jpg"))))
    assert peaks[1] - peaks[0] < 60_000  # KiB
