"""The few-shot table as Markdown: ours beside the published figures, and where we lose."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

#: Samples of the published figures, by protocol.
PUBLISHED_SAMPLES = {"help": 10, "nasflat": 20}
Row = Mapping[str, object]


def tasks_of(results: Mapping[str, Mapping[str, object]]) -> list[Mapping[str, object]]:
    """The tasks in all pieces, in their order."""
    return [task for piece in results.values() for task in piece["tasks"]]


def lines(results: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Means over the targets of each split, then each target at the published number of samples, then losses."""
    tasks = tasks_of(results)
    return [*_means(tasks), "", *_targets(tasks), "", *_losses(tasks)]


def coverage(results: Mapping[str, Mapping[str, object]]) -> Iterator[tuple[str, int, float, float]]:
    """Protocol and space, samples, mean share inside 90 % intervals, and that of the worst target."""
    found: dict[tuple[str, int], list[float]] = defaultdict(list)
    for task in tasks_of(results):
        for row in task["rows"]:
            found[f"{task['protocol']} {task['space']}", row["samples"]].append(row["covered"])
    for (label, samples), values in sorted(found.items()):
        yield label, samples, float(np.mean(values)), min(values)


def _means(tasks: Sequence[Mapping[str, object]]) -> Iterator[str]:
    yield "| split | targets | way | samples | ρ | MAPE % | ±5 % | ±10 % | 90 % held | fit s | published ρ |"
    yield "|---" * 11 + "|"
    for task in tasks:
        for (way, samples), rows in _grouped(task["rows"]).items():
            means = {name: np.mean([row[name] for row in rows]) for name in rows[0] if isinstance(rows[0][name], float)}
            spread = float(np.mean([row["rho_spread"] for row in rows]))
            of = f"{len(rows)} of {len(task['targets'])}"
            told = ", ".join(f"{method} {figure:.3f}" for method, figure in _published(task, rows).items())
            yield (
                f"| {task['name']} | {of} | {way} | {samples} | {means['rho']:.3f}{_spread(spread)} |"
                f" {means['mape_percent']:.1f} | {means['within_5']:.0%} | {means['within_10']:.0%} |"
                f" {means['covered']:.0%} | {means['fit_s']:.2f} | {told} |"
            )
        if not task["rows"]:
            yield f"| {task['name']} | 0 of {len(task['targets'])} |" + " – |" * 8 + " not in the data |"


def _targets(tasks: Sequence[Mapping[str, object]]) -> Iterator[str]:
    yield "| split | target | way | samples | ρ | MAPE % | ±5 % | ±10 % | stack of sources ρ | published ρ |"
    yield "|---" * 10 + "|"
    for task in tasks:
        for row in task["rows"]:
            if row["samples"] != PUBLISHED_SAMPLES[task["protocol"]]:
                continue
            figures = {method: values[row["target"]] for method, values in _by_target(task, row["target"]).items()}
            told = ", ".join(f"{method} {figure:.3f}" for method, figure in figures.items()) or "–"
            stack = "–" if row["stack_rho"] is None else f"{row['stack_rho']:.3f}"
            yield (
                f"| {task['name']} | {row['target']} | {row['way']} | {row['samples']} |"
                f" {row['rho']:.3f}{_spread(row['rho_spread'])} | {row['mape_percent']:.1f} | {row['within_5']:.0%} |"
                f" {row['within_10']:.0%} | {stack} | {told} |"
            )


def _losses(tasks: Sequence[Mapping[str, object]]) -> Iterator[str]:
    """Every published figure above ours, with the same number of samples or fewer; and the plain stack above us."""
    found = []
    for task in tasks:
        for (way, samples), rows in _grouped(task["rows"]).items():
            if samples < PUBLISHED_SAMPLES[task["protocol"]]:
                continue
            ours = float(np.mean([row["rho"] for row in rows]))
            for method, figure in _published(task, rows).items():
                if figure > ours:
                    found.append(f"{task['name']}, mean, {way} {samples}: {method} {figure:.3f}, ours {ours:.3f}")
            for row in rows:
                rivals = {method: values[row["target"]] for method, values in _by_target(task, row["target"]).items()}
                rivals |= {} if row["stack_rho"] is None else {"plain stack of sources": row["stack_rho"]}
                for method, figure in rivals.items():
                    if round(figure, 3) > round(row["rho"], 3):
                        where = f"{task['name']}, {row['target']}, {way} {samples}"
                        found.append(f"{where}: {method} {figure:.3f}, ours {row['rho']:.3f}")
    yield f"Where others are ahead ({len(found)}):" if found else "No published figure, and no stack, is ahead."
    if found:
        yield ""
    yield from (f"- {one}" for one in found)


def _spread(deviation: float) -> str:
    """Nothing where there was one draw only, as for a plan that leaves nothing to chance."""
    return f" ± {deviation:.3f}" if deviation else ""


def _grouped(rows: Sequence[Row]) -> dict[tuple[str, int], list[Row]]:
    found: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in rows:
        found[row["way"], row["samples"]].append(row)
    return found


def _by_target(task: Mapping[str, object], target: str) -> dict[str, Mapping[str, float]]:
    return {method: values for method, values in task["published"].items() if target in values}


def _published(task: Mapping[str, object], rows: Sequence[Row]) -> dict[str, float]:
    """Mean of each method: over the targets there are, or, where only that is published, over all of the split."""
    return {
        method: values["mean"] if "mean" in values else float(np.mean([values[row["target"]] for row in rows]))
        for method, values in task["published"].items()
    }
