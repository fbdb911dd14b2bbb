"""A raster through one network, tile by tile; the tiles together are exactly the whole."""

from collections.abc import Iterable, Iterator
from math import ceil
from typing import Any

import numpy as np

from subpixel.codes import put, to_values
from subpixel.colour import Planes
from subpixel.engines.engine import check_numbers
from subpixel.raster import Raster, Strip
from subpixel.stage import Stage


def enlarge(raster: Raster, stage: Stage, dtype: np.dtype[Any]) -> Raster:
    """Return an enlarged raster, whose strips are computed as they are taken.

    Pixels beyond the border are copies of the nearest pixel of the image.

    Args:
        raster: the image.
        stage: the enlargement.
        dtype: the type of the result: integers are rounded; all is clipped to what an image can hold.
    """
    r = stage.upscale_factor
    strips = _enlarged(raster, stage, dtype)
    return Raster(r * raster.width, r * raster.height, raster.layout, dtype, strips)


def _enlarged(raster: Raster, stage: Stage, dtype: np.dtype[Any]) -> Iterator[Strip]:
    r, margin = stage.upscale_factor, stage.margin(raster.layout)
    rows, columns = map(_side, (raster.height, raster.width), stage.tile)
    done = 0
    for top, window in _windows(_padded(raster.strips, margin), raster.height, rows, margin):
        strip = np.empty((r * rows, r * raster.width, raster.layout.bands), dtype)
        for left in _starts(raster.width, columns):
            pixels = window[:, left : left + columns + 2 * margin]
            tile = stage(to_values(np.moveaxis(pixels, -1, 0)), raster.layout)
            _put(tile, strip[:, r * left : r * (left + columns)])
        yield strip[r * (done - top) :]
        done = top + rows


def _side(length: int, most: int) -> int:
    """Return the side of equal tiles: an engine prepares anew for each shape, so there should be one only."""
    return ceil(length / ceil(length / most))


def _starts(length: int, side: int) -> list[int]:
    """Return where tiles start; the last one is moved back inside, and repeats some pixels."""
    return [min(start, length - side) for start in range(0, length, side)]


def _windows(strips: Iterator[Strip], height: int, rows: int, margin: int) -> Iterator[tuple[int, Strip]]:
    """Yield windows of `rows` rows and their context from padded strips, each with its first row's number."""
    held, first = next(strips), 0
    for top in _starts(height, rows):
        held, first = held[top - first :], top
        while len(held) < rows + 2 * margin:
            held = np.concatenate([held, next(strips)])
        yield top, held[: rows + 2 * margin]


def _padded(strips: Iterable[Strip], margin: int) -> Iterator[Strip]:
    """Yield the strips with copies of the outer pixels on all four sides of the image."""
    above = margin
    for strip in strips:
        padded = np.pad(strip, ((above, 0), (margin, margin), (0, 0)), mode="edge")
        above = 0
        yield padded
    yield np.repeat(padded[-1:], margin, axis=0)


def _put(planes: Planes, pixels: Strip) -> None:
    """Write planes into pixels, rounded and clipped."""
    check_numbers(planes)
    put(np.clip(planes, 0, 1, out=planes), np.moveaxis(pixels, -1, 0))
