"""Small ONNX models for the rewriter's tests, and the runtime that both sides of a rewrite run on."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.tape import Tape

from subpixel.rewriter.forms import Choice
from subpixel.rewriter.onnx.runtimes import find_runtime
from subpixel.rewriter.onnx.target import OnnxTarget
from subpixel.without_telemetry.onnxruntime import onnxruntime

RUNTIME = find_runtime("onnxruntime")
Feeds = dict[str, NDArray[Any]]


class Maker(Tape):
    """Records nodes; arrays become initializers."""

    def __call__(self, op_type: str, *inputs: Any, **attributes: Any) -> ir.Value:
        values = [self.array(value) if isinstance(value, np.ndarray) else value for value in inputs]
        return self.op(op_type, values, attributes)

    def array(self, array: NDArray[Any]) -> ir.Value:
        return self.initializer(ir.tensor(array), f"c{len(self.initializers)}")


def model(
    build: Callable[[Maker, ir.Value], ir.Value | Sequence[ir.Value]],
    dims: Sequence[int | str],
    opset: int = 18,
    dtype: ir.DataType = ir.DataType.FLOAT,
    ir_version: int = 10,
) -> ir.Model:
    """What `build` records, from the input "x"; nodes and values are named in order."""
    maker, x = Maker(), ir.val("x", dtype, dims)
    results = build(maker, x)
    outputs = [results] if isinstance(results, ir.Value) else list(results)
    for output in outputs:
        output.dtype, output.shape = output.dtype or dtype, ir.Shape([None] * len(dims))
    graph = ir.Graph(
        [x],
        outputs,
        nodes=maker.nodes,
        initializers=maker.initializers,
        opset_imports={"": opset},
        name="test",
    )
    return ir.Model(graph, ir_version=ir_version)


def run(made: ir.Model, feeds: Feeds) -> list[NDArray[Any]]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(ir.to_proto(made).SerializeToString(), options)
    return session.run(None, feeds)


def target(made: ir.Model, x: NDArray[Any]) -> OnnxTarget:
    return OnnxTarget(made, {"x": x}, RUNTIME, 0)


def noise(*shape: int, dtype: Any = np.float32, seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def operators(made: ir.Model) -> list[str]:
    return [node.op_type for node in made.graph]


def assert_equal_models(
    made: ir.Model, changed: ir.Model, *inputs: NDArray[Any], tolerance: float = 1e-5
) -> None:
    """All outputs at each input, within `tolerance` of the largest value; names and types too."""
    for ours, theirs in zip(changed.graph.outputs, made.graph.outputs, strict=True):
        assert (ours.name, ours.dtype) == (theirs.name, theirs.dtype)
    for x in inputs:
        for actual, expected in zip(run(changed, {"x": x}), run(made, {"x": x}), strict=True):
            assert actual.shape == expected.shape
            assert actual.dtype == expected.dtype
            limit = tolerance * np.abs(expected.astype(np.float64)).max(initial=0)
            assert np.abs(actual.astype(np.float64) - expected.astype(np.float64)).max(initial=0) <= limit


def assert_all_forms_equal(made: ir.Model, *inputs: NDArray[Any], tolerance: float = 1e-5) -> set[str]:
    """Every form of every site, put in alone; gives the names of the forms."""
    seen = set()
    proven = target(made, inputs[0])
    for site in proven.sites():
        for form in site.names:
            changed = proven.rewritten({site: Choice(form)})
            assert_equal_models(made, changed, *inputs, tolerance=tolerance)
            seen.add(form)
    return seen
