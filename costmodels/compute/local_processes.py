"""A pool of processes on this machine, begun anew for each map: they end with the work, however it ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from typing import Any

from ...profiler.errors import UsageError, WorkerLost
from .pool import Finished, Item, Recipe, Result, run_ahead

#: Items that wait beside each one in work: a worker that is done finds the next one there.
_WAITING = 2


def usable_cpus() -> int:
    """CPUs that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class LocalProcesses:
    """So many processes. They are spawned, not forked: a fork of a process with threads may hang.

    Raises:
        UsageError: fewer than one.
    """

    def __init__(self, count: int) -> None:
        if count < 1:
            raise UsageError(f"{count} processes compute nothing", remedy="--jobs 1, or more")
        self.count = count

    def map(self, recipe: Recipe[Item, Result], items: Iterable[Item]) -> Iterator[Finished[Result]]:
        """As ``Pool.map``; raises WorkerLost where a process dies, for example for want of memory."""
        spawn = multiprocessing.get_context("spawn")
        executor = ProcessPoolExecutor(self.count, spawn, initializer=_begin, initargs=(recipe,))
        try:
            finished = run_ahead(
                items,
                lambda item: executor.submit(_run, item),
                lambda pending: wait(pending, return_when=FIRST_COMPLETED).done,
                lambda: (1 + _WAITING) * self.count,
            )
            for place, future in finished:
                yield place, future.result()
        except BrokenProcessPool as error:
            raise WorkerLost(
                f"one of {self.count} processes died",
                remedy="it may have taken too much memory (see dmesg): try again with fewer, --jobs",
            ) from error
        finally:
            executor.shutdown(cancel_futures=True)


#: The work of this process. Only a worker has any, and it has one: ``ProcessPoolExecutor`` gives its tasks no other
#: place for what came with the initializer.
_RECIPES: list[Callable[[], Callable[..., Any]]] = []


def _begin(recipe: Callable[[], Callable[..., Any]]) -> None:
    # Ctrl-C goes to every process of a terminal; the one that was asked says so, once.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _RECIPES.append(recipe)


@lru_cache(maxsize=1)
def _work() -> Callable[..., Any]:
    # With the first item, not in the initializer: what goes wrong there would be told as a process that died.
    return _RECIPES[0]()


def _run(item: object) -> Any:  # the type of the results is the recipe's
    return _work()(item)
