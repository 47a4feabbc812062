"""How true edgecost's predictions are, in one command: published devices, this machine, intervals, and speed.

Run it:  python benchmarks/accuracy.py --keep accuracy-runs --jobs 2

    a  a new device from 5, 10 or 20 samples, beside the published figures of every split that the data cover
    b  one device's model of a space from 100, 900 and 2,000 samples
    c  this machine: whole networks of five unlike families and .onnx files, none of which took part in anything
    d  how often intervals of 80, 90 and 95 % hold, in a, b and c
    e  training time and prediction throughput against rows

Part a took four minutes on two quiet cores, part c eight to ten; b and e have not been timed in full. ``--keep`` names
a folder in which every finished piece stays: a run that was stopped goes on, and pieces of other code are made again.
``--part`` chooses; d takes what a, b and c of the same run found and computes nothing. Part c measures, so let nothing
else run beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import few_shot_report
import prediction_speed
import space_accuracy
import strangers
from few_shot_tasks import TASKS
from keeping import fingerprint, keep, kept
from measuring import head, print_json

from edgecost.costmodels.local_setting import LocalSetting

PARTS = "abcde"
HERE = Path(__file__).parent
TITLES = {
    "a": "A new device from few samples",
    "b": "One device's model of a space",
    "c": "This machine: networks that had no part in anything",
    "d": "Intervals",
    "e": "Training time and throughput",
}
DATA_FILES = ("nasbench201_latency.npz", "fbnet_latency.npz", "latbench_desktop_cpu.npz")


@dataclass(frozen=True)
class Piece:
    """One process's worth of work: its result stays under its name.

    Attributes:
        part: which part it belongs to.
        command: script and arguments, without ``--json``.
    """

    part: str
    name: str
    command: tuple[str, ...]


def pieces(arguments: argparse.Namespace, keep_folder: Path) -> Iterator[Piece]:
    """Of the parts that compute beside each other: a and b."""
    data = str(arguments.data)
    if "a" in arguments.part:
        for task in TASKS:
            if arguments.task and task.name not in arguments.task:
                continue
            name = f"a-{task.name.replace(' ', '-')}-{arguments.seeds}"
            options = ("--data", data, "--seeds", str(arguments.seeds), "--keep", str(keep_folder))
            yield Piece("a", name, ("few_shot.py", "--task", task.name, *options))
    if "b" in arguments.part:
        for space in arguments.spaces.split(","):
            for samples in arguments.samples.split(","):
                for seed in range(arguments.space_seeds):
                    name = f"b-{space}-{samples}-{seed}-{arguments.every}"
                    options = ("--seeds", "1", "--first-seed", str(seed), "--every", str(arguments.every))
                    chosen = ("--only", space, "--samples", samples, "--speed-rows", "", "--data", data)
                    yield Piece("b", name, ("space_accuracy.py", *chosen, *options))


def work_off(todo: Sequence[Piece], folder: Path, jobs: int) -> dict[str, dict[str, object]]:
    """Results by name; what is kept of the same code is not computed again."""
    print(f"{len(todo)} pieces of work", file=sys.stderr, flush=True)
    with ThreadPoolExecutor(jobs) as pool:
        return dict(zip([one.name for one in todo], pool.map(lambda one: _result(one, folder), todo), strict=True))


def _result(piece: Piece, folder: Path) -> dict[str, object]:
    name = f"{piece.name}-{fingerprint()}"
    found = kept(folder, name)
    if found is not None:
        return found
    begin = time.monotonic()
    made = {**_alone(piece.command), "wall_s": time.monotonic() - begin}
    keep(folder, name, made)
    print(f"{piece.name}: {made['wall_s']:.0f} s", file=sys.stderr, flush=True)
    return made


def _alone(command: Sequence[str]) -> dict[str, object]:
    """The JSON of a script, on one thread: on small matrices those of the linear algebra wait for each other."""
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    words = [sys.executable, str(HERE / command[0]), *command[1:], "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=one_thread)
    if done.returncode:
        sys.exit(f"{' '.join(words)} failed:\n{done.stderr[-2000:]}")
    found: dict[str, object] = json.loads(done.stdout)
    return found


def coverage_lines(result: Mapping[str, object]) -> list[str]:
    """Part d: what the other parts found of intervals."""
    told = ["| nominal | 80 % | 90 % | 95 % |", "|---|---|---|---|"]
    if "b" in result:
        runs = [row for piece in result["b"].values() for row in piece["runs"]]
        for space, samples in sorted({(run["space"], run["samples"]) for run in runs}):
            chosen = [run for run in runs if (run["space"], run["samples"]) == (space, samples)]
            cells = [_published_cell(chosen, level) for level in ("80%", "90%", "95%")]
            told.append(f"| {space}, {samples} samples (worst device) | {' | '.join(cells)} |")
    if "a" in result:
        for label, samples, covered, worst in few_shot_report.coverage(result["a"]):
            told.append(f"| few-shot {label}, {samples} samples (worst target) | – | {covered:.1%} ({worst:.0%}) | – |")
    if "c" in result:
        levels = result["c"]["coverage"]
        for name in levels["90%"]:
            values = [levels[level][name] for level in ("80%", "90%", "95%")]
            cells = ["–" if value is None else f"{value:.1%}" for value in values]
            told.append(f"| this machine, {name} | {' | '.join(cells)} |")
    return told if len(told) > 2 else ["Nothing: intervals are judged by parts a, b and c."]


def _published_cell(runs: Sequence[Mapping[str, object]], level: str) -> str:
    by_device: dict[str, list[float]] = {}
    for run in runs:
        by_device.setdefault(run["device"], []).append(run["covered_percent"][level])
    means = [sum(values) / len(values) for values in by_device.values()]
    return f"{sum(means) / len(means):.1f} % ({min(means):.0f} %)"


def lines(result: Mapping[str, object], parts: str, factor: int) -> list[str]:
    """Markdown of the chosen parts."""
    told: list[str] = []
    for part in parts:
        told += ["", f"### {part}. {TITLES[part]}", ""]
        if part == "a":
            told += few_shot_report.lines(result["a"])
        elif part == "b":
            runs = [space_accuracy.run_from_json(row) for piece in result["b"].values() for row in piece["runs"]]
            told += [*space_accuracy.accuracy_lines(runs), "", *space_accuracy.interval_lines(runs)]
        elif part == "c":
            told += [*strangers.lines(result["c"], factor), "", strangers.sentence(result["c"])]
        elif part == "d":
            told += coverage_lines(result)
        else:
            told += prediction_speed.lines(result["e"])
    return told


def run(arguments: argparse.Namespace, setting: LocalSetting, folder: Path) -> dict[str, object]:
    """The chosen parts by letter; c and e before the others, alone."""
    result: dict[str, object] = {}
    if "c" in arguments.part:
        if not arguments.db:
            folder.mkdir(parents=True, exist_ok=True)
            arguments.db = [folder / "strangers.sqlite"]
        result["c"] = strangers.run(arguments, setting)
    if "e" in arguments.part:
        sizes = ("--rows", arguments.rows, "--space-rows", arguments.space_rows, "--data", str(arguments.data))
        others = ("--population", str(arguments.population), "--seed", str(arguments.seed))
        result["e"] = _alone(("prediction_speed.py", *sizes, *others))
    todo = list(pieces(arguments, folder))
    if todo:
        made = work_off(todo, folder, arguments.jobs)
        for part in ("a", "b"):
            of_part = {one.name: made[one.name] for one in todo if one.part == part}
            if of_part:
                result[part] = of_part
    return result


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", default=PARTS, help="letters, as abd or a,b,d [default: all]")
    parser.add_argument("--keep", type=Path, help="folder in which finished pieces stay [default: none do]")
    parser.add_argument("--jobs", type=int, default=2, help="processes for a and b [default: 2]")
    parser.add_argument("--seed", type=int, default=0, help="of c and e [default: 0]")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data", help="published data"
    )
    parser.add_argument("--seeds", type=int, default=5, help="a: draws of the ways with chance in them [default: 5]")
    parser.add_argument("--task", action="append", help="a: only this split; repeatable")
    parser.add_argument("--space-seeds", type=int, default=3, help="b: repetitions [default: 3]")
    parser.add_argument("--spaces", default="nasbench201,fbnet,latbench", help="b: spaces [default: all three]")
    parser.add_argument("--samples", default="100,900,2000", help="b: samples [default: 100,900,2000]")
    parser.add_argument("--every", type=int, default=1, help="b: take every n-th device only [default: 1]")
    parser.add_argument("--rows", default=",".join(map(str, prediction_speed.ROWS)), help="e: kernels")
    parser.add_argument("--population", type=int, default=prediction_speed.NETWORKS, help="e: networks priced at once")
    parser.add_argument("--space-rows", default="100,300,900,2000,10000", help="e: architectures")
    strangers.add_options(parser)
    arguments = parser.parse_args(words)
    arguments.part = "".join(sorted(set(arguments.part.replace(",", "").replace(" ", ""))))
    if not arguments.part or set(arguments.part) - set(PARTS):
        parser.error(f"--part takes letters of {PARTS}")
    if not 0 < arguments.factor < arguments.networks:
        parser.error("--factor must lie between 0 and --networks")
    if set(arguments.part) & {"a", "b"}:
        missing = [name for name in DATA_FILES if not (arguments.data / name).is_file()]
        if missing:
            parser.error(f"{arguments.data} has no {', '.join(missing)}: --data DIR, or leave parts a and b out")
    return arguments


def main() -> None:
    arguments = parse()
    setting = LocalSetting.here()
    about = head(setting)
    with tempfile.TemporaryDirectory(prefix="edgecost-") as scratch:
        result = run(arguments, setting, arguments.keep or Path(scratch))
    if arguments.json:
        print_json({**about, **result})
        return
    print("\n".join(f"{name}: {value}  " for name, value in about.items()))
    print("\n".join(lines(result, arguments.part, arguments.factor)))


if __name__ == "__main__":
    main()
