"""How attempts end that reached their limit, and what of them is kept."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecost.profiler.conclusion import conclude, conclude_recovered, limit_status, timestamp
from edgecost.profiler.protocol import VISITS_MIN, Settings
from edgecost.profiler.records import Environment, RuntimeProfile, Status, Visit
from edgecost.profiler.tasks import Stage, Task
from edgecost.profiler.workload import Workload

TASK = Task(Workload("relu", "operator", "a" * 64, b""), "cell")
STAGE = Stage(RuntimeProfile("onnxruntime", "1.32.0"), Environment({"kernel": "6.1"}), "device")
STANDARD = Settings()


def visits(valid: int, rejected: int = 0, *, spread: float = 0.0, reason: str = "canary") -> list[Visit]:
    """Valid visits from 1 ms to ``1 + spread`` ms, and rejected ones after them."""
    values = [1e6 * (1 + spread * place / max(1, valid - 1)) for place in range(valid)]
    made = [Visit(place, "s", (int(value),), (), (1, 1), 0, "", value) for place, value in enumerate(values)]
    return made + [Visit(valid + place, "s", (5,), (), (1, 9), 0, reason, None) for place in range(rejected)]


def test_few_visits_that_agree_are_enough_when_the_time_was_up() -> None:
    assert limit_status(visits(VISITS_MIN, spread=0.01), STANDARD) == (Status.OK, "")


def test_few_visits_that_disagree_are_unconverged() -> None:
    status, message = limit_status(visits(VISITS_MIN, spread=0.5), STANDARD)
    assert status is Status.UNCONVERGED
    assert "wider than ±2.0% after 6 visits" in message


def test_fewer_visits_than_an_interval_needs_are_rejected_however_equal() -> None:
    status, message = limit_status(visits(VISITS_MIN - 1), STANDARD)
    assert (status, message) == (Status.REJECTED, "5 of 5 visits valid, 20 are needed; the time was up")


def test_few_visits_that_are_left_of_many_are_rejected_though_they_agree() -> None:
    made = visits(VISITS_MIN, VISITS_MIN + 1)
    status, message = limit_status(made, STANDARD)
    assert status is Status.REJECTED
    assert message == "6 of 13 visits valid, 20 are needed; rejected for canary"
    assert limit_status(visits(VISITS_MIN, VISITS_MIN), STANDARD)[0] is Status.OK


def test_on_the_last_attempt_what_is_left_is_kept_as_unstable() -> None:
    made = visits(VISITS_MIN, 30, reason="preempted")
    status, message = limit_status(made, STANDARD, is_last=True)
    assert status is Status.UNSTABLE
    assert "rejected for preempted" in message
    assert limit_status(visits(VISITS_MIN - 1, 30), STANDARD, is_last=True)[0] is Status.REJECTED


def test_enough_valid_visits_count_whatever_was_rejected_beside_them() -> None:
    assert limit_status(visits(20, 100), STANDARD)[0] is Status.OK


@given(st.integers(0, 30), st.integers(0, 60), st.floats(0, 1), st.booleans())
def test_no_attempt_is_ok_without_an_interval_that_reaches_the_target(
    valid: int, rejected: int, spread: float, is_last: bool
) -> None:
    made = visits(valid, rejected, spread=spread)
    status, message = limit_status(made, STANDARD, is_last=is_last)
    measurement = conclude(TASK, STAGE, made, status, message, overhead=None, started_at=None, session="s")
    assert (measurement.latency is None) == (status is Status.REJECTED)
    assert bool(message) == (status is not Status.OK)
    if status is Status.OK:
        assert measurement.latency is not None
        assert measurement.latency.relative_half_width <= STANDARD.target
        assert measurement.latency.visits >= VISITS_MIN
    assert is_last or status is not Status.UNSTABLE


@pytest.mark.parametrize("status", Status)
def test_only_statuses_that_carry_a_number_get_one(status: Status) -> None:
    made = conclude(TASK, STAGE, visits(8, 2), status, "", overhead=0.01, started_at=None, session="s")
    carries = status.has_latency or status is Status.UNSTABLE
    assert (made.latency is not None) == carries
    assert len(made.visits) == 10
    assert (made.net_ms is not None) == carries


def test_where_only_the_end_is_known_it_stands_for_both() -> None:
    made = conclude(TASK, STAGE, [], Status.INTERRUPTED, "", overhead=None, started_at=None, session="s")
    assert made.started_at == made.finished_at
    assert made.conditions == {}


def test_time_stamps_are_in_utc_and_sort_as_text() -> None:
    noon = datetime(2026, 11, 22, 12, 0, tzinfo=timezone(timedelta(hours=5)))
    assert timestamp(noon) == "2026-11-22T07:00:00.000+00:00"
    assert timestamp(noon) < timestamp(noon + timedelta(milliseconds=1))


@pytest.mark.parametrize(("valid", "status"), [(20, Status.OK), (5, Status.INTERRUPTED), (0, Status.INTERRUPTED)])
def test_what_a_dead_process_left_is_a_number_where_it_is_enough(valid: int, status: Status) -> None:
    made = list(reversed(visits(valid)))
    found = conclude_recovered(TASK, STAGE, made, STANDARD, overhead=0.1)
    assert (found.status, found.latency is not None) == (status, status.has_latency)
    assert [visit.ordinal for visit in found.visits] == sorted(visit.ordinal for visit in made)
    assert (found.session, found.overhead_ms) == ("s" if valid else "", 0.1)
