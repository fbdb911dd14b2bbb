"""Jobs done here, one after the other; what is wrong with one image does not take the others with it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from subpixel.images import Written
from subpixel.jobs.plan import Job


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        job: the job.
        written: the output; None if it existed, or on an error.
        error: why there is no output; None if there is one.
    """

    job: Job
    written: Written | None = None
    error: Exception | None = None

    @property
    def status(self) -> str:
        """In a word: written, skipped or failed."""
        return "failed" if self.error else "written" if self.written else "skipped"


def run(job: Job, enlarge: Callable[[Path, Path], Written], overwrite: bool) -> Outcome:
    """Do a job, unless its output exists; whatever goes wrong becomes its outcome's error."""
    if job.problem is not None:
        return Outcome(job, error=ValueError(job.problem))
    if job.destination.exists() and not overwrite:
        return Outcome(job)
    try:
        _make_folder(job.destination.parent)
        return Outcome(job, written=enlarge(job.source, job.destination))
    except Exception as error:  # noqa: BLE001 (one image must not take the others with it)
        return Outcome(job, error=error)


def _make_folder(folder: Path) -> None:
    for place in (folder, *folder.parents):
        if place.exists() and not place.is_dir():
            raise ValueError(f"{place} must be a folder; it is a file.")
    folder.mkdir(parents=True, exist_ok=True)
