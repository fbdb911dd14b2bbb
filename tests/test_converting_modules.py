"""PyTorch modules as LR networks: equal away from the borders, as float64 shows; others refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import evaluate
from torch import Tensor, nn
from torch.nn import functional

from subpixel.converting.modules import from_torch
from subpixel.network import LRNetwork


class Compact(nn.Module):
    """A network of the "compact" family: its body, a shuffle, and the nearest pixel added."""

    def __init__(self, upscale: int, features: int, convolutions: int, mode: str = "nearest") -> None:
        super().__init__()
        self.upscale, self.mode = upscale, mode
        self.body = nn.ModuleList([nn.Conv2d(3, features, 3, 1, 1), nn.PReLU(features)])
        for _ in range(convolutions):
            self.body += [nn.Conv2d(features, features, 3, 1, 1), nn.PReLU(features)]
        self.body.append(nn.Conv2d(features, 3 * upscale**2, 3, 1, 1))
        self.upsampler = nn.PixelShuffle(upscale)

    def forward(self, x: Tensor) -> Tensor:
        out = x
        for layer in self.body:
            out = layer(out)
        out = self.upsampler(out)
        out += functional.interpolate(x, scale_factor=self.upscale, mode=self.mode)
        return out


class Functional(nn.Module):
    """An ESPCN whose activations and shuffle are functions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 8, 5, padding=2), nn.Conv2d(8, 9, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return functional.pixel_shuffle(self.last(torch.tanh(self.first(x))), 3)


class Applied(nn.Module):
    """A module that applies a function to the result of a network."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.function = shuffled(), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.network(x), x)


def shuffled(*between: nn.Module, upscale_factor: int = 2) -> nn.Sequential:
    first, last = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, upscale_factor**2, 3, padding=1)
    return nn.Sequential(first, *between, last, nn.PixelShuffle(upscale_factor))


def transposed(r: int, k: int, padding: int, **options: Any) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.PReLU(4), nn.ConvTranspose2d(4, 1, k, r, padding, **options)
    )


def largest_difference(module: nn.Module, network: LRNetwork) -> float:
    """Of the module in float64 from the network in float64, where no border reaches."""
    m, r = network.radius, network.upscale_factor
    image = np.random.default_rng(0).random((1, network.channels, 2 * m + 9, 2 * m + 7))
    with torch.no_grad():
        theirs = module.double()(torch.from_numpy(image)).numpy()
    ours = evaluate(network, image)
    rows, columns = (
        (large - small) // 2 for large, small in zip(theirs.shape[2:], ours.shape[2:], strict=True)
    )
    assert ours.shape[2:] == (9 * r, 7 * r)
    inner = theirs[..., rows : rows + 9 * r, columns : columns + 7 * r]
    return float(np.abs(ours - inner).max())


@st.composite
def transposed_ends(draw: st.DrawFn) -> nn.Sequential:
    """Stacks that end in a transposed convolution which gives exactly r times the size."""
    torch.manual_seed(draw(st.integers(0, 2**31)))
    r, padding = draw(st.integers(1, 4)), draw(st.integers(0, 6))
    output_padding, dilation = draw(st.integers(0, r - 1)), draw(st.integers(1, 2))
    extent = 2 * padding + r - output_padding - 1  # of the kernel, less one
    if extent % dilation:
        dilation = 1
    k, channels = extent // dilation + 1, draw(st.sampled_from([1, 3]))
    options = {"output_padding": output_padding, "dilation": dilation, "bias": draw(st.booleans())}
    end = nn.ConvTranspose2d(6, channels, k, r, padding, **options)
    size, pads = draw(st.sampled_from([1, 3, 5])), draw(st.booleans())
    first = nn.Conv2d(channels, 5, size, padding=size // 2 if pads else 0, bias=draw(st.booleans()))
    slope = draw(st.sampled_from([nn.PReLU(5), nn.PReLU(), nn.LeakyReLU(0.25), nn.Tanh(), nn.ReLU()]))
    return nn.Sequential(nn.Sequential(first, slope), nn.Identity(), nn.Conv2d(5, 6, 3, padding=1), end)


@settings(deadline=None, max_examples=60)
@given(module=transposed_ends())
def test_a_transposed_convolution_at_the_end_is_an_lr_convolution(module: nn.Sequential) -> None:
    assert largest_difference(module, from_torch(module)) < 1e-12


@pytest.mark.parametrize("r", [2, 3, 4])
def test_fsrcnn(r: int) -> None:
    """The 9x9 kernel of FSRCNN(56, 12, 4) has 5x5 taps a phase where r is 2 or 3."""
    shrink, grow = [nn.Conv2d(56, 12, 1), nn.PReLU(12)], [nn.Conv2d(12, 56, 1), nn.PReLU(56)]
    middle = [layer for _ in range(4) for layer in (nn.Conv2d(12, 12, 3, padding=1), nn.PReLU(12))]
    first = [nn.Conv2d(1, 56, 5, padding=2), nn.PReLU(56)]
    end = nn.ConvTranspose2d(56, 1, 9, r, 4, output_padding=r - 1)
    module = nn.Sequential(*first, *shrink, *middle, *grow, end)
    network = from_torch(module, name="fsrcnn")
    assert (network.name, network.upscale_factor) == ("fsrcnn", r)
    assert network.convolutions[-1].weight.shape == (r * r, 56, *{2: (5, 5), 3: (5, 5), 4: (3, 3)}[r])
    assert largest_difference(module, network) < 1e-12


@pytest.mark.parametrize(("upscale", "features", "convolutions"), [(2, 8, 2), (4, 24, 8), (4, 64, 32)])
def test_compact(upscale: int, features: int, convolutions: int) -> None:
    """From small ones to the largest that are in use."""
    module = Compact(upscale, features, convolutions)
    network = from_torch(module)
    assert (network.skip, network.channels, len(network.convolutions)) == ("nearest", 3, convolutions + 2)
    assert largest_difference(module, network) < 1e-12


def test_functions_are_read_as_layers_are() -> None:
    module = Functional()
    assert largest_difference(module, network := from_torch(module)) < 1e-12
    assert [convolution.activation for convolution in network.convolutions] == ["tanh", None]


def test_a_bicubic_skip_is_read() -> None:
    module = Compact(3, 8, 1, "bicubic")
    assert largest_difference(module, network := from_torch(module)) < 1e-12
    assert network.skip == "bicubic"


def test_a_wrong_weight_would_be_seen() -> None:
    module = transposed(3, 9, 4, output_padding=2)
    network = from_torch(module)
    with torch.no_grad():
        module[0].weight[0, 0, 0, 0] += 1e-3
    assert largest_difference(module, network) > 1e-7


def test_the_module_is_not_changed() -> None:
    module = shuffled(nn.ReLU()).double().train()
    network = from_torch(module)
    assert module.training
    assert module[0].weight.dtype == torch.float64
    with torch.no_grad():
        module[0].weight.zero_()
    assert network.convolutions[0].weight.any()


def spoilt(value: float) -> nn.Module:
    module = shuffled()
    with torch.no_grad():
        module[0].weight[0, 0, 0, 0] = value
    return module


REFUSED = {
    "no layers": (nn.Sequential(), "the module must have layers; got none."),
    "no shuffle": (
        nn.Sequential(nn.Conv2d(1, 1, 3)),
        "the last layer must be a pixel shuffle or a transposed",
    ),
    "a stride": (nn.Sequential(nn.Conv2d(1, 4, 3, 2), nn.PixelShuffle(2)), "stride, dilation and groups 1"),
    "groups": (nn.Sequential(nn.Conv2d(4, 16, 3, groups=4), nn.PixelShuffle(2)), "groups 1; got Conv2d(4"),
    "even": (nn.Sequential(nn.Conv2d(1, 4, 2), nn.PixelShuffle(2)), "k odd and 1 to 31; got (4, 1, 2, 2)"),
    "unknown": (shuffled(nn.GELU()), "a layer must be a convolution, tanh, ReLU, leaky ReLU or PReLU"),
    "two activations": (shuffled(nn.ReLU(), nn.Tanh()), "a convolution must come before each activation"),
    "late": (nn.Sequential(shuffled(), nn.Conv2d(1, 4, 3)), "the last layer must be a pixel shuffle"),
    "clamp": (Applied(lambda y, _: y.clamp(0, 1)), "may add the enlarged image; got clamp in it."),
    "branches": (Applied(lambda y, _: y + y), "may add the enlarged image; got add in it."),
    "control flow": (Applied(lambda y, _: y if y.sum() > 0 else -y), "must compute the same for any input"),
    "align_corners": (
        Applied(lambda y, x: y + functional.interpolate(x, None, 2, "bicubic", align_corners=True)),
        "on a random image it differs by",
    ),
    "channels": (nn.Sequential(nn.Conv2d(1, 8, 3), nn.PixelShuffle(2)), "the last convolution must give 4"),
    "a size that is no multiple": (transposed(3, 9, 4), "give exactly stride times the size"),
    "NaN": (spoilt(float("nan")), "weight must be finite"),
    "infinite": (spoilt(float("inf")), "weight must be finite"),
}


@pytest.mark.parametrize(("module", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_lr_network_is_refused_in_one_line(module: nn.Module, reason: str) -> None:
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z") as error:
        from_torch(module)
    assert reason in str(error.value)
