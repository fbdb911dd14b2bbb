"""The layers under torch.compile, torch.export and ONNX export."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from subpixel import nn
from subpixel.functional import Form
from subpixel.without_telemetry.onnxruntime import onnxruntime

FORMS: tuple[Form, ...] = ("auto", "aligned", "compact", "split")
LAYERS: dict[int, Any] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
some_layers = pytest.mark.parametrize(
    ("ndim", "form"), [*((2, form) for form in FORMS), (1, "compact"), (3, "split")]
)
dynamic = torch.export.Dim.DYNAMIC


def layer(ndim: int, form: Form) -> torch.nn.Module:
    torch.manual_seed(0)
    return LAYERS[ndim](4, 6, 3, stride=2, padding=1, output_padding=1, groups=2, dilation=2, form=form)


def image(ndim: int, size: int = 4, batch: int = 2) -> Tensor:
    return torch.randn(batch, 4, *range(size, size + ndim), generator=torch.Generator().manual_seed(0))


@some_layers
def test_compile(ndim: int, form: Form) -> None:
    """One graph without breaks, forward and backward; to generate its code is PyTorch's matter."""
    torch._dynamo.reset()
    eager, x = layer(ndim, form), image(ndim)
    compiled = torch.compile(eager, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), eager(x))
    compiled(x).sum().backward()
    gradient = eager.weight.grad.clone()
    eager.zero_grad()
    eager(x).sum().backward()
    torch.testing.assert_close(gradient, eager.weight.grad)


@some_layers
def test_export(ndim: int, form: Form) -> None:
    """One program for every batch and size."""
    eager = layer(ndim, form)
    shapes = {0: dynamic, **{2 + axis: dynamic for axis in range(ndim)}}
    program = torch.export.export(eager, (image(ndim),), dynamic_shapes=(shapes,))
    for x in (image(ndim), image(ndim, size=7, batch=3)):
        torch.testing.assert_close(program.module()(x), eager(x))


class UpTo(torch.nn.Module):
    """The decoder's step of a U-Net: up to the size of the skip connection, which `output_size` picks."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1, form=form)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.up(x, output_size=skip.shape[2:]) + skip


@pytest.mark.parametrize("form", FORMS)
def test_output_size_is_dynamic(form: Form) -> None:
    """One program for many sizes; a forced LR form wants one parity of them, on which its pads depend."""
    torch._dynamo.reset()
    torch.manual_seed(0)
    module, x, skip = UpTo(form), torch.randn(2, 4, 5, 6), torch.randn(2, 4, 10, 11)
    every = {0: dynamic, 2: dynamic, 3: dynamic}
    program = torch.export.export(module, (x, skip), dynamic_shapes=(every, every))
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    sizes = (13, 18) if form == "auto" else (14, 17)
    for inputs in ((x, skip), (torch.randn(3, 4, 7, 9), torch.randn(3, 4, *sizes))):
        expected = module(*inputs)
        torch.testing.assert_close(program.module()(*inputs), expected)
        torch.testing.assert_close(compiled(*inputs), expected)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # the exporter's own
@pytest.mark.parametrize("form", FORMS)
def test_onnx(form: Form) -> None:
    """ONNX Runtime computes the same; a shuffle is a DepthToSpace of mode CRD."""
    module = torch.nn.Sequential(layer(2, form), nn.SubPixelConv2d(6, 2, 3, 3)).eval()
    program = torch.onnx.export(module, (image(2),), dynamo=True, verbose=False)
    model = program.model_proto
    shuffles = [node for node in model.graph.node if node.op_type == "DepthToSpace"]
    modes = [attribute.s for node in shuffles for attribute in node.attribute if attribute.name == "mode"]
    assert modes == [b"CRD"] * (2 if form in ("aligned", "compact") else 1)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (y,) = session.run(None, {session.get_inputs()[0].name: image(2).numpy()})
    np.testing.assert_allclose(y, module(image(2)).detach().numpy(), rtol=0, atol=1e-5)


def test_compile_of_the_other_layers() -> None:
    torch._dynamo.reset()
    eager = torch.nn.Sequential(
        nn.SubPixelConv1d(2, 2, 3, 2),
        nn.PeriodicUnshuffle((2,)),
        nn.PeriodicShuffle((4,)),
        nn.SubPixelConv1d(1, 1, 3, 3),
    )
    x = image(1, size=6, batch=1)[:, :2]
    torch.testing.assert_close(torch.compile(eager, fullgraph=True, backend="aot_eager")(x), eager(x))
