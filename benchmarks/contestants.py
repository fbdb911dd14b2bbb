"""What runs a network: our native engine with each instruction set, and what people use instead.

Others get the network as PyTorch exports it, for the one size that it is timed on.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from ctypes import CDLL
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyanime4k
import torch
from cases import Planes
from numpy.typing import NDArray
from torch import Tensor, nn

from subpixel.engines.engine import Engine, precisions
from subpixel.engines.library import instruction_sets
from subpixel.engines.native import VARIABLE, Native
from subpixel.network import LRConvolution, LRNetwork
from subpixel.without_telemetry import item
from subpixel.without_telemetry.onnxruntime import onnxruntime
from subpixel.without_telemetry.openvino import openvino

Run = Callable[[], NDArray[Any]]

ONNX_RUNTIME, OPENVINO, OPENVINO_BF16 = "ONNX Runtime", "OpenVINO f32", "OpenVINO bf16"
ACNET = "pyanime4k, its own ACNet"


@dataclass(eq=False)
class Contestant:
    """A network on an image, ready to run until it is freed.

    Attributes:
        name: what runs it.
        threads: how many it may use.
        isa: the widest instruction set that it may use.
        run: returns the enlarged planes.
        limit: sets the number of threads, where that is a setting of the whole process.
        ours: whether it is ours.
        same: whether it computes the same network as all others.
    """

    name: str
    threads: int
    isa: str
    run: Run
    limit: Callable[[int], object] = lambda _: None
    ours: bool = False
    same: bool = True

    def free(self) -> None:
        """Let go of what runs, which may hold a gigabyte of feature maps; the name and its like stay."""
        del self.run


def native(network: LRNetwork, planes: Planes, threads: int) -> Iterator[Contestant]:
    """Yield our engine with each instruction set, the best first, and with that one on 8 bits as well."""
    for isa in instruction_sets():
        with item(os.environ, VARIABLE, isa):
            engine = Native(network, threads=threads)
        this = partial(Contestant, threads=threads, isa=isa, ours=True)
        yield this(f"native {isa}", run=partial(engine, planes))
        if isa == next(iter(instruction_sets())):
            codes = np.rint(planes[0] * 255).astype(np.uint8)
            r, (_, height, width) = network.upscale_factor, crop(codes, network.radius).shape
            enlarged = np.empty((network.channels, r * height, r * width), np.uint8)
            yield this(f"native {isa}, uint8 in and out", run=partial(run_into, engine, codes, enlarged))


def run_into(engine: Engine, planes: NDArray[Any], enlarged: NDArray[Any]) -> NDArray[Any]:
    engine.into(planes, enlarged)
    return enlarged


def others(network: LRNetwork, planes: Planes, threads: int) -> Iterator[Contestant]:
    """Yield what others offer, with as many threads."""
    this = partial(Contestant, threads=threads, isa=next(iter(instruction_sets())))
    torch.set_num_threads(threads)  # torch.compile generates code for the number that is set
    for name, model in in_pytorch(network).items():
        (run := partial(run_model, model, planes))()
        yield this(name, run=run, limit=torch.set_num_threads)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "network.onnx")
        torch.onnx.export(Model(network), (torch.from_numpy(planes),), path, verbose=False)
        yield this(ONNX_RUNTIME, run=in_onnx_runtime(path, planes, threads))
        for name, precision in zip((OPENVINO, OPENVINO_BF16), precisions("openvino"), strict=False):
            yield this(name, run=in_openvino(path, planes, threads, precision))
        for name in ("CLASSIC", "NEW"):
            net = cv2.dnn.readNetFromONNX(path, getattr(cv2.dnn, f"ENGINE_{name}"))
            run = partial(run_net, net, planes)
            yield this(f"OpenCV dnn, {name.lower()} engine", run=run, limit=cv2.setNumThreads)
    if (network.upscale_factor, network.channels) == (2, 1):
        processor = pyanime4k.Processor("cpu", 0, "acnet-hdn0")
        plane = np.ascontiguousarray(crop(planes, network.radius)[0, 0])
        yield this(ACNET, run=partial(processor, plane, 2.0), limit=limit_pyanime4k, same=False)


def exact(network: LRNetwork, planes: Planes) -> NDArray[np.float64]:
    """Return the result in float64, by PyTorch: in strips of rows, so that it fits into memory."""
    model, rows, context = Model(network).double(), 128, 2 * network.radius
    tops = range(0, planes.shape[-2] - context, rows)
    strips = (torch.from_numpy(planes[..., top : top + rows + context, :]).double() for top in tops)
    with torch.inference_mode():
        return torch.cat([model(strip) for strip in strips], dim=-2).numpy()


class Model(nn.Module):
    """An LR network in PyTorch."""

    def __init__(self, network: LRNetwork) -> None:
        super().__init__()
        layers = [layer for convolution in network.convolutions for layer in modules(convolution)]
        self.margin, self.path = network.margin, nn.Sequential(*layers)
        self.skip: nn.Module | None = None
        if (skip := network.skip_convolution) is not None:
            self.skip_margin, self.skip = network.radius - skip.radius, nn.Sequential(*modules(skip))
        self.shuffle = nn.PixelShuffle(network.upscale_factor)
        self.eval()

    def forward(self, planes: Tensor) -> Tensor:
        maps = self.path(crop(planes, self.margin))
        if self.skip is not None:
            maps = maps + self.skip(crop(planes, self.skip_margin))
        return self.shuffle(maps)


def modules(convolution: LRConvolution) -> Iterator[nn.Module]:
    outputs, inputs, _, kernel_size = convolution.weight.shape
    layer = nn.Conv2d(inputs, outputs, kernel_size)
    layer.load_state_dict({part: torch.tensor(getattr(convolution, part)) for part in ("weight", "bias")})
    yield layer
    if convolution.slope is not None:
        activation = nn.PReLU(len(convolution.slope))
        activation.load_state_dict({"weight": torch.tensor(convolution.slope)})
        yield activation
    elif convolution.activation is not None:
        yield {"tanh": nn.Tanh, "relu": nn.ReLU}[convolution.activation]()


def crop(planes: Any, margin: int) -> Any:
    height, width = planes.shape[-2:]
    return planes[..., margin : height - margin, margin : width - margin]


def in_pytorch(network: LRNetwork) -> dict[str, nn.Module]:
    torch.compiler.reset()  # it keeps code for a few models only
    # What was compiled while AVX-512 was there gives wrong results where it is hidden.
    torch.compiler.config.force_disable_caches = True
    return {
        "PyTorch eager": Model(network),
        "PyTorch eager, channels last": Model(network).to(memory_format=torch.channels_last),
        "torch.compile": torch.compile(Model(network), fullgraph=True),
    }


@torch.inference_mode()
def run_model(model: nn.Module, planes: Planes) -> Planes:
    return model(torch.from_numpy(planes)).numpy()


def in_onnx_runtime(path: str, planes: Planes, threads: int) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Threads that spin after a run would slow the next contestant.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (name,) = (given.name for given in session.get_inputs())
    return lambda: session.run(None, {name: planes})[0]


def in_openvino(path: str, planes: Planes, threads: int, precision: str) -> Run:
    options = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = openvino.Core().compile_model(path, "CPU", options).create_infer_request()
    return lambda: request.infer({0: planes}, share_inputs=True, share_outputs=True)[0]


def run_net(net: cv2.dnn.Net, planes: Planes) -> Planes:
    net.setInput(planes)
    return net.forward()


def limit_pyanime4k(threads: int) -> None:
    """Set the number of threads of the OpenMP that its wheel brings along, for which it has no option."""
    (library,) = Path(pyanime4k.__file__).parents[1].glob("pyanime4k.libs/libgomp*")
    CDLL(library).omp_set_num_threads(threads)
