"""Energies that several boards measured, in one table: at one pace, of one scope, or refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgecost.costmodels.campaign import Planned
from edgecost.costmodels.fleet.fleet_campaign import PANEL_MIN, plan_fleet_campaign, wishes_for, wishes_of
from edgecost.costmodels.fleet.pool import Pool, choose_pool
from edgecost.costmodels.fleet.pool_lut import build_pool_lut
from edgecost.costmodels.space import Space
from edgecost.costmodels.space_file import load_space
from edgecost.costmodels.space_plan import plan_space
from edgecost.db import Store
from edgecost.profiler.documents import document_of
from edgecost.profiler.energy.meter import Counts, MeterFacts
from edgecost.profiler.energy.windows import EnergySettings
from edgecost.profiler.protocol import Settings
from edgecost.profiler.readings import Energy, Reading
from edgecost.profiler.records import Json, Status
from tests.fleet_store import Board, campaign, enrol
from tests.test_fleet_pool import result, true_ms

METERS = {scope: MeterFacts("meter", "ina3221", "IN", scope, Counts.POWER, 40.0, 0.02) for scope in ("module", "wall")}


def measured(scope: str, value_mj: float) -> Energy:
    return Energy(
        Reading.OK, scope, sensor_hash=METERS[scope].sensor().sensor_hash, gross_median_mj=value_mj,
        gross_lo_mj=0.99 * value_mj, gross_hi_mj=1.01 * value_mj, idle_mw=1500.0,
        active_mw=3100.0, overhead_mj=0.0, windows=6, runs=600,
    )  # fmt: skip


def work_off(store: Store, board: Board, factor: float, scope: str = "", wobble: float = 0.0) -> int:
    """Do all jobs that a board is given: energies of a scope, else latencies, by the law and its factor.

    Args:
        wobble: by which every other energy is too high, and those between too low.
    """
    done = 0
    while batch := store.fleet.lease(board.agent_id, 1, 60.0):
        made = result(board, batch, 0, factor, Status.OK)
        if batch.settings.get("energy"):
            sign = 1 if done % 2 else -1
            energy = measured(scope, (1 + sign * wobble) * 3.0 * factor * true_ms(batch.jobs[0].job.graph_hash))
            sensor = dict(METERS[scope].sensor().document)
            made = replace(made, measurement=replace(made.measurement, latency=None, energy=energy), sensor=sensor)
        store.fleet.accept(board.agent_id, made)
        done += 1
    return done


@pytest.fixture
def tiny() -> Space:
    return load_space(str(Path(__file__).with_name("tiny.toml")))


def plan(store: Store, pool: Pool, space: Space) -> None:
    """Both campaigns of a table: its latencies and its energies."""
    plan_fleet_campaign(
        store, pool, "t", "tiny", wishes_for(space, pool, panel_share=0.0, networks=0, seed=0), Settings()
    )
    cells = [one for one in plan_space(space, panel_share=0.0) if one.purpose == "cell"]
    plan_fleet_campaign(store, pool, "e", "energy", wishes_of(cells, pool, 0), Settings(), EnergySettings())


def test_boards_of_different_power_make_one_table_of_energies(store: Store, tiny: Space) -> None:
    first, second = enrol(store, "nano-1"), enrol(store, "nano-2")
    pool = choose_pool(store, "pool=nano")
    plan(store, pool, tiny)
    work_off(store, second, 1.21, "module")
    work_off(store, first, 1.0, "module")
    table = build_pool_lut(store, tiny, pool)
    assert table.provenance["energy"] == "gross, of the module; 20 cells measured, 0 predicted"
    factors = table.provenance["energy_boards"]
    assert isinstance(factors, dict)
    assert factors == {"nano-1": pytest.approx(1 / 1.1), "nano-2": pytest.approx(1.1)}
    for cell in table.cells:
        made = next(tiny.workload(one) for one in tiny.measurable if one.key == cell.key)
        assert made is not None
        assert cell.energy_mj == pytest.approx(3.0 * 1.1 * true_ms(made.graph_hash), rel=1e-6)


def test_meters_that_include_different_things_leave_energies_out_and_latencies_in(store: Store, tiny: Space) -> None:
    first, second = enrol(store, "nano-1"), enrol(store, "nano-2")
    pool = choose_pool(store, "pool=nano")
    plan(store, pool, tiny)
    work_off(store, second, 1.0, "wall")
    work_off(store, first, 1.0, "module")
    table = build_pool_lut(store, tiny, pool)
    assert {cell.source for cell in table.cells} == {"measured"}
    assert {cell.energy_mj for cell in table.cells} == {None}
    said = "the boards' meters do not include the same (nano-1: module; nano-2: wall)"
    assert table.provenance["energy_left_out"] == said
    assert "energy" not in table.provenance
    # One of them alone has a table with its own.
    alone = build_pool_lut(store, tiny, choose_pool(store, "pool=nano,name=nano-2"))
    assert str(alone.provenance["energy"]).startswith("gross, of the wall")
    assert "energy_left_out" not in alone.provenance


def test_a_board_that_was_given_another_meter_leaves_energies_out_too(store: Store, tiny: Space) -> None:
    board = enrol(store, "nano-1")
    pool = choose_pool(store, "pool=nano")
    plan(store, pool, tiny)
    work_off(store, board, 1.0, "module")
    store.open_campaign("again", "energy", _settings(pool), "pool=nano")
    campaign(store, 1, name="again")
    work_off(store, board, 1.0, "wall")
    table = build_pool_lut(store, tiny, pool)
    assert "module and wall are different quantities" in str(table.provenance["energy_left_out"])


def _settings(pool: Pool) -> dict[str, Json]:
    asked: dict[str, Json] = {"runtime": pool.runtime, "profile_hash": pool.profile.profile_hash}
    return {**asked, "protocol": document_of(Settings()), "energy": document_of(EnergySettings())}


def test_what_boards_differ_by_beside_their_factors_stands_in_the_interval(store: Store, tiny: Space) -> None:
    first, second = enrol(store, "nano-1"), enrol(store, "nano-2")
    pool = choose_pool(store, "pool=nano")
    plan(store, pool, tiny)
    work_off(store, second, 1.0, "module", wobble=0.04)
    work_off(store, first, 1.0, "module")
    table = build_pool_lut(store, tiny, pool)
    radius = table.provenance["energy_repeatability_radius"]
    assert isinstance(radius, float)
    assert 0.02 < radius < 0.1
    spread = table.provenance["energy_boards_spread"]
    assert isinstance(spread, float)
    assert spread < 0.04
    for cell in table.cells:
        assert cell.energy_mj is not None
        assert cell.energy_lo_mj is not None
        assert cell.energy_hi_mj is not None
        assert cell.energy_lo_mj <= cell.energy_mj / (1 + radius) * 1.0001
        assert cell.energy_hi_mj >= cell.energy_mj * (1 + radius) * 0.9999
    assert "±" in str(table.provenance["energy_interval"])


def test_a_board_without_a_meter_takes_no_part_in_energies(store: Store, tiny: Space) -> None:
    enrol(store, "nano-1")
    with_meter = enrol(store, "nano-2")
    pool = choose_pool(store, "pool=nano")
    plan(store, choose_pool(store, "nano-2"), tiny)
    work_off(store, with_meter, 1.0, "module")
    table = build_pool_lut(store, tiny, pool)
    assert table.provenance["energy_boards"] == {"nano-2": None}
    assert all(cell.energy_mj == pytest.approx(3.0 * true_ms(tiny_hash(tiny, cell.key))) for cell in table.cells)


def tiny_hash(space: Space, key: str) -> str:
    made = next(space.workload(one) for one in space.measurable if one.key == key)
    assert made is not None
    return made.graph_hash


def test_some_blocks_are_measured_by_every_board_and_networks_by_one(store: Store, tiny: Space) -> None:
    enrol(store, "nano-1")
    enrol(store, "nano-2")
    pool = choose_pool(store, "pool=nano")
    cells = [one for one in plan_space(tiny, panel_share=0.0) if one.purpose == "cell"]
    network = tiny.build(tiny.sample(1, 0)[0][None])
    wishes = wishes_of([*cells, Planned(network, "network", network.name)], pool, 0)
    boards = {board.identity for board in pool.boards}
    everywhere = [one for one in wishes if one.board]
    assert len(everywhere) == PANEL_MIN * 2
    assert {one.board for one in everywhere} == boards
    assert {one.planned.purpose for one in everywhere} == {"cell"}
    assert len(wishes) == len(cells) + 1 + PANEL_MIN
    alone = wishes_of(cells, choose_pool(store, "nano-1"), 0)
    assert [one.board for one in alone] == [""] * len(cells)
