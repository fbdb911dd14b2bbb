"""Inputs to run an ONNX model on."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

Feeds = dict[str, NDArray[Any]]
LARGEST = 2**28  # elements of a random input: 1 GiB in float32
Shapes = Mapping[str, Sequence[int]]


def feeds(model: ir.Model, example_inputs: Any, seed: int) -> Feeds:
    """Return the example inputs by name; without any, make random ones if the model fixes all sizes.

    Args:
        model: the model that will read them.
        example_inputs: an array, a sequence of arrays in order, a dict of arrays by name, or None.
        seed: the seed of random inputs.

    Raises:
        ValueError: an input is missing, is not one of the model's, or has another type or shape.
    """
    if example_inputs is None:
        return random_feeds(model, {}, seed)
    inputs = {value.name or "": value for value in required_inputs(model)}
    arrays = _by_name(list(inputs), example_inputs)
    if arrays.keys() != inputs.keys():
        raise ValueError(f"example_inputs must be given for {_listed(inputs)}; got {_listed(arrays)}.")
    return {name: _checked(inputs[name], np.asarray(array)) for name, array in arrays.items()}


def random_feeds(model: ir.Model, shapes: Shapes, seed: int) -> Feeds:
    """Make random inputs of these shapes, or of those that the model fixes.

    Fractions are normally distributed. Integers are what the nodes that read them surely take: any pixel
    where they become fractions, any row where they are the index of a table. Elsewhere they are zero.

    Args:
        model: the model that will read them.
        shapes: the shapes of inputs by name, at least of those whose sizes the model leaves open.
        seed: the seed of the random numbers.

    Raises:
        ValueError: a size is missing, or another one than the model's.
    """
    inputs = {value.name or "": value for value in required_inputs(model)}
    if unknown := shapes.keys() - inputs.keys():
        raise ValueError(f"shapes must be for the inputs {_listed(inputs)}; got {_listed(unknown)}.")
    random = np.random.default_rng(seed)
    return {name: _random(value, shapes.get(name), random) for name, value in inputs.items()}


def other_feeds(model: ir.Model, example: Feeds, seed: int) -> list[Feeds]:
    """Return noise of the example's shapes; where sizes are symbolic, also half and twice as large."""
    random, values = np.random.default_rng(seed), required_inputs(model)
    sizes = {key: n for value in values for key, n in _free_sizes(value, example[value.name or ""]).items()}
    others = [{}, {key: max(n // 2, 1) for key, n in sizes.items()}, {key: n * 2 for key, n in sizes.items()}]
    return [
        {value.name or "": _resized(value, example[value.name or ""], changed, random) for value in values}
        for changed in (others if sizes else others[:1])
    ]


def required_inputs(model: ir.Model) -> list[ir.Value]:
    """Return the inputs that have no default."""
    return [value for value in model.graph.inputs if not value.is_initializer()]


def _by_name(names: list[str], example_inputs: Any) -> Mapping[str, Any]:
    if isinstance(example_inputs, Mapping):
        return example_inputs
    arrays = example_inputs if isinstance(example_inputs, list | tuple) else [example_inputs]
    if len(arrays) != len(names):
        raise ValueError(f"example_inputs must be given for {_listed(names)}; got {len(arrays)} arrays.")
    return dict(zip(names, arrays, strict=True))


def _checked(value: ir.Value, array: NDArray[Any]) -> NDArray[Any]:
    dims = None if value.shape is None else list(value.shape)
    fits = dims is None or (
        len(dims) == array.ndim
        and all(not isinstance(dim, int) or dim == size for dim, size in zip(dims, array.shape, strict=True))
    )
    if value.dtype is None or array.dtype != value.dtype.numpy() or not fits:
        raise ValueError(
            f"example_inputs must be {value.dtype} of {value.shape} for {value.name}; "
            f"got {array.dtype} of {array.shape}."
        )
    return array


def _random(value: ir.Value, shape: Sequence[int] | None, random: np.random.Generator) -> NDArray[Any]:
    if shape is None:
        shape = [dim for dim in value.shape or () if isinstance(dim, int)]
        if value.shape is None or len(shape) < len(value.shape):
            raise ValueError(
                f"the shape of the input {value.name} must be known; got {value.shape}. "
                f"Pass example inputs, or --shape {value.name}=1x3x64x64 on the command line."
            )
    if prod(shape) > LARGEST:
        raise ValueError(f"the input {value.name} must have at most {LARGEST} elements; got {list(shape)}.")
    if value.dtype is None:
        raise ValueError(f"the input {value.name} must be a tensor; got {value.type}.")
    dtype = value.dtype.numpy()
    if dtype.kind not in "iub":
        return _checked(value, _noise(np.zeros(shape, dtype), random))
    low, high = _valid_integers(value)
    return _checked(value, random.integers(low, high, shape, endpoint=True).astype(dtype))


def _valid_integers(value: ir.Value) -> tuple[int, int]:
    """Return the least and the largest integer that all readers of a value take, as far as they tell."""
    assert value.dtype is not None
    dtype = value.dtype.numpy()
    if dtype.kind == "b":
        return 0, 1
    low, high = -128 if dtype == np.int8 else 0, 127 if dtype == np.int8 else 255
    pending, seen = [value], {value}
    while pending:
        for node, index in pending.pop().uses():
            if _passes_on(node, index):
                pending += set(node.outputs) - seen
                seen.update(node.outputs)
            elif (node.op_type, index) == ("Gather", 1):
                low, high = 0, min(high, _rows(node) - 1)
            elif (node.op_type, index) not in TAKE_ANY:
                return 0, 0
    return low, high


PASS_ON = ("Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
WIDE = (ir.DataType.INT32, ir.DataType.INT64)
TAKE_ANY = (
    ("Cast", 0),
    ("DequantizeLinear", 0),
    ("ConvInteger", 0),
    ("MatMulInteger", 0),
    ("QLinearConv", 0),
)


def _passes_on(node: ir.Node, index: int) -> bool:
    """Tell whether the outputs of a node are the same integers as this input."""
    if node.op_type == "Cast":
        return not ir.DataType(node.attributes.get_int("to", 0)).is_floating_point()
    return index == 0 and node.op_type in PASS_ON


def _rows(gather: ir.Node) -> int:
    """Return how many indices a table surely has: at least one."""
    table, axis = gather.inputs[0], gather.attributes.get_int("axis", 0)
    shape = None if table is None else table.shape
    size = shape[axis] if shape is not None and -len(shape) <= axis < len(shape) else None
    return max(size, 1) if isinstance(size, int) else 1


def _noise(array: NDArray[Any], random: np.random.Generator) -> NDArray[Any]:
    """Return noise of the same type and shape; integers, which may be indices, only change places."""
    if array.dtype.kind in "fV":
        return random.standard_normal(array.shape).astype(array.dtype)
    return random.permuted(array.ravel()).reshape(array.shape)


def _keys(value: ir.Value) -> list[Any]:
    """Return for each axis its size, or the name of its symbolic size, or a name of its own."""
    dims = [dim if isinstance(dim, int) else dim.value for dim in value.shape or ()]
    return [(value.name, axis) if dim is None else dim for axis, dim in enumerate(dims)]


def _free_sizes(value: ir.Value, array: NDArray[Any]) -> dict[Any, int]:
    """Return the spatial sizes of the example that the model leaves open."""
    pairs = list(zip(_keys(value), array.shape, strict=False))[2:]
    return {key: size for key, size in pairs if not isinstance(key, int)}


def _resized(
    value: ir.Value, array: NDArray[Any], changed: Mapping[Any, int], random: np.random.Generator
) -> NDArray[Any]:
    keys = _keys(value) or [None] * array.ndim
    shape = [changed.get(key, size) for key, size in zip(keys, array.shape, strict=True)]
    return _noise(np.resize(array, shape), random)


def _listed(names: Any) -> str:
    return ", ".join(names) or "none"
