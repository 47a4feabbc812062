"""Plain tables for spreadsheets, notebooks and databases: every cell of a space in a row, all metrics at once.

They are for people and programs that know what they want, so that nothing is applied: the correction stands in the side
file, and in SQLite's table ``provenance``. Empty, null or NaN is what is not known.
"""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from ...profiler.errors import MissingPackage
from ..cost_table import CostTable
from ..lut import Lut
from ..space import Space
from .card import FormatCard, Metric
from .rows import Rows
from .side import write_with_side

Value = str | int | float | None
#: Columns of every plain table, in order.
COLUMNS = (
    "key", "layer", "kind", "block", "input_shape", "output_shape",
    "latency_ms", "lo_ms", "hi_ms", "energy_mj", "peak_memory_bytes", "n", "source",
    "energy_lo_mj", "energy_hi_mj",
)  # fmt: skip
#: Columns of numbers that may be missing.
_REALS = ("lo_ms", "hi_ms", "energy_mj", "energy_lo_mj", "energy_hi_mj")
_UNITS: tuple[tuple[Metric, str], ...] = (("latency", "ms"), ("energy", "mJ"), ("memory", "bytes"))


def flat_rows(lut: Lut, space: Space) -> list[dict[str, Value]]:
    """The rows of a space, by ``COLUMNS``; shapes are NCHW joined by x."""
    rows: list[dict[str, Value]] = []
    for cell in space.measurable:
        found = lut.query(cell.key)
        rows.append(
            {
                "key": cell.key,
                "layer": cell.layer,
                "kind": cell.kind,
                "block": str(cell.params["block"]),
                "input_shape": "x".join(map(str, cell.input_shape)),
                "output_shape": "x".join(map(str, cell.output_shape)),
                "latency_ms": found.latency_ms,
                "lo_ms": found.lo_ms,
                "hi_ms": found.hi_ms,
                "energy_mj": found.energy_mj,
                "peak_memory_bytes": found.peak_memory_bytes,
                "n": found.n,
                "source": found.source,
                "energy_lo_mj": found.energy_lo_mj,
                "energy_hi_mj": found.energy_hi_mj,
            }
        )
    return rows


class FlatFormat(ABC):
    """Subclass it: ``name``, ``card``, ``suffix`` and ``render``."""

    name: ClassVar[str]
    card: ClassVar[FormatCard]
    suffix: ClassVar[str]

    @abstractmethod
    def render(self, lut: Lut, space: Space) -> str | bytes:
        """The whole file."""

    def filename(self, lut: Lut, space: Space) -> str:
        """``<space>-w<width>-<resolution>.<suffix>``."""
        return f"{space.name}-w{space.width:g}-{space.resolution}.{self.suffix}"

    def write(self, lut: Lut, space: Space, path: Path, metric: Metric = "latency") -> list[Path]:
        """Write the table and its side file. All metrics are there; ``metric`` says which must be known of every cell.

        Raises:
            GateError: the table lacks cells of the space, or the metric of some; nothing is written.
            MissingPackage: what writes the form is not installed.
        """
        rows = Rows.plain(lut, space, metric)
        rows.require(list(space.measurable))
        made = self.render(lut, space)
        content = made.encode() if isinstance(made, str) else made
        target = path / self.filename(lut, space) if path.is_dir() else path
        return write_with_side(target, content, rows, [(cell.key, cell) for cell in space.measurable])


class CsvFormat(FlatFormat):
    """With a header; numbers as the shortest text that reads back to the same."""

    name, suffix = "csv", "csv"
    card = FormatCard("spreadsheets and notebooks", "csv, pandas.read_csv", units=_UNITS)

    def render(self, lut: Lut, space: Space) -> str:
        """Lines end as RFC 4180 has it."""
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS)
        writer.writeheader()
        writer.writerows(flat_rows(lut, space))
        return text.getvalue()


class JsonFormat(FlatFormat):
    """A list of objects, for programs that read neither the native form nor Python."""

    name, suffix = "json", "json"
    card = FormatCard("any program", "any JSON reader", units=_UNITS)

    def render(self, lut: Lut, space: Space) -> str:
        """Null where a number is not known."""
        return json.dumps(flat_rows(lut, space), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


class ParquetFormat(FlatFormat):
    """Typed columns, nulls where a number is not known."""

    name, suffix = "parquet", "parquet"
    card = FormatCard("pandas, Polars, DuckDB, Spark", "any Parquet reader", units=_UNITS, needs=("pyarrow",))

    def render(self, lut: Lut, space: Space) -> bytes:
        """One row group."""
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError as error:
            raise MissingPackage("pyarrow is needed for the format 'parquet'", remedy="pip install pyarrow") from error
        kinds = dict.fromkeys(("latency_ms", *_REALS), pa.float64())
        kinds |= {"peak_memory_bytes": pa.int64(), "n": pa.int64()}
        schema = pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(flat_rows(lut, space), schema=schema), sink)
        content: bytes = sink.getvalue().to_pybytes()
        return content


class NumpyFormat(FlatFormat):
    """Columns by name, and ``costs_ms`` (positions, candidates) with ``fixed_ms``: a search needs no more.

    ``costs_ms`` is 0 for an identity and NaN behind a position's last candidate. Of a space whose cells depend on
    several choices there is ``costs_ms_<i>`` with an axis for each position in ``scope_<i>``; the last index along an
    axis is for a position that is not active.
    """

    name, suffix = "numpy", "npz"
    card = FormatCard("searches in NumPy", "numpy.load(file, allow_pickle=False)", units=_UNITS)

    def render(self, lut: Lut, space: Space) -> bytes:
        """No pickles inside: text is fixed-width Unicode."""
        rows = flat_rows(lut, space)
        columns: dict[str, npt.ArrayLike] = {name: _array([row[name] for row in rows]) for name in COLUMNS}
        table = CostTable.from_costs(space, {cell.key: lut.query(cell.key).latency_ms for cell in space.measurable})
        file = io.BytesIO()
        columns |= {"fixed_ms": np.float64(table.fixed)}
        if space.is_chain:
            columns |= {"costs_ms": table.costs}
        else:
            factors = zip(space.factors, table.tables, strict=True)
            for number, (factor, costs) in enumerate(pair for pair in factors if pair[0].scope):
                columns |= {
                    f"scope_{number}": np.array(factor.scope),
                    f"costs_ms_{number}": costs.reshape(factor.sizes),
                }
        columns |= {"scale": np.float64(lut.scale), "offset_ms": np.float64(lut.offset_ms)}
        np.savez(file, allow_pickle=False, **columns)
        return file.getvalue()


class SqliteFormat(FlatFormat):
    """The table ``cells``, and ``provenance`` with names and JSON values."""

    name, suffix = "sqlite", "sqlite"
    card = FormatCard("SQL", "any SQLite client", units=_UNITS)

    def render(self, lut: Lut, space: Space) -> bytes:
        """Made in a temporary folder: a database is written by pages, and a table whole or not at all."""
        kinds = {"n": "INTEGER NOT NULL", "peak_memory_bytes": "INTEGER", "latency_ms": "REAL NOT NULL"}
        kinds |= dict.fromkeys(_REALS, "REAL")
        columns = ", ".join(f"{name} {kinds.get(name, 'TEXT NOT NULL')}" for name in COLUMNS)
        told = {
            **lut.provenance,
            "scale": lut.scale,
            "offset_ms": lut.offset_ms,
            "scale_fitted_on": lut.scale_fitted_on,
        }
        with tempfile.TemporaryDirectory(prefix="edgecost-") as folder:
            file = Path(folder) / "table.sqlite"
            database = sqlite3.connect(file)
            with database:
                database.execute(f"CREATE TABLE cells ({columns}, PRIMARY KEY (key))")
                database.execute("CREATE TABLE provenance (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
                places = ", ".join(f":{name}" for name in COLUMNS)
                database.executemany(f"INSERT INTO cells VALUES ({places})", flat_rows(lut, space))
                database.executemany(
                    "INSERT INTO provenance VALUES (?, ?)", [(name, json.dumps(value)) for name, value in told.items()]
                )
            database.close()
            return file.read_bytes()


def _array(values: list[Value]) -> npt.ArrayLike:
    """Text as text, numbers as numbers; NaN where one is not known."""
    if any(isinstance(value, str) for value in values):
        return np.array(values, dtype=np.str_)
    if all(isinstance(value, int) for value in values):
        return np.array(values, dtype=np.int64)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
