"""Up-samplers in the Python of a forward: found, changed where that is exact, or kept with the reason."""

import warnings
from typing import Any

import pytest
import torch
from pytorch_models import any_form, assert_same_function, became, forcibly, form, noise, reasons, seeded
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from subpixel.rewriter.pytorch.guards import require

FORMS = ["transposed", "compact", "split", "original, channels last"]


class Net(nn.Module):
    """Layers for the forwards below."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.other = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm, self.act = nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        self.up, self.nearest = nn.ConvTranspose2d(4, 4, 4, 2, 1), nn.Upsample(scale_factor=2)
        self.weight, self.bias = nn.Parameter(torch.empty(4, 4, 3, 3)), nn.Parameter(torch.empty(4))
        self.register_buffer("kernel", torch.empty(4, 4, 5, 5))


class FunctionalTransposed(Net):
    def forward(self, x: Tensor) -> Tensor:
        x = F.conv_transpose2d(x, self.weight, self.bias, stride=2, padding=1, output_padding=1)
        return F.conv_transpose2d(x, self.kernel, stride=3).tanh()


class FunctionalTransposedOfAnExpression(Net):
    """The weight is computed, but from parameters alone."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv_transpose2d(x, self.weight.flip(2) * 2, self.bias, 2)


class FunctionalResize(Net):
    def forward(self, x: Tensor) -> Tensor:
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        x = F.leaky_relu(self.norm(x), 0.2)
        x = F.pad(F.dropout(x, 0.5, self.training), (1, 1, 1, 1), mode="reflect")
        return F.conv2d(x, self.weight, self.bias)


class FunctionalMethods(Net):
    """Methods of tensors, and a padding in the order of PyTorch's arguments."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.interpolate(x, scale_factor=(2.0, 3.0)).relu().tanh()
        return torch.conv2d(F.pad(x, [1, 0]), self.weight, None, 1, 1)


class ZerosBetween(Net):
    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        zeros = x.new_zeros(b, c, 2 * h, 2 * w)
        zeros[:, :, ::2, ::2] = x
        return self.conv(zeros)


class BranchOnShape(Net):
    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] != 4:
            raise ValueError("four channels are needed")
        if x.shape[-1] > 2:
            x = self.other(x)
        for _ in range(x.dim() - 3):
            x = self.conv(self.nearest(x))
        return x


class SeveralConsumers(Net):
    """The resize is read by two convolutions and by a sum."""

    def forward(self, x: Tensor) -> Tensor:
        resized = F.interpolate(x, scale_factor=2)
        return self.conv(resized) + self.other(torch.tanh(resized)) * resized


class TwoBranches(Net):
    """Nobody but the two convolutions reads the resize."""

    def forward(self, x: Tensor) -> Any:
        resized = self.nearest(x)
        return self.conv(resized), self.other(self.norm(resized))


class InPlaceBehind(Net):
    """The activation works in place on what a resize or a norm made; the LR tensor is read again."""

    def forward(self, x: Tensor) -> Tensor:
        skip = self.other(x)
        return self.conv(self.act(self.nearest(skip))) + F.interpolate(skip, scale_factor=2)


class InPlaceRead(Net):
    """What the resize made is read before and after it is changed in place."""

    def forward(self, x: Tensor) -> Any:
        resized = self.nearest(x)
        before = resized * 2
        out = self.conv(self.act(resized))
        return out, before, resized * 3


class InPlaceReadFunctional(Net):
    def forward(self, x: Tensor) -> Any:
        resized = F.interpolate(x, scale_factor=2)
        return self.conv(resized.relu_()) + resized.mean()


class InPlaceByAView(Net):
    """A view of the resized tensor is filled before the convolution reads it."""

    def forward(self, x: Tensor) -> Tensor:
        resized = F.interpolate(x, scale_factor=2)
        resized[:, 0].zero_()
        return self.conv(resized)


class InPlaceByAnIndex(Net):
    def forward(self, x: Tensor) -> Tensor:
        resized = F.interpolate(x, scale_factor=2)
        resized[:, 0] = 1
        return self.conv(resized)


class InPlaceByAnOperator(Net):
    def forward(self, x: Tensor) -> Tensor:
        resized = F.interpolate(x, scale_factor=2)
        resized += 1
        return self.conv(resized)


class OneModuleTwice(Net):
    """The same layers, called at two places."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(self.nearest(x))
        return self.up(self.conv(self.nearest(self.up(x))))


class NestedUp(nn.Module):
    """Several calls of one block, whose own forward up-samples."""

    def __init__(self) -> None:
        super().__init__()
        self.block, self.last = FunctionalResize(), nn.ModuleList([BranchOnShape(), FunctionalTransposed()])

    def forward(self, x: Tensor) -> Tensor:
        x = self.block(self.block(x))
        for block in self.last:
            x = block(x)
        return x


class RowInARow(nn.Module):
    """A resize at the end of one row, its convolution at the start of another, in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.ModuleList([
            nn.Sequential(nn.Conv2d(4, 4, 1), nn.Upsample(scale_factor=2)),
            nn.Sequential(nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 3)), nn.ReLU()),
        ])  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        for row in self.rows:
            x = row(x)
        return x


class OptionalArguments(Net):
    def forward(self, x: Tensor, scale: float | None = None, *, skip: Tensor | None = None) -> Tensor:
        if scale is not None:
            x = x * scale
        x = self.conv(self.nearest(x))
        return x if skip is None else x + skip


class ManyArguments(Net):
    def forward(self, x: Tensor, *more: Tensor, **named: Tensor) -> Tensor:
        for each in (*more, *named.values()):
            x = x + each.mean()
        return self.conv(F.interpolate(x, scale_factor=2))


class ManyArgumentsAndOneByName(Net):
    def forward(self, x: Tensor, *more: Tensor, skip: float = 1.0) -> Tensor:
        for each in more:
            x = x + each.mean()
        return self.conv(F.interpolate(x, scale_factor=2)) * skip


FOUND: list[tuple[type[nn.Module], int]] = [
    (FunctionalTransposed, 2),
    (FunctionalTransposedOfAnExpression, 1),
    (FunctionalResize, 1),
    (FunctionalMethods, 1),
    (ZerosBetween, 1),
    (BranchOnShape, 1),
    (SeveralConsumers, 2),
    (TwoBranches, 2),
    (OneModuleTwice, 4),
    (NestedUp, 4),
    (RowInARow, 1),
    (OptionalArguments, 1),
]


@pytest.mark.parametrize(("net", "sites"), FOUND)
def test_every_site_of_a_forward(net: type[nn.Module], sites: int) -> None:
    """To 1e-10 in float64, at the example's size and at another."""
    model = seeded(net())
    examples = (noise(1, 4, 5, 4),), (noise(2, 4, 6, 7),)
    for choice in FORMS:
        changed, report = forcibly(model, examples[0], form(choice))
        assert [record.changed for record in report.sites] == [True] * sites, report
        assert_same_function(changed, model, *examples)


@pytest.mark.parametrize(
    "net",
    [
        InPlaceBehind,
        InPlaceRead,
        InPlaceReadFunctional,
        InPlaceByAView,
        InPlaceByAnIndex,
        InPlaceByAnOperator,
    ],
)
@pytest.mark.parametrize("choice", FORMS)
def test_what_is_changed_in_place_stays_right(net: type[nn.Module], choice: str) -> None:
    """Whether a site is changed or kept; what others read is what it was."""
    model, examples = seeded(net()), ((noise(1, 4, 5, 4),), (noise(2, 4, 6, 7),))
    changed, _ = forcibly(model, (examples[0][0].clone(),), form(choice))
    for (x,) in examples:
        assert_same_function(changed, model, (x.clone(),))


def test_the_input_is_not_changed_in_place() -> None:
    """Where the original copied it with the resize, the activation moves to before it."""
    model, x = (
        seeded(nn.Sequential(nn.Upsample(scale_factor=2), nn.ReLU(True), nn.Conv2d(4, 4, 3))),
        noise(1, 4, 5, 4),
    )
    given = x.clone()
    changed, report = forcibly(model, given)
    changed(given)
    assert report.changed
    assert torch.equal(given, x)


class UnknownToTheGraph(Net):
    """Numbers taken out of tensors by Python that no graph can hold."""

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(torch.from_numpy(x.numpy() * 2), scale_factor=2))


class GivenOutputSize(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.up(x, output_size=[2 * x.shape[2] + 1, 2 * x.shape[3]])


class GivenSize(Net):
    """Twice as large by accident: of another input it is not."""

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, size=(x.shape[2] + 5, 2 * x.shape[3])))


class ComputedWeight(Net):
    """A weight that the input has a say in, as in StyleGAN's modulated convolutions."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv_transpose2d(x, self.weight * x.mean(), stride=2)


class ComputedConvolution(Net):
    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.interpolate(x, scale_factor=2), self.weight * x.mean())


class AlignedCorners(Net):
    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (UnknownToTheGraph, "the forward of UnknownToTheGraph cannot be traced"),
        (GivenOutputSize, "its output_size is given at run time"),
        (GivenSize, "its size or weight is computed at run time"),
        (ComputedWeight, "its size or weight is computed at run time"),
        (ComputedConvolution, "no convolution to fuse it with"),
        (AlignedCorners, "with aligned corners no two pixels have the same kernel"),
    ],
)
def test_kept_with_the_reason(net: type[nn.Module], reason: str) -> None:
    model = seeded(net())
    changed, report = forcibly(model, noise(1, 4, 5, 4))
    (found,) = reasons(report).values()
    assert found.startswith(reason)
    assert_same_function(changed, model, (noise(1, 4, 5, 4),), (noise(1, 4, 6, 7),))


def test_one_forward_that_cannot_be_traced_leaves_the_others() -> None:
    model = seeded(nn.Sequential(UnknownToTheGraph(), FunctionalResize()))
    changed, report = forcibly(model, noise(1, 4, 5, 4))
    assert list(became(report).values()) == ["kept", "compact"]
    assert_same_function(changed, model, (noise(1, 4, 5, 4),), (noise(1, 4, 6, 7),))


GUARD = r"a rewritten {} must be called as with the example inputs, where .* branches on was {}; got {}\."


def test_another_branch_of_python_is_an_error() -> None:
    """Not a wrong result."""
    changed, report = forcibly(seeded(BranchOnShape()), noise(1, 4, 5, 4))
    assert report.changed
    with pytest.raises(RuntimeError, match=GUARD.format("BranchOnShape", "True", "False")):
        changed(noise(1, 4, 5, 2))
    with pytest.raises(RuntimeError, match=GUARD.format("BranchOnShape", "False", "True")):
        changed(noise(1, 3, 5, 4))


def test_a_branch_is_traced() -> None:
    """`torch.jit.trace` gives tensors for sizes, which a guard compares as numbers."""
    changed, _ = forcibly(seeded(BranchOnShape()), noise(1, 4, 5, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns of each branch, as in the original
        traced = torch.jit.trace(changed, (noise(1, 4, 5, 4),))
    assert_same_function(traced, changed, (noise(1, 4, 6, 4),), tolerance=0)


class SometimesUp(Net):
    """In the other branch the convolution reads what the resize did not make."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] < 8:
            x = self.nearest(x)
        return self.conv(x)


@pytest.mark.parametrize("choice", FORMS)
def test_a_module_that_another_branch_calls_otherwise(choice: str) -> None:
    model = seeded(SometimesUp())
    changed, report = forcibly(model, noise(1, 4, 5, 4), form(choice))
    assert report.changed
    assert_same_function(changed, model, (noise(1, 4, 3, 7),))
    with pytest.raises(RuntimeError, match=GUARD.format("SometimesUp", "True", "False")):
        changed(noise(1, 4, 5, 8))


def test_other_arguments_are_an_error() -> None:
    """An argument that was None, and how many there were."""
    model, x = seeded(OptionalArguments()), noise(1, 4, 5, 4)
    changed, _ = forcibly(model, x)
    with pytest.raises(RuntimeError, match=GUARD.format("OptionalArguments", "None", r"2\.0")):
        changed(x, 2.0)
    with pytest.raises(RuntimeError, match=GUARD.format("OptionalArguments", "None", "Tensor")):
        changed(x, skip=x)
    with pytest.raises(RuntimeError, match=GUARD.format("Net", r"2\.0", "Tensor")):
        require(torch.tensor([2.0, 2.0]), 2.0, "Net")


@pytest.mark.parametrize(
    "example",
    [
        (noise(1, 4, 5, 4), 2.0),
        {"x": noise(1, 4, 5, 4), "skip": noise(1, 4, 10, 8)},
        {"skip": noise(1, 4, 10, 8), "scale": 0.5, "x": noise(1, 4, 5, 4)},
    ],
)
def test_arguments_of_all_kinds(example: Any) -> None:
    model = seeded(OptionalArguments())
    changed, report = forcibly(model, example)
    assert report.changed
    assert_same_function(changed, model, example)


@pytest.mark.parametrize("example", [(noise(1, 4, 5, 4),), (noise(1, 4, 5, 4), noise(1, 4), noise(3))])
def test_as_many_arguments_as_in_the_example(example: Any) -> None:
    model = seeded(ManyArguments())
    changed, report = forcibly(model, example)
    assert report.changed
    assert_same_function(changed, model, example)


def test_arguments_that_a_graph_does_not_take() -> None:
    model, example = seeded(ManyArgumentsAndOneByName()), (noise(1, 4, 5, 4), noise(1, 4))
    changed, report = forcibly(model, example)
    (reason,) = reasons(report).values()
    assert "TypeError: a graph takes no arguments by name alone after *args. Move what" in reason
    assert_same_function(changed, model, example)


class ByName(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.up(input=x)


@pytest.mark.parametrize("choice", FORMS)
def test_a_layer_that_is_called_by_name(choice: str) -> None:
    model = seeded(ByName())
    changed, report = forcibly(model, noise(1, 4, 5, 4), form(choice))
    assert report.changed
    assert_same_function(changed, model, (noise(1, 4, 5, 4),), (noise(2, 4, 3, 5),))


def test_random_forms_a_site() -> None:
    model = seeded(NestedUp())
    for seed in range(5):
        changed, report = forcibly(model, noise(1, 4, 2, 2), any_form(seed))
        assert report.changed
        assert_same_function(changed, model, (noise(1, 4, 2, 2),), (noise(1, 4, 1, 3),))
