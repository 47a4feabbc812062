"""Sums of a table against whole networks: known biases are found, corrected, and judged on networks not fitted on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecost.cli.main import cli
from edgecost.costmodels.local_setting import LocalSetting
from edgecost.costmodels.lut import Lut, LutCell
from edgecost.costmodels.lut_audit import (
    LutAudit,
    audit_lut,
    choose_policy,
    fit_correction,
    layer_costs,
    suspect_layers,
)
from edgecost.costmodels.lut_build import lut_provenance
from edgecost.costmodels.lut_formats import lut_format
from edgecost.costmodels.lut_formats.contract import checksum_provenance
from edgecost.costmodels.space import Space
from edgecost.costmodels.space_file import load_space
from edgecost.db import Store
from edgecost.profiler.errors import GateError, UsageError
from tests.trained_store import OVERHEAD_MS, write

OFA = load_space("ofa-mobilenetv3")
Floats = np.ndarray


def table(space: Space, seed: int = 0) -> Lut:
    rng = np.random.default_rng(seed)
    rows = [LutCell(cell.key, float(rng.uniform(0.5, 2.0)), None, None, 0, "predicted") for cell in space.measurable]
    return Lut.from_cells(rows, checksum_provenance(space))


def measured(lut: Lut, archs: Floats, scale: float, offset_ms: float, noise: float, seed: int = 1) -> Floats:
    sums = lut.price(archs, corrected=False)
    return (scale * sums + offset_ms) * np.random.default_rng(seed).normal(1, noise, len(archs))


def audited(scale: float, offset_ms: float, noise: float, count: int = 40, fit: int = 8) -> LutAudit:
    lut, archs = table(OFA), OFA.sample(count, 3)
    return audit_lut(lut, OFA, archs, measured(lut, archs, scale, offset_ms, noise), fit=fit)


@given(
    scale=st.floats(0.3, 3),
    offset_ms=st.floats(-3, 3),
    policy=st.sampled_from(["scale", "offset", "scale+offset"]),
    seed=st.integers(0, 10**6),
)
@settings(deadline=None)
def test_a_law_without_noise_is_found_exactly_also_beside_one_wild_network(
    scale: float, offset_ms: float, policy: str, seed: int
) -> None:
    scale = 1.0 if policy == "offset" else scale
    offset_ms = 0.0 if policy == "scale" else offset_ms
    rng = np.random.default_rng(seed)
    sums = rng.uniform(10, 40, size=11)
    truth = scale * sums + offset_ms
    truth[rng.integers(11)] *= 5
    found = fit_correction(sums, truth, policy)  # type: ignore[arg-type]  # one of the policies
    assert (found.scale, found.offset_ms) == pytest.approx((scale, offset_ms), rel=1e-6, abs=1e-6)


def test_a_factor_alone_is_taken_where_a_constant_does_not_help() -> None:
    assert audited(1.2, 0.0, 0.01).correction.policy == "scale"


def test_a_constant_is_taken_where_networks_left_out_are_nearer_with_it() -> None:
    found = audited(0.9, 6.0, 0.002)
    assert found.correction.policy == "scale+offset"
    assert found.correction.scale == pytest.approx(0.9, rel=0.02)
    assert found.correction.offset_ms == pytest.approx(6.0, rel=0.1)
    assert found.held_out.within_2 == 1.0


def test_a_constant_alone_is_taken_where_that_is_all_there_is() -> None:
    rng = np.random.default_rng(0)
    sums = rng.uniform(5, 50, size=8)
    assert choose_policy(sums, sums + 4.0) == "offset"


def test_the_networks_that_judge_have_not_been_fitted_on() -> None:
    lut, archs = table(OFA), OFA.sample(40, 3)
    truth = measured(lut, archs, 1.1, 0.0, 0.01)
    found = audit_lut(lut, OFA, archs, truth, fit=8, policy="scale")
    fitted = [one for one in found.networks if one.role == "fit"]
    judged = [one for one in found.networks if one.role == "judge"]
    assert (len(fitted), len(judged), found.fitted_on, found.held_out.n) == (8, 32, 8, 32)
    assert found.correction.scale == pytest.approx(np.median([one.measured_ms / one.sum_ms for one in fitted]))
    assert found.held_out.mape_percent == pytest.approx(100 * np.mean([abs(one.error) for one in judged]))
    assert fitted[0].sum_ms < np.median([one.sum_ms for one in judged]) < fitted[-1].sum_ms, "spread over the range"


def test_few_networks_are_left_out_in_turn() -> None:
    found = audited(1.1, 0.0, 0.02, count=9)
    assert {one.role for one in found.networks} == {"left out"}
    assert found.provenance()["judged"] == "networks left out in turn"
    ratios = np.array([one.measured_ms / one.sum_ms for one in found.networks])
    first = found.networks[0]
    assert first.corrected_ms == pytest.approx(first.sum_ms * np.median(ratios[1:]))


def test_three_networks_are_too_few() -> None:
    with pytest.raises(UsageError, match="too few"):
        audited(1.1, 0.0, 0.02, count=3)


def test_bias_and_spread_are_those_of_the_plain_sum() -> None:
    found = audited(1 / 1.25, 0.0, 0.0)
    assert (found.bias, found.spread) == pytest.approx((0.25, 0.0), abs=1e-9)


def test_nine_tenths_of_resampled_fits_lie_around_the_factor() -> None:
    correction = audited(1.2, 0.0, 0.02).correction
    assert correction.scale_range is not None
    assert correction.scale_range[0] < correction.scale < correction.scale_range[1]
    assert correction.scale_range[1] - correction.scale_range[0] < 0.1
    assert correction.offset_range_ms is None


def test_layer_costs_add_up_to_the_sum() -> None:
    lut, archs = table(OFA), OFA.sample(20, 5)
    names, costs = layer_costs(lut, OFA, archs)
    assert len(names) == costs.shape[1]
    np.testing.assert_allclose(costs.sum(axis=1), lut.price(archs, corrected=False))


def test_the_layer_whose_cells_are_wrong_is_named_with_how_far_they_are() -> None:
    lut, archs = table(OFA), OFA.sample(60, 3)
    names, costs = layer_costs(lut, OFA, archs)
    wrong = names.index("stage3")
    truth = lut.price(archs, corrected=False) + 0.3 * costs[:, wrong]
    suspects = audit_lut(lut, OFA, archs, truth * np.random.default_rng(0).normal(1, 0.002, 60)).suspects
    assert suspects[0].layer == "stage3"
    assert suspects[0].bias == pytest.approx(0.3, abs=0.1)
    assert suspects[0].chance < 0.01


def test_noise_makes_no_layer_stand_out_more_often_than_chance() -> None:
    lut, archs = table(OFA), OFA.sample(30, 3)
    named = sum(
        bool(suspect_layers(lut, OFA, archs, np.random.default_rng(seed).normal(size=30), seed)) for seed in range(60)
    )
    assert named <= 9, "one in twenty is expected, nine of sixty come about once in five hundred runs"


@pytest.fixture
def filled(tmp_path: Path) -> tuple[Path, Path, list[float]]:
    """A table of this machine, and a store with 20 networks that take 1.1 times as long and half a millisecond."""
    url = f"sqlite:///{tmp_path / 'store.sqlite'}"
    setting = LocalSetting.here()
    environment = setting.stage.environment.environment_hash
    cells = table(OFA).cells
    lut = Lut.from_cells(cells, lut_provenance(OFA, setting.device, setting.profile, environment, None, 0))
    archs = OFA.sample(20, 9)
    latency_ms = [1.1 * float(one) + 0.5 for one in lut.price(archs, corrected=False)]
    with Store(url) as store:
        setting.store_in(store)
        for arch, one in zip(archs, latency_ms, strict=True):
            write(store, setting, OFA.build(arch), one - OVERHEAD_MS, purpose="network")
    return lut.save(tmp_path / "table.json"), tmp_path / "store.sqlite", latency_ms


def command(store: Path, *arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["lut", "audit", *map(str, arguments), "--db", f"sqlite:///{store}"])


def test_the_command_corrects_a_table_by_the_networks_of_the_store(
    filled: tuple[Path, Path, list[float]], tmp_path: Path
) -> None:
    lut_file, store, latency_ms = filled
    result = command(store, lut_file, "--correction", "scale+offset", "--out", tmp_path / "corrected.json", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.output)
    assert sorted(one["measured_ms"] for one in document["networks"]) == pytest.approx(sorted(latency_ms))
    corrected = Lut.load(tmp_path / "corrected.json")
    assert (corrected.scale, corrected.offset_ms) == pytest.approx((1.1, 0.5))
    assert corrected.scale_fitted_on == 8
    assert corrected.provenance["correction"] == document["correction"]
    np.testing.assert_allclose(corrected.price(OFA.sample(20, 9)), latency_ms)


def test_the_correction_stands_in_the_side_file_of_an_export(
    filled: tuple[Path, Path, list[float]], tmp_path: Path
) -> None:
    command(filled[1], filled[0], "--out", tmp_path / "corrected.json")
    corrected = Lut.load(tmp_path / "corrected.json")
    side = json.loads(lut_format("ofa").write(corrected, OFA, tmp_path)[1].read_text(encoding="utf-8"))
    assert side["provenance"]["correction"]["judged_on"] == 12
    assert (side["scale"], side["offset_ms"]) == (corrected.scale, corrected.offset_ms)


def test_the_command_says_for_people_what_it_found(filled: tuple[Path, Path, list[float]]) -> None:
    output = command(filled[1], filled[0]).output
    assert "12 networks that no fit has seen" in output
    assert "No layer stands out" in output
    assert "Furthest off" in output


def test_too_few_within_five_per_cent_is_exit_code_5(filled: tuple[Path, Path, list[float]]) -> None:
    result = command(filled[1], filled[0], "--correction", "none", "--require", "90")
    assert isinstance(result.exception, GateError)
    assert command(filled[1], filled[0], "--require", "90").exit_code == 0


def test_a_table_of_another_runtime_is_not_compared(filled: tuple[Path, Path, list[float]]) -> None:
    result = command(filled[1], filled[0], "--threads", "2")
    assert isinstance(result.exception, UsageError)
    assert "--threads" in result.exception.remedy


def test_a_table_of_another_device_is_not_measured_here(filled: tuple[Path, Path, list[float]], tmp_path: Path) -> None:
    lut = Lut.load(filled[0])
    elsewhere = Lut.from_cells(lut.cells, {**lut.provenance, "device_identity": "0" * 64})
    result = command(filled[1], elsewhere.save(tmp_path / "other.json"), "--measure", "2")
    assert isinstance(result.exception, UsageError)
    assert "not this machine" in result.exception.message
