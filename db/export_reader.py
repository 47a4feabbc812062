"""Reads an export as a source of measurements: checked whole first, then a row group at a time. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..profiler.errors import ArtefactError
from .export_file import MANIFEST, Manifest, arrow_schema, check_files, parquet, read_manifest
from .outgoing import Batch
from .portable import ALL, MEASURED, MEASUREMENT, Portable, Row

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


@dataclass(frozen=True)
class ExportReader:
    """An open export as a source."""

    manifest: Manifest
    files: dict[str, pq.ParquetFile]

    def count(self) -> int:
        return self.manifest.tables[MEASUREMENT.name].rows

    def catalogue(self, portable: Portable) -> Iterator[list[Row]]:
        file = self.files[portable.name]
        for number in range(file.num_row_groups):
            yield _rows(portable, file, number)

    def batches(self) -> Iterator[Batch]:
        for number in range(self.files[MEASUREMENT.name].num_row_groups):
            yield {portable.name: _rows(portable, self.files[portable.name], number) for portable in MEASURED}


@contextmanager
def open_export(place: Path) -> Iterator[ExportReader]:
    """An export by its folder or its manifest, all of it checked.

    Raises:
        ArtefactError: it is damaged, was altered, or is something else.
        SchemaMismatch: a newer edgecost wrote it.
        MissingPackage: pyarrow is not installed.
    """
    parquet()
    if not place.is_dir() and place.name != MANIFEST:
        raise ArtefactError(f"{place} is not a whole export.", remedy=f"Name the folder that holds {MANIFEST}.")
    folder = place if place.is_dir() else place.parent
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    with ExitStack() as stack:
        files = {
            portable.name: stack.enter_context(_open(folder / manifest.tables[portable.name].file)) for portable in ALL
        }
        for portable in ALL:
            _check_columns(portable, files[portable.name], manifest)
        if len({files[portable.name].num_row_groups for portable in MEASURED}) != 1:
            raise ArtefactError(f"{folder}: the parts of measurements do not fit together.", remedy="Export anew.")
        yield ExportReader(manifest, files)


def _open(file: Path) -> pq.ParquetFile:
    with _told(file.name):
        return parquet().ParquetFile(file)


@contextmanager
def _told(name: str) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise ArtefactError(f"{name} cannot be read: {error}.", remedy="Copy it again, or export anew.") from error


def _check_columns(portable: Portable, file: pq.ParquetFile, manifest: Manifest) -> None:
    expected, found = arrow_schema(portable, ""), file.schema_arrow
    wrong = [field.name for field in found if field.name not in portable.columns]
    there = [field for field in expected if field.name in found.names]
    wrong += [field.name for field in there if found.field(field.name).type != field.type]
    wrong += [field.name for field in portable.fields if field.name not in found.names and not field.nullable]
    if wrong or file.metadata.num_rows != manifest.tables[portable.name].rows:
        what = f"columns {', '.join(wrong)}" if wrong else "number of rows"
        raise ArtefactError(
            f"The file of {portable.name} does not have the {what} that an export has.", remedy="Export anew."
        )


def _rows(portable: Portable, file: pq.ParquetFile, number: int) -> list[Row]:
    """A row group in the order of the fields; a column that the file does not have is NULL."""
    with _told(portable.name):
        table: pa.Table = file.read_row_group(number)
    nothing = [None] * table.num_rows
    columns = [table.column(name).to_pylist() if name in table.column_names else nothing for name in portable.columns]
    return list(zip(*columns, strict=True))
