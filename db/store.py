"""The one door to the store: each method is one transaction, or says otherwise. The statements stand beside it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from ..profiler.records import Device, Environment, Json, Measurement, Quantity, RuntimeProfile, Sensor
from ..profiler.runtimes import NamedRuntime
from . import campaigns, intake, maintenance, measurements, named_runtimes, workloads
from .browsing import Browsing
from .connect import Database, resolve_url
from .counts import counts
from .export import export
from .export_reader import open_export
from .fleet.door import Fleet
from .fleet.wakeup import announce
from .other_store import open_copy
from .records import (
    CampaignSummary,
    DailyRollup,
    Exported,
    Interrupted,
    Job,
    Maintained,
    NewJob,
    SpooledVisit,
    StoreCounts,
    TakenOver,
)
from .tallies import Tallies
from .upgrade import bring_to_head

if TYPE_CHECKING:
    from ..profiler.workload import Workload


class Store:
    """An open database at the current schema; safe to share between threads, not across ``fork``.

    Every method raises ``StoreError``, or the subclass with the fitting remedy, when the database fails; nothing of
    that call is kept then.
    """

    def __init__(self, url: str | os.PathLike[str] | None = None) -> None:
        """Open, create or lift a database.

        Args:
            url: ``postgresql://…``, ``sqlite:///…`` or a path; None is ``$EDGECOST_DB``, then a file in the user's data
                directory.

        Raises:
            UsageError: another kind of database.
            StoreError: it cannot be opened, is something else, or was written by a newer edgecost.
        """
        self._database = Database(resolve_url(url))
        with ExitStack() as undo:
            undo.callback(self._database.close)
            bring_to_head(self._database)
            undo.pop_all()
        self._fleet = Fleet(self._database)
        self._browsing = Browsing(self._database)
        self._tallies = Tallies(self._database)

    @staticmethod
    def exists(url: str | os.PathLike[str] | None = None) -> bool:
        """Whether there is something to open, which opening would otherwise make; a server is taken to have it.

        Raises:
            UsageError: another kind of database.
        """
        place = resolve_url(url)
        try:
            return place.get_backend_name() != "sqlite" or Path(place.database or "").exists()
        except OSError:
            return True  # a folder that may not be looked into: opening says what is wrong

    @property
    def url(self) -> str:
        """Where this is, without the password."""
        return self._database.label

    @property
    def fleet(self) -> Fleet:
        """The door to what a fleet keeps here: boards, leases, receipts, models."""
        return self._fleet

    @property
    def browsing(self) -> Browsing:
        """The door for people who look: few rows, quickly."""
        return self._browsing

    @property
    def tallies(self) -> Tallies:
        """The door for reports: what a device or a campaign amounts to."""
        return self._tallies

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # What measurements refer to: stored once by identity, the first stays.

    def put_device(self, device: Device) -> None:
        with self._database.write() as connection:
            workloads.put_device(connection, device)

    def put_environment(self, environment: Environment) -> None:
        with self._database.write() as connection:
            workloads.put_environment(connection, environment)

    def put_profile(self, profile: RuntimeProfile) -> None:
        with self._database.write() as connection:
            workloads.put_profile(connection, profile)

    def put_sensor(self, sensor: Sensor) -> None:
        with self._database.write() as connection:
            workloads.put_sensor(connection, sensor)

    def put_workload(self, workload: Workload) -> None:
        with self._database.write() as connection:
            workloads.put_workload(connection, workload)

    def workload(self, graph_hash: str) -> Workload | None:
        with self._database.read() as connection:
            return workloads.workload(connection, graph_hash)

    def profile(self, profile_hash: str) -> RuntimeProfile | None:
        with self._database.read() as connection:
            return workloads.profile(connection, profile_hash)

    def environment(self, environment_hash: str) -> Environment | None:
        with self._database.read() as connection:
            return workloads.environment(connection, environment_hash)

    def sensor(self, sensor_hash: str) -> Sensor | None:
        with self._database.read() as connection:
            return workloads.sensor(connection, sensor_hash)

    def devices(self) -> list[Device]:
        """By name."""
        with self._database.read() as connection:
            return workloads.devices(connection)

    # Runtimes by the names that people gave them.

    def put_named_runtime(self, named: NamedRuntime) -> bool:
        """Store a runtime under its name. False when the name is taken: what was stored first stays."""
        with self._database.write() as connection:
            return named_runtimes.put(connection, named)

    def named_runtime(self, name: str) -> NamedRuntime | None:
        with self._database.read() as connection:
            return named_runtimes.get(connection, name)

    def named_runtimes(self) -> list[NamedRuntime]:
        """By name."""
        with self._database.read() as connection:
            return named_runtimes.read_all(connection)

    def remove_named_runtime(self, name: str) -> bool:
        """Forget a name; the measurements made with it stay. False when there is no such name."""
        with self._database.write() as connection:
            return named_runtimes.remove(connection, name)

    # Measurements.

    def record(self, measurement: Measurement, job_id: int | None = None, *, lease_token: str | None = None) -> bool:
        """Store one attempt with its raw visits, move its job on and end its spool. False when it was recorded before.

        The device, environment, profile, workload and sensor must have been put. A status whose numbers may be used
        makes the job done; anything else counts as a failed attempt, except ``INTERRUPTED``, and gives the job back
        until it has failed too often.

        Args:
            lease_token: change an unfinished job only while it is held under this lease.
        """
        with self._database.write() as connection:
            return measurements.record(connection, measurement, job_id, lease_token)

    def measurements(
        self,
        *,
        device_identity: str | None = None,
        profile_hash: str | None = None,
        graph_hashes: Collection[str] | None = None,
        purposes: Collection[str] | None = None,
        usable_only: bool = True,
        with_visits: bool = False,
        of: Quantity | None = Quantity.LATENCY,
        limit: int | None = None,
        after: Measurement | None = None,
    ) -> list[Measurement]:
        """Measurements, oldest first; None does not restrict, an empty collection matches nothing.

        Args:
            usable_only: leave out those without a number of the quantity, those whose numbers may not be used, and
                those retracted.
            with_visits: read what is bulky, too: raw visits, conditions and the energies of rails; else all are empty.
            of: the quantity; None is whichever they have, or none. Without ``usable_only`` it means nothing.
            limit: no more than so many, the oldest: a page.
            after: only those that come later; the last of a page leads to the next.
        """
        wanted = measurements.Wanted(
            device_identity, profile_hash, graph_hashes, purposes, usable_only, with_visits, of, limit, after
        )
        with self._database.read() as connection:
            return measurements.read(connection, wanted)

    def profiles_of(self, device_identity: str) -> list[str]:
        """Hashes of the runtime profiles that a device was measured with, the most recent last."""
        with self._database.read() as connection:
            return measurements.profiles_of(connection, device_identity)

    def environments_of(self, device_identity: str, profile_hash: str) -> list[str]:
        """Hashes of the environments in which a device was measured under a profile."""
        with self._database.read() as connection:
            return measurements.environments_of(connection, device_identity, profile_hash)

    def latest(
        self,
        graph_hash: str,
        *,
        device_identity: str,
        profile_hash: str | None = None,
        of: Quantity | None = Quantity.LATENCY,
    ) -> Measurement | None:
        """The newest usable measurement of a graph on a device, without its visits; None when there is none.

        Args:
            profile_hash: None is any profile.
            of: the quantity that it must have; None is whichever.
        """
        wanted = measurements.Wanted(device_identity, profile_hash, (graph_hash,), of=of)
        with self._database.read() as connection:
            return measurements.latest(connection, wanted)

    def measured_pairs(self, purposes: Collection[str]) -> list[tuple[str, str]]:
        """Identity of the device and hash of the profile of every pair that has a usable latency for such a purpose."""
        with self._database.read() as connection:
            return measurements.measured_pairs(connection, purposes)

    def session_conditions(
        self, device_identity: str, profile_hash: str, limit: int, environment_hash: str | None = None
    ) -> list[dict[str, Json]]:
        """Conditions of the newest ``limit`` sessions that have any, newest first, each with its ``session``.

        None asks for sessions in any environment.
        """
        with self._database.read() as connection:
            return measurements.session_conditions(connection, device_identity, profile_hash, limit, environment_hash)

    def retract(self, measurement_id: str, author: str, reason: str) -> None:
        """Say that a measurement is not to be used; it stays, beside the reason.

        Raises:
            UsageError: no measurement has this id.
        """
        with self._database.write() as connection:
            measurements.retract(connection, measurement_id, author, reason)

    # Campaigns and their jobs.

    def open_campaign(self, name: str, space: str, settings: Mapping[str, Json], selector: str | None = None) -> int:
        """The id of the campaign with this name, made when there is none; what was stored first stays.

        Args:
            selector: which boards of a fleet may work on it (``fleet/selector.py``); None: only who asks by its id.
        """
        with self._database.write() as connection:
            return campaigns.open_campaign(connection, name, space, settings, selector)

    def add_jobs(self, campaign_id: int, jobs: Sequence[NewJob]) -> int:
        """Add the jobs whose ``dedupe_key`` is new in the store; their number. The workloads must have been put."""
        with self._database.write() as connection:
            added = campaigns.add_jobs(connection, campaign_id, jobs)
            announce(connection)
            return added

    def lease_jobs(self, campaign_id: int, owner: str, limit: int, lease_s: float) -> list[Job]:
        """Take up to ``limit`` free jobs of the highest priority there is, oldest first.

        A job is free when it is pending, or when its lease ran out.
        """
        with self._database.write() as connection:
            return campaigns.lease_jobs(connection, campaign_id, owner, limit, lease_s)

    def extend_leases(self, owner: str, lease_s: float) -> int:
        """Let the leases of ``owner`` run ``lease_s`` seconds from now; their number; fewer: some were lost."""
        with self._database.write() as connection:
            return campaigns.extend_leases(connection, owner, lease_s)

    def release_leases(self, owner: str) -> int:
        """Give back the unfinished jobs of ``owner``; their number."""
        with self._database.write() as connection:
            return campaigns.release_leases(connection, owner)

    def spool_visits(self, rows: Sequence[SpooledVisit]) -> None:
        """Put visits aside until their measurement is recorded."""
        with self._database.write() as connection:
            campaigns.spool_visits(connection, rows)

    def recover_spool(self, campaign_id: int, *, is_alive: Callable[[str], bool]) -> list[Interrupted]:
        """What dead owners left, to be recorded by the caller; their leases are given back.

        Record each with ``lease_token=interrupted.job.lease_token``: another owner may hold the job by then.

        Args:
            is_alive: whether the owner of a lease still runs; asked once per owner, outside any transaction.
        """
        with self._database.read() as connection:
            owners = campaigns.owners(connection, campaign_id)
        dead = [owner for owner in owners if not is_alive(owner)]
        with self._database.write() as connection:
            return campaigns.recover_spool(connection, campaign_id, dead)

    def campaigns(self) -> list[CampaignSummary]:
        """All campaigns with their jobs by state, oldest first."""
        with self._database.read() as connection:
            return campaigns.summaries(connection)

    # To another store and from it.

    def export_parquet(
        self, folder: Path, *, devices: Collection[str] = (), progress: intake.Progress | None = None
    ) -> Exported:
        """Write everything, or what was measured on ``devices`` (names or identities), as Parquet into a new folder.

        Raises:
            UsageError: there is no such device.
            OutputError: the folder holds something, or cannot be written.
        """
        return export(self._database, folder, devices, progress)

    def import_parquet(self, place: Path, *, progress: intake.Progress | None = None) -> TakenOver:
        """Add what an export has and this store has not; the export is checked whole before anything is added.

        One transaction for each batch of whole measurements; called again, it adds what an interrupted one left.

        Raises:
            ArtefactError: it is damaged, was altered, or is something else.
            SchemaMismatch: a newer edgecost wrote it.
        """
        with open_export(place) as source:
            return intake.take_over(source, self._database, progress)

    def merge(self, other: Path, *, progress: intake.Progress | None = None) -> TakenOver:
        """Add what another SQLite store, of this schema or an older one, has and this one has not; it is not changed.

        In transactions as ``import_parquet``.

        Raises:
            SchemaMismatch: a newer edgecost wrote it.
        """
        with open_copy(other) as source:
            return intake.take_over(source, self._database, progress)

    # What keeps a store in order.

    def maintain(self) -> Maintained:
        """Add up anew the days on which measurements came since the last time; doing it twice changes nothing.

        On PostgreSQL it makes the partitions of raw samples for this month and three more. One process at a time;
        another leaves at once. One transaction for each device and profile, and for each month.
        """
        return maintenance.maintain(self._database)

    def daily(self, *, first: str = "", last: str = "9999", device_identity: str | None = None) -> list[DailyRollup]:
        """What was measured from the day ``first`` to ``last``, oldest first, as of the last ``maintain``."""
        with self._database.read() as connection:
            return maintenance.daily(connection, first, last, device_identity)

    def counts(self) -> StoreCounts:
        """Rows by table, size in bytes, schema and engine."""
        with self._database.read() as connection:
            return counts(connection, self._database)
