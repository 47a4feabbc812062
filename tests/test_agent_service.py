"""The agent against a hub that is away, misbehaves, takes work back or retires it; and killed at any moment.

Measuring is a stand-in here that hands out and records as the loop does, but in one case.
"""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from edgecost.devices import agent_loop, heartbeat, outbox
from edgecost.devices.agent import JobSource, MeasuringJob, WorkReport
from edgecost.devices.agent_home import AgentHome
from edgecost.devices.agent_loop import Manner
from edgecost.devices.backoff import Backoff
from edgecost.devices.lease_hold import StoppableSupply
from edgecost.devices.service import AgentService
from edgecost.devices.spool import Begun, Spool
from edgecost.devices.told import Weight
from edgecost.profiler.bench import Bench
from edgecost.profiler.conclusion import conclude
from edgecost.profiler.errors import HubRefused, StoreUnwritable, UsageError
from edgecost.profiler.fleet_protocol import LeasedWorkload, Problem
from edgecost.profiler.protocol import Settings
from edgecost.profiler.records import RuntimeProfile, Status, Visit
from edgecost.profiler.runtimes import host_profile
from edgecost.profiler.tasks import Stage, Task
from tests.little_hub import LOOSE, Handler, LittleHub, home_at, job, once, served, workload

SESSION = "the session"


def visit(ordinal: int) -> Visit:
    return Visit(ordinal, SESSION, (5000,), (), (1, 1), 0, "", 5000.0 + ordinal)


@dataclass
class Pretended:
    """Measures nothing: three visits for each job, and a word to whoever watches before each result.

    Attributes:
        before: called with each job before it is recorded; may wait, or raise.
    """

    before: Callable[[MeasuringJob], None] = lambda _: None
    groups: list[list[int]] = field(default_factory=list)
    settings: Settings | None = None
    stages: list[Stage] = field(default_factory=list)

    def __call__(
        self, source: JobSource, set_stage: Callable[[], Stage], settings: Settings, *, profile: RuntimeProfile,
        bench: Bench,
    ) -> WorkReport:  # fmt: skip
        self.settings = settings
        while jobs := source.lease(settings.group_size):
            self.groups.append([one.job_id for one in jobs])
            stage = set_stage()
            self.stages.append(stage)
            visits = [visit(at) for at in range(1, 4)]
            for one in visits:
                source.visited([(made, made.measurement_id, one) for made in jobs])
            for made in jobs:
                self.before(made)
                if stage.is_unwanted is not None and stage.is_unwanted(made.measurement_id):
                    continue
                task = Task(made.workload, made.purpose, made.measurement_id)
                source.record(
                    made,
                    conclude(task, stage, visits, Status.OK, "", overhead=0.001, started_at=None, session=SESSION),
                )
        return WorkReport()


@dataclass
class Running:
    """An agent in a thread of its own."""

    service: AgentService
    said: list[tuple[Weight, str]]
    failures: list[BaseException] = field(default_factory=list)
    thread: threading.Thread | None = None

    def start(self) -> Running:
        def work() -> None:
            try:
                self.service.run()
            except BaseException as error:  # noqa: BLE001  # told to the test
                self.failures.append(error)

        self.thread = threading.Thread(target=work)
        self.thread.start()
        return self

    def join(self) -> None:
        assert self.thread is not None
        self.thread.join(60)
        assert not self.thread.is_alive(), self.said[-5:]

    def has_said(self, text: str) -> bool:
        return any(text in line for _, line in self.said)


def agent(home: AgentHome, measure: object = None, *, boot_id: str = "boot-1", until_idle_s: float | None = None,
          cpus: tuple[int, ...] = ()) -> Running:  # fmt: skip
    said: list[tuple[Weight, str]] = []
    manner = Manner(until_idle_s, cpus, rest_s=0.05, measure=measure or Pretended())  # type: ignore[arg-type]
    return Running(AgentService(home, lambda weight, text: said.append((weight, text)), manner, boot_id=boot_id), said)


@contextmanager
def at_work(home: AgentHome, measure: object = None, **options: object) -> Iterator[Running]:
    running = agent(home, measure, **options).start()  # type: ignore[arg-type]
    try:
        yield running
    finally:
        running.service.stop()
        running.join()


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test does not wait for what a board would wait for."""
    for module in (agent_loop, outbox):
        monkeypatch.setattr(module, "Backoff", lambda sleep: Backoff(lambda s: sleep(min(s, 0.02))))
    monkeypatch.setattr(agent_loop, "_HASTY_S", 0.01)
    monkeypatch.setattr(agent_loop, "FAREWELL_S", 2.0)
    monkeypatch.setattr(heartbeat, "PAUSE_S_MIN", 0.01)


@pytest.fixture
def hub() -> Iterator[LittleHub]:
    with served(LittleHub()) as found:
        yield found


@pytest.fixture
def home(tmp_path: Path, hub: LittleHub) -> AgentHome:
    return home_at(tmp_path, hub)


def counts(home: AgentHome):
    with closing(Spool(home.spool_path)) as spool:
        return spool.counts()


def test_jobs_are_measured_once_and_their_results_arrive(hub: LittleHub, home: AgentHome) -> None:
    hub.jobs, hub.per_lease = [job(at) for at in range(5)], 3
    with at_work(home):
        hub.until(lambda: len(hub.results) == 5)
    assert sorted(result.job_id for result in hub.results.values()) == [0, 1, 2, 3, 4]
    assert {receipt.verdict for receipt in hub.verdicts.values()} == {"accepted"}
    assert hub.sent_results == 5
    assert hub.byes == 1
    left = counts(home)
    assert (left.leases, left.waiting, left.attempts_begun, dict(left.receipts)) == (0, 0, 0, {"accepted": 5})


def test_a_result_brings_all_that_it_refers_to(hub: LittleHub, home: AgentHome) -> None:
    from edgecost.profiler.records import Environment

    hub.jobs = [job(1)]
    with at_work(home):
        hub.until(lambda: hub.results)
    (result,) = hub.results.values()
    made = result.measurement
    assert Environment(result.environment).environment_hash == made.environment_hash
    assert RuntimeProfile.from_document(result.profile).profile_hash == made.profile_hash == hub.profile_hash
    assert made.device_identity == home.read().device.identity
    assert made.graph_hash == job(1).workload.graph_hash


def test_the_board_says_what_it_is_and_offers(hub: LittleHub, home: AgentHome) -> None:
    with at_work(home):
        hub.until(lambda: hub.hellos)
    (hello,) = hub.hellos
    (offer,) = hello.runtimes
    assert (offer.name, RuntimeProfile.from_document(offer.profile or {})) == ("ort", host_profile())
    assert (hello.boot_id, hello.device) == ("boot-1", home.read().device)
    assert "cpu_model" in hello.host


def test_a_runtime_that_is_not_there_is_offered_with_its_problem(tmp_path: Path, hub: LittleHub) -> None:
    home = home_at(tmp_path, hub, ["ort", "ort-acl"])
    with at_work(home) as running:
        hub.until(lambda: hub.hellos)
    there, missing = hub.hellos[0].runtimes
    assert (there.problem, missing.profile) == ("", None)
    assert "ACLExecutionProvider" in missing.problem
    assert running.has_said("cannot be used")


def test_jobs_that_killed_a_board_are_measured_alone_and_last(hub: LittleHub, home: AgentHome) -> None:
    hub.jobs = [job(1, alone=True), job(2), job(3), job(4, alone=True)]
    measure = Pretended()
    with at_work(home, measure):
        hub.until(lambda: len(hub.results) == 4)
    assert measure.groups == [[2, 3], [1], [4]]


def test_a_lease_for_another_profile_is_given_back_and_told(hub: LittleHub, home: AgentHome) -> None:
    hub.jobs, hub.profile_hash = [job(1)], "another"
    with at_work(home):
        hub.until(lambda: hub.given_back and len(hub.hellos) > 1)
    (_, given) = hub.given_back[0]
    assert given.jobs == (1,)
    assert "another profile" in given.reason
    assert hub.results == {}


def test_a_lease_for_a_runtime_that_nobody_offered_is_given_back(hub: LittleHub, home: AgentHome) -> None:
    hub.jobs, hub.runtime = [job(1)], "tvm"
    with at_work(home):
        hub.until(lambda: hub.given_back)
    assert "no runtime 'tvm'" in hub.given_back[0][1].reason


@pytest.mark.parametrize("skeleton", ["", "!", "AAAA", base64.b64encode(zlib.compress(b"no model")).decode()])
def test_a_model_that_is_none_is_a_result_and_no_runner_sees_it(hub: LittleHub, home: AgentHome, skeleton: str) -> None:
    bad = replace(workload(), skeleton=skeleton)
    hub.jobs = [replace(job(1), workload=bad), job(2)]
    measure = Pretended()
    with at_work(home, measure):
        hub.until(lambda: len(hub.results) == 2)
    (refused,) = hub.results_of(1)
    assert refused.measurement.status is Status.INVALID_MODEL
    assert refused.measurement.message
    assert measure.groups == [[2]]


def test_a_bomb_is_not_unpacked(hub: LittleHub, home: AgentHome) -> None:
    bomb = base64.b64encode(zlib.compress(bytes(300 << 20), 9)).decode()
    hub.jobs = [replace(job(1), workload=replace(workload(), skeleton=bomb))]
    with at_work(home):
        hub.until(lambda: hub.results)
    assert "cut off, or has more than" in hub.results_of(1)[0].measurement.message


def test_weights_beyond_the_memory_are_refused(hub: LittleHub, home: AgentHome) -> None:
    made = workload()
    huge = tuple(replace(weight, shape=(1 << 40,)) for weight in made.weights)
    hub.jobs = [replace(job(1), workload=replace(made, weights=huge))]
    with at_work(home):
        hub.until(lambda: hub.results)
    assert "tensors take" in hub.results_of(1)[0].measurement.message


def fetched(made: LeasedWorkload, hub: LittleHub) -> LeasedWorkload:
    """The same workload with its skeleton as a blob."""
    skeleton = zlib.decompress(base64.b64decode(made.skeleton))
    name = hashlib.sha256(skeleton).hexdigest()
    hub.blobs[name] = skeleton
    return replace(made, skeleton="", skeleton_sha256=name)


def test_a_large_skeleton_is_fetched(hub: LittleHub, home: AgentHome) -> None:
    hub.jobs = [replace(job(1), workload=fetched(workload(), hub))]
    seen: list[bytes] = []
    with at_work(home, Pretended(before=lambda made: seen.append(made.workload.skeleton))):
        hub.until(lambda: hub.results)
    assert seen == list(hub.blobs.values())


def test_a_whole_file_is_measured_from_the_cache(hub: LittleHub, home: AgentHome) -> None:
    made = fetched(workload(), hub)
    hub.jobs = [replace(job(1), workload=replace(made, skeleton_sha256="", model_sha256=made.skeleton_sha256))]
    paths: list[str] = []
    with at_work(home, Pretended(before=lambda made: paths.append(made.workload.path))):
        hub.until(lambda: hub.results)
    assert paths == [str(home.models_path / made.skeleton_sha256)]


def test_a_model_that_the_hub_does_not_have_is_a_result(hub: LittleHub, home: AgentHome) -> None:
    hub.jobs = [replace(job(1), workload=replace(workload(), skeleton="", skeleton_sha256="0" * 64))]
    with at_work(home):
        hub.until(lambda: hub.results)
    assert hub.results_of(1)[0].measurement.status is Status.INVALID_MODEL


def test_a_model_that_cannot_be_had_now_is_given_back(hub: LittleHub, home: AgentHome) -> None:
    made = fetched(workload(), hub)
    hub.jobs = [replace(job(1), workload=made), job(2)]
    hub.pranks.append(once(made.skeleton_sha256, lambda handler: handler.raw(503, b"", {}), times=99))
    with at_work(home):
        hub.until(lambda: hub.results and hub.given_back)
    assert [given.jobs for _, given in hub.given_back] == [(1,)]
    assert [result.job_id for result in hub.results.values()] == [2]


def test_a_lease_is_renewed_while_it_is_worked_on(hub: LittleHub, home: AgentHome) -> None:
    hub.jobs = [job(1)]
    with at_work(home, Pretended(before=lambda _: hub.until(lambda: len(hub.renewals) >= 3))):
        hub.until(lambda: hub.results)
    assert hub.renewals[2].visits == {"1": 3}
    assert "load_1min" in hub.renewals[0].conditions


def test_a_lost_job_is_measured_no_further_and_the_others_are(hub: LittleHub, home: AgentHome) -> None:
    hub.jobs = [job(1), job(2), job(3)]

    def wait(made: MeasuringJob) -> None:
        if made.job_id == 1:
            hub.taken_back.add(2)
            hub.until(lambda: running.has_said("took 1 jobs back"))

    running = agent(home, Pretended(before=wait)).start()
    hub.until(lambda: len(hub.results) == 2)
    running.service.stop()
    running.join()
    assert sorted(result.job_id for result in hub.results.values()) == [1, 3]
    assert hub.given_back == []
    assert counts(home).visits == 3  # of the one that was lost: kept here, sent to nobody


@pytest.mark.parametrize("cancelled", [False, True])
def test_when_all_is_lost_measuring_stops_and_the_next_lease_begins(
    hub: LittleHub, home: AgentHome, cancelled: bool
) -> None:
    hub.jobs, hub.are_cancelled, hub.per_lease = [job(1), job(2), job(3)], cancelled, 2
    hub.taken_back = {1, 2}
    stopped: list[int] = []

    def wait(made: MeasuringJob) -> None:
        if made.job_id == 1:
            hub.until(lambda: running.has_said("took 2 jobs back"))
            stopped.append(made.job_id)

    running = agent(home, Pretended(before=wait)).start()
    hub.until(lambda: hub.results_of(3))
    running.service.stop()
    running.join()
    assert stopped == [1]
    assert [result.job_id for result in hub.results.values()] == [3]
    assert hub.given_back == []


def test_results_wait_for_a_hub_that_is_away_and_measuring_goes_on(tmp_path: Path) -> None:
    hub = LittleHub(jobs=[job(at) for at in range(4)])
    away = threading.Event()
    with served(hub):
        home = home_at(tmp_path, hub)
        running = agent(home, Pretended(before=lambda _: away.wait(30))).start()
        hub.until(lambda: hub.leases)
    away.set()
    hub.until(lambda: running.has_said("job 3: ok"))
    assert hub.results == {}
    with served(hub, hub.port):
        hub.until(lambda: len(hub.results) == 4)
        running.service.stop()
        running.join()
    assert not running.failures


def test_what_is_not_sent_at_the_end_is_sent_by_the_next_start(tmp_path: Path) -> None:
    hub = LittleHub(jobs=[job(1), job(2)])
    with served(hub):
        home = home_at(tmp_path, hub)
        hub.pranks.append(once("/results", lambda handler: handler.raw(503, b"", {}), times=10_000))
        with at_work(home) as running:
            hub.until(lambda: running.has_said("job 2: ok"))
        assert counts(home).waiting == 2
        hub.pranks.clear()
        agent(home, until_idle_s=0.0).start().join()
    assert len(hub.results) == 2


@pytest.mark.parametrize(
    "prank",
    [
        lambda handler: handler.cut(),
        lambda handler: handler.raw(503, b"<html>", {"Retry-After": "0"}),
        lambda handler: handler.raw(429, b"", {}),
        lambda handler: (handler.raw(200, b'{"x', {}, length=50), handler.cut()),
        lambda handler: handler.raw(200, b"nonsense", {}),
    ],
    ids=["cut", "503", "429", "truncated", "nonsense"],
)
@pytest.mark.parametrize("path", ["/hello", "/leases", "/renew", "/results"])
def test_whatever_a_hub_does_once_the_result_arrives_once(
    hub: LittleHub, home: AgentHome, path: str, prank: Callable[[Handler], None]
) -> None:
    hub.jobs = [job(1)]
    hub.pranks.append(once(path, prank, times=2))
    with at_work(home, Pretended(before=lambda _: hub.until(lambda: hub.renewals))):
        hub.until(lambda: hub.results)
    assert [receipt.verdict for receipt in hub.verdicts.values()] == ["accepted"]
    assert counts(home).waiting == 0


def test_a_result_whose_answer_was_lost_is_sent_again_and_counts_once(hub: LittleHub, home: AgentHome) -> None:
    original, lost = hub.result, []

    def result(said):
        status, receipt = original(said)
        if not lost:
            lost.append(status)
            return 503, Problem("the answer is lost")
        return status, receipt

    hub.result = result  # type: ignore[method-assign]
    hub.jobs = [job(1)]
    with at_work(home):
        hub.until(lambda: hub.sent_results == 2)
    assert lost == [201]
    assert len(hub.results) == 1
    assert dict(counts(home).receipts) == {"accepted": 1}


def test_a_result_that_came_late_is_settled(hub: LittleHub, home: AgentHome) -> None:
    hub.jobs, hub.per_lease = [job(1), job(1)], 1
    with at_work(home) as running:
        hub.until(lambda: len(hub.results) == 2)
        hub.until(lambda: running.has_said("came late"))
    assert dict(counts(home).receipts) == {"accepted": 1, "late": 1}


def test_a_result_that_is_refused_is_kept_and_offered_again_at_the_next_start(hub: LittleHub, home: AgentHome) -> None:
    hub.jobs = [job(1), job(2)]
    hub.pranks.append(once("/results", lambda handler: handler.say(422, Problem("no such job"))))
    with at_work(home) as running:
        hub.until(lambda: hub.results and running.has_said("does not take result"))
    assert (counts(home).refused, counts(home).waiting) == (1, 0)
    agent(home, until_idle_s=0.0).start().join()
    assert len(hub.results) == 2
    assert counts(home).refused == 0


@pytest.mark.parametrize("path", ["/hello", "/leases", "/renew", "/results"])
@pytest.mark.parametrize("status", [401, 403, 426])
def test_a_hub_that_knows_the_agent_no_more_ends_it(hub: LittleHub, home: AgentHome, path: str, status: int) -> None:
    hub.jobs = [job(1)]
    hub.pranks.append(once(path, lambda handler: handler.say(status, Problem("go away")), times=99))
    waits = Pretended(before=lambda _: time.sleep(0.5) if path == "/renew" else None)
    running = agent(home, waits).start()
    running.join()
    (failure,) = running.failures
    assert isinstance(failure, HubRefused)
    assert (failure.status, failure.exit_code) == (status, 11)
    assert "go away" in failure.message
    assert home.token()
    if path == "/results":
        assert counts(home).waiting == 1


def test_a_draining_board_finishes_and_takes_no_more_until_it_may(hub: LittleHub, home: AgentHome) -> None:
    hub.jobs, hub.per_lease = [job(1), job(2)], 1

    def drain(made: MeasuringJob) -> None:
        if made.job_id == 1:
            hub.state = "draining"
            hub.until(lambda: running.has_said("this board is draining now"))

    running = agent(home, Pretended(before=drain)).start()
    hub.until(lambda: len(hub.hellos) >= 3)
    assert [result.job_id for result in hub.results.values()] == [1]
    hub.state = "active"
    hub.until(lambda: hub.results_of(2))
    running.service.stop()
    running.join()


def test_a_retired_board_ends(hub: LittleHub, home: AgentHome) -> None:
    hub.state = "retired"
    running = agent(home).start()
    running.join()
    assert isinstance(running.failures[0], HubRefused)
    assert hub.leases == {}


def test_told_to_end_it_gives_back_what_it_did_not_measure(hub: LittleHub, home: AgentHome) -> None:
    hub.jobs = [job(1), job(2), job(3)]
    hub.settings = replace(LOOSE, visits_min=50, visits_max=99)  # three visits are not enough
    reached = threading.Event()

    def wait(made: MeasuringJob) -> None:
        if made.job_id == 2:
            reached.set()
            hub.until(lambda: running.service._ending.has_begun)
            raise_if_stopped(running)

    running = agent(home, Pretended(before=wait)).start()
    assert reached.wait(30)
    running.service.stop()
    running.join()
    assert not running.failures
    assert [result.job_id for result in hub.results.values()] == [1]
    assert [given.jobs for _, given in hub.given_back] == [(2, 3)]
    assert hub.byes == 1
    assert (counts(home).leases, counts(home).attempts_begun) == (0, 0)


def raise_if_stopped(running: Running) -> None:
    """What a killed runner comes to: the next word to the source ends the group."""
    hold = running.service._ending._hold
    assert hold is not None
    hold.check()


def test_told_to_end_it_concludes_what_has_visits_enough(hub: LittleHub, home: AgentHome) -> None:
    hub.jobs = [job(1), job(2)]

    def wait(made: MeasuringJob) -> None:
        running.service.stop()
        raise_if_stopped(running)

    running = agent(home, Pretended(before=wait))
    running.start().join()
    assert sorted(result.job_id for result in hub.results.values()) == [1, 2]
    assert {result.measurement.message for result in hub.results.values()} == {"recovered after an interruption"}
    assert hub.given_back == []


@pytest.mark.parametrize(
    ("boot_id", "killed_by"), [("boot-1", "agent_died"), ("boot-2", "power_loss"), ("", "power_loss")]
)
def test_what_a_dead_process_left_is_told_to_the_hub(
    hub: LittleHub, home: AgentHome, boot_id: str, killed_by: str
) -> None:
    from edgecost.devices.offers import profile_document
    from edgecost.profiler.fleet_protocol import Lease

    jobs = tuple(job(at) for at in range(1, 5))
    left = Lease("f" * 32, "test", "ort", hub.profile_hash, LOOSE, 60.0, jobs)
    with closing(Spool(home.spool_path)) as spool:
        spool.take(left, "boot-1")
        begun = [Begun("enough", 1), Begun("few", 2), Begun("none", 3)]
        spool.begin(left.lease_token, begun, {"kernel": "6.1"}, profile_document(host_profile()))
        spool.visited([("enough", visit(at)) for at in range(1, 5)] + [("few", visit(1))])
    agent(home, boot_id=boot_id, until_idle_s=0.0).start().join()
    found = {name: (result.job_id, result.measurement.status, result.killed_by) for name, result in hub.results.items()}
    assert found == {
        "enough": (1, Status.OK, ""),
        "few": (2, Status.INTERRUPTED, killed_by),
        "none": (3, Status.INTERRUPTED, killed_by),
    }
    assert [(token, given.jobs) for token, given in hub.given_back] == [("f" * 32, (4,))]
    assert counts(home).leases == 0


def test_a_full_disk_takes_no_more_work_and_loses_nothing(
    hub: LittleHub, home: AgentHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_full = threading.Event()
    finish = Spool.finish

    def full(spool: Spool, result: object) -> None:
        if is_full.is_set():
            raise StoreUnwritable("there is no room")
        finish(spool, result)  # type: ignore[arg-type]

    monkeypatch.setattr(Spool, "finish", full)
    hub.jobs, hub.per_lease = [job(1), job(2)], 1
    hub.pranks.append(once("/results", lambda handler: handler.raw(503, b"", {}), times=10_000))
    with at_work(home, Pretended(before=lambda _: is_full.set())) as running:
        hub.until(lambda: running.has_said("no work is taken"))
        assert [one.job_id for one in hub.jobs] == [2]
        hub.pranks.clear()  # the hub is there: from memory it goes
        hub.until(lambda: hub.results_of(1))
        is_full.clear()
        hub.until(lambda: hub.results_of(2))


def test_the_runner_is_pinned_and_bounded(hub: LittleHub, home: AgentHome) -> None:
    cpu = min(os.sched_getaffinity(0))
    hub.jobs = [job(1)]
    measure = Pretended()
    with at_work(home, measure, cpus=(cpu,)):
        hub.until(lambda: hub.results)
    assert [stage.cpus for stage in measure.stages] == [(cpu,)]
    (result,) = hub.results.values()
    assert result.environment["pinned_cpus"] == [cpu]
    assert measure.settings is not None
    assert measure.settings.memory_limit_bytes


def test_a_wall_clock_that_jumps_changes_nothing(
    hub: LittleHub, home: AgentHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    jumps = iter(range(10**6))
    monkeypatch.setattr(time, "time", lambda: (-1) ** next(jumps) * 1e9)
    hub.jobs = [job(1), job(2)]
    with at_work(home):
        hub.until(lambda: len(hub.results) == 2)


def test_without_work_it_ends_by_itself_when_asked_to(hub: LittleHub, home: AgentHome) -> None:
    hub.jobs = [job(1)]
    running = agent(home, until_idle_s=0.3).start()
    running.join()
    assert not running.failures
    assert len(hub.results) == hub.byes == 1


def test_two_agents_in_one_folder_are_refused(hub: LittleHub, home: AgentHome) -> None:
    with at_work(home):
        hub.until(lambda: hub.hellos)
        second = agent(home).start()
        second.join()
    assert isinstance(second.failures[0], UsageError)


def test_a_stopped_supply_kills_its_runner_and_gives_no_other(profile: RuntimeProfile) -> None:
    from edgecost.devices.lease_hold import MeasuringStopped

    supply = StoppableSupply(profile)
    with supply:
        spawned = supply.take()
        supply.stop()
        assert spawned.ends_by_itself(30)
        spawned.end()
        with pytest.raises(MeasuringStopped):
            supply.take()


def test_the_real_runner_measures_and_a_graph_that_it_lacks_fails_alone(tmp_path: Path) -> None:
    from edgecost.devices.agent import work_off

    hub = LittleHub(jobs=[job(1), job(2), replace(job(3), workload=workload(op="Frobnicate"))], lease_s=30.0)
    with served(hub):
        home = home_at(tmp_path, hub)
        with at_work(home, work_off):
            hub.until(lambda: len(hub.results) == 3)
    statuses = {result.job_id: result.measurement.status for result in hub.results.values()}
    assert statuses[3] is Status.UNSUPPORTED_OPERATOR
    assert statuses[1].has_latency
    assert statuses[2].has_latency


def test_told_to_end_in_the_midst_of_a_group_the_real_runner_is_ended(tmp_path: Path) -> None:
    from edgecost.devices.agent import work_off

    endless = Settings(target=1e-9, visits_min=10**6, visits_max=10**6, rounds_max=10**6, group_max_s=600.0)
    hub = LittleHub(jobs=[job(1), job(2)], settings=endless, lease_s=0.3)
    with served(hub):
        home = home_at(tmp_path, hub)
        with at_work(home, work_off):
            hub.until(lambda: any(renewal.visits for renewal in hub.renewals))
    given_back = {one for _, given in hub.given_back for one in given.jobs}
    concluded = {result.job_id for result in hub.results.values()}
    assert given_back | concluded == {1, 2}
    assert given_back & concluded == set()
    # Six visits make a median with an interval; that it is wide stands beside it.
    assert {result.measurement.status for result in hub.results.values()} <= {Status.UNCONVERGED}


def test_killed_at_any_moment_it_loses_nothing(tmp_path: Path) -> None:
    hub = LittleHub(jobs=[job(at) for at in range(8)], per_lease=3, lease_s=30.0, wait_s=0.1)
    with served(hub):
        home = home_at(tmp_path, hub)
        command = [sys.executable, "-m", "edgecost", "agent", "run", "--home", str(home.folder)]
        for delay_s in (0.7, 1.5, 2.5, 1.1):
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            time.sleep(delay_s)
            process.send_signal(signal.SIGKILL)
            process.wait()
            requeue(hub)
        ended = subprocess.run([*command, "--until-idle", "1s"], stderr=subprocess.PIPE, text=True, timeout=120)
        while requeue(hub):
            ended = subprocess.run([*command, "--until-idle", "1s"], stderr=subprocess.PIPE, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    for at in range(8):
        verdicts = [hub.verdicts[one.measurement.measurement_id].verdict for one in hub.results_of(at)]
        assert verdicts.count("accepted") == 1, (at, verdicts)
    assert counts(home).waiting == counts(home).leases == counts(home).attempts_begun == 0


def requeue(hub: LittleHub) -> Sequence[int]:
    """What no board holds and has no number, as a lease that ran out would have it."""
    done = {hub.results[name].job_id for name, receipt in hub.verdicts.items() if receipt.verdict == "accepted"}
    waiting = {one.job_id for one in hub.jobs}
    hub.leases.clear()
    missing = [at for at in range(8) if at not in done | waiting]
    hub.jobs += [job(at) for at in missing]
    return missing
