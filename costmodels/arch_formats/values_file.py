"""Prices that somebody else made: a CSV file with a row for each network.

The first column, ``arch``, is a network in any of its forms. The others say their metric and unit:
``latency_ms``, ``energy_mj`` or ``peak_memory_bytes``; with ``_lo`` and ``_hi`` before the unit for an interval
(``latency_lo_ms``), and ``_runs`` for repeated measurements, blanks between them.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...profiler.errors import UsageError
from ..lut_formats.card import Metric
from .costs import Costs, Floats
from .networks import Given, Networks

#: What stands before and after ``_lo``, ``_hi`` and ``_runs``, and the unit.
_COLUMNS: dict[Metric, tuple[str, str, str]] = {
    "latency": ("latency", "ms", "ms"),
    "energy": ("energy", "mj", "mJ"),
    "memory": ("peak_memory", "bytes", "bytes"),
}
_FORM = "arch,latency_ms or energy_mj or peak_memory_bytes; also latency_lo_ms, latency_hi_ms, latency_runs_ms"


@dataclass(frozen=True)
class ValuesFile:
    """The rows of a file.

    Attributes:
        archs: the networks as they stand there.
        columns: texts by header, without ``arch``.
    """

    path: Path
    archs: tuple[Given, ...]
    columns: dict[str, tuple[str, ...]]

    def costs(self, own: Networks, wanted: Networks, metric: Metric) -> Costs:
        """One metric of ``wanted``.

        Args:
            own: ``archs``, read as networks of the space.

        Raises:
            UsageError: the file has no such column, names a network twice, lacks one that is wanted, or holds
                something that is no number.
        """
        before, after, unit = _COLUMNS[metric]
        if f"{before}_{after}" not in self.columns:
            raise UsageError(f"{self.path} has no column {before}_{after}", remedy=f"its header: {_FORM}")
        rows = self._rows(own, wanted)
        values = self._numbers(f"{before}_{after}", rows)
        assert values is not None, "the column was looked for"
        lo, hi = (self._numbers(f"{before}_{bound}_{after}", rows) for bound in ("lo", "hi"))
        return Costs(metric, unit, values, lo, hi, self._runs(f"{before}_runs_{after}", rows))

    def _rows(self, own: Networks, wanted: Networks) -> list[int]:
        rows: dict[tuple[int, ...], int] = {}
        for row, key in enumerate(own.keys):
            if key in rows:
                raise UsageError(
                    f"rows {rows[key] + 1} and {row + 1} of {self.path} are one network: {own.native[row]}"
                )
            rows[key] = row
        missing = [native for key, native in zip(wanted.keys, wanted.native, strict=True) if key not in rows]
        if missing:
            raise UsageError(
                f"{self.path} has no row for {len(missing)} of the {len(wanted)} networks, first {missing[0]}",
                remedy="add them, or leave --archs out to write the networks of the file in its own order",
            )
        return [rows[key] for key in wanted.keys]

    def _numbers(self, header: str, rows: Sequence[int]) -> Floats | None:
        if header not in self.columns:
            return None
        texts = self.columns[header]
        return np.array([self._number(texts[row], header, row) for row in rows], dtype=np.float64)

    def _number(self, text: str, header: str, row: int) -> float:
        if not text.strip():
            return float("nan")
        try:
            return float(text)
        except ValueError as error:
            raise UsageError(f"{self.path}, row {row + 1}, {header}: {text!r} is no number") from error

    def _runs(self, header: str, rows: Sequence[int]) -> tuple[tuple[float, ...], ...]:
        texts = self.columns.get(header)
        if texts is None:
            return ()
        return tuple(tuple(self._number(text, header, row) for text in texts[row].split()) for row in rows)


def read_values(path: Path) -> ValuesFile:
    """The rows of a file, their numbers not yet read.

    Raises:
        UsageError: unreadable, or of another form.
    """
    try:
        rows = [row for row in csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig")), strict=True) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read: {error}", remedy=f"write it as CSV: {_FORM}") from error
    header = [name.strip() for name in rows[0]] if rows else []
    known = {f"{b}{part}_{a}" for b, a, _ in _COLUMNS.values() for part in ("", "_lo", "_hi", "_runs")}
    strange = [name for name in header[1:] if name not in known]
    if len(rows) < 2 or header[0] != "arch" or strange or len(set(header)) < len(header):
        problem = f"the column {strange[0]!r} is not known" if strange else "this is no table of networks"
        raise UsageError(f"{path}: {problem}", remedy=f"its header: {_FORM}")
    for number, row in enumerate(rows[1:], 1):
        if len(row) != len(header):
            raise UsageError(f"{path}, row {number} has {len(row)} fields, the header {len(header)}")
    archs = tuple(_given(row[0], number, path) for number, row in enumerate(rows[1:], 1))
    columns = {name: tuple(row[place] for row in rows[1:]) for place, name in enumerate(header) if place}
    return ValuesFile(path, archs, columns)


def _given(text: str, number: int, path: Path) -> Given:
    if not text.lstrip().startswith(("{", "[")):
        return text.strip()
    try:
        found = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise UsageError(f"{path}, row {number}: {text!r} is not JSON: {error}") from error
    assert isinstance(found, (dict, list)), "JSON that begins with a brace or bracket"
    return found
