"""The numbers of a foreign table: one metric of every cell, corrected, in the reader's unit.

A reader adds what it finds. So the factor is applied to every row here, and the constant of the correction goes into a
row that every network has exactly once, where the reader has one.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...profiler.errors import GateError, UsageError
from ..lut import Lut, LutCell
from ..space import Space
from ..spaces.cell import Cell
from .card import UNITS, FormatCard, Metric

_LISTED = 20
_NATIVE: dict[Metric, str] = {"latency": "ms", "energy": "mJ", "memory": "bytes"}


@dataclass(frozen=True)
class Rows:
    """What to write for the cells of a space.

    Attributes:
        metric, unit: of every number.
        scale: what the numbers are multiplied by beside the unit: the table's factor for latencies, 1 for others,
            whose sums nobody has compared with whole networks.
        offset_in: layer of which every network has exactly one cell, that holds the constant; empty where none does.
        offset: the constant, in ``unit``.
        is_corrected: False where numbers are as the table has them, and its correction is only told beside them.
    """

    lut: Lut
    space: Space
    metric: Metric
    unit: str
    scale: float
    offset_in: str = ""
    offset: float = 0.0
    is_corrected: bool = True

    @classmethod
    def plain(cls, lut: Lut, space: Space, metric: Metric) -> Rows:
        """Of a table, as its native form has them: ms, mJ or bytes, not corrected."""
        return cls(lut, space, metric, _NATIVE[metric], 1.0, is_corrected=False)

    @classmethod
    def of(cls, lut: Lut, space: Space, metric: Metric, card: FormatCard, name: str) -> Rows:
        """Of a table.

        Raises:
            UsageError: the format cannot hold the metric.
        """
        unit = card.unit(metric)
        if unit is None:
            held = ", ".join(metric for metric, _ in card.units)
            raise UsageError(f"the format '{name}' cannot hold {metric}", remedy=f"It holds: {held}.")
        is_latency = metric == "latency"
        offset = lut.offset_ms * UNITS[unit] if is_latency else 0.0
        return cls(lut, space, metric, unit, lut.scale if is_latency else 1.0, card.offset_in, offset)

    def value(self, cell: Cell) -> float:
        """A plain float: numpy's would be written with a type tag, or not at all. An identity costs 0.

        Raises:
            GateError: the table does not hold it, or the constant makes the row negative.
        """
        if cell.absent:
            return 0.0
        found = metric_of(self.lut.query(cell.key), self.metric)
        if found is None:
            raise _unknown([cell.key], self.metric)
        value = float(found) * UNITS[self.unit] * self.scale
        if self.offset and cell.layer == self.offset_in:
            value += self.offset
            if value <= 0:
                constant = f"the constant of the correction, {self.offset:.4g} {self.unit},"
                raise GateError(
                    f"{constant} makes the row of {cell.key} negative",
                    remedy="fit a factor alone: edgecost lut audit --correction scale",
                )
        return value

    def knows(self, cell: Cell) -> bool:
        """Whether the table holds the cell's number."""
        return cell.absent or (cell.key in self.lut and metric_of(self.lut.query(cell.key), self.metric) is not None)

    def require(self, cells: list[Cell]) -> None:
        """Make sure that nothing is missing, before anything is written.

        Raises:
            GateError: lists the cells that the table lacks, or whose metric is not known.
        """
        self.lut.require_keys([cell.key for cell in cells if not cell.absent])
        if unknown := [cell.key for cell in cells if not self.knows(cell)]:
            raise _unknown(unknown, self.metric)

    @property
    def offset_policy(self) -> str:
        """What was done with the correction, for the side file."""
        if not self.is_corrected:
            return (
                "numbers and intervals are as in the native table: a network takes scale times their sum plus offset_ms"
            )
        if self.metric != "latency":
            return "numbers are as they were measured or predicted; no correction was fitted for this metric"
        scaled = "every row and interval is multiplied by scale"
        if not self.offset:
            return f"{scaled}; no constant is folded into a fixed row"
        if self.offset_in:
            return f"{scaled}; the constant offset_ms is added to the row of the layer '{self.offset_in}'"
        return f"{scaled}; the constant offset_ms is NOT in the table, since no row is in every network exactly once"


def metric_of(row: LutCell, metric: Metric) -> float | None:
    """ms, mJ or bytes of a row; None where it is not known."""
    if metric == "latency":
        return row.latency_ms
    return row.energy_mj if metric == "energy" else row.peak_memory_bytes


def _unknown(keys: list[str], metric: Metric) -> GateError:
    shown = "\n".join(f"  {key}" for key in keys[:_LISTED])
    rest = f"\n  and {len(keys) - _LISTED} more" if len(keys) > _LISTED else ""
    return GateError(
        f"the lookup table does not know the {metric} of {len(keys)} cells:\n{shown}{rest}",
        remedy=f"Measure it, or train a predictor of it: edgecost train --metric {metric}",
    )
