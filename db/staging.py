"""Temporary tables in which rows wait until the database has compared them with what it has."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache

from sqlalchemy import JSON, BigInteger, Column, Connection, Double, LargeBinary, MetaData, Table, Text, delete, text
from sqlalchemy.schema import CreateTable
from sqlalchemy.types import TypeEngine

from . import bulk
from .portable import Kind, Portable, Row

_TYPES: dict[Kind, TypeEngine[str] | TypeEngine[float] | TypeEngine[int] | TypeEngine[bytes] | JSON] = {
    Kind.TEXT: Text(),
    Kind.JSON: JSON(),
    Kind.REAL: Double(),
    Kind.INTEGER: BigInteger(),
    Kind.BYTES: LargeBinary(),
}


def stage(connection: Connection, portable: Portable, rows: Collection[Row]) -> Table:
    """Let the rows wait in their temporary table, alone; the table lasts as long as the connection."""
    table = staged(portable)
    connection.execute(CreateTable(table, if_not_exists=True))
    connection.execute(delete(table))
    bulk.load(connection, table, portable.columns, rows)
    if connection.dialect.name == "postgresql":
        # Nobody else looks at a temporary table: without numbers the planner reads the whole store for every batch.
        connection.execute(text(f"ANALYZE {table.name} ({', '.join(portable.key)})"))
    return table


@cache
def staged(portable: Portable) -> Table:
    """The temporary table of a portable one, without constraints: what is wrong is refused where it goes."""
    columns = [Column(field.name, _TYPES[field.kind]) for field in portable.fields]
    # PostgreSQL never vacuums a temporary table: emptied by DELETE, it would grow with every batch.
    return Table(
        f"incoming_{portable.name}",
        MetaData(),
        *columns,
        prefixes=["TEMPORARY"],
        postgresql_on_commit="DELETE ROWS",
    )
