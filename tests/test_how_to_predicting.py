"""The commands of the pages on prices and predictors run, most of them with the predictors of a virtual Nano."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgecost.costmodels.space_file import load_space
from tests.shown_commands import ROOT, play, steps_of
from tests.stage_props import TINY, Props, Scene


def quickstart_and_model(props: Props, folder: Path) -> None:
    props.quickstart(folder)
    props.model(folder / "model.onnx")


def measured_and_model(props: Props, folder: Path) -> None:
    props.measured(folder)
    quickstart_and_model(props, folder)


def measured_and_two_models(props: Props, folder: Path) -> None:
    measured_and_model(props, folder)
    props.model(folder / "small.onnx", str(TINY))


def known_devices(props: Props, folder: Path) -> None:
    """A model, and three devices in a file as measurements are published: latencies that a law makes, of 150 cells."""
    props.model(folder / "model.onnx", str(TINY))
    space = load_space("nasbench201")
    ops = space.sample(150, seed=0)
    work = np.exp(np.random.default_rng(0).normal(size=(ops.shape[1], int(ops.max()) + 1)))
    base_ms = 1.0 + np.take_along_axis(work, ops.T, axis=1).sum(axis=0)
    np.savez(
        folder / "nasbench201_latency.npz",
        devices=np.array(["fast", "middling", "slow"]),
        latency=base_ms[:, None] * np.array([0.5, 1.0, 3.0]),
        ops=ops,
        meta=json.dumps({"unit": "ms", "space": "nasbench201"}),
    )


def small_space_and_designs(props: Props, folder: Path) -> None:
    """A model, two small spaces, and a design of the accelerator as a file."""
    props.model(folder / "model.onnx", str(TINY))
    shutil.copy(TINY, folder / "tiny.toml")
    small = TINY.read_text(encoding="utf-8").replace('name = "tiny"', 'name = "small"').replace("out = 24", "out = 32")
    (folder / "small.toml").write_text(small, encoding="utf-8")
    (folder / "design.toml").write_text('simulator = "systolic"\n\n[options]\nrows = 32\n', encoding="utf-8")


def mobilenet_and_small_space(props: Props, folder: Path) -> None:
    props.model(folder / "mobilenet_v2.onnx", "mnasnet-a1")
    shutil.copy(TINY, folder / "tiny.toml")


SCENES = {
    "docs/how-to/price-a-model.md": Scene(measured_and_model),
    "docs/how-to/predict-energy-and-memory.md": Scene(mobilenet_and_small_space, runtime="ort"),
    "docs/how-to/know-when-a-model-is-stale.md": Scene(measured_and_model),
    "docs/how-to/look-at-a-model.md": Scene(measured_and_model),
    "docs/how-to/onboard-a-device.md": Scene(known_devices),
    "docs/how-to/put-a-proxy-before-a-simulator.md": Scene(small_space_and_designs, runtime="ort"),
    "docs/how-to/split-a-network.md": Scene(measured_and_two_models),
}


@pytest.mark.parametrize("page", SCENES, ids=lambda page: Path(page).stem)
def test_the_commands_of_a_page_on_prices_run(page: str, tmp_path: Path, props: Props) -> None:
    SCENES[page].prepare(props, tmp_path)
    play(steps_of(ROOT / page), tmp_path, SCENES[page].environment)
