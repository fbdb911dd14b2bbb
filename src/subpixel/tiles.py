"""A raster through one network, tile by tile; the tiles together are exactly the whole.

Tiles start at multiples of 4 pixels, and bring along some pixels after their context, as the whole image has
them there: so an engine with `extra` computes the same bits whatever the tiles.
"""

from collections.abc import Iterator
from math import ceil
from typing import Any

import numpy as np

from subpixel.raster import Layout, Raster, Strip
from subpixel.stage import STEP, Stage

Span = tuple[int, int]


def enlarge(raster: Raster, stage: Stage, dtype: np.dtype[Any]) -> Raster:
    """Return an enlarged raster, whose strips are computed as they are taken.

    Pixels beyond the border are copies of the nearest pixel of the image.

    Args:
        raster: the image.
        stage: the enlargement.
        dtype: uint8, uint16 or float32: integers are rounded; all is clipped to what an image can hold.
    """
    r = stage.upscale_factor
    strips = _enlarged(raster, stage, dtype)
    return Raster(r * raster.width, r * raster.height, raster.layout, dtype, strips)


def enlarge_array(pixels: Strip, layout: Layout, stage: Stage) -> Strip:
    """Return an enlarged image, computed where it stays; see `enlarge`.

    Args:
        pixels: (height, width, bands) of uint8, uint16 or floats.
        layout: what the bands are.
        stage: the enlargement.
    """
    r, (height, width, bands) = stage.upscale_factor, pixels.shape
    enlarged = np.empty((r * height, r * width, bands), _computed(pixels.dtype))
    raster = Raster(width, height, layout, pixels.dtype, [pixels])
    for (top, bottom), window in _windows(raster, stage):
        _fill(enlarged[r * top : r * bottom], window, layout, stage)
    return enlarged.astype(pixels.dtype, copy=False)


def _enlarged(raster: Raster, stage: Stage, dtype: np.dtype[Any]) -> Iterator[Strip]:
    r, done = stage.upscale_factor, 0
    for (top, bottom), window in _windows(raster, stage):
        strip = np.empty((r * (bottom - top), r * raster.width, raster.layout.bands), dtype)
        _fill(strip, window, raster.layout, stage)
        yield strip[r * (done - top) :]
        done = bottom


def _fill(strip: Strip, window: Strip, layout: Layout, stage: Stage) -> None:
    """Enlarge a window into a strip, tile by tile."""
    r, around = stage.upscale_factor, 2 * stage.margin(layout) + stage.extra
    for left, right in _spans(window.shape[1] - around, stage.tile[1]):
        tile, pixels = strip[:, r * left : r * right], window[:, left : right + around]
        stage(np.moveaxis(pixels, -1, 0), layout, np.moveaxis(tile, -1, 0))
    if strip.dtype.kind == "f":
        np.clip(strip, 0, 1, out=strip)


def _spans(length: int, most: int) -> Iterator[Span]:
    """Yield where tiles start and end; the last one starts early, and repeats some pixels.

    All are of one length, or of two where `STEP` does not divide it: some engines prepare for each shape.
    """
    side = STEP * ceil(length / ceil(length / most) / STEP)
    last = max(0, length - side) // STEP * STEP
    yield from ((start, start + side) for start in range(0, last, side))
    yield last, length


def _windows(raster: Raster, stage: Stage) -> Iterator[tuple[Span, Strip]]:
    """Yield the rows of the image that one row of tiles gives, and the padded pixels that they need."""
    margin = stage.margin(raster.layout)
    strips = _padded(raster, margin, margin + stage.extra)
    held, first = next(strips), 0
    for top, bottom in _spans(raster.height, stage.tile[0]):
        parts, rows = [held[top - first :]], bottom - top + 2 * margin + stage.extra
        while sum(map(len, parts)) < rows:
            parts.append(next(strips))
        held, first = parts[0] if len(parts) == 1 else np.concatenate(parts), top
        yield (top, bottom), held[:rows]


def _padded(raster: Raster, before: int, after: int) -> Iterator[Strip]:
    """Yield the strips with copies of the outer pixels on all four sides of the image."""
    done = 0
    for strip in raster.strips:
        above, done = before if done == 0 else 0, done + len(strip)
        below = after if done == raster.height else 0
        pixels = strip.astype(_computed(strip.dtype), copy=False)
        yield np.pad(pixels, ((above, below), (before, after), (0, 0)), mode="edge")


def _computed(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type that an engine takes for one: float32 for floats, and the machine's order of bytes."""
    return np.dtype(np.float32) if dtype.kind == "f" else dtype.newbyteorder("=")
