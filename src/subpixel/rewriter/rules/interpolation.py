"""Interpolation = replicate padding, depthwise LR convolution, periodic shuffle.

Phase f of the output lies (f + 1/2) / r - 1/2 LR pixels to the right of its LR pixel. With the
interpolation's profile P (`subpixel.kernels.interpolation_to_lr`), zero beyond R pixels, and x repeated
beyond its edge,

    y[m*r + f] = sum of P(|u - (f + 1/2) / r + 1/2|) * x[m + u] over u = -R .. R
"""

import numpy as np

from subpixel.kernels import interpolation_to_lr
from subpixel.rewriter.layers import Chain, Convolution, Pad, Resize, Shuffle
from subpixel.rewriter.rules import Rule
from subpixel.rewriter.rules.limits import too_large


def concerns(chain: Chain) -> bool:
    """Pass over what only copies: a nearest resize, and any by a factor of 1."""
    (resize,) = chain
    assert isinstance(resize, Resize)
    return resize.mode != "nearest" and max(resize.factors) > 1


def check(chain: Chain) -> str | None:
    """Refuse factors that differ, and kernels that would not fit the memory."""
    (resize,) = chain
    assert isinstance(resize, Resize)
    if len(set(resize.factors)) > 1:
        return f"its factors differ, {resize.factors}"
    taps = 3 if resize.mode == "linear" else 5
    return too_large(resize.channels * (taps * resize.factors[0]) ** len(resize.factors))


def rewrite(chain: Chain) -> dict[str, Chain]:
    """Return the convolution by the fixed kernels, the same for every channel."""
    (resize,) = chain
    assert isinstance(resize, Resize)
    ndim, (factor, *_) = len(resize.factors), resize.factors
    kernels = interpolation_to_lr(resize.mode, factor, ndim)
    weight = np.tile(kernels, (resize.channels, *[1] * (ndim + 1)))
    radius, none = kernels.shape[-1] // 2, ((0, 0),) * ndim
    convolution = Convolution.plain(weight, None, none, resize.channels)
    return {"depthwise": (Pad(((radius, radius),) * ndim, "replicate"), convolution, Shuffle(resize.factors))}


RULE = Rule("interpolation", "Resize", check, rewrite, concerns)
