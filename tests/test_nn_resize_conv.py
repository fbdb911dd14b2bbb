"""A nearest resize and a convolution by shared products, where more is wanted of them than numbers.

The oracle is always PyTorch's resize and convolution, put through the same: gradients, batches of calls,
recordings, other precisions.
"""

import copy
import pickle
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional as F  # noqa: N812 (its usual name)

from subpixel import functional
from subpixel.kernels import resize_conv_to_products
from subpixel.nn import ResizeConv

FACTORS = (2, 3)
Function = Callable[..., Tensor]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X, WEIGHT, BIAS = noise(2, 3, 4, 5), noise(2, 3, 3, 3, seed=1), noise(2, seed=2)
DIRECTIONS = noise(2, 3, 4, 5, seed=3), noise(2, 3, 3, 3, seed=4), noise(2, seed=5)


def ours(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return functional.resize_conv(F.pad(x, [1] * 4), resize_conv_to_products(weight), bias, FACTORS)


def pytorchs(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    resized = F.interpolate(x, scale_factor=tuple(map(float, FACTORS)))
    return F.conv2d(resized, weight, bias, padding=1)


def layer(dtype: torch.dtype = torch.float64) -> ResizeConv:
    return ResizeConv(resize_conv_to_products(WEIGHT), BIAS, FACTORS).to(dtype)


def assert_close(result: Any, expected: Any, tolerance: float = 1e-12) -> None:
    """Within a tolerance of the largest value, tensor by tensor."""
    results, wanted = ([each] if isinstance(each, Tensor) else list(each) for each in (result, expected))
    for one, other in zip(results, wanted, strict=True):
        assert one.shape == other.shape
        assert (one - other).abs().max() <= tolerance * other.abs().max()


@pytest.fixture
def strips(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The calls that were computed in strips."""
    calls, original = [], functional.resize_conv_in_strips

    def spy(*args: Any) -> Tensor:
        calls.append(args)
        return original(*args)

    monkeypatch.setattr(functional, "resize_conv_in_strips", spy)
    return calls


def test_the_public_function_is_the_fast_one(strips: list[Any]) -> None:
    """Strips are taken where nothing but numbers is wanted, and where there is no gradient to record."""
    assert_close(ours(X, WEIGHT, BIAS), pytorchs(X, WEIGHT, BIAS))
    assert_close(layer()(F.pad(X, [1] * 4)), pytorchs(X, WEIGHT, BIAS))
    with torch.inference_mode():
        assert_close(layer().requires_grad_()(F.pad(X, [1] * 4)), pytorchs(X, WEIGHT, BIAS))
    assert len(strips) == 3


@pytest.mark.parametrize("shape", [(0, 3, 4, 5), (1, 3, 0, 5), (1, 3, 4, 0)])
@pytest.mark.parametrize("grad", [False, True])
def test_an_empty_input_gives_an_empty_output(shape: tuple[int, ...], grad: bool) -> None:
    x = torch.zeros(shape[0], 3, shape[2] + 2, shape[3] + 2, dtype=torch.float64, requires_grad=grad)
    assert layer()(x).shape == (shape[0], 2, 2 * shape[2], 3 * shape[3])


def test_its_weights_may_be_trained() -> None:
    """The gradients of input, products and bias are those of the convolution, by the chain rule."""
    direction = noise(2, 2, 8, 15, seed=6)
    leaves = [leaf.clone().requires_grad_() for leaf in (X, WEIGHT, BIAS)]
    wanted = torch.autograd.grad(pytorchs(*leaves), leaves, direction)
    trained, x = layer().requires_grad_(), X.clone().requires_grad_()
    trained(F.pad(x, [1] * 4)).backward(direction)
    assert_close((x.grad, trained.bias.grad), (wanted[0], wanted[2]))  # type: ignore[union-attr]
    _, to_weight = torch.func.vjp(resize_conv_to_products, WEIGHT)
    assert_close(to_weight(trained.products.grad)[0], wanted[1])


def jvp(function: Function, *inputs: Tensor) -> Tensor:
    return torch.func.jvp(function, inputs, DIRECTIONS)[1]


def dual_numbers(function: Function, *inputs: Tensor) -> Tensor:
    """The derivative in the direction of the weight alone, forward, by autograd's own interface."""
    x, weight, bias = inputs
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(weight, DIRECTIONS[1])
        return forward_ad.unpack_dual(function(x, dual, bias)).tangent


def gradients(function: Function, *inputs: Tensor) -> Any:
    return torch.func.grad(lambda *leaves: function(*leaves).square().sum(), argnums=(0, 1, 2))(*inputs)


def gradient_of_jvp(function: Function, *inputs: Tensor) -> Any:
    return torch.func.grad(lambda *leaves: jvp(function, *leaves).square().sum(), argnums=(0, 1))(*inputs)


def hessian(function: Function, *inputs: Tensor) -> Tensor:
    """Of the weight, forward over reverse."""
    x, weight, bias = inputs
    return torch.func.hessian(lambda leaf: function(x, leaf, bias).square().sum())(weight)


def second_gradients(function: Function, *inputs: Tensor) -> Any:
    leaves = [leaf.clone().requires_grad_() for leaf in inputs]
    first = torch.autograd.grad(function(*leaves).square().sum(), leaves, create_graph=True)
    return torch.autograd.grad(sum(each.square().sum() for each in first), leaves)


def batch_of(index: int, function: Function, *inputs: Tensor) -> Tensor:
    """Calls that differ in one argument alone."""
    batch = torch.stack([inputs[index], 2 * inputs[index]])
    dims = [0 if i == index else None for i in range(3)]
    return torch.vmap(function, tuple(dims))(*inputs[:index], batch, *inputs[index + 1 :])


def batch_of_batches(function: Function, *inputs: Tensor) -> Tensor:
    batches = [torch.stack([each, 2 * each, each - 1]) for each in inputs]
    inner = torch.vmap(function, (0, None, None))
    return torch.vmap(inner, (None, 1, 0), out_dims=1)(batches[0], batches[1].movedim(0, 1), batches[2])


def gradient_of_a_batch(function: Function, *inputs: Tensor) -> Any:
    def loss(*leaves: Tensor) -> Tensor:
        return batch_of(0, function, *leaves).square().sum()

    return torch.func.grad(loss, argnums=(0, 1, 2))(*inputs)


def gradients_of_each(function: Function, *inputs: Tensor) -> Any:
    """Per-sample gradients, as private training asks for them."""
    x, weight, bias = inputs

    def loss(sample: Tensor, weight: Tensor) -> Tensor:
        return function(sample[None], weight, bias).square().sum()

    return torch.vmap(torch.func.grad(loss, argnums=1), (0, None))(x, weight)


TRANSFORMS: dict[str, Callable[..., Any]] = {
    "jvp": jvp,
    "dual numbers": dual_numbers,
    "grad": gradients,
    "grad of jvp": gradient_of_jvp,
    "hessian": hessian,
    "second gradients": second_gradients,
    "a batch of inputs": partial(batch_of, 0),
    "a batch of weights": partial(batch_of, 1),
    "a batch of biases": partial(batch_of, 2),
    "a batch of batches": batch_of_batches,
    "the gradient of a batch": gradient_of_a_batch,
    "the gradients of each": gradients_of_each,
}


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # PyTorch's, of its own derivatives
@pytest.mark.parametrize("name", TRANSFORMS)
def test_what_is_derived_from_it_is_the_convolutions(name: str) -> None:
    """Through every transformation of PyTorch's, and through one of another."""
    transform = TRANSFORMS[name]
    assert_close(transform(ours, X, WEIGHT, BIAS), transform(pytorchs, X, WEIGHT, BIAS))


def test_a_model_of_a_batch_of_weights() -> None:
    """An ensemble, as PyTorch's tutorial builds one, of the layer that a rewritten model has."""
    one = layer()
    weights = {name: torch.stack([value, 2 * value]) for name, value in one.named_parameters()}
    results = torch.vmap(lambda state: torch.func.functional_call(one, state, (F.pad(X, [1] * 4),)))(weights)
    assert_close(results, torch.stack([pytorchs(X, WEIGHT, BIAS), pytorchs(X, 2 * WEIGHT, 2 * BIAS)]))


def traced(module: ResizeConv) -> Function:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated, and still what many deploy
        recording: Function = torch.jit.trace(module, F.pad(X, [1] * 4), check_trace=False)
    return recording


def exported(module: ResizeConv) -> Function:
    sizes = {2: torch.export.Dim("height", min=4, max=4000), 3: torch.export.Dim("width", min=4, max=4000)}
    program = torch.export.export(module, (F.pad(X, [1] * 4),), dynamic_shapes=({0: None} | sizes,))
    return program.module()


def compiled(module: ResizeConv) -> Function:
    function: Function = torch.compile(module, fullgraph=True, dynamic=True, backend="eager")
    return function


@pytest.mark.parametrize("record", [traced, exported, compiled])
def test_a_recording_holds_at_other_sizes(
    record: Callable[[ResizeConv], Function], strips: list[Any]
) -> None:
    """Strips, whose number depends on the size, are not recorded."""
    recording = record(layer())
    for x in (X, noise(2, 3, 300, 60)):
        assert_close(recording(F.pad(x, [1] * 4)), pytorchs(x, WEIGHT, BIAS))
    assert strips == []


@pytest.mark.parametrize("given", [torch.float32, torch.bfloat16])
def test_autocast_decides_on_the_precision(given: torch.dtype) -> None:
    """As in a convolution, whatever the input's is."""
    x = X.to(given)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = layer(torch.float32)(F.pad(x, [1] * 4))
    assert result.dtype == torch.bfloat16
    assert_close(result.double(), pytorchs(x.double(), WEIGHT, BIAS), 2e-2)


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_the_layer_can_be_copied_and_kept(clone: Callable[[ResizeConv], ResizeConv]) -> None:
    assert_close(clone(layer())(F.pad(X, [1] * 4)), pytorchs(X, WEIGHT, BIAS))
