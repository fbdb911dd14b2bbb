# mypy: disable-error-code="no-any-return"
# (an array namespace is known only when the array is)
"""The algebra: from weights of up-samplers to weights of low-resolution (LR) convolutions, and back.

The functions are pure and take any array-API array (NumPy, PyTorch, ...). They add zeros, reverse taps, split
and move axes, so nothing is rounded (except where taps are summed), and gradients pass through. Spatial axes
are independent, and there may be any number of them.

Layouts are PyTorch's: (c_in, c_out // groups, *k) for a transposed convolution, (c_out, c_in // groups, *k)
for a convolution, and the phases of a channel side by side, channel c * r**d + f, where `pixel_shuffle` looks
for them.
"""

import sys
from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from subpixel.geometry import Axis, IntOrInts, LRForm, PhaseAxis, axes, per_axis

ArrayT = TypeVar("ArrayT", bound=Any)
Interpolation = Literal["nearest", "linear", "cubic"]


class Phase(NamedTuple, Generic[ArrayT]):
    """One phase of a transposed convolution, as a small convolution of its own.

    Attributes:
        weight: its exact taps, (c_out, c_in // groups, *taps), reversed for a convolution; may be empty.
        axes: the dilation and the padding of the convolution, and where the taps come from, by axis.
    """

    weight: ArrayT
    axes: tuple[PhaseAxis, ...]


def transposed_to_lr(
    weight: ArrayT, geometry: Sequence[Axis], *, form: LRForm = "compact", groups: int = 1
) -> ArrayT:
    """Return the kernel of a transposed convolution, split into its r**d phase kernels.

    Tap s of phase f is W[r*s + f], where W is the dilated kernel after `lead` zeros, see `Axis.lr`. The taps
    are reversed because PyTorch's convolutions are correlations. Pad the input by `LRAxis.pad`, convolve,
    shuffle, drop `LRAxis.crop` pixels: exactly the transposed convolution.

    Args:
        weight: (c_in, c_out // groups, *k).
        geometry: one `Axis` for each spatial axis; strides may differ.
        form: "compact" has the fewest taps; "aligned" needs no crop at the start.
        groups: as in PyTorch.

    Returns:
        (c_out * r**d, c_in // groups, *K), K = `geometry[i].lr(form).taps`.

    Raises:
        ValueError: the weight does not fit the geometry or the groups.

    Example:
        >>> f = np.array([[[1, 2, 3, 4]]])
        >>> transposed_to_lr(f, axes((4,), stride=2))
        array([[[3, 1]],
        <BLANKLINE>
               [[4, 2]]])

    References: Shi et al. 2016 (arXiv:1609.07009), section 2 and figures 6 and 7.
    """
    _check(weight, groups, geometry)
    for index, axis in enumerate(geometry, start=2):
        lr = axis.lr(form)
        weight = _dilate(weight, index, axis.dilation)
        weight = _pad(weight, index, lr.lead, lr.taps * axis.stride - lr.lead - axis.extent)
    return _split(weight, [axis.stride for axis in geometry], groups)


def lr_to_transposed(weight: ArrayT, upscale_factor: IntOrInts, *, groups: int = 1) -> ArrayT:
    """Return phase kernels interleaved into the kernel of a transposed convolution.

    The inverse of `transposed_to_lr`, and a permutation of the weights: round trips are bit-identical, and
    training either layer with an elementwise optimiser gives the same network.

    Args:
        weight: (c_out * r**d, c_in // groups, *K).
        upscale_factor: r, the stride of the transposed convolution; one integer, or one an axis.
        groups: as in PyTorch.

    Returns:
        (c_in, c_out // groups, *(K * r)).

    Raises:
        ValueError: the output channels are not a multiple of groups * r**d.

    Example:
        >>> lr_to_transposed(np.array([[[3, 1]], [[4, 2]]]), 2)
        array([[[1, 2, 3, 4]]])

    References: Shi et al. 2016 (arXiv:1609.07009), section 2, "the inverse operation".
    """
    factors = _factors(weight, upscale_factor)
    _check(weight, groups * prod(factors))
    xp = _namespace(weight)
    ndim, taps = len(factors), weight.shape[2:]
    channels = weight.shape[0] // (groups * prod(factors))
    weight = xp.reshape(_reverse(weight), (groups, channels, *factors, weight.shape[1], *taps))
    interleaved = (axis for i in range(ndim) for axis in (3 + ndim + i, 2 + i))
    weight = xp.permute_dims(weight, (0, 2 + ndim, 1, *interleaved))
    size = (tap * factor for tap, factor in zip(taps, factors, strict=True))
    return xp.reshape(weight, (-1, channels, *size))


def transposed_to_phases(weight: ArrayT, geometry: Sequence[Axis], *, groups: int = 1) -> list[Phase[ArrayT]]:
    """Return the kernel of a transposed convolution as one convolution a phase, without an added zero.

    Phase f gives the output pixels f::r. With k = 3 and r = 2 an LR pixel costs (1 + 2)**d
    multiply-accumulates a pair of channels; the LR convolution, whose phases have equally many taps, costs
    4**d.

    Args:
        weight: (c_in, c_out // groups, *k).
        geometry: one `Axis` for each spatial axis; strides may differ.
        groups: as in PyTorch.

    Returns:
        The prod(stride) phases, the last axis fastest. A phase where no tap falls is empty, its output the
        bias.

    Raises:
        ValueError: the weight does not fit the geometry or the groups.

    Example:
        >>> f = np.array([[[1, 2, 3]]])
        >>> [phase.weight.tolist() for phase in transposed_to_phases(f, axes((3,), stride=2))]
        [[[[3, 1]]], [[[2]]]]

    References: Shi et al. 2016 (arXiv:1609.07009), the uneven example at the end of section 2.
    """
    _check(weight, groups, geometry)
    weight = _exchange(weight, groups)
    return [
        Phase(_reverse(weight[:, :, *(slice(a.first, None, a.step) for a in choice)]), choice)
        for choice in product(*(axis.phases() for axis in geometry))
    ]


def sub_pixel_to_transposed(weight: ArrayT, *, groups: int = 1) -> ArrayT:
    """Return the kernel of the transposed convolution that equals a sub-pixel convolution.

    A sub-pixel convolution puts r - 1 zeros between LR pixels, then convolves in HR space. Reversing its taps
    makes it a transposed convolution.

    Args:
        weight: (c_out, c_in // groups, *k).
        groups: as in PyTorch.

    Returns:
        (c_in, c_out // groups, *k).

    Example:
        >>> sub_pixel_to_transposed(np.array([[[1, 2, 3, 4]]]))
        array([[[4, 3, 2, 1]]])

    References: Shi et al. 2016 (arXiv:1609.07009), figure 3.
    """
    _check(weight, groups)
    return _transpose(weight, groups)


def transposed_to_sub_pixel(weight: ArrayT, *, groups: int = 1) -> ArrayT:
    """Return the kernel of the sub-pixel convolution that equals a transposed convolution.

    The inverse of `sub_pixel_to_transposed`, bit-identical.

    Args:
        weight: (c_in, c_out // groups, *k).
        groups: as in PyTorch.

    Returns:
        (c_out, c_in // groups, *k).
    """
    _check(weight, groups)
    return _transpose(weight, groups)


def resize_conv_to_transposed(
    weight: ArrayT, upscale_factor: IntOrInts, *, dilation: IntOrInts = 1, groups: int = 1
) -> ArrayT:
    """Return the kernel of the transposed convolution that equals a nearest resize by r and a convolution.

    Its stride is r and its padding d*(k - 1) - p, where p <= d*(k - 1) is the convolution's zero padding; it
    is exact at the borders too. Each tap is spread over r positions; where taps meet they are summed, and
    rounded:

        W[j] = sum of w[t] over d*(k - 1) - d*t + i = j, i < r

    Args:
        weight: (c_out, c_in // groups, *k), of the convolution.
        upscale_factor: r, one integer or one an axis.
        dilation: d of the convolution.
        groups: as in PyTorch.

    Returns:
        (c_in, c_out // groups, *(d*(k - 1) + r)).

    Example:
        >>> resize_conv_to_transposed(np.array([[[1, 2, 4]]]), 2)
        array([[[4, 6, 3, 1]]])
    """
    factors = _factors(weight, upscale_factor)
    dilations = per_axis(dilation, len(factors), "dilation")
    weight = sub_pixel_to_transposed(weight, groups=groups)
    for axis, (factor, step) in enumerate(zip(factors, dilations, strict=True), start=2):
        first, *others = _shifts(_dilate(weight, axis, step), axis, factor)
        weight = sum(others, start=first)
    return weight


def resize_conv_to_products(weight: ArrayT) -> ArrayT:
    """Return the weights of the products that the phases of a nearest resize and three taps share.

    After a nearest resize the taps (a, b, c) see a pixel x[n] and at most one neighbour. With s = a + b + c

        y[n*r] = s*x[n] + a*(x[n - 1] - x[n])
        y[n*r + f] = s*x[n] for 0 < f < r - 1
        y[n*r + r - 1] = s*x[n] + c*(x[n + 1] - x[n])

    so that there are three products an axis, whatever the upscale factor. A transposed convolution has r + 2
    of them, the convolution in HR space 3 * r.

    Args:
        weight: (c_out, c_in, 3, ...), of the convolution.

    Returns:
        (3**d, c_out, c_in), the first axis slowest; `subpixel.functional.resize_conv` computes with them.

    Raises:
        ValueError: an axis does not have three taps.

    Example:
        >>> resize_conv_to_products(np.array([[[1, 2, 4]]]))[:, 0, 0]
        array([1, 7, 4])
    """
    _check(weight, 1)
    if set(weight.shape[2:]) != {3}:
        raise ValueError(f"the kernel must have three taps on each axis; got {tuple(weight.shape[2:])}.")
    xp = _namespace(weight)
    for axis in range(2, weight.ndim):
        total = xp.sum(weight, axis=axis, keepdims=True, dtype=weight.dtype)
        weight = xp.concat([_first(weight, axis, 1), total, _last(weight, axis)], axis=axis)
    products = xp.permute_dims(weight, (*range(2, weight.ndim), 0, 1))
    return xp.reshape(products, (-1, *weight.shape[:2]))


def lift_conv(weight: ArrayT, upscale_factor: IntOrInts, *, padding: IntOrInts, groups: int = 1) -> ArrayT:
    """Return the LR convolution before a periodic shuffle that equals an HR convolution after it.

    conv(shuffle(z), weight) = shuffle(conv(z, lifted)). So every HR network is an LR network of r**d times
    the maps, whose kernels are a small part of those that an LR network may have.

    Args:
        weight: (c_out, c_in // groups, *k), of stride 1.
        upscale_factor: r of the shuffle, one integer or one an axis.
        padding: zero padding of the HR convolution.
        groups: as in PyTorch.

    Returns:
        (c_out * r**d, c_in * r**d // groups, *S). Pad z by `lr("aligned").unshuffled_pad` of the axis with
        kernel size k + r - 1, stride r and this padding.

    Example:
        >>> lift_conv(np.array([[[1, 2, 3]]]), 2, padding=1)
        array([[[0, 2, 0],
                [1, 3, 0]],
        <BLANKLINE>
               [[0, 1, 3],
                [0, 2, 0]]])

    References: Shi et al. 2016 (arXiv:1609.07009), section 3.
    """
    _check(weight, groups)
    xp = _namespace(weight)
    channels, kernel_size = weight.shape[0], weight.shape[2:]
    factors = _factors(weight, upscale_factor)
    # Phase a of the HR output is a convolution that strides by r, its kernel shifted by a.
    for axis, factor in enumerate(factors):
        weight = xp.stack(_shifts(weight, 2 + 2 * axis, factor), axis=1 + axis)
    spread = [size + factor - 1 for size, factor in zip(kernel_size, factors, strict=True)]
    weight = xp.reshape(weight, (channels * prod(factors), -1, *spread))
    return strided_to_unshuffled(weight, axes(spread, factors, padding), groups=groups)


def strided_to_unshuffled(weight: ArrayT, geometry: Sequence[Axis], *, groups: int = 1) -> ArrayT:
    """Return the convolution of the unshuffled input that equals a convolution that strides by r: the dual.

    The transpose of the strided convolution is a transposed convolution, which `transposed_to_lr` makes an LR
    convolution and a shuffle. The transpose of these two is an unshuffle and this convolution.

    Args:
        weight: (c_out, c_in // groups, *k), of the strided convolution.
        geometry: its kernel size, stride, padding and dilation, one `Axis` for each spatial axis.
        groups: as in PyTorch.

    Returns:
        (c_out, c_in * r**d // groups, *K). Zero-pad the input to a multiple of r, unshuffle it, and pad it by
        `lr("aligned").unshuffled_pad`.

    Raises:
        ValueError: the weight does not fit the geometry or the groups.

    Example:
        >>> strided_to_unshuffled(np.array([[[1, 2, 3, 4]]]), axes((4,), stride=2, padding=1))
        array([[[0, 2, 4],
                [1, 3, 0]]])

    References: Shi et al. 2016 (arXiv:1609.07009), figures 2 and 3a.
    """
    return _transpose(transposed_to_lr(weight, geometry, form="aligned", groups=groups), groups)


def compose_convs(first: ArrayT, second: ArrayT) -> ArrayT:
    """Return the kernel of the one convolution that two convolutions make, one after the other.

    conv(conv(x, first), second) = conv(x, composed). No padding may lie between them. A bias of the first
    becomes the constant second.sum(spatial axes) @ bias.

    Args:
        first: (c, c_in, *j), of stride 1.
        second: (c_out, c, *k), of stride 1.

    Returns:
        (c_out, c_in, *(j + k - 1)), with composed[o, i, u] = sum of second[o, c, t] * first[c, i, u - t] over
        the channels c and the taps t.

    Raises:
        ValueError: the second does not take the channels of the first, or their axes differ in number.

    Example:
        >>> compose_convs(np.array([[[1, 2]]]), np.array([[[1, 0, -1]]]))
        array([[[ 1,  2, -1, -2]]])
    """
    _check(first, 1)
    if second.ndim != first.ndim or second.shape[1] != first.shape[0]:
        raise ValueError(
            "the second convolution must take the channels of the first, on as many axes; got kernels of "
            f"{tuple(first.shape)} and {tuple(second.shape)}."
        )
    xp = _namespace(first)
    ndim = first.ndim - 2
    products = xp.tensordot(second, first, axes=((1,), (0,)))  # (c_out, *k, c_in, *j)
    pairs = (axis for i in range(ndim) for axis in (1 + i, 2 + ndim + i))
    weight = xp.permute_dims(products, (0, 1 + ndim, *pairs))
    for axis in range(2, 2 + ndim):
        weight = _sum_diagonals(weight, axis)
    return weight


def crd_to_dcr(weight: ArrayT, phases: int) -> ArrayT:
    """Return a weight of an LR convolution with its output channels reordered from CRD to DCR.

    CRD, channel-major, c * r**d + f, is the order of PyTorch's `pixel_shuffle` and of all functions here.
    DCR, phase-major, f * c_out + c, is the default of ONNX's DepthToSpace, TensorFlow's order, and that of
    ESPCN's equation 4, with x along a row.

    Args:
        weight: a kernel or a bias, its channels along the first axis.
        phases: r**d.

    Raises:
        ValueError: the channels are not a multiple of the phases.

    Example:
        >>> crd_to_dcr(np.arange(8), phases=4)
        array([0, 4, 1, 5, 2, 6, 3, 7])

    References: Shi et al. 2016 (arXiv:1609.05158), equation 4; ONNX operator DepthToSpace.
    """
    _check(weight, phases)
    return _reorder(weight, weight.shape[0] // phases, phases)


def dcr_to_crd(weight: ArrayT, phases: int) -> ArrayT:
    """Return a weight of an LR convolution with its output channels reordered from DCR to CRD.

    The inverse of `crd_to_dcr`.

    Args:
        weight: a kernel or a bias, its channels along the first axis.
        phases: r**d.

    Raises:
        ValueError: the channels are not a multiple of the phases.
    """
    _check(weight, phases)
    return _reorder(weight, phases, weight.shape[0] // phases)


def interpolation_to_lr(mode: Interpolation, upscale_factor: int, ndim: int) -> NDArray[np.float64]:
    """Return an interpolation as the phase kernels of an LR convolution.

    Phase f lies (f + 1/2) / r - 1/2 to the right of its LR pixel's centre, so its tap at the LR pixel u is
    the interpolation's profile at |u - (f + 1/2) / r + 1/2|. Applied without padding to a plane that is
    replicate-padded by K // 2, then shuffled, the kernels equal `torch.nn.functional.interpolate` with
    `align_corners=False`, borders included.

    Args:
        mode: "nearest" (K = 1), "linear" (K = 3: bilinear, trilinear) or "cubic" (K = 5, A = -0.75).
        upscale_factor: r, any integer from 1.
        ndim: spatial axes, each enlarged r times.

    Returns:
        Phase kernels (r**ndim, 1, K, ..., K), in the channel order of PyTorch's `pixel_shuffle`.

    Raises:
        ValueError: there is no such mode, or the upscale factor or ndim is below 1.

    Example:
        >>> interpolation_to_lr("linear", 2, 1)[:, 0]
        array([[0.25, 0.75, 0.  ],
               [0.  , 0.75, 0.25]])

    References: Keys 1981 (doi:10.1109/TASSP.1981.1163711), equation 4, for the cubic kernel.
    """
    if mode not in _PROFILES:
        raise ValueError(f"mode must be one of {tuple(_PROFILES)}; got {mode!r}.")
    if min(upscale_factor, ndim) < 1:
        raise ValueError(f"upscale_factor and ndim must be at least 1; got {upscale_factor=}, {ndim=}.")
    reach, profile = _PROFILES[mode]
    positions = (np.arange(upscale_factor) + 0.5) / upscale_factor - 0.5
    kernels = profile(np.abs(np.arange(-reach, reach + 1) - positions[:, None]))
    taps = 2 * reach + 1
    outer = kernels
    for _ in range(ndim - 1):
        outer = np.kron(outer, kernels)
    return outer.reshape(upscale_factor**ndim, 1, *[taps] * ndim)


def _check(weight: Any, divisor: int, geometry: Sequence[Axis] | None = None) -> None:
    kernel_size = tuple(weight.shape[2:])
    if geometry is not None and kernel_size != (expected := tuple(axis.kernel_size for axis in geometry)):
        raise ValueError(f"the weight must fit its geometry; got a kernel of {kernel_size} for {expected}.")
    if divisor < 1 or weight.shape[0] % divisor:
        raise ValueError(
            f"the first axis of the weight must be a multiple of {divisor}; got shape {tuple(weight.shape)}."
        )


def _factors(weight: Any, upscale_factor: IntOrInts) -> tuple[int, ...]:
    if weight.ndim < 3:
        raise ValueError(f"the weight must have a spatial axis; got shape {tuple(weight.shape)}.")
    return per_axis(upscale_factor, weight.ndim - 2, "upscale_factor")


def _split(weight: ArrayT, factors: Sequence[int], groups: int) -> ArrayT:
    """Return kernels split into phases: (groups * a, b, *(K * r)) becomes (groups * b * r**d, a, *K)."""
    xp = _namespace(weight)
    ndim, channels = len(factors), weight.shape[1]
    taps = [size // factor for size, factor in zip(weight.shape[2:], factors, strict=True)]
    pairs = (size for pair in zip(taps, factors, strict=True) for size in pair)
    weight = xp.reshape(weight, (groups, -1, channels, *pairs))
    tap_axes, phase_axes = range(3, 3 + 2 * ndim, 2), range(4, 4 + 2 * ndim, 2)
    weight = xp.permute_dims(weight, (0, 2, *phase_axes, 1, *tap_axes))
    return _reverse(xp.reshape(weight, (groups * channels * prod(factors), -1, *taps)))


def _transpose(weight: ArrayT, groups: int) -> ArrayT:
    """Return the kernel whose matrix is the transpose of this one's: channels exchanged, taps reversed."""
    return _reverse(_exchange(weight, groups))


def _exchange(weight: ArrayT, groups: int) -> ArrayT:
    """Return each group with its channels exchanged: (groups * a, b, *k) becomes (groups * b, a, *k)."""
    xp = _namespace(weight)
    rows, columns, *kernel_size = weight.shape
    weight = xp.reshape(weight, (groups, rows // groups, columns, *kernel_size))
    weight = xp.permute_dims(weight, (0, 2, 1, *range(3, weight.ndim)))
    return xp.reshape(weight, (groups * columns, rows // groups, *kernel_size))


def _reverse(weight: ArrayT) -> ArrayT:
    xp = _namespace(weight)
    return xp.flip(weight, axis=tuple(range(2, weight.ndim)))


def _reorder(weight: ArrayT, rows: int, columns: int) -> ArrayT:
    xp = _namespace(weight)
    blocks = xp.reshape(weight, (rows, columns, *weight.shape[1:]))
    return xp.reshape(xp.permute_dims(blocks, (1, 0, *range(2, blocks.ndim))), weight.shape)


def _dilate(weight: ArrayT, axis: int, dilation: int) -> ArrayT:
    """Return the kernel with dilation - 1 zeros between the taps of an axis."""
    if dilation == 1:
        return weight
    xp = _namespace(weight)
    shape = weight.shape
    cells = _pad(xp.expand_dims(weight, axis=axis + 1), axis + 1, 0, dilation - 1)
    spread = xp.reshape(cells, (*shape[:axis], -1, *shape[axis + 1 :]))
    return _first(spread, axis, spread.shape[axis] - dilation + 1)


def _shifts(weight: ArrayT, axis: int, count: int) -> list[ArrayT]:
    """Return the kernel after 0, 1, ... count - 1 zeros, all of one size."""
    return [_pad(weight, axis, shift, count - 1 - shift) for shift in range(count)]


def _pad(weight: ArrayT, axis: int, low: int, high: int) -> ArrayT:
    """Return the kernel with zeros before and after an axis."""
    if low == high == 0:
        return weight
    xp = _namespace(weight)
    zero = xp.zeros_like(_first(weight, axis, 1))
    before, after = (
        xp.broadcast_to(zero, (*weight.shape[:axis], size, *weight.shape[axis + 1 :])) for size in (low, high)
    )
    return xp.concat([before, weight, after], axis=axis)


def _sum_diagonals(weight: ArrayT, axis: int) -> ArrayT:
    """Return two neighbouring axes of taps as one: the sums where the two indices have the same sum."""
    shorter = axis if weight.shape[axis] <= weight.shape[axis + 1] else axis + 1
    count = weight.shape[shorter]
    rows = [weight[(slice(None),) * shorter + (index,)] for index in range(count)]
    first, *others = (_pad(row, axis, index, count - 1 - index) for index, row in enumerate(rows))
    return sum(others, start=first)


def _first(weight: ArrayT, axis: int, count: int) -> ArrayT:
    return weight[(slice(None),) * axis + (slice(count), ...)]


def _last(weight: ArrayT, axis: int) -> ArrayT:
    return weight[(slice(None),) * axis + (slice(-1, None), ...)]


def _namespace(array: Any) -> Any:
    """Return the array API of an array's library."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):  # torch.compile cannot follow the general way
        from array_api_compat import torch as namespace  # noqa: PLC0415 (only where PyTorch is)

        return namespace
    import array_api_compat  # noqa: PLC0415 (an LR network needs none of it)

    return array_api_compat.array_namespace(array)


def _constant(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.ones_like(distance)


def _linear(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(1 - distance, 0)


def _cubic(distance: NDArray[np.float64], a: float = -0.75) -> NDArray[np.float64]:
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((distance - 5) * distance + 8) * a * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


_PROFILES = {"nearest": (0, _constant), "linear": (1, _linear), "cubic": (2, _cubic)}
