"""An autoencoder whose decoder enlarges by LR convolutions, transposed convolutions or resize-convolutions.

The walk-through of the note builds one for MNIST's digits: "To up-sample image in decoder layers first
convolved encoded images then used periodical shuffling". It compares that decoder with no other. Here one
encoder (two convolutions of stride 2, then a code of an eighth of the pixels) is followed by decoders that
differ in their two up-sampling layers alone, r = 2 each, without bias:

- **LR**: a convolution of 3x3 in LR space and a periodic shuffle, the walk-through's decoder.
- **transposed**: a transposed convolution of 6x6, which has as many weights. By the note's section 2 it is
  the same layer, so what differs is how PyTorch initialises it.
- **transposed, LR's start**: the same from the weights of the LR decoder, mapped by `lr_to_transposed`.
  Adam treats each weight by itself, so training must go the same way; what differs is rounding.
- **resize 5x5, wider**: a nearest resize and a convolution of 5x5, with more maps, so that the number of
  weights is the same.
- **resize 5x5**: the same with as many maps as the LR decoder. It is the transposed convolution of 6x6 whose
  kernels have 25 free numbers instead of 36, so that it computes nothing that the LR decoder cannot.
- **resize 3x3**: a resize and the usual small convolution: as many multiply-accumulates as the LR decoder.

All see the same digits in the same order, and start from the same encoder, for each seed. By their identity,
resize-convolutions can be computed in LR space too, and they are trained so, which is quicker; they are
counted and timed in HR space, where they usually are. The error is the mean squared error on the digits
held back, in thousandths (white is 1). Decoders are compared by the differences of their errors, paired by
seed. A pair in float64 shows the identity of the first two free of noise.

References: Shi et al. 2016 (arXiv:1609.07009), section 2; Odena et al. 2016 (doi:10.23915/distill.00003) on
resize-convolution.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from subpixel.extras import needing
from subpixel.kernels import lr_to_transposed, resize_conv_to_transposed
from subpixel.measure.race import gain, race
from subpixel.nn import SubPixelConv2d
from subpixel.studies.lab.bench import Arrays, Bench, Report
from subpixel.studies.lab.comparison import difference, spread
from subpixel.studies.lab.fit import Batches, fit
from subpixel.studies.lab.palette import PHASES
from subpixel.studies.lab.resize import ResizeConv2d
from subpixel.studies.lab.samples import Plane
from subpixel.studies.lab.study import Picture, Result, Row, Study

with needing("study"):
    import torch
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator
    from torch import Tensor, nn
    from torch.utils.flop_counter import FlopCounterMode

MAPS, CODE = 16, 2  # of the features, of the code
WIDER = 23  # maps of 25 weights, for 16 of 36
BATCH = 64
RATE = 5e-3  # of Adam; each decoder ended with a larger loss at half of it
SHOWN = 6  # digits in the picture
LR, MAPPED, IN_LR = "LR", "transposed, LR's start", "resize 5x5 in LR space"
Up = Callable[[int, int], nn.Module]
LAYERS: Mapping[str, tuple[Up, int]] = {  # an up-sampling layer, and the maps between the two
    LR: (lambda c, n: SubPixelConv2d(c, n, 3, 2, bias=False), MAPS),
    "transposed": (lambda c, n: nn.ConvTranspose2d(c, n, 6, stride=2, padding=2, bias=False), MAPS),
    "resize 5x5, wider": (lambda c, n: ResizeConv2d(c, n, 5, 2, bias=False), WIDER),
    "resize 5x5": (lambda c, n: ResizeConv2d(c, n, 5, 2, bias=False), MAPS),
    "resize 3x3": (lambda c, n: ResizeConv2d(c, n, 3, 2, bias=False), MAPS),
}
NAMES = (LR, "transposed", MAPPED, "resize 5x5, wider", "resize 5x5", "resize 3x3")


def autoencoder(name: str, seed: int) -> nn.Sequential:
    """Return the untrained network of a decoder; for a seed, all but the up-sampling layers are the same.

    The first five layers, (n, 1, 4*h, 4*w) to (n, `CODE`, h, w), are the encoder.
    """
    if name == MAPPED:
        return as_transposed(autoencoder(LR, seed))
    torch.manual_seed(seed)
    encoder = (
        *(nn.Conv2d(1, MAPS, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.Conv2d(MAPS, MAPS, 3, stride=2, padding=1), nn.ReLU()),
        nn.Conv2d(MAPS, CODE, 3, padding=1),
    )
    features = nn.Conv2d(CODE, MAPS, 3, padding=1)
    up, maps = LAYERS[name]
    return nn.Sequential(*encoder, features, nn.ReLU(), up(MAPS, maps), nn.ReLU(), up(maps, 1))


def as_transposed(network: nn.Sequential) -> nn.Sequential:
    """Return a copy whose LR convolutions of 3x3, r = 2, are transposed convolutions of the same function."""
    network = copy.deepcopy(network)
    for index, layer in enumerate(network):
        if isinstance(layer, SubPixelConv2d):
            weight = lr_to_transposed(layer.weight.detach(), 2)
            c_in, c_out = weight.shape[:2]
            network[index] = nn.ConvTranspose2d(c_in, c_out, 6, stride=2, padding=2, bias=False)
            network[index].weight = nn.Parameter(weight)
    return network


def compute(bench: Bench) -> Result:
    """Train each decoder from each seed, time them, and put the errors side by side."""
    seeds, steps, seconds = (range(2), 40, 0.3) if bench.quick else (range(3), 1100, 20.0)
    runs = {
        (name, seed): f"{name}, seed {seed}, {steps} steps of {BATCH} digits, Adam {RATE}"
        for name in NAMES
        for seed in seeds
    }
    side = bench.samples.digits[0].shape[-1]
    clock, pair = f"time of the decoders, {seconds} s", "pair in float64, 100 steps"
    trials = {trial: partial(_train, bench, *run, steps) for run, trial in runs.items()}
    kept = bench.trials(trials | {pair: partial(_pair, bench), clock: partial(_time, side, seconds)})
    arrays = {"digits": _as_tensor(bench.samples.digits[1][:SHOWN])[:, 0].numpy()}
    errors = {}
    for name in NAMES:
        trained = [kept[runs[name, seed]] for seed in seeds]
        errors[name] = [1000 * float(trial["error"]) for trial in trained]
        arrays[f"outputs of {name}"] = trained[0]["outputs"]
        arrays[f"losses of {name}"] = np.stack([trial["losses"] for trial in trained])
    rows = [_row(name, side, errors[name], kept[clock]) for name in NAMES]
    arrays["errors"] = np.array(list(errors.values()))
    return Result(rows, list(_findings(rows, errors, kept[clock])), _checks(kept[pair]), arrays)


def _train(
    bench: Bench, name: str, seed: int, steps: int, report: Report
) -> Mapping[str, NDArray[np.float64]]:
    train, test = bench.samples.digits
    network = autoencoder(name, seed)
    batches = _batches(train, seed)
    losses = fit(network, batches, steps=steps, rate=RATE, report=report, optimizer=torch.optim.Adam)
    with torch.no_grad():
        parts = [(digits := _as_tensor(part), network(digits)) for part in np.array_split(test, 10)]
    errors = [(digits - output).square().mean((1, 2, 3)) for digits, output in parts]
    shown = parts[0][1][:SHOWN, 0]
    return {"losses": losses, "error": torch.cat(errors).mean().numpy(), "outputs": shown.numpy()}


def _batches(digits: Plane, seed: int) -> Batches:
    def batch(index: int) -> tuple[Tensor, Tensor]:
        picks = np.random.default_rng((seed, index)).integers(len(digits), size=BATCH)
        return (x := _as_tensor(digits[picks])), x

    return batch


def _as_tensor(digits: Plane) -> Tensor:
    return torch.from_numpy(digits[:, None].astype(np.float32) / 255)


def _pair(bench: Bench, report: Report) -> Mapping[str, NDArray[np.float64]]:
    """Train the LR decoder and its transposed form from the same start in float64; return both losses."""
    lr = autoencoder(LR, 0).double()
    networks = {"LR": lr, "transposed": as_transposed(lr)}
    single = _batches(bench.samples.digits[0], 0)

    def batches(index: int) -> tuple[Tensor, Tensor]:
        x = single(index)[0].double()
        return x, x

    return {
        name: fit(network, batches, steps=100, rate=RATE, report=report, optimizer=torch.optim.Adam)
        for name, network in networks.items()
    }


def _time(side: int, seconds: float, _report: Report) -> Mapping[str, Sequence[float]]:
    """Return the seconds of each decoder for a batch of codes, by turns."""
    codes = torch.rand(BATCH, CODE, side // 4, side // 4)

    def run(decoder: nn.Module) -> Tensor:
        with torch.no_grad():
            return decoder(codes)  # type: ignore[no-any-return]

    decoders = {name: _decoder(name) for name in LAYERS}
    decoders[IN_LR] = autoencoder("resize 5x5", 0)[5:]
    runs = {name: lambda decoder=decoder: run(decoder) for name, decoder in decoders.items()}
    return race(runs, seconds, seed=0, always=tuple(runs))


def _decoder(name: str) -> nn.Module:
    """Return an untrained decoder as a user of PyTorch would have it: resize-convolutions in HR space."""
    decoder = autoencoder(name, 0)[5:]
    for layer in decoder.modules():
        if isinstance(layer, ResizeConv2d):
            layer.in_hr_space = True
    return decoder


def _row(name: str, side: int, errors: Sequence[float], times: Arrays) -> Row:
    decoder = _decoder(name)
    with FlopCounterMode(display=False) as counter:
        decoder(torch.zeros(1, CODE, side // 4, side // 4))
    seconds = times["transposed" if name == MAPPED else name]
    return {
        "decoder": name,
        "parameters": sum(parameter.numel() for parameter in decoder.parameters()),
        "multiply-accumulates a digit": counter.get_total_flops() // 2,
        f"ms for {BATCH} digits": float(np.median(seconds)) * 1e3,
        "error, thousandths": spread(errors),
    }


def _findings(rows: Sequence[Row], errors: Mapping[str, Sequence[float]], times: Arrays) -> list[str]:
    """Return what the errors and the times say, each decoder against that of LR convolutions."""
    notes = {
        "transposed": "the layers are the same, so only the initialisation can make a difference",
        MAPPED: "the same start: rounding alone",
        "resize 5x5, wider": "as many weights, but structured kernels",
        "resize 5x5": "the pure restriction",
        "resize 3x3": "as many operations",
    }
    weights = {row["decoder"]: row["parameters"] for row in rows}
    seeds = len(errors[LR])
    found = [f"LR ({weights[LR]:,} parameters): error {spread(errors[LR])} thousandths over {seeds} seeds."]
    for name, note in notes.items():
        differences = [a - b for a, b in zip(errors[name], errors[LR], strict=True)]
        found.append(
            f"{name} ({weights[name]:,} parameters; {note}): error {spread(errors[name])}; against the LR "
            f"decoder {difference(differences, digits=2, unit='')}."
        )
    seconds = {name: list(times[name]) for name in times}
    slower = [f"{name} {gain(seconds[name], seconds[LR]):.2f}" for name in times if name != LR]
    found.append(f"Time of the decoder in PyTorch, as a multiple of the LR decoder's: {', '.join(slower)}.")
    return found


def _checks(pair: Arrays) -> dict[str, bool]:
    difference = float(np.max(np.abs(pair["LR"] / pair["transposed"] - 1)))
    layer = ResizeConv2d(3, 2, 5, 2, bias=False).double()
    x = torch.randn(1, 3, 5, 4, dtype=torch.float64)
    with torch.no_grad():
        in_lr_space, layer.in_hr_space = layer(x), True
        same = torch.allclose(layer(x), in_lr_space, rtol=0, atol=1e-12)
    kernel = resize_conv_to_transposed(layer.weight, 2)
    return {
        "In float64, the LR decoder and its transposed form from the same start have the same loss at each "
        "of 100 steps of Adam, within 1e-6 of it": difference < 1e-6,
        "A resize-convolution of 5x5 is a transposed convolution of 6x6 with a structured kernel, within "
        "1e-12": same and tuple(kernel.shape[2:]) == (6, 6),
    }


def draw(result: Result) -> list[Picture]:
    """Draw digits in, digits out and differences; and the errors by seed beside the curves of training."""
    return [_draw_digits(result), _draw_errors(result)]


def _draw_digits(result: Result) -> Picture:
    digits = result.arrays["digits"]
    figure = Figure((9, 6.2))
    axes = figure.subplots(len(NAMES) + 1, 1, sharex=True)
    left, right = (0, SHOWN, 0, 1), (SHOWN + 0.3, 2 * SHOWN + 0.3, 0, 1)
    rows = {"digits in": digits} | {name: result.arrays[f"outputs of {name}"] for name in NAMES}
    for axis, (name, outputs) in zip(axes, rows.items(), strict=True):
        axis.imshow(np.hstack(list(outputs)), cmap="gray", vmin=0, vmax=1, extent=left)
        if name != "digits in":
            differences = np.hstack(list(outputs - digits))
            image = axis.imshow(differences, cmap="PuOr", vmin=-0.3, vmax=0.3, extent=right)
        axis.set(xlim=(0, right[1]), ylim=(0, 1), xticks=[], yticks=[])
        axis.set_ylabel(name.replace(", ", ",\n"), rotation=0, ha="right", va="center")
        axis.spines[:].set_visible(False)
        axis.grid(visible=False)
    axes[-1].set_xlabel("left: digits out; right: digits out less digits in")
    figure.colorbar(image, ax=axes, label="difference (white is 1)", shrink=0.5)
    caption = (
        f"The first {SHOWN} digits held back, from the decoders of seed 0. Top: in. Below, left: out; right: "
        "the difference, orange where the output is too dark, purple where it is too bright."
    )
    return Picture("digits", caption, figure)


def _draw_errors(result: Result) -> Picture:
    figure = Figure((9, 3.6))
    curves, dots = figure.subplots(1, 2, width_ratios=(1, 1.1))
    for index, (name, errors) in enumerate(zip(NAMES, result.arrays["errors"], strict=True)):
        losses = 1000 * result.arrays[f"losses of {name}"].mean(axis=0)
        width = max(1, len(losses) // 25)
        smooth = losses[: len(losses) // width * width].reshape(-1, width).mean(axis=1)
        style = "--" if name == MAPPED else "-"
        curves.plot(width * (np.arange(len(smooth)) + 0.5), smooth, style, color=PHASES[index])
        for seed, error in enumerate(errors):
            dots.plot(error, index, marker="os^vDP"[seed], color=PHASES[index], linestyle="none")
    curves.set(xlabel="step", ylabel="error while training, thousandths", yscale="log")
    curves.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    curves.yaxis.set_major_formatter("{x:g}")
    curves.yaxis.set_minor_locator(NullLocator())
    dots.set(xlabel="error on digits held back, thousandths", yticks=range(len(NAMES)), yticklabels=NAMES)
    dots.set_ylim(len(NAMES) - 0.5, -0.5)
    caption = (
        "Left: the error while training, mean over the seeds. Right, in the same colours: the error on the "
        "digits held back; the same mark for the same seed."
    )
    return Picture("errors", caption, figure)


STUDY = Study(
    "autoencoder", "An autoencoder of digits, by three kinds of decoder", __doc__, compute, draw, ("digits",)
)
