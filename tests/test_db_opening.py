"""Opening a database: where it is, what may be wrong with it, and how its schema comes about."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from edgecost.db import Store, connect
from edgecost.db.connect import Database, resolve_url
from edgecost.db.schema import HEAD, REVISIONS, metadata
from edgecost.db.upgrade import alembic_config
from edgecost.profiler.errors import NotADatabase, SchemaMismatch, StoreBusy, StoreError, StoreUnwritable, UsageError
from edgecost.profiler.records import Environment


def filled(path: Path) -> Path:
    with Store(path) as store:
        store.put_environment(Environment({"text": "x" * 20_000}))
    return path


def test_the_migrations_make_exactly_the_tables_of_the_schema(store: Store) -> None:
    with store._database.read() as connection:
        # Partitions are made by the calendar, and not by the schema.
        named = {"include_name": lambda name, kind, _: kind != "table" or not name.startswith("measurement_raw_")}
        opts = {"compare_type": True, "render_as_batch": True, **named}
        context = MigrationContext.configure(connection, opts=opts)
        assert compare_metadata(context, metadata) == []
        scripts = ScriptDirectory.from_config(alembic_config(connection))
    assert [script.revision for script in scripts.walk_revisions()] == [*reversed(REVISIONS)]
    assert store.counts().schema_revision == scripts.get_current_head() == HEAD


def test_the_first_step_can_be_taken_back_and_again(database_url: str) -> None:
    from alembic.command import downgrade

    with Store(database_url) as store, store._database.write() as connection:
        downgrade(alembic_config(connection), "base")
    with Store(database_url) as store:
        assert store.counts().measurements == 0


def test_opening_again_keeps_what_is_there(database_url: str) -> None:
    for _ in range(2):
        with Store(database_url) as store:
            store.put_environment(Environment({"a": 1}))
            assert store.counts().environments == 1


def test_a_database_of_a_newer_edgecost_is_left_alone(database_url: str) -> None:
    with Store(database_url) as store, store._database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'edgecost_9999'"))
    with pytest.raises(SchemaMismatch, match="written by a newer edgecost; upgrade"):
        Store(database_url)


@pytest.mark.parametrize("versions", [None, [], ["1975ea83b712"], ["1975ea83b712", "27c6a30d7c24"]])
def test_a_database_with_other_tables_is_left_alone(database_url: str, versions: list[str] | None) -> None:
    database = Database(resolve_url(database_url))
    with database.write() as connection:
        connection.execute(text("CREATE TABLE customers (id INTEGER)"))
        if versions is not None:
            connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        for version in versions or ():
            connection.execute(text(f"INSERT INTO alembic_version VALUES ('{version}')"))
    database.close()
    with pytest.raises(NotADatabase, match=r"holds other tables: .*customers"):
        Store(database_url)


def test_a_path_and_its_url_are_the_same_database(tmp_path: Path) -> None:
    filled(tmp_path / "a b.sqlite")
    with Store(f"sqlite:///{tmp_path}/a b.sqlite") as store:
        assert store.counts().environments == 1
    with Store(os.fspath(tmp_path / "a b.sqlite")) as store:
        assert store.counts().environments == 1


def test_the_variable_names_the_database_when_nothing_else_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGECOST_DB", str(tmp_path / "named.sqlite"))
    Store().close()
    assert (tmp_path / "named.sqlite").exists()
    monkeypatch.delenv("EDGECOST_DB")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert (resolve_url(None).database or "").endswith("/edgecost/edgecost.sqlite")


@pytest.mark.parametrize("url", ["mysql://host/base", "sqlite://", ":memory:", "://", "sqlite:///:memory:"])
def test_another_kind_of_database_is_a_wrong_request(url: str) -> None:
    with pytest.raises(UsageError):
        Store(url)


def test_a_password_is_never_shown() -> None:
    database = Database(resolve_url("postgresql://me:secret@127.0.0.1:1/base"))
    assert "secret" not in database.label
    with pytest.raises(StoreError, match="cannot be reached") as caught, database.read():
        pass
    assert "secret" not in str(caught.value)
    database.close()


def test_a_file_that_is_something_else_is_not_a_database(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("measure the board\n" * 100)
    with pytest.raises(NotADatabase, match="is not a database"):
        Store(path)
    assert path.read_text() == "measure the board\n" * 100


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9])
def test_a_database_that_was_cut_off_is_named_as_damaged(tmp_path: Path, share: float) -> None:
    path = filled(tmp_path / "store.sqlite")
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(NotADatabase, match=r"damaged|not a database"):
        Store(path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "store.sqlite", tmp_path / "file" / "deeper" / "x", Path("/proc/store.sqlite")):
        with pytest.raises(StoreUnwritable):
            Store(path)
    with pytest.raises(StoreUnwritable):
        Store(tmp_path)


def test_a_database_that_may_only_be_read_is_named(tmp_path: Path) -> None:
    path = filled(tmp_path / "store.sqlite")
    with Store(path) as store:
        with store._database.read() as connection:
            connection.execute(text("PRAGMA query_only = ON"))
        with pytest.raises(StoreUnwritable, match="read-only"):
            store.put_environment(Environment({"a": 1}))


def test_a_database_that_another_process_holds_is_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "BUSY_TIMEOUT_S", 0.05)
    path = filled(tmp_path / "store.sqlite")
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with Store(path) as store:
        assert store.counts().environments == 1
        with pytest.raises(StoreBusy, match="held by another process"):
            store.put_environment(Environment({"a": 1}))
        holder.close()
        store.put_environment(Environment({"a": 1}))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("mounting a tmpfs is not permitted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_loses_nothing_that_was_stored(small_disk: Path) -> None:
    stored: list[str] = []

    def fill(store: Store) -> None:
        for _ in range(1000):
            environment = Environment({"text": os.urandom(2000).hex()})
            store.put_environment(environment)
            stored.append(environment.environment_hash)

    with Store(small_disk / "store.sqlite") as store:
        with pytest.raises(StoreUnwritable, match="free space, nothing recorded so far is lost"):
            fill(store)
        assert all(store.environment(known) for known in stored)
    with Store(small_disk / "store.sqlite") as store:
        assert store.counts().environments == len(stored) > 10
