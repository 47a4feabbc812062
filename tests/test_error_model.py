"""How errors hang together and what a table's error is: against brute force, simulation and the definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecost.costmodels.active.error_model import ErrorSizes, choose, condition, prior_covariance, rough_ms
from edgecost.costmodels.active.lut_error import (
    EVIDENCE_MIN,
    PROCESS_SIGMA,
    Evidence,
    covering_quantile,
    estimate_error,
    noise_variance,
    process_sigma,
)
from edgecost.costmodels.dataset import Sample

SIZES = ErrorSizes()


def random_covariance(seed: int, size: int = 6) -> np.ndarray:
    root = np.random.default_rng(seed).normal(size=(size, size))
    return root @ root.T + 0.1 * np.eye(size)


def prior(graphs) -> np.ndarray:
    return prior_covariance(graphs, [[rough_ms(kernel) for kernel in graph] for graph in graphs], SIZES)


def test_conditioning_is_that_of_a_joint_gaussian() -> None:
    covariance, noise = random_covariance(0), np.full(6, 0.2)
    # Of the joint precision of errors and noisy observations, the block of the errors inverts to what is left.
    observe = np.eye(6)[[1, 4]]
    brute = np.linalg.inv(np.linalg.inv(covariance) + observe.T @ observe / 0.2)
    np.testing.assert_allclose(condition(covariance, [1, 4], noise, range(6)), brute, atol=1e-9)
    np.testing.assert_allclose(condition(covariance, [], noise, [2, 3]), covariance[np.ix_([2, 3], [2, 3])])


@given(st.integers(0, 200))
@settings(max_examples=25, deadline=None)
def test_each_choice_is_the_one_that_brute_force_finds(seed) -> None:
    covariance, noise = random_covariance(seed), np.linspace(0.01, 0.5, 6)
    importance = random_covariance(seed + 1)
    taken: list[int] = []
    left = float(np.sum(importance * covariance))
    for place, gain in choose(covariance, importance, noise, range(6), 3):
        after = {
            one: float(np.sum(importance * condition(covariance, [*taken, one], noise, range(6))))
            for one in range(6)
            if one not in taken
        }
        assert after[place] == pytest.approx(min(after.values()), rel=1e-9)
        assert gain == pytest.approx(1 - after[place] / left, abs=1e-9)
        taken.append(place)
        left = after[place]


def test_nothing_is_chosen_twice_nor_beyond_the_candidates() -> None:
    chosen = choose(random_covariance(3), np.eye(6), np.full(6, 0.1), [5, 2], 9)
    assert sorted(place for place, _ in chosen) == [2, 5]
    assert choose(random_covariance(3), np.eye(6), np.full(6, 0.1), [], 9) == []


def test_cells_err_alike_as_far_as_their_kernels_are_alike(cell_graphs) -> None:
    graphs = cell_graphs[:40]
    covariance = prior([*graphs, graphs[0]])
    deviations = np.sqrt(np.diag(covariance))
    correlation = covariance / deviations[:, None] / deviations
    assert correlation[0, 40] == pytest.approx(1 - SIZES.own**2 / covariance[0, 0])
    assert correlation[0, 40] == correlation[0, 1:].max()
    assert (np.linalg.eigvalsh(covariance) > 0).all()


def test_what_was_measured_tells_most_about_its_twin(cell_graphs) -> None:
    graphs = [*cell_graphs[:40], cell_graphs[0]]
    before, noise = prior(graphs), np.full(41, PROCESS_SIGMA**2)
    left = np.diag(condition(before, [40], noise, range(41))) / np.diag(before)
    assert left[:40].argmin() == 0
    assert (left < 1).all()


def test_the_order_of_graphs_does_not_matter(cell_graphs) -> None:
    graphs = cell_graphs[:12]
    order = np.random.default_rng(0).permutation(12)
    there = prior(graphs)[np.ix_(order, order)]
    np.testing.assert_allclose(prior([graphs[place] for place in order]), there, rtol=1e-9)


def test_the_quantile_covers_nine_of_ten_simulated_errors() -> None:
    rng = np.random.default_rng(1)
    variances = rng.uniform(1e-4, 1e-2, 50)
    errors = np.abs(rng.normal(size=(20_000, 50)) * np.sqrt(variances))
    assert np.mean(errors <= covering_quantile(variances, math.inf)) == pytest.approx(0.9, abs=0.005)
    few = np.abs(rng.standard_t(5, size=(20_000, 50)) * np.sqrt(variances))
    assert np.mean(few <= covering_quantile(variances, 5)) == pytest.approx(0.9, abs=0.005)
    assert covering_quantile(np.full(3, 0.01), math.inf) == pytest.approx(0.1645, abs=1e-4)
    assert covering_quantile(np.zeros(3), 5) < 1e-100


def evidence(size: float, held_out: int = EVIDENCE_MIN, newest: float | None = None) -> Evidence:
    return Evidence(np.full(held_out, size), np.full(8, size if newest is None else newest))


def estimate(given: Evidence | None, *, noise: tuple[float, float, float] = (1e-4, 1e-4, 0.0)):
    left = np.diag([0.0, 0.0, 0.01])
    return estimate_error(np.array([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]]), left, np.array(noise), 1e-4, given)


def test_errors_twice_as_large_make_an_estimate_about_twice_as_large() -> None:
    one, two = estimate(evidence(1.0)), estimate(evidence(2.0))
    assert one.scale == 1.0
    assert 1.6 < two.error / one.error < 2.0
    assert two.of_noise == one.of_noise < one.error


def test_the_newest_cells_count_by_themselves() -> None:
    assert estimate(evidence(0.5, newest=3.0)).error > 2 * estimate(evidence(0.5, newest=0.5)).error
    assert estimate(evidence(3.0, newest=0.5)).scale > 2


def test_without_evidence_there_is_no_number() -> None:
    assert estimate(None).error is None
    assert estimate(evidence(1.0, held_out=EVIDENCE_MIN - 1)).error is None


def test_a_table_that_is_measured_whole_errs_by_its_noise_alone() -> None:
    whole = estimate(None, noise=(1e-4, 1e-4, 1e-4))
    assert whole.error == whole.of_noise
    assert whole.error < 0.0165


def sample(sessions_ms: tuple[float, ...]) -> Sample:
    return Sample(None, 1.0, 0.98, 1.02, sessions_ms, 1.1, 7, is_network=False)


def test_noise_follows_the_panel() -> None:
    assert process_sigma([sample((1.0,))]) == PROCESS_SIGMA
    steady, shaky = [sample((1.0, 1.0))] * 30, [sample((1.0, 1.2))] * 30
    assert process_sigma(steady) < PROCESS_SIGMA / 2
    assert process_sigma(shaky) == pytest.approx(math.log(1.2) / math.sqrt(2), rel=0.1)
    once, twice = (noise_variance(sample(sessions), 0.05) for sessions in ((1.0,), (1.0, 1.0)))
    assert once == pytest.approx((0.02 / 1.96) ** 2 + 0.05**2)
    assert twice < once
