"""Kernels of a new device: the shift that few of them show, and the predictor that is made with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecost.costmodels.dataset import Sample
from edgecost.costmodels.kernel_work import kind_of
from edgecost.costmodels.onboarding.kernel_shift import (
    choose_kernels,
    expected_deviation,
    family_of,
    fit_shift,
    shift_columns,
)
from edgecost.costmodels.onboarding.kernel_sources import KernelSource, kernel_sources
from edgecost.costmodels.onboarding.kernel_transfer import plan_transfer, transfer
from edgecost.costmodels.predictor import LatencyPredictor
from edgecost.profiler.errors import GateError, UsageError
from edgecost.profiler.kernels.graph import Kernel
from edgecost.profiler.workload import Workload

#: How the new device differs, by family: in kind, not only in speed.
FACTORS = {"depthwise": 4.0, "convolution": 1.6, "product": 1.4, "move": 2.5, "map": 2.0}


@pytest.fixture(scope="module")
def kernels(cell_graphs: list[tuple[Kernel, ...]]) -> list[Kernel]:
    """Distinct kernels of real cells, in an order that says nothing."""
    distinct = {kernel.kernel_hash: kernel for graph in cell_graphs for kernel in graph}
    # The runtime writes the reorders that it inserts now in one order and now in another.
    found = [distinct[name] for name in sorted(distinct)]
    return [found[place] for place in np.random.default_rng(0).permutation(len(found))[:260]]


def sample(kernel: Kernel, latency_ms: float) -> Sample:
    workload = Workload(kernel.signature, "kernel", kernel.kernel_hash, b"")
    return Sample(workload, latency_ms, latency_ms, latency_ms, (latency_ms,), latency_ms, 7, is_network=False)


def source(name: str, kernels: Sequence[Kernel], latency_ms: np.ndarray) -> KernelSource:
    samples = tuple(sample(kernel, float(value)) for kernel, value in zip(kernels, latency_ms, strict=True))
    return KernelSource(name, samples, tuple((kernel,) for kernel in kernels), (), ())


def new_ms(kernels: Sequence[Kernel], known_ms: np.ndarray, seed: int = 1) -> np.ndarray:
    factor = np.array([FACTORS[family_of(kind_of(kernel) or "")] for kernel in kernels])
    return known_ms * factor * np.exp(0.03 * np.random.default_rng(seed).standard_normal(len(kernels)))


@pytest.fixture(scope="module")
def known_ms(kernels, law) -> np.ndarray:
    return np.array([20 * law.kernel_ms(kernel) for kernel in kernels])


def test_every_family_moves_by_its_own_factor(kernels, known_ms):
    columns = shift_columns(kernels)
    truth = np.log(new_ms(kernels, known_ms) / known_ms)
    rows = choose_kernels(columns, np.arange(len(kernels)), 30)
    shift = fit_shift(columns, rows, truth[rows])
    assert np.mean(np.abs(shift.log_ratio - truth)) < 0.1
    assert np.mean(np.abs(shift.common - truth)) > 0.2


@settings(deadline=None, max_examples=15)
@given(factor=st.floats(1e-3, 1e3), seed=st.integers(0, 100))
def test_another_unit_of_time_moves_everything_by_one_factor(kernels, factor, seed):
    columns = shift_columns(kernels)
    generator = np.random.default_rng(seed)
    rows = generator.choice(len(kernels), 15, replace=False)
    ratio = generator.normal(0, 0.3, 15)
    once, again = fit_shift(columns, rows, ratio), fit_shift(columns, rows, ratio + np.log(factor))
    assert again.log_ratio == pytest.approx(once.log_ratio + np.log(factor), abs=1e-9)
    assert again.log_evidence == pytest.approx(once.log_evidence, abs=1e-6)


def test_a_left_out_kernel_is_predicted_by_a_fit_without_it(kernels):
    """The closed form against the fit itself, where noise and deviations are known: the median is held by symmetry."""
    columns = shift_columns(kernels)
    rows = np.arange(21)
    ratio = np.random.default_rng(0).normal(0, 0.05, 21)
    ratio[20] = np.median(ratio[:20])
    whole = fit_shift(columns, rows, ratio)
    without = fit_shift(columns, rows[:20], ratio[:20])
    # The lattice's weights may differ a little: this sample took part in them.
    assert whole.loo[20] == pytest.approx(without.log_ratio[20], abs=0.02)


def test_one_disturbed_kernel_does_not_move_the_others(kernels):
    columns = shift_columns(kernels)
    rows = np.arange(20)
    ratio = 0.02 * np.random.default_rng(3).standard_normal(20)
    wild = ratio.copy()
    wild[4] = np.log(12.0)
    moved = fit_shift(columns, rows, wild).log_ratio - fit_shift(columns, rows, ratio).log_ratio
    assert np.median(np.abs(moved)) < 0.02


def test_equal_devices_have_no_shift_and_a_plan_has_no_chance_in_it(kernels):
    columns = shift_columns(kernels)
    rows = choose_kernels(columns, np.arange(len(kernels)), 20)
    assert len(set(rows.tolist())) == 20
    assert rows.tolist() == choose_kernels(columns, np.arange(len(kernels)), 20).tolist()
    assert choose_kernels(columns, np.arange(len(kernels)), 8).tolist() == rows[:8].tolist()
    assert fit_shift(columns, rows, np.zeros(20)).log_ratio == pytest.approx(0.0, abs=1e-9)


def test_the_plan_leaves_less_uncertain_than_a_draw(kernels):
    columns = shift_columns(kernels)
    middle = np.array([0.3, 0.3, 0.1, 0.05])[columns.group]
    features = columns.values * middle

    def left(rows: np.ndarray) -> float:
        gain = np.linalg.solve(features[rows] @ features[rows].T + 0.05**2 * np.eye(len(rows)), features[rows])
        return float(np.trace(features @ features.T) - np.trace(features @ features[rows].T @ gain @ features.T))

    planned = left(choose_kernels(columns, np.arange(len(kernels)), 20))
    drawn = [left(np.random.default_rng(seed).choice(len(kernels), 20, replace=False)) for seed in range(10)]
    assert planned < min(drawn)


@pytest.fixture(scope="module")
def made(kernels, known_ms, profile):
    shown = kernels[:200]
    known = source("known", shown, known_ms[:200])
    unlike = source("unlike", shown, known_ms[:200] * np.exp(np.random.default_rng(5).normal(0, 0.6, 200)))
    plan = plan_transfer([known, unlike], 30)
    truth = dict(zip((kernel.kernel_hash for kernel in kernels), new_ms(kernels, known_ms), strict=True))
    place = {kernel.kernel_hash: kernel for kernel in kernels}
    measured = [sample(place[one.graph_hash], float(truth[one.graph_hash])) for one in plan.workloads]
    return transfer([known, unlike], measured, [], profile), measured


def test_a_network_can_be_priced_after_thirty_kernels(made, kernels, known_ms):
    transferred, measured = made
    rest, truth = kernels[200:], new_ms(kernels, known_ms)[200:]
    prices = transferred.predictor.price([(kernel,) for kernel in rest])
    known = np.array([not price.is_lower_bound for price in prices])
    error = np.abs(np.array([price.total_ms for price in prices])[known] / truth[known] - 1)
    assert known.mean() > 0.9
    assert np.median(error) < 0.15
    alone = LatencyPredictor().fit(
        [(next(k for k in kernels if k.kernel_hash == one.workload.graph_hash),) for one in measured],
        [one.latency_ms for one in measured],
    )
    scratch = np.array([price.total_ms for price in alone.price([(kernel,) for kernel in rest])])
    assert np.median(error) < 0.5 * np.median(np.abs(scratch[known] / truth[known] - 1))


def test_the_evidence_chooses_the_device_that_it_is_like(made):
    transferred, _ = made
    assert transferred.weights == {"known": pytest.approx(1.0)}


def test_the_errors_are_those_of_kernels_that_were_left_out(made):
    transferred, measured = made
    errors = transferred.errors_percent
    assert transferred.kernels == len(measured)
    assert errors["shift"] < errors["one factor"] < errors["as it is"]
    assert len(transferred.predictor.scores_) == transferred.kernels
    assert transferred.predictor.network_scores_.size == 0


def test_intervals_of_kernels_hold_what_the_translation_gets_wrong(made, kernels, known_ms):
    transferred, _ = made
    rest, truth = kernels[200:], new_ms(kernels, known_ms)[200:]
    bounds = transferred.predictor.predict_interval([(kernel,) for kernel in rest])
    known = np.isfinite(bounds[:, 0])
    held = (bounds[known, 0] <= truth[known]) & (truth[known] <= bounds[known, 1])
    assert held.mean() > 0.75


def test_without_known_devices_or_common_kernels_nothing_is_made(kernels, known_ms, profile, notebook):
    assert kernel_sources(notebook.store, notebook.device, profile) == ([], [])
    with pytest.raises(UsageError, match="no other device"):
        plan_transfer([], 20)
    known = source("known", kernels[:120], known_ms[:120])
    others = [sample(kernel, 1.0) for kernel in kernels[120:160]]
    with pytest.raises(GateError, match="0 measured kernels are known"):
        transfer([known], others, [], profile)


def test_only_kernels_long_enough_to_be_timed_anywhere_are_planned(kernels, known_ms):
    short = known_ms[:120].copy()
    short[::2] = 0.001
    known = source("known", kernels[:120], short)
    lengths = {one.workload.graph_hash: one.latency_ms for one in known.samples}
    plan = plan_transfer([known], 40)
    assert len(plan.workloads) == 40
    assert sum(plan.kinds.values()) == 40
    assert min(lengths[one.graph_hash] for one in plan.workloads) > 0.005


def test_devices_whose_kernels_are_others_are_left_out_with_a_note(notebook, profile):
    other = replace(profile, graph_level="ORT_ENABLE_BASIC")
    few = replace(profile, threads=profile.threads + 1)
    for one in (other, few):
        notebook.store.put_profile(one)
        notebook.profile = one
        notebook.write(Workload("relu", "kernel", f"hash-{one.threads}", b""), 1.0, purpose="kernel")
    sources, notes = kernel_sources(notebook.store, notebook.device, profile)
    assert sources == []
    assert any("others than" in note for note in notes)
    assert any("too few" in note for note in notes)


def test_more_kernels_are_never_expected_to_make_it_worse_and_to_leave_what_the_trees_get_wrong(made, kernels) -> None:
    transferred, measured = made
    report = transferred.efficiency
    assert report.samples == len(measured)
    assert report.error_percent == pytest.approx(transferred.errors_percent["shift"])
    expected = [gain.error_percent for gain in report.gains]
    assert [gain.more for gain in report.gains] == [10, 20, 50, 100]
    assert min(expected) > 0
    assert expected == sorted(expected, reverse=True)
    assert max(expected) <= report.error_percent
    assert transferred.document()["efficiency"]["gains"][0]["more"] == 10


def test_what_is_expected_of_more_kernels_is_what_they_bring_where_the_model_is_right(kernels) -> None:
    """Ratios drawn from the prior itself: what is left after more rows is as large as was expected."""
    columns = shift_columns(kernels)
    generator, noise = np.random.default_rng(2), 0.05
    errors, expected = [], []
    for _ in range(12):
        effect = generator.normal(size=columns.values.shape[1]) * np.array([0.3, 0.1, 0.1, 0.05])[columns.group]
        ratio = columns.values @ effect + noise * generator.normal(size=len(kernels))
        few, many = np.arange(15), np.arange(60)
        expected.append(expected_deviation(columns, fit_shift(columns, few, ratio[few]), many))
        left = fit_shift(columns, many, ratio[many]).log_ratio[60:] - ratio[60:]
        errors.append(float(np.std(left)))
    assert np.mean(errors) == pytest.approx(np.mean(expected), rel=0.3)
