"""``edgecost lut export-archs``: tables, onboarded devices and values of one's own, priced and written."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgecost.cli.main import cli
from edgecost.costmodels.arch_formats import arch_format_names
from edgecost.costmodels.arch_formats.networks import benchmark_networks
from edgecost.costmodels.lut import Lut
from edgecost.costmodels.lut_formats.contract import checksum_lut, without
from edgecost.costmodels.onboarding.cell_space import NasBench201
from edgecost.costmodels.onboarding.portable import portable
from edgecost.costmodels.onboarding.portable_file import OnboardedDevice, SpaceId, load_onboarded, save_onboarded
from edgecost.costmodels.space_file import load_space
from edgecost.costmodels.space_models.experts import prepare
from edgecost.costmodels.space_models.fleet import Fleet
from edgecost.profiler.errors import EdgecostError


def run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["lut", "export-archs", *(str(argument) for argument in arguments)])
    if isinstance(result.exception, EdgecostError):
        return result.exception.exit_code, f"{result.exception.message}\n{result.exception.remedy}"
    return result.exit_code, result.output


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return checksum_lut(load_space("fbnet"), scale=0.5, offset_ms=1024.0).save(tmp_path / "table.json")


def csv_rows(folder: Path, name: str) -> tuple[list[list[float]], dict[str, object]]:
    rows = [[float(text) for text in line.split(",")] for line in (folder / name).read_text().splitlines()]
    return rows, json.loads((folder / f"{name}.edgecost.json").read_text())


def test_random_networks_of_a_table_are_written_with_corrected_prices(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, output = run(table, "--format", "nnabla-nas", "--samples", "30", "--seed", "4", "--out", out, "--json")
    assert code == 0
    assert json.loads(output)["networks"] == 30
    rows, side = csv_rows(out, "fbnet-checksum-latency.csv")
    space = load_space("fbnet")
    assert [row[-1] for row in rows] == Lut.load(table).price(space.sample(30, seed=4)).tolist()
    assert side["networks_from"] == "30 at random, seed 4"


def test_the_user_s_order_is_the_order_of_the_file(table: Path, tmp_path: Path) -> None:
    space = load_space("fbnet")
    archs = space.sample(20, seed=9)
    (tmp_path / "order.jsonl").write_text("\n".join(json.dumps(row) for row in archs.tolist()))
    arguments = (table, "--format", "nnabla-nas", "--archs", tmp_path / "order.jsonl", "--out", tmp_path)
    assert run(*arguments, "--device", "My Board", "--metric", "energy")[0] == 0
    rows, side = csv_rows(tmp_path, "fbnet-My_Board-energy.csv")
    lut = Lut.load(table)
    for row, arch in zip(rows, archs, strict=True):
        cells = [lut.query(cell.key).energy_mj for cell in space.cells_of(arch) if not cell.absent]
        assert row[-1] == sum(cells)
    assert (side["device"], side["networks_from"]) == ("My Board", "order.jsonl")


def test_tables_of_several_resolutions_price_each_network_at_its_own(tmp_path: Path) -> None:
    spaces = [load_space("ofa-mobilenetv3", resolution=side) for side in (160, 192)]
    tables = [checksum_lut(space).save(tmp_path / f"{space.resolution}.json") for space in spaces]
    given = [spaces[i % 2].decode(row)[0] for i, row in enumerate(spaces[0].sample(10, seed=0))]
    (tmp_path / "order.txt").write_text("\n".join(json.dumps(arch) for arch in given))
    code, _ = run(*tables, "--format", "dynas-t", "--archs", tmp_path / "order.txt", "--out", tmp_path)
    assert code == 0
    lines = (tmp_path / "ofa-mobilenetv3-checksum-latency.csv").read_text().splitlines()[1:]
    found = [float(line.split(",")[-3]) for line in lines]
    luts = [checksum_lut(space) for space in spaces]
    assert found == [float(luts[i % 2].price([arch])[0]) for i, arch in enumerate(given)]


def test_a_table_of_nas_bench_201_prices_the_whole_benchmark_in_its_order(tmp_path: Path) -> None:
    space = load_space("nasbench201")
    file = checksum_lut(space).save(tmp_path / "table.json")
    code, _ = run(file, "--format", "hw-nas-bench-201", "--device", "box", "--out", tmp_path)
    assert code == 0
    written = (tmp_path / "HW-NAS-Bench-box.pickle").read_bytes()
    table = pickle.loads(written)["nasbench201"]["cifar10"]  # noqa: S301 - what was just written
    listed = table["edgegpu_latency"]
    assert len(listed) == 15625
    # Index 0 of the benchmark: average pooling, 1×1, skip, 1×1, skip, skip.
    assert listed[0] == Lut.load(file).price(np.array([4, 2, 1, 2, 1, 1]))[0]


def test_a_list_of_the_wrong_length_says_how_many_are_needed(table: Path, tmp_path: Path) -> None:
    code, message = run(table, "--format", "help", "--samples", "10", "--out", tmp_path / "out")
    assert (code, "reads 5000 networks" in message, "--archs FILE" in message) == (2, True, True)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_table_that_lacks_a_cell_is_refused_with_exit_code_5(tmp_path: Path) -> None:
    space = load_space("fbnet")
    lost = space.fixed[0].key
    file = without(checksum_lut(space), lost).save(tmp_path / "table.json")
    code, message = run(file, "--format", "nnabla-nas", "--samples", "5", "--out", tmp_path / "out")
    assert (code, lost in message) == (5, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "help"], "give SOURCES or --values"),
        (["table.json"], "which format"),
        (["table.json", "--format", "help"], "which networks of fbnet"),
        (["table.json", "--format", "helq"], "Did you mean 'help'"),
        (["table.json", "--format", "eagle", "--archs", "a.txt", "--samples", "3"], "two ways"),
        (["table.json", "table.json", "--format", "nnabla-nas", "--samples", "3"], "different resolutions"),
        (["table.json", "--values", "v.csv", "--format", "eagle"], "give SOURCES or --values"),
        (["--values", "v.csv", "--format", "eagle"], "needs --space and --device"),
    ],
)
def test_a_request_that_makes_no_sense_is_answered(
    table: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(table.parent)
    code, answer = run(*arguments)
    assert (code, message in answer) == (2, True), answer


def test_values_of_one_s_own_are_found_by_network_whatever_their_order(tmp_path: Path) -> None:
    every = benchmark_networks()
    lines = [f"{''.join(map(str, row))},{i + 0.5}" for i, row in enumerate(every.choices.tolist())]
    np.random.default_rng(0).shuffle(lines)
    (tmp_path / "mine.csv").write_text("arch,latency_ms\n" + "\n".join(lines))
    (tmp_path / "order.txt").write_text("\n".join(every.native))
    code, output = run(
        *("--values", tmp_path / "mine.csv", "--space", "nasbench201", "--device", "box"),
        *("--archs", tmp_path / "order.txt", "--format", "naslib", "--out", tmp_path),
    )
    assert code == 0, output
    read = pickle.loads((tmp_path / "nb201_box_latency.pickle").read_bytes())  # noqa: S301 - we just wrote it
    found = [read[arch]["cifar10-valid"]["latency"][0] for arch in every.native]
    np.testing.assert_allclose(found, (np.arange(15625) + 0.5) / 1000, rtol=1e-15)
    side = json.loads((tmp_path / "nb201_box_latency.pickle.edgecost.json").read_text())
    assert (side["numbers_from"], side["precision"]) == ("numbers of mine.csv, not edgecost's", None)


def test_runs_of_one_s_own_reach_the_reader_that_reduces_them(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("arch,latency_ms,latency_lo_ms,latency_hi_ms,latency_runs_ms\n421211,2,1,3,1 2 3\n")
    arguments = ("--values", tmp_path / "v.csv", "--space", "nasbench201", "--device", "box", "--out", tmp_path)
    assert run(*arguments, "--format", "eagle-runs")[0] == 0
    read = pickle.loads((tmp_path / "box-latency-runs.pickle").read_bytes())  # noqa: S301 - we just wrote it
    assert read == {(4, 2, 1, 2, 1, 1): [[1.0, 2.0, 3.0]]}
    side = json.loads((tmp_path / "box-latency-runs.pickle.edgecost.json").read_text())
    assert (side["metrics"][0]["lo"], side["metrics"][0]["hi"]) == ([1.0], [3.0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arch,latency\n421211,2\n", "column 'latency' is not known"),
        ("latency_ms,arch\n2,421211\n", "column 'arch' is not known"),
        ("arch,energy_mj\n421211,2\n", "has no column latency_ms"),
        ("arch,latency_ms\n421211,fast\n", "'fast' is no number"),
        ("arch,latency_ms\n421211,0\n", "not positive"),
        ("arch,latency_ms,latency_lo_ms,latency_hi_ms\n421211,3,1,2\n", "interval of network 1 does not hold"),
        ("arch,latency_ms\n421211\n", "row 1 has 1 fields"),
        ("arch,latency_ms\n421211,1\n4.2.1.2.1.1,2\n", "rows 1 and 2 .* are one network"),
        ("arch,latency_ms\n421211,\n", "is not known"),
        ("arch,latency_ms\n421219,1\n", "architecture 1: '421219' is no cell"),
        ("arch,latency_ms\n", "no table of networks"),
    ],
)
def test_a_doubtful_row_of_values_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "v.csv").write_text(text)
    arguments = ("--values", tmp_path / "v.csv", "--space", "nasbench201", "--device", "box", "--out", tmp_path)
    code, answer = run(*arguments, "--format", "eagle")
    assert code in (2, 5), answer
    assert re.search(message, answer), answer


def test_a_network_of_the_order_without_a_value_is_named(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("arch,latency_ms\n421211,2\n")
    (tmp_path / "order.txt").write_text("421211\n334131\n")
    arguments = ("--values", tmp_path / "v.csv", "--space", "nasbench201", "--device", "box", "--out", tmp_path)
    code, answer = run(*arguments, "--format", "eagle", "--archs", tmp_path / "order.txt")
    assert (code, "no row for 1 of the 2 networks, first |nor_conv_3x3~0|" in answer) == (2, True), answer


def test_values_of_a_chain_space_may_name_any_of_its_resolutions(tmp_path: Path) -> None:
    spaces = [load_space("ofa-mobilenetv3", resolution=side) for side in (160, 224)]
    archs = [space.decode(space.sample(1, seed=0))[0] for space in spaces]
    quoted = ['"' + json.dumps(arch).replace('"', '""') + '"' for arch in archs]
    (tmp_path / "v.csv").write_text("arch,latency_ms\n" + "".join(f"{arch},{i + 1}\n" for i, arch in enumerate(quoted)))
    code, output = run(
        *("--values", tmp_path / "v.csv", "--space", "ofa-mobilenetv3", "--device", "box", "--format", "dynas-t"),
        *("--out", tmp_path),
    )
    assert code == 0, output
    assert json.loads((tmp_path / "ofa-mobilenetv3-box-latency.csv.edgecost.json").read_text())["resolutions"] == [
        160,
        224,
    ]


def test_an_onboarded_device_prices_the_benchmark_in_its_own_order(tmp_path: Path) -> None:
    space = NasBench201()
    cells = space.pool[np.random.default_rng(0).choice(len(space.pool), 60, replace=False)]
    encoding = space.encode(cells)
    model = prepare(Fleet(encoding, ())).fit(np.arange(20), 3.0 + (cells[:20] >= 2).sum(axis=1))
    told = {"device": "pi", "device_description": "a board", "profile": "p", "made_at": "2026-01-01", "verdict": "good"}
    save_onboarded(OnboardedDevice(SpaceId("nasbench201", None, None), portable(model), (), told), tmp_path / "pi")
    device = load_onboarded(tmp_path / "pi")
    code, output = run(tmp_path / "pi", "--format", "hw-nas-bench-201", "--out", tmp_path)
    assert code == 0, output
    read = pickle.loads((tmp_path / "HW-NAS-Bench-pi.pickle").read_bytes())  # noqa: S301 - we just wrote it
    expected = device.price(space.order)
    np.testing.assert_array_equal(read["nasbench201"]["cifar10"]["edgegpu_latency"], expected.latency_ms)
    side = json.loads((tmp_path / "HW-NAS-Bench-pi.pickle.edgecost.json").read_text())
    (metric,) = side["metrics"]
    assert metric["unknown"] == int(expected.degenerate.sum()) > 0
    first = int(np.flatnonzero(~expected.degenerate)[0])
    assert (metric["lo"][first], metric["hi"][first]) == (expected.lo_ms[first], expected.hi_ms[first])
    code, message = run(tmp_path / "pi", "--format", "naslib", "--metric", "energy", "--out", tmp_path)
    assert (code, "knows no energy" in message) == (2, True)
    assert run(tmp_path / "pi", "--format", "eagle", "--samples", "15625", "--out", tmp_path)[0] == 5
    code, _ = run(tmp_path / "pi", "--format", "eagle", "--samples", "50", "--unknown", "0.5", "--out", tmp_path)
    assert code == 0


def test_the_list_of_formats_says_who_reads_them() -> None:
    rows = {row["name"]: row for row in json.loads(run("--list", "--json")[1])["formats"]}
    assert set(rows) == set(arch_format_names())
    assert (rows["naslib"]["units"], rows["help"]["needs"]) == ({"latency": "s"}, ["torch"])
    assert "syne-tune" in run("--list")[1]
