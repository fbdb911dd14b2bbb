"""Nearest resize, pointwise functions, padding, convolution = pointwise functions, transposed convolution.

What treats each pixel alike commutes with a resize that repeats pixels, so it moves to LR space too.
Reflection by less than the factor repeats the edge, as replication does, and so does replication in LR space.
"""

from math import prod

from subpixel.kernels import resize_conv_to_products, resize_conv_to_transposed
from subpixel.rewriter.layers import (
    Chain,
    Convolution,
    Pad,
    Pads,
    Pointwise,
    Resize,
    ResizeConvolution,
)
from subpixel.rewriter.rules import Rule
from subpixel.rewriter.rules.transposed import cropped_then_padded, equal_to, forms, too_large, too_wide


def check(chain: Chain) -> str | None:
    """Refuse what is not exact, or not a transposed convolution."""
    resize, pad, convolution = _parts(chain)
    if resize.mode != "nearest":
        return f"{resize.mode} interpolation and a padded convolution differ on the outermost ring"
    if set(convolution.stride) != {1}:
        return f"the convolution behind the resize has stride {convolution.stride}"
    if pad is not None and (reason := _check_pad(pad, resize, convolution)):
        return reason
    pads = _pads(pad, convolution)
    if reason := too_wide(pads, convolution, resize.factors):
        return reason
    widest = (reach + 2 * factor for reach, factor in zip(convolution.reach, resize.factors, strict=True))
    return too_large(prod(widest) * prod(convolution.weight.shape[:2]))


def _check_pad(pad: Pad, resize: Resize, convolution: Convolution) -> str | None:
    if pad.mode == "zeros":
        cropped = cropped_then_padded(pad, convolution)
        return f"it is cropped, {pad.pads}, and padded again" if cropped else None
    if any(map(any, convolution.pads)):
        return f"it is padded twice, by {pad.mode} and by zeros"
    if pad.mode == "reflect" and any(max(p) >= r for p, r in zip(pad.pads, resize.factors, strict=True)):
        return "a reflection by the factor or more shows other pixels than the edge"
    if min(map(min, pad.pads)) < 0:
        return f"a negative {pad.mode} padding"
    return None


def rewrite(chain: Chain) -> dict[str, Chain]:
    """Fold the resize into the kernel."""
    resize, pad, convolution = _parts(chain)
    pads = _pads(pad, convolution)
    front: Chain = tuple(layer for layer in chain if isinstance(layer, Pointwise))
    if pad is not None and pad.mode != "zeros":
        # m LR pixels repeat the edge m * r times, at least as often as wanted; the rest is cropped.
        margins = [-(-max(pair) // factor) for pair, factor in zip(pad.pads, resize.factors, strict=True)]
        front = (*front, Pad(tuple((margin, margin) for margin in margins), "replicate"))
        extra = [margin * factor for margin, factor in zip(margins, resize.factors, strict=True)]
        pads = tuple((low - more, high - more) for (low, high), more in zip(pads, extra, strict=True))
    weight = resize_conv_to_transposed(
        convolution.weight, resize.factors, dilation=convolution.dilation, groups=convolution.groups
    )
    return forms((*front, *equal_to(weight, convolution, resize.factors, pads, dilation=1))) | _shared(chain)


def _shared(chain: Chain) -> dict[str, Chain]:
    """The form whose phases share products: for three taps side by side, at most one of them beyond x."""
    resize, pad, convolution = _parts(chain)
    pads, taps = _pads(pad, convolution), set(convolution.weight.shape[2:])
    alone = set(convolution.dilation) == {1} and convolution.groups == 1
    if taps != {3} or not alone or min(resize.factors) < 2 or max(map(max, pads)) > 1:
        return {}
    products = resize_conv_to_products(convolution.weight)
    shared = ResizeConvolution(products, convolution.bias, resize.factors)
    front: Chain = tuple(layer for layer in chain if isinstance(layer, Pointwise))
    edge = Pad(((1, 1),) * len(pads), "zeros" if pad is None or pad.mode == "zeros" else "replicate")
    crop = Pad(tuple((low - 1, high - 1) for low, high in pads))
    return {"products": (*front, edge, shared, crop) if any(map(any, crop.pads)) else (*front, edge, shared)}


def _parts(chain: Chain) -> tuple[Resize, Pad | None, Convolution]:
    resize, convolution = chain[0], chain[-1]
    assert isinstance(resize, Resize)
    assert isinstance(convolution, Convolution)
    return resize, next((layer for layer in chain if isinstance(layer, Pad)), None), convolution


def _pads(pad: Pad | None, convolution: Convolution) -> Pads:
    if pad is None:
        return convolution.pads
    return tuple((a + c, b + d) for (a, b), (c, d) in zip(pad.pads, convolution.pads, strict=True))


RULE = Rule("nearest resize + convolution", r"Resize( Pointwise)*( Pad)? Convolution", check, rewrite)
