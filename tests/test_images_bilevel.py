"""Pages of 1 bit a pixel, as scans and faxes are: clean, small, and said to be what they are."""

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import pytest
from numpy.typing import NDArray

from subpixel.upscale import Upscaler

KEPT = "black and white, as the original: 1 bit a pixel"
UPSCALER = Upscaler()  # the networks that ship: bicubic interpolation does not ring as much


def page(scale: int = 1) -> NDArray[np.bool_]:
    """Text and lines, white being True, drawn at a scale and eight times finer before the threshold."""
    fine = 8 * scale
    image = PIL.Image.new("L", (240 * fine, 110 * fine), 255)
    draw = PIL.ImageDraw.Draw(image)
    for y, size in ((4, 12), (22, 16), (44, 22)):
        draw.text((6 * fine, y * fine), "The quick brown fox", 0, PIL.ImageFont.load_default(size * fine))
    draw.line((10 * fine, 78 * fine, 230 * fine, 96 * fine), 0, 2 * fine)
    draw.ellipse((180 * fine, 74 * fine, 210 * fine, 104 * fine), outline=0, width=2 * fine)
    return np.asarray(image.reduce(8)) > 127


def enlarged(pixels: NDArray[np.bool_], path: Path, suffix: str = "", scale: int = 2) -> PIL.Image.Image:
    """The enlarged page, as it is in the file; the original's compression is that of faxes in TIFF."""
    options = {"compression": "group4"} if path.suffix == ".tif" else {}
    PIL.Image.fromarray(pixels).save(path, **options)
    out = path.with_name(f"out{suffix or path.suffix}")
    written = UPSCALER.file(path, out, scale=scale, quality=100)
    assert written.notes == (
        (KEPT,)
        if not suffix
        else (f"{suffix[1:].replace('webp', 'WebP')} has no 1 bit a pixel: black and white became grey",)
    )
    with PIL.Image.open(out) as image:
        image.load()
        return image


def lone(pixels: NDArray[np.bool_]) -> int:
    """How many pixels differ from at least seven of the eight around them: speckles."""
    shifts = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
    return int((sum(np.roll(pixels, shift, (0, 1)) != pixels for shift in shifts) >= 7).sum())


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_page_of_1_bit_stays_one_and_clean(tmp_path: Path, suffix: str, scale: int) -> None:
    """Nearer than repeated pixels to the page as it would be drawn at that size, and without a speckle."""
    small, truth = page(), page(scale)
    image = enlarged(small, tmp_path / f"a{suffix}", scale=scale)
    assert image.mode == "1"
    large = np.asarray(image)
    repeated = np.kron(small, np.ones((scale, scale), np.bool_))
    assert (large != truth).mean() < (repeated != truth).mean()
    assert lone(large) == 0
    size = (tmp_path / f"a{suffix}").stat().st_size
    assert (tmp_path / f"out{suffix}").stat().st_size < 1.5 * scale * size


def with_palette(path: Path, colours: bytes, **options: Any) -> Path:
    """Save the page with a palette of 1 bit a pixel."""
    image = PIL.Image.fromarray(page().astype(np.uint8), "P")
    image.putpalette(colours)
    image.save(path, bits=1, **options)
    return path


def enlarged_palette(path: Path) -> tuple[tuple[str, ...], int, NDArray[np.uint8]]:
    """What is said of the enlarged page, its bytes, and its pixels in R, G, B."""
    out = path.with_name(f"out{path.suffix}")
    notes = UPSCALER.file(path, out).notes
    with PIL.Image.open(out) as image:
        return notes, out.stat().st_size, np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("suffix", [".png", ".gif"])
@pytest.mark.parametrize("colours", [b"\0\0\0\xff\xff\xff", b"\xff\xff\xff\0\0\0"])
def test_a_palette_of_black_and_white_is_as_good_as_1_bit(
    tmp_path: Path, suffix: str, colours: bytes
) -> None:
    source = with_palette(tmp_path / f"a{suffix}", colours)
    PIL.Image.fromarray(page() if colours[0] == 0 else ~page()).save(tmp_path / "grey.png")
    UPSCALER.file(tmp_path / "grey.png", tmp_path / "truth.png")
    notes, size, pixels = enlarged_palette(source)
    assert notes == (KEPT,)
    assert size < 3 * source.stat().st_size
    with PIL.Image.open(tmp_path / "truth.png") as truth:
        np.testing.assert_array_equal(pixels, np.asarray(truth.convert("RGB")))


@pytest.mark.parametrize("suffix", [".png", ".gif"])
def test_other_palettes_of_two_colours_are_colours(tmp_path: Path, suffix: str) -> None:
    notes, _, pixels = enlarged_palette(with_palette(tmp_path / f"a{suffix}", b"\0\0\x78\xff\xff\xc8"))
    assert notes == ()
    assert np.median(pixels, (0, 1)).tolist() == [255, 255, 200]


def test_a_transparent_palette_of_black_and_white_keeps_its_transparency(tmp_path: Path) -> None:
    source = with_palette(tmp_path / "a.png", b"\0\0\0\xff\xff\xff", transparency=1)
    UPSCALER.file(source, tmp_path / "out.png")
    with PIL.Image.open(tmp_path / "out.png") as image:
        assert image.mode == "RGBA"
        assert np.median(np.asarray(image)[..., 3]) == 0


def test_the_compression_of_faxes_is_kept(tmp_path: Path) -> None:
    assert enlarged(page(), tmp_path / "a.tif").info["compression"] == "group4"
    PIL.Image.fromarray(page()).save(tmp_path / "b.tif")
    UPSCALER.file(tmp_path / "b.tif", tmp_path / "c.tif")
    with PIL.Image.open(tmp_path / "c.tif") as image:
        assert (image.mode, image.info["compression"]) == ("1", "tiff_adobe_deflate")


@pytest.mark.parametrize("paper", [False, True])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_dots_and_lines_of_a_pixel_are_kept(tmp_path: Path, scale: int, paper: bool) -> None:
    """Each dot is one of about the right size, of either colour; the page's border as well."""
    small = np.full((40, 40), paper)
    small[5::10, 5:30:10] = ~small[5::10, 5:30:10]
    small[:, 35] = not paper
    large = np.asarray(enlarged(small, tmp_path / "a.png", scale=scale))
    cells = (large != paper).reshape(40, scale, 40, scale).mean((1, 3))
    assert cells[small != paper].min() >= 0.5
    assert cells[small == paper].max() <= 0.35


def test_formats_without_1_bit_get_the_same_page_with_soft_edges(tmp_path: Path) -> None:
    """As lossless WebP shows: no grey but next to an edge."""
    black_and_white = np.asarray(enlarged(page(), tmp_path / "a.png"))
    grey = np.asarray(enlarged(page(), tmp_path / "a.png", ".webp").convert("L"))
    around = [np.roll(black_and_white, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    flat = np.all([one == black_and_white for one in around], axis=0)
    np.testing.assert_array_equal(grey[flat] > 0, black_and_white[flat])
    assert set(np.unique(grey[flat])) == {0, 255}
    assert len(np.unique(grey)) > 4


def test_every_page_of_a_fax_is_by_itself(tmp_path: Path) -> None:
    """A black page does not darken the white one after it."""
    pages = [PIL.Image.fromarray(np.full((20, 30), white)) for white in (False, True, False)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:], compression="group4")
    UPSCALER.file(tmp_path / "a.tif", tmp_path / "out.tif")
    with PIL.Image.open(tmp_path / "out.tif") as image:
        assert image.n_frames == 3
        for index, white in enumerate((False, True, False)):
            image.seek(index)
            assert image.mode == "1"
            assert (np.asarray(image) == white).all()


def test_a_size_is_reached_in_1_bit_too(tmp_path: Path) -> None:
    """With hardly more single pixels than text that is drawn large and resampled by Pillow."""
    PIL.Image.fromarray(page()).save(tmp_path / "a.png")
    UPSCALER.file(tmp_path / "a.png", tmp_path / "out.png", size=(300, None))
    drawn = PIL.Image.fromarray(page(2)).convert("L").resize((300, 138), PIL.Image.Resampling.LANCZOS)
    with PIL.Image.open(tmp_path / "out.png") as image:
        assert (image.mode, image.size) == ("1", (300, 138))
        assert lone(np.asarray(image)) <= 1.3 * lone(np.asarray(drawn) > 127)
