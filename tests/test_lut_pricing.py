"""Files of architectures in every form, priced in batches: the numbers are those of ``Lut.price``, in order."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from edgecost.cli.main import cli
from edgecost.costmodels import lut_pricing
from edgecost.costmodels.lut import Lut
from edgecost.costmodels.lut_formats.contract import checksum_lut, without
from edgecost.costmodels.lut_pricing import price_file
from edgecost.costmodels.space_file import load_space
from edgecost.costmodels.spaces.coding import Numeric
from edgecost.profiler.errors import EdgecostError, GateError, OutputError, UsageError

OFA = load_space("ofa-mobilenetv3")
LUT = checksum_lut(OFA, scale=0.5, offset_ms=7.0)


def as_npy(archs: Numeric, folder: Path) -> Path:
    np.save(folder / "archs.npy", archs)
    return folder / "archs.npy"


def as_csv(archs: Numeric, folder: Path) -> Path:
    lines = [",".join(f"p{place}" for place in range(archs.shape[1])), *(",".join(map(str, row)) for row in archs)]
    (folder / "archs.csv").write_text("\n".join(lines) + "\n")
    return folder / "archs.csv"


def as_columns(archs: Numeric, folder: Path) -> Path:
    pq.write_table(pa.table({f"p{place}": column for place, column in enumerate(archs.T)}), folder / "archs.parquet")
    return folder / "archs.parquet"


def as_lists(archs: Numeric, folder: Path) -> Path:
    pq.write_table(pa.table({"arch": archs.tolist()}), folder / "archs.parquet")
    return folder / "archs.parquet"


def as_native(archs: Numeric, folder: Path) -> Path:
    (folder / "archs.jsonl").write_text("".join(json.dumps(arch) + "\n" for arch in OFA.decode(archs)))
    return folder / "archs.jsonl"


def read(file: Path) -> dict[str, list[float]]:
    if file.suffix == ".npy":
        return {"latency_ms": np.load(file, allow_pickle=False).tolist()}
    if file.suffix == ".csv":
        names, *rows = (line.split(",") for line in file.read_text().split())
        return {name: [float(row[i]) for row in rows] for i, name in enumerate(names)}
    table: dict[str, list[float]] = pq.read_table(file).to_pydict()
    return table


@pytest.mark.parametrize("write", [as_npy, as_csv, as_columns, as_lists, as_native])
@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".npy"])
def test_every_form_gives_the_prices_of_the_table_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Numeric, Path], Path], suffix: str
) -> None:
    monkeypatch.setattr(lut_pricing, "BATCH", 64)
    archs = OFA.sample(300, 1)
    told: list[int] = []
    found = price_file(LUT, OFA, write(archs, tmp_path), tmp_path / f"prices{suffix}", told.append)
    columns = read(found.file)
    np.testing.assert_array_equal(columns["latency_ms"], LUT.price(archs))
    if suffix != ".npy":
        np.testing.assert_array_equal(columns["sum_ms"], LUT.price(archs, corrected=False))
        rows = {cell.key: LUT.query(cell.key).energy_mj or 0.0 for cell in OFA.measurable}
        energies = [sum(rows[cell.key] for cell in OFA.cells_of(arch)) for arch in archs]
        np.testing.assert_array_equal(columns["energy_mj"], energies)
    assert (found.networks, sum(told), len(told)) == (300, 300, 5)
    assert (found.least_ms, found.most_ms) == (LUT.price(archs).min(), LUT.price(archs).max())
    assert len(list(tmp_path.iterdir())) == 2, "no draft is left"


def test_without_the_energy_of_one_cell_there_is_no_column_of_energies(tmp_path: Path) -> None:
    energy_mj = np.array([np.nan, *np.ones(len(LUT) - 1)])
    found = price_file(
        replace(LUT, energy_mj=energy_mj), OFA, as_npy(OFA.sample(3, 1), tmp_path), tmp_path / "prices.csv"
    )
    assert not found.energy
    assert list(read(found.file)) == ["sum_ms", "latency_ms"]


def test_a_row_that_is_no_architecture_is_named_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lut_pricing, "BATCH", 10)
    archs = OFA.sample(30, 1)
    archs[25, 3] = 12
    file = as_npy(archs, tmp_path)
    with pytest.raises(UsageError, match=r"counted from row 20: architecture 5, position 3.*no candidate 12"):
        price_file(LUT, OFA, file, tmp_path / "prices.csv")
    assert [one.name for one in tmp_path.iterdir()] == ["archs.npy"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("archs.npy", b"not an array"),
        ("archs.parquet", b"not a table"),
        ("archs.csv", b"a,b\n1,2\n"),
        ("archs.csv", b",".join([b"p"] * 20) + b"\n" + b",".join([b"x"] * 20) + b"\n"),
        ("archs.csv", b",".join([b"p"] * 20) + b"\n1,2\n"),
        ("archs.jsonl", b"{\n"),
        ("archs.jsonl", b'{"ks": [3]}\n'),
        ("archs.jsonl", b""),
        ("archs.jsonl", b"\xff\xfe\n"),
        ("archs.txt", b"1 2 3\n"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_its_name(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=name):
        price_file(LUT, OFA, tmp_path / name, tmp_path / "prices.parquet")
    assert [one.name for one in tmp_path.iterdir()] == [name]


def test_floats_and_pickles_are_no_architectures(tmp_path: Path) -> None:
    np.save(tmp_path / "floats.npy", np.ones((2, 20)))
    np.save(tmp_path / "objects.npy", np.array([None]), allow_pickle=True)
    for name in ("floats.npy", "objects.npy"):
        with pytest.raises(UsageError, match=name):
            price_file(LUT, OFA, tmp_path / name, tmp_path / "prices.csv")


def test_a_cell_that_the_table_lacks_is_named(tmp_path: Path) -> None:
    lost = OFA.fixed[0].key
    with pytest.raises(GateError, match=lost):
        price_file(without(LUT, lost), OFA, as_npy(OFA.sample(2, 0), tmp_path), tmp_path / "prices.csv")


def test_a_target_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    file = as_npy(OFA.sample(2, 0), tmp_path)
    with pytest.raises(UsageError, match="cannot be written"):
        price_file(LUT, OFA, file, tmp_path / "prices.xlsx")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        price_file(LUT, OFA, file, tmp_path / "file" / "prices.csv")


def run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["lut", "price", *map(str, arguments)])
    if isinstance(result.exception, EdgecostError):
        return result.exception.exit_code, result.exception.message
    return result.exit_code, result.output


def test_the_command_prices_a_file(tmp_path: Path) -> None:
    table = LUT.save(tmp_path / "table.json")
    file = as_native(OFA.sample(5, 1), tmp_path)
    code, output = run(table, "--archs", file, "--out", tmp_path / "prices.parquet", "--json")
    assert code == 0
    assert json.loads(output)["networks"] == 5
    assert "5 architectures" in run(table, "--archs", file, "--out", tmp_path / "prices.parquet")[1]
    np.testing.assert_array_equal(
        read(tmp_path / "prices.parquet")["latency_ms"], Lut.load(table).price(OFA.sample(5, 1))
    )
