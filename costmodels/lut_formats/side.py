"""The side file: what a foreign table has no room for, in JSON beside it (``<table>.edgecost.json``)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from ...profiler.records import Json
from ..files import write_atomically
from ..spaces.cell import Cell
from .card import UNITS
from .rows import Rows

SIDE_FORMAT = "edgecost-lut-side"
#: 2: any metric and unit, the constant of the correction, what the table leaves out.
SIDE_VERSION = 2


def side_path(table: Path) -> Path:
    """Where the side file of a table stands: two forms of one table differ in their suffix only."""
    return table.with_name(f"{table.name}.edgecost.json")


def write_with_side(
    table: Path, content: bytes, rows: Rows, entries: Sequence[tuple[str, Cell]], left_out: Sequence[Cell] = ()
) -> list[Path]:
    """Write a table and its side file; returns both.

    Args:
        content: what stands in the table.
        entries: the reader's name of every number, with our cell.
        left_out: cells that the table has not: those of every network as often as it has them, then those of some.
    """
    is_latency = rows.metric == "latency"
    document: dict[str, Json] = {
        "format": SIDE_FORMAT,
        "schema_version": SIDE_VERSION,
        "describes": table.name,
        "describes_sha256": hashlib.sha256(content).hexdigest(),
        "metric": rows.metric,
        "unit": rows.unit,
        "space": rows.space.name,
        "resolution": rows.space.resolution,
        "width": rows.space.width,
        "scale": rows.lut.scale if is_latency else 1.0,
        "scale_fitted_on": rows.lut.scale_fitted_on,
        "offset_ms": rows.lut.offset_ms if is_latency else 0.0,
        "correction_applied": rows.is_corrected and is_latency,
        "offset_policy": rows.offset_policy,
        "not_in_the_table": _left_out(rows, left_out),
        "lut_sha256": rows.lut.content_sha256,
        "provenance": dict(rows.lut.provenance),
        "rows": {name: _row(rows, cell) for name, cell in entries},
    }
    # Both are made before either is written: what cannot be said leaves no table behind.
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    return [write_atomically(table, content), write_atomically(side_path(table), text + "\n")]


def _row(rows: Rows, cell: Cell) -> Json:
    if cell.absent:
        return {"cell": cell.key, "n": 0, "source": "absent", "lo": None, "hi": None}
    row = rows.lut.query(cell.key)
    # Intervals are of latencies; other metrics have none in the table.
    factor = UNITS[rows.unit] * rows.scale if rows.metric == "latency" else None
    lo, hi = (None if bound is None or factor is None else bound * factor for bound in (row.lo_ms, row.hi_ms))
    return {"cell": cell.key, "n": row.n, "source": row.source, "lo": lo, "hi": hi}


def _left_out(rows: Rows, cells: Sequence[Cell]) -> dict[str, Json]:
    """What the reader does not add; the sum of what every network has gives absolute numbers, None where unknown."""
    shared = {cell.key for cell in rows.space.fixed}
    every = [cell for cell in cells if cell.key in shared]
    is_known = all(rows.knows(cell) for cell in every)
    return {
        "cells": [cell.key for cell in every],
        "sum": sum(rows.value(cell) for cell in every) if is_known else None,
        "cells_of_some_networks": [cell.key for cell in cells if cell.key not in shared],
    }
