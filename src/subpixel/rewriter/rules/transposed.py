"""Transposed convolution = LR convolution, periodic shuffle, crop; or one small convolution a phase.

With W[lead + d*t] = w[t], p + lead = q*r + crop and h + crop = m*r + f, the sum over n*r + d*t = h + p
becomes

    y[m*r + f - crop] = sum of W[r*s + f] * x[m + q - s] over s

so phase f is a convolution by every r-th tap of W, reversed. Aligned: lead = -p mod r, then crop = 0.
Compact: lead = 0. Split: the same taps without the zeros of W. `subpixel.geometry` has the arithmetic.
"""

from collections.abc import Sequence
from math import prod
from typing import Any, get_args

import array_api_compat

from subpixel.geometry import Axis, LRForm, axes
from subpixel.kernels import transposed_to_lr, transposed_to_phases
from subpixel.rewriter.layers import Chain, Convolution, Pad, Pads, Shuffle, Split, Transposed
from subpixel.rewriter.rules import Rule
from subpixel.rewriter.rules.limits import too_sparse


def check(chain: Chain) -> str | None:
    """Refuse a stride so far beyond the kernel that almost no phase has a tap."""
    assert isinstance(chain[0], Transposed)
    return too_sparse(chain[0].geometry)


def rewrite(chain: Chain) -> dict[str, Chain]:
    """Return the aligned, the compact and the split form; a form that equals another one is left out."""
    layer, *crop = chain
    assert isinstance(layer, Transposed)
    forms: dict[str, Chain] = {form: (*lr_form(layer, form), *crop) for form in get_args(LRForm)}
    if all(axis.lr("aligned") == axis.lr("compact") for axis in layer.geometry):
        del forms["aligned"]
    if prod(layer.stride) > 1:
        phases = transposed_to_phases(layer.weight, layer.geometry, groups=layer.groups)
        forms["split"] = (Split(tuple(phases), layer.bias, layer.geometry, layer.groups), *crop)
    return forms


def lr_form(layer: Transposed, form: LRForm) -> Chain:
    """Return one of the forms that shuffle: a convolution, a shuffle unless r = 1, a crop where needed."""
    lr = [axis.lr(form) for axis in layer.geometry]
    weight = transposed_to_lr(layer.weight, layer.geometry, form=form, groups=layer.groups)
    bias = None if layer.bias is None else _repeat(layer.bias, prod(layer.stride))
    chain: Chain = (Convolution.plain(weight, bias, tuple(axis.pad for axis in lr), layer.groups),)
    if prod(layer.stride) > 1:
        chain = (*chain, Shuffle(layer.stride))
    crop = tuple(_crop(axis, form) for axis in layer.geometry)
    return (*chain, Pad(crop)) if any(map(any, crop)) else chain


def with_lr_forms(chain: Chain) -> dict[str, Chain]:
    """Return a chain as it is, and with its last transposed convolution in each LR form."""
    index = max(i for i, layer in enumerate(chain) if isinstance(layer, Transposed))
    before, after = chain[:index], chain[index + 1 :]
    others = {form: (*before, *lr, *after) for form, lr in rewrite(chain[index : index + 1]).items()}
    return {"transposed": chain} | others


def as_transposed(
    weight: Any, convolution: Convolution, factors: Sequence[int], pads: Pads, dilation: Any
) -> Chain:
    """Return the transposed convolution that equals a padded convolution after an up-sampling.

    The taps of the weight are the convolution's, reversed: n*r + d*t = h + reach - low. Hence

        p = reach - low,  extra = high - low

    the second because the output grows by a pixel with each zero, low or high, and by two with each p less. A
    negative `extra` is a crop after the transposed convolution.

    Args:
        weight: (c_in, c_out // groups, *k), of the transposed convolution.
        convolution: what follows the up-sampling; its reach, bias and groups count.
        factors: r of each axis.
        pads: zeros (low, high) around the input of the convolution.
        dilation: of the transposed convolution; one integer, or one an axis.
    """
    padding = [reach - low for reach, (low, _) in zip(convolution.reach, pads, strict=True)]
    extra = [high - low for low, high in pads]
    geometry = axes(weight.shape[2:], factors, padding, [max(more, 0) for more in extra], dilation)
    transposed = Transposed(weight, convolution.bias, geometry, convolution.groups)
    if min(extra) >= 0:
        return (transposed,)
    return transposed, Pad(tuple((0, min(more, 0)) for more in extra))


def _crop(axis: Axis, form: LRForm) -> tuple[int, int]:
    """Return the pads that crop the shuffled output, the same for every size of the input.

    N LR pixels give r*N + surplus pixels, and the LR convolution N + ceil((surplus + crop) / r) rows, see
    `Axis.lr`. Shuffled and cropped at the start these are r*N + r*ceil((surplus + crop) / r) - crop pixels,
    which is -(surplus + crop) mod r too many.
    """
    crop = axis.lr(form).crop
    return -crop, -(-(axis.surplus + crop) % axis.stride)


def _repeat(bias: Any, phases: int) -> Any:
    """Return a bias that gives each phase of a channel the channel's."""
    xp = array_api_compat.array_namespace(bias)
    repeated = xp.broadcast_to(xp.expand_dims(bias, axis=1), (bias.shape[0], phases))
    return xp.reshape(repeated, (-1,))


RULE = Rule("transposed convolution", "Transposed( Pad)?", check, rewrite)
