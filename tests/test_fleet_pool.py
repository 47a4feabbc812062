"""Boards that measure a space together: each one's pace is found, and the table is as if one board had measured it."""

from __future__ import annotations

import hashlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecost.costmodels.fleet import ask as asking
from edgecost.costmodels.fleet.ask import ask, find_target
from edgecost.costmodels.fleet.fleet_campaign import measure_on_fleet
from edgecost.costmodels.fleet.pool import choose_pool
from edgecost.costmodels.fleet.pool_lut import build_pool_lut
from edgecost.costmodels.fleet.pool_samples import board_factors
from edgecost.costmodels.lut import Lut
from edgecost.costmodels.space import Space
from edgecost.costmodels.space_file import load_space
from edgecost.db import Store
from edgecost.db.fleet.records import Batch
from edgecost.profiler.errors import GateError, UsageError
from edgecost.profiler.fleet_protocol import Hello, OfferedRuntime, Result
from edgecost.profiler.records import Latency, Measurement, RuntimeProfile, Status
from tests.fleet_store import ENVIRONMENT, PROFILE, Board, enrol, workload

OVERHEAD_MS = 0.01


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0.01, 100), min_size=5, max_size=8),
    st.lists(st.floats(0.5, 2.0), min_size=2, max_size=4),
    st.data(),
)
def test_the_pace_of_boards_is_found_from_what_they_share(
    truth: Mapping[str, float], factors: list[float], data: st.DataObject
) -> None:
    names = [f"board-{at}" for at in range(len(factors))]
    # Everybody measured the first three graphs; the others whoever did.
    always = sorted(truth)[:3]
    measured = {
        name: {
            graph: value * factor
            for graph, value in truth.items()
            if graph in always or data.draw(st.booleans(), label=f"{name} measured {graph}")
        }
        for name, factor in zip(names, factors, strict=True)
    }
    found, shared = board_factors(measured)
    assert shared >= 3
    for at, name in enumerate(names):
        pace = found[name]
        first = found[names[0]]
        assert pace is not None
        assert first is not None
        assert pace / first == pytest.approx(factors[at] / factors[0], rel=1e-6)


def test_a_board_that_shares_too_little_has_no_pace() -> None:
    measured = {"a": {"x": 1.0, "y": 1.0}, "b": {"x": 2.0, "y": 2.0}, "c": {"z": 1.0}}
    assert board_factors(measured) == ({"a": None, "b": None, "c": None}, 2)


def hello(store: Store, board: Board, *offers: OfferedRuntime) -> None:
    store.fleet.hello(board.agent_id, Hello("boot", "1", board.device, "", offers), "")


def test_a_pool_is_the_active_boards_that_match_and_have_the_runtime(store: Store) -> None:
    enrol(store, "nano-1")
    enrol(store, "nano-2")
    enrol(store, "pi-1", pool="pi")
    enrol(store, "nano-3", runtimes=("tvm",))
    enrol(store, "nano-4")
    store.fleet.set_agent_state("nano-4", "draining")
    pool = choose_pool(store, "runtime=ort,pool=nano")
    assert [board.name for board in pool.boards] == ["nano-1", "nano-2"]
    assert (pool.selector, pool.runtime, pool.profile) == ("pool=nano,runtime=ort", "ort", PROFILE)
    assert choose_pool(store, "pi-1").device.name == "pi-1"


@pytest.mark.parametrize(
    ("text", "runtime", "said"),
    [
        ("pool=pi", None, "no board matches pool=pi"),
        ("pool=nano,runtime=ort", "tvm", "asks for the runtime ort"),
        ("nano-2", None, "nano-2 is retired"),
        ("nano-1", "tvm", "nano-1: offers ort"),
    ],
)
def test_a_pool_without_boards_says_why(store: Store, text: str, runtime: str | None, said: str) -> None:
    enrol(store, "nano-1")
    enrol(store, "nano-2")
    store.fleet.set_agent_state("nano-2", "retired")
    with pytest.raises(UsageError, match=said):
        choose_pool(store, text, runtime)


def test_boards_with_different_versions_are_no_pool(store: Store) -> None:
    enrol(store, "nano-1")
    other = enrol(store, "nano-2")
    hello(store, other, OfferedRuntime("ort", RuntimeProfile("onnxruntime", "1.28.0").document()))
    with pytest.raises(UsageError, match=r"nano-1: onnxruntime 1.32.0.*nano-2: onnxruntime 1.28.0"):
        choose_pool(store, "pool=nano")


def test_a_runtime_that_does_not_work_there_is_told_with_its_problem(store: Store) -> None:
    hello(store, enrol(store, "nano-1"), OfferedRuntime("ort", None, "onnxruntime is not installed"))
    with pytest.raises(UsageError, match="onnxruntime is not installed"):
        choose_pool(store, "pool=nano")


class Quiet:
    """A narrator that keeps what it was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def stage(self, title: str, total: int | None = None) -> None: ...

    def step(self, note: str) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)


def true_ms(graph_hash: str) -> float:
    """A law that anybody can look up: between 1 and 2 ms, by the graph."""
    return 1.0 + int(hashlib.sha256(graph_hash.encode()).hexdigest()[:8], 16) / 2**32


def result(board: Board, batch: Batch, at: int, factor: float, status: Status) -> Result:
    job = batch.jobs[at].job
    net = true_ms(job.graph_hash) * factor
    raw = net + OVERHEAD_MS
    latency = Latency(raw, 0.999 * raw, 1.001 * raw, raw, raw, raw, raw, raw, None, 7, 21)
    made = Measurement(
        measurement_id=uuid.uuid4().hex, graph_hash=job.graph_hash, profile_hash=PROFILE.profile_hash,
        environment_hash=ENVIRONMENT.environment_hash, device_identity=board.device.identity,
        session=batch.lease_token, protocol="edgecost-4", purpose=job.purpose, status=status, message="no kernel",
        started_at="2026-01-01T00:00:00+00:00", finished_at="2026-01-01T00:00:01+00:00",
        latency=latency if status.has_latency else None, overhead_ms=OVERHEAD_MS,
    )  # fmt: skip
    return Result(job.id, batch.lease_token, made, dict(ENVIRONMENT.document), PROFILE.document())


@contextmanager
def working(
    store: Store, boards: Mapping[str, tuple[Board, float]], outcome: Callable[[str], Status] = lambda _: Status.OK
) -> Iterator[None]:
    """Boards that take jobs and send results by the law, each at its own pace."""
    over = threading.Event()

    def work(board: Board, factor: float) -> None:
        while not over.is_set():
            batch = store.fleet.lease(board.agent_id, 4, 60.0)
            if batch is None:
                time.sleep(0.01)
                continue
            for at, held in enumerate(batch.jobs):
                store.fleet.accept(board.agent_id, result(board, batch, at, factor, outcome(held.job.label)))

    threads = [threading.Thread(target=work, args=pair, daemon=True) for pair in boards.values()]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


@pytest.fixture
def tiny() -> Space:
    return load_space(str(Path(__file__).with_name("tiny.toml")))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecost.costmodels.fleet.fleet_campaign.LOOK_S", 0.02)


def test_two_boards_of_different_pace_make_one_table(store: Store, tiny: Space, tmp_path: Path) -> None:
    boards = {name: (enrol(store, name), factor) for name, factor in (("nano-1", 1.0), ("nano-2", 1.1))}
    pool = choose_pool(store, "pool=nano")
    with working(store, boards):
        outcome = measure_on_fleet(store, pool, tiny, Quiet(), panel_share=0.5, networks=4)
    assert (outcome.failed, outcome.left, outcome.reused) == (0, 0, 0)
    assert sum(outcome.accepted_by.values()) == outcome.done == outcome.planned
    assert set(outcome.accepted_by) == {"nano-1", "nano-2"}
    table = build_pool_lut(store, tiny, pool)
    assert table.provenance["boards_spread"] == pytest.approx(0.1, abs=1e-6)
    # The middle of two boards lies between them: every cell is √1.1 of the first board's.
    for cell in table.cells:
        made = next(tiny.workload(one) for one in tiny.measurable if one.key == cell.key)
        assert made is not None
        assert cell.latency_ms == pytest.approx(true_ms(made.graph_hash) * 1.1**0.5, rel=1e-6)
    assert table.scale_fitted_on == 4
    table.save(tmp_path / "lut.json")
    assert Lut.load(tmp_path / "lut.json").provenance["boards"] == table.provenance["boards"]


def test_what_was_measured_is_not_measured_again(store: Store, tiny: Space) -> None:
    boards = {"nano-1": (enrol(store, "nano-1"), 1.0)}
    pool = choose_pool(store, "pool=nano")
    with working(store, boards):
        first = measure_on_fleet(store, pool, tiny, Quiet(), panel_share=0.2, networks=2)
        again = measure_on_fleet(store, pool, tiny, Quiet(), panel_share=0.2, networks=2)
    assert (again.reused, again.done, again.planned) == (first.planned, first.done, first.planned)
    assert store.counts().jobs == first.planned


def test_a_campaign_that_is_left_goes_on_where_it_was(store: Store, tiny: Space) -> None:
    board = enrol(store, "nano-1")
    pool = choose_pool(store, "pool=nano")
    begun = measure_on_fleet(store, pool, tiny, Quiet(), panel_share=0.0, networks=0, budget_s=0.05)
    assert (begun.done, begun.left) == (0, begun.planned)
    with working(store, {"nano-1": (board, 1.0)}):
        ended = measure_on_fleet(store, pool, tiny, Quiet(), panel_share=0.0, networks=0)
    assert (ended.done, ended.left) == (begun.planned, 0)


def test_a_cell_that_no_board_can_measure_is_said_to_be_missing(store: Store, tiny: Space) -> None:
    boards = {"nano-1": (enrol(store, "nano-1"), 1.0)}
    pool = choose_pool(store, "pool=nano")
    broken = tiny.measurable[0].key
    with working(store, boards, lambda label: Status.SEGFAULT if label == broken else Status.OK):
        outcome = measure_on_fleet(store, pool, tiny, Quiet(), panel_share=0.0, networks=0)
    assert outcome.failed == 1
    with pytest.raises(GateError, match="not measured"):
        build_pool_lut(store, tiny, pool)
    told = Quiet()
    with working(store, boards):
        measure_on_fleet(store, pool, tiny, told, panel_share=0.0, networks=0)
    assert any("failed before: edgecost jobs retry" in note for note in told.notes)


def test_a_question_is_answered_from_the_store_else_by_the_board_else_by_nobody(store: Store) -> None:
    board = enrol(store, "nano-1")
    asked = workload(7)
    target = find_target(store, "nano-1", None)
    unmeasured = ask(store, target, asked, Quiet(), measure=False, wait_s=0.0)
    assert (unmeasured.source, unmeasured.measurement) == ("prediction", None)
    late = ask(store, target, asked, Quiet(), measure=True, wait_s=0.05)
    assert "did not answer" in late.why
    with working(store, {"nano-1": (board, 1.0)}):
        by_board = ask(store, target, asked, Quiet(), measure=True, wait_s=60.0)
    stored = ask(store, target, asked, Quiet(), measure=True, wait_s=0.0)
    assert (by_board.source, stored.source) == ("board", "store")
    assert by_board.measurement == stored.measurement
    assert store.counts().jobs == 1


def test_a_board_that_cannot_measure_it_says_why_and_is_asked_again_next_time(store: Store) -> None:
    boards = {"nano-1": (enrol(store, "nano-1"), 1.0)}
    target = find_target(store, "nano-1", None)
    with working(store, boards, lambda _: Status.UNSUPPORTED_OPERATOR):
        refused = ask(store, target, workload(7), Quiet(), measure=True, wait_s=60.0)
    assert "could not measure it: unsupported_operator: no kernel" in refused.why
    with working(store, boards):
        assert ask(store, target, workload(7), Quiet(), measure=True, wait_s=60.0).source == "board"


def test_a_device_that_is_not_enrolled_any_more_answers_from_the_store(store: Store) -> None:
    board = enrol(store, "nano-1")
    with working(store, {"nano-1": (board, 1.0)}):
        ask(store, find_target(store, "nano-1", None), workload(7), Quiet(), measure=True, wait_s=60.0)
    store.fleet.set_agent_state("nano-1", "retired")
    target = find_target(store, "nano-1", None)
    assert ask(store, target, workload(7), Quiet(), measure=True, wait_s=0.0).source == "store"
    answer = ask(store, target, workload(8), Quiet(), measure=True, wait_s=0.0)
    assert (answer.source, "retired" in answer.why) == ("prediction", True)
    with pytest.raises(UsageError, match="there is no device 'nano-9'"):
        find_target(store, "nano-9", None)


def test_a_question_goes_before_every_campaign() -> None:
    assert asking.PRIORITY > 100
