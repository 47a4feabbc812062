"""The workers of a Dask cluster as a pool. Only this and dask_boosting import dask or distributed.

Dask moves work and results as pickles, and whoever reaches its scheduler or its workers runs code on them: a cluster is
taken to be as trusted as the machine that asks (decision 0023). What edgecost keeps on disk, and what boards send, is
never a pickle.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ...profiler.errors import ClusterError, ClusterUnreachable, MissingPackage, UsageError, WorkerLost
from . import worker_facts
from .pool import Finished, Item, Recipe, Result, run_ahead

if TYPE_CHECKING:
    from distributed import Client, Future

#: Items that wait beside each one in work.
_WAITING = 2
#: Seconds in which a scheduler answers, and in which its first worker comes.
TIMEOUT_S = 10.0
#: What all items need travels in one message; Dask warns of one that is larger than this, as of a mistake.
RECIPE_MAX = "1 GiB"
_ADDRESS = re.compile(r"(tcp|tls)://(\[[0-9a-fA-F:]+\]|[^\s:/\[\]]+):\d+")


@contextmanager
def connected(
    address: str, tell: Callable[[str], None] = lambda note: None, *, timeout_s: float = TIMEOUT_S
) -> Iterator[DaskCluster]:
    """A cluster whose workers have what this machine has.

    Args:
        address: of its scheduler.
        tell: called with how many workers there are.

    Raises:
        UsageError: that is no address of a scheduler.
        MissingPackage: dask or distributed is not installed here.
        ClusterUnreachable: nobody answers there, or there is no worker.
        ClusterMismatch: workers have other versions, other code, or processors that compute otherwise.
    """
    if not _ADDRESS.fullmatch(address):
        raise UsageError(
            f"{address!r} is no address of a Dask scheduler",
            remedy="write it as `dask scheduler` prints it: --dask tcp://HOST:8786 (or tls://…)",
        )
    with _client(address, timeout_s) as client:
        cluster = DaskCluster(client, address)
        cluster.check(timeout_s)
        threads = client.nthreads()
        tell(f"{len(threads)} workers with {sum(threads.values())} threads behind {address}")
        yield cluster


class DaskCluster:
    """The workers behind a scheduler, those that come later included. A worker that dies loses nothing: its items, and
    what all items need, are computed again by others. ``connected`` makes one."""

    def __init__(self, client: Client, address: str) -> None:
        self.client = client
        self.address = address

    def check(self, timeout_s: float = TIMEOUT_S) -> None:
        """Compare all workers with this machine before any work is sent; raises as ``connected``."""
        try:
            self.client.wait_for_workers(1, timeout=timeout_s)
        except TimeoutError as error:
            raise ClusterUnreachable(
                f"the scheduler {self.address} has no worker", remedy=f"start some: dask worker {self.address}"
            ) from error
        # Versions first: a worker without edgecost could not even be asked for the rest.
        wanted = worker_facts.here()
        require = worker_facts.require_same
        require({name: wanted[name] for name in worker_facts.versions()}, self._versions())
        require(wanted, self.client.run(worker_facts.here))

    def _versions(self) -> dict[str, dict[str, str]]:
        """Of each worker, asked with the standard library alone."""
        from importlib.metadata import version
        from platform import python_version_tuple

        answers = self.client.run(python_version_tuple)
        found = {worker: {"python": ".".join(parts[:2])} for worker, parts in answers.items()}
        for package in worker_facts.PACKAGES:
            for worker, answer in self.client.run(version, package, on_error="return").items():
                if isinstance(answer, str) and worker in found:
                    found[worker][package] = answer
        return found

    def map(self, recipe: Recipe[Item, Result], items: Iterable[Item]) -> Iterator[Finished[Result]]:
        """As ``Pool.map``.

        Raises:
            WorkerLost: an item killed several workers, one after the other.
            ClusterMismatch: a worker that came later differs.
            ClusterError: the scheduler went away.
        """
        from dask import config
        from distributed import KilledWorker, wait

        client = self.client
        with config.set({"distributed.admin.large-graph-warning-threshold": RECIPE_MAX}):
            # As the result of a task, not scattered: if the only worker that has it dies, it is made again.
            held = client.submit(_Held, recipe, worker_facts.here(), pure=False)
        pending: set[Future[Result]] = set()

        def submit(item: Item) -> Future[Result]:
            future: Future[Result] = client.submit(_run, held, item, pure=False)
            pending.add(future)
            return future

        def some(futures: Collection[Future[Result]]) -> Collection[Future[Result]]:
            with client.as_current():
                done: Collection[Future[Result]] = wait(list(futures), return_when="FIRST_COMPLETED").done
            return done

        try:
            for place, future in run_ahead(items, submit, some, self._ahead):
                result: Result = future.result()
                pending.discard(future)
                yield place, result
        except KilledWorker as error:
            raise WorkerLost(
                f"one piece of work killed several workers of {self.address}, one after the other",
                remedy="they may have too little memory: dask worker --memory-limit; their logs say more",
            ) from error
        except (CancelledError, OSError) as error:
            raise ClusterError(
                f"the scheduler {self.address} went away in the middle of the work",
                remedy="start it again with its workers, and this command: what is written is kept",
            ) from error
        finally:
            client.cancel(list(pending))

    def _ahead(self) -> int:
        threads: int = sum(self.client.nthreads().values())
        return (1 + _WAITING) * max(1, threads)


class _Held:
    """What all items need, as it lies in the memory of one worker; each of its threads makes its own work from it."""

    def __init__(self, recipe: Callable[[], Callable[..., object]], wanted: worker_facts.Facts) -> None:
        self.recipe, self.wanted = recipe, wanted
        self.of_thread = threading.local()

    def __reduce__(self) -> tuple[type[_Held], tuple[object, object]]:
        return _Held, (self.recipe, self.wanted)

    @property
    def work(self) -> Callable[..., object]:
        """Of this thread. A worker that came late was not compared yet."""
        if not hasattr(self.of_thread, "work"):
            worker_facts.require_same(self.wanted, {"a worker that came later": worker_facts.here()})
            self.of_thread.work = self.recipe()
        work: Callable[..., object] = self.of_thread.work
        return work


def _run(held: _Held, item: object) -> Any:  # the type of the results is the recipe's
    return held.work(item)


@contextmanager
def _client(address: str, timeout_s: float) -> Iterator[Client]:
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingPackage("--dask needs dask and distributed", remedy="pip install 'edgecost[dask]'") from error
    try:
        client = Client(address, timeout=timeout_s, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise ClusterUnreachable(
            f"no Dask scheduler answers at {address} within {timeout_s:g} s",
            remedy="start one: dask scheduler, and dask worker tcp://HOST:8786 on each machine; is the port open?",
        ) from error
    with client:
        yield client
