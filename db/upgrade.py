"""Brings a database to the schema of this version, or says why not. The steps themselves are in ``migrations/``.

A new step: change ``schema.py``, write ``migrations/versions/000N_name.py`` by hand, append its name to ``REVISIONS``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from ..profiler.errors import NotADatabase, SchemaMismatch
from . import fleet_schema, partitions
from .connect import Database
from .schema import HEAD, REVISIONS, measurement

if TYPE_CHECKING:
    from alembic.config import Config

#: PostgreSQL's advisory lock that one upgrading process holds: "edgecost" in ASCII.
_UPGRADE_LOCK = 0x65646765636F7374


def bring_to_head(database: Database) -> None:
    """Create or lift the schema in one transaction; a database at head is only looked at.

    Raises:
        NotADatabase: the file is something else, or holds somebody else's tables.
        SchemaMismatch: a newer edgecost wrote it.
        StoreError: it cannot be read or written.
    """
    with database.read() as connection:
        if revision(connection, database.label) == HEAD:
            return
    with database.write() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
        if revision(connection, database.label) != HEAD:
            _run_migrations(connection)
            partitions.make_missing(connection)


def revision(connection: Connection, label: str) -> str | None:
    """The revision of the database; None when it is empty. Raises as ``bring_to_head``."""
    tables = set(inspect(connection).get_table_names())
    if not tables:
        return None
    found: str | None = None
    if "alembic_version" in tables:
        found = connection.execute(text("SELECT max(version_num) FROM alembic_version")).scalar_one()
    if found in REVISIONS or (found is None and tables == {"alembic_version"}):
        return found
    if found is not None and measurement.name in tables:
        raise SchemaMismatch(
            f"{label} has schema {found}, this edgecost knows up to {HEAD}: written by a newer edgecost; upgrade.",
            remedy="pip install --upgrade edgecost",
        )
    raise NotADatabase(f"{label} holds other tables: {_some(tables)}.", remedy="Name another database.")


def alembic_config(connection: Connection) -> Config:
    """Alembic's configuration without an ini file, so that an installed wheel can upgrade."""
    from alembic.config import Config  # 0.1 s; most starts find a database at head and never need it

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["metadata"] = fleet_schema.agent.metadata  # with the tables of both files
    return config


def _run_migrations(connection: Connection) -> None:
    from alembic.command import upgrade

    upgrade(alembic_config(connection), "head")


def _some(tables: set[str]) -> str:
    names = sorted(tables)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
