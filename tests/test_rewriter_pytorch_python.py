"""What Python may do in a forward beside computing: recorded, guarded, or the reason to keep it."""

import math
from typing import Any

import pytest
import torch
from pytorch_models import assert_same_function, became, called, forcibly, noise, reasons, seeded
from test_rewriter_pytorch_forwards import Net
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)
from torch.utils._pytree import tree_leaves

EXAMPLE, OTHER = noise(1, 4, 6, 4), noise(2, 4, 8, 7)


class Up(Net):
    def up2(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2))


class AsksForTypes(Up):
    def forward(self, inputs: Any) -> Tensor:
        x = inputs if isinstance(inputs, Tensor) else inputs[0] + inputs[1]
        if not isinstance(inputs, Tensor | list) or not isinstance(x.shape[2], int):
            raise TypeError("a tensor or a list is needed")
        return self.up2(x)


class ComputesSizes(Up):
    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, : math.ceil(x.shape[2] / 2)]
        b, c, h, w = x.shape
        rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        return self.up2(x + rows - columns).view(b, c * 4, -1)[:, :, : h * w]


class Formats(Up):
    def forward(self, x: Tensor) -> dict[str, Any]:
        assert x.ndim == 4, f"four axes are needed; got {tuple(x.shape)}"
        return {f"{x.ndim}-D": self.up2(x), "rows": x.shape[2]}


class LooksUp(Up):
    def forward(self, inputs: dict[str, Tensor], **more: Any) -> Tensor:
        x = inputs["x"] * inputs["mask"] if "mask" in inputs else inputs["x"]
        return self.up2(x + more["more"] if "more" in more else x)


class LooksAtItsLayers(Up):
    """A module in the place of another would be of another class."""

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.other, self.up, self.norm):
            x = layer(x).relu() if isinstance(layer, nn.ConvTranspose2d) else layer(x)
        return x


class Tries(Up):
    def forward(self, x: Tensor) -> Tensor:
        try:
            x = x.reshape(3, -1, 7, 100)
        except RuntimeError:
            x = x * 2
        with torch.no_grad():
            return self.up2(torch.cat([x, x.flip(1)], 1).chunk(2, dim=1)[1])


class Draws(Up):
    def forward(self, x: Tensor) -> Tensor:
        return self.up2(x + torch.randn_like(x)) + torch.rand_like(x).mean()


class HasConstants(Up):
    def forward(self, x: Tensor) -> Tensor:
        return self.up2(x * torch.tensor([1.0, 2, 3, 4], dtype=x.dtype)[:, None, None])


@pytest.mark.parametrize(
    ("net", "example"),
    [
        (AsksForTypes, EXAMPLE),
        (AsksForTypes, [EXAMPLE, EXAMPLE]),
        (ComputesSizes, EXAMPLE),
        (Formats, EXAMPLE),
        (Tries, EXAMPLE),
        (HasConstants, EXAMPLE),
        (LooksUp, {"x": EXAMPLE}),
        (LooksUp, {"x": EXAMPLE, "mask": EXAMPLE}),
    ],
)
def test_python_that_a_graph_records(net: type[nn.Module], example: Any) -> None:
    model = seeded(net())
    changed, report = forcibly(model, (example,))
    assert became(report) == {"conv": "compact"}
    assert_same_function(changed, model, (example,))


@pytest.mark.parametrize("net", [Tries, HasConstants, ComputesSizes])
def test_it_holds_at_other_sizes(net: type[nn.Module]) -> None:
    model = seeded(net())
    changed, _ = forcibly(model, EXAMPLE)
    assert_same_function(changed, model, (OTHER,))


def test_random_numbers_are_drawn_at_each_call() -> None:
    """As often as before, so that the same seed gives the same."""
    model = seeded(Draws())
    changed, report = forcibly(model, EXAMPLE)
    assert became(report) == {"conv": "compact"}
    results = []
    for net in (changed, model, changed):
        torch.manual_seed(len(results) // 2)
        results.append(called(net, (OTHER,)))
    assert torch.allclose(results[0], results[1], rtol=0, atol=1e-10)
    assert not torch.allclose(results[0], results[2])


class Up2(Up):
    def forward(self, x: Tensor) -> Tensor:
        return self.up2(x)


def test_a_rewrite_draws_no_random_number() -> None:
    model = seeded(Up2())
    torch.manual_seed(0)
    forcibly(model, EXAMPLE)
    after = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(after, torch.rand(1))


class Stores(Up):
    def forward(self, x: Tensor) -> Tensor:
        self.features = x
        return self.up2(x)


class Counts(Up):
    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.up2(x)


class Collects(Up):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x)
        return self.up2(x)


class CountsInABuffer(Up):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.calls = self.calls + 1
        return self.up2(x)


class SwitchesAutocast(Up):
    """A graph would compute it in the precision around it."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return F.conv2d(F.interpolate(x.float(), scale_factor=2), self.conv.weight.float()).double()


class Patched(Up):
    """The instance has another forward than its class, as tools put it there that move or adapt layers."""

    def __init__(self) -> None:
        super().__init__()
        self.forward = lambda x: 2 * F.conv2d(F.interpolate(x, scale_factor=2), torch.ones(4, 4, 1, 1).to(x))


class AsksForTheClass(Up):
    """To Python a proxy is of another class than what it stands for."""

    def forward(self, x: Tensor) -> Tensor:
        return self.up2(x * 2 if type(x) is Tensor else x)


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        return x * 2


class CallsAutogradsFunction(Up):
    """It is C++, which a proxy that passed for a tensor would crash."""

    def forward(self, x: Tensor) -> Tensor:
        return self.up2(Doubled.apply(x * 1))


class MakesATensor(Up):
    def forward(self, x: Tensor) -> Tensor:
        return self.up2(torch.from_numpy((x * 1).numpy()))


class CalledInTwoWays(Up):
    """A block that branches on what it is given, called with it and without."""

    class Block(Up):
        def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
            return self.up2(x) if skip is None else self.up2(x + skip)

    def __init__(self) -> None:
        super().__init__()
        self.block = self.Block()

    def forward(self, x: Tensor) -> Tensor:
        return self.block(self.block(x), x.repeat(1, 1, 2, 2))


class DrawsConstants(Up):
    def forward(self, x: Tensor) -> Tensor:
        return self.up2(x + torch.randn(4, 1, 1, dtype=torch.float64) * 0)


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (Stores, "TypeError: it changes features of itself"),
        (Counts, "TypeError: it changes calls of itself"),
        (Collects, "TypeError: it changes seen of itself"),
        (CountsInABuffer, "TypeError: it changes _buffers of itself"),
        (DrawsConstants, "TypeError: it draws random numbers that depend on no input"),
        (SwitchesAutocast, "TypeError: it switches autocast"),
        (Patched, "TypeError: the instance has another forward than its class"),
        (CallsAutogradsFunction, "cannot be traced"),
        (MakesATensor, "cannot be traced"),
        (AsksForTheClass, "TypeError: its graph computes something else"),
        (CalledInTwoWays, "TypeError: Python branches in it, and it is called in several ways"),
    ],
)
def test_python_that_a_graph_does_not_record(net: type[nn.Module], reason: str) -> None:
    """The forward is kept, and nothing of the trace is left in the model."""
    model = seeded(net())
    changed, report = forcibly(model, EXAMPLE)
    ((path, found),) = reasons(report).items()
    assert path == ("block" if net is CalledInTwoWays else net.__name__)
    assert reason in found
    assert_same_function(changed, model, (EXAMPLE,), (OTHER,))
    assert not any(isinstance(value, torch.fx.Proxy) for value in tree_leaves(list(vars(changed).values())))
    if net is Stores:
        called(changed, (OTHER,))
        assert torch.equal(changed.features, OTHER)


def test_a_forward_that_looks_at_the_classes_of_its_layers() -> None:
    model = seeded(LooksAtItsLayers())
    changed, report = forcibly(model, EXAMPLE)
    assert became(report) == {"up": "compact"}
    assert_same_function(changed, model, (EXAMPLE,), (OTHER,))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_part_is_left_alone() -> None:
    model = seeded(nn.Sequential(nn.Conv2d(4, 4, 1), nn.ConvTranspose2d(4, 4, 4, 2, 1)))
    model[0] = torch.jit.script(model[0])
    changed, report = forcibly(model, EXAMPLE)
    assert became(report) == {"1": "compact"}
    assert_same_function(changed, model, (EXAMPLE,), (OTHER,))


def test_a_compiled_part_is_refused() -> None:
    model = seeded(nn.Sequential(nn.Conv2d(4, 4, 1)))
    model[0] = torch.compile(model[0], backend="eager")
    with pytest.raises(TypeError, match="or one of which a part is compiled"):
        forcibly(model, EXAMPLE)
