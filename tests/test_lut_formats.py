"""The formats: the contract, Once-for-All's table read by an independent reader, and plugins."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import cast

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from edgecost.cli.main import cli
from edgecost.costmodels import format_registry, lut_formats
from edgecost.costmodels.arch_formats import arch_format_names
from edgecost.costmodels.lut import Lut, LutCell
from edgecost.costmodels.lut_formats import LutFormat, format_names, lut_format
from edgecost.costmodels.lut_formats.card import FormatCard, Metric
from edgecost.costmodels.lut_formats.contract import Arch, LutFormatContract, checksum_lut, checksum_provenance, without
from edgecost.costmodels.lut_formats.ofa import ofa_key
from edgecost.costmodels.op_formats import op_format_names
from edgecost.costmodels.space import Space
from edgecost.costmodels.space_file import load_space
from edgecost.profiler.errors import EdgecostError, GateError, MissingPackage, UsageError


def _load_reader() -> ModuleType:
    """pytest's importlib mode puts no folder on the path."""
    spec = importlib.util.spec_from_file_location("ofa_reader", Path(__file__).with_name("ofa_reader.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ofa_reader = _load_reader()


class TestOfaFormat(LutFormatContract):
    def make_format(self) -> LutFormat:
        return lut_format("ofa")

    def read_totals(self, file: Path, archs: Sequence[Arch], space: Space) -> list[float]:
        table = ofa_reader.OfaTable(file)
        return [float(table.total_ms(arch, space.width)) for arch in archs]


class TestOfaFormatAtWidth12AndAnOddSize(TestOfaFormat):
    def make_space(self) -> Space:
        return load_space("ofa-mobilenetv3", resolution=180, width=1.2)


class TestNativeFormat(LutFormatContract):
    def make_format(self) -> LutFormat:
        return lut_format("native")

    def make_space(self) -> Space:
        return load_space("proxylessnas")

    def read_totals(self, file: Path, archs: Sequence[Arch], space: Space) -> list[float]:
        return [float(total) for total in Lut.load(file).price(archs)]

    def test_the_reader_gets_energies_that_it_takes_for_latencies(self, tmp_path: Path) -> None:
        """It does not: they stand beside each other."""
        lut = checksum_lut(load_space("proxylessnas"))
        file = self.make_format().write(lut, load_space("proxylessnas"), tmp_path, "energy")[0]
        np.testing.assert_array_equal(Lut.load(file).energy_mj, lut.energy_mj)

    def test_an_unknown_energy_is_refused_and_nothing_is_written(self, tmp_path: Path) -> None:
        """It is written as null: this form holds all metrics at once."""
        space = load_space("proxylessnas")
        lut = replace(checksum_lut(space), energy_mj=np.full(len(space.measurable), np.nan))
        file = self.make_format().write(lut, space, tmp_path)[0]
        assert {row["energy_mj"] for row in json.loads(file.read_text())["cells"]} == {None}


def test_a_constant_that_makes_a_row_negative_is_refused(tmp_path: Path) -> None:
    space = load_space("ofa-mobilenetv3")
    with pytest.raises(GateError, match="negative"):
        lut_format("ofa").write(checksum_lut(space, offset_ms=-1e12), space, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [name for name in format_names() if lut_format(name).card.spaces])
def test_a_space_that_the_reader_does_not_know_is_refused(tmp_path: Path, name: str) -> None:
    held = lut_format(name).card.spaces
    space = load_space("fbnet" if "proxylessnas" in held else "proxylessnas")
    with pytest.raises(UsageError, match=name):
        lut_format(name).write(checksum_lut(space), space, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("width", [1.0, 1.2])
@pytest.mark.parametrize("resolution", [128, 132, 160, 172, 224, 260])
def test_the_keys_are_an_independent_enumeration_of_the_space(resolution: int, width: float) -> None:
    space = load_space("ofa-mobilenetv3", resolution=resolution, width=width)
    keys = [ofa_key(cell) for cell in space.measurable]
    assert len(keys) == len(set(keys)) == 96
    assert ofa_reader.space_keys(resolution, width) == set(keys)


def test_rows_of_the_table_published_for_the_note_10_are_there() -> None:
    keys = {ofa_key(cell) for cell in load_space("ofa-mobilenetv3", width=1.2).measurable}
    published = {
        "Conv-input:224x224x3-output:112x112x24",
        "expanded_conv-input:112x112x24-output:56x56x32-expand:144-kernel:3-stride:2-idskip:0-se:0-hs:0",
        "AvgPool2D-input:7x7x1152-output:1x1x1152",
        "Conv_2-input:1x1x1152-output:1x1x1536",
        "Logits-input:1x1x1536-output:1000",
    }
    assert published <= keys


def test_a_removed_key_fails_in_the_reader(tmp_path: Path) -> None:
    space = load_space("ofa-mobilenetv3")
    file = lut_format("ofa").write(checksum_lut(space), space, tmp_path)[0]
    arch = space.decode(space.sample(1, 0))[0]
    table = ofa_reader.OfaTable(file)
    del table.rows["Conv_2-input:1x1x960-output:1x1x1280"]
    with pytest.raises(KeyError, match="Conv_2"):
        table.total_ms(arch)


def tiny(space: Space, value: float) -> Lut:
    rows = [LutCell(cell.key, value, value / 2, value * 2, 0, "predicted") for cell in space.measurable]
    return Lut.from_cells(rows, checksum_provenance(space), scale=1.5, scale_fitted_on=8)


@pytest.mark.parametrize("value", [1e-7, 1e-05, 3e-16, 1e16, 2e22])
def test_very_small_and_very_large_values_are_read_as_numbers(tmp_path: Path, value: float) -> None:
    assert isinstance(yaml.safe_load("1e-7"), str), "the trap of YAML 1.1"
    space = load_space("ofa-mobilenetv3")
    file = lut_format("ofa").write(tiny(space, value), space, tmp_path)[0]
    rows = yaml.safe_load(file.read_text())
    assert {value * 1.5} == {row["mean"] for row in rows.values()}
    assert {float} == {type(row["mean"]) for row in rows.values()}


def test_any_factor_gives_the_corrected_price(tmp_path: Path) -> None:
    space = load_space("ofa-mobilenetv3")
    lut = checksum_lut(space, scale=1.0371)
    table = ofa_reader.OfaTable(lut_format("ofa").write(lut, space, tmp_path)[0])
    archs = space.sample(100, 4)
    totals = [table.total_ms(arch) for arch in space.decode(archs)]
    np.testing.assert_allclose(totals, lut.price(archs), rtol=1e-12)


def test_a_row_says_how_many_visits_and_never_a_spread_that_nobody_knows(tmp_path: Path) -> None:
    space = load_space("ofa-mobilenetv3")
    lut = checksum_lut(space)
    sources = ("predicted", *lut.source[1:])
    lut = replace(lut, n=np.array([0, *lut.n[1:]]), source=sources)
    rows = list(yaml.safe_load(lut_format("ofa").write(lut, space, tmp_path)[0].read_text()).values())
    assert list(rows[0]) == ["mean"]
    assert list(rows[1]) == ["mean", "count"]


def test_the_side_file_says_what_the_rows_cannot(tmp_path: Path) -> None:
    space = load_space("ofa-mobilenetv3", resolution=160)
    table, side = lut_format("ofa").write(tiny(space, 2.0), space, tmp_path)
    assert (table.name, side.name) == ("160_lookup_table.yaml", "160_lookup_table.yaml.edgecost.json")
    document = json.loads(side.read_text())
    assert hashlib.sha256(table.read_bytes()).hexdigest() == document["describes_sha256"]
    assert tuple(document[k] for k in ("metric", "unit", "scale", "scale_fitted_on")) == ("latency", "ms", 1.5, 8)
    assert set(yaml.safe_load(table.read_text())) == set(document["rows"])
    (row,) = {json.dumps({k: v for k, v in row.items() if k != "cell"}) for row in document["rows"].values()}
    assert document["correction_applied"]
    assert json.loads(row) == {"n": 0, "source": "predicted", "lo": 1.5, "hi": 6.0}
    assert document["provenance"]["device"] == "checksum"


def test_a_path_that_is_no_folder_is_the_file(tmp_path: Path) -> None:
    space = load_space("ofa-mobilenetv3")
    files = lut_format("ofa").write(checksum_lut(space), space, tmp_path / "nano" / "mine.yaml")
    assert [tmp_path / "nano" / "mine.yaml", tmp_path / "nano" / "mine.yaml.edgecost.json"] == files


def test_a_refused_table_leaves_the_old_one(tmp_path: Path) -> None:
    space = load_space("ofa-mobilenetv3")
    files = lut_format("ofa").write(checksum_lut(space), space, tmp_path)
    before = [file.read_bytes() for file in files]
    with pytest.raises(GateError):
        lut_format("ofa").write(without(checksum_lut(space), space.cells[7].key), space, tmp_path)
    assert before == [file.read_bytes() for file in files]


@pytest.mark.parametrize("name", ["fbnet", "proxylessnas"])
def test_another_space_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    space = load_space(name)
    with pytest.raises(UsageError, match="'ofa'"):
        lut_format("ofa").write(checksum_lut(space), space, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_pyyaml_the_remedy_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    space = load_space("ofa-mobilenetv3")
    with pytest.raises(MissingPackage, match="pip install"):
        lut_format("ofa").write(checksum_lut(space), space, tmp_path)


def test_an_unknown_format_is_answered_with_the_known_ones() -> None:
    assert {"native", "ofa"} <= set(format_names())
    with pytest.raises(UsageError, match=r"(?s)Did you mean 'native'.*ofa"):
        lut_format("nativ")


class Plugin:
    """What a plugin's author writes."""

    name = "plugin"
    card = FormatCard("a plugin's reader", "nobody")

    def filename(self, lut: Lut, space: Space) -> str:
        return "table.csv"

    def write(self, lut: Lut, space: Space, path: Path, metric: Metric = "latency") -> list[Path]:
        return []


def test_a_plugin_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("edgecost_test_plugin")
    for name, value in {"Plugin": Plugin, "made": Plugin(), "wrong": 3}.items():
        setattr(module, name, value)
    monkeypatch.setitem(sys.modules, "edgecost_test_plugin", module)
    objects = {"plugin": "Plugin", "made": "made", "wrong": "wrong", "lost": "lost", "ofa": "wrong"}
    points = [EntryPoint(name, f"edgecost_test_plugin:{what}", lut_formats.GROUP) for name, what in objects.items()]
    points.append(EntryPoint("gone", "edgecost_no_such_module:Plugin", lut_formats.GROUP))
    monkeypatch.setattr(format_registry, "entry_points", lambda group: points if group == lut_formats.GROUP else [])
    assert isinstance(lut_format("plugin"), Plugin)
    assert isinstance(lut_format("made"), Plugin)
    assert lut_format("ofa").name == "ofa"
    assert "gone" in format_names()
    for name, message in {"wrong": "members", "lost": "imported", "gone": "imported"}.items():
        with pytest.raises(UsageError, match=message):
            lut_format(name)


def test_the_contract_catches_a_format_that_alters_a_row(tmp_path: Path) -> None:
    class Careless:
        name = "careless"
        card = lut_format("ofa").card

        def filename(self, lut: Lut, space: Space) -> str:
            return lut_format("ofa").filename(lut, space)

        def write(self, lut: Lut, space: Space, path: Path, metric: Metric = "latency") -> list[Path]:
            files = lut_format("ofa").write(lut, space, path, metric)
            rows = cast("dict[str, dict[str, float]]", yaml.safe_load(files[0].read_text()))
            next(iter(rows.values()))["mean"] += 1.0
            files[0].write_text(yaml.safe_dump(rows))
            return files

    class Case(TestOfaFormat):
        def make_format(self) -> LutFormat:
            return Careless()

    with pytest.raises(AssertionError):
        Case().test_the_reader_gets_the_exact_sum(tmp_path)


def run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    if isinstance(result.exception, EdgecostError):
        return result.exception.exit_code, result.exception.message
    return result.exit_code, result.output


def test_export_writes_a_native_table_for_other_code(tmp_path: Path) -> None:
    space = load_space("fbnet")
    table = checksum_lut(space).save(tmp_path / "table.json")
    code, output = run("lut", "export", table, "--format", "fbnet", "--metric", "energy", "--out", tmp_path, "--json")
    assert code == 0
    files = json.loads(output)["files"]["fbnet"]
    assert [Path(file).name for file in files] == ["lookup_table.txt", "lookup_table.txt.edgecost.json"]
    assert json.loads(Path(files[1]).read_text())["unit"] == "mJ"


def test_export_of_a_partial_table_lists_what_is_missing_and_exits_with_5(tmp_path: Path) -> None:
    space = load_space("fbnet")
    lost = space.positions[3].cells[2].key
    table = without(checksum_lut(space), lost).save(tmp_path / "table.json")
    code, message = run("lut", "export", table, "--format", "fbnet", "--out", tmp_path / "out")
    assert (code, lost in message) == (5, True)
    assert list((tmp_path / "out").iterdir()) == []


def test_the_list_of_formats_says_who_reads_them_and_what_they_need() -> None:
    rows = {row["name"]: row for row in json.loads(run("lut", "formats", "--json")[1])["formats"]}
    by_command = {
        command: {name for name, row in rows.items() if row["written_by"] == command}
        for command in ("lut export", "lut export-archs", "lut export-ops")
    }
    assert list(by_command.values()) == [set(format_names()), set(arch_format_names()), set(op_format_names())]
    assert len(rows) == sum(map(len, by_command.values()))
    assert all(row["title"] and row["reader"] and row["units"] for row in rows.values())
    assert (rows["fbnet"]["units"]["latency"], rows["ofa"]["needs"]) == ("us", ["pyyaml"])
