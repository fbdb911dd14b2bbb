"""Checkerboards: which up-sampling layers start with them, and what training makes of them.

The note's identity says where checkerboards come from: a transposed convolution is r**2 small convolutions,
one for each phase. On a constant input, output pixel (r*m + f, r*n + g) is the bias plus the sum of phase
kernel (f, g), times the input, so that the output is flat if and only if all phases have the same sum. These
layers enlarge the same features by r:

- **transposed 3x3, x2** and **5x5, x3**: the kernel is not a multiple of the stride, so that phases have
  unequal numbers of taps (Odena et al.);
- **transposed 4x4, x2** and **6x6, x3**: a multiple, so that they have equally many;
- **sub-pixel 3x3, x2**: an LR convolution and a shuffle, as PyTorch initialises them;
- **sub-pixel 3x3 ICNR, x2**: the same, but all phases start equal (`subpixel.nn.icnr_`) and biases at zero
  (Aitken et al.);
- **resize 3x3, x2**: a nearest resize and a convolution; each of its phases has the sum of its kernel.

Each is the last layer of a small network, after two convolutions, that is trained for super-resolution (mean
squared error, Adam), from the same start and on the same patches for each seed. Networks are unpadded, so
that their output on a constant input is that of an infinite plane.

The **energy at the stride's frequencies** of a block of N pixels with the discrete Fourier transform Y is the
sum of abs(Y(u/r, v/r))**2 / N**2 over 0 <= u, v < r, except u = v = 0: the power at multiples of 1/r cycles a
pixel. By Parseval's theorem it is the variance of the means of the r**2 phases. Blocks have sides of 8*r
pixels, and energies are averaged over them. On a constant input, all that is not flat lies at these
frequencies and is an artefact, so that its share of the total would always be 1: the **pattern** is the root
of the energy in grey levels of 255, over eight constant inputs from black to white. On photographs, the
energy is divided by that of the HR photographs themselves.

References: Shi et al. 2016 (arXiv:1609.07009), section 2; Odena et al. 2016 (doi:10.23915/distill.00003);
Aitken et al. 2017 (arXiv:1707.02937).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subpixel.extras import needing
from subpixel.geometry import axes
from subpixel.kernels import resize_conv_to_transposed, transposed_to_lr
from subpixel.nn import SubPixelConv2d, icnr_
from subpixel.studies.lab.bench import Arrays, Bench, Report
from subpixel.studies.lab.comparison import spread, verdict
from subpixel.studies.lab.fit import fit
from subpixel.studies.lab.palette import PHASES
from subpixel.studies.lab.resize import ResizeConv2d
from subpixel.studies.lab.samples import middle
from subpixel.studies.lab.study import Picture, Result, Row, Study
from subpixel.studies.lab.super_resolution import SuperResolution

with needing("study"):
    import torch
    from matplotlib.figure import Figure
    from torch import Tensor, nn

MAPS, RADIUS = 16, 4
RATE = 3e-3
CELLS = 8  # along the side of a block, of r pixels each
LEVELS = np.linspace(0, 1, 8)
SHOWN, DETAIL = 12, 72  # HR pixels in the pictures: of the grey input, of a photograph
FLAT = 1e-3  # grey levels: the rounding of float32

Up = SubPixelConv2d | nn.ConvTranspose2d | ResizeConv2d
Make = Callable[[int], Up]


def _icnr(c: int) -> SubPixelConv2d:
    layer = SubPixelConv2d(c, 1, 3, 2)
    icnr_(layer.weight, 2)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


LAYERS: Mapping[str, tuple[int, Make]] = {  # r, and the layer for so many maps
    "transposed 3x3, x2": (2, lambda c: nn.ConvTranspose2d(c, 1, 3, 2, padding=1, output_padding=1)),
    "transposed 4x4, x2": (2, lambda c: nn.ConvTranspose2d(c, 1, 4, 2, padding=1)),
    "sub-pixel 3x3, x2": (2, lambda c: SubPixelConv2d(c, 1, 3, 2)),
    "sub-pixel 3x3 ICNR, x2": (2, _icnr),
    "resize 3x3, x2": (2, lambda c: ResizeConv2d(c, 1, 3, 2)),
    "transposed 5x5, x3": (3, lambda c: nn.ConvTranspose2d(c, 1, 5, 3, padding=1)),
    "transposed 6x6, x3": (3, lambda c: nn.ConvTranspose2d(c, 1, 6, 3, padding=2, output_padding=1)),
}
UNEQUAL, MULTIPLE, ORDINARY, ICNR, RESIZE, UNEQUAL_3, MULTIPLE_3 = LAYERS
COLOURS = dict(zip(LAYERS, (*PHASES[:5], *PHASES[:2]), strict=True))  # x3, dashed, in the colours of x2


def generator(name: str, seed: int) -> nn.Sequential:
    """Return an untrained network, (n, 1, h + 8, w + 8) to (n, 1, r*h, r*w)."""
    r, make = LAYERS[name]
    torch.manual_seed(seed)
    features = nn.Conv2d(1, MAPS, 5), nn.ReLU(), nn.Conv2d(MAPS, MAPS, 3), nn.ReLU()
    # The layers pad by zeros; the HR pixels of one LR pixel, all that see the padding, are cut off.
    return nn.Sequential(*features, make(MAPS), nn.ZeroPad2d(-r))


def stride_energy(plane: NDArray[Any], r: int) -> float:
    """Return the power at multiples of 1/r cycles a pixel, away from zero, averaged over blocks.

    Args:
        plane: (h, w), at least a block of 8*r pixels a side; what does not fill a block is left out.
        r: the stride.
    """
    side = CELLS * r
    rows, columns = (size // side for size in plane.shape)
    blocks = plane[: rows * side, : columns * side].reshape(rows, CELLS, r, columns, CELLS, r)
    return float(blocks.mean(axis=(1, 4), dtype=np.float64).var(axis=(1, 3)).mean())


def pattern(network: nn.Module, r: int) -> float:
    """Return the pattern on constant inputs in grey levels: the root of the energy, mean over `LEVELS`."""
    planes = [_on_grey(network, level, CELLS) for level in LEVELS]
    return 255 * float(np.sqrt(np.mean([stride_energy(plane, r) for plane in planes])))


def _on_grey(network: nn.Module, level: float, size: int) -> NDArray[Any]:
    dtype = next(network.parameters()).dtype
    side = size + 2 * RADIUS
    with torch.no_grad():
        output = network(torch.full((1, 1, side, side), level, dtype=dtype))
    return output[0, 0].numpy()  # type: ignore[no-any-return]


def compute(bench: Bench) -> Result:
    """Train each network from each seed, and follow its energies."""
    seeds, steps = ((0, 1), 30) if bench.quick else ((0, 1, 2), 1200)

    @cache  # not before a trial needs it: to read and reduce the images takes a while
    def task(r: int) -> SuperResolution:
        return SuperResolution(bench.samples, r, patch=24, batch=8 if bench.quick else 16)

    probes = probes_of(steps)
    kept = bench.trials(
        {
            _trial(name, seed, steps): partial(_train, task, name, seed, probes)
            for name in LAYERS
            for seed in seeds
        }
    )
    trials = {name: [kept[_trial(name, seed, steps)] for seed in seeds] for name in LAYERS}
    arrays = {"steps": np.array(probes)}
    for name, runs in trials.items():
        for key in ("pattern", "photographs"):
            arrays[f"{key}, {name}"] = np.stack([run[key] for run in runs])
        for key in ("grey", "details", "truth"):
            arrays[f"{key}, {name}"] = runs[0][key]
    rows = [_row(name, runs) for name, runs in trials.items()]
    return Result(rows, _findings(trials, probes), _checks(arrays), arrays)


def probes_of(steps: int) -> list[int]:
    """Return after how many steps a network is measured: none, two for each factor of ten, all."""
    return [0, *(n for n in (1, 3, 10, 30, 100, 300, 1000) if n < steps), steps]


def _trial(name: str, seed: int, steps: int) -> str:
    return f"{name}, seed {seed}, {steps} steps, Adam {RATE}, {MAPS} maps"


def _train(
    tasks: Callable[[int], SuperResolution], name: str, seed: int, probes: Sequence[int], report: Report
) -> Mapping[str, Any]:
    r, network = LAYERS[name][0], generator(name, seed)
    task = tasks(r)
    photographs = task.smallest
    truth = task.originals(photographs)
    energy = np.mean([stride_energy(hr, r) for hr in truth])
    record: dict[str, list[Any]] = {"pattern": [], "photographs": [], "grey": [], "details": []}

    def watch(done: int) -> None:
        if done not in probes:
            return
        outputs = task.outputs(network, RADIUS, photographs)
        record["pattern"].append(pattern(network, r))
        record["photographs"].append(np.mean([stride_energy(sr, r) for sr in outputs]) / energy)
        record["grey"].append(_on_grey(network, 0.5, SHOWN)[:SHOWN, :SHOWN])
        record["details"].append(middle(outputs[-1], DETAIL))

    watch(0)
    fit(
        network,
        task.batches(seed, RADIUS),
        steps=probes[-1],
        rate=RATE,
        report=report,
        optimizer=torch.optim.Adam,
        watch=watch,
    )
    psnr = task.psnr(network, RADIUS, [photographs])[photographs]
    return {**record, "truth": middle(truth[-1], DETAIL), "psnr": psnr}


def phase_sums(layer: Up, r: int) -> Tensor:
    """Return the sums of the phase kernels of an up-sampling layer, (r**2, c)."""
    if isinstance(layer, SubPixelConv2d):
        return layer.weight.sum((2, 3))
    kernel: Tensor = layer.weight
    padding = int(layer.padding[0])
    if isinstance(layer, ResizeConv2d):
        kernel, padding = resize_conv_to_transposed(kernel, r), layer.kernel_size[0] - 1 - padding
    return transposed_to_lr(kernel, axes(kernel.shape[2:], r, padding), form="aligned").sum((2, 3))


def _on_constant_maps(layer: Up, r: int, maps: Tensor) -> Tensor:
    """Return the r**2 phases of a layer's output where the zeros of its padding do not reach."""
    output: Tensor = layer(maps[None, :, None, None].expand(1, -1, 5, 5))
    return output[0, 0, 2 * r : 3 * r, 2 * r : 3 * r].flatten()


def _checks(arrays: Arrays) -> dict[str, bool]:
    start = max(arrays[f"pattern, {name}"][:, 0].max() for name in (ICNR, RESIZE))
    torch.manual_seed(0)
    with torch.no_grad():
        theory = _theory(torch.rand(MAPS, dtype=torch.float64))
    return {
        **theory,
        f"ICNR and resize-convolution start without a pattern: less than {FLAT} grey levels": start < FLAT,
        f"Resize-convolution keeps none while it is trained: less than {FLAT} grey levels": bool(
            arrays[f"pattern, {RESIZE}"].max() < FLAT
        ),
    }


def _theory(maps: Tensor) -> dict[str, bool]:
    """Return whether layers do on constant maps, (c,), what their phase sums say."""
    agree = []
    for r, make in LAYERS.values():
        layer = make(MAPS).double()
        assert layer.bias is not None
        expected = phase_sums(layer, r) @ maps + layer.bias
        agree.append(torch.allclose(_on_constant_maps(layer, r, maps), expected, rtol=0, atol=1e-12))
    icnr = _icnr(MAPS).double()
    assert icnr.bias is not None
    icnr.bias.copy_(torch.rand(4))
    excess = float(_on_constant_maps(icnr, 2, maps).var() - icnr.bias.var())
    # Linear interpolation by 2: one phase sees a tap of 1, the other two taps of 1/2.
    linear = nn.ConvTranspose2d(1, 1, 3, 2, padding=1, output_padding=1)
    taps = torch.tensor([0.5, 1, 0.5])
    linear.weight.copy_(torch.outer(taps, taps)[None, None])
    flat = float(_on_constant_maps(linear, 2, torch.ones(1)).var()) < 1e-12
    return {
        "The output of each layer on constant maps is the sums of its phase kernels times the maps, plus the "
        "bias, within 1e-12": all(agree),
        "Phases with unequal biases give ICNR a pattern: the variance of the biases, within 1e-12": (
            abs(excess) < 1e-12 < float(icnr.bias.var())
        ),
        "A kernel that is not a multiple of the stride can be flat: that of linear interpolation, 3x3": flat,
    }


def _row(name: str, runs: Sequence[Arrays]) -> Row:
    def measured(key: str, probe: int) -> str:
        return _range([float(run[key][probe]) for run in runs])

    return {
        "layer": name,
        "pattern before, grey levels": measured("pattern", 0),
        "pattern after": measured("pattern", -1),
        "energy on photographs before, of the truth's": measured("photographs", 0),
        "energy after": measured("photographs", -1),
        "PSNR, dB": spread([float(run["psnr"]) for run in runs]),
    }


def _range(values: Sequence[float]) -> str:
    """Return the mean of some values, and the smallest and the largest one."""
    low, middle, high = (f"{value:.2g}" for value in (min(values), np.mean(values), max(values)))
    return f"{middle} ({low} to {high})"


def _findings(trials: Mapping[str, Sequence[Arrays]], probes: Sequence[int]) -> list[str]:
    """Return what the energies say, before, during and after training."""
    patterns = {name: np.stack([run["pattern"] for run in runs]) for name, runs in trials.items()}

    def compared(name: str, other: str, probe: int) -> str:
        logs = np.log(patterns[name][:, probe] / patterns[other][:, probe])
        return f"{np.exp(logs.mean()):.2f} times that of {other} ({verdict(logs)})"

    found = [
        f"A kernel that is not a multiple of the stride: before training, the pattern of {name} is "
        f"{compared(name, other, 0)}, since random weights have unequal sums there too; after {probes[-1]} "
        f"steps it is {compared(name, other, -1)}."
        for name, other in ((UNEQUAL, MULTIPLE), (UNEQUAL_3, MULTIPLE_3))
    ]
    means, after = patterns[ICNR].mean(axis=0), _range(list(patterns[ICNR][:, -1]))
    peak = int(means.argmax())
    found.append(
        f"ICNR: training does not keep the phases equal. The pattern grows from none to {means[peak]:.2g} "
        f"grey levels after {probes[peak]} steps, and is {after} after {probes[-1]}: "
        f"{compared(ICNR, ORDINARY, -1)}."
        if means[-1] > FLAT
        else f"ICNR: training keeps the phases' sums equal, within {FLAT} grey levels."
    )
    found.append(
        "Resize-convolution: no pattern at any step, whatever the weights (largest "
        f"{patterns[RESIZE].max():.1g} grey levels, by rounding)."
    )
    last = {name: float(values[:, -1].mean()) for name, values in patterns.items()}
    worst = max(last, key=lambda name: last[name])
    found.append(
        f"After {probes[-1]} steps the largest pattern is {last[worst]:.2g} grey levels ({worst}), against "
        f"{patterns[worst][:, 0].mean():.2g} before: the loss sees checkerboards and removes most of them."
        if last[worst] < patterns[worst][:, 0].mean() / 2
        else f"After {probes[-1]} steps {worst} still has a pattern of {last[worst]:.2g} grey levels."
    )
    shares = {name: np.mean([run["photographs"][-1] for run in runs]) for name, runs in trials.items()}
    found.append(
        "Energy on photographs after training, of the truth's: "
        f"{', '.join(f'{name} {share:.2g}' for name, share in shares.items())}."
    )
    for name in (ICNR, RESIZE, UNEQUAL):
        gains = [
            float(run["psnr"] - other["psnr"])
            for run, other in zip(trials[name], trials[ORDINARY], strict=True)
        ]
        found.append(f"PSNR of {name} less that of {ORDINARY}: {spread(gains)} dB ({verdict(gains)}).")
    return found


def draw(result: Result) -> list[Picture]:
    """Draw the output on grey, a detail of a photograph while training, and the energies over training."""
    return [_draw_patterns(result.arrays), _draw_curves(result.arrays), _draw_details(result.arrays)]


def _titled(name: str) -> str:
    return name.replace(", ", " ").replace(" ", "\n", 1)


def _draw_patterns(arrays: Mapping[str, NDArray[Any]]) -> Picture:
    figure = Figure((9.5, 3.8))
    grid = figure.subplots(2, len(LAYERS))
    for row, (probe, when) in zip(grid, ((0, "before training"), (-1, "after training")), strict=True):
        greys = [255 * arrays[f"grey, {name}"][probe] for name in LAYERS]
        largest = max(float(np.abs(grey - grey.mean()).max()) for grey in greys)
        for axis, name, grey in zip(row, LAYERS, greys, strict=True):
            image = axis.imshow(grey - grey.mean(), cmap="PuOr", vmin=-largest, vmax=largest)
            axis.set(xticks=[], yticks=[], xlabel=f"{grey.std():.2g}")
            axis.spines[:].set_visible(False)
            if probe == 0:
                axis.set_title(_titled(name), fontsize="small")
        row[0].set_ylabel(when)
        figure.colorbar(image, ax=row, label="grey levels")
    caption = (
        f"The output on a constant grey input, {SHOWN} by {SHOWN} HR pixels, less its mean, of seed 0's "
        "networks; below, the root mean square of each pattern in grey levels. Rows have scales of their own."
    )
    return Picture("patterns", caption, figure)


def _draw_curves(arrays: Mapping[str, NDArray[Any]]) -> Picture:
    figure = Figure((9, 4.6))
    axes_ = figure.subplots(1, 2)
    labels = ("pattern on constant inputs, grey levels", "energy on photographs, of the truth's")
    for axis, key, label in zip(axes_, ("pattern", "photographs"), labels, strict=True):
        for name, (r, _) in LAYERS.items():
            values = arrays[f"{key}, {name}"]
            style = {"color": COLOURS[name], "linestyle": "-" if r == 2 else "--"}
            axis.plot(arrays["steps"], values.mean(axis=0), label=name if key == "pattern" else None, **style)
            axis.fill_between(
                arrays["steps"], values.min(axis=0), values.max(axis=0), color=COLOURS[name], alpha=0.15
            )
        axis.set_xscale("symlog", linthresh=1)
        axis.set(xlabel="steps of training", ylabel=label, xlim=(0, arrays["steps"][-1]))
    axes_[0].set_yscale("symlog", linthresh=FLAT)
    axes_[0].set_ylim(0, None)
    axes_[1].set(yscale="log", ylim=(0.01, None))
    axes_[1].axhline(1, color="#888888", linewidth=1)
    figure.legend(loc="outside lower center", ncols=4)
    caption = (
        "Left: the pattern on constant inputs over training; ICNR leaves zero with its first steps, "
        "resize-convolution stays at rounding. Right: the energy at the stride's frequencies on photographs, "
        "as a multiple of that of the HR photographs (grey line); ICNR starts at zero. Lines: mean over the "
        "seeds; bands: from the smallest to the largest."
    )
    return Picture("curves", caption, figure)


def _draw_details(arrays: Mapping[str, NDArray[Any]]) -> Picture:
    last = len(arrays["steps"]) - 1
    probes = (last - 4, last - 3, last)  # after 30, 100 and all of 1200 steps
    figure = Figure((9.5, 4.2))
    grid = figure.subplots(len(probes), len(LAYERS) + 1)
    for row, probe in zip(grid, probes, strict=True):
        row[0].set_ylabel(f"{arrays['steps'][probe]} steps")
        planes = {name: arrays[f"details, {name}"][probe] for name in LAYERS}
        for axis, (name, plane) in zip(
            row, {**planes, "HR": arrays[f"truth, {ORDINARY}"]}.items(), strict=True
        ):
            axis.imshow(plane, cmap="gray", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            if probe == probes[0]:
                axis.set_title(_titled(name), fontsize="small")
    caption = (
        f"A detail of a photograph, {DETAIL} by {DETAIL} HR pixels, as the networks of seed 0 enlarge it "
        "while they are trained; right, the truth."
    )
    return Picture("details", caption, figure)


STUDY = Study("checkerboard", "Checkerboards before, during and after training", __doc__, compute, draw)
