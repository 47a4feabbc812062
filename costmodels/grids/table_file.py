"""A table that is written batch by batch, Parquet or CSV: texts that repeat are kept once, no number is no field."""

from __future__ import annotations

import csv
import importlib
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from ...profiler.errors import MissingPackage, UsageError

#: What a column holds.
Sort = Literal["number", "flag", "text"]
#: Endings of the files that can be written.
WRITABLE = (".parquet", ".csv")


@dataclass(frozen=True, eq=False)
class Names:
    """A column of few distinct texts: shape (rows,), places in ``distinct``."""

    places: npt.NDArray[np.int64]
    distinct: tuple[str, ...]

    def texts(self) -> list[str]:
        return [self.distinct[place] for place in self.places.tolist()]


@dataclass(frozen=True)
class Nothing:
    """A column that some batches have, in one that has not: so many rows without a value."""

    sort: Sort
    count: int


#: Texts, numbers (NaN for none), flags.
Column: TypeAlias = (
    "list[str] | Names | Nothing | npt.NDArray[np.float64] | npt.NDArray[np.int64] | npt.NDArray[np.bool_]"
)


@dataclass(frozen=True, eq=False)
class Packed:
    """Some rows as a file has them, ready to be written wherever the file is.

    Attributes:
        names: of the columns.
        repeated: those whose values may stand in a dictionary. Of keys every one is another.
        rows: an Arrow table, or the lines of a CSV file.
    """

    names: tuple[str, ...]
    repeated: tuple[str, ...]
    rows: object


Write: TypeAlias = "Callable[[Packed], None]"


def require_writable(target: Path) -> None:
    """Raises UsageError for a file of another ending, MissingPackage for Parquet without pyarrow."""
    if target.suffix not in WRITABLE:
        raise UsageError(f"{target} cannot be written", remedy=f"name a file that ends in {' or '.join(WRITABLE)}")
    if target.suffix == ".parquet":
        _arrow()


@contextmanager
def table_writer(suffix: str, draft: Path, about: Mapping[str, str]) -> Iterator[Write]:
    """What writes rows that ``pack`` made for this ending; all have the columns that the first ones have.

    Args:
        about: what stands in the file's metadata; CSV has none.
    """
    with _parquet(draft, about) if suffix == ".parquet" else _csv(draft) as write:
        yield write


def pack(suffix: str, columns: Mapping[str, Column]) -> Packed:
    """Rows for a file of this ending; raises MissingPackage for Parquet without pyarrow."""
    repeated = tuple(name for name, column in columns.items() if not isinstance(column, list))
    if suffix == ".parquet":
        arrow = _arrow()
        rows: object = arrow.table({name: _array(arrow, column) for name, column in columns.items()})
    else:
        lines = io.StringIO(newline="")
        csv.writer(lines).writerows(zip(*map(_fields, columns.values()), strict=True))
        rows = lines.getvalue()
    return Packed(tuple(columns), repeated, rows)


@contextmanager
def _parquet(draft: Path, about: Mapping[str, str]) -> Iterator[Write]:
    arrow = _arrow()
    parquet = importlib.import_module("pyarrow.parquet")
    with ExitStack() as stack:
        writer = None

        def write(packed: Packed) -> None:
            nonlocal writer
            table = packed.rows
            assert isinstance(table, arrow.Table), "rows are packed for the file that they are written to"
            if writer is None:
                schema = table.schema.with_metadata(dict(about))
                writer = parquet.ParquetWriter(draft, schema, compression="zstd", use_dictionary=list(packed.repeated))
                stack.enter_context(writer)
            writer.write_table(table)

        yield write


def _array(arrow: ModuleType, column: Column) -> object:
    if isinstance(column, Names):
        return arrow.DictionaryArray.from_arrays(arrow.array(column.places, arrow.int32()), list(column.distinct))
    if isinstance(column, Nothing):
        text = arrow.dictionary(arrow.int32(), arrow.string())
        return arrow.nulls(column.count, {"number": arrow.int64(), "flag": arrow.bool_(), "text": text}[column.sort])
    # NaN becomes null: there is no number.
    return arrow.array(column, from_pandas=True)


@contextmanager
def _csv(draft: Path) -> Iterator[Write]:
    with draft.open("x", encoding="utf-8", newline="") as file:

        def write(packed: Packed) -> None:
            assert isinstance(packed.rows, str), "rows are packed for the file that they are written to"
            if not file.tell():
                csv.writer(file).writerow(packed.names)
            file.write(packed.rows)

        yield write


def _fields(column: Column) -> list[object]:
    if isinstance(column, Names):
        return [*column.texts()]
    if isinstance(column, list):
        return [*column]
    if isinstance(column, Nothing):
        return [None] * column.count
    return [None if value != value else value for value in column.tolist()]


def _arrow() -> ModuleType:
    try:
        return importlib.import_module("pyarrow")
    except ImportError as error:
        raise MissingPackage(
            "pyarrow is needed for Parquet files", remedy="pip install pyarrow, or name a .csv file"
        ) from error
