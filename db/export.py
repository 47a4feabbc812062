"""Writes a store into a folder of Parquet files, whole or not at all. ``export_file.py`` says what the files are."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from ..profiler.errors import OutputError
from .connect import Database, now, stamp
from .export_file import MANIFEST, Manifest, TableFile, arrow_schema, describe, manifest_text, parquet
from .intake import Progress
from .outgoing import StoreReader, identities
from .portable import CATALOGUE, MEASURED, MEASUREMENT, Portable, Row
from .records import Exported
from .schema import HEAD

if TYPE_CHECKING:
    import pyarrow as pa


def export(
    database: Database, folder: Path, devices: Collection[str] = (), progress: Progress | None = None
) -> Exported:
    """Write everything, or what was measured on some devices, into a folder that is new or empty.

    Raises:
        UsageError: there is no such device.
        OutputError: the folder holds something, or cannot be written; nothing is left of it then.
        MissingPackage: pyarrow is not installed.
        StoreError: the store cannot be read.
    """
    parquet()
    with _drafted(folder) as draft, database.snapshot() as connection:
        wanted = identities(connection, devices) if devices else None
        tables = _write_tables(StoreReader(connection, wanted), draft, progress)
        manifest = Manifest(
            HEAD, version("edgecost"), stamp(now(connection)), None if wanted is None else sorted(wanted), tables
        )
        (draft / MANIFEST).write_text(manifest_text(manifest), encoding="utf-8")
    size_bytes = sum(told.size_bytes for told in tables.values())
    return Exported(folder, size_bytes, HEAD, {name: told.rows for name, told in tables.items()})


def _write_tables(source: StoreReader, draft: Path, progress: Progress | None) -> dict[str, TableFile]:
    tables = {}
    total = source.count()
    if progress is not None:
        progress(0, total)
    for portable in CATALOGUE:
        with _Writer(draft, portable) as writer:
            for rows in source.catalogue(portable):
                writer.write(rows)
        tables[portable.name] = writer.described()
    with ExitStack() as stack:
        writers = [stack.enter_context(_Writer(draft, portable)) for portable in MEASURED]
        for batch in source.batches():
            for writer in writers:
                writer.write(batch[writer.portable.name])
            if progress is not None:
                progress(len(batch[MEASUREMENT.name]), total)
    return tables | {writer.portable.name: writer.described() for writer in writers}


class _Writer:
    """A table's file; each call of ``write`` makes one row group, also of no rows."""

    def __init__(self, draft: Path, portable: Portable) -> None:
        self.portable = portable
        self._schema: pa.Schema = arrow_schema(portable, version("edgecost"))
        self._file = draft / f"{portable.name}.parquet"
        self._writer = parquet().ParquetWriter(self._file, self._schema, compression="zstd")
        self._rows = 0

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write(self, rows: list[Row]) -> None:
        import pyarrow as pa

        columns = zip(*rows, strict=True) if rows else ((),) * len(self._schema)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema), row_group_size=max(len(rows), 1))
        self._rows += len(rows)

    def described(self) -> TableFile:
        return describe(self._file, self._rows)


@contextmanager
def _drafted(folder: Path) -> Iterator[Path]:
    """A folder beside, which becomes the folder when the block ends and is gone when it fails."""
    # A file's draft is costmodels/files.py's; that room is above this one.
    folder = folder.absolute()
    draft = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}")
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise OutputError(f"{folder} is not empty.", remedy="Name a new folder.")
        draft.mkdir(parents=True)
        try:
            yield draft
            for file in (*draft.iterdir(), draft):
                _sync(file)
            draft.replace(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        _sync(folder.parent)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written: {error.strerror or error}.", remedy="Free space, or name another folder."
        ) from error


def _sync(path: Path) -> None:
    """To the disk: a rename may reach it before the data does."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
