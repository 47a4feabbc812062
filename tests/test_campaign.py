"""Campaigns with the real runtime: what is planned, what is measured, what a kill leaves behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from edgecost.costmodels.campaign import (
    LocalSetting,
    Planned,
    StoreSource,
    _start_ticks,
    owner_is_alive,
    plan,
    run_campaign,
)
from edgecost.db import Store
from edgecost.db.records import SpooledVisit
from edgecost.profiler.errors import StoreError
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.protocol import Settings
from edgecost.profiler.records import Device, Environment, Measurement, Status, Visit
from edgecost.profiler.workload import Workload, workload_from_model

QUICK = Settings(visits_min=3, target=0.5, visits_max=6)

#: Runs the campaign "c" on the store in argv[1] with visits_min argv[2]; says a line per result.
WORKER = """
import sys
from edgecost.costmodels.campaign import plan, run_campaign
from edgecost.costmodels.local_setting import LocalSetting
from edgecost.db import Store
from edgecost.profiler.protocol import Settings
least = int(sys.argv[2])
settings = Settings(visits_min=least, target=0.5, visits_max=max(6, least), rounds_max=100_000, group_max_s=100)
setting = LocalSetting.here()
with Store(sys.argv[1]) as store:
    run_campaign(store, setting, plan(store, setting, "c", "s", []), settings)
"""


def relu(size: int) -> Workload:
    graph = GraphBuilder("relu")
    return workload_from_model(f"relu {size}", "operator", graph.model(graph.activate(graph.input((size,)), "relu")))


def wanted(count: int, purpose: str = "cell", round: int = 0) -> list[Planned]:
    return [Planned(relu(size), purpose, f"relu {size}", round=round) for size in range(1, count + 1)]


@pytest.fixture(scope="module")
def setting() -> LocalSetting:
    return LocalSetting.here()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


@pytest.fixture
def store(file: Path) -> Iterator[Store]:
    with Store(file) as opened:
        yield opened


def jobs(store: Store, campaign_id: int) -> dict[str, int]:
    found = next(campaign.jobs for campaign in store.campaigns() if campaign.id == campaign_id)
    return {state: number for state, number in found.items() if number}


def per_graph(store: Store) -> Counter[str]:
    return Counter(measurement.graph_hash for measurement in store.measurements())


def visit(ordinal: int, session: str, value_ns: float | None = 1e6) -> Visit:
    return Visit(
        ordinal, session, (1_000_000,) * 3, (1_000_000,) * 3, (5, 5), 0, "" if value_ns else "canary", value_ns
    )


# Planning and working off.


def test_all_jobs_are_measured_and_a_second_run_measures_nothing(store, setting) -> None:
    campaign_id = plan(store, setting, "c", "s", wanted(3))
    report = run_campaign(store, setting, campaign_id, QUICK)
    assert report.measured >= 3
    assert jobs(store, campaign_id) == {"done": 3}
    assert all(m.latency is not None and m.overhead_ms is not None for m in store.measurements())
    again = plan(store, setting, "c", "s", wanted(3))
    assert again == campaign_id
    assert run_campaign(store, setting, again, QUICK).measured == 0
    assert set(per_graph(store).values()) == {1}


def test_a_limit_is_the_number_of_jobs_that_are_measured(store, setting) -> None:
    campaign_id = plan(store, setting, "c", "s", wanted(4))
    told: list[str] = []
    run_campaign(store, setting, campaign_id, QUICK, limit=3, progress=lambda job, _: told.append(job.label))
    assert sorted(told) == ["relu 1", "relu 2", "relu 3"]
    assert jobs(store, campaign_id)["pending"] >= 1
    run_campaign(store, setting, campaign_id, QUICK, limit=0)
    assert len(store.measurements(usable_only=False)) == 3


def test_what_one_campaign_measured_another_need_not_plan(store, setting) -> None:
    first = plan(store, setting, "c", "s", wanted(2))
    for job in store.lease_jobs(first, "me", 9, 60):
        store.record(made(setting, job.graph_hash), job.id)
    second = plan(store, setting, "d", "s", wanted(3))
    assert second != first
    assert jobs(store, second) == {"pending": 1}
    assert [job.label for job in store.lease_jobs(second, "me", 9, 60)] == ["relu 3"]


def test_a_campaign_does_not_take_over_jobs_that_another_only_planned(store, setting) -> None:
    first, second = (plan(store, setting, name, "s", wanted(2)) for name in "cd")
    assert jobs(store, first) == jobs(store, second) == {"pending": 2}


def test_purposes_and_rounds_are_measurements_of_their_own(store, setting) -> None:
    store.put_workload(relu(1))
    setting.store_in(store)
    store.record(made(setting, relu(1).graph_hash))
    repeated = [*wanted(1), *wanted(1, "panel"), *wanted(1, "panel", round=1)]
    campaign_id = plan(store, setting, "c", "s", repeated)
    assert jobs(store, campaign_id) == {"pending": 2}
    store.record(made(setting, relu(1).graph_hash, purpose="panel"))
    assert jobs(store, plan(store, setting, "d", "s", repeated)) == {"pending": 1}


def test_a_retracted_measurement_is_planned_again_by_the_same_campaign(store, setting) -> None:
    campaign_id = plan(store, setting, "c", "s", wanted(1))
    (job,) = store.lease_jobs(campaign_id, "me", 1, 60)
    wrong = made(setting, job.graph_hash)
    store.record(wrong, job.id)
    store.retract(wrong.measurement_id, "me", "the fan was off")
    for _ in range(2):
        plan(store, setting, "c", "s", wanted(1))
    assert jobs(store, campaign_id) == {"done": 1, "pending": 1}


def test_two_devices_under_one_name_do_not_share_jobs(store, setting) -> None:
    here = plan(store, setting, "c", "s", wanted(2))
    other = replace(setting, device=Device("other", "f" * 64, "another machine"))
    there = plan(store, other, "c", "s", wanted(2))
    assert here != there
    assert jobs(store, there) == {"pending": 2}


def made(setting: LocalSetting, graph_hash: str, purpose: str = "cell") -> Measurement:
    """A measurement that nobody made."""
    from edgecost.profiler.measure import Task, conclude

    task = Task(replace(relu(1), graph_hash=graph_hash), purpose)
    visits = [visit(n, "s") for n in range(6)]
    return conclude(task, setting.stage, visits, Status.OK, "", overhead=0.0, started_at=None, session="s")


def endless() -> Workload:
    """A loop that never ends: its runner has to be killed."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Relu", ["x"], ["y"])],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [4]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [4]),
        ],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["turns", "", "input"], ["output"], body=body)],
        "endless",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [4])],
        [helper.make_tensor("turns", TensorProto.INT64, [], [2**62])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return Workload("endless", "operator", "e" * 64, model.SerializeToString())


@pytest.mark.parametrize(
    ("workload", "status"),
    [(relu(1 << 36), Status.OUT_OF_MEMORY), (endless(), Status.TIMEOUT)],
    ids=["more memory than there is", "a runner that must be killed"],
)
def test_a_job_that_always_fails_is_given_up_after_three_attempts_and_the_others_are_done(
    store, setting, workload, status
) -> None:
    campaign_id = plan(store, setting, "c", "s", [Planned(workload, "cell", "bad", priority=1), *wanted(2)])
    run_campaign(store, setting, campaign_id, replace(QUICK, memory_limit_bytes=8 << 30, visit_timeout_s=2.0))
    assert jobs(store, campaign_id) == {"done": 2, "failed": 1}
    attempts = [m for m in store.measurements(usable_only=False) if m.graph_hash == workload.graph_hash]
    assert [m.status for m in attempts] == [status] * 3
    assert {m.latency for m in attempts} == {None}


# Interruptions.


def worker(file: Path, visits_min: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WORKER, str(file), str(visits_min)]
    return subprocess.Popen(command, start_new_session=True, cwd="/", stderr=subprocess.DEVNULL)


def wait_for_visits(store: Store, process: subprocess.Popen[bytes], least: int) -> None:
    deadline = time.monotonic() + 60
    while store.counts().spooled_visits < least:
        assert process.poll() is None, "the worker ended by itself"
        assert time.monotonic() < deadline, "no visits within a minute"
        time.sleep(0.02)


def test_after_kill_9_visits_become_measurements_and_only_the_rest_is_measured(file, store, setting) -> None:
    plan(store, setting, "c", "s", wanted(4))
    before = run_campaign(store, setting, plan(store, setting, "c", "s", []), QUICK, limit=1)
    assert before.measured == 1
    finished = store.measurements(with_visits=True)
    process = worker(file, 1_000_000)
    try:
        wait_for_visits(store, process, 60)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    campaign_id = plan(store, setting, "c", "s", wanted(4))
    assert jobs(store, campaign_id)["leased"] == 3
    run_campaign(store, setting, campaign_id, QUICK)
    assert jobs(store, campaign_id) == {"done": 4}
    assert store.counts().spooled_visits == 0
    found = store.measurements(with_visits=True)
    assert set(finished) <= set(found)
    recovered = [m for m in found if m.message == "recovered after an interruption"]
    assert len(recovered) == 3
    assert min(len(m.visits) for m in recovered) >= 10
    assert {m.overhead_ms for m in recovered} == {None}
    assert set(per_graph(store).values()) == {1}


def test_ctrl_c_gives_the_leases_back_and_keeps_the_visits(file, store, setting) -> None:
    campaign_id = plan(store, setting, "c", "s", wanted(3))
    process = worker(file, 1_000_000)
    try:
        wait_for_visits(store, process, 30)
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(30) != 0
    finally:
        process.kill()
        process.wait()
    assert jobs(store, campaign_id) == {"pending": 3}
    assert store.counts().spooled_visits >= 30
    assert run_campaign(store, setting, campaign_id, QUICK).measured == 0
    assert jobs(store, campaign_id) == {"done": 3}
    assert len(store.measurements()) == 3


def test_two_processes_on_one_campaign_record_each_job_once(file, store, setting) -> None:
    campaign_id = plan(store, setting, "c", "s", wanted(40))
    processes = [worker(file, 3) for _ in range(2)]
    try:
        assert [process.wait(60) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert jobs(store, campaign_id) == {"done": 40}
    assert len(per_graph(store)) == 40
    assert set(per_graph(store).values()) == {1}


def recovered(store: Store, setting: LocalSetting, visits: list[Visit]) -> Measurement:
    """What becomes of visits whose owner is gone."""
    campaign_id = plan(store, setting, "c", "s", wanted(1))
    (job,) = store.lease_jobs(campaign_id, f"{socket.gethostname()}:{os.getpid()}:1:x", 1, 600)
    store.spool_visits([SpooledVisit(job.id, "m1", v) for v in visits])
    (measurement,) = StoreSource(store, setting, campaign_id, QUICK).recover()
    assert store.measurements(usable_only=False, with_visits=True) == [measurement]
    return measurement


def test_visits_of_several_runners_are_recovered_in_the_order_of_time(store, setting) -> None:
    visits = [visit(1, "zz"), visit(2, "zz"), visit(3, "aa"), visit(4, "mm")]
    measurement = recovered(store, setting, visits)
    assert measurement.visits == tuple(visits)
    assert measurement.session == "mm"
    assert measurement.status is Status.OK


def test_too_few_visits_are_recorded_as_an_interruption_that_costs_no_attempt(store, setting) -> None:
    measurement = recovered(store, setting, [visit(1, "s"), visit(2, "s", None)])
    assert measurement.status is Status.INTERRUPTED
    assert measurement.latency is None
    (job,) = store.lease_jobs(1, "me", 1, 60)
    assert job.attempts == 0


def test_a_recovered_measurement_takes_conditions_and_overhead_from_its_session(store, setting) -> None:
    first = recovered(store, setting, [visit(1, "s")])
    elsewhere = Environment({"kernel": "the one before the reboot"})
    store.put_environment(elsewhere)
    companion = replace(
        first, measurement_id="m0", session="t", overhead_ms=0.002, environment_hash=elsewhere.environment_hash
    )
    store.record(companion)
    campaign_id = plan(store, setting, "another", "s", [replace(job, purpose="panel") for job in wanted(1)])
    (job,) = store.lease_jobs(campaign_id, f"{socket.gethostname()}:{os.getpid()}:1:x", 1, 600)
    store.spool_visits([SpooledVisit(job.id, "m2", visit(1, "t"))])
    (measurement,) = StoreSource(store, setting, campaign_id, QUICK).recover()
    assert measurement.overhead_ms == 0.002
    assert measurement.environment_hash == elsewhere.environment_hash


def test_what_a_living_process_holds_is_not_recovered(store, setting) -> None:
    campaign_id = plan(store, setting, "c", "s", wanted(1))
    source = StoreSource(store, setting, campaign_id, QUICK)
    (job,) = source.lease(5)
    source.visited([(job, "m1", visit(n, "s")) for n in range(6)])
    assert StoreSource(store, setting, campaign_id, QUICK).recover() == []
    assert jobs(store, campaign_id) == {"leased": 1}


class DiskFull(Store):
    """A store that fails from its first visit on."""

    failed = False

    def spool_visits(self, rows: object) -> None:
        self.failed = True
        raise StoreError("the disk is full")

    def release_leases(self, owner: str) -> int:
        if self.failed:
            raise StoreError("and still is")
        return super().release_leases(owner)


def test_the_first_failure_of_a_store_is_told_not_the_one_of_tidying_up(file, setting) -> None:
    with DiskFull(file) as store:
        campaign_id = plan(store, setting, "c", "s", wanted(1))
        with pytest.raises(StoreError, match="the disk is full"):
            run_campaign(store, setting, campaign_id, QUICK)


# Owners.


def owner(pid: int, ticks: str, host: str | None = None) -> str:
    return f"{host or socket.gethostname()}:{pid}:{ticks}:x"


def test_this_process_is_alive_and_one_with_its_number_but_another_start_is_not(store, setting) -> None:
    assert owner_is_alive(owner(os.getpid(), _start_ticks(os.getpid())))
    assert owner_is_alive(StoreSource(store, setting, 1, QUICK).owner)
    assert not owner_is_alive(owner(os.getpid(), "1"))


def test_a_process_that_has_ended_is_not_alive_even_before_its_parent_asks() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = owner(process.pid, _start_ticks(process.pid))
    assert owner_is_alive(name)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not owner_is_alive(name)
    process.communicate()
    assert not owner_is_alive(name)


@pytest.mark.parametrize("name", ["elsewhere:1:1:x", "agent-7", "", "a:b:c:d", f"{socket.gethostname()}:pid:1:x"])
def test_owners_of_which_nothing_is_known_are_taken_to_live(name) -> None:
    assert owner_is_alive(name)
