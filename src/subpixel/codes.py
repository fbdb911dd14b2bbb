"""The integers of an image: codes from 0 to the largest stand for values from 0 to 1."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def to_values(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Return the values of pixels, in C order: code / largest code for unsigned integers, floats as they are.

    Integers are multiplied by the rounded reciprocal, as in `native/pixels.hpp`: to the same bits.

    Example:
        >>> to_values(np.array([0, 51, 255], np.uint8)).round(6)
        array([0. , 0.2, 1. ], dtype=float32)
    """
    values = pixels.astype(np.float32, order="C")
    if pixels.dtype.kind == "u":
        values *= 1 / np.float32(np.iinfo(pixels.dtype).max)
    return values


def put(values: NDArray[np.float32], pixels: NDArray[Any]) -> None:
    """Write values as pixels: rounded half up and clipped for unsigned integers, as they are for floats.

    Example:
        >>> pixels = np.empty(4, np.uint8)
        >>> put(np.array([-1, 0.5 / 255, 0.2, 9], np.float32), pixels)
        >>> pixels
        array([  0,   1,  51, 255], dtype=uint8)
    """
    if pixels.dtype.kind == "u":
        peak = np.iinfo(pixels.dtype).max
        values = values * np.float32(peak)
        values += 0.5  # and the cast truncates
        np.clip(values, 0, peak, out=values)
    np.copyto(pixels, values, casting="unsafe")
