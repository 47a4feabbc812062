"""The spaces of Once-for-All's Proxyless variant, FBNet on CIFAR, Single-Path NAS, and a single network as a space."""

from __future__ import annotations

import math

import numpy as np
import onnxruntime
import pytest

from edgecost.costmodels.cell_macs import workload_macs
from edgecost.costmodels.lut_formats.keys import ratio_key
from edgecost.costmodels.space import Space
from edgecost.costmodels.space_file import load_space
from edgecost.profiler.weights import complete

NEW = ("fbnet-cifar", "mnasnet-a1", "mobilenetv3-large", "ofa-proxyless", "singlepath-nas")


@pytest.mark.parametrize(
    ("name", "positions", "cells", "measurable", "fixed"),
    [
        ("ofa-proxyless", 21, 103, 103, 4),
        ("singlepath-nas", 20, 51, 46, 6),
        ("fbnet-cifar", 22, 112, 106, 4),
        ("mobilenetv3-large", 0, 17, 17, 20),
        ("mnasnet-a1", 0, 15, 15, 19),
    ],
)
def test_counts(name: str, positions: int, cells: int, measurable: int, fixed: int) -> None:
    made = load_space(name)
    found = (len(made.positions), len(made.cells), len(made.measurable), len(made.fixed))
    assert found == (positions, cells, measurable, fixed)


def test_ofa_proxyless_measures_1291_blocks_for_25_sizes() -> None:
    keys = {cell.key for size in range(128, 225, 4) for cell in load_space("ofa-proxyless", resolution=size).cells}
    assert len(keys) == 1291


def test_channels_of_ofa_proxyless_at_width_1_3() -> None:
    made = load_space("ofa-proxyless")
    starts = [0, 4, 8, 12, 16, 20]
    outs = [cell.output_shape[1] for cell in made.fixed[:2]]
    outs += [made.positions[start].cells[0].output_shape[1] for start in starts]
    outs.append(made.fixed[2].output_shape[1])
    assert outs == [40, 24, 32, 56, 104, 128, 248, 416, 1664]
    assert [made.positions[start].cells[0].spec.stride for start in starts] == [2, 2, 2, 1, 2, 1]


def test_the_first_block_of_ofa_proxyless_has_neither_expansion_nor_shortcut() -> None:
    first = load_space("ofa-proxyless").fixed[1]
    assert (first.spec.expands, first.spec.adds(first.input_shape)) == (False, False)
    assert ratio_key(first).endswith("expand:1-kernel:3-stride:1-idskip:0")


def test_ofa_proxyless_has_five_elastic_stages_and_one_last_block() -> None:
    made = load_space("ofa-proxyless")
    assert made.size == (9**2 + 9**3 + 9**4) ** 5 * 9
    arch = {"ks": [3] * 21, "e": [6] * 21, "d": [2, 3, 4, 2, 4], "r": [224]}
    assert made.decode(made.encode([arch]))[0]["d"] == [2, 3, 4, 2, 4]  # type: ignore[call-overload]


def test_single_path_skips_fifteen_blocks_that_keep_their_shape() -> None:
    made = load_space("singlepath-nas")
    assert [len(position.names) for position in made.positions] == [4, 5, 5, 5] * 5
    assert made.positions[0].names == ("kernel3-expand3", "kernel3-expand6", "kernel5-expand3", "kernel5-expand6")


def test_fbnet_on_cifar_shares_no_cell_with_fbnet_on_imagenet() -> None:
    small, large = ({cell.key for cell in load_space(name).cells} for name in ("fbnet-cifar", "fbnet"))
    assert small.isdisjoint(large)
    strides = [load_space("fbnet-cifar").positions[start].cells[0].spec.stride for start in (0, 1, 5, 9, 13, 17, 21)]
    assert strides == [1, 1, 2, 2, 1, 2, 1]


def test_mobilenetv3_large_is_the_network_of_its_paper() -> None:
    made = load_space("mobilenetv3-large")
    blocks = [cell for cell in made.fixed if cell.spec.block == "inverted_residual"]
    mids = [16, 64, 72, 72, 120, 120, 240, 200, 184, 184, 480, 672, 672, 960, 960]
    assert [cell.spec.mid for cell in blocks] == mids
    assert [bool(cell.spec.squeeze) for cell in blocks] == [False] * 3 + [True] * 3 + [False] * 4 + [True] * 5
    assert made.size == 1
    # Paper, table 3: 219 million multiply-adds, of the whole network with its pointwise additions left out.
    assert workload_macs(made.build(made.sample(1, 0)[0])) == pytest.approx(219e6, rel=0.02)


def test_mnasnet_a1_is_the_network_of_its_paper() -> None:
    made = load_space("mnasnet-a1")
    network = made.build(made.sample(1, 0)[0])
    # Paper, table 1: 312 million multiply-adds and 3.9 million parameters, which other code counts as 3,887,038.
    assert workload_macs(network) == pytest.approx(312e6, rel=0.02)
    weights = sum(math.prod(weight.shape) for weight in network.weights)
    # A folded norm is a bias; before, it has a scale too.
    blocks = [cell.spec for cell in made.fixed if cell.spec.block == "inverted_residual"]
    assert weights + 32 + 1280 + sum(block.mid * (1 + block.expands) + block.out for block in blocks) == 3_887_038
    assert [block.squeeze for block in blocks if block.squeeze] == [6, 10, 10, 20, 28, 28, 40, 40]


@pytest.mark.parametrize("name", NEW)
def test_equal_keys_are_equal_graphs_and_different_keys_different_ones(name: str) -> None:
    made = load_space(name)
    hashes = [workload.graph_hash for cell in made.measurable if (workload := made.workload(cell)) is not None]
    assert len(hashes) == len(set(hashes)) == len(made.measurable)


@pytest.mark.parametrize("name", NEW)
def test_a_random_network_runs_in_onnx_runtime(name: str) -> None:
    made: Space = load_space(name)
    network = made.build(made.sample(1, 3)[0])
    session = onnxruntime.InferenceSession(complete(network.skeleton, network.weights))
    (output,) = session.run(None, {session.get_inputs()[0].name: np.zeros(made.input_shape, np.float32)})
    assert output.shape == made.cells_of(made.sample(1, 3)[0])[-1].output_shape
    assert np.isfinite(output).all()
