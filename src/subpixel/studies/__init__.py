"""Claims and questions of the note (Shi et al. 2016, arXiv:1609.07009), one module each, put to computation.

The module's name is the study's name, its docstring says what is claimed and what is measured, and its
`STUDY` is the study.
"""

from importlib import import_module
from typing import TYPE_CHECKING, cast

from subpixel.extras import needing

if TYPE_CHECKING:
    from subpixel.studies.lab.study import Study

NAMES: tuple[str, ...] = (  # in the order of the note
    "figures",
    "kernels",
    "cost",
    "representation",
    "training",
    "autoencoder",
    "checkerboard",
    "skip",
    "when",
    "residual",
)


def load(name: str) -> "Study":
    """Return a study; its module, which needs PyTorch and matplotlib, is imported only now.

    Args:
        name: one of `NAMES`.

    Raises:
        ModuleNotFoundError: a package of the extra `study` is missing.
    """
    with needing("study"):  # what it needs in turn may be of a smaller extra
        return cast("Study", import_module(f"{__name__}.{name}").STUDY)
