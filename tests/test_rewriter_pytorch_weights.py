"""Weights that are shared, computed or hooked; layers that are other people's."""

import warnings
from typing import Any

import pytest
import torch
from pytorch_models import assert_same_function, became, called, forcibly, form, noise, reasons, seeded
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.nn.utils import weight_norm as old_weight_norm

EXAMPLES = (noise(1, 4, 5, 4),), (noise(2, 4, 6, 7),)
FORMS = ["transposed", "compact", "split", "original, channels last"]


def up() -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(4, 4, 4, 2, 1)


def resize_conv(wrapped: Any = lambda conv: conv) -> nn.Sequential:
    return nn.Sequential(nn.Upsample(scale_factor=2), nn.ReLU(), wrapped(nn.Conv2d(4, 4, 3, padding=1)))


def old(layer: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return old_weight_norm(layer)


class Doubled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight.tanh()


def parametrized(layer: nn.Module) -> nn.Module:
    parametrize.register_parametrization(layer, "bias", Doubled())
    return parametrize.register_parametrization(layer, "weight", Doubled())


COMPUTED = {"old weight_norm": old, "weight_norm": parametrizations.weight_norm, "parametrized": parametrized}


@pytest.mark.parametrize("computed", COMPUTED)
@pytest.mark.parametrize("choice", FORMS)
def test_computed_weights(computed: str, choice: str) -> None:
    """Are fixed as they are, and the model keeps its own."""
    model = nn.Sequential(
        COMPUTED[computed](up()), resize_conv(COMPUTED[computed]), COMPUTED[computed](nn.Conv2d(4, 4, 1))
    )
    model = seeded(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    changed, report = forcibly(model, EXAMPLES[0], form(choice))
    assert len(report.sites) == 2
    assert all(record.changed for record in report.sites)
    assert_same_function(changed, model, *EXAMPLES)
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("choice", FORMS)
def test_computed_weights_in_single_precision(choice: str) -> None:
    """The proof in float64 is made with the weights of the model in float64."""
    model = seeded(nn.Sequential(*(wrap(up()) for wrap in COMPUTED.values())), torch.float32)
    examples = [(x.float(),) for (x,) in EXAMPLES]
    changed, report = forcibly(model, examples[0], form(choice))
    assert len(report.sites) == 3
    assert report.error[0] is not None
    assert_same_function(changed, model, *examples, tolerance=1e-5)


def test_parts_that_are_left_alone_stay_loadable() -> None:
    """By the names that they had; a changed layer has other weights."""
    model = seeded(
        nn.Sequential(
            nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), up(), parametrizations.weight_norm(nn.Conv2d(4, 4, 1))
        )
    )
    changed, _ = forcibly(model, EXAMPLES[0])
    left = {name: value for name, value in model.state_dict().items() if not name.startswith("2.")}
    other = {name: value + 0.25 for name, value in left.items()}
    missing, unexpected = changed.load_state_dict(other, strict=False)
    assert not unexpected
    assert all(name.startswith("2.") for name in missing)
    model.load_state_dict(other, strict=False)
    assert_same_function(changed, model, *EXAMPLES)


class Shared(nn.Module):
    """One convolution after each of two resizes, and a transposed convolution called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.up = nn.Conv2d(4, 4, 3, padding=1), up()
        self.two, self.three = nn.Upsample(scale_factor=2), nn.Upsample(scale_factor=3)

    def forward(self, x: Tensor) -> Any:
        first = self.up(self.conv(self.two(x)))
        return first, self.conv(self.three(self.up(x))), self.conv(x)


class Tied(nn.Module):
    """Layers under two names, and layers that share parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.up = nn.Conv2d(4, 4, 3, padding=1), up()
        self.row = nn.Sequential(nn.Upsample(scale_factor=2), self.conv)
        self.other = nn.Conv2d(4, 4, 3, padding=2, dilation=2)
        self.other.weight = self.conv.weight
        self.last = nn.Sequential(nn.Upsample(scale_factor=2), self.other, self.up)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.up(self.row(self.conv(x))))


@pytest.mark.parametrize("net", [Shared, Tied])
@pytest.mark.parametrize("choice", FORMS)
def test_shared_weights(net: type[nn.Module], choice: str) -> None:
    """Each call is a site of its own; what else calls a layer has it as it was."""
    model = seeded(net())
    changed, report = forcibly(model, EXAMPLES[0], form(choice))
    assert len(report.sites) == 4
    assert all(record.changed for record in report.sites)
    assert_same_function(changed, model, *EXAMPLES)


def observed(layer: nn.Module, seen: list[Any]) -> nn.Module:
    layer.register_forward_hook(lambda _module, _args, output: seen.append(output.shape))
    return layer


def doubling(layer: nn.Module) -> nn.Module:
    layer.register_forward_hook(lambda _module, _args, output: 2 * output)
    return layer


def halving_before(layer: nn.Module) -> nn.Module:
    layer.register_forward_pre_hook(lambda _module, args: (args[0] / 2,))
    return layer


def pruned(layer: nn.Module) -> nn.Module:
    return prune.l1_unstructured(layer, "weight", 0.5)


@pytest.mark.parametrize("hooked", [doubling, halving_before, pruned])
def test_hooks(hooked: Any) -> None:
    """A layer with hooks is kept, for they would not be called."""
    model = seeded(nn.Sequential(hooked(up()), resize_conv(hooked), up()))
    changed, report = forcibly(model, EXAMPLES[0])
    assert reasons(report) == {"0": "it has hooks", "1.0": "no convolution to fuse it with"}
    assert became(report)["2"] == "compact"
    assert_same_function(changed, model, *EXAMPLES)


def test_hooks_of_a_row_and_of_the_model_are_called() -> None:
    """As often as before, and with what they got before."""
    seen: list[Any] = []
    model = seeded(observed(nn.Sequential(up(), observed(resize_conv(), seen)), seen))
    changed, report = forcibly(model, EXAMPLES[0])
    seen.clear()
    called(changed, EXAMPLES[0])
    found = seen.copy()
    seen.clear()
    called(model, EXAMPLES[0])
    assert found == seen != []
    assert became(report)["0"] == "compact"
    assert_same_function(changed, model, *EXAMPLES)


class PlainSubclass(nn.ConvTranspose2d):
    """Adds nothing to the forward."""


class PlainConv(nn.Conv2d):
    """Adds nothing to the forward."""


class PlainUpsample(nn.Upsample):
    """Adds nothing to the forward."""


class Scaled(nn.ConvTranspose2d):
    """A forward of its own around that of PyTorch."""

    def forward(self, x: Tensor, output_size: Any = None) -> Tensor:  # type: ignore[override]  # noqa: ARG002
        return super().forward(x) * 2


class Own(nn.ConvTranspose2d):
    def forward(self, x: Tensor, output_size: Any = None) -> Tensor:  # type: ignore[override]  # noqa: ARG002
        return nn.functional.conv_transpose2d(x, self.weight / 2, self.bias, self.stride)


class Untraceable(nn.ConvTranspose2d):
    def forward(self, x: Tensor, output_size: Any = None) -> Tensor:  # type: ignore[override]  # noqa: ARG002
        return super().forward(torch.from_numpy(x.numpy()))


class OwnConv(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) ** 2


class Beside(nn.Module):
    """A subclass among functional code of the parent."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.conv = layer, nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(nn.functional.interpolate(self.layer(x), scale_factor=2))


@pytest.mark.parametrize("layer", [PlainSubclass, Scaled, Own])
@pytest.mark.parametrize("choice", FORMS)
@pytest.mark.parametrize("around", [nn.Sequential, Beside, lambda layer: layer])
def test_subclasses(layer: type[nn.ConvTranspose2d], choice: str, around: Any) -> None:
    """What they compute is found in their own forward, or is PyTorch's."""
    model = seeded(around(layer(4, 4, 4, 2, 1)))
    changed, report = forcibly(model, EXAMPLES[0], form(choice))
    assert [record.was for record in report.sites].count("transposed convolution") == 1
    assert all(record.changed for record in report.sites)
    assert_same_function(changed, model, *EXAMPLES)


@pytest.mark.parametrize("choice", FORMS)
def test_plain_subclasses_of_what_makes_a_site_together(choice: str) -> None:
    model = seeded(
        nn.Sequential(
            PlainUpsample(scale_factor=2), nn.ReLU(), PlainConv(4, 4, 3, padding=1), PlainSubclass(4, 4, 2, 2)
        )
    )
    changed, report = forcibly(model, EXAMPLES[0], form(choice))
    assert all(record.changed for record in report.sites)
    assert len(report.sites) == 2
    assert_same_function(changed, model, *EXAMPLES)


def test_subclasses_that_are_kept() -> None:
    model = seeded(
        nn.Sequential(Untraceable(4, 4, 4, 2, 1), nn.Upsample(scale_factor=2), OwnConv(4, 4, 3), up())
    )
    changed, report = forcibly(model, EXAMPLES[0])
    assert [record.became for record in report.sites].count("kept") == 2
    found = reasons(report)
    assert found["1"] == "no convolution to fuse it with"
    assert found["0"].startswith("the forward of Untraceable cannot be traced")
    assert_same_function(changed, model, *EXAMPLES)


class ReadsWeights(nn.Module):
    """Looks at the weights of a layer that it calls, and at those of a layer that another one calls."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.up, self.conv = Calls(resize_conv()), up(), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.inner(x.to(self.inner.row[2].weight.dtype)) * self.inner.row[2].bias.mean()
        x = nn.functional.interpolate(self.up(x.to(self.up.weight.dtype)), scale_factor=2)
        return self.conv(x) + self.conv.weight.mean()


class ReadsWeightsOfALayerAlone(nn.Module):
    """No forward is searched here, for no resize is in it."""

    def __init__(self) -> None:
        super().__init__()
        self.up = up()

    def forward(self, x: Tensor) -> Tensor:
        return self.up(x.to(self.up.weight.dtype))[..., self.up.stride[0] :] + self.up.weight.mean()


class Calls(nn.Module):
    def __init__(self, row: nn.Module) -> None:
        super().__init__()
        self.row = row

    def forward(self, x: Tensor) -> Tensor:
        return self.row(x)


class CallsInside(nn.Module):
    """Calls a layer of another module by itself too."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Calls(resize_conv())

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(self.inner.row[2](x))


@pytest.mark.parametrize("net", [ReadsWeights, ReadsWeightsOfALayerAlone, CallsInside])
@pytest.mark.parametrize("choice", FORMS)
def test_layers_that_others_use_in_other_ways(net: type[nn.Module], choice: str) -> None:
    """They find what they found before."""
    model = seeded(net())
    changed, report = forcibly(model, EXAMPLES[0], form(choice))
    assert all(record.changed for record in report.sites)
    assert report.changed
    assert_same_function(changed, model, *EXAMPLES)


class Unregistered(nn.Module):
    """A layer in a list that PyTorch does not look into, or made for the call."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = [seeded(nn.Conv2d(4, 4, 3, padding=1))]

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.interpolate(nn.ReLU()(x), scale_factor=2)
        return self.layers[0](x.to(self.layers[0].weight.dtype))


def test_layers_that_the_model_does_not_know() -> None:
    model = seeded(nn.Sequential(Unregistered(), up()))
    changed, report = forcibly(model, EXAMPLES[0])
    assert became(report) == {"0": "kept", "1": "compact"}
    assert reasons(report)["0"].startswith("the forward of Unregistered cannot be traced")
    assert_same_function(changed, model, *EXAMPLES)


def test_a_layer_whose_instance_has_another_forward_is_kept() -> None:
    model = seeded(nn.Sequential(up()))
    plain = model[0].forward
    model[0].forward = lambda x: 2 * plain(x)
    changed, report = forcibly(model, EXAMPLES[0])
    assert not report.changed
    assert_same_function(changed, model, *EXAMPLES)
