"""Every convolution in HR space after a periodic shuffle is a convolution in LR space before it."""

import torch
from cases import Case, assert_close, cases
from hypothesis import assume, given, settings
from test_kernels_dual import pad
from torch import Tensor
from torch.nn import functional

from subpixel.functional import periodic_shuffle
from subpixel.geometry import Axis
from subpixel.kernels import lift_conv


def lifted_conv(
    z: Tensor, weight: Tensor, factors: tuple[int, ...], paddings: list[int], groups: int
) -> Tensor:
    """shuffle(conv(z, lifted)), cropped where the HR output is no multiple of r."""
    kernel_size, sizes = weight.shape[2:], z.shape[-len(factors) :]
    outputs = [
        n * r + 2 * p - k + 1 for n, r, p, k in zip(sizes, factors, paddings, kernel_size, strict=True)
    ]
    shifted = [
        Axis(k + r - 1, r, p).lr("aligned") for k, r, p in zip(kernel_size, factors, paddings, strict=True)
    ]
    rows = [-(-size // r) for size, r in zip(outputs, factors, strict=True)]
    pads = [axis.unshuffled_pad(n, m) for axis, n, m in zip(shifted, sizes, rows, strict=True)]
    lifted = lift_conv(weight, factors, padding=paddings, groups=groups)
    maps = getattr(functional, f"conv{len(factors)}d")(pad(z, pads), lifted, groups=groups)
    y = periodic_shuffle(maps, factors)
    return y[(..., *(slice(size) for size in outputs))]


@given(case=cases(dilation=1, output_padding=0))
@settings(max_examples=1000)
def test_convolution_of_a_shuffled_tensor(case: Case) -> None:
    """Any kernel, even and odd, any zero padding, groups, factor an axis."""
    paddings = [axis.padding for axis in case.geometry]
    phases = case.weight[0, 0].new_ones(case.strides).numel()
    z = case.x.repeat_interleave(phases, dim=-len(case.sizes) - 1)
    z = z * torch.arange(1, z.numel() + 1).reshape(z.shape)  # no two values alike
    hr = periodic_shuffle(z, case.strides)
    weight = case.conv_weight
    sizes = zip(hr.shape[-len(paddings) :], paddings, weight.shape[2:], strict=True)
    assume(all(size + 2 * padding >= k for size, padding, k in sizes))
    expected = getattr(functional, f"conv{len(paddings)}d")(hr, weight, padding=paddings, groups=case.groups)
    assert_close(lifted_conv(z, weight, case.strides, paddings, case.groups), expected)


def test_an_hr_network_is_an_lr_network() -> None:
    """Two HR layers and a ReLU between them: the shuffle moves after both."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(1, 8, 5, 6, generator=generator, dtype=torch.float64)
    first, second = (torch.randn(*shape, 5, 5, generator=generator).double() for shape in ((8, 2), (1, 8)))
    hr = functional.conv2d(
        torch.relu(functional.conv2d(periodic_shuffle(z, (2, 2)), first, padding=2)), second, padding=2
    )
    inner, last = (lift_conv(weight, 2, padding=2) for weight in (first, second))
    lr = functional.conv2d(torch.relu(functional.conv2d(z, inner, padding=1)), last, padding=1)
    assert torch.allclose(periodic_shuffle(lr, (2, 2)), hr, rtol=0, atol=1e-11)
