"""Sample-efficiency: what the points of a learning curve are of, and where it ends."""

from __future__ import annotations

import numpy as np
import pytest

from edgecost.costmodels.dataset import load_samples, sample_kernels
from edgecost.costmodels.learning_curve import learning_curve
from edgecost.costmodels.predictor import LatencyPredictor
from edgecost.db import Store
from edgecost.profiler.kernels.graph import Kernel
from tests.conftest import KnownLaw
from tests.trained_store import CELLS, Trained


def test_each_point_doubles_the_graphs_and_judges_all_others(trained: Trained) -> None:
    curve = trained.report.card.curve
    sizes = [one.graphs for one in curve]
    assert sizes == [16, 32]
    assert sizes[-1] == round(CELLS * 0.8)  # what each of five folds trains on
    assert [one.accuracy.n for one in curve] == [CELLS - 16, CELLS]


def test_the_last_point_is_what_the_card_says_of_held_out_graphs(trained: Trained) -> None:
    last = trained.report.card.curve[-1]
    assert last.accuracy == trained.report.held_out
    assert last.unpriced == int(np.isnan(trained.report.predictor.held_out_ms_).sum())


def test_of_a_law_that_can_be_learnt_more_graphs_make_a_smaller_error(
    cell_graphs: list[tuple[Kernel, ...]], law: KnownLaw
) -> None:
    graphs = cell_graphs[:240]
    latency_ms = law.measured_ms(graphs, seed=0)
    few, *_, many = learning_curve(LatencyPredictor(rounds=40).fit(graphs, latency_ms), graphs, latency_ms)
    assert few.graphs * 8 == many.graphs
    assert many.accuracy.mape_percent < few.accuracy.mape_percent / 1.5


def test_the_curve_of_a_large_store_ends_where_folds_do(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(trained.store) as store:
        samples = load_samples(store, trained.setting.device.identity, trained.setting.profile)
    graphs = sample_kernels(samples, trained.setting.profile)
    kernels_max = sum(map(len, graphs)) // 2
    monkeypatch.setattr("edgecost.costmodels.training_size.FOLDED_KERNELS_MAX", kernels_max)
    monkeypatch.setattr("edgecost.costmodels.learning_curve.FOLDED_KERNELS_MAX", kernels_max)
    curve = learning_curve(trained.report.predictor, graphs, np.array([one.latency_ms for one in samples]))
    assert curve
    assert curve[-1].graphs < CELLS * 0.8
    assert curve[-1].accuracy.n == CELLS - curve[-1].graphs
