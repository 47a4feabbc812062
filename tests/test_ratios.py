"""The ratio of two latencies: laws of the ratio and its interval, and how often the interval holds the truth."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecost.costmodels.ratios import SideSample, ratio_of


def _load_helper():
    spec = importlib.util.spec_from_file_location("comparison_store", Path(__file__).with_name("comparison_store.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


helper = _load_helper()
around = helper.around

values = st.lists(st.floats(1e-4, 1e4), min_size=1, max_size=6).map(tuple)
sides = st.builds(
    SideSample,
    st.lists(values, min_size=1, max_size=5).map(tuple),
    st.none() | st.floats(0.001, 0.3),
)


@settings(max_examples=40, deadline=None)
@given(sides, sides)
def test_exchanging_the_sides_gives_the_reciprocal_and_its_interval(a: SideSample, b: SideSample) -> None:
    there, back = ratio_of(a, b, seed=3, key="k"), ratio_of(b, a, seed=3, key="k")
    assert there.ratio * back.ratio == pytest.approx(1.0)
    if there.lo is None:
        assert (there.hi, back.lo, back.hi) == (None, None, None)
    else:
        assert (there.lo, there.hi) == pytest.approx((1 / back.hi, 1 / back.lo))
        assert there.lo <= there.hi


@settings(max_examples=40, deadline=None)
@given(sides)
def test_a_side_beside_itself_shows_no_difference(side: SideSample) -> None:
    itself = ratio_of(side, side)
    assert itself.ratio == 1.0
    if itself.lo is not None:
        assert itself.lo <= 1.0 <= itself.hi


@settings(max_examples=40, deadline=None)
@given(sides, sides, st.floats(0.01, 100))
def test_the_unit_does_not_matter(a: SideSample, b: SideSample, factor: float) -> None:
    def scaled(side: SideSample) -> SideSample:
        return replace(side, sessions_ms=tuple(tuple(v * factor for v in some) for some in side.sessions_ms))

    plain, other = ratio_of(a, b), ratio_of(scaled(a), scaled(b))
    assert other.ratio == pytest.approx(plain.ratio)
    if plain.lo is not None:
        assert (other.lo, other.hi) == pytest.approx((plain.lo, plain.hi))


def test_visits_that_agree_within_processes_that_do_not_give_a_wide_interval() -> None:
    chance = np.random.default_rng(1)
    side = SideSample(tuple(tuple(around(m, spread=0.001)) for m in np.exp(0.1 * chance.standard_normal(6))))
    pooled = SideSample((tuple(value for some in side.sessions_ms for value in some[:1]),) * 1)
    wide = ratio_of(side, side)
    narrow = ratio_of(SideSample(side.sessions_ms[:1]), SideSample(side.sessions_ms[:1]))
    assert math.log(wide.hi / wide.lo) > 20 * math.log(narrow.hi / narrow.lo)
    # As wide as if each process were one value: its many visits add nothing.
    one_each = ratio_of(pooled, pooled)
    assert math.log(wide.hi / wide.lo) == pytest.approx(math.log(one_each.hi / one_each.lo), rel=0.25)


def test_intervals_across_sessions_cover_the_true_ratio_about_as_often_as_they_say() -> None:
    hits, trials = 0, 150
    chance = np.random.default_rng(7)
    for trial in range(trials):
        a, b = (
            SideSample(
                tuple(
                    tuple(level * np.exp(0.05 * chance.standard_normal() + 0.02 * chance.standard_normal(6)))
                    for _ in range(8)
                )
            )
            for level in (1.0, 1.5)
        )
        found = ratio_of(a, b, seed=trial)
        hits += found.lo <= 1.5 <= found.hi
    # The percentile bootstrap of a median of eight is a little generous; 95 % ± 4 deviations of chance otherwise.
    assert 0.88 * trials <= hits


def test_one_process_with_a_known_repeatability_covers_what_another_would_give() -> None:
    hits, trials, deviation = 0, 300, 0.05
    chance = np.random.default_rng(11)
    radius = deviation * 1.645 * math.sqrt(2)
    for trial in range(trials):
        a, b = (
            SideSample(
                (tuple(np.exp(deviation * chance.standard_normal() + 0.002 * chance.standard_normal(9))),), radius
            )
            for _ in range(2)
        )
        found = ratio_of(a, b, seed=trial)
        hits += found.lo <= 1.0 <= found.hi
        bare = ratio_of(replace(a, radius=None), replace(b, radius=None), seed=trial)
        assert bare.hi / bare.lo < found.hi / found.lo
    assert 0.91 * trials <= hits <= 0.99 * trials


def test_too_few_visits_give_a_ratio_and_no_interval() -> None:
    found = ratio_of(SideSample(((1.0, 1.1),)), SideSample(((2.0, 2.0, 2.0),)))
    assert found.ratio == pytest.approx(2 / 1.05)
    assert (found.lo, found.hi, found.log_draws) == (None, None, None)
