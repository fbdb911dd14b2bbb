"""The machine on which figures were measured."""

import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_FAMILIES = ("sse4", "avx", "fma", "f16c", "amx", "asimd", "sve", "neon", "bf16", "i8mm", "vsx", "rvv")


def processor() -> str:
    """Return the processor's name.

    Example:
        >>> isinstance(processor(), str)
        True
    """
    return next(_of_cpuinfo("model name"), platform.processor())


def processors() -> int:
    """Return the number of processors that this process may use.

    Example:
        >>> processors() >= 1
        True
    """
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def features() -> tuple[str, ...]:
    """Return the vector instruction sets of the processor, in lower case and sorted.

    NumPy asks the processor itself, on every system; Linux adds the sets that NumPy does not know. A set that
    NumPy knows and does not find is missing even where Linux lists it: it may be hidden from this process.

    Example:
        >>> features() == tuple(sorted(features()))
        True
    """
    known = {_plain(name): present for name, present in _of_numpy().items()}
    flags = next(_of_cpuinfo("flags"), "") or next(_of_cpuinfo("Features"), "")
    found = {name for name, present in known.items() if present}
    found |= {name for name in map(_plain, flags.split()) if name not in known}
    return tuple(sorted(name for name in found if name.startswith(_FAMILIES)))


def has_nvidia_driver() -> bool:
    """Return whether an NVIDIA driver is installed, by a look at its files."""
    windows = Path(os.environ.get("SYSTEMROOT", "C:/Windows"), "System32", "nvcuda.dll")
    return Path("/proc/driver/nvidia/version").exists() or (os.name == "nt" and windows.exists())


def _of_cpuinfo(key: str) -> Iterator[str]:
    """Yield the values of a key, which Linux repeats for each processor; nothing on other systems."""
    with suppress(OSError):
        for line in _CPUINFO.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == key:
                yield value.strip()


def _of_numpy() -> Mapping[str, bool]:
    """Return the features that NumPy knows, and whether it found them; it has no public name for them."""
    try:
        features = import_module("numpy._core._multiarray_umath").__cpu_features__
    except (ImportError, AttributeError):
        return {}
    # A name like AVX512_ICL is that of a generation of processors, which has a group of features.
    return {name: present for name, present in features.items() if "_" not in name}


def _plain(feature: str) -> str:
    """Return one spelling of a feature for NumPy's AVX512VNNI and Linux's avx512_vnni."""
    name = feature.lower().replace("_", "")
    return "fma3" if name == "fma" else name
