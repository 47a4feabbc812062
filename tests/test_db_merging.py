"""Another store's file taken over: what is new once, of any schema, and the file stays as it is to the last byte."""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import zlib
from pathlib import Path

import pytest
from sqlalchemy import text

from edgecost.db import Store, bulk, outgoing
from edgecost.db.connect import Database, resolve_url
from edgecost.db.schema import REVISIONS
from edgecost.db.schema import device as device_table
from edgecost.db.upgrade import alembic_config
from edgecost.profiler.errors import NotADatabase, SchemaMismatch, StoreError
from tests.moved_stores import attempts, fill, furnish, travelling
from tests.test_db_measurements import measured

zlib_compress = zlib.compress


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "BATCH", 4)


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """A board's own store in a folder of its own."""
    file = tmp_path / "board" / "own.sqlite"
    with Store(file) as store:
        fill(store, 10)
    return file


def everything(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_overlapping_stores_give_the_union_and_the_file_is_not_touched(store: Store, board: Path) -> None:
    fill(store, 6, first=6)
    before = everything(board.parent)
    taken = store.merge(board)
    assert (taken.new, taken.known, taken.refused) == (6, 4, ())
    assert everything(board.parent) == before
    assert store.measurements(with_visits=True, usable_only=False) == attempts(12)
    # Verdicts of both: the first of each range was retracted where it was made.
    assert {row[0] for row in travelling(store)["annotation"]} == {"m0000", "m0006"}
    again = store.merge(board)
    assert (again.new, again.known, sum(again.rows.values())) == (0, 10, 0)


def test_visits_that_another_zlib_compressed_are_the_same_visits(store: Store, board: Path) -> None:
    furnish(store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgecost.db.codec.zlib.compress", lambda body, level: zlib_compress(body, 1))
        store.record(attempts(2)[1])
    taken = store.merge(board)
    assert (taken.new, taken.known, taken.refused) == (9, 1, ())


def test_a_store_merged_with_itself_stays_the_same(board: Path) -> None:
    with Store(board) as store:
        before = travelling(store)
        taken = store.merge(board)
        assert (taken.new, taken.known, travelling(store)) == (0, 10, before)


def test_what_differs_under_one_identity_is_refused_in_every_table(store: Store, board: Path) -> None:
    furnish(store)
    first, second = attempts(2)
    assert first.energy is not None
    store.record(measured("m0000", conditions={"load": [9.0]}))
    store.record(second)
    taken = store.merge(board)
    assert (taken.new, taken.known, taken.refused) == (8, 1, ("m0000",))
    (kept,) = [m for m in store.measurements(with_visits=True) if m.measurement_id == "m0000"]
    assert (kept.conditions, kept.energy) == ({"load": [9.0]}, None)
    assert [row for row in travelling(store)["annotation"] if row[0] == "m0000"] == []


@pytest.mark.parametrize("old", REVISIONS[:-1])
def test_a_store_of_an_older_schema_is_lifted_in_a_copy(store: Store, board: Path, old: str) -> None:
    from alembic.command import downgrade

    with Store(board) as own, own._database.write() as connection:
        downgrade(alembic_config(connection), old)
    before = everything(board.parent)
    taken = store.merge(board)
    energies = 4 if old >= "edgecost_0003" else 0
    assert (taken.new, taken.rows["measurement_raw"], taken.rows["measurement_energy"]) == (10, 11, energies)
    assert everything(board.parent) == before
    with sqlite3.connect(board) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(old,)]
    connection.close()


def test_a_store_in_use_is_copied_with_what_its_log_holds(store: Store, board: Path) -> None:
    with Store(board) as own:
        own.record(measured("m9999"))
        assert board.with_name("own.sqlite-wal").stat().st_size > 0
        assert store.merge(board).new == 11
        own.record(measured("m9998"))
    assert store.merge(board).new == 1


def test_a_store_on_a_medium_that_cannot_be_written_is_read(store: Store, board: Path) -> None:
    board.chmod(0o444)
    board.parent.chmod(0o555)
    try:
        assert store.merge(board).new == 10
    finally:
        board.parent.chmod(0o755)


def newer(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'edgecost_9999'")
    connection.close()


def foreign(file: Path) -> None:
    file.unlink()
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE customers (id INTEGER)")
    connection.close()


def blank_pages(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[8192:] = bytes(len(content) - 8192)
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "error", "said"),
    [
        (newer, SchemaMismatch, "written by a newer edgecost"),
        (foreign, NotADatabase, "holds other tables: customers"),
        (blank_pages, NotADatabase, "damaged"),
        (lambda file: os.truncate(file, file.stat().st_size // 2), NotADatabase, "damaged"),
        (lambda file: os.truncate(file, 0), NotADatabase, "is empty"),
        (lambda file: file.write_text("measure the board\n" * 300), NotADatabase, "no SQLite database"),
        (lambda file: file.unlink(), StoreError, "cannot be read"),
    ],
)
def test_what_is_damaged_newer_or_foreign_is_refused_and_named(
    store: Store, board: Path, damage: object, error: type[Exception], said: str
) -> None:
    assert callable(damage)
    damage(board)
    with pytest.raises(error, match=said) as caught:
        store.merge(board)
    assert "own.sqlite" in str(caught.value)
    assert {name: rows for name, rows in travelling(store).items() if rows} == {}


def test_no_copy_stays_behind(store: Store, board: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    store.merge(board)
    newer(board)
    with pytest.raises(SchemaMismatch):
        store.merge(board)
    assert [*(tmp_path / "scratch").iterdir()] == []


def test_a_merge_that_is_killed_is_completed_by_the_next(store: Store, board: Path, database_url: str) -> None:
    code = """
        import os, signal, sys
        from pathlib import Path
        from edgecost.db import Store, bulk, outgoing
        outgoing.BATCH = 4
        load, calls = bulk.load, []
        def dying(connection, table, columns, rows):
            calls.extend([1] * (table.name == "incoming_measurement_raw"))
            if len(calls) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            load(connection, table, columns, rows)
        bulk.load = dying
        Store(sys.argv[1]).merge(Path(sys.argv[2]))
    """
    command = [sys.executable, "-c", textwrap.dedent(code), database_url, str(board)]
    environment = {**os.environ, "TMPDIR": str(board.parent.parent)}
    assert subprocess.run(command, check=False, env=environment).returncode == -signal.SIGKILL
    assert store.measurements(with_visits=True, usable_only=False) == attempts(4)
    taken = store.merge(board)
    assert (taken.new, taken.known) == (6, 4)
    with Store(board) as own:
        assert travelling(store) == travelling(own)


def test_a_row_that_the_engine_cannot_hold_is_an_error_of_ours(store: Store, board: Path) -> None:
    with Store(board) as own:
        own.record(measured("m9999", message="a zero \0 byte"))
    if store.counts().dialect == "sqlite":
        assert store.merge(board).new == 11
        return
    with pytest.raises(StoreError, match="0x00"):
        store.merge(board)
    assert store.measurements(with_visits=True, usable_only=False) == attempts(8)


def test_a_bulk_load_takes_what_a_column_can_hold_and_leaves_nothing_of_a_load_that_fails(database_url: str) -> None:
    Store(database_url).close()
    database = Database(resolve_url(database_url))
    columns = ("identity", "name", "description", "first_seen")
    rows = [(f"{n}", "tab\t", "line\n\\N \\.", "'\"ä") for n in range(3)]
    with database.write() as connection:
        bulk.load(connection, device_table, columns, [])
        bulk.load(connection, device_table, columns, rows)
    with pytest.raises(StoreError, match="refuses the row"), database.write() as connection:
        bulk.load(connection, device_table, columns, [("9", "", "", ""), *rows])
    with database.read() as connection:
        assert connection.execute(device_table.select().order_by(text("identity"))).fetchall() == rows
    database.close()
