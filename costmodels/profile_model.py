"""Profile one model on this machine: latency end to end under the measuring protocol, and the share of each kernel."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..db import Store
from ..profiler.client import RunnerClient, RunnerDied, RunnerSupply
from ..profiler.errors import BrokenModel, EdgecostError, RunnerError, UnstableMeasurement, UnsupportedOperator
from ..profiler.measure import Task, load_request, measure_group
from ..profiler.model_file import Shape, read_model
from ..profiler.protocol import Settings, runner_rules
from ..profiler.records import Measurement, Status, Visit
from ..profiler.workload import Workload
from .campaign import LocalSetting

#: Runs under the runtime's profiler: the share of a kernel is the median of these.
PROFILED_RUNS = 20


@dataclass(frozen=True)
class KernelShare:
    """One executed kernel. ``latency_ms`` is its share of the end-to-end latency, not a measurement of its own."""

    name: str
    op: str
    outputs: tuple[tuple[int, ...], ...]
    share: float
    latency_ms: float


@dataclass(frozen=True)
class ModelProfile:
    """What a model costs here. ``kernels`` is empty when the runtime's profiler gave nothing."""

    workload: Workload
    setting: LocalSetting
    measurement: Measurement
    kernels: tuple[KernelShare, ...]


def profile(
    model: str | os.PathLike[str],
    *,
    shapes: Mapping[str, Shape] | None = None,
    threads: int = 1,
    settings: Settings | None = None,
    store: Store | None = None,
) -> ModelProfile:
    """Measure an ONNX file on this machine's CPU with ONNX Runtime.

    Args:
        model: path of the file.
        shapes: concrete shapes of inputs with dynamic dimensions, by name.
        threads: intra-op threads.
        store: where the attempt is kept, whatever its outcome; None keeps nothing.

    Raises:
        ModelError: the file cannot be used, or holds an operator that the runtime does not know.
        UnstableMeasurement: the guards rejected too much to say a number.
        EdgecostError: the runtime crashed, hung or ran out of memory; the message says which.
    """
    settings = settings or Settings()
    with tempfile.TemporaryDirectory(prefix="edgecost-") as scratch, RunnerSupply() as supply:
        workload = read_model(Path(model), shapes, Path(scratch))
        setting = LocalSetting.here(threads=threads)
        kept = _Kept()
        measure_group([Task(workload, "profile")], setting.stage, settings, kept, supply)
        measurement = kept.measurements[0]
        if store is not None:
            setting.store_in(store)
            store.put_workload(workload)
            store.record(measurement)
        _raise_for(measurement, Path(model))
        shares = _kernel_shares(workload, setting, settings, supply, measurement)
        return ModelProfile(workload, setting, measurement, shares)


class _Kept:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.measurements: list[Measurement] = []

    def visited(self, visits: Sequence[tuple[Task, Visit]]) -> None:
        """The measurement brings its visits; nothing is kept in between."""

    def finished(self, task: Task, measurement: Measurement) -> None:
        self.measurements.append(measurement)


def _raise_for(measurement: Measurement, path: Path) -> None:
    """Turn an outcome without a latency into the error that names it."""
    status, message = measurement.status, measurement.message
    if status.has_latency:
        return
    if status is Status.UNSUPPORTED_OPERATOR:
        raise UnsupportedOperator(f"{path}: the runtime has no kernel for an operator: {message}")
    if status in (Status.INVALID_MODEL, Status.INVALID_OUTPUT):
        raise BrokenModel(f"{path}: {message}")
    if status is Status.REJECTED:
        raise UnstableMeasurement(
            f"{path}: {message}", remedy="stop other programs and try again; `edgecost doctor` says what disturbs"
        )
    raise EdgecostError(f"{path}: {status.value}: {message}")


def _kernel_shares(
    workload: Workload, setting: LocalSetting, settings: Settings, supply: RunnerSupply, measurement: Measurement
) -> tuple[KernelShare, ...]:
    request = {**load_request(workload.name, workload, settings.seed), "verb": "profile", "runs": PROFILED_RUNS}
    try:
        with RunnerClient(supply, setting.profile, runner_rules(), cpus=setting.stage.cpus) as runner:
            runner.send(request)
            answer = runner.receive(settings.visit_timeout_s)
    except RunnerDied as died:
        raise RunnerError(f"the runtime's profiler failed: {died.message}") from died
    records = answer.get("kernels")
    if not isinstance(records, list) or measurement.latency is None:
        return ()
    parsed = [_parse(record) for record in records if isinstance(record, dict)]
    total = sum(time_ns for _, _, _, time_ns in parsed)
    whole_ms = measurement.latency.median_ms
    return tuple(
        KernelShare(name, op, outputs, time_ns / total, whole_ms * time_ns / total)
        for name, op, outputs, time_ns in parsed
        if total
    )


def _parse(record: Mapping[str, object]) -> tuple[str, str, tuple[tuple[int, ...], ...], float]:
    times, outputs = record["times_ns"], record["outputs"]
    if not isinstance(times, list) or not isinstance(outputs, list):
        raise RunnerError("the runner sent a profile without times or shapes")
    shapes = tuple(tuple(int(dim) for dim in shape) for _, shape in outputs)
    return str(record["name"]), str(record["op"]), shapes, float(statistics.median(times))
