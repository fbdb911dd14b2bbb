"""An image as a stream of strips, so that it is never whole in memory."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Strip = NDArray[Any]
Colour = Literal["y", "grey", "rgb", "cmyk"]

_BANDS: dict[Colour, int] = {"y": 1, "grey": 1, "rgb": 3, "cmyk": 4}


@dataclass(frozen=True)
class Layout:
    """The meaning of the bands of an image.

    Attributes:
        colour: "y" is luma in studio range; "grey", "rgb" and "cmyk" are full range.
        alpha: whether a last band is opacity; colours are not premultiplied.
    """

    colour: Colour
    alpha: bool = False

    @property
    def bands(self) -> int:
        """The number of values of a pixel."""
        return _BANDS[self.colour] + self.alpha


@dataclass(frozen=True)
class Raster:
    """An image, or a page of one, that comes in strips.

    Attributes:
        width: in pixels.
        height: in pixels.
        layout: what the bands are.
        dtype: uint8 or uint16 with their full range, or floats in 0..1.
        strips: all rows from the top, (rows, width, bands) at a time; may be taken once.
    """

    width: int
    height: int
    layout: Layout
    dtype: np.dtype[Any]
    strips: Iterable[Strip]
