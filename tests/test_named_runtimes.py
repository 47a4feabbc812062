"""Runtimes by name: made from others, stored on both engines, looked up, and what a broken one does to the rest."""

from __future__ import annotations

import json
import os
import string
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
from alembic.command import upgrade
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import inspect, select, text

from edgecost.costmodels.named_runtimes import (
    Changes,
    add_runtime,
    chosen_profile,
    find_runtime,
    list_runtimes,
    remove_runtime,
)
from edgecost.db import Store, measurements, workloads
from edgecost.db.connect import Database, resolve_url
from edgecost.db.schema import HEAD, metadata
from edgecost.db.upgrade import alembic_config
from edgecost.profiler.errors import EdgecostError, RunnerError, StoreError, UsageError
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.records import Device, Environment, Latency, Measurement, RuntimeProfile, Status
from edgecost.profiler.runtimes import BUILT_IN, NamedRuntime, host_profile, named_from_document, resolve
from edgecost.profiler.workload import workload_from_model

ORT = BUILT_IN["ort"]
PINNED = NamedRuntime(
    "pinned",
    "a runtime with everything set",
    provider="XnnpackExecutionProvider",
    threads=2,
    precision="fp16",
    graph_level="ORT_ENABLE_BASIC",
    options=(("session.a", "1"), ("session.b", "é=2")),
    interpreter="/opt/python",
    affinity=(0, 3),
)


def python_without_runtimes(folder: Path) -> Path:
    """The Python of these tests without the packages that stand beside it; each start leaves a line in ``starts``."""
    path = folder / "python"
    path.write_text(f'#!/bin/sh\necho x >> "{folder}/starts"\nexec "{sys.executable}" -S -E "$@"\n')
    path.chmod(0o755)
    return path


def test_what_was_stored_under_a_name_comes_back(store: Store) -> None:
    assert store.put_named_runtime(PINNED)
    assert store.put_named_runtime(replace(ORT, name="another"))
    assert store.named_runtime("pinned") == PINNED
    assert [named.name for named in store.named_runtimes()] == ["another", "pinned"]
    assert store.named_runtime("unknown") is None


def test_a_name_that_is_taken_keeps_what_was_stored_first(store: Store) -> None:
    assert store.put_named_runtime(PINNED)
    assert not store.put_named_runtime(replace(PINNED, threads=1))
    assert store.named_runtime("pinned") == PINNED


def test_a_removed_name_can_be_given_again_and_its_measurements_stay(store: Store, profile: RuntimeProfile) -> None:
    store.put_named_runtime(PINNED)
    store.put_profile(profile)
    assert store.remove_named_runtime("pinned")
    assert not store.remove_named_runtime("pinned")
    assert store.named_runtimes() == []
    assert store.profile(profile.profile_hash) == profile
    assert store.put_named_runtime(replace(PINNED, threads=1))


def fill_first_schema(url: str) -> Database:
    """A database as the first version left it, with a measurement in it."""
    database = Database(resolve_url(url))
    with database.write() as connection:
        upgrade(alembic_config(connection), "edgecost_0001")
        assert "named_runtime" not in inspect(connection).get_table_names()
        device, profile, environment = Device("board", "board-1", "a board"), host_profile(), Environment({"a": 1e16})
        graph = GraphBuilder("conv")
        model = graph.model(graph.conv(graph.input((1, 4, 8, 8)), 4))
        workload = workload_from_model("conv", "operator", model, tuple(graph.weights))
        workloads.put_device(connection, device)
        workloads.put_profile(connection, profile)
        workloads.put_environment(connection, environment)
        workloads.put_workload(connection, workload)
        latency = Latency(1.0, 0.9, 1.1, 0.8, 0.95, 1.0, 1.1, 1.2, None, visits=7, runs=21)
        measured = Measurement(
            measurement_id="m1",
            graph_hash=workload.graph_hash,
            profile_hash=profile.profile_hash,
            environment_hash=environment.environment_hash,
            device_identity=device.identity,
            session="s1",
            protocol="edgecost-1",
            purpose="cell",
            status=Status.OK,
            message="",
            started_at="2026-01-01T00:00:00+00:00",
            finished_at="2026-01-01T01:00:00+00:00",
            latency=latency,
            overhead_ms=0.1,
        )
        assert measurements.record(connection, measured, None, None)
    return database


#: Tables of the first version that a database can go back to with what stands in them.
KEPT = ("measurement", "workload", "runtime_profile")


def columns_of(database: Database) -> dict[str, set[str]]:
    """The tables that a database has, with their columns."""
    with database.read() as connection:
        look = inspect(connection)
        return {name: {column["name"] for column in look.get_columns(name)} for name in look.get_table_names()}


def rows_of(database: Database, columns: dict[str, set[str]]) -> dict[str, list[tuple[object, ...]]]:
    """The rows of tables of ours, by the columns that are named."""
    with database.read() as connection:
        return {
            table.name: [
                tuple(row)
                for row in connection.execute(select(*(c for c in table.columns if c.name in columns[table.name])))
            ]
            for table in metadata.sorted_tables
            if table.name in columns
        }


def test_a_database_of_the_first_schema_is_lifted_with_nothing_lost(database_url: str) -> None:
    database = fill_first_schema(database_url)
    columns = columns_of(database)
    before = rows_of(database, columns)
    assert before["measurement"]
    with Store(database_url) as store:
        assert store.counts().schema_revision == HEAD
        assert [m.latency.median_ms for m in store.measurements() if m.latency] == [1.0]
        assert store.put_named_runtime(PINNED)
        assert store.named_runtime("pinned") == PINNED
        with pytest.raises(StoreError), store._database.write() as connection:
            connection.execute(text("DELETE FROM measurement"))
    assert rows_of(database, columns) == before
    database.close()


def test_a_database_can_go_back_to_the_first_schema_with_its_measurements(database_url: str) -> None:
    from alembic.command import downgrade

    database = fill_first_schema(database_url)
    columns = {name: names for name, names in columns_of(database).items() if name in KEPT}
    before = rows_of(database, columns)
    with Store(database_url) as store:
        store.put_named_runtime(PINNED)
        with store._database.write() as connection:
            downgrade(alembic_config(connection), "edgecost_0001")
    assert rows_of(database, columns) == before
    with Store(database_url) as store:
        assert store.named_runtimes() == []
    database.close()


words = st.text(min_size=1, max_size=8).filter(lambda text: "\0" not in text)


@given(
    st.builds(
        NamedRuntime,
        name=st.text(string.ascii_lowercase + string.digits + "._-", min_size=1),
        summary=words,
        threads=st.integers(1, 64),
        options=st.lists(st.tuples(words, words), max_size=3).map(tuple),
        interpreter=words,
        affinity=st.lists(st.integers(0, 63), max_size=4).map(tuple),
    )
)
def test_a_document_says_everything_about_a_runtime(named: NamedRuntime) -> None:
    assert named_from_document(json.loads(json.dumps(named.document()))) == named


@pytest.mark.parametrize("change", [{"threads": "2"}, {"options": 3}, {"of_a_later_version": 1}, {"provider": None}])
def test_a_document_that_describes_something_else_is_refused(change: dict[str, object]) -> None:
    document = {**PINNED.document(), **change}
    if document["provider"] is None:
        del document["provider"]
    with pytest.raises(UsageError, match="pinned"):
        named_from_document(document)


def test_changes_leave_what_they_do_not_name() -> None:
    made = Changes(threads=2).applied(replace(PINNED, interpreter=""), "mine")
    others = {one.name for one in fields(NamedRuntime)} - {"name", "summary", "threads", "interpreter"}
    assert {name: getattr(made, name) for name in others} == {name: getattr(PINNED, name) for name in others}
    assert (made.name, made.summary, made.threads) == ("mine", "made from pinned", 2)


def test_the_order_in_which_options_are_typed_is_no_part_of_a_profile() -> None:
    options = (("b", "1"), ("a", "2"))
    one, other = (Changes(options=order).applied(ORT, "mine") for order in (options, options[::-1]))
    assert resolve(one).profile_hash == resolve(other).profile_hash != resolve(ORT).profile_hash


def test_an_option_replaces_the_one_of_the_base() -> None:
    made = Changes(options=(("session.a", "2"),)).applied(replace(PINNED, interpreter=""), "mine")
    assert made.options == (("session.a", "2"), ("session.b", "é=2"))


def test_an_accelerator_made_from_the_cpu_runtime_must_not_fall_back_to_the_cpu() -> None:
    made = Changes(provider="CUDAExecutionProvider").applied(ORT, "mine")
    assert made.options == BUILT_IN["ort-cuda"].options != ()
    allowed = (("session.disable_cpu_ep_fallback", "0"),)
    assert Changes(provider="CUDAExecutionProvider", options=allowed).applied(ORT, "mine").options == allowed


@pytest.mark.parametrize("name", ["", "Ort", "my runtime", "a/b", "ört", "mine\n"])
def test_a_name_with_other_letters_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no name"):
        Changes().applied(ORT, name)


@pytest.mark.parametrize(
    ("changes", "base", "message"),
    [
        (Changes(precision="fp8"), "ort", "precision 'fp8'"),
        (Changes(graph_level="ORT_ENABLE_MORE"), "ort", "ORT_ENABLE_MORE"),
        (Changes(graph_level="ORT_ENABLE_ALL"), "tvm", "no graph level"),
    ],
)
def test_words_that_the_runtime_does_not_know_are_refused(changes: Changes, base: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        changes.applied(BUILT_IN[base], "mine")


def test_the_levels_that_are_accepted_are_those_of_onnxruntime() -> None:
    import onnxruntime

    for level in onnxruntime.GraphOptimizationLevel.__members__:
        assert Changes(graph_level=level).applied(ORT, "mine").graph_level == level


def test_an_interpreter_is_kept_as_a_path_from_everywhere_and_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "python").symlink_to(sys.executable)
    monkeypatch.chdir(tmp_path)
    assert Changes(interpreter="./python").applied(ORT, "mine").interpreter == str(tmp_path / "python")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert Changes(interpreter="python").applied(ORT, "mine").interpreter == str(tmp_path / "python")


def test_looking_for_a_name_makes_no_database(tmp_path: Path) -> None:
    url = str(tmp_path / "folder" / "store.sqlite")
    assert find_runtime("ort", url) is ORT
    with pytest.raises(UsageError, match="no runtime 'mine'; there are ort, ort-basic"):
        find_runtime("mine", url)
    with pytest.raises(UsageError):
        remove_runtime("mine", url)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_name_is_answered_with_those_there_are(database_url: str) -> None:
    add_runtime(PINNED, database_url, checked=False)
    with pytest.raises(UsageError, match=r"there are ort, .*, pinned") as caught:
        find_runtime("mine", database_url)
    assert "edgecost runtime add" in caught.value.remedy


def test_an_own_runtime_is_found_by_its_name_and_becomes_its_profile(database_url: str) -> None:
    named = Changes(options=(("session.a", "1"),), affinity=(min(os.sched_getaffinity(0)),)).applied(ORT, "mine")
    profile = add_runtime(named, database_url)
    assert profile is not None
    assert (
        chosen_profile("mine", None, database_url)
        == profile
        == replace(host_profile(), options=named.options, affinity=named.affinity)
    )
    remove_runtime("mine", database_url)
    with pytest.raises(UsageError):
        chosen_profile("mine", None, database_url)


def test_threads_and_precision_are_those_of_the_command_where_it_names_them(tmp_path: Path) -> None:
    url = str(tmp_path / "store.sqlite")
    many = len(os.sched_getaffinity(0))
    add_runtime(replace(ORT, name="many", threads=many, precision="fp16"), url)
    assert asdict(chosen_profile("many", None, url)) == asdict(replace(host_profile(threads=many), precision="fp16"))
    assert chosen_profile("many", 1, url, "fp32") == host_profile()


def test_a_name_that_is_taken_or_built_in_is_not_given_twice(tmp_path: Path) -> None:
    url = str(tmp_path / "store.sqlite")
    add_runtime(replace(ORT, name="mine"), url)
    with pytest.raises(UsageError, match="already"):
        add_runtime(replace(ORT, name="mine", threads=1), url)
    with pytest.raises(UsageError, match="built in"):
        Changes().applied(ORT, "tvm")
    with pytest.raises(UsageError, match="built in"):
        remove_runtime("ort", url)


def test_a_runtime_that_cannot_be_used_here_is_stored_only_unchecked(tmp_path: Path) -> None:
    url, lacking = str(tmp_path / "store.sqlite"), str(python_without_runtimes(tmp_path))
    threads = len(os.sched_getaffinity(0)) + 1
    refused: list[tuple[NamedRuntime, type[EdgecostError], str]] = [
        (replace(ORT, name="gone", interpreter=str(tmp_path / "gone")), RunnerError, "cannot start the interpreter"),
        (replace(ORT, name="lacking", interpreter=lacking), RunnerError, "has no onnxruntime"),
        (replace(ORT, name="silent", interpreter="/bin/true"), RunnerError, "could not say"),
        (replace(BUILT_IN["ort-acl"], name="provider"), UsageError, "ACLExecutionProvider"),
        (replace(ORT, name="wide", threads=threads), UsageError, f"{threads} threads"),
    ]
    for named, error, message in refused:
        with pytest.raises(error, match=message) as caught:
            add_runtime(named, url)
        assert "--unchecked" in caught.value.remedy
    assert not Store.exists(url)
    for named, _, _ in refused:
        assert add_runtime(named, url, checked=False) is None
        assert find_runtime(named.name, url) == named


def test_a_broken_interpreter_is_a_row_beside_those_that_can_be_used(tmp_path: Path) -> None:
    url = str(tmp_path / "store.sqlite")
    lacking = str(python_without_runtimes(tmp_path))
    own = (
        replace(ORT, name="gone", interpreter=str(tmp_path / "gone")),
        replace(ORT, name="lacking", interpreter=lacking),
        replace(BUILT_IN["tvm"], name="lacking-tvm", interpreter=lacking),
        replace(ORT, name="mine", options=(("a", "1"),)),
        replace(ORT, name="wide", threads=len(os.sched_getaffinity(0)) + 1),
    )
    for named in own:
        add_runtime(named, url, checked=False)
    rows = {row.named.name: row for row in list_runtimes(url)}
    assert [*rows] == [*BUILT_IN, *(named.name for named in own)]
    assert (tmp_path / "starts").read_text() == "x\n", "one interpreter is asked once"
    assert [row.is_built_in for row in rows.values()] == [True] * len(BUILT_IN) + [False] * len(own)
    version = host_profile().version
    assert (rows["ort"].version, rows["ort"].problem) == (rows["mine"].version, rows["mine"].problem) == (version, "")
    assert (rows["gone"].version, rows["lacking"].version) == (None, None)
    assert "cannot start" in rows["gone"].problem
    assert "has no onnxruntime" in rows["lacking"].problem
    assert "has no tvm" in rows["lacking-tvm"].problem
    assert rows["ort-acl"].version == rows["wide"].version == version
    assert "ACLExecutionProvider" in rows["ort-acl"].problem
    assert "threads" in rows["wide"].problem
