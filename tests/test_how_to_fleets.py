"""The commands of the pages on stores, hubs, boards and clusters run, with virtual boards on this machine."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.comparison_store import ONE, TVM, Bench, around, relu
from tests.shown_commands import ROOT, play, steps_of
from tests.stage_props import TINY, Props, Scene

GRID = """
name = "few"

[[cells]]
block = "inverted_residual"
resolution = [14, 7]
channels = [40, 80]
out = [40, 80]
mid = { from = 64, to = 640, step = 64 }
kernel = [3, 5]
stride = 1
act = "relu"
"""


def model(props: Props, folder: Path) -> None:
    props.model(folder / "model.onnx")


def model_and_space(props: Props, folder: Path) -> None:
    model(props, folder)
    space(props, folder)


def space(props: Props, folder: Path) -> None:
    shutil.copy(TINY, folder / "tiny.toml")


def measured_and_compared(props: Props, folder: Path) -> None:
    """A device and a campaign, a predictor, and what two runtimes take for the same."""
    props.measured(folder)
    props.quickstart(folder)
    bench = Bench(folder / "edgecost.sqlite")
    for runtime in (ONE, TVM):
        bench.write(relu(64), around(1.0), runtime)
    bench.store.close()


def measured_and_board(props: Props, folder: Path) -> None:
    props.measured(folder)
    shutil.copy(folder / "edgecost.sqlite", folder / "board.sqlite")


def measured_and_model(props: Props, folder: Path) -> None:
    props.measured(folder)
    model(props, folder)


def measured_grid_and_archs(props: Props, folder: Path) -> None:
    """What a cluster computes with: measurements, a predictor of this machine, a grid, a table and architectures."""
    props.measured(folder)
    props.quickstart(folder)
    (folder / "grid.toml").write_text(GRID, encoding="utf-8")
    props.table("ofa-mobilenetv3", folder / "ofa-mobilenetv3-w1-224.lut.json")
    np.save(folder / "archs.npy", props.archs("ofa-mobilenetv3", 50))


SCENES = {
    "docs/how-to/compute-on-a-dask-cluster.md": Scene(measured_grid_and_archs),
    "docs/how-to/look-at-a-fleet.md": Scene(),
    "docs/how-to/make-a-report.md": Scene(measured_and_compared),
    "docs/how-to/move-measurements.md": Scene(measured_and_board),
    "docs/how-to/plan-a-store.md": Scene(Props.measured),
    "docs/how-to/run-a-fleet.md": Scene(space),
    "docs/how-to/try-without-a-board.md": Scene(model_and_space),
    "docs/reference/json.md": Scene(measured_and_model),
}


@pytest.mark.parametrize("page", SCENES, ids=lambda page: Path(page).stem)
def test_the_commands_of_a_page_on_stores_and_fleets_run(page: str, tmp_path: Path, props: Props) -> None:
    if "dask" in page and importlib.util.find_spec("distributed") is None:
        pytest.skip("Dask is not installed: pip install 'edgecost[dask]'")
    SCENES[page].prepare(props, tmp_path)
    play(steps_of(ROOT / page), tmp_path, SCENES[page].environment)
