"""Threads that help with work that can be shared: a pool for the whole process, which grows as it is needed.

Whoever has work does it, and nobody waits for a thread to become free: what no worker has begun by then is
withdrawn. So any number of threads can share their work at once.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Lock, Thread

Work = Callable[[], object]


def share(work: Work, threads: int) -> None:
    """Do work on this thread, and on others as far as they come.

    Args:
        work: takes a part of what is to be done until nothing is left; safe in several threads at once.
        threads: how many threads may work, this one among them.

    Example:
        >>> parts = SimpleQueue()
        >>> for part in (1, 2, 3):
        ...     parts.put(part)
        >>> def work():
        ...     while not parts.empty():
        ...         parts.get_nowait()
        >>> share(work, 1)
        >>> parts.empty()
        True
    """
    calls = _POOL.call(work, threads - 1) if threads > 1 else []
    try:
        work()
    finally:
        for call in calls:
            call.settle()


class _Call:
    """A call for help, which a worker begins or its owner withdraws, whichever comes first."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._taken, self._running = Lock(), Lock()
        self._running.acquire()

    def answer(self) -> None:
        """Help, unless the call is withdrawn."""
        if self._taken.acquire(blocking=False):
            try:
                self._work()
            finally:
                self._running.release()

    def settle(self) -> None:
        """Withdraw the call, or wait until the worker that has begun is finished."""
        if self._taken.acquire(blocking=False):
            del self._work  # it holds images, and the call stays in the queue while all workers are busy
        else:
            self._running.acquire()


class _Pool:
    """Workers, as many as were ever wanted at once, who wait for calls."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew: a forked process has none of the threads of its parent, and perhaps its locks."""
        self._calls: SimpleQueue[_Call] = SimpleQueue()
        self._workers, self._growing = 0, Lock()

    def call(self, work: Work, helpers: int) -> list[_Call]:
        """Ask for help."""
        # Where the system has no other thread, or Python is about to exit, those that there are do the work.
        with self._growing, suppress(RuntimeError):
            while self._workers < helpers:
                Thread(target=_serve, args=(self._calls,), name="subpixel", daemon=True).start()
                self._workers += 1
        calls = [_Call(work) for _ in range(min(helpers, self._workers))]
        for call in calls:
            self._calls.put(call)
        return calls


def _serve(calls: "SimpleQueue[_Call]") -> None:
    while True:
        calls.get().answer()


_POOL = _Pool()

if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_POOL.forget)
