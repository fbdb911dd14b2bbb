"""One enlargement of a tile: by a network where eyes see sharply, by bicubic interpolation elsewhere."""

from math import sqrt

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
from subpixel.raster import Colour, Layout

# Large enough that little context is computed twice, small enough that a tile's feature maps stay in the
# last-level cache: 32 channels of 256 x 512 pixels are 16 MiB.
TILE_ROWS = 256
TILE_COLUMNS = 512
# Channels; tiles of a wider network are smaller, so that its feature maps need no more memory.
TILE_WIDTH = 64


class Stage:
    """One enlargement: a network for luma, bicubic interpolation for chroma and opacity.

    Args:
        network: the network; its factor is that of the stage.
        sharp: an engine that runs the network.
        smooth: an engine that runs `bicubic` of the same factor.

    Attributes:
        upscale_factor: r, the factor of both engines.
        radius: pixels of context that `sharp` and `smooth` need on each side of their planes.
    """

    def __init__(self, network: LRNetwork, sharp: Engine, smooth: Engine) -> None:
        self.upscale_factor = network.upscale_factor
        self._channels = network.channels
        self._sharp, self._sharp_radius = sharp, network.radius
        self._smooth, self._smooth_radius = smooth, bicubic(network.upscale_factor).radius
        self.radius = max(self._sharp_radius, self._smooth_radius)
        # The memory of a tile grows with its area times the width, so each side shrinks with the root.
        self._shrinking = sqrt(max(1, network.width / TILE_WIDTH))
        # An output pixel shows only within `_smooth_radius` of a visible pixel, and its colour depends
        # on pixels up to `radius` away: visible colours must spread over both distances.
        self._reach = self.radius + self._smooth_radius

    @property
    def tile(self) -> tuple[int, int]:
        """The largest numbers of rows and of columns of a tile."""
        return int(TILE_ROWS / self._shrinking), int(TILE_COLUMNS / self._shrinking)

    def margin(self, layout: Layout) -> int:
        """Return the pixels of context that a tile of a layout needs on each side."""
        return self.radius + (self._reach if layout.alpha else 0)

    def __call__(self, planes: Planes, layout: Layout) -> Planes:
        """Enlarge a tile of any layout.

        Args:
            planes: (bands, h + 2*margin, w + 2*margin), with the margin of the layout.
            layout: what the bands mean.

        Returns:
            (bands, r*h, r*w).
        """
        if not layout.alpha:
            return self._enlarge_colours(planes, layout.colour)
        colours, opacity = planes[:-1], planes[-1:]
        if (opacity == 1).all():
            enlarged = self._enlarge_colours(_crop(colours, self._reach), layout.colour)
            return np.concatenate([enlarged, np.ones_like(enlarged[:1])])
        enlarged = self._enlarge_colours(spread_under(colours, opacity, self._reach), layout.colour)
        return np.concatenate([enlarged, self.smooth(_crop(opacity, self._reach))])

    def sharp(self, planes: Planes) -> Planes:
        """Enlarge planes by the network, each plane by itself.

        A network of three channels takes each plane as R, G and B, and the mean of its outputs is the result.

        Args:
            planes: (n, h + 2*radius, w + 2*radius); Y in studio range for a network of one channel.

        Returns:
            (n, r*h, r*w).
        """
        enlarged = self._run_network(np.repeat(planes[:, None], self._channels, axis=1))
        return enlarged.mean(axis=1, dtype=np.float32) if self._channels > 1 else enlarged[:, 0]

    def smooth(self, planes: Planes) -> Planes:
        """Enlarge planes by bicubic interpolation, each plane by itself.

        Args:
            planes: (n, h + 2*radius, w + 2*radius).

        Returns:
            (n, r*h, r*w).
        """
        cropped = _crop(planes, self.radius - self._smooth_radius)
        return self._smooth(np.ascontiguousarray(cropped[:, None]))[:, 0]

    def _enlarge_colours(self, planes: Planes, colour: Colour) -> Planes:
        match colour:
            case "rgb" if self._channels == 3:
                return self._run_network(planes[None]).squeeze(0)
            case "rgb":
                ycbcr = rgb_to_ycbcr(planes)
                return ycbcr_to_rgb(np.concatenate([self.sharp(ycbcr[:1]), self.smooth(ycbcr[1:])]))
            case "cmyk":  # as light, not as ink: white paper is bright
                return 1 - self._enlarge_grey(1 - planes)
            case "grey":
                return self._enlarge_grey(planes)
            case "y":
                return self.sharp(planes)

    def _enlarge_grey(self, planes: Planes) -> Planes:
        """Enlarge each plane of full range by itself, as an RGB image of that grey would be."""
        if self._channels == 3:
            return self.sharp(planes)
        return from_studio(self.sharp(to_studio(planes)))

    def _run_network(self, batch: Planes) -> Planes:
        return self._sharp(np.ascontiguousarray(_crop(batch, self.radius - self._sharp_radius)))


def _crop(planes: Planes, margin: int) -> Planes:
    return planes[..., margin : planes.shape[-2] - margin, margin : planes.shape[-1] - margin]
