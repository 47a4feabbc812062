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
    fit_composition,
    held_out,
    network_bytes,
    own_bytes,
    weight_bytes,
)
from edgecost.profiler.errors import UsageError
from edgecost.profiler.kernels.graph import Kernel

MEGABYTES = st.integers(0, 200_000_000).map(lambda size: size / 1e6)
#: Per network: milliseconds of its kernels, and megabytes of weights of convolutions, of other weights and of
#: activations, which are whole bytes.
NETWORK = st.tuples(st.floats(0.1, 100), MEGABYTES, MEGABYTES, MEGABYTES)
FAMILY = st.lists(NETWORK, min_size=ALL_TERMS_MIN, max_size=20)
SCALE = st.floats(0.5, 2)
COSTS = st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))

Family = list[tuple[float, float, float, float]]


#: One of the sizes that are tried.
CACHED = 8e6


def columns(family: Family) -> tuple[Floats, Floats]:
    """Milliseconds of the kernels, and what each network brings, in the order of ``composition.OWN``."""
    sums, convolutions, others, activations = np.array(family, np.float64).T * np.array([[1.0], [1e6], [1e6], [1e6]])
    weights = convolutions + others
    return sums, np.stack([weights, np.minimum(weights, CORE_CACHE_BYTES), activations, convolutions], axis=1)


def noisy(family: Family, scale: float, costs: tuple[float, float, float]) -> tuple[Floats, Floats, Floats]:
    sums, own = columns(family)
    noise = np.exp(0.02 * np.random.default_rng(0).standard_normal(len(sums)))
    return sums, own, Composition(scale, costs, cached_bytes=CACHED).compose(sums, own) * noise


@given(FAMILY, SCALE, COSTS)
def test_a_family_that_keeps_the_law_is_composed_exactly(
    family: Family, scale: float, costs: tuple[float, float, float]
) -> None:
    sums, own = columns(family)
    measured = Composition(scale, costs, cached_bytes=CACHED).compose(sums, own)
    fitted = fit_composition(sums, own, measured)
    assert_allclose(fitted.compose(sums, own), measured, rtol=1e-5)
    assert fitted.networks == len(family)


@pytest.mark.parametrize("cached_bytes", [1e6, 8e6, 24e6])
def test_the_terms_of_a_varied_family_and_what_the_caches_hold_are_recovered(cached_bytes: float) -> None:
    rng = np.random.default_rng(1)
    sums, own = columns([(rng.uniform(1, 50), *rng.uniform(0.1, 100, 3)) for _ in range(24)])
    costs = (0.043, 0.09, 0.003)
    fitted = fit_composition(sums, own, Composition(0.99, costs, cached_bytes=cached_bytes).compose(sums, own))
    assert_allclose(
        [fitted.scale, *fitted.ms_per_megabyte, fitted.cached_bytes], [0.99, *costs, cached_bytes], rtol=1e-8
    )
    assert fitted.bandwidths_gb_s == pytest.approx(dict(zip(MOVED, (1 / cost for cost in costs), strict=True)))
    assert f"weights of convolutions beyond {cached_bytes / 1e6:g} MB at 23 GB/s" in fitted.terms()


@given(FAMILY, SCALE, COSTS, st.randoms(use_true_random=False))
def test_the_order_of_the_networks_does_not_matter(family, scale, costs, random) -> None:
    sums, own, measured = noisy(family, scale, costs)
    order = list(range(len(family)))
    random.shuffle(order)
    one = fit_composition(sums, own, measured)
    other = fit_composition(sums[order], own[order], measured[order])
    assert_allclose(one.compose(sums, own), other.compose(sums, own), rtol=1e-7)


@given(FAMILY, SCALE, COSTS, st.sampled_from([1e-3, 0.5, 60.0, 1e3]))
def test_in_another_unit_of_time_the_same_latencies_come_out(family, scale, costs, unit) -> None:
    sums, own, measured = noisy(family, scale, costs)
    one = fit_composition(sums, own, measured)
    other = fit_composition(unit * sums, own, unit * measured)
    assert_allclose(other.compose(unit * sums, own), unit * one.compose(sums, own), rtol=1e-5)


@given(st.lists(NETWORK, min_size=FIT_MIN, max_size=20), SCALE, COSTS)
def test_no_term_is_negative(family, scale, costs) -> None:
    fitted = fit_composition(*noisy(family, scale, costs))
    assert min(fitted.scale, *fitted.ms_per_megabyte) >= 0


@given(st.lists(NETWORK, min_size=FIT_MIN, max_size=WEIGHTS_MIN - 1))
def test_few_networks_fit_the_scale_alone(family: Family) -> None:
    sums, own, measured = noisy(family, 1.1, (0.05, 0.08, 0.003))
    fitted = fit_composition(sums, own, measured)
    assert (fitted.scale, fitted.ms_per_megabyte) == (float(np.median(measured / sums)), (0.0, 0.0, 0.0))
    assert set(fitted.bandwidths_gb_s.values()) == {None}


@given(st.lists(NETWORK, min_size=WEIGHTS_MIN, max_size=ALL_TERMS_MIN - 1))
def test_some_networks_fit_no_term_for_activations(family: Family) -> None:
    sums, own, measured = noisy(family, 1.1, (0.05, 0.08, 0.003))
    fitted = fit_composition(sums, own, measured)
    assert fitted.ms_per_megabyte[2] == 0.0
    assert fitted.ms_per_megabyte[0] == fitted.ms_per_megabyte[1]
    assert fit_composition(sums, own * np.array([1, 1, 7, 1]), measured) == fitted


def test_from_fewer_networks_than_that_nothing_is_fitted() -> None:
    two = np.ones(FIT_MIN - 1)
    with pytest.raises(UsageError, match="at least 3 networks; there are 2"):
        fit_composition(two, np.ones((2, 4)), two)


@pytest.mark.parametrize("count", range(FIT_MIN + 1))
def test_with_too_few_networks_none_is_held_out(count: int) -> None:
    some = np.ones(count)
    assert held_out(some, np.ones((count, 4)), some) is None


@given(st.lists(NETWORK, min_size=FIT_MIN + 1, max_size=14), st.data())
def test_a_network_that_is_held_out_has_no_say_in_its_own_latency(family, data) -> None:
    sums, own, measured = noisy(family, 1.1, (0.05, 0.08, 0.003))
    place = data.draw(st.integers(0, len(family) - 1))
    changed = measured.copy()
    changed[place] *= 3
    before, after = held_out(sums, own, measured), held_out(sums, own, changed)
    assert before is not None
    assert after is not None
    assert before[place] == after[place]
    others = fit_composition(*(np.delete(values, place, axis=0) for values in (sums, own, measured)))
    assert_allclose(before[place], others.compose(sums[[place]], own[[place]])[0], rtol=1e-12)


def test_the_plain_sum_is_the_correction_of_nothing() -> None:
    sums = np.array([1.0, 2.0])
    assert_allclose(Composition().compose(sums, np.full((2, 4), 1e9)), sums)


HALF = Kernel("Conv", ((1, 4, 8, 8),), ((8, 4, 3, 3), (8,)), ((1, 8, 8, 8),), (), "float16", (0,), "a")
PRODUCT = Kernel("MatMul", ((1, 8),), ((8, 16),), (None,), (), "float32", (1,), "b")


def test_bytes_count_as_often_as_they_move_and_by_their_type() -> None:
    # Activations count beyond half a cache in each kernel.
    assert_allclose(network_bytes([HALF], 200), [592, 200, (4 * 64 + 8 * 64) * 2 - 100, 592])
    assert_allclose(network_bytes([PRODUCT, PRODUCT], 20), [2 * 512, 2 * 20, 2 * (8 * 4 - 10), 0])
    assert weight_bytes([HALF, PRODUCT]) == (8 * 4 * 9 + 8) * 2 + 8 * 16 * 4
    assert network_bytes([], 2).tolist() == [0, 0, 0, 0]
    assert network_bytes([HALF] * 99).tolist() == network_bytes([HALF] * 99, CORE_CACHE_BYTES).tolist()


@given(st.integers(600, 1 << 24), st.integers(600, 1 << 24))
def test_a_larger_cache_leaves_no_more_activations_to_fetch(one: int, other: int) -> None:
    kernels = [HALF, PRODUCT] * 20
    small, large = network_bytes(kernels, min(one, other)), network_bytes(kernels, max(one, other))
    assert large[2] <= small[2]


def test_what_the_caches_hold_of_a_network_is_not_fetched() -> None:
    own = network_bytes([HALF] * 10)[None]
    assert Composition(cached_bytes=6000.0).moved_bytes(own)[0, 0] == 0
    assert Composition(cached_bytes=2000.0).moved_bytes(own)[0, 0] == pytest.approx(5920 - 2000)


def test_of_a_predictor_of_an_older_version_a_kernel_counts_up_to_one_cache() -> None:
    own = network_bytes([PRODUCT] * 4, 100)[None]
    older = Composition(cached_bytes=200.0, is_capped=True)
    assert older.moved_bytes(own)[0, 0] == pytest.approx(4 * 100 * (2048 - 200) / 2048)


def test_kernels_share_what_is_fetched_by_their_weights() -> None:
    kernels, composition = [HALF, PRODUCT, HALF], Composition(1.0, (0.5, 0.7, 0.1), cached_bytes=900.0)
    own, times = own_bytes(kernels, 600), np.array([1.0, 2.0, 3.0])
    each = composition.compose(times, own, weights_bytes=own[:, 0].sum())
    assert each.sum() == pytest.approx(composition.compose(times.sum()[None], own.sum(axis=0)[None])[0])
    moved = composition.moved_bytes(own, own[:, 0].sum())
    assert moved[0].tolist() == moved[2].tolist()
    # One convolves, the other does not.
    assert moved[0, 0] / moved[1, 1] == pytest.approx(weight_bytes([HALF]) / weight_bytes([PRODUCT]))
    assert moved[0, 1] == moved[1, 0] == 0


def test_of_a_table_only_the_rows_that_are_looked_up_are_read() -> None:
    lookup = Kernel("Gather", ((1, 16),), ((30_000, 64),), ((1, 16, 64),), (), "float32", (0,), "a")
    assert weight_bytes([lookup]) == 16 * 64 * 4


def test_a_lookup_of_unknown_size_counts_its_whole_table() -> None:
    lookup = Kernel("Gather", ((1, 16),), ((300, 64),), (None,), (), "float32", (0,), "a")
    assert weight_bytes([lookup]) == 300 * 64 * 4


def test_the_ways_of_one_model_are_held_out_together() -> None:
    sums, own = np.arange(1.0, 9.0), np.ones((8, 4))
    kin = [0, 0, 1, 1, 2, 2, 3, 3]
    before = held_out(sums, own, sums, kin)
    after = held_out(sums, own, sums * np.array([1, 5, 1, 1, 1, 1, 1, 1]), kin)
    assert before is not None
    assert after is not None
    # What the second is measured at touches neither itself nor its sibling.
    np.testing.assert_array_equal(before[:2], after[:2])
    assert not np.array_equal(before[2:], after[2:])
    # Without one model's six ways two networks are left, on which nothing can be fitted.
    assert held_out(sums, own, sums, [0, 0, 0, 0, 0, 0, 1, 2]) is None


def test_what_each_kernel_takes_beyond_its_own_time_is_recovered_where_it_is_asked_for() -> None:
    rng = np.random.default_rng(2)
    sums, own = columns([(rng.uniform(0.05, 5), *rng.uniform(1, 100, 3)) for _ in range(24)])
    kernels = rng.integers(20, 400, 24) * 1.0
    measured = Composition(1.02, (0.004, 0.006, 0.001), ms_per_kernel=2e-4, cached_bytes=CACHED).compose(
        sums, own, kernels
    )
    fitted = fit_composition(sums, own, measured, kernels)
    assert_allclose(
        [fitted.scale, *fitted.ms_per_megabyte, fitted.ms_per_kernel], [1.02, 0.004, 0.006, 0.001, 2e-4], rtol=1e-6
    )
    assert "0.20 µs for each kernel" in fitted.terms()
    others = held_out(sums, own, measured, kernels=kernels)
    assert others is not None
    assert_allclose(others, measured, rtol=1e-6)
    # Without being asked there is no such term, and with few networks none is fitted.
    assert fit_composition(sums, own, measured).ms_per_kernel is None
    assert fit_composition(sums[:8], own[:8], measured[:8], kernels[:8]).ms_per_kernel is None
