"""Training either form gives the same network: elementwise optimisers commute with permutations."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

from subpixel import nn
from subpixel.geometry import axes
from subpixel.kernels import lr_to_transposed, transposed_to_lr

STEPS = 100
OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "Adam": partial(torch.optim.Adam, lr=1e-3),
    "SGD": partial(torch.optim.SGD, lr=1e-2, momentum=0.9, weight_decay=1e-4),
}


def train(layer: torch.nn.Module, optimiser: Callable[..., torch.optim.Optimizer]) -> None:
    generator = torch.Generator().manual_seed(1)
    stepper = optimiser(layer.parameters())
    for _ in range(STEPS):
        x = torch.randn(2, 3, 5, 5, generator=generator, dtype=torch.float64)
        target = torch.nn.functional.interpolate(x[:, :2], scale_factor=2, mode="bilinear")
        stepper.zero_grad()
        (layer(x) - target).square().mean().backward()
        stepper.step()


def transposed(form: Any = "transposed", kernel_size: int = 6) -> nn.ConvTranspose2d:
    torch.manual_seed(0)
    sizes = (kernel_size, 2, (kernel_size - 1) // 2, kernel_size % 2)  # with these n pixels become 2 * n
    return nn.ConvTranspose2d(3, 2, *sizes, bias=False, dtype=torch.float64, form=form)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_transposed_and_the_lr_form_train_alike(name: str) -> None:
    """After 100 steps the LR convolution is still the transposed convolution's image."""
    hr = transposed()
    start = hr.weight.detach().clone()
    lr = nn.SubPixelConv2d(3, 2, 3, 2, bias=False, dtype=torch.float64)
    with torch.no_grad():
        lr.weight.copy_(transposed_to_lr(start, axes((6, 6), stride=2, padding=2)))
    train(hr, OPTIMISERS[name])
    train(lr, OPTIMISERS[name])
    assert (hr.weight - start).abs().max() > 0.01
    torch.testing.assert_close(lr_to_transposed(lr.weight, 2), hr.weight, rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", ["auto", "aligned", "compact", "split"])
@pytest.mark.parametrize("kernel_size", [4, 5])
def test_our_layer_trains_as_pytorchs(form: str, kernel_size: int) -> None:
    """Any kernel size: the parameters stay the transposed convolution's."""
    theirs, ours = transposed(kernel_size=kernel_size), transposed(form, kernel_size)
    for layer in (theirs, ours):
        train(layer, OPTIMISERS["Adam"])
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=0, atol=1e-12)


def test_filled_in_zeros_do_not_stay_zero_when_trained() -> None:
    """Why the layer maps its parameters and does not store LR weights: k = 5 would leave the family."""
    lr = nn.SubPixelConv2d(3, 2, 3, 2, bias=False, dtype=torch.float64)
    weight = torch.randn(3, 2, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mapped = transposed_to_lr(weight, axes((5, 5), stride=2))
    with torch.no_grad():
        lr.weight.copy_(mapped)
    train(lr, OPTIMISERS["SGD"])
    assert lr.weight[mapped == 0].abs().min() > 0
