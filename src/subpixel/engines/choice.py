"""The fastest engine for a network, by a race on the machine at hand, once."""

import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from math import ceil
from statistics import median
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from subpixel.engines import cache
from subpixel.engines.engine import Engine, Name, Precision, build, precisions
from subpixel.measure.machine import features, has_nvidia_driver, processors
from subpixel.measure.race import race
from subpixel.network import LRNetwork

log = logging.getLogger("subpixel")

_FORMAT = 2  # of the cache's keys; a higher one has every choice made anew
_ROWS = (256, 192, 128, 96, 64, 48, 32, 16, 8)  # of the planes in a race, which have twice as many columns
_BLOCK = 16  # channels that kernels compute at once, even for a layer that has fewer
# A processor does 10**10 to 10**11 multiply-accumulates in a second, so a run takes 4 to 40 ms: long beside
# the cost of a call, and short enough for several rounds.
_MACS_PER_PROCESSOR = 4e8
_REST = 5e-3  # seconds, after which the threads of PyTorch's OpenMP no longer spin
_SECONDS = 0.1  # for a race; each engine runs three times in any case, or twice where it is hopeless

_ONE_RACE = Lock()  # at a time: two would measure each other


def fastest(network: LRNetwork, names: Sequence[Name], precision: Precision) -> Engine:
    """Make a network ready to run in the engine that is the fastest here.

    Those that have the precision run by turns on random planes; where there is one engine, nothing is timed.
    The winner is remembered, in this process and in the file of `subpixel.engines.cache`, for as long as
    these stay the same: the layers of the network, what there is to choose from, the versions of the engines,
    the processor's instruction sets, and the number of processors. So the choice costs less than half a
    second once, with the imports, and nothing later.

    PyTorch takes part where it is imported already, where there is an NVIDIA driver, and where it is the only
    engine: elsewhere its import takes longer than the whole choice. A network that is too large for a short
    race gets the first engine that starts.

    Args:
        network: the network.
        names: the engines to choose from, preferred first.
        precision: what to compute in.

    Raises:
        ValueError: no engine has the precision here.
        ImportError: there is no engine to choose from, or the only one is missing.
        RuntimeError: there are several engines, and none starts.
    """
    if not names:
        raise ImportError("an engine must be installed; got none. Run: pip install 'subpixel[openvino]'")
    names = _contestants(names)
    if len(names) == 1:
        return build(names[0], network, precision)
    with _ONE_RACE:
        key = _key(network, names, precision)
        known = [name for name in names if name == cache.recall(key)]
        for engine in _started(network, known, precision, failures={}):
            return engine
        failures: dict[Name, Exception] = {}
        planes = _planes(network)
        started = _started(network, names, precision, failures)
        engines = list(islice(started, None if planes is not None else 1))
        _check_started(engines, names, precision, failures)
        if planes is None or len(engines) == 1:
            return engines[0]
        winner = _winner(network, engines, planes)
        if not failures:
            cache.remember(key, winner.name)
        return winner


def _contestants(names: Sequence[Name]) -> Sequence[Name]:
    """Return the engines to choose from: PyTorch only where its import costs nothing or promises much."""
    if "torch" in sys.modules or has_nvidia_driver():
        return names
    return [name for name in names if name != "torch"] or names


def _key(network: LRNetwork, names: Sequence[Name], precision: Precision) -> str:
    """Return a hash of all that decides what is fastest; the values of weights do not."""
    layers = [(c.weight.shape, c.activation) for c in network.convolutions]
    versions = [(name, _version(name)) for name in names]
    parts = (network.upscale_factor, layers, network.skip, versions, precision, processors(), features())
    return sha256(json.dumps((_FORMAT, *parts)).encode()).hexdigest()


def _version(name: Name) -> str:
    """Return the version of an engine; that of the native one is this package's, and its instruction set."""
    try:
        known = version("subpixel" if name == "native" else name)
    except PackageNotFoundError:  # it is installed under another name, for example as onnxruntime-gpu
        known = "unknown"
    if name != "native":
        return known
    from subpixel.engines.native import instruction_set  # noqa: PLC0415 (its library may be missing)

    return f"{known} {instruction_set()}"


def _started(
    network: LRNetwork, names: Sequence[Name], precision: Precision, failures: dict[Name, Exception]
) -> Iterator[Engine]:
    """Yield the engines that start, of those that have the precision, and note why others fail."""
    for name in names:
        try:
            engine = build(name, network, precision) if precision in precisions(name) else None
        except (ImportError, OSError, RuntimeError) as error:
            failures[name] = error
            continue
        if engine is not None:
            yield engine


def _check_started(
    engines: Sequence[Engine],
    names: Sequence[Name],
    precision: Precision,
    failures: Mapping[Name, Exception],
) -> None:
    """Warn of engines that failed; raise an error where none is left."""
    reasons = "; ".join(f"{name}: {error}" for name, error in failures.items())
    if engines and failures:
        log.warning("going on without engines that failed: %s", reasons)
    elif failures:
        raise RuntimeError(f"at least one engine must start; got {reasons}.")
    elif not engines:
        raise ValueError(
            f"precision must be f32 with {' and '.join(names)} on this processor; got {precision}."
        )


def _planes(network: LRNetwork) -> NDArray[np.float32] | None:
    """Return random planes on which a run takes some milliseconds, or None where the least takes longer."""
    context, budget = 2 * network.radius, _MACS_PER_PROCESSOR * processors()
    for rows in _ROWS:
        height, width = rows + context, 2 * rows + context
        if height * width * _cost(network) <= budget:
            return np.random.default_rng(0).random((1, network.channels, height, width), dtype=np.float32)
    return None


def _cost(network: LRNetwork) -> int:
    """Return the multiply-accumulates for an LR pixel, with the channels of each layer in whole blocks."""
    shapes = [convolution.weight.shape for convolution in network.convolutions]
    return sum(_whole(outputs) * _whole(inputs) * height * width for outputs, inputs, height, width in shapes)


def _whole(channels: int) -> int:
    return _BLOCK * ceil(channels / _BLOCK)


def _winner(network: LRNetwork, engines: Sequence[Engine], planes: NDArray[np.float32]) -> Engine:
    """Return the engine with the least median time."""
    runs = {index: partial(engine, planes) for index, engine in enumerate(engines)}
    rest = _REST if any(engine.name == "torch" for engine in engines) else 0.0
    times = race(runs, _SECONDS, seed=0, rest=rest)
    medians = [median(times[index]) for index in range(len(engines))]
    results = [
        f"{engine.name} {1000 * seconds:.1f} ms" for engine, seconds in zip(engines, medians, strict=True)
    ]
    height, width = planes.shape[2:]
    precision = engines[0].precision
    log.info(
        "%s, timed on %dx%d pixels in %s: %s", network.name, width, height, precision, ", ".join(results)
    )
    return engines[medians.index(min(medians))]
