"""The note's section 3 says: "for super-resolution problems, an explicit upsampling using a bicubic or a
deconvolution layer isn't really necessary". And it asks: "Is explicit upsampling using bicubic
interpolation or deconvolution necessary in any other applications?" Here is what training says.

Three tasks are learned without explicit up-sampling, by LR convolutions and a shuffle alone, and in ways
that do up-sample, at equal cost: multiply-accumulates of the whole network, interpolation included.

- Super-resolution by two, of photographs, measured on Set14 as the tables of the field are: no up-sampling;
  the bicubic image added to the output; the HR network, which enlarges the image first and works on n /
  r**2 maps with kernels of k * r, without and with the bicubic image added to its output.
- Segmentation: digits of random place, size and contrast lie on photographs, and the network finds their
  pixels. It is an encoder-decoder whose encoder strides by four. Its decoder is LR convolutions and a
  shuffle; or one map of logits, enlarged by bilinear interpolation as in FCN; or features enlarged first,
  then convolutions in HR space.
- Denoising of photographs (Gaussian noise of 25 codes of 255) by the same encoder-decoder: without and with
  the noisy image added to the output, and with features enlarged first. The noisy image has the full
  resolution already: adding it is a way round the encoder and no up-sampling, so it is told apart. It makes
  the network give the noise itself, pixel by pixel, instead of the photograph.

Interpolation is itself an LR convolution and a shuffle, of fixed weights. So the network without it can
learn what it gives, at the price of some maps; the question is whether training finds it, and how soon.
Only a skip changes nothing else. Networks that enlarge first also work in HR space, with other kernels and
fewer parameters, so that what they gain or lose is not due to the interpolation alone.

Every network of a task sees the same patches in the same order. Its learning rate is that of 0.005, 0.01
and 0.02 with the lowest loss at the end of a sixth of the steps with another seed. Differences are those of
two networks of the same seed, with Student's 95 % interval. Curves are of one run each, so the learning
rate falls towards their end. They are short runs of small networks with ReLU; the study of representation
trains LR and HR networks for longer, and says what tanh changes.
"""  # noqa: D205 (a page's text, not a summary)

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from subpixel.extras import needing
from subpixel.kernels import interpolation_to_lr
from subpixel.studies.lab import dense
from subpixel.studies.lab.bench import Bench, Report, Trial
from subpixel.studies.lab.comparison import interval, spread, verdict
from subpixel.studies.lab.dense import Dense, EncoderDecoder
from subpixel.studies.lab.fit import Batches, fit
from subpixel.studies.lab.networks import Bicubic, InHR, InLR
from subpixel.studies.lab.palette import PHASES
from subpixel.studies.lab.samples import Plane, Samples, middle
from subpixel.studies.lab.study import Picture, Result, Row, Study
from subpixel.studies.lab.super_resolution import SuperResolution

with needing("study"):
    import torch
    from matplotlib.figure import Figure
    from torch import Tensor, nn
    from torch.nn.functional import binary_cross_entropy_with_logits, conv2d, mse_loss, pad, pixel_shuffle

SUPER_RESOLUTION = "super-resolution"
NONE = "none"
IMAGE = "image skip"  # of the resolution of the output, and so no up-sampling
RATES = (5e-3, 1e-2, 2e-2)
TUNING_SEED = 100
COMIC = 4  # of Set14, with fine lines in its middle
SHOWN = 96  # pixels: the side of a picture
LATE = 4  # of the measurements while training, from an eighth of the steps on


class Data(NamedTuple):
    """What a task is learned from and measured on.

    Attributes:
        batches: the batches of a seed for a network.
        score: a network's score.
        output: what a network makes of the example.
        example: what it sees of the example, and what it should say.
    """

    batches: Callable[[int, Any], Batches]
    score: Callable[[Any], float]
    output: Callable[[Any], Plane]
    example: tuple[Plane, Plane]


class Task(NamedTuple):
    """A task and the networks for it; the first has no explicit up-sampling."""

    score: str
    variants: Mapping[str, Callable[[], Any]]
    load: Callable[[Samples], Data]
    loss: Callable[[Tensor, Tensor], Tensor] = mse_loss


def _super_resolution(samples: Samples) -> Data:
    task = SuperResolution(samples, 2, patch=24, batch=8)
    name = "Set14" if "Set14" in samples.tests else next(iter(samples.tests))
    index = min(COMIC, len(samples.tests[name]) - 1)
    return Data(
        lambda seed, network: task.batches(seed, network.radius),
        lambda network: task.psnr(network, network.radius, [name])[name],
        lambda network: middle(task.enlarged(network, network.radius, name, index), SHOWN),
        (middle(task.enlarged(Bicubic(2), 2, name, index), SHOWN), middle(task.original(name, index), SHOWN)),
    )


def _dense(
    make: Callable[[Plane, Plane, np.random.Generator], dense.Scene],
    score: Callable[[NDArray[np.float64], Sequence[dense.Scene]], float],
    picture: Callable[[NDArray[np.float64]], Plane],
    samples: Samples,
) -> Data:
    task = Dense(samples, make)
    seen, truth = task.scenes[0]
    return Data(
        lambda seed, _network: task.batches(seed),
        lambda network: score(task.outputs(network), task.scenes),
        lambda network: middle(picture(task.outputs(network)[0]), SHOWN),
        (middle(dense.as_image(seen - 0.5), SHOWN), middle(picture(truth), SHOWN)),
    )


TASKS = {
    SUPER_RESOLUTION: Task(
        "PSNR in dB",
        {  # the maps are as many as make the costs equal
            NONE: lambda: InLR(2, (32, 33), (5, 3, 3), skip=False),
            "bicubic skip": lambda: InLR(2, (32, 33), (5, 3, 3), skip=True),
            "bicubic first": lambda: InHR(2, (8, 8), (6, 6, 6), skip=False),
            "bicubic first and skip": lambda: InHR(2, (8, 8), (6, 6, 6), skip=True),
        },
        _super_resolution,
    ),
    "segmentation": Task(
        "intersection over union in %",
        {
            NONE: lambda: EncoderDecoder("shuffle"),
            "bilinear logits": lambda: EncoderDecoder("outputs"),
            "bilinear features": lambda: EncoderDecoder("features"),
        },
        partial(_dense, dense.add_digits, dense.overlap, lambda logits: np.uint8(255) * (logits > 0)),
        binary_cross_entropy_with_logits,
    ),
    "denoising": Task(
        "PSNR in dB",
        {
            NONE: lambda: EncoderDecoder("shuffle"),
            IMAGE: lambda: EncoderDecoder("shuffle", skip=True),
            "bilinear features": lambda: EncoderDecoder("features"),
        },
        partial(_dense, dense.add_noise, dense.mean_psnr, dense.as_image),
    ),
}
Case = tuple[str, str]  # a task and a variant
CASES: list[Case] = [(name, variant) for name, task in TASKS.items() for variant in task.variants]


def compute(bench: Bench) -> Result:
    """Train the networks of all tasks and compare them by seed."""
    steps, seeds, rates = (8, 2, RATES[1:2]) if bench.quick else (1536, 3, RATES)
    loads = {name: cache(partial(task.load, bench.samples)) for name, task in TASKS.items()}
    tuned = _tune(bench, loads, steps // 6, rates)
    runs = {case: [_run(loads, case, seed, steps, tuned[case]) for seed in range(seeds)] for case in CASES}
    examples = {name: (f"example of {name}", partial(_example, load)) for name, load in loads.items()}
    trials = bench.trials(dict([*examples.values(), *(run for some in runs.values() for run in some)]))
    curves = {case: np.stack([trials[name]["scores"] for name, _ in some]) for case, some in runs.items()}
    arrays = {f"curve, {name}, {variant}": curve for (name, variant), curve in curves.items()}
    arrays |= {
        f"output, {name}, {variant}": trials[some[0][0]]["output"] for (name, variant), some in runs.items()
    }
    for name, (example, _) in examples.items():
        arrays |= {f"{key}, {name}": array for key, array in trials[example].items()}
    arrays["steps"] = np.array(_marks(steps))
    table = [_row(case, curves, tuned[case]) for case in CASES]
    findings = [_finding(name, curves, arrays["steps"]) for name in TASKS]
    return Result(table, findings, _checks(), arrays)


def _tune(
    bench: Bench, loads: Mapping[str, Callable[[], Data]], steps: int, rates: Sequence[float]
) -> dict[Case, float]:
    """Return the learning rate for each case that has the lowest loss after a few steps."""
    if len(rates) == 1:
        return dict.fromkeys(CASES, rates[0])
    runs = {case: [_run(loads, case, TUNING_SEED, steps, rate) for rate in rates] for case in CASES}
    trials = bench.trials(dict(run for some in runs.values() for run in some))
    return {
        case: min(zip(rates, some, strict=True), key=lambda pair: float(trials[pair[1][0]]["loss"]))[0]
        for case, some in runs.items()
    }


def _run(
    loads: Mapping[str, Callable[[], Data]], case: Case, seed: int, steps: int, rate: float
) -> tuple[str, Trial]:
    """Return a trial with its name: the scores of a network while it is trained, and a picture at the end."""
    name, variant = case
    task, marks = TASKS[name], _marks(steps)

    def run(report: Report) -> Mapping[str, Any]:
        torch.manual_seed(seed)
        data, network = loads[name](), task.variants[variant]()
        scores: list[float] = []

        def watch(done: int) -> None:
            if done in marks:
                scores.append(data.score(network))

        batches = data.batches(seed, network)
        losses = fit(network, batches, steps=steps, rate=rate, report=report, loss=task.loss, watch=watch)
        return {"scores": scores, "output": data.output(network), "loss": losses[-steps // 4 :].mean()}

    return f"{name}, {variant}, seed {seed}, {steps} steps, rate {rate:g}", run


def _example(load: Callable[[], Data], _report: Report) -> Mapping[str, Plane]:
    return dict(zip(("seen", "truth"), load().example, strict=True))


def _marks(steps: int) -> list[int]:
    """Return after how many steps a network is measured: all of them, a half, a quarter, ..."""
    return [steps >> halvings for halvings in reversed(range(7)) if steps >> halvings]


def _macs_per_pixel(network: Any) -> float:
    """Return the multiply-accumulates for a pixel of the output."""
    if isinstance(network, EncoderDecoder):
        return network.macs_per_pixel
    return float(network.macs_per_lr_pixel / network.upscale_factor**2)


def _row(case: Case, curves: Mapping[Case, NDArray[np.float64]], rate: float) -> Row:
    name, variant = case
    network = TASKS[name].variants[variant]()
    row: dict[str, str | int | float] = {
        "task": name,
        "explicit up-sampling": variant,
        "operations a pixel": round(_macs_per_pixel(network)),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "learning rate": rate,
        "score": TASKS[name].score,
        "mean and deviation": spread(curves[case][:, -1]),
        "more than none": "",
        "95 % interval": "",
        "verdict": "",
    }
    if variant == NONE:
        return row
    differences = _differences(case, curves)
    low, high = interval(differences)
    return row | {
        "more than none": f"{np.mean(differences):+.2f}",
        "95 % interval": f"{low:+.2f} to {high:+.2f}",
        "verdict": verdict(differences),
    }


def _differences(case: Case, curves: Mapping[Case, NDArray[np.float64]], mark: int = -1) -> list[float]:
    """Return by how much the score of each seed exceeds that without explicit up-sampling."""
    return [float(value) for value in (curves[case] - curves[case[0], NONE])[:, mark]]


def _finding(name: str, curves: Mapping[Case, NDArray[np.float64]], steps: NDArray[np.int64]) -> str:
    """Return what a task says about explicit up-sampling, with the figures."""
    better, figures = [], []
    for case in CASES:
        if case[0] == name and case[1] != NONE:
            end, start = (_differences(case, curves, mark) for mark in (-1, 0))
            (low, high), what = interval(end), verdict(end)
            early = f"{np.mean(start):+.2f} after step {steps[0]}"
            figures.append(f"{case[1]} {np.mean(end):+.2f} ({low:+.2f} to {high:+.2f}: {what}; {early})")
            if what == "more" and case[1] != IMAGE:
                better.append(case[1])
    answer = f"scores more ({', '.join(better)})" if better else "is not needed"
    if name == SUPER_RESOLUTION:
        answer += ", against the note" if better else ", as the note says"
    plain = f"{TASKS[name].score} is {spread(curves[name, NONE][:, -1])}"
    return (
        f"{name.capitalize()}, {steps[-1]:,} steps: explicit up-sampling {answer}. Without it the {plain}; "
        f"the others, by comparison: {'; '.join(figures)}."
    )


def _checks() -> dict[str, bool]:
    costs = {
        name: [_macs_per_pixel(make()) for make in task.variants.values()] for name, task in TASKS.items()
    }
    maps = torch.rand(1, 1, 7, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    kernel = torch.from_numpy(interpolation_to_lr("linear", dense.STRIDE, 2))
    as_lr = pixel_shuffle(conv2d(pad(maps, [1] * 4, mode="replicate"), kernel), dense.STRIDE)
    enlarged = nn.Upsample(scale_factor=dense.STRIDE, mode="bilinear")(maps)
    return {
        "the networks of a task differ by at most 3 % in operations": all(
            max(some) < 1.03 * min(some) for some in costs.values()
        ),
        "bilinear interpolation is an LR convolution of fixed weights and a shuffle, to 1e-12": bool(
            (as_lr - enlarged).abs().max() < 1e-12
        ),
    }


def draw(result: Result) -> list[Picture]:
    """Draw the curves and an example of each task."""
    return [_draw_curves(result.arrays), *(_draw_example(name, result.arrays) for name in TASKS)]


def _draw_curves(arrays: Mapping[str, NDArray[Any]]) -> Picture:
    figure = Figure((9, 5.6))
    late = slice(-LATE, None)
    for (above, below), (name, task) in zip(figure.subplots(2, len(TASKS)).T, TASKS.items(), strict=True):
        plain = arrays[f"curve, {name}, {NONE}"]
        for variant, colour, marker in zip(task.variants, PHASES, "os^D", strict=False):
            curve = arrays[f"curve, {name}, {variant}"]
            for axes, some, values in (
                (above, slice(None), curve),
                (below, late, (curve - plain)[:, late]),
            ):
                steps, style = arrays["steps"][some], {"color": colour}
                axes.plot(steps, values.mean(0), marker=marker, markersize=4, label=variant, **style)
                axes.fill_between(steps, values.min(0), values.max(0), alpha=0.2, linewidth=0, **style)
                axes.set(xlabel="steps", xscale="log")
                axes.set_xticks(steps, [str(step) for step in steps])
                axes.minorticks_off()
        above.set(title=name, ylabel=task.score)
        below.set(ylabel=f"more than {NONE}, in {task.score.split(' in ')[1]}")
        above.legend(fontsize=8)
    caption = (
        "Above: scores while training, by steps on a logarithmic axis; the mean over the seeds, and a band "
        "from the lowest to the highest. Below: late differences to the network without explicit "
        "up-sampling, by seed. A curve that begins higher has a head start; at the right is what remains."
    )
    return Picture("curves", caption, figure)


def _draw_example(name: str, arrays: Mapping[str, NDArray[Any]]) -> Picture:
    variants = TASKS[name].variants
    planes = {"seen": arrays[f"seen, {name}"], "truth": arrays[f"truth, {name}"]}
    planes |= {variant: arrays[f"output, {name}, {variant}"] for variant in variants}
    figure = Figure((9, 9 / len(planes) + 0.25))
    for axes, (title, plane) in zip(figure.subplots(1, len(planes)), planes.items(), strict=True):
        axes.imshow(plane, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    seen = "what the network sees" + (
        ", enlarged by bicubic interpolation" if name == SUPER_RESOLUTION else ""
    )
    return Picture(
        name,
        f"An example of {name}, not trained on: {seen}; what it should say; what the networks of the first "
        f"seed say, with explicit up-sampling {', '.join(variants)}.",
        figure,
    )


STUDY = Study("skip", "Is explicit up-sampling needed?", __doc__, compute, draw, ("images", "digits"))
