"""The LR image of an HR image as every super-resolution table makes it: by MATLAB's `imresize`."""

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from subpixel.colour import BT601


def bicubic_resize(image: NDArray[np.number], scale: Fraction | int) -> NDArray[np.float64]:
    """Resize the first two axes as MATLAB's `imresize(image, scale, "bicubic")` does, without rounding.

    Cubic convolution with a = -0.5, half-pixel centres, mirrored borders; when shrinking, the kernel is
    widened by 1/scale, so that it is its own low-pass filter.

    Args:
        image: (height, width) or (height, width, channels).
        scale: the factor, exact: `Fraction(1, 3)` shrinks by three, `3` enlarges.

    Returns:
        The resized image, (ceil(height * scale), ceil(width * scale), ...), in float64.

    Example:
        >>> bicubic_resize(np.full((6, 6), 7), Fraction(1, 3)).round(12)
        array([[7., 7.],
               [7., 7.]])

    References: Keys 1981, "Cubic convolution interpolation for digital image processing", eq. 15.
    """
    scale = Fraction(scale)
    rows, columns = (_resize_matrix(size, scale) for size in image.shape[:2])
    resized: NDArray[np.float64] = np.einsum("ia,jb,ab...->ij...", rows, columns, image * 1.0, optimize=True)
    return resized


def to_uint8(image: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Clip to 0..255 and round half up: MATLAB's `uint8`, which rounds half away from zero."""
    rounded: NDArray[np.uint8] = np.floor(np.clip(image, 0, 255) + 0.5).astype(np.uint8)
    return rounded


def degrade(image: NDArray[np.uint8], upscale_factor: int) -> NDArray[np.uint8]:
    """Return the LR image of an HR image whose sides are multiples of the upscale factor."""
    return to_uint8(bicubic_resize(image, Fraction(1, upscale_factor)))


def luma(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return Y of BT.601 in studio range, 16..235, rounded: MATLAB's `rgb2ycbcr`.

    A grey image is returned as it stands.

    Args:
        image: (height, width), or (height, width, 3) in R, G, B.

    Example:
        >>> luma(np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8))
        array([[ 16, 235]], dtype=uint8)
    """
    if image.ndim == 2:
        return image
    return to_uint8(16 + image.astype(np.float64) @ BT601[0] / 255)


def crop_to_multiple(image: NDArray[np.uint8], multiple: int) -> NDArray[np.uint8]:
    """Crop the bottom and the right so that both sides are multiples of `multiple`."""
    height, width = (side - side % multiple for side in image.shape[:2])
    return image[:height, :width]


def _resize_matrix(size: int, scale: Fraction) -> NDArray[np.float64]:
    """Return the (resized, size) matrix that resizes one axis."""
    shrink = float(min(scale, Fraction(1)))
    resized = -(-size * scale.numerator // scale.denominator)
    centres = (np.arange(resized) + 0.5) / float(scale) - 0.5
    reach = 2 / shrink
    taps = np.floor(centres - reach)[:, None] + np.arange(int(np.ceil(2 * reach)) + 2)
    weights = _cubic((centres[:, None] - taps) * shrink)
    weights /= weights.sum(axis=1, keepdims=True)
    # A mirror between the border pixels and their reflections repeats after 2 * size: 0 1 2 | 2 1 0 | 0 1 2 …
    mirrored = taps.astype(np.int64) % (2 * size)
    mirrored = np.where(mirrored < size, mirrored, 2 * size - 1 - mirrored)
    matrix = np.zeros((resized, size))
    np.add.at(matrix, (np.arange(resized)[:, None], mirrored), weights)
    return matrix


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0))
