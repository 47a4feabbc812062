"""Rows that were published, through our tables and readers: the number under a key is the number that was published.

Whole published tables are not in the repository; these rows stand in their authors' papers, pages and examples.
"""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgecost.costmodels.arch_formats import arch_format
from edgecost.costmodels.arch_formats.costs import About, Costs
from edgecost.costmodels.arch_formats.networks import benchmark_networks
from edgecost.costmodels.lut import Lut
from edgecost.costmodels.lut_formats import lut_format
from edgecost.costmodels.lut_formats.contract import checksum_lut
from edgecost.costmodels.space import Space
from edgecost.costmodels.space_file import load_space
from tests.ofa_reader import OfaTable

DATA = Path(__file__).parents[2] / "shared" / "data" / "nasbench201_latency.npz"

#: Once-for-All, Note 10, 224 pixels, width 1.2: our cell, their key, milliseconds.
OFA = (
    ("conv-224x224x3-112x112x24-k3-s2-hard_swish", "Conv-input:224x224x3-output:112x112x24", 0.994418),
    (
        "inverted_residual-112x112x24-56x56x32-k3-s2-m144-relu",
        "expanded_conv-input:112x112x24-output:56x56x32-expand:144-kernel:3-stride:2-idskip:0-se:0-hs:0",
        4.8122,
    ),
)
#: APQ, BitFusion, four bits: our cell, their key, millijoules, milliseconds.
APQ = (
    ("conv-14x14x96-14x14x456-k1-s1-relu6", "(96, 456, 14, 1, 1, 0, 1)-W4A4", 0.106882, 0.062192),
    (
        "depthwise-14x14x488-14x14x488-kernel3-stride1-act-relu6",
        "(488, 488, 14, 3, 1, 1, 488)-W4A4",
        0.165642,
        0.089792,
    ),
)
#: APQ's head and tail, which are sums of our cells.
HEAD, TAIL = (0.506184, 0.295904), (0.151808, 0.081608)
#: HW-NAS-Bench, NAS-Bench-201, index 0 on CIFAR-10, milliseconds.
CELL_0 = {"raspi4": 10.4820, "pixel3": 3.60585, "fpga": 2.57296}


def with_rows(lut: Lut, rows: dict[str, tuple[float, float]]) -> Lut:
    """The table with other milliseconds and millijoules in some rows."""
    assert set(rows) <= set(lut.keys)
    return Lut.from_cells(
        [
            replace(row, latency_ms=rows[row.key][0], energy_mj=rows[row.key][1]) if row.key in rows else row
            for row in lut.cells
        ],
        lut.provenance,
    )


def test_rows_of_once_for_alls_published_table_are_read_again(tmp_path: Path) -> None:
    space = load_space("ofa-mobilenetv3", width=1.2)
    lut = with_rows(checksum_lut(space), {cell: (value, 1.0) for cell, _, value in OFA})
    table = OfaTable(lut_format("ofa").write(lut, space, tmp_path)[0])
    assert [table.rows[key]["mean"] for _, key, _ in OFA] == [value for *_, value in OFA]


def test_rows_of_apqs_published_table_are_read_again_head_and_tail_too(tmp_path: Path) -> None:
    space = load_space("apq")
    rows = {cell: (latency_ms, energy_mj) for cell, _, energy_mj, latency_ms in APQ}
    rows |= halves(space, ("stem", "first"), HEAD) | halves(space, ("final", "classifier"), TAIL)
    file = lut_format("apq").write(with_rows(checksum_lut(space), rows), space, tmp_path)[0]
    table = json.loads(file.read_text())
    for _, key, energy_mj, latency_ms in APQ:
        assert table[key] == {"energy": energy_mj, "latency": latency_ms}
    for name, (energy_mj, latency_ms) in (("head", HEAD), ("tail", TAIL)):
        assert table[name] == {"energy": pytest.approx(energy_mj), "latency": pytest.approx(latency_ms)}


def halves(space: Space, layers: tuple[str, str], published: tuple[float, float]) -> dict[str, tuple[float, float]]:
    """A published sum, split between the two cells that it is of."""
    energy_mj, latency_ms = published
    keys = [cell.key for cell in space.fixed if cell.layer in layers]
    assert len(keys) == 2
    return dict.fromkeys(keys, (latency_ms / 2, energy_mj / 2))


@pytest.mark.skipif(not DATA.exists(), reason="the published measurements are not there")
@pytest.mark.parametrize("device", CELL_0)
def test_the_first_network_of_hw_nas_bench_has_its_published_latency(tmp_path: Path, device: str) -> None:
    with np.load(DATA, allow_pickle=False) as data:
        published_ms = data["latency"][:, data["devices"].tolist().index(device)].astype(np.float64)
    costs = Costs("latency", "ms", published_ms)
    file = arch_format("hw-nas-bench-201").write(benchmark_networks(), [costs], tmp_path, About(device, "published"))[0]
    table = pickle.loads(file.read_bytes())["nasbench201"]["cifar10"]  # noqa: S301 - what was just written
    (slot,) = [name for name, column in table.items() if name != "config" and not math.isnan(column[0])]
    # Published with four to six digits.
    assert table[slot][0] == pytest.approx(CELL_0[device], rel=2e-5)
    assert table["config"][0]["arch_str"].startswith("|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|")
