"""The commands of the pages on measuring run: on virtual devices, and for seconds on this machine."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.weights import complete
from tests.comparison_store import Bench, around, relu
from tests.shown_commands import ROOT, home_of, play, steps_of
from tests.stage_props import TINY, Props, Scene


def model(props: Props, folder: Path) -> None:
    props.model(folder / "model.onnx")


def model_and_ways(props: Props, folder: Path) -> None:
    model(props, folder)
    props.ways(folder / "ways.onnx")


def model_before_and_after(props: Props, folder: Path) -> None:
    """Beside the model three sessions of October and three of November, in which nothing has changed."""
    model(props, folder)
    bench = Bench(folder / "edgecost.sqlite")
    for month in (10, 11):
        for day in (11, 12, 13):
            started_at = f"2026-{month}-{day}T00:00:00.000+00:00"
            bench.write(relu(64), around(1.0, seed=day), started_at=started_at)
    bench.store.close()


def model_and_other_python(props: Props, folder: Path) -> None:
    """Beside the model another environment in the home."""
    props.model(folder / "model.onnx", str(TINY))
    python = Path(home_of(folder)["HOME"]) / "ort-1.20" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)


def convolution_alone(props: Props, folder: Path) -> None:
    """One kernel: TVM compiles each, and tries schedules of each."""
    graph = GraphBuilder("net")
    model = graph.model(graph.conv(graph.input((1, 8, 16, 16)), 8))
    (folder / "model.onnx").write_bytes(complete(model.SerializeToString(), graph.weights))


def small_models(props: Props, folder: Path) -> None:
    """Models of some microseconds, and a space of them."""
    props.model(folder / "model.onnx", str(TINY))
    props.ways(folder / "ways.onnx")
    shutil.copy(TINY, folder / "tiny.toml")


SCENES = {
    "docs/how-to/profile-a-model.md": Scene(model_and_ways),
    "docs/how-to/compare-two-configurations.md": Scene(model_before_and_after),
    "docs/how-to/choose-a-runtime.md": Scene(model_and_other_python, runtime="ort"),
    "docs/how-to/audit-additivity.md": Scene(small_models, runtime="ort"),
    "docs/how-to/probe-a-device.md": Scene(runtime="ort"),
    "docs/how-to/measure-energy.md": Scene(small_models),
    "docs/how-to/see-the-kernels.md": Scene(model_and_ways, runtime="ort"),
    "docs/how-to/quieter-measurements.md": Scene(model),
    "docs/how-to/resume-a-campaign.md": Scene(),
    "docs/how-to/measure-adaptively.md": Scene(),
    "docs/how-to/use-tvm.md": Scene(convolution_alone, runtime="ort"),
}


@pytest.mark.parametrize("page", SCENES, ids=lambda page: Path(page).stem)
def test_the_commands_of_a_page_on_measuring_run(page: str, tmp_path: Path, props: Props) -> None:
    if "--runtime tvm" in (ROOT / page).read_text(encoding="utf-8") and importlib.util.find_spec("tvm") is None:
        pytest.skip("TVM is not installed: pip install 'edgecost[tvm]'")
    SCENES[page].prepare(props, tmp_path)
    play(steps_of(ROOT / page), tmp_path, SCENES[page].environment)
