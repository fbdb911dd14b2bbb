"""Transposed convolution = LR convolution, periodic shuffle, crop; or one small convolution a phase."""

from collections.abc import Sequence
from math import prod
from typing import Any, get_args

import array_api_compat

from subpixel.geometry import Axis, Form, axes
from subpixel.kernels import transposed_to_lr, transposed_to_phases
from subpixel.rewriter.layers import Chain, Convolution, Pad, Pads, Shuffle, Split, Transposed
from subpixel.rewriter.rules import Rule

MOST_ZEROS = 64  # times the taps of the kernel; a file from a stranger may ask for any stride
MOST_WEIGHTS = 2**27  # of a form: half a gibibyte in float32


def check(chain: Chain) -> str | None:
    """Refuse a stride so far beyond the kernel that almost no phase has a tap."""
    assert isinstance(chain[0], Transposed)
    return sparse(chain[0].geometry)


def sparse(geometry: Sequence[Axis]) -> str | None:
    """Why the LR kernels would be nearly all zeros, or None."""
    taps = prod(axis.kernel_size for axis in geometry)
    if prod(axis.lr("aligned").taps * axis.stride for axis in geometry) <= MOST_ZEROS * taps:
        return None
    return f"nearly all phases of stride {tuple(axis.stride for axis in geometry)} are without a tap"


def too_large(weights: int) -> str | None:
    """Why a form that repeats weights would not fit the memory, or None."""
    return None if weights <= MOST_WEIGHTS else f"its LR kernels would have {weights:,} weights"


def rewrite(chain: Chain) -> dict[str, Chain]:
    """Give the aligned, the compact and the split form; a form that is another one again is left out."""
    layer, *crop = chain
    assert isinstance(layer, Transposed)
    forms: dict[str, Chain] = {form: (*lr_form(layer, form), *crop) for form in get_args(Form)}
    if all(axis.lr("aligned") == axis.lr("compact") for axis in layer.geometry):
        del forms["aligned"]
    if prod(layer.stride) > 1:
        phases = transposed_to_phases(layer.weight, layer.geometry, groups=layer.groups)
        forms["split"] = (Split(tuple(phases), layer.bias, layer.geometry, layer.groups), *crop)
    return forms


def lr_form(layer: Transposed, form: Form) -> Chain:
    """One of the forms that shuffle."""
    lr = [axis.lr(form) for axis in layer.geometry]
    weight = transposed_to_lr(layer.weight, layer.geometry, form=form, groups=layer.groups)
    bias = None if layer.bias is None else _repeat(layer.bias, prod(layer.stride))
    chain: Chain = (Convolution.plain(weight, bias, tuple(axis.pad for axis in lr), layer.groups),)
    if prod(layer.stride) > 1:
        chain = (*chain, Shuffle(layer.stride))
    crop = tuple(_crop(axis, form) for axis in layer.geometry)
    return (*chain, Pad(crop)) if any(map(any, crop)) else chain


def forms(chain: Chain) -> dict[str, Chain]:
    """A chain as it is, and with its last transposed convolution in LR space."""
    index = max(i for i, layer in enumerate(chain) if isinstance(layer, Transposed))
    before, after = chain[:index], chain[index + 1 :]
    others = {form: (*before, *lr, *after) for form, lr in rewrite(chain[index : index + 1]).items()}
    return {"transposed": chain} | others


def equal_to(
    weight: Any, convolution: Convolution, factors: Sequence[int], pads: Pads, dilation: Any
) -> Chain:
    """The transposed convolution of this weight that equals a padded convolution behind an up-sampling.

    Its padding is what the zeros leave of the kernel's reach; where they are fewer at the end, it is cropped.
    """
    padding = [reach - low for reach, (low, _) in zip(convolution.reach, pads, strict=True)]
    uneven = [high - low for low, high in pads]
    geometry = axes(weight.shape[2:], factors, padding, [max(more, 0) for more in uneven], dilation)
    transposed = Transposed(weight, convolution.bias, geometry, convolution.groups)
    if min(uneven) >= 0:
        return (transposed,)
    return transposed, Pad(tuple((0, min(more, 0)) for more in uneven))


def too_wide(pads: Pads, convolution: Convolution, limits: Sequence[int]) -> str | None:
    """Why no transposed convolution has these pads, or None; `limits` are those of its output_padding."""
    for (low, high), reach, limit in zip(pads, convolution.reach, limits, strict=True):
        if low > reach or high - low >= limit:
            return f"the padding {low, high} is wider than the kernel's reach {reach}"
    return None


def cropped_then_padded(pad: Pad, convolution: Convolution) -> bool:
    """Whether zeros take the place of cropped pixels, so that the two paddings do not add up to one."""
    pairs = zip(pad.pads, convolution.pads, strict=True)
    return any(first < 0 < second for pair in pairs for first, second in zip(*pair, strict=True))


def _crop(axis: Axis, form: Form) -> tuple[int, int]:
    """What the shuffled output has too much, the same for every size of the input."""
    lr = axis.lr(form)
    size = 2 * axis.padding + 2  # any that leaves an output
    rows = size + sum(lr.pad) - lr.taps + 1
    return -lr.crop, axis.output_size(size) + lr.crop - rows * axis.stride


def _repeat(bias: Any, phases: int) -> Any:
    xp = array_api_compat.array_namespace(bias)
    repeated = xp.broadcast_to(xp.expand_dims(bias, axis=1), (bias.shape[0], phases))
    return xp.reshape(repeated, (-1,))


RULE = Rule("transposed convolution", "Transposed( Pad)?", check, rewrite)
