"""Periodic shuffles in any dimension, and transposed convolution computed in low-resolution (LR) space."""

from collections.abc import Iterable, Sequence
from itertools import chain
from math import prod
from typing import Any, Literal, get_args

from subpixel.extras import needing
from subpixel.geometry import Axis, IntOrInts, LRForm, axes
from subpixel.kernels import Phase, transposed_to_lr, transposed_to_phases
from subpixel.strips import resize_conv_in_strips

with needing("torch"):
    import torch
    from torch import Tensor, fx
    from torch.autograd import forward_ad
    from torch.nn import functional as F  # noqa: N812 (its usual name)

Pads = Sequence[tuple[int, int]]
Form = Literal["auto", "transposed", "aligned", "compact", "split"]  # see `conv_transpose`

# What `_fastest` goes by, found by `benchmarks/layers.py` on a CPU in float32.
SMALL_INPUT = 2**17  # numbers; with fewer, a layer takes little longer than the choice itself
NARROW_PRODUCT = 128  # columns; with no more, PyTorch's matrix product is slow for its size
MUCH_WORK = 2**24  # multiply-accumulates; with fewer, mapping the weights takes what a narrow product loses
LARGE_OUTPUT = 2**22  # numbers, 16 MiB; with fewer, the output that PyTorch scatters to stays in a cache

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


# `torch.fx` takes what has `fx.wrap` for one step: its symbolic sizes cannot be unpacked or branched on.


@fx.wrap
def periodic_shuffle(x: Tensor, upscale_factors: Sequence[int]) -> Tensor:
    """Return x with its phases moved from channels to space.

    Channel c * r**d + f at pixel n becomes channel c at pixel n * r + f. With two equal factors this is
    PyTorch's `pixel_shuffle`, ONNX's DepthToSpace of mode CRD. The memory format is kept.

    Args:
        x: (..., c * prod(r), *n).
        upscale_factors: r of each spatial axis; as many of the last axes are spatial.

    Returns:
        (..., c, *(n * r)).

    Raises:
        ValueError: x has too few axes, or its channels are not a multiple of prod(r).

    Example:
        >>> periodic_shuffle(torch.tensor([[1, 3, 5], [2, 4, 6]]), (2,))
        tensor([[1, 2, 3, 4, 5, 6]])

    References: Shi et al. 2016 (arXiv:1609.05158), equation 4, its channels in PyTorch's order.
    """
    factors, ndim = tuple(upscale_factors), len(upscale_factors)
    channel = x.ndim - ndim - 1
    if channel < 0 or min(factors, default=0) < 1 or x.shape[channel] % prod(factors):
        expected = f"(..., c * {prod(factors)}, and {ndim} spatial axes)"
        raise ValueError(f"x must be {expected} for the factors {factors}; got {tuple(x.shape)}.")
    if _exports_depth_to_space(factors):
        return F.pixel_shuffle(x, factors[0])
    pixels = ((channel + 1 + ndim + i, channel + 1 + i) for i in range(ndim))
    return _regroup(
        _unflatten(x, channel, (x.shape[channel] // prod(factors), *factors)),
        channel,
        (channel,),
        pixels,
        like=x,
    )


@fx.wrap
def periodic_unshuffle(x: Tensor, downscale_factors: Sequence[int]) -> Tensor:
    """Return x with its phases moved from space to channels: the inverse of `periodic_shuffle`.

    Args:
        x: (..., c, *(n * r)).
        downscale_factors: r of each spatial axis; as many of the last axes are spatial.

    Returns:
        (..., c * prod(r), *n).

    Raises:
        ValueError: x has too few axes, or its sizes are not multiples of r.

    Example:
        >>> periodic_unshuffle(torch.tensor([[1, 2, 3, 4, 5, 6]]), (2,))
        tensor([[1, 3, 5],
                [2, 4, 6]])
    """
    factors, ndim = tuple(downscale_factors), len(downscale_factors)
    channel = x.ndim - ndim - 1
    sizes = x.shape[channel + 1 :]
    if (
        channel < 0
        or min(factors, default=0) < 1
        or any(size % factor for size, factor in zip(sizes, factors, strict=True))
    ):
        raise ValueError(f"x must be (..., c, multiples of {factors}); got {tuple(x.shape)}.")
    if _exports_depth_to_space(factors):
        return F.pixel_unshuffle(x, factors[0])
    cells = ((size // factor, factor) for size, factor in zip(sizes, factors, strict=True))
    blocks = x.reshape(*x.shape[: channel + 1], *chain.from_iterable(cells))
    phases, pixels = range(channel + 2, blocks.ndim, 2), range(channel + 1, blocks.ndim, 2)
    return _regroup(blocks, channel, (channel, *phases), ((pixel,) for pixel in pixels), like=x)


@fx.wrap
def conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntOrInts = 1,
    padding: IntOrInts = 0,
    output_padding: IntOrInts = 0,
    groups: int = 1,
    dilation: IntOrInts = 1,
    *,
    form: Form = "auto",
) -> Tensor:
    """Return a transposed convolution, computed in LR space where that is faster.

    It is `torch.nn.functional.conv_transpose1d`, `2d` or `3d`. Forms and their gradients differ by rounding
    alone.

    Args:
        x: (batch, c_in, *n) or (c_in, *n).
        weight: (c_in, c_out // groups, *k).
        bias: (c_out,).
        stride: r; one integer, or one an axis, as are padding, output_padding and dilation.
        padding: HR pixels cropped on both sides.
        output_padding: HR pixels added at the end.
        groups: blocks of channels that do not mix.
        dilation: HR pixels from tap to tap.
        form: "transposed" is PyTorch's own operator; "aligned" and "compact" are an LR convolution and a
            periodic shuffle, see `Axis.lr`; "split" is a small convolution for each phase; "auto" picks.

    Returns:
        (batch, c_out, *m) or (c_out, *m), where
        m = (n - 1) * r - 2 * padding + dilation * (k - 1) + output_padding + 1.

    Raises:
        RuntimeError: PyTorch refuses these arguments.
        ValueError: there is no such form.

    Example:
        >>> x, w = torch.tensor([[[1.0, 10, 100]]]), torch.tensor([[[1.0, 2, 3, 4]]])
        >>> conv_transpose(x, w, stride=2, form="compact")
        tensor([[[  1.,   2.,  13.,  24., 130., 240., 300., 400.]]])

    References: Shi et al. 2016 (arXiv:1609.07009), section 2.
    """
    if form not in get_args(Form):
        raise ValueError(f"form must be one of {get_args(Form)}; got {form!r}.")
    if (operator := _CONV_TRANSPOSE.get(weight.ndim - 2)) is None:
        raise RuntimeError(f"weight must have 1 to 3 spatial axes; got {tuple(weight.shape)}.")
    if form == "auto":
        form = _fastest(x, weight, stride, dilation, groups)
    if form == "transposed":
        return operator(x, weight, bias, stride, padding, output_padding, groups, dilation)
    try:
        geometry = _checked_geometry(x, weight, bias, (stride, padding, output_padding, dilation), groups)
    except ValueError as error:  # PyTorch's own layers raise this type, and callers may catch it
        raise RuntimeError(str(error)) from error
    if form == "split":
        return phase_maps(x, transposed_to_phases(weight, geometry, groups=groups), bias, geometry, groups)
    return _lr_conv_transpose(x, weight, bias, geometry, groups, form)


def sub_pixel_conv(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, groups: int = 1, **geometry: IntOrInts
) -> Tensor:
    """Return a sub-pixel convolution by its definition: the specification of all else, slow and clear.

    Put r - 1 zeros between LR pixels, then convolve in HR space. As `conv_transpose` with the kernel
    `sub_pixel_to_transposed(weight)` and the same options; here the weight is a convolution's.

    Args:
        x: (batch, c_in, *n) or (c_in, *n).
        weight: (c_out, c_in // groups, *k).
        bias: (c_out,).
        groups: blocks of channels that do not mix.
        **geometry: stride, padding, output_padding, dilation of `subpixel.geometry.axes`; the stride r is 1/r
            in the note, and the padding crops the full convolution.

    Returns:
        As `conv_transpose`.

    Example:
        >>> x, w = torch.tensor([[[1.0, 10, 100]]]), torch.tensor([[[4.0, 3, 2, 1]]])
        >>> sub_pixel_conv(x, w, stride=2)
        tensor([[[  1.,   2.,  13.,  24., 130., 240., 300., 400.]]])

    References: Shi et al. 2016 (arXiv:1609.07009), figures 3b to 6.
    """
    kernel_axes = axes(weight.shape[2:], **geometry)
    ndim = len(kernel_axes)
    sizes = [(size - 1) * axis.stride + 1 for size, axis in zip(x.shape[-ndim:], kernel_axes, strict=True)]
    sub_pixels = x.new_zeros(*x.shape[:-ndim], *sizes)
    originals: tuple[Any, ...] = (..., *(slice(None, None, axis.stride) for axis in kernel_axes))
    sub_pixels[originals] = x
    borders = [axis.extent - 1 - axis.padding for axis in kernel_axes]
    pads = [(border, border + axis.output_padding) for border, axis in zip(borders, kernel_axes, strict=True)]
    return convolve(sub_pixels, weight, bias, pads, [axis.dilation for axis in kernel_axes], groups)


@fx.wrap
def resize_conv(x: Tensor, products: Tensor, bias: Tensor | None, upscale_factors: Sequence[int]) -> Tensor:
    """Return a nearest resize convolved by three taps an axis, from the products that its phases share.

    In 2-D it takes 9 multiply-accumulates an LR pixel, where the LR convolution takes 16 for a factor of 2,
    and the convolution in HR space 36. On a CPU it is computed strip by strip, unless a gradient is wanted.

    Args:
        x: (batch, c_in, *(n + 2)), padded by one LR pixel on each side: zeros for a convolution that pads by
            one zero, the repeated edge for one that pads by the edge.
        products: (3**d, c_out, c_in), of `resize_conv_to_products`.
        bias: (c_out,).
        upscale_factors: r of each spatial axis, from 2.

    Returns:
        (batch, c_out, *(n * r)).

    Example:
        >>> x, products = torch.tensor([[[0.0, 1, 10, 0]]]), torch.tensor([[[1.0]], [[7]], [[4]]])
        >>> resize_conv(x, products, None, (2,))  # taps 1, 2, 4 over 0, 1, 1, 10, 10, 0
        tensor([[[ 6., 43., 61., 30.]]])
    """
    factors = tuple(upscale_factors)
    if min(factors) < 2 or len(factors) != x.ndim - 2 or products.shape[0] != 3 ** len(factors):
        raise ValueError(
            f"upscale_factors must be at least 2, one an axis of x, and the products 3**axes; got {factors}, "
            f"x {tuple(x.shape)}, products {tuple(products.shape)}."
        )
    tensors = (x, products) if bias is None else (x, products, bias)
    if _runs_as_written() and all(map(_only_numbers, tensors)):
        return resize_conv_in_strips(x, products, bias, factors)
    return _resize_conv_at_once(x, products, bias, factors)


def _runs_as_written() -> bool:
    """Return whether operators run here and now, in the precision of their inputs."""
    recorded = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return not (recorded or torch.is_autocast_enabled("cpu"))


def _only_numbers(x: Tensor) -> bool:
    """Return whether a tensor is numbers in a CPU's memory, of which no derivative is wanted."""
    if type(x) not in {Tensor, torch.nn.Parameter} or x.device.type != "cpu":
        return False
    try:
        x.untyped_storage()
    except (NotImplementedError, RuntimeError):  # the wrappers of `torch.func` have no memory of their own
        return False
    learns = torch.is_grad_enabled() and x.requires_grad
    return not learns and forward_ad.unpack_dual(x).tangent is None  # type: ignore[no-untyped-call]


def _resize_conv_at_once(x: Tensor, products: Tensor, bias: Tensor | None, factors: Sequence[int]) -> Tensor:
    """Compute `resize_conv`, all rows at once, by operators that can be differentiated and recorded."""
    maps = [x]
    for axis in range(2, x.ndim):
        maps = [difference for each in maps for difference in _differences(each, axis)]
    operands = torch.stack(maps)
    terms = torch.matmul(products[:, None], operands.flatten(3))
    terms = terms.view(*[3] * len(factors), x.shape[0], products.shape[1], *operands.shape[3:])
    phases = _sums(terms, factors)
    result = periodic_shuffle(torch.stack(phases, dim=2).flatten(1, 2), factors)
    return result if bias is None else result + bias.view(-1, *[1] * len(factors)).to(result.dtype)


def _differences(x: Tensor, axis: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return how the lower neighbours differ from the pixels, the pixels, how the higher ones differ."""
    size = x.shape[axis] - 2
    low, pixels, high = (x.narrow(axis, start, size) for start in range(3))
    return low - pixels, pixels, high - pixels


def _sums(terms: Tensor, factors: Sequence[int]) -> list[Tensor]:
    """Return each phase, the last axis fastest: the sum of its terms, which lie along the first axes."""
    if not factors:
        return [terms]
    low, pixels, high = terms
    sums = [low + pixels, *[pixels] * (factors[0] - 2), high + pixels]
    return [phase for each in sums for phase in _sums(each, factors[1:])]


def _fastest(
    x: Tensor, weight: Tensor, stride: IntOrInts, dilation: IntOrInts, groups: int
) -> Literal["transposed", "compact"]:
    """Return the form that was found fastest on a CPU in float32; elsewhere PyTorch's operator.

    That operator multiplies x by a matrix of c_out * k columns and scatters the result. It is slow where the
    matrix is narrow, and where it writes a large output of kernels that do not overlap, channels first.
    Exported programs keep the operator, since they run elsewhere.
    """
    if torch.compiler.is_exporting() or x.numel() < SMALL_INPUT:
        return "transposed"
    if x.device.type != "cpu" or x.dtype != torch.float32:
        return "transposed"
    c_in, c_out, *kernel_size = weight.shape  # c_out of each group
    columns, ndim = c_out * prod(kernel_size), len(kernel_size)
    channels_first = x.is_contiguous() and weight.is_contiguous()
    narrow = columns <= NARROW_PRODUCT and x.numel() * columns >= MUCH_WORK
    if narrow and (c_out <= 8 or (channels_first and not torch.is_grad_enabled())):
        return "compact"
    disjoint = tuple(kernel_size) in (stride, (stride,) * ndim) and dilation in (1, (1,) * ndim)
    # Kernels that do not overlap give pixels * r**d * c_out numbers, which is x.numel() / c_in * columns *
    # groups.
    if disjoint and channels_first and ndim > 1 and x.numel() * columns * groups >= LARGE_OUTPUT * c_in:
        return "compact"
    return "transposed"


def _lr_conv_transpose(
    x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Sequence[Axis], groups: int, form: LRForm
) -> Tensor:
    lr = [axis.lr(form) for axis in geometry]
    strides = [axis.stride for axis in geometry]
    kernels = transposed_to_lr(weight, geometry, form=form, groups=groups)
    biases = None if bias is None else bias.repeat_interleave(prod(strides))
    maps = convolve(x, kernels, biases, [axis.pad for axis in lr], [1] * len(lr), groups)
    crops, sizes = [axis.crop for axis in lr], _output_sizes(x, geometry)
    return _crop(periodic_shuffle(maps, strides), crops, sizes, like=x)


@fx.wrap
def phase_maps(
    x: Tensor, phases: Sequence[Phase[Tensor]], bias: Tensor | None, geometry: Sequence[Axis], groups: int = 1
) -> Tensor:
    """Return a transposed convolution computed as one convolution a phase, interleaved.

    Args:
        x: (batch, c_in, *n) or (c_in, *n).
        phases: of `transposed_to_phases`.
        bias: (c_out,).
        geometry: of the transposed convolution.
        groups: blocks of channels that do not mix.
    """
    ndim, sizes = len(geometry), _output_sizes(x, geometry)
    strides = [axis.stride for axis in geometry]
    rows = [-(-size // stride) for size, stride in zip(sizes, strides, strict=True)]
    # Phase-major, so that the phases are joined in either memory format by copying blocks.
    maps = torch.cat([_phase_conv(x, phase, bias, rows, groups) for phase in phases], dim=-ndim - 1)
    channel = maps.ndim - ndim - 1
    pixels = ((channel + 1 + ndim + i, channel + i) for i in range(ndim))
    blocks = _unflatten(maps, channel, (*strides, maps.shape[channel] // prod(strides)))
    return _crop(_regroup(blocks, channel, (channel + ndim,), pixels, like=x), [0] * ndim, sizes, like=x)


def _phase_conv(
    x: Tensor, phase: Phase[Tensor], bias: Tensor | None, rows: Sequence[int], groups: int
) -> Tensor:
    ndim = len(rows)
    if phase.weight.numel():
        pads, dilations = [axis.pad for axis in phase.axes], [axis.dilation for axis in phase.axes]
        return convolve(x, phase.weight, bias, pads, dilations, groups)
    # No tap: the bias alone. One pixel is convolved, for the dtype that autocast would give the other phases.
    pixel = x.new_zeros(*x.shape[:-ndim], *[1] * ndim)
    tap = phase.weight.new_zeros(*phase.weight.shape[:2], *[1] * ndim)
    return _CONV[ndim](pixel, tap, bias, groups=groups).expand(*x.shape[: -ndim - 1], tap.shape[0], *rows)


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, pads: Pads, dilation: Sequence[int], groups: int
) -> Tensor:
    """Return the convolution of x, zero-padded by (low, high) on each axis; a negative pad crops."""
    padding = [low for low, high in pads if low == high >= 0]
    if len(padding) < len(pads):  # the operator itself pads alike on both sides only
        x, padding = pad(x, pads), [0] * len(pads)
    return _CONV[len(pads)](x, weight, bias, padding=padding, dilation=dilation, groups=groups)


def pad(x: Tensor, pads: Pads) -> Tensor:
    """Return x padded by zeros (low, high) on each axis; a negative pad crops, the other side's zeros too."""
    sizes = [size + low + high for size, (low, high) in zip(x.shape[-len(pads) :], pads, strict=True)]
    grown = F.pad(x, [max(n, 0) for pair in reversed(pads) for n in pair])
    if min(chain.from_iterable(pads)) >= 0:
        return grown
    return _window(grown, [max(-low, 0) for low, _ in pads], sizes)


def _window(x: Tensor, starts: Sequence[int], sizes: Sequence[int]) -> Tensor:
    for axis, (start, size) in enumerate(zip(starts, sizes, strict=True), start=-len(sizes)):
        x = x.narrow(axis, start, size)
    return x


def _crop(x: Tensor, starts: Sequence[int], sizes: Sequence[int], *, like: Tensor) -> Tensor:
    """Return a window of x, in the memory format of `like`, as PyTorch's own operator does."""
    window = _window(x, starts, sizes)
    if memory_format(like) == torch.contiguous_format:
        return window.contiguous()
    return window.movedim(1, -1).contiguous().movedim(-1, 1)


def _unflatten(x: Tensor, axis: int, sizes: Sequence[int]) -> Tensor:
    return x.reshape(*x.shape[:axis], *sizes, *x.shape[axis + 1 :])


def _regroup(
    blocks: Tensor, lead: int, channels: tuple[int, ...], pixels: Iterable[tuple[int, ...]], *, like: Tensor
) -> Tensor:
    """Return blocks with axes fused into channels and pixels by one copy, in the memory format of `like`."""
    batch: list[tuple[int, ...]] = [(axis,) for axis in range(lead)]
    last = memory_format(like) != torch.contiguous_format
    groups = [*batch, *pixels, channels] if last else [*batch, channels, *pixels]
    sizes = [prod([blocks.shape[axis] for axis in group]) for group in groups]
    moved = blocks.permute(*chain.from_iterable(groups))
    fused = moved.clone(memory_format=torch.contiguous_format).view(sizes)  # never a view of x
    return fused.movedim(-1, lead) if last else fused


def memory_format(x: Tensor) -> torch.memory_format:
    """Return the memory format of a tensor: channels last, or contiguous if its strides fit both formats."""
    last = CHANNELS_LAST.get(x.ndim)
    # Asked by strides, since under `torch.vmap` a tensor cannot be asked for a format by name.
    if last is None or x.is_contiguous() or not x.movedim(1, -1).is_contiguous():
        return torch.contiguous_format
    return last


def _exports_depth_to_space(factors: tuple[int, ...]) -> bool:
    """Return whether to leave PyTorch's operator in the graph, which runtimes know; here it is slower."""
    return torch.compiler.is_exporting() and len(factors) == 2 and factors[0] == factors[1]


def _output_sizes(x: Tensor, geometry: Sequence[Axis]) -> list[int]:
    return [axis.output_size(size) for axis, size in zip(geometry, x.shape[-len(geometry) :], strict=True)]


def _checked_geometry(
    x: Tensor, weight: Tensor, bias: Tensor | None, options: tuple[IntOrInts, ...], groups: int
) -> tuple[Axis, ...]:
    """Return the geometry, after refusing everything that PyTorch refuses."""
    ndim, (c_in, c_out) = weight.ndim - 2, weight.shape[:2]
    geometry = axes(weight.shape[2:], *options)
    _require(
        groups > 0 and c_in % groups == 0,
        f"the input channels must be a multiple of groups; got {c_in}, {groups=}.",
    )
    _require(
        x.ndim in {ndim + 1, ndim + 2} and x.shape[-ndim - 1] == c_in,
        f"x must be (batch, {c_in}, {ndim} sizes), with or without the batch; got {tuple(x.shape)}.",
    )
    _require(
        bias is None or bias.shape == (c_out * groups,),
        f"bias must be ({c_out * groups},); got {None if bias is None else tuple(bias.shape)}.",
    )
    _require(weight.numel() > 0, f"weight must have channels; got {tuple(weight.shape)}.")
    _output_sizes(x, geometry)
    return geometry


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
