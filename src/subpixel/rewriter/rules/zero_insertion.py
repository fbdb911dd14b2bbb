"""Zero insertion, padding, convolution (the sub-pixel convolution of the note) = transposed convolution.

With z[n*r] = x[n] and zeros between, the convolution y[h] = sum of c[t] * z[h + d*t - low] sees x[n] at the
tap with n*r = h + d*t - low. Reversed, w[t] = c[k - 1 - t], that is

    y[h] = sum of w[t] * x[n] over n*r + d*t = h + p,  p = reach - low
"""

from subpixel.geometry import axes
from subpixel.kernels import sub_pixel_to_transposed
from subpixel.rewriter.layers import Chain, Convolution, Pad, Pads, ZeroInsertion
from subpixel.rewriter.rules import Rule
from subpixel.rewriter.rules.limits import cropped_then_padded, too_sparse, too_wide
from subpixel.rewriter.rules.transposed import as_transposed, with_lr_forms


def check(chain: Chain) -> str | None:
    """Refuse what a transposed convolution cannot express."""
    insertion, convolution = _parts(chain)
    if any(isinstance(layer, Pad) and layer.mode != "zeros" for layer in chain):
        return "the inserted zeros are not padded by zeros"
    if any(isinstance(layer, Pad) and cropped_then_padded(layer, convolution) for layer in chain):
        return "it is cropped and padded again"
    if set(convolution.stride) != {1}:
        return f"the convolution after the zeros has stride {convolution.stride}"
    limits = list(map(max, insertion.factors, convolution.dilation))
    if reason := too_wide(_pads(chain), convolution, limits):
        return reason
    return too_sparse(axes(convolution.weight.shape[2:], insertion.factors, dilation=convolution.dilation))


def rewrite(chain: Chain) -> dict[str, Chain]:
    """Return the transposed convolution of the reversed taps, and its LR forms."""
    insertion, convolution = _parts(chain)
    weight = sub_pixel_to_transposed(convolution.weight, groups=convolution.groups)
    pads = _pads(chain)
    return with_lr_forms(as_transposed(weight, convolution, insertion.factors, pads, convolution.dilation))


def _parts(chain: Chain) -> tuple[ZeroInsertion, Convolution]:
    insertion, convolution = chain[0], chain[-1]
    assert isinstance(insertion, ZeroInsertion)
    assert isinstance(convolution, Convolution)
    return insertion, convolution


def _pads(chain: Chain) -> Pads:
    """Return all zeros before the first pixel and after the last, those of the insertion among them."""
    insertion, convolution = _parts(chain)
    pads = [(low, high + after) for (low, high), after in zip(convolution.pads, insertion.after, strict=True)]
    for layer in chain:
        if isinstance(layer, Pad):
            pads = [(a + c, b + d) for (a, b), (c, d) in zip(pads, layer.pads, strict=True)]
    return tuple(pads)


RULE = Rule("zero insertion + convolution", r"ZeroInsertion( Pad)* Convolution", check, rewrite)
