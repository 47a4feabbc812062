"""The laws of the correction from kernels to networks: what is recovered, and what does not change it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from edgecost.costmodels.composition import (
    ALL_TERMS_MIN,
    CORE_CACHE_BYTES,
    FIT_MIN,
    MOVED,
    WEIGHTS_MIN,
    Composition,
    Floats,
    bytes_moved,
    bytes_moved_by_kernel,
    fit_composition,
    held_out,
    weight_bytes,
)
from edgecost.profiler.errors import UsageError
from edgecost.profiler.kernels.graph import Kernel

MEGABYTES = st.integers(0, 200_000_000).map(lambda size: size / 1e6)
#: Per network: milliseconds of its kernels, and megabytes of each kind, which are whole bytes.
NETWORK = st.tuples(st.floats(0.1, 100), MEGABYTES, MEGABYTES)
FAMILY = st.lists(NETWORK, min_size=ALL_TERMS_MIN, max_size=20)
SCALE = st.floats(0.5, 2)
COSTS = st.tuples(st.floats(0, 1), st.floats(0, 1))

Family = list[tuple[float, float, float]]


def columns(family: Family) -> tuple[Floats, Floats]:
    table = np.array(family, np.float64)
    return table[:, 0], table[:, 1:] * 1e6


def noisy(family: Family, scale: float, costs: tuple[float, float]) -> tuple[Floats, Floats, Floats]:
    sums, moved = columns(family)
    noise = np.exp(0.02 * np.random.default_rng(0).standard_normal(len(sums)))
    return sums, moved, Composition(scale, costs).compose(sums, moved) * noise


@given(FAMILY, SCALE, COSTS)
def test_a_family_that_keeps_the_law_is_composed_exactly(
    family: Family, scale: float, costs: tuple[float, float]
) -> None:
    sums, moved = columns(family)
    measured = Composition(scale, costs).compose(sums, moved)
    fitted = fit_composition(sums, moved, measured)
    assert_allclose(fitted.compose(sums, moved), measured, rtol=1e-5)
    assert fitted.networks == len(family)


def test_the_terms_of_a_varied_family_are_recovered() -> None:
    rng = np.random.default_rng(1)
    sums, moved = rng.uniform(1, 50, 20), rng.uniform(1e6, 1e8, (20, 2))
    costs = (0.043, 0.003)
    fitted = fit_composition(sums, moved, Composition(0.99, costs).compose(sums, moved))
    assert_allclose([fitted.scale, *fitted.ms_per_megabyte], [0.99, *costs], rtol=1e-8)
    assert fitted.bandwidths_gb_s == pytest.approx(dict(zip(MOVED, (1 / cost for cost in costs), strict=True)))


@given(FAMILY, SCALE, COSTS, st.randoms(use_true_random=False))
def test_the_order_of_the_networks_does_not_matter(family, scale, costs, random) -> None:
    sums, moved, measured = noisy(family, scale, costs)
    order = list(range(len(family)))
    random.shuffle(order)
    one = fit_composition(sums, moved, measured)
    other = fit_composition(sums[order], moved[order], measured[order])
    assert_allclose(one.compose(sums, moved), other.compose(sums, moved), rtol=1e-7)


@given(FAMILY, SCALE, COSTS, st.sampled_from([1e-3, 0.5, 60.0, 1e3]))
def test_in_another_unit_of_time_the_same_latencies_come_out(family, scale, costs, unit) -> None:
    sums, moved, measured = noisy(family, scale, costs)
    one = fit_composition(sums, moved, measured)
    other = fit_composition(unit * sums, moved, unit * measured)
    assert_allclose(other.compose(unit * sums, moved), unit * one.compose(sums, moved), rtol=1e-5)


@given(st.lists(NETWORK, min_size=FIT_MIN, max_size=20), SCALE, COSTS)
def test_no_term_is_negative(family, scale, costs) -> None:
    fitted = fit_composition(*noisy(family, scale, costs))
    assert min(fitted.scale, *fitted.ms_per_megabyte) >= 0


@given(st.lists(NETWORK, min_size=FIT_MIN, max_size=WEIGHTS_MIN - 1))
def test_few_networks_fit_the_scale_alone(family: Family) -> None:
    sums, moved, measured = noisy(family, 1.1, (0.05, 0.003))
    fitted = fit_composition(sums, moved, measured)
    assert (fitted.scale, fitted.ms_per_megabyte) == (float(np.median(measured / sums)), (0.0, 0.0))
    assert set(fitted.bandwidths_gb_s.values()) == {None}


@given(st.lists(NETWORK, min_size=WEIGHTS_MIN, max_size=ALL_TERMS_MIN - 1))
def test_some_networks_fit_no_term_for_activations(family: Family) -> None:
    sums, moved, measured = noisy(family, 1.1, (0.05, 0.003))
    fitted = fit_composition(sums, moved, measured)
    assert fitted.ms_per_megabyte[1] == 0.0
    assert fit_composition(sums, moved * np.array([1, 7]), measured) == fitted


def test_from_fewer_networks_than_that_nothing_is_fitted() -> None:
    two = np.ones(FIT_MIN - 1)
    with pytest.raises(UsageError, match="at least 3 networks; there are 2"):
        fit_composition(two, np.ones((2, 2)), two)


@pytest.mark.parametrize("count", range(FIT_MIN + 1))
def test_with_too_few_networks_none_is_held_out(count: int) -> None:
    some = np.ones(count)
    assert held_out(some, np.ones((count, 2)), some) is None


@given(st.lists(NETWORK, min_size=FIT_MIN + 1, max_size=14), st.data())
def test_a_network_that_is_held_out_has_no_say_in_its_own_latency(family, data) -> None:
    sums, moved, measured = noisy(family, 1.1, (0.05, 0.003))
    place = data.draw(st.integers(0, len(family) - 1))
    changed = measured.copy()
    changed[place] *= 3
    before, after = held_out(sums, moved, measured), held_out(sums, moved, changed)
    assert before is not None
    assert after is not None
    assert before[place] == after[place]
    others = fit_composition(*(np.delete(values, place, axis=0) for values in (sums, moved, measured)))
    assert_allclose(before[place], others.compose(sums[[place]], moved[[place]])[0], rtol=1e-12)


def test_the_plain_sum_is_the_correction_of_nothing() -> None:
    sums = np.array([1.0, 2.0])
    assert_allclose(Composition().compose(sums, np.full((2, 2), 1e9)), sums)


HALF = Kernel("Conv", ((1, 4, 8, 8),), ((8, 4, 3, 3), (8,)), ((1, 8, 8, 8),), (), "float16", (0,), "a")
PRODUCT = Kernel("MatMul", ((1, 8),), ((8, 16),), (None,), (), "float32", (1,), "b")


def test_bytes_count_as_often_as_they_move_and_by_their_type() -> None:
    # Activations count beyond half a cache in each kernel, weights up to one cache of each, beyond two in all.
    assert_allclose(bytes_moved([HALF], 200), [200 * (592 - 400) / 592, (4 * 64 + 8 * 64) * 2 - 100])
    assert_allclose(bytes_moved([PRODUCT, PRODUCT], 20), [2 * 20 * (1024 - 40) / 1024, 2 * (8 * 4 - 10)])
    assert weight_bytes([HALF, PRODUCT]) == (8 * 4 * 9 + 8) * 2 + 8 * 16 * 4
    assert bytes_moved([], 2).tolist() == [0, 0]


def test_weights_that_no_cache_held_when_their_kernel_ran_alone_are_not_charged_again() -> None:
    alone, among = bytes_moved([HALF], 4)[0], bytes_moved([HALF] * 100, 1000)[0]
    assert alone <= 4
    assert among == pytest.approx(100 * 592 - 2000)


@given(st.integers(600, 1 << 24), st.integers(600, 1 << 24))
def test_a_larger_cache_leaves_no_more_to_fetch(one: int, other: int) -> None:
    kernels = [HALF, PRODUCT] * 20
    small, large = bytes_moved(kernels, min(one, other)), bytes_moved(kernels, max(one, other))
    assert (large <= small).all()


def test_kernels_share_what_is_fetched_by_their_weights() -> None:
    kernels = [HALF, PRODUCT, HALF]
    moved = bytes_moved_by_kernel(kernels, 600)
    assert_allclose(moved.sum(axis=0), bytes_moved(kernels, 600))
    assert moved[0].tolist() == moved[2].tolist()
    assert moved[0, 0] / moved[1, 0] == pytest.approx(weight_bytes([HALF]) / weight_bytes([PRODUCT]))


def test_what_fits_the_cache_is_not_fetched_and_without_a_known_cache_a_usual_one_is_taken() -> None:
    many = [HALF] * 9999
    assert bytes_moved([HALF, PRODUCT]).tolist() == [0, 0]
    assert bytes_moved(many).tolist() == bytes_moved(many, CORE_CACHE_BYTES).tolist() != [0, 0]


def test_of_a_table_only_the_rows_that_are_looked_up_are_read() -> None:
    lookup = Kernel("Gather", ((1, 16),), ((30_000, 64),), ((1, 16, 64),), (), "float32", (0,), "a")
    assert weight_bytes([lookup]) == 16 * 64 * 4


def test_a_lookup_of_unknown_size_counts_its_whole_table() -> None:
    lookup = Kernel("Gather", ((1, 16),), ((300, 64),), (None,), (), "float32", (0,), "a")
    assert weight_bytes([lookup]) == 300 * 64 * 4


def test_the_ways_of_one_model_are_held_out_together() -> None:
    sums, moved = np.arange(1.0, 9.0), np.ones((8, 2))
    kin = [0, 0, 1, 1, 2, 2, 3, 3]
    before = held_out(sums, moved, sums, kin)
    after = held_out(sums, moved, sums * np.array([1, 5, 1, 1, 1, 1, 1, 1]), kin)
    assert before is not None
    assert after is not None
    # What the second is measured at touches neither itself nor its sibling.
    np.testing.assert_array_equal(before[:2], after[:2])
    assert not np.array_equal(before[2:], after[2:])
    # Without one model's six ways two networks are left, on which nothing can be fitted.
    assert held_out(sums, moved, sums, [0, 0, 0, 0, 0, 0, 1, 2]) is None


def test_what_each_kernel_takes_beyond_its_own_time_is_recovered_where_it_is_asked_for() -> None:
    rng = np.random.default_rng(2)
    sums, moved, kernels = rng.uniform(0.05, 5, 20), rng.uniform(1e6, 1e8, (20, 2)), rng.integers(20, 400, 20) * 1.0
    measured = Composition(1.02, (0.004, 0.001), ms_per_kernel=2e-4).compose(sums, moved, kernels)
    fitted = fit_composition(sums, moved, measured, kernels)
    assert_allclose(
        [fitted.scale, *fitted.ms_per_megabyte, fitted.ms_per_kernel], [1.02, 0.004, 0.001, 2e-4], rtol=1e-6
    )
    assert "0.20 µs for each kernel" in fitted.terms()
    others = held_out(sums, moved, measured, kernels=kernels)
    assert others is not None
    assert_allclose(others, measured, rtol=1e-6)
    # Without being asked there is no such term, and with few networks none is fitted.
    assert fit_composition(sums, moved, measured).ms_per_kernel is None
    assert fit_composition(sums[:8], moved[:8], measured[:8], kernels[:8]).ms_per_kernel is None
