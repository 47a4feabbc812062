"""Peak memory of whole graphs: each loaded and run in fresh processes, above the process before it.

Memory does not add up: a network reuses what its first half has left free, and a sum of its blocks counts it twice. So
a graph is measured as a whole or not at all. What the numbers mean stands in ``PeakMemory``.
"""

from __future__ import annotations

import os
import statistics
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timezone

from .bench import Bench
from .client import RunnerClient
from .conclusion import conclude, timestamp
from .cpu_lock import hold_cpus
from .loading import LoadRefused
from .overhead import overhead_probes
from .protocol import Settings, runner_rules
from .readings import PeakMemory, Reading
from .records import Json, Measurement, RuntimeProfile, Status
from .runtimes import CPU_PROVIDER
from .tasks import Stage, Task
from .worker import Answer, RunnerDied
from .workload import Workload

#: Peak of the resident set (VmHWM) above a process that has opened its runtime and no graph yet.
METHOD = "vmhwm-1"
PURPOSE = "memory"
#: Fresh processes; where the heap begins is random, and with it what the allocator keeps.
REPETITIONS = 3
#: The runtime plans its memory in the first run and lives by the plan from the second on.
RUNS = 3
#: Linux counts pages in batches of 32 for each processor before they show.
RESOLUTION_BYTES = 32 * 4096 * (os.cpu_count() or 1)


class _Ended(Exception):
    """An attempt that has no peak: the measurement's status and message, and what to say of the memory if anything."""

    def __init__(self, status: Status, message: str, memory: PeakMemory | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.memory = memory


def measure_memory(
    workloads: Iterable[Workload],
    stage: Stage,
    settings: Settings,
    bench: Bench,
    *,
    repetitions: int = REPETITIONS,
) -> Iterator[Measurement]:
    """One measurement of each workload, as soon as it is made; a failure is a measurement too.

    Groups that are timed on the same CPUs take turns with these.

    Raises:
        RunnerError: the runner could not be started at all.
    """
    attempt = _Attempt(stage, settings, bench, repetitions)
    for workload in workloads:
        yield attempt.measure(workload)


class _Attempt:
    def __init__(self, stage: Stage, settings: Settings, bench: Bench, repetitions: int) -> None:
        self.stage = stage
        self.settings = settings
        self.bench = bench
        self.repetitions = repetitions
        self.overhead_bytes: int | None = None

    def measure(self, workload: Workload) -> Measurement:
        started, session = timestamp(datetime.now(timezone.utc)), uuid.uuid4().hex
        status, message = Status.OK, ""
        conditions: dict[str, Json] = {}
        memory: PeakMemory | None = unsupported(self.stage.profile)
        if memory is None:
            try:
                with hold_cpus(self.stage.cpus):
                    memory, conditions = self._peak(workload)
            except _Ended as ended:
                status, message, memory = ended.status, ended.message, ended.memory
        made = conclude(
            Task(workload, PURPOSE), self.stage, [], status, message,
            overhead=None, started_at=started, session=session, conditions=conditions,
        )  # fmt: skip
        return replace(made, peak_memory=memory)

    def _peak(self, workload: Workload) -> tuple[PeakMemory, dict[str, Json]]:
        if self.overhead_bytes is None:
            empty = next(iter(overhead_probes().values()))
            self.overhead_bytes = int(statistics.median(max(r) - b for b, _, r in self._repeat(empty)))
        found = self._repeat(workload)
        peaks = [max(running) - baseline for baseline, _, running in found]
        conditions: dict[str, Json] = {
            "memory": [{"baseline_bytes": b, "loading_bytes": one, "running_bytes": list(r)} for b, one, r in found]
        }
        baseline = int(statistics.median(baseline for baseline, _, _ in found))
        peak = int(statistics.median(peaks))
        if peak - self.overhead_bytes < RESOLUTION_BYTES:
            told = f"less than {RESOLUTION_BYTES / 1e6:.2f} MB above an empty graph"
            return PeakMemory(Reading.BELOW_RESOLUTION, METHOD, told, baseline_bytes=baseline,
                              overhead_bytes=self.overhead_bytes, repetitions=len(found)), conditions  # fmt: skip
        memory = PeakMemory(
            Reading.OK,
            METHOD,
            peak_bytes=peak,
            lo_bytes=min(peaks),
            hi_bytes=max(peaks),
            loading_bytes=int(statistics.median(loading - baseline for baseline, loading, _ in found)),
            baseline_bytes=baseline,
            overhead_bytes=self.overhead_bytes,
            repetitions=len(found),
        )
        return memory, conditions

    def _repeat(self, workload: Workload) -> list[tuple[int, int, list[int]]]:
        """Baseline, highest while loading and highest after each run, in bytes, of each repetition."""
        try:
            request = self.bench.loader.request("memory", workload, self.settings.seed)
        except LoadRefused as refusal:
            raise _Ended(refusal.status, refusal.message) from refusal
        request = {**request, "verb": "memory", "runs": RUNS}
        return [self._one(request, is_last=n == self.repetitions - 1) for n in range(self.repetitions)]

    def _one(self, request: Answer, *, is_last: bool) -> tuple[int, int, list[int]]:
        try:
            with RunnerClient(
                self.bench.supply,
                self.stage.profile,
                runner_rules(self.settings),
                cpus=self.stage.cpus,
                memory_limit_bytes=self.settings.memory_limit_bytes,
            ) as runner:
                runner.send(request, self.settings.visit_timeout_s)
                if not is_last:
                    self.bench.supply.prepare()
                return _read(runner.receive(self.settings.visit_timeout_s))
        except RunnerDied as died:
            raise _Ended(died.status, died.message) from died


def unsupported(profile: RuntimeProfile) -> PeakMemory | None:
    """Why nothing can be said under a profile; None where something can."""
    if "rpc_tracker" in dict(profile.options):
        return PeakMemory(Reading.UNSUPPORTED, METHOD, "the memory is the board's, behind TVM's tracker")
    if profile.provider not in (CPU_PROVIDER, "llvm"):
        return PeakMemory(Reading.UNSUPPORTED, METHOD, f"{profile.provider} has a memory of its own")
    return None


def _read(answer: Answer) -> tuple[int, int, list[int]]:
    if answer["event"] == "failed":
        raise _Ended(Status(answer["outcome"]), str(answer["message"]))
    if "unsupported" in answer:
        told = f"this system does not tell the peak of a process: {answer['unsupported']}"
        raise _Ended(Status.OK, "", PeakMemory(Reading.UNSUPPORTED, METHOD, told))
    baseline, loading, running = (answer[name] for name in ("baseline_bytes", "loading_bytes", "running_bytes"))
    if not isinstance(baseline, int) or not isinstance(loading, int) or not isinstance(running, list):
        raise TypeError(f"the runner sent {answer!r} where a peak memory belongs")
    return baseline, loading, [int(str(value)) for value in running]
