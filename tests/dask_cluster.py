"""A real Dask cluster of this machine's processes, reachable from this machine alone, for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def loopback_cluster(workers: int = 2) -> Iterator[str]:
    """The address of its scheduler. One thread for each worker; no dashboard."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        scheduler_kwargs={"dashboard": False},
        silence_logs=50,  # a worker that a test kills is no news
    ) as cluster:
        yield cluster.scheduler_address
