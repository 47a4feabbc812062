"""The table: held-out predictions against refits, evidence against its definition, laws that it must find."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecost.costmodels.space_models.encoding import Encoding, encode_cells
from edgecost.costmodels.space_models.ridge import PENALTIES, Table, fit_table, folds_of, leave_one_out, log_evidence
from edgecost.profiler.errors import UsageError

EDGES = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]
COST_MS = np.array([0.0, 0.1, 1.0, 3.0, 0.7])


@pytest.fixture(scope="module")
def networks() -> Encoding:
    ops = np.random.default_rng(0).integers(0, 5, (700, 6))
    encoding = encode_cells(ops, EDGES)
    return encoding.take(~encoding.degenerate)


def additive_ms(encoding: Encoding) -> np.ndarray:
    """Every edge costs what its operator costs, whether something comes of it or not."""
    return 4.0 + encoding.matrix("counts") @ COST_MS


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(4, 14), st.integers(1, 20))
def test_the_prediction_of_a_row_is_that_of_a_fit_without_it(seed, rows, columns) -> None:
    rng = np.random.default_rng(seed)
    design, target, weight = rng.normal(size=(rows, columns)), rng.normal(size=rows), rng.uniform(0.5, 2, rows)
    penalties = np.array([0.01, 0.3, 10.0])
    coefficients, held_out = leave_one_out(design, target, weight, penalties)
    augmented = np.column_stack([np.ones(rows), design])
    for number, penalty in enumerate(penalties * np.mean(weight**2)):
        prior = np.diag([0.0, *[penalty] * columns])

        def solve(keep: np.ndarray, prior: np.ndarray = prior) -> np.ndarray:
            square = augmented[keep].T * weight[keep] ** 2
            return np.linalg.solve(square @ augmented[keep] + prior, square @ target[keep])

        np.testing.assert_allclose(coefficients[number], solve(np.arange(rows)), rtol=1e-6, atol=1e-8)
        left_out = [augmented[row] @ solve(np.delete(np.arange(rows), row)) for row in range(rows)]
        np.testing.assert_allclose(held_out[number], left_out, rtol=1e-5, atol=1e-7)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(4, 14), st.integers(1, 20))
def test_the_evidence_is_the_density_of_the_target_without_its_mean(seed, rows, columns) -> None:
    rng = np.random.default_rng(seed)
    design, target, weight = rng.normal(size=(rows, columns)), rng.normal(size=rows), rng.uniform(0.5, 2, rows)
    # Contrasts that no constant touches: an orthonormal basis of what is perpendicular to the weights.
    basis = np.linalg.svd(weight[None, :])[2][1:].T
    seen, turned = basis.T @ (weight * target), basis.T @ (weight[:, None] * design)
    expected = []
    for penalty in PENALTIES * np.mean(weight**2):
        covariance = np.eye(rows - 1) + turned @ turned.T / penalty
        variance = seen @ np.linalg.solve(covariance, seen) / (rows - 1)
        expected.append(-0.5 * ((rows - 1) * np.log(variance) + np.linalg.slogdet(covariance)[1]))
    # Towards the smallest penalty the covariance has a condition of 1e8.
    np.testing.assert_allclose(log_evidence(design, target, weight, PENALTIES), expected, rtol=1e-4, atol=1e-3)


def test_a_penalty_under_which_a_row_decides_its_own_fit_has_no_held_out_prediction() -> None:
    rng = np.random.default_rng(0)
    design, target = rng.normal(size=(8, 30)), rng.normal(size=8)
    _, held_out = leave_one_out(design, target, np.ones(8), np.array([1e-9, 1.0]))
    assert np.isnan(held_out[0]).all()
    assert np.isfinite(held_out[1]).all()


def test_an_additive_device_is_found_from_sixty_networks(networks) -> None:
    truth = additive_ms(networks)
    found = fit_table(networks.take(np.arange(60)), truth[:60])
    np.testing.assert_allclose(found.table.predict(networks), truth, rtol=2e-3)


def test_the_table_is_a_constant_and_a_cost_per_column_and_nothing_else(networks) -> None:
    truth = additive_ms(networks)
    table = fit_table(networks.take(np.arange(60)), truth[:60], ["counts", "one_hot"]).table
    by_hand = table.constant_ms + networks.matrix(*table.blocks) @ table.cost_ms
    np.testing.assert_allclose(table.predict(networks), by_hand, rtol=1e-12)
    assert set(table.blocks) <= {"counts", "one_hot"}
    assert len(table.columns) == len(table.cost_ms)


def test_one_disturbed_run_in_ten_does_not_bend_the_table(networks) -> None:
    rng = np.random.default_rng(1)
    truth = additive_ms(networks)
    measured = truth[:200] * rng.lognormal(0, 0.01, 200)
    measured[rng.permutation(200)[:20]] *= 3
    found = fit_table(networks.take(np.arange(200)), measured)
    assert np.median(np.abs(found.table.predict(networks) / truth - 1)) < 0.01


def test_dead_code_is_told_from_live_code(networks) -> None:
    """Only edges on a way from input to output cost something: counts of edges alone cannot say that."""
    live = networks.block("live")
    names = [live.columns.index(f"through_{op}") for op in ("nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")]
    truth = 2.0 + live.values[:, names] @ COST_MS[2:]
    known = networks.take(np.arange(150))
    whole, plain = (fit_table(known, truth[:150], blocks) for blocks in (None, ["counts", "one_hot"]))
    errors = [np.mean(np.abs(found.table.predict(networks) / truth - 1)) for found in (whole, plain)]
    assert errors[0] < 0.02
    assert errors[1] > 5 * errors[0]


def test_held_out_errors_are_about_those_on_fresh_networks(networks) -> None:
    rng = np.random.default_rng(2)
    measured = additive_ms(networks) * rng.lognormal(0, 0.05, networks.size)
    found = fit_table(networks.take(np.arange(120)), measured[:120])
    fresh = np.mean(np.abs(found.table.predict(networks.take(np.arange(120, networks.size))) / measured[120:] - 1))
    held_out = np.mean(np.abs(found.held_out_ms / measured[:120] - 1))
    assert 0.75 * fresh < held_out < 1.3 * fresh
    assert np.mean(np.abs(found.table.predict(networks.take(np.arange(120))) / measured[:120] - 1)) < held_out


def test_no_network_is_cheaper_than_half_of_the_fastest_measured(networks) -> None:
    truth = np.maximum(additive_ms(networks) - 11.0, 0.3)
    table = fit_table(networks.take(np.arange(80)), truth[:80]).table
    assert table.predict(networks).min() >= 0.5 * truth[:80].min()


def test_a_device_on_which_everything_costs_the_same_is_no_error(networks) -> None:
    found = fit_table(networks.take(np.arange(40)), np.full(40, 7.0))
    np.testing.assert_allclose(found.table.predict(networks), 7.0, rtol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(1e-6, 1e6), min_size=20, max_size=30))
def test_hostile_latencies_make_a_table_of_positive_numbers(networks, latency) -> None:
    found = fit_table(networks.take(np.arange(len(latency))), latency)
    for values in (found.table.predict(networks), found.held_out_ms, found.leave_one_out_ms):
        assert np.isfinite(values).all()
        assert values.min() > 0


def test_fits_that_make_no_sense_are_refused(networks) -> None:
    with pytest.raises(UsageError, match="make no table"):
        fit_table(networks, np.ones(3))
    with pytest.raises(UsageError, match="make no table"):
        fit_table(networks.take([0, 1]), np.ones(2))
    with pytest.raises(UsageError, match="no block"):
        fit_table(networks.take(np.arange(30)), additive_ms(networks)[:30], ["stage"])


def test_a_table_refuses_columns_that_it_was_not_fitted_on() -> None:
    table = Table(("critical_path",), ("longest_time",), 1.0, np.array([2.0]), 0.1)
    fitting, other = (encode_cells([[2] * 6], EDGES, weights={name: (0, 0, 1, 1, 1)}) for name in ("time", "steps"))
    assert table.predict(fitting).tolist() == [7.0]
    with pytest.raises(UsageError, match="other columns"):
        table.predict(other)


@given(st.integers(2, 60), st.integers(2, 10), st.integers(0, 5))
def test_folds_are_of_equal_size_and_the_same_each_time(rows, folds, seed) -> None:
    fold = folds_of(rows, folds, seed)
    sizes = np.bincount(fold, minlength=folds)
    assert sizes.max() - sizes.min() <= 1
    np.testing.assert_array_equal(fold, folds_of(rows, folds, seed))
