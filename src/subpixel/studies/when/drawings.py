"""The shares that searches choose."""

import numpy as np

from subpixel.extras import needing
from subpixel.studies.lab.palette import PHASES as COLOURS
from subpixel.studies.lab.study import Picture, Result
from subpixel.studies.when.search import DEPTHS

with needing("study"):
    from matplotlib.figure import Figure


def shares(result: Result) -> Picture:
    """Draw the shares in the course of the search, and at its end."""
    steps, courses = result.arrays["steps"], result.arrays["courses"]
    figure = Figure((8, 3.6))
    course, end = figure.subplots(1, 2, sharey=True)
    depths = np.arange(1, DEPTHS + 1)
    for depth, colour in zip(depths, COLOURS, strict=False):
        course.plot(steps, 100 * courses[:, :, depth - 1].T, color=colour, alpha=0.35, linewidth=0.8)
        course.plot(steps, 100 * courses[:, :, depth - 1].mean(0), color=colour, label=f"depth {depth}")
    course.set(
        xlabel="step of the search", ylabel="share in HR space, %", ylim=(-3, 128), yticks=range(0, 101, 20)
    )
    course.legend(ncols=2, fontsize="small")
    for seed, (marker, chosen) in enumerate(zip("osD", courses[:, -1], strict=False)):
        end.plot(depths, 100 * chosen, marker + ":", color=COLOURS[7], label=f"seed {seed}", markersize=5)
    end.plot(depths, 100 * courses[:, -1].mean(0), color=COLOURS[8], label="mean")
    end.set(xlabel="depth", xticks=depths)
    end.legend(fontsize="small")
    caption = (
        "The share in HR space that the searches choose: in their course (left; thin lines are seeds, thick "
        "ones their mean), and at their end, by depth (right)."
    )
    return Picture("shares", caption, figure)
