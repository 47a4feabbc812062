"""The spool: whatever happens between two statements, the file holds what was kept before or after the step."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import tempfile
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from edgecost.devices import spool as spool_module
from edgecost.devices.spool import Begun, Spool, open_spool
from edgecost.profiler.documents import document_of
from edgecost.profiler.errors import NotADatabase, SchemaMismatch, StoreUnwritable
from edgecost.profiler.fleet_protocol import Lease, LeasedJob, LeasedWorkload, Receipt, Result
from edgecost.profiler.protocol import Settings
from edgecost.profiler.records import Measurement, RuntimeProfile, Status, Visit

ENVIRONMENT = {"kernel": "6.1"}
PROFILE = RuntimeProfile("onnxruntime", "1.32.0").document()


def lease(token: str, jobs: int = 3) -> Lease:
    work = LeasedWorkload("conv", "operator", "ab", (), "skeleton")
    made = tuple(LeasedJob(at, "cell", f"job {at}", work) for at in range(jobs))
    return Lease(token, "test", "ort", "hash", Settings(), 90.0, made)


def visit(ordinal: int, session: str = "s") -> Visit:
    return Visit(ordinal, session, (5, 6), (5, 6), (1, 1), 0, "", 5.0)


def result(name: str, job_id: int = 0, token: str = "t", overhead_ms: float | None = None) -> Result:
    texts = dict.fromkeys(("graph_hash", "profile_hash", "environment_hash", "device_identity"), "y")
    told = dict.fromkeys(("protocol", "purpose", "message", "started_at", "finished_at"), "x")
    measurement = Measurement(
        measurement_id=name, **texts, **told, session=f"session of {name}", status=Status.REJECTED, latency=None,
        overhead_ms=overhead_ms, visits=(visit(1),),
    )  # fmt: skip
    return Result(job_id, token, measurement, ENVIRONMENT, PROFILE)


@dataclass
class Model:
    """What the spool should hold."""

    leases: set[str] = field(default_factory=set)
    #: By measurement id: token and job, of attempts that are not over.
    begun: dict[str, tuple[str, int]] = field(default_factory=dict)
    touched: dict[str, set[int]] = field(default_factory=dict)
    visits: dict[str, set[int]] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    receipts: set[str] = field(default_factory=set)

    def copy(self) -> Model:
        return Model(
            set(self.leases), dict(self.begun), {k: set(v) for k, v in self.touched.items()},
            {k: set(v) for k, v in self.visits.items()}, list(self.waiting), list(self.refused), set(self.receipts),
        )  # fmt: skip


def seen(spool: Spool) -> Model:
    """What it does hold, by its own words."""
    found = Model()
    for left in spool.leftovers():
        token = left.lease.lease_token
        assert left.lease == lease(token)
        found.leases.add(token)
        found.touched[token] = {job.job_id for job in left.lease.jobs} - set(left.untouched)
        for begun in left.begun:
            found.begun[begun.measurement_id] = (token, begun.job_id)
    rows = spool._all("SELECT measurement_id, ordinal FROM visit")
    for name, ordinal in rows:
        found.visits.setdefault(name, set()).add(ordinal)
    found.waiting = [n for (n,) in spool._all("SELECT measurement_id FROM result WHERE refusal IS NULL ORDER BY id")]
    found.refused = [
        n for (n,) in spool._all("SELECT measurement_id FROM result WHERE refusal IS NOT NULL ORDER BY id")
    ]
    found.receipts = {name for (name,) in spool._all("SELECT measurement_id FROM receipt")}
    return found


class PowerCuts(RuleBasedStateMachine):
    """Every step is also seen as a power cut at each of its statements would leave it."""

    tokens = Bundle("tokens")
    attempts = Bundle("attempts")
    results = Bundle("results")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="edgecost-spool-"))
        self.path = self.folder / "spool.sqlite"
        self.spool = Spool(self.path)
        self.model = Model()

    def teardown(self) -> None:
        self.spool.close()
        shutil.rmtree(self.folder)

    def step(self, act: Callable[[], object], after: Model) -> None:
        """Do it, with a copy of the files before each statement; each copy must be the state before or after."""
        copies: list[Path] = []

        def copy(_: str) -> None:
            place = self.folder / f"copy-{len(copies)}"
            place.mkdir()
            for part in self.folder.glob("spool.sqlite*"):
                shutil.copy(part, place)
            copies.append(place)

        before = self.model.copy()
        self.spool._connection.set_trace_callback(copy)
        act()
        self.spool._connection.set_trace_callback(None)
        for place in copies:
            with closing(Spool(place / "spool.sqlite")) as reopened:
                assert seen(reopened) in (before, after)
            shutil.rmtree(place)
        self.model = after

    @rule(target=tokens)
    def take(self) -> str:
        token, after = uuid.uuid4().hex, self.model.copy()
        after.leases.add(token)
        after.touched[token] = set()
        self.step(lambda: self.spool.take(lease(token), "boot"), after)
        return token

    @rule(target=attempts, token=tokens, job_id=st.integers(0, 2))
    def begin(self, token: str, job_id: int) -> tuple[str, str, int]:
        name, after = uuid.uuid4().hex, self.model.copy()
        if token in after.leases:
            after.begun[name] = (token, job_id)
            after.touched[token].add(job_id)
            self.step(lambda: self.spool.begin(token, [Begun(name, job_id)], ENVIRONMENT, PROFILE), after)
        return name, token, job_id

    @rule(attempt=attempts, ordinals=st.lists(st.integers(1, 5), min_size=1, max_size=4))
    def visited(self, attempt: tuple[str, str, int], ordinals: list[int]) -> None:
        name, after = attempt[0], self.model.copy()
        if name in after.begun:
            after.visits.setdefault(name, set()).update(ordinals)
            self.step(lambda: self.spool.visited([(name, visit(ordinal)) for ordinal in ordinals]), after)

    @rule(target=results, attempt=consumes(attempts))
    def finish(self, attempt: tuple[str, str, int]) -> str:
        name, token, job_id = attempt
        after = self.model.copy()
        after.begun.pop(name, None)
        after.visits.pop(name, None)
        after.waiting.append(name)
        self.step(lambda: self.spool.finish(result(name, job_id, token)), after)
        self.spool.finish(result(name, job_id, token))  # twice is once
        return name

    @rule(attempt=consumes(attempts))
    def abandon(self, attempt: tuple[str, str, int]) -> None:
        after = self.model.copy()
        after.begun.pop(attempt[0], None)
        self.step(lambda: self.spool.abandon([attempt[0]]), after)

    @rule(token=consumes(tokens))
    def drop(self, token: str) -> None:
        after = self.model.copy()
        after.leases.discard(token)
        after.touched.pop(token, None)
        after.begun = {name: of for name, of in after.begun.items() if of[0] != token}
        self.step(lambda: self.spool.drop(token), after)

    @rule(name=results)
    def receive(self, name: str) -> None:
        after = self.model.copy()
        if name in after.waiting or name in after.refused:
            after.receipts.add(name)
        for listed in (after.waiting, after.refused):
            if name in listed:
                listed.remove(name)
        self.step(lambda: self.spool.received(Receipt(name, "accepted", "done")), after)

    @rule(name=results)
    def refuse(self, name: str) -> None:
        after = self.model.copy()
        if name in after.waiting:
            after.waiting.remove(name)
            after.refused = sorted([*after.refused, name], key=self._place_of())
        self.step(lambda: self.spool.refused(name, "422: no"), after)

    @rule()
    def reopen(self) -> None:
        self.spool.close()
        self.spool = Spool(self.path)
        after = self.model.copy()
        after.waiting = sorted([*after.waiting, *after.refused], key=self._place_of())
        after.refused = []
        self.step(self.spool.offer_again, after)

    def _place_of(self) -> Callable[[str], int]:
        place = dict(self.spool._all("SELECT measurement_id, id FROM result"))
        return lambda name: int(place.get(name, 0))

    @invariant()
    def holds_what_it_should(self) -> None:
        found = seen(self.spool)
        assert found == self.model
        waiting = self.spool.next_waiting()
        assert (waiting.measurement_id if waiting else None) == (self.model.waiting[0] if self.model.waiting else None)


PowerCuts.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestPowerCuts = PowerCuts.TestCase


def test_a_result_is_sent_as_it_was_kept(tmp_path: Path) -> None:
    made = result("a" * 32, overhead_ms=0.25)
    with closing(Spool(tmp_path / "spool.sqlite")) as spool:
        spool.finish(made)
        waiting = spool.next_waiting()
    assert waiting is not None
    assert json.loads(waiting.body) == document_of(made)


def test_what_was_finished_in_a_session_says_its_overhead_also_after_it_was_sent(tmp_path: Path) -> None:
    with closing(Spool(tmp_path / "spool.sqlite")) as spool:
        assert spool.overhead_of("session of a") is None
        spool.finish(result("a", overhead_ms=0.25))
        assert spool.overhead_of("session of a") == 0.25
        spool.received(Receipt("a", "accepted", "done"))
        assert spool.overhead_of("session of a") == 0.25


def fill(spool: Spool, name: str, visits: int) -> None:
    spool.begin("t", [Begun(name, 0)], ENVIRONMENT, PROFILE)
    long = replace(visit(1), wall_ns=tuple(range(10**12, 10**12 + 400)))
    spool.visited([(name, replace(long, ordinal=at)) for at in range(1, visits + 1)])


def test_when_full_old_visits_of_attempts_that_are_over_go_and_results_never(tmp_path: Path) -> None:
    with closing(Spool(tmp_path / "spool.sqlite")) as spool:
        spool.take(lease("t"), "boot")
        for name in ("old", "older", "running"):
            fill(spool, name, 200)
        spool.abandon(["old", "older"])
        spool.finish(result("sent"))
        cap = spool.size_bytes() * 2 // 3
        assert spool.make_room(cap)
        assert spool.size_bytes() <= cap
        (left,) = spool.leftovers()
        assert [len(begun.visits) for begun in left.begun] == [200]
        assert spool.counts().waiting == 1
        assert not spool.make_room(1000)
        assert [len(begun.visits) for begun in spool.leftovers()[0].begun] == [200]
        assert spool.counts().waiting == 1


def test_a_full_disk_is_told_and_what_was_kept_stays(tmp_path: Path) -> None:
    with closing(Spool(tmp_path / "spool.sqlite")) as spool:
        spool.take(lease("t"), "boot")
        spool.finish(result("kept"))
        spool._connection.execute(f"PRAGMA max_page_count = {spool._all('PRAGMA page_count')[0][0]}")
        with pytest.raises(StoreUnwritable, match="no room"):
            fill(spool, "too much", 2000)
        assert spool.counts().waiting == 1
        spool._connection.execute("PRAGMA max_page_count = 1000000")
        fill(spool, "after", 50)
        assert spool.counts().visits >= 50


def write_garbage(path: Path) -> None:
    path.write_bytes(b"this was never a database" * 100)


def garble_pages(path: Path) -> None:
    with closing(Spool(path)) as spool:
        for at in range(200):
            spool.finish(result(f"result {at}"))
    contents = bytearray(path.read_bytes())
    contents[4096 * 2 : 4096 * 8] = b"\xa5" * (4096 * 6)
    path.write_bytes(contents)


def write_other(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE something (a)")


def write_newer(path: Path) -> None:
    with closing(Spool(path)) as spool:
        spool._connection.execute(f"PRAGMA user_version = {spool_module.VERSION + 1}")


@pytest.mark.parametrize("damage", [write_garbage, garble_pages, write_other, write_newer])
def test_a_damaged_or_newer_file_is_set_aside_and_kept(tmp_path: Path, damage) -> None:
    path = tmp_path / "spool.sqlite"
    damage(path)
    contents = path.read_bytes()
    with pytest.raises((NotADatabase, SchemaMismatch)):
        Spool(path)
    told: list[str] = []
    with closing(open_spool(path, told.append)) as spool:
        assert spool.counts().waiting == 0
    assert len(told) == 1
    assert "set aside" in told[0]
    assert (tmp_path / "spool.aside-1.sqlite").read_bytes() == contents


def test_a_second_damaged_file_does_not_replace_the_first(tmp_path: Path) -> None:
    path = tmp_path / "spool.sqlite"
    for _ in range(2):
        write_garbage(path)
        open_spool(path, lambda _: None).close()
    assert {one.name for one in tmp_path.glob("*.aside-*.sqlite")} == {"spool.aside-1.sqlite", "spool.aside-2.sqlite"}


def test_the_statements_keep_to_what_the_sqlite_of_boards_knows() -> None:
    """SQLite 3.22 has no UPSERT (3.24), no window functions (3.25), no RETURNING (3.35), no STRICT (3.37)."""
    source = Path(spool_module.__file__).read_text()
    found = re.findall(r"\b(ON CONFLICT|RETURNING|OVER \(|STRICT|GENERATED|RENAME COLUMN|DROP COLUMN|iif)\b", source)
    assert found == []
