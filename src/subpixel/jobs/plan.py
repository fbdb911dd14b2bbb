"""The images that a command means, and where each goes: no input is overwritten, no output is lost."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os.path import normcase
from pathlib import Path

from subpixel.images import by_suffix, image_files, is_image_name, unsupported_files

_NOT_ALONE = "each output must have a name of its own; another input goes to {} too"


@dataclass(frozen=True)
class Job:
    """An input and its output.

    Attributes:
        source: an image, or a folder that has a problem.
        destination: where the enlarged image goes.
        problem: why that cannot be done; None if it can.
    """

    source: Path
    destination: Path
    problem: str | None = None


@dataclass(frozen=True)
class Naming:
    """The rules by which outputs are named.

    Attributes:
        label: what is added to names beside the inputs, such as "-x2".
        suffix: what names end in; None to keep the inputs'.
    """

    label: str
    suffix: str | None = None

    def beside(self, path: Path) -> Path:
        """Return the name beside a file or a folder, even one written as "." or ".."."""
        if path.is_dir():
            path = path if path.name not in ("", "..") else path.resolve()
            return path.with_name(path.name + self.label)
        return path.with_name(path.stem + self.label + (self.suffix or path.suffix))

    def within(self, folder: Path, path: Path) -> Path:
        """Return the name in an output folder of a file at this path in the input folder."""
        return folder / path.with_suffix(self.suffix or path.suffix)


def plan(
    inputs: Sequence[Path],
    out: Path | None,
    naming: Naming,
    *,
    recursive: bool = False,
    overwrite: bool = False,
) -> list[Job]:
    """Return what is to be done for files and folders of images.

    A file's output goes beside it, a folder's outputs into a folder beside it. Instead, `out` is the output
    of a single file, or a folder for all outputs. In folders files keep their names and places in the tree.

    Args:
        inputs: files and folders.
        out: where to; a name with an image's suffix is a file, unless it is a folder already.
        naming: how outputs are named.
        recursive: whether to search the folders in folders.
        overwrite: whether outputs that exist will be overwritten.

    Raises:
        ValueError: `out` is a file and there are several inputs, or no image can be written to it.

    Example:
        >>> [job.destination.as_posix() for job in plan([Path("a/b.png")], None, Naming("-x2", ".jpg"))]
        ['a/b-x2.jpg']
    """
    if out is not None and is_image_name(out) and not out.is_dir():
        by_suffix(out.suffix)  # what cannot be written is an error here, and not a folder of that name
        if len(inputs) > 1 or inputs[0].is_dir():
            raise ValueError(f"the output of several images must be a folder; got {out}.")
        jobs = [Job(inputs[0], out)]
    else:
        jobs = [job for path in inputs for job in _jobs(path, out, naming, recursive, len(inputs) > 1)]
    return _spare_inputs(_disambiguate(_once_each(jobs)), overwrite)


def left_out(inputs: Sequence[Path], *, recursive: bool = False) -> str:
    """Return how many files of which kinds are in the folders among some inputs, but are not supported.

    Example:
        >>> left_out([Path("a.heic")])  # an image that is named is a job, and not left out
        ''
    """
    folders = {_real(path) for path in inputs if path.is_dir()}
    counts = sum((unsupported_files(folder, recursive=recursive) for folder in folders), Counter[str]())
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items()))


def _jobs(path: Path, out: Path | None, naming: Naming, recursive: bool, several: bool) -> list[Job]:
    """Return the jobs of one input; `several` says whether there are others."""
    if not path.is_dir():
        return [Job(path, naming.beside(path) if out is None else naming.within(out, Path(path.name)))]
    if out is None:
        out = naming.beside(path)
    elif several:
        out /= path.resolve().name
    return _folder_jobs(path, out, naming, recursive)


def _folder_jobs(source: Path, out: Path, naming: Naming, recursive: bool) -> list[Job]:
    unreadable: list[OSError] = []
    files = image_files(source, recursive=recursive, unreadable=unreadable.append)
    problems = [Job(Path(error.filename), out, error.strerror) for error in unreadable]
    if _real(out) != _real(source):  # what an earlier run has written into a folder within is not an input
        files = [file for file in files if _real(out) not in _real(file).parents]
    if not files and not problems:
        hint = "" if recursive else "; --recursive searches the folders in it"
        held = left_out([source], recursive=recursive)
        return [
            Job(
                source, out, f"holds no images{held and f' that can be read: {held} are not supported'}{hint}"
            )
        ]
    jobs = [_stay_within(out, Job(file, naming.within(out, file.relative_to(source)))) for file in files]
    return jobs + problems


def _real(path: Path) -> Path:
    """Return a path without links; `Path.resolve` does the same but raises where links go in circles."""
    return Path(os.path.realpath(path))


def _stay_within(folder: Path, job: Job) -> Job:
    """Refuse what a symbolic link would lead out of the output folder."""
    if _real(job.destination.parent).is_relative_to(_real(folder)):
        return job
    way_out = f"a link, {job.destination.parent}, leads out of it"
    return replace(job, problem=f"the output must stay in {folder}; {way_out}")


def _once_each(jobs: list[Job]) -> list[Job]:
    """Return the jobs without those that another spelling of their paths repeats."""
    first: dict[tuple[Path, Path], Job] = {}
    for job in jobs:
        first.setdefault((_real(job.source), _real(job.destination)), job)
    return list(first.values())


def _disambiguate(jobs: list[Job]) -> list[Job]:
    """Keep the inputs' suffixes in names that are the same without them; else refuse those names."""
    renamed = [_with_full_name(job) if same else job for job, same in zip(jobs, _clashes(jobs), strict=True)]
    return [
        replace(job, problem=_NOT_ALONE.format(job.destination)) if same else job
        for job, same in zip(renamed, _clashes(renamed), strict=True)
    ]


def _clashes(jobs: list[Job]) -> list[bool]:
    """Return for each job whether another goes to the same place, of those that can be done."""
    names = [normcase(_real(job.destination)) for job in jobs]
    counts = Counter(name for name, job in zip(names, jobs, strict=True) if job.problem is None)
    return [job.problem is None and counts[name] > 1 for name, job in zip(names, jobs, strict=True)]


def _with_full_name(job: Job) -> Job:
    label = job.destination.stem.removeprefix(job.source.stem)
    return replace(
        job, destination=job.destination.with_name(job.source.name + label + job.destination.suffix)
    )


def _spare_inputs(jobs: list[Job], overwrite: bool) -> list[Job]:
    """Refuse to write over inputs: over a job's own, and with `overwrite` over those of other jobs too.

    Without `overwrite`, another job's input exists as an output, and so is skipped.
    """
    inputs = {_real(job.source) for job in jobs}
    return [
        replace(job, problem=f"the output must not be an input; got {job.destination}")
        if _real(job.destination) in (inputs if overwrite else {_real(job.source)})
        else job
        for job in jobs
    ]
