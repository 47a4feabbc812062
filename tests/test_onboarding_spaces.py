"""Architectures of chains and of NAS-Bench-201: names, columns and graphs say the same."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecost.costmodels.onboarding.arch_space import arch_text, open_arch_space
from edgecost.costmodels.onboarding.cell_space import EDGES, OP_NAMES, NasBench201
from edgecost.costmodels.onboarding.chain_space import ABSENT, ChainSpace
from edgecost.profiler.errors import UsageError
from edgecost.profiler.precision.macs import count_macs
from edgecost.profiler.weights import complete

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
CELLS = NasBench201()
CHAINS = {name: open_arch_space(name, pool=20) for name in ("fbnet", "ofa-mobilenetv3", "proxylessnas")}


@pytest.mark.skipif(not (DATA / "nb201_order.txt").exists(), reason="the published order is not here")
def test_the_order_of_the_cells_is_the_published_one():
    lines = [line for line in (DATA / "nb201_order.txt").read_text().split() if line.isdigit() and len(line) == 6]
    assert ["".join(map(str, row)) for row in CELLS.order.tolist()] == lines


def test_the_first_cells_are_those_that_are_known_by_heart():
    assert [arch_text(row) for row in CELLS.order[:2]] == ["4.2.1.2.1.1", "3.3.4.1.3.1"]
    assert len(np.unique(CELLS.order, axis=0)) == len(CELLS.order) == 15625


def test_every_form_of_a_cell_is_the_same_cell():
    string = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
    for text in ("0", "421211", "4.2.1.2.1.1", string):
        assert CELLS.parse(text).tolist() == [4, 2, 1, 2, 1, 1]


@pytest.mark.parametrize("text", ["", "15625", "5.0.0.0.0.0", "1.2.3", "_.0.0.0.0.0", "|conv~0|+|none~0|none~1|", "x"])
def test_what_is_no_cell_is_refused(text):
    with pytest.raises(UsageError, match="no cell"):
        CELLS.parse(text)


@settings(deadline=None, max_examples=30)
@given(ops=st.lists(st.integers(0, 4), min_size=6, max_size=6))
def test_a_cell_and_its_canonical_form_are_one_network(ops):
    arch = np.array(ops, dtype=np.int16)
    canonical = CELLS.canonical(arch.reshape(1, -1))
    assert (CELLS.canonical(canonical) == canonical).all()
    if CELLS.encode(arch.reshape(1, -1)).degenerate[0]:
        assert not canonical.any()
        with pytest.raises(UsageError, match="nothing of its input"):
            CELLS.build(arch)
    else:
        assert CELLS.build(arch).graph_hash == CELLS.build(canonical[0]).graph_hash


def test_the_pool_holds_every_network_and_no_degenerate_one():
    canonical = CELLS.canonical(CELLS.order[~CELLS.encode(CELLS.order).degenerate])
    assert not CELLS.encode(CELLS.pool).degenerate.any()
    assert {row.tobytes() for row in canonical} == {row.tobytes() for row in CELLS.pool}


def test_a_cell_has_the_convolutions_that_it_says():
    arch = CELLS.parse("3.2.4.1.3.0")
    model = onnx.load_from_string(CELLS.build(arch).skeleton)
    # One edge is cut off: nothing leaves node 2, so that the convolution and the pooling into it are not there.
    cell = CELLS.canonical(arch.reshape(1, -1))[0]
    assert cell.tolist() == [3, 0, 0, 1, 3, 0]
    convolutions = sum(node.op_type == "Conv" for node in model.graph.node)
    stem_and_reductions = 1 + 2 * 3
    assert convolutions == stem_and_reductions + 15 * int((cell == OP_NAMES.index("nor_conv_3x3")).sum())


@pytest.mark.parametrize("name", CHAINS)
def test_the_multiply_adds_of_a_chain_are_those_of_its_graphs(name):
    space = CHAINS[name]
    archs = space.pool[:1]
    told = space.encode(archs).block("physical")
    macs = told.values[:, told.columns.index("macs_millions")]
    counted = []
    for arch in archs:
        chosen = [cell for cell in space.space.cells_of(arch) if cell.kind == "choice" and not cell.absent]
        works = [space.space.workload(cell) for cell in chosen]
        models = [onnx.load_from_string(complete(work.skeleton, work.weights)) for work in works]
        counted.append(sum(sum(count or 0 for count in macs_of(model)) for model in models) / 1e6)
    # Squeeze-and-excite is left out, and is less than a hundredth.
    assert macs == pytest.approx(counted, rel=0.01)


def macs_of(model: onnx.ModelProto) -> list[int | None]:
    inferred = onnx.shape_inference.infer_shapes(model)
    for place, node in enumerate(inferred.graph.node):
        node.name = str(place)
    return list(count_macs(inferred).values())


def test_a_position_that_is_left_out_is_a_candidate_of_its_own():
    space = CHAINS["ofa-mobilenetv3"]
    counts = space.encode(space.pool).block("counts")
    absent = counts.values[:, counts.columns.index(ABSENT)]
    assert absent.tolist() == (space.pool < 0).sum(axis=1).tolist()
    assert ABSENT not in CHAINS["fbnet"].op_names


@pytest.mark.parametrize("name", CHAINS)
def test_every_form_of_a_chain_is_the_same_chain(name):
    space = CHAINS[name]
    for arch, native in zip(space.pool, space.space.decode(space.pool), strict=True):
        assert space.parse(arch_text(arch)).tolist() == arch.tolist()
        assert space.parse(json.dumps(native)).tolist() == arch.tolist()
        assert space.build(arch).name == f"{space.prefix}{arch_text(arch)}"


@pytest.mark.parametrize("text", ["", "1.2", "9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0", "[1, 2]", "7", '"a"', "{}"])
def test_what_is_no_chain_is_refused(text):
    with pytest.raises(UsageError):
        CHAINS["fbnet"].parse(text)


def test_spaces_that_are_not_there_are_named_with_those_that_are():
    with pytest.raises(UsageError) as refused:
        open_arch_space("nasbench301")
    assert "nasbench201" in refused.value.remedy
    assert "fbnet" in refused.value.remedy
    with pytest.raises(UsageError, match="one size"):
        open_arch_space("nasbench201", resolution=224)


def test_the_pool_of_a_small_space_is_the_space_and_of_a_large_one_a_seeded_sample():
    tiny = open_arch_space(str(Path(__file__).with_name("tiny.toml")))
    assert isinstance(tiny, ChainSpace)
    assert len(tiny.pool) == tiny.space.size
    again = open_arch_space("fbnet", pool=20)
    assert again.pool.tolist() == CHAINS["fbnet"].pool.tolist()
    assert open_arch_space("fbnet", pool=20, seed=1).pool.tolist() != again.pool.tolist()


def test_cells_have_the_edges_of_the_benchmark():
    assert EDGES == ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
