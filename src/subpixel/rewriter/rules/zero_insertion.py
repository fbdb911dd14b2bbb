"""Zero insertion, padding, convolution (the sub-pixel convolution of the note) = transposed convolution."""

from subpixel.geometry import axes
from subpixel.kernels import sub_pixel_to_transposed
from subpixel.rewriter.layers import Chain, Convolution, Pad, Pads, ZeroInsertion
from subpixel.rewriter.rules import Rule
from subpixel.rewriter.rules.transposed import cropped_then_padded, equal_to, forms, sparse, too_wide


def check(chain: Chain) -> str | None:
    """Refuse what a transposed convolution cannot express."""
    insertion, convolution = _parts(chain)
    if any(isinstance(layer, Pad) and layer.mode != "zeros" for layer in chain):
        return "the inserted zeros are not padded by zeros"
    if any(isinstance(layer, Pad) and cropped_then_padded(layer, convolution) for layer in chain):
        return "it is cropped and padded again"
    if set(convolution.stride) != {1}:
        return f"the convolution behind the zeros has stride {convolution.stride}"
    limits = list(map(max, insertion.factors, convolution.dilation))
    if reason := too_wide(_pads(chain), convolution, limits):
        return reason
    return sparse(axes(convolution.weight.shape[2:], insertion.factors, dilation=convolution.dilation))


def rewrite(chain: Chain) -> dict[str, Chain]:
    """Reverse the taps."""
    insertion, convolution = _parts(chain)
    weight = sub_pixel_to_transposed(convolution.weight, groups=convolution.groups)
    return forms(equal_to(weight, convolution, insertion.factors, _pads(chain), convolution.dilation))


def _parts(chain: Chain) -> tuple[ZeroInsertion, Convolution]:
    insertion, convolution = chain[0], chain[-1]
    assert isinstance(insertion, ZeroInsertion)
    assert isinstance(convolution, Convolution)
    return insertion, convolution


def _pads(chain: Chain) -> Pads:
    """The zeros on both sides of the pixels, those that the insertion adds behind the last one among them."""
    insertion, convolution = _parts(chain)
    pads = [
        (low, high + behind) for (low, high), behind in zip(convolution.pads, insertion.behind, strict=True)
    ]
    for layer in chain:
        if isinstance(layer, Pad):
            pads = [(a + c, b + d) for (a, b), (c, d) in zip(pads, layer.pads, strict=True)]
    return tuple(pads)


RULE = Rule("zero insertion + convolution", r"ZeroInsertion( Pad)* Convolution", check, rewrite)
