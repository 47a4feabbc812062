"""Opens somebody else's SQLite store without touching it: a copy is checked and lifted to this version's schema."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import URL, text

from ..profiler.errors import NotADatabase, StoreError, StoreUnwritable
from .connect import Database
from .outgoing import StoreReader
from .upgrade import bring_to_head, revision


@contextmanager
def open_copy(file: Path) -> Iterator[StoreReader]:
    """A copy of the store in a file, at the current schema, as a source; gone afterwards.

    Raises:
        NotADatabase: it is something else, empty, or damaged.
        SchemaMismatch: a newer edgecost wrote it.
        StoreError: it cannot be read, or not copied.
    """
    folder = Path(tempfile.mkdtemp(prefix="edgecost-merge-"))
    try:
        copy = folder / "copy.sqlite"
        _copy(file, copy)
        database = Database(URL.create("sqlite", database=str(copy)), label=f"sqlite:///{file}")
        with closing(database):
            _check(database)
            bring_to_head(database)
            with database.snapshot() as connection:
                yield StoreReader(connection)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy(file: Path, copy: Path) -> None:
    """By SQLite's back-up, so that a store in use is copied in one state."""
    # Reading a WAL database makes two files beside it. Where there is no log nobody has it open, and reading it as
    # something that does not change makes none and works on a medium that cannot be written.
    log = Path(f"{file}-wal")
    way = "mode=ro" if log.exists() and log.stat().st_size else "mode=ro&immutable=1"
    try:
        with (
            closing(sqlite3.connect(f"{file.absolute().as_uri()}?{way}", uri=True)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
    except sqlite3.DatabaseError as error:
        if "not a database" in str(error) or "malformed" in str(error):
            raise NotADatabase(
                f"{file} is no SQLite database, or is damaged: {error}.", remedy="Name another file."
            ) from error
        if "full" in str(error):
            raise StoreUnwritable(
                f"{file} cannot be copied: the disk of temporary files is full.", remedy="Free space, or set TMPDIR."
            ) from error
        raise StoreError(f"{file} cannot be read: {error}.", remedy="Make the file readable.") from error


def _check(database: Database) -> None:
    with database.read() as connection:
        if revision(connection, database.label) is None:
            raise NotADatabase(f"{database.label} is empty.", remedy="Name the database of another edgecost.")
        found = connection.execute(text("PRAGMA quick_check(1)")).scalar_one()
        if found != "ok":
            raise NotADatabase(f"{database.label} is damaged: {found}.", remedy="Try `sqlite3 FILE .recover`.")
