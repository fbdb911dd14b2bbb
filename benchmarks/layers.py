"""Which form of a transposed convolution is fastest, on layers of real networks?

    python benchmarks/layers.py            all layers
    python benchmarks/layers.py NAME...    those whose names begin so

All forms of a layer are timed by turns, in one run, in both memory formats, with the mapping of the weights,
until the fastest one separates.
The layers marked "held out" had no say in the rule of `form="auto"`.
"""

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from math import exp, log
from statistics import mean, median

import torch
from torch.nn import functional

from subpixel.functional import conv_transpose
from subpixel.measure.machine import processor
from subpixel.measure.race import gain, race

FORMS = ("aligned", "compact", "split", "auto")
OPERATORS = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}
CHANNELS_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}
ALWAYS = {"PyTorch", "auto"}  # the others are timed while they may still win

Times = dict[str, list[float]]  # seconds by form, "PyTorch" among them, round by round


@dataclass(frozen=True)
class Layer:
    """A transposed convolution, alike along its axes, and the size of its input."""

    network: str
    channels: tuple[int, int]
    kernel: tuple[int, ...]  # size, stride, padding, output_padding
    size: tuple[int, ...]
    groups: int = 1
    batch: int = 1
    held_out: bool = False

    @property
    def options(self) -> dict[str, int]:
        names = ("stride", "padding", "output_padding")
        return dict(zip(names, self.kernel[1:], strict=False)) | {"groups": self.groups}

    def __str__(self) -> str:
        kernel = "".join(f"{letter}{n} " for letter, n in zip("kspo", self.kernel, strict=False))
        groups = f"g{self.groups} " if self.groups > 1 else ""
        size = "x".join(map(str, self.size))
        batch = f" batch {self.batch}" if self.batch > 1 else ""
        return f"{self.network}, {self.channels[0]}-{self.channels[1]} {kernel}{groups}at {size}{batch}"


LAYERS = (
    # 1-D: vocoders, codecs, separators, inverse STFT
    Layer("HiFi-GAN 1", (512, 256), (16, 8, 4), (86,)),
    Layer("HiFi-GAN 2", (256, 128), (16, 8, 4), (688,)),
    Layer("HiFi-GAN 3", (128, 64), (4, 2, 1), (5504,)),
    Layer("HiFi-GAN 4", (64, 32), (4, 2, 1), (11008,)),
    Layer("EnCodec 2", (256, 128), (10, 5), (600,)),
    Layer("EnCodec 3", (128, 64), (8, 4), (3000,)),
    Layer("EnCodec 4", (64, 32), (4, 2), (12000,)),
    Layer("DAC 1", (1536, 768), (16, 8, 4), (43,)),
    Layer("DAC 3", (384, 192), (8, 4, 2), (2752,), held_out=True),
    Layer("Mimi", (512, 512), (4, 2), (125,), groups=512),
    Layer("iSTFT 1024", (1026, 1), (1024, 256), (256,)),
    Layer("iSTFT 2048", (2050, 1), (2048, 512), (128,), held_out=True),
    Layer("WaveGlow", (80, 80), (1024, 256), (63,)),
    Layer("Conv-TasNet", (512, 1), (16, 8), (4000,)),
    Layer("Demucs 5", (128, 64), (8, 4), (2756,), held_out=True),
    Layer("TasNet", (512, 1), (40, 20), (1600,), held_out=True),
    Layer("Demucs 6", (64, 8), (8, 4), (11025,)),
    Layer("WaveGAN 2", (512, 256), (25, 4, 11, 1), (64,)),
    # 2-D: decoders
    Layer("U-Net 1", (1024, 512), (2, 2), (32, 32)),
    Layer("U-Net 4", (128, 64), (2, 2), (128, 128)),
    Layer("DCGAN 1", (100, 512), (4, 1), (1, 1)),
    Layer("DCGAN 2", (512, 256), (4, 2, 1), (4, 4)),
    Layer("DCGAN 4", (128, 64), (4, 2, 1), (16, 16)),
    Layer("DCGAN 5", (64, 3), (4, 2, 1), (32, 32)),
    Layer("DCGAN 5, batch", (64, 3), (4, 2, 1), (32, 32), batch=32),
    Layer("pix2pix 5", (1024, 256), (4, 2, 1), (16, 16), held_out=True),
    Layer("pix2pix 8", (128, 3), (4, 2, 1), (128, 128)),
    Layer("CycleGAN 1", (256, 128), (3, 2, 1, 1), (64, 64)),
    Layer("CycleGAN 2", (128, 64), (3, 2, 1, 1), (128, 128)),
    Layer("StyleGAN2", (512, 512), (3, 2), (32, 32), held_out=True),
    Layer("VAE on MNIST", (64, 32), (3, 2, 1, 1), (7, 7), batch=64),
    Layer("SAM 1", (256, 64), (2, 2), (64, 64)),
    Layer("SAM 2", (64, 32), (2, 2), (128, 128)),
    Layer("Pose baseline", (256, 256), (4, 2, 1), (32, 24)),
    Layer("CenterNet", (256, 256), (4, 2, 1), (64, 64)),
    Layer("Linknet 4", (16, 16), (4, 2, 1), (128, 128)),
    Layer("Mask R-CNN", (256, 256), (2, 2), (14, 14), batch=8),
    Layer("PointPillars 2", (128, 128), (2, 2), (124, 108), held_out=True),
    Layer("PointPillars 3", (256, 128), (4, 4), (62, 54)),
    Layer("ERFNet 2", (64, 16), (3, 2, 1, 1), (128, 256), held_out=True),
    Layer("FlowNetS 4", (770, 128), (4, 2, 1), (24, 32)),
    Layer("FlowNetS, flow", (2, 2), (4, 2, 1), (48, 64)),
    # 2-D: heads
    Layer("FSRCNN x2", (56, 1), (9, 2, 4, 1), (128, 128), held_out=True),
    Layer("FSRCNN x3", (56, 1), (9, 3, 4, 2), (160, 160)),
    Layer("FSRCNN x4", (56, 1), (9, 4, 4, 3), (128, 128)),
    Layer("waifu2x", (256, 3), (4, 2, 3), (128, 128)),
    Layer("FCN-8s 1", (21, 21), (4, 2), (16, 16)),
    Layer("FCN-8s 3", (21, 21), (16, 8), (34, 34)),
    Layer("FCN-32s", (21, 21), (64, 32), (16, 16)),
    Layer("Fixed bilinear x4", (32, 32), (8, 4, 2), (64, 64), groups=32),
    Layer("DBNet 1", (64, 64), (2, 2), (160, 160), held_out=True),
    Layer("DBNet 2", (64, 1), (2, 2), (320, 320), held_out=True),
    Layer("PP-OCR 1", (24, 24), (2, 2), (160, 160)),
    Layer("PP-OCR 2", (24, 1), (2, 2), (320, 320), held_out=True),
    # 3-D: medical, shapes
    Layer("MONAI U-Net 1", (384, 64), (3, 2, 1, 1), (6, 6, 6)),
    Layer("MONAI U-Net 3", (64, 16), (3, 2, 1, 1), (24, 24, 24)),
    Layer("MONAI U-Net 4", (32, 2), (3, 2, 1, 1), (48, 48, 48)),
    Layer("nnU-Net 1", (320, 320), (2, 2), (5, 5, 5)),
    Layer("nnU-Net 4", (64, 32), (2, 2), (40, 40, 40)),
    Layer("V-Net 2", (256, 64), (2, 2), (16, 16, 8), held_out=True),
    Layer("V-Net 4", (64, 16), (2, 2), (64, 64, 32), held_out=True),
    Layer("3D-GAN 2", (512, 256), (4, 2, 1), (4, 4, 4)),
    Layer("3D-GAN 5", (64, 1), (4, 2, 1), (32, 32, 32)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", help="layers whose names begin so; all without")
    parser.add_argument("--seconds", type=float, default=3, help="for each layer, at most")
    parser.add_argument("--training", action="store_true", help="forward and backward, not inference")
    options = parser.parse_args()
    layers = [layer for layer in LAYERS if str(layer).startswith(tuple(options.names) or "")]
    task = "forward and backward" if options.training else "inference"
    print(f"{processor()}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}, float32, {task}")
    print("Median milliseconds of PyTorch's operator; how many times faster the forms are; * the fastest\n")
    print(f"{'':72}{'memory format':15}{'PyTorch':>9}" + "".join(f"{form:>10}" for form in FORMS))
    results = {}
    for layer in layers:
        with torch.inference_mode(not options.training):
            results[layer] = measure(layer, options.seconds)
        for memory_format, times in results[layer].items():
            print(line(layer, memory_format, times), flush=True)
    print(summary(results))


def measure(layer: Layer, seconds: float) -> dict[str, Times]:
    """Return the times by memory format and form."""
    candidates = {
        (memory_format, form): run
        for memory_format, tensors in inputs(layer).items()
        for form, run in runs(layer, *tensors).items()
    }
    samples = race(candidates, seconds, seed=0, always=[key for key in candidates if key[1] in ALWAYS])
    return {m: {form: t for (other, form), t in samples.items() if other == m} for m, _ in candidates}


def inputs(layer: Layer) -> dict[str, tuple[torch.Tensor, ...]]:
    """Return input, weight and bias by memory format."""
    ndim = len(layer.size)
    c_in, c_out = layer.channels
    x = torch.randn(layer.batch, c_in, *layer.size)
    weight = torch.randn(c_in, c_out // layer.groups, *[layer.kernel[0]] * ndim)
    bias = torch.randn(c_out)
    tensors = {"contiguous": (x, weight, bias)}
    if last := CHANNELS_LAST.get(ndim):
        tensors["channels last"] = x.to(memory_format=last), weight.to(memory_format=last), bias
    return tensors


def runs(layer: Layer, *tensors: torch.Tensor) -> dict[str, Callable[[], object]]:
    """Return what to time, by form: the forward pass, and with gradients the backward pass too."""
    options = layer.options
    operators = {"PyTorch": OPERATORS[len(layer.size)]} | {f: partial(conv_transpose, form=f) for f in FORMS}
    forward = {form: partial(operator, *tensors, **options) for form, operator in operators.items()}
    if torch.is_inference_mode_enabled():
        return forward
    for tensor in tensors:
        tensor.requires_grad_()
    gradient = forward["PyTorch"]().detach()

    def both(run: Callable[[], torch.Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(run(), tensors, gradient)

    return {form: both(run) for form, run in forward.items()}


def line(layer: Layer, memory_format: str, times: Times) -> str:
    gains = {form: gain(times["PyTorch"], taken) for form, taken in times.items()}
    fastest = max(gains, key=gains.__getitem__)
    cells = [f"{median(times['PyTorch']) * 1e3:8.2f}{'*' if fastest == 'PyTorch' else ' '}"]
    cells += [f"{gains[form]:9.2f}{'*' if fastest == form else ' '}" for form in FORMS]
    name = f"{layer} (held out)" if layer.held_out else str(layer)
    return f"{name:72}{memory_format:15}{''.join(cells)}"


def summary(results: dict[Layer, dict[str, Times]]) -> str:
    """Each side in its own better memory format."""
    lines = [""]
    for title, forms in (("the best LR form", FORMS[:-1]), ("auto", ("auto",))):
        gains = {layer: best_gain(times, forms) for layer, times in results.items()}
        worst, held_out = (
            min(gains, key=gains.__getitem__),
            [gains[layer] for layer in gains if layer.held_out],
        )
        lines.append(
            f"PyTorch's best / {title}: geometric mean of {len(gains)} {geometric(gains.values()):.2f}"
            + (f", of {len(held_out)} held out {geometric(held_out):.2f}" if held_out else "")
            + f", worst {gains[worst]:.2f} ({worst})"
        )
        losses = [f"{layer.network} {gains[layer]:.2f}" for layer in gains if gains[layer] < 0.95]
        lines.append(f"slower by more than 5 %: {len(losses)}: {'; '.join(losses)}")
    return "\n".join(lines)


def best_gain(times: dict[str, Times], forms: Iterable[str]) -> float:
    ours = min((row[form] for row in times.values() for form in forms), key=median)
    return gain(min((row["PyTorch"] for row in times.values()), key=median), ours)


def geometric(ratios: Iterable[float]) -> float:
    return exp(mean(log(ratio) for ratio in ratios))


if __name__ == "__main__":
    main()
