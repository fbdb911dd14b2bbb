"""Convolution, pointwise functions, periodic shuffle = transposed convolution, pointwise functions."""

from math import prod

import array_api_compat

from subpixel.geometry import axes
from subpixel.kernels import dcr_to_crd, lr_to_transposed
from subpixel.rewriter.layers import Chain, Convolution, Pad, Pointwise, Shuffle, Transposed
from subpixel.rewriter.rules import Rule


def check(chain: Chain) -> str | None:
    """Refuse what a transposed convolution cannot express."""
    convolution, shuffle = _parts(chain)
    if set(convolution.stride) != {1} or set(convolution.dilation) != {1}:
        return f"the convolution has stride {convolution.stride} and dilation {convolution.dilation}"
    if any(isinstance(layer, Pointwise) and layer.per_channel for layer in chain):
        return "between convolution and shuffle, phases of a channel have parameters of their own"
    if convolution.groups > 1 and (
        shuffle.order == "DCR" or convolution.weight.shape[0] % (convolution.groups * prod(shuffle.factors))
    ):
        return "the shuffle mixes the groups of the convolution"
    if any(
        low > reach or high > low
        for (low, high), reach in zip(convolution.pads, convolution.reach, strict=True)
    ):
        return f"the padding {convolution.pads} is wider than the kernel's reach, or wider at the end"
    if _bias(convolution, shuffle) is False:
        return "the bias differs from phase to phase"
    return None


def rewrite(chain: Chain) -> dict[str, Chain]:
    """Interleave the phases."""
    convolution, shuffle = _parts(chain)
    weight = convolution.weight
    if shuffle.order == "DCR":
        weight = dcr_to_crd(weight, prod(shuffle.factors))
    weight = lr_to_transposed(weight, shuffle.factors, groups=convolution.groups)
    padding = [
        factor * (reach - low)
        for factor, reach, (low, _) in zip(shuffle.factors, convolution.reach, convolution.pads, strict=True)
    ]
    geometry = axes(weight.shape[2:], shuffle.factors, padding)
    result: Chain = (Transposed(weight, _bias(convolution, shuffle), geometry, convolution.groups),)
    crop = tuple(
        (0, r * (high - low)) for r, (low, high) in zip(shuffle.factors, convolution.pads, strict=True)
    )
    if any(map(any, crop)):
        result = (*result, Pad(crop))
    return {"transposed": (*result, *(layer for layer in chain if isinstance(layer, Pointwise)))}


def _parts(chain: Chain) -> tuple[Convolution, Shuffle]:
    convolution, shuffle = chain[0], chain[-1]
    assert isinstance(convolution, Convolution)
    assert isinstance(shuffle, Shuffle)
    return convolution, shuffle


def _bias(convolution: Convolution, shuffle: Shuffle) -> object:
    """The bias of each channel, or None, or False where it differs from phase to phase."""
    if convolution.bias is None:
        return None
    xp, phases = array_api_compat.array_namespace(convolution.bias), prod(shuffle.factors)
    bias = convolution.bias if shuffle.order == "CRD" else dcr_to_crd(convolution.bias, phases)
    by_channel = xp.reshape(bias, (-1, phases))
    first = by_channel[:, :1]
    return first[:, 0] if bool(xp.all(by_channel == first)) else False


RULE = Rule("convolution + shuffle", r"Convolution( Pointwise)* Shuffle", check, rewrite)
