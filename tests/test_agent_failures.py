"""The agent against a hub that is away, misbehaves, takes work back or retires it; and against its own end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from edgecost.devices.agent import MeasuringJob
from edgecost.devices.agent_home import AgentHome
from edgecost.devices.hub_client import HubClient
from edgecost.devices.spool import Begun, Spool
from edgecost.profiler.errors import EdgecostError, HubRefused, NotADatabase, StoreUnwritable
from edgecost.profiler.fleet_protocol import Problem
from edgecost.profiler.records import Status
from edgecost.profiler.runtimes import host_profile
from tests.little_hub import LOOSE, Handler, LittleHub, home_at, job, once, served
from tests.pretended_agent import Pretended, agent, at_work, counts, hurry, raise_if_stopped, visit


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


@pytest.fixture
def hub() -> Iterator[LittleHub]:
    with served(LittleHub()) as found:
        yield found


@pytest.fixture
def home(tmp_path: Path, hub: LittleHub) -> AgentHome:
    return home_at(tmp_path, hub)


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


def test_a_spool_that_breaks_ends_the_agent_and_is_kept(
    hub: LittleHub, home: AgentHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise NotADatabase("the spool is damaged")

    monkeypatch.setattr(Spool, "received", broken)
    hub.jobs = [job(1)]
    running = agent(home).start()
    running.join()
    assert isinstance(running.failures[0], NotADatabase)
    assert counts(home).waiting == 1


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


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_of_our_own_in_sending_ends_the_agent_instead_of_leaving_one_that_sends_nothing(
    hub: LittleHub, home: AgentHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise AttributeError("a mistake of ours")

    monkeypatch.setattr(HubClient, "result", broken)
    hub.jobs = [job(1)]
    running = agent(home).start()
    running.join()
    (failure,) = running.failures
    assert isinstance(failure, EdgecostError)
    assert "sending results broke off" in failure.message
    # What was measured is kept, and the next start sends it.
    assert counts(home).waiting == 1
    monkeypatch.undo()
    hurry(monkeypatch)
    with at_work(home):
        hub.until(lambda: hub.results)
    assert counts(home).waiting == 0
