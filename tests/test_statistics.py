"""The statistic of record: the median, and an interval that holds it as often as it says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from edgecost.profiler.records import Visit
from edgecost.profiler.statistics import median, median_interval, quantile, summarise

Values = npt.NDArray[np.float64]
VALUES = st.lists(st.floats(min_value=0, max_value=1e12), min_size=1, max_size=60)


def visit(value_ns: float | None, wall_ns: Sequence[int] = (1_000_000,), reason: str = "canary") -> Visit:
    return Visit(1, "s", tuple(wall_ns), tuple(wall_ns), (10, 10), 0, "" if value_ns is not None else reason, value_ns)


def narrowest_ranks(n: int, confidence: float) -> tuple[int, int]:
    """The oracle: the largest k for which the ranks k and n + 1 - k cover, the whole range if there is none."""
    fit = [k for k in range(1, n // 2 + 1) if 1 - 2 * binom.cdf(k - 1, n, 0.5) >= confidence]
    k = max(fit, default=1)
    return k, n + 1 - k


@given(VALUES)
def test_the_bounds_stand_among_the_values_and_hold_the_median(values: list[float]) -> None:
    lo, hi = median_interval(values)
    assert min(values) <= lo <= np.median(values) * (1 + 1e-12)
    assert np.median(values) * (1 - 1e-12) <= hi <= max(values)


@given(VALUES, st.randoms())
def test_the_order_of_the_values_does_not_matter(values: list[float], random) -> None:
    shuffled = random.sample(values, len(values))
    assert median_interval(shuffled) == median_interval(values)


@given(st.integers(6, 400), st.sampled_from([0.5, 0.8, 0.9, 0.95]))
def test_the_interval_stands_between_the_narrowest_pair_that_covers_and_the_next_inside(n: int, level: float) -> None:
    lo, hi = median_interval(range(1, n + 1), level)
    outer_lo, outer_hi = narrowest_ranks(n, level)
    assert outer_lo <= lo <= outer_lo + 1
    assert outer_hi - 1 <= hi <= outer_hi
    assert lo - outer_lo == pytest.approx(outer_hi - hi, abs=1e-9)


@pytest.mark.parametrize(
    "draw",
    [np.random.Generator.normal, np.random.Generator.exponential, np.random.Generator.laplace],
    ids=["normal", "exponential", "laplace"],
)
@pytest.mark.parametrize("n", [6, 7, 8, 9, 12, 30])
def test_95_of_100_intervals_hold_the_true_median_of_unlike_laws(draw: Callable[..., Values], n: int) -> None:
    generator = np.random.default_rng(n)
    median = np.median(draw(generator, size=400_001))
    intervals = [median_interval(row.tolist()) for row in draw(generator, size=(3000, n))]
    assert np.mean([lo <= median <= hi for lo, hi in intervals]) == pytest.approx(0.95, abs=0.015)


def test_eight_values_need_not_lie_within_the_whole_range() -> None:
    # The pair (1, 8) covers 99.2 %, the pair (2, 7) 93.0 %; Hettmansperger and Sheather's formula, by hand.
    surplus = (127 / 128 - 0.95) / (127 / 128 - 119 / 128)
    inward = 7 * surplus / (1 + 6 * surplus)
    assert median_interval(range(1, 9)) == pytest.approx((1 + inward, 8 - inward))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_fewer_than_six_values_give_the_whole_range(n: int) -> None:
    assert median_interval(range(n)) == (0, n - 1)


def test_thousands_of_values_do_not_underflow() -> None:
    assert median_interval(range(1, 5001)) == pytest.approx(narrowest_ranks(5000, 0.95), abs=1)


def test_no_values_have_no_interval() -> None:
    with pytest.raises(ValueError, match="no values"):
        median_interval([])


@given(VALUES | st.lists(st.integers(0, 2**52), min_size=1), st.floats(0, 1) | st.sampled_from([0.2, 0.25, 0.9, 0.99]))
def test_median_and_quantiles_are_numpys_to_the_last_bit(values: list[float], share: float) -> None:
    assert median(values) == np.median(values)
    assert quantile(values, share) == np.quantile(values, share)
    assert min(values) <= quantile(values, share) <= max(values)


def test_a_quantile_of_few_values_by_hand() -> None:
    assert [quantile([10, 30, 20], share) for share in (0, 0.25, 0.5, 0.75, 1)] == [10, 15, 20, 25, 30]
    assert quantile([7], 0.99) == 7


@pytest.mark.parametrize("statistic", [median, lambda values: quantile(values, 0.5)], ids=["median", "quantile"])
def test_of_no_values_there_is_neither_median_nor_quantile(statistic: Callable[[list[float]], float]) -> None:
    with pytest.raises(ValueError, match="no values"):
        statistic([])


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
    latency = summarise([visit(value, (int(value), int(value) + 7)) for value in values_ns])
    assert latency is not None
    values = np.array(values_ns) / 1e6
    assert latency.min_ms <= latency.quartile_ms <= latency.median_ms <= latency.hi_ms
    assert latency.lo_ms <= latency.median_ms
    assert latency.p90_ms <= latency.p99_ms
    assert latency.median_ms == np.median(values)
    assert latency.mad_ms == np.median(np.abs(values - np.median(values)))
    assert latency.quartile_ms == np.quantile(values, 0.25)
    runs = np.array([run for value in values_ns for run in (int(value), int(value) + 7)]) / 1e6
    assert (latency.p90_ms, latency.p99_ms) == (np.quantile(runs, 0.90), np.quantile(runs, 0.99))
    # Only the sum is rounded otherwise: numpy adds in pairs, here the sum is exact before it is rounded once.
    assert latency.mean_ms == pytest.approx(values.mean(), rel=1e-14)
