"""Colour as networks see it: Y'CbCr of BT.601 in studio range, and colours that reach under transparency.

Planes are float32, (channels, height, width), 0..1 for the codes 0..255 or 0..65535.
"""

import numpy as np
from numpy.typing import NDArray

from subpixel.network import LRConvolution, LRNetwork

Planes = NDArray[np.float32]

# Rows give Y - 16, Cb - 128 and Cr - 128 for R, G, B in 0..1 (MATLAB's rgb2ycbcr; ITU-R BT.601).
BT601 = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])
RGB_TO_YCBCR = BT601 / 255
BLACK = 16 / 255
WHITE = 235 / 255


def rgb_to_ycbcr() -> LRNetwork:
    """Return the network that gives Y in studio range, unrounded, and Cb and Cr centred on 0.

    It is a convolution of one tap: an engine reads integers, of any strides, as fast as it enlarges them.
    """
    return _mix(RGB_TO_YCBCR, np.array([BLACK, 0, 0]))


def ycbcr_to_rgb() -> LRNetwork:
    """Return the network that gives RGB: the inverse of `rgb_to_ycbcr`."""
    matrix = np.linalg.inv(RGB_TO_YCBCR)
    return _mix(matrix, -BLACK * matrix[:, 0])


def spread_under(colours: Planes, alpha: Planes, reach: int) -> Planes:
    """Let visible colours reach under their less visible neighbours, so that no hidden colour bleeds out.

    Each pixel moves towards the alpha-weighted (premultiplied) mean around it, by how much less visible it is
    than its most visible neighbour. Opaque pixels, and those as visible as all around, keep their colours
    exactly; so do those with nothing visible within reach.

    Args:
        colours: (channels, height, width).
        alpha: (1, height, width).
        reach: how many pixels far colours spread.

    Returns:
        The colours without the outer `reach` pixels, whose neighbours are not all known.
    """
    inner = (..., slice(reach, -reach), slice(reach, -reach))
    # A Gaussian whose deviation is a quarter of the reach: the weights at its ends are e**-8 of the largest.
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / (reach / 4)) ** 2).astype(np.float32)
    means = _correlate(np.concatenate([colours * alpha, alpha]), weights)
    visible = means[-1:] > 0
    np.divide(means[:-1], means[-1:], out=means[:-1], where=visible)
    peak = _local_maximum(alpha, 2)[inner]
    share = np.divide(alpha[inner], peak, out=np.zeros_like(peak), where=peak > 0)
    share[~visible] = 1
    spread: Planes = colours[inner] * share + means[:-1] * (1 - share)
    return spread


def _mix(matrix: NDArray[np.floating], bias: NDArray[np.floating]) -> LRNetwork:
    weight = matrix[:, :, None, None].astype(np.float32)
    return LRNetwork(1, (LRConvolution(weight, bias.astype(np.float32)),), metadata={"name": "colours"})


def _correlate(planes: Planes, weights: Planes) -> Planes:
    """Correlate rows and columns with symmetric weights; give what has all its neighbours."""
    for _ in range(2):
        length = planes.shape[-1] - len(weights) + 1
        planes = sum(w * planes[..., i : i + length] for i, w in enumerate(weights)).swapaxes(-1, -2)
    return planes


def _local_maximum(plane: Planes, radius: int) -> Planes:
    """Return the maximum within `radius` rows and columns; pixels of the outer `radius` see fewer."""
    for _ in range(2):
        peak = plane.copy()
        for shift in range(1, radius + 1):
            np.maximum(peak[..., shift:], plane[..., :-shift], out=peak[..., shift:])
            np.maximum(peak[..., :-shift], plane[..., shift:], out=peak[..., :-shift])
        plane = peak.swapaxes(-1, -2)
    return plane
