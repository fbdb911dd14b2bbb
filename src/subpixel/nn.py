"""Layers: PyTorch's transposed convolutions computed in LR space, sub-pixel convolutions, shuffles."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, Literal

import subpixel.functional as F  # noqa: N812 (as PyTorch's)
from subpixel.extras import needing
from subpixel.geometry import IntOrInts, per_axis

with needing("torch"):
    import torch
    from torch import Tensor


# A002: PyTorch names the argument of `forward` input, and callers may too.


class _InLRSpace(torch.nn.Module):
    """The forward pass of a transposed convolution of PyTorch's, with a choice of how it is computed."""

    weight: Tensor
    bias: Tensor | None
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Any  # integers, though PyTorch's base of all convolutions has words too
    output_padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    def __init__(self, *args: Any, form: F.Form = "auto", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.form = form

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:  # noqa: A002
        """Return (batch, c_out, *m) for (batch, c_in, *n), the batch optional; `output_size` may pick m."""
        output_padding = self.output_padding if output_size is None else self._padding_for(output_size, input)
        return F.conv_transpose(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            output_padding,
            self.groups,
            self.dilation,
            form=self.form,
        )

    def _padding_for(self, size: Sequence[int], x: Tensor) -> list[int]:
        """Return the output_padding that gives an output of this size; what is wrong, PyTorch's words say."""
        ndim = len(self.kernel_size)
        others = 2 if x.ndim == ndim + 2 else 1  # axes before the spatial ones
        if len(size) == others + ndim:
            size = size[others:]
        if len(size) != ndim:
            raise ValueError(
                f"ConvTranspose{ndim}D: for {x.ndim}D input, output_size must have {ndim} or {others + ndim} "
                f"elements (got {len(size)})"
            )
        parameters = zip(
            x.shape[others:], self.stride, self.padding, self.dilation, self.kernel_size, strict=True
        )
        least = [(n - 1) * s - 2 * p + d * (k - 1) + 1 for n, s, p, d, k in parameters]
        most = [low + stride - 1 for low, stride in zip(least, self.stride, strict=True)]
        if any(m < low or m > high for m, low, high in zip(size, least, most, strict=True)):
            raise ValueError(
                f"requested an output size of {size}, but valid sizes range from {least} to {most} (for an "
                f"input of {x.shape[2:]})"
            )
        return [m - low for m, low in zip(size, least, strict=True)]

    def extra_repr(self) -> str:
        """Return what `repr` shows: PyTorch's text, and the form unless it is the default."""
        form = "" if self.form == "auto" else f", form={self.form!r}"
        return f"{super().extra_repr()}{form}"


class ConvTranspose1d(_InLRSpace, torch.nn.ConvTranspose1d):
    """`torch.nn.ConvTranspose1d`, computed in LR space where that is faster; see `ConvTranspose2d`."""


class ConvTranspose2d(_InLRSpace, torch.nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d`, computed in LR space where that is faster.

    Change the import and nothing else: arguments, defaults, initialisation, state_dict, `output_size` and
    errors are PyTorch's. The parameters stay those of the transposed convolution and are mapped in the
    forward pass, inside autograd, so training is the same too.

    Args:
        *args: PyTorch's.
        form: "auto", "transposed", "aligned", "compact" or "split"; see `subpixel.functional.conv_transpose`.
        **kwargs: PyTorch's.

    Example:
        >>> layer = ConvTranspose2d(16, 3, kernel_size=4, stride=2, padding=1)
        >>> layer(torch.zeros(1, 16, 8, 8)).shape
        torch.Size([1, 3, 16, 16])

    References: Shi et al. 2016 (arXiv:1609.07009).
    """


class ConvTranspose3d(_InLRSpace, torch.nn.ConvTranspose3d):
    """`torch.nn.ConvTranspose3d`, computed in LR space where that is faster; see `ConvTranspose2d`."""


class _SubPixelConv(torch.nn.Module):
    """A convolution with r**d outputs for each channel, and the periodic shuffle that makes them one."""

    _ndim: int

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrInts,
        upscale_factor: IntOrInts,
        *,
        padding: Literal["same", "valid"] | IntOrInts = "same",
        **options: Any,
    ) -> None:
        factors = per_axis(upscale_factor, self._ndim, "upscale_factor")
        maps = out_channels * prod(factors)
        super().__init__(in_channels, maps, kernel_size, padding=padding, **options)
        self.out_channels = out_channels
        self.upscale_factors = factors

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Return (batch, c_out, *(n * r)) for (batch, c_in, *n), the batch optional."""
        return F.periodic_shuffle(super().forward(input), self.upscale_factors)

    def extra_repr(self) -> str:
        """Return what `repr` shows."""
        return f"{super().extra_repr()}, upscale_factors={self.upscale_factors}"


class SubPixelConv1d(_SubPixelConv, torch.nn.Conv1d):
    """The efficient sub-pixel convolution of ESPCN in one dimension; see `SubPixelConv2d`."""

    _ndim = 1


class SubPixelConv2d(_SubPixelConv, torch.nn.Conv2d):
    """The efficient sub-pixel convolution of ESPCN: a convolution in LR space, then a periodic shuffle.

    `lr_to_transposed(layer.weight, upscale_factor)` is the kernel of the same layer as a transposed
    convolution.

    The weight is (out_channels * r**2, in_channels // groups, *kernel_size).

    Args:
        in_channels: channels of the LR input.
        out_channels: channels of the HR output.
        kernel_size: LR pixels.
        upscale_factor: r, one integer or one an axis.
        padding: "same" makes an input of (h, w) an output of (r*h, r*w).
        **options: of `torch.nn.Conv2d`: dilation, groups, bias, padding_mode, device, dtype.

    Example:
        >>> layer = SubPixelConv2d(32, 1, kernel_size=3, upscale_factor=3)
        >>> layer(torch.zeros(1, 32, 8, 8)).shape
        torch.Size([1, 1, 24, 24])

    References: Shi et al. 2016 (arXiv:1609.05158), section 3.
    """

    _ndim = 2


class SubPixelConv3d(_SubPixelConv, torch.nn.Conv3d):
    """The efficient sub-pixel convolution of ESPCN in three dimensions; see `SubPixelConv2d`."""

    _ndim = 3


class ResizeConv(torch.nn.Module):
    """A nearest resize and a convolution of three taps an axis, as `subpixel.functional.resize_conv`.

    The weights are the products that the phases share, mapped once: rewritten models have this layer.

    Args:
        products: (3**d, c_out, c_in), of `subpixel.kernels.resize_conv_to_products`.
        bias: (c_out,) or None.
        upscale_factors: r of each spatial axis, from 2.

    Example:
        >>> layer = ResizeConv(torch.ones(9, 8, 16), None, (2, 2))
        >>> layer(torch.zeros(1, 16, 1 + 32 + 1, 1 + 32 + 1)).shape
        torch.Size([1, 8, 64, 64])
    """

    def __init__(self, products: Tensor, bias: Tensor | None, upscale_factors: Sequence[int]) -> None:
        super().__init__()
        self.products = torch.nn.Parameter(products.contiguous(), requires_grad=False)
        self.bias = None if bias is None else torch.nn.Parameter(bias, requires_grad=False)
        self.upscale_factors = tuple(upscale_factors)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Return (batch, c_out, *(n * r)) for (batch, c_in, *(n + 2)), which is padded already."""
        return F.resize_conv(input, self.products, self.bias, self.upscale_factors)

    def extra_repr(self) -> str:
        """Return what `repr` shows."""
        return f"upscale_factors={self.upscale_factors}"


class PeriodicShuffle(torch.nn.Module):
    """`subpixel.functional.periodic_shuffle` as a layer.

    Args:
        upscale_factors: r of each spatial axis.

    Example:
        >>> PeriodicShuffle((4,))(torch.zeros(1, 8, 100)).shape
        torch.Size([1, 2, 400])
    """

    def __init__(self, upscale_factors: Sequence[int]) -> None:
        super().__init__()
        self.upscale_factors = tuple(upscale_factors)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Return (..., c, *(n * r)) for (..., c * prod(r), *n)."""
        return F.periodic_shuffle(input, self.upscale_factors)

    def extra_repr(self) -> str:
        """Return what `repr` shows."""
        return f"upscale_factors={self.upscale_factors}"


class PeriodicUnshuffle(torch.nn.Module):
    """`subpixel.functional.periodic_unshuffle` as a layer.

    Args:
        downscale_factors: r of each spatial axis.

    Example:
        >>> PeriodicUnshuffle((4,))(torch.zeros(1, 2, 400)).shape
        torch.Size([1, 8, 100])
    """

    def __init__(self, downscale_factors: Sequence[int]) -> None:
        super().__init__()
        self.downscale_factors = tuple(downscale_factors)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Return (..., c * prod(r), *n) for (..., c, *(n * r))."""
        return F.periodic_unshuffle(input, self.downscale_factors)

    def extra_repr(self) -> str:
        """Return what `repr` shows."""
        return f"downscale_factors={self.downscale_factors}"


def icnr_(
    weight: Tensor,
    upscale_factor: IntOrInts,
    initialise: Callable[[Tensor], Any] = torch.nn.init.kaiming_normal_,
) -> Tensor:
    """Initialise the weight of an LR convolution in place so that all phases of a channel are equal.

    The layer then starts as a convolution and a nearest resize, free of checkerboards; so does a bias whose
    phases are equal, for example zero.

    Args:
        weight: (c_out * r**d, c_in // groups, *K), as in `SubPixelConv2d`.
        upscale_factor: r, one integer or one an axis.
        initialise: fills the kernels of one phase (c_out, c_in // groups, *K) in place.

    Returns:
        The weight.

    Raises:
        ValueError: the output channels are not a multiple of r**d.

    Example:
        >>> layer = SubPixelConv2d(1, 1, kernel_size=3, upscale_factor=2, bias=False)
        >>> phases = icnr_(layer.weight, 2)
        >>> bool((phases == phases[0]).all())
        True

    References: Aitken et al. 2017 (arXiv:1707.02937).
    """
    phases = prod(per_axis(upscale_factor, weight.ndim - 2, "upscale_factor"))
    if weight.shape[0] % phases:
        raise ValueError(f"the output channels must be a multiple of {phases}; got {tuple(weight.shape)}.")
    kernels = torch.empty_like(weight[::phases])
    with torch.no_grad():
        initialise(kernels)
        return weight.copy_(kernels.repeat_interleave(phases, dim=0))
