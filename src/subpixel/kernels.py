"""The algebra: kernels of up-samplers to kernels of low-resolution convolutions, and back."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Interpolation = Literal["nearest", "linear", "cubic"]


def interpolation_to_lr(mode: Interpolation, upscale_factor: int, ndim: int) -> NDArray[np.float64]:
    """Write an interpolation as the phase kernels of an LR convolution.

    Applied without padding to a plane that is replicate-padded by K // 2, then shuffled, they equal
    `torch.nn.functional.interpolate` with `align_corners=False`, borders included.

    Args:
        mode: "nearest" (K = 1), "linear" (K = 3: bilinear, trilinear) or "cubic" (K = 5, A = -0.75).
        upscale_factor: r, any integer from 1.
        ndim: spatial axes, each enlarged r times.

    Returns:
        Phase kernels (r**ndim, 1, K, ..., K), in the channel order of PyTorch's `pixel_shuffle`.

    Raises:
        ValueError: no such mode, or an upscale factor or ndim below 1.

    Example:
        >>> interpolation_to_lr("linear", 2, 1)[:, 0]
        array([[0.25, 0.75, 0.  ],
               [0.  , 0.75, 0.25]])

    References: Keys 1981 (doi:10.1109/TASSP.1981.1163711), equation 4, for the cubic kernel.
    """
    if mode not in _PROFILES:
        raise ValueError(f"mode must be one of {tuple(_PROFILES)}; got {mode!r}.")
    if min(upscale_factor, ndim) < 1:
        raise ValueError(f"upscale_factor and ndim must be at least 1; got {upscale_factor=}, {ndim=}.")
    reach, profile = _PROFILES[mode]
    # Phase f lies (f + 1/2) / r - 1/2 to the right of its LR pixel's centre.
    positions = (np.arange(upscale_factor) + 0.5) / upscale_factor - 0.5
    kernels = profile(np.abs(np.arange(-reach, reach + 1) - positions[:, None]))
    taps = 2 * reach + 1
    outer = kernels
    for _ in range(ndim - 1):
        outer = np.kron(outer, kernels)
    return outer.reshape(upscale_factor**ndim, 1, *[taps] * ndim)


def _constant(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.ones_like(distance)


def _linear(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(1 - distance, 0)


def _cubic(distance: NDArray[np.float64], a: float = -0.75) -> NDArray[np.float64]:
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((distance - 5) * distance + 8) * a * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


_PROFILES = {"nearest": (0, _constant), "linear": (1, _linear), "cubic": (2, _cubic)}
