"""The native engine: all layers in one pass over the image, in float32, by the C++ code in `native/`."""

import os
from typing import Any
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from subpixel.engines.engine import NOT_A_NUMBER, Engine, Name, Precision
from subpixel.engines.library import (
    ACTIVATIONS,
    LIBRARY,
    TYPES,
    Convolution,
    Network,
    Planes,
    instruction_sets,
)
from subpixel.engines.workers import share
from subpixel.measure.machine import processors
from subpixel.network import LRNetwork

VARIABLE = "SUBPIXEL_ISA"  # the instruction set to use instead of the best

_TILE = 4  # pixels, the side of the tiles of which layers consist
_MOST_THREADS = 1024  # in a run
# A thread does some 10**10 multiply-accumulates in a second; it takes about 1e-4 s until another one helps.
_MACS_PER_THREAD = 2_000_000


def instruction_set() -> str:
    """Return the name of the instruction set that is used: the best of this processor, or SUBPIXEL_ISA.

    Raises:
        RuntimeError: SUBPIXEL_ISA names one that this processor or the library does not have.
    """
    names = instruction_sets()
    chosen = os.environ.get(VARIABLE) or names[0]
    if chosen not in names:
        raise RuntimeError(f"{VARIABLE} must be one of {', '.join(names)} on this processor; got {chosen!r}.")
    return chosen


class Native(Engine):
    """An `Engine` on the CPU; no bit of a result depends on the number of threads or, with `extra`, on tiles.

    Args:
        network: the network.
        precision: "f32".
        threads: how many threads may share a run; None for as many as there are processors for this process.
            What takes no longer than to call another thread stays on that of the caller.

    Attributes:
        instruction_set: the name of the instruction set that it uses.
        threads: how many threads may share a run.
    """

    name: Name = "native"

    @staticmethod
    def precisions() -> tuple[Precision, ...]:
        """Return what it computes in on this machine; see `subpixel.engines.engine.precisions`."""
        return ("f32",)

    def __init__(self, network: LRNetwork, precision: Precision = "f32", threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1; got {threads}.")
        self.precision = precision
        self.instruction_set = instruction_set()
        self.threads = min(_MOST_THREADS, threads or processors())
        self.extra = _extra(network)
        self._upscale_factor, self._channels = network.upscale_factor, network.channels
        self._context, self._macs = 2 * network.radius, network.macs_per_lr_pixel
        self._plan = _plan(network, self.instruction_set)
        # At the end of the process a thread may still be using it.
        finalize(self, LIBRARY.subpixel_plan_free, self._plan).atexit = False

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        return f"{super().__str__()} with {self.instruction_set} on {threads}"

    def __call__(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Enlarge a batch; see `Engine`."""
        height, width = self._sizes(planes)
        r = self._upscale_factor
        enlarged = np.empty((*planes.shape[:2], r * height, r * width), np.float32)
        for image, result in zip(np.require(planes, requirements="A"), enlarged, strict=True):
            self._run(image, result, extra=0)
        return enlarged

    def into(self, planes: NDArray[Any], enlarged: NDArray[Any]) -> None:
        """Enlarge an image into an array; see `Engine`."""
        extra = self._extra_of(planes.shape, enlarged.shape)
        _check_memory(planes, enlarged)
        self._run(planes, enlarged, extra)

    def _sizes(self, planes: NDArray[np.float32]) -> tuple[int, int]:
        """Return the height and the width of the images of a batch without their context."""
        c, context = self._channels, self._context
        fits = planes.ndim == 4 and planes.shape[1] == c and min(planes.shape[2:]) > context
        if not fits or planes.dtype != np.float32:
            raise ValueError(
                f"planes must be (n, {c}, h + {context}, w + {context}) of float32, with h and w from 1; "
                f"got {planes.shape} of {planes.dtype}."
            )
        return planes.shape[2] - context, planes.shape[3] - context

    def _extra_of(self, planes: tuple[int, ...], enlarged: tuple[int, ...]) -> int:
        """Return how many pixels there are after the context, or raise an error where shapes do not fit."""
        c, context, r = self._channels, self._context, self._upscale_factor
        height, width = (side // r for side in enlarged[1:]) if len(enlarged) == 3 else (0, 0)
        for extra in (0, self.extra):
            read, written = (height + context + extra, width + context + extra), (r * height, r * width)
            if min(height, width) > 0 and (planes, enlarged) == ((c, *read), (c, *written)):
                return extra
        raise ValueError(
            f"planes must be ({c}, h + {context} + e, w + {context} + e) and enlarged ({c}, {r}h, {r}w), "
            f"with h and w from 1, e 0 or {self.extra}; got {planes} and {enlarged}."
        )

    def _run(self, planes: NDArray[Any], enlarged: NDArray[Any], extra: int) -> None:
        height, width = (side // self._upscale_factor for side in enlarged.shape[1:])
        threads = min(self.threads, max(1, self._macs * height * width // _MACS_PER_THREAD))
        job = _Job(self, self._plan, planes, enlarged, (height, width, extra, threads))
        share(job.work, threads)
        if job.finish():
            raise ValueError(NOT_A_NUMBER)


class _Job:
    """A run, whose memory and arrays are kept for as long as a thread may be working on it."""

    def __init__(
        self, engine: Native, plan: int, planes: NDArray[Any], enlarged: NDArray[Any], sizes: tuple[int, ...]
    ) -> None:
        self._kept = planes, enlarged
        self._job = LIBRARY.subpixel_job_make(plan, _view(planes), _view(enlarged), *sizes)
        if self._job is None:
            raise MemoryError(
                f"the work on an image must fit into memory; got {planes.shape}, to become {enlarged.shape}."
            )
        self._free = finalize(self, _free_job, self._job, engine)
        self._free.atexit = False

    def work(self) -> None:
        """Work until the run is finished."""
        LIBRARY.subpixel_job_work(self._job)

    def finish(self) -> bool:
        """Free the run, on which no thread works any more; return whether a result was NaN."""
        return bool(self._free())


def _free_job(job: int, _engine: Native) -> bool:
    """Free a run; return whether a result was NaN.

    The engine is an argument so that its plan is freed later: what lies in one cycle, as after an error, is
    collected in any order.
    """
    return bool(LIBRARY.subpixel_job_free(job))


def _extra(network: LRNetwork) -> int:
    """Return the pixels after its context that a tile needs to have the bits of the whole image.

    Layers consist of tiles of 4x4 pixels. A layer gives n of them in full if the layer before gives it n + a,
    with a = ceil((k - 1) / 4), where n tiles of pixels need k - 1 pixels more: 4a - (k - 1) are extra.
    """
    return sum(-2 * convolution.radius % _TILE for convolution in network.convolutions)


def _plan(network: LRNetwork, name: str) -> int:
    """Make a network ready for an instruction set; the library computes x -> f(x + 0.5) - 0.5."""
    kept = []  # what is pointed at

    def address(array: NDArray[np.float32]) -> int:
        kept.append(np.ascontiguousarray(array))
        return kept[-1].ctypes.data

    convolutions = [
        Convolution(
            convolution.weight.shape[3],
            *convolution.weight.shape[1::-1],
            ACTIVATIONS[convolution.activation],
            address(convolution.weight),
            address(convolution.bias),
            None if slope is None else address(np.broadcast_to(slope, convolution.bias.shape)),
        )
        for convolution in network.shifted(0.5).convolutions
        for slope in [convolution.slope]
    ]
    number, taps = len(convolutions), network.skip_taps
    described = Network(
        network.upscale_factor,
        network.channels,
        number,
        0 if taps is None else taps.shape[1],
        (Convolution * number)(*convolutions),
        None if taps is None else address(taps),
    )
    plan = LIBRARY.subpixel_plan_make(described, instruction_sets().index(name))
    if plan is None:
        raise MemoryError(f"a network must fit into memory; got {network.parameters} parameters.")
    return plan  # type: ignore[no-any-return]


def _view(array: NDArray[Any]) -> Planes:
    return Planes(array.ctypes.data, *array.strides, TYPES[array.dtype])


def _check_memory(planes: NDArray[Any], enlarged: NDArray[Any]) -> None:
    """Raise an error unless pixels can be read from the one array and written to the other."""
    for name, array in (("planes", planes), ("enlarged", enlarged)):
        if array.dtype not in TYPES or not array.flags.aligned:
            aligned = "aligned" if array.flags.aligned else "not aligned"
            raise ValueError(
                f"{name} must be float32, uint8 or uint16, aligned; got {array.dtype}, {aligned}."
            )
    if not enlarged.flags.writeable:
        raise ValueError("enlarged must be writeable; got an array that is not.")
    if _overlaps_itself(enlarged) or np.may_share_memory(planes, enlarged):
        raise ValueError(
            "each pixel of enlarged must have memory of its own, apart from that of planes; "
            f"got strides of {enlarged.strides} for {enlarged.shape}."
        )


def _overlaps_itself(array: NDArray[Any]) -> bool:
    """Return whether elements may share memory: each stride must lead beyond all that smaller ones reach."""
    reached = array.itemsize
    for stride, length in sorted(zip(map(abs, array.strides), array.shape, strict=True)):
        if length > 1 and stride < reached:
            return True
        reached += (length - 1) * stride
    return False


ENGINE = Native
