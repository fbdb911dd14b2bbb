"""`subpixel.nn.ConvTranspose*d` replaces PyTorch's by a change of the import."""

import ast
import copy
import inspect
import io
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import subpixel.functional
import subpixel.nn
import subpixel.strips
from subpixel.functional import Form

FORMS: tuple[Form, ...] = ("auto", "transposed", "aligned", "compact", "split")
SIZES = {1: (7,), 2: (5, 6), 3: (3, 4, 2)}
# channels, kernel size, stride, padding, output_padding, groups, bias, dilation
ARGUMENTS = (4, 6, 3, 2, 1, 1, 2, True, 2)


def pair(ndim: int, form: Form, *arguments: Any, **options: Any) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Our layer and PyTorch's with the same parameters."""
    name = f"ConvTranspose{ndim}d"
    theirs = getattr(torch.nn, name)(*(arguments or ARGUMENTS), **options)
    ours = getattr(subpixel.nn, name)(*(arguments or ARGUMENTS), **options, form=form)
    assert ours.load_state_dict(theirs.state_dict()) == ([], [])
    assert theirs.load_state_dict(ours.state_dict()) == ([], [])
    return ours, theirs


def image(ndim: int, **options: Any) -> Tensor:
    return torch.randn(2, 4, *SIZES[ndim], generator=torch.Generator().manual_seed(0)).to(**options)


every_layer = pytest.mark.parametrize(("ndim", "form"), [(n, form) for n in (1, 2, 3) for form in FORMS])


@every_layer
def test_same_output(ndim: int, form: Form) -> None:
    """With and without a batch, by position and by keyword."""
    ours, theirs = pair(ndim, form)
    x = image(ndim)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-5)
    torch.testing.assert_close(ours(x[0]), theirs(x[0]), rtol=0, atol=1e-5)
    torch.testing.assert_close(ours(input=x[:0]), theirs(input=x[:0]))


@every_layer
def test_same_output_size_argument(ndim: int, form: Form) -> None:
    """Each call may ask for another size; what PyTorch refuses is refused in its words."""
    ours, theirs = pair(ndim, form)
    x = image(ndim)
    smallest = theirs(x).shape[2:]
    for extra in (-1, 0):
        size = [n + extra for n in smallest]
        assert ours(x, size).shape[2:] == tuple(size)
        torch.testing.assert_close(ours(x, output_size=size), theirs(x, output_size=size), rtol=0, atol=1e-5)
    for bad in ([n + 1 for n in smallest], [3] * (ndim + 4)):
        with pytest.raises(ValueError, match=r"requested an output size|output_size must have") as expected:
            theirs(x, output_size=bad)
        with pytest.raises(ValueError) as error:  # noqa: PT011 (compared below)
            ours(x, output_size=bad)
        assert str(error.value) == str(expected.value)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_same_construction(ndim: int) -> None:
    """Defaults, initial values from one seed, text, type, errors."""
    name = f"ConvTranspose{ndim}d"
    layers = []
    for module in (torch.nn, subpixel.nn):
        torch.manual_seed(0)
        layers.append(getattr(module, name)(4, 6, 3))
    theirs, ours = layers
    assert isinstance(ours, type(theirs))
    assert repr(ours) == repr(theirs)
    for key, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value)
    ours.reset_parameters()
    assert not torch.equal(ours.weight, theirs.weight)
    for bad in ({"groups": 3}, {"padding_mode": "reflect"}):
        with pytest.raises(ValueError) as expected:  # noqa: PT011 (compared below)
            getattr(torch.nn, name)(4, 6, 3, **bad)
        with pytest.raises(ValueError) as error:  # noqa: PT011
            getattr(subpixel.nn, name)(4, 6, 3, **bad)
        assert str(error.value) == str(expected.value)


def test_arguments_are_pytorchs() -> None:
    """All of PyTorch's, at their places, are taken; ours comes last and by name."""
    names = list(inspect.signature(torch.nn.ConvTranspose2d).parameters)
    values = [2, 4, 3, 2, 1, 1, 2, False, 1, "zeros", "meta", torch.float64]
    layer = subpixel.nn.ConvTranspose2d(*values, form="split")
    by_name = subpixel.nn.ConvTranspose2d(**dict(zip(names, values, strict=True)), form="split")
    assert repr(layer) == repr(by_name)
    assert repr(layer).endswith("bias=False, form='split')")
    assert layer.weight.device.type == "meta"
    assert layer.weight.dtype == torch.float64


@every_layer
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_dtypes(ndim: int, form: Form, dtype: torch.dtype) -> None:
    """Within a few units of the last place."""
    ours, theirs = (layer.to(dtype) for layer in pair(ndim, form))
    x = image(ndim, dtype=dtype)
    assert ours(x).dtype == dtype
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=8 * torch.finfo(dtype).eps)


@every_layer
def test_autocast(ndim: int, form: Form) -> None:
    """The dtype that PyTorch gives, with an empty phase too."""
    ours, theirs = pair(ndim, form, 4, 2, 2, 3)
    x = image(ndim)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, expected = ours(x), theirs(x)
    assert y.dtype == expected.dtype
    torch.testing.assert_close(y, expected, rtol=0, atol=0.05)


@every_layer
def test_memory_format_is_kept(ndim: int, form: Form) -> None:
    """As PyTorch's output is laid out, so that a `view` after it goes on working."""
    ours, theirs = pair(ndim, form)
    x = image(ndim)
    assert ours(x).is_contiguous()
    if ndim > 1:
        last = torch.channels_last if ndim == 2 else torch.channels_last_3d
        x = x.contiguous(memory_format=last)
        assert theirs.to(memory_format=last)(x).is_contiguous(memory_format=last)
        assert ours.to(memory_format=last)(x).is_contiguous(memory_format=last)
        torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-5)


@every_layer
def test_meta_tensors(ndim: int, form: Form) -> None:
    ours, theirs = (layer.to("meta") for layer in pair(ndim, form))
    x = image(ndim, device="meta")
    assert ours(x).shape == theirs(x).shape
    assert ours(x).device.type == "meta"


@pytest.mark.parametrize("form", FORMS)
def test_copies_and_pickles(form: Form) -> None:
    ours, _ = pair(2, form)
    x = image(2)
    stored = io.BytesIO()
    torch.save(ours, stored)
    stored.seek(0)
    for other in (copy.deepcopy(ours), torch.load(stored, weights_only=False)):
        assert other.form == form
        assert torch.equal(other(x), ours(x))


def test_weight_norm_works() -> None:
    """The weight may be a parametrization: it is read at each call."""
    ours, theirs = pair(2, "compact")
    parametrize = torch.nn.utils.parametrizations.weight_norm
    ours, theirs = parametrize(ours), parametrize(theirs)
    torch.testing.assert_close(ours(image(2)), theirs(image(2)), rtol=0, atol=1e-5)


@every_layer
@pytest.mark.parametrize("channels_last", [False, True])
def test_ensembles(ndim: int, form: Form, channels_last: bool) -> None:
    """`torch.vmap` over weights, over inputs and over both; with phases of no tap."""
    x = torch.stack([image(ndim)] * 3)
    if channels_last and ndim > 1:
        x = x.movedim(2, -1).contiguous().movedim(-1, 2)
    weights = torch.randn(3, 4, 2, *[2] * ndim)

    def forward(x: Tensor, weight: Tensor) -> Tensor:
        return subpixel.functional.conv_transpose(x, weight, stride=3, form=form)

    for axes in ((None, 0), (0, None), (0, 0)):
        arguments = [t if axis == 0 else t[0] for t, axis in zip((x, weights), axes, strict=True)]
        expected = [
            forward(*(t[i] if axis == 0 else t for t, axis in zip(arguments, axes, strict=True)))
            for i in range(3)
        ]
        y = torch.vmap(forward, in_dims=axes)(*arguments)
        torch.testing.assert_close(y, torch.stack(expected), rtol=0, atol=1e-5)


def test_numpys_integers() -> None:
    """PyTorch takes them, and so does each form."""
    arguments = np.array([4, 6, 3, 2, 1, 1, 2])
    theirs = torch.nn.ConvTranspose2d(*arguments, dilation=np.int64(2))
    for form in FORMS:
        ours = subpixel.nn.ConvTranspose2d(*arguments, dilation=np.int64(2), form=form)
        ours.load_state_dict(theirs.state_dict())
        torch.testing.assert_close(ours(image(2)), theirs(image(2)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("module", ["functional", "nn"])
def test_a_missing_pytorch_is_explained(module: str) -> None:
    code = f"import sys; sys.modules['torch'] = None; import subpixel.{module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith("Run: pip install 'subpixel[torch]'\n")


@pytest.mark.parametrize("module", [subpixel.nn, subpixel.functional, subpixel.strips])
def test_nothing_private_of_pytorchs_is_used(module: Any) -> None:
    """A model in use must outlive PyTorch's releases: all private names are those of the file itself."""
    nodes = list(ast.walk(ast.parse(inspect.getsource(module))))
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    used |= {
        name for node in nodes if isinstance(node, ast.ImportFrom) for name in (node.module or "").split(".")
    }
    used |= {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    own |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    assert {name for name in used if name.startswith("_") and not name.endswith("__")} <= own
