"""A raster through one network, tile by tile; the tiles together are exactly the whole."""

from collections.abc import Iterable, Iterator
from math import ceil
from typing import Any

import numpy as np

from subpixel.colour import Planes
from subpixel.raster import Raster, Strip
from subpixel.stage import Stage


def enlarge(raster: Raster, stage: Stage, dtype: np.dtype[Any]) -> Raster:
    """Enlarge an image, its borders replicated, as its strips are taken.

    Args:
        raster: what to enlarge.
        stage: by what.
        dtype: what to give: integers are rounded; all is clipped to what an image can hold.
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
            tile = stage(_to_planes(window[:, left : left + columns + 2 * margin]), raster.layout)
            _put(tile, strip[:, r * left : r * (left + columns)])
        yield strip[r * (done - top) :]
        done = top + rows


def _side(length: int, most: int) -> int:
    """The side of equal tiles: engines prepare themselves for each shape that they meet."""
    return ceil(length / ceil(length / most))


def _starts(length: int, side: int) -> list[int]:
    """Where tiles start; the last is moved back inside, and repeats some pixels."""
    return [min(start, length - side) for start in range(0, length, side)]


def _windows(strips: Iterator[Strip], height: int, rows: int, margin: int) -> Iterator[tuple[int, Strip]]:
    """Regroup padded strips into windows of `rows` rows and their context."""
    held, first = next(strips), 0
    for top in _starts(height, rows):
        held, first = held[top - first :], top
        while len(held) < rows + 2 * margin:
            held = np.concatenate([held, next(strips)])
        yield top, held[: rows + 2 * margin]


def _padded(strips: Iterable[Strip], margin: int) -> Iterator[Strip]:
    """The strips with replicated pixels on all four sides of the image."""
    above = margin
    for strip in strips:
        padded = np.pad(strip, ((above, 0), (margin, margin), (0, 0)), mode="edge")
        above = 0
        yield padded
    yield np.repeat(padded[-1:], margin, axis=0)


def _to_planes(pixels: Strip) -> Planes:
    planes = np.moveaxis(pixels, -1, 0).astype(np.float32, order="C")
    if pixels.dtype.kind == "u":
        planes /= np.iinfo(pixels.dtype).max
    return planes


def _put(planes: Planes, pixels: Strip) -> None:
    """Round planes into pixels, clipped."""
    if np.isnan(planes).any():
        raise ValueError("a network must give numbers; got NaN. Its weights are too large.")
    peak = 1
    if pixels.dtype.kind == "u":
        peak = np.iinfo(pixels.dtype).max
        planes *= peak
        planes += 0.5  # and the cast truncates
    np.clip(planes, 0, peak, out=planes)
    for band, plane in enumerate(planes):
        pixels[..., band] = plane
