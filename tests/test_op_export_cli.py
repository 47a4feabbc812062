"""``edgecost lut export-ops``: a saved predictor, ONNX files, and requests that make no sense."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgecost.cli.main import cli
from edgecost.costmodels.op_formats import op_format_names
from edgecost.costmodels.predictor import LatencyPredictor
from edgecost.costmodels.predictor_file import save_predictor
from edgecost.costmodels.quickstart import training_provenance
from edgecost.profiler.errors import EdgecostError
from edgecost.profiler.runtimes import host_profile
from tests.conftest import KnownLaw
from tests.op_model import layers, write_model
from tests.trained_store import Trained


def run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["lut", "export-ops", *(str(argument) for argument in arguments)])
    if isinstance(result.exception, EdgecostError):
        return result.exception.exit_code, f"{result.exception.message}\n{result.exception.remedy}"
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory, trained: Trained, law: KnownLaw) -> Path:
    graphs = layers(host_profile())
    fitted = LatencyPredictor(rounds=10).fit(graphs, law.measured_ms(graphs, seed=3))
    folder = tmp_path_factory.mktemp("predictor")
    save_predictor(fitted, folder, training_provenance(trained.setting))
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "net.onnx")


def test_a_library_of_convolutions_is_written(predictor: Path, tmp_path: Path) -> None:
    grid = ("--resolutions", "14,28", "--channels", "16,32", "--kernels", "3", "--batches", "1,2")
    code, output = run("--format", "tinynas", "--predictor", predictor, *grid, "--out", tmp_path / "out", "--json")
    assert code == 0, output
    document = json.loads(output)
    assert (document["metric"], document["precision"]) == ("latency", "fp32")
    table, side = (Path(file) for file in document["files"]["tinynas"])
    lines = table.read_text().splitlines()
    assert len(lines) == 2 * 2 * 2 * 2 * 2 * (5 + 1 + 1)
    assert all(float(line.split()[1]) > 0 for line in lines)
    rows = json.loads(side.read_text())["rows"]
    assert {row["source"] for row in rows.values()} <= {"measured", "interpolated", "predicted"}


def test_the_layers_of_a_model_are_written_for_several_readers(predictor: Path, model: Path, tmp_path: Path) -> None:
    formats = [part for name in ("mobile-cv", "netadapt", "haq") for part in ("--format", name)]
    code, output = run(model, *formats, "--predictor", predictor, "--device", "My Board", "--out", tmp_path / "out")
    assert code == 0, output
    assert "Every width runs as W32A32" in output
    written = sorted(file.name for file in (tmp_path / "out").iterdir() if file.suffix != ".json")
    assert written == ["My_Board-lut.pkl", "net-My_Board-lut.pkl", "net_imagenet_batch16_latency_table.npy"]
    side = json.loads((tmp_path / "out" / "My_Board-lut.pkl.edgecost.json").read_text())
    assert (side["device"], side["precision"], side["batch"], side["unit"]) == ("My Board", "fp32", [1], "ms")
    assert "borders" in side["not_counted"]


def test_a_predictor_of_another_precision_prices_the_widths_that_it_is_for(
    predictor: Path, trained: Trained, model: Path, law: KnownLaw, tmp_path: Path
) -> None:
    profile = replace(trained.setting.profile, precision="int8-qdq")
    graphs = layers(profile)
    fitted = LatencyPredictor(rounds=10).fit(graphs, 0.25 * law.measured_ms(graphs, seed=3))
    save_predictor(fitted, tmp_path / "int8", {"profile_hash": profile.profile_hash, "profile": profile.label})
    both = ("--predictor", predictor, "--predictor", f"W8A8={tmp_path / 'int8'}")
    code, output = run(model, "--format", "haq", *both, "--out", tmp_path / "both")
    assert code == 0, output
    assert run(model, "--format", "haq", "--predictor", predictor, "--out", tmp_path / "one")[0] == 0
    name = "net_imagenet_batch16_latency_table.npy"
    eight, floats = np.load(tmp_path / "both" / name), np.load(tmp_path / "one" / name)
    assert (eight > 0).all()
    assert eight.sum() < floats.sum()


def test_a_predictor_of_another_runtime_is_refused(predictor: Path, model: Path, trained: Trained) -> None:
    code, message = run(model, "--format", "haq", "--predictor", predictor, "--threads", "2")
    assert (code, "trained for" in message) == (8, True)
    stranger = predictor.parent / "stranger"
    save_predictor(trained.report.predictor, stranger, {"profile_hash": "0" * 64, "profile": "another one"})
    code, message = run(
        model, "--format", "haq", "--predictor", predictor, "--predictor", f"W8A8={stranger}", "--out", predictor.parent
    )
    assert (code, "in no precision" in message) == (8, True)


def test_what_has_no_price_is_listed_with_exit_code_5(trained: Trained, model: Path, tmp_path: Path) -> None:
    arguments = ("--predictor", trained.folder, "--out", tmp_path / "out")
    code, message = run(model, "--format", "runtime-lut", *arguments)
    assert (code, "rows of 'runtime-lut' have no price" in message) == (5, True)
    assert "Relu: nothing of the kind was measured" in message
    code, message = run("--format", "nn-meter", "--samples", "50", *arguments)
    assert (code, "--allow-missing" in message) == (5, True)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "which format"),
        (["--format", "tinynaz"], "Did you mean 'tinynas'"),
        (["--format", "tinynas", "--resolutions", "7,7"], "no list of distinct numbers"),
        (["--format", "tinynas", "--predictor", "a", "--predictor", "b"], "two predictors"),
        (["--format", "haq", "--predictor", "W8=a"], "no pair of bits"),
    ],
)
def test_a_request_that_makes_no_sense_is_answered(arguments: list[str], message: str) -> None:
    code, answer = run(*arguments)
    assert (code, message in answer) == (2, True), answer


def test_the_formats_are_listed() -> None:
    code, output = run("--list", "--json")
    assert code == 0
    assert [one["name"] for one in json.loads(output)["formats"]] == op_format_names()
