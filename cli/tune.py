"""``edgecost tune``: search schedules for a model's kernels with TVM's MetaSchedule, and keep them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .controls import control_option
from .options import INPUT_FILE, BudgetType, db_option, json_option, shape_option
from .output import Talk, milliseconds, print_json, print_table

if TYPE_CHECKING:
    from ..profiler.records import Json

Shapes = tuple[tuple[str, tuple[int, ...]], ...]


@click.command(
    epilog="Example:  edgecost tune model.onnx --trials 256 && edgecost profile model.onnx --runtime tvm-tuned"
)
@click.argument("model", type=INPUT_FILE)
@shape_option
@click.option(
    "--runtime", "runtime_name", default="tvm-tuned", show_default=True, metavar="NAME", help="A tuned TVM runtime."
)
@click.option("--threads", type=click.IntRange(min=1), help="Threads to tune for.  [default: the runtime's own]")
@click.option("--trials", type=click.IntRange(min=1), default=256, show_default=True, help="Trials of the whole model.")
@click.option(
    "--max-time", "max_time_s", type=BudgetType(), default="1h", show_default=True, help="Begin no trial later."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the search.")
@control_option
@db_option
@json_option
def tune(
    model: Path,
    shapes: Shapes,
    runtime_name: str,
    threads: int | None,
    trials: int,
    max_time_s: float,
    seed: int,
    db_url: str | None,
    as_json: bool,
) -> None:
    """Search schedules for the kernels of MODEL with TVM's MetaSchedule, on this machine.

    What was tuned stays: the same kernel in another model is found again, and the same command goes on after Ctrl-C.
    """
    from ..costmodels.named_runtimes import find_runtime
    from ..costmodels.tuning import tune as search
    from ..profiler.model_file import read_model
    from ..profiler.runtimes import resolve

    profile = resolve(find_runtime(runtime_name, db_url), threads=threads, needs_records=False)
    with tempfile.TemporaryDirectory(prefix="edgecost-") as scratch, Talk(quiet=as_json) as talk:
        workload = read_model(model, dict(shapes), Path(scratch))
        talk.stage(f"tuning {model.name}", trials)

        def progress(told: Mapping[str, Json]) -> None:
            talk.step(f"{told.get('task')}")

        report = search(workload, profile, trials=trials, max_time_s=max_time_s, seed=seed, progress=progress)
    if as_json:
        print_json(
            {
                "model": str(model),
                "tasks": [asdict(task) for task in report.tasks],
                "reused": report.reused,
                "tune_s": report.tune_s,
                "database": str(report.database),
            }
        )
        return
    rows = [
        [task.name, str(task.trials), "none ran" if task.best_us is None else milliseconds(task.best_us / 1e3)]
        for task in sorted(report.tasks, key=lambda task: -(task.best_us or 0.0))
    ]
    print_table(f"{len(rows)} distinct kernels", ["kernel", "trials", "best"], rows, left=1)
    click.echo(f"{report.tune_s:.0f} s; {report.reused} kernels had their trials already. Records: {report.database}")
    click.echo(f"Next: edgecost profile {model} --runtime {runtime_name}")
