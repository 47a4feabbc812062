"""Months of raw samples on PostgreSQL: each has a partition, made before it begins. SQLite keeps one table.

Attempts are named by time (``profiler/measurement_id.py``), so a month is a range of names: an attempt stays unique in
the whole table, and who asks for its samples looks into one partition. What has another name, or is of a month that
has no partition, stands in the default partition, as all do that came before there were months.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Self

from sqlalchemy import Connection, text

from ..profiler.measurement_id import first_id_of
from . import schema
from .connect import Database, now

_RAW = schema.measurement_raw.name
#: The default partition.
_OTHER = f"{_RAW}_other"
#: Months after the present one that have a partition: a store may go without its keeper for as long.
AHEAD = 3
#: Whoever records waits while a month is made, and that waits for whoever reads: not for long, it can be made later.
_PATIENCE_MS = 5_000


@dataclass(frozen=True, order=True)
class Month:
    """Of the Gregorian calendar, in UTC."""

    year: int
    number: int

    @classmethod
    def of(cls, moment: datetime) -> Self:
        return cls(moment.year, moment.month)

    @classmethod
    def of_table(cls, name: str) -> Self:
        """The month whose partition has this name."""
        year, number = name.split("_")[-2:]
        return cls(int(year), int(number))

    def later(self, months: int) -> Month:
        year, number = divmod(self.year * 12 + self.number - 1 + months, 12)
        return Month(year, number + 1)

    @property
    def first_id(self) -> str:
        """Attempts of this month come after it in the order of text, those of earlier ones before it."""
        return first_id_of(round(datetime(self.year, self.number, 1, tzinfo=timezone.utc).timestamp() * 1000))

    @property
    def table(self) -> str:
        """The name of its partition."""
        return f"{_RAW}_{self.year:04}_{self.number:02}"


def make_months(database: Database) -> int:
    """Make the partitions that are missing up to ``AHEAD`` months from now, each in a transaction; their number.

    Raises:
        StoreBusy: somebody reads or records for so long that it was left for another time; the ones before stay.
    """
    if database.dialect != "postgresql":
        return 0
    with database.read() as connection:
        missing = missing_months(connection)
    for month in missing:
        with database.write() as connection:
            connection.execute(text(f"SET LOCAL lock_timeout = {_PATIENCE_MS}"))
            make_month(connection, month)
    return len(missing)


def make_missing(connection: Connection) -> None:
    """The same in one transaction of the caller, where nobody else has a use for the store yet."""
    if connection.dialect.name == "postgresql":
        for month in missing_months(connection):
            make_month(connection, month)


def missing_months(connection: Connection) -> list[Month]:
    """From the oldest that has a partition, else from the present one. One that was detached has its table still."""
    names = text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = CAST(:raw AS regclass)")
    attached = [Month.of_table(name) for name in connection.execute(names, {"raw": _RAW}).scalars() if name != _OTHER]
    present = Month.of(now(connection))
    month = min([present, *attached])
    missing = []
    while month <= present.later(AHEAD):
        if connection.execute(text("SELECT to_regclass(:name)"), {"name": month.table}).scalar_one() is None:
            missing.append(month)
        month = month.later(1)
    return missing


def make_month(connection: Connection, month: Month) -> None:
    """Make the partition of a month; what stands in the default partition and belongs there moves.

    Locks are taken in the order in which those who record take them.
    """
    bounds = {"first": month.first_id, "after": month.later(1).first_id}
    for statement in (
        "LOCK TABLE measurement IN SHARE ROW EXCLUSIVE MODE",
        f"LOCK TABLE ONLY {_RAW} IN SHARE UPDATE EXCLUSIVE MODE",
        f"LOCK TABLE {_OTHER} IN ACCESS EXCLUSIVE MODE",
        f"CREATE TABLE {month.table} (LIKE {_RAW} INCLUDING STORAGE INCLUDING COMPRESSION)",
        f"ALTER TABLE {_OTHER} DISABLE TRIGGER {_OTHER}_immutable",
    ):
        connection.execute(text(statement))
    moved = f"DELETE FROM {_OTHER} WHERE measurement_id >= :first AND measurement_id < :after RETURNING *"
    connection.execute(text(f"WITH moved AS ({moved}) INSERT INTO {month.table} SELECT * FROM moved"), bounds)
    for statement in (
        f"ALTER TABLE {_OTHER} ENABLE TRIGGER {_OTHER}_immutable",
        f"ALTER TABLE {_RAW} ATTACH PARTITION {month.table} "
        f"FOR VALUES FROM ('{bounds['first']}') TO ('{bounds['after']}')",
        # A trigger for whole statements guards only the table that it stands on.
        f"CREATE TRIGGER {month.table}_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON {month.table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION edgecost_refuse()",
    ):
        connection.execute(text(statement))


def outside_months(database: Database) -> int:
    """How many rows stand in the default partition; 0 on SQLite, which has no months."""
    if database.dialect != "postgresql":
        return 0
    with database.read() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {_OTHER}")).scalar_one())
