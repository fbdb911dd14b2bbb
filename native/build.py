"""Build the shared library of the native engine, for this machine or for another one.

    python native/build.py                              # for this machine, into src/subpixel/engines
    python native/build.py --target aarch64-linux .     # for another one, into this folder
    python native/build.py --sanitize                   # errors of memory and undefined behaviour stop it

The compiler is what the environment variable CXX names; on Linux g++ or clang++, if it takes the sources; or
the package `ziglang`, which brings Clang for every target. The library needs no runtime of a compiler, and
what it takes from C (malloc, memcpy) is bound to no version: one file serves glibc and musl, old and new.
"""

import argparse
import os
import platform
import shlex
import shutil
import struct
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

NATIVE = Path(__file__).resolve().parent
ENGINES = NATIVE.parent / "src" / "subpixel" / "engines"
ZIGLANG = "ziglang~=0.17.1"  # the versions that are tried; a later one may understand other options


class Target(NamedTuple):
    """A kind of machine: its name in Zig, the tag of its wheels, the file, and how the linker is called."""

    triple: str
    tag: str
    library: str
    link: tuple[str, ...]


_ELF = ("libsubpixel.so", ("-nostdlib",))
_MACH_O = ("libsubpixel.dylib", ("-nostdlib", "-lSystem"))
# The C library is that of Windows 10 and later; Zig's runtime gives what probes the stack.
_PE = ("subpixel.dll", ("-nostdlib", "-Wl,--no-entry", "-rtlib=compiler-rt", "-lkernel32", "-lucrtbase"))

TARGETS = {
    "x86_64-linux": Target("x86_64-linux-gnu.2.17", "manylinux_2_17_x86_64.musllinux_1_1_x86_64", *_ELF),
    "aarch64-linux": Target("aarch64-linux-gnu.2.17", "manylinux_2_17_aarch64.musllinux_1_1_aarch64", *_ELF),
    "x86_64-macos": Target("x86_64-macos.10.13", "macosx_10_13_x86_64", *_MACH_O),
    "aarch64-macos": Target("aarch64-macos.11.0", "macosx_11_0_arm64", *_MACH_O),
    "x86_64-windows": Target("x86_64-windows-gnu", "win_amd64", *_PE),
    "aarch64-windows": Target("aarch64-windows-gnu", "win_arm64", *_PE),
}

# `engine.cpp` is compiled once for each.
INSTRUCTION_SETS: dict[str, dict[str, tuple[str, ...]]] = {
    "x86_64": {
        "sse2": (),
        "avx2": ("-mavx2", "-mfma"),
        "avx512": ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"),
    },
    "aarch64": {"neon": ("-mno-outline-atomics",)},
}

FLAGS = (
    "-std=c++17", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-exceptions", "-fno-rtti",
    "-fno-stack-protector", "-fvisibility=hidden",
)  # fmt: skip
# Clang moves loads of weights ahead of their use, runs out of registers, and the kernels lose a seventh.
CLANG = ("-mllvm", "-enable-misched=false")
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1")


class BuildError(Exception):
    """Why there is no library, and what to do."""


def this_machine() -> str | None:
    """Return the name of the target that this machine is, as its Python sees it, or None."""
    systems = {"linux": "linux", "macosx": "macos", "win": "windows"}
    processors = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
    system = systems.get(sysconfig.get_platform().partition("-")[0])
    processor = processors.get(platform.machine().lower())
    # A Python of 32 bits runs on machines of 64; it cannot load what is made for them.
    return f"{processor}-{system}" if system and processor and struct.calcsize("P") == 8 else None


def system_compiler(target: str) -> list[str] | None:
    """Return the command of the compiler that this machine has for itself, or None."""
    if target != this_machine():
        return None
    if given := os.environ.get("CXX"):
        return shlex.split(given)
    commands = (["g++"], ["clang++", *CLANG]) if target.endswith("linux") else ()
    return next((command for command in commands if shutil.which(command[0]) and _understands(command)), None)


def _understands(compiler: list[str]) -> bool:
    """Whether a compiler takes the sources; GCC before version 12 lacks what shuffles vectors."""
    command = [*compiler, "-std=c++17", "-fsyntax-only", "-w", "-DSUBPIXEL_ISA=baseline", "engine.cpp"]
    return subprocess.run(command, cwd=NATIVE, capture_output=True, check=False).returncode == 0


def build(folder: Path, target: str | None = None, sanitize: bool = False) -> Path:
    """Build the library into a folder and return its path.

    Args:
        folder: an existing folder.
        target: a name out of `TARGETS`; None is this machine.
        sanitize: build with AddressSanitizer and UndefinedBehaviorSanitizer; such a library is slow.

    Raises:
        BuildError: there is no compiler for the target, or it fails.
    """
    name = target or this_machine() or platform.machine()
    if name not in TARGETS:
        raise BuildError(f"target must be one of {', '.join(TARGETS)}; got {name}. Use another engine there.")
    compiler = system_compiler(name) or _ziglang(TARGETS[name])
    library = folder.resolve() / TARGETS[name].library
    with tempfile.TemporaryDirectory() as temporary:
        run = _runner(compiler, Path(temporary))
        objects = _compile(run, name.partition("-")[0], Path(temporary), SANITIZE if sanitize else ())
        link = SANITIZE if sanitize else (*TARGETS[name].link, "-s")
        made = Path(temporary) / library.name
        run("-shared", *map(str, objects), *link, "-o", str(made))
        # A process that has the old library open keeps the old file.
        library.unlink(missing_ok=True)
        shutil.copyfile(made, library)
    return library


def _ziglang(target: Target) -> list[str]:
    if find_spec("ziglang") is None:
        raise BuildError(f"a C++ compiler must be there; found none. Run: pip install '{ZIGLANG}'")
    return [sys.executable, "-m", "ziglang", "c++", "-target", target.triple, *CLANG]


def _runner(compiler: list[str], folder: Path) -> Callable[..., None]:
    # What Zig keeps goes with the folder, and does not stay in the user's home.
    caches = {f"ZIG_{kind}_CACHE_DIR": str(folder / kind) for kind in ("GLOBAL", "LOCAL")}

    def run(*arguments: str) -> None:
        # Called in `native`, the compiler sees the same names of sources wherever the repository lies.
        try:
            subprocess.run([*compiler, *arguments], cwd=NATIVE, env=os.environ | caches, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise BuildError(
                f"the native engine must compile; {shlex.join(compiler)} failed, and says above why. "
                "Name another compiler in the environment variable CXX."
            ) from error

    return run


def _compile(run: Callable[..., None], processor: str, folder: Path, flags: tuple[str, ...]) -> list[Path]:
    sets = INSTRUCTION_SETS[processor].items()
    units = [("subpixel.cpp", "subpixel.o", ())] + [
        ("engine.cpp", f"{name}.o", (f"-DSUBPIXEL_ISA={name}", *options)) for name, options in sets
    ]

    def compiled(unit: tuple[str, str, tuple[str, ...]]) -> Path:
        source, name, options = unit
        run(*FLAGS, "-fPIC", *options, *flags, "-c", source, "-o", str(folder / name))
        return folder / name

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(compiled, units))


def main() -> None:
    """Build as the command line says, and print the path."""
    parser = argparse.ArgumentParser(description="Build the shared library of the native engine.")
    parser.add_argument("folder", nargs="?", type=Path, default=ENGINES, help="default: src/subpixel/engines")
    parser.add_argument("--target", choices=TARGETS, help="default: this machine")
    parser.add_argument("--sanitize", action="store_true", help="watch each access to memory")
    options = parser.parse_args()
    try:
        print(build(options.folder, options.target, options.sanitize))
    except BuildError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
