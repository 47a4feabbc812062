"""A few-shot model as a table: a constant, milliseconds per operator column, and weights on the sources' surfaces.

All experts are linear in the columns of the encoding and in what the sources predict; so is their average. Only the
floor under very small latencies is not (``bayes_lut.py``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .bayes_lut import FittedBranch
from .encoding import Encoding
from .experts import FewShotModel

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LinearForm:
    """``constant_ms + Σ column × columns_ms[column] + Σ surface × sources[source]``.

    Attributes:
        columns_ms: milliseconds per unit of each column of the encoding, by ``block.column``.
        sources: milliseconds on this device per millisecond that the source's own predictor gives.
    """

    constant_ms: float
    columns_ms: dict[str, float]
    sources: dict[str, float]


def linear_form(model: FewShotModel) -> LinearForm:
    """The model's table. Where a source's surface lies under its floor, the fleet lifted it, and the form does not."""
    fleet = model.fleet
    medians_ms = [float(np.median(source.surface_ms[fleet.typical])) for source in fleet.sources]
    weights, constant_ms = np.zeros(len(medians_ms)), 0.0
    columns: dict[str, float] = defaultdict(float)
    share = 1.0 - model.stack_weight
    for branch in model.table.branches:
        own, level_ms, costs = _branch_form(branch, model)
        weights += share * branch.weight * own
        constant_ms += share * branch.weight * level_ms
        for name, cost in costs.items():
            columns[name] += share * branch.weight * cost
    raw: dict[str, float] = {}
    for group, column, name, centre, spread in raw_columns(fleet.encoding):
        per_unit = columns[f"{group}.{column}"] / spread
        raw[name] = per_unit
        constant_ms -= per_unit * centre
    if model.stack is not None:
        weights += model.stack_weight * model.stack.weights_ms
    per_ms = {name: float(w / m) for name, w, m in zip(fleet.names, weights, medians_ms, strict=True)}
    return LinearForm(constant_ms, raw, per_ms)


def _branch_form(branch: FittedBranch, model: FewShotModel) -> tuple[Floats, float, dict[str, float]]:
    """A branch as weights on the relative surfaces, a constant, and costs of the operator groups' columns."""
    fleet, costs = model.fleet, branch.column_costs_ms()
    surface, level_ms = np.zeros(len(fleet.names)), 0.0
    if branch.name == "none":
        level_ms = branch.scale_ms
    elif branch.name == "mean":
        middle = fleet.relative().mean(axis=1)
        surface[:] = 1.0 / (len(surface) * float(np.median(middle[fleet.typical])))
    else:
        surface[fleet.names.index(branch.name.removeprefix("twin:"))] = 1.0
    contrast = costs.pop("level.contrast", 0.0)
    level_ms += costs.pop("level.constant", 0.0) - contrast
    moved = {name: costs.pop(f"sources.{name}", 0.0) for name in fleet.names}
    on_surface = costs.pop("level.scale", 0.0) + contrast - sum(moved.values())
    if branch.name != "none":
        on_surface += branch.scale_ms
    return on_surface * surface + np.array(list(moved.values())), level_ms, costs


def raw_columns(encoding: Encoding) -> Iterator[tuple[str, str, str, float, float]]:
    """Group, column, ``block.column``, centre and spread of each column that ``operator_groups`` made."""
    typical = ~encoding.degenerate
    work = "live" if "live" in encoding.names else "work"
    for name in ("counts", "live", "physical", "stage", "one_hot"):
        if name not in encoding.names:
            continue
        block = encoding.block(name)
        spread = block.values[typical].std(axis=0) if name == "physical" else np.ones(len(block.columns))
        for place, column in enumerate(block.columns):
            group = work if name == "physical" else name
            centre = float(block.values[typical, place].mean())
            yield group, column, f"{name}.{column}", centre, float(spread[place]) or np.inf
