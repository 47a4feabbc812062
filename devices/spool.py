"""What an agent must not lose: leases in hand, attempts begun, their visits, and results on their way to the hub.

One SQLite file, each step one transaction that is on the disk when the call returns. Statements keep to SQLite 3.22,
which boards have. It knows no network and measures nothing. Standard library only.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..profiler.documents import decode, document_of
from ..profiler.errors import BadDocument, NotADatabase, SchemaMismatch, StoreBusy, StoreError, StoreUnwritable
from ..profiler.fleet_protocol import Lease, Receipt, Result
from ..profiler.records import Json, Visit, content_hash

#: "EdSp", and the version of the tables. 1: the first.
APPLICATION_ID, VERSION = 0x45645370, 1
#: What a card of a board can spare; a day of measuring without a hub takes about 100 MB.
CAP_BYTES = 512 << 20
_BUSY_S = 30.0
#: Receipts that are kept: what ``agent status`` and the recovery of companions look at.
_RECEIPTS_KEPT = 10_000
_TABLES = """
CREATE TABLE lease (lease_token TEXT PRIMARY KEY, boot_id TEXT NOT NULL, document BLOB NOT NULL);
CREATE TABLE attempt (
    measurement_id TEXT PRIMARY KEY, lease_token TEXT NOT NULL, job_id INTEGER NOT NULL, is_over INTEGER NOT NULL,
    environment_hash TEXT NOT NULL, profile_hash TEXT NOT NULL
);
CREATE INDEX attempt_of_lease ON attempt (lease_token);
CREATE TABLE document (hash TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE visit (
    id INTEGER PRIMARY KEY, measurement_id TEXT NOT NULL, ordinal INTEGER NOT NULL, body TEXT NOT NULL,
    UNIQUE (measurement_id, ordinal)
);
CREATE TABLE result (
    id INTEGER PRIMARY KEY, measurement_id TEXT NOT NULL UNIQUE, job_id INTEGER NOT NULL, session TEXT NOT NULL,
    overhead_ms REAL, refusal TEXT, body BLOB NOT NULL
);
CREATE TABLE receipt (
    id INTEGER PRIMARY KEY, measurement_id TEXT NOT NULL UNIQUE, verdict TEXT NOT NULL, job_state TEXT NOT NULL,
    session TEXT NOT NULL, overhead_ms REAL
);
CREATE INDEX receipt_of_session ON receipt (session);
"""


@dataclass(frozen=True)
class Begun:
    """An attempt that was begun: known by name before its first run."""

    measurement_id: str
    job_id: int
    visits: tuple[Visit, ...] = ()


@dataclass(frozen=True)
class Leftover:
    """A lease of a process that is gone.

    Attributes:
        boot_id: of the machine's start in which it was taken.
        begun: attempts that are not over.
        untouched: jobs that no attempt was made at.
        environment, profile: documents of the attempts; empty where none was begun.
    """

    lease: Lease
    boot_id: str
    begun: tuple[Begun, ...]
    untouched: tuple[int, ...]
    environment: Mapping[str, Json]
    profile: Mapping[str, Json]


@dataclass(frozen=True)
class Waiting:
    """A result that the hub has not confirmed: its JSON as it is sent."""

    measurement_id: str
    body: bytes


@dataclass(frozen=True)
class SpoolCounts:
    """How much is where. ``refused`` results are kept, and offered again when the agent starts."""

    leases: int
    attempts_begun: int
    visits: int
    waiting: int
    refused: int
    receipts: Mapping[str, int]
    size_bytes: int


class Spool:
    """The file, for the threads of one process.

    Every method raises:
        StoreUnwritable: the disk is full, or the file may not be written; the step left no trace.
        NotADatabase: the file is damaged.
        StoreBusy: another process holds it.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            SchemaMismatch: a newer edgecost wrote it.
        """
        self.path = path
        self._lock = threading.RLock()
        with self._told():
            self._connection = sqlite3.connect(
                str(path), timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
        try:
            self._prepare()
        except StoreError:
            self._connection.close()
            raise

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def take(self, lease: Lease, boot_id: str) -> None:
        """A lease is in hand."""
        row = (lease.lease_token, boot_id, _pack(lease))
        with self._step() as run:
            run("INSERT OR IGNORE INTO lease VALUES (?, ?, ?)", row)

    def begin(
        self,
        lease_token: str,
        attempts: Sequence[Begun],
        environment: Mapping[str, Json],
        profile: Mapping[str, object],
    ) -> None:
        """Attempts are about to be made; before their first run."""
        hashes = content_hash(environment), content_hash(profile)
        with self._step() as run:
            for name, body in zip(hashes, (environment, profile), strict=True):
                run("INSERT OR IGNORE INTO document VALUES (?, ?)", (name, json.dumps(body)))
            for one in attempts:
                row = (one.measurement_id, lease_token, one.job_id, 0, *hashes)
                run("INSERT OR IGNORE INTO attempt VALUES (?, ?, ?, ?, ?, ?)", row)

    def visited(self, visits: Sequence[tuple[str, Visit]]) -> None:
        """Keep visits (measurement id, visit)."""
        with self._step() as run:
            for name, visit in visits:
                row = (name, visit.ordinal, json.dumps(document_of(visit), separators=(",", ":")))
                run("INSERT OR IGNORE INTO visit (measurement_id, ordinal, body) VALUES (?, ?, ?)", row)

    def finish(self, result: Result) -> None:
        """An attempt is over: its result waits, and holds its visits from here on."""
        made = result.measurement
        row = (made.measurement_id, result.job_id, made.session, made.overhead_ms, _pack(result))
        with self._step() as run:
            run(
                "INSERT OR IGNORE INTO result (measurement_id, job_id, session, overhead_ms, body)"
                " VALUES (?, ?, ?, ?, ?)",
                row,
            )
            run("UPDATE attempt SET is_over = 1 WHERE measurement_id = ?", (made.measurement_id,))
            run("DELETE FROM visit WHERE measurement_id = ?", (made.measurement_id,))

    def abandon(self, measurement_ids: Sequence[str]) -> None:
        """Attempts that nobody waits for are over; their visits stay as long as there is room."""
        with self._step() as run:
            for name in measurement_ids:
                run("UPDATE attempt SET is_over = 1 WHERE measurement_id = ?", (name,))

    def drop(self, lease_token: str) -> None:
        """A lease is out of hand: answered, given back or lost."""
        with self._step() as run:
            run("DELETE FROM lease WHERE lease_token = ?", (lease_token,))
            run("DELETE FROM attempt WHERE lease_token = ?", (lease_token,))
            run(
                "DELETE FROM document WHERE hash NOT IN (SELECT environment_hash FROM attempt)"
                " AND hash NOT IN (SELECT profile_hash FROM attempt)"
            )

    def next_waiting(self) -> Waiting | None:
        """The oldest result that is neither confirmed nor refused."""
        found = self._all("SELECT measurement_id, body FROM result WHERE refusal IS NULL ORDER BY id LIMIT 1")
        return Waiting(found[0][0], zlib.decompress(found[0][1])) if found else None

    def received(self, receipt: Receipt) -> None:
        """The hub has a result: its receipt takes its place."""
        with self._step() as run:
            run(
                "INSERT OR IGNORE INTO receipt (measurement_id, verdict, job_state, session, overhead_ms)"
                " SELECT measurement_id, ?, ?, session, overhead_ms FROM result WHERE measurement_id = ?",
                (receipt.verdict, receipt.job_state, receipt.measurement_id),
            )
            run("DELETE FROM result WHERE measurement_id = ?", (receipt.measurement_id,))
            run("DELETE FROM receipt WHERE id <= (SELECT max(id) FROM receipt) - ?", (_RECEIPTS_KEPT,))

    def refused(self, measurement_id: str, why: str) -> None:
        """The hub does not take a result: it is kept, and not offered again before the next start."""
        with self._step() as run:
            run("UPDATE result SET refusal = ? WHERE measurement_id = ?", (why, measurement_id))

    def offer_again(self) -> int:
        """Results that were refused wait once more: hub or agent may have been mended. Their number."""
        with self._step() as run:
            return run("UPDATE result SET refusal = NULL WHERE refusal IS NOT NULL").rowcount

    def overhead_of(self, session: str) -> float | None:
        """What the attempts that were finished in a session say of its overhead; None where none was."""
        for table in ("result", "receipt"):
            found = self._all(
                f"SELECT overhead_ms FROM {table} WHERE session = ? AND overhead_ms IS NOT NULL LIMIT 1", (session,)
            )
            if found:
                return float(found[0][0])
        return None

    def leftovers(self) -> list[Leftover]:
        """Leases that are still in hand, with what was begun of them."""
        rows = self._all("SELECT lease_token, boot_id, document FROM lease ORDER BY rowid")
        return [self._leftover(token, boot_id, decode(Lease, _unpack(body))) for token, boot_id, body in rows]

    def counts(self) -> SpoolCounts:
        def number(statement: str) -> int:
            return int(self._all(f"SELECT count(*) FROM {statement}")[0][0])

        return SpoolCounts(
            leases=number("lease"),
            attempts_begun=number("attempt WHERE is_over = 0"),
            visits=number("visit"),
            waiting=number("result WHERE refusal IS NULL"),
            refused=number("result WHERE refusal IS NOT NULL"),
            receipts=dict(self._all("SELECT verdict, count(*) FROM receipt GROUP BY verdict")),
            size_bytes=self.size_bytes(),
        )

    def size_bytes(self) -> int:
        """What its contents take; free pages are used again."""
        pages, free, size = (
            int(self._all(f"PRAGMA {name}")[0][0]) for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size

    def make_room(self, cap_bytes: int = CAP_BYTES) -> bool:
        """Delete visits of attempts that are over, the oldest first, until it fits; whether it does. No results."""
        while self.size_bytes() > cap_bytes:
            with self._step() as run:
                gone = run(
                    "DELETE FROM visit WHERE id IN (SELECT visit.id FROM visit LEFT JOIN attempt"
                    " ON attempt.measurement_id = visit.measurement_id"
                    " WHERE attempt.measurement_id IS NULL OR attempt.is_over = 1 ORDER BY visit.id LIMIT 500)"
                ).rowcount
            if not gone:
                return False
        return True

    def _leftover(self, token: str, boot_id: str, lease: Lease) -> Leftover:
        rows = self._all(
            "SELECT measurement_id, job_id, is_over, environment_hash, profile_hash FROM attempt"
            " WHERE lease_token = ? ORDER BY rowid",
            (token,),
        )
        documents = dict(self._all("SELECT hash, body FROM document"))
        last = rows[-1] if rows else None
        begun = tuple(Begun(name, job_id, self._visits(name)) for name, job_id, is_over, _, _ in rows if not is_over)
        touched = {row[1] for row in rows}
        return Leftover(
            lease=lease,
            boot_id=boot_id,
            begun=begun,
            untouched=tuple(job.job_id for job in lease.jobs if job.job_id not in touched),
            environment=json.loads(documents[last[3]]) if last else {},
            profile=json.loads(documents[last[4]]) if last else {},
        )

    def _visits(self, measurement_id: str) -> tuple[Visit, ...]:
        rows = self._all("SELECT body FROM visit WHERE measurement_id = ? ORDER BY ordinal", (measurement_id,))
        return tuple(decode(Visit, json.loads(body)) for (body,) in rows)

    def _prepare(self) -> None:
        with self._told():
            application, version = (
                self._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
            )
            is_new = not self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if not is_new and application != APPLICATION_ID:
                raise NotADatabase(f"{self.path} is not an agent's spool")
            if version > VERSION:
                raise SchemaMismatch(f"{self.path} was written by a newer edgecost", remedy="upgrade this one")
            damage = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if damage != "ok":
                raise NotADatabase(f"{self.path} is damaged: {damage}")
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
        if is_new:
            with self._step() as run:
                for statement in _TABLES.split(";\n"):
                    run(statement)
                run(f"PRAGMA application_id = {APPLICATION_ID}")
                run(f"PRAGMA user_version = {VERSION}")

    @contextmanager
    def _step(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        """One transaction: all of it is kept, or nothing."""
        with self._lock, self._told():
            self._connection.execute("BEGIN IMMEDIATE")
            with ExitStack() as undo:
                undo.callback(self._roll_back)
                yield self._connection.execute
                self._connection.execute("COMMIT")
                undo.pop_all()

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):  # a full disk has rolled it back already
            self._connection.execute("ROLLBACK")

    def _all(self, statement: str, values: Sequence[object] = ()) -> list[Any]:
        with self._lock, self._told():
            return self._connection.execute(statement, values).fetchall()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """SQLite's errors by what helps against them."""
        try:
            yield
        except sqlite3.OperationalError as error:
            text = str(error)
            if "full" in text:
                raise StoreUnwritable(f"there is no room for {self.path}", remedy="make room on the disk") from error
            if "locked" in text or "busy" in text:
                raise StoreBusy(f"another process holds {self.path}") from error
            raise StoreUnwritable(f"{self.path} cannot be used: {text}") from error
        except sqlite3.DatabaseError as error:
            raise NotADatabase(f"{self.path} is damaged: {error}") from error


def open_spool(path: Path, told: Callable[[str], None]) -> Spool:
    """The spool at ``path``; one that is damaged or of a newer edgecost is set aside, kept, and told of.

    Raises:
        StoreError: it cannot be opened for another reason.
    """
    try:
        spool = Spool(path)
        spool.leftovers()  # what cannot be read now cannot be read later
        return spool
    except (NotADatabase, SchemaMismatch, BadDocument, zlib.error) as error:
        aside = _set_aside(path)
        told(f"{error}; it was set aside as {aside} and is kept: results in it were not sent")
        return Spool(path)


def _set_aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.stem}.aside-{number}{path.suffix}")).exists():
        number += 1
    for ending in ("-wal", "-shm", ""):
        part = path.with_name(path.name + ending)
        if part.exists():
            part.replace(aside.with_name(aside.name + ending))
    return aside


def _pack(record: object) -> bytes:
    return zlib.compress(json.dumps(document_of(record), separators=(",", ":"), allow_nan=False).encode(), 6)


def _unpack(body: bytes) -> object:
    return json.loads(zlib.decompress(body))
