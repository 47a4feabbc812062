"""What people look at: always a bounded number of rows, found by an index, however many the store holds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, func, select

from ..profiler.errors import UsageError
from ..profiler.records import Measurement
from . import measurements, schema
from .connect import Database
from .fleet_schema import receipt
from .measurements import Wanted

#: Rows of a list, at the most.
ROWS_MAX = 1000


@dataclass(frozen=True)
class WorkloadHead:
    """What a workload is called, without its graph."""

    graph_hash: str
    name: str
    kind: str


@dataclass(frozen=True)
class Pace:
    """How fast the boards are through a campaign.

    Attributes:
        results: that counted.
        first_at, last_at: when the first and the last of them came; None without one.
        first_took_s: seconds that the first one was measured, by its board's clock: boards send what they measured
            together at once, so that the time between results alone is too short.
    """

    results: int
    first_at: str | None
    last_at: str | None
    first_took_s: float

    @property
    def per_minute(self) -> float | None:
        """Results a minute, since the first began; None without one, or where no time passed."""
        if self.first_at is None or self.last_at is None:
            return None
        seconds = self.first_took_s + _seconds(self.first_at, self.last_at)
        return self.results / seconds * 60 if seconds > 0 else None


class Browsing:
    """Every method is one transaction, and raises ``StoreError`` when the database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def newest(
        self,
        *,
        device_identity: str | None = None,
        graph_hash: str | None = None,
        limit: int = 50,
        with_visits: bool = False,
    ) -> list[Measurement]:
        """The newest measurements of a device, of a graph, or of both, whatever came of them.

        Raises:
            UsageError: neither is named: that would be a search through the whole store.
        """
        if device_identity is None and graph_hash is None:
            raise UsageError("the newest of which device, or of which graph?")
        wanted = Wanted(
            device_identity, None, None if graph_hash is None else (graph_hash,),
            usable_only=False, with_visits=with_visits, of=None, limit=min(limit, ROWS_MAX), newest=True,
        )  # fmt: skip
        with self._database.read() as connection:
            if graph_hash is not None or device_identity is None:
                return measurements.read(connection, wanted)
            # The index has a device's measurements by profile, and those by time.
            found: list[Measurement] = []
            for profile_hash in measurements.profiles_of(connection, device_identity):
                found += measurements.read(connection, replace(wanted, profile_hash=profile_hash))
        found.sort(key=lambda one: (one.started_at, one.measurement_id), reverse=True)
        return found[: wanted.limit]

    def measurement(self, measurement_id: str) -> Measurement:
        """One, with all its visits.

        Raises:
            UsageError: there is no such measurement.
        """
        table = schema.measurement
        with self._database.read() as connection:
            row = connection.execute(
                select(table.c.device_identity, table.c.profile_hash, table.c.graph_hash).where(
                    table.c.measurement_id == measurement_id
                )
            ).one_or_none()
            if row is None:
                raise UsageError(f"there is no measurement {measurement_id}", remedy="edgecost db info")
            wanted = Wanted(row[0], row[1], (row[2],), usable_only=False, with_visits=True, of=None)
            return next(one for one in measurements.read(connection, wanted) if one.measurement_id == measurement_id)

    def workloads(self, text: str = "", limit: int = 50) -> list[WorkloadHead]:
        """Workloads whose name holds a text, or whose hash begins with it, by name."""
        table = schema.workload
        pattern = "".join(f"\\{sign}" if sign in "%_\\" else sign for sign in text)
        found = (
            select(table.c.graph_hash, table.c.name, table.c.kind)
            .where(table.c.name.like(f"%{pattern}%", escape="\\") | table.c.graph_hash.like(f"{pattern}%", escape="\\"))
            .order_by(table.c.name, table.c.graph_hash)
            .limit(min(limit, ROWS_MAX))
        )
        with self._database.read() as connection:
            return [WorkloadHead(*row) for row in connection.execute(found)]

    def names(self, graph_hashes: list[str]) -> dict[str, str]:
        """What graphs are called, by their hash; ``ROWS_MAX`` at the most."""
        table = schema.workload
        chosen = sorted(set(graph_hashes))[:ROWS_MAX]
        with self._database.read() as connection:
            rows = connection.execute(select(table.c.graph_hash, table.c.name).where(table.c.graph_hash.in_(chosen)))
            return {row[0]: row[1] for row in rows}

    def pace(self, campaign_id: int) -> Pace:
        """When the results of a campaign came."""
        with self._database.read() as connection:
            return _pace(connection, campaign_id)


def _pace(connection: Connection, campaign_id: int) -> Pace:
    table = schema.job
    which = (table.c.campaign_id == campaign_id, receipt.c.verdict == "accepted")
    count, first_at, last_at = connection.execute(
        select(func.count(), func.min(receipt.c.received_at), func.max(receipt.c.received_at))
        .join_from(table, receipt)
        .where(*which)
    ).one()
    made = schema.measurement
    first = connection.execute(
        select(made.c.started_at, made.c.finished_at)
        .join_from(table, receipt)
        .join(made, made.c.measurement_id == receipt.c.measurement_id)
        .where(*which, receipt.c.received_at == first_at)
        .limit(1)
    ).one_or_none()
    return Pace(count, first_at, last_at, 0.0 if first is None else max(0.0, _seconds(*first)))


def _seconds(begin: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()
