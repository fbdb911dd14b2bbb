"""Convolution, pointwise functions, periodic shuffle = transposed convolution, pointwise functions.

Phase f of the output is a convolution of its own, of K taps: y[m*r + f] = sum of c_f[u] * x[m + u - low] over
u. Interleave the reversed kernels, w[r*s + f] = c_f[K - 1 - s]. With u = K - 1 - s the pixel x[n], n = m + u
- low, is at n*r + (r*s + f) = m*r + f + r*(K - 1 - low), so

    y[h] = sum of w[t] * x[n] over n*r + t = h + p,  p = r * (reach - low)

and the transposed convolution has r * (low - high) pixels too many, to crop at the end.
"""

from math import prod
from typing import Any

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
    if convolution.bias is not None and not _equal_phases(_bias_by_phase(convolution, shuffle)):
        return "the bias differs from phase to phase"
    return None


def rewrite(chain: Chain) -> dict[str, Chain]:
    """Return the transposed convolution of the interleaved phases."""
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
    bias = None if convolution.bias is None else _bias_by_phase(convolution, shuffle)[:, 0]
    result: Chain = (Transposed(weight, bias, geometry, convolution.groups),)
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


def _bias_by_phase(convolution: Convolution, shuffle: Shuffle) -> Any:
    """Return the bias as (channels, phases)."""
    xp, phases = array_api_compat.array_namespace(convolution.bias), prod(shuffle.factors)
    bias = convolution.bias if shuffle.order == "CRD" else dcr_to_crd(convolution.bias, phases)
    return xp.reshape(bias, (-1, phases))


def _equal_phases(bias: Any) -> bool:
    return bool((bias == bias[:, :1]).all())


RULE = Rule("convolution + shuffle", r"Convolution( Pointwise)* Shuffle", check, rewrite)
