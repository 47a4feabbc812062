"""``edgecost lut audit`` on stores that a made-up campaign filled, and once with networks measured for real."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from edgecost.cli.main import main
from edgecost.costmodels.local_setting import LocalSetting
from edgecost.costmodels.lut import Lut
from edgecost.costmodels.lut_correction import POLICIES
from edgecost.costmodels.network_campaign import NETWORK_SESSIONS, networks_over_range
from edgecost.costmodels.network_scale import networks_in_store
from edgecost.costmodels.space import Space
from edgecost.costmodels.space_file import load_space
from edgecost.db import Store
from edgecost.profiler.readings import Energy, Reading
from tests.trained_store import OVERHEAD_MS, write

TINY = Path(__file__).with_name("tiny.toml")
Captured = pytest.CaptureFixture[str]


@dataclass(frozen=True)
class Campaign:
    """A store with every cell of the tiny space, and a table of it."""

    store: Path
    table: Path
    setting: LocalSetting
    space: Space

    def networks(self, count: int, scale: float, offset_ms: float = 0.0, *, noise: float = 0.005) -> None:
        """Pretend that networks were measured, by a law that is known."""
        archs = self.space.sample(count, seed=11)
        sums = Lut.load(self.table).price(archs, corrected=False, space=self.space)
        measured = (scale * sums + offset_ms) * np.exp(np.random.default_rng(2).normal(0, noise, count))
        with Store(self.store) as store:
            for place, (arch, raw_ms) in enumerate(zip(archs, measured.tolist(), strict=True)):
                workload = self.space.build(arch[None])
                write(store, self.setting, workload, raw_ms - OVERHEAD_MS, purpose="network", minute=20 + place)

    def audit(self, *arguments: str) -> int:
        table = () if "other.lut.json" in " ".join(arguments) else (str(self.table),)
        return main(["lut", "audit", *table, "--space", str(TINY), "--db", str(self.store), *arguments])


@pytest.fixture
def campaign(tmp_path: Path, capsys: Captured) -> Campaign:
    setting, space = LocalSetting.here(), load_space(str(TINY))
    store = tmp_path / "store.sqlite"
    with Store(store) as opened:
        setting.store_in(opened)
        for place, cell in enumerate(space.measurable):
            workload = space.workload(cell)
            assert workload is not None
            write(opened, setting, workload, 1.0 + 0.37 * ((place * 7) % 20))
    assert main(["lut", "build", "--space", str(TINY), "--db", str(store), "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    return Campaign(store, tmp_path / "tiny-w1-32.lut.json", setting, space)


def test_the_factor_of_the_campaign_comes_back_and_stands_in_the_corrected_table(
    campaign: Campaign, tmp_path: Path, capsys: Captured
) -> None:
    campaign.networks(30, 1.2)
    corrected, picture = tmp_path / "corrected.lut.json", tmp_path / "audit.svg"
    assert campaign.audit("--json", "-o", str(corrected), "--plot", str(picture), "--strict") == 0
    found = json.loads(capsys.readouterr().out)
    correction = found["correction"]
    assert (correction["policy"], correction["networks"], correction["judged"]["n"]) == ("scale", 8, 22)
    assert correction["scale"] == pytest.approx(1.2, rel=0.01)
    assert correction["scale_lo"] <= correction["scale"] <= correction["scale_hi"]
    assert found["bias_percent"] == pytest.approx((1 / 1.2 - 1) * 100, abs=1)
    assert (found["uncorrected"]["within_5"], correction["judged"]["within_2"]) == (0, 1)
    assert found["suspects"] == []
    assert found["files"] == [str(corrected), str(picture)]
    made = Lut.load(corrected)
    assert (made.scale, made.scale_fitted_on) == (correction["scale"], 8)
    assert made.provenance["correction"] == {**correction, "seed": 0}
    assert picture.read_text(encoding="utf-8").startswith("<?xml")


def test_the_table_for_people_says_what_was_fitted_and_what_it_is_worth(campaign: Campaign, capsys: Captured) -> None:
    campaign.networks(30, 0.9, 5.0)
    assert campaign.audit("--fit", "16") == 0
    said = capsys.readouterr().out
    assert "30 whole networks" in said
    assert "Correction 'scale+offset' (chosen by leave-one-out), from 16 networks" in said
    assert "corrected (held out, 14 networks)" in said
    assert "Worst of the judged networks" in said
    assert "No layer stands out" in said


def test_strict_fails_when_the_judged_networks_are_off_and_the_files_are_written_all_the_same(
    campaign: Campaign, tmp_path: Path, capsys: Captured
) -> None:
    campaign.networks(30, 1.2)
    kept = tmp_path / "kept.lut.json"
    assert campaign.audit("--correction", "none", "--strict", "-o", str(kept)) == 5
    assert "0.0 % of the judged networks are within 5 %; 90.0 % were asked for" in capsys.readouterr().err
    assert Lut.load(kept).provenance["correction"]["policy"] == "none"
    assert campaign.audit("--correction", "none", "--strict", "--held", "0%") == 0


def test_a_store_without_networks_is_told_how_to_get_them(campaign: Campaign, tmp_path: Path, capsys: Captured) -> None:
    assert campaign.audit() == 5
    assert "0 whole networks are too few to audit a table" in capsys.readouterr().err
    empty = tmp_path / "empty.sqlite"
    assert main(["lut", "audit", str(campaign.table), "--space", str(TINY), "--db", str(empty)]) == 5
    assert "--measure 40" in capsys.readouterr().err


def test_networks_of_another_space_with_the_same_name_are_left_out(campaign: Campaign, tmp_path: Path) -> None:
    campaign.networks(5, 1.2)
    other = tmp_path / "tiny.toml"
    other.write_text(TINY.read_text(encoding="utf-8").replace("kernel = [3, 5]", "kernel = [3]"), encoding="utf-8")
    with Store(campaign.store) as store:
        identity, profile = campaign.setting.device.identity, campaign.setting.profile
        assert len(networks_in_store(store, identity, profile, campaign.space)) == 5
        assert len(networks_in_store(store, identity, profile, load_space(str(other)))) < 5


def test_a_table_of_another_device_is_not_measured_here(campaign: Campaign, tmp_path: Path, capsys: Captured) -> None:
    read = Lut.load(campaign.table)
    other = tmp_path / "other.lut.json"
    Lut.from_cells(read.cells, {**read.provenance, "device_identity": "f" * 64}).save(other)
    assert campaign.audit(str(other), "--measure", "3") == 2
    assert "the table is of another device" in capsys.readouterr().err
    nameless = {name: value for name, value in read.provenance.items() if name != "device_identity"}
    Lut.from_cells(read.cells, nameless).save(other)
    assert campaign.audit(str(other)) == 2
    assert "does not say which device" in capsys.readouterr().err


def test_energies_are_not_written_into_a_table_and_need_a_table_that_has_them(
    campaign: Campaign, capsys: Captured
) -> None:
    assert campaign.audit("--metric", "energy", "-o", "x.json") == 2
    assert "a correction of latencies only" in capsys.readouterr().err
    assert campaign.audit("--metric", "energy") == 5
    assert "does not know the energy of 20 cells" in capsys.readouterr().err


def test_energies_of_networks_are_held_against_those_of_the_table(
    campaign: Campaign, tmp_path: Path, capsys: Captured
) -> None:
    campaign.networks(20, 1.0, noise=0.0)
    read = Lut.load(campaign.table)
    rows = [replace(row, energy_mj=3.0 * row.latency_ms) for row in read.cells]
    other = tmp_path / "other.lut.json"
    Lut.from_cells(rows, {**read.provenance, "energy": "gross, of the module; 20 cells measured"}).save(other)
    with Store(campaign.store) as store:
        for place, made in enumerate(store.measurements(purposes=("network",))):
            assert made.latency is not None
            energy_mj = 1.1 * 3.0 * made.latency.median_ms
            energy = Energy(
                Reading.OK,
                scope="module",
                gross_median_mj=energy_mj,
                gross_lo_mj=energy_mj,
                gross_hi_mj=energy_mj,
                overhead_mj=0.0,
                windows=5,
            )
            store.record(replace(made, measurement_id=f"energy-{place}", session=f"energy-{place}", energy=energy))
    assert campaign.audit(str(other), "--metric", "energy", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["unit"], found["correction"]["policy"]) == ("mJ", "scale")
    assert found["correction"]["scale"] == pytest.approx(1.1)
    assert found["correction"]["judged"]["within_2"] == 1
    assert set(found["networks"][0]) == {"arch", "role", "sum_mj", "priced_mj", "measured_mj", "error_percent"}
    Lut.from_cells(rows, {**read.provenance, "energy": "gross, of the board; 20 cells measured"}).save(other)
    assert campaign.audit(str(other), "--metric", "energy") == 5
    assert "are of the module, the table's are not" in capsys.readouterr().err


def test_networks_are_measured_over_the_range_of_prices_and_not_twice(campaign: Campaign, capsys: Captured) -> None:
    assert campaign.audit("--measure", "4", "--json") == 0
    first = json.loads(capsys.readouterr().out)
    assert (len(first["networks"]), first["correction"]["judged_by"]) == (4, "leave-one-out")
    lut = Lut.load(campaign.table)
    wanted = networks_over_range(lut, campaign.space, 4, seed=0)
    prices = lut.price(wanted, corrected=False, space=campaign.space)
    assert [one["sum_ms"] for one in first["networks"]] == pytest.approx(prices.tolist())
    with Store(campaign.store) as store:
        before = store.measurements(purposes=("network",))
    assert len(before) >= 4 * NETWORK_SESSIONS
    assert first["repeatability_floor"]["n"] == 4
    assert campaign.audit("--measure", "4", "--json") == 0
    with Store(campaign.store) as store:
        assert len(store.measurements(purposes=("network",))) <= len(before) + 8


@pytest.mark.benchmark
def test_the_benchmark_shows_every_correction_on_networks_it_has_not_seen() -> None:
    script = Path(__file__).parents[1] / "benchmarks" / "lut_audit.py"
    tiny = ("--space", str(TINY), "--networks", "10", "--fit", "4", "--panel", "0")
    done = subprocess.run([sys.executable, script, *tiny, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["cells"] == 20
    assert set(found["audits"]) == {*POLICIES, "auto"}
    assert "too few" in found["audits"]["scale+offset"]["refused"]
    assert found["audits"]["scale"]["correction"]["judged"]["n"] == found["networks"] - 4
