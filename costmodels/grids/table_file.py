"""A table that is written batch by batch, Parquet or CSV: texts that repeat are kept once, no number is no field."""

from __future__ import annotations

import csv
import importlib
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
Write: TypeAlias = "Callable[[Mapping[str, Column]], None]"


def require_writable(target: Path) -> None:
    """Raises UsageError for a file of another ending, MissingPackage for Parquet without pyarrow."""
    if target.suffix not in WRITABLE:
        raise UsageError(f"{target} cannot be written", remedy=f"name a file that ends in {' or '.join(WRITABLE)}")
    if target.suffix == ".parquet":
        _arrow()


@contextmanager
def table_writer(suffix: str, draft: Path, about: Mapping[str, str]) -> Iterator[Write]:
    """What writes one batch; all batches have the same columns, of which the first says which there are.

    Args:
        about: what stands in the file's metadata; CSV has none.
    """
    with _parquet(draft, about) if suffix == ".parquet" else _csv(draft) as write:
        yield write


@contextmanager
def _parquet(draft: Path, about: Mapping[str, str]) -> Iterator[Write]:
    arrow = _arrow()
    parquet = importlib.import_module("pyarrow.parquet")
    with ExitStack() as stack:
        writer = None

        def write(columns: Mapping[str, Column]) -> None:
            nonlocal writer
            table = arrow.table({name: _array(arrow, column) for name, column in columns.items()})
            if writer is None:
                schema = table.schema.with_metadata(dict(about))
                # A dictionary pays where values repeat: of keys every one is another.
                repeated = [name for name, column in columns.items() if not isinstance(column, list)]
                writer = parquet.ParquetWriter(draft, schema, compression="zstd", use_dictionary=repeated)
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
        writer = csv.writer(file)

        def write(columns: Mapping[str, Column]) -> None:
            if not file.tell():
                writer.writerow(columns)
            writer.writerows(zip(*map(_fields, columns.values()), strict=True))

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
