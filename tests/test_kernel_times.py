"""Kernels that are too short to time alone are measured as copies, and what is still nothing is not known."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecost.costmodels.kernel_times import COPIES, SHORT_MS, kernel_latencies, measure_kernels
from edgecost.costmodels.local_setting import LocalSetting
from edgecost.db import Store
from edgecost.profiler.conclusion import conclude
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.graphs.repetition import repeated
from edgecost.profiler.protocol import Settings
from edgecost.profiler.records import Measurement, Status, Visit
from edgecost.profiler.tasks import Task
from edgecost.profiler.workload import Workload, workload_from_model


class Silent:
    """A narrator that says nothing."""

    def stage(self, title: str, total: int | None = None) -> None:
        """Nothing."""

    def step(self, note: str) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


def sigmoid(elements: int) -> Workload:
    graph = GraphBuilder("sigmoid")
    made = graph.activate(graph.input((1, elements)), "sigmoid")
    return workload_from_model(f"sigmoid {elements}", "kernel", graph.model(made))


def measured(
    setting: LocalSetting, workload: Workload, purpose: str, median_ms: float, overhead: float | None
) -> Measurement:
    ns = int(median_ms * 1e6)
    visits = [Visit(n, "session", (ns,) * 3, (ns,) * 3, (1, 1), 0, "", float(ns)) for n in range(6)]
    return conclude(
        Task(workload, purpose), setting.stage, visits, Status.OK, "", overhead=overhead, started_at=None, session="s"
    )


@pytest.fixture
def setting() -> LocalSetting:
    return LocalSetting.here()


def test_a_kernel_below_the_call_is_measured_as_copies_for_real(tmp_path: Path, setting: LocalSetting) -> None:
    short, long = sigmoid(1), sigmoid(200_000)
    with Store(tmp_path / "x.sqlite") as store:
        measure_kernels([short, long], store, setting, Silent(), Settings(target=0.5), "test")
        made = {(m.graph_hash, m.purpose) for m in store.measurements(usable_only=False)}
        found = kernel_latencies(store, setting, [short, long])
    assert (repeated(short, COPIES).graph_hash, "repeated") in made
    assert (repeated(long, COPIES).graph_hash, "repeated") not in made
    assert found[long.graph_hash] > SHORT_MS
    assert 0 < found.get(short.graph_hash, 1e-9) < found[long.graph_hash]


def test_copies_share_what_they_take_together(tmp_path: Path, setting: LocalSetting) -> None:
    one = sigmoid(1)
    copies = repeated(one, COPIES)
    with Store(tmp_path / "x.sqlite") as store:
        setting.store_in(store)
        for workload, purpose, median_ms in ((one, "kernel", 0.0024), (copies, "repeated", 0.0084)):
            store.put_workload(workload)
            store.record(measured(setting, workload, purpose, median_ms, 0.002))
        found = kernel_latencies(store, setting, [one])
    assert found[one.graph_hash] == pytest.approx(0.0064 / COPIES)


def test_a_latency_whose_call_overhead_is_unknown_is_no_net_latency(tmp_path: Path, setting: LocalSetting) -> None:
    one = sigmoid(200_000)
    with Store(tmp_path / "x.sqlite") as store:
        setting.store_in(store)
        store.put_workload(one)
        store.record(measured(setting, one, "kernel", 0.5, None))
        assert kernel_latencies(store, setting, [one]) == {}


def test_what_cannot_be_told_from_nothing_is_unknown_and_not_zero(tmp_path: Path, setting: LocalSetting) -> None:
    one = sigmoid(1)
    with Store(tmp_path / "x.sqlite") as store:
        setting.store_in(store)
        store.put_workload(one)
        store.record(measured(setting, one, "kernel", 0.002, 0.003))
        assert kernel_latencies(store, setting, [one]) == {}
