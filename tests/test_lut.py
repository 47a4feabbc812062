"""The native lookup table: laws of pricing, the file, and what is refused."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecost.costmodels.lut import Lut, LutCell
from edgecost.costmodels.lut_formats.contract import checksum_lut, checksum_provenance, without
from edgecost.costmodels.space import Space
from edgecost.costmodels.space_file import load_space, read_space
from edgecost.profiler.errors import ArtefactError, EdgecostError, GateError, UsageError
from edgecost.profiler.records import content_hash

SPACES = ("fbnet", "ofa-mobilenetv3", "proxylessnas")
seeds = st.integers(0, 2**32 - 1)


@cache
def space(name: str) -> Space:
    return load_space(name)


@cache
def table(name: str) -> Lut:
    return checksum_lut(space(name))


@given(seed=seeds, name=st.sampled_from(SPACES))
def test_a_price_is_the_sum_of_the_cells(seed: int, name: str) -> None:
    archs = space(name).sample(4, seed)
    for arch, price in zip(archs, table(name).price(archs), strict=True):
        cells = [cell for cell in space(name).cells_of(arch) if not cell.absent]
        assert sum(table(name).query(cell.key).latency_ms for cell in cells) == price


@given(seed=seeds, name=st.sampled_from(SPACES))
def test_pricing_does_not_look_at_the_order_of_the_population(seed: int, name: str) -> None:
    archs = space(name).sample(20, seed)
    order = np.random.default_rng(seed).permutation(20)
    np.testing.assert_array_equal(table(name).price(archs)[order], table(name).price(archs[order]))


@given(seed=seeds, name=st.sampled_from(SPACES))
def test_both_forms_of_an_architecture_have_one_price(seed: int, name: str) -> None:
    archs = space(name).sample(3, seed)
    natives = space(name).decode(archs)
    np.testing.assert_array_equal(table(name).price(archs), table(name).price(natives))
    np.testing.assert_array_equal(table(name).price(archs)[:1], table(name).price(archs[0]))


@given(first=st.floats(0.01, 100), second=st.floats(0.01, 100), seed=seeds)
def test_prices_of_two_tables_add_up(first: float, second: float, seed: int) -> None:
    base = table("ofa-mobilenetv3")
    archs = space("ofa-mobilenetv3").sample(5, seed)
    parts = [replace(base, latency_ms=base.latency_ms * factor) for factor in (first, second)]
    whole = replace(base, latency_ms=parts[0].latency_ms + parts[1].latency_ms)
    np.testing.assert_allclose(parts[0].price(archs) + parts[1].price(archs), whole.price(archs), rtol=1e-12)


def test_a_single_native_dictionary_is_priced() -> None:
    native = space("ofa-mobilenetv3").decode(space("ofa-mobilenetv3").sample(1, 0))[0]
    assert isinstance(native, dict)
    assert table("ofa-mobilenetv3").price(native).shape == (1,)


def test_the_factor_is_applied_only_to_corrected_prices() -> None:
    lut = table("ofa-mobilenetv3").with_scale(1.25, 8)
    archs = space("ofa-mobilenetv3").sample(10, 0)
    np.testing.assert_array_equal(lut.price(archs, corrected=False), table("ofa-mobilenetv3").price(archs))
    np.testing.assert_allclose(lut.price(archs), 1.25 * lut.price(archs, corrected=False), rtol=1e-12)


def test_100_000_architectures_are_priced_in_well_under_a_second() -> None:
    archs = np.tile(space("ofa-mobilenetv3").sample(1000, 0), (100, 1))
    begin = time.perf_counter()
    prices = table("ofa-mobilenetv3").price(archs)
    assert time.perf_counter() - begin < 1.0
    assert prices.shape == (100_000,)


def test_an_empty_population_has_no_prices() -> None:
    assert table("fbnet").price(np.empty((0, 22), dtype=np.int16)).shape == (0,)
    assert table("fbnet").price([]).shape == (0,)


def test_a_missing_cell_is_never_free() -> None:
    made = space("ofa-mobilenetv3")
    lost = made.positions[3].cells[4].key
    lut = without(table("ofa-mobilenetv3"), lost)
    assert (lost,) == lut.missing(made)
    with pytest.raises(GateError, match=lost):
        lut.query(lost)
    with pytest.raises(GateError, match=lost):
        lut.require(made)
    arch = np.full(20, 4)
    with pytest.raises(GateError, match="lacks 1 cell:") as caught:
        lut.price(arch)
    assert lost in str(caught.value)
    assert caught.value.exit_code == 5


def test_architectures_that_do_not_use_a_missing_cell_are_priced() -> None:
    made = space("ofa-mobilenetv3")
    lut = without(table("ofa-mobilenetv3"), made.positions[3].cells[4].key)
    arch = np.zeros(20, dtype=np.int16)
    np.testing.assert_array_equal(table("ofa-mobilenetv3").price(arch), lut.price(arch))


def test_a_missing_fixed_cell_stops_everything() -> None:
    made = space("fbnet")
    with pytest.raises(GateError, match=made.fixed[0].key):
        without(table("fbnet"), made.fixed[0].key).price(np.zeros(22, dtype=np.int16))


def test_identities_need_no_row_and_may_have_one() -> None:
    made = space("proxylessnas")
    assert table("proxylessnas").missing(made) == ()
    rows = [LutCell(cell.key, 0.0, 0.0, 0.0, 0, "absent") for cell in made.cells if cell.absent]
    full = Lut.from_cells([*table("proxylessnas").cells, *rows], checksum_provenance(made))
    archs = made.sample(10, 0)
    np.testing.assert_array_equal(table("proxylessnas").price(archs), full.price(archs))


def test_the_table_of_somebodys_own_space_is_priced_with_that_space() -> None:
    text = """
        name = "own"
        title = "own"
        citation = "none"
        resolution = 8
        width = 1.0
        native = { form = "indices" }
        layer = [{ name = "one", block = "conv", out = 4, kernel = [1, 3] }]
    """
    own = read_space(text, "own.toml")
    lut = checksum_lut(own)
    assert lut.price([[0], [1]], space=own).tolist() == [lut.query(cell.key).latency_ms for cell in own.cells]
    with pytest.raises(UsageError, match="own"):
        lut.price([[0]])


def mixed() -> Lut:
    rows = [
        LutCell("a", 1e-7, 0.5e-7, 2e-7, 12, "measured"),
        LutCell("b", 1 / 3, 0.2, 0.5, 0, "predicted", 0.7, None, 0.6, 0.9),
        LutCell("c", 2.0, None, None, 0, "interpolated"),
        LutCell("d", 0.0, 0.0, 0.0, 0, "absent"),
    ]
    provenance = {**checksum_provenance(space("fbnet")), "repeatability_percent": 1.5}
    return Lut.from_cells(rows, provenance, scale=1.1, scale_fitted_on=8)


def test_a_table_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    lut = mixed()
    back = Lut.load(lut.save(tmp_path / "new" / "table.json"))
    assert lut.cells == back.cells
    assert (lut.provenance, lut.scale, lut.scale_fitted_on) == (back.provenance, back.scale, back.scale_fitted_on)
    assert lut.content_sha256 == back.content_sha256
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["table.json"]


def test_the_constant_of_a_correction_is_kept_and_added_once_to_each_network(tmp_path: Path) -> None:
    fbnet = space("fbnet")
    lut = checksum_lut(fbnet, scale=0.5, offset_ms=-3.0)
    back = Lut.load(lut.save(tmp_path / "table.json"))
    archs = fbnet.sample(20, 1)
    assert back.offset_ms == -3.0
    np.testing.assert_array_equal(back.price(archs), 0.5 * lut.price(archs, corrected=False) - 3.0)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_file_of_an_older_schema_is_read(tmp_path: Path, version: int) -> None:
    lacking = {"energy_lo_mj": None, "energy_hi_mj": None} | ({"energy_mj": None} if version == 1 else {})
    expected = Lut.from_cells(
        [replace(row, **lacking) for row in mixed().cells], mixed().provenance, scale=1.1, scale_fitted_on=8
    )
    document = json.loads(expected.save(tmp_path / "table.json").read_text(encoding="utf-8"))
    document["schema_version"] = version
    if version < 3:
        del document["offset_ms"]
    for row in document["cells"]:
        del row["energy_lo_mj"], row["energy_hi_mj"]
        if version == 1:
            del row["energy_mj"], row["peak_memory_bytes"]
    document["content_sha256"] = content_hash({k: v for k, v in document.items() if k != "content_sha256"})
    (tmp_path / "old.json").write_text(json.dumps(document), encoding="utf-8")
    back = Lut.load(tmp_path / "old.json")
    assert (back.cells, back.scale, back.offset_ms) == (expected.cells, 1.1, 0.0)


def test_the_file_keeps_to_the_published_schema(tmp_path: Path) -> None:
    schema = json.loads((resources.files("edgecost.costmodels") / "lut_schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    for lut in (mixed(), *map(table, SPACES)):
        jsonschema.validate(json.loads(lut.save(tmp_path / "table.json").read_text(encoding="utf-8")), schema)
    document = json.loads((tmp_path / "table.json").read_text(encoding="utf-8"))
    document["cells"][0]["latency_ms"] = -1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)


def rehashed(document: dict[str, Any]) -> dict[str, Any]:
    content = {key: value for key, value in document.items() if key != "content_sha256"}
    return {**content, "content_sha256": content_hash(content)}


def change_cell(name: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["cells"][0].update({name: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_cell("latency_ms", -1.0), "not a positive number"),
        (change_cell("latency_ms", 0.0), "not a positive number"),
        (change_cell("latency_ms", None), "wrong type"),
        (change_cell("latency_ms", "1"), "wrong type"),
        (change_cell("latency_ms", True), "wrong type"),
        (change_cell("lo_ms", 1.0), "does not hold"),
        (change_cell("lo_ms", None), "does not hold"),
        (change_cell("energy_lo_mj", 1.0), "interval does not hold its energy"),
        (change_cell("energy_hi_mj", "1"), "wrong type"),
        (change_cell("n", 0), "visits"),
        (change_cell("n", 1.5), "wrong type"),
        (change_cell("source", "guessed"), "unknown source"),
        (change_cell("source", "absent"), "not a positive number"),
        (change_cell("key", "b"), "key twice"),
        (change_cell("extra", 1), "fields"),
        (lambda document: document.update(cells={}), "not what they should be"),
        (lambda document: document.update(scale=0), "not positive"),
        (lambda document: document.update(scale="1"), "not a number"),
        (lambda document: document.update(scale_fitted_on=0), "fitted on no network"),
        (lambda document: document["provenance"].pop("device"), "does not say: device"),
        (lambda document: document.update(schema_version=5), "schema version 5"),
        (lambda document: document.update(scale=10**400), "too large"),
        (change_cell("n", 10**40), "too large"),
        (lambda document: document.update(schema_version="1"), "schema version '1'"),
        (lambda document: document.update(format="other"), "not an edgecost lookup table"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    path = mixed().save(tmp_path / "table.json")
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(json.dumps(rehashed(document)), encoding="utf-8")
    with pytest.raises(ArtefactError, match=message) as caught:
        Lut.load(path)
    assert str(path) in caught.value.message


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: text.replace("0.3333333333333333", "0.3333333333333334"),
        lambda text: text.replace('"checksum"', '"jetson"'),
        lambda text: text.replace("0.3333333333333333", "NaN"),
        lambda text: text.replace("0.3333333333333333", "Infinity"),
        lambda text: text.replace("0.3333333333333333", "1e999"),
        lambda text: "[" * 100_000,
        lambda text: text.replace('"scale_fitted_on": 8,', ""),
        lambda text: text + "x",
    ],
)
def test_a_damaged_or_altered_file_is_refused(tmp_path: Path, damage: Callable[[str], str]) -> None:
    path = mixed().save(tmp_path / "table.json")
    before = path.read_text(encoding="utf-8")
    path.write_text(damage(before), encoding="utf-8")
    assert before != path.read_text(encoding="utf-8")
    with pytest.raises(ArtefactError) as caught:
        Lut.load(path)
    assert caught.value.exit_code == 8


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="cannot be read"):
        Lut.load(tmp_path / "none.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ArtefactError, match="cannot be read"):
        Lut.load(tmp_path / "bytes.json")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 0.0])
def test_a_table_with_an_impossible_latency_cannot_be_made(value: float) -> None:
    with pytest.raises(EdgecostError, match="not a positive number"):
        Lut.from_cells([LutCell("a", value, None, None, 1, "measured")], checksum_provenance(space("fbnet")))


def test_provenance_that_json_cannot_hold_is_refused() -> None:
    provenance = {**checksum_provenance(space("fbnet")), "repeatability_percent": float("nan")}
    with pytest.raises(ArtefactError, match="JSON cannot"):
        Lut.from_cells([LutCell("a", 1.0, None, None, 1, "measured")], provenance)


def test_the_columns_of_a_table_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        table("fbnet").latency_ms[0] = 1.0
