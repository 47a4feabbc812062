"""A lookup table: what every cell of a search space costs on one device, saved as JSON and priced for populations.

Needs NumPy and the standard library only. Making a table is ``dataset``'s and ``predictor``'s business; writing it in
somebody else's format is ``lut_formats``'.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from ..profiler.errors import ArtefactError, GateError, UsageError
from ..profiler.records import Json, content_hash
from .files import write_atomically
from .space import Population, Space
from .space_file import load_space

Source = Literal["measured", "simulated", "predicted", "interpolated", "absent"]
Floats = NDArray[np.float64]

FORMAT = "edgecost-lut"
#: 1: latency. 2: energy and peak memory beside it, null where there is none. 3: the correction may hold a constant.
#: 4: energies have intervals. All are read.
SCHEMA_VERSION = 4
#: What a table's provenance must say; more may stand there.
PROVENANCE = (
    "space resolution width device profile_label profile_hash precision batch created edgecost_version interval "
    "environment_hash"
).split()
_FIRST_CELL_FIELDS = ("key", "latency_ms", "lo_ms", "hi_ms", "n", "source")
_SECOND_CELL_FIELDS = (*_FIRST_CELL_FIELDS, "energy_mj", "peak_memory_bytes")
_CELL_FIELDS = (*_SECOND_CELL_FIELDS, "energy_lo_mj", "energy_hi_mj")
#: What may be missing of a row, or of all: NaN in a column, null in a file.
_OPTIONAL = ("lo_ms", "hi_ms", "energy_mj", "peak_memory_bytes", "energy_lo_mj", "energy_hi_mj")
_DOCUMENT_FIELDS = {"format", "schema_version", "content_sha256", "provenance", "scale", "scale_fitted_on", "cells"}
_OFFSET_FIELD = "offset_ms"
_LISTED = 20


@dataclass(frozen=True)
class LutCell:
    """One row of a table.

    Attributes:
        latency_ms: the cell alone, not scaled.
        lo_ms, hi_ms: interval, as the table's provenance says under ``interval``; None where there is none.
        n: valid visits behind a measured row, 0 for any other.
        source: of the latency; ``absent`` is a cell that executes nothing; only it costs 0.
        energy_mj: gross energy of a run of the cell alone; adds up over cells, as latency does. None where not known.
        peak_memory_bytes: of a process that runs the cell alone. It does not add up: a network's is no sum of these.
        energy_lo_mj, energy_hi_mj: as ``lo_ms`` and ``hi_ms``; the provenance says what under ``energy_interval``.
    """

    key: str
    latency_ms: float
    lo_ms: float | None
    hi_ms: float | None
    n: int
    source: Source
    energy_mj: float | None = None
    peak_memory_bytes: int | None = None
    energy_lo_mj: float | None = None
    energy_hi_mj: float | None = None


@dataclass(frozen=True, eq=False)
class Lut:
    """A table. Columns are of one length and in the order of ``keys``.

    Attributes:
        latency_ms, lo_ms, hi_ms: float64, not scaled; lo and hi are NaN where there is no interval.
        n: int64, valid visits.
        provenance: where the numbers come from; must hold the names in ``PROVENANCE``.
        scale: the factor from a sum of cells to a whole network's latency; 1.0 where none was fitted.
        offset_ms: what a whole network costs beside ``scale`` times the sum of its cells; may be negative.
        scale_fitted_on: number of whole networks that both were fitted on.
        energy_mj, peak_memory_bytes, energy_lo_mj, energy_hi_mj: float64, NaN where there is none; None to begin with
            is NaN everywhere.

    Raises:
        ArtefactError: columns of different lengths, a key twice, a latency that is not finite and positive (an absent
            cell's: not zero), an interval that does not hold its number, an energy or memory that is not positive, a
            factor that is not positive, or provenance that leaves something out.
    """

    keys: tuple[str, ...]
    latency_ms: Floats
    lo_ms: Floats
    hi_ms: Floats
    n: NDArray[np.int64]
    source: tuple[Source, ...]
    provenance: Mapping[str, Json] = field(repr=False)
    scale: float = 1.0
    scale_fitted_on: int = 0
    energy_mj: Floats | None = None
    peak_memory_bytes: Floats | None = None
    offset_ms: float = 0.0
    energy_lo_mj: Floats | None = None
    energy_hi_mj: Floats | None = None

    def __post_init__(self) -> None:
        for name in _OPTIONAL:
            if getattr(self, name) is None:
                object.__setattr__(self, name, np.full(len(self.keys), np.nan))
        for name in ("latency_ms", "n", *_OPTIONAL):
            column = np.array(getattr(self, name), dtype=np.int64 if name == "n" else np.float64)
            column.flags.writeable = False
            object.__setattr__(self, name, column)
        _check(self)

    @classmethod
    def from_cells(
        cls,
        cells: Iterable[LutCell],
        provenance: Mapping[str, Json],
        *,
        scale: float = 1.0,
        scale_fitted_on: int = 0,
        offset_ms: float = 0.0,
    ) -> Lut:
        """A table of these rows."""
        rows = list(cells)
        return cls(
            keys=tuple(row.key for row in rows),
            latency_ms=np.array([row.latency_ms for row in rows], dtype=np.float64),
            n=np.array([row.n for row in rows], dtype=np.int64),
            source=tuple(row.source for row in rows),
            provenance=provenance,
            scale=scale,
            scale_fitted_on=scale_fitted_on,
            offset_ms=offset_ms,
            **{name: np.array([_number(getattr(row, name)) for row in rows], dtype=np.float64) for name in _OPTIONAL},
        )

    def __len__(self) -> int:
        return len(self.keys)

    def __contains__(self, key: object) -> bool:
        return key in self._index

    @property
    def cells(self) -> list[LutCell]:
        """The rows."""
        return [self._row(i) for i in range(len(self))]

    @property
    def device_memory_bytes(self) -> dict[str, int]:
        """Of a GPU's memory, by key: measured cells only, and no column of the table (``lut_others.py``)."""
        told = self.provenance.get("device_memory_bytes")
        return {key: size for key, size in told.items() if isinstance(size, int)} if isinstance(told, dict) else {}

    @cached_property
    def space(self) -> Space:
        """The space of the table, by the name in its provenance.

        Raises:
            UsageError: it is not a built-in one.
        """
        resolution, width = self.provenance["resolution"], self.provenance["width"]
        if not isinstance(resolution, int) or not isinstance(width, (int, float)):
            raise UsageError("the table's provenance holds no resolution or width")
        return load_space(str(self.provenance["space"]), resolution=resolution, width=float(width))

    @property
    def content_sha256(self) -> str:
        """sha256 of everything in the table."""
        return content_hash(self._content())

    def with_scale(self, scale: float, fitted_on: int, offset_ms: float = 0.0) -> Lut:
        """The same rows with another correction."""
        return replace(self, scale=scale, scale_fitted_on=fitted_on, offset_ms=offset_ms)

    def query(self, key: str) -> LutCell:
        """One row, not scaled.

        Raises:
            GateError: the table does not hold the cell.
        """
        if key not in self._index:
            raise _incomplete([key])
        return self._row(self._index[key])

    def missing(self, space: Space) -> tuple[str, ...]:
        """Keys of the space's cells that the table lacks. Identities need no row."""
        return tuple(cell.key for cell in space.measurable if cell.key not in self._index)

    def require(self, space: Space) -> None:
        """Make sure that the table covers a space.

        Raises:
            GateError: it does not; the message lists what is missing.
        """
        self.require_keys([cell.key for cell in space.measurable])

    def require_keys(self, keys: Sequence[str]) -> None:
        """Make sure that the table holds these cells.

        Raises:
            GateError: it does not; the message lists what is missing.
        """
        if lacking := [key for key in keys if key not in self._index]:
            raise _incomplete(lacking)

    def price(self, archs: Population, *, corrected: bool = True, space: Space | None = None) -> Floats:
        """Latency of every architecture of a population in ms, float64 (n,): the sum of its cells.

        Args:
            archs: int array (n, positions), native architectures, or one of either.
            corrected: multiply every cell by ``scale`` and add ``offset_ms`` to the sum.
            space: needed only where the table's space is not a built-in one.

        Raises:
            GateError: an architecture has a cell that the table lacks.
            UsageError: an architecture is not of the space.
        """
        space = space or self.space
        numeric = space.population(archs)
        scale = self.scale if corrected else 1.0
        costs = np.array([self._cost(cell.key) for cell in space.measurable], dtype=np.float64) * scale
        total = np.full(len(numeric), self.offset_ms if corrected else 0.0)
        for factor in space.factors:
            total += factor.table(costs)[factor.entry(numeric)]
        if not np.isfinite(total).all():
            raise _incomplete([cell.key for cell in space.used_by(numeric[np.isnan(total)]) if cell.key not in self])
        return total

    def save(self, path: str | Path) -> Path:
        """Write the native JSON form (``lut_schema.json``), whole or not at all."""
        content = {**self._content(), "content_sha256": self.content_sha256}
        return write_atomically(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Lut:
        """Read what ``save`` wrote.

        Raises:
            ArtefactError: no such file, not a table, damaged, altered, or written by a newer edgecost.
        """
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=_no_constant)
        except (OSError, ValueError, RecursionError) as error:
            raise ArtefactError(
                f"{path} cannot be read as a lookup table: {error}", remedy="Export it again."
            ) from error
        try:
            return _from_document(document)
        except ArtefactError as error:
            raise ArtefactError(f"{path}: {error.message}", remedy=error.remedy) from error
        except (ValueError, OverflowError) as error:  # 1e999 and whole numbers of a hundred digits are JSON too
            raise ArtefactError(f"{path}: a number is too large: {error}", remedy="Export it again.") from error

    @cached_property
    def _index(self) -> dict[str, int]:
        return {key: i for i, key in enumerate(self.keys)}

    def _row(self, i: int) -> LutCell:
        found = ((name, float(self._column(name)[i])) for name in _OPTIONAL)
        known = {name: None if np.isnan(value) else value for name, value in found}
        memory = known.pop("peak_memory_bytes")
        return LutCell(
            self.keys[i], float(self.latency_ms[i]), n=int(self.n[i]), source=self.source[i],
            peak_memory_bytes=None if memory is None else int(memory), **known,
        )  # fmt: skip

    def _column(self, name: str) -> Floats:
        column: Floats | None = getattr(self, name)
        assert column is not None, "made when the table was"
        return column

    def _cost(self, key: str) -> float:
        return float(self.latency_ms[self._index[key]]) if key in self._index else float("nan")

    def _content(self) -> dict[str, Json]:
        rows: list[Json] = [{name: getattr(row, name) for name in _CELL_FIELDS} for row in self.cells]
        return {
            "format": FORMAT,
            "schema_version": SCHEMA_VERSION,
            "provenance": dict(self.provenance),
            "scale": float(self.scale),
            _OFFSET_FIELD: float(self.offset_ms),
            "scale_fitted_on": int(self.scale_fitted_on),
            "cells": rows,
        }


def _check(lut: Lut) -> None:
    others = [lut._column(name) for name in ("energy_mj", "peak_memory_bytes")]
    optional = [lut._column(name) for name in _OPTIONAL]
    lengths = {len(column) for column in (lut.keys, lut.latency_ms, lut.n, lut.source, *optional)}
    if len(lengths) != 1:
        raise ArtefactError("the columns of the table have different lengths")
    if len(set(lut.keys)) < len(lut.keys):
        raise ArtefactError("the table holds a key twice")
    if unknown := set(lut.source) - set(get_args(Source)):
        raise ArtefactError(f"unknown source {sorted(unknown)[0]!r}", remedy=f"Known: {', '.join(get_args(Source))}.")
    absent = np.array([source == "absent" for source in lut.source], dtype=np.bool_)
    positive = np.isfinite(lut.latency_ms) & (lut.latency_ms > 0)
    _check_rows(lut, np.where(absent, lut.latency_ms == 0, positive), "latency is not a positive number")
    _check_interval(lut, lut.lo_ms, lut.latency_ms, lut.hi_ms, "latency")
    _check_interval(lut, lut._column("energy_lo_mj"), others[0], lut._column("energy_hi_mj"), "energy")
    for column, name in zip(others, ("energy", "peak memory"), strict=True):
        good = np.isnan(column) | (np.isfinite(column) & np.where(absent, column == 0, column > 0))
        _check_rows(lut, good, f"{name} is not a positive number")
    measured = np.array([source == "measured" for source in lut.source], dtype=np.bool_)
    _check_rows(lut, np.where(measured, lut.n > 0, lut.n >= 0), "number of visits does not fit its source")
    if not (np.isfinite(lut.scale) and lut.scale > 0 and lut.scale_fitted_on >= 0):
        raise ArtefactError(f"the factor {lut.scale!r}, fitted on {lut.scale_fitted_on} networks, is not positive")
    if not np.isfinite(lut.offset_ms):
        raise ArtefactError(f"the constant {lut.offset_ms!r} ms is no number")
    if lut.scale_fitted_on == 0 and (lut.scale != 1.0 or lut.offset_ms != 0.0):
        correction = f"the factor {lut.scale!r} with the constant {lut.offset_ms!r} ms"
        raise ArtefactError(f"{correction} was fitted on no network", remedy="Say on how many it was.")
    if absent_names := [name for name in PROVENANCE if name not in lut.provenance]:
        raise ArtefactError(f"the provenance does not say: {', '.join(absent_names)}")
    try:
        content_hash(lut.provenance)
    except (TypeError, ValueError) as error:
        raise ArtefactError(f"the provenance holds what JSON cannot: {error}") from error


def _check_interval(lut: Lut, low: Floats, value: Floats, high: Floats, name: str) -> None:
    none = np.isnan(low) & np.isnan(high)
    around = (low >= 0) & (low <= value) & (value <= high) & np.isfinite(high)
    _check_rows(lut, none | around, f"interval does not hold its {name}")


def _check_rows(lut: Lut, good: NDArray[np.bool_], problem: str) -> None:
    bad = [lut.keys[int(i)] for i in np.flatnonzero(~good)]
    if bad:
        raise ArtefactError(f"{len(bad)} rows whose {problem}, first {bad[0]}")


def _from_document(document: object) -> Lut:
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ArtefactError("this is not an edgecost lookup table", remedy="Give a file that `edgecost lut` wrote.")
    version = document.get("schema_version")
    if type(version) is not int or not 1 <= version <= SCHEMA_VERSION:
        raise ArtefactError(
            f"the table has schema version {version!r}, this edgecost reads up to {SCHEMA_VERSION}",
            remedy="Update edgecost.",
        )
    content = {key: value for key, value in document.items() if key != "content_sha256"}
    fields = _DOCUMENT_FIELDS | ({_OFFSET_FIELD} if version > 2 else set())
    if set(document) != fields or content_hash(content) != document["content_sha256"]:
        raise ArtefactError("the table was altered or damaged after it was written", remedy="Export it again.")
    rows, provenance = document["cells"], document["provenance"]
    if not isinstance(rows, list) or not isinstance(provenance, dict):
        raise ArtefactError("the table's cells or provenance are not what they should be")
    scale, fitted_on = document["scale"], document["scale_fitted_on"]
    offset_ms = document.get(_OFFSET_FIELD, 0.0)
    if not _is_number(scale) or not _is_number(offset_ms) or not isinstance(fitted_on, int):
        raise ArtefactError("the table's factor is not a number")
    names = (_FIRST_CELL_FIELDS, _SECOND_CELL_FIELDS, _SECOND_CELL_FIELDS, _CELL_FIELDS)[version - 1]
    cells = [_row(row, names) for row in rows]
    return Lut.from_cells(cells, provenance, scale=float(scale), scale_fitted_on=fitted_on, offset_ms=float(offset_ms))


def _row(row: object, names: Sequence[str]) -> LutCell:
    if not isinstance(row, dict) or set(row) != set(names):
        raise ArtefactError(f"a row of the table has not the fields {', '.join(names)}: {row!r}")
    row = {**dict.fromkeys(_OPTIONAL), **row}
    numbers = all(_is_number(row[name]) for name in ("latency_ms", "n"))
    bounds = all(row[name] is None or _is_number(row[name]) for name in _OPTIONAL)
    words = all(isinstance(row[name], str) for name in ("key", "source"))
    whole = isinstance(row["n"], int) and isinstance(row["peak_memory_bytes"], int | None)
    if not (numbers and bounds and words and whole):
        raise ArtefactError(f"a row of the table holds a value of a wrong type: {row!r}")
    return LutCell(**{**row, "source": cast("Source", row["source"])})


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not a number that a table may hold")


def _incomplete(keys: Sequence[str]) -> GateError:
    shown = "\n".join(f"  {key}" for key in keys[:_LISTED])
    rest = f"\n  and {len(keys) - _LISTED} more" if len(keys) > _LISTED else ""
    what = "cell" if len(keys) == 1 else "cells"
    return GateError(
        f"the lookup table lacks {len(keys)} {what}:\n{shown}{rest}",
        remedy="Measure or predict them, then export again.",
    )
