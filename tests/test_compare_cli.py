"""``edgecost compare`` in the terminal: tables, JSON, pictures and the gate."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from edgecost.cli.main import cli
from edgecost.profiler.errors import EdgecostError, GateError, UsageError
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.model_file import read_model
from edgecost.profiler.records import Status


def _load_helper():
    spec = importlib.util.spec_from_file_location("comparison_store", Path(__file__).with_name("comparison_store.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


helper = _load_helper()

around, relu = helper.around, helper.relu
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[helper.Bench]:
    made = helper.Bench(tmp_path / "store.sqlite")
    yield made
    made.store.close()


@pytest.fixture
def filled(bench: helper.Bench) -> helper.Bench:
    """Three workloads on one and on four threads: B needs 50 %, 100 % and 110 % of A's time; a fourth fails on B."""
    for size, factor in ((1, 0.5), (2, 1.0), (3, 1.1)):
        bench.write(relu(size), around(size, spread=0.005), helper.ONE)
        bench.write(relu(size), around(size * factor, spread=0.005, seed=size), helper.FOUR)
    bench.write(relu(4), around(1.0), helper.ONE)
    bench.write(relu(4), [], helper.FOUR, status=Status.UNSUPPORTED_OPERATOR)
    return bench


def run(captured: Captured, bench: helper.Bench, *arguments: str | Path) -> tuple[str, EdgecostError | None]:
    """Standard output of one command, and the error that it ended with."""
    failed = None
    try:
        # By way of the group: a command that is run by itself keeps another `--help` than the reference shows.
        cli.main(["compare", *map(str, arguments), "--db", str(bench.path)], standalone_mode=False)
    except EdgecostError as error:
        failed = error
    return captured.readouterr().out, failed


def test_the_table_shows_ratios_verdicts_and_what_is_left_out(filled: helper.Bench, capsys: Captured) -> None:
    out, failed = run(capsys, filled, "threads=1", "threads=4")
    assert failed is None
    first = next(line for line in out.splitlines() if "relu 1" in line)
    assert first.split()[:7] == ["relu", "1", "1.000", "ms", "0.500", "ms", "0.500"]
    assert first.split()[10:] == ["B", "wins", "net", "1,", "1", "9,", "9"]
    assert "geometric mean of B / A   0.819" in out
    assert "1 A wins, 1 B wins, 1 no difference shown" in out
    assert "all 3 together            A 6.000 ms, B 5.800 ms" in out
    assert "only on A                 1 (on B: 1 unsupported_operator)" in out
    assert "without latency on B      1 unsupported_operator" in out
    assert "within the session only" in out


def test_json_holds_every_row_and_the_summary(filled: helper.Bench, capsys: Captured) -> None:
    out, failed = run(capsys, filled, "threads=1", "threads=4", "--json")
    assert failed is None
    document = json.loads(out)
    assert document["schema_version"] == 1
    assert [row["workload"] for row in document["rows"]] == ["relu 1", "relu 3", "relu 2"]
    row = document["rows"][0]
    assert row["ratio"] == pytest.approx(0.5)
    assert row["ratio_lo"] < 0.5 < row["ratio_hi"]
    assert (row["a_ms"], row["b_ms"], row["basis"]) == (pytest.approx(1.0), pytest.approx(0.5), "net")
    assert document["only_a"] == {"unsupported_operator": 1}
    assert document["verdicts"] == {"A wins": 1, "B wins": 1, "no difference shown": 1}
    assert document["picture"] is None


def test_an_interval_that_is_not_there_is_null(bench: helper.Bench, capsys: Captured) -> None:
    bench.write(relu(1), [1.0], helper.ONE)
    bench.write(relu(1), [2.0], helper.FOUR)
    document = json.loads(run(capsys, bench, "threads=1", "threads=4", "--json")[0])
    assert document["rows"][0]["ratio_lo"] is None
    assert document["geometric_mean_lo"] is None
    out, _ = run(capsys, bench, "threads=1", "threads=4")
    assert "too few visits" in out


@pytest.mark.parametrize(("name", "start"), [("a.svg", "<?xml"), ("folder/a.HTML", "<!DOCTYPE html>")])
def test_a_picture_is_written_and_named(filled: helper.Bench, capsys: Captured, tmp_path: Path, name, start) -> None:
    picture = tmp_path / name
    out, failed = run(capsys, filled, "threads=1", "threads=4", "--picture", picture)
    assert failed is None
    assert f"Picture: {picture}" in out
    assert picture.read_text(encoding="utf-8").startswith(start)


def test_another_kind_of_picture_is_refused_before_anything_is_read(bench: helper.Bench, capsys: Captured) -> None:
    _, failed = run(capsys, bench, "threads=1", "threads=4", "--picture", "a.png")
    assert isinstance(failed, UsageError)
    assert ".svg" in failed.message


@pytest.mark.parametrize(
    ("arguments", "slower"),
    [
        (("threads=1", "threads=4", "--fail-if-slower", "5%"), ["relu 3 1.100"]),
        (("threads=1", "threads=4", "--fail-if-slower", "0.15"), []),
        (("threads=4", "threads=1", "--fail-if-slower", "15%"), ["geometric mean 1.221", "relu 1 2.000"]),
    ],
)
def test_the_gate_fails_when_the_interval_says_slower(
    filled: helper.Bench, capsys: Captured, arguments, slower: list[str]
) -> None:
    out, failed = run(capsys, filled, *arguments)
    assert "geometric mean" in out, "the table comes first"
    if not slower:
        assert failed is None
        return
    assert isinstance(failed, GateError)
    assert failed.exit_code == 5
    assert all(text in failed.message for text in slower)
    assert "relu 2" not in failed.message


def test_a_gate_without_any_interval_does_not_pass(bench: helper.Bench, capsys: Captured) -> None:
    bench.write(relu(1), [1.0], helper.ONE)
    bench.write(relu(1), [9.0], helper.FOUR)
    _, failed = run(capsys, bench, "threads=1", "threads=4", "--fail-if-slower", "5%")
    assert isinstance(failed, GateError)
    assert "cannot be judged" in failed.message


def test_a_model_file_or_its_hash_narrows(bench: helper.Bench, capsys: Captured, tmp_path: Path) -> None:
    graph = GraphBuilder("model")
    model = graph.model(graph.activate(graph.input((3,)), "relu"))
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    for workload in (read_model(path), relu(7)):
        bench.write(workload, around(1.0), helper.ONE)
        bench.write(workload, around(2.0), helper.FOUR)
    for narrowed in (path, read_model(path).graph_hash[:20].upper()):
        out, failed = run(capsys, bench, "threads=1", "threads=4", "--model", narrowed, "--json")
        assert failed is None
        assert [row["workload"] for row in json.loads(out)["rows"]] == ["model"]
    _, failed = run(capsys, bench, "threads=1", "threads=4", "--model", "lost.onnx")
    assert isinstance(failed, UsageError)


def test_purposes_narrow(filled: helper.Bench, capsys: Captured) -> None:
    _, failed = run(capsys, filled, "threads=1", "threads=4", "--purpose", "network")
    assert isinstance(failed, UsageError)
    assert failed.remedy
    out, failed = run(capsys, filled, "threads=1", "threads=4", "--purpose", "network", "--purpose", "kernel", "--json")
    assert failed is None
    assert len(json.loads(out)["rows"]) == 3


def test_rows_of_two_versions_name_the_version(filled: helper.Bench, capsys: Captured) -> None:
    for profile in (helper.ONE, helper.FOUR):
        filled.write(relu(1), around(1.0), replace(profile, version="1.31.0"))
    out, failed = run(capsys, filled, "threads=1", "threads=4")
    assert failed is None
    assert "relu 1 (version 1.31.0)" in out
    assert "relu 1 (version 1.32.0)" in out


def test_more_rows_than_a_table_shows_are_counted(bench: helper.Bench, capsys: Captured) -> None:
    for size in range(1, 43):
        bench.write(relu(size), around(1.0), helper.ONE)
        bench.write(relu(size), around(1.0 + 0.01 * size), helper.FOUR)
    out, _ = run(capsys, bench, "threads=1", "threads=4")
    assert "(40 of 42)" in out
    table = out.partition("geometric mean")[0]
    assert sum(" relu " in line for line in table.splitlines()) == 40
    assert "by chance" in out
