"""An agent in a thread of a test, which measures nothing but goes through all that measuring goes through."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import pytest

from edgecost.devices import agent_loop, heartbeat, outbox
from edgecost.devices.agent import JobSource, MeasuringJob, WorkReport
from edgecost.devices.agent_home import AgentHome
from edgecost.devices.agent_loop import Manner
from edgecost.devices.backoff import Backoff
from edgecost.devices.service import AgentService
from edgecost.devices.spool import Spool, SpoolCounts
from edgecost.devices.told import Weight
from edgecost.profiler.bench import Bench
from edgecost.profiler.conclusion import conclude
from edgecost.profiler.protocol import Settings
from edgecost.profiler.records import RuntimeProfile, Status, Visit
from edgecost.profiler.tasks import Stage, Task

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
          cpus: tuple[int, ...] = (), control: str = "") -> Running:  # fmt: skip
    said: list[tuple[Weight, str]] = []
    manner = Manner(until_idle_s, cpus, rest_s=0.05, measure=measure or Pretended(), control=control)  # type: ignore[arg-type]
    return Running(AgentService(home, lambda weight, text: said.append((weight, text)), manner, boot_id=boot_id), said)


@contextmanager
def at_work(home: AgentHome, measure: object = None, **options: object) -> Iterator[Running]:
    running = agent(home, measure, **options).start()  # type: ignore[arg-type]
    try:
        yield running
    finally:
        running.service.stop()
        running.join()


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test does not wait for what a board would wait for."""
    for module in (agent_loop, outbox):
        monkeypatch.setattr(module, "Backoff", lambda sleep: Backoff(lambda s: sleep(min(s, 0.02))))
    monkeypatch.setattr(agent_loop, "_HASTY_S", 0.01)
    monkeypatch.setattr(agent_loop, "FAREWELL_S", 5.0)
    monkeypatch.setattr(heartbeat, "PAUSE_S_MIN", 0.01)


def counts(home: AgentHome) -> SpoolCounts:
    with closing(Spool(home.spool_path)) as spool:
        return spool.counts()


def raise_if_stopped(running: Running) -> None:
    """What a killed runner comes to: the next word to the source ends the group."""
    hold = running.service._ending._hold
    assert hold is not None
    hold.check()
