"""What the figures say: the rows of the table, and the findings."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from subpixel.studies.lab.bench import Arrays
from subpixel.studies.lab.comparison import interval, spread, verdict
from subpixel.studies.lab.study import Row
from subpixel.studies.representation.training import (
    FREED,
    FURTHER,
    HR,
    LONGER,
    LR,
    TANH,
    TIMED,
    Scale,
    best,
)

COMPARISONS = {
    (LR, HR): "equal operations",
    (LR, TIMED): "equal time",
    LONGER: "equal operations, longer",
    TANH: "equal operations, tanh",
}


def _sets(run: Arrays) -> list[str]:
    return [key for key in run if key.startswith("PSNR ")]


def rows(scale: Scale) -> Iterator[Row]:
    """Yield a row for each kind of network."""
    networks = {label: shape.build(0) for label, shape in scale.shapes.items()}
    networks |= {FURTHER: networks[HR], FREED: scale.freed(scale.size.seeds[0])}
    for label, runs in scale.runs.items():
        network = networks[label]
        sizes = [layer.kernel_size[0] for layer in network.convolutions]
        figures = {"validated": [float(run["curve"][-1, 1]) for run in runs]}
        figures |= {key: [float(run[key]) for run in runs] for key in _sets(runs[0])}
        yield {
            "r": scale.r,
            "network": label,
            "steps": _steps(scale, label),
            "maps": network.convolutions[0].out_channels,
            "kernels": ", ".join(f"{size}x{size}" for size in sizes),
            "weights": network.weights,
            "operations": network.macs_per_lr_pixel,
            "time / LR time": f"{scale.ratios[label]:.2f}" if label in scale.ratios else "",
            "rate": best(scale.grid[label]),
            **{key: spread(dB, digits=3) for key, dB in figures.items()},
        }


def _steps(scale: Scale, label: str) -> int:
    return int(scale.runs[label][0]["curve"][-1, 0])


def about_all(scales: Sequence[Scale]) -> str:
    """Return how often the claim was borne out."""
    key = _sets(scales[0].runs[LR][0])[0]
    said = {
        f"x{scale.r} at {condition}": verdict(_paired(scale, *pair, key))
        for scale in scales
        for pair, condition in COMPARISONS.items()
        if pair[0] in scale.runs
    }
    lists = {
        word: "; ".join(name for name, verdict in said.items() if verdict == word) or "none"
        for word in ("more", "less")
    }
    return (
        f"Of {len(said)} comparisons on {key.removeprefix('PSNR ')} the LR network has the higher PSNR "
        f"beyond chance in {[*said.values()].count('more')} ({lists['more']}), the lower one in "
        f"{[*said.values()].count('less')} ({lists['less']}). Intervals below are of 95 %, for the mean of "
        "paired differences, one a seed."
    )


def about(scale: Scale) -> Iterator[str]:
    """Yield what came out for one upscale factor."""
    words = {
        "more": "the LR network does better, as the note says",
        "less": "the HR network does better, against the note",
    }
    for (lr, hr), condition in COMPARISONS.items():
        if lr in scale.runs:
            yield (
                f"x{scale.r} at {condition}, after {_steps(scale, lr):,} steps, PSNR of the LR network less "
                f"that of the HR network: {_differences(scale, lr, hr, words)}"
            )
    timed = scale.shapes[TIMED]
    yield (
        f"x{scale.r}: at equal operations the HR network takes {scale.ratios[HR]:.2f} times as long as the "
        f"LR network in PyTorch, on a frame of {scale.size.frame} x {scale.size.frame} LR pixels. The HR "
        f"network of equal time has {timed.maps} maps and {timed.kernels}, and takes "
        f"{scale.ratios[TIMED]:.2f} times as long."
    )
    words = {"more": "freeing gains beyond chance", "less": "freeing loses beyond chance"}
    freed, whole = scale.freed(scale.size.seeds[0]), scale.shapes[HR].build(0)
    yield (
        f"x{scale.r}: PSNR of a trained HR network that is lifted, freed and trained for "
        f"{scale.size.further_steps} more steps, less that of the one trained further as it is: "
        f"{_differences(scale, FREED, FURTHER, words)} The freed network has "
        f"{freed.weights / whole.weights:.1f} times the weights and takes "
        f"{freed.macs_per_lr_pixel / whole.macs_per_lr_pixel:.2f} times the operations."
    )
    rows = (
        f"{label}: {', '.join(f'{db:.2f} at {rate:g}' for rate, db in rates.items())}"
        for label, rates in scale.grid.items()
        if label not in LONGER
    )
    yield f"x{scale.r}, learning rates, validated PSNR in dB after the pilot run. {'; '.join(rows)}."


def _paired(scale: Scale, one: str, other: str, key: str) -> list[float]:
    return [float(a[key] - b[key]) for a, b in zip(scale.runs[one], scale.runs[other], strict=True)]


def _differences(scale: Scale, one: str, other: str, words: Mapping[str, str]) -> str:
    """Return the differences on each set, and what the set with the most images, the first, says."""
    sets = {key.removeprefix("PSNR "): _paired(scale, one, other, key) for key in _sets(scale.runs[one][0])}
    texts = []
    for name, values in sets.items():
        low, high = interval(values)
        texts.append(f"{np.mean(values):+.3f} dB on {name} ({low:+.3f} to {high:+.3f})")
    first, values = next(iter(sets.items()))
    said = verdict(values)
    return f"{', '.join(texts)}. On {first}: {words.get(said, said)}."
