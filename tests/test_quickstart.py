"""The main job as a user runs it, on a space that is small enough to be measured whole in seconds. Nothing is faked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest

import edgecost
from edgecost.costmodels.lut import Lut
from edgecost.costmodels.space_file import load_space

SPACE = Path(__file__).with_name("tiny.toml")
Document = dict[str, object]


def edgecost_command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One command in a process of its own, with its own database and data directory."""
    environment = {**os.environ, "EDGECOST_DB": str(folder / "store.sqlite"), "XDG_DATA_HOME": str(folder / "data")}
    command = [sys.executable, "-m", "edgecost", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("quickstart")


@pytest.fixture(scope="module")
def first(folder: Path) -> dict[str, object]:
    done = edgecost_command(folder, "quickstart", "--space", str(SPACE), "--out", "out", "--json")
    assert done.returncode == 0, done.stderr
    document: dict[str, object] = json.loads(done.stdout)
    return document


def test_every_cell_of_the_space_is_measured(first: Document, folder: Path) -> None:
    lut = Lut.load(folder / "out" / "tiny-w1-32.lut.json")
    assert set(lut.keys) == {cell.key for cell in load_space(str(SPACE)).measurable}
    assert set(lut.source) == {"measured"}
    assert (lut.latency_ms > 0).all()
    assert (lut.n > 0).all()


def test_half_of_the_networks_fit_the_factor_and_the_other_half_judges_it(first: Document) -> None:
    networks = first["networks"]
    assert isinstance(networks, list)
    assert [network["role"] for network in networks] == ["fit", "judge"] * (len(networks) // 2)
    ratios = [n["measured_ms"] / n["sum_ms"] for n in networks if n["role"] == "fit"]
    assert first["scale"] == pytest.approx(np.median(ratios))
    assert first["judged"] is not None


def test_accuracy_stands_beside_the_floor_and_the_baseline(first: Document) -> None:
    training = first["training"]
    assert isinstance(training, dict)
    for name in ("held_out", "repeatability_floor", "flops_only"):
        assert 0 <= training[name]["within_10"] <= 1
        assert training[name]["n"] == 20
    assert training["held_out"]["mape_percent"] < training["flops_only"]["mape_percent"]


def test_a_second_run_measures_nothing_again(first: Document, folder: Path) -> None:
    done = edgecost_command(folder, "quickstart", "--space", str(SPACE), "--out", "again", "--json")
    assert done.returncode == 0, done.stderr
    second = json.loads(done.stdout)
    assert second["cells"]["measured"] == 0
    assert second["scale"] == first["scale"]
    assert second["networks"] == first["networks"]


def test_the_table_for_people_says_what_was_measured_on_and_what_to_do_next(first: Document, folder: Path) -> None:
    done = edgecost_command(folder, "quickstart", "--space", str(SPACE), "--out", "out")
    assert done.returncode == 0, done.stderr
    assert "onnxruntime" in done.stdout
    assert "Spearman" in done.stdout
    assert done.stdout.count("  edgecost ") == 3


def test_the_example_network_is_a_model_that_profile_and_predict_take(first: Document, folder: Path) -> None:
    onnx.checker.check_model(str(folder / "out" / "example.onnx"), full_check=True)
    predicted = edgecost_command(folder, "predict", "out/example.onnx", "--predictor", "out/predictor", "--json")
    assert predicted.returncode == 0, predicted.stderr
    price = json.loads(predicted.stdout)
    assert price["is_lower_bound"] is False
    assert price["lo_ms"] < price["total_ms"] < price["hi_ms"]
    profiled = edgecost_command(folder, "profile", "out/example.onnx", "--json")
    assert profiled.returncode in (0, 3), profiled.stderr
    measured = json.loads(profiled.stdout)
    assert measured["latency"]["visits"] > 0
    assert sum(kernel["share"] for kernel in measured["kernels"]) == pytest.approx(1.0)


def test_train_and_lut_build_give_the_same_from_the_store(first: Document, folder: Path) -> None:
    trained = edgecost_command(folder, "train", "--space", str(SPACE), "--json")
    assert trained.returncode == 0, trained.stderr
    built = edgecost_command(folder, "lut", "build", "--space", str(SPACE), "--out", "luts", "--json")
    assert built.returncode == 0, built.stderr
    document = json.loads(built.stdout)
    assert document["sources"] == {"measured": 20}
    assert document["scale_fitted_on"] == 16
    mine, theirs = (Lut.load(folder / where / "tiny-w1-32.lut.json") for where in ("out", "luts"))
    assert mine.latency_ms.tolist() == theirs.latency_ms.tolist()


def test_the_python_face_reads_what_the_commands_wrote(first: Document, folder: Path) -> None:
    space = load_space(str(SPACE))
    lut = edgecost.Lut.load(folder / "out" / "tiny-w1-32.lut.json")
    archs = space.sample(100, seed=1)
    prices = lut.price(archs, space=space)
    assert prices.shape == (100,)
    with edgecost.Store(folder / "store.sqlite") as store:
        assert store.counts().measurements > 0
        kept = edgecost.profile(folder / "out" / "example.onnx", store=store)
    assert kept.measurement.latency is not None


def test_cells_that_were_not_measured_are_predicted_and_say_so(folder: Path, tmp_path: Path) -> None:
    some = edgecost_command(tmp_path, "campaign", "run", "--space", str(SPACE), "--cells", "14", "--json")
    assert some.returncode == 0, some.stderr
    assert json.loads(some.stdout)["measured"] == 14
    assert edgecost_command(tmp_path, "train", "--space", str(SPACE)).returncode == 0
    refused = edgecost_command(tmp_path, "lut", "build", "--space", str(SPACE), "--measured-only", "--json")
    assert refused.returncode == 5
    built = edgecost_command(tmp_path, "lut", "build", "--space", str(SPACE), "--json")
    if built.returncode == 0:
        assert json.loads(built.stdout)["sources"] == {"measured": 14, "predicted": 6}
    else:
        # Fourteen random cells may hold no kernel of a kind that another cell needs; then the cells are named.
        assert built.returncode == 5
        assert "neither measured nor predictable" in built.stderr


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_a_campaign_that_is_cut_off_goes_on_where_it_was(how: signal.Signals, tmp_path: Path) -> None:
    environment = {**os.environ, "EDGECOST_DB": str(tmp_path / "store.sqlite")}
    command = [sys.executable, "-m", "edgecost", "campaign", "run", "--space", "proxylessnas", "--json"]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    with process:
        kept = _wait_for_visits(tmp_path / "store.sqlite")
        process.send_signal(how)
        _, said = process.communicate(timeout=60)
    if how is signal.SIGINT:
        assert process.returncode == 130
        assert "Interrupted" in said
    resumed = edgecost_command(tmp_path, "campaign", "run", "--space", "proxylessnas", "--cells", "4", "--json")
    assert resumed.returncode == 0, resumed.stderr
    with edgecost.Store(tmp_path / "store.sqlite") as store:
        measurements = store.measurements(usable_only=False, with_visits=True)
        assert store.counts().spooled_visits == 0
    assert sum(len(measurement.visits) for measurement in measurements) >= kept


def _wait_for_visits(database: Path) -> int:
    """The number of visits that were put aside, as soon as there are some."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if database.exists():
            with edgecost.Store(database) as store:
                if (found := store.counts().spooled_visits) > 0:
                    return found
        time.sleep(0.1)
    raise AssertionError("no visit was put aside within two minutes")
