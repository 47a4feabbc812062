"""How a store with 10⁵, 10⁶ and 10⁷ measurements answers, on SQLite and PostgreSQL: two queries, size and load time.

The store is filled inside the database, through the tables as they are; above ``CHECKED_UP_TO`` measurements without
checking references, and indexes are made at the end. They are made up: sessions of 500 graphs on devices and runtime
profiles, about four measurements of each graph on each, one in a hundred rejected, one in ten with an energy, some
retracted. No campaigns, and no raw samples above ``RAW_UP_TO``. Nothing here measures a network to the server. The
processor's time, the server's too, stands beside the times, for machines that others use as well.

Run it:  python benchmarks/store_scale.py --rows 100000 --rows 1000000
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from bulk_load import PAYLOAD, postgresql, version_of
from copy_costs import server_seconds
from sqlalchemy import Connection, text

from edgecost.costmodels.dataset import BLOCK_PURPOSES
from edgecost.db import Store, bulk, schema
from edgecost.db.connect import Database, resolve_url

#: Graphs in a session, and rows of one transaction.
SESSION, BATCH = 500, 250_000
#: Raw samples of more measurements than these are left out: they are most of the bytes, and neither query reads them.
RAW_UP_TO = 1_000_000
#: Of more measurements than these references are not checked while the store is filled: most of the time goes there.
CHECKED_UP_TO = 1_000_000
#: Measurements in a page.
PAGE = 200
#: A whole training set is read no more often than this: it takes a second or more.
WHOLE_SETS = 20


@dataclass(frozen=True)
class Fleet:
    """Who measures what, by the number of the measurement: the same law here and in the statements below."""

    devices: int
    profiles: int
    graphs: int

    def pair(self, n: int) -> tuple[int, int]:
        """Device and profile."""
        pair = (n // SESSION * 2654435761 % 4294967296) % (self.devices * self.profiles)
        return pair % self.devices, pair // self.devices

    def graph(self, n: int) -> int:
        return (n // SESSION * 104729 + n % SESSION) % self.graphs


#: By the number of measurements, from which on.
FLEETS = {0: Fleet(5, 2, 2_500), 1_000_000: Fleet(12, 2, 10_000), 10_000_000: Fleet(40, 3, 20_000)}

LAW = """
SELECT n, n / 500 AS session, (n / 500 * 2654435761 % 4294967296) % (:devices * :profiles) AS pair,
       (n / 500 * 104729 + n % 500) % :graphs AS graph, {moment} AS moment
FROM {series}
"""
SERIES = {
    "postgresql": "generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS numbers(n)",
    "sqlite": "(WITH RECURSIVE numbers(n) AS (SELECT :first UNION ALL SELECT n + 1 FROM numbers WHERE n < :last) "
    "SELECT n FROM numbers)",
}
LATER = "2026-12-31T00:00:00.000+00:00"
#: A measurement every three seconds.
MOMENT = {
    "postgresql": "to_char(timestamp '2026-01-01' + n * interval '3 s', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS') || '+00:00'",
    "sqlite": "strftime('%Y-%m-%dT%H:%M:%f', 1767225600 + n * 3, 'unixepoch') || '+00:00'",
}
MEASUREMENTS = """
INSERT INTO measurement (measurement_id, graph_hash, profile_hash, environment_hash, device_identity, session, protocol,
    purpose, status, message, started_at, finished_at, recorded_at, latency_median_ms, latency_lo_ms, latency_hi_ms,
    latency_min_ms, latency_quartile_ms, latency_mean_ms, latency_p90_ms, latency_p99_ms, latency_mad_ms,
    latency_visits, latency_runs, overhead_ms, all_visits, rejected_visits)
SELECT md5(CAST(n AS text)), g.name, p.name, e.name, d.name,
    'a-session-made-up-number-' || CAST(1000000 + session AS text), 'edgecost-1',
    CASE WHEN n % 20 = 3 THEN 'network' WHEN n % 10 = 1 THEN 'panel' ELSE 'kernel' END,
    CASE WHEN n % 100 = 0 THEN 'rejected' WHEN n % 50 = 7 THEN 'unconverged' ELSE 'ok' END, '', moment, :later, :later,
    ms, ms * 0.99, ms * 1.01, ms * 0.9, ms * 0.95, ms, ms * 1.1, ms * 1.2, ms * 0.01,
    CASE WHEN ms IS NULL THEN NULL ELSE 7 END, CASE WHEN ms IS NULL THEN NULL ELSE 21 END, 0.003, 7, 0
FROM (SELECT law.*, CASE WHEN n % 100 = 0 THEN NULL ELSE 0.05 + graph % 977 * 0.01 + n % 1009 * 1e-5 END AS ms
      FROM ({law}) AS law) AS made
JOIN key_of AS g ON g.number = graph
JOIN key_of AS d ON d.number = 1000000 + pair % :devices
JOIN key_of AS p ON p.number = 2000000 + pair / :devices
JOIN key_of AS e ON e.number = 3000000 + session % 200
"""
ENERGIES = """
INSERT INTO measurement_energy (measurement_id, rail, status, message, scope, gross_median_mj, gross_lo_mj, gross_hi_mj,
    windows, runs)
SELECT md5(CAST(n AS text)), '', 'ok', '', 'board', 1.5, 1.4, 1.6, 20, 400 FROM ({law}) AS law WHERE n % 10 = 1
"""
TRACES = """
INSERT INTO measurement_raw (measurement_id, kind, codec, payload)
SELECT md5(CAST(n AS text)), 'visits', 'edgecost-visits-1', :payload FROM ({law}) AS law
"""
RETRACTIONS = """
INSERT INTO annotation (measurement_id, author, verdict, reason, created_at)
SELECT md5(CAST(n AS text)), 'keeper', 'retract', 'fan was off', moment FROM ({law}) AS law WHERE n % 1000 = 5
"""


def md5(value: str) -> str:
    return hashlib.md5(value.encode(), usedforsecurity=False).hexdigest()


def key(kind: str, number: int) -> str:
    """What stands in the store for a graph, device, profile or environment."""
    if kind == "device":
        return f"board-serial-{number:012}"
    return hashlib.sha256(f"{kind}{number}".encode()).hexdigest()


def furnish(connection: Connection, fleet: Fleet) -> None:
    """What measurements refer to, and a table from their numbers to their keys."""
    kinds = {"graph": fleet.graphs, "device": fleet.devices, "profile": fleet.profiles, "environment": 200}
    keys = {kind: [key(kind, number) for number in range(size)] for kind, size in kinds.items()}
    bulk.load(connection, schema.device, ("identity", "name", "description", "first_seen"), [
        (name, f"board {n}", "", "2026-01-01T00:00:00.000+00:00") for n, name in enumerate(keys["device"])
    ])  # fmt: skip
    for table, column in ((schema.environment, "environment_hash"), (schema.runtime_profile, "profile_hash")):
        names = keys["environment" if table is schema.environment else "profile"]
        bulk.load(connection, table, (column, "document"), [(name, "{}") for name in names])
    graphs = [(name, f"graph {n}", "block", b"skeleton" * 60, "[]", "") for n, name in enumerate(keys["graph"])]
    columns = ("graph_hash", "name", "kind", "skeleton_zlib", "weights", "path")
    bulk.load(connection, schema.workload, columns, graphs)
    connection.execute(text("CREATE TEMPORARY TABLE key_of (number integer PRIMARY KEY, name text)"))
    begins = {"graph": 0, "device": 1_000_000, "profile": 2_000_000, "environment": 3_000_000}
    rows = [{"number": begins[kind] + n, "name": name} for kind, names in keys.items() for n, name in enumerate(names)]
    connection.execute(text("INSERT INTO key_of VALUES (:number, :name)"), rows)


def prepare(connection: Connection) -> None:
    """No indexes, no references in this session; SQLite keeps a gigabyte of pages, for keys come in any order."""
    with connection.begin():
        for index in schema.measurement.indexes:
            index.drop(connection)
    driver = connection.connection.driver_connection
    if isinstance(driver, sqlite3.Connection):
        driver.execute("PRAGMA foreign_keys = OFF")
        driver.execute("PRAGMA cache_size = -1000000")
    else:
        connection.execute(text("SET session_replication_role = replica"))
        connection.commit()


def fill(database: Database, fleet: Fleet, number: int, is_unchecked: bool, until: float) -> tuple[int, list[float]]:
    """How many measurements there are then, and the rows per second of each batch; stops at the moment ``until``."""
    law = LAW.format(series=SERIES[database.dialect], moment=MOMENT[database.dialect])
    statements = [MEASUREMENTS, ENERGIES, RETRACTIONS] + ([TRACES] if number <= RAW_UP_TO else [])
    pace = []
    with database.engine.connect() as connection:
        if database.dialect == "sqlite":
            driver = connection.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            driver.create_function("md5", 1, md5, deterministic=True)
        with connection.begin():
            furnish(connection, fleet)
        if is_unchecked:
            prepare(connection)
        first = 0
        while first < number and (first == 0 or time.monotonic() < until):
            last = min(first + BATCH, number) - 1
            start = time.perf_counter()
            with connection.begin():
                for statement in statements:
                    bound = {"first": first, "last": last, **asdict(fleet), "payload": PAYLOAD, "later": LATER}
                    connection.execute(text(statement.replace("{law}", law)), bound)
            pace.append((last + 1 - first) / (time.perf_counter() - start))
            first = last + 1
        if is_unchecked:
            with connection.begin():
                for index in schema.measurement.indexes:
                    index.create(connection)
    return first, pace


def settle(database: Database) -> None:
    """As a server does by itself after a while."""
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE" if database.dialect == "postgresql" else "PRAGMA optimize"))


def timed(ask: Callable[[random.Random], int], most: int, until: float, server: int | None) -> dict[str, float]:
    """Percentiles of warm calls on random keys. ``ask`` answers how many rows it had; ``server`` is its process."""
    draw = random.Random(1)
    for _ in range(max(3, most // 10)):
        ask(draw)
        if time.monotonic() > until:
            break
    times, busy, rows = [], [], []
    while len(times) < most and (len(times) < 3 or time.monotonic() < until):
        start, worked = time.perf_counter(), work_s(server)
        rows.append(ask(draw))
        times.append((time.perf_counter() - start) * 1e3)
        busy.append((work_s(server) - worked) * 1e3)
    place = min(len(times) - 1, int(0.95 * len(times)))
    return {
        "p50_ms": statistics.median(times), "p95_ms": sorted(times)[place],
        "p50_cpu_ms": statistics.median(busy), "p95_cpu_ms": sorted(busy)[place],
        "rows": statistics.mean(rows), "cpu_ms_per_1000_rows": 1e3 * sum(busy) / max(1, sum(rows)),
        "repetitions": len(times),
    }  # fmt: skip


def work_s(server: int | None) -> float:
    """Seconds that this process and the server's for it had a processor."""
    return time.process_time() + (0.0 if server is None else server_seconds(server))


def server_of(store: Store) -> int | None:
    """The server's process behind the store's one connection, where it is on this machine."""
    if store.counts().dialect != "postgresql":
        return None
    with store._database.read() as connection:
        process = int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
    return process if Path(f"/proc/{process}/schedstat").exists() else None


def ask(store: Store, fleet: Fleet, number: int, repetitions: int, seconds: float) -> dict[str, dict[str, float]]:
    def pair_of(n: int) -> dict[str, str]:
        device, profile = fleet.pair(n)
        return {"device_identity": key("device", device), "profile_hash": key("profile", profile)}

    def latest(draw: random.Random) -> int:
        n = draw.randrange(number)
        return 1 if store.latest(key("graph", fleet.graph(n)), **pair_of(n)) is not None else 0

    def page(draw: random.Random) -> int:
        return len(store.measurements(**pair_of(draw.randrange(number)), purposes=BLOCK_PURPOSES, limit=PAGE))

    def whole(draw: random.Random) -> int:
        return len(store.measurements(**pair_of(draw.randrange(number)), purposes=BLOCK_PURPOSES))

    asked = {"latest": (latest, repetitions), "first page": (page, repetitions), "training set": (whole, WHOLE_SETS)}
    server = server_of(store)
    return {what: timed(how, most, time.monotonic() + seconds, server) for what, (how, most) in asked.items()}


def bytes_of(database: Database) -> dict[str, int]:
    """Of every table and index that takes a megabyte or more."""
    # Page by page: what dbstat adds up by itself overflows at 2 GB.
    sizes = "SELECT name, sum(pgsize) FROM dbstat GROUP BY name HAVING sum(pgsize) > 1e6"
    if database.dialect == "postgresql":
        sizes = "SELECT relname, pg_relation_size(oid) FROM pg_class WHERE relkind IN ('r', 'i') "
        sizes += "AND relnamespace = 'public'::regnamespace AND pg_relation_size(oid) > 1e6"
    with database.read() as connection:
        return {name: int(size) for name, size in connection.execute(text(sizes))}


@dataclass(frozen=True)
class Found:
    """Of one store; ``maintain_s`` for the first time, and again; ``queries`` in milliseconds."""

    measurements: int
    fleet: Fleet
    has_raw_samples: bool
    load_s: float
    batches_per_s: list[float]
    size_bytes: int
    parts_bytes: dict[str, int]
    maintain_s: list[float]
    queries: dict[str, dict[str, float]]


def maintained(store: Store) -> float:
    """Seconds of ``edgecost db maintain``."""
    start = time.perf_counter()
    assert store.maintain().is_leader
    return time.perf_counter() - start


def measure(url: str, number: int, is_unchecked: bool, repetitions: int, seconds: float) -> Found:
    """Fill a new database, let it settle, ask."""
    fleet = FLEETS[max(size for size in FLEETS if size <= number)]
    with Store(url) as store:
        database = Database(resolve_url(url))
        start = time.perf_counter()
        filled, pace = fill(database, fleet, number, is_unchecked, time.monotonic() + seconds)
        load_s = time.perf_counter() - start
        settle(database)
        queries = ask(store, fleet, filled, repetitions, seconds)
        maintain_s = [maintained(store), maintained(store)]
        parts, size_bytes = bytes_of(database), store.counts().size_bytes
        database.close()
    return Found(filled, fleet, number <= RAW_UP_TO, load_s, pace, size_bytes, parts, maintain_s, queries)


@contextmanager
def new_database(engine: str, server: str | None) -> Iterator[tuple[str, str]]:
    """The URL of an empty database that is gone afterwards, and the engine's version."""
    if engine == "sqlite":
        with tempfile.TemporaryDirectory(prefix="edgecost-scale-") as folder:
            yield f"sqlite:///{folder}/store.sqlite", sqlite3.sqlite_version
        return
    with postgresql(server) as new:
        url = new()
        yield url, version_of(url)


def show(engine: str, version: str, found: Found) -> None:
    print(
        f"\n{engine} {version}, {found.measurements:,} measurements: {found.load_s:,.0f} s to fill "
        f"({found.batches_per_s[0]:,.0f} rows/s at first, {found.batches_per_s[-1]:,.0f} at last), "
        f"{found.size_bytes / 1e6:,.0f} MB, {found.size_bytes / found.measurements:,.0f} bytes per measurement"
    )
    for part, size in sorted(found.parts_bytes.items(), key=lambda one: -one[1]):
        print(f"  {part:55}{size / 1e6:10,.0f} MB{size / found.measurements:8,.0f} bytes per measurement")
    print(f"  maintain: {found.maintain_s[0]:.1f} s, again {found.maintain_s[1]:.1f} s")
    for what, told in found.queries.items():
        print(f"  {what:14}", "   ".join(f"{name}: {value:,.3f}" for name, value in told.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, action="append", help="May be given again.  [default: 100000, 1000000]")
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), action="append", help="[default: both]")
    parser.add_argument(
        "--unchecked", action="store_true", help=f"Fill faster, as is done above {CHECKED_UP_TO:,} measurements."
    )
    parser.add_argument("--repetitions", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=600.0, help="At most so long to fill, and for each query.")
    parser.add_argument(
        "--postgresql", metavar="URL", help="A server that may make databases.  [default: one of our own]"
    )
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    told = []
    for number in arguments.rows or (100_000, 1_000_000):
        is_unchecked = arguments.unchecked or number > CHECKED_UP_TO
        for engine in arguments.engine or ("sqlite", "postgresql"):
            with new_database(engine, arguments.postgresql) as (url, version):
                found = measure(url, number, is_unchecked, arguments.repetitions, arguments.seconds)
            told.append({"engine": engine, "version": version, **asdict(found)})
            if not arguments.json:
                show(engine, version, found)
    if arguments.json:
        print(json.dumps({"python": platform.python_version(), "stores": told}))


if __name__ == "__main__":
    main()
