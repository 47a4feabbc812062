"""Architectures as columns, against walks through each cell one by one and sums by hand."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecost.costmodels.space_models.encoding import FBNET_OPS, encode_cells, encode_layers, path_weights
from edgecost.profiler.errors import UsageError

EDGES = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]
NONE, SKIP, SMALL, LARGE, POOL = range(5)
LAYERS = np.array([(32, 16, 16, 1), (32, 16, 24, 1), (32, 24, 24, 1), (32, 24, 32, 2)])


def macs_of(layers: np.ndarray, name: str) -> np.ndarray:
    """Multiply-adds of an inverted residual in each layer, by the definition of the space."""
    size, inward, outward, stride = layers.T
    output = (size // stride) ** 2
    if name == "skip":
        return np.where((stride > 1) | (inward != outward), output * inward * outward, 0)
    kernel, expand = int(name[1]), int(name[4])
    groups = 2 if name.endswith("g2") else 1
    mid = inward * expand
    return size**2 * inward * mid // groups + output * kernel**2 * mid + output * mid * outward // groups


MACS = np.column_stack([macs_of(LAYERS, name) for name in FBNET_OPS])


@st.composite
def cells(draw: st.DrawFn) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """A few cells of one graph with up to five nodes, edges in any order."""
    nodes = draw(st.integers(2, 5))
    possible = [(source, target) for target in range(1, nodes) for source in range(target)]
    edges = draw(st.permutations(possible))
    ops = draw(st.lists(st.lists(st.integers(0, 4), min_size=len(edges), max_size=len(edges)), min_size=1, max_size=4))
    return np.array(ops), list(edges)


def ways(ops: list[int], edges: list[tuple[int, int]], node: int, output: int) -> list[list[int]]:
    """All ways from a node to the output over edges that are there, as places of edges."""
    if node == output:
        return [[]]
    return [
        [place, *rest]
        for place, (source, target) in enumerate(edges)
        if source == node and ops[place] != NONE
        for rest in ways(ops, edges, target, output)
    ]


def column(encoding, block: str, name: str) -> np.ndarray:
    found = encoding.block(block)
    return found.values[:, found.columns.index(name)]


@settings(max_examples=60, deadline=None)
@given(cells())
def test_live_edges_and_critical_paths_are_those_of_a_walk_through_the_cell(drawn) -> None:
    ops, edges = drawn
    output = max(target for _, target in edges)
    encoding = encode_cells(ops, edges, weights={"time": (0, 0, 2, 5, 3)})
    for row, chosen in enumerate(ops.tolist()):
        from_input = ways(chosen, edges, 0, output)
        on_the_way = {place for way in from_input for place in way}
        useful = {
            place
            for place, (_, target) in enumerate(edges)
            if chosen[place] != NONE and ways(chosen, edges, target, output)
        }
        weight = max((sum((0, 0, 2, 5, 3)[chosen[place]] for place in way) for way in from_input), default=0)
        assert column(encoding, "critical_path", "longest_time")[row] == weight
        assert column(encoding, "physical", "depth")[row] == max(map(len, from_input), default=0)
        assert encoding.degenerate[row] == (not from_input)
        for op, name in ((SKIP, "skip_connect"), (LARGE, "nor_conv_3x3")):
            assert column(encoding, "live", f"alive_{name}")[row] == sum(chosen[place] == op for place in useful)
            assert column(encoding, "live", f"through_{name}")[row] == sum(chosen[place] == op for place in on_the_way)


@settings(max_examples=30, deadline=None)
@given(cells())
def test_each_path_has_its_own_operators_and_none_where_it_is_cut(drawn) -> None:
    ops, edges = drawn
    output = max(target for _, target in edges)
    encoding = encode_cells(ops, edges)
    for row, chosen in enumerate(ops.tolist()):
        there = ways(chosen, edges, 0, output)
        paths = encoding.block("paths")
        exists = [place for place, name in enumerate(paths.columns) if name.endswith("_exists")]
        assert paths.values[row, exists].sum() == len(there)
        assert column(encoding, "paths", paths.columns[0])[row] in (0, 1)
        pools = [place for place, name in enumerate(paths.columns) if name.endswith("avg_pool_3x3")]
        assert paths.values[row, pools].sum() == sum(chosen[place] == POOL for way in there for place in way)


def test_341_of_the_networks_of_nas_bench_201_let_nothing_through() -> None:
    """LatBench measured all but these."""
    ops = np.array(list(product(range(5), repeat=6)))
    encoding = encode_cells(ops, EDGES)
    assert encoding.size == 15625
    assert encoding.degenerate.sum() == 341
    np.testing.assert_array_equal(encoding.block("counts").values.sum(axis=1), 6)
    np.testing.assert_array_equal(encoding.matrix("one_hot").sum(axis=1), 6)
    np.testing.assert_array_equal(column(encoding, "physical", "connected") == 0, encoding.degenerate)


def test_additions_are_the_edges_into_a_node_beyond_the_first() -> None:
    everything = encode_cells([[SMALL] * 6], EDGES)
    assert column(everything, "physical", "additions").tolist() == [3]
    one_way = encode_cells([[SMALL, NONE, NONE, NONE, SMALL, LARGE]], EDGES)
    assert column(one_way, "physical", "additions").tolist() == [1]
    assert column(one_way, "physical", "through_additions").tolist() == [0]


@pytest.mark.parametrize(("operators", "columns"), [(3, 37), (4, 15), (6, 63), (7, 1)])
def test_weightings_are_directions_each_of_which_occurs_once(operators, columns) -> None:
    names = ["none", "skip", *(f"op{number}" for number in range(operators))]
    weights = path_weights(names, (0, 1))
    assert len(weights) == columns
    units = {tuple(np.round(np.array(row) / np.linalg.norm(row), 12)) for row in weights.values()}
    assert len(units) == columns
    assert all(row[:2] == (0, 0) and len(row) == operators + 2 for row in weights.values())


@settings(max_examples=20, deadline=None)
@given(cells(), st.integers(1, 7))
def test_the_critical_path_grows_with_its_weights(drawn, factor) -> None:
    ops, edges = drawn
    once = encode_cells(ops, edges, weights={"a": (0, 0, 1, 3, 2)})
    more = encode_cells(ops, edges, weights={"a": (0, 0, factor, 3 * factor, 2 * factor)})
    np.testing.assert_allclose(more.matrix("critical_path"), factor * once.matrix("critical_path"))


def test_a_graph_with_very_many_paths_has_no_block_for_them() -> None:
    edges = [(source, target) for target in range(1, 9) for source in range(target)]
    encoding = encode_cells(np.full((2, len(edges)), SMALL), edges)
    assert "paths" not in encoding.names
    assert column(encoding, "physical", "depth").tolist() == [8, 8]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 8), min_size=4, max_size=4), min_size=1, max_size=5))
def test_sums_over_layers_are_sums_of_what_each_layer_does(ops) -> None:
    encoding = encode_layers(ops, LAYERS, MACS)
    for row, chosen in enumerate(ops):
        names = [FBNET_OPS[op] for op in chosen]
        macs = sum(MACS[layer, op] for layer, op in enumerate(chosen))
        depthwise = sum(
            (size // stride) ** 2 * int(name[1]) ** 2 * int(name[4]) * inward
            for (size, inward, _, stride), name in zip(LAYERS.tolist(), names, strict=True)
            if name != "skip"
        )
        assert column(encoding, "physical", "macs_millions")[row] == pytest.approx(macs / 1e6)
        assert column(encoding, "physical", "depthwise_macs_millions")[row] == pytest.approx(depthwise / 1e6)
        assert column(encoding, "counts", "skip")[row] == names.count("skip")
        # Layer 0 stands alone, 1 and 2 share size and width, 3 halves the size.
        assert column(encoding, "stage", "1_k3_e1")[row] == names[1:3].count("k3_e1")
    stages = encoding.matrix("stage").reshape(len(ops), 3, 9)
    np.testing.assert_array_equal(stages.sum(axis=1), encoding.matrix("counts"))


def test_a_skip_computes_only_where_the_shape_changes() -> None:
    encoding = encode_layers([[8, 8, 8, 8]], LAYERS, MACS)
    assert column(encoding, "physical", "active_layers").tolist() == [2]
    assert column(encoding, "physical", "depthwise_macs_millions").tolist() == [0]
    assert not encoding.degenerate.any()


def test_rows_are_taken_by_place_and_by_mask() -> None:
    encoding = encode_cells([[SMALL] * 6, [NONE] * 6, [POOL] * 6], EDGES)
    assert encoding.take([2, 0]).block("counts").values[:, POOL].tolist() == [6, 0]
    connected = encoding.take(~encoding.degenerate)
    assert connected.size == 2
    assert connected.columns == encoding.columns
    widths = np.cumsum([0, *(block.values.shape[1] for block in encoding.blocks)])
    for block, (start, stop) in zip(encoding.blocks, pairwise(widths), strict=True):
        np.testing.assert_array_equal(encoding.matrix()[:, start:stop], block.values)
    with pytest.raises(UsageError, match="no block 'energy'"):
        encoding.block("energy")


@pytest.mark.parametrize(
    ("ops", "edges", "message"),
    [
        ([[5] * 6], EDGES, "but the space has 5"),
        ([[-1] * 6], EDGES, "but the space has 5"),
        ([[1.5] * 6], EDGES, "must be integers"),
        ([1, 2], EDGES, "must be integers"),
        ([[1] * 5], EDGES, "5 edges, but 6"),
        ([[1]], [(1, 0)], "lower node to a higher"),
        (np.zeros((1, 0), dtype=int), [], "lower node to a higher"),
    ],
)
def test_cells_that_make_no_sense_are_refused(ops, edges, message) -> None:
    with pytest.raises(UsageError, match=message):
        encode_cells(ops, edges)


def test_weights_and_layers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="weighting 'a'"):
        encode_cells([[1] * 6], EDGES, weights={"a": (1, 2)})
    with pytest.raises(UsageError, match="weighting 'b'"):
        encode_cells([[1] * 6], EDGES, weights={"b": (0, 0, -1, 1, 1)})
    with pytest.raises(UsageError, match="candidates for 4 layers"):
        encode_layers([[0] * 4], LAYERS[:3], MACS)
