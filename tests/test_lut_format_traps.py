"""What readers are known to stumble over, one test for each trap: that our files do not make them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from edgecost.costmodels.lut import Lut, LutCell
from edgecost.costmodels.lut_formats import built_in_formats, lut_format
from edgecost.costmodels.lut_formats.contract import checksum_lut, checksum_provenance
from edgecost.costmodels.lut_formats.keys import yaml_text
from edgecost.costmodels.space import Space
from edgecost.costmodels.space_file import load_space
from edgecost.profiler.errors import ArtefactError

YAML = {"ofa": "ofa-mobilenetv3", "proxylessnas": "proxylessnas"}
#: Additive formats with a space that each can hold.
HELD = {made.name: made.card.spaces[0] for made in built_in_formats() if made.card.spaces}


def table(space: Space, value: float) -> Lut:
    rows = [LutCell(cell.key, value, None, None, 0, "predicted", value) for cell in space.measurable]
    return Lut.from_cells(rows, checksum_provenance(space))


@pytest.mark.parametrize("name", YAML)
@pytest.mark.parametrize("value", [1e-5, 1e-7, 1e22])
def test_trap_1_an_exponent_without_a_dot_is_text_to_yaml(tmp_path: Path, name: str, value: float) -> None:
    assert isinstance(yaml.safe_load("1e-05"), str)
    space = load_space(YAML[name])
    text = lut_format(name).write(table(space, value), space, tmp_path)[0].read_text()
    assert {type(row["mean"]) for row in yaml.safe_load(text).values()} == {float}


@pytest.mark.parametrize("name", YAML)
def test_trap_1_no_number_is_tagged_with_a_python_type(tmp_path: Path, name: str) -> None:
    with pytest.raises(yaml.representer.RepresenterError):
        yaml_text({"a": {"mean": np.float32(1)}}, name)  # type: ignore[dict-item]  # the trap
    space = load_space(YAML[name])
    assert "!!python" not in lut_format(name).write(checksum_lut(space), space, tmp_path)[0].read_text()


def test_trap_2_the_readers_of_yaml_need_an_old_pyyaml_and_the_card_says_so() -> None:
    with pytest.raises(TypeError):
        yaml.load("a: 1")  # type: ignore[call-arg]  # as those readers call it
    assert "PyYAML 5.3.1" in lut_format("ofa").card.note


def test_trap_3_the_card_says_which_url_empties_the_file() -> None:
    assert "file://localhost/" in lut_format("proxylessnas").card.note


@pytest.mark.parametrize("name", HELD)
def test_trap_4_every_cell_that_a_network_may_have_is_in_the_table_or_said_to_be_left_out(
    tmp_path: Path, name: str
) -> None:
    space = load_space(HELD[name])
    side = json.loads(lut_format(name).write(checksum_lut(space), space, tmp_path)[1].read_text())
    there = {row["cell"] for row in side["rows"].values()} | set(side["not_in_the_table"]["cells"])
    lacking = {cell.key for cell in space.measurable} - there
    assert lacking == set(side["not_in_the_table"]["cells_of_some_networks"])
    if name == "fbnet-pytorch":
        # Its blocks that change the shape cannot be skipped.
        assert lacking == {p.cells[-1].key for p in space.positions if not p.cells[-1].absent}
    else:
        joins = {"apq": "sum", "efficienttdnn": "concat"}
        assert {space.cell(key).spec.block for key in lacking} == {joins[name]} if name in joins else not lacking


@pytest.mark.parametrize("name", ["fbnet", "fbnet-pytorch"])
def test_trap_6_lines_split_at_single_blanks_and_none_is_empty(tmp_path: Path, name: str) -> None:
    space = load_space("fbnet")
    text = lut_format(name).write(checksum_lut(space), space, tmp_path)[0].read_text()
    assert all(word for line in text.split("\n") for word in line.split(" "))


def test_trap_9_the_constants_in_the_code_of_single_path_nas_are_said() -> None:
    note = lut_format("singlepath-nas").card.note
    assert "19.5999" in note
    assert "0.7" in note


@pytest.mark.parametrize("name", HELD)
def test_trap_10_a_table_of_energies_is_the_same_file_with_other_numbers(tmp_path: Path, name: str) -> None:
    space = load_space(HELD[name])
    lut, made = table(space, 0.25), lut_format(name)
    unit = {"us": 1000.0, "ms": 1.0}[made.card.unit("latency") or ""]
    latency = made.write(table(space, 0.25 / unit), space, tmp_path)[0].read_bytes()
    energy = made.write(lut, space, tmp_path, "energy")[0].read_bytes()
    if name == "hw-nas-bench":  # the one of them that has a place for both
        assert latency != energy
    else:
        assert latency == energy


def test_trap_11_expand_is_a_ratio_in_one_table_and_channels_in_the_other(tmp_path: Path) -> None:
    block = "-kernel:3-stride:2-idskip:0"
    keys = {}
    for name, space_name in YAML.items():
        space = load_space(space_name)
        (tmp_path / name).mkdir()
        file = lut_format(name).write(checksum_lut(space), space, tmp_path / name)[0]
        keys[name] = set(yaml.safe_load(file.read_text()))
    sizes = "expanded_conv-input:112x112x16-output:56x56x24"
    assert f"{sizes}-expand:3{block}" in keys["proxylessnas"]
    assert f"{sizes}-expand:48{block}-se:0-hs:0" in keys["ofa"]


def test_trap_12_no_negative_latency_can_be_in_a_table() -> None:
    with pytest.raises(ArtefactError, match="not a positive number"):
        table(load_space("fbnet"), -0.1)
