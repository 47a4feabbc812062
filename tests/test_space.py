"""The built-in search spaces: their cells, counts and architectures."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecost.costmodels.space import Space
from edgecost.costmodels.space_file import load_space, space_names
from edgecost.costmodels.spaces.cell import round_channels
from edgecost.profiler.errors import UsageError

SPACES = ("fbnet", "fbnet-cifar", "ofa-mobilenetv3", "ofa-proxyless", "proxylessnas", "singlepath-nas")


@cache
def space(name: str) -> Space:
    return load_space(name)


def test_the_built_in_spaces_are_named() -> None:
    assert {*SPACES, "mobilenetv3-large", "nasbench201", "darts-cifar", "hat-wmt", "tf-nas"} < set(space_names())


@pytest.mark.parametrize(
    ("name", "positions", "cells", "measurable", "fixed"),
    [("ofa-mobilenetv3", 20, 96, 96, 6), ("proxylessnas", 21, 75, 70, 4), ("fbnet", 22, 112, 106, 4)],
)
def test_counts(name: str, positions: int, cells: int, measurable: int, fixed: int) -> None:
    made = space(name)
    assert positions == len(made.positions)
    assert cells == len(made.cells) == len({cell.key for cell in made.cells})
    assert measurable == len(made.measurable)
    assert fixed == len(made.fixed)


def test_sizes_of_the_spaces_are_those_of_the_papers() -> None:
    assert space("ofa-mobilenetv3").size == (9**2 + 9**3 + 9**4) ** 5
    assert space("fbnet").size == 9**22
    # Five first-of-stage blocks and the last one have no Zero.
    assert space("proxylessnas").size == 6**6 * 7**15


def test_fbnet_has_12_shapes_with_9_entries_each() -> None:
    made = space("fbnet")
    shapes = {(p.cells[0].input_shape, p.cells[0].output_shape) for p in made.positions}
    entries = {(cell.key) for position in made.positions for cell in position.cells}
    assert len(shapes) == 12
    assert len(entries) == 108
    assert all(position.names[-1] == "skip" and len(position.names) == 9 for position in made.positions)
    skips = [position.cells[-1].spec.block for position in made.positions]
    assert skips.count("conv") == 6
    assert skips.count("identity") == 16


def test_fbnet_keeps_its_expansion_convolution_at_expansion_1_and_the_others_do_not() -> None:
    assert space("fbnet").positions[0].cells[0].spec.expands
    for name in ("proxylessnas", "ofa-mobilenetv3"):
        assert not space(name).fixed[1].spec.expands


def test_ofa_channels_at_width_1_2() -> None:
    made = load_space("ofa-mobilenetv3", width=1.2)
    outs = [cell.output_shape[1] for cell in made.fixed[:2]]
    outs += [made.positions[4 * stage].cells[0].output_shape[1] for stage in range(5)]
    outs += [made.fixed[2].output_shape[1], made.fixed[4].output_shape[1], made.fixed[5].output_shape[1]]
    assert outs == [24, 24, 32, 48, 96, 136, 192, 1152, 1536, 1000]


def test_ofa_measures_once_for_all_sizes_what_sizes_share() -> None:
    """25 sizes × 96 keys, but 1,257 distinct computations."""
    keys = [cell.key for size in range(128, 225, 4) for cell in load_space("ofa-mobilenetv3", resolution=size).cells]
    assert len(keys) == 2400
    assert len(set(keys)) == 1257


def test_proxyless_candidates_are_in_the_order_of_its_super_network() -> None:
    names = ("kernel3-expand3", "kernel3-expand6", "kernel5-expand3", "kernel5-expand6", "kernel7-expand3")
    assert (*names, "kernel7-expand6") == space("proxylessnas").positions[0].names
    assert (*names, "kernel7-expand6", "skip") == space("proxylessnas").positions[1].names
    assert len(space("proxylessnas").positions[20].names) == 6


@pytest.mark.parametrize("name", SPACES)
def test_equal_keys_are_equal_graphs_and_different_keys_different_ones(name: str) -> None:
    workloads = [space(name).workload(cell) for cell in space(name).measurable]
    hashes = [workload.graph_hash for workload in workloads if workload is not None]
    assert len(hashes) == len(set(hashes)) == len(space(name).measurable)


@pytest.mark.parametrize("name", SPACES)
def test_samples_are_distinct_reproducible_and_valid(name: str) -> None:
    archs = space(name).sample(500, seed=2)
    assert archs.dtype == np.int16
    assert len({row.tobytes() for row in archs}) == 500
    np.testing.assert_array_equal(archs, space(name).sample(500, seed=2))
    assert not np.array_equal(archs, space(name).sample(500, seed=3))
    np.testing.assert_array_equal(archs, space(name).check_arch(archs))


@given(seed=st.integers(0, 2**32 - 1), name=st.sampled_from(SPACES))
def test_encoding_what_was_decoded_gives_it_back(seed: int, name: str) -> None:
    archs = space(name).sample(3, seed)
    np.testing.assert_array_equal(archs, space(name).encode(space(name).decode(archs)))


@given(
    ks=st.lists(st.sampled_from([3, 5, 7]), min_size=20, max_size=20),
    e=st.lists(st.sampled_from([3, 4, 6]), min_size=20, max_size=20),
    d=st.lists(st.sampled_from([2, 3, 4]), min_size=5, max_size=5),
)
def test_ofa_natives_keep_their_active_part(ks: list[int], e: list[int], d: list[int]) -> None:
    made = space("ofa-mobilenetv3")
    (back,) = made.decode(made.encode([{"ks": ks, "e": e, "d": d, "r": [224]}]))
    assert isinstance(back, dict)
    assert (d, [224]) == (back["d"], back["r"])
    for place in range(20):
        if place % 4 < d[place // 4]:
            assert (ks[place], e[place]) == (back["ks"][place], back["e"][place])


def test_cells_of_an_architecture_are_its_fixed_and_active_ones() -> None:
    made = space("ofa-mobilenetv3")
    cells = made.cells_of({"ks": [3] * 20, "e": [6] * 20, "d": [2, 2, 2, 2, 4]})
    assert len(cells) == 6 + 12
    assert all(a.output_shape == b.input_shape for a, b in pairwise(cells))
    assert {6} == {cell.params["expand"] for cell in cells if cell.kind == "choice"}


def test_an_identity_has_nothing_to_measure() -> None:
    made = space("proxylessnas")
    (zero,) = [cell for cell in made.positions[1].cells if cell.absent]
    assert made.workload(zero) is None
    assert zero.input_shape == zero.output_shape


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ({"ks": [3] * 20, "e": [6] * 20, "d": [2, 2, 5, 2, 2]}, "depth 5 of stage3"),
        ({"ks": [3] * 20, "e": [6] * 20}, "'d'"),
        ({"ks": [3] * 19, "e": [6] * 20, "d": [2] * 5}, "'ks'"),
        ({"ks": [9, *[3] * 19], "e": [6] * 20, "d": [2] * 5}, r"position 0 \(stage1\[0\]\).*ks 9"),
        ({"ks": [3] * 20, "e": [6] * 20, "d": [2] * 5, "r": [160]}, "resolution"),
        ([0] * 20, "dictionary"),
    ],
)
def test_an_architecture_of_another_space_is_refused(arch: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        space("ofa-mobilenetv3").encode([arch])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: 9}, r"position 0 \(stage1\[0\]\): no candidate 9"),
        ({0: -2}, "no candidate -2"),
        ({1: -1}, "stage1"),
        ({2: -1, 3: 0}, "stage1"),
    ],
)
def test_a_numeric_architecture_is_checked(change: dict[int, int], message: str) -> None:
    arch = np.zeros(20, dtype=np.int64)
    for place, index in change.items():
        arch[place] = index
    with pytest.raises(UsageError, match=message):
        space("ofa-mobilenetv3").check_arch(arch)


@pytest.mark.parametrize("shape", [(2, 19), (20, 2, 1), (0,)])
def test_a_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="shape"):
        space("ofa-mobilenetv3").check_arch(np.zeros(shape, dtype=np.int16))


def test_fractions_are_no_indices() -> None:
    with pytest.raises(UsageError, match="whole numbers"):
        space("fbnet").encode([[0.5] * 22])  # type: ignore[list-item]


@given(value=st.floats(1, 5000), divisor=st.sampled_from([2, 4, 8, 16]))
def test_rounded_channels_never_lose_more_than_a_tenth(value: float, divisor: int) -> None:
    rounded = round_channels(value, divisor)
    assert rounded % divisor == 0
    assert rounded >= 0.9 * value
    assert abs(rounded - value) <= divisor


def test_reading_a_space_does_not_import_onnx() -> None:
    code = (
        "import sys; from edgecost.costmodels.space_file import load_space; import edgecost.costmodels.lut_formats;"
        "load_space('fbnet').sample(3, 0); print([m for m in ('onnx', 'onnxruntime', 'yaml') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
