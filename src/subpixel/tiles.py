"""A raster through one network, tile by tile; the tiles together are exactly the whole."""

from collections.abc import Iterable, Iterator
from math import ceil, sqrt
from typing import Any

import numpy as np

from subpixel.colour import (
    Planes,
    from_studio,
    rgb_to_ycbcr,
    spread_under,
    to_studio,
    ycbcr_to_rgb,
)
from subpixel.engines import Engine
from subpixel.network import LRNetwork, bicubic
from subpixel.raster import Colour, Layout, Raster, Strip

# A tile's feature maps stay in the last-level cache, and little context is computed twice.
TILE_ROWS = 256
TILE_COLUMNS = 512
TILE_WIDTH = 64  # channels; a wider network's tiles are smaller, for its maps to take no more memory


class Stage:
    """One enlargement: a network for what is seen sharply, bicubic interpolation for chroma and opacity.

    Attributes:
        upscale_factor: of both.
    """

    def __init__(self, network: LRNetwork, sharp: Engine, smooth: Engine) -> None:
        self.upscale_factor = network.upscale_factor
        self._channels = network.channels
        self._sharp, self._sharp_radius = sharp, network.radius
        self._smooth, self._smooth_radius = smooth, bicubic(network.upscale_factor).radius
        self._radius = max(self._sharp_radius, self._smooth_radius)
        self._shrinking = sqrt(max(1, network.width / TILE_WIDTH))
        self._reach = self._radius + self._smooth_radius  # what a pixel of any opacity is computed from

    @property
    def tile(self) -> tuple[int, int]:
        """The most rows and columns of a tile."""
        return int(TILE_ROWS / self._shrinking), int(TILE_COLUMNS / self._shrinking)

    def margin(self, layout: Layout) -> int:
        """Pixels of context that a tile needs on each side."""
        return self._radius + (self._reach if layout.alpha else 0)

    def __call__(self, planes: Planes, layout: Layout) -> Planes:
        """Enlarge a tile: (bands, h + 2*margin, w + 2*margin) to (bands, r*h, r*w)."""
        if not layout.alpha:
            return self._enlarge_colours(planes, layout.colour)
        colours, opacity = planes[:-1], planes[-1:]
        if (opacity == 1).all():
            enlarged = self._enlarge_colours(_crop(colours, self._reach), layout.colour)
            return np.concatenate([enlarged, np.ones_like(enlarged[:1])])
        enlarged = self._enlarge_colours(spread_under(colours, opacity, self._reach), layout.colour)
        return np.concatenate([enlarged, self._enlarge_smooth(_crop(opacity, self._reach))])

    def _enlarge_colours(self, planes: Planes, colour: Colour) -> Planes:
        match colour:
            case "rgb" if self._channels == 3:
                return self._run_sharp(planes[None]).squeeze(0)
            case "rgb":
                ycbcr = rgb_to_ycbcr(planes)
                return ycbcr_to_rgb(
                    np.concatenate([self._enlarge_sharp(ycbcr[:1]), self._enlarge_smooth(ycbcr[1:])])
                )
            case "cmyk":  # as light, not as ink: white paper is bright
                return 1 - self._enlarge_grey(1 - planes)
            case "grey":
                return self._enlarge_grey(planes)
            case "y":
                return self._enlarge_sharp(planes)

    def _enlarge_grey(self, planes: Planes) -> Planes:
        """Each plane by itself, as an RGB image of that grey."""
        if self._channels == 3:
            return self._enlarge_sharp(planes)
        return from_studio(self._enlarge_sharp(to_studio(planes)))

    def _enlarge_sharp(self, planes: Planes) -> Planes:
        """Each plane by itself through the network, which may want it as R, G and B."""
        planes = self._run_sharp(np.repeat(planes[:, None], self._channels, axis=1))
        return planes.mean(axis=1, dtype=np.float32) if self._channels > 1 else planes[:, 0]

    def _run_sharp(self, batch: Planes) -> Planes:
        return self._sharp(np.ascontiguousarray(_crop(batch, self._radius - self._sharp_radius)))

    def _enlarge_smooth(self, planes: Planes) -> Planes:
        cropped = _crop(planes, self._radius - self._smooth_radius)
        return self._smooth(np.ascontiguousarray(cropped[:, None]))[:, 0]


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


def _crop(planes: Planes, margin: int) -> Planes:
    return planes[..., margin : planes.shape[-2] - margin, margin : planes.shape[-1] - margin]


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
