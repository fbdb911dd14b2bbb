"""One colour a phase, the same in every figure of the project."""

from typing import Any

# Okabe and Ito's colours, which colour-blind readers tell apart, in an order whose first four, the phases of
# r = 2 in two dimensions, differ in lightness as well. A phase's number is always written beside its colour.
PHASES = (
    "#0072B2",  # blue
    "#E69F00",  # orange
    "#009E73",  # green
    "#CC79A7",  # purple
    "#56B4E9",  # sky
    "#D55E00",  # vermilion
    "#F0E442",  # yellow
    "#999999",  # grey
    "#000000",  # black
)
ZERO = "#DDDDDD"  # an inserted or padded zero
TEXT = "#222222"

STYLE: dict[Any, Any] = {  # of matplotlib, by its names
    "axes.axisbelow": True,
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "axes.labelcolor": TEXT,
    "axes.prop_cycle": f"cycler('color', {list(PHASES)})",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "grid.color": "#EEEEEE",
    "image.interpolation": "none",  # pixels as they are, and in SVG no more of them
    "legend.frameon": False,
    "savefig.dpi": 120,
    "svg.hashsalt": "subpixel",  # the same drawing gives the same file
    "text.color": TEXT,
}
