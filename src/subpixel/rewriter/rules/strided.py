"""Strided convolution = periodic unshuffle, convolution: the dual, for inputs of few channels."""

from math import prod

from subpixel.geometry import axes
from subpixel.kernels import strided_to_unshuffled
from subpixel.rewriter.layers import Chain, Convolution, UnshuffledConvolution
from subpixel.rewriter.rules import Rule
from subpixel.rewriter.rules.transposed import sparse

FEW = 4  # channels; with more of them a convolution has enough to do at every tap


def wanted(chain: Chain) -> bool:
    """Pass over what cannot be faster: most convolutions of a network."""
    (convolution,) = chain
    assert isinstance(convolution, Convolution)
    return prod(convolution.stride) > 1 and convolution.weight.shape[1] * convolution.groups <= FEW


def check(chain: Chain) -> str | None:
    """Refuse what is padded unevenly, and a stride far beyond the kernel, which a stranger may ask for."""
    (convolution,) = chain
    assert isinstance(convolution, Convolution)
    if any(low != high or low < 0 for low, high in convolution.pads):
        return f"its padding is uneven, {convolution.pads}"
    return sparse(axes(convolution.weight.shape[2:], convolution.stride, dilation=convolution.dilation))


def rewrite(chain: Chain) -> dict[str, Chain]:
    """Give the kernel on the unshuffled input."""
    (convolution,) = chain
    assert isinstance(convolution, Convolution)
    padding = [low for low, _ in convolution.pads]
    geometry = axes(convolution.weight.shape[2:], convolution.stride, padding, dilation=convolution.dilation)
    weight = strided_to_unshuffled(convolution.weight, geometry, groups=convolution.groups)
    layer = UnshuffledConvolution(weight, convolution.bias, geometry, convolution.groups)
    return {"unshuffled": (layer,)}


RULE = Rule("strided convolution", "Convolution", check, rewrite, wanted)
