"""Forwards of the kinds that people write: each is recorded, and what is rewritten computes the same."""

import builtins
import math
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from math import ceil, floor
from typing import Any

import pytest
import torch
from pytorch_models import (
    assert_equal,
    assert_same_function,
    became,
    called,
    forced,
    forcibly,
    form,
    noise,
    reasons,
    seeded,
)
from test_rewriter_pytorch_forwards import Net
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from subpixel.rewriter import rewrite
from subpixel.rewriter.pytorch.guards import OtherBranchError
from subpixel.rewriter.pytorch.recording import record

EXAMPLE, OTHER = noise(1, 4, 6, 4), noise(2, 4, 8, 10)


class Up(Net):
    def up2(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2))


class SetsTheSameAttribute(Up):
    """As in SwinIR, HAT and DRCT: the mean of the images, in the precision of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.tensor([1.0, 2, 3, 4]).view(1, 4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        self.mean = self.mean.type_as(x)
        return self.up2(x - self.mean) + self.mean


class SetsTheSameBuffer(Up):
    def forward(self, x: Tensor) -> Tensor:
        self.kernel = self.kernel.to(x.dtype)
        return F.conv2d(self.up2(x), self.kernel)


class TensorOfSizes(Up):
    """As in DAT: sizes among the numbers of a tensor."""

    def forward(self, x: Tensor) -> Tensor:
        scale = torch.tensor([1.0, x.shape[2], round(x.shape[3] / 2), 2], dtype=x.dtype)
        return self.up2(x * scale[:, None, None]) + torch.as_tensor([x.shape[3]]).sum()


class MakesTensors(Up):
    def forward(self, x: Tensor) -> Tensor:
        b, _, h, w = x.shape
        grid = torch.zeros(b, 1, h, w, dtype=x.dtype) + torch.full((h, 1), 2.0) @ torch.ones(1, w)
        steps = torch.linspace(0, h - 1.0, h)[:, None] + torch.arange(w) + torch.eye(h)[:, :1]
        return self.up2(x + grid + steps + torch.rand(b, 1, h, w))


class Rounds(Up):
    def forward(self, x: Tensor) -> Tensor:
        half = round(x.shape[2] * 0.5)
        rows, left = divmod(x.shape[2], 2)
        return self.up2(x[:, :, :half]) * rows + left + round(x.shape[2] / 7, 2) + math.sqrt(x.shape[3])


class ValuesOfADict(Up):
    """As in torchvision's FPN, which takes the values of a dict, and gives a dict."""

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        found, names = list(inputs.values()), list(inputs)
        total = sum(value.mean() for value in inputs.values())
        for name, value in inputs.items():
            total = total + value.sum() * len(name)
        return {names[0]: self.up2(found[0] + found[-1]) * total}


class TakesAList(Up):
    """As in RAFT, which encodes two images at once."""

    def forward(self, images: Any) -> tuple[Tensor, ...]:
        if isinstance(images, list | tuple):
            images = torch.cat(images, dim=0)
        return torch.split(self.up2(images), images.shape[0] // 2, dim=0)


class LooksAtTypes(Up):
    """The limits of a precision, as in masks of attention."""

    def forward(self, x: Tensor) -> Tensor:
        return self.up2(x.clamp(torch.finfo(x.dtype).min, torch.finfo(x.dtype).max / 2))


def decorated(forward: Any) -> Any:
    @wraps(forward)
    def call(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        kwargs.setdefault("scale", 2.0 if len(args) < 2 else args[1])
        args = args[:1]
        return forward(self, *args, **kwargs)

    return call


class IsDecorated(Up):
    """As in transformers, where a decorator gives arguments."""

    @decorated
    def forward(self, x: Tensor, scale: float = 1.0, *, power: int = 1, **more: Tensor) -> Tensor:
        return self.up2(x * scale) ** power + sum(more.values())


class AssignsInWhatIsNotRecorded(nn.Module):
    """No up-sampler, as far as anybody can see."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(4, 4, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.from_numpy(x.numpy() * 1)
        x[:, 0] = 0
        return self.up(x)


class CallsWithAList(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.up = TakesAList(), nn.ConvTranspose2d(4, 4, 2, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.encoder([x, self.up(x[:, :, ::2, ::2])])


class ChangesItsList(Up):
    def forward(self, features: list[Tensor]) -> Tensor:
        features[0] = self.up2(features[0])
        features.append(features[0] * 2)
        return features[1] + 1


class ChangesAList(nn.Module):
    """As in RT-DETR: a list of feature maps, changed in the module that it is passed to."""

    def __init__(self) -> None:
        super().__init__()
        self.change, self.conv = ChangesItsList(), nn.Conv2d(4, 4, 3)

    def forward(self, x: Tensor) -> Any:
        features = [x, x * 2]
        found = self.change(features)
        return [self.conv(F.interpolate(each, scale_factor=2)) for each in features], found, features


@pytest.mark.parametrize(
    ("net", "sites"),
    [
        (SetsTheSameAttribute, 1),
        (SetsTheSameBuffer, 1),
        (TensorOfSizes, 1),
        (MakesTensors, 1),
        (Rounds, 1),
        (LooksAtTypes, 1),
        (IsDecorated, 1),
        (AssignsInWhatIsNotRecorded, 1),
        (CallsWithAList, 2),
        (ChangesAList, 4),
    ],
)
def test_a_forward_is_recorded(net: type[nn.Module], sites: int) -> None:
    model = seeded(net())
    changed, report = forcibly(model, EXAMPLE)
    assert [record.changed for record in report.sites] == [True] * sites, report
    for x in (EXAMPLE, OTHER):
        torch.manual_seed(0)
        found = called(changed, (x,))
        torch.manual_seed(0)
        assert_equal(found, called(model, (x,)))


@pytest.mark.parametrize(
    ("net", "example", "other"),
    [
        (ValuesOfADict, {"a": EXAMPLE, "be": EXAMPLE * 2}, {"a": OTHER, "be": OTHER * 3}),
        (TakesAList, [EXAMPLE, EXAMPLE * 2], [OTHER, OTHER * 3]),
    ],
)
def test_an_argument_of_many_tensors(net: type[nn.Module], example: Any, other: Any) -> None:
    model = seeded(net())
    changed, report = forcibly(model, (example,))
    assert became(report) == {"conv": "compact"}
    assert_same_function(changed, model, (example,), (other,))


@pytest.mark.parametrize(
    "example",
    [(EXAMPLE, 3.0), {"x": EXAMPLE, "power": 2}, {"power": 3, "a": OTHER[:1, :, :1, :1], "x": EXAMPLE}],
)
def test_arguments_of_a_decorated_forward(example: Any) -> None:
    model = seeded(IsDecorated())
    changed, report = forcibly(model, example)
    assert became(report) == {"conv": "compact"}
    assert_same_function(changed, model, example)


def test_other_names_than_in_the_example_are_an_error() -> None:
    changed, _ = forcibly(seeded(IsDecorated()), {"x": EXAMPLE, "a": EXAMPLE.mean()})
    with pytest.raises(OtherBranchError, match=r"was \['a'\]; got \['b'\]"):
        changed(EXAMPLE, b=EXAMPLE.mean())


def test_a_list_that_a_forward_changes_is_changed() -> None:
    """The caller sees it: items of the graph are written to the list that was given."""
    model = seeded(ChangesItsList())
    changed, report = forcibly(model, ([EXAMPLE, EXAMPLE * 2],))
    assert became(report) == {"conv": "compact"}
    found, expected = [OTHER, OTHER * 2], [OTHER, OTHER * 2]
    assert_equal([called(changed, (found,)), *found], [called(model, (expected,)), *expected])
    assert len(found) == 3


def test_an_attribute_that_another_precision_would_change_is_guarded() -> None:
    """The original would keep its mean in the other precision, which a graph does not."""
    model = seeded(SetsTheSameAttribute(), torch.float32)
    changed, report = forcibly(model, EXAMPLE.float())
    assert report.changed
    with pytest.raises(OtherBranchError, match="must be called as with the example inputs"):
        changed.double()(EXAMPLE)


class Doubles(nn.Module):
    """A child that only resizes."""

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2)


class PadsAndDoubles(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Upsample(scale_factor=2)

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(self.up(x), (1, 1, 1, 1), mode="replicate")


class CastsAndDoubles(nn.Upsample):
    """As in the autoencoder of Wan: resized in float32, whatever the input is in."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float()).type_as(x)


def in_a_row(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers, nn.Conv2d(4, 4, 3, padding=1))


class CallsAChild(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.conv = Doubles(), nn.Conv2d(4, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(torch.tanh(self.up(x))) + self.conv(self.up(x * 2))


@pytest.mark.parametrize(
    ("model", "sites"),
    [
        (in_a_row(Doubles()), ["1"]),
        (in_a_row(nn.ReLU(), nn.Sequential(Doubles(), nn.ReLU())), ["2"]),
        (nn.Sequential(PadsAndDoubles(), nn.Conv2d(4, 4, 3)), ["1"]),
        (nn.Sequential(nn.ModuleList([Doubles()]).append(nn.Identity())[0], nn.Conv2d(4, 4, 1)), ["1"]),
        (CallsAChild(), ["conv", "conv"]),
    ],
)
def test_a_child_that_only_resizes_is_part_of_what_calls_it(model: nn.Module, sites: list[str]) -> None:
    model = seeded(model)
    changed, report = forcibly(model, EXAMPLE)
    assert [record.path for record in report.sites] == sites
    assert all(record.changed for record in report.sites), report
    assert_same_function(changed, model, (EXAMPLE,), (OTHER,))


def test_a_cast_that_changes_nothing_is_no_obstacle() -> None:
    model, x = seeded(in_a_row(CastsAndDoubles(scale_factor=2)), torch.float32), EXAMPLE.float()
    changed, report = forcibly(model, x)
    assert became(report) == {"1": "compact"}
    assert_same_function(changed, model, (x,), (OTHER.float(),), tolerance=1e-5)
    with pytest.raises(OtherBranchError, match=r"torch\.float32; got torch\.float64"):
        changed.double()(EXAMPLE)


def test_a_cast_that_changes_something_stays() -> None:
    model = seeded(in_a_row(CastsAndDoubles(scale_factor=2)))
    changed, report = forcibly(model, EXAMPLE)
    assert list(reasons(report).values()) == ["no convolution to fuse it with"]
    assert_same_function(changed, model, (EXAMPLE,), (OTHER,))


class TwiceTheShape(Net):
    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[2:]
        return self.conv(F.interpolate(x, size=(2 * h, w * 2)))


class TwiceTheShapeOfALayer(Net):
    """After layers that leave the size as it is, with sizes that are computed in several steps."""

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        y = self.act(self.norm(self.other(x))) + x
        y = F.interpolate(y, size=[h * 4 // 2, round(w * 2)])
        return self.conv(y) + y.new_zeros(b, c, 2 * h, 2 * w)


class ThriceEachSize(Net):
    def forward(self, x: Tensor) -> Tensor:
        x = self.up(x)
        return self.conv(F.interpolate(x, size=tuple(3 * n for n in x.size()[2:]), mode="bilinear"))


class DeprecatedName(Net):
    """As in U-2-Net; and rounded by functions under names of their own."""

    def forward(self, x: Tensor) -> Tensor:
        size = ceil(x.shape[2] * 2), floor(x.shape[3] * 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.conv(F.upsample(x, size=size))


class WholeNumbers(Net):
    """Made by `int`, of which the forward also asks what an integer is."""

    def forward(self, x: Tensor, times: int = 2) -> Tensor:
        h, w = x.shape[-2:]
        assert isinstance(h, int)
        assert isinstance(times, int)
        assert int.from_bytes(b"1") == int("49")
        assert {2: "twice"}[int(times)] == "twice"
        return self.conv(F.interpolate(x, size=(int(2 * h), int(w * 2.0))))


class AsksForTheType(Net):
    """Also the integers of the module itself are integers."""

    times = 2

    def forward(self, x: Tensor) -> Tensor:
        x = self.up(x) if type(self.times) is int else self.conv(x)
        return F.interpolate(x, size=(int(self.times * x.shape[2]), 2 * int(x.shape[3])))


class OneSizeForAll(Net):
    def forward(self, x: Tensor) -> Tensor:
        x = x[..., :4, :4]
        return self.conv(F.interpolate(x, size=2 * x.size(2)))


NETS_OF_MULTIPLES = [TwiceTheShape, TwiceTheShapeOfALayer, ThriceEachSize, DeprecatedName, WholeNumbers]


@pytest.mark.parametrize("net", NETS_OF_MULTIPLES)
def test_a_size_that_is_proven_to_be_a_multiple_is_a_factor(net: type[nn.Module]) -> None:
    model = seeded(net())
    changed, report = forcibly(model, EXAMPLE, form("compact"))
    assert all(record.changed for record in report.sites), report
    assert_same_function(changed, model, (EXAMPLE,), (OTHER,), (noise(1, 4, 3, 5),))


class SizeOfAnother(Net):
    """Twice as large in the example; of an odd size it is not."""

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(F.max_pool2d(x, 2), size=x.shape[2:]))


class HalfOfTwice(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, size=(x.shape[2] // 2 * 4, 2 * x.shape[3])))


class OneMore(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x[:, :, 1:], size=(2 * x.shape[2] - 2, 2 * x.shape[3])))


class Swapped(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, size=(2 * x.shape[3], 2 * x.shape[2])))


@pytest.mark.parametrize("net", [SizeOfAnother, HalfOfTwice, OneMore, Swapped, OneSizeForAll])
def test_a_size_that_is_not_proven_to_be_a_multiple_is_kept(net: type[nn.Module]) -> None:
    model, square = seeded(net()), noise(1, 4, 6, 6)
    changed, report = forcibly(model, square)
    assert reasons(report) == {"interpolate": "its size or weight is computed at run time"}
    assert_same_function(changed, model, (square,), (noise(1, 4, 7, 5),))


def test_a_forward_that_asks_for_the_type_of_a_number() -> None:
    model = seeded(AsksForTheType())
    changed, report = forcibly(model, EXAMPLE)
    assert became(report) == {"up": "compact", "interpolate": "kept"}
    assert_same_function(changed, model, (EXAMPLE,))


@pytest.mark.parametrize("free", [False, True])
def test_sizes_in_an_exported_program(free: bool) -> None:
    """With fixed sizes also those that are another tensor's."""
    dims = {2: torch.export.Dim("h", min=4), 3: torch.export.Dim("w", min=4)}
    for net in (TwiceTheShape, ThriceEachSize, TwiceTheShapeOfALayer, SizeOfAnother):
        model = seeded(net())
        program = torch.export.export(model, (EXAMPLE,), dynamic_shapes=({**dims},) if free else None)
        with forced(form("compact")):
            changed, report = rewrite(program)
        assert report.changed == (net is not SizeOfAnother or not free), report
        assert_same_function(changed.module(), model, (EXAMPLE,), *[(OTHER[:1],)] * free)


class BranchesInTwoWays(nn.Module):
    """A block with a row in it, called with a skip and without."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.row = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())

        def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
            return self.row(x) if skip is None else self.row(x + skip) * 2

    def __init__(self) -> None:
        super().__init__()
        self.block = self.Block()

    def forward(self, x: Tensor) -> Tensor:
        return self.block(self.block(x), x.repeat(1, 1, 2, 2))


class HidesFromTheGraph(nn.Module):
    """A row, and a child that only resizes, in a forward that no graph can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.row, self.up = in_a_row(nn.Sequential(Doubles(), nn.ReLU())), Doubles()

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.row(torch.from_numpy(x.numpy() * 2)))


@pytest.mark.parametrize(
    ("net", "sites"),
    [
        (BranchesInTwoWays, {"block.row.1": "compact"}),
        (HidesFromTheGraph, {"row.1": "compact", "up.interpolate": "kept"}),
    ],
)
def test_a_row_is_recorded_where_its_owner_cannot_be(net: type[nn.Module], sites: dict[str, str]) -> None:
    model = seeded(net())
    changed, report = forcibly(model, EXAMPLE)
    assert became(report) == sites
    assert_same_function(changed, model, (EXAMPLE,), (OTHER,))


class FixesSizes(Up):
    def forward(self, x: Tensor) -> Tensor:
        h = len([*range(x.shape[2])])
        for row in range(x.shape[3]):
            x = x + row
        return self.up2(x[:, :, :h]) * int(x.shape[1]) * len(x.shape)


def test_what_a_rewriting_fixes_is_known_by_value_and_line() -> None:
    (scope,) = record(seeded(FixesSizes()), (EXAMPLE,), {})
    rows, columns = scope.fixed_sizes
    assert (rows.value, columns.value) == (6, 4)
    assert rows.line.startswith("test_rewriter_pytorch_recording.py, line ")
    assert rows.line.endswith(": h = len([*range(x.shape[2])])")
    assert columns.line.endswith(": for row in range(x.shape[3]):")
    changed, report = forcibly(seeded(FixesSizes()), EXAMPLE)
    assert "as in the example: 6 in test_rewriter_pytorch_recording.py, line " in report.notes[0]
    assert len(report.notes) == 2
    with pytest.raises(OtherBranchError):
        changed(OTHER)


def test_a_forward_of_free_sizes_fixes_none() -> None:
    scopes = record(seeded(Rounds()), (EXAMPLE,), {})
    assert [scope.fixed_sizes for scope in scopes] == [()]


def test_the_reason_names_the_line_and_what_to_do() -> None:
    _, report = forcibly(seeded(nn.Sequential(AsNumbers(), nn.ReLU())), EXAMPLE)
    ((path, reason),) = reasons(report).items()
    assert path == "0"
    assert "test_rewriter_pytorch_recording.py, line " in reason
    assert ": y = torch.from_numpy(x.numpy())). Move what up-samples into an nn.Sequential" in reason


class AsNumbers(Up):
    def forward(self, x: Tensor) -> Tensor:
        y = torch.from_numpy(x.numpy())
        return self.up2(y)


class Folds(Net):
    def forward(self, x: Tensor) -> Tensor:
        patches = self.other(x).repeat(1, 4, 1, 1).flatten(2)
        return F.fold(patches, (2 * x.shape[2], 2 * x.shape[3]), kernel_size=2, stride=2)


class ShufflesByHand(Net):
    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        x = x.view(b, c // 4, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3)
        return x.reshape(b, c // 4, 2 * h, 2 * w)


class ShufflesTokens(Net):
    """As einops does `b (h w) (p q c) -> b (h p w q) c`, the last step of Swin-Unet."""

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        tokens = x.flatten(2).transpose(1, 2).contiguous() * 1
        cells = tokens.reshape(b, h, w, 2, 2, c // 4).permute(0, 1, 3, 2, 4, 5)
        return cells.reshape(b, 4 * h * w, c // 4)


class ShufflesChannelsLast(Net):
    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1) * 1
        b, h, w, c = x.shape
        return x.reshape(b, h, w, 2, 2, c // 4).permute(0, 1, 3, 2, 4, 5).reshape(b, h * 2, w * 2, c // 4)


class RepeatsByHand(Net):
    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        return x[:, :, :, None, :, None].expand(b, c, h, 2, w, 2).reshape(b, c, 2 * h, 2 * w)


class RepeatsEach(Net):
    def forward(self, x: Tensor) -> Tensor:
        return x.repeat_interleave(2, 2).repeat_interleave(2, dim=-1)


@pytest.mark.parametrize(
    ("net", "was"),
    [
        (Folds, "fold"),
        (ShufflesByHand, "shuffle"),
        (ShufflesTokens, "shuffle"),
        (ShufflesChannelsLast, "shuffle"),
        (RepeatsByHand, "repeat"),
        (RepeatsEach, "repeat"),
    ],
)
@pytest.mark.parametrize("exported", [False, True])
def test_up_sampling_by_moving_pixels_is_in_the_report(
    net: type[nn.Module], was: str, exported: bool
) -> None:
    model: Any = seeded(net())
    given = torch.export.export(model, (EXAMPLE,)) if exported else model
    changed, report = forcibly(given, EXAMPLE)
    assert {(record.was, record.became) for record in report.sites} == {(was, "kept")}, report
    assert exported or {record.path for record in report.sites} == {net.__name__}
    assert_same_function(changed.module() if exported else changed, model, (EXAMPLE,))


class Attends(nn.Module):
    """Heads, windows, patches and channels that are moved, none of which up-samples."""

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        heads = x.flatten(2).transpose(1, 2).reshape(b, h * w, 2, c // 2).permute(0, 2, 1, 3)
        y = heads.repeat_interleave(2, dim=1)[:, ::2].transpose(1, 2).reshape(b, h * w, c).transpose(1, 2)
        y = y.reshape(b, c, h, w) + x.mean((2, 3), keepdim=True).expand(b, c, h, w)
        windows = y.permute(0, 2, 3, 1).reshape(b, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 2, 4, 5) * 1
        y = windows.reshape(-1, 4, c).reshape(b, h // 2, w // 2, 2, 2, c).permute(0, 1, 3, 2, 4, 5)
        y = y.reshape(b, h, w, c).permute(0, 3, 1, 2) * 1
        small = (
            y.reshape(b, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(b, 4 * c, h // 2, w // 2)
        )
        channels = y.reshape(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)
        return channels + small.mean()


def test_other_moves_of_pixels_are_not() -> None:
    _, report = forcibly(seeded(Attends()), EXAMPLE)
    assert report.sites == ()


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_complex_up_samplers_are_kept(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.ConvTranspose2d(4, 4, 4, 2, 1, dtype=dtype)).eval()
    x = torch.complex(EXAMPLE, -EXAMPLE).to(dtype)
    changed, report = forcibly(model, x)
    assert reasons(report) == {"0": "it computes with complex numbers"}
    assert_same_function(changed, model, (x,), tolerance=0)


def test_a_real_up_sampler_in_a_complex_model_is_rewritten() -> None:
    class Filters(Net):
        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.irfft2(torch.fft.rfft2(self.up(x)) * (1 + 2j))

    model = seeded(Filters())
    changed, report = forcibly(model, EXAMPLE)
    assert became(report) == {"up": "compact"}
    assert_same_function(changed, model, (EXAMPLE,), (OTHER,))


@pytest.mark.filterwarnings("ignore:Lazy modules:UserWarning")
def test_a_lazy_module_without_sizes_is_refused() -> None:
    """It would get weights of its own in each copy."""
    model = nn.Sequential(nn.Upsample(scale_factor=2), nn.LazyConv2d(4, 3)).eval()
    with pytest.raises(ValueError, match=r"must have its size; got 1, a lazy module .* Run the model once"):
        rewrite(model, EXAMPLE.float())
    model(EXAMPLE.float())
    changed, report = forcibly(model, EXAMPLE.float())
    assert became(report) == {"1": "compact"}
    assert_same_function(changed, model, (EXAMPLE.float(),), tolerance=1e-5)


@pytest.mark.parametrize("choice", ["compact", "compact, channels last"])
def test_an_input_of_another_rank_is_an_error_in_a_recorded_forward(choice: str) -> None:
    """PyTorch takes the resize's channels for pixels there, and the convolution's batch for channels."""
    model = seeded(TwiceTheShape()), seeded(Up2())
    for net in model:
        changed, report = forcibly(net, EXAMPLE, form(choice))
        assert report.changed
        with pytest.raises((RuntimeError, ValueError), match=r"a rewritten .* must .* got"):
            changed(noise(4, 6, 4))


class Up2(Up):
    def forward(self, x: Tensor) -> Tensor:
        return self.up2(x)


def test_the_compiler_that_pytorch_imports_late_knows_the_real_functions() -> None:
    """It keeps tables of the functions of `math`, from when it is imported, which may be in a recording."""
    code = """if True:
        import math, torch
        from subpixel.rewriter.pytorch.recording import record
        class Up(torch.nn.Module):
            def forward(self, x):
                return torch.nn.functional.interpolate(x, scale_factor=2)
        (scope,) = record(Up().eval(), (torch.zeros(1, 4, 5, 6),), {})
        assert scope.reason is None
        flat = torch.compile(lambda x: x.reshape(math.prod(x.shape)), backend="eager", fullgraph=True)
        assert flat(torch.zeros(2, 3)).shape == (6,)
    """
    subprocess.run([sys.executable, "-c", code], check=True)


def test_threads_rewrite_while_others_run_models() -> None:
    """Each gets an equal model, models that are only run never notice, and nothing stays replaced."""
    plain = builtins.isinstance, nn.Module.__getattr__, nn.Module.__call__, math.sqrt, torch.zeros
    models = [seeded(net()) for net in (SetsTheSameAttribute, TensorOfSizes, Rounds, CallsWithAList)]
    expected = [called(model, (EXAMPLE,)) for model in models]
    done, errors = threading.Event(), []

    def run() -> None:
        while not done.is_set():
            for model, result in zip(models, expected, strict=True):
                with torch.no_grad():
                    found = model(EXAMPLE)
                pairs = zip(found, result, strict=True)
                limits = isinstance(torch.finfo(torch.float16), torch.finfo)
                if not limits or not all(torch.equal(a, b) for a, b in pairs):
                    errors.append(type(model).__name__)

    runners = [threading.Thread(target=run) for _ in range(2)]
    for runner in runners:
        runner.start()
    try:
        with forced(form("compact")), ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda model: rewrite(model, EXAMPLE), models * 2))
    finally:
        done.set()
        for runner in runners:
            runner.join()
    assert errors == []
    assert plain == (builtins.isinstance, nn.Module.__getattr__, nn.Module.__call__, math.sqrt, torch.zeros)
    for model, (changed, report) in zip(models * 2, found, strict=True):
        assert all(record.changed for record in report.sites), report
        assert_same_function(changed, model, (EXAMPLE,), (OTHER,))
