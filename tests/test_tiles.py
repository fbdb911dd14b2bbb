"""The tiles of an image together are the whole: with an engine that has `extra`, bit for bit."""

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import random_network
from numpy.typing import NDArray

from subpixel import engines, stage, tiles
from subpixel.engines.engine import Engine
from subpixel.network import LRNetwork
from subpixel.raster import Layout, Raster
from subpixel.stage import Stage

LAYOUTS = [Layout(colour, alpha) for colour in ("y", "grey", "rgb", "cmyk") for alpha in (False, True)]
DTYPES = ["uint8", "uint16", "float32", "float64"]
NETWORKS: dict[str, LRNetwork] = {
    "luma": random_network(2, widths=(16, 8)),
    "luma, 3x3": random_network(
        3, widths=(8, 8), kernel_sizes=(3, 3, 3), activations=("prelu", "relu", None)
    ),
    "RGB, skip": random_network(2, channels=3, widths=(16, 8), kernel_sizes=(3, 3, 3), skip="bicubic"),
    "the skip reaches further": random_network(3, kernel_sizes=(1, 1, 1), skip="bicubic"),
    "x5, 7x7": random_network(5, widths=(8, 8), kernel_sizes=(7, 1, 3)),
}
SIZES = st.tuples(st.integers(1, 70), st.integers(1, 70))
TILES = st.tuples(st.integers(4, 40), st.integers(4, 40))


def picture(layout: Layout, dtype: str, height: int, width: int, seed: int) -> NDArray[Any]:
    """Noise; where there is alpha, opaque, translucent and transparent parts."""
    rng = np.random.default_rng(seed)
    image = rng.random((height, width, layout.bands))
    if layout.alpha:
        image[: height // 3, :, -1] = rng.integers(0, 2)
        image[height // 2 :, : width // 2, -1] = 1
    peak = 1 if dtype[0] == "f" else np.iinfo(dtype).max
    return (image * peak).astype(dtype)


def assert_tiles_are_the_whole(
    made: Stage, image: NDArray[Any], layout: Layout, sides: tuple[int, int], rows: int = 1000
) -> None:
    """Compare one tile with many, in memory and, `rows` at a time, as a stream."""
    height, width, _ = image.shape
    whole = tiles.enlarge_array(image, layout, made)
    assert np.ptp(whole) > 0
    dtype = np.dtype(np.float32) if image.dtype.kind == "f" else image.dtype
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "TILE_ROWS", sides[0])
        patch.setattr(stage, "TILE_COLUMNS", sides[1])
        np.testing.assert_array_equal(tiles.enlarge_array(image, layout, made), whole)
        strips = [image[top : top + rows] for top in range(0, height, rows)]
        enlarged = tiles.enlarge(Raster(width, height, layout, image.dtype, strips), made, dtype)
        np.testing.assert_array_equal(np.concatenate([*enlarged.strips]), whole.astype(dtype))


@cache
def native(name: str) -> Stage:
    return Stage(NETWORKS[name], "native")


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([*NETWORKS]),
    st.sampled_from(LAYOUTS),
    st.sampled_from(DTYPES),
    SIZES,
    TILES,
    st.integers(1, 80),
)
def test_no_bit_depends_on_the_tiles(
    name: str, layout: Layout, dtype: str, size: tuple[int, int], sides: tuple[int, int], rows: int
) -> None:
    """With the native engine; for any size, layout and type of pixels, any tiles, any strips."""
    image = picture(layout, dtype, *size, seed=sum(size))
    assert_tiles_are_the_whole(native(name), image, layout, sides, rows)


class Blocks(Engine):
    """An engine that gives each block of 4x4 pixels the value of the last pixel that it may bring along."""

    name, precision, extra = "native", "f32", 3

    def __init__(self, network: LRNetwork) -> None:
        self.radius, self.upscale_factor = network.radius, network.upscale_factor

    def __call__(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        height, width = (side - 2 * self.radius - self.extra for side in planes.shape[2:])
        after = planes[..., 2 * self.radius :, 2 * self.radius :]
        values = np.pad(after, ((0, 0), (0, 0), (0, 3), (0, 3)), mode="edge")[..., 6::4, 6::4]
        side = 4 * self.upscale_factor
        enlarged = values.repeat(side, axis=2).repeat(side, axis=3)
        return enlarged[..., : self.upscale_factor * height, : self.upscale_factor * width]


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(engines, "create", lambda network, *_: Blocks(network))
    return Stage(NETWORKS["luma"])


IMAGE = picture(Layout("y"), "float32", 61, 47, seed=0)


@pytest.mark.parametrize("sides", [(16, 12), (61, 20), (8, 47)])
def test_blocks_are_those_of_the_whole(blocks: Stage, sides: tuple[int, int]) -> None:
    assert_tiles_are_the_whole(blocks, IMAGE, Layout("y"), sides)


def test_tiles_that_start_elsewhere_would_show(blocks: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "STEP", 1)
    monkeypatch.setattr(stage, "STEP", 1)
    with pytest.raises(AssertionError, match="Arrays are not equal"):
        assert_tiles_are_the_whole(blocks, IMAGE, Layout("y"), (15, 47))


def test_other_pixels_after_the_context_would_show(blocks: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of a tile's last pixels, where the whole image has its own."""
    enlarge = Blocks.__call__

    def alone(engine: Blocks, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        return enlarge(engine, np.pad(planes[..., :-3, :-3], ((0, 0), (0, 0), (0, 3), (0, 3)), mode="edge"))

    monkeypatch.setattr(Blocks, "__call__", alone)
    with pytest.raises(AssertionError, match="Arrays are not equal"):
        assert_tiles_are_the_whole(blocks, IMAGE, Layout("y"), (16, 12))


def test_tiles_have_at_most_two_lengths() -> None:
    """They cover the image in order, start at multiples of 4, and only the last one repeats pixels."""
    for length in range(1, 300):
        for most in (4, 8, 20, 64):
            spans = list(tiles._spans(length, most))
            starts, ends = zip(*spans, strict=True)
            assert starts[0] == 0
            assert ends[-1] == length
            assert all(start % 4 == 0 for start in starts)
            assert all(end >= start for end, start in zip(ends[:-1], starts[1:], strict=True))
            assert len({end - start for start, end in spans}) <= 2
            assert max(end - start for start, end in spans) <= most + 3


@pytest.mark.parametrize("dtype", [">u2", ">f4", "<f8"])
def test_pixels_in_any_order_of_bytes_keep_it(dtype: str) -> None:
    image = picture(Layout("rgb"), "uint16" if "u" in dtype else "float32", 9, 13, seed=0)
    enlarged = tiles.enlarge_array(image.astype(dtype), Layout("rgb"), native("luma"))
    assert enlarged.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(enlarged, tiles.enlarge_array(image, Layout("rgb"), native("luma")))
