"""Opens the database: where it is, how its connections are set up, how a transaction begins and which time it is there.

The schema is lifted in ``upgrade.py``; what goes wrong gets its name in ``failures.py``.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

from platformdirs import user_data_dir
from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Engine,
    Table,
    Text,
    create_engine,
    event,
    func,
    literal,
    literal_column,
    make_url,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError
from sqlalchemy.sql.dml import ReturningInsert

from ..profiler.errors import MissingPackage, StoreUnwritable, UsageError
from .failures import in_our_words

#: Longest wait for another writer; a transaction of ours takes milliseconds, so this is a process that hangs.
BUSY_TIMEOUT_S = 30.0
#: PostgreSQL's words for ``stamp``, written out and not bound: they never change.
_UTC: ColumnElement[str] = literal_column("'UTC'")
_STAMP_FORMAT: ColumnElement[str] = literal_column("""'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'""")
#: Names the database when nothing else does.
ENVIRONMENT_VARIABLE = "EDGECOST_DB"


def resolve_url(where: str | os.PathLike[str] | None) -> URL:
    """A URL, a path, or nothing (``$EDGECOST_DB``, then the user's data directory) as a URL with its driver.

    Raises:
        UsageError: neither SQLite in a file nor PostgreSQL.
    """
    text = os.fspath(where) if where is not None else os.environ.get(ENVIRONMENT_VARIABLE, "")
    text = text or str(Path(user_data_dir("edgecost", appauthor=False), "edgecost.sqlite"))
    if "://" not in text:
        text, path = "sqlite://", text
    else:
        path = ""
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise UsageError(f"{text!r} is not the URL of a database.") from error
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername == "postgresql+psycopg":
        return url
    path = path or url.database or ""
    if url.get_backend_name() != "sqlite" or path in ("", ":memory:") or path.startswith("file:"):
        raise UsageError(f"{url.render_as_string()} is not a SQLite file nor a PostgreSQL database.")
    return url.set(drivername="sqlite", database=str(Path(path).expanduser().absolute()))


class Database:
    """An engine with its transactions. ``label`` is the URL without its password, unless another is given."""

    def __init__(self, url: URL, label: str | None = None) -> None:
        self.url = url
        self.label = url.render_as_string(hide_password=True) if label is None else label
        self.engine = _sqlite_engine(url) if url.get_backend_name() == "sqlite" else _postgresql_engine(url)

    @property
    def dialect(self) -> str:
        return self.engine.dialect.name

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads.

        Raises:
            StoreError: by cause.
        """
        with in_our_words(self.label), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A transaction that only reads, in which every statement sees the same state. SQLite has no other kind.

        Raises:
            StoreError: by cause.
        """
        engine = self.engine
        if self.dialect == "postgresql":
            engine = engine.execution_options(isolation_level="REPEATABLE READ")
        with in_our_words(self.label), engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write; SQLite's write lock is taken at its start, so that it cannot fail half way.

        Raises:
            StoreError: by cause; nothing of the block is kept then.
        """
        engine = self.engine.execution_options(edgecost_write=True)
        with in_our_words(self.label), engine.begin() as connection:
            yield connection

    def close(self) -> None:
        self.engine.dispose()


def _sqlite_engine(url: URL) -> Engine:
    path = Path(url.database or "")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnwritable(f"{path.parent} cannot be made: {error}.", remedy="Name another file.") from error
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S, "isolation_level": None})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _postgresql_engine(url: URL) -> Engine:
    options = f"-c lock_timeout={int(BUSY_TIMEOUT_S * 1000)}"
    try:
        return create_engine(url, pool_pre_ping=True, connect_args={"options": options, "connect_timeout": 10})
    except ModuleNotFoundError as error:
        raise MissingPackage("PostgreSQL needs psycopg.", remedy='pip install "psycopg[binary]"') from error


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    """WAL: readers and one writer at once. FULL: what is recorded survives a power cut."""
    connection.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            # The change to WAL does not wait for others by itself: SQLite fails it at once to avoid deadlocks.
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get("edgecost_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def insert_missing(table: Table, connection: Connection) -> sqlite.Insert | postgresql.Insert:
    """INSERT … ON CONFLICT DO NOTHING in the connection's dialect."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()


def count_inserted(
    connection: Connection, statement: ReturningInsert[tuple[int]], rows: Sequence[Mapping[str, object]]
) -> int:
    """Run an INSERT … RETURNING for many rows and count what came back: ``rowcount`` is not reliable for many."""
    return len(connection.execute(statement, rows).all()) if rows else 0


def now(connection: Connection) -> datetime:
    """The time in UTC. A fleet asks one clock, PostgreSQL's; a SQLite file has only this machine's."""
    if connection.dialect.name == "postgresql":
        moment: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
        return moment.astimezone(timezone.utc)
    return datetime.now(timezone.utc)


def now_stamp(connection: Connection, later_s: float = 0.0) -> ColumnElement[str]:
    """The ``stamp`` of ``now``, or of so much later, within a statement that is asked anyway."""
    if connection.dialect.name == "postgresql":
        then = func.timezone(_UTC, func.clock_timestamp() + timedelta(seconds=later_s))
        return func.to_char(then, _STAMP_FORMAT, type_=Text)
    return literal(stamp(now(connection) + timedelta(seconds=later_s)))


def stamp(moment: datetime) -> str:
    """ISO-8601 in UTC with microseconds: of equal length, so that text order is time order on every collation."""
    return moment.astimezone(timezone.utc).isoformat(timespec="microseconds")
