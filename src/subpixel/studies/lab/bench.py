"""Where a study is computed: how much it may do, on what, and what is done already."""

import time
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from subpixel.files import replacing
from subpixel.studies.lab.samples import Samples

Arrays = dict[str, NDArray[Any]]
Report = Callable[[float], None]  # takes the share of the work that is done, 0..1
Trial = Callable[[Report], Mapping[str, ArrayLike]]

_SECONDS = "seconds of this trial"  # an entry beside those of the trial
_NOT_WHOLE = (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile, zlib.error)


@dataclass
class Bench:
    """What a study may use.

    Attributes:
        quick: whether to show the whole way in a few seconds instead of measuring anything well.
        samples: images and digits.
        folder: keeps finished trials, so that an interrupted study goes on where it stopped.
        report: is called with the share that is done.
        earlier: seconds that an earlier run spent on the trials that it kept.
    """

    quick: bool
    samples: Samples
    folder: Path
    report: Callable[[float], None] = lambda _done: None
    earlier: float = field(default=0.0, init=False)

    def trials(self, runs: Mapping[str, Trial]) -> dict[str, Arrays]:
        """Return what each trial returns, computed now or kept by an earlier run.

        Args:
            runs: the trials by name. All that a trial depends on, except the samples and `quick`, must stand
                in its name: the seed, the number of steps, the learning rate. A trial seeds its own random
                numbers, so that it gives the same alone and after others.
        """
        results = {}
        for index, (name, run) in enumerate(runs.items()):

            def report(done: float, index: int = index) -> None:
                self.report((index + done) / len(runs))

            results[name] = self._load(name) or self._compute(name, run, report)
        return results

    def _compute(self, name: str, run: Trial, report: Report) -> Arrays:
        start = time.perf_counter()
        arrays = {key: np.asarray(value) for key, value in run(report).items()}
        kept: dict[str, Any] = {**arrays, _SECONDS: time.perf_counter() - start}
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self._file(name)) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **kept)
        return arrays

    def _load(self, name: str) -> Arrays | None:
        """Return what an earlier run kept of a trial; None if there is nothing, or nothing whole."""
        try:
            with self._file(name).open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                kept = {key: file[key] for key in file.files}
            self.earlier += float(kept.pop(_SECONDS))
            return kept
        except _NOT_WHOLE:
            return None

    def _file(self, name: str) -> Path:
        key = f"{name}, quick={self.quick}, {self.samples.describe(('images', 'digits'))}"
        return self.folder / f"{blake2b(key.encode(), digest_size=8).hexdigest()}.npz"
