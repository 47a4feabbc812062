"""The model of a space on published measurements; benchmarks/space_accuracy.py prints the figures that count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgecost.costmodels.space_models.encoding import encode_cells, encode_layers
from edgecost.costmodels.space_models.space_model import SpaceModel

DATA = Path(__file__).parents[2] / "shared" / "data"

pytestmark = pytest.mark.skipif(
    not (DATA / "latbench_desktop_cpu.npz").is_file(), reason="the published measurements are not beside the repository"
)


def test_300_measurements_of_a_parallel_desktop_cpu_predict_95_of_100_networks_to_within_ten_per_cent() -> None:
    """LatBench's i7-7820X; BRP-NAS reports 96.4 from 900."""
    space = np.load(DATA / "nasbench201_latency.npz", allow_pickle=False)
    latency = np.load(DATA / "latbench_desktop_cpu.npz", allow_pickle=False)["latency"][:, 0].astype(np.float64)
    encoding = encode_cells(space["ops"], space["edges"])
    np.testing.assert_array_equal(encoding.degenerate, np.isnan(latency))
    rows = np.random.default_rng(0).permutation(np.flatnonzero(~encoding.degenerate))
    model = SpaceModel().fit(encoding.take(rows[:300]), latency[rows[:300]])
    relative = np.abs(model.predict(encoding.take(rows[300:])) / latency[rows[300:]] - 1)
    assert np.mean(relative <= 0.10) > 0.95
    assert np.mean(relative <= 0.05) > 0.75


def test_a_hundred_measurements_of_an_additive_accelerator_suffice_on_fbnet() -> None:
    """198 blocks, 100 networks: more unknowns than measurements, and sums over a table by construction."""
    space = np.load(DATA / "fbnet_latency.npz", allow_pickle=False)
    encoding = encode_layers(space["ops"], space["layers"], space["macs_lut"])
    latency = space["latency"][:, space["devices"].tolist().index("eyeriss")].astype(np.float64)
    rows = np.random.default_rng(1).permutation(len(latency))
    model = SpaceModel().fit(encoding.take(rows[:100]), latency[rows[:100]])
    relative = np.abs(model.predict(encoding.take(rows[100:])) / latency[rows[100:]] - 1)
    assert model.report().expert == "table"
    assert relative.mean() < 0.03
