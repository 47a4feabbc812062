"""How wide an interval must be: ranks against brute force, coverage against simulation."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecost.costmodels.conformal import conformal_radius, cross_coverage
from edgecost.profiler.errors import UsageError


@given(st.integers(0, 400), st.integers(1, 99))
def test_the_rank_is_that_of_exact_arithmetic(n: int, percent: int) -> None:
    rank = math.ceil((n + 1) * (1 - Fraction(percent, 100)))
    expected = math.inf if rank > n else float(rank)
    assert expected == conformal_radius(np.arange(1.0, n + 1.0), percent / 100)


@given(st.lists(st.floats(0, 10), min_size=9, max_size=60))
def test_the_radius_is_the_smallest_score_that_enough_scores_stay_within(scores: list[float]) -> None:
    ordered = np.sort(np.array(scores))
    needed = math.ceil(Fraction(9, 10) * (len(scores) + 1))
    assert min(s for s in ordered if (ordered <= s).sum() >= needed) == conformal_radius(ordered, 0.1)


def test_too_few_scores_give_no_finite_interval() -> None:
    assert math.isinf(conformal_radius(np.zeros(0), 0.1))
    assert math.isinf(conformal_radius(np.zeros(8), 0.1))
    assert conformal_radius(np.zeros(9), 0.1) == 0.0


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, 2.0, math.nan])
def test_an_alpha_that_is_no_share_is_refused(alpha: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        conformal_radius(np.zeros(9), alpha)


@pytest.mark.parametrize(("n", "alpha"), [(9, 0.1), (19, 0.1), (30, 0.1), (30, 0.25)])
def test_coverage_of_exchangeable_scores_is_what_the_rank_says(n: int, alpha: float) -> None:
    rng = np.random.default_rng(1)
    trials = 20_000
    scores = np.abs(rng.standard_t(3, size=(trials, n + 1)))
    covered = [row[-1] <= conformal_radius(np.sort(row[:-1]), alpha) for row in scores]
    exact = math.ceil((n + 1) * (1 - alpha) - 1e-9) / (n + 1)
    assert abs(np.mean(covered) - exact) < 4 * math.sqrt(exact * (1 - exact) / trials)
    assert exact >= 1 - alpha


def test_cross_coverage_is_the_share_that_the_other_folds_scores_cover() -> None:
    rng = np.random.default_rng(2)
    scores, fold = rng.random(47), np.arange(47) % 5
    inside = [s <= conformal_radius(np.sort(scores[fold != f]), 0.1) for s, f in zip(scores, fold, strict=True)]
    assert np.mean(inside) == cross_coverage(scores, fold, 0.1)


def test_cross_coverage_of_exchangeable_scores_is_near_the_nominal_share() -> None:
    scores = np.abs(np.random.default_rng(3).standard_normal(5000))
    found = cross_coverage(scores, np.arange(5000) % 5, 0.1)
    assert found is not None
    assert abs(found - 0.9) < 0.015


def test_cross_coverage_sees_a_fold_that_the_others_do_not_foretell() -> None:
    scores = np.concatenate([np.full(80, 0.01), np.full(20, 1.0)])
    fold = np.concatenate([np.arange(80) % 4, np.full(20, 4)])
    assert cross_coverage(scores, fold, 0.1) == 0.8


def test_there_is_no_cross_coverage_without_enough_scores() -> None:
    assert cross_coverage(np.zeros(0), np.zeros(0, dtype=np.int64), 0.1) is None
    assert cross_coverage(np.ones(10), np.arange(10) % 5, 0.1) is None
    assert cross_coverage(np.ones(12), np.arange(12) % 5, 0.1) == 1.0
