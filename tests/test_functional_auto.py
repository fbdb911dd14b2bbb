"""`form="auto"` leaves PyTorch's operator where that was measured to pay, and only there."""

from typing import Any

import pytest
import torch
from torch import Tensor

from subpixel import functional
from subpixel.functional import conv_transpose
from subpixel.nn import ConvTranspose2d

# Input, weight, options, and whether the layer is computed in LR space in inference and in training.
LAYERS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any], bool, bool]] = {
    "one output channel": ((1, 16, 256, 256), (16, 1, 4, 4), {"stride": 2, "padding": 1}, True, True),
    "a narrow product in 1-D": ((1, 64, 4096), (64, 32, 4), {"stride": 2, "padding": 1}, True, False),
    "no overlap": ((1, 32, 128, 128), (32, 64, 2, 2), {"stride": 2}, True, True),
    "one output channel, little work": ((1, 16, 32, 32), (16, 1, 4, 4), {"stride": 2}, False, False),
    "a wide product": ((1, 32, 64, 64), (32, 32, 4, 4), {"stride": 2, "padding": 1}, False, False),
    "no overlap, small output": ((1, 32, 32, 32), (32, 64, 2, 2), {"stride": (2, 2)}, False, False),
    "dilated taps overlap": ((1, 32, 128, 128), (32, 64, 2, 2), {"stride": 2, "dilation": 3}, False, False),
}


@pytest.fixture
def mapped(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The calls that map weights to LR space."""
    calls = []
    original = functional.transposed_to_lr

    def spy(*args: Any, **options: Any) -> Tensor:
        calls.append(args)
        return original(*args, **options)

    monkeypatch.setattr(functional, "transposed_to_lr", spy)
    return calls


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_picks(name: str, training: bool, mapped: list[Any]) -> None:
    """And is equal to PyTorch's, whichever it picks."""
    sizes, kernel, options, *expected = LAYERS[name]
    x, weight = torch.rand(sizes), torch.rand(kernel)
    with torch.set_grad_enabled(training):
        y = conv_transpose(x, weight, **options)
    assert len(mapped) == expected[training]
    torch.testing.assert_close(y, conv_transpose(x, weight, **options, form="transposed"))


@pytest.mark.parametrize(
    "change",
    [
        lambda tensor: tensor.double(),
        lambda tensor: tensor.to("meta"),
    ],
)
def test_stays_with_pytorchs_where_nothing_was_measured(change: Any, mapped: list[Any]) -> None:
    sizes, kernel, options, *_ = LAYERS["one output channel"]
    conv_transpose(change(torch.rand(sizes)), change(torch.rand(kernel)), **options)
    assert mapped == []


def test_channels_last_is_fast_enough(mapped: list[Any]) -> None:
    sizes, kernel, options, *_ = LAYERS["no overlap"]
    tensors = (torch.rand(shape).contiguous(memory_format=torch.channels_last) for shape in (sizes, kernel))
    conv_transpose(*tensors, **options)
    assert mapped == []


def test_exported_programs_keep_pytorchs_operator(mapped: list[Any]) -> None:
    """Of a layer that would be computed in LR space here: the program runs elsewhere."""
    layer = ConvTranspose2d(16, 1, 4, stride=2, padding=1)
    program = torch.export.export(layer, (torch.rand(1, 16, 256, 256),))
    assert torch.ops.aten.conv_transpose2d.input in [node.target for node in program.graph.nodes]
    assert mapped == []
