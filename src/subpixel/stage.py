"""One enlargement of a tile: by a network where eyes see sharply, by bicubic interpolation elsewhere."""

from math import sqrt
from threading import Lock
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from subpixel import engines
from subpixel.codes import to_values
from subpixel.colour import BLACK, WHITE, rgb_to_ycbcr, spread_under, ycbcr_to_rgb
from subpixel.engines import Engine
from subpixel.network import LRNetwork, bicubic
from subpixel.raster import Colour, Layout

# What an engine is for: each plane of a colour by itself, or all planes from one colour to the other.
Role = Literal["y", "grey", "cmyk", "to ycbcr", "to rgb"]

# Large enough that little context is computed twice, small enough that a tile's feature maps stay in the
# last-level cache: 32 channels of 256 x 512 pixels are 16 MiB.
TILE_ROWS = 256
TILE_COLUMNS = 512
# Channels; tiles of a wider network are smaller, so that its feature maps need no more memory.
TILE_WIDTH = 64
# Pixels; tiles start at multiples of it, as the bits of an engine with `extra` require.
STEP = 4


class Stage:
    """One enlargement: a network for luma, bicubic interpolation for chroma and opacity.

    What else there is to compute is a network too, run by the same engine: from RGB to luma and chroma, and
    back. So pixels go from a strip into an engine, and from an engine into a strip, without a copy.

    Args:
        network: the network; its factor is that of the stage.
        engine: the engine that runs it; see `subpixel.engines.create`.
        precision: what the network computes in; all else is computed in float32.

    Attributes:
        upscale_factor: r, the factor of the network.
        radius: pixels of context that planes need on each side.
        extra: pixels that they need on the right and below, after the context; see `Engine`.
    """

    def __init__(
        self,
        network: LRNetwork,
        engine: engines.Name | Literal["auto"] = "auto",
        precision: engines.Precision = "f32",
    ) -> None:
        self.upscale_factor = network.upscale_factor
        self._network, self._precision = network, precision
        self._sharp, self._sharp_radius = engines.create(network, engine, precision), network.radius
        # The same engine: a second one would cost its import and memory, for a tenth of the work.
        interpolation = bicubic(network.upscale_factor)
        self._smooth, self._smooth_radius = self._create(interpolation), interpolation.radius
        self.radius = max(self._sharp_radius, self._smooth_radius)
        self.extra = max(self._sharp.extra, self._smooth.extra)
        # The memory of a tile grows with its area times the width, so each side shrinks with the root.
        self._shrinking = sqrt(max(1, network.width / TILE_WIDTH))
        # An output pixel shows only within `_smooth_radius` of a visible pixel, and its colour depends
        # on pixels up to `radius` away: visible colours must spread over both distances.
        self._reach = self.radius + self._smooth_radius
        self._made: dict[Role, Engine] = {"y": self._sharp} if network.channels == 1 else {}
        self._making = Lock()

    @property
    def tile(self) -> tuple[int, int]:
        """The largest numbers of rows and of columns of a tile, multiples of `STEP`."""
        rows, columns = (int(side / self._shrinking / STEP) * STEP for side in (TILE_ROWS, TILE_COLUMNS))
        return rows, columns

    def margin(self, layout: Layout) -> int:
        """Return the pixels of context that a tile of a layout needs on each side."""
        return self.radius + (self._reach if layout.alpha else 0)

    def __call__(self, planes: NDArray[Any], layout: Layout, enlarged: NDArray[Any]) -> None:
        """Enlarge a tile of any layout; both arrays are of float32, uint8 or uint16, as in `Engine.into`.

        Args:
            planes: (bands, h + 2*margin + extra, w + 2*margin + extra), with the margin of the layout.
            layout: what the bands mean.
            enlarged: (bands, r*h, r*w), where the result goes; floats are not clipped.
        """
        if layout.alpha:
            opacity = planes[-1:, self._reach :, self._reach :]
            self._run(self._smooth, self._smooth_radius, opacity, enlarged[-1:])
            planes, enlarged = self._visible_colours(planes), enlarged[:-1]
        self._enlarge_colours(planes, layout.colour, enlarged)

    def _visible_colours(self, planes: NDArray[Any]) -> NDArray[Any]:
        """Return the colours without the outer `_reach` pixels, hidden ones replaced by visible ones."""
        values, inner = to_values(planes[-1:]), slice(self._reach, -self._reach)
        if (values == 1).all():
            return planes[:-1, inner, inner]
        return spread_under(to_values(planes[:-1]), values, self._reach)

    def _enlarge_colours(self, planes: NDArray[Any], colour: Colour, enlarged: NDArray[Any]) -> None:
        if colour == "rgb" and self._network.channels == 1:
            self._enlarge_rgb(planes, enlarged)
        elif colour == "rgb":
            self._run(self._sharp, self._sharp_radius, planes, enlarged)
        else:
            engine = self._engine(colour)
            for plane, result in zip(planes, enlarged, strict=True):
                self._run(engine, self._sharp_radius, plane[None], result[None])

    def _enlarge_rgb(self, planes: NDArray[Any], enlarged: NDArray[Any]) -> None:
        """Enlarge luma by the network, and chroma by interpolation."""
        ycbcr, result = np.empty(planes.shape, np.float32), np.empty(enlarged.shape, np.float32)
        self._engine("to ycbcr").into(planes, ycbcr)
        self._run(self._sharp, self._sharp_radius, ycbcr[:1], result[:1])
        for band in (1, 2):
            chroma = slice(band, band + 1)
            self._run(self._smooth, self._smooth_radius, ycbcr[chroma], result[chroma])
        self._engine("to rgb").into(result, enlarged)

    def _run(self, engine: Engine, radius: int, planes: NDArray[Any], enlarged: NDArray[Any]) -> None:
        """Enlarge planes with a context of `self.radius` by an engine that needs no more than `radius`."""
        lead = self.radius - radius
        height, width = (
            side // self.upscale_factor + 2 * radius + engine.extra for side in enlarged.shape[1:]
        )
        engine.into(planes[:, lead : lead + height, lead : lead + width], enlarged)

    def _engine(self, role: Role) -> Engine:
        """Return the engine for what not every image needs, made when it is first needed."""
        with self._making:
            if role not in self._made:
                self._made[role] = self._make(role)
            return self._made[role]

    def _make(self, role: Role) -> Engine:
        plane = self._network.of_one_plane()
        # Grey as an RGB image of that grey: luma is in studio range.
        grey = plane.mapped(WHITE - BLACK, BLACK) if self._network.channels == 1 else plane
        match role:
            case "y":
                return self._create(plane, self._precision)
            case "grey":
                return self._create(grey, self._precision)
            case "cmyk":  # as light, not as ink: white paper is bright
                return self._create(grey.mapped(-1, 1), self._precision)
            case "to ycbcr":
                return self._create(rgb_to_ycbcr())
            case "to rgb":
                return self._create(ycbcr_to_rgb())

    def _create(self, network: LRNetwork, precision: engines.Precision = "f32") -> Engine:
        return engines.create(network, self._sharp.name, precision)
