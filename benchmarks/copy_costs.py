"""What a measurement costs the processor when it is loaded into PostgreSQL by COPY, and for what.

In text and in binary, without references, without indexes, without both: the server's processor and the client's, as
wall-clock time hides which of the two waits. Linux only.

Run it:  python benchmarks/copy_costs.py
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from bulk_load import Load, furnish, postgresql, rows, version_of
from sqlalchemy import Connection, Table, text

from edgecost.db import bulk, schema
from edgecost.db.connect import Database, resolve_url
from edgecost.db.portable import MEASUREMENT, Row

OWN = tuple(name for name in MEASUREMENT.columns if name in schema.measurement.c)
REFERENCES = [
    f"ALTER TABLE measurement DROP CONSTRAINT {key.name}" for key in schema.measurement.foreign_key_constraints
]
INDEXES = [f"DROP INDEX {index.name}" for index in schema.measurement.indexes]


def copy_text(connection: Connection, table: Table, columns: tuple[str, ...], some: list[Row]) -> None:
    """What ``bulk.load`` does in binary."""
    import psycopg

    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    with (
        driver.cursor() as cursor,
        cursor.copy(f"COPY {table.name} ({', '.join(columns)}) FROM STDIN".encode()) as copy,
    ):
        for row in some:
            copy.write_row(row)


WAYS: dict[str, tuple[Load, list[str]]] = {
    "as it is, in text": (copy_text, []),
    "as it is": (bulk.load, []),
    "without references": (bulk.load, REFERENCES),
    "without indexes": (bulk.load, INDEXES),
    "without both": (bulk.load, REFERENCES + INDEXES),
}


def server_seconds(process: int) -> float:
    """That it had a processor so far, in steps of nanoseconds."""
    return int(Path(f"/proc/{process}/schedstat").read_text().split()[0]) / 1e9


def cost(new: Callable[[], str], load: Load, left_out: list[str], number: int) -> dict[str, float]:
    """Microseconds per row; a new database, in which the table is first made poorer."""
    url = new()
    furnish(url)
    some = [row[: len(OWN)] for row in rows(number)]
    database = Database(resolve_url(url))
    with database.write() as connection:
        for statement in left_out:
            connection.execute(text(statement))
    with database.write() as connection:
        process = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        before = server_seconds(process), time.process_time(), time.perf_counter()
        load(connection, schema.measurement, OWN, some)
        after = server_seconds(process), time.process_time(), time.perf_counter()
    database.close()
    names = ("server_cpu_us", "client_cpu_us", "wall_us")
    return {name: (end - start) * 1e6 / number for name, start, end in zip(names, before, after, strict=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with postgresql(None) as new:
        # The ways take turns: what else runs on the machine falls on all of them.
        turns = [
            {way: cost(new, load, left_out, arguments.rows) for way, (load, left_out) in WAYS.items()}
            for _ in range(arguments.repeats)
        ]
        version = version_of(new())
    middle = {
        way: {name: statistics.median(turn[way][name] for turn in turns) for name in turns[0][way]} for way in WAYS
    }
    if arguments.json:
        print(json.dumps({"rows": arguments.rows, "postgresql": version, "median": middle, "runs": turns}))
        return
    print(f"PostgreSQL {version}, {arguments.rows:,} rows, median of {arguments.repeats}, microseconds per row")
    for way, costs in middle.items():
        print(f"{way:22}", "   ".join(f"{name}: {value:6.2f}" for name, value in costs.items()))


if __name__ == "__main__":
    main()
