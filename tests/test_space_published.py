"""Spaces against what their authors published: sums of their tables are sums of our cells, parameters are as many."""

from __future__ import annotations

import math
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


def test_the_elastic_resnet_has_as_many_parameters_as_its_authors_count() -> None:
    """2,814,264 with what the super-network keeps to make smaller kernels and widths of the largest ones."""
    space = load_space("elastic-resnet")
    largest = {"depths": [3, 4, 6, 3], "expand_ratios": [1.0] * 16, "kernel_sizes": [5] * 16}
    network = space.build(space.encode([largest])[0])
    weights = sum(math.prod(weight.shape) for weight in network.weights)
    inputs = [16, 16, 16, 16, *[32] * 4, *[64] * 6, 128, 128]
    outputs = [*[16] * 3, *[32] * 4, *[64] * 6, *[128] * 3]
    # A folded norm is a bias; before, it has a scale too.
    norms = 16 + sum(2 * cin + out for cin, out in zip(inputs, outputs, strict=True)) + 32 + 64 + 128
    halves = [(max(8, cin // 2), max(8, cin // 4)) for cin in inputs]
    transforms = sum(81 + 1 + 2 * (half**2 + quarter**2) for half, quarter in halves)
    transforms += 2 * (16**2 + 32**2 + 64**2)
    assert weights + norms + transforms == 2_814_264
