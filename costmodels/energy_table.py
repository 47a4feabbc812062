"""The energies of a table in the place of its latencies, so that everything that adds latencies adds energies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..profiler.errors import GateError
from .lut import Lut, LutCell
from .spaces.cell import Cell

_LISTED = 20


def knows_energies(lut: Lut, cells: Sequence[Cell]) -> bool:
    """Whether the table holds the energy of each of these cells."""
    return all(cell.key in lut and lut.query(cell.key).energy_mj is not None for cell in cells)


def energy_table(lut: Lut, cells: Sequence[Cell]) -> Lut:
    """These cells' energies in mJ where latencies stand; no correction, since none is fitted for energies.

    Raises:
        GateError: the table lacks a cell, or does not know its energy; they are listed.
    """
    lut.require_keys([cell.key for cell in cells])
    rows = [lut.query(cell.key) for cell in cells]
    if unknown := [row.key for row in rows if row.energy_mj is None]:
        shown = "\n".join(f"  {key}" for key in unknown[:_LISTED])
        raise GateError(
            f"the table does not know the energy of {len(unknown)} cells, first:\n{shown}",
            remedy="measure it, or train a predictor of it: edgecost train --metric energy",
        )
    return Lut.from_cells([_of_energy(row) for row in rows], lut.provenance)


def _of_energy(row: LutCell) -> LutCell:
    assert row.energy_mj is not None, "looked for before"
    return replace(row, latency_ms=row.energy_mj, lo_ms=row.energy_lo_mj, hi_ms=row.energy_hi_mj)
