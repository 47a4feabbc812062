"""The life of a lease, driven at random on both engines and held against a model of a page.

Whatever boards, keepers and clocks do, in whatever order: a job has at most one result, nothing that was sent is lost
or counted twice, and nobody works on what another one holds.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from edgecost.db import Store
from edgecost.db.attempts import KILLS_MAX
from edgecost.db.campaigns import MAX_ATTEMPTS
from edgecost.db.fleet.records import Batch
from edgecost.profiler.errors import HubRefused
from edgecost.profiler.fleet_protocol import Result
from edgecost.profiler.records import Status
from tests.fleet_store import Board, campaign, enrol, result

JOBS = 4
BOARDS = 3
LONG_S = 1e6


@dataclass
class ModelJob:
    """What a job must be."""

    priority: int
    state: str = "pending"
    reason: str | None = None
    attempts: int = 0
    kills: int = 0
    token: str = ""
    holder: str = ""
    runs_out: bool = False
    accepted: int = 0

    def free(self) -> None:
        self.state, self.token, self.holder, self.runs_out = "pending", "", "", False

    def end(self, state: str, reason: str | None) -> None:
        self.state, self.reason, self.holder, self.runs_out = state, reason, "", False


@dataclass
class Sent:
    """A result, who sent it, and the answer that it got."""

    board: Board
    result: Result
    answer: tuple[str, str] = ("", "")


@dataclass
class Lease:
    """A batch in a board's hands, as the board knows it."""

    board: Board
    batch: Batch
    answered: set[int] = field(default_factory=set)


class Leases(RuleBasedStateMachine):
    """One example is one campaign pair in a store that all examples of an engine share."""

    store: Store

    leases = Bundle("leases")
    results = Bundle("results")

    @initialize()
    def begin(self) -> None:
        tag = uuid.uuid4().hex[:8]
        self.names = [f"{tag}-low", f"{tag}-high"]
        self.boards = [enrol(self.store, f"{tag}-{at}", pool=tag) for at in range(BOARDS)]
        self.state = dict.fromkeys(range(BOARDS), "active")
        self.jobs: dict[int, ModelJob] = {}
        for priority, name in enumerate(self.names):
            ids = campaign(self.store, JOBS, name=name, selector=f"pool={tag}", priority=priority)
            self.jobs |= {identity: ModelJob(priority) for identity in ids}
        self.sent: list[Sent] = []
        self.cancelled: set[str] = set()

    # What boards do.

    @rule(target=leases, at=st.integers(0, BOARDS - 1), limit=st.integers(1, 4), in_time=st.booleans())
    def lease(self, at: int, limit: int, in_time: bool) -> object:
        board = self.boards[at]
        if self.state[at] != "active":
            with pytest.raises(HubRefused):
                self.store.fleet.lease(board.agent_id, limit, LONG_S)
            return multiple()
        expected = self._would_get(limit)
        if not expected and any(job.runs_out for job in self.jobs.values()):
            self._reap()
            expected = self._would_get(limit)
        batch = self.store.fleet.lease(board.agent_id, limit, LONG_S if in_time else -1.0)
        assert [held.job.id for held in batch.jobs] if batch else expected == []
        if batch is None:
            return multiple()
        for identity in expected:
            job = self.jobs[identity]
            job.state, job.token, job.holder, job.runs_out = "leased", batch.lease_token, board.agent_id, not in_time
        return Lease(board, batch)

    def _would_get(self, limit: int) -> list[int]:
        open_names = [name not in self.cancelled for name in self.names]
        free = [
            identity
            for identity, job in self.jobs.items()
            if job.state == "pending" and job.kills < KILLS_MAX and open_names[job.priority]
        ]
        free.sort(key=lambda identity: (-self.jobs[identity].priority, identity))
        chosen = [one for one in free[:limit] if self.jobs[one].priority == self.jobs[free[0]].priority]
        if chosen and self.jobs[chosen[0]].kills:
            return chosen[:1]
        return [one for one in chosen if not self.jobs[one].kills]

    @rule(
        target=results,
        lease=leases,
        at=st.integers(0, 4),
        status=st.sampled_from((Status.OK, Status.OK, Status.SEGFAULT, Status.INTERRUPTED)),
        killed=st.booleans(),
    )
    def send(self, lease: Lease, at: int, status: Status, killed: bool) -> object:
        at %= len(lease.batch.jobs)
        if at in lease.answered:
            return multiple()
        lease.answered.add(at)
        killed_by = "power_loss" if killed and status is Status.INTERRUPTED else ""
        sent = Sent(lease.board, result(lease.board, lease.batch, at, status=status, killed_by=killed_by))
        expected = self._judge(sent.result)
        got = self.store.fleet.accept(lease.board.agent_id, sent.result)
        assert (got.verdict, got.job_state, got.is_new) == (*expected, True)
        sent.answer = expected
        self.sent.append(sent)
        return sent

    def _judge(self, sent: Result) -> tuple[str, str]:
        job = self.jobs[sent.job_id]
        status, killed = sent.measurement.status, bool(sent.killed_by)
        is_open = job.state in ("pending", "leased")
        if status.has_latency:
            if not is_open and (job.state == "done" or job.reason == "cancelled"):
                return "late", job.state
            job.accepted += 1
            job.end("done", None)
            job.token = ""
            return "accepted", "done"
        if is_open and job.token == sent.lease_token and job.state == "leased":
            job.attempts += killed or status is not Status.INTERRUPTED
            job.kills += killed
            job.free()
            if job.kills >= KILLS_MAX:
                job.end("failed", "quarantined")
            elif job.attempts >= MAX_ATTEMPTS:
                job.end("failed", "exhausted")
            return ("killed" if killed else "attempt"), job.state
        job.kills += killed
        if killed and job.state == "pending" and job.kills >= KILLS_MAX:
            job.end("failed", "quarantined")
        return ("killed" if killed else "late"), job.state

    @rule(sent=results)
    def send_again(self, sent: Sent) -> None:
        got = self.store.fleet.accept(sent.board.agent_id, sent.result)
        assert (got.verdict, got.job_state, got.is_new) == (*sent.answer, False)

    @rule(lease=leases, in_time=st.booleans())
    def renew(self, lease: Lease, in_time: bool) -> None:
        token = lease.batch.lease_token
        held = self.store.fleet.renew(lease.board.agent_id, token, LONG_S if in_time else -1.0)
        expected = {one for one, job in self.jobs.items() if job.state == "leased" and job.token == token}
        assert set(held.jobs) == expected
        for identity in expected:
            self.jobs[identity].runs_out = not in_time

    @rule(lease=leases, some=st.sets(st.integers(0, 4), max_size=2))
    def release(self, lease: Lease, some: set[int]) -> None:
        mine = [held.job.id for held in lease.batch.jobs]
        named = [mine[at] for at in sorted(some) if at < len(mine)]
        token = lease.batch.lease_token
        number = self.store.fleet.release(lease.board.agent_id, token, named)
        expected = [
            one for one in (named or mine) if self.jobs[one].state == "leased" and self.jobs[one].token == token
        ]
        assert number == len(expected)
        for identity in expected:
            self.jobs[identity].free()

    # What time and keepers do.

    @rule()
    def reap(self) -> None:
        assert self.store.fleet.reap() == self._reap()

    def _reap(self) -> int:
        late = [job for job in self.jobs.values() if job.state == "leased" and job.runs_out]
        for job in late:
            job.attempts += 1
            job.free()
            if job.attempts >= MAX_ATTEMPTS:
                job.end("failed", "expired")
        return len(late)

    @rule(which=st.integers(0, 1))
    def cancel(self, which: int) -> None:
        ended = [job for job in self.jobs.values() if job.priority == which and job.state in ("pending", "leased")]
        assert self.store.fleet.cancel(campaign=self.names[which]) == len(ended)
        self.cancelled.add(self.names[which])
        for job in ended:
            job.end("failed", "cancelled")

    @rule(which=st.integers(0, 1))
    def retry(self, which: int) -> None:
        failed = [job for job in self.jobs.values() if job.priority == which and job.state == "failed"]
        assert self.store.fleet.retry(campaign=self.names[which]) == len(failed)
        self.cancelled.discard(self.names[which])
        for job in failed:
            job.attempts = job.kills = 0
            job.reason = None
            job.free()

    @rule(at=st.integers(0, BOARDS - 1), state=st.sampled_from(("active", "draining", "retired")))
    def steer(self, at: int, state: str) -> None:
        if self.state[at] == "retired" or (state == "retired" and at == 0):
            return  # one board always stays
        self.store.fleet.set_agent_state(self.boards[at].device.name, state)
        self.state[at] = state
        if state == "retired":
            for job in self.jobs.values():
                if job.state == "leased" and job.holder == self.boards[at].agent_id:
                    job.free()

    # What always holds.

    @invariant()
    def the_store_is_as_the_model(self) -> None:
        if not hasattr(self, "jobs"):
            return
        for name in self.names:
            for view in self.store.fleet.jobs(campaign=name):
                job = self.jobs[view.id]
                assert (view.state, view.reason, view.attempts, view.kills) == (
                    *(job.state, job.reason, job.attempts, job.kills),
                )
                assert (view.holder is not None) == (job.state == "leased")
                assert job.accepted <= 1
                assert (job.state == "done") == (job.accepted == 1)

    def teardown(self) -> None:
        if not hasattr(self, "jobs"):
            return
        try:
            self._check_receipts()
        finally:
            # Of an example nothing is left that the next one in this store would reap.
            for name in self.names:
                self.store.fleet.cancel(campaign=name)

    def _check_receipts(self) -> None:
        for identity, job in self.jobs.items():
            _, attempts = self.store.fleet.job(identity)
            mine = {one.result.measurement.measurement_id: one for one in self.sent if one.result.job_id == identity}
            # Everything that was sent is there once, with the answer that it got first.
            assert Counter(one["measurement_id"] for one in attempts) == Counter(list(mine))
            assert {one["measurement_id"]: one["verdict"] for one in attempts} == {
                name: one.answer[0] for name, one in mine.items()
            }
            assert sum(one["verdict"] == "accepted" for one in attempts) == job.accepted


@contextmanager
def machine_on(store: Store) -> Iterator[type[Leases]]:
    class OnThis(Leases):
        pass

    OnThis.store = store
    yield OnThis


def test_whatever_boards_keepers_and_clocks_do_a_job_has_one_result(store: Store) -> None:
    with machine_on(store) as machine:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=25,
                stateful_step_count=40,
                deadline=None,
                # Shrinking a failure takes minutes, and says little more than the steps of it.
                phases=(Phase.explicit, Phase.reuse, Phase.generate),
                suppress_health_check=list(HealthCheck),
            ),
        )
