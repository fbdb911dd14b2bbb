"""Random networks of up-samplers: the rewritten one computes the same, whatever the forms."""

from typing import Any, NamedTuple

import torch
from hypothesis import event, given, settings
from hypothesis import strategies as st
from pytorch_models import any_form, assert_same_function, forcibly, noise, seeded
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

C = 2  # channels of every value


class Step(NamedTuple):
    """A statement of a forward: an operation on values that were computed before."""

    operation: str
    inputs: tuple[int, ...]


class Size(NamedTuple):
    """Pixels of a value, times * n + more, if the input has n."""

    times: int
    more: int


def layer(name: str, ndim: int) -> nn.Module:
    """A layer by the name that steps call it by."""
    conv, transposed = (getattr(nn, f"{kind}{ndim}d") for kind in ("Conv", "ConvTranspose"))
    linear = {1: "linear", 2: "bilinear", 3: "trilinear"}[ndim]
    return {
        "conv": lambda: conv(C, C, 3, padding=1),
        "same": lambda: conv(C, C, 3, padding="same", dilation=2, bias=False),
        "depthwise": lambda: conv(C, C, 1, groups=C),
        "valid": lambda: conv(C, C, 3),
        "replicating": lambda: conv(C, C, 3, padding=1, padding_mode="replicate"),
        "reflecting": lambda: conv(C, C, 3, padding=1, padding_mode="reflect"),
        "norm": lambda: getattr(nn, f"BatchNorm{ndim}d")(C),
        "relu": lambda: nn.LeakyReLU(0.1),
        "relu_": lambda: nn.LeakyReLU(0.1, inplace=True),
        "up2": lambda: nn.Upsample(scale_factor=2),
        "up3": lambda: nn.Upsample(scale_factor=3),
        "linear2": lambda: nn.Upsample(scale_factor=2, mode=linear),
        "transposed": lambda: transposed(C, C, 4, 2, 1),
        "split": lambda: transposed(C, C, 2, 3, 0, 1, groups=C),
        "shuffled": lambda: nn.Sequential(conv(C, 4 * C, 3, padding=1, bias=False), nn.PixelShuffle(2)),
    }[name]()


# What each operation makes of (times, more); the functions are written out in the forward.
KEEPS = [
    "conv",
    "same",
    "depthwise",
    "replicating",
    "reflecting",
    "norm",
    "relu",
    "relu_",
    "tanh",
    "sigmoid_",
    "twice",
]
SIZES: dict[str, Any] = dict.fromkeys(KEEPS, lambda a, b: (a, b)) | {
    "valid": lambda a, b: (a, b - 2),
    **dict.fromkeys(("up2", "linear2", "transposed", "shuffled", "interpolate"), lambda a, b: (2 * a, 2 * b)),
    **dict.fromkeys(("up3", "split"), lambda a, b: (3 * a, 3 * b)),
    "function": lambda a, b: (2 * a, 2 * b + 1),
}
ENLARGING = {name for name, size in SIZES.items() if size(1, 0)[0] > 1}
MODULES = sorted({*SIZES} - {"tanh", "sigmoid_", "twice", "interpolate", "function"})


class Net(nn.Module):
    """A program; each layer of a name and number is one module, however often it is called."""

    def __init__(self, steps: list[Step], outputs: list[int], ndim: int) -> None:
        super().__init__()
        self.steps, self.outputs, self.ndim = steps, outputs, ndim
        names = {step.operation for step in steps}
        self.layers = nn.ModuleDict({name: layer(name, ndim) for name in sorted(names & {*MODULES})})
        self.weight = nn.Parameter(torch.empty(C, C, *[3] * ndim))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        values = [x * 1]  # the caller's is not to be changed in place
        for operation, inputs in self.steps:
            values.append(self._computed(operation, *(values[i] for i in inputs)))
        return tuple(values[i] for i in self.outputs)

    def _computed(self, operation: str, x: Tensor, *others: Tensor) -> Tensor:
        if operation in self.layers:
            return self.layers[operation](x)
        functions = {
            "interpolate": lambda: F.interpolate(x, scale_factor=2),
            "function": lambda: getattr(F, f"conv_transpose{self.ndim}d")(x, self.weight, None, 2),
            "tanh": x.tanh,
            "sigmoid_": x.sigmoid_,
            "twice": lambda: x + x if x.shape[-1] > 1 else x,
            "add": lambda: x + others[0],
        }
        return functions[operation]()


@st.composite
def networks(draw: st.DrawFn) -> tuple[list[Step], list[int], int]:
    ndim = draw(st.sampled_from((1, 2, 2, 2, 3)))
    most = 12 if ndim < 3 else 6
    values, steps = [Size(1, 0)], []
    known = sorted(
        {*SIZES} - ({"shuffled"} if ndim != 2 else set()) - ({"reflecting"} if ndim == 3 else set())
    )
    for index in range(draw(st.integers(4, 10))):
        # Often the newest value, so that there are chains.
        source = draw(st.one_of(st.just(len(values) - 1), st.integers(0, len(values) - 1)))
        alike = [i for i, size in enumerate(values) if size == values[source]]
        if draw(st.integers(0, 5)) == 0:
            steps.append(Step("add", (source, draw(st.sampled_from(alike)))))
            values.append(values[source])
            continue
        fitting = [name for name in known if _fits(Size(*SIZES[name](*values[source])), most)]
        enlarging = [name for name in fitting if name in ENLARGING]
        wanted = enlarging if enlarging and index % 3 == 0 else fitting
        operation = draw(st.sampled_from(wanted))
        steps.append(Step(operation, (source,)))
        values.append(Size(*SIZES[operation](*values[source])))
    others = draw(st.lists(st.integers(0, len(values) - 1), max_size=2))
    return steps, [len(values) - 1, *others], ndim


def _fits(size: Size, most: int) -> bool:
    return size.times <= most and 3 * size.times + size.more >= 3


@given(network=networks(), seed=st.integers(0, 2**16))
@settings(max_examples=60)
def test_a_rewritten_network_computes_the_same(network: Any, seed: int) -> None:
    """To 1e-10 in float64, with random forms, at the example's size and at another."""
    steps, outputs, ndim = network
    model = seeded(Net(steps, outputs, ndim), seed=seed)
    example, other = noise(1, C, *(3, 4, 3)[:ndim], seed=seed), noise(2, C, *(5, 3, 4)[:ndim], seed=seed)
    changed, report = forcibly(model, example, any_form(seed))
    event(f"{sum(record.changed for record in report.sites)} sites changed")
    event(f"{sum(not record.changed for record in report.sites)} sites kept")
    assert_same_function(changed, model, (example,), (other,))
    changed, report = forcibly(model, example, any_form(seed), change="all")
    assert_same_function(changed, model, (example,), (other,))
