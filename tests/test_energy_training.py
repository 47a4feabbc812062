"""Energy from the store to a prediction, against a law that is known: units, errors, intervals, what is left out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from edgecost.cli.main import main
from edgecost.costmodels.cards.model_folder import open_folder
from edgecost.costmodels.kernel_work import work_of
from edgecost.costmodels.lut import LutCell
from edgecost.costmodels.lut_others import Others, known_of, with_energy_and_memory
from edgecost.costmodels.metrics.energy import load_energies
from edgecost.costmodels.metrics.energy_predictor import EnergyPredictor
from edgecost.costmodels.metrics.energy_training import EnergyReport, train_energy
from edgecost.costmodels.predictor import LatencyPredictor
from edgecost.costmodels.predictor_file import load_predictor, save_predictor
from edgecost.costmodels.space_file import load_space
from edgecost.profiler.errors import ArtefactError, UsageError
from edgecost.profiler.kernels.graph import Kernel, kernels
from edgecost.profiler.readings import Energy, Reading
from edgecost.profiler.records import Device, Latency, Measurement, RuntimeProfile, Status
from edgecost.profiler.workload import Workload
from tests.conftest import KnownLaw, Notebook

IDLE_W = 1.6
SIGMA = 0.02


class EnergyLaw:
    """A device that does not exist: an idle power for as long as the kernel takes, and energy by operation and byte."""

    def __init__(self, times: KnownLaw) -> None:
        self._times = times

    def kernel_mj(self, kernel: Kernel) -> float:
        work = work_of(kernel)
        moved = work.input_megabytes + work.output_megabytes + work.weight_megabytes
        return IDLE_W * self._times.kernel_ms(kernel) + 2e-5 * work.mega_flops + 0.3 * moved

    def graph_mj(self, graph: tuple[Kernel, ...]) -> float:
        return sum(map(self.kernel_mj, graph))


def reading(energy_mj: float, **changes: object) -> Energy:
    made = Energy(
        Reading.OK,
        scope="module",
        gross_median_mj=energy_mj,
        gross_lo_mj=0.98 * energy_mj,
        gross_hi_mj=1.02 * energy_mj,
        overhead_mj=0.0,
        windows=5,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def write(notebook: Notebook, workload: Workload, energy: Energy | None, **changes: object) -> None:
    notebook.store.put_workload(workload)
    notebook._count += 1
    name = f"energy-{notebook._count}"
    made = Measurement(
        measurement_id=name,
        graph_hash=workload.graph_hash,
        profile_hash=notebook.profile.profile_hash,
        environment_hash=notebook.environment.environment_hash,
        device_identity=notebook.device.identity,
        session=name,
        protocol="edgecost-1",
        purpose="cell",
        status=Status.OK,
        message="",
        started_at=f"2026-01-02T00:00:00.{notebook._count:06}+00:00",
        finished_at="2026-01-02T01:00:00+00:00",
        latency=None,
        overhead_ms=None,
        energy=energy,
    )
    notebook.store.record(replace(made, **changes))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Cells:
    """Cells of a space with their kernels and the law's energy of each."""

    workloads: tuple[Workload, ...]
    graphs: tuple[tuple[Kernel, ...], ...]
    true_mj: np.ndarray[tuple[int], np.dtype[np.float64]]


@pytest.fixture(scope="module")
def cells(profile: RuntimeProfile, law: KnownLaw) -> Cells:
    space = load_space("ofa-mobilenetv3")
    made = [workload for cell in space.measurable[:70] if (workload := space.workload(cell)) is not None]
    graphs = tuple(kernels(workload, profile) for workload in made)
    true_mj = np.array([EnergyLaw(law).graph_mj(graph) for graph in graphs])
    return Cells(tuple(made), graphs, true_mj)


def fill(notebook: Notebook, cells: Cells, sessions: int = 1) -> None:
    chance = np.random.default_rng(7)
    for _ in range(sessions):
        for workload, true_mj in zip(cells.workloads, cells.true_mj, strict=True):
            write(notebook, workload, reading(float(true_mj * np.exp(SIGMA * chance.standard_normal()))))


def train(notebook: Notebook, **wanted: str) -> EnergyReport:
    return train_energy(notebook.store, notebook.device.identity, notebook.profile, **wanted)  # type: ignore[arg-type]


def test_energies_of_a_known_law_are_predicted_in_millijoules_on_graphs_not_seen(
    notebook: Notebook, cells: Cells, tmp_path: Path
) -> None:
    fill(notebook, cells, sessions=2)
    report = train(notebook)
    judged = report.judgement
    assert judged.held_out is not None
    assert judged.baseline is not None
    assert judged.floor is not None
    assert report.graphs == len(cells.graphs)
    assert judged.held_out.mape_percent < min(10.0, judged.baseline.mape_percent / 2)
    assert judged.coverage == pytest.approx(0.9, abs=0.08)
    priced = np.array([price.total_mj for price in report.predictor.price(cells.graphs)])
    assert np.median(priced / cells.true_mj) == pytest.approx(1.0, abs=0.02)
    document = report.document()
    assert (document["metric"], document["unit"], document["scope"]) == ("energy", "mJ", "module")

    report.save(tmp_path / "energy", {"device": "board"})
    loaded, provenance = EnergyPredictor.load(tmp_path / "energy")
    assert loaded.price(cells.graphs) == report.predictor.price(cells.graphs)
    assert (provenance["metric"], provenance["unit"], loaded.scope_) == ("energy", "mJ", "module")
    with pytest.raises(ArtefactError, match="predicts energy in mJ, not latency in ms"):
        load_predictor(tmp_path / "energy", metric="latency")

    found = open_folder(tmp_path / "energy")
    assert found.card is not None
    assert (found.model, found.card.metric, found.card.unit) == ("predictor", "energy", "mJ")
    assert (found.card.held_out, found.card.flops_only) == (judged.held_out, judged.baseline)
    assert found.card.device == {"name": "board"}
    assert "module" in found.card.limits[0]

    rows = [LutCell(name, 1.0, None, None, 0, "predicted") for name in ("measured", "predicted")]
    other = replace(cells.workloads[0], graph_hash="f" * 64)
    workloads = {"measured": cells.workloads[0], "predicted": other}
    others = Others(energy=loaded)
    known = known_of(notebook.store, notebook.device.identity, notebook.profile)
    filled, told = with_energy_and_memory(rows, workloads, notebook.profile, known, others)
    assert [row.energy_mj for row in filled] == pytest.approx([cells.true_mj[0]] * 2, rel=0.1)
    assert [row.peak_memory_bytes for row in filled] == [None, None]
    assert told["energy"] == "gross, of the module; 1 cells measured, 1 predicted"
    assert str(told["energy_interval"]).startswith("measured: 95 % of the median over the windows")
    assert all((row.energy_lo_mj or 0.0) < (row.energy_mj or 0.0) < (row.energy_hi_mj or 0.0) for row in filled)


def test_a_latency_predictor_is_no_energy_predictor(cells: Cells, tmp_path: Path) -> None:
    save_predictor(LatencyPredictor(rounds=5).fit(cells.graphs, cells.true_mj), tmp_path, {})
    with pytest.raises(ArtefactError, match="predicts latency in ms, not energy in mJ"):
        EnergyPredictor.load(tmp_path)
    assert load_predictor(tmp_path, metric="latency")[1] == {}


def test_what_has_no_energy_is_left_out_and_counted(notebook: Notebook, cells: Cells) -> None:
    some = cells.workloads[:8]
    write(notebook, some[0], reading(3.0))
    write(notebook, some[1], Energy(Reading.BELOW_RESOLUTION, message="2 mW above idle"))
    write(notebook, some[2], Energy(Reading.UNSUPPORTED))
    write(notebook, some[3], Energy(Reading.UNSUPPORTED))
    write(notebook, some[4], reading(3.0, overhead_mj=3.5))
    write(notebook, some[5], reading(3.0), status=Status.UNSTABLE)
    notebook.write(some[6], 1.0)
    write(notebook, some[7], reading(9.0), device_identity=other_board(notebook).identity)
    found = load_energies(notebook.store, notebook.device.identity, notebook.profile)
    assert [sample.workload for sample in found.samples] == [some[0]]
    assert found.left_out == {
        "below resolution": 1, "unsupported": 2, "nothing left after the call": 1, "not measured": 1,
    }  # fmt: skip


def other_board(notebook: Notebook) -> Device:
    other = Device("other", "board-2", "another board")
    notebook.store.put_device(other)
    return other


def test_the_call_is_taken_off_as_measured_or_at_the_mean_power(notebook: Notebook, cells: Cells) -> None:
    latency = Latency(2.0, 1.9, 2.1, 1.8, 1.9, 2.0, 2.2, 2.3, None, visits=7, runs=21)
    write(notebook, cells.workloads[0], reading(8.0, overhead_mj=0.5), latency=latency, overhead_ms=0.1)
    write(notebook, cells.workloads[1], reading(8.0, overhead_mj=None), latency=latency, overhead_ms=0.1)
    write(notebook, cells.workloads[2], reading(8.0, overhead_mj=None))
    found = load_energies(notebook.store, notebook.device.identity, notebook.profile)
    assert [sample.energy_mj for sample in found.samples] == pytest.approx([7.5, 7.6, 8.0])


def test_energies_of_two_scopes_are_never_learnt_together(notebook: Notebook, cells: Cells) -> None:
    for place, workload in enumerate(cells.workloads[:24]):
        write(notebook, workload, reading(float(cells.true_mj[place]), scope="wall" if place % 2 else "module"))
    with pytest.raises(UsageError, match="energies of module and wall are different quantities"):
        train(notebook)
    report = train(notebook, scope="wall")
    assert (report.graphs, report.predictor.scope_) == (12, "wall")
    assert report.left_out == {"of the scope module": 12}
    with pytest.raises(UsageError, match="no energy here is of the scope 'soc'"):
        train(notebook, scope="soc")


def test_without_energies_training_says_what_is_needed(notebook: Notebook, cells: Cells) -> None:
    notebook.write(cells.workloads[0], 1.0)
    with pytest.raises(UsageError, match=r"no energy was measured .*1 not measured") as caught:
        train(notebook)
    assert "power sensor" in caught.value.remedy
    write(notebook, cells.workloads[1], reading(1.0))
    with pytest.raises(UsageError, match="the energy of 1 graphs is too few"):
        train(notebook)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 0.0, -1.0])
def test_no_energy_is_made_of_what_is_no_number(cells: Cells, bad: float) -> None:
    energies = cells.true_mj.copy()
    energies[3] = bad
    with pytest.raises(UsageError, match="energies must be positive and finite"):
        EnergyPredictor().fit(cells.graphs, energies, scope="module")
    with pytest.raises(UsageError, match="without a scope"):
        EnergyPredictor().fit(cells.graphs, cells.true_mj, scope="")


def test_asked_for_an_energy_that_nobody_trained_the_command_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGECOST_DB", str(tmp_path / "store.sqlite"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    (tmp_path / "model.onnx").touch()
    assert main(["predict", str(tmp_path / "model.onnx"), "--metric", "energy"]) != 0
    assert main(["train", "--metric", "energy"]) == 2
    assert "energy needs a power sensor" in capsys.readouterr().err.lower()
    assert main(["train", "--metric", "memory"]) == 2
    assert "edgecost campaign memory" in capsys.readouterr().err
    assert main(["train", "--metric", "memory", "--scope", "soc"]) == 2
    assert main(["train", "--metric", "energy", "--space", "fbnet"]) == 2
