"""Profile one model on this machine: latency end to end under the measuring protocol, and the share of each kernel."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..db import Store
from ..devices.gpu_memory import gpu_memory
from ..devices.host import memory_limit_bytes
from ..devices.virtual.door import energy_bench, open_bench
from ..profiler.bench import Bench
from ..profiler.conclusion import conclude
from ..profiler.energy.measure import PURPOSE as ENERGY
from ..profiler.energy.meter import Meter
from ..profiler.energy.rails import sensors_of
from ..profiler.errors import (
    BrokenModel,
    EdgecostError,
    UnstableMeasurement,
    UnsupportedOperator,
    UnsupportedPrecision,
)
from ..profiler.kernels.by_runtime import refusal_error
from ..profiler.kernels.graph import kernels
from ..profiler.loading import LoadRefused
from ..profiler.measure import measure_group
from ..profiler.memory import measure_memory
from ..profiler.model_file import Shape, read_model
from ..profiler.precision.convert import convert, emulated
from ..profiler.protocol import Settings
from ..profiler.records import Measurement, RuntimeProfile, Status
from ..profiler.runtimes import CPU_PROVIDER, host_profile
from ..profiler.tasks import Gathered, Task
from ..profiler.workload import Workload
from .control_flow import ControlFlow
from .drift import canary_drift
from .kernel_shares import KernelShare, kernel_shares
from .local_setting import LocalSetting
from .pipeline import PipelineRow, PipelineSteps, measure_pipeline

#: A busy machine is often quiet a minute later; one that rejects this often will go on.
ATTEMPTS = 3


@dataclass(frozen=True)
class PathCost:
    """One way through a model's control flow, with the probability that it is taken. Most models have one."""

    label: str
    probability: float
    workload: Workload
    measurement: Measurement


@dataclass(frozen=True)
class ModelProfile:
    """What a model costs here.

    Attributes:
        paths: the likeliest first.
        kernels: of the likeliest path; empty when the runtime's profiler gave nothing.
        pipeline: what stands around an inference; empty unless asked for.
        drift: of the machine's speed against its earlier sessions (``drift.canary_drift``); None where it is not known.
        is_emulated: whether the runtime computes a model of 16 bits in 32, between conversions.
        memory: the attempt at the peak memory of the likeliest path; None unless asked for.
        energy: the attempt at its energy; None unless asked for.
    """

    workload: Workload
    setting: LocalSetting
    paths: tuple[PathCost, ...]
    kernels: tuple[KernelShare, ...] = ()
    pipeline: tuple[PipelineRow, ...] = ()
    is_emulated: bool = False
    drift: float | None = None
    memory: Measurement | None = None
    energy: Measurement | None = None

    @property
    def measurement(self) -> Measurement:
        """Of the likeliest path."""
        return self.paths[0].measurement

    @property
    def expected_ms(self) -> float | None:
        """Mean over the paths by their probabilities; None when one that can be taken has no latency."""
        total = 0.0
        for path in self.paths:
            if path.probability and path.measurement.latency is None:
                return None
            if path.measurement.latency is not None:
                total += path.probability * path.measurement.latency.median_ms
        return total


def profile(
    model: str | os.PathLike[str],
    *,
    shapes: Mapping[str, Shape] | None = None,
    runtime: RuntimeProfile | None = None,
    settings: Settings | None = None,
    store: Store | None = None,
    control_flow: ControlFlow | None = None,
    pipeline: PipelineSteps | None = None,
    memory: bool = False,
    meter: Meter | None = None,
) -> ModelProfile:
    """Measure an ONNX file on this machine.

    Args:
        model: path of the file.
        shapes: concrete shapes of inputs with dynamic dimensions, by name.
        runtime: None for ONNX Runtime with one thread. Its precision is the one that the model is converted to.
        store: where every attempt is kept, whatever its outcome; None keeps nothing.
        control_flow: needed where the cost depends on what is fed.
        pipeline: measure what stands around the inference, too.
        memory: measure the peak memory, too, in processes of their own.
        meter: measure the energy with it, too, after the latency and in a process of its own.

    Raises:
        ModelError: the file cannot be used, or holds an operator that the runtime does not know.
        UsageError: a branch or loop of the model needs a probability or a number of trips.
        UnstableMeasurement: the guards rejected too much to say a number.
        EdgecostError: the runtime crashed, hung or ran out of memory; the message says which.
    """
    setting = LocalSetting.here(runtime or host_profile())
    settings = _limited(settings or Settings(), setting)
    flow = control_flow or ControlFlow()
    if store is not None:
        setting.store_in(store)
    with tempfile.TemporaryDirectory(prefix="edgecost-") as scratch, open_bench(setting.profile) as bench:
        written = read_model(Path(model), shapes, Path(scratch))
        workload = _in_precision(written, setting, store)
        ways = flow.ways(workload, Path(scratch))
        made = _measure([way.workload for way in ways], setting, settings, store, bench)
        costs = tuple(
            PathCost(way.label, way.probability, way.workload, measurement)
            for way, measurement in zip(ways, made, strict=True)
        )
        for cost in costs:
            _raise_for(cost.measurement, Path(model), setting.profile)
        likeliest, latency = costs[0].workload, costs[0].measurement.latency
        assert latency is not None
        return ModelProfile(
            workload=workload,
            setting=setting,
            paths=costs,
            kernels=kernel_shares(likeliest, setting.stage, settings, bench, latency.median_ms),
            pipeline=measure_pipeline(likeliest, setting.stage, settings, bench, pipeline) if pipeline else (),
            drift=_drift(costs[0].measurement, setting, store),
            is_emulated=_is_emulated(likeliest, setting.profile),
            memory=_memory(likeliest, setting, settings, store, bench) if memory else None,
            energy=None if meter is None else _energy(likeliest, setting, settings, store, bench, meter),
        )


def _limited(settings: Settings, setting: LocalSetting) -> Settings:
    """With a limit of memory, so that a greedy graph fails alone; a GPU's driver reserves more than there is."""
    is_on_cpu = setting.profile.provider in (CPU_PROVIDER, "llvm")
    if settings.memory_limit_bytes is not None or not is_on_cpu:
        return settings
    return replace(settings, memory_limit_bytes=memory_limit_bytes(setting.facts))


def _in_precision(workload: Workload, setting: LocalSetting, store: Store | None) -> Workload:
    """The workload in the profile's precision; that it cannot be had is a result, and stored as one."""
    try:
        return convert(workload, setting.profile.precision)
    except UnsupportedPrecision as refusal:
        if store is not None:
            store.put_workload(workload)
            store.record(
                conclude(
                    Task(workload, "profile"), setting.stage, [], Status.UNSUPPORTED_PRECISION, refusal.message,
                    overhead=None, started_at=None, session="",
                )
            )  # fmt: skip
        raise


def _memory(
    workload: Workload, setting: LocalSetting, settings: Settings, store: Store | None, bench: Bench
) -> Measurement:
    device_memory = gpu_memory(setting.profile)
    made = next(measure_memory([workload], setting.stage, settings, bench, device_memory=device_memory))
    if store is not None:
        store.put_workload(workload)
        store.record(made)
    return made


def _energy(
    workload: Workload, setting: LocalSetting, settings: Settings, store: Store | None, bench: Bench, meter: Meter
) -> Measurement:
    made = energy_bench(settings, bench, meter).measure(Task(workload, ENERGY), setting.stage)
    if store is not None:
        for sensor in sensors_of(meter):
            store.put_sensor(sensor)
        store.put_workload(workload)
        store.record(made)
    return made


def _drift(measurement: Measurement, setting: LocalSetting, store: Store | None) -> float | None:
    return (
        None
        if store is None
        else canary_drift(
            store, setting.device.identity, setting.profile.profile_hash, measurement.conditions, measurement.session
        )
    )


def _is_emulated(workload: Workload, profile: RuntimeProfile) -> bool:
    if profile.precision != "fp16" or profile.runtime != "onnxruntime" or profile.interpreter:
        return False
    return emulated(kernels(workload, profile))


def _measure(
    workloads: Sequence[Workload], setting: LocalSetting, settings: Settings, store: Store | None, bench: Bench
) -> list[Measurement]:
    """One measurement of each workload; a rejected attempt is repeated while there is time."""
    found: dict[str, Measurement] = {}
    begin = time.monotonic()
    for attempt in range(ATTEMPTS):
        left_s = settings.group_max_s - (time.monotonic() - begin)
        is_last = attempt == ATTEMPTS - 1 or left_s < settings.group_max_s / 2
        open_ones = [w for w in workloads if w.graph_hash not in found or _is_worth_repeating(found[w.graph_hash])]
        if not open_ones or (attempt and left_s <= 0):
            break
        kept = Gathered()
        # A group that uses up its time leaves none to try again.
        tasks = [Task(w, "profile", is_last_attempt=is_last, is_last_when_late=True) for w in open_ones]
        # The machine may have changed; then only a new stage gets a measurement that is not rejected for it.
        stage = setting.stage_now(store)
        measure_group(tasks, stage, replace(settings, group_max_s=max(left_s, 1.0)), kept, bench)
        found |= {measurement.graph_hash: measurement for measurement in kept.measurements}
        if store is not None:
            for task in tasks:
                store.put_workload(task.workload)
            for measurement in kept.measurements:
                store.record(measurement)
    return [found[workload.graph_hash] for workload in workloads]


def _is_worth_repeating(measurement: Measurement) -> bool:
    return measurement.status is Status.REJECTED


def _raise_for(measurement: Measurement, path: Path, profile: RuntimeProfile) -> None:
    """Turn an outcome without a latency into the error that names it."""
    status, message = measurement.status, measurement.message
    if measurement.latency is not None:
        return
    if status is Status.UNSUPPORTED_OPERATOR:
        raise UnsupportedOperator(f"{path}: the runtime has no kernel for an operator: {message}")
    if status in (Status.INVALID_MODEL, Status.INVALID_OUTPUT):
        raise BrokenModel(f"{path}: {message}")
    if status is Status.PROVIDER_FALLBACK:
        raise EdgecostError(
            f"{path}: {profile.provider} did not take the whole graph: {message}",
            remedy="`edgecost runtime list` says which providers work here; --runtime ort measures on the CPU",
        )
    if status in (Status.REJECTED, Status.UNSTABLE):
        raise UnstableMeasurement(
            f"{path}: {message}", remedy="stop other programs and try again; `edgecost doctor` says what disturbs"
        )
    if status is Status.UNSUPPORTED_PRECISION:
        raise UnsupportedPrecision(
            f"{path}: {profile.label} does not compute it: {message}", remedy="--precision fp32 measures it as it is"
        )
    if status in (Status.DYNAMIC_SHAPE, Status.INVALID_TARGET, Status.MISSING_TOOL):
        raise refusal_error(LoadRefused(status, message), profile)
    raise EdgecostError(f"{path}: {status.value}: {message}")
