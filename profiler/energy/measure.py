"""Energies of workloads: each run by a runner of its own while a meter reads, with rests between, session loaded."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone

from ..bench import Bench
from ..client import RunnerClient
from ..conclusion import conclude, timestamp
from ..cpu_lock import hold_cpus
from ..errors import MeterError
from ..loading import LoadRefused
from ..overhead import overhead_probes
from ..protocol import Settings, runner_rules
from ..readings import Energy, Reading
from ..records import Json, Measurement, Status
from ..tasks import Stage, Task
from ..watching import Watched, told, watching
from ..worker import Answer, RunnerDied
from ..workload import Workload
from .alignment import AlignedMeter, measure_offset_ns
from .meter import EXTERNAL, Meter
from .session import EnergySession, Load, measure_load
from .windows import EnergySettings, Guard, Span

PURPOSE = "energy"
#: How often the guards look while a meter reads.
GUARD_PERIOD_S = 0.25


class AttemptFailed(Exception):
    """An attempt without an energy: the measurement's status and message."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class RunnerLoad:
    """A workload that a runner has loaded, as a load that runs and rests."""

    def __init__(self, runner: RunnerClient, name: str, timeout_s: float) -> None:
        self._runner = runner
        self._name = name
        self._timeout_s = timeout_s

    def run(self, lead_s: float, window_s: float) -> Span:
        """As ``session.Load.run``."""
        lead_ns, window_ns = round(lead_s * 1e9), round(window_s * 1e9)
        request: Answer = {"verb": "burn", "id": self._name, "lead_ns": lead_ns, "window_ns": window_ns}
        self._runner.send(request, self._timeout_s)
        answer = self._runner.receive(self._timeout_s + 2 * lead_s + window_s)
        if answer["event"] == "failed":
            raise AttemptFailed(Status(answer["outcome"]), str(answer["message"]))
        begin, end, runs = (answer[name] for name in ("begin_ns", "end_ns", "runs"))
        if not (isinstance(begin, int) and isinstance(end, int) and isinstance(runs, int)):
            raise TypeError(f"the runner sent {answer!r} where a window belongs")
        return Span(begin, end, runs)

    def rest(self, seconds: float) -> Span:
        """As ``session.Load.rest``; the runner waits for its next request."""
        begin = time.perf_counter_ns()
        time.sleep(seconds)
        return Span(begin, time.perf_counter_ns())


class EnergyBench:
    """A bench with a meter beside it: one task after the other, the energy of a call measured once.

    Args:
        settings: what the runner does before the first window, the seed of weights and inputs, and limits.
        guard: what else makes a time not count (``windows.Guard``).
    """

    def __init__(
        self,
        settings: Settings,
        bench: Bench,
        meter: Meter,
        energy: EnergySettings | None = None,
        guard: Guard = lambda _: "",
    ) -> None:
        self.settings = settings
        self.bench = bench
        self.meter = meter
        self.energy = energy or EnergySettings()
        self.guard = guard
        self._read_by: Meter = meter
        self._offset_ms: float | None = None
        self.overhead_mj: float | None = None
        self.rail_overheads_mj: Mapping[str, float | None] = {}
        self.knows_overhead = False

    def measure(self, task: Task, stage: Stage) -> Measurement:
        """One attempt; a failure is a measurement too.

        It has no latency: reading a meter may take the device's time, and latencies are measured without it. Groups
        that are timed on the same CPUs take turns with these.

        Raises:
            RunnerError: the runner could not be started at all.
        """
        started, session = timestamp(datetime.now(timezone.utc)), uuid.uuid4().hex
        status, message = Status.OK, ""
        energy: Energy | None = None
        rails: dict[str, Energy] = {}
        conditions: dict[str, Json] = {}
        before = stage.read_conditions() if stage.read_conditions else {}
        try:
            with hold_cpus(stage.cpus):
                conditions |= stage.watch.wait() if stage.watch is not None else {}
                with watching(stage.watch, GUARD_PERIOD_S) as watched:
                    made = self._windows(task.workload, stage, self._guard(watched))
                    conditions |= watched.seen()
            energy = made.energy
            rails = {one.facts.rail: one.energy for one in made.rails}
            conditions["energy_windows"] = [window.document() for window in made.windows]
            if made.rails:
                conditions["energy_rails"] = {one.facts.rail: one.document() for one in made.rails}
            if self.meter.facts.driver == EXTERNAL:
                conditions["meter_offset_ms"] = self._offset_ms
        except AttemptFailed as failed:
            status, message = failed.status, failed.message
        except MeterError as error:
            energy = Energy(Reading.UNAVAILABLE, self.meter.facts.scope, error.message)
        if stage.read_conditions:
            conditions |= {"before": dict(before), "after": dict(stage.read_conditions())}
        if energy is not None and _has_moved(stage):
            energy, rails = _moved(energy), {name: _moved(one) for name, one in rails.items()}
        concluded = conclude(
            task, stage, [], status, message,
            overhead=None, started_at=started, session=session, conditions=conditions,
        )  # fmt: skip
        return replace(concluded, energy=energy, rails=rails)

    def _guard(self, watched: Watched) -> Guard:
        """What else is wrong with a time: as the bench was told, and as the device is watched."""

        def guard(span: Span) -> str:
            own = self.guard(span)
            if own:
                return own
            faults = watched.faults_between(span.begin_ns, span.end_ns, is_busy=span.runs > 0)
            return told(tuple(fault for fault in faults if fault.spoils_energy))

        return guard

    def _windows(self, workload: Workload, stage: Stage, guard: Guard) -> EnergySession:
        if not self.knows_overhead:
            empty = next(iter(overhead_probes().values()))
            self._align(empty, stage)
            made = self._session(empty, stage, guard)
            self.overhead_mj, self.rail_overheads_mj = made.energy.gross_median_mj, made.gross_by_rail_mj
            self.knows_overhead = True
        return self._session(workload, stage, guard)

    def _align(self, empty: Workload, stage: Stage) -> None:
        """Bring a meter outside the device to this clock; one that does not follow a load is taken as it is."""
        if self.meter.facts.driver != EXTERNAL:
            return
        with self.opened_load(empty, stage) as load:
            offset_ns = measure_offset_ns(load, self.meter)
        if offset_ns is None:
            return
        self._offset_ms = offset_ns / 1e6
        # Less than that is what a reading's place in its period may be.
        if abs(offset_ns) > self.meter.facts.period_s * 1e9:
            self._read_by = AlignedMeter(self.meter, offset_ns)

    def _session(self, workload: Workload, stage: Stage, guard: Guard) -> EnergySession:
        try:
            with self.opened_load(workload, stage) as load:
                return measure_load(
                    load, self._read_by, self.energy, guard=guard, overhead_mj=self.overhead_mj,
                    rail_overheads_mj=self.rail_overheads_mj, seed=self.settings.seed,
                )  # fmt: skip
        except LoadRefused as refusal:
            raise AttemptFailed(refusal.status, refusal.message) from refusal
        except RunnerDied as died:
            raise AttemptFailed(died.status, died.message) from died

    @contextmanager
    def opened_load(self, workload: Workload, stage: Stage) -> Iterator[Load]:
        """The workload, loaded and ready to run.

        Raises:
            AttemptFailed, LoadRefused, RunnerDied: it cannot be loaded.
        """
        request = self.bench.loader.request("energy", workload, self.settings.seed)
        with RunnerClient(
            self.bench.supply,
            stage.profile,
            runner_rules(self.settings),
            cpus=stage.cpus,
            memory_limit_bytes=self.settings.memory_limit_bytes,
        ) as runner:
            runner.send(request, self.settings.visit_timeout_s)
            answer = runner.receive(self.settings.visit_timeout_s)
            if answer["event"] == "failed":
                raise AttemptFailed(Status(answer["outcome"]), str(answer["message"]))
            yield RunnerLoad(runner, "energy", self.settings.visit_timeout_s)


def _moved(energy: Energy) -> Energy:
    return Energy(Reading.REJECTED, energy.scope, "the frozen conditions of the device changed meanwhile")


def _has_moved(stage: Stage) -> bool:
    read = stage.read_environment
    return read is not None and read() != stage.environment
