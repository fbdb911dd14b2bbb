"""Which engine is fastest? ESPCN with the same weights through ours and through what people use instead.

python benchmarks/engines.py                   both sizes
python benchmarks/engines.py espcn-x3 -s 60    one of them, for a minute

Prints the processor with its instruction sets, the versions, and a table in Markdown for each size: median
times of a race, how many times the default's time each contestant takes (the median of the ratios round by
round), and the largest difference from PyTorch's result in grey levels. Needs `pip install 'subpixel[bench]'`
and, for torch.compile, a C++ compiler.
"""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import subpixel
from subpixel.engines import available, create
from subpixel.engines.engine import precisions
from subpixel.measure.machine import features, processor, processors
from subpixel.measure.race import gain, race
from subpixel.network import LRNetwork, bicubic
from subpixel.without_telemetry.onnxruntime import onnxruntime

Planes = NDArray[np.float32]
Contestant = Callable[[Planes], Planes]

CASES = {"espcn-x3": (360, 640), "espcn-x2": (1080, 1920)}
REST = 0.02  # seconds, until the threads of the contestant before have stopped spinning
PACKAGES = ("openvino", "onnxruntime", "torch", "opencv-python-headless", "numpy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=", ".join(CASES))
    parser.add_argument("-s", "--seconds", type=float, default=20.0, help="for the timing of each size")
    options = parser.parse_args()
    print(f"{processor()}, {processors()} processors: {' '.join(features())}")
    print(", ".join(f"{package} {version(package)}" for package in PACKAGES))
    for name in options.networks or CASES:
        print(f"\n{compare(subpixel.load(name), *CASES[name], options.seconds)}")


def compare(network: LRNetwork, height: int, width: int, seconds: float) -> str:
    planes = scene(height + 2 * network.radius, width + 2 * network.radius)
    with tempfile.TemporaryDirectory() as folder:
        contestants = ours(network) | theirs(network, planes, Path(folder) / "network.onnx")
    truth = contestants["PyTorch eager"](planes)
    differences = {name: check(name, run(planes), truth) for name, run in contestants.items()}
    runs = {name: partial(run, planes) for name, run in contestants.items()}
    times = race(runs, seconds, seed=0, always=runs, rest=REST)
    return table(network, f"{width}x{height}", times, differences)


def table(network: LRNetwork, size: str, times: dict[str, list[float]], differences: dict[str, float]) -> str:
    default = next(iter(times.values()))
    rows = [f"| {network.name} of {size} | ms | of the default | off by |", "|---|--:|--:|--:|"]
    for name, taken in sorted(times.items(), key=lambda item: median(item[1])):
        ratio = gain(taken, default)
        rows.append(f"| {name} | {1000 * median(taken):.1f} | {ratio:.2f} | {differences[name]:.5f} |")
    return "\n".join(rows)


def check(name: str, result: Planes, truth: Planes) -> float:
    """The largest difference in grey levels, if it is one that rounding explains."""
    result, truth = 255 * result, 255 * truth
    largest = float(np.abs(result - truth).max())
    if "bf16" in name:
        assert np.mean(np.abs(np.rint(result) - np.rint(truth)) > 1) <= 0.01, name
    else:
        assert largest <= 255e-5, f"{name} is off by {largest}"
    return largest


def scene(height: int, width: int) -> Planes:
    """Smooth shapes with soft edges, in the range of video: what bf16 loses depends on the picture."""
    noise = np.random.default_rng(0).random((1, 1, height // 8 + 5, width // 8 + 5), dtype=np.float32)
    shapes = create(bicubic(8))(np.round(noise))[:, :, :height, :width]
    return np.ascontiguousarray((16 + 219 * shapes.clip(0, 1)) / 255)


def ours(network: LRNetwork) -> dict[str, Contestant]:
    """The default, then every engine that is installed in every precision that it has here."""
    default = create(network)
    others = {
        f"ours, {name} {precision}": create(network, name, precision)
        for name in available()
        for precision in precisions(name)
    }
    return {f"ours, default: {default.name} {default.precision}": default, **others}


def theirs(network: LRNetwork, planes: Planes, path: Path) -> dict[str, Contestant]:
    """What one writes without us: tensors stay tensors, and the ONNX file is PyTorch's export."""
    model = module(network)
    example = torch.from_numpy(planes)
    torch.onnx.export(model, (example,), path, verbose=False)
    options = onnxruntime.SessionOptions()  # threads that spin after a run would slow the next contestant
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options)
    (given,) = session.get_inputs()
    contestants = {
        "PyTorch eager": in_torch(model),
        "PyTorch eager, channels last": in_torch(module(network).to(memory_format=torch.channels_last)),
        "torch.compile": in_torch(torch.compile(model)),
        "ONNX Runtime": lambda planes: session.run(None, {given.name: planes})[0],
    }
    for name in ("CLASSIC", "NEW"):
        net = cv2.dnn.readNetFromONNX(str(path), getattr(cv2.dnn, f"ENGINE_{name}"))
        contestants[f"OpenCV dnn, {name.lower()} engine"] = in_opencv(net)
    return contestants


def module(network: LRNetwork) -> nn.Module:
    layers: list[nn.Module] = []
    for convolution in network.convolutions:
        layer = nn.Conv2d(*convolution.weight.shape[1::-1], convolution.weight.shape[-1])
        layer.load_state_dict({part: torch.tensor(getattr(convolution, part)) for part in ("weight", "bias")})
        layers += [layer, nn.Tanh()]
    return nn.Sequential(*layers[:-1], nn.PixelShuffle(network.upscale_factor)).eval()


def in_torch(model: nn.Module) -> Contestant:
    @torch.inference_mode()
    def run(planes: Planes) -> Planes:
        return model(torch.from_numpy(planes)).numpy()

    return run


def in_opencv(net: cv2.dnn.Net) -> Contestant:
    def run(planes: Planes) -> Planes:
        net.setInput(planes)
        return net.forward()

    return run


if __name__ == "__main__":
    main()
