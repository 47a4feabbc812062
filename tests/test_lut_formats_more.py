"""Plain tables, Single-Path NAS and HW-NAS-Bench: read by the smallest readers of their grammars, and by libraries."""

from __future__ import annotations

import csv
import io
import json
import math
import pickle
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from edgecost.costmodels.lut_formats import LutFormat, lut_format
from edgecost.costmodels.lut_formats.contract import Arch, LutFormatContract, checksum_lut, without
from edgecost.costmodels.lut_formats.flat import COLUMNS
from edgecost.costmodels.space import Space
from edgecost.costmodels.space_file import load_space
from edgecost.profiler.errors import GateError
from tests.hw_nas_bench_reader import keys_of

FLAT = ("csv", "json", "parquet", "numpy", "sqlite")
Row = dict[str, object]


class TestSinglePathFormat(LutFormatContract):
    left_out = ("stem", "first", "last", "head", "pool", "classifier")

    def make_format(self) -> LutFormat:
        return lut_format("singlepath-nas")

    def make_space(self) -> Space:
        return load_space("singlepath-nas")

    def read_totals(self, file: Path, archs: Sequence[Arch], space: Space) -> list[float]:
        table = json.loads(file.read_text())
        assert set(table) == {str(block) for block in range(22)}
        assert {tuple(row) for row in table.values()} == {("0", "1", "2", "3")}
        # A skip is added by the reader's own number, which is no cell of the table.
        indices = [cast("Sequence[int]", arch) for arch in archs]
        return [sum(table[str(b + 1)][str(i)] for b, i in enumerate(arch) if i < 4) for arch in indices]


def test_single_path_finds_its_file_by_the_only_name_it_knows(tmp_path: Path) -> None:
    space = load_space("singlepath-nas")
    file = lut_format("singlepath-nas").write(checksum_lut(space), space, tmp_path)[0]
    assert file.name == "pixel1_runtime_model.json"
    assert sum(len(row) for row in json.loads(file.read_text()).values()) == 88


class TestHwNasBenchFormat(LutFormatContract):
    def make_format(self) -> LutFormat:
        return lut_format("hw-nas-bench")

    def make_space(self) -> Space:
        return load_space("fbnet-cifar")

    def read_totals(self, file: Path, archs: Sequence[Arch], space: Space) -> list[float]:
        table = pickle.loads(file.read_bytes())["fbnet"]
        assert set(table) == {
            "edgegpu_latency", "edgegpu_energy", "raspi4_latency", "pixel3_latency", "eyeriss_latency",
            "eyeriss_energy", "fpga_latency", "fpga_energy",
        }  # fmt: skip
        (slot,) = [name for name, rows in table.items() if not math.isnan(next(iter(rows.values())))]
        return [sum(table[slot][key] for key in keys_of(cast("Sequence[int]", arch), "cifar100")) for arch in archs]


def test_hw_nas_bench_has_the_112_rows_that_its_reader_asks_for(tmp_path: Path) -> None:
    space = load_space("fbnet-cifar")
    file = lut_format("hw-nas-bench").write(checksum_lut(space), space, tmp_path)[0]
    table = pickle.loads(file.read_bytes())["fbnet"]
    asked = {
        key for arch in space.decode(space.sample(2000, 1)) for key in keys_of(cast("list[int]", arch), "cifar100")
    }
    assert {len(rows) for rows in table.values()} == {112}
    assert set(table["edgegpu_latency"]) == asked
    skips = {key: cost for key, cost in table["edgegpu_latency"].items() if key.startswith("Skip")}
    assert 0.0 in skips.values()


def test_energies_of_hw_nas_bench_stand_under_its_name_for_them(tmp_path: Path) -> None:
    space = load_space("fbnet-cifar")
    lut = checksum_lut(space)
    file = lut_format("hw-nas-bench").write(lut, space, tmp_path, "energy")[0]
    table = pickle.loads(file.read_bytes())["fbnet"]
    stem = space.fixed[0]
    assert (
        table["edgegpu_energy"]["ConvNorm_H32_W32_Cin3_Cout16_kernel3_stride1_group1"] == lut.query(stem.key).energy_mj
    )
    assert all(map(math.isnan, table["edgegpu_latency"].values()))


def read_flat(name: str, file: Path) -> list[Row]:
    """The rows as each form's usual reader gives them; what is not known as None."""
    if name == "csv":
        return [
            {key: None if value == "" else _number(value) for key, value in row.items()}
            for row in csv.DictReader(io.StringIO(file.read_bytes().decode(), newline=""))
        ]
    if name == "json":
        return cast("list[Row]", json.loads(file.read_text()))
    if name == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
        return cast("list[Row]", parquet.read_table(file).to_pylist())
    if name == "numpy":
        with np.load(file, allow_pickle=False) as arrays:
            columns = {key: arrays[key].tolist() for key in COLUMNS}
        rows = [dict(zip(COLUMNS, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        return [{k: None if v != v else v for k, v in row.items()} for row in rows]
    with sqlite3.connect(file) as database:
        database.row_factory = sqlite3.Row
        found = [dict(row) for row in database.execute("SELECT * FROM cells ORDER BY rowid")]
    database.close()
    return found


def _number(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return text


@pytest.mark.parametrize("name", FLAT)
@pytest.mark.parametrize("space_name", ["fbnet", "ofa-mobilenetv3"])
def test_a_plain_table_holds_every_number_of_every_cell(tmp_path: Path, name: str, space_name: str) -> None:
    if name == "parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    space = load_space(space_name)
    lut = checksum_lut(space, scale=0.5, offset_ms=3.0)
    energy_mj = np.where(np.arange(len(lut)) % 3 == 0, np.nan, 7.25)
    lut = replace(
        lut, energy_mj=energy_mj, lo_ms=lut.latency_ms - 0.5, hi_ms=lut.latency_ms + 1e-3,
        energy_lo_mj=energy_mj - 0.25, energy_hi_mj=energy_mj + 0.5,
    )  # fmt: skip
    file, side = lut_format(name).write(lut, space, tmp_path)
    rows = read_flat(name, file)
    assert [row["key"] for row in rows] == [cell.key for cell in space.measurable]
    for row, cell in zip(rows, space.measurable, strict=True):
        found = lut.query(cell.key)
        assert list(row) == list(COLUMNS)
        for column in COLUMNS[COLUMNS.index("latency_ms") :]:
            assert row[column] == getattr(found, column), column
        assert (row["layer"], row["block"]) == (cell.layer, cell.spec.block)
    document = json.loads(side.read_text())
    assert (document["offset_ms"], document["provenance"]["device"]) == (3.0, "checksum")


@pytest.mark.parametrize("name", FLAT)
def test_a_partial_plain_table_is_not_written(tmp_path: Path, name: str) -> None:
    space = load_space("fbnet")
    with pytest.raises(GateError, match=space.measurable[5].key):
        lut_format(name).write(without(checksum_lut(space), space.measurable[5].key), space, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_numpy_file_prices_a_population_by_itself(tmp_path: Path) -> None:
    space = load_space("proxylessnas")
    lut = checksum_lut(space, scale=0.5, offset_ms=3.0)
    file = lut_format("numpy").write(lut, space, tmp_path)[0]
    archs = space.sample(300, 1)
    with np.load(file, allow_pickle=False) as arrays:
        sums = arrays["fixed_ms"] + arrays["costs_ms"][np.arange(archs.shape[1]), archs].sum(axis=1)
        totals = arrays["scale"] * sums + arrays["offset_ms"]
    np.testing.assert_array_equal(totals, lut.price(archs))


def test_sqlite_says_where_its_numbers_come_from(tmp_path: Path) -> None:
    space = load_space("fbnet")
    file = lut_format("sqlite").write(checksum_lut(space, scale=0.5), space, tmp_path)[0]
    with sqlite3.connect(file) as database:
        told = {name: json.loads(value) for name, value in database.execute("SELECT name, value FROM provenance")}
    database.close()
    assert (told["space"], told["scale"], told["device"]) == ("fbnet", 0.5, "checksum")


def test_all_forms_of_one_table_may_stand_in_one_folder(tmp_path: Path) -> None:
    space = load_space("fbnet")
    files = [file for name in FLAT for file in lut_format(name).write(checksum_lut(space), space, tmp_path)]
    assert len(set(files)) == 2 * len(FLAT) == len(list(tmp_path.iterdir()))


@pytest.mark.parametrize("name", FLAT)
def test_a_plain_table_tells_the_correction_that_it_does_not_apply(tmp_path: Path, name: str) -> None:
    space = load_space("fbnet")
    lut = checksum_lut(space, scale=0.5, offset_ms=3.0)
    side = json.loads(lut_format(name).write(lut, space, tmp_path)[1].read_text())
    assert (side["scale"], side["offset_ms"], side["correction_applied"]) == (0.5, 3.0, False)
    assert "as in the native table" in side["offset_policy"]


@pytest.mark.parametrize("name", FLAT)
def test_a_plain_table_of_energies_that_nobody_knows_is_not_written(tmp_path: Path, name: str) -> None:
    space = load_space("fbnet")
    lut = checksum_lut(space)
    lut = replace(lut, energy_mj=np.full(len(lut), np.nan))
    with pytest.raises(GateError, match=f"energy of {len(lut)} cells"):
        lut_format(name).write(lut, space, tmp_path, "energy")
    assert list(tmp_path.iterdir()) == []
    assert lut_format(name).write(lut, space, tmp_path), "of latencies it is whole"
