"""What predictions are worth: agreement, its floor and its naive rival."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from edgecost.costmodels.dataset import Sample
from edgecost.costmodels.validation import (
    accuracy,
    flops_baseline,
    repeatability,
    repeatability_radius,
    sessions_agree,
)
from edgecost.profiler.kernels.graph import Kernel
from edgecost.profiler.workload import Workload


def sample(*sessions_ms: float) -> Sample:
    return Sample(Workload("w", "block", "0" * 64, b""), 1.0, 1.0, 1.0, sessions_ms, 1.0, 1, False)


def test_errors_are_shares_of_the_measured_value() -> None:
    found = accuracy([1.01, 2.08, 2.7, 8.0], [1.0, 2.0, 3.0, 4.0])
    assert found is not None
    assert found.n == 4
    assert found.mape_percent == pytest.approx((1 + 4 + 10 + 100) / 4)
    assert found.worst_percent == pytest.approx(100)
    assert (found.within_2, found.within_5) == (0.25, 0.5)
    assert found.within_10 == pytest.approx(0.75)
    assert found.spearman == pytest.approx(1.0)


def test_a_graph_without_a_prediction_misses_every_band_but_has_no_error() -> None:
    found = accuracy([1.0, np.nan, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0])
    assert found is not None
    assert (found.n, found.mape_percent, found.within_10) == (4, 0.0, 0.75)
    assert found.spearman == pytest.approx(1.0)


@pytest.mark.parametrize(("guess", "truth"), [([], []), ([np.nan], [1.0]), ([np.inf, np.nan], [1.0, 2.0])])
def test_nothing_to_compare_is_no_accuracy(guess: list[float], truth: list[float]) -> None:
    assert accuracy(guess, truth) is None


@pytest.mark.parametrize(
    ("guess", "truth"),
    [([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]), ([1.0, 2.0, 3.0], [2.0, 2.0, 2.0]), ([1.0, 2.0], [1.0, 2.0])],
)
def test_where_there_is_no_ranking_there_is_no_rank_correlation_and_no_nan(
    guess: list[float], truth: list[float]
) -> None:
    found = accuracy(guess, truth)
    assert found is not None
    assert found.spearman is None
    json.dumps(asdict(found), allow_nan=False)


def test_the_floor_compares_the_first_two_sessions() -> None:
    found = repeatability([sample(1.0, 1.1, 9.0), sample(2.0, 1.9), sample(5.0)])
    assert found is not None
    assert found.n == 2
    assert found.mape_percent == pytest.approx((10 + 5) / 2)


def test_without_repetitions_there_is_no_floor() -> None:
    assert repeatability([sample(1.0), sample(2.0)]) is None
    assert repeatability_radius([sample(1.0)]) is None


def test_nine_tenths_of_the_graphs_repeat_within_the_radius() -> None:
    samples = [sample(1.0, 1.0 + share / 100) for share in range(100)]
    radius = repeatability_radius(samples)
    assert radius is not None
    assert np.mean([second / first - 1 <= radius + 1e-12 for s in samples for first, second in [s.sessions_ms]]) >= 0.9
    assert radius == pytest.approx(0.9, abs=0.011)


def test_the_baseline_finds_a_line_through_flops_and_never_sees_its_own_fold() -> None:
    sizes = np.arange(1, 21) * 1e5
    graphs = [(Kernel("Relu", ((int(size),),), (), ((int(size),),)),) for size in sizes]
    latency = 0.5 + 2.0 * sizes / 1e6
    fold = np.arange(20) % 5
    np.testing.assert_allclose(flops_baseline(graphs, latency, fold), latency)
    spoilt = latency.copy()
    spoilt[fold == 0] = 100.0
    np.testing.assert_allclose(flops_baseline(graphs, spoilt, fold)[fold == 0], latency[fold == 0])


def test_sessions_agree_when_any_two_of_them_are_close() -> None:
    assert sessions_agree([5.65, 5.26, 5.28], 0.02)
    assert not sessions_agree([5.65, 5.26, 5.45], 0.02)
    assert not sessions_agree([5.26], 0.02)
    assert not sessions_agree([], 0.02)
