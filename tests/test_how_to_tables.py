"""The commands of the pages on lookup tables run, on tables whose latencies are a simulated core's."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgecost.costmodels.kernel_work import work_of
from edgecost.costmodels.local_setting import LocalSetting
from edgecost.costmodels.predictor import LatencyPredictor
from edgecost.costmodels.predictor_file import save_predictor
from edgecost.costmodels.predictor_folder import default_predictor
from edgecost.costmodels.quickstart import training_provenance
from edgecost.profiler.runtimes import host_profile
from tests.op_model import layers, write_model
from tests.shown_commands import ROOT, blocks_of, home_of, play, steps_of
from tests.stage_props import Props, Scene

OFA_TABLE = "ofa-mobilenetv3-w1-224.lut.json"


def table_and_model(props: Props, folder: Path) -> None:
    props.table("ofa-mobilenetv3", folder / OFA_TABLE)
    props.model(folder / "model.onnx")


def two_tables(props: Props, folder: Path) -> None:
    props.table("ofa-mobilenetv3", folder / "nano.lut.json")
    props.table("ofa-mobilenetv3", folder / "pi4.lut.json", "core:peak_gflops=30")


def table_and_archs(props: Props, folder: Path) -> None:
    """A table, architectures of its space as a search would write them, and accuracies that are none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table_and_model(props, folder)
    archs = props.archs("ofa-mobilenetv3", 50)
    columns = {f"p{place}": archs[:, place] for place in range(archs.shape[1])}
    pq.write_table(pa.table(columns), folder / "archs.parquet")
    rows = np.column_stack([archs, np.arange(50)])
    head = ",".join([*columns, "accuracy"])
    np.savetxt(folder / "accuracy.csv", rows, fmt="%d", delimiter=",", header=head, comments="")


def measured_and_named_table(props: Props, folder: Path) -> None:
    props.measured(folder)
    shutil.copy(folder / "tables" / OFA_TABLE, folder / "table.lut.json")


def trained_and_net(props: Props, folder: Path) -> None:
    """A model, and where ``train`` leaves it a predictor of this machine that knows the model's kinds of kernels."""
    write_model(folder / "net.onnx")
    setting, graphs = LocalSetting.here(), layers(host_profile())
    flops = np.array([sum(work_of(kernel).mega_flops for kernel in graph) for graph in graphs])
    fitted = LatencyPredictor(rounds=5).fit(graphs, 0.01 + 1e-4 * flops)
    name = default_predictor(setting.device.identity, setting.profile).name
    place = Path(home_of(folder)["XDG_DATA_HOME"]) / "edgecost" / "predictors" / name
    save_predictor(fitted, place, training_provenance(setting))


def quickstart_and_grid(props: Props, folder: Path) -> None:
    """The grid that the page shows."""
    props.quickstart(folder)
    page = (ROOT / "docs/how-to/fill-a-table-of-millions.md").read_text(encoding="utf-8")
    (grid,) = [block.body for block in blocks_of(page) if block.language == "toml"]
    (folder / "grid.toml").write_text(grid, encoding="utf-8")


SCENES = {
    "docs/how-to/advise-on-a-model.md": Scene(table_and_model),
    "docs/how-to/audit-a-table.md": Scene(measured_and_named_table),
    "docs/how-to/compare-two-tables.md": Scene(two_tables),
    "docs/how-to/export-architectures.md": Scene(table_and_model),
    "docs/how-to/export-operators.md": Scene(trained_and_net, runtime="ort"),
    "docs/how-to/fill-a-table-of-millions.md": Scene(quickstart_and_grid, runtime="ort"),
    "docs/how-to/search-with-a-table.md": Scene(table_and_archs),
    "docs/how-to/use-a-lut-with-once-for-all.md": Scene(Props.measured),
}


@pytest.mark.parametrize("page", SCENES, ids=lambda page: Path(page).stem)
def test_the_commands_of_a_page_on_tables_run(page: str, tmp_path: Path, props: Props) -> None:
    if page.endswith("search-with-a-table.md") and importlib.util.find_spec("pymoo") is None:
        pytest.skip("pymoo is not installed: pip install 'edgecost[search]'")
    SCENES[page].prepare(props, tmp_path)
    play(steps_of(ROOT / page), tmp_path, SCENES[page].environment)
