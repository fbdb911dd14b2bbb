"""What keeps a chain as it is: kernels that would be too sparse or too large, pads that no identity covers.

A file from a stranger may ask for any stride, factor or padding.
"""

from collections.abc import Sequence
from math import prod

from subpixel.geometry import Axis
from subpixel.rewriter.layers import Convolution, Pad, Pads

MOST_ZEROS = 64  # LR taps for each tap of the kernel, at most; real layers have 1 to 4
MOST_WEIGHTS = 2**27  # of a form: half a gibibyte in float32


def too_sparse(geometry: Sequence[Axis]) -> str | None:
    """Return why the LR kernels would be nearly all zeros, or None."""
    taps = prod(axis.kernel_size for axis in geometry)
    if prod(axis.lr("aligned").taps * axis.stride for axis in geometry) <= MOST_ZEROS * taps:
        return None
    return f"nearly all phases of stride {tuple(axis.stride for axis in geometry)} are without a tap"


def too_large(weights: int) -> str | None:
    """Return why a form that repeats weights would not fit the memory, or None."""
    return None if weights <= MOST_WEIGHTS else f"its LR kernels would have {weights:,} weights"


def too_wide(pads: Pads, convolution: Convolution, limits: Sequence[int]) -> str | None:
    """Return why no transposed convolution has these pads, or None.

    Its padding is reach - low and its output_padding high - low, see `transposed.as_transposed`: the first
    must not be negative, the second must be below its limit.
    """
    for (low, high), reach, limit in zip(pads, convolution.reach, limits, strict=True):
        if low > reach or high - low >= limit:
            return f"the padding {low, high} is wider than the kernel's reach {reach}"
    return None


def cropped_then_padded(pad: Pad, convolution: Convolution) -> bool:
    """Return whether zeros take the place of cropped pixels, so that two paddings do not add up to one."""
    pairs = zip(pad.pads, convolution.pads, strict=True)
    return any(first < 0 < second for pair in pairs for first, second in zip(*pair, strict=True))
