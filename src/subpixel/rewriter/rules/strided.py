"""Strided convolution = periodic unshuffle, convolution: the dual, for inputs of few channels.

With x_f[m] = x[m*r + f], W[lead + d*t] = c[t], lead = -p mod r and p + lead = q*r, where p zeros are on both
sides,

    y[m] = sum of c[t] * x[m*r + d*t - p] over t
         = sum of W[r*s + f] * x_f[m + s - q] over s and f

so the phases of the input become channels, and their kernels every r-th tap of W.
"""

from math import prod

from subpixel.geometry import axes
from subpixel.kernels import strided_to_unshuffled
from subpixel.rewriter.layers import Chain, Convolution, UnshuffledConvolution
from subpixel.rewriter.rules import Rule
from subpixel.rewriter.rules.limits import too_sparse

FEW = 4  # channels; with more of them a convolution has enough to do at every tap


def concerns(chain: Chain) -> bool:
    """Pass over what cannot be faster: most convolutions of a network."""
    (convolution,) = chain
    assert isinstance(convolution, Convolution)
    return prod(convolution.stride) > 1 and convolution.weight.shape[1] * convolution.groups <= FEW


def check(chain: Chain) -> str | None:
    """Refuse what is padded unevenly, and a stride far beyond the kernel."""
    (convolution,) = chain
    assert isinstance(convolution, Convolution)
    if any(low != high or low < 0 for low, high in convolution.pads):
        return f"its padding is uneven, {convolution.pads}"
    return too_sparse(axes(convolution.weight.shape[2:], convolution.stride, dilation=convolution.dilation))


def rewrite(chain: Chain) -> dict[str, Chain]:
    """Return the convolution of the unshuffled input."""
    (convolution,) = chain
    assert isinstance(convolution, Convolution)
    padding = [low for low, _ in convolution.pads]
    geometry = axes(convolution.weight.shape[2:], convolution.stride, padding, dilation=convolution.dilation)
    weight = strided_to_unshuffled(convolution.weight, geometry, groups=convolution.groups)
    layer = UnshuffledConvolution(weight, convolution.bias, geometry, convolution.groups)
    return {"unshuffled": (layer,)}


RULE = Rule("strided convolution", "Convolution", check, rewrite, concerns)
