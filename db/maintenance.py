"""Keeps a store in order from time to time: the measurements of each day, added up, and room for the next months.

Changes no measurement.

A day is added up anew when it does not have as many attempts in ``rollup_daily`` as it has measurements: those are only
ever added, on old days too, when a board comes back or another store is merged. So nothing has to be remembered from
one time to the next, and a process that dies leaves days that the next one finds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    Text,
    and_,
    case,
    cast,
    delete,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    text,
    true,
)

from ..profiler.records import Status
from . import partitions, schema
from .connect import Database
from .failures import in_our_words
from .records import DailyRollup, Maintained

#: PostgreSQL's advisory lock that one maintainer holds: "edgecosv" in ASCII, one after the intake's.
_MAINTAINER_LOCK = 0x65646765636F7376
#: Days in one statement; SQLite before 3.32 takes 999 parameters.
_CHUNK = 500

_USABLE = tuple(status.value for status in Status if status.has_latency)
_REJECTED = (Status.REJECTED.value, Status.UNSTABLE.value)


def maintain(database: Database) -> Maintained:
    """Add up the days on which measurements came, one device and profile after the other; then make months ahead.

    Raises:
        StoreError: by cause; what was done before stays.
    """
    with _leadership(database) as is_leader:
        if not is_leader:
            return Maintained(is_leader=False)
        with database.read() as connection:
            changed = connection.execute(_changed()).all()
        days, rows = 0, 0
        for (device, profile), group in groupby(changed, key=lambda row: (row[0], row[1])):
            its_days = [day for _, _, day in group]
            days += len(its_days)
            with database.write() as connection:
                for start in range(0, len(its_days), _CHUNK):
                    rows += _add_up(connection, device, profile, its_days[start : start + _CHUNK])
        months = partitions.make_months(database)
        return Maintained(True, days, rows, months, partitions.outside_months(database))


def daily(connection: Connection, first: str, last: str, device_identity: str | None) -> list[DailyRollup]:
    """The roll-ups of these days, oldest first."""
    table = schema.rollup_daily
    mine = true() if device_identity is None else table.c.device_identity == device_identity
    statement = select(table).where(table.c.day >= first, table.c.day <= last, mine)
    found = connection.execute(statement.order_by(*table.primary_key.columns))
    return [DailyRollup(*row) for row in found]


@contextmanager
def _leadership(database: Database) -> Iterator[bool]:
    """Whether nobody else is at it. On SQLite the write lock lets one add up at a time, and the next finds it done."""
    if database.dialect != "postgresql":
        yield True
        return
    # The lock is the session's and not a transaction's, which would keep PostgreSQL from tidying up all the while.
    with in_our_words(database.label), database.engine.connect() as connection:
        session = connection.execution_options(isolation_level="AUTOCOMMIT")
        bound = {"key": _MAINTAINER_LOCK}
        if not session.execute(text("SELECT pg_try_advisory_lock(:key)"), bound).scalar_one():
            yield False
            return
        try:
            yield True
        finally:
            session.execute(text("SELECT pg_advisory_unlock(:key)"), bound)


def _day() -> ColumnElement[str]:
    # Numbers in the text: with parameters PostgreSQL takes two of these for two expressions.
    return func.substr(schema.measurement.c.started_at, literal_column("1"), literal_column("10"), type_=Text)


def _changed() -> Select[str, str, str]:
    """Device, profile and day where the numbers differ. Counted in an index, without the measurements themselves."""
    table, known = schema.measurement, schema.rollup_daily
    key = (table.c.device_identity, table.c.profile_hash, _day().label("day"))
    there = select(*key, func.count().label("attempts")).group_by(*key).subquery()
    known_key = (known.c.device_identity, known.c.profile_hash, known.c.day)
    added = select(*known_key, func.sum(known.c.attempts).label("attempts")).group_by(*known_key).subquery()
    same = and_(*(there.c[column.name] == added.c[column.name] for column in known_key))
    return (
        select(there.c.device_identity, there.c.profile_hash, there.c.day)
        .outerjoin_from(there, added, same)
        .where(or_(added.c.attempts.is_(None), added.c.attempts != there.c.attempts))
        .order_by(there.c.device_identity, there.c.profile_hash, there.c.day)
    )


def _add_up(connection: Connection, device: str, profile: str, days: list[str]) -> int:
    """Write the roll-ups of these days anew; their number."""
    table, rollup = schema.measurement, schema.rollup_daily
    old = and_(rollup.c.device_identity == device, rollup.c.profile_hash == profile, rollup.c.day.in_(days))
    connection.execute(delete(rollup).where(old))
    usable, rejected = table.c.status.in_(_USABLE), table.c.status.in_(_REJECTED)
    numbers = {
        "attempts": func.count(),
        "usable": _count(usable),
        "rejected": _count(rejected),
        "failed": _count(~or_(usable, rejected)),
        "visits": func.sum(table.c.all_visits),
        "rejected_visits": func.sum(table.c.rejected_visits),
    }
    sums = [cast(number, BigInteger) for number in numbers.values()]
    # The first and last day let the index find the rows; "Z" comes after the "T" of stamps on every collation.
    of_these = and_(
        *(table.c.device_identity == device, table.c.profile_hash == profile, _day().in_(days)),
        *(table.c.started_at >= days[0], table.c.started_at <= days[-1] + "Z"),
    )
    rows = select(_day(), literal(device), literal(profile), table.c.purpose, *sums).where(of_these)
    rows = rows.group_by(_day(), table.c.purpose)
    key = ("day", "device_identity", "profile_hash", "purpose")
    statement = insert(rollup).from_select([*key, *numbers], rows)
    return connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((condition, 1), else_=0))
