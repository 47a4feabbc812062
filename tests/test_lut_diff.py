"""Two tables that differ in a known way, compared."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgecost.cli.main import cli
from edgecost.costmodels.lut import Lut
from edgecost.costmodels.lut_diff import diff_luts
from edgecost.costmodels.lut_formats.contract import checksum_lut, without
from edgecost.costmodels.space_file import load_space
from edgecost.profiler.errors import UsageError

FBNET = load_space("fbnet")


def changed(factor: float, layer: str = "", beyond: float = 1.0) -> tuple[Lut, Lut]:
    """A table, and another that is slower by a factor, the cells of one layer by more."""
    first = checksum_lut(FBNET)
    ours = {cell.key for cell in FBNET.measurable if cell.layer == layer}
    times = np.array([factor * (beyond if key in ours else 1.0) for key in first.keys])
    provenance = {**first.provenance, "device": "another"}
    return first, replace(first, latency_ms=first.latency_ms * times, provenance=provenance)


def test_a_device_that_is_slower_throughout_differs_by_a_factor_and_nothing_else() -> None:
    found = diff_luts(*changed(2.5), FBNET)
    assert (found.factor, found.network_factor) == pytest.approx((2.5, 2.5))
    assert (found.rank_cells, found.rank_networks) == pytest.approx((1.0, 1.0))
    assert found.spread == pytest.approx(0.0, abs=1e-12)
    assert [one.beyond for one in found.layers] == pytest.approx([1.0] * len(found.layers))
    assert found.changed == {"device": ("checksum", "another")}


def test_the_layer_that_is_slower_than_the_rest_is_found_with_its_cells() -> None:
    found = diff_luts(*changed(2.0, "stage5", 1.5), FBNET)
    assert found.factor == pytest.approx(2.0)
    assert {one.layer: round(one.beyond, 6) for one in found.layers}["stage5"] == 1.5
    assert {one.layer for one in found.cells if one.beyond > 1.01} == {"stage5"}
    assert found.cells[0].ratio == pytest.approx(3.0)
    assert found.rank_networks is not None
    assert found.rank_networks < 1


@pytest.mark.parametrize(("reach", "apart"), [(0.1, True), (0.6, False)])
def test_intervals_are_compared_after_the_common_factor(reach: float, apart: bool) -> None:
    first, second = changed(2.0, "stage5", 1.5)
    first, second = (
        replace(one, lo_ms=one.latency_ms * (1 - reach), hi_ms=one.latency_ms * (1 + reach)) for one in (first, second)
    )
    found = diff_luts(first, second, FBNET)
    assert {one.intervals_apart for one in found.cells if one.layer == "stage5"} == {apart}
    assert {one.intervals_apart for one in found.cells if one.layer != "stage5"} == {False}
    assert {one.intervals_apart for one in diff_luts(*changed(2.0), FBNET).cells} == {None}


def test_cells_that_one_table_lacks_are_named_and_networks_not_compared() -> None:
    first, second = changed(2.0)
    lost = FBNET.measurable[7].key
    found = diff_luts(first, without(second, lost), FBNET)
    assert (found.only_first, found.only_second) == ((lost,), ())
    assert (found.rank_networks, found.network_factor) == (None, None)


def test_tables_of_two_spaces_are_not_compared() -> None:
    other = checksum_lut(load_space("fbnet", resolution=192))
    with pytest.raises(UsageError, match="resolution: 224 and 192"):
        diff_luts(checksum_lut(FBNET), other, FBNET)


def test_the_command_prints_factor_layers_and_cells(tmp_path: Path) -> None:
    first, second = (lut.save(tmp_path / f"{i}.json") for i, lut in enumerate(changed(2.0, "stage5", 1.5)))
    output = CliRunner().invoke(cli, ["lut", "diff", str(first), str(second)]).output
    assert "2.000 times as long" in output
    assert "device: checksum → another" in output
    assert "+50.0%" in output
    document = json.loads(CliRunner().invoke(cli, ["lut", "diff", str(first), str(second), "--json"]).output)
    assert document["factor"] == pytest.approx(2.0)
    assert len(document["cells"]) == len(FBNET.measurable)
