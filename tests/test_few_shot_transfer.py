"""From a fleet to a new device: priors, experts, plans, intervals and the report on more samples."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from edgecost.costmodels.space_models.branches import family_designs, make_branches, operator_groups
from edgecost.costmodels.space_models.efficiency import Curve, efficiency_report, learning_curves
from edgecost.costmodels.space_models.encoding import Encoding, encode_cells
from edgecost.costmodels.space_models.experts import Beliefs, prepare
from edgecost.costmodels.space_models.few_shot_intervals import few_shot_width
from edgecost.costmodels.space_models.fleet import Fleet, Source, train_fleet
from edgecost.costmodels.space_models.lattice_prior import learn_prior
from edgecost.costmodels.space_models.linear_form import linear_form
from edgecost.costmodels.space_models.plan import plan_samples, predicted_latency
from edgecost.profiler.errors import UsageError

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
#: Milliseconds of an occurrence of each operator, and of everything else: devices that differ in kind.
COSTS = {
    "small": (0.0, 0.1, 0.8, 2.0, 0.6, 4.0),
    "wide": (0.0, 0.05, 0.5, 0.9, 0.9, 6.0),
    "slow": (0.0, 0.4, 3.0, 9.0, 1.5, 9.0),
    "pooling": (0.0, 0.1, 0.4, 1.0, 2.5, 3.0),
}


def cells(architectures: int = 400, seed: int = 0) -> tuple[np.ndarray, Encoding]:
    """Operators and encoding of random cells, some of them degenerate."""
    ops = np.random.default_rng(seed).integers(0, 5, (architectures, len(EDGES)))
    return ops, encode_cells(ops, EDGES)


def latency_ms(ops: np.ndarray, costs: tuple[float, ...], noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """The sum of the operators' costs, with relative noise."""
    exact = np.asarray(costs[:5])[ops].sum(axis=1) + costs[5]
    return exact * (1.0 + noise * np.random.default_rng(seed).standard_normal(len(ops)))


def fleet(noise: float = 0.02, names: tuple[str, ...] = ("small", "wide", "slow", "pooling")) -> Fleet:
    """Sources that measured 120 cells each with noise, and whose predictors are exact."""
    ops, encoding = cells()
    sane = np.flatnonzero(~encoding.degenerate)
    sources = []
    for place, name in enumerate(names):
        rows = np.random.default_rng(place).choice(sane, 120, replace=False)
        measured = latency_ms(ops, COSTS[name], noise, seed=place)[rows]
        sources.append(Source(name, rows, measured, latency_ms(ops, COSTS[name])))
    return Fleet(encoding, tuple(sources))


@pytest.fixture(scope="module")
def beliefs() -> Beliefs:
    return prepare(fleet())


@pytest.fixture(scope="module")
def unknown() -> np.ndarray:
    """A device that is no mixture of the sources: its average pooling is free and its 1×1 convolution is dear."""
    ops, _ = cells()
    return latency_ms(ops, (0.0, 0.3, 4.0, 2.0, 0.0, 5.0), noise=0.01, seed=9)


@pytest.fixture(scope="module")
def alone() -> Beliefs:
    return prepare(fleet(names=()))


def rest_of(beliefs: Beliefs, rows: np.ndarray) -> np.ndarray:
    return np.setdiff1d(np.flatnonzero(beliefs.fleet.typical), rows)


def error_percent(guess: np.ndarray, truth: np.ndarray, rows: np.ndarray) -> float:
    return float(np.mean(np.abs(guess[rows] / truth[rows] - 1.0)) * 100)


def test_ten_planned_samples_are_enough_for_a_device_that_resembles_nobody(beliefs, unknown):
    rows = beliefs.plan(10).rows
    model = beliefs.fit(rows, unknown[rows])
    rest = rest_of(beliefs, rows)
    assert spearmanr(model.predict_ms()[rest], unknown[rest]).statistic > 0.98
    assert error_percent(model.predict_ms(), unknown, rest) < 4


def test_a_twin_of_a_source_is_recognised(beliefs):
    ops, _ = cells()
    twin = 3.0 * latency_ms(ops, COSTS["pooling"], noise=0.005, seed=4)
    rows = beliefs.plan(10).rows
    model = beliefs.fit(rows, twin[rows])
    named = model.nearest_sources()
    assert max(named, key=named.__getitem__) == "pooling"
    assert model.expert_weights()["without fleet"] < 0.05
    assert error_percent(model.predict_ms(), twin, rest_of(beliefs, rows)) < 1.5


def test_the_weights_of_the_experts_sum_to_one(beliefs, unknown):
    rows = beliefs.plan(12).rows
    assert sum(beliefs.fit(rows, unknown[rows]).expert_weights().values()) == pytest.approx(1.0)


def test_a_fleet_of_nobody_still_learns_from_operators(alone, unknown):
    nobody = alone
    plan = nobody.plan(20)
    assert plan.strategy == "stratified"
    model = nobody.fit(plan.rows, unknown[plan.rows])
    assert model.expert_weights() == {"with fleet": 0.0, "without fleet": pytest.approx(1.0), "stack": 0.0}
    assert spearmanr(model.predict_ms(), unknown).statistic > 0.95


def test_a_fleet_helps_a_device_between_its_sources(beliefs, alone):
    ops, _ = cells()
    between = 0.5 * latency_ms(ops, COSTS["small"]) + 1.5 * latency_ms(ops, COSTS["wide"])
    rows = beliefs.plan(6).rows
    with_fleet = error_percent(beliefs.fit(rows, between[rows]).predict_ms(), between, rest_of(beliefs, rows))
    without = error_percent(alone.fit(rows, between[rows]).predict_ms(), between, rest_of(beliefs, rows))
    assert with_fleet < without


@pytest.mark.parametrize("names", [(), ("small",), ("small", "wide", "slow", "pooling")])
def test_the_linear_form_is_the_model(unknown, names):
    known = prepare(fleet(names=names))
    rows = known.plan(12, strategy="stratified").rows
    model = known.fit(rows, unknown[rows])
    form = linear_form(model)
    encoding = known.fleet.encoding
    guess = np.full(encoding.size, form.constant_ms)
    for name, cost_ms in form.columns_ms.items():
        block, column = name.split(".", 1)
        values = encoding.block(block)
        guess += cost_ms * values.values[:, values.columns.index(column)]
    for source in known.fleet.sources:
        guess += form.sources[source.name] * source.surface_ms
    assert np.maximum(guess, model.table.floor_ms) == pytest.approx(model.predict_ms(), rel=1e-6)


def test_equal_input_gives_equal_output(beliefs, unknown):
    rows = beliefs.plan(10).rows
    again = prepare(fleet())
    assert again.plan(10).rows.tolist() == rows.tolist()
    assert (
        again.fit(rows, unknown[rows]).predict_ms().tolist() == beliefs.fit(rows, unknown[rows]).predict_ms().tolist()
    )


@settings(deadline=None, max_examples=4)
@given(factor=st.floats(1e-2, 1e3))
def test_other_units_of_time_change_no_weight_and_no_ratio(beliefs, unknown, factor):
    rows = beliefs.plan(8).rows
    once, again = beliefs.fit(rows, unknown[rows]), beliefs.fit(rows, factor * unknown[rows])
    assert again.predict_ms() == pytest.approx(factor * once.predict_ms(), rel=1e-6)
    assert again.expert_weights() == pytest.approx(once.expert_weights(), abs=1e-6)
    assert again.interval_width().deviations == pytest.approx(once.interval_width().deviations, rel=1e-6)


def test_no_prediction_is_negative_and_one_sample_is_a_model(beliefs, unknown):
    model = beliefs.fit([5], unknown[[5]])
    assert np.all(model.predict_ms() > 0)
    assert np.all(model.predict_interval_ms() >= 0)
    assert model.stack is None


def test_one_wild_sample_does_not_hand_everything_to_the_stack(beliefs, unknown):
    rows = beliefs.plan(20).rows
    wild = unknown[rows].copy()
    wild[3] *= 0.01
    model = beliefs.fit(rows, wild)
    assert spearmanr(model.predict_ms(), unknown).statistic > 0.9


def test_the_prior_is_a_distribution_over_families_and_points(beliefs):
    assert sum(np.exp(prior.log_share) for prior in beliefs.priors.values()) == pytest.approx(1.0)
    for prior in beliefs.priors.values():
        assert np.exp(prior.lattice.log_prior).sum() == pytest.approx(1.0)
        assert np.ptp(prior.lattice.log_prior) > 0


def test_a_small_fleet_keeps_flat_priors():
    for names in ((), ("small",), ("small", "wide")):
        assert learn_prior(fleet(names=names)) == {}


@pytest.mark.parametrize(
    ("names", "families"),
    [((), {"none"}), (("small",), {"none", "mean"}), (("small", "wide"), {"none", "mean", "twin"})],
)
def test_families_are_those_that_the_fleet_allows(names, families):
    known = fleet(names=names)
    operators = operator_groups(known.encoding)
    assert set(family_designs(known, operators)) == families
    branches = make_branches(known, operators, {})
    assert np.exp(np.logaddexp.reduce([branch.log_prior for branch in branches])) <= 1.0 + 1e-9


@pytest.mark.parametrize("strategy", ["d-optimal", "stratified"])
@settings(deadline=None, max_examples=10)
@given(budget=st.integers(1, 60), seed=st.integers(0, 5))
def test_a_plan_holds_what_was_asked_for_and_never_a_degenerate_network(beliefs, strategy, budget, seed):
    rows = beliefs.plan(budget, strategy=strategy, seed=seed).rows
    assert len(set(rows.tolist())) == budget
    assert not beliefs.fleet.encoding.degenerate[rows].any()
    guess = predicted_latency(beliefs.fleet)
    low, high = np.quantile(guess[beliefs.fleet.typical], (0.1, 0.9))
    assert np.all((low <= guess[rows]) & (guess[rows] <= high))


def test_the_strategy_goes_by_the_number_of_sources():
    for names, expected in ((("small", "wide"), "stratified"), (("small", "wide", "slow"), "d-optimal")):
        assert prepare(fleet(names=names)).plan(5).strategy == expected


def test_the_beginning_of_a_d_optimal_plan_is_a_plan(beliefs):
    assert beliefs.plan(12).rows[:5].tolist() == beliefs.plan(5).rows.tolist()


def test_a_d_optimal_plan_has_a_larger_determinant_than_random_ones(beliefs):
    def information(rows: np.ndarray) -> float:
        branch = next(branch for branch in beliefs.branches if branch.name == "mean")
        weight = np.exp(branch.lattice.log_prior)
        variance = weight.sum(axis=1) @ branch.lattice.variances
        kernel = sum(v * g.values[rows] @ g.values[rows].T for g, v in zip(branch.design.groups, variance, strict=True))
        noise = weight.sum(axis=0) @ branch.lattice.noise_variances
        return float(np.linalg.slogdet(kernel + noise * np.eye(len(rows)))[1])

    planned = information(beliefs.plan(8).rows)
    sane = np.flatnonzero(beliefs.fleet.typical)
    drawn = [information(np.random.default_rng(seed).choice(sane, 8, replace=False)) for seed in range(20)]
    assert planned > max(drawn)


def test_a_plan_stays_within_its_pool(beliefs):
    pool = np.arange(0, 400, 3)
    assert set(beliefs.plan(10, pool=pool).rows.tolist()) <= set(pool.tolist())


def test_plans_that_cannot_be_made_are_refused(beliefs, alone):
    degenerate = np.flatnonzero(beliefs.fleet.encoding.degenerate)
    for arguments, words in (
        ({"budget": 0}, "plan of 0"),
        ({"budget": 10_000}, "plan of 10000"),
        ({"budget": 5, "pool": degenerate}, "degenerate"),
        ({"budget": 5, "strategy": "lucky"}, "lucky"),
    ):
        with pytest.raises(UsageError, match=words):
            beliefs.plan(**arguments)
    with pytest.raises(UsageError, match="at least one source"):
        plan_samples(alone.fleet, alone.branches, 5, strategy="d-optimal")


def test_intervals_cover_the_device_they_were_made_for(beliefs):
    ops, _ = cells()
    inside = []
    for seed in range(4):
        truth = latency_ms(ops, (0.0, 0.2, 1.5, 4.0, 1.0, 5.0), noise=0.05, seed=seed)
        rows = beliefs.plan(15, strategy="stratified", seed=seed).rows
        low, high = beliefs.fit(rows, truth[rows]).predict_interval_ms(0.1).T
        rest = rest_of(beliefs, rows)
        inside.append(np.mean((low <= truth)[rest] & (truth <= high)[rest]))
    assert 0.85 <= np.mean(inside) <= 1.0
    assert min(inside) > 0.7


@given(scores=st.lists(st.floats(0, 10), min_size=1, max_size=80), alpha=st.sampled_from((0.05, 0.1, 0.2)))
def test_a_width_is_the_wider_of_both_below_fifty_samples_and_conformal_from_there(scores, alpha):
    ones = np.ones(len(scores))
    width = few_shot_width(ones + np.array(scores), ones, ones, alpha)
    gaussian = {0.05: 1.959964, 0.1: 1.644854, 0.2: 1.281552}[alpha]
    rank = int(np.ceil((len(scores) + 1) * (1 - alpha) - 1e-9))
    if rank > len(scores):
        assert width.source.endswith("too few samples for leave-one-out")
        assert width.deviations == pytest.approx(gaussian, rel=1e-5)
    else:
        conformal = np.sort(np.array(scores) + 1.0 - 1.0)[rank - 1]
        expected = conformal if len(scores) >= 50 else max(conformal, gaussian)
        assert width.deviations == pytest.approx(expected, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -1.0])
def test_an_alpha_outside_its_range_is_refused(alpha):
    with pytest.raises(UsageError, match="alpha"):
        few_shot_width(np.ones(3), np.ones(3), np.ones(3), alpha)


def test_learning_curves_fall_and_the_report_stays_within_them(beliefs, unknown):
    curves = learning_curves(beliefs, sizes=(5, 40))
    assert [curve.name for curve in curves] == list(beliefs.fleet.names)
    assert np.mean([curve.error_percent[-1] for curve in curves]) < np.mean(
        [curve.error_percent[0] for curve in curves]
    )
    rows = beliefs.plan(10).rows
    model = beliefs.fit(rows, unknown[rows])
    report = efficiency_report(model, curves)
    assert report.error_percent == pytest.approx(model.loo_error_percent())
    assert report.judged_to == 40
    errors = [gain.error_percent for gain in report.gains]
    assert errors == sorted(errors, reverse=True)
    assert all(
        gain.lo_percent <= gain.error_percent <= gain.hi_percent <= report.error_percent for gain in report.gains
    )
    assert len(report.lines()) == 5


def test_a_curve_claims_nothing_beyond_its_last_size():
    curve = Curve("known", (10, 100), (8.0, 2.0))
    assert curve.at(1000) == pytest.approx(2.0)
    assert curve.at(32) == pytest.approx(np.sqrt(8.0 * 2.0), rel=0.01)


def test_without_curves_the_report_goes_by_the_posterior(alone, unknown):
    nobody = alone
    rows = nobody.plan(12).rows
    report = efficiency_report(nobody.fit(rows, unknown[rows]))
    errors = [gain.error_percent for gain in report.gains]
    assert report.basis == "the model's own uncertainty"
    assert report.judged_to is None
    assert errors == sorted(errors, reverse=True)
    assert 0 < errors[-1] < report.error_percent


def test_reports_and_curves_that_cannot_be_made_are_refused(beliefs, alone, unknown):
    with pytest.raises(UsageError, match="known devices"):
        learning_curves(alone)
    with pytest.raises(UsageError, match="more samples"):
        efficiency_report(beliefs.fit([1, 2, 3], unknown[1:4]), more=(0,))


def test_a_fleet_refuses_sources_that_do_not_fit():
    known = fleet(names=("small",))
    (source,) = known.sources
    for broken in (
        replace(source, surface_ms=source.surface_ms[:10]),
        replace(source, surface_ms=np.full(400, np.nan)),
        replace(source, latency_ms=-source.latency_ms),
    ):
        with pytest.raises(UsageError):
            Fleet(known.encoding, (broken,))
    with pytest.raises(UsageError, match="one name"):
        Fleet(known.encoding, (source, source))


def test_a_source_predicts_the_networks_that_it_did_not_measure():
    ops, encoding = cells()
    truth = latency_ms(ops, COSTS["slow"], noise=0.01, seed=1)
    (source,) = train_fleet(encoding, [("slow", np.arange(80), truth[:80])]).sources
    rest = np.arange(80, 400)[~encoding.degenerate[80:]]
    assert error_percent(source.surface_ms, truth, rest) < 2
    assert not encoding.degenerate[source.rows].any()


@pytest.mark.skipif(not (DATA / "nasbench201_latency.npz").exists(), reason="the published measurements are not here")
def test_published_devices_are_learnt_from_ten_planned_samples():
    """A small case of ``benchmarks/few_shot.py``: three sources that measured everything, a CPU that is none."""
    with np.load(DATA / "nasbench201_latency.npz", allow_pickle=False) as file:
        devices, latency = [str(name) for name in file["devices"]], file["latency"].astype(np.float64)
        encoding, meta = encode_cells(file["ops"], file["edges"]), json.loads(str(file["meta"]))
    names = ("1080ti_1", "silver_4210r", "samsung_a50")
    assert set(names) <= set(meta["help_train"])
    rows = np.arange(900)[~encoding.degenerate[:900]]
    surfaces = [latency[:, devices.index(name)] for name in names]
    known = [Source(name, rows, each[rows], each) for name, each in zip(names, surfaces, strict=True)]
    beliefs = prepare(Fleet(encoding, tuple(known)))
    plan = beliefs.plan(10, pool=np.arange(900))
    truth = latency[:, devices.index("gold_6226")]
    guess = beliefs.fit(plan.rows, truth[plan.rows]).predict_ms()
    judged = np.arange(900, 1900)
    judged = judged[np.argsort(truth[judged])][100:900]
    assert spearmanr(guess[judged], truth[judged]).statistic > 0.98
