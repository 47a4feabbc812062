"""Tune a model for TVM on this machine: schedules are searched once, and every later compilation finds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..profiler.errors import RunnerError, UsageError
from ..profiler.kernels.by_runtime import refusal_error
from ..profiler.loading import LoadRefused
from ..profiler.records import Json, RuntimeProfile
from ..profiler.tvm.client import TvmCompiler, model_path, target_of, tuning_database
from ..profiler.workload import Workload

#: Trials of one kernel of a few hundred milliseconds and the search between them stay below this; longer means a hang.
STEP_TIMEOUT_S = 900.0


@dataclass(frozen=True)
class TunedTask:
    """One distinct kernel. ``best_us`` is None where no candidate ran."""

    name: str
    trials: int
    best_us: float | None


@dataclass(frozen=True)
class TuningReport:
    """What tuning did. ``reused`` kernels had their share of trials already."""

    tasks: tuple[TunedTask, ...]
    reused: int
    tune_s: float
    database: Path


def tune(
    workload: Workload,
    profile: RuntimeProfile,
    *,
    trials: int,
    max_time_s: float,
    seed: int = 0,
    progress: Callable[[Mapping[str, Json]], None] | None = None,
) -> TuningReport:
    """Search schedules for the kernels of a workload, beginning where earlier tuning for this target ended.

    Every trial is kept as it is made: after Ctrl-C, a crash or a power cut nothing measured is lost.

    Args:
        profile: of TVM with the pipeline ``tuned``; its target says what is tuned for.
        trials: of the whole workload, shared out over its distinct kernels.
        max_time_s: no trial begins after that.

    Raises:
        UsageError: the profile is not of TVM, or its tuner cannot run with the packages that are installed.
        ModelError: TVM cannot take the model.
        RunnerError: the compiler died.
    """
    if profile.runtime != "tvm":
        raise UsageError(f"{profile.label} cannot be tuned; only TVM can", remedy="leave out --runtime")
    compiler = TvmCompiler(profile)
    try:
        refused = compiler.opened().get("tuning")
        if refused:
            raise UsageError(str(refused), remedy="pip install 'edgecost[tvm]' brings versions that work together")
        with model_path(workload, seed) as path:
            request: dict[str, Json] = {
                "verb": "tune",
                "id": workload.name,
                "model_path": str(path),
                "target": target_of(profile),
                "trials": trials,
                "database": str(tuning_database(profile)),
                "timeout_s": max_time_s,
                "seed": seed,
            }
            answer = compiler.ask(request, STEP_TIMEOUT_S, progress)
    except LoadRefused as refusal:
        raise refusal_error(refusal, profile) from refusal
    finally:
        compiler.close()
    return _report(answer, tuning_database(profile))


def _report(answer: Mapping[str, Json], database: Path) -> TuningReport:
    tasks, reused, tune_ns = answer["tasks"], answer["reused"], answer["tune_ns"]
    if not isinstance(tasks, list) or not isinstance(reused, int) or not isinstance(tune_ns, int):
        raise RunnerError("the TVM compiler sent no report of its tuning")
    found = [_task(task) for task in tasks if isinstance(task, dict)]
    return TuningReport(tuple(found), reused, tune_ns / 1e9, database)


def _task(document: Mapping[str, Json]) -> TunedTask:
    best, trials = document["best_ns"], document["trials"]
    return TunedTask(
        name=str(document["name"]),
        trials=trials if isinstance(trials, int) else 0,
        best_us=best / 1e3 if isinstance(best, int | float) else None,
    )
