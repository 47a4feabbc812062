"""The statistic of record: the median, and an interval that holds it as often as it says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from edgecost.profiler.records import Visit
from edgecost.profiler.statistics import median_interval, summarise

VALUES = st.lists(st.floats(min_value=0, max_value=1e12), min_size=1, max_size=60)


def visit(value_ns: float | None, wall_ns: Sequence[int] = (1_000_000,), reason: str = "canary") -> Visit:
    return Visit(1, "s", tuple(wall_ns), tuple(wall_ns), (10, 10), 0, "" if value_ns is not None else reason, value_ns)


def narrowest_ranks(n: int, confidence: float) -> tuple[int, int]:
    """The oracle: the largest k for which the ranks k and n + 1 - k cover, the whole range if there is none."""
    fit = [k for k in range(1, n // 2 + 1) if 1 - 2 * binom.cdf(k - 1, n, 0.5) >= confidence]
    k = max(fit, default=1)
    return k, n + 1 - k


@given(VALUES)
def test_the_bounds_are_values_and_hold_the_median(values: list[float]) -> None:
    lo, hi = median_interval(values)
    assert {lo, hi} <= set(values)
    assert lo <= np.median(values) <= hi


@given(VALUES, st.randoms())
def test_the_order_of_the_values_does_not_matter(values: list[float], random) -> None:
    shuffled = random.sample(values, len(values))
    assert median_interval(shuffled) == median_interval(values)


@given(st.integers(6, 400))
def test_the_ranks_cover_95_percent_and_no_narrower_pair_does(n: int) -> None:
    lo, hi = median_interval(range(1, n + 1))
    assert (lo, hi) == narrowest_ranks(n, 0.95)
    assert 1 - 2 * binom.cdf(lo - 1, n, 0.5) >= 0.95
    assert 1 - 2 * binom.cdf(lo, n, 0.5) < 0.95


@given(st.integers(1, 200), st.sampled_from([0.5, 0.8, 0.9, 0.99]))
def test_other_confidences_agree_with_the_binomial_too(n: int, confidence: float) -> None:
    assert median_interval(range(1, n + 1), confidence) == narrowest_ranks(n, confidence)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_fewer_than_six_values_give_the_whole_range(n: int) -> None:
    assert median_interval(range(n)) == (0, n - 1)


def test_thousands_of_values_do_not_underflow() -> None:
    assert median_interval(range(1, 5001)) == narrowest_ranks(5000, 0.95)


def test_no_values_have_no_interval() -> None:
    with pytest.raises(ValueError, match="no values"):
        median_interval([])


def test_without_a_valid_visit_there_is_no_number() -> None:
    assert summarise([]) is None
    assert summarise([visit(None), visit(None)]) is None


def test_one_visit_has_a_median_but_no_spread() -> None:
    latency = summarise([visit(2_000_000.0, (1_900_000, 2_000_000, 2_100_000))])
    assert latency is not None
    assert (latency.median_ms, latency.lo_ms, latency.hi_ms) == (2.0, 2.0, 2.0)
    assert latency.mad_ms is None
    assert (latency.visits, latency.runs) == (1, 3)


def test_rejected_visits_do_not_enter_the_summary() -> None:
    latency = summarise([visit(1e6), visit(None, (900_000_000,)), visit(3e6, (3_000_000,))])
    assert latency is not None
    assert (latency.min_ms, latency.median_ms, latency.mean_ms, latency.mad_ms) == (1.0, 2.0, 2.0, 1.0)
    assert (latency.visits, latency.runs) == (2, 2)
    assert latency.p99_ms < 3.0001


@given(st.lists(st.floats(1e3, 1e9), min_size=2, max_size=40))
def test_the_summary_is_ordered_and_agrees_with_numpy(values_ns: list[float]) -> None:
    latency = summarise([visit(value, (int(value),)) for value in values_ns])
    assert latency is not None
    values = np.array(values_ns) / 1e6
    assert latency.min_ms <= latency.quartile_ms <= latency.median_ms <= latency.hi_ms
    assert latency.lo_ms <= latency.median_ms
    assert latency.p90_ms <= latency.p99_ms
    assert latency.median_ms == np.median(values)
    assert latency.mad_ms == np.median(np.abs(values - np.median(values)))
    assert latency.mean_ms == pytest.approx(values.mean())
