"""Search schedules for the kernels of a graph with MetaSchedule, and keep every trial in a database as it ends.

TVM's own loop (``tune_tasks``) measures in batches of 64 and keeps a batch when all of it is done; its builder starts
worker processes that first import TVM, and gives up on them after 30 s. Here the search strategy is TVM's, and the loop
is ours: candidates are built in this process, measured one by one in a worker of TVM's runner, and written to the
database before the next one begins. A killed process loses the trial it was at.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import tvm
import tvm_ffi
from tvm.s_tir import meta_schedule as ms
from tvm.s_tir.meta_schedule.builder.local_builder import default_build

from .database import note_trials, open_database, read_trials
from .importer import import_model
from .lower import fuse
from .outcomes import TVM_ERRORS, Refused, naming_causes
from .target import is_foreign, linker, make_target

#: Candidates that the search picks at a time. TVM's 64 would leave a task of 64 trials no second generation, and more
#: generations cost seconds each.
BATCH = 16
#: A worker that starts imports TVM, 2 s on a desktop and 27 s on a busy machine, within the time of its first trial.
TRIAL_TIMEOUT_S = 100.0
#: Time of one trial: enough for caches and clock to settle on kernels of microseconds.
TRIAL_MS = 50
#: Candidates that the search looks at for each that is measured, and the bounds of its population: TVM's 512 at most.
CANDIDATES_PER_TRIAL = 8
MIN_POPULATION, MAX_POPULATION = 32, 512
#: What TVM writes as the time of a candidate that could not be built or run.
FAILED_S = 1e10

Report = Callable[[Mapping[str, object]], None]


@dataclass(frozen=True)
class TuningOrder:
    """What to tune, for which target, and how long.

    Attributes:
        trials: of the whole graph; each distinct kernel gets an equal share, rounded up.
        database: folder of the records; those of earlier orders count.
        timeout_s: no trial begins after that.
    """

    model_path: Path
    target: Mapping[str, object]
    trials: int
    database: Path
    timeout_s: float
    seed: int


@dataclass(frozen=True)
class _Bench:
    """What the trials of one order share."""

    target: tvm.target.Target
    runner: ms.runner.LocalRunner
    database: ms.database.JSONDatabase
    cost_model: ms.CostModel
    link: Callable[..., None]
    folder: Path
    deadline: float


def tune_model(order: TuningOrder, report: Report) -> dict[str, object]:
    """Tune the kernels of a model; ``report`` is called after every trial.

    Returns:
        ``tasks`` with name, trials in the database and ``best_ns`` (None where nothing ran), ``tune_ns``, and
        ``reused``: how many tasks had their share of trials already.

    Raises:
        Refused: for a cause that has a name, among them a target that this machine cannot run.
    """
    started = time.perf_counter_ns()
    if is_foreign(order.target):
        raise Refused("invalid_target", "trials run on this machine: tune on the device itself, or give its own target")
    target = make_target(order.target)
    deadline = time.monotonic() + order.timeout_s
    # Schedules are asked for as "default" has the kernels, and "tuned" fuses alike.
    fused = fuse(import_model(order.model_path), target, "tuned")
    with naming_causes("find what can be tuned"):
        found = ms.relax_integration.extract_tasks(fused.module, target)
    database = open_database(order.database)
    share = -(-order.trials // max(1, len(found)))
    noted = read_trials(order.database)
    tasks = [_task(task, share, noted, database) for task in found]
    left = [task for task in tasks if task.remaining]
    if left and time.monotonic() < deadline:
        with tempfile.TemporaryDirectory(prefix="edgecost-tuning-") as folder:
            _tune_tasks(left, share, order, _bench(order, target, database, Path(folder), deadline), report)
    rows = []
    for task in tasks:
        times = _times_s(database, task.workload)
        rows.append({"name": task.name, "trials": len(times), "best_ns": _best_ns(times)})
    return {"tasks": rows, "tune_ns": time.perf_counter_ns() - started, "reused": len(tasks) - len(left)}


def _bench(
    order: TuningOrder, target: tvm.target.Target, database: ms.database.JSONDatabase, folder: Path, deadline: float
) -> _Bench:
    _import_cpu_intrinsics()
    # The worker of the runner inherits it; as many threads as the target has cores is what will run later.
    os.environ["TVM_NUM_THREADS"] = str(order.target.get("num-cores", 1))
    return _Bench(
        target=target,
        runner=ms.runner.LocalRunner(
            timeout_sec=TRIAL_TIMEOUT_S,
            evaluator_config=ms.runner.EvaluatorConfig(number=1, repeat=1, min_repeat_ms=TRIAL_MS),
        ),
        database=database,
        cost_model=ms.CostModel.create("xgb", num_tuning_cores=1, tree_method="auto"),
        link=linker(order.target),
        folder=folder,
        deadline=deadline,
    )


def _import_cpu_intrinsics() -> None:
    """Import the tensor intrinsics that MetaSchedule insists on, without those of GPUs and DSPs.

    They are parsed from source one by one: 14 s in all on a desktop core, of which 12 for processors that no target
    here has. That is the import which makes TVM's own builder processes miss their 30 s.
    """
    package = "tvm.s_tir.tensor_intrin"
    for name in ("cuda", "rocm", "hexagon"):
        sys.modules.setdefault(f"{package}.{name}", ModuleType(f"{package}.{name}"))
    importlib.import_module(package)


@dataclass(frozen=True)
class _Task:
    """One distinct kernel, and how much of its share of trials is left."""

    name: str
    module: tvm.IRModule
    workload: ms.database.Workload
    key: str
    remaining: int


def _tune_tasks(tasks: Sequence[_Task], share: int, order: TuningOrder, bench: _Bench, report: Report) -> None:
    total, done = sum(task.remaining for task in tasks), 0
    for number, task in enumerate(tasks):
        for _ in _search(task, order.seed + number, bench):
            done += 1
            report({"task": task.name, "trials_done": done, "trials": total})
        if time.monotonic() < bench.deadline:
            note_trials(order.database, task.key, share)


def _task(task: ms.ExtractedTask, share: int, noted: Mapping[str, int], database: ms.database.JSONDatabase) -> _Task:
    module = task.dispatched[0]
    workload = database.commit_workload(module)
    key = str(tvm_ffi.structural_hash(module))
    given = max(len(_times_s(database, workload)), noted.get(key, 0))
    return _Task(str(task.task_name), module, workload, key, max(0, share - given))


def _search(task: _Task, seed: int, bench: _Bench) -> Iterator[None]:
    """Try what TVM's evolutionary search proposes; yields after each trial, which is in the database by then."""
    context = ms.TuneContext(
        mod=task.module,
        target=bench.target,
        space_generator="post-order-apply",
        search_strategy=_strategy(task.remaining),
        task_name=task.name,
        rand_state=1 + seed % (2**31 - 2),
        num_threads=len(os.sched_getaffinity(0)),
    )
    with naming_causes(f"search schedules of {task.name}"):
        context.pre_tuning(
            task.remaining, min(BATCH, task.remaining), database=bench.database, cost_model=bench.cost_model
        )
    while time.monotonic() < bench.deadline:
        with naming_causes(f"search schedules of {task.name}"):
            candidates = context.generate_measure_candidates()
        if not candidates:
            break
        results = []
        for candidate in candidates:
            if time.monotonic() >= bench.deadline:
                return
            result = _try(candidate, bench)
            _record(candidate, result, task.workload, bench)
            results.append(result)
            yield
        context.notify_runner_results(candidates, results)
        bench.cost_model.update(context, candidates, results)
    context.post_tuning()


def _strategy(trials: int) -> ms.search_strategy.EvolutionarySearch:
    """Breeding 512 candidates in each batch, as TVM does, takes 10 to 20 s: too long for a handful of trials."""
    population = max(MIN_POPULATION, min(MAX_POPULATION, CANDIDATES_PER_TRIAL * trials))
    return ms.search_strategy.EvolutionarySearch(
        population_size=population, init_min_unmeasured=max(1, population // 10)
    )


def _try(candidate: ms.MeasureCandidate, bench: _Bench) -> ms.runner.RunnerResult:
    """Build a candidate here and time it in the runner's worker; a failure of either is its result."""
    # A name of its own: the worker would take a library of the same name for the one that it has loaded.
    library = Path(tempfile.mkdtemp(dir=bench.folder), "candidate.so")
    try:
        default_build(candidate.sch.mod, bench.target, None).export_library(str(library), fcompile=bench.link)
    except TVM_ERRORS as error:
        return ms.runner.RunnerResult(None, str(error))
    order = ms.runner.RunnerInput(str(library), "cpu", candidate.args_info)
    (future,) = bench.runner.run([order])
    return future.result()


def _record(
    candidate: ms.MeasureCandidate, result: ms.runner.RunnerResult, workload: ms.database.Workload, bench: _Bench
) -> None:
    times = [float(seconds) for seconds in result.run_secs] if result.run_secs else [FAILED_S]
    bench.database.commit_tuning_record(
        ms.database.TuningRecord(candidate.sch.trace, workload, times, bench.target, candidate.args_info)
    )


def _times_s(database: ms.database.JSONDatabase, workload: ms.database.Workload) -> list[float]:
    """Seconds of every trial of a workload."""
    return [
        sum(float(seconds) for seconds in record.run_secs) / len(record.run_secs)
        for record in database.get_all_tuning_records()
        if record.run_secs and record.workload.same_as(workload)
    ]


def _best_ns(times_s: Sequence[float]) -> int | None:
    valid = [seconds for seconds in times_s if seconds < FAILED_S]
    return round(min(valid) * 1e9) if valid else None
