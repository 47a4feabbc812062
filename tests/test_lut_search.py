"""The example of a search: nothing above the limit, the exact front of a list, and of a small space nearly so."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from edgecost.cli.main import cli
from edgecost.costmodels.cell_macs import cell_macs
from edgecost.costmodels.cost_table import CostTable
from edgecost.costmodels.lut_formats.contract import checksum_lut
from edgecost.costmodels.lut_search import front_of, read_accuracies, search_by_work, search_listed
from edgecost.costmodels.space import Space
from edgecost.costmodels.space_file import load_space
from edgecost.costmodels.spaces.coding import Numeric
from edgecost.profiler.errors import EdgecostError, GateError, MissingPackage, UsageError

SMALL = load_space(Path(__file__).with_name("tiny.toml"))
LUT = checksum_lut(SMALL, scale=0.5)


def everything(space: Space) -> Numeric:
    return space.sample(space.size, 0)


@given(
    st.lists(st.tuples(st.integers(1, 20), st.integers(0, 20)), min_size=1, max_size=40),
    st.integers(1, 20),
)
def test_the_front_holds_what_no_other_network_below_the_limit_dominates(
    points: list[tuple[int, int]], limit: int
) -> None:
    latency, value = (np.array(column, dtype=np.float64) for column in zip(*points, strict=True))
    archs = np.arange(len(points), dtype=np.int16)[:, None]
    below = {point for point in points if point[0] <= limit}
    expected = {(a, b) for a, b in below if not any(c <= a and d >= b and (c, d) != (a, b) for c, d in below)}
    if not below:
        with pytest.raises(GateError, match="the fastest takes"):
            front_of(archs, latency, value, limit)
        return
    found = front_of(archs, latency, value, limit)
    assert set(zip(found.latency_ms.tolist(), found.value.tolist(), strict=True)) == expected
    assert len(found.archs) == len(expected)
    np.testing.assert_array_equal(latency[found.archs[:, 0]], found.latency_ms)


def test_work_is_summed_over_the_cells() -> None:
    macs = cell_macs(SMALL)
    archs = everything(SMALL)
    expected = [sum(macs[cell.key] for cell in SMALL.cells_of(arch)) for arch in archs]
    np.testing.assert_array_equal(CostTable.from_costs(SMALL, macs).price(archs), expected)


def listed(folder: Path, archs: Numeric, accuracy: np.ndarray) -> Path:
    with (folder / "accuracy.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*(f"p{place}" for place in range(archs.shape[1])), "accuracy"])
        writer.writerows([*arch, value] for arch, value in zip(archs.tolist(), accuracy.tolist(), strict=True))
    return folder / "accuracy.csv"


def test_the_front_of_listed_networks_is_exact(tmp_path: Path) -> None:
    archs = everything(SMALL)
    accuracy = np.random.default_rng(0).uniform(60, 80, len(archs))
    prices = LUT.price(archs, space=SMALL)
    limit = float(np.median(prices))
    found = search_listed(LUT, SMALL, listed(tmp_path, archs, accuracy), limit)
    expected = front_of(archs, prices, accuracy, limit)
    np.testing.assert_array_equal(found.archs, expected.archs)
    assert found.value.max() == accuracy[prices <= limit].max()


@pytest.mark.parametrize(
    "content",
    ["", "p0,p1\n1,2\n", "p0,p1,p2,p3,accuracy\n0,0,0,0\n", "p0,p1,p2,p3,accuracy\n0,0,0,0,nan\n",
     "p0,p1,p2,p3,accuracy\n0,0,0,0,good\n", "p0,p1,p2,p3,latency\n0,0,0,0,1\n"],
)  # fmt: skip
def test_a_file_of_accuracies_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    assert len(SMALL.positions) == 4
    (tmp_path / "accuracy.csv").write_text(content)
    with pytest.raises(UsageError, match=r"accuracy\.csv"):
        read_accuracies(tmp_path / "accuracy.csv", SMALL)


def test_without_pymoo_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pymoo.algorithms.moo.nsga2", None)
    with pytest.raises(MissingPackage, match=r"edgecost\[search\]"):
        search_by_work(LUT, SMALL, 1e12)


def test_nsga2_finds_the_front_of_a_small_space() -> None:
    pytest.importorskip("pymoo", reason="pymoo is not installed")
    archs = everything(SMALL)
    macs, prices = cell_macs(SMALL), LUT.price(archs, space=SMALL)
    limit = float(np.quantile(prices, 0.7))
    expected = front_of(archs, prices, CostTable.from_costs(SMALL, macs).price(archs), limit)
    found = search_by_work(LUT, SMALL, limit, population=40, generations=40, seed=1)
    np.testing.assert_array_equal(found.latency_ms, expected.latency_ms)
    np.testing.assert_array_equal(found.value, expected.value)


def test_nsga2_repeats_itself_and_keeps_to_the_limit() -> None:
    pytest.importorskip("pymoo", reason="pymoo is not installed")
    space = load_space("ofa-mobilenetv3")
    lut = checksum_lut(space)
    limit = float(np.quantile(lut.price(space.sample(500, 1)), 0.3))
    one, other = (search_by_work(lut, space, limit, population=16, generations=5, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.archs, other.archs)
    assert one.latency_ms.max() <= limit
    assert (np.diff(one.latency_ms) > 0).all()
    assert (np.diff(one.value) > 0).all()


def run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["lut", "search", *map(str, arguments)])
    if isinstance(result.exception, EdgecostError):
        return result.exception.exit_code, result.exception.message
    return result.exit_code, result.output


def test_the_command_searches_a_list_and_writes_the_front(tmp_path: Path) -> None:
    archs = everything(SMALL)
    file = listed(tmp_path, archs, np.random.default_rng(0).uniform(60, 80, len(archs)))
    table = LUT.save(tmp_path / "table.json")
    limit = f"latency_ms={float(np.median(LUT.price(archs, space=SMALL)))}"
    space = Path(__file__).with_name("tiny.toml")
    common = (table, "--limit", limit, "--maximize", file, "--space", space)
    code, output = run(*common, "--out", tmp_path / "front.csv", "--json")
    assert code == 0
    networks = json.loads(output)["networks"]
    with (tmp_path / "front.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [float(row["accuracy"]) for row in rows] == [one["accuracy"] for one in networks]
    assert [float(row["latency_ms"]) for row in rows] == [one["latency_ms"] for one in networks]
    assert "on the front" in run(*common)[1]
    assert run(table, "--limit", "latency_ms=0.001", "--maximize", file, "--space", space)[0] == 5
