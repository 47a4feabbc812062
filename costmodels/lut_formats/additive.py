"""What the formats have in common whose reader adds up numbers: one row for each cell, or for each place and candidate.

A format names its rows and writes their numbers as text or bytes; the order of work is here: check the space, check
that nothing is missing, write the table, write its side file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from ...profiler.errors import UsageError
from ..lut import Lut
from ..space import Space
from ..spaces.cell import Cell
from .card import FormatCard, Metric
from .rows import Rows
from .side import write_with_side

#: The reader's name of a number, and our cell; names are unique within a table.
Entry = tuple[str, Cell]


class AdditiveFormat(ABC):
    """Subclass it: ``name``, ``card``, ``filename``, ``entries`` and ``render``."""

    name: ClassVar[str]
    card: ClassVar[FormatCard]

    @abstractmethod
    def filename(self, lut: Lut, space: Space) -> str:
        """The name of the file that the reader expects, without folder."""

    @abstractmethod
    def entries(self, space: Space) -> list[Entry]:
        """Every number of the table, in its order, by the reader's name.

        Raises:
            UsageError: the reader cannot hold the space.
        """

    @abstractmethod
    def render(self, values: dict[str, float], rows: Rows) -> str | bytes:
        """The whole file. ``values`` holds plain floats in the reader's unit, in the order of ``entries``."""

    def write(self, lut: Lut, space: Space, path: Path, metric: Metric = "latency") -> list[Path]:
        """Write the table and its side file.

        Raises:
            GateError: the table lacks a row of the space, or its metric; nothing is written.
            UsageError: the format cannot hold the space or the metric.
        """
        rows = Rows.of(lut, space, metric, self.card, self.name)
        entries = self.entries(space)
        if len({name for name, _ in entries}) < len(entries):
            raise self.refuse(space)
        cells = [cell for _, cell in entries]
        rows.require(cells)
        made = self.render({name: rows.value(cell) for name, cell in entries}, rows)
        content = made.encode() if isinstance(made, str) else made
        target = path / self.filename(lut, space) if path.is_dir() else path
        there = {cell.key for cell in cells}
        fixed = [cell.key for cell in space.fixed]
        left_out = [cell for cell in space.fixed if cell.key not in there]
        left_out += [cell for cell in space.measurable if cell.key not in there and cell.key not in fixed]
        return write_with_side(target, content, rows, entries, left_out)

    def refuse(self, space: Space) -> UsageError:
        """For a space that the reader does not know."""
        held = f"It holds: {', '.join(self.card.spaces)}. " if self.card.spaces else ""
        return UsageError(
            f"space {space.name} is not what the format '{self.name}' holds", remedy=f"{held}Write it as 'native'."
        )
