"""Measure a group of workloads in one runner: load, warm up, then randomly interleaved rounds until each has settled.

A crash, hang or lack of memory ends one workload, not the group: the runner is started again and the others go on with
the visits that they already have. Where results are kept is the caller's business (``Listener``).
"""

from __future__ import annotations

import math
import random
import time
import uuid
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from datetime import datetime, timedelta, timezone

from .bench import Bench
from .client import RunnerClient
from .conclusion import conclude, limit_status, timestamp
from .cpu_lock import hold_cpus
from .errors import RunnerError
from .loading import LoadRefused
from .overhead import overhead_ms, overhead_probes
from .protocol import CANARY_LIMIT, Settings, canary_baseline, has_converged, is_exhausted, judge_visit, runner_rules
from .records import Environment, Json, Status, Visit
from .tasks import GroupTimes, Listener, Stage, Task
from .watching import Watched, told, watching
from .worker import Answer, RunnerDied

#: Deaths of the runner that one group survives; beyond this the machine is at fault, not a workload.
RESTARTS_MAX = 8
#: Share of a group's time in which a load that its neighbours know nothing of is waited for.
PATIENCE = 0.5
#: How often the guards look while latencies are measured: more often would take time from them.
GUARD_PERIOD_S = 1.0
#: The wall clock may be set while a group runs; a step beyond this is told, since time stamps around it mislead.
CLOCK_STEP_S = 1.0


def measure_group(
    tasks: Sequence[Task], stage: Stage, settings: Settings, listener: Listener, bench: Bench
) -> GroupTimes:
    """Measure the tasks, interleaved; every task ends in exactly one call of ``listener.finished``.

    But one that nobody wants any more (``Stage.is_unwanted``) ends without a word.

    Groups of two processes on the same CPUs take turns.

    An interruption (Ctrl-C) ends the runner and passes on; what ``listener.visited`` was given by then is all there is.

    Raises:
        RunnerError: the runner could not be started at all; once it was, tasks end as rejected instead.
    """
    with hold_cpus(stage.cpus):
        waited = stage.watch.wait() if stage.watch is not None and tasks else {}
        with watching(stage.watch, GUARD_PERIOD_S) as watched:
            return _Group(tasks, stage, settings, listener, bench, watched, waited).run()


class _Group:
    def __init__(
        self,
        tasks: Sequence[Task],
        stage: Stage,
        settings: Settings,
        listener: Listener,
        bench: Bench,
        watched: Watched,
        waited: Mapping[str, Json],
    ) -> None:
        self.bench = bench
        self.watched = watched
        #: How the device was before: ``Watch.wait``.
        self.waited = waited
        self.stage = stage
        self.settings = settings
        self.listener = listener
        self.probes = {f"probe:{name}": Task(workload, "probe") for name, workload in overhead_probes().items()}
        self.open: dict[str, Task] = {task.measurement_id: task for task in tasks} | self.probes
        self.visits: dict[str, list[Visit]] = {name: [] for name in self.open}
        self.canaries: list[int] = []
        self.rounds = 0
        self.random = random.Random(settings.seed)
        self.started_at = datetime.now(timezone.utc)
        self.begin = time.monotonic()
        self.before: Mapping[str, Json] = stage.read_conditions() if stage.read_conditions else {}
        #: Per workload, what loading it said.
        self.loads: dict[str, dict[str, Json]] = {}
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
                    self._give_up(Status.CRASHED, f"given up after {deaths} deaths of the runner: {died.message}")
            except RunnerError as error:
                if not self.rounds:
                    raise
                # A board that was there and is gone: no workload is at fault, and what was measured is kept.
                self._give_up(Status.REJECTED, f"the runner could not be started again: {error.message}")
        self.times.total_s = time.monotonic() - self.begin
        return self.times

    def _give_up(self, status: Status, message: str) -> None:
        for name in self._waiting():
            self._finish(name, status, message)

    def _drop_unwanted(self) -> None:
        if self.stage.is_unwanted is not None:
            for name in self._waiting():
                if self.stage.is_unwanted(name):
                    del self.open[name]

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
            self.bench.supply,
            self.stage.profile,
            runner_rules(self.settings),
            cpus=self.stage.cpus,
            memory_limit_bytes=self.settings.memory_limit_bytes,
            canary=self.bench.loader.canary(),
        ) as runner:
            for name in list(self.open):
                self._load(runner, name)
            self.bench.supply.prepare()
            self._ask(runner, list(self.open))
            while self._waiting():
                answers = self._hear(runner)
                self._drop_unwanted()
                judged, ended = self._judge(answers), self._ended()
                if len(ended) < len(self._waiting()):
                    # The next round runs while the results of this one are stored.
                    self._ask(runner, self._next_round(ended))
                self.listener.visited(judged)
                for name, (status, message) in ended.items():
                    self._finish(name, status, message)

    def _load(self, runner: RunnerClient, name: str) -> None:
        try:
            request = self.bench.loader.request(name, self.open[name].workload, self.settings.seed)
        except LoadRefused as refusal:
            self._finish(name, refusal.status, refusal.message)
            return
        self.current = name
        runner.send(request, self.settings.visit_timeout_s)
        answer = runner.receive(self.settings.visit_timeout_s)
        self.current = ""
        if answer["event"] == "failed":
            self._failed(answer)
        else:
            self.times.warmup_s += _int(answer["warmup_ns"]) / 1e9
            self.loads[name] = {
                "load_ms": _int(answer["load_ns"]) / 1e6,
                "first_run_ms": _int(answer["first_run_ns"]) / 1e6,
                "compile_ms": request.get("compile_ms"),
            }

    def _failed(self, answer: Answer) -> None:
        self._finish(str(answer["id"]), Status(answer["outcome"]), str(answer["message"]))

    def _ask(self, runner: RunnerClient, order: list[str]) -> None:
        """Start a round: every workload once, in random order."""
        self.random.shuffle(order)
        runner.send({"verb": "round", "order": list(order)})

    def _next_round(self, ended: Container[str]) -> list[str]:
        """Who has not ended, without the probes that are known well enough: they would only take time."""
        known = {name for name in self.probes if has_converged(self.visits[name], self.settings)}
        return [name for name in self.open if name not in ended and name not in known]

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
        # Their level is asked for again and again, and what is in order already is put in order in no time.
        self.canaries.sort()
        level = canary_baseline(self.canaries)
        judged = []
        made: Counter[str] = Counter()
        for answer in answers:
            name = str(answer["id"])
            made[name] += 1
            before, after = (_int(value) for value in _list(answer["canary_ns"]))
            visit = judge_visit(
                (self.rounds - 1) * self.settings.visits_per_stay + made[name],
                self.session,
                [_int(value) for value in _list(answer["wall_ns"])],
                [_int(value) for value in _list(answer["cpu_ns"])],
                (before, after),
                _int(answer["switches"]),
                canary_baseline_ns=self._quiet_level(name, level),
                single_thread=self.stage.profile.is_one_cpu_thread,
            )
            self.visits[name].append(visit)
            if name in self.open and name not in self.probes:
                judged.append((self.open[name], visit))
        return judged

    def _quiet_level(self, name: str, level: float) -> float:
        """The canary that a visit is judged by: the session's own level, or the quiet level of earlier sessions.

        A load that lasts as long as the group hides in the group's own level; it is waited for until half of the time
        is over. The last attempt takes the machine as it is, and says so.
        """
        quiet, task = self.stage.quiet_canary_ns, self.open.get(name)
        late = time.monotonic() > self.deadline - self.settings.group_max_s * (1 - PATIENCE)
        if quiet is None or task is None or task.is_last_attempt or late:
            return level
        return min(level, quiet)

    def _slowness(self) -> str:
        """How much slower the machine is than it can be; empty where that is not known, or not worth a word."""
        quiet, level = self.stage.quiet_canary_ns, canary_baseline(self.canaries)
        if quiet is None or not math.isfinite(level) or level <= CANARY_LIMIT * quiet:
            return ""
        return f"the machine was {level / quiet - 1:.0%} slower than in its quiet sessions: something else runs on it"

    def _ended(self) -> dict[str, tuple[Status, str]]:
        """The workloads that have converged, and those whose limit is reached, with how they end."""
        ended = {}
        late = time.monotonic() > self.deadline
        for name in self._waiting():
            if has_converged(self.visits[name], self.settings):
                slow = self._slowness()
                ended[name] = (Status.UNSTABLE, slow) if slow else (Status.OK, "")
            elif late or is_exhausted(self.visits[name], self.settings):
                task = self.open[name]
                is_last = task.is_last_attempt or (late and task.is_last_when_late)
                ended[name] = limit_status(self.visits[name], self.settings, is_last=is_last)
        change = self._environment_change() if ended else ""
        # Nobody knows at which round it changed, nor which of the visits so far still mean the same.
        if change:
            return dict.fromkeys(self._waiting(), (Status.REJECTED, change))
        return self._less_faults(ended) if ended else ended

    def _less_faults(self, ended: dict[str, tuple[Status, str]]) -> dict[str, tuple[Status, str]]:
        """Where the device was at fault, nobody knows in which rounds: all that wait are rejected, as for a change.

        But those at their last attempt go on, and what they come to is kept and not used.
        """
        faults = told(tuple(fault for fault in self.watched.faults() if fault.spoils_latency))
        if not faults:
            return ended
        found = {}
        for name in self._waiting():
            if not self.open[name].is_last_attempt:
                found[name] = (Status.REJECTED, faults)
            elif name in ended:
                status, message = ended[name]
                found[name] = (Status.UNSTABLE, faults) if status.has_latency else (status, f"{message}; {faults}")
        return found

    def _environment_change(self) -> str:
        """What is different now from when the stage was set; empty when nothing is."""
        if self.stage.read_environment is None:
            return ""
        return describe_change(self.stage.environment, self.stage.read_environment())

    def _finish(self, name: str, status: Status, message: str) -> None:
        task = self.open.pop(name)
        if name in self.probes:
            return
        overhead = overhead_ms({probe: self.visits[f"probe:{probe}"] for probe in overhead_probes()})
        # Counted by the clock that nobody can set, so that no measurement ends before it began.
        finished = self.started_at + timedelta(seconds=time.monotonic() - self.begin)
        self.listener.finished(
            task,
            conclude(
                task, self.stage, self.visits[name], status, message, overhead=overhead, session=self.session,
                started_at=timestamp(self.started_at), finished_at=timestamp(finished),
                conditions=self._conditions(name, finished),
            ),
        )  # fmt: skip

    def _conditions(self, name: str, finished: datetime) -> dict[str, Json]:
        found: dict[str, Json] = {**self.loads.get(name, {}), **self.waited, **self.watched.seen()}
        if self.canaries:
            found["canary_us"] = canary_baseline(self.canaries) / 1e3
        if self.stage.read_conditions is not None:
            found |= {"before": dict(self.before), "after": dict(self.stage.read_conditions())}
        step_s = (datetime.now(timezone.utc) - finished).total_seconds()
        if abs(step_s) > CLOCK_STEP_S:
            found["wall_clock_step_s"] = step_s
        return found


def describe_change(before: Environment, after: Environment) -> str:
    """Which entries of two environments differ, with both values; empty when none does."""
    if before.environment_hash == after.environment_hash:
        return ""
    keys = sorted({*before.document, *after.document})
    differing = [key for key in keys if before.document.get(key) != after.document.get(key)]
    listed = ", ".join(f"{key}: {before.document.get(key)} → {after.document.get(key)}" for key in differing)
    return f"the environment changed during the measurement ({listed})"


def _int(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"the runner sent {value!r} where a number belongs")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError(f"the runner sent {value!r} where a list belongs")
    return value
