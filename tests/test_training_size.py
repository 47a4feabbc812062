"""Large stores: a part trains, another judges, and neither a kind nor a graph is lost by it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecost.costmodels import training_size
from edgecost.costmodels.predictor import LatencyPredictor
from edgecost.costmodels.training_size import is_large, split_large
from edgecost.profiler.errors import UsageError
from edgecost.profiler.kernels.graph import Kernel

SHAPELESS = Kernel("Add", ((1, 8), None), (), ((1, 8),))


@pytest.fixture
def small_limits(monkeypatch) -> None:
    """A hundredth of everything, so that the cells of the spaces are many."""
    for name in ("FOLDED_KERNELS_MAX", "TRAINED_KERNELS_MAX", "JUDGED_KERNELS_MAX"):
        monkeypatch.setattr(training_size, name, getattr(training_size, name) // 200)
    monkeypatch.setattr(training_size, "KIND_KERNELS_MIN", 5)


graphs_of_kinds = st.lists(st.lists(st.sampled_from("aaaabbbcd"), min_size=1, max_size=4), min_size=1, max_size=200)


@settings(max_examples=60, deadline=None)
@given(kinds=graphs_of_kinds, seed=st.integers(0, 9), trained_max=st.integers(1, 200), judged_max=st.integers(1, 50))
def test_no_graph_trains_and_judges_and_what_judges_can_be_priced(kinds, seed, trained_max, judged_max) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_size, "TRAINED_KERNELS_MAX", trained_max)
        patch.setattr(training_size, "JUDGED_KERNELS_MAX", judged_max)
        patch.setattr(training_size, "KIND_KERNELS_MIN", 3)
        split = split_large(kinds, seed)
    trained, judged = split.trained.tolist(), split.judged.tolist()
    assert len({*trained, *judged}) == len(trained) + len(judged)
    assert {kind for graph in judged for kind in kinds[graph]} <= {kind for graph in trained for kind in kinds[graph]}
    assert sum(len(kinds[graph]) for graph in judged) <= judged_max


def test_a_rare_kind_trains_among_a_million(monkeypatch) -> None:
    monkeypatch.setattr(training_size, "TRAINED_KERNELS_MAX", 1000)
    kinds = [["rare"] if place % 1000 == 0 else ["usual"] for place in range(50_000)]
    training = Counter(kinds[graph][0] for graph in split_large(kinds, 0).trained)
    assert training["rare"] >= 30
    assert sum(training.values()) == 1000


def test_a_store_is_large_by_its_kernels() -> None:
    assert not is_large([training_size.FOLDED_KERNELS_MAX])
    assert is_large([training_size.FOLDED_KERNELS_MAX, 1])


def test_a_large_store_is_learnt_in_part_and_its_interval_holds(cell_graphs, law, small_limits) -> None:
    graphs = [(kernel,) for graph in cell_graphs for kernel in graph]
    measured = law.measured_ms(graphs, seed=4)
    made = LatencyPredictor(rounds=100).fit(graphs, measured)
    known = np.isfinite(made.held_out_ms_)
    assert 50 <= known.sum() <= 100
    assert np.array_equal(known, made.fold_ >= 0)
    assert len(made.scores_) == known.sum()
    assert set(made.fold_[known].tolist()) == set(range(5))
    inside = made.predict_interval(graphs)
    assert 0.8 <= np.mean((inside[:, 0] <= measured) & (measured <= inside[:, 1])) <= 1.0
    again = LatencyPredictor(rounds=100).fit(graphs, measured)
    assert made.booster_.model_to_string() == again.booster_.model_to_string()


def test_a_kernel_without_a_price_is_refused_wherever_it_would_have_gone(cell_graphs, law, small_limits) -> None:
    graphs = [*cell_graphs, (SHAPELESS,)]
    with pytest.raises(UsageError, match="kernel without a price"):
        LatencyPredictor(rounds=1).fit(graphs, np.ones(len(graphs)))
