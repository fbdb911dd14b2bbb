"""Which engine is fastest? ESPCN with the same weights through ours and through what people use instead.

python benchmarks/engines.py                   both sizes
python benchmarks/engines.py espcn-x3 -n 21    one of them, 21 rounds

Prints a table in Markdown a size: medians over rounds in which every contestant runs once, in random order,
and the largest difference to PyTorch's result in grey levels. Needs `pip install 'subpixel[bench]'` and, for
torch.compile, a C++ compiler.
"""

import argparse
import os
import random
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import subpixel
from subpixel.engines import create
from subpixel.measure.machine import processor
from subpixel.network import LRNetwork, bicubic
from subpixel.without_telemetry.onnxruntime import onnxruntime

Planes = NDArray[np.float32]
Contestant = Callable[[Planes], Planes]

CASES = {"espcn-x3": (360, 640), "espcn-x2": (1080, 1920)}
PACKAGES = ("openvino", "onnxruntime", "torch", "opencv-python-headless", "numpy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=", ".join(CASES))
    parser.add_argument("-n", "--rounds", type=int, default=11)
    options = parser.parse_args()
    print(f"{processor()}, {os.cpu_count()} cores; " + ", ".join(f"{p} {version(p)}" for p in PACKAGES))
    for name in options.networks or CASES:
        print(f"\n{compare(subpixel.load(name), *CASES[name], options.rounds)}")


def compare(network: LRNetwork, height: int, width: int, rounds: int) -> str:
    planes = scene(height + 2 * network.radius, width + 2 * network.radius)
    with tempfile.TemporaryDirectory() as folder:
        contestants = ours(network) | theirs(network, planes, Path(folder) / "network.onnx")
    truth = contestants["PyTorch eager"](planes)
    differences = {name: check(name, run(planes), truth) for name, run in contestants.items()}
    medians = measure(contestants, planes, rounds)
    return table(network, f"{width}x{height}", medians, differences)


def table(network: LRNetwork, size: str, medians: dict[str, float], differences: dict[str, float]) -> str:
    default = next(iter(medians.values()))
    rows = [f"| {network.name} of {size} | ms | of the default | off by |", "|---|--:|--:|--:|"]
    for name, seconds in sorted(medians.items(), key=lambda item: item[1]):
        rows.append(f"| {name} | {1000 * seconds:.1f} | {seconds / default:.2f} | {differences[name]:.5f} |")
    return "\n".join(rows)


def measure(contestants: dict[str, Contestant], planes: Planes, rounds: int) -> dict[str, float]:
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    order = list(contestants)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            time.sleep(0.02)  # until the threads of the one before have stopped spinning
            start = time.perf_counter()
            contestants[name](planes)
            seconds[name].append(time.perf_counter() - start)
    return {name: median(values) for name, values in seconds.items()}


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
    default = create(network)
    others = {
        f"ours, {engine} {precision}": create(network, engine, precision)
        for engine, precision in (
            ("openvino", "f32"),
            ("onnxruntime", "f32"),
            ("torch", "f32"),
            ("torch", "bf16"),
        )
    }
    return {f"ours, default: {default.name} {default.precision}": default, **others}


def theirs(network: LRNetwork, planes: Planes, path: Path) -> dict[str, Contestant]:
    """What one writes without us: tensors stay tensors, and the ONNX file is PyTorch's export."""
    model = module(network)
    example = torch.from_numpy(planes)
    torch.onnx.export(model, (example,), path, verbose=False)
    session = onnxruntime.InferenceSession(path)
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
