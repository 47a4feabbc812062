"""Grids: what a file says, which cells it makes, in which order, and under which keys."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecost.costmodels.grids.cells import Cells, Grid, Part, round_channels_of
from edgecost.costmodels.grids.grid_file import load_grid, read_grid
from edgecost.costmodels.spaces.cell import round_channels
from edgecost.profiler.errors import UsageError

MIXED = """
name = "mixed"
[[cells]]
block = "inverted_residual"
resolution = [7, 8]
channels = [6, 8]
out = [8, 12]
mid = { from = 5, to_input = 2, step = 3 }
kernel = [3, 5]
stride = [1, 2]
squeeze = [0, 0.25]
act = ["relu", "hard_swish"]
gate = ["hard_sigmoid", "sigmoid"]
[[cells]]
block = "inverted_residual"
resolution = 7
channels = 8
out = 8
expand = [3, 6]
groups = [1, 2]
shortcut = false
[[cells]]
block = "inverted_residual"
resolution = 7
channels = 8
out = 8
expands = false
[[cells]]
block = "conv"
resolution = { from = 7, to = 9 }
channels = 3
out = [4, 8]
kernel = [1, 3]
act = ["", "relu6"]
[[cells]]
block = "pooled_linear"
resolution = 7
channels = [5, 6]
out = 10
[[cells]]
block = "global_pool"
resolution = 7
channels = 5
[[cells]]
block = "linear"
channels = 5
out = 3
[[cells]]
block = "se_res2"
length = 100
channels = [64, 80]
out = 64
mid = [32, 48, 64]
[[cells]]
block = "feed_forward"
length = 10
channels = [32, 64]
intermediate = [64, 128]
act = ["relu", "gelu"]
[[cells]]
block = "dense"
channels = { from = 7, to = 10 }
out = 3
[[cells]]
block = "diverse_branch"
resolution = 7
channels = 8
out = 8
deployed = false
branches = ["plain+average", "plain+pointwise"]
"""


@pytest.fixture(scope="module")
def mixed() -> Grid:
    return read_grid(MIXED, "mixed.toml")


def whole(part: Part) -> Cells:
    return part.cells(np.arange(part.size))


def test_a_grid_has_each_cell_once_under_the_key_that_spaces_give_it(mixed: Grid) -> None:
    keys: list[str] = []
    for cells in map(whole, mixed.parts):
        found = cells.keys()
        assert found == [cells.cell(place).key for place in range(cells.count)]
        keys += found
    assert len(set(keys)) == len(keys) == mixed.size
    # Of 6 channels 5, 8 and 11 middle ones, of 8 also 14; then the other tables.
    assert mixed.size == (3 + 4) * 2**5 * 3 + 2 * 2 + 1 + 3 * 2 * 2 * 2 + 2 + 1 + 1 + 3 * 2 + 2 * 2 * 2 + 4 + 2


def test_tables_of_one_block_are_one_part(mixed: Grid) -> None:
    blocks = [part.block for part in mixed.parts]
    assert len(set(blocks)) == len(blocks)
    assert mixed.parts[0].size == 7 * 2**5 * 3 + 4 + 1


def test_batches_are_the_cells_in_order(mixed: Grid) -> None:
    part = mixed.parts[0]
    batches = [cells.keys() for cells in part.batches(7)]
    assert [key for batch in batches for key in batch] == whole(part).keys()
    assert {len(batch) for batch in batches[:-1]} == {7}


def test_no_size_exceeds_the_limits_of_its_part(mixed: Grid) -> None:
    for part in mixed.parts:
        for name, sizes in whole(part).sizes.items():
            assert sizes.max() <= part.limits[name]


def test_cells_of_a_family_differ_in_sizes_alone(mixed: Grid) -> None:
    for cells in map(whole, mixed.parts):
        families = cells.families
        for number in np.unique(families).tolist():
            own = [cells.cell(place) for place in np.flatnonzero(families == number).tolist()]
            shared = {
                (one.spec.act, one.spec.gate, one.spec.groups, one.spec.squeeze > 0, one.spec.adds(one.input_shape))
                for one in own
            }
            assert len(shared) == 1


def test_other_blocks_are_read_with_the_input_that_they_need(mixed: Grid) -> None:
    shapes = {part.block: whole(part).cell(0).input_shape for part in mixed.parts}
    assert shapes["se_res2"] == (1, 64, 100)
    assert shapes["feed_forward"] == (1, 10, 32)
    assert shapes["dense"] == (1, 7)
    assert shapes["diverse_branch"] == (1, 8, 7, 7)
    branches = next(whole(part) for part in mixed.parts if part.block == "diverse_branch")
    assert branches.cell(0).spec.values["branches"] == "plain+average"
    assert branches.cell(branches.count - 1).spec.values["branches"] == "plain+pointwise"


@given(st.lists(st.floats(0.01, 1e5), min_size=1), st.integers(1, 16))
def test_channels_are_rounded_as_spaces_round_them(values: list[float], divisor: int) -> None:
    found = round_channels_of(np.array(values), divisor)
    assert found.tolist() == [round_channels(value, divisor) for value in values]


def test_no_squeeze_stays_none() -> None:
    assert round_channels_of(np.zeros(1), 8).tolist() == [0]


CONV = 'block = "conv"\nresolution = 7\nchannels = 3\nout = 4\n'


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (CONV.replace("conv", "konv"), "cells 1: field 'block' is 'konv'"),
        (CONV + "kernel = [3, 4]", "cells 1 (conv): field 'kernel' 4 is even"),
        (CONV + "mid = 3", "'mid' is not a known field"),
        (CONV + "stride = 0", "field 'stride' is 0"),
        (CONV + 'act = ["relu", "tan"]', "field 'act' is 'tan'"),
        (CONV.replace("channels = 3", "channels = { from = 3, until = 9 }"), "'until' is not a known field"),
        (CONV.replace("out = 4", "out = { from = 9, to = 3 }"), "makes 0 cells"),
        (CONV.replace("conv", "inverted_residual"), "'mid' and 'expand' are two ways"),
        (CONV.replace("conv", "inverted_residual") + "mid = 4\ngroups = 2", "'groups' 2 does not divide all channels"),
        (CONV.replace("resolution = 7\n", ""), "field 'resolution' is missing"),
    ],
)
def test_a_fault_is_named_with_its_table_and_field(table: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_grid(f'name = "g"\n[[cells]]\n{table}', "g.toml")
    assert message in caught.value.message
    assert caught.value.remedy


def test_the_grid_of_the_how_to_has_the_cells_that_it_claims() -> None:
    page = (Path(__file__).parents[1] / "docs" / "how-to" / "fill-a-table-of-millions.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert f"This one makes {read_grid(text, 'grid.toml').size:,} cells" in page


def test_a_file_that_is_not_there_is_named(tmp_path) -> None:
    with pytest.raises(UsageError, match=r"none\.toml cannot be read"):
        load_grid(tmp_path / "none.toml")
