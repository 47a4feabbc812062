"""Intervals of 80, 90 and 95 % hold what they promise: on graphs, networks and architectures that were held out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edgecost.costmodels.cards.card_file import read_card
from edgecost.costmodels.cards.model_card import NOMINAL, coverages
from edgecost.costmodels.predictor import LatencyPredictor
from edgecost.costmodels.space_models.encoding import encode_cells
from edgecost.costmodels.space_models.space_model import SpaceModel
from edgecost.costmodels.space_models.space_model_file import load_space_model, save_space_model
from edgecost.profiler.kernels.graph import Kernel

DATA = Path(__file__).parents[2] / "shared" / "data"
SEEDS = (0, 1, 2)
Floats = npt.NDArray[np.float64]


def tolerance(nominal: float, calibrated: int, judged: int) -> float:
    """Four standard deviations of the coverage, of which the calibration has one part and the judging another."""
    return 4 * math.sqrt(nominal * (1 - nominal) * (1 / calibrated + 1 / judged))


def held(bounds: Floats, measured: Floats) -> float:
    return float(np.mean((bounds[:, 0] <= measured) & (measured <= bounds[:, 1])))


def halves(n: int, seed: int) -> tuple[list[int], list[int]]:
    order = np.random.default_rng(seed).permutation(n).tolist()
    return order[: n // 2], order[n // 2 :]


@pytest.fixture(scope="module")
def judged(cell_graphs, law) -> dict[float, float]:
    """Coverage of the cells that took no part, over all seeds; each half measured with noise of its own."""
    found: dict[float, list[float]] = {nominal: [] for nominal in NOMINAL}
    for seed in SEEDS:
        known, unknown = halves(len(cell_graphs), seed)
        train, test = [cell_graphs[i] for i in known], [cell_graphs[i] for i in unknown]
        predictor = LatencyPredictor(rounds=60, random_state=seed).fit(
            train, law.measured_ms(train, seed=seed, sigma=0.05)
        )
        measured = law.measured_ms(test, seed=100 + seed, sigma=0.05)
        for nominal, shares in found.items():
            shares.append(held(predictor.predict_interval(test, alpha=round(1 - nominal, 9)), measured))
    return {nominal: float(np.mean(shares)) for nominal, shares in found.items()}


@pytest.mark.parametrize("nominal", NOMINAL)
def test_graphs_of_a_known_law_that_took_no_part_fall_inside_as_often_as_promised(judged, cell_graphs, nominal) -> None:
    half = len(cell_graphs) // 2
    room = tolerance(nominal, half, half * len(SEEDS))
    assert judged[nominal] >= nominal - room
    # A model of all folds errs less than those that calibrated it: a little more is held, not all.
    assert judged[nominal] <= min(nominal + room + 0.03, 0.999)


def networks_of(graphs: Sequence[Sequence[Kernel]], count: int, seed: int) -> list[tuple[Kernel, ...]]:
    rng = np.random.default_rng(seed)
    picks = (rng.integers(0, len(graphs), 8) for _ in range(count))
    return [tuple(kernel for place in pick for kernel in graphs[place]) for pick in picks]


def test_whole_networks_that_took_no_part_fall_inside_as_often_as_promised(cell_graphs, law) -> None:
    count = 60
    known, unknown = networks_of(cell_graphs, count, 1), networks_of(cell_graphs, 4 * count, 2)
    graphs = [*cell_graphs, *known]
    truth = np.concatenate([law.true_ms(cell_graphs), 1.1 * law.measured_ms(known, seed=3, sigma=0.03)])
    marks = [False] * len(cell_graphs) + [True] * count
    predictor = LatencyPredictor(rounds=40).fit(graphs, truth, is_network=marks)
    measured = 1.1 * law.measured_ms(unknown, seed=4, sigma=0.03)
    for nominal in NOMINAL:
        share = held(predictor.predict_interval(unknown, alpha=round(1 - nominal, 9), network=True), measured)
        assert abs(share - nominal) <= tolerance(nominal, count, len(unknown))


def test_the_cards_figure_is_that_of_exchangeable_errors_whatever_their_law() -> None:
    rng = np.random.default_rng(5)
    n, trials = 200, 60
    found: dict[float, list[float]] = {nominal: [] for nominal in NOMINAL}
    for trial in range(trials):
        scores = (np.abs(rng.standard_normal(n)), rng.exponential(size=n), np.abs(rng.standard_t(2, n)))[trial % 3]
        for one in coverages(scores, np.arange(n) % 5):
            assert one.n == n
            assert one.held is not None
            found[one.nominal].append(one.held)
    for nominal, shares in found.items():
        assert np.mean(shares) == pytest.approx(nominal, abs=tolerance(nominal, n * trials, n * trials) + 0.005)


@pytest.mark.skipif(
    not (DATA / "nasbench201_latency.npz").is_file(), reason="the published measurements are not beside the repository"
)
@pytest.mark.parametrize("device", ["1080ti_1", "silver_4210r"])
def test_published_architectures_that_took_no_part_fall_inside_as_often_as_promised(device, tmp_path) -> None:
    """HELP's NAS-Bench-201: 150 train, 1,500 others judge, and the card's own figure agrees with theirs."""
    data = np.load(DATA / "nasbench201_latency.npz", allow_pickle=False)
    encoding = encode_cells(data["ops"], data["edges"])
    latency = data["latency"][:, data["devices"].tolist().index(device)].astype(np.float64)
    rows = np.random.default_rng(11).permutation(np.flatnonzero(~encoding.degenerate & (latency > 0)))
    known, unknown = rows[:150], rows[150:1650]
    save_space_model(SpaceModel().fit(encoding.take(known), latency[known]), tmp_path)
    model, _ = load_space_model(tmp_path)
    card = read_card(tmp_path)
    assert card is not None
    for one in card.coverage:
        share = held(model.predict_interval(encoding.take(unknown), round(1 - one.nominal, 9)), latency[unknown])
        room = tolerance(one.nominal, len(known), len(unknown))
        assert abs(share - one.nominal) <= room
        assert one.held is not None
        assert abs(share - one.held) <= room + tolerance(one.nominal, len(known), len(known))
