"""PyTorch's own layers, in a row: every site is found, and every form of it gives what the original gave."""

from typing import Any

import pytest
import torch
from pytorch_models import assert_same_function, forcibly, form, noise, reasons, seeded
from torch import nn

from subpixel.rewriter.pytorch.installed import RewrittenSite

FUSED, UP, SHUFFLED = "nearest resize + convolution", "transposed convolution", "convolution + shuffle"
FORMS = ["transposed", "aligned", "compact", "split", "aligned, channels last", "original, channels last"]
NEAREST = nn.Upsample(scale_factor=2)


def conv(c_in: int = 4, c_out: int = 4, k: int = 3, padding: Any = 1, **options: Any) -> nn.Module:
    return nn.Conv2d(c_in, c_out, k, padding=padding, **options)


MODELS: dict[str, tuple[nn.Module, tuple[int, ...], list[str]]] = {
    "transposed 1-D": (nn.ConvTranspose1d(4, 6, 5, 3, 1, 2, groups=2), (1, 4, 9), [UP]),
    "transposed 2-D": (nn.ConvTranspose2d(4, 3, (4, 5), (2, 3), (1, 0), dilation=(1, 2)), (2, 4, 5, 4), [UP]),
    "transposed 3-D": (nn.ConvTranspose3d(2, 2, 3, 2, 1, 1, bias=False), (1, 2, 3, 4, 3), [UP]),
    "transposed of stride 1": (nn.Sequential(nn.ConvTranspose2d(4, 4, 3), nn.ReLU()), (1, 4, 5, 4), [UP]),
    "a kernel below the stride": (nn.ConvTranspose2d(4, 4, 2, 3), (1, 4, 5, 4), [UP]),
    "nearest 1-D": (nn.Sequential(NEAREST, nn.Conv1d(4, 4, 5, padding=2)), (1, 4, 9), [FUSED]),
    "nearest 2-D": (nn.Sequential(NEAREST, conv()), (1, 4, 5, 4), [FUSED]),
    "nearest 3-D": (nn.Sequential(NEAREST, nn.Conv3d(2, 2, 3, padding=1)), (1, 2, 3, 4, 3), [FUSED]),
    "nearest by uneven factors": (
        nn.Sequential(nn.Upsample(scale_factor=(2, 3)), conv(groups=2, dilation=2, padding=2)),
        (1, 4, 5, 4),
        [FUSED],
    ),
    "nearest-exact": (
        nn.Sequential(nn.Upsample(scale_factor=3, mode="nearest-exact"), conv()),
        (1, 4, 5, 4),
        [FUSED],
    ),
    "an even kernel, same padding": (
        nn.Sequential(NEAREST, conv(k=4, padding="same")),
        (1, 4, 5, 4),
        [FUSED],
    ),
    "norm and activation between": (
        nn.Sequential(NEAREST, nn.BatchNorm2d(4), nn.PReLU(4), nn.Dropout(0.5), conv()),
        (1, 4, 5, 4),
        [FUSED],
    ),
    "an in-place activation between": (
        nn.Sequential(conv(), NEAREST, nn.ReLU(inplace=True), conv()),
        (1, 4, 5, 4),
        [FUSED],
    ),
    "reflection padding": (
        nn.Sequential(NEAREST, nn.ReflectionPad2d(1), conv(padding=0)),
        (1, 4, 5, 4),
        [FUSED],
    ),
    "replication padding": (
        nn.Sequential(NEAREST, nn.ReplicationPad2d((1, 2, 0, 1)), conv(padding=0)),
        (1, 4, 5, 4),
        [FUSED],
    ),
    "zero padding": (
        nn.Sequential(NEAREST, nn.ZeroPad2d((1, 0, 1, 0)), conv(k=2, padding=0)),
        (1, 4, 5, 4),
        [FUSED],
    ),
    "a constant padding of zeros": (
        nn.Sequential(NEAREST, nn.Sequential(nn.ReflectionPad2d(1), conv(padding=0, bias=False)), nn.Tanh()),
        (1, 4, 5, 4),
        [FUSED],
    ),
    "a padding mode of the convolution": (
        nn.Sequential(NEAREST, conv(padding_mode="reflect"), NEAREST, conv(padding_mode="replicate")),
        (1, 4, 5, 4),
        [FUSED, FUSED],
    ),
    "bilinear": (nn.Upsample(scale_factor=2, mode="bilinear"), (1, 4, 5, 4), ["interpolation"]),
    "trilinear": (nn.Upsample(scale_factor=2, mode="trilinear"), (1, 2, 3, 4, 3), ["interpolation"]),
    "bicubic": (
        nn.Sequential(nn.Upsample(scale_factor=3, mode="bicubic"), conv()),
        (1, 4, 5, 4),
        ["interpolation"],
    ),
    "linear 1-D": (nn.Upsample(scale_factor=4, mode="linear"), (1, 4, 9), ["interpolation"]),
    "sub-pixel convolution": (
        nn.Sequential(conv(4, 16, bias=False), nn.PixelShuffle(2)),
        (1, 4, 5, 4),
        [SHUFFLED],
    ),
    "an activation before the shuffle": (
        nn.Sequential(conv(4, 16, bias=False), nn.LeakyReLU(0.1), nn.PixelShuffle(2), nn.ReLU()),
        (1, 4, 5, 4),
        [SHUFFLED],
    ),
    "a strided convolution": (nn.Conv2d(3, 8, 5, stride=2, padding=2), (1, 3, 9, 8), ["strided convolution"]),
    "a strided convolution 1-D": (
        nn.Conv1d(1, 8, 7, stride=4, padding=3, dilation=2),
        (1, 1, 17),
        ["strided convolution"],
    ),
    "chains": (
        nn.Sequential(
            nn.ConvTranspose2d(4, 4, 4, 2, 1),
            nn.ReLU(),
            NEAREST,
            conv(),
            conv(4, 16, bias=False),
            nn.PixelShuffle(2),
        ),
        (1, 4, 3, 4),
        [UP, FUSED, SHUFFLED],
    ),
}


def larger(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:2], *(size + 1 + index for index, size in enumerate(shape[2:])))


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
@pytest.mark.parametrize("name", MODELS)
def test_every_form_of_every_site(name: str) -> None:
    """To 1e-10 in float64, at the example's size and at another."""
    model, shape, was = MODELS[name]
    model = seeded(model)
    examples = (noise(*shape),), (noise(*larger(shape)),)
    for choice in FORMS if len(shape) != 3 else FORMS[:4]:
        changed, report = forcibly(model, examples[0], form(choice))
        assert [record.was for record in report.sites] == was
        assert all(record.changed for record in report.sites), report
        assert_same_function(changed, model, *examples)


@pytest.mark.parametrize(
    ("model", "shape", "reason"),
    [
        (
            nn.Upsample(size=8),
            (1, 4, 4, 4),
            "its output size is not proven to be a multiple of its input size",
        ),
        (nn.Upsample(scale_factor=1.5), (1, 4, 4, 4), "its factors (1.5, 1.5) are no integers"),
        (nn.Upsample(scale_factor=0.5), (1, 4, 4, 4), "its factors (0.5, 0.5) are no integers"),
        (nn.Upsample(scale_factor=2), (1, 4, 4, 4), "no convolution to fuse it with"),
        (
            nn.Upsample(scale_factor=41),
            (1, 4, 2, 2),
            "with the factors (41.0, 41.0) PyTorch's rounding does not repeat each pixel alike",
        ),
        (
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
            (1, 4, 4, 4),
            "with aligned corners no two pixels have the same kernel",
        ),
        (nn.PixelShuffle(2), (1, 4, 4, 4), "no convolution to fuse it with"),
        (nn.ConvTranspose2d(4, 4, 2, 2), (4, 5, 5), "its input has no batch"),
        (nn.ConvTranspose1d(4, 4, 2, 2), (4, 5), "its input has no batch"),
    ],
)
def test_kept_with_the_reason(model: nn.Module, shape: tuple[int, ...], reason: str) -> None:
    model = seeded(nn.Sequential(nn.Identity(), model))
    changed, report = forcibly(model, noise(*shape))
    assert reasons(report) == {"1": reason}
    assert_same_function(changed, model, (noise(*shape),))


@pytest.mark.parametrize(
    ("between", "reason"),
    [
        (nn.Softmax(1), "no convolution to fuse it with"),
        (nn.BatchNorm2d(4, track_running_stats=False), "no convolution to fuse it with"),
        (nn.InstanceNorm2d(4), "no convolution to fuse it with"),
        (nn.ReflectionPad2d(2), "a reflection by the factor or more shows other pixels than the edge"),
        (nn.CircularPad2d(1), "no convolution to fuse it with"),
        (nn.ConstantPad2d(1, 0.5), "no convolution to fuse it with"),
        (nn.MaxPool2d(2), "no convolution to fuse it with"),
    ],
)
def test_what_does_not_commute_with_a_resize(between: nn.Module, reason: str) -> None:
    model = seeded(nn.Sequential(nn.Upsample(scale_factor=2), between, conv(padding=0)))
    changed, report = forcibly(model, noise(1, 4, 5, 4))
    assert list(reasons(report).values()) == [reason]
    assert_same_function(changed, model, (noise(1, 4, 5, 4),))


@pytest.mark.parametrize(
    ("between", "reason"),
    [
        (nn.PReLU(16), "between convolution and shuffle, phases of a channel have parameters of their own"),
        (
            nn.BatchNorm2d(16),
            "between convolution and shuffle, phases of a channel have parameters of their own",
        ),
        (nn.Softmax(1), "no convolution to fuse it with"),
    ],
)
def test_what_does_not_commute_with_a_shuffle(between: nn.Module, reason: str) -> None:
    model = seeded(nn.Sequential(conv(4, 16, bias=False), between, nn.PixelShuffle(2)))
    changed, report = forcibly(model, noise(1, 4, 5, 4))
    assert list(reasons(report).values()) == [reason]
    assert_same_function(changed, model, (noise(1, 4, 5, 4),))


def test_a_bias_a_phase_is_no_transposed_convolution() -> None:
    _, report = forcibly(seeded(nn.Sequential(conv(4, 16), nn.PixelShuffle(2))), noise(1, 4, 5, 4))
    assert reasons(report) == {"0": "the bias differs from phase to phase"}


def test_the_names_of_the_sites() -> None:
    """A site is named after its convolution; modules that make way are identities."""
    model = seeded(nn.Sequential(NEAREST, nn.ReLU(), nn.ReflectionPad2d(1), conv(padding=0)))
    changed, report = forcibly(model, noise(1, 4, 5, 4), form("transposed"))
    assert [record.path for record in report.sites] == ["3"]
    assert [type(child) for child in changed] == [nn.Identity, nn.ReLU, nn.Identity, RewrittenSite]
    assert isinstance(changed[3].layers[-1], nn.ConvTranspose2d)


def test_multiply_accumulates_and_precision_in_the_report() -> None:
    _, report = forcibly(
        seeded(nn.Sequential(NEAREST, conv()), torch.float32), noise(1, 4, 10, 10, dtype=torch.float32)
    )
    assert report.sites[0].macs == (16 * 36 * 100, 16 * 16 * 121)
    exact, own = report.error
    assert 0 < exact < 1e-14
    assert 1e-9 < own < 1e-6


@pytest.mark.parametrize("between", [nn.BatchNorm2d(4), nn.Dropout()])
def test_parts_in_training_stay_between(between: nn.Module) -> None:
    """They count, or draw for, the pixels that they are given."""
    model = seeded(nn.Sequential(nn.Upsample(scale_factor=2), between, nn.Conv2d(4, 4, 3)))
    between.train()
    _, report = forcibly(model, noise(1, 4, 5, 4))
    assert reasons(report) == {"0": "no convolution to fuse it with"}
