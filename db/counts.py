"""How much is in the store and how large it is."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Table, func, select, text

from . import schema
from .connect import Database
from .records import StoreCounts


def counts(connection: Connection, database: Database) -> StoreCounts:
    """Rows by table, size in bytes, schema and engine."""

    def rows(table: Table) -> int:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())

    return StoreCounts(
        devices=rows(schema.device),
        environments=rows(schema.environment),
        profiles=rows(schema.runtime_profile),
        workloads=rows(schema.workload),
        campaigns=rows(schema.campaign),
        jobs=rows(schema.job),
        measurements=rows(schema.measurement),
        annotations=rows(schema.annotation),
        spooled_visits=rows(schema.visit_spool),
        size_bytes=_size_bytes(connection, database),
        schema_revision=schema.HEAD,
        dialect=database.dialect,
    )


def _size_bytes(connection: Connection, database: Database) -> int:
    if database.dialect == "postgresql":
        return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())
    file = database.url.database or ""
    return sum(path.stat().st_size for path in (Path(file), Path(file + "-wal")) if path.exists())
