"""Trees trained on sums: the loss goes down, also where one leaf holds most of a graph."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecost.costmodels.trees.boosting import BoostingSettings, boost

FEW = BoostingSettings(rounds=40)


def problem(seed: int, graphs: int, kernels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Kernels with features, base prices, graphs, and latencies that differ from the sums by features and noise."""
    rng = np.random.default_rng(seed)
    n = graphs * kernels
    features = np.column_stack([rng.integers(0, 3, n).astype(np.float64), rng.random((n, 3))])
    base = rng.lognormal(0, 1, n)
    graph = np.repeat(np.arange(graphs), kernels)
    price = base * np.exp(np.where(features[:, 1] > 0.5, 0.8, -0.4))
    latency = np.bincount(graph, price) * rng.lognormal(0, 0.3, graphs)
    return features, base * np.median(latency / np.bincount(graph, base)), graph, latency


def loss(scores: np.ndarray, base: np.ndarray, graph: np.ndarray, latency: np.ndarray) -> float:
    return float((np.log(np.bincount(graph, base * np.exp(scores)) / latency) ** 2).sum())


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 1000), st.integers(10, 40), st.integers(1, 60))
def test_no_round_makes_the_loss_larger(seed: int, graphs: int, kernels: int) -> None:
    features, base, graph, latency = problem(seed, graphs, kernels)
    trees = boost(features, base, graph, latency, FEW, 0)
    losses = [loss(np.zeros(len(base)), base, graph, latency)]
    losses += [loss(trees.predict(features, num_iteration=n), base, graph, latency) for n in range(1, FEW.rounds + 1)]
    assert (np.diff(losses) <= 1e-9 * losses[0]).all()
    assert losses[-1] <= losses[0]


def test_sixty_kernels_in_one_leaf_do_not_overshoot() -> None:
    """All kernels of a graph are alike, so that each tree gives them one score; the truth is a factor of 3 or of ⅓."""
    graph = np.repeat(np.arange(20), 60)
    features = np.zeros((1200, 4))
    features[:, 1] = graph % 2
    factor = np.where(np.arange(20) % 2, 3.0, 1 / 3)
    trees = boost(features, np.ones(1200), graph, 60 * factor, BoostingSettings(), 0)
    np.testing.assert_allclose(np.exp(trees.predict(features)), factor[graph], rtol=0.05)


def test_a_roofline_a_thousandfold_off_on_either_side_is_corrected() -> None:
    features, base, graph, latency = problem(5, 40, 6)
    features[:, 2] = graph % 2
    wrong = base * np.where(graph % 2, 1e3, 1e-3)
    scores = boost(features, wrong, graph, latency, BoostingSettings(rounds=400), 0).predict(features)
    assert np.isfinite(scores).all()
    assert loss(scores, wrong, graph, latency) < 0.02 * loss(np.zeros(240), wrong, graph, latency)


def test_equal_seeds_give_equal_trees_to_the_last_bit_and_other_seeds_others() -> None:
    features, base, graph, latency = problem(6, 30, 4)
    texts = [boost(features, base, graph, latency, FEW, seed).model_to_string() for seed in (0, 0, 1)]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


def test_what_the_features_say_is_learned_from_sums_alone() -> None:
    features, base, graph, _ = problem(7, 200, 4)
    factor = np.where(features[:, 1] > 0.5, 2.0, 0.5)
    latency = np.bincount(graph, base * factor)
    trees = boost(features, base, graph, latency, BoostingSettings(), 0)
    found = np.exp(trees.predict(features))
    assert np.median(np.abs(found / factor - 1)) < 0.05


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_milliseconds_or_seconds_make_no_difference(scale: float) -> None:
    features, base, graph, latency = problem(8, 30, 4)
    one = boost(features, base, graph, latency, FEW, 0).predict(features)
    other = boost(features, scale * base, graph, scale * latency, FEW, 0).predict(features)
    np.testing.assert_allclose(other, one, atol=1e-6)
