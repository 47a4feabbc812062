"""Published sums over somebody's lookup table are sums over the cells of our space: the two have the same blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgecost.costmodels.space_file import load_space

DATA = Path(__file__).parents[2] / "shared" / "data" / "fbnet_latency.npz"


@pytest.mark.skipif(not DATA.exists(), reason="the published measurements are not there")
@pytest.mark.parametrize(
    ("device", "is_sum"), [("pixel3", True), ("eyeriss", True), ("fpga", True), ("silver_4114", False)]
)
def test_hw_nas_benchs_sums_over_its_table_are_sums_over_the_cells_of_fbnet_on_cifar(device: str, is_sum: bool) -> None:
    space = load_space("fbnet-cifar")
    with np.load(DATA, allow_pickle=False) as data:
        archs = data["ops"].astype(np.int16)
        published_ms = data["latency"][:, data["devices"].tolist().index(device)].astype(np.float64)
    uses = space.uses(archs)
    cells_ms, *_ = np.linalg.lstsq(uses[:3000], published_ms[:3000], rcond=None)
    error = np.abs(uses[3000:] @ cells_ms / published_ms[3000:] - 1)
    # A sum is found again to the float32 that it is stored in; a measurement is not.
    assert (float(error.max()) < 1e-5) == is_sum
