"""The machine on which figures were measured."""

import platform
from pathlib import Path


def processor() -> str:
    """Return the processor's name.

    Example:
        >>> isinstance(processor(), str)
        True
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
