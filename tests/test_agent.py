"""The loop that works off jobs: every job is recorded once, and the budget is kept."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from edgecost.devices.agent import MeasuringJob, WorkReport, _group_size, work_off
from edgecost.profiler.errors import StoreBusy
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.protocol import GROUP_SIZE, Settings
from edgecost.profiler.records import Environment, Measurement, Status, Visit
from edgecost.profiler.runtimes import host_profile
from edgecost.profiler.tasks import Stage
from edgecost.profiler.workload import workload_from_model

PROFILE = host_profile()
STAGE = Stage(PROFILE, Environment({"test": True}), "device")
LOOSE = Settings(visits_min=3, target=0.5, visits_max=6, rounds_max=60)


def set_stage() -> Stage:
    return STAGE


class MemorySource:
    """Jobs from a list, results into lists."""

    def __init__(self, jobs: Sequence[MeasuringJob], *, most: int = GROUP_SIZE) -> None:
        self.left = list(jobs)
        self.most = most
        self.leases: list[int] = []
        self.spool: list[tuple[MeasuringJob, str, Visit]] = []
        self.records: list[tuple[MeasuringJob, Measurement]] = []

    def lease(self, limit: int) -> Sequence[MeasuringJob]:
        self.leases.append(limit)
        count = min(limit, self.most)
        given, self.left = self.left[:count], self.left[count:]
        return given

    def visited(self, visits: Sequence[tuple[MeasuringJob, str, Visit]]) -> None:
        self.spool.extend(visits)

    def record(self, job: MeasuringJob, measurement: Measurement) -> None:
        self.records.append((job, measurement))


def job(number: int, channels: int = 4, op: str = "") -> MeasuringJob:
    graph = GraphBuilder("conv")
    value = graph.conv(graph.input((1, 4, 8, 8)), channels)
    if op:
        value = graph.node(op, [value], graph.shapes[value])
    workload = workload_from_model("conv", "operator", graph.model(value), tuple(graph.weights))
    return MeasuringJob(number, "cell", f"job {number}", workload)


def test_every_job_is_recorded_once_with_the_visits_that_were_kept() -> None:
    # Jobs 1 and 2 want the same graph, job 4 one that no runtime knows.
    jobs = [job(1), job(2), job(3, 8), job(4, op="Frobnicate"), job(5, 16)]
    source = MemorySource(jobs, most=3)
    report = work_off(source, set_stage, LOOSE, profile=PROFILE)
    assert sorted(done.job_id for done, _ in source.records) == [1, 2, 3, 4, 5]
    assert len({measurement.measurement_id for _, measurement in source.records}) == 5
    for done, measurement in source.records:
        assert (measurement.graph_hash, measurement.purpose) == (done.workload.graph_hash, done.purpose)
        kept = [visit for held, name, visit in source.spool if held is done and name == measurement.measurement_id]
        assert kept == list(measurement.visits)
        assert (measurement.status is Status.UNSUPPORTED_OPERATOR) == (done.job_id == 4)
    assert (report.measured, report.out_of_budget) == (5, False)
    assert sum(report.by_status.values()) == 5
    assert report.by_status[Status.UNSUPPORTED_OPERATOR] == 1
    assert report.times.total_s >= report.times.measuring_s > 0


def test_an_empty_source_ends_the_loop_at_once() -> None:
    source = MemorySource([])
    report = work_off(source, set_stage, LOOSE, profile=PROFILE)
    assert (source.leases, report.measured, report.by_status, report.out_of_budget) == ([GROUP_SIZE], 0, {}, False)


@pytest.mark.parametrize("budget_s", [0.0, -1.0])
def test_without_a_budget_nothing_is_leased(budget_s: float) -> None:
    source = MemorySource([job(1)])
    report = work_off(source, set_stage, LOOSE, profile=PROFILE, budget_s=budget_s)
    assert report.out_of_budget
    assert (report.measured, source.leases, source.records) == (0, [], [])


def test_a_budget_that_lasts_measures_all() -> None:
    source = MemorySource([job(1), job(2, 8)])
    report = work_off(source, set_stage, LOOSE, profile=PROFILE, budget_s=3600.0)
    assert (report.measured, report.out_of_budget) == (2, False)


@pytest.mark.parametrize(
    ("measured", "spent_s", "budget_s", "size"),
    [
        (0, 0.0, None, GROUP_SIZE),
        (0, 0.0, 10.0, GROUP_SIZE // 4),
        (10, 5.0, 10.0, 10),
        (10, 5.0, 5.4, 0),
        (10, 5.0, 1000.0, GROUP_SIZE),
        (10, 11.0, 10.0, 0),
    ],
)
def test_the_group_shrinks_with_what_is_left_of_the_budget(
    measured: int, spent_s: float, budget_s: float | None, size: int
) -> None:
    assert _group_size(WorkReport(measured=measured), spent_s, budget_s, GROUP_SIZE) == size


def test_an_error_of_the_source_ends_the_loop() -> None:
    class Busy(MemorySource):
        def record(self, job: MeasuringJob, measurement: Measurement) -> None:
            raise StoreBusy

    with pytest.raises(StoreBusy):
        work_off(Busy([job(1)]), set_stage, LOOSE, profile=PROFILE)
