"""The command `subpixel` with a stopwatch in it, which `start.py` runs.

The last line on stderr is JSON, the seconds of each section. A section that is entered from another one stops
the clock of that one. The environment variable STARTED holds time.time() of when the process was started.
"""

import builtins
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any

MODULES = ("subpixel.cli", "subpixel.engines", "subpixel.images", "subpixel.images.spool", "pyvips")


class Stopwatch:
    """Seconds by section."""

    def __init__(self, section: str, since: float) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._open, self._since = [section], since

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        self.lap()
        self._open.append(name)
        try:
            yield
        finally:
            self.lap()
            self._open.pop()

    def lap(self) -> None:
        """Give the time since the last lap to the innermost section."""
        now = time.time()
        self.seconds[self._open[-1]] += now - self._since
        self._since = now

    def watch(self, section: str, owner: Any, name: str) -> None:
        """Make a function of a module, or a method of a class, a section."""
        function = getattr(owner, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            with self.section(section):
                return function(*args, **kwargs)

        setattr(owner, name, watched)

    def watch_generator(self, section: str, owner: Any, name: str) -> None:
        """Make what a generator does for each of its values a section."""
        function = getattr(owner, name)

        def watched(*args: Any, **kwargs: Any) -> Iterator[Any]:
            values, end = function(*args, **kwargs), object()
            while True:
                with self.section(section):
                    value = next(values, end)
                if value is end:
                    return
                yield value

        setattr(owner, name, watched)


def main() -> None:
    stopwatch = Stopwatch("Python", float(os.environ["STARTED"]))
    with stopwatch.section("the rest"):
        stopwatch.watch("imports", builtins, "__import__")
        with stopwatch.section("imports"):
            cli, engines, images, spool, pyvips = map(import_module, MODULES)

        @cache
        def watch_calls(kind: type) -> None:
            for name in ("__call__", "into"):
                stopwatch.watch("network", kind, name)

        def create(*args: Any) -> Any:
            engine = original(*args)
            watch_calls(type(engine))
            return engine

        original, engines.create = engines.create, create
        stopwatch.watch("engine", engines, "create")
        stopwatch.watch("decoding", images, "read")
        stopwatch.watch("decoding", pyvips.Region, "fetch")
        stopwatch.watch_generator("colour and tiles", spool, "write")
        stopwatch.watch("encoding", images, "write")
        try:
            cli.main()
        finally:
            stopwatch.lap()
            print(json.dumps(stopwatch.seconds), file=sys.stderr)


if __name__ == "__main__":
    main()
