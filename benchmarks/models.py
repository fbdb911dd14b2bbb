"""What does the rewriter gain on whole models by others?

    python benchmarks/models.py               all of them, in PyTorch, ONNX Runtime and OpenVINO
    python benchmarks/models.py NAME... [--runtimes pytorch] [--reports FOLDER]

Random weights, batch 1, the original and the rewritten model by turns in one run. `zoo.py` says which
packages the models come from; what is not installed is named and left out.
"""

import argparse
import gc
import tempfile
import warnings
from collections.abc import Iterator
from math import exp, log
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import zoo

import subpixel.rewriter
from subpixel.rewriter import Report

RUNTIMES = ("pytorch", "onnxruntime", "openvino")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", help="models whose names begin so; all without")
    parser.add_argument("--runtimes", nargs="+", choices=RUNTIMES, default=RUNTIMES)
    parser.add_argument("--seconds", type=float, default=2, help="time to spend on timing each site")
    parser.add_argument("--reports", type=Path, help="a folder for the reports, site by site")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    gains: dict[str, list[float]] = {runtime: [] for runtime in options.runtimes}
    print(
        f"{'model':24}{'runtime':13}{'ms':>10}{'now':>10}{'gain':>7}{'changed':>9}{'error':>9}{'float64':>9}"
    )
    for name in (*zoo.MODELS, *zoo.ONNX_MODELS):
        if name.startswith(tuple(options.names) or ""):
            for runtime, report in reports(name, options.runtimes, options.seconds):
                print(line(name, runtime, report), flush=True)
                if isinstance(report, Report):
                    gains[runtime].append(gain(report))
                    save(options.reports, f"{name} {runtime}", report)
            gc.collect()
    for runtime, values in gains.items():
        if values:
            figures = f"geometric mean {exp(mean(map(log, values))):.2f}, least {min(values):.2f}"
            print(f"{runtime}: {len(values)} models, {figures}")


def reports(name: str, runtimes: list[str], seconds: float) -> Iterator[tuple[str, Report | str]]:
    """Yield the report for each runtime, or why there is none."""
    try:
        model, inputs = zoo.build(name) if name in zoo.MODELS else zoo.ONNX_MODELS[name]()
    except ModuleNotFoundError as error:
        yield "", f"not installed, {error.name}"
        return
    if "pytorch" in runtimes and name in zoo.MODELS:
        yield "pytorch", subpixel.rewriter.rewrite(model, inputs, seconds=seconds)[1]
    with tempfile.TemporaryDirectory() as folder:
        path = model if isinstance(model, Path) else Path(folder, "model.onnx")
        for runtime in [runtime for runtime in RUNTIMES[1:] if runtime in runtimes]:
            try:
                if not path.exists():
                    zoo.export(model, inputs, path)
                arrays = tuple(np.asarray(value) for value in inputs)  # which has no bfloat16
            except Exception as error:  # noqa: BLE001 (of many kinds; it is a line of the table)
                yield runtime, f"does not export, {type(error).__name__}"
                continue
            yield runtime, subpixel.rewriter.rewrite(path, arrays, runtime=runtime, seconds=seconds)[1]


def gain(report: Report) -> float:
    """Return the gain of the whole model; 1 where nothing changed, for it is the same model."""
    return 1.0 if report.milliseconds is None else report.milliseconds[0] / report.milliseconds[1]


def line(name: str, runtime: str, report: Any) -> str:
    if not isinstance(report, Report):
        return f"{name:24}{runtime:13}{report}"
    changed = sum(record.changed for record in report.sites)
    before, now = report.milliseconds or (0, 0)
    exact, own = (f"{error:9.0e}" if error is not None else f"{'':9}" for error in report.error)
    times = f"{before:10.1f}{now:10.1f}{gain(report):7.2f}" if report.milliseconds else f"{'':20}{'kept':>7}"
    return f"{name:24}{runtime:13}{times}{changed:5d} of {len(report.sites):<2d}{own}{exact}"


def save(folder: Path | None, name: str, report: Report) -> None:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.txt").write_text(f"{report}\n")


if __name__ == "__main__":
    main()
