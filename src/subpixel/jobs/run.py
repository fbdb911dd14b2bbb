"""Jobs done here, one after the other; what is wrong with one image does not take the others with it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from subpixel.images import Written
from subpixel.jobs.plan import Job

log = logging.getLogger("subpixel")


@dataclass(frozen=True)
class Outcome:
    """The result of a job.

    Attributes:
        job: the job.
        written: the output; None if it existed, or on an error.
        error: why there is no output; None if there is one. It has no traceback, whose frames would keep
            the image's tiles alive for as long as the outcome; the log has it, at level DEBUG.
    """

    job: Job
    written: Written | None = None
    error: Exception | None = None

    @property
    def status(self) -> str:
        """Return a word: written, skipped or failed."""
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
    except Exception as error:
        log.debug("traceback:", exc_info=True)
        return Outcome(job, error=_without_frames(error))


def _without_frames(error: Exception) -> Exception:
    """Return an error that holds neither its traceback nor those of the errors that led to it."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _make_folder(folder: Path) -> None:
    for place in (folder, *folder.parents):
        if place.exists() and not place.is_dir():
            raise ValueError(f"{place} must be a folder; it is a file.")
    folder.mkdir(parents=True, exist_ok=True)
