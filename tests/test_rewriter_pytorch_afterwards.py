"""What a user does with a rewritten model afterwards: saves it, copies it, loads weights, calls it."""

import copy
import io
import pickle
import re
import subprocess
import sys
import warnings
from typing import Any

import pytest
import torch
from pytorch_models import assert_equal, assert_same_function, called, forcibly, form, noise, seeded
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)
from torch.nn.utils import parametrizations

from subpixel.rewriter.layers import ZeroInsertion
from subpixel.rewriter.pytorch.comparison import differences
from subpixel.rewriter.pytorch.installed import ZeroInsert

EXAMPLE, OTHER = noise(1, 4, 5, 4), noise(2, 4, 6, 7)
SMALL, OTHER_SMALL = noise(1, 4, 2, 1), noise(2, 4, 1, 2)  # for what makes 256 times as long axes
FORMS = ["transposed", "aligned", "compact", "split", "products", "compact, channels last"]
FORMS += ["original, channels last"]


class OfModules(nn.Module):
    """Layers whose places are taken by others."""

    def __init__(self) -> None:
        super().__init__()
        self.row = nn.Sequential(
            nn.Upsample(scale_factor=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1)
        )
        self.up = nn.ConvTranspose2d(4, 4, 3, 2, 1, 1)
        self.smooth = nn.Upsample(scale_factor=2, mode="bilinear")
        self.wide, self.shuffle = nn.Conv2d(4, 16, 1, bias=False), nn.PixelShuffle(2)
        self.few = nn.Conv2d(4, 4, 5, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.few(self.shuffle(self.wide(self.smooth(self.up(self.row(x))))))


class OfFunctions(nn.Module):
    """A forward that is replaced as a whole; one of its layers is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.up = nn.Conv2d(4, 4, 3, padding=1), nn.ConvTranspose2d(4, 4, 4, 2, 1)
        self.weight, self.bias = nn.Parameter(torch.empty(4, 4, 2, 2)), nn.Parameter(torch.empty(4))
        self.register_buffer("kernel", torch.empty(4, 4, 3, 3), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(F.interpolate(x, scale_factor=2)) + self.up(self.conv(x))
        return F.conv_transpose2d(
            F.conv_transpose2d(self.up(x), self.weight, self.bias, 2), self.kernel, None, 2
        )


class Around(nn.Module):
    """Both, below other modules."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([OfModules(), OfFunctions()])
        self.last = nn.Sequential(nn.ConvTranspose2d(4, 2, 2, 2))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.last(x)


def made(net: Any, seed: int = 0) -> nn.Module:
    """A model of random weights; its constants, which no state_dict holds, are the same for every seed."""
    model = seeded(net(), seed=seed)
    for name, buffer in model.named_buffers():
        if name.endswith("kernel"):
            buffer.copy_(torch.linspace(0, 1, buffer.numel()).view_as(buffer))
    return model


def saved_and_loaded(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    loaded: nn.Module = torch.load(file, weights_only=False)
    return loaded


COPIES = {
    "torch.save": saved_and_loaded,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "deepcopy": copy.deepcopy,
    "twice": lambda model: saved_and_loaded(copy.deepcopy(saved_and_loaded(model))),
}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("net", [OfModules, OfFunctions])
@pytest.mark.parametrize("choice", ["compact", "original, channels last"])
def test_it_is_saved_and_copied_whole(net: Any, choice: str, copied: Any) -> None:
    """Its class, its state and what it gives."""
    changed, report = forcibly(made(net), EXAMPLE, form(choice))
    assert all(record.changed for record in report.sites)
    twin = copied(changed)
    assert isinstance(twin, net)
    assert repr(twin) == repr(changed)
    assert_same_function(twin, changed, (EXAMPLE,), (OTHER,), tolerance=0)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert called(changed, (EXAMPLE,)).abs().max() > 0


def test_a_model_that_was_rewritten_twice_is_saved() -> None:
    model = made(OfFunctions)
    changed, _ = forcibly(forcibly(model, EXAMPLE, form("transposed"))[0], EXAMPLE, form("compact"))
    assert_same_function(saved_and_loaded(changed), model, (EXAMPLE,), (OTHER,))


@pytest.mark.parametrize("choice", ["transposed", "compact", "split", "products", "original, channels last"])
def test_weights_of_the_original_are_mapped(choice: str) -> None:
    """Whoever loads a checkpoint of the original has its function, in the forms that were chosen."""
    changed, report = forcibly(made(Around), SMALL, form(choice))
    assert all(record.changed for record in report.sites)
    for strict in (True, False):
        other = made(Around, 1 + strict)
        before = {**other.state_dict()}
        found = changed.load_state_dict(before, strict=strict)
        assert not found.missing_keys
        assert not found.unexpected_keys
        assert before.keys() == other.state_dict().keys()
        assert_same_function(changed, other, (SMALL,), (OTHER_SMALL,))
    own = made(Around, 3).state_dict()
    part = {name.removeprefix("blocks.1."): value for name, value in own.items() if "blocks.1." in name}
    for model in (changed, other):  # a part, by itself
        model.blocks[1].load_state_dict(part)
    assert_same_function(changed, other, (SMALL,), (OTHER_SMALL,))


def test_its_own_weights_are_loaded_as_they_are() -> None:
    changed, other = (forcibly(made(Around, seed), SMALL)[0] for seed in (0, 1))
    changed.load_state_dict(other.state_dict())
    assert_same_function(changed, other, (SMALL,), (OTHER_SMALL,), tolerance=0)


def test_weights_of_other_parts_change_nothing() -> None:
    model = made(Around)
    changed, _ = forcibly(model, SMALL)
    part = {name: value for name, value in made(Around, 1).state_dict().items() if "row.1" in name}
    found = changed.load_state_dict(part, strict=False)
    assert found.missing_keys
    assert not found.unexpected_keys
    model.load_state_dict(part, strict=False)
    assert_same_function(changed, model, (SMALL,), (OTHER_SMALL,))


def shuffled(bias: Tensor) -> nn.Module:
    model = seeded(nn.Sequential(nn.Conv2d(4, 16, 1), nn.PixelShuffle(2)))
    model[0].bias.data = bias
    return model


def normed() -> nn.Module:
    return seeded(nn.Sequential(parametrizations.weight_norm(nn.ConvTranspose2d(4, 4, 2, 2))))


def wide() -> nn.Module:
    return seeded(nn.Sequential(nn.ConvTranspose2d(4, 8, 2, 2)))


def narrow() -> nn.Module:
    return seeded(nn.Sequential(nn.ConvTranspose2d(4, 4, 2, 2)))


@pytest.mark.parametrize(
    ("model", "state", "reason"),
    [
        (normed(), normed().state_dict(), "they were computed from others"),
        (narrow(), wide().state_dict(), r"the weight must have the shape (4, 4, 2, 2); got (4, 8, 2, 2)"),
        (narrow(), {"0.weight": narrow()[0].weight}, "['bias'] are missing"),
        (
            shuffled(torch.ones(16).double()),
            shuffled(noise(16)).state_dict(),
            "with these weights the bias differs from phase to phase",
        ),
    ],
)
def test_weights_that_cannot_be_mapped_are_an_error(model: nn.Module, state: Any, reason: str) -> None:
    """Also where the caller is content with missing keys, and would not learn of old up-samplers."""
    changed, report = forcibly(model, EXAMPLE, form("transposed"))
    assert report.changed
    with pytest.raises(RuntimeError, match=rf"0 was rewritten, .*{re.escape(reason)}.*rewrite that"):
        changed.load_state_dict(state, strict=False)


def resize_conv() -> nn.Module:
    return nn.Sequential(nn.Upsample(scale_factor=2), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))


class FunctionalResizeConv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2))


@pytest.mark.parametrize("net", [resize_conv, FunctionalResizeConv])
@pytest.mark.parametrize("choice", FORMS)
def test_an_input_of_other_dimensions_is_no_wrong_result(net: Any, choice: str) -> None:
    """Without a batch the original resizes one axis; the rewritten one has no code for that."""
    model = seeded(net())
    changed, report = forcibly(model, EXAMPLE, form(choice))
    assert report.changed
    assert model(EXAMPLE[0]).shape == (4, 5, 8)
    with pytest.raises(ValueError, match=r"must get an input of 4 dimensions, .*; got one of .*\[4, 5, 4\]"):
        changed(EXAMPLE[0])


def layers() -> nn.Module:
    return nn.Sequential(
        nn.ReflectionPad2d(1), nn.ConvTranspose2d(4, 4, 3, 2, 1, 1), nn.Conv2d(4, 16, 1), nn.PixelShuffle(2),
        nn.ConvTranspose2d(4, 4, 5, 3), nn.Conv2d(4, 2, 5, 2, 2),
    )  # fmt: skip


@pytest.mark.parametrize("choice", FORMS)
def test_without_a_batch_as_the_original(choice: str) -> None:
    """Where all layers of the original take an input without a batch, and mean one without."""
    model = seeded(layers())
    with torch.no_grad():
        model[2].bias.fill_(0.5)  # the same for every phase
    changed, report = forcibly(model, EXAMPLE, form(choice))
    assert len([record for record in report.sites if record.changed]) == 4
    assert_same_function(changed, model, (EXAMPLE,), (EXAMPLE[0],), (EXAMPLE[:0],), (OTHER,))


@pytest.mark.parametrize("choice", ["transposed", "compact", "original, channels last"])
@pytest.mark.parametrize("dims", [3, 4])
def test_guards_are_exported_and_compiled_away(choice: str, dims: int) -> None:
    model, x = seeded(layers()[1:2]), EXAMPLE[0] if dims == 3 else EXAMPLE
    changed, report = forcibly(model, EXAMPLE, form(choice))
    assert report.changed
    assert_equal(torch.export.export(changed, (x,)).module()(x), model(x))
    assert_equal(torch.compile(changed, backend="eager", fullgraph=True)(x), model(x))


@pytest.mark.parametrize("choice", [*FORMS, "unshuffled"])
@pytest.mark.parametrize("net", [OfModules, OfFunctions])
def test_every_form_is_recorded_by_torch_fx(net: Any, choice: str) -> None:
    """At symbolic sizes, which are those of any input."""
    changed, report = forcibly(made(net), EXAMPLE, form(choice))
    assert all(record.changed for record in report.sites)
    assert_same_function(torch.fx.symbolic_trace(changed), changed, (EXAMPLE,), (OTHER,), tolerance=0)


def test_an_insertion_of_zeros_is_recorded_by_torch_fx() -> None:
    insert = ZeroInsert(ZeroInsertion((2, 3), (1, 0)))
    assert_same_function(torch.fx.symbolic_trace(insert), insert, (EXAMPLE,), (OTHER,), tolerance=0)


@pytest.mark.parametrize("choice", ["transposed", "original, channels last"])
def test_what_could_be_scripted_can_be(choice: str) -> None:
    """A form of PyTorch's own layers."""
    model = seeded(resize_conv())
    changed, report = forcibly(model, EXAMPLE, form(choice))
    assert report.changed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.script(changed)
    assert_same_function(scripted, model, (EXAMPLE,), (OTHER,))
    with pytest.raises(torch.jit.Error, match="must get an input of 4 dimensions"):
        scripted(EXAMPLE[0])


class Counts(nn.Module):
    """Sets a buffer anew and remembers a grid, at every call."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.grid = nn.ConvTranspose2d(4, 4, 4, 2, 1), None
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls = self.calls + 1
        self.grid = torch.ones_like(x)
        return self.up(x) * self.calls


def test_what_runs_change_does_not_reach_the_result() -> None:
    """Neither the values nor tensors of inference mode, which could not be trained."""
    model = seeded(Counts())
    changed, report = forcibly(model, EXAMPLE)
    assert report.changed
    assert changed.grid is None
    assert model.grid is None
    assert changed.calls == model.calls
    assert not changed.calls.is_inference()
    for _ in range(2):
        assert_same_function(changed, model, (EXAMPLE,))


class Masked(nn.Module):
    """Writes to its weight, as PixelCNN does."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(4, 4, 4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        self.up.weight.data[:, :, 0] = 0
        return F.interpolate(self.up(x), scale_factor=2, mode="bilinear")


def test_a_forward_that_writes_to_its_weights_leaves_the_original_alone() -> None:
    model = seeded(Masked())
    before = copy.deepcopy(model.state_dict())
    changed, _ = forcibly(model, EXAMPLE)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert_same_function(changed, model, (EXAMPLE,), (OTHER,))


class Casts(nn.Module):
    """Gives one result in half precision, beside one in the model's own."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(4, 4, 4, 2, 1)

    def forward(self, x: Tensor) -> Any:
        return self.up(x).half(), self.up(x) * 2


def test_an_output_of_coarser_precision_has_its_own_bound() -> None:
    """And the other output the bound that it had."""
    model, x = seeded(Casts(), torch.float32), EXAMPLE.float()
    _, report = forcibly(model, x)
    assert report.changed
    expected = model(x)
    wrong = expected[0], expected[1] * (1 + 1e-3)
    half = expected[0] * (1 + 1e-3), expected[1]
    for found, allowed in ((wrong, False), (half, True)):
        pairs = list(differences(found, expected))
        assert (max(error / max(bound, 1e-4) for error, bound in pairs) < 1) == allowed
        assert max(error for error, _ in pairs) > 1e-4


MEMORY = """
import resource
from unittest.mock import patch

import torch
from torch import nn

from subpixel.rewriter import decide, rewrite


def race(runs, *_args, **_options):
    names = list(runs)
    return {name: [2.0 if name == names[0] else 1.0] * 9 for name in names}


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


body = [nn.Conv2d(1024, 1024, 3, padding=1) for _ in range(4)]
model, x = nn.Sequential(*body, nn.ConvTranspose2d(1024, 8, 4, 2, 1)).eval(), torch.zeros(1, 1024, 4, 4)
small = nn.Sequential(nn.ConvTranspose2d(8, 8, 4, 2, 1)).eval()
with patch.object(decide, "race", race):
    rewrite(small, x[:, :8])  # loads what is loaded once
    with torch.no_grad():
        model(x)
    before = peak()
    report = rewrite(model, x)[1]
assert report.changed
assert report.error[0] is not None
print((peak() - before) / sum(p.numel() * p.element_size() for p in model.parameters()))
"""


def test_memory_of_a_rewrite() -> None:
    """The weights in float64 are twice those of the model, the rest is small: seven times were held once."""
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 3.5
