"""From a store into Parquet and into another store: the same rows, once, whatever is interrupted or altered between."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgecost.db import Store, outgoing
from edgecost.db.export_file import MANIFEST, describe
from edgecost.db.portable import ALL
from edgecost.profiler.errors import ArtefactError, OutputError, SchemaMismatch, StoreError, UsageError
from edgecost.profiler.records import Device, Environment, Measurement, Status, Visit, content_hash
from edgecost.profiler.statistics import summarise
from tests.moved_stores import attempts, fill, furnish, travelling
from tests.test_db_measurements import DEVICE, WORKLOAD, measured

NUMBER = 11


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "BATCH", 4)


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """A folder from a SQLite store with something in every table."""
    with Store(tmp_path / "source.sqlite") as source:
        fill(source, NUMBER)
        source.export_parquet(tmp_path / "exported")
    return tmp_path / "exported"


def source_rows(exported: Path) -> dict[str, list[tuple[object, ...]]]:
    with Store(exported.parent / "source.sqlite") as source:
        return dict(travelling(source))


def test_what_is_imported_is_what_was_exported_and_the_second_time_adds_nothing(store: Store, exported: Path) -> None:
    first = store.import_parquet(exported)
    assert (first.new, first.known, first.refused) == (NUMBER, 0, ())
    expected = source_rows(exported)
    assert travelling(store) == expected
    assert first.rows == {name: len(rows) for name, rows in expected.items()}
    assert min(first.rows.values()) > 0
    second = store.import_parquet(exported / MANIFEST)
    assert (second.new, second.known, second.refused, sum(second.rows.values())) == (0, NUMBER, (), 0)
    assert travelling(store) == expected
    assert store.measurements(with_visits=True, usable_only=False) == attempts(NUMBER)


def test_either_engine_exports_what_it_holds(store: Store, tmp_path: Path) -> None:
    fill(store, NUMBER)
    done = store.export_parquet(tmp_path / "out")
    assert done.rows == {name: len(rows) for name, rows in travelling(store).items()}
    with Store(tmp_path / "other.sqlite") as other:
        other.import_parquet(tmp_path / "out")
        assert travelling(other) == travelling(store)


def test_jobs_find_their_campaign_under_another_number(store: Store, exported: Path) -> None:
    store.open_campaign("was here before", "", {})
    furnish(store)
    store.import_parquet(exported)
    before, moved = store.campaigns()
    assert (before.jobs["pending"], moved.jobs) == (0, {"pending": 3, "leased": 0, "done": 1, "failed": 0})
    (job, *_) = store.lease_jobs(moved.id, "next", 1, 60)
    with store._database.read() as connection:
        text = connection.exec_driver_sql(f"SELECT dedupe_key FROM job WHERE id = {job.id}").scalar_one()
    assert text.startswith(f"{moved.id}/cell/")
    assert moved.id != 1


def test_a_job_that_the_other_store_finished_is_finished_here_too(store: Store, tmp_path: Path) -> None:
    with Store(tmp_path / "source.sqlite") as source:
        fill(source, 0)
        source.export_parquet(tmp_path / "before")
        store.import_parquet(tmp_path / "before")
        (pending,) = store.campaigns()
        assert pending.jobs["pending"] == 4
        source.release_leases("me")
        (job,) = source.lease_jobs(1, "me", 1, 60)
        source.record(measured("m1"), job.id)
        source.export_parquet(tmp_path / "after")
    assert store.import_parquet(tmp_path / "after").new == 1
    (moved,) = store.campaigns()
    assert (moved.jobs["pending"], moved.jobs["done"]) == (3, 1)


def test_an_empty_store_travels_too(store: Store, tmp_path: Path) -> None:
    assert set(store.export_parquet(tmp_path / "out").rows.values()) == {0}
    assert store.import_parquet(tmp_path / "out").new == 0


def test_one_device_leaves_with_what_it_refers_to_and_no_more(store: Store, tmp_path: Path) -> None:
    fill(store, NUMBER)
    other = Device("pi", "serial-2", "Raspberry Pi")
    environment = Environment({"kernel": "6.6"})
    store.put_device(other)
    store.put_environment(environment)
    changed = {"device_identity": other.identity, "environment_hash": environment.environment_hash}
    for name in ("p1", "p2"):
        store.record(measured(name, **changed))
    for asked in ("pi", "serial-2"):
        folder = tmp_path / asked
        done = store.export_parquet(folder, devices=[asked])
        assert {name: rows for name, rows in done.rows.items() if rows} == {
            "device": 1, "environment": 1, "runtime_profile": 1, "workload": 1, "measurement": 2, "measurement_raw": 2,
        }  # fmt: skip
        with Store(tmp_path / f"{asked}.sqlite") as target:
            assert target.import_parquet(folder).new == 2
    done = store.export_parquet(tmp_path / "nano", devices=[DEVICE.name])
    assert (done.rows["measurement"], done.rows["job"], done.rows["sensor"]) == (NUMBER, 1, 1)
    with Store(tmp_path / "nano.sqlite") as target:
        assert target.import_parquet(tmp_path / "nano").new == NUMBER
    with pytest.raises(UsageError, match="no device 'tx2'"):
        store.export_parquet(tmp_path / "none", devices=["tx2"])
    assert not (tmp_path / "none").exists()


def test_a_verdict_that_came_later_is_added_to_what_is_known(store: Store, tmp_path: Path, exported: Path) -> None:
    store.import_parquet(exported)
    with Store(tmp_path / "source.sqlite") as source:
        source.retract("m0003", "me", "throttled")
        source.export_parquet(tmp_path / "later")
    taken = store.import_parquet(tmp_path / "later")
    assert (taken.new, taken.known, taken.rows["annotation"]) == (0, NUMBER, 1)
    assert "m0003" not in {measurement.measurement_id for measurement in store.measurements()}


def test_other_contents_under_a_known_identity_are_refused_and_the_rest_is_taken(store: Store, exported: Path) -> None:
    furnish(store)
    store.record(measured("m0001", message="measured here"))
    taken = store.import_parquet(exported)
    assert (taken.new, taken.known, taken.refused) == (NUMBER - 1, 0, ("m0001",))
    kept = {measurement.measurement_id: measurement for measurement in store.measurements(with_visits=True)}
    assert kept["m0001"].message == "measured here"


def test_files_say_what_they_are_and_raw_samples_are_in_them(exported: Path) -> None:
    assert {path.name for path in exported.iterdir()} == {MANIFEST, *(f"{p.name}.parquet" for p in ALL)}
    table = pq.read_table(exported / "measurement.parquet")
    told = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    assert told["edgecost.schema_revision"] == json.loads((exported / MANIFEST).read_text())["schema_revision"]
    assert told["edgecost.version"]
    assert {"latency_median_ms", "overhead_ms"} <= set(table.column_names)
    assert table.column("latency_median_ms").null_count == sum(n % 3 == 2 for n in range(NUMBER))
    raw = pq.read_table(exported / "measurement_raw.parquet").to_pylist()
    assert {row["kind"] for row in raw} == {"visits", "conditions"}


def test_a_folder_with_something_in_it_is_left_alone(store: Store, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    store.export_parquet(tmp_path / "out")
    before = (tmp_path / "out" / MANIFEST).read_bytes()
    with pytest.raises(OutputError, match="is not empty"):
        store.export_parquet(tmp_path / "out")
    assert (tmp_path / "out" / MANIFEST).read_bytes() == before


def test_an_export_that_fails_leaves_nothing(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store, NUMBER)

    def broken(self: object) -> object:
        raise StoreError("the server went away")

    monkeypatch.setattr(outgoing.StoreReader, "batches", broken)
    (tmp_path / "place").mkdir()
    with pytest.raises(StoreError, match="went away"):
        store.export_parquet(tmp_path / "place" / "out")
    assert [*(tmp_path / "place").iterdir()] == []
    with pytest.raises(OutputError, match="cannot be written"):
        store.export_parquet(Path("/proc/nowhere/out"))


def seal(exported: Path, **changes: object) -> None:
    """A manifest with other contents and the hash that they have, as a forger or another version would write it."""
    content = json.loads((exported / MANIFEST).read_text())
    content.pop("sha256")
    content |= changes
    (exported / MANIFEST).write_text(json.dumps({**content, "sha256": content_hash(content)}))


def rewrite(exported: Path, name: str, table: pa.Table) -> None:
    pq.write_table(table, exported / f"{name}.parquet", row_group_size=4)
    tables = json.loads((exported / MANIFEST).read_text())["tables"]
    told = describe(exported / f"{name}.parquet", table.num_rows)
    seal(exported, tables=tables | {name: vars(told)})


def read(exported: Path, name: str) -> pa.Table:
    return pq.read_table(exported / f"{name}.parquet")


def truncate(exported: Path) -> None:
    file = exported / "measurement_raw.parquet"
    file.write_bytes(file.read_bytes()[:-100])


def flip_a_bit(exported: Path) -> None:
    file = exported / "measurement.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def lose_a_row(exported: Path) -> None:
    tables = json.loads((exported / MANIFEST).read_text())["tables"]
    tables["device"]["rows"] += 1
    seal(exported, tables=tables)


def forget_a_table(exported: Path) -> None:
    tables = json.loads((exported / MANIFEST).read_text())["tables"]
    del tables["sensor"]
    seal(exported, tables=tables)


def alter_the_manifest(exported: Path) -> None:
    file = exported / MANIFEST
    file.write_text(file.read_text().replace('"rows": 11', '"rows": 12'))


def alter_a_document(exported: Path, document: str = '{"kernel": "5.0"}') -> None:
    table = read(exported, "environment")
    altered = pa.array([document] * table.num_rows)
    rewrite(exported, "environment", table.set_column(table.column_names.index("document"), "document", altered))


@pytest.mark.parametrize(
    ("damage", "error", "said"),
    [
        (truncate, ArtefactError, "is damaged: it has"),
        (flip_a_bit, ArtefactError, "was altered or is damaged"),
        (lambda e: (e / "annotation.parquet").unlink(), ArtefactError, "cannot be read"),
        (lambda e: (e / MANIFEST).unlink(), ArtefactError, "cannot be read"),
        (lambda e: (e / MANIFEST).write_text("{"), ArtefactError, "is damaged"),
        (lambda e: (e / MANIFEST).write_text('{"format": "coco"}'), ArtefactError, "no export of edgecost"),
        (alter_the_manifest, ArtefactError, "was altered"),
        (lose_a_row, ArtefactError, "number of rows"),
        (forget_a_table, ArtefactError, "no table sensor"),
        (alter_a_document, ArtefactError, "hash of"),
        (lambda e: alter_a_document(e, "{"), ArtefactError, "hash of"),
        (lambda e: seal(e, format_version=2), SchemaMismatch, "written by a newer edgecost"),
        (lambda e: seal(e, schema_revision="edgecost_9999"), SchemaMismatch, "written by a newer edgecost"),
        (lambda e: rewrite(e, "device", pa.table({"name": ["x"]})), ArtefactError, "columns"),
        (
            lambda e: rewrite(e, "device", read(e, "device").append_column("watts", pa.array([1.0]))),
            ArtefactError,
            "columns watts",
        ),
        (
            lambda e: rewrite(e, "measurement_raw", read(e, "measurement_raw").slice(0, 1)),
            ArtefactError,
            "do not fit together",
        ),
    ],
)
def test_what_is_damaged_altered_newer_or_foreign_is_refused_and_nothing_is_added(
    store: Store, exported: Path, damage: object, error: type[Exception], said: str
) -> None:
    fill(store, 2, first=100)
    before = travelling(store)
    assert callable(damage)
    damage(exported)
    with pytest.raises(error, match=said):
        store.import_parquet(exported)
    assert travelling(store) == before


def test_a_single_file_of_an_export_is_no_export(store: Store, exported: Path) -> None:
    with pytest.raises(ArtefactError, match="not a whole export"):
        store.import_parquet(exported / "measurement.parquet")


def test_a_column_that_a_later_schema_adds_is_null_from_files_without_it(store: Store, exported: Path) -> None:
    rewrite(exported, "measurement", read(exported, "measurement").drop_columns(["overhead_ms"]))
    assert store.import_parquet(exported).new == NUMBER
    assert {measurement.overhead_ms for measurement in store.measurements()} == {None}


def test_what_the_database_refuses_leaves_it_as_it_was(store: Store, exported: Path) -> None:
    rewrite(exported, "workload", read(exported, "workload").slice(0, 0))
    rewrite(exported, "job", read(exported, "job").slice(0, 0))
    with pytest.raises(StoreError, match="refuses the row"):
        store.import_parquet(exported)
    assert store.counts().measurements == 0
    store.put_workload(WORKLOAD)
    assert store.import_parquet(exported).new == NUMBER


def test_an_import_that_is_killed_leaves_whole_measurements_and_the_next_one_completes_it(
    store: Store, exported: Path, database_url: str
) -> None:
    code = """
        import os, signal, sys
        from pathlib import Path
        from edgecost.db import Store, intake
        add, calls = intake._add_annotations, []
        def dying(connection):
            calls.append(1)
            if len(calls) == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return add(connection)
        intake._add_annotations = dying
        Store(sys.argv[1]).import_parquet(Path(sys.argv[2]))
    """
    command = [sys.executable, "-c", textwrap.dedent(code), database_url, str(exported)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert store.measurements(with_visits=True, usable_only=False) == attempts(8)
    assert store.campaigns()[0].jobs["done"] == 0
    taken = store.import_parquet(exported)
    assert (taken.new, taken.known) == (3, 8)
    assert travelling(store) == source_rows(exported)


def test_two_imports_at_once_add_everything_once(store: Store, exported: Path) -> None:
    with ThreadPoolExecutor(2) as threads:
        taken = [*threads.map(store.import_parquet, [exported, exported])]
    assert sum(one.new for one in taken) == sum(one.known for one in taken) == NUMBER
    assert travelling(store) == source_rows(exported)


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
NANOSECONDS = st.integers(1, 2**50)
VISITS = st.builds(
    Visit,
    ordinal=st.integers(0, 2**31),
    session=TEXTS,
    wall_ns=st.lists(NANOSECONDS, min_size=1, max_size=5).map(tuple),
    cpu_ns=st.lists(NANOSECONDS, max_size=3).map(tuple),
    canary_ns=st.tuples(NANOSECONDS, NANOSECONDS),
    switches=st.integers(0, 2**40),
    reject_reason=st.just(""),
    value_ns=st.floats(1, 1e12),
)


@st.composite
def measurements(draw: st.DrawFn) -> Measurement:
    visits = tuple(draw(st.lists(VISITS, max_size=4)))
    latency = summarise(visits) if visits else None
    return measured(
        uuid.uuid4().hex,
        session=draw(TEXTS),
        message=draw(TEXTS),
        purpose=draw(TEXTS),
        visits=visits,
        latency=latency,
        status=Status.OK if latency else Status.TIMEOUT,
        overhead_ms=draw(st.none() | st.floats(allow_nan=False)),
        conditions=draw(st.dictionaries(TEXTS, st.floats(allow_nan=False, allow_infinity=False) | TEXTS, max_size=3)),
    )


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(measurements(), max_size=9))
def test_any_measurements_come_back_exactly(store: Store, tmp_path: Path, made: list[Measurement]) -> None:
    place = tmp_path / uuid.uuid4().hex
    with Store(place / "source.sqlite") as source:
        furnish(source)
        for measurement in made:
            source.record(measurement)
        source.export_parquet(place / "out")
    assert store.import_parquet(place / "out").new == len(made)
    found = {m.measurement_id: m for m in store.measurements(with_visits=True, usable_only=False)}
    assert [found[measurement.measurement_id] for measurement in made] == made
