"""The tables of FBNet's re-implementations and of ProxylessNAS, read by the smallest readers of their grammars."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest
import yaml

from edgecost.costmodels.lut import Lut, LutCell
from edgecost.costmodels.lut_formats import LutFormat, lut_format
from edgecost.costmodels.lut_formats.contract import Arch, LutFormatContract, checksum_lut, checksum_provenance
from edgecost.costmodels.space import Space
from edgecost.costmodels.space_file import load_space


def read_fbnet(file: Path, archs: Sequence[Arch], columns: Sequence[int] | None) -> list[float]:
    """As both readers do: lines at line ends, numbers at single blanks. ``columns``: of a table without a header."""
    lines = file.read_text().split("\n")
    if columns is None:
        names = lines.pop(0).split(" ")
        assert names == "ir_k3_e1 ir_k3_s2 ir_k3_e3 ir_k3_e6 ir_k5_e1 ir_k5_s2 ir_k5_e3 ir_k5_e6 skip".split()
    rows = [[float(number) for number in line.split(" ")] for line in lines]
    assert len(rows) == 22
    return [
        sum(row[int(index)] for row, index in zip(rows, cast("Sequence[int]", arch), strict=True)) for arch in archs
    ]


class TestFbnetFormat(LutFormatContract):
    left_out = ("stem", "head", "pool", "classifier")

    def make_format(self) -> LutFormat:
        return lut_format("fbnet")

    def make_space(self) -> Space:
        return load_space("fbnet")

    def read_totals(self, file: Path, archs: Sequence[Arch], space: Space) -> list[float]:
        return read_fbnet(file, archs, None)


class TestProxylessFormatForOnceForAll(LutFormatContract):
    def make_format(self) -> LutFormat:
        return lut_format("proxylessnas")

    def make_space(self) -> Space:
        return load_space("ofa-proxyless", resolution=180)

    def read_totals(self, file: Path, archs: Sequence[Arch], space: Space) -> list[float]:
        table = yaml.safe_load(file.read_text())
        assert len(table) == 103
        return [sum(table[key]["mean"] for key in ofa_proxyless_keys(arch)) for arch in archs]


def ofa_proxyless_keys(arch: Arch) -> list[str]:
    """The rows of one network at 180 pixels and width 1.3, from the description of the network."""
    native = cast("dict[str, list[int]]", arch)
    keys = ["Conv-input:180x180x3-output:90x90x40"]
    keys.append("expanded_conv-input:90x90x40-output:90x90x24-expand:1-kernel:3-stride:1-idskip:0")
    before, side = 24, 90
    depths = [*native["d"], 1]
    for stage, (width, first) in enumerate(zip((32, 56, 104, 128, 248, 416), (2, 2, 2, 1, 2, 1), strict=True)):
        for place in range(depths[stage]):
            stride, block = first if place == 0 else 1, 4 * stage + place
            after, skip = (side - 1) // stride + 1, int(place > 0)
            keys.append(
                f"expanded_conv-input:{side}x{side}x{before}-output:{after}x{after}x{width}"
                f"-expand:{native['e'][block]}-kernel:{native['ks'][block]}-stride:{stride}-idskip:{skip}"
            )
            before, side = width, after
    keys.append(f"Conv_1-input:{side}x{side}x416-output:{side}x{side}x1664")
    return [*keys, f"Logits-input:{side}x{side}x1664-output:1000"]


class TestProxylessFormat(LutFormatContract):
    def make_format(self) -> LutFormat:
        return lut_format("proxylessnas")

    def make_space(self) -> Space:
        return load_space("proxylessnas")

    def read_totals(self, file: Path, archs: Sequence[Arch], space: Space) -> list[float]:
        table = yaml.safe_load(file.read_text())
        return [sum(table[key]["mean"] for key in proxyless_keys(cast("Sequence[int]", arch))) for arch in archs]


def proxyless_keys(arch: Sequence[int]) -> list[str]:
    """The rows that the super-net asks for, from its description: written without the space file and the exporter."""
    keys = ["Conv-input:224x224x3-output:112x112x32"]
    keys.append("expanded_conv-input:112x112x32-output:112x112x16-expand:1-kernel:3-stride:1-idskip:0")
    before, side, indices = 16, 112, iter(arch)
    for width, depth, first in zip((24, 40, 80, 96, 192, 320), (4, 4, 4, 4, 4, 1), (2, 2, 2, 1, 2, 1), strict=True):
        for place in range(depth):
            stride = first if place == 0 else 1
            after, index = side // stride, next(indices)
            if index < 6:  # 6 is Zero
                skip = int(stride == 1 and before == width)
                keys.append(
                    f"expanded_conv-input:{side}x{side}x{before}-output:{after}x{after}x{width}"
                    f"-expand:{(3, 6)[index % 2]}-kernel:{(3, 5, 7)[index // 2]}-stride:{stride}-idskip:{skip}"
                )
            before, side = width, after
    return [*keys, "Conv_1-input:7x7x320-output:7x7x1280", "Logits-input:7x7x1280-output:1000"]


def test_proxylessnas_has_the_seventy_rows_that_its_super_net_asks_for(tmp_path: Path) -> None:
    space = load_space("proxylessnas")
    table = yaml.safe_load(lut_format("proxylessnas").write(checksum_lut(space), space, tmp_path)[0].read_text())
    asked = {key for arch in space.decode(space.sample(500, 3)) for key in proxyless_keys(cast("list[int]", arch))}
    assert len(table) == 70
    assert set(table) == asked
    assert "expanded_conv-input:112x112x16-output:56x56x24-expand:3-kernel:3-stride:2-idskip:0" in table


def test_the_rows_of_fbnet_pytorch_are_as_long_as_its_blocks_expect(tmp_path: Path) -> None:
    space = load_space("fbnet")
    lut = checksum_lut(space)
    file = lut_format("fbnet-pytorch").write(lut, space, tmp_path)[0]
    rows = [[float(number) for number in line.split(" ")] for line in file.read_text().split("\n")]
    assert [len(row) for row in rows] == [8, 8, 9, 9, 9, 8, 9, 9, 9, 8, 9, 9, 9, 8, 9, 9, 9, 8, 9, 9, 9, 8]
    for row, position in zip(rows, space.positions, strict=True):
        assert row[:8] == [lut.query(cell.key).latency_ms for cell in position.cells[:8]]
        assert row[8:] in ([], [0.0])


@pytest.mark.parametrize("name", ["fbnet", "fbnet-pytorch"])
@pytest.mark.parametrize("value", [1e-7, 1e-05, 1.0, 123456.789])
def test_text_tables_of_fbnet_have_no_blank_too_many_and_no_exponent(tmp_path: Path, name: str, value: float) -> None:
    space = load_space("fbnet")
    text = lut_format(name).write(table_of(space, value), space, tmp_path)[0].read_text()
    assert not text.endswith("\n")
    assert [line for line in text.split("\n") if line != " ".join(line.split()) or not line] == []
    assert "e-" not in text.split("skip")[-1]


def test_the_side_file_of_fbnet_says_what_stem_and_head_cost(tmp_path: Path) -> None:
    space = load_space("fbnet")
    lut = checksum_lut(space, scale=0.5, offset_ms=-7.0)
    side = json.loads(lut_format("fbnet").write(lut, space, tmp_path)[1].read_text())
    fixed_us = sum(lut.query(cell.key).latency_ms for cell in space.fixed) * 0.5 * 1000
    told = {"cells": [cell.key for cell in space.fixed], "sum": fixed_us, "cells_of_some_networks": []}
    assert side["not_in_the_table"] == told
    assert (side["unit"], side["offset_ms"]) == ("us", -7.0)
    assert "NOT in the table" in side["offset_policy"]


def table_of(space: Space, value: float) -> Lut:
    rows = [LutCell(cell.key, value, None, None, 0, "predicted") for cell in space.measurable]
    return Lut.from_cells(rows, checksum_provenance(space))


def test_a_stem_whose_energy_is_not_known_leaves_the_sum_unknown_and_the_table_whole(tmp_path: Path) -> None:
    space = load_space("fbnet")
    full = checksum_lut(space)
    rows = [LutCell(r.key, r.latency_ms, None, None, 3, "measured", r.energy_mj) for r in full.cells]
    rows[0] = LutCell(rows[0].key, rows[0].latency_ms, None, None, 3, "measured", None)
    assert rows[0].key == space.fixed[0].key
    lut = Lut.from_cells(rows, full.provenance)
    table, side = lut_format("fbnet").write(lut, space, tmp_path, "energy")
    assert len(table.read_text().split("\n")) == 23
    assert json.loads(side.read_text())["not_in_the_table"]["sum"] is None
