"""Peak memory of whole graphs: each loaded and run in fresh processes, above the process before it.

Memory does not add up: a network reuses what its first half has left free, and a sum of its blocks counts it twice. So
a graph is measured as a whole or not at all. What the numbers mean stands in ``PeakMemory``.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone

from .bench import Bench
from .client import RunnerClient
from .conclusion import conclude, timestamp
from .cpu_lock import hold_cpus
from .device_memory import DeviceMemory, Held, device_peak, watching
from .loading import LoadRefused
from .overhead import overhead_probes
from .protocol import Settings, runner_rules
from .readings import PeakMemory, Reading
from .records import VIRTUAL, Json, Measurement, RuntimeProfile, Status
from .runtimes import CPU_PROVIDER
from .statistics import median
from .tasks import Stage, Task
from .worker import Answer, RunnerDied
from .workload import Workload

#: Peak of the resident set (VmHWM) above a process that has opened its runtime and no graph yet.
METHOD = "vmhwm-1"
PURPOSE = "memory"
#: Fresh processes; where the heap begins is random.
REPETITIONS = 3
#: The runtime plans its memory in the first run and lives by the plan from the second on.
RUNS = 3
#: Linux counts pages in batches of 32 for each processor before they show.
RESOLUTION_BYTES = 32 * 4096 * (os.cpu_count() or 1)


@dataclass(frozen=True)
class _Repetition:
    """One process, in bytes; all but the baseline above it, ``running_bytes`` after each run.

    Attributes:
        held: of a memory of the accelerator's own; None where that is not asked for.
    """

    baseline_bytes: int
    loading_bytes: int
    kept_bytes: int
    running_bytes: tuple[int, ...]
    held: Held | None

    @property
    def peak_bytes(self) -> int:
        return max(self.running_bytes)

    def document(self) -> dict[str, Json]:
        numbers = {name: value for name, value in asdict(self).items() if name != "held"}
        return {**numbers, "running_bytes": list(self.running_bytes)}


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
    device_memory: DeviceMemory | None = None,
) -> Iterator[Measurement]:
    """One measurement of each workload, as soon as it is made; a failure is a measurement too.

    Groups that are timed on the same CPUs take turns with these.

    Args:
        device_memory: what reads the accelerator's memory, where the profile runs on one; None does not ask.

    Raises:
        RunnerError: the runner could not be started at all.
    """
    attempt = _Attempt(stage, settings, bench, repetitions, device_memory)
    for workload in workloads:
        yield attempt.measure(workload)


class _Attempt:
    def __init__(
        self, stage: Stage, settings: Settings, bench: Bench, repetitions: int, device_memory: DeviceMemory | None
    ) -> None:
        self.stage = stage
        self.settings = settings
        self.bench = bench
        self.repetitions = repetitions
        self.device_memory = device_memory
        self.empty: list[_Repetition] = []

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
        if not self.empty:
            self.empty = self._repeat(next(iter(overhead_probes().values())))
        found = self._repeat(workload)
        conditions: dict[str, Json] = {"memory": [one.document() for one in found]}
        process = _of_process(found, _median([one.peak_bytes for one in self.empty]))
        if self.device_memory is None:
            return process, conditions
        on_device = device_peak(_held(found), _held(self.empty), self.device_memory.resolution_bytes)
        conditions["device_memory"] = on_device.document(self.device_memory)
        return on_device.beside(process), conditions

    def _repeat(self, workload: Workload) -> list[_Repetition]:
        try:
            request = self.bench.loader.request("memory", workload, self.settings.seed)
        except LoadRefused as refusal:
            raise _Ended(refusal.status, refusal.message) from refusal
        request = {**request, "verb": "memory", "runs": RUNS}
        return [self._one(request, is_last=n == self.repetitions - 1) for n in range(self.repetitions)]

    def _one(self, request: Answer, *, is_last: bool) -> _Repetition:
        try:
            with (
                RunnerClient(
                    self.bench.supply,
                    self.stage.profile,
                    runner_rules(self.settings),
                    cpus=self.stage.cpus,
                    memory_limit_bytes=self.settings.memory_limit_bytes,
                ) as runner,
                watching(self.device_memory, runner.pid) as held,
            ):
                runner.send(request, self.settings.visit_timeout_s)
                if not is_last:
                    self.bench.supply.prepare()
                answer = runner.receive(self.settings.visit_timeout_s)
                return _read(answer, held())
        except RunnerDied as died:
            raise _Ended(died.status, died.message) from died


def unsupported(profile: RuntimeProfile) -> PeakMemory | None:
    """Why nothing can be said under a profile; None where something can."""
    if "rpc_tracker" in dict(profile.options):
        return PeakMemory(Reading.UNSUPPORTED, METHOD, "the memory is the board's, behind TVM's tracker")
    if profile.runtime != VIRTUAL and not profile.is_on_nvidia and profile.provider not in (CPU_PROVIDER, "llvm"):
        return PeakMemory(Reading.UNSUPPORTED, METHOD, f"{profile.provider} has a memory of its own")
    return None


def _of_process(found: Sequence[_Repetition], overhead_bytes: int) -> PeakMemory:
    peaks = [one.peak_bytes for one in found]
    common = PeakMemory(
        Reading.BELOW_RESOLUTION,
        METHOD,
        f"less than {RESOLUTION_BYTES / 1e6:.2f} MB above an empty graph",
        loading_bytes=_median([one.loading_bytes for one in found]),
        kept_bytes=_median([one.kept_bytes for one in found]),
        baseline_bytes=_median([one.baseline_bytes for one in found]),
        overhead_bytes=overhead_bytes,
        repetitions=len(found),
    )
    peak = _median(peaks)
    if peak - overhead_bytes < RESOLUTION_BYTES:
        return common
    lo, hi = min(peaks), max(peaks)
    return replace(common, status=Reading.OK, message="", peak_bytes=peak, lo_bytes=lo, hi_bytes=hi)


def _held(found: Sequence[_Repetition]) -> list[Held]:
    return [one.held for one in found if one.held is not None]


def _read(answer: Answer, held: Held | None) -> _Repetition:
    if answer["event"] == "failed":
        raise _Ended(Status(answer["outcome"]), str(answer["message"]))
    if "unsupported" in answer:
        told = f"this system does not tell the peak of a process: {answer['unsupported']}"
        raise _Ended(Status.OK, "", PeakMemory(Reading.UNSUPPORTED, METHOD, told))
    numbers = [answer[name] for name in ("baseline_bytes", "loading_bytes", "kept_bytes")]
    running = answer["running_bytes"]
    if not isinstance(running, list) or not all(isinstance(number, int) for number in (*numbers, *running)):
        raise TypeError(f"the runner sent {answer!r} where a peak memory belongs")
    baseline, loading, kept = (int(str(number)) for number in numbers)
    above = tuple(int(str(one)) - baseline for one in running)
    return _Repetition(baseline, loading - baseline, max(0, kept), above, held)


def _median(values: Sequence[int]) -> int:
    return int(median(values))
