"""What the branches of a network do."""

import numpy as np

from subpixel.extras import needing
from subpixel.studies.lab.palette import PHASES as COLOURS
from subpixel.studies.lab.study import Picture, Result
from subpixel.studies.residual.network import BLOCKS, TRUNK

with needing("study"):
    from matplotlib.figure import Figure


def branches(result: Result) -> Picture:
    """Draw what each branch adds, and what is lost without it."""
    figure = Figure((8, 3.4))
    added, lost = figure.subplots(1, 2)
    blocks = np.arange(1, BLOCKS + 1)
    for column, space in enumerate(TRUNK):
        style = {"color": COLOURS[column], "marker": "os"[column]}
        for axes, values in ((added, result.arrays["added"]), (lost, result.arrays["lost"][:, :-1])):
            axes.plot(blocks, values[:, :, column].T, **style, alpha=0.35, linewidth=0.8, markersize=3)
            axes.plot(blocks, values[:, :, column].mean(0), **style, label=f"{space} branch")
    added.set(xlabel="block", xticks=blocks, ylabel="what the branch adds / what it reads", ylim=(0, None))
    lost.set(xlabel="block", xticks=blocks, ylabel="PSNR lost without the branch, dB", ylim=(0, None))
    added.legend()
    caption = (
        "The two branches of the network of LR and HR features, by block: the size of what each adds (left), "
        "and what is lost when it is cut (right). Thin lines are seeds."
    )
    return Picture("branches", caption, figure)
