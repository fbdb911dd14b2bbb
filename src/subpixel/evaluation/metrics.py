"""PSNR and SSIM of 8-bit planes, as the super-resolution tables have them."""

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.uint8]


def psnr(image: Plane, truth: Plane, shave: int = 0) -> float:
    """Return the peak signal-to-noise ratio in dB, with 255 as the peak; infinite for equal planes.

    PSNR = 10 log10(255^2 / mean((x - y)^2)).

    Args:
        image: (height, width).
        truth: the same shape.
        shave: pixels left out at each border.

    Example:
        >>> round(psnr(np.full((4, 4), 5, np.uint8), np.full((4, 4), 6, np.uint8)), 4)
        48.1308
    """
    x, y = _inner(image, truth, shave)
    error = np.mean((x - y) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def ssim(image: Plane, truth: Plane, shave: int = 0) -> float:
    """Return the mean structural similarity, over windows that lie wholly inside the planes.

    SSIM = (2 mx my + c1) (2 sxy + c2) / ((mx^2 + my^2 + c1) (sx^2 + sy^2 + c2)), with means m and covariances
    s under an 11x11 Gaussian of sigma 1.5, c1 = (0.01 L)^2, c2 = (0.03 L)^2 and L = 255.

    Args:
        image: (height, width), at least 11 pixels on each side after shaving.
        truth: the same shape.
        shave: pixels left out at each border.

    References: Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity".
    """
    x, y = _inner(image, truth, shave)
    if min(x.shape) < 11:
        raise ValueError(f"SSIM needs planes of at least 11x11 pixels; got {x.shape} after shaving {shave}.")
    mean_x, mean_y = _blur(x), _blur(y)
    variance_x, variance_y = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    )
    return float(similarity.mean())


def _inner(image: Plane, truth: Plane, shave: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if image.shape != truth.shape or image.ndim != 2:
        raise ValueError(
            f"both planes must have one shape (height, width); got {image.shape} and {truth.shape}."
        )
    if 2 * shave >= min(image.shape):
        raise ValueError(f"planes must be larger than what is shaved off; got {image.shape}, shave={shave}.")
    inside = tuple(slice(shave, side - shave) for side in image.shape)
    return image[inside].astype(np.float64), truth[inside].astype(np.float64)


def _blur(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    window = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window /= window.sum()
    for axis in (0, 1):
        plane = np.lib.stride_tricks.sliding_window_view(plane, 11, axis) @ window
    return plane
