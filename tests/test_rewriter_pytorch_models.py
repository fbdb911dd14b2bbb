"""What a rewritten model is: an equal module, and the original left alone."""

import copy
import itertools
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from pytorch_models import (
    any_form,
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
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from subpixel.measure import race
from subpixel.rewriter import rewrite
from subpixel.rewriter.decide import EXACT
from subpixel.rewriter.pytorch.comparison import difference
from subpixel.rewriter.pytorch.precision import BOUNDS
from subpixel.rewriter.pytorch.target import ModuleTarget
from subpixel.rewriter.rules import nearest, transposed

EXAMPLE, OTHER = noise(1, 4, 5, 4), noise(2, 4, 6, 7)
FORMS = ["transposed", "aligned", "compact", "split", "compact, channels last", "original, channels last"]


class Decoder(nn.Module):
    """A little of all: rows, functional code, a skip, a shuffle."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 4, 3, padding=1)
        self.row = nn.Sequential(
            nn.Upsample(scale_factor=2), nn.BatchNorm2d(4), nn.ReLU(True), nn.Conv2d(4, 4, 3, padding=1)
        )
        self.up = nn.ConvTranspose2d(4, 4, 3, 2, 1, 1)
        self.wide, self.shuffle = nn.Conv2d(4, 16, 1, bias=False), nn.PixelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        skip = F.interpolate(x, scale_factor=4, mode="bilinear", align_corners=False)
        return self.shuffle(self.wide(self.up(self.row(x)) + skip))


NAMES = {"row.3", "up", "wide", "interpolate"}


@pytest.mark.parametrize("choice", FORMS)
def test_the_original_is_left_alone(choice: str) -> None:
    """Its parameters, its modules, its classes and what it gives."""
    model = seeded(Decoder())
    expected, twin = called(model, (EXAMPLE,)), copy.deepcopy(model)
    classes = [type(module) for module in model.modules()]
    changed, report = forcibly(model, EXAMPLE, form(choice))
    assert {*became(report)} == NAMES
    assert all(record.changed for record in report.sites)
    assert_equal(called(model, (EXAMPLE,)), expected, 0)
    assert [type(module) for module in model.modules()] == classes
    assert repr(model) == repr(twin)
    for (name, before), (other, after) in zip(
        twin.state_dict().items(), model.state_dict().items(), strict=True
    ):
        assert name == other
        assert torch.equal(before, after)
    with torch.no_grad():
        for parameter in changed.parameters():
            parameter.zero_()
    assert_equal(called(model, (EXAMPLE,)), expected, 0)


@pytest.mark.parametrize("choice", FORMS)
def test_copies_and_exports_of_a_rewritten_model(choice: str) -> None:
    model = seeded(Decoder())
    changed, _ = forcibly(model, EXAMPLE, form(choice))
    assert isinstance(changed, Decoder)
    assert not changed.training
    assert_same_function(copy.deepcopy(changed), model, (EXAMPLE,), (OTHER,))
    exported = torch.export.export(changed, (EXAMPLE,))
    assert_same_function(exported.module(), model, (EXAMPLE,))


def test_a_rewritten_model_is_rewritten_again() -> None:
    model = seeded(Decoder())
    changed, _ = forcibly(model, EXAMPLE, form("compact"))
    again, _ = forcibly(changed, EXAMPLE, form("transposed"))
    assert_same_function(again, model, (EXAMPLE,), (OTHER,))


def test_state_dicts_move_between_equal_rewrites() -> None:
    changed, _ = forcibly(seeded(Decoder()), EXAMPLE)
    other, _ = forcibly(seeded(Decoder(), seed=1), EXAMPLE)
    other.load_state_dict(changed.state_dict())
    assert_same_function(other, changed, (EXAMPLE,), (OTHER,), tolerance=0)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float16, 1e-2), (torch.bfloat16, 5e-2)]
)
@pytest.mark.parametrize("choice", FORMS)
def test_other_precisions(dtype: torch.dtype, tolerance: float, choice: str) -> None:
    """The proof in float64 holds; in its own precision the model differs by rounding."""
    model = seeded(Decoder(), dtype)
    changed, report = forcibly(model, EXAMPLE.to(dtype), form(choice))
    assert all(record.changed for record in report.sites)
    assert report.error[0] is not None
    assert report.error[0] < 1e-14
    assert {value.dtype for value in changed.state_dict().values() if value.is_floating_point()} == {dtype}
    assert_same_function(changed, model, (EXAMPLE.to(dtype),), (OTHER.to(dtype),), tolerance=tolerance)


@pytest.mark.parametrize("choice", FORMS)
def test_memory_formats(choice: str) -> None:
    """A model in channels last gives what it gave, in the format that it gave."""
    model = seeded(Decoder()).to(memory_format=torch.channels_last)
    given = EXAMPLE.to(memory_format=torch.channels_last)
    for example in (EXAMPLE, given):
        changed, _ = forcibly(model, example, form(choice.replace("channels last", "contiguous")))
        assert_same_function(changed, model, (example,), (OTHER,))
    for x in (given, OTHER.to(memory_format=torch.channels_last)):
        found, expected = called(changed, (x,)), called(model, (x,))
        assert found.is_contiguous(memory_format=torch.channels_last)
        assert expected.is_contiguous(memory_format=torch.channels_last)


class Pair(NamedTuple):
    image: Tensor
    rest: dict[str, Any]


class Structured(nn.Module):
    """Takes and gives more than a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(4, 4, 2, 2)

    def forward(self, inputs: dict[str, Any], sizes: list[int], flag: str = "both") -> Pair:
        image = F.conv_transpose2d(self.up(inputs["image"]), self.up.weight, stride=2) * sizes[0]
        both = [image, inputs["more"][1]] if flag == "both" else [image]
        return Pair(image, {"both": tuple(both), "name": flag, "none": None})


@pytest.mark.parametrize("flag", ["both", "one"])
def test_structured_inputs_and_outputs(flag: str) -> None:
    example = {"image": EXAMPLE, "more": (1, noise(3))}, [2, 3], flag
    model = seeded(Structured())
    changed, report = forcibly(model, example)
    assert len(report.sites) == 2
    assert all(record.changed for record in report.sites)
    assert_same_function(changed, model, example, ({"image": OTHER, "more": (1, noise(2))}, [5, 3], flag))
    by_name = dict(zip(("inputs", "sizes", "flag"), example, strict=True))
    assert_same_function(forcibly(model, by_name)[0], model, by_name)


def test_a_model_of_one_size() -> None:
    """The whole is proven at the example's alone, and the report says so."""
    model = seeded(nn.Sequential(nn.ConvTranspose2d(4, 4, 2, 2), nn.Flatten(0), nn.Linear(320, 4)))
    changed, report = forcibly(model, EXAMPLE)
    assert report.notes == (
        "the whole model takes no other size than the example's; each site was proven at more",
    )
    assert_same_function(changed, model, (EXAMPLE,))


class MixedPrecision(nn.Module):
    """Parts in float32 whatever the model is in."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(4, 4, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(x).float().tanh()


def test_a_model_that_mixes_precisions_has_no_proof_in_float64() -> None:
    model = seeded(MixedPrecision(), torch.float32)
    changed, report = forcibly(model, EXAMPLE.float())
    assert report.error[0] is None
    assert report.error[1] is not None
    assert_same_function(changed, model, (EXAMPLE.float(),), tolerance=1e-5)


class NotFinite(nn.Module):
    """Noise has no logarithm everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(4, 4, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(x.log())


def test_what_is_no_number_in_both_is_no_difference() -> None:
    model, x = seeded(NotFinite()), EXAMPLE.abs()
    changed, report = forcibly(model, x)
    assert report.changed
    assert_same_function(changed, model, (x,))


class Output:
    """A class of somebody's own, which PyTorch does not know."""

    def __init__(self, image: Tensor, rows: int) -> None:
        self.image, self.rows = image, rows


A = noise(2, 3)


@pytest.mark.parametrize(
    ("result", "expected", "same"),
    [
        (A, A, True),
        (A, A + 1e-3, False),
        (A, A[:1], False),
        (A, A.float(), False),
        ([A, 1, "a", None], [A, 1, "a", None], True),
        ([A, 1, "a"], [A, 2, "a"], False),
        ([A, 1, "a"], [A, 1, "b"], False),
        ((A, 0.5), (A, 0.5 + 1e-3), False),
        ((A, 0.5), (A, 1), False),
        ((A,), [A], False),
        ((A,), (A, A), False),
        ({"a": A}, {"a": A}, True),
        ({"a": A}, {"b": A}, False),
        (Output(A, 2), Output(A.clone(), 2), True),
        (Output(A, 2), Output(A + 1e-3, 2), False),
        (Output(A, 2), Output(A, 3), False),
        (A.log(), A.log(), True),
        (A.log(), A.abs().log(), False),
        (A * 0, A * 0 + torch.nan, False),
        (A.log() * 0, A.log() * 0, True),
        (A - torch.inf, A - torch.inf, True),
        (A - torch.inf, A + torch.inf, False),
        (torch.complex(A, A), torch.complex(A, A), True),
        (torch.complex(A, A * 2), torch.complex(A, A), False),
        (A.bfloat16(), A.bfloat16(), True),
        (A > 0, A > 0, True),
        (A > 0, A < 0, False),
        (A[:0], A[:0], True),
        (A * 0, A * 0, True),
        (A * 1e-200, A * 0, False),
    ],
)
def test_what_the_proof_takes_for_the_same(result: Any, expected: Any, same: bool) -> None:
    """All that a model gives: its structure, its tensors and what else there is."""
    assert (difference(result, expected) <= EXACT) == same


def test_without_up_samplers_nothing_changes() -> None:
    model = seeded(nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU()))
    changed, report = rewrite(model, EXAMPLE)
    assert (report.sites, report.changed, report.milliseconds) == ((), False, None)
    assert changed is not model
    assert_same_function(changed, model, (EXAMPLE,), tolerance=0)


def test_every_site_that_can_be_is_in_lr_space() -> None:
    """For machines without transposed convolution or resize."""
    changed, report = forcibly(seeded(Decoder()), EXAMPLE, any_form(0), change="all")
    left = {type(module) for module in changed.modules()} & {nn.ConvTranspose2d, nn.Upsample}
    assert not left
    assert reasons(report) == {"wide": "it has neither a transposed convolution nor a resize"}
    assert_same_function(changed, seeded(Decoder()), (EXAMPLE,), (OTHER,))


def test_decisions_are_cached_by_shape_and_precision(tmp_path: Path) -> None:
    model, cache = seeded(Decoder()), tmp_path / "decisions.json"
    first = became(forcibly(model, EXAMPLE, any_form(0), cache=cache)[1])

    def unasked(_forms: Any) -> str:
        raise AssertionError("it was decided before")

    again = forcibly(seeded(Decoder(), seed=1), EXAMPLE, unasked, cache=cache)[1]
    assert became(again) == first
    assert {record.reason for record in again.sites} == {"as decided before"}
    for other, example in ((model, OTHER), (seeded(Decoder(), torch.float32), EXAMPLE.float())):
        with pytest.raises(AssertionError, match="it was decided before"):
            forcibly(other, example, unasked, cache=cache)


def test_real_times_decide_where_none_are_forced() -> None:
    """Whatever they are: an equal model, and a report of every site."""
    model = seeded(Decoder())
    changed, report = rewrite(model, EXAMPLE, seconds=0.0)
    assert {record.path for record in report.sites} == NAMES
    assert all(record.milliseconds is not None for record in report.sites)
    assert_same_function(changed, model, (EXAMPLE,), (OTHER,))


def scaled(form: Any) -> Any:
    """A rule whose compact form is a millionth too large."""

    def rewrite(chain: Any) -> Any:
        forms = form(chain)
        wrong = [copy.copy(layer) for layer in forms["compact"]]
        for layer in wrong:
            if hasattr(layer, "weight"):
                object.__setattr__(layer, "weight", layer.weight * (1 + 1e-6))
        return forms | {"compact": tuple(wrong)}

    return rewrite


@pytest.mark.parametrize(("rule", "path"), [(transposed.RULE, "up"), (nearest.RULE, "row.3")])
def test_a_wrong_rule_keeps_the_site(rule: Any, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vars(rule), "rewrite", scaled(rule.rewrite))
    forcibly(seeded(Decoder()), EXAMPLE, form("split"))
    _, report = forcibly(seeded(Decoder()), EXAMPLE, form("compact"))
    assert re.fullmatch(r"as compact it differs by 1\..e-06 in float64", reasons(report)[path])


@pytest.mark.parametrize(
    ("model", "example", "error", "message"),
    [
        (nn.ConvTranspose2d(4, 4, 2), EXAMPLE, ValueError, r"must be in eval mode; got one in training"),
        (lambda x: x, EXAMPLE, TypeError, r"model must be a torch\.nn\.Module, .*; got function\."),
        (nn.Identity().eval(), None, TypeError, r"example_inputs must be a tensor, .*; got NoneType\."),
        (nn.Identity().eval(), (), TypeError, r"example_inputs must be a tensor, .*; got tuple\."),
        (nn.Identity().eval(), 3, TypeError, r"example_inputs must be a tensor, .*; got int\."),
    ],
)
def test_wrong_arguments(model: Any, example: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        rewrite(model, example)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("made", [lambda model: torch.jit.trace(model, EXAMPLE), torch.compile])
def test_a_scripted_or_compiled_model_is_no_python(made: Any) -> None:
    with pytest.raises(TypeError, match="model must run Python; got a scripted or compiled"):
        rewrite(made(seeded(Decoder())), EXAMPLE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"runtime": "openvino"},
            r"runtime and threads are for ONNX models; got runtime='openvino', threads=None for a Identity\.",
        ),
        ({"change": "none"}, r'change must be "faster" or "all"; got \'none\'\.'),
    ],
)
def test_wrong_options(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rewrite(nn.Identity().eval(), EXAMPLE, **options)


def test_exported_programs() -> None:
    """The same rules, and a program again whose sizes are as free as they were."""
    model = seeded(Decoder())
    free = {
        0: torch.export.Dim("batch"),
        2: torch.export.Dim("height", min=2),
        3: torch.export.Dim("width", min=2),
    }
    program = torch.export.export(model, (noise(2, 4, 5, 4),), dynamic_shapes=(free,))
    for choice in FORMS:
        with forced(form(choice)):
            changed, report = rewrite(program)
        assert isinstance(changed, torch.export.ExportedProgram)
        assert all(record.changed for record in report.sites), report
        assert len(report.sites) == 4
        assert_same_function(changed.module(), model, (noise(2, 4, 5, 4),), (noise(3, 4, 6, 7),))


class InPlaceOnTheInput(nn.Module):
    """What moves to before the resize must not change what others read."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        low = x * 2
        high = self.conv(F.interpolate(low, scale_factor=2).relu_())
        return high + F.interpolate(low, scale_factor=2)


def test_an_exported_program_with_functions_in_place() -> None:
    model = seeded(InPlaceOnTheInput())
    program = torch.export.export(model, (EXAMPLE,))
    with forced(form("compact")):
        changed, report = rewrite(program)
    assert became(report)["conv2d"] == "compact"
    assert_same_function(changed.module(), model, (EXAMPLE,))


def test_an_exported_program_of_fixed_sizes() -> None:
    model = seeded(Decoder())
    program = torch.export.export(model, (EXAMPLE,))
    with forced(form("split")):
        changed, report = rewrite(program, EXAMPLE)
    assert report.changed
    assert_same_function(changed.module(), model, (EXAMPLE,))


class Classes(nn.Module):
    """Which of two maps is larger at each pixel: for some of many, rounding decides."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(4, 2, 4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.up(x)
        return (maps[:, 0] - maps[:, 1] > 0) | (maps[:, 0] - maps[:, 1].roll(1) > 0)


def test_classes_that_rounding_turns_over_are_no_mismatch(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the model's own precision; in float64 they must be the same."""
    model, x = seeded(Classes(), torch.float32), noise(1, 4, 5, 4, dtype=torch.float32)
    target = ModuleTarget(model, (x,), {}, 0)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.up.bias[0] += 0.1  # so that some change
    assert difference(other(x), model(x)) > EXACT
    assert target._difference(other, (x,), {}, model(x)) == (0, BOUNDS[torch.float32])
    monkeypatch.setitem(vars(transposed.RULE), "rewrite", scaled(transposed.RULE.rewrite))
    assert not forcibly(model, x)[1].changed


class WritesToItsInput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(4, 4, 4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(x.mul_(1.5))


def test_example_inputs_are_left_as_they_are() -> None:
    """Also by a model that writes to them, which would else be another example each time."""
    model, x = seeded(WritesToItsInput()), EXAMPLE.clone()
    changed, report = forcibly(model, x)
    assert report.changed
    assert torch.equal(x, EXAMPLE)
    assert_equal(changed(x.clone()), model(x.clone()))


def test_runs_leave_no_trace() -> None:
    """In the statistics of a part that is in training, neither of the original nor of the result."""
    model = seeded(nn.Sequential(nn.BatchNorm2d(4), nn.ConvTranspose2d(4, 4, 4, 2, 1)))
    model[0].train()
    before = copy.deepcopy(model.state_dict())
    changed, report = forcibly(model, EXAMPLE)
    assert report.changed
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(value, before[name]) for name, value in changed.named_buffers())


class OnPrecision(Classes):
    def forward(self, x: Tensor) -> Tensor:
        return self.up(x) if x.dtype == torch.float32 else x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def test_a_forward_that_depends_on_the_precision_has_no_proof_in_float64() -> None:
    model, x = seeded(OnPrecision(), torch.float32), noise(1, 4, 5, 4, dtype=torch.float32)
    changed, report = forcibly(model, x)
    assert report.changed
    assert report.error[0] is None
    assert_same_function(changed, model, (x,), tolerance=1e-5)


def test_a_program_without_example_inputs_needs_some() -> None:
    program = torch.export.export(seeded(nn.Sequential(nn.ConvTranspose2d(4, 4, 4, 2, 1))), (EXAMPLE,))
    program._example_inputs = None
    with pytest.raises(TypeError, match=r"example_inputs must be a tensor, .*; got NoneType\."):
        rewrite(program)
    _, report = forcibly(program, EXAMPLE)
    assert report.changed


class Counts(nn.Module):
    """Counts its forwards, which a copy of it does too."""

    calls: list[int]

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.up = nn.Conv2d(4, 4, 3, padding=1), nn.ConvTranspose2d(4, 4, 4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        Counts.calls.append(x.shape[-1])
        return self.up(self.conv(F.interpolate(x, scale_factor=2)))


@pytest.mark.parametrize(("change", "most"), [("faster", 14), ("all", 11)])
def test_without_time_the_model_runs_as_little_as_possible(
    change: Any, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4 times to record, 2 to prove, 5 to prove in float64; and 3 times where its time decides.

    By a clock on which every run takes a second: a quick model runs more often for one sample.
    """
    monkeypatch.setattr(race, "time", SimpleNamespace(perf_counter=itertools.count().__next__))
    model, x = seeded(Counts(), torch.float32), noise(1, 4, 16, 16, dtype=torch.float32)
    Counts.calls = []
    rewrite(model, x, seconds=0, change=change)
    assert 0 < len(Counts.calls) <= most


def test_what_does_not_change_is_there_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a model is proven its copies share the weights; the result has its own."""
    seen: list[int] = []
    differences = ModuleTarget.differences

    def watched(self: ModuleTarget, model: nn.Module, choices: Any) -> Any:
        seen.extend(model.get_parameter(name).data_ptr() for name in ("first.weight",))
        seen.append(self.model.get_parameter("first.weight").data_ptr())
        return differences(self, model, choices)

    monkeypatch.setattr(ModuleTarget, "differences", watched)
    model = seeded(Decoder(), torch.float32)
    changed, _ = forcibly(model, EXAMPLE.float())
    assert seen[0] == seen[1] == model.first.weight.data_ptr()
    assert changed.first.weight.data_ptr() not in seen
