"""Reads a store as it travels: the catalogue, then measurements batch by batch with all that belongs to them.

One snapshot, in bounded memory. Writes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, true

from ..profiler.errors import UsageError
from . import schema
from .portable import JOB, MEASURED, Portable, Row, Value, leaving

#: Measurements in a batch. A session's raw visits take some kilobytes: tens of megabytes at once.
BATCH = 4_000
#: Rows of the catalogue at once; a workload's skeleton may take a hundred kilobytes.
_CATALOGUE_BATCH = 500

Batch = Mapping[str, list[Row]]


class Source(Protocol):
    """What measurements are taken over from: an export, or another store."""

    def count(self) -> int:
        """How many measurements there are."""

    def catalogue(self, portable: Portable) -> Iterator[list[Row]]:
        """The rows of a table of the catalogue."""

    def batches(self) -> Iterator[Batch]:
        """Measurements with all that belongs to them, by table; every table is named."""


@dataclass(frozen=True)
class StoreReader:
    """A store within one transaction, as a source.

    Attributes:
        devices: identities; only what was measured on them and what that refers to. None is everything.
    """

    connection: Connection
    devices: Collection[str] | None = None

    def count(self) -> int:
        statement = select(func.count()).select_from(schema.measurement).where(self._mine())
        return int(self.connection.execute(statement).scalar_one())

    def catalogue(self, portable: Portable) -> Iterator[list[Row]]:
        statement = leaving(portable).where(self._needed(portable))
        # Jobs in the order in which they were added: it is the order in which they are worked off.
        order = [schema.job.c.id] if portable is JOB else [portable.table.c[name] for name in portable.key]
        statement = statement.order_by(*order)
        found = self.connection.execute(statement, execution_options={"yield_per": _CATALOGUE_BATCH})
        for some in found.partitions():
            yield _plain(some)

    def batches(self) -> Iterator[Batch]:
        last = ""
        while True:
            # By key and not by a cursor: the bounds select what belongs to the batch in the other tables too.
            this = schema.measurement.c.measurement_id
            statement = select(this).where(this > last, self._mine()).order_by(this)
            end = self.connection.execute(statement.limit(1).offset(BATCH - 1)).scalar_one_or_none()
            batch = {portable.name: self._rows(portable, last, end) for portable in MEASURED}
            if batch[schema.measurement.name]:
                yield batch
            if end is None:
                return
            last = end

    def _rows(self, portable: Portable, last: str, end: str | None) -> list[Row]:
        this = portable.table.c.measurement_id
        within = this > last if end is None else and_(this > last, this <= end)
        statement = leaving(portable).where(within)
        if self.devices is not None:
            of = select(schema.measurement.c.measurement_id).where(self._mine())
            statement = statement.where(this.in_(of))
        statement = statement.order_by(*(portable.table.c[name] for name in portable.key))
        return _plain(self.connection.execute(statement).all())

    def _mine(self) -> ColumnElement[bool]:
        return true() if self.devices is None else schema.measurement.c.device_identity.in_(sorted(self.devices))

    def _needed(self, portable: Portable) -> ColumnElement[bool]:
        """Which rows of the catalogue leave: all, or those that the devices' measurements lead to."""
        if self.devices is None:
            return true()
        measurement, job = schema.measurement, schema.job
        if portable.table is schema.device:
            return schema.device.c.identity.in_(sorted(self.devices))
        jobs = select(measurement.c.job_id).where(self._mine())
        if portable.table is schema.job:
            return job.c.id.in_(jobs)
        if portable.table is schema.campaign:
            return schema.campaign.c.id.in_(select(job.c.campaign_id).where(job.c.id.in_(jobs)))
        if portable.table is schema.sensor:
            energy = schema.measurement_energy
            used = select(energy.c.sensor_hash).join_from(energy, measurement).where(self._mine())
            return schema.sensor.c.sensor_hash.in_(used)
        if portable.table is schema.named_runtime:
            return ~true()  # nobody's: a name belongs to the store
        if portable.table is schema.workload:
            planned = select(job.c.graph_hash).where(job.c.id.in_(jobs))
            measured = select(measurement.c.graph_hash).where(self._mine())
            return or_(schema.workload.c.graph_hash.in_(measured), schema.workload.c.graph_hash.in_(planned))
        (key,) = portable.key
        return portable.table.c[key].in_(select(measurement.c[key]).where(self._mine()))


def _plain(rows: Sequence[Sequence[Value]]) -> list[Row]:
    return [tuple(row) for row in rows]


def identities(connection: Connection, wanted: Collection[str]) -> set[str]:
    """The identities of devices by name or identity.

    Raises:
        UsageError: there is no such device.
    """
    table, found = schema.device, set()
    for name in wanted:
        statement = select(table.c.identity).where(or_(table.c.name == name, table.c.identity == name))
        matching = set(connection.execute(statement).scalars())
        if not matching:
            raise UsageError(f"The store has no device {name!r}.", remedy="edgecost db info lists the devices.")
        found |= matching
    return found
