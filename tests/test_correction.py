"""The factor from sums to networks, and which networks to measure for it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecost.costmodels.correction import fit_scale, judge_scale, spread
from edgecost.profiler.errors import UsageError

SUMS = st.lists(st.floats(1e-3, 1e4), min_size=1, max_size=20)


@given(SUMS, st.floats(0.1, 10))
def test_a_factor_that_all_networks_share_is_found(sums: list[float], factor: float) -> None:
    total = np.array(sums)
    assert fit_scale(total, factor * total) == pytest.approx(factor, rel=1e-12)


@given(st.lists(st.floats(1e-3, 1e4), min_size=3, max_size=20), st.floats(1e-3, 1e3), st.data())
def test_one_wild_network_does_not_move_the_factor(sums: list[float], wild: float, data: st.DataObject) -> None:
    total = np.array(sums)
    measured = 1.1 * total
    measured[data.draw(st.integers(0, len(sums) - 1))] *= wild
    assert fit_scale(total, measured) == pytest.approx(1.1, rel=1e-12)


def test_a_factor_of_no_networks_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one network"):
        fit_scale(np.zeros(0), np.zeros(0))


def test_the_factor_is_judged_on_networks_that_did_not_fit_it() -> None:
    sums = np.array([1.0, 2.0, 3.0, 4.0])
    measured = np.array([1.2, 3.0, 3.6, 5.0])
    report = judge_scale(list("abcd"), sums, measured, np.array([True, False, True, False]))
    assert report.scale == pytest.approx(1.2)
    assert [row.role for row in report.rows] == ["fit", "judge", "fit", "judge"]
    assert [row.error_percent for row in report.rows] == pytest.approx([0.0, -20.0, 0.0, -4.0])
    assert report.fitted is not None
    assert report.judged is not None
    assert report.uncorrected is not None
    assert (report.fitted.n, report.judged.n) == (2, 2)
    assert report.fitted.mape_percent == pytest.approx(0.0, abs=1e-9)
    assert report.judged.mape_percent == pytest.approx(12.0)
    assert report.uncorrected.worst_percent == pytest.approx(100 / 3)


def test_without_networks_left_to_judge_there_is_no_judgement() -> None:
    report = judge_scale(["a", "b"], np.ones(2), np.ones(2), np.array([True, True]))
    assert report.judged is None
    assert report.uncorrected is None


@given(st.integers(1, 200), st.data())
def test_spread_takes_one_network_from_the_middle_of_each_band(size: int, data: st.DataObject) -> None:
    n = data.draw(st.integers(1, size))
    ranking = np.random.default_rng(size).permutation(size)
    chosen = spread(ranking.astype(np.float64), n)
    ranks = ranking[chosen]
    assert n == len(set(chosen.tolist()))
    assert (np.diff(ranks) > 0).all()
    for band, rank in enumerate(ranks):
        middle = (band + 0.5) * size / n
        assert abs(rank + 0.5 - middle) <= 0.5


@pytest.mark.parametrize("n", [0, 6, -1])
def test_spread_refuses_what_it_cannot_choose(n: int) -> None:
    with pytest.raises(UsageError, match="cannot be chosen from 5"):
        spread(np.arange(5.0), n)
