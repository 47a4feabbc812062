"""Statements on runtimes by name."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select

from ..profiler.runtimes import NamedRuntime, named_from_document
from . import schema
from .connect import insert_missing


def put(connection: Connection, named: NamedRuntime) -> bool:
    """Store a runtime; False when the name is taken."""
    table = schema.named_runtime
    statement = insert_missing(table, connection).values(name=named.name, document=named.document())
    return connection.execute(statement.returning(table.c.name)).first() is not None


def get(connection: Connection, name: str) -> NamedRuntime | None:
    """The runtime of this name, None when unknown."""
    table = schema.named_runtime
    document = connection.execute(select(table.c.document).where(table.c.name == name)).scalar_one_or_none()
    return None if document is None else named_from_document(document)


def read_all(connection: Connection) -> list[NamedRuntime]:
    """All runtimes, by name."""
    documents = connection.execute(select(schema.named_runtime.c.document)).scalars()
    # Not ORDER BY: PostgreSQL's order depends on its locale.
    return sorted(map(named_from_document, documents), key=_by_name)


def remove(connection: Connection, name: str) -> bool:
    """Delete a runtime; False when there is none of this name."""
    table = schema.named_runtime
    statement = delete(table).where(table.c.name == name)
    return connection.execute(statement.returning(table.c.name)).first() is not None


def _by_name(named: NamedRuntime) -> str:
    return named.name
