"""Resize-convolution as a layer to train."""

from subpixel.extras import needing
from subpixel.functional import conv_transpose
from subpixel.kernels import resize_conv_to_transposed

with needing("study"):
    from torch import Tensor, nn
    from torch.nn.functional import interpolate


class ResizeConv2d(nn.Conv2d):
    """A nearest resize and a convolution, in LR space (which is faster) unless `in_hr_space` is set.

    Args:
        c_in: channels in.
        c_out: channels out.
        kernel_size: of the convolution in HR space, odd.
        upscale_factor: r.
        bias: whether to add a bias.
    """

    in_hr_space = False

    def __init__(
        self, c_in: int, c_out: int, kernel_size: int, upscale_factor: int, *, bias: bool = True
    ) -> None:
        super().__init__(c_in, c_out, kernel_size, padding=kernel_size // 2, bias=bias)
        self.upscale_factor = upscale_factor

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (PyTorch's name)
        """Return (n, c_out, r*h, r*w) for (n, c_in, h, w)."""
        if self.in_hr_space:
            return super().forward(interpolate(input, scale_factor=self.upscale_factor))
        r, padding = self.upscale_factor, self.kernel_size[0] // 2
        kernel = resize_conv_to_transposed(self.weight, r)
        return conv_transpose(input, kernel, self.bias, stride=r, padding=padding, form="aligned")
