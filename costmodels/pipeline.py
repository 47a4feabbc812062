"""What stands around an inference: making it ready, the first run, copies, and the steps before and after it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx

from ..profiler.bench import Bench
from ..profiler.client import RunnerClient
from ..profiler.errors import RunnerError
from ..profiler.graphs.image_steps import classification, image_preprocessing
from ..profiler.kernels.shapes import concrete_shape
from ..profiler.loading import LoadRefused
from ..profiler.measure import measure_group
from ..profiler.model_file import read_model
from ..profiler.protocol import VISITS_MIN, Settings, runner_rules
from ..profiler.records import Json, Measurement
from ..profiler.statistics import median_interval
from ..profiler.tasks import Gathered, Stage, Task
from ..profiler.worker import Answer, RunnerDied
from ..profiler.workload import Workload

#: Sessions made in one process; the first finds it cold.
LOADS = 7
#: Copies are short: this many are timed back to back.
COPIES = 60


@dataclass(frozen=True)
class PipelineSteps:
    """What to measure beside the inference itself.

    Attributes:
        before, after: ONNX files of one's own steps; None for those of an image classifier, where the shapes fit one.
        frame: height and width of the camera's frame, for the steps of an image classifier.
    """

    before: Path | None = None
    after: Path | None = None
    frame: tuple[int, int] | None = None


@dataclass(frozen=True)
class PipelineRow:
    """One step. ``lo_ms`` and ``hi_ms`` bound the median at 95 %; None where there are too few repetitions to say.

    Attributes:
        note: why there is no number, or what it is about.
    """

    step: str
    median_ms: float | None
    lo_ms: float | None = None
    hi_ms: float | None = None
    repetitions: int = 0
    note: str = ""


def measure_pipeline(
    workload: Workload, stage: Stage, settings: Settings, bench: Bench, steps: PipelineSteps
) -> tuple[PipelineRow, ...]:
    """The rows in the order in which an application meets them.

    Raises:
        ModelError: a step's own ONNX file cannot be used.
        RunnerError: the runtime failed outside the inference.
    """
    with TemporaryDirectory(prefix="edgecost-") as scratch:
        before, after = _steps(workload, steps, Path(scratch))
        around = _measured([step for step in (before, workload, after) if step is not None], stage, settings, bench)
    made, copied = _in_fresh_runner(workload, stage, settings, bench)
    return (
        *_loading_rows(made),
        _step_row("before: ", before, around, "no standard step for these inputs; give one: --before FILE.onnx"),
        _row("copy in", _numbers(copied, "in_ns"), note="host array to the runtime's input"),
        _step_row("inference: ", workload, around, ""),
        _row("copy out", _numbers(copied, "out_ns"), note="the runtime's output to a host array"),
        _step_row("after: ", after, around, "no standard step for these outputs; give one: --after FILE.onnx"),
    )


def _steps(workload: Workload, steps: PipelineSteps, scratch: Path) -> tuple[Workload | None, Workload | None]:
    graph = onnx.load_model_from_string(workload.skeleton).graph
    source, target = (_only_float(list(values)) for values in (graph.input, graph.output))
    before = image_preprocessing(source, steps.frame) if source else None
    after = classification(target) if target else None
    return (
        read_model(steps.before, None, scratch) if steps.before else before,
        read_model(steps.after, None, scratch) if steps.after else after,
    )


def _only_float(values: Sequence[onnx.ValueInfoProto]) -> tuple[int, ...] | None:
    """Shape of the one float32 value among the inputs or outputs; None where there are several, or another type."""
    if len(values) != 1 or values[0].type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
        return None
    return concrete_shape(values[0].type)


def _measured(workloads: Sequence[Workload], stage: Stage, settings: Settings, bench: Bench) -> dict[str, Measurement]:
    kept = Gathered()
    tasks = [Task(workload, "pipeline", is_last_attempt=True) for workload in workloads]
    measure_group(tasks, stage, settings, kept, bench)
    return {measurement.graph_hash: measurement for measurement in kept.measurements}


def _in_fresh_runner(workload: Workload, stage: Stage, settings: Settings, bench: Bench) -> tuple[list[Answer], Answer]:
    """What ``LOADS`` loads in a new process answered, and the copies of the last one."""
    try:
        request = bench.loader.request("pipeline", workload, settings.seed)
        with RunnerClient(bench.supply, stage.profile, runner_rules(), cpus=stage.cpus) as runner:
            made = []
            for place in range(LOADS):
                if place:
                    runner.send({"verb": "unload", "id": "pipeline"})
                    runner.receive(settings.visit_timeout_s)
                runner.send(request, settings.visit_timeout_s)
                made.append(runner.receive(settings.visit_timeout_s))
            runner.send({"verb": "copies", "id": "pipeline", "runs": COPIES})
            return made, runner.receive(settings.visit_timeout_s)
    except (RunnerDied, LoadRefused) as died:
        raise RunnerError(f"loading it again in a new process failed: {died.message}") from died


def _loading_rows(made: Sequence[Answer]) -> list[PipelineRow]:
    loads, firsts = ([_nanoseconds(answer, key) for answer in made] for key in ("load_ns", "first_run_ns"))
    return [
        _row("create session, cold", loads[:1], note="the first one in its process"),
        _row("create session", loads[1:], note="in a process that has made one"),
        _row("first run, cold", firsts[:1], note="the first one in its process"),
        _row("first run", firsts[1:], note="of a new session"),
    ]


def _nanoseconds(answer: Answer, key: str) -> int:
    value = answer.get(key)
    if not isinstance(value, int):
        raise RunnerError(f"loading it again failed: {answer.get('message', answer['event'])}")
    return value


def _numbers(answer: Answer, key: str) -> list[int]:
    values: Json = answer.get(key)
    return [value for value in values if isinstance(value, int)] if isinstance(values, list) else []


def _row(step: str, times_ns: Sequence[int], *, note: str) -> PipelineRow:
    if not times_ns:
        return PipelineRow(step, None, note="nothing was measured")
    lo, hi = median_interval([float(ns) for ns in times_ns]) if len(times_ns) >= VISITS_MIN else (None, None)
    return PipelineRow(
        step,
        statistics.median(times_ns) / 1e6,
        None if lo is None else lo / 1e6,
        None if hi is None else hi / 1e6,
        len(times_ns),
        note,
    )


def _step_row(prefix: str, step: Workload | None, made: dict[str, Measurement], missing: str) -> PipelineRow:
    if step is None:
        return PipelineRow(prefix.rstrip(": "), None, note=missing)
    measurement = made[step.graph_hash]
    latency = measurement.latency
    if latency is None:
        return PipelineRow(prefix + step.name, None, note=f"{measurement.status.value}: {measurement.message}")
    return PipelineRow(
        prefix + step.name, latency.median_ms, latency.lo_ms, latency.hi_ms, latency.runs, measurement.message
    )
