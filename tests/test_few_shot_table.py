"""The Bayesian table and the stack against closed forms, laws and brute force."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear
from scipy.stats import multivariate_normal

from edgecost.costmodels.space_models.bayes_lut import fit_bayes_lut, log_evidence
from edgecost.costmodels.space_models.prior_design import Branch, Design, Group, Lattice, lattice_of, scaled_group
from edgecost.costmodels.space_models.stack import fit_stack
from edgecost.profiler.errors import UsageError

ARCHITECTURES = 30
ROWS = np.array([1, 4, 7, 11, 18, 25])


def design(seed: int = 0, deviations: tuple[float, ...] = (0.0, 0.2)) -> Design:
    generator = np.random.default_rng(seed)
    surface = generator.uniform(0.5, 2.0, ARCHITECTURES)
    typical = np.ones(ARCHITECTURES, dtype=bool)
    groups = tuple(
        scaled_group(
            name,
            [f"{name}{k}" for k in range(size)],
            generator.standard_normal((ARCHITECTURES, size)),
            surface,
            deviations,
            typical,
        )
        for name, size in (("first", 2), ("second", 3))
    )
    return Design(surface, surface, groups)


def one_point(of: Design, variances: tuple[float, ...] = (0.04, 0.01), noise: float = 0.02) -> Lattice:
    return Lattice(np.array([variances]), np.array([noise**2]), np.zeros((1, 1)))


def branch(of: Design, lattice: Lattice, name: str = "mean", log_prior: float = 0.0) -> Branch:
    return Branch(name, of, lattice, log_prior)


def latencies(of: Design, seed: int = 3) -> np.ndarray:
    return 7.0 * of.mean[ROWS] * np.exp(0.2 * np.random.default_rng(seed).standard_normal(len(ROWS)))


def prior_covariance(of: Design, lattice: Lattice, scale_ms: float, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Prior covariance in milliseconds², without noise, written down from the definition."""
    total = sum(
        variance * group.values[rows] @ group.values[others].T
        for group, variance in zip(of.groups, lattice.variances[0], strict=True)
    )
    return scale_ms**2 * np.outer(of.noise[rows], of.noise[others]) * total


def test_the_evidence_is_the_density_of_a_multivariate_normal():
    of = design()
    lattice, measured = one_point(of), latencies(of)
    scale_ms = of.scale_ms(ROWS, measured)
    noise = np.diag((scale_ms * of.noise[ROWS]) ** 2) * lattice.noise_variances[0]
    covariance = prior_covariance(of, lattice, scale_ms, ROWS, ROWS) + noise
    expected = multivariate_normal(scale_ms * of.mean[ROWS], covariance).logpdf(measured)
    assert log_evidence(of, lattice, ROWS, measured)[0, 0] == pytest.approx(expected, rel=1e-9)


def test_one_point_predicts_what_conditioning_a_gaussian_gives():
    of = design()
    lattice, measured = one_point(of), latencies(of)
    fitted = fit_bayes_lut([branch(of, lattice)], ROWS, measured)
    scale_ms, everything = of.scale_ms(ROWS, measured), np.arange(ARCHITECTURES)
    noise_ms2 = (scale_ms * of.noise) ** 2 * lattice.noise_variances[0]
    gain = prior_covariance(of, lattice, scale_ms, everything, ROWS) @ np.linalg.inv(
        prior_covariance(of, lattice, scale_ms, ROWS, ROWS) + np.diag(noise_ms2[ROWS])
    )
    mean = scale_ms * of.mean + gain @ (measured - scale_ms * of.mean[ROWS])
    left = prior_covariance(of, lattice, scale_ms, everything, everything)
    left = left - gain @ prior_covariance(of, lattice, scale_ms, ROWS, everything)
    assert fitted.branches[0].predict_ms() == pytest.approx(mean, rel=1e-8)
    assert fitted.predict_ms() == pytest.approx(np.maximum(mean, 0.2 * measured.min()), rel=1e-8)
    assert fitted.deviation_ms() == pytest.approx(np.sqrt(np.diag(left) + noise_ms2), rel=1e-6)


def steady_latencies(of: Design) -> tuple[np.ndarray, np.ndarray]:
    """Seven samples whose scale stays 3 ms whichever is left out: three of them lie on the surface."""
    rows = np.array([1, 4, 7, 11, 18, 25, 28])
    ratio = np.array([1.0, 0.7, 1.25, 1.0, 0.9, 1.4, 1.0])
    return rows, 3.0 * ratio * of.noise[rows]


def test_leaving_one_out_in_closed_form_is_leaving_one_out():
    first = design(0)
    second = replace(design(1), mean=first.mean, noise=first.noise)
    branches = [branch(first, lattice_of(first), "first"), branch(second, lattice_of(second), "second", log_prior=-0.5)]
    rows, measured = steady_latencies(first)
    whole = fit_bayes_lut(branches, rows, measured)
    for place, row in enumerate(rows):
        rest = fit_bayes_lut(branches, np.delete(rows, place), np.delete(measured, place))
        assert whole.loo_ms[place] == pytest.approx(rest.predict_ms()[row], rel=1e-3)
        assert whole.loo_deviation_ms[place] == pytest.approx(rest.deviation_ms()[row], rel=1e-2)


def test_the_average_over_the_lattice_is_the_average_of_its_points_by_evidence():
    of = design()
    rows, measured = steady_latencies(of)
    lattice = lattice_of(of, noise_levels=(0.02, 0.1))
    whole = fit_bayes_lut([branch(of, lattice)], rows, measured)
    logs, means, variances = [], [], []
    for values in lattice.variances:
        for noise in lattice.noise_variances:
            point = Lattice(values[None], np.array([noise]), np.zeros((1, 1)))
            logs.append(log_evidence(of, point, rows, measured)[0, 0])
            alone = fit_bayes_lut([branch(of, point)], rows, measured)
            means.append(alone.branches[0].predict_ms())
            variances.append(alone.deviation_ms() ** 2)
    share = np.exp(np.array(logs) - np.logaddexp.reduce(logs))
    mean = share @ np.array(means)
    # Known up to θ: the variance of σ² within the lattice is averaged, too.
    deviation = np.sqrt(share @ (np.array(variances) + (np.array(means) - mean) ** 2))
    assert whole.predict_ms() == pytest.approx(mean, rel=1e-3)
    assert whole.deviation_ms() == pytest.approx(deviation, rel=1e-2)


def test_the_exported_costs_and_the_surface_reproduce_the_prediction():
    of = design()
    rows, measured = steady_latencies(of)
    fitted = fit_bayes_lut([branch(of, lattice_of(of))], rows, measured).branches[0]
    original = np.hstack([group.values * of.noise[:, None] / group.unit for group in of.groups])
    table = np.array(list(fitted.column_costs_ms().values()))
    assert fitted.scale_ms * of.mean + original @ table == pytest.approx(fitted.predict_ms(), rel=1e-9)
    assert next(iter(fitted.column_costs_ms())) == "first.first0"


@settings(deadline=None, max_examples=30)
@given(factor=st.floats(1e-3, 1e4), seed=st.integers(0, 50))
def test_other_units_of_time_change_nothing_but_the_unit(factor, seed):
    of = design(seed)
    measured = latencies(of, seed)
    branches = [branch(of, lattice_of(of))]
    once, again = fit_bayes_lut(branches, ROWS, measured), fit_bayes_lut(branches, ROWS, factor * measured)
    assert again.predict_ms() == pytest.approx(factor * once.predict_ms(), rel=1e-6)
    assert again.deviation_ms() == pytest.approx(factor * once.deviation_ms(), rel=1e-6)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 50))
def test_the_order_of_samples_does_not_matter(seed):
    of = design(seed)
    measured = latencies(of, seed)
    order = np.random.default_rng(seed).permutation(len(ROWS))
    branches = [branch(of, lattice_of(of))]
    once, again = fit_bayes_lut(branches, ROWS, measured), fit_bayes_lut(branches, ROWS[order], measured[order])
    assert again.predict_ms() == pytest.approx(once.predict_ms(), rel=1e-7)
    assert again.loo_ms == pytest.approx(once.loo_ms[order], rel=1e-7)


def test_many_samples_give_what_the_whole_lattice_gives():
    of = design()
    rows = np.arange(ARCHITECTURES)
    measured = 3.0 * of.mean * np.exp(0.05 * np.random.default_rng(8).standard_normal(ARCHITECTURES))
    lattice = lattice_of(of)
    fitted = fit_bayes_lut([branch(of, lattice)], rows, measured)
    logs = log_evidence(of, lattice, rows, measured)
    share = np.exp(logs - np.logaddexp.reduce(logs, axis=None))
    points = [
        (share[p, n], fit_bayes_lut([branch(of, one_point(of, tuple(values), float(np.sqrt(noise))))], rows, measured))
        for p, values in enumerate(lattice.variances)
        for n, noise in enumerate(lattice.noise_variances)
    ]
    expected = sum(weight * point.branches[0].predict_ms() for weight, point in points)
    assert fitted.predict_ms() == pytest.approx(expected, rel=1e-3)


def test_evidence_finds_the_branch_that_made_the_data():
    true, other = design(0), design(5)
    measured = 4.0 * true.mean[ROWS]
    fitted = fit_bayes_lut(
        [branch(true, lattice_of(true), "true"), branch(other, lattice_of(other), "other")], ROWS, measured
    )
    assert fitted.weight_of("true") > 0.99
    assert sum(each.weight for each in fitted.branches) == pytest.approx(1.0)


def test_a_group_without_columns_has_one_point():
    empty = scaled_group(
        "none", (), np.zeros((ARCHITECTURES, 0)), np.ones(ARCHITECTURES), (0.0, 0.1), np.ones(30, bool)
    )
    of = design()
    assert lattice_of(replace(of, groups=(*of.groups, empty))).variances.shape == (4, 3)


def test_a_scaled_group_moves_an_average_architecture_by_one_deviation():
    generator = np.random.default_rng(0)
    noise = generator.uniform(0.5, 2.0, ARCHITECTURES)
    typical = np.arange(ARCHITECTURES) > 4
    original = generator.standard_normal((ARCHITECTURES, 3))
    group = scaled_group("g", "abc", original, noise, (0.1,), typical)
    assert np.mean(np.sum(group.values[typical] ** 2, axis=1)) == pytest.approx(1.0)
    assert isinstance(group, Group)
    assert group.values == pytest.approx(original * group.unit / noise[:, None])


@pytest.mark.parametrize(
    ("rows", "measured", "words"),
    [
        ([], [], "nothing to learn"),
        ([1, 2], [1.0], "are not samples"),
        ([1.5, 2.0], [1.0, 2.0], "are not samples"),
        ([1, 30], [1.0, 2.0], "rows 0 … 29"),
        ([-1, 2], [1.0, 2.0], "rows 0 … 29"),
        ([1, 2], [1.0, 0.0], "positive and finite"),
        ([1, 2], [1.0, np.nan], "positive and finite"),
    ],
)
def test_samples_that_are_none_are_refused(rows, measured, words):
    of = design()
    with pytest.raises(UsageError, match=words):
        fit_bayes_lut([branch(of, lattice_of(of))], rows, measured)


def test_one_sample_moves_the_scale_and_leaves_the_uncertainty():
    of = design()
    fitted = fit_bayes_lut([branch(of, lattice_of(of))], [3], [5.0])
    assert fitted.predict_ms()[3] == pytest.approx(5.0, rel=1e-6)
    assert np.all(fitted.deviation_ms() > 0)
    assert np.all(np.isfinite(fitted.predict_ms()))


def test_the_stack_is_the_bounded_least_squares_solution():
    generator = np.random.default_rng(2)
    surfaces = generator.uniform(0.5, 2.0, (ARCHITECTURES, 3))
    rows = np.arange(0, 24, 3)
    measured = surfaces[rows] @ [2.0, 0.0, 1.0] * np.exp(0.1 * generator.standard_normal(len(rows)))
    oracle = lsq_linear(surfaces[rows] / measured[:, None], np.ones(len(rows)), bounds=(0, np.inf)).x
    assert fit_stack(surfaces, rows, measured).weights_ms == pytest.approx(oracle, abs=1e-5)


def test_the_stack_leaves_each_sample_out_in_turn():
    generator = np.random.default_rng(3)
    surfaces = generator.uniform(0.5, 2.0, (ARCHITECTURES, 3))
    rows = np.arange(0, 24, 3)
    measured = surfaces[rows].sum(axis=1) * np.exp(0.1 * generator.standard_normal(len(rows)))
    whole = fit_stack(surfaces, rows, measured)
    for place, row in enumerate(rows):
        rest = fit_stack(surfaces, np.delete(rows, place), np.delete(measured, place))
        assert whole.loo_ms[place] == pytest.approx(rest.predict_ms(surfaces)[row])


def test_a_device_between_its_sources_is_stacked_exactly():
    surfaces = np.random.default_rng(4).uniform(0.5, 2.0, (ARCHITECTURES, 3))
    truth = surfaces @ [0.5, 3.0, 0.0]
    stack = fit_stack(surfaces, ROWS, truth[ROWS])
    assert stack.predict_ms(surfaces) == pytest.approx(truth)
    assert stack.deviation < 1e-6
