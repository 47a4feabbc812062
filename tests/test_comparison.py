"""Two selections side by side: what is joined, what is counted, and what the rows say together."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from edgecost.costmodels.comparison import Comparison, compare
from edgecost.costmodels.selections import parse_selection
from edgecost.profiler.errors import UsageError
from edgecost.profiler.records import Device, Status


def _load_helper():
    spec = importlib.util.spec_from_file_location("comparison_store", Path(__file__).with_name("comparison_store.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


helper = _load_helper()
Bench, around, relu = helper.Bench, helper.around, helper.relu
ONE, FOUR, TVM, BOARD = helper.ONE, helper.FOUR, helper.TVM, helper.BOARD


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "store.sqlite")
    yield made
    made.store.close()


def only(comparison: Comparison):
    (row,) = comparison.rows
    return row


# Selections.


def test_a_selection_is_read_with_its_keys_and_times() -> None:
    found = parse_selection(" runtime=ort, threads=4 ,since=2026-07-01,until=2026-07-02T12:00:00Z")
    assert found.wanted == (("runtime", "ort"), ("threads", "4"))
    assert found.since == datetime(2026, 7, 1, tzinfo=timezone.utc)
    assert found.until == datetime(2026, 7, 2, 12, tzinfo=timezone.utc)
    assert parse_selection("").is_everything
    assert parse_selection("all").is_everything


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("threads", "not key=value"),
        ("threads=", "not key=value"),
        ("thread=4", "did you mean threads"),
        ("threads=1,threads=2", "twice"),
        ("threads=four", "number of threads"),
        ("since=yesterday", "is no time"),
        ("since=2026-07-02,until=2026-07-02", "nothing lies between"),
        ("runtime=ort,", "not key=value"),
    ],
)
def test_a_selection_that_cannot_be_read_says_what_to_write(text: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_selection(text)
    assert said in f"{refused.value.message} {refused.value.remedy}"
    assert refused.value.remedy


# Joining.


def test_the_ratio_is_of_the_medians_net_of_each_sides_own_call(bench: Bench) -> None:
    bench.write(relu(1), around(1.1), ONE, overhead_ms=0.1)
    bench.write(relu(1), around(0.7), FOUR, overhead_ms=0.2)
    row = only(compare(bench.store, "threads=1", "threads=4"))
    assert row.basis == "net"
    assert (row.a.latency_ms, row.b.latency_ms) == pytest.approx((1.0, 0.5))
    assert row.ratio == pytest.approx(0.5)
    assert row.verdict == "B wins"
    assert (row.spread_a, row.spread_b) == ("within the session", "within the session")


@pytest.mark.parametrize("overhead_ms", [None, 0.699])
def test_without_an_overhead_that_can_be_taken_off_both_sides_stay_raw(bench: Bench, overhead_ms) -> None:
    bench.write(relu(1), around(1.4), ONE, overhead_ms=0.1)
    bench.write(relu(1), around(0.7), FOUR, overhead_ms=overhead_ms)
    found = compare(bench.store, "threads=1", "threads=4")
    assert only(found).basis == "raw"
    assert only(found).ratio == pytest.approx(0.5)
    assert any("raw latencies" in note for note in found.notes)


def test_three_processes_a_side_give_an_interval_across_sessions(bench: Bench) -> None:
    for seed in range(3):
        bench.write(relu(1), around(1.0 + 0.1 * seed, seed=seed), ONE)
        bench.write(relu(1), around(1.0 + 0.1 * seed, seed=seed + 9), FOUR)
    row = only(compare(bench.store, "threads=1", "threads=4"))
    assert (row.spread_a, row.spread_b) == ("across sessions", "across sessions")
    assert row.verdict == "no difference shown"
    assert row.lo < 0.95 < 1.05 < row.hi


def test_what_a_panel_measured_twice_widens_the_intervals_of_single_processes(bench: Bench) -> None:
    bench.write(relu(1), around(1.0), ONE)
    bench.write(relu(1), around(1.1), FOUR)
    before = only(compare(bench.store, "threads=1", "threads=4"))
    assert before.verdict == "A wins"
    for profile in (ONE, FOUR):
        bench.write(relu(2), around(1.0), profile, purpose="cell")
        bench.write(relu(2), around(1.2), profile, purpose="panel")
    found = compare(bench.store, "threads=1,since=2020-01-01", "threads=4")
    after = next(row for row in found.rows if row.name == "relu 1")
    assert after.verdict == "no difference shown"
    assert after.lo < before.lo < before.hi < after.hi
    assert "widened" in after.spread_a
    assert any("repeatability panel" in note for note in found.notes)


def test_what_the_selections_do_not_name_must_be_equal(bench: Bench) -> None:
    older = replace(FOUR, version="1.31.0")
    bench.write(relu(1), around(1.0), ONE)
    bench.write(relu(1), around(1.0), older)
    with pytest.raises(UsageError) as refused:
        compare(bench.store, "threads=1", "threads=4")
    assert "differ in version" in refused.value.remedy
    assert "version=…" in refused.value.remedy
    assert only(compare(bench.store, "threads=1,version=1.32", "threads=4,version=1.31.0")).ratio == pytest.approx(1.0)


def test_devices_are_rows_of_their_own(bench: Bench) -> None:
    nano = Device("nano", "nano-1", "another")
    for device, factor in ((BOARD, 1.0), (nano, 4.0)):
        bench.write(relu(1), around(factor), ONE, device=device)
        bench.write(relu(1), around(factor * 0.5 + 0.01 * factor**2), FOUR, device=device)
    found = compare(bench.store, "threads=1", "threads=4")
    assert {(row.name, row.detail) for row in found.rows} == {("relu 1", "device board-1"), ("relu 1", "device nano-1")}
    across = only(compare(bench.store, "device=board,threads=1", "device=nano-,threads=1"))
    assert across.ratio == pytest.approx(4.0)


def test_runtimes_are_compared_whatever_their_own_words_for_provider_and_level_are(bench: Bench) -> None:
    bench.write(relu(1), around(1.0), ONE)
    bench.write(relu(1), around(2.0), TVM)
    assert only(compare(bench.store, "runtime=ort", "runtime=tvm")).ratio == pytest.approx(2.0)
    tuned = replace(TVM, options=(("trials", "1000"),))
    bench.write(relu(1), around(0.5), tuned)
    with pytest.raises(UsageError) as refused:
        compare(bench.store, "runtime=ort", "runtime=tvm")
    assert "several quantities" in refused.value.message
    assert "trials=1000" in refused.value.message
    assert only(compare(bench.store, "runtime=tvm,option=trials=64", "option=trials=1000")).ratio == pytest.approx(0.25)
    short = tuned.profile_hash[:12]
    assert only(compare(bench.store, "runtime=ort", f"profile={short}")).ratio == pytest.approx(0.5)


def test_dates_split_a_store_and_the_day_in_between_belongs_to_one_side(bench: Bench) -> None:
    bench.write(relu(1), around(1.0), started_at="2026-06-30T23:59:59.999+00:00")
    bench.write(relu(1), around(1.3), started_at="2026-07-01T00:00:00.000+00:00")
    found = compare(bench.store, "until=2026-07-01", "since=2026-07-01")
    assert only(found).ratio == pytest.approx(1.3)
    assert not any("both sides" in note for note in found.notes)


def test_environments_are_compared_by_the_beginning_of_their_hash(bench: Bench) -> None:
    bench.write(relu(1), around(1.0), environment="6.1")
    bench.write(relu(1), around(1.2), environment="6.2", started_at="2026-01-02T00:00:00+00:00")
    first, second = (m.environment_hash[:10] for m in bench.store.measurements())
    assert only(compare(bench.store, f"environment={first}", f"environment={second}")).ratio == pytest.approx(1.2)


def test_overlapping_selections_are_told(bench: Bench) -> None:
    bench.write(relu(1), around(1.0))
    found = compare(bench.store, "all", "threads=1")
    assert only(found).ratio == 1.0
    assert only(found).verdict == "no difference shown"
    assert any("1 measurements are on both sides" in note for note in found.notes)


# Precisions.


def test_a_converted_graph_is_joined_by_its_name(bench: Bench) -> None:
    bench.write(relu(1, "block"), around(1.0))
    bench.write(relu(2, "block int8-qdq"), around(0.4))
    bench.write(relu(3, "block fp16"), around(0.8))
    row = only(compare(bench.store, "precision=fp32", "precision=int8-qdq"))
    assert (row.name, row.ratio) == ("block", pytest.approx(0.4))
    assert only(compare(bench.store, "precision=fp16", "precision=int8-qdq")).ratio == pytest.approx(0.5)
    narrowed = compare(bench.store, "precision=fp32", "precision=fp16", graph_hash=relu(1).graph_hash)
    assert only(narrowed).ratio == pytest.approx(0.8)


def test_a_precision_of_the_runtime_is_joined_by_the_graph(bench: Bench) -> None:
    bench.write(relu(1), around(1.0))
    bench.write(relu(1), around(0.6), replace(ONE, precision="fp16"))
    assert only(compare(bench.store, "precision=fp32", "precision=fp16")).ratio == pytest.approx(0.6)


def test_a_name_that_two_graphs_share_joins_nothing_and_says_so(bench: Bench) -> None:
    bench.write(relu(1, "block"), around(1.0))
    bench.write(relu(2, "block int8-qdq"), around(0.4))
    bench.write(relu(3, "block int8-qdq"), around(0.5))
    bench.write(relu(4, "other"), around(1.0))
    bench.write(relu(5, "other int8-qdq"), around(0.5))
    found = compare(bench.store, "precision=fp32", "precision=int8-qdq")
    assert only(found).name == "other"
    assert found.only_on("A") == {"several graphs of this name": 1}
    assert found.only_on("B") == {"several graphs of this name": 2}
    back = compare(bench.store, "precision=int8-qdq", "precision=fp32")
    assert only(back).name == "other"
    assert back.only_on("A") == found.only_on("B")


def test_without_a_say_on_precision_names_join_nothing(bench: Bench) -> None:
    bench.write(relu(1, "block"), around(1.0), ONE)
    bench.write(relu(2, "block int8-qdq"), around(0.4), FOUR)
    with pytest.raises(UsageError, match="no workload has a latency on both sides"):
        compare(bench.store, "threads=1", "threads=4")


# What is not compared.


def test_what_has_no_counterpart_is_counted_with_its_reason(bench: Bench) -> None:
    for size in range(1, 6):
        bench.write(relu(size), around(1.0), ONE)
    bench.write(relu(1), around(1.0), FOUR)
    bench.write(relu(2), [], FOUR, status=Status.UNSUPPORTED_OPERATOR)
    bench.write(relu(3), [], FOUR, status=Status.SEGFAULT)
    bench.write(relu(3), [], FOUR, status=Status.UNSUPPORTED_OPERATOR, started_at="2026-01-02T00:00:00+00:00")
    wrong = bench.write(relu(4), around(9.0), FOUR)
    bench.store.retract(wrong, "me", "the fan was off")
    bench.write(relu(6), [], FOUR, status=Status.TIMEOUT)
    found = compare(bench.store, "threads=1", "threads=4")
    assert only(found).name == "relu 1"
    assert found.only_on("A") == {"unsupported_operator": 2, "retracted": 1, "not measured": 1}
    assert found.only_on("B") == {}
    assert found.failures_a == {}
    assert found.failures_b == {"unsupported_operator": 2, "retracted": 1, "timeout": 1}


def test_a_failure_that_a_latency_followed_is_none(bench: Bench) -> None:
    bench.write(relu(1), around(1.0), ONE)
    bench.write(relu(1), [], FOUR, status=Status.TIMEOUT)
    bench.write(relu(1), around(1.0), FOUR)
    assert compare(bench.store, "threads=1", "threads=4").failures_b == {}


def test_a_converted_graph_that_failed_is_the_reason_for_its_original(bench: Bench) -> None:
    bench.write(relu(1, "block"), around(1.0))
    bench.write(relu(2, "block int8-qdq"), [], status=Status.UNSUPPORTED_OPERATOR)
    bench.write(relu(3, "other"), around(1.0))
    bench.write(relu(4, "other int8-qdq"), around(1.0))
    found = compare(bench.store, "precision=fp32", "precision=int8-qdq")
    assert found.only_on("A") == {"unsupported_operator": 1}


def test_nothing_in_common_names_what_each_side_has(bench: Bench) -> None:
    bench.write(relu(1), around(1.0), ONE)
    bench.write(relu(2), around(1.0), FOUR)
    bench.write(relu(1), [], FOUR, status=Status.TIMEOUT)
    with pytest.raises(UsageError) as refused:
        compare(bench.store, "threads=1", "threads=4")
    assert "A (threads=1) has 1 workload (board: onnxruntime 1.32.0, CPU, 1 thread, fp32)" in refused.value.message
    assert "B (threads=4) has 1 workload" in refused.value.message
    assert "without latency: 1 timeout" in refused.value.message


def test_a_selection_that_matches_nothing_names_what_there_is(bench: Bench) -> None:
    bench.write(relu(1), around(1.0), ONE)
    with pytest.raises(UsageError) as refused:
        compare(bench.store, "threads=1", "runtime=tvm")
    assert refused.value.message == "B (runtime=tvm) matches no measurement"
    assert "runtime: onnxruntime; version: 1.32.0" in refused.value.remedy


def test_an_empty_store_and_two_times_everything_are_refused(bench: Bench) -> None:
    with pytest.raises(UsageError, match="holds no measurement"):
        compare(bench.store, "threads=1", "all")
    with pytest.raises(UsageError, match="both sides are everything"):
        compare(bench.store, "all", "")


def test_purposes_and_graphs_narrow(bench: Bench) -> None:
    for size, purpose in ((1, "kernel"), (2, "network")):
        bench.write(relu(size), around(1.0), ONE, purpose=purpose)
        bench.write(relu(size), around(1.0), FOUR, purpose=purpose)
    narrowed = compare(bench.store, "threads=1", "threads=4", purposes=["network"])
    assert only(narrowed).name == "relu 2"
    narrowed = compare(bench.store, "threads=1", "threads=4", graph_hash=relu(1).graph_hash[:16])
    assert only(narrowed).name == "relu 1"
    with pytest.raises(UsageError, match="2 graphs begin with"):
        compare(bench.store, "threads=1", "threads=4", graph_hash="")
    with pytest.raises(UsageError, match="no measurement of a graph"):
        compare(bench.store, "threads=1", "threads=4", graph_hash="0" * 64)


# The summary.


def test_the_summary_adds_up(bench: Bench) -> None:
    for size, factor in ((1, 0.5), (2, 1.0), (3, 4.0)):
        bench.write(relu(size), around(size), ONE)
        bench.write(relu(size), around(size * factor, seed=size), FOUR)
    found = compare(bench.store, "threads=1", "threads=4")
    assert [row.name for row in found.rows] == ["relu 3", "relu 1", "relu 2"]
    assert found.geometric_mean == pytest.approx(2 ** (1 / 3))
    assert found.mean_lo < found.geometric_mean < found.mean_hi
    assert (found.total_a_ms, found.total_b_ms) == pytest.approx((6.0, 14.5))
    assert found.verdicts == {"A wins": 1, "B wins": 1, "no difference shown": 1}
    assert [row.name for row in found.slower(0.05)] == ["relu 3"]
    (slow,) = found.slower(0.05)
    assert found.slower(slow.ratio - 1.0 - 1e-6) == (), "more than that, but the interval does not leave it out"


def test_the_comparison_the_other_way_is_the_mirror_image(bench: Bench) -> None:
    for size in range(1, 5):
        for session in "abc":
            bench.write(relu(size), around(size, seed=size), ONE, session=f"{session}1")
            bench.write(relu(size), around(1.7, seed=size + 9), FOUR, session=f"{session}4")
    there, back = (compare(bench.store, *sides) for sides in (("threads=1", "threads=4"), ("threads=4", "threads=1")))
    assert there.geometric_mean * back.geometric_mean == pytest.approx(1.0)
    assert (there.mean_lo, there.mean_hi) == pytest.approx((1 / back.mean_hi, 1 / back.mean_lo))
    mirrored = {row.name: row for row in back.rows}
    for row in there.rows:
        other = mirrored[row.name]
        assert (row.ratio, row.lo, row.hi) == pytest.approx((1 / other.ratio, 1 / other.hi, 1 / other.lo))
    assert compare(bench.store, "threads=1", "threads=4") == there
