"""Which images a command means, and where each goes: no input is overwritten, no output is lost."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os.path import normcase
from pathlib import Path

from subpixel.images import SUFFIXES, image_files


@dataclass(frozen=True)
class Job:
    """An input and its output.

    Attributes:
        source: an image, or a folder that there is a problem with.
        destination: where the enlarged image goes.
        problem: why that cannot be done; None if it can.
    """

    source: Path
    destination: Path
    problem: str | None = None


@dataclass(frozen=True)
class Naming:
    """How outputs are named.

    Attributes:
        label: what is added to names beside the inputs, such as "-x2".
        suffix: what names end in; None to keep the inputs'.
    """

    label: str
    suffix: str | None = None

    def beside(self, path: Path) -> Path:
        """The name beside a file or a folder, even one written as "." or ".."."""
        if path.is_dir():
            path = path if path.name not in ("", "..") else path.resolve()
            return path.with_name(path.name + self.label)
        return path.with_name(path.stem + self.label + (self.suffix or path.suffix))

    def within(self, folder: Path, path: Path) -> Path:
        """The name in an output folder of a file at this path in the input folder."""
        return folder / path.with_suffix(self.suffix or path.suffix)


def plan(
    inputs: Sequence[Path],
    out: Path | None,
    naming: Naming,
    *,
    recursive: bool = False,
    overwrite: bool = False,
) -> list[Job]:
    """Say what is to be done for files and folders of images.

    A file's output goes beside it, a folder's outputs into a folder beside it. Instead, `out` is the output
    of a single file, or a folder for all outputs. In folders files keep their names and places in the tree.

    Args:
        inputs: files and folders.
        out: where to; a name with an image's suffix is a file, unless it is a folder already.
        naming: how outputs are named.
        recursive: whether to search the folders in folders.
        overwrite: whether outputs that exist will be overwritten.

    Raises:
        ValueError: `out` is a file and there are several inputs.

    Example:
        >>> [job.destination.as_posix() for job in plan([Path("a/b.png")], None, Naming("-x2", ".jpg"))]
        ['a/b-x2.jpg']
    """
    if out is not None and out.suffix.lower() in SUFFIXES and not out.is_dir():
        if len(inputs) > 1 or inputs[0].is_dir():
            raise ValueError(f"the output of several images must be a folder; got {out}.")
        jobs = [Job(inputs[0], out)]
    else:
        jobs = [job for path in inputs for job in _jobs(path, out, naming, recursive, len(inputs) > 1)]
    return _spare_inputs(_tell_apart(_once_each(jobs)), overwrite)


def _jobs(path: Path, out: Path | None, naming: Naming, recursive: bool, several: bool) -> list[Job]:
    """The jobs of one input of one or several."""
    if not path.is_dir():
        return [Job(path, naming.beside(path) if out is None else naming.within(out, Path(path.name)))]
    if out is None:
        out = naming.beside(path)
    elif several:
        out /= path.resolve().name
    return _folder_jobs(path, out, naming, recursive)


def _folder_jobs(source: Path, out: Path, naming: Naming, recursive: bool) -> list[Job]:
    try:
        files = image_files(source, recursive=recursive)
    except OSError as error:
        return [Job(source, out, error.strerror)]
    if out.resolve() != source.resolve():  # what an earlier run has written into a folder within is no input
        files = [file for file in files if out.resolve() not in file.resolve().parents]
    if not files:
        hint = "" if recursive else "; --recursive searches the folders in it"
        return [Job(source, out, f"holds no images{hint}")]
    return [_stay_within(out, Job(file, naming.within(out, file.relative_to(source)))) for file in files]


def _stay_within(folder: Path, job: Job) -> Job:
    """Refuse what a symbolic link would lead out of the output folder."""
    if job.destination.parent.resolve().is_relative_to(folder.resolve()):
        return job
    return replace(job, problem=f"{job.destination.parent} leads out of {folder}")


def _once_each(jobs: list[Job]) -> list[Job]:
    """The jobs without those that another spelling of their paths repeats."""
    first: dict[tuple[Path, Path], Job] = {}
    for job in jobs:
        first.setdefault((job.source.resolve(), job.destination.resolve()), job)
    return list(first.values())


def _tell_apart(jobs: list[Job]) -> list[Job]:
    """Keep the inputs' suffixes in names that would else be the same; refuse what is the same even then."""
    told = [_with_full_name(job) if same else job for job, same in zip(jobs, _clashes(jobs), strict=True)]
    return [
        replace(job, problem=f"another input goes to {job.destination} too") if same else job
        for job, same in zip(told, _clashes(told), strict=True)
    ]


def _clashes(jobs: list[Job]) -> list[bool]:
    """Which jobs, of those that can be done, go where another goes too."""
    names = [normcase(job.destination.resolve()) for job in jobs]
    counts = Counter(name for name, job in zip(names, jobs, strict=True) if job.problem is None)
    return [job.problem is None and counts[name] > 1 for name, job in zip(names, jobs, strict=True)]


def _with_full_name(job: Job) -> Job:
    label = job.destination.stem.removeprefix(job.source.stem)
    return replace(
        job, destination=job.destination.with_name(job.source.name + label + job.destination.suffix)
    )


def _spare_inputs(jobs: list[Job], overwrite: bool) -> list[Job]:
    """Refuse to write over inputs; without `overwrite`, another's input exists and so would be skipped."""
    inputs = {job.source.resolve() for job in jobs}
    return [
        replace(job, problem=f"{job.destination} is an input")
        if job.destination.resolve() in (inputs if overwrite else {job.source.resolve()})
        else job
        for job in jobs
    ]
