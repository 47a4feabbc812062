"""From what a person asked for, ``--dask`` or ``--jobs`` or neither, to a pool."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ...profiler.errors import UsageError
from ..trees.boosting import HERE, Trainer
from .in_process import InProcess
from .local_processes import LocalProcesses, usable_cpus
from .pool import Pool


@contextmanager
def chosen_pool(
    dask: str | None, jobs: int | None, tell: Callable[[str], None] = lambda note: None, *, is_much: bool = True
) -> Iterator[Pool]:
    """The cluster where there is an address; else so many processes of this machine, by default one for each CPU.

    Args:
        jobs: 1 is this process.
        is_much: whether there is enough to do that starting processes pays; only asked where nobody said how many.

    Raises:
        UsageError: both were asked for.
        EdgecostError: as ``dask_cluster.connected``.
    """
    if dask is not None:
        if jobs is not None:
            raise UsageError("--jobs is for this machine, --dask for a cluster", remedy="leave one of them out")
        from .dask_cluster import connected

        with connected(dask, tell) as cluster:
            yield cluster
        return
    count = (usable_cpus() if is_much else 1) if jobs is None else jobs
    yield InProcess() if count == 1 else LocalProcesses(count)


@contextmanager
def chosen_trainer(dask: str | None, tell: Callable[[str], None] = lambda note: None) -> Iterator[Trainer]:
    """LightGBM's own trainer on a cluster where there is an address, else the one of this process.

    Raises:
        EdgecostError: as ``dask_cluster.connected``.
    """
    if dask is None:
        yield HERE
        return
    from .dask_boosting import cluster_trainer
    from .dask_cluster import connected

    with connected(dask, tell) as cluster:
        yield cluster_trainer(cluster)
