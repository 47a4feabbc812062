"""Intervals by kernel: wide where the predictor is far off, narrow where it is not, and right on the whole."""

from __future__ import annotations

import numpy as np
import pytest

from edgecost.costmodels.error_spread import GRAPHS_MIN, fit_spread, judged_spread, spread_of_graphs, tells_apart
from edgecost.costmodels.features import FEATURES, feature_matrix
from edgecost.costmodels.kernel_work import kind_of
from edgecost.costmodels.predictor import LatencyPredictor
from edgecost.profiler.kernels.graph import Kernel

Graphs = list[tuple[Kernel, ...]]
#: Noise of the two kinds on a log scale: of a quiet one and of a wild one.
QUIET, WILD = 0.01, 0.25


def one(name: str, channels: int, side: int) -> tuple[Kernel, ...]:
    shape = (1, channels, side, side)
    return (Kernel(name, (shape, shape), (), (shape,)),)


def graphs(seed: int, count: int) -> Graphs:
    random = np.random.default_rng(seed)
    return [
        one(str(random.choice(["Add", "Relu"])), int(random.integers(4, 200)), int(random.integers(4, 60)))
        for _ in range(count)
    ]


def measured(made: Graphs, seed: int) -> np.ndarray:
    """A law of bytes, with noise that depends on the kind."""
    random = np.random.default_rng(seed)
    noise = np.array([QUIET if graph[0].op == "Add" else WILD for graph in made])
    size = np.array([np.prod(graph[0].outputs[0]) for graph in made], dtype=np.float64)
    return (0.002 + 1e-6 * size) * np.exp(noise * random.standard_normal(len(made)))


@pytest.fixture(scope="module")
def fitted() -> LatencyPredictor:
    made = graphs(1, 500)
    return LatencyPredictor(rounds=100).fit(made, measured(made, 2))


def covered(predictor: LatencyPredictor, name: str, alpha: float) -> float:
    fresh = [graph for graph in graphs(3, 800) if graph[0].op == name]
    low, high = predictor.predict_interval(fresh, alpha=alpha).T
    truth = measured(fresh, 4)
    return float(np.mean((low <= truth) & (truth <= high)))


@pytest.mark.parametrize("alpha", [0.2, 0.1, 0.05])
def test_each_kind_holds_about_what_is_promised_though_their_errors_differ_tenfold(fitted, alpha) -> None:
    for name in ("Add", "Relu"):
        assert covered(fitted, name, alpha) == pytest.approx(1 - alpha, abs=0.09)


def test_the_wild_kind_has_the_wider_intervals(fitted) -> None:
    quiet, wild = (fitted.price([one(name, 64, 28)])[0] for name in ("Add", "Relu"))
    assert np.log(wild.hi_ms / wild.lo_ms) > 4 * np.log(quiet.hi_ms / quiet.lo_ms)


def test_a_kernel_of_a_graph_has_the_interval_that_it_has_alone(fitted) -> None:
    both = fitted.price([(*one("Add", 64, 28), *one("Relu", 8, 8))])[0]
    for kernel in both.kernels:
        alone = fitted.price([(kernel.kernel,)])[0]
        assert (kernel.lo_ms, kernel.hi_ms) == pytest.approx((alone.lo_ms, alone.hi_ms))
    assert both.lo_ms < both.total_ms < both.hi_ms


def test_with_few_graphs_all_kernels_have_intervals_of_one_width() -> None:
    made = graphs(5, GRAPHS_MIN - 1)
    predictor = LatencyPredictor(rounds=20).fit(made, measured(made, 6))
    assert predictor.spread_.trees is None
    widths = {round(float(np.log(price.hi_ms / price.lo_ms)), 9) for price in predictor.price(made[:20])}
    assert len(widths) == 1


def test_errors_are_told_apart_from_a_hundred_on_and_missing_ones_count_for_nothing() -> None:
    errors = np.full(GRAPHS_MIN, 0.1)
    assert tells_apart(errors)
    errors[0] = np.nan
    assert not tells_apart(errors)


def test_what_judges_a_graph_has_not_seen_the_errors_of_its_fold() -> None:
    made = graphs(7, 300)
    kernels = [graph[0] for graph in made]
    kinds = [float(kind_of(kernel) == "Add") for kernel in kernels]
    features = np.column_stack([kinds, feature_matrix(kernels)])
    assert features.shape == (300, 1 + len(FEATURES))
    errors, fold = np.abs(np.random.default_rng(8).standard_normal(300)), np.arange(300) % 5
    ones, graph = np.ones(300), np.arange(300)
    before = judged_spread(features, ones, graph, errors, fold, 0)
    changed = np.where(fold == 2, 100.0, errors)
    after = judged_spread(features, ones, graph, changed, fold, 0)
    np.testing.assert_array_equal(before[fold == 2], after[fold == 2])
    assert (before[fold != 2] != after[fold != 2]).any()


def test_the_spread_of_a_sum_is_that_of_its_parts_by_their_share() -> None:
    found = spread_of_graphs(np.array([0.1, 0.3, 0.2]), np.array([3.0, 1.0, 5.0]), np.array([0, 0, 1]), 3)
    np.testing.assert_allclose(found, [0.15, 0.2, 1.0])


def test_equal_errors_give_equal_trees() -> None:
    made = graphs(9, 150)
    features = np.column_stack([np.zeros(150), feature_matrix([graph[0] for graph in made])])
    errors, rows = np.linspace(0.01, 0.5, 150), np.arange(150)
    one_of, other = (fit_spread(features, np.ones(150), rows, errors, 3).of(features) for _ in range(2))
    np.testing.assert_array_equal(one_of, other)
