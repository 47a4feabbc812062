"""ONNX Runtime against TVM, not tuned and tuned, on thirty operators and small blocks, in turns within one run.

Run it:  python benchmarks/ort_against_tvm.py
With tuning:  python benchmarks/ort_against_tvm.py --trials 200
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from measuring import Sweep, head, print_head, print_json, setting_for, sweep
from workloads import operator_set

from edgecost.costmodels.local_setting import LocalSetting
from edgecost.profiler.bench import Bench
from edgecost.profiler.loading import LoadRefused
from edgecost.profiler.protocol import PRESETS, Settings
from edgecost.profiler.records import RuntimeProfile
from edgecost.profiler.runtimes import BUILT_IN, resolve
from edgecost.profiler.tvm.client import TvmCompiler, compile_request, model_path
from edgecost.profiler.workload import Workload

#: One operator is tuned for so long at most; trials that come too late are left out.
TUNING_TIMEOUT_S = 3600.0
#: A compiler that is still at it so much later hangs.
HANGS_S = 600.0


@dataclass
class Side:
    """One runtime: where it measures and what it found, turn by turn."""

    setting: LocalSetting
    bench: Bench
    sweeps: list[Sweep] = field(default_factory=list)

    def latency_ms(self, graph_hash: str) -> float | None:
        """Less the overhead of a call, the median of the turns; None unless every turn has one."""
        values = [one.latency_ms(graph_hash, net=True) for one in self.sweeps]
        known = [value for value in values if value is not None]
        return statistics.median(known) if len(known) == len(values) else None

    def cell(self, graph_hash: str) -> dict[str, object]:
        """The row of one workload; status and message are the last turn's."""
        last = self.sweeps[-1].measurements[graph_hash]
        return {"net_ms": self.latency_ms(graph_hash), "status": last.status.value, "message": last.message}


def tune(workloads: Sequence[Workload], profile: RuntimeProfile, trials: int) -> dict[str, object]:
    """Tune each workload for so many trials into the profile's database; those already there count."""
    compiler, failed = TvmCompiler(profile), {}
    begin = time.monotonic()
    try:
        for place, workload in enumerate(workloads, 1):
            print(f"tuning {place} of {len(workloads)}: {workload.name}", file=sys.stderr, flush=True)
            with model_path(workload) as path:
                order = {"verb": "tune", "id": workload.name, "model_path": str(path), "trials": trials, "seed": 0}
                request = {**compile_request(profile), **order, "timeout_s": TUNING_TIMEOUT_S}
                try:
                    compiler.ask(request, TUNING_TIMEOUT_S + HANGS_S)
                except LoadRefused as refusal:
                    failed[workload.name] = f"{refusal.status.value}: {refusal.message}"
    finally:
        compiler.close()
    return {"trials": trials, "tuning_s": time.monotonic() - begin, "failed": failed}


def compare(workloads: Sequence[Workload], names: Sequence[str], settings: Settings, turns: int) -> dict[str, object]:
    """Every runtime in turns over all workloads; the ratio is to the first one's net time."""
    with ExitStack() as stack:
        sides: dict[str, Side] = {}
        for name in names:
            setting = setting_for(resolve(BUILT_IN[name]))
            sides[name] = Side(setting, stack.enter_context(Bench.for_profile(setting.profile)))
        for turn in range(turns):
            for name, side in sides.items():
                print(f"turn {turn + 1} of {turns}: {name}", file=sys.stderr, flush=True)
                side.sweeps.append(sweep(workloads, side.setting.stage, settings, side.bench, seed=turn))
    rows = []
    for workload in workloads:
        first = sides[names[0]].latency_ms(workload.graph_hash)
        cells = {name: side.cell(workload.graph_hash) for name, side in sides.items()}
        for name, side in sides.items():
            own = side.latency_ms(workload.graph_hash)
            cells[name]["ratio"] = None if own is None or first is None else own / first
        rows.append({"workload": workload.name, **cells})
    return {
        "runtimes": {name: side.setting.profile.label for name, side in sides.items()},
        "summary": {name: _summary([row[name] for row in rows]) for name in names},
        "rows": rows,
    }


def _summary(cells: Sequence[Mapping[str, object]]) -> dict[str, object]:
    ratios = [cell["ratio"] for cell in cells if cell["ratio"] is not None]
    return {
        "geometric_mean_of_ratios": statistics.geometric_mean(ratios) if ratios else None,
        "faster": sum(ratio < 1 for ratio in ratios),
        "of": len(ratios),
        "statuses": dict(Counter(str(cell["status"]) for cell in cells)),
    }


def sentence(result: Mapping[str, object]) -> str:
    """What the result means."""
    parts = []
    (reference, *others) = result["runtimes"].items()
    for name, label in others:
        summary = result["summary"][name]
        mean = summary["geometric_mean_of_ratios"]
        if mean is not None:
            parts.append(
                f"{label} takes {mean:.2f} times as long as {reference[1]} in the geometric mean, and is faster on"
                f" {summary['faster']} of {summary['of']} operators."
            )
    return " ".join(parts) or "Nothing can be compared: no operator was measured with two runtimes."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kernels", type=int, help="measure this many operators, evenly spread [default: all]")
    parser.add_argument("--trials", type=int, default=0, help="tune each operator for so many trials [default: 0]")
    parser.add_argument("--turns", type=int, default=2, help="turns of each runtime [default: 2]")
    parser.add_argument("--preset", choices=PRESETS, default="standard", help="settings [default: standard]")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    about = head(setting_for(resolve(BUILT_IN["ort"])))
    workloads = operator_set(arguments.kernels)
    names, tuning = ["ort", "tvm"], None
    if arguments.trials:
        names.append("tvm-tuned")
        tuning = tune(workloads, resolve(BUILT_IN["tvm-tuned"], needs_records=False), arguments.trials)
    result = compare(workloads, names, PRESETS[arguments.preset], arguments.turns)
    meaning = sentence(result)
    if arguments.json:
        print_json({**about, "tuning": tuning, **result, "meaning": meaning})
        return
    print_head({**about, **result["runtimes"], **({} if tuning is None else {"tuning": tuning})})
    print(f"{'net ms':40s}", *(f"{name:>10s}" for name in names), *(f"{name + '/ort':>14s}" for name in names[1:]))
    for row in result["rows"]:
        times = [_cell(row[name]["net_ms"], row[name]["status"], ".4f", 10) for name in names]
        ratios = [_cell(row[name]["ratio"], "–", ".2f", 14) for name in names[1:]]
        print(f"{row['workload']:40s}", *times, *ratios)
    for name in names:
        summary = result["summary"][name]
        print(f"{name}: {', '.join(f'{count} {status}' for status, count in summary['statuses'].items())}")
    print(f"\n{meaning}")


def _cell(value: float | None, instead: str, form: str, width: int) -> str:
    return f"{instead if value is None else format(value, form):>{width}s}"


if __name__ == "__main__":
    main()
