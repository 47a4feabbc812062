"""Loads many rows at once into a table: binary COPY on PostgreSQL, executemany on SQLite; knows not what they mean."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, Connection, Double, Integer, LargeBinary, Table
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
        types = [_copy_type(table.c[name]) for name in columns]
        _copy(connection, f"COPY {place} FROM STDIN (FORMAT BINARY)", types, rows)
    else:
        marks = ", ".join("?" * len(columns))
        connection.exec_driver_sql(f"INSERT INTO {place} VALUES ({marks})", list(rows))


def _copy_type(column: Column[object]) -> str:
    """What PostgreSQL reads into the column. A JSON document is its text already, and travels as one."""
    if isinstance(column.type, LargeBinary):
        return "bytea"
    if isinstance(column.type, Double):
        return "float8"
    if isinstance(column.type, Integer):
        return "int8" if isinstance(column.type, BigInteger) else "int4"
    return "text"


def _copy(connection: Connection, statement: str, types: Sequence[str], rows: Collection[Row]) -> None:
    """In binary: the client has a sixth of the work that it has with text, where every number is spelt out."""
    import psycopg

    driver = _driver(connection)
    try:
        with driver.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row(row)
    except psycopg.Error as error:
        raise _in_sqlalchemys_words(statement, error, connection) from error
    except (TypeError, ValueError, OverflowError) as error:
        # A value of another kind than its column: in binary the client says so, and not the server.
        raise _in_sqlalchemys_words(statement, psycopg.DataError(str(error)), connection) from error


def _in_sqlalchemys_words(statement: str, error: psycopg.Error, connection: Connection) -> Exception:
    """Past SQLAlchemy the driver's errors keep their own names; the caller knows those of SQLAlchemy."""
    import psycopg

    is_lost = _driver(connection).closed
    return DBAPIError.instance(
        statement, None, error, psycopg.Error, connection_invalidated=is_lost, dialect=connection.dialect
    )


def _driver(connection: Connection) -> psycopg.Connection[tuple[object, ...]]:
    import psycopg

    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise TypeError(f"PostgreSQL by {type(driver).__module__}, not by psycopg")
    return driver
