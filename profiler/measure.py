"""Measure a group of workloads in one runner: load, warm up, then randomly interleaved rounds until each has settled.

A crash, hang or lack of memory ends one workload, not the group: the runner is started again and the others go on with
the visits that they already have. Where results are kept is the caller's business (``Listener``).
"""

from __future__ import annotations

import base64
import random
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import Protocol

from .client import Answer, RunnerClient, RunnerDied, RunnerSupply
from .cpu_lock import hold_cpus
from .overhead import overhead_ms, overhead_probes
from .protocol import PROTOCOL, Settings, canary_baseline, has_converged, is_exhausted, judge_visit, runner_rules
from .records import Environment, Json, Measurement, RuntimeProfile, Status, Visit
from .statistics import summarise
from .workload import Workload

#: Deaths of the runner that one group survives; beyond this the machine is at fault, not a workload.
RESTARTS_MAX = 8


@dataclass(frozen=True)
class Task:
    """A workload to be measured: the identity of the attempt is made before its first run."""

    workload: Workload
    purpose: str
    measurement_id: str = field(default_factory=lambda: uuid.uuid4().hex)


class Listener(Protocol):
    """What happens during a group, as it happens."""

    def visited(self, visits: Sequence[tuple[Task, Visit]]) -> None:
        """A round's visits were judged; they should survive the death of this process from here on."""

    def finished(self, task: Task, measurement: Measurement) -> None:
        """An attempt is over."""


@dataclass(frozen=True)
class Stage:
    """What a measurement stands on, the same for every workload of a group."""

    profile: RuntimeProfile
    environment: Environment
    device_identity: str
    cpus: tuple[int, ...] = ()


@dataclass
class GroupTimes:
    """Seconds that a group took, and where they went."""

    total_s: float = 0.0
    warmup_s: float = 0.0
    measuring_s: float = 0.0

    @property
    def outside_share(self) -> float:
        """Share of the time spent neither warming up nor measuring."""
        return 1.0 - (self.warmup_s + self.measuring_s) / self.total_s if self.total_s else 0.0


def measure_group(
    tasks: Sequence[Task], stage: Stage, settings: Settings, listener: Listener, supply: RunnerSupply
) -> GroupTimes:
    """Measure the tasks, interleaved; every task ends in exactly one call of ``listener.finished``.

    Groups of two processes on the same CPUs take turns.

    An interruption (Ctrl-C) ends the runner and passes on; what ``listener.visited`` was given by then is all there is.

    Raises:
        RunnerError: the runner could not be started at all.
    """
    with hold_cpus(stage.cpus):
        return _Group(tasks, stage, settings, listener, supply).run()


class _Group:
    def __init__(
        self, tasks: Sequence[Task], stage: Stage, settings: Settings, listener: Listener, supply: RunnerSupply
    ) -> None:
        self.supply = supply
        self.stage = stage
        self.settings = settings
        self.listener = listener
        self.probes = {f"probe:{name}": Task(workload, "probe") for name, workload in overhead_probes().items()}
        self.open: dict[str, Task] = {task.measurement_id: task for task in tasks} | self.probes
        self.visits: dict[str, list[Visit]] = {name: [] for name in self.open}
        self.canaries: list[int] = []
        self.rounds = 0
        self.random = random.Random(settings.seed)
        self.started_at = _now()
        self.begin = time.monotonic()
        self.deadline = self.begin + settings.group_max_s
        self.times = GroupTimes()
        self.session = ""
        #: The workload that the runner is busy with: the culprit if it dies. Empty between rounds.
        self.current = ""

    def run(self) -> GroupTimes:
        deaths = 0
        while self._waiting():
            try:
                self._run_session()
            except RunnerDied as died:
                deaths += 1
                self._bury(died)
                if deaths > RESTARTS_MAX:
                    for name in self._waiting():
                        self._finish(
                            name, Status.CRASHED, f"given up after {deaths} deaths of the runner: {died.message}"
                        )
        self.times.total_s = time.monotonic() - self.begin
        return self.times

    def _waiting(self) -> list[str]:
        return [name for name in self.open if name not in self.probes]

    def _bury(self, died: RunnerDied) -> None:
        culprit, self.current = self.current, ""
        if died.status is Status.TIMEOUT:
            # Waiting for a hang was not the others' time.
            self.deadline += self.settings.visit_timeout_s
        if culprit in self.probes or culprit not in self.open:
            # Not the fault of a workload; the limit of restarts ends it if it goes on.
            return
        self._finish(culprit, died.status, died.message)

    def _run_session(self) -> None:
        self.session = uuid.uuid4().hex
        self.canaries = []
        with RunnerClient(
            self.supply,
            self.stage.profile,
            runner_rules(),
            cpus=self.stage.cpus,
            memory_limit_bytes=self.settings.memory_limit_bytes,
        ) as runner:
            for name in list(self.open):
                self._load(runner, name)
            self.supply.prepare()
            self._ask(runner, list(self.open))
            while self._waiting():
                answers = self._hear(runner)
                judged, ended = self._judge(answers), self._ended()
                if len(ended) < len(self._waiting()):
                    # The next round runs while the results of this one are stored.
                    self._ask(runner, [name for name in self.open if name not in ended])
                self.listener.visited(judged)
                for name, (status, message) in ended.items():
                    self._finish(name, status, message)

    def _load(self, runner: RunnerClient, name: str) -> None:
        self.current = name
        request = load_request(name, self.open[name].workload, self.settings.seed)
        runner.send(request)
        answer = runner.receive(self.settings.visit_timeout_s)
        self.current = ""
        if answer["event"] == "failed":
            self._failed(answer)
        else:
            self.times.warmup_s += _int(answer["warmup_ns"]) / 1e9

    def _failed(self, answer: Answer) -> None:
        self._finish(str(answer["id"]), Status(answer["outcome"]), str(answer["message"]))

    def _ask(self, runner: RunnerClient, order: list[str]) -> None:
        """Start a round: every workload once, in random order."""
        self.random.shuffle(order)
        runner.send({"verb": "round", "order": list(order)})

    def _hear(self, runner: RunnerClient) -> list[Answer]:
        """The visits of the round that was asked for; workloads that failed in it are finished."""
        answers: list[Answer] = []
        while True:
            answer = runner.receive(self.settings.visit_timeout_s)
            if answer["event"] == "begin":
                self.current = str(answer["id"])
            elif answer["event"] == "visit":
                answers.append(answer)
            elif answer["event"] == "failed":
                self._failed(answer)
            else:
                break
        self.current = ""
        self.times.measuring_s += _int(answer["round_ns"]) / 1e9
        self.rounds += 1
        return answers

    def _judge(self, answers: Sequence[Answer]) -> list[tuple[Task, Visit]]:
        """Judge a round's visits when it is over, so that the first ones too meet a baseline."""
        self.canaries.extend(_int(value) for answer in answers for value in _list(answer["canary_ns"]))
        baseline = canary_baseline(self.canaries)
        judged = []
        for answer in answers:
            name = str(answer["id"])
            before, after = (_int(value) for value in _list(answer["canary_ns"]))
            visit = judge_visit(
                self.rounds,
                self.session,
                [_int(value) for value in _list(answer["wall_ns"])],
                [_int(value) for value in _list(answer["cpu_ns"])],
                (before, after),
                _int(answer["switches"]),
                canary_baseline_ns=baseline,
                single_thread=self.stage.profile.threads == 1,
            )
            self.visits[name].append(visit)
            if name in self.open and name not in self.probes:
                judged.append((self.open[name], visit))
        return judged

    def _ended(self) -> dict[str, tuple[Status, str]]:
        """The workloads that have converged, and those whose limit is reached, with how they end."""
        ended = {}
        late = time.monotonic() > self.deadline
        for name in self._waiting():
            if has_converged(self.visits[name], self.settings):
                ended[name] = (Status.OK, "")
            elif late or is_exhausted(self.visits[name], self.settings):
                ended[name] = limit_status(self.visits[name], self.settings)
        return ended

    def _finish(self, name: str, status: Status, message: str) -> None:
        task = self.open.pop(name)
        if name in self.probes:
            return
        overhead = overhead_ms({probe: self.visits[f"probe:{probe}"] for probe in overhead_probes()})
        self.listener.finished(
            task,
            conclude(
                task, self.stage, self.visits[name], status, message, overhead=overhead,
                started_at=self.started_at, session=self.session,
            ),
        )  # fmt: skip


def load_request(name: str, workload: Workload, seed: int) -> Answer:
    """What the runner needs to load a workload: the file with its own weights, or the skeleton and its recipe."""
    request: Answer = {"verb": "load", "id": name, "seed": seed}
    if workload.path:
        return {**request, "path": workload.path}
    weights: list[Json] = [{**asdict(weight), "shape": list(weight.shape)} for weight in workload.weights]
    return {**request, "model": base64.b64encode(workload.skeleton).decode(), "weights": weights}


def conclude(
    task: Task,
    stage: Stage,
    visits: Sequence[Visit],
    status: Status,
    message: str,
    *,
    overhead: float | None,
    started_at: str | None,
    session: str,
) -> Measurement:
    """The measurement that a list of visits amounts to; a status without a latency gets none.

    Args:
        started_at: None where only the end is known (visits found after a crash): then the end stands for both.
    """
    finished_at = _now()
    return Measurement(
        measurement_id=task.measurement_id,
        graph_hash=task.workload.graph_hash,
        profile_hash=stage.profile.profile_hash,
        environment_hash=stage.environment.environment_hash,
        device_identity=stage.device_identity,
        session=session,
        protocol=PROTOCOL,
        purpose=task.purpose,
        status=status,
        message=message,
        started_at=started_at or finished_at,
        finished_at=finished_at,
        latency=summarise(visits) if status.has_latency else None,
        overhead_ms=overhead,
        visits=tuple(visits),
    )


def limit_status(visits: Sequence[Visit], settings: Settings) -> tuple[Status, str]:
    """How an attempt that reached its limit ends: unconverged, or with too few valid visits to say a number."""
    valid = sum(1 for visit in visits if visit.value_ns is not None)
    if valid < settings.visits_min:
        reasons = sorted({visit.reject_reason for visit in visits if visit.reject_reason})
        return (
            Status.REJECTED,
            f"{valid} of {len(visits)} visits valid, {settings.visits_min} are needed; "
            + (f"rejected for {', '.join(reasons)}" if reasons else "the group's time was up"),
        )
    return Status.UNCONVERGED, f"interval wider than ±{settings.target:.0%} after {len(visits)} visits"


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def _int(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"the runner sent {value!r} where a number belongs")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError(f"the runner sent {value!r} where a list belongs")
    return value
