"""Nearest resize, pointwise functions, padding, convolution = pointwise functions, transposed convolution.

What treats each pixel alike commutes with a resize that repeats pixels, so it moves to LR space. Then the tap
t of the convolution sees the pixel x[n] from each h with h + d*t - low = n*r + i, i < r. Its taps, reversed
and spread,

    w[j] = sum of c[t] over reach - d*t + i = j, i < r
    y[h] = sum of w[j] * x[n] over n*r + j = h + p,  p = reach - low

are a transposed convolution of stride r and d*(k - 1) + r taps. Replicated edges are taken from LR space: m
LR pixels repeat the edge m*r times, and low - m*r, high - m*r take the place of low and high. Reflection by
less than r repeats the edge too.

For three taps a, b, c side by side and s = a + b + c, the phases share products:

    y[n*r] = s*x[n] + a*(x[n - 1] - x[n])
    y[n*r + f] = s*x[n] for 0 < f < r - 1
    y[n*r + r - 1] = s*x[n] + c*(x[n + 1] - x[n])
"""

from math import prod

from subpixel.kernels import resize_conv_to_products, resize_conv_to_transposed
from subpixel.rewriter.layers import Chain, Convolution, Pad, Pads, Pointwise, Resize, ResizeConvolution
from subpixel.rewriter.rules import Rule
from subpixel.rewriter.rules.limits import cropped_then_padded, too_large, too_wide
from subpixel.rewriter.rules.transposed import as_transposed, with_lr_forms


def check(chain: Chain) -> str | None:
    """Refuse what is not exact, or not a transposed convolution."""
    resize, pad, convolution = _parts(chain)
    if resize.mode != "nearest":
        return f"{resize.mode} interpolation and a padded convolution differ on the outermost ring"
    if set(convolution.stride) != {1}:
        return f"the convolution after the resize has stride {convolution.stride}"
    if pad is not None and (reason := _check_pad(pad, resize, convolution)):
        return reason
    if reason := too_wide(_pads(pad, convolution), convolution, resize.factors):
        return reason
    # Aligned kernels span about this: reach + r taps, the zeros before them, and those up to the next r.
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
    """Return the transposed convolution that the resize is folded into, its LR forms, and shared products."""
    resize, pad, convolution = _parts(chain)
    pads = _pads(pad, convolution)
    functions = _functions(chain)
    if pad is not None and pad.mode != "zeros":
        # m LR pixels repeat the edge m * r times, at least as often as asked for; the rest is cropped.
        margins = [-(-max(pair) // factor) for pair, factor in zip(pad.pads, resize.factors, strict=True)]
        functions = (*functions, Pad(tuple((margin, margin) for margin in margins), "replicate"))
        surplus = [margin * factor for margin, factor in zip(margins, resize.factors, strict=True)]
        pads = tuple((low - more, high - more) for (low, high), more in zip(pads, surplus, strict=True))
    weight = resize_conv_to_transposed(
        convolution.weight, resize.factors, dilation=convolution.dilation, groups=convolution.groups
    )
    transposed = as_transposed(weight, convolution, resize.factors, pads, dilation=1)
    return with_lr_forms((*functions, *transposed)) | _with_products(chain)


def _with_products(chain: Chain) -> dict[str, Chain]:
    """Return the form of shared products: for three taps side by side, of which at most one is beyond x."""
    resize, pad, convolution = _parts(chain)
    pads, taps = _pads(pad, convolution), set(convolution.weight.shape[2:])
    dense = set(convolution.dilation) == {1} and convolution.groups == 1
    if taps != {3} or not dense or min(resize.factors) < 2 or max(map(max, pads)) > 1:
        return {}
    products = resize_conv_to_products(convolution.weight)
    layer = ResizeConvolution(products, convolution.bias, resize.factors)
    edge = Pad(((1, 1),) * len(pads), "zeros" if pad is None or pad.mode == "zeros" else "replicate")
    form: Chain = (*_functions(chain), edge, layer)
    crop = Pad(tuple((low - 1, high - 1) for low, high in pads))  # the layer pads by one HR pixel
    return {"products": (*form, crop) if any(map(any, crop.pads)) else form}


def _parts(chain: Chain) -> tuple[Resize, Pad | None, Convolution]:
    resize, convolution = chain[0], chain[-1]
    assert isinstance(resize, Resize)
    assert isinstance(convolution, Convolution)
    return resize, next((layer for layer in chain if isinstance(layer, Pad)), None), convolution


def _functions(chain: Chain) -> Chain:
    return tuple(layer for layer in chain if isinstance(layer, Pointwise))


def _pads(pad: Pad | None, convolution: Convolution) -> Pads:
    if pad is None:
        return convolution.pads
    return tuple((a + c, b + d) for (a, b), (c, d) in zip(pad.pads, convolution.pads, strict=True))


RULE = Rule("nearest resize + convolution", r"Resize( Pointwise)*( Pad)? Convolution", check, rewrite)
