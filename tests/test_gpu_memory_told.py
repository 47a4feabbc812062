"""Memory of an NVIDIA GPU that was stored: in tables apart from the process's, shown everywhere, learnt by nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgecost.cli.main import main
from edgecost.costmodels.lut import Lut, LutCell
from edgecost.costmodels.lut_others import Others, known_of, with_energy_and_memory
from edgecost.costmodels.metrics.memory_training import device_peaks, load_peaks, train_memory
from edgecost.costmodels.reports.device import read_device
from edgecost.costmodels.reports.device_page import device_report
from edgecost.db import Store
from edgecost.devices.gpu_memory import DEVICE, PROCESS
from edgecost.hub.pages.workloads import measurement_rows
from edgecost.profiler.errors import UsageError
from edgecost.profiler.memory import METHOD
from edgecost.profiler.readings import PeakMemory, Reading
from edgecost.profiler.records import Json, Status
from edgecost.profiler.runtimes import host_profile
from tests.conftest import Notebook
from tests.report_store import Desk
from tests.small_tasks import conv
from tests.test_energy_training import write

MB = 1 << 20
ON_CUDA = replace(host_profile(), provider="CUDAExecutionProvider")


def on_gpu(device_bytes: int | None, method: str = PROCESS) -> PeakMemory:
    return PeakMemory(
        Reading.OK, f"{METHOD}+{method}", "", 900 * MB, 890 * MB, 910 * MB, overhead_bytes=800 * MB,
        device_bytes=device_bytes, repetitions=3,
    )  # fmt: skip


@pytest.fixture
def cuda_notebook(file_store: Store) -> Notebook:
    return Notebook(file_store, ON_CUDA)


def test_tables_tell_the_memory_of_a_gpu_apart_from_the_process(
    cuda_notebook: Notebook, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, board = cuda_notebook.store, cuda_notebook.device.identity
    first, second = conv(4).workload, conv(8).workload
    for size, method in ((10 * MB, DEVICE), (30 * MB, PROCESS), (34 * MB, PROCESS)):
        write(cuda_notebook, first, None, purpose="memory", peak_memory=on_gpu(size, method))
    write(cuda_notebook, second, None, purpose="memory", peak_memory=on_gpu(None))
    # The newest method's, and no mean of two methods.
    assert device_peaks(store, board, ON_CUDA) == (PROCESS, {first.graph_hash: 32 * MB})
    samples, left_out = load_peaks(store, board, ON_CUDA)
    assert (samples, left_out) == ([], {"of the process alone, not of the GPU": 4})
    with pytest.raises(UsageError, match="nothing learns it"):
        train_memory(store, board, ON_CUDA)

    rows = [LutCell(name, 1.0, None, None, 0, "predicted") for name in ("first", "second")]
    known = known_of(store, board, ON_CUDA)
    filled, told = with_energy_and_memory(rows, {"first": first, "second": second}, ON_CUDA, known, Others())
    assert [row.peak_memory_bytes for row in filled] == [None, None]
    assert "(nvml-process-1)" in str(told["device_memory"])
    provenance: dict[str, Json] = {
        "space": "fbnet", "resolution": 224, "width": 1.0, "device": "board", "profile_label": "x", "profile_hash": "y",
        "precision": "fp32", "batch": 1, "created": "2026-01-01", "edgecost_version": "0", "interval": "none",
        "environment_hash": "z",
    }  # fmt: skip
    Lut.from_cells(filled, {**provenance, **told}).save(tmp_path / "lut.json")
    assert Lut.load(tmp_path / "lut.json").device_memory_bytes == {"first": 32 * MB}
    assert main(["lut", "query", str(tmp_path / "lut.json")]) == 0
    shown = capsys.readouterr().out
    assert "33.6 MB" in shown
    assert "no sum of these is a network's" in " ".join(shown.split())


def test_what_was_stored_is_shown_by_commands_pages_and_reports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = Desk(tmp_path / "store.sqlite")
    made = conv().workload
    name = desk.write(made, None, purpose="memory", memory=on_gpu(132 * MB), status=Status.OK)
    untold = replace(on_gpu(None), method=METHOD, message="on the GPU: NVML is not installed")
    other = desk.write(made, None, purpose="memory", memory=untold, status=Status.OK)
    with desk.store as store:
        rows = {row.measurement_id: row for row in measurement_rows(store, [*store.measurements(of=None)])}
        assert (rows[name].peak_memory_bytes, rows[name].device_memory_bytes) == (900 * MB, 132 * MB)
        assert (rows[other].device_memory_bytes, rows[other].message) == (None, "on the GPU: NVML is not installed")
        report = device_report(read_device(store, desk.board.name))
        tables = [table for section in report.sections for table in section.tables]
        (newest,) = (table for table in tables if "memory of the GPU, MB" in table.heads)
        assert {row[-1] for row in newest.rows} == {"138.4", "–"}
    database = ["--db", str(tmp_path / "store.sqlite")]
    assert main(["db", "show", name, *database]) == 0
    assert "138.4 MB on the GPU at the most, loading included, above an empty graph" in capsys.readouterr().out
    assert main(["db", "show", other, *database]) == 0
    assert "on the GPU: NVML is not installed" in capsys.readouterr().out
    assert main(["db", "show", name, *database, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["memory"]["device_bytes"] == 132 * MB
