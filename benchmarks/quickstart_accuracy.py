"""The quickstart several times, each on a fresh database: how true the predictions and the LUT are, run by run.

Run it:  python benchmarks/quickstart_accuracy.py --runs 3
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from edgecost import Store
from edgecost.costmodels.quickstart import Quickstart, run_quickstart
from edgecost.costmodels.space_file import load_space
from edgecost.costmodels.validation import Accuracy

#: Columns of the table: title, name of the accuracy in the result, field, whether it is a share.
COLUMNS = (
    ("floor ±2 %", "floor", "within_2", True),
    ("floor error %", "floor", "mape_percent", False),
    ("held out ±5 %", "held_out", "within_5", True),
    ("floor ±10 %", "floor", "within_10", True),
    ("held out ±10 %", "held_out", "within_10", True),
    ("FLOPs ±10 %", "flops_only", "within_10", True),
    ("held out error %", "held_out", "mape_percent", False),
    ("FLOPs error %", "flops_only", "mape_percent", False),
    ("judged error %", "judged", "mape_percent", False),
    ("judged worst %", "judged", "worst_percent", False),
    ("as it is error %", "uncorrected", "mape_percent", False),
)


class Silent:
    """A narrator that says nothing."""

    def stage(self, title: str, total: int | None = None) -> None:
        """Nothing."""

    def step(self, note: str) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


def one_run(space_name: str, seed: int) -> Quickstart:
    with tempfile.TemporaryDirectory(prefix="edgecost-") as folder, Store(Path(folder, "fresh.sqlite")) as store:
        return run_quickstart(store, load_space(space_name), Path(folder), Silent(), seed=seed)


def document(done: Quickstart) -> dict[str, object]:
    def table(value: Accuracy | None) -> dict[str, object] | None:
        return None if value is None else asdict(value)

    training, correction = done.training, done.correction
    return {
        "floor": table(training.floor),
        "held_out": table(training.held_out),
        "flops_only": table(training.flops_only),
        "interval_measured_coverage": training.coverage,
        "scale": correction.scale,
        "fitted": table(correction.fitted),
        "judged": table(correction.judged),
        "uncorrected": table(correction.uncorrected),
        "total_s": sum(stage.wall_s for stage in done.stages),
        "peak_memory_mb": max(stage.peak_memory_mb for stage in done.stages),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="runs, one after the other [default: 3]")
    parser.add_argument("--space", default="ofa-mobilenetv3", help="search space [default: ofa-mobilenetv3]")
    parser.add_argument("--out", type=Path, help="also write all figures to this JSON file")
    arguments = parser.parse_args()
    runs = []
    print(" | ".join(["run", *(title for title, *_ in COLUMNS), "90 % held", "factor", "time s"]))
    for seed in range(arguments.runs):
        done = one_run(arguments.space, seed)
        row = document(done)
        runs.append(row)
        print(" | ".join([str(seed + 1), *_cells(row)]), flush=True)
    if arguments.out is not None and runs:
        head = {"device": done.setting.device.description, "profile": done.setting.profile.label}
        text = json.dumps({**head, "python": sys.version.split()[0], "runs": runs}, indent=1)
        arguments.out.write_text(text + "\n", encoding="utf-8")


def _cells(row: dict[str, object]) -> list[str]:
    cells = []
    for _, name, field, is_share in COLUMNS:
        accuracy = row[name]
        value = accuracy[field] if isinstance(accuracy, dict) else None
        cells.append("–" if value is None else f"{value:.1%}" if is_share else f"{value:.2f}")
    coverage = row["interval_measured_coverage"]
    cells.append("–" if coverage is None else f"{coverage:.1%}")
    return [*cells, f"{row['scale']:.4f}", f"{row['total_s']:.0f}"]


if __name__ == "__main__":
    main()
