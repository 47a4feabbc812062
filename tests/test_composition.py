"""The laws of the correction from kernels to networks: what is recovered, and what does not change it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from edgecost.costmodels.composition import (
    BOTH_TERMS_MIN,
    FIT_MIN,
    Composition,
    Floats,
    fit_composition,
    held_out,
    weight_bytes,
)
from edgecost.profiler.errors import UsageError
from edgecost.profiler.kernels.graph import Kernel

#: Per network: milliseconds of its kernels, megabytes of weights, which are whole bytes.
NETWORK = st.tuples(st.floats(0.1, 100), st.integers(0, 200_000_000).map(lambda size: size / 1e6))
FAMILY = st.lists(NETWORK, min_size=BOTH_TERMS_MIN, max_size=20)
SCALE = st.floats(0.5, 2)
COST = st.floats(0, 1)


def columns(family: list[tuple[float, float]]) -> tuple[Floats, Floats]:
    sums, megabytes = np.array(family, np.float64).T
    return sums, megabytes * 1e6


def noisy(family: list[tuple[float, float]], scale: float, cost: float) -> tuple[Floats, Floats, Floats]:
    sums, weights = columns(family)
    noise = np.exp(0.02 * np.random.default_rng(0).standard_normal(len(sums)))
    return sums, weights, Composition(scale, cost).compose(sums, weights) * noise


@given(FAMILY, SCALE, COST)
def test_a_family_that_keeps_the_law_is_composed_exactly(
    family: list[tuple[float, float]], scale: float, cost: float
) -> None:
    sums, weights = columns(family)
    measured = Composition(scale, cost).compose(sums, weights)
    fitted = fit_composition(sums, weights, measured)
    assert_allclose(fitted.compose(sums, weights), measured, rtol=1e-6)
    assert fitted.networks == len(family)
    ratios = weights / sums
    if ratios.max() > 1e6 and ratios.max() > 2 * ratios.min():
        assert_allclose([fitted.scale, fitted.ms_per_megabyte], [scale, cost], rtol=1e-5, atol=1e-7)


@given(FAMILY, SCALE, COST, st.randoms(use_true_random=False))
def test_the_order_of_the_networks_does_not_matter(family, scale, cost, random) -> None:
    sums, weights, measured = noisy(family, scale, cost)
    order = list(range(len(family)))
    random.shuffle(order)
    one = fit_composition(sums, weights, measured)
    other = fit_composition(sums[order], weights[order], measured[order])
    assert_allclose(one.compose(sums, weights), other.compose(sums, weights), rtol=1e-9)


@given(FAMILY, SCALE, COST, st.sampled_from([1e-3, 0.5, 60.0, 1e3]))
def test_in_another_unit_of_time_the_same_latencies_come_out(family, scale, cost, unit) -> None:
    sums, weights, measured = noisy(family, scale, cost)
    one = fit_composition(sums, weights, measured)
    other = fit_composition(unit * sums, weights, unit * measured)
    assert_allclose(other.compose(unit * sums, weights), unit * one.compose(sums, weights), rtol=1e-6)


@given(FAMILY, SCALE, COST)
def test_no_term_is_negative(family, scale, cost) -> None:
    sums, weights, measured = noisy(family, scale, cost)
    fitted = fit_composition(sums, weights, measured)
    assert fitted.scale >= 0
    assert fitted.ms_per_megabyte >= 0


@given(st.lists(NETWORK, min_size=FIT_MIN, max_size=BOTH_TERMS_MIN - 1))
def test_few_networks_fit_the_scale_alone(family: list[tuple[float, float]]) -> None:
    sums, weights, measured = noisy(family, 1.1, 0.05)
    fitted = fit_composition(sums, weights, measured)
    assert (fitted.scale, fitted.ms_per_megabyte) == (float(np.median(measured / sums)), 0.0)
    assert fitted.weight_bandwidth_gb_s is None


def test_from_fewer_networks_than_that_nothing_is_fitted() -> None:
    two = np.ones(FIT_MIN - 1)
    with pytest.raises(UsageError, match="at least 3 networks; there are 2"):
        fit_composition(two, two, two)


@pytest.mark.parametrize("count", range(FIT_MIN + 1))
def test_with_too_few_networks_none_is_held_out(count: int) -> None:
    some = np.ones(count)
    assert held_out(some, some, some) is None


@given(st.lists(NETWORK, min_size=FIT_MIN + 1, max_size=12), st.data())
def test_a_network_that_is_held_out_has_no_say_in_its_own_latency(family, data) -> None:
    sums, weights, measured = noisy(family, 1.1, 0.05)
    place = data.draw(st.integers(0, len(family) - 1))
    changed = measured.copy()
    changed[place] *= 3
    before, after = held_out(sums, weights, measured), held_out(sums, weights, changed)
    assert before is not None
    assert after is not None
    assert before[place] == after[place]
    others = fit_composition(*(np.delete(values, place) for values in (sums, weights, measured)))
    assert_allclose(before[place], others.compose(sums[[place]], weights[[place]])[0], rtol=1e-12)


def test_the_plain_sum_is_the_correction_of_nothing() -> None:
    sums = np.array([1.0, 2.0])
    assert_allclose(Composition().compose(sums, np.array([1e9, 0.0])), sums)
    assert Composition(1.0, 0.1, 6).weight_bandwidth_gb_s == pytest.approx(10.0)


def test_weights_count_as_often_as_they_are_read_and_by_their_type() -> None:
    half = Kernel("Conv", ((1, 4, 8, 8),), ((8, 4, 3, 3), (8,)), ((1, 8, 8, 8),), (), "float16", (0,), "a")
    assert weight_bytes([half]) == (8 * 4 * 9 + 8) * 2
    assert weight_bytes([half, half]) == 2 * weight_bytes([half])
    assert weight_bytes([]) == 0
