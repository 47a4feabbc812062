"""Pools: the contract for all three, on a real Dask cluster of two processes; what fails, and who dies, by name."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgecost.costmodels.compute import dask_cluster, worker_facts
from edgecost.costmodels.compute.chosen import chosen_pool
from edgecost.costmodels.compute.contract import CurvesRecipe, PoolContract, RefusesRecipe
from edgecost.costmodels.compute.dask_cluster import DaskCluster, connected
from edgecost.costmodels.compute.in_process import InProcess
from edgecost.costmodels.compute.local_processes import LocalProcesses
from edgecost.costmodels.compute.pool import in_order
from edgecost.profiler.errors import (
    ClusterMismatch,
    ClusterUnreachable,
    MissingPackage,
    UsageError,
    WorkerLost,
)
from tests.dask_cluster import loopback_cluster


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with loopback_cluster() as scheduler:
        yield scheduler


@dataclass(frozen=True)
class DiesOnceRecipe:
    """Work whose process dies at one item, unless it has left a file that says that it did."""

    item: int
    mark: Path

    def __call__(self) -> Callable[[int], int]:
        return self._work

    def _work(self, item: int) -> int:
        if item == self.item and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return item * item


class TestInProcess(PoolContract):
    def pool(self) -> InProcess:
        return InProcess()


class TestLocalProcesses(PoolContract):
    def pool(self) -> LocalProcesses:
        return LocalProcesses(2)

    def test_a_process_that_dies_is_told_with_what_to_do(self, tmp_path: Path) -> None:
        with pytest.raises(WorkerLost, match="one of 2 processes died") as caught:
            list(self.pool().map(DiesOnceRecipe(3, tmp_path / "died"), range(8)))
        assert "--jobs" in caught.value.remedy


class TestDaskCluster(PoolContract):
    @pytest.fixture(autouse=True)
    def _connected(self, address: str) -> Iterator[None]:
        with connected(address) as cluster:
            self.cluster = cluster
            yield

    def pool(self) -> DaskCluster:
        return self.cluster

    def test_a_worker_that_is_killed_loses_nothing(self, tmp_path: Path) -> None:
        mark = tmp_path / "died"
        found = list(in_order(self.pool().map(DiesOnceRecipe(5, mark), range(40))))
        assert mark.exists()
        assert found == [item * item for item in range(40)]
        self.cluster.client.wait_for_workers(2, timeout=60)  # its nanny starts another

    def test_a_worker_that_came_later_with_other_code_is_refused(self) -> None:
        held = dask_cluster._Held(CurvesRecipe(1.0), {**worker_facts.here(), "numpy": "1.0"})
        with pytest.raises(ClusterMismatch, match=r"numpy is .* on a worker that came later, 1.0 here"):
            _ = held.work


def test_a_person_is_told_how_many_workers_there_are(address: str) -> None:
    told: list[str] = []
    with chosen_pool(address, None, told.append) as pool:
        assert isinstance(pool, DaskCluster)
    assert told == [f"2 workers with 2 threads behind {address}"]


def test_workers_of_another_version_are_refused_before_they_get_work(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = {**worker_facts.here(), "lightgbm": "4.0.0", "numpy": "1.0"}
    monkeypatch.setattr(worker_facts, "here", lambda: facts)
    differs = r"numpy is .* on 2 workers such as tcp://127.0.0.1:\d+, 1.0 here"
    with pytest.raises(ClusterMismatch, match=differs) as caught, connected(address):
        raise AssertionError("it connected")
    assert "lightgbm" in caught.value.message
    assert "pip install 'edgecost[host,dask]'" in caught.value.remedy


def test_processors_that_compute_otherwise_have_a_remedy_of_their_own() -> None:
    wanted = worker_facts.here()
    with pytest.raises(ClusterMismatch) as caught:
        worker_facts.require_same(wanted, {"tcp://w:1": {**wanted, "arithmetic": "0"}})
    assert "NPY_DISABLE_CPU_FEATURES" in caught.value.remedy


@pytest.mark.parametrize("address", ["localhost:8786", "http://127.0.0.1:8786", "tcp://127.0.0.1", "tcp://:8786", ""])
def test_what_is_no_address_of_a_scheduler_is_wrong_usage(address: str) -> None:
    with pytest.raises(UsageError, match="no address of a Dask scheduler") as caught, connected(address):
        raise AssertionError("it connected")
    assert "tcp://HOST:8786" in caught.value.remedy


def test_a_scheduler_that_does_not_answer_is_told_with_how_to_start_one() -> None:
    # Port 1 of this machine: nobody listens there.
    with pytest.raises(ClusterUnreachable, match="within 1 s") as caught, connected("tcp://127.0.0.1:1", timeout_s=1):
        raise AssertionError("it connected")
    assert "dask scheduler" in caught.value.remedy
    assert caught.value.exit_code == 12


def test_a_scheduler_without_workers_is_told_as_such() -> None:
    refused = pytest.raises(ClusterUnreachable, match="has no worker")
    with loopback_cluster(workers=0) as scheduler, refused as caught, connected(scheduler, timeout_s=1):
        raise AssertionError("it connected")
    assert f"dask worker {scheduler}" in caught.value.remedy


def test_without_dask_the_remedy_is_the_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(MissingPackage) as caught, connected("tcp://127.0.0.1:8786"):
        raise AssertionError("it connected")
    assert caught.value.remedy == "pip install 'edgecost[dask]'"


def test_one_job_is_this_process_and_more_are_processes() -> None:
    with chosen_pool(None, 1) as one, chosen_pool(None, 3) as three, chosen_pool(None, None, is_much=False) as little:
        assert isinstance(one, InProcess)
        assert isinstance(little, InProcess)
        assert isinstance(three, LocalProcesses)
        assert three.count == 3


def test_a_cluster_and_a_number_of_processes_contradict_each_other() -> None:
    with pytest.raises(UsageError, match="--jobs is for this machine"), chosen_pool("tcp://127.0.0.1:8786", 2):
        raise AssertionError("it was chosen")


def test_what_comes_early_waits_for_its_turn() -> None:
    assert list(in_order([(2, "c"), (0, "a"), (3, "d"), (1, "b")])) == ["a", "b", "c", "d"]


def test_no_worker_no_room_for_doubt() -> None:
    assert dict(InProcess().map(RefusesRecipe(-1), [4, 5])) == {0: 4, 1: 5}
