"""Campaigns: each job once in one pair of hands, nothing lost when an owner dies or two processes write at once."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgecost.db import NewJob, SpooledVisit, Store
from edgecost.profiler.errors import StoreError
from edgecost.profiler.records import Device, Environment, Measurement, RuntimeProfile, Status, Visit
from edgecost.profiler.statistics import summarise
from edgecost.profiler.workload import Workload

GRAPH = "a" * 64
DEVICE = Device("host", "serial", "")
ENVIRONMENT = Environment({})
PROFILE = RuntimeProfile("onnxruntime", "1.30.0")


def visit(ordinal: int, session: str = "s1") -> Visit:
    return Visit(ordinal, session, (1_000_000 + ordinal, 1_000_500), (1, 2), (3, 4), 0, "", 1_000_250.0 + ordinal)


def attempt(measurement_id: str, status: Status = Status.OK, visits: tuple[Visit, ...] = (visit(0),)) -> Measurement:
    return Measurement(
        measurement_id=measurement_id,
        graph_hash=GRAPH,
        profile_hash=PROFILE.profile_hash,
        environment_hash=ENVIRONMENT.environment_hash,
        device_identity=DEVICE.identity,
        session="s1",
        protocol="edgecost-1",
        purpose="cell",
        status=status,
        message="",
        started_at="2026-11-22T10:00:00+00:00",
        finished_at="2026-11-22T10:00:01+00:00",
        latency=summarise(visits) if status.has_latency else None,
        overhead_ms=None,
        visits=visits,
    )


def new_jobs(number: int, priority: int = 0) -> list[NewJob]:
    return [NewJob(GRAPH, "cell", f"cell {n}", priority, f"{priority}/{n}") for n in range(number)]


@pytest.fixture
def campaign(store: Store) -> int:
    store.put_device(DEVICE)
    store.put_environment(ENVIRONMENT)
    store.put_profile(PROFILE)
    store.put_workload(Workload("conv", "operator", GRAPH, b"skeleton"))
    return store.open_campaign("first", "ofa", {"visits": 6})


def jobs_by_state(store: Store) -> dict[str, int]:
    return {state: number for state, number in store.campaigns()[0].jobs.items() if number}


def test_a_campaign_is_opened_once_and_keeps_its_first_settings(store: Store, campaign: int) -> None:
    assert store.open_campaign("first", "other", {}) == campaign
    assert store.open_campaign("second", "", {}) != campaign
    first, second = store.campaigns()
    assert (first.id, first.name, first.space) == (campaign, "first", "ofa")
    assert second.jobs == {"pending": 0, "leased": 0, "done": 0, "failed": 0}


def test_the_same_jobs_are_added_once(store: Store, campaign: int) -> None:
    assert store.add_jobs(campaign, []) == 0
    assert store.add_jobs(campaign, new_jobs(2500)) == 2500
    assert store.add_jobs(campaign, new_jobs(2501)) == 1
    assert jobs_by_state(store) == {"pending": 2501}


def test_a_job_needs_a_known_workload(store: Store, campaign: int) -> None:
    with pytest.raises(StoreError, match="refuses the row"):
        store.add_jobs(campaign, [NewJob("unknown", "cell", "", 0, "k")])


def test_jobs_are_leased_by_priority_then_age_and_to_one_owner(store: Store, campaign: int) -> None:
    store.add_jobs(campaign, [*new_jobs(2), *new_jobs(2, priority=5)])
    first = store.lease_jobs(campaign, "a", 3, 60)
    assert [job.id for job in first] == [3, 4]
    assert [job.id for job in store.lease_jobs(campaign, "b", 1, 60)] == [1]
    assert [job.id for job in store.lease_jobs(campaign, "c", 3, 60)] == [2]
    assert store.lease_jobs(campaign, "d", 3, 60) == []
    assert (store.extend_leases("a", 60), store.release_leases("a"), store.release_leases("a")) == (2, 2, 0)
    assert jobs_by_state(store) == {"pending": 2, "leased": 2}


def test_a_lease_that_ran_out_is_given_to_the_next_under_another_token(store: Store, campaign: int) -> None:
    store.add_jobs(campaign, new_jobs(1))
    (lost,) = store.lease_jobs(campaign, "a", 1, -1)
    (found,) = store.lease_jobs(campaign, "b", 1, 60)
    assert found.id == lost.id
    assert found.lease_token != lost.lease_token
    assert store.extend_leases("a", 60) == 0
    # The loser's failure does not take the job from the next owner, its latency would finish it.
    store.record(attempt("m1", Status.TIMEOUT), lost.id, lease_token=lost.lease_token)
    assert jobs_by_state(store) == {"leased": 1}
    store.record(attempt("m2"), lost.id, lease_token=lost.lease_token)
    assert jobs_by_state(store) == {"done": 1}


def test_a_latency_finishes_the_job_and_a_late_failure_does_not_reopen_it(store: Store, campaign: int) -> None:
    store.add_jobs(campaign, new_jobs(1))
    (job,) = store.lease_jobs(campaign, "a", 1, 60)
    store.record(attempt("m1", Status.UNCONVERGED), job.id)
    store.record(attempt("m2", Status.SEGFAULT), job.id)
    assert jobs_by_state(store) == {"done": 1}


def test_a_job_fails_after_three_attempts_and_interruptions_do_not_count(store: Store, campaign: int) -> None:
    store.add_jobs(campaign, new_jobs(1))
    for number in range(3):
        (job,) = store.lease_jobs(campaign, "a", 1, 60)
        assert job.attempts == number
        store.record(attempt(f"i{number}", Status.INTERRUPTED), job.id)
        assert jobs_by_state(store) == {"pending": 1}
        (job,) = store.lease_jobs(campaign, "a", 1, 60)
        store.record(attempt(f"m{number}", Status.SEGFAULT), job.id)
        store.record(attempt(f"m{number}", Status.SEGFAULT), job.id)
    assert jobs_by_state(store) == {"failed": 1}
    assert store.lease_jobs(campaign, "a", 1, 60) == []


def test_two_threads_never_hold_the_same_job(store: Store, campaign: int) -> None:
    store.add_jobs(campaign, new_jobs(60))

    def take(owner: str) -> list[int]:
        taken: list[int] = []
        while jobs := store.lease_jobs(campaign, owner, 4, 60):
            taken += [job.id for job in jobs]
        return taken

    with ThreadPoolExecutor(2) as threads:
        taken = [job_id for ids in threads.map(take, ["a", "b"]) for job_id in ids]
    assert sorted(taken) == list(range(1, 61))


def test_recording_ends_the_spool_of_that_measurement_only(store: Store, campaign: int) -> None:
    store.add_jobs(campaign, new_jobs(1))
    (job,) = store.lease_jobs(campaign, "a", 1, 60)
    for _ in range(2):
        store.spool_visits([SpooledVisit(job.id, "m1", visit(0)), SpooledVisit(job.id, "m2", visit(0))])
    store.spool_visits([])
    assert store.counts().spooled_visits == 2
    store.record(attempt("m1"), job.id)
    assert store.counts().spooled_visits == 1
    store.spool_visits([SpooledVisit(job.id, "m1", visit(1))])
    assert not store.record(attempt("m1"), job.id)
    assert store.counts().spooled_visits == 1


def test_what_a_dead_owner_left_is_recovered_and_the_living_are_left_alone(store: Store, campaign: int) -> None:
    store.add_jobs(campaign, new_jobs(4))
    dead, idle = store.lease_jobs(campaign, "dead", 2, 60)
    (alive,) = store.lease_jobs(campaign, "alive", 1, 60)
    visits = tuple(visit(ordinal) for ordinal in (0, 1, 10, 2))
    store.spool_visits([SpooledVisit(dead.id, "m1", v) for v in visits])
    store.spool_visits([SpooledVisit(alive.id, "m2", visit(0))])
    (found,) = store.recover_spool(campaign, is_alive=lambda owner: owner == "alive")
    assert (found.job, found.measurement_id) == (dead, "m1")
    assert [v.ordinal for v in found.visits] == [0, 1, 2, 10]
    assert sorted(found.visits, key=lambda v: v.ordinal) == sorted(visits, key=lambda v: v.ordinal)
    assert jobs_by_state(store) == {"pending": 3, "leased": 1}
    # Another owner takes the job before the interruption is recorded, and keeps it.
    assert {job.id for job in store.lease_jobs(campaign, "next", 3, 60)} >= {dead.id, idle.id}
    interrupted = attempt(found.measurement_id, Status.INTERRUPTED, found.visits)
    assert store.record(interrupted, found.job.id, lease_token=found.job.lease_token)
    assert jobs_by_state(store) == {"leased": 4}
    assert store.recover_spool(campaign, is_alive=lambda owner: True) == []
    store.release_leases("alive")
    assert [f.measurement_id for f in store.recover_spool(campaign, is_alive=lambda owner: True)] == ["m2"]


def run_python(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_process_killed_while_measuring_loses_nothing_it_spooled(
    store: Store, campaign: int, database_url: str
) -> None:
    store.add_jobs(campaign, new_jobs(1))
    code = """
        import os, signal, sys
        from edgecost.db import SpooledVisit, Store
        from edgecost.profiler.records import Visit
        store = Store(sys.argv[1])
        (job,) = store.lease_jobs(int(sys.argv[2]), f"pid:{os.getpid()}", 1, 3600)
        for n in range(3):
            store.spool_visits([SpooledVisit(job.id, "m1", Visit(n, "s1", (1000 + n,), (1,), (2, 3), 0, "", 1000.0))])
        os.kill(os.getpid(), signal.SIGKILL)
    """
    with run_python(code, database_url, campaign) as process:
        assert process.wait(60) == -signal.SIGKILL
    (found,) = store.recover_spool(campaign, is_alive=lambda owner: owner != f"pid:{process.pid}")
    assert [v.wall_ns for v in found.visits] == [(1000,), (1001,), (1002,)]
    assert store.record(attempt("m1", Status.INTERRUPTED, found.visits), found.job.id)
    assert store.counts().spooled_visits == 0
    assert [job.id for job in store.lease_jobs(campaign, "next", 1, 60)] == [found.job.id]


def test_two_processes_that_create_and_write_one_database_lose_nothing(database_url: str) -> None:
    code = """
        import sys
        from edgecost.db import NewJob, Store
        from edgecost.profiler.records import Device
        from edgecost.profiler.workload import Workload
        url, owner = sys.argv[1:]
        with Store(url) as store:
            store.put_workload(Workload("conv", "operator", "a" * 64, b""))
            campaign = store.open_campaign("shared", "", {})
            store.add_jobs(campaign, [NewJob("a" * 64, "cell", "", 0, str(n)) for n in range(40)])
            for n in range(40):
                store.put_device(Device(f"{owner}{n}", f"{owner}{n}", ""))
                for job in store.lease_jobs(campaign, owner, 1, 3600):
                    print(job.id)
    """
    processes = [run_python(code, database_url, owner) for owner in "ab"]
    taken = [line for process in processes for line in process.communicate(timeout=120)[0].split()]
    assert [process.returncode for process in processes] == [0, 0]
    assert len(taken) == len(set(taken)) == 40
    with Store(database_url) as store:
        assert store.counts().devices == 80
        assert jobs_by_state(store) == {"leased": 40}


def test_counts_tell_engine_and_rows(store: Store, campaign: int, database_url: str) -> None:
    counts = store.counts()
    assert database_url.startswith(counts.dialect)
    assert (counts.campaigns, counts.jobs, counts.measurements) == (1, 0, 0)
    if counts.dialect == "sqlite":
        assert counts.size_bytes >= Path(database_url.removeprefix("sqlite:///")).stat().st_size
