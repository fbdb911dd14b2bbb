"""Trained kernels of LR convolutions, and the transposed and HR convolutions that compute the same.

Section 2 of the note shows the last layer of ESPCN, kernels of (9, 32, 3, 3), above "the recreated
deconvolution layer kernels of (1, 32, 9, 9)", and says that on any 32 channels "we will get the same
result". This is done here for the networks that ship, on what their first layers make of photographs. The
other side is PyTorch's `conv_transpose2d`, in float64.

Section 3 compares networks that work in LR space with networks that up-sample first and work in HR space.
Each of the latter is one of the former: `lift_conv` turns its kernels into LR kernels between r² times as
many maps. A small HR network is trained on the few photographs that ship, lifted layer by layer, and both run
on the photographs to measure on. Its lifted weights are counted, and shown beside those of an LR network of
as many maps and taps, trained as long, which may use all of them. What that is good for is another study's
question.

Shapes are in the note's order, outputs first; PyTorch stores those of a transposed convolution inputs first.
"""

from collections.abc import Mapping, Sequence
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from subpixel.extras import needing
from subpixel.kernels import lift_conv, lr_to_transposed
from subpixel.network import load
from subpixel.studies.kernels import drawings
from subpixel.studies.kernels.equality import as_lifted, as_transposed
from subpixel.studies.lab.bench import Arrays, Bench, Report, Trial
from subpixel.studies.lab.fit import fit
from subpixel.studies.lab.networks import InHR, InLR
from subpixel.studies.lab.samples import Samples
from subpixel.studies.lab.study import Picture, Result, Row, Study
from subpixel.studies.lab.super_resolution import SuperResolution

with needing("study"):
    import torch
    from torch import nn

Kernels = NDArray[np.floating]

NETWORKS = ("espcn-x2", "espcn-x3", "espcn-x4")
R, HR_TAPS, LR_TAPS = 2, 5, 3  # of the networks that are trained; five HR taps, lifted, are three
LAYERS = ("first", "middle", "last")
STEPS, QUICK_STEPS, RATE, SEED = 1000, 20, 3e-3, 0
TOLERANCE = 1e-12  # sums of at most 288 products of values around 1, in float64


def compute(bench: Bench) -> Result:
    """Run each layer, and what it is rewritten as, on the smallest set of photographs to measure on."""
    tests, photos = min(bench.samples.tests.items(), key=lambda item: len(item[1]))
    run = bench.trials({f"{name} on {tests}": partial(_as_transposed, name, photos) for name in NETWORKS})
    rows, findings, arrays = [], [], {}
    for name, trial in zip(NETWORKS, run.values(), strict=True):
        network = load(name)
        r, last = network.upscale_factor, network.convolutions[-1]
        difference, quality = float(trial["difference"]), trial["PSNR"]
        rewritten = lr_to_transposed(last.weight, r).swapaxes(0, 1)
        rows.append(_row(name, "last, transposed", last.weight, rewritten, len(photos), difference))
        findings.append(
            f"{name} on {tests}: PSNR {quality[0]:.2f} dB by the LR convolution, {quality[1]:.2f} dB by the "
            f"transposed one. Its {r**2} biases differ by up to {255 * np.ptp(last.bias):.1f} grey levels."
        )
        arrays[name] = last.weight
    trained = bench.trials(_trials(bench))
    hr, lr = ([trial[layer] for layer in LAYERS] for trial in trained.values())
    lifted = [lift_conv(weight, R, padding=0) for weight in hr]
    differences = as_lifted(_network(InHR, 8, HR_TAPS, next(iter(trained.values()))), photos)
    for layer, one, other, difference in zip(LAYERS, hr, lifted, differences, strict=True):
        rows.append(_row("HR network", f"{layer}, lifted", one, other, len(photos), difference))
    largest = max(float(row["largest difference"]) for row in rows)
    biases = (
        "A transposed convolution has one bias for all phases, so that the biases of an LR convolution have "
        "no place in it: here they are added after either. In this the LR convolution is more general."
    )
    equal = f"The largest difference is {largest:.2g}, of values up to around 1, in float64."
    findings = [equal, *findings, biases, _counted(hr, lifted, lr)]
    arrays |= {"HR": hr[1], "lifted": lifted[1], "LR": lr[1]}
    return Result(rows, findings, _checks(rows, hr, lifted), arrays)


def draw(result: Result) -> Sequence[Picture]:
    """Draw the last layer of ESPCN both ways, and the middle layer of the HR network lifted."""
    return [
        Picture(
            "last-layer",
            "Above: the trained last layer of espcn-x3 as an LR convolution. Middle: the same weights as a "
            "transposed convolution. Below: the weights of one input map, each framed by its phase.",
            drawings.last_layer(result.arrays["espcn-x3"], 3),
        ),
        Picture(
            "lift",
            "Where the taps of an HR kernel go when it is lifted, by their numbers: each is there once for "
            "each phase of the output, and the blank taps are zero.",
            drawings.lift(HR_TAPS, R),
        ),
        Picture(
            "lifted",
            "The middle layer of the HR network; the LR layer that it is, with those weights in yellow that "
            "are zero whatever is learned; the middle layer of an LR network that was trained as long. Black "
            "weights are negative, white ones positive, each layer on a scale of its own.",
            drawings.lifted(*(result.arrays[name] for name in ("HR", "lifted", "LR"))),
        ),
    ]


def _as_transposed(name: str, photos: Sequence[NDArray[np.uint8]], _report: Report) -> Arrays:
    difference, qualities = as_transposed(load(name), photos)
    return {"difference": np.array(difference), "PSNR": np.array(qualities)}


def _trials(bench: Bench) -> dict[str, Trial]:
    steps = QUICK_STEPS if bench.quick else STEPS
    task = cache(lambda: SuperResolution(Samples(), R))  # for weights with a pattern, its photographs do

    def train(report: Report, kind: type[InHR] | type[InLR], maps: int, taps: int) -> Arrays:
        torch.manual_seed(SEED)
        network = kind(R, (maps, maps), (taps,) * 3)
        fit(network, task().batches(SEED, network.radius), steps=steps, rate=RATE, report=report)
        return _weights(network)

    settings = f"{steps} steps, rate {RATE}, seed {SEED}"
    return {
        f"HR, 8 maps, {HR_TAPS} taps, {settings}": partial(train, kind=InHR, maps=8, taps=HR_TAPS),
        f"LR, 32 maps, {LR_TAPS} taps, {settings}": partial(train, kind=InLR, maps=32, taps=LR_TAPS),
    }


def _weights(network: InHR | InLR) -> Arrays:
    """Return the kernels of a network by layer, and its biases."""
    arrays = {}
    for layer, convolution in zip(LAYERS, network.convolutions, strict=True):
        assert convolution.bias is not None
        arrays[layer] = convolution.weight.detach().numpy()
        arrays[f"{layer}, bias"] = convolution.bias.detach().numpy()
    return arrays


def _network(kind: type[InHR], maps: int, taps: int, arrays: Arrays) -> InHR:
    """Return a network with the weights of a trial."""
    network = kind(R, (maps, maps), (taps,) * 3)
    for layer, convolution in zip(LAYERS, network.convolutions, strict=True):
        convolution.weight = nn.Parameter(torch.from_numpy(arrays[layer]))
        convolution.bias = nn.Parameter(torch.from_numpy(arrays[f"{layer}, bias"]))
    return network


def _row(network: str, layer: str, one: Kernels, other: Kernels, images: int, difference: float) -> Row:
    return {
        "network": network,
        "layer": layer,
        "kernels": drawings.shape(one),
        "rewritten": drawings.shape(other),
        "weights": one.size,
        "weights rewritten": other.size,
        "zeros among them": int((other == 0).sum()),
        "photographs": images,
        "largest difference": difference,
    }


def _counted(hr: Sequence[Kernels], lifted: Sequence[Kernels], lr: Sequence[Kernels]) -> str:
    free, structured, own = (sum(weight.size for weight in weights) for weights in (hr, lifted, lr))
    zeros = sum(int((weight == 0).sum()) for weight in lifted)
    return (
        f"The HR network has {free:,} weights. Lifted, it is an LR network of {structured:,}: {zeros:,} are "
        f"zero ({zeros / structured:.0%}), and the others are the {free:,}, each {R**2} times. The LR "
        f"network beside it has {own:,} weights, {own / free:.1f} times as many to choose freely, for "
        f"{own / (free * R**2):.2f} times the multiply-accumulates."
    )


def _checks(rows: Sequence[Row], hr: Sequence[Kernels], lifted: Sequence[Kernels]) -> Mapping[str, bool]:
    def equal(how: str) -> bool:
        return all(float(row["largest difference"]) <= TOLERANCE for row in rows if how in str(row["layer"]))

    return {
        "An LR convolution and its shuffle are the transposed convolution of the same weights": equal(
            "transposed"
        ),
        "An HR convolution is the LR convolution of its lifted kernels, layer by layer": equal("lifted"),
        f"Lifted, each HR weight is there {R**2} times, and all else is zero": all(
            np.array_equal(np.sort(np.repeat(one, R**2)), np.sort(other[other != 0]))
            for one, other in zip(hr, lifted, strict=True)
        ),
    }


STUDY = Study("kernels", "Trained kernels, rewritten", __doc__, compute, draw, ())
