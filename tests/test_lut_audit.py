"""The audit of a table: laws with a known factor, constant and noise come back, and a layer that lies is named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecost.costmodels.audit_picture import audit_svg
from edgecost.costmodels.energy_table import energy_table
from edgecost.costmodels.lut import Lut
from edgecost.costmodels.lut_attribution import suspects
from edgecost.costmodels.lut_audit import audit_sums, corrected_table
from edgecost.costmodels.lut_correction import POLICIES, choose_policy, fit_correction
from edgecost.costmodels.lut_formats import lut_format
from edgecost.costmodels.lut_formats.contract import checksum_lut
from edgecost.costmodels.lut_formats.side import side_path
from edgecost.costmodels.space import Space
from edgecost.costmodels.space_file import load_space
from edgecost.profiler.errors import GateError, UsageError

SCALES = st.floats(0.2, 5.0)
#: Sums that are told apart: a constant stands on their differences.
SUMS = st.lists(st.integers(10, 400), min_size=7, max_size=25, unique=True).map(lambda s: np.array(s, dtype=float))


def names(count: int) -> list[str]:
    return [str(place) for place in range(count)]


@given(SUMS, SCALES, st.floats(0.0, 200.0))
def test_a_factor_and_a_constant_come_back(sums: np.ndarray, scale: float, offset: float) -> None:
    found = fit_correction("scale+offset", sums, scale * sums + offset)
    assert found.scale == pytest.approx(scale, rel=1e-6)
    assert found.offset_ms == pytest.approx(offset, rel=1e-6, abs=1e-6)
    assert found.networks == len(sums)
    assert found.apply(sums) == pytest.approx(scale * sums + offset)


@given(SUMS, st.floats(-9.0, 200.0))
def test_a_constant_alone_comes_back(sums: np.ndarray, offset: float) -> None:
    assert fit_correction("offset", sums, sums + offset).offset_ms == pytest.approx(offset, abs=1e-9)


@given(SUMS, SCALES, st.floats(0.0, 50.0), st.floats(1e-3, 1e3), st.data())
def test_one_wild_network_moves_no_fit(
    sums: np.ndarray, scale: float, offset: float, wild: float, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(sums) - 1))
    for policy, factor, constant in (("scale", scale, 0.0), ("offset", 1.0, offset), ("scale+offset", scale, offset)):
        measured = factor * sums + constant
        measured[place] *= wild
        found = fit_correction(policy, sums, measured, seed=None)
        others = np.arange(len(sums)) != place
        assert found.apply(sums)[others] == pytest.approx(measured[others], rel=1e-6)


@given(SUMS, SCALES, st.floats(1e-3, 1e3), st.data())
def test_a_factor_is_enough_where_there_is_no_constant(
    sums: np.ndarray, scale: float, wild: float, data: st.DataObject
) -> None:
    measured = scale * sums
    measured[data.draw(st.integers(0, len(sums) - 1))] *= wild
    # A factor of one is no correction; near it, a single wild network may hide the difference.
    expected = {"scale"} if abs(scale - 1) > 0.01 else {"none", "scale"}
    assert choose_policy(sums, measured).policy in expected


def test_noise_hardly_ever_makes_a_constant_out_of_nothing() -> None:
    rich = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        sums = rng.uniform(5, 15, 8)
        rich += choose_policy(sums, 1.1 * sums * np.exp(rng.normal(0, 0.015, 8))).policy not in ("scale", "none")
    assert rich <= 12


def test_a_constant_that_is_there_is_chosen() -> None:
    rng = np.random.default_rng(0)
    sums = np.linspace(5, 50, 16)
    choice = choose_policy(sums, (0.9 * sums + 10) * np.exp(rng.normal(0, 0.01, 16)))
    assert choice.policy == "scale+offset"
    assert set(choice.errors) == set(POLICIES)
    assert min(choice.errors, key=lambda policy: choice.errors[policy]) == "scale+offset"
    assert choose_policy(sums, (sums + 10) * np.exp(rng.normal(0, 0.01, 16))).policy == "offset"


def test_the_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    held = np.zeros(2)
    for seed in range(100):
        rng = np.random.default_rng(seed)
        sums = rng.uniform(5, 30, 24)
        found = fit_correction("scale+offset", sums, (1.1 * sums + 3) * np.exp(rng.normal(0, 0.02, 24)), seed=seed)
        held += [found.scale_lo <= 1.1 <= found.scale_hi, found.offset_lo_ms <= 3 <= found.offset_hi_ms]
    assert (held >= 80).all()
    assert (held < 100).any()


def test_terms_that_are_not_fitted_have_no_interval() -> None:
    sums = np.linspace(1, 2, 8)
    found = fit_correction("scale", sums, 1.2 * sums)
    assert (found.scale_lo, found.scale_hi) == pytest.approx((1.2, 1.2))
    assert found.offset_lo_ms is None
    assert fit_correction("none", sums, sums).scale_lo is None
    assert fit_correction("scale", sums[:2], sums[:2]).scale_lo is None


def test_what_cannot_be_fitted_is_refused_with_a_way_out() -> None:
    sums = np.linspace(1, 2, 8)
    with pytest.raises(UsageError, match="too few to fit 'scale\\+offset'"):
        fit_correction("scale+offset", sums[:4], sums[:4])
    with pytest.raises(UsageError, match="all networks are alike"):
        fit_correction("scale+offset", np.ones(8), sums)
    with pytest.raises(GateError, match="at nothing"):
        fit_correction("scale+offset", sums, 3 - sums)
    with pytest.raises(UsageError, match="at least two"):
        choose_policy(sums[:1], sums[:1])


def test_few_networks_fit_and_all_others_judge() -> None:
    rng = np.random.default_rng(1)
    sums = rng.uniform(5, 15, 40)
    found = audit_sums(sums, 1.1 * sums, names(40))
    roles = [one.role for one in found.networks]
    assert (roles.count("fit"), roles.count("judge")) == (8, 32)
    assert found.correction.networks == 8
    assert (found.judged_by, found.corrected.n) == ("held out", 32)
    assert [one.sum_ms for one in found.networks] == sorted(sums)
    # One from each band of five.
    assert all(roles[5 * band : 5 * band + 5].count("fit") == 1 for band in range(8))
    assert found.bias_percent == pytest.approx(-100 / 11)
    assert found.mad_percent == pytest.approx(0, abs=1e-9)
    assert found.uncorrected.within_5 == 0
    assert found.corrected.within_2 == 1
    assert found.corrected.spearman == pytest.approx(1)


def test_of_few_networks_each_is_judged_by_the_others() -> None:
    sums = np.linspace(5, 15, 6)
    measured = 1.1 * sums
    measured[2] *= 1.3
    found = audit_sums(sums, measured, names(6))
    assert {one.role for one in found.networks} == {"both"}
    assert (found.judged_by, found.corrected.n, found.correction.networks) == ("leave-one-out", 6, 6)
    assert found.correction.scale == pytest.approx(1.1)
    assert found.worst[0].arch == "2"
    assert found.worst[0].error_percent == pytest.approx((1 / 1.3 - 1) * 100)
    with pytest.raises(GateError, match="too few to audit"):
        audit_sums(sums[:2], measured[:2], names(2))


@pytest.fixture(scope="module")
def space() -> Space:
    return load_space("ofa-mobilenetv3")


@pytest.fixture(scope="module")
def table(space: Space) -> Lut:
    lut = checksum_lut(space)
    latency = np.exp(np.random.default_rng(0).normal(-1, 0.5, len(lut)))
    return replace(lut, latency_ms=latency)


def measured_of(table: Lut, space: Space, archs: np.ndarray, seed: int, *, noise: float = 0.01) -> np.ndarray:
    truth = 1.1 * table.price(archs, corrected=False, space=space)
    return truth * np.exp(np.random.default_rng(seed).normal(0, noise, len(archs)))


def test_a_layer_whose_rows_were_tampered_with_is_found(table: Lut, space: Space) -> None:
    archs = space.sample(40, seed=3)
    place = 6
    costs = np.array([*[table.query(cell.key).latency_ms for cell in space.positions[place].cells], 0.0])
    measured = measured_of(table, space, archs, 3) + 1.1 * 0.6 * costs[archs[:, place]]
    sums = table.price(archs, corrected=False, space=space)
    found = suspects(table, space, archs, measured, fit_correction("scale", sums, measured))
    assert found[0].name == space.positions[place].label
    # The factor of all networks has taken a part of it.
    assert 1.3 < found[0].factor < 1.8
    assert found[0].error < 0.2
    assert found[0].explained > 0.3


def test_a_cell_whose_row_was_tampered_with_is_found_wherever_it_stands(table: Lut, space: Space) -> None:
    archs = space.sample(60, seed=4)
    measured = measured_of(table, space, archs, 4)
    key = space.positions[1].cells[4].key
    latency = [value * (0.25 if name == key else 1) for name, value in zip(table.keys, table.latency_ms, strict=True)]
    wrong = replace(table, latency_ms=np.array(latency))
    sums = wrong.price(archs, corrected=False, space=space)
    found = suspects(wrong, space, archs, measured, fit_correction("scale", sums, measured))
    assert found[0].name == key
    assert found[0].factor == pytest.approx(4, rel=0.25)


def test_of_noise_alone_no_layer_stands_out_and_no_wild_network_makes_one(table: Lut, space: Space) -> None:
    false = 0
    for seed in range(40):
        archs = space.sample(30, seed)
        measured = measured_of(table, space, archs, seed)
        measured[seed % 30] *= 2
        sums = table.price(archs, corrected=False, space=space)
        false += bool(suspects(table, space, archs, measured, fit_correction("scale", sums, measured, seed=None)))
    assert false <= 4


def test_of_few_networks_and_of_exact_ones_nothing_is_said(table: Lut, space: Space) -> None:
    archs = space.sample(20, seed=0)
    sums = table.price(archs, corrected=False, space=space)
    exact = fit_correction("scale", sums, sums)
    assert suspects(table, space, archs, sums, exact) == ()
    assert suspects(table, space, archs[:9], 2 * sums[:9], exact) == ()


def test_the_corrected_table_says_how_it_was_corrected_and_so_do_its_exports(
    table: Lut, space: Space, tmp_path
) -> None:
    archs = space.sample(30, seed=5)
    sums = table.price(archs, corrected=False, space=space)
    audit = audit_sums(sums, 1.1 * sums + 2.0, names(30), policy="scale+offset")
    made = Lut.load(corrected_table(table, audit, seed=7).save(tmp_path / "corrected.lut.json"))
    assert made.price(archs, space=space) == pytest.approx(1.1 * sums + 2.0)
    assert made.scale_fitted_on == 8
    said = made.provenance["correction"]
    assert (said["policy"], said["networks"], said["judged_by"], said["seed"]) == ("scale+offset", 8, "held out", 7)
    assert said["judged"]["within_2"] == 1
    written = lut_format("ofa").write(made, space, tmp_path)[0]
    assert '"judged_by": "held out"' in side_path(written).read_text(encoding="utf-8")


def test_no_correction_leaves_the_table_without_one(table: Lut, space: Space) -> None:
    sums = table.price(space.sample(30, seed=5), corrected=False, space=space)
    audit = audit_sums(sums, 1.1 * sums, names(30), policy="none")
    made = corrected_table(table.with_scale(1.3, 8), audit, seed=0)
    assert (made.scale, made.offset_ms, made.scale_fitted_on) == (1.0, 0.0, 0)
    assert made.provenance["correction"]["policy"] == "none"


def test_energies_are_summed_like_latencies_if_all_are_known(table: Lut, space: Space) -> None:
    energies = energy_table(table, space.measurable)
    key = space.measurable[3].key
    assert energies.query(key).latency_ms == table.query(key).energy_mj
    unknown = replace(table, energy_mj=np.array([np.nan if name == key else 1.0 for name in table.keys]))
    with pytest.raises(GateError, match="does not know the energy of 1 cells") as caught:
        energy_table(unknown, space.measurable)
    assert key in caught.value.message


def test_the_picture_holds_every_network_and_is_the_same_each_time() -> None:
    rng = np.random.default_rng(1)
    sums = rng.uniform(5, 15, 20)
    audit = audit_sums(sums, 1.1 * sums, names(20))
    drawn = audit_svg(audit, "a <space> & more")
    assert drawn == audit_svg(audit, "a <space> & more")
    assert "±5 %" in drawn
    assert "mathdefault" not in drawn
    assert "corrected, held out" in drawn
    assert "a &lt;space&gt; &amp; more" in drawn
    assert "mJ" in audit_svg(audit, "energies", "mJ")
