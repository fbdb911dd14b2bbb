"""The learning curves."""

from collections.abc import Sequence

from subpixel.extras import needing
from subpixel.studies.lab.palette import PHASES
from subpixel.studies.lab.study import Picture, Result
from subpixel.studies.representation.shapes import MAPS
from subpixel.studies.representation.training import FREED, FURTHER, HR, LONGER, LR, TANH, TIMED

with needing("study"):
    from matplotlib.figure import Figure

COLOURS = {LR: PHASES[0], HR: PHASES[1], TIMED: PHASES[3], FREED: PHASES[2], FURTHER: PHASES[1]}
COLOURS |= {LONGER[0]: PHASES[0], LONGER[1]: PHASES[1], TANH[0]: PHASES[4], TANH[1]: PHASES[5]}


def draw(result: Result) -> list[Picture]:
    """Draw the learning curves, of the first training and of the further one."""
    return [
        _draw_curves(
            result, "learning-curves", [[(r, label) for label in (LR, HR, TIMED)] for r in MAPS],
            "Validated PSNR over training, mean and range over the seeds, for both upscale factors: the LR "
            "network, the HR network of equal operations, and the HR network of equal time.",
        ),
        _draw_curves(
            result, "variants", [[(2, label) for label in pair] for pair in (LONGER, TANH)],
            "Validated PSNR over training, mean and range over the seeds, of the networks of equal "
            "operations for x2: trained for longer, and with tanh instead of ReLU.",
        ),
        _draw_curves(
            result, "freeing", [[(r, label) for label in (FREED, FURTHER)] for r in MAPS],
            "Validated PSNR of trained HR networks as training goes on, mean and range over the seeds: "
            "lifted to LR space with all weights free, and as they are. Both begin with the same output.",
        ),
    ]  # fmt: skip


def _draw_curves(
    result: Result, name: str, panels: Sequence[Sequence[tuple[int, str]]], caption: str
) -> Picture:
    figure = Figure((8, 3.6))
    for axes, lines in zip(figure.subplots(1, len(panels)), panels, strict=True):
        for (r, label), style in zip(lines, ("o-", "s--", "^:"), strict=False):
            curves = result.arrays[f"x{r}, {label}"]
            steps, values = curves[0, :, 0], curves[:, :, 1]
            axes.plot(steps, values.mean(0), style, color=COLOURS[label], label=label, markersize=4)
            axes.fill_between(steps, values.min(0), values.max(0), color=COLOURS[label], alpha=0.3)
        axes.set_title(f"x{lines[0][0]}")
        axes.set_xlabel("steps")
        axes.set_ylabel("validated PSNR (dB)")
        axes.legend(loc="lower right")
        # The first steps, far below, would flatten what is compared.
        axes.set_ylim(bottom=min(result.arrays[f"x{r}, {label}"][:, 1:, 1].min() for r, label in lines))
    return Picture(name, caption, figure)
