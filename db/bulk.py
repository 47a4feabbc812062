"""Loads many rows at once into a table: COPY on PostgreSQL, executemany on SQLite. Knows nothing of what they mean."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Table
from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    import psycopg

    from .portable import Row


def load(connection: Connection, table: Table, columns: Sequence[str], rows: Collection[Row]) -> None:
    """Add rows inside the caller's transaction; a row that the table refuses is an error, and nothing of it stays.

    Raises:
        DBAPIError: as any other statement of SQLAlchemy's.
    """
    if not rows:
        return
    quote = connection.dialect.identifier_preparer
    place = f"{quote.format_table(table)} ({', '.join(map(quote.quote, columns))})"
    if connection.dialect.name == "postgresql":
        _copy(connection, f"COPY {place} FROM STDIN", rows)
    else:
        marks = ", ".join("?" * len(columns))
        connection.exec_driver_sql(f"INSERT INTO {place} VALUES ({marks})", list(rows))


def _copy(connection: Connection, statement: str, rows: Collection[Row]) -> None:
    import psycopg

    driver = _driver(connection)
    try:
        with driver.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            for row in rows:
                copy.write_row(row)
    except psycopg.Error as error:
        # Past SQLAlchemy the driver's errors keep their own names; the caller knows those of SQLAlchemy.
        raise DBAPIError.instance(
            statement, None, error, psycopg.Error, connection_invalidated=driver.closed, dialect=connection.dialect
        ) from error


def _driver(connection: Connection) -> psycopg.Connection[tuple[object, ...]]:
    import psycopg

    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise TypeError(f"PostgreSQL by {type(driver).__module__}, not by psycopg")
    return driver
