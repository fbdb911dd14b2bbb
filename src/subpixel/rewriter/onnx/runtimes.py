"""The runtimes of ONNX models: ONNX Runtime and OpenVINO, on the CPU, in the precision of the model."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from subpixel.extras import needing
from subpixel.measure.machine import processor
from subpixel.rewriter.onnx.files import size_of_tensors, with_external_tensors

# Bytes of tensors. Larger models go through files: of a message both it and its bytes are held twice, and
# ONNX Runtime keeps the bytes as long as the session lives.
IN_MEMORY = 2**24
MOST_THREADS = 1024  # beyond, runtimes fail without saying why
Feeds = Mapping[str, NDArray[Any]]
Session = Callable[[Feeds], list[NDArray[Any]]]  # all outputs, in order


class Runtime(NamedTuple):
    """A runtime.

    Attributes:
        name: the runtime with its version and processor.
        compile: makes a model ready to run, given as bytes or as the path of a file.
    """

    name: str
    compile: Callable[[bytes | Path], Session]


def find_runtime(name: str, threads: int | None = None) -> Runtime:
    """Return a runtime by name, with so many threads; None leaves their number to the runtime.

    Raises:
        ValueError: there is no runtime of that name, or no such number of threads.
        ModuleNotFoundError: the runtime is not installed.
    """
    if name not in RUNTIMES:
        raise ValueError(f"runtime must be one of {tuple(RUNTIMES)}; got {name!r}.")
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise ValueError(f"threads must be from 1 to {MOST_THREADS}; got {threads}.")
    with needing(name):
        return RUNTIMES[name](threads)


def session(runtime: Runtime, model: ir.Model) -> Session:
    """Make a model ready to run.

    Raises:
        ValueError: the runtime refuses the model, now or when it runs.
    """
    with _explaining(runtime), TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        if size_of_tensors(model) < IN_MEMORY:
            compiled = runtime.compile(ir.to_proto(model).SerializeToString())
        else:
            path = Path(folder, "model.onnx")
            copy = with_external_tensors(model, path.with_suffix(".data"), "model.data")
            path.write_bytes(ir.to_proto(copy).SerializeToString())
            compiled = runtime.compile(path)

    def run(feeds: Feeds) -> list[NDArray[Any]]:
        with _explaining(runtime):
            return compiled(feeds)

    return run


@contextmanager
def _explaining(runtime: Runtime) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # each runtime has a family of its own
        reason = " ".join(str(error).split())
        raise ValueError(f"the model must run on {runtime.name.split(',')[0]}; it says: {reason}") from error


def _onnxruntime(threads: int | None) -> Runtime:
    from subpixel.without_telemetry.onnxruntime import onnxruntime  # noqa: PLC0415 (either may be missing)

    def compile_model(model: bytes | Path) -> Session:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = threads or 0  # 0 is its own choice
        # A model whose threads spin after its run would slow the other one, with which it takes turns.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        compiled = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return lambda feeds: compiled.run(None, dict(feeds))

    return Runtime(f"ONNX Runtime {onnxruntime.__version__}, {_machine(threads)}", compile_model)


def _openvino(threads: int | None) -> Runtime:
    from subpixel.without_telemetry.openvino import openvino  # noqa: PLC0415

    core = openvino.Core()
    # Its default on some processors is bfloat16, which would hide what a rewrite changes.
    options = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = str(threads)

    def tensor(array: NDArray[Any]) -> Any:
        """OpenVINO reads an array of bfloat16 as one of float16 unless it is told."""
        if array.dtype != ml_dtypes.bfloat16:
            return array
        return openvino.Tensor(np.ascontiguousarray(array).view(np.uint16), array.shape, openvino.Type.bf16)

    def compile_model(model: bytes | Path) -> Session:
        compiled = core.compile_model(core.read_model(model), "CPU", options)
        request = compiled.create_infer_request()
        return lambda feeds: [
            _array(output, port.get_element_type().get_type_name())
            for port, output in request.infer({name: tensor(feeds[name]) for name in feeds}).to_dict().items()
        ]

    return Runtime(
        f"OpenVINO {openvino.__version__.partition('-')[0]} in f32, {_machine(threads)}", compile_model
    )


def _array(output: NDArray[Any], kind: str) -> NDArray[Any]:
    """Return a copy of an output, since the next run overwrites it; OpenVINO gives bfloat16 as float16."""
    return np.array(output).view(ml_dtypes.bfloat16 if kind == "bf16" else output.dtype)


def _machine(threads: int | None) -> str:
    count = f"{os.cpu_count()} processors" if threads is None else f"{threads} threads"
    return f"{count}, {processor()}"


RUNTIMES = {"onnxruntime": _onnxruntime, "openvino": _openvino}
