"""A study from its name to its files."""

import time
from collections.abc import Callable
from pathlib import Path

from subpixel.studies.lab import page
from subpixel.studies.lab.bench import Bench
from subpixel.studies.lab.samples import Samples
from subpixel.studies.lab.study import Result, Study


def run(
    study: Study,
    out: Path,
    samples: Samples,
    *,
    quick: bool,
    command: str,
    report: Callable[[float], None] = lambda _done: None,
) -> tuple[Result, Path]:
    """Compute a study and write its files into a folder of its own, OUT/NAME.

    Finished trials are kept in OUT/trials/NAME; a later run goes on from them.

    Args:
        study: what to compute.
        out: the folder for all studies.
        samples: images and digits.
        quick: whether to show the whole way in seconds, instead of measuring well.
        command: the command line that the page names.
        report: is called with the share that is done.

    Returns:
        The result and its page.

    Raises:
        OSError: the folder cannot be written.
        ValueError: the samples lack a part that the study needs.
    """
    folder = out / study.name
    page.check_writable(folder)
    bench = Bench(quick, samples, out / "trials" / study.name, report)
    start = time.perf_counter()
    result = study.compute(bench)
    seconds = time.perf_counter() - start + bench.earlier
    return result, page.write(
        study, result, folder, command=command, seconds=seconds, data=samples.describe(study.data)
    )
