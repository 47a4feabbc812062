"""``edgecost split`` with predictors of latency and energy: what they say is added up, what they lack is told."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from edgecost.cli.main import main
from edgecost.costmodels.predictor_file import save_predictor
from tests.split_chains import chain, energy_of_relu, latency_of_relu

Captured = pytest.CaptureFixture[str]
SIMULATED = ("--head", "simulator:systolic:rows=8,columns=8", "--tail", "simulator:systolic", "--link", "20Mbit/s")


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECOST_DB", str(tmp_path / "test.sqlite"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    onnx.save(onnx.load_model_from_string(chain("Relu", "Relu", "Relu").skeleton), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def run(captured: Captured, *arguments: str | Path) -> tuple[int, str, str]:
    code = main(["split", *(str(argument) for argument in arguments)])
    out, err = captured.readouterr()
    return code, out, err


def test_every_cut_stands_in_the_table_with_the_best_for_latency_and_energy(model: Path, capsys: Captured) -> None:
    code, out, _ = run(capsys, model, *SIMULATED, "--latency", "5ms", "--radio-mw", "800")
    assert code == 0
    for words in ("20 Mbit/s, 5 ms", "input", "Relu v1", "output", "nothing", "4.1 kB", "board's energy"):
        assert words in out
    assert "* Fastest: cut 3, after output" in out
    assert "+ Least energy of the board" in out
    assert "waiting     of the board" in out


def test_json_holds_everything_and_adds_up(model: Path, capsys: Captured) -> None:
    code, out, _ = run(capsys, model, *SIMULATED, "--latency", "5ms", "--radio-mw", "800", "--round-trip", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["fastest"]["number"] == 3
    first = document["cuts"][0]
    assert (first["crossing_bytes"], first["answer_bytes"]) == (4096, 4096)
    assert first["link_ms"] == pytest.approx(2 * (4096 * 8 / 20e6 * 1e3 + 5.0))
    assert first["head"]["source"] == "nothing"
    assert first["board_energy"]["radio_mj"] == pytest.approx(800 * 2 * 4096 * 8 / 20e6)
    for cut in document["cuts"]:
        assert cut["total_ms"] == pytest.approx(cut["head"]["latency_ms"] + cut["link_ms"] + cut["tail"]["latency_ms"])


def test_without_a_radio_energies_of_cuts_are_lower_bounds_and_the_reason_is_told(
    model: Path, capsys: Captured
) -> None:
    _, out, _ = run(capsys, model, *SIMULATED)
    assert "--radio-mw" in out
    assert "Least energy of the board: cut 3" in out
    assert "3 cuts may be better" in out


def test_the_predictors_of_a_device_price_it_and_without_energies_the_energy_is_unknown(
    model: Path,
    tmp_path: Path,
    capsys: Captured,
) -> None:
    save_predictor(latency_of_relu(), tmp_path / "made", {})
    sides = (
        "--head",
        "host",
        "--head-predictor",
        tmp_path / "made",
        "--tail",
        "simulator:systolic",
        "--link",
        "1Gbit/s",
    )
    code, out, _ = run(capsys, model, *sides)
    assert code == 0
    assert "Board's energy: unknown" in out
    _, out, _ = run(capsys, model, *sides, "--json")
    document = json.loads(out)
    assert {cut["board_energy"] for cut in document["cuts"]} == {None}
    assert document["cuts"][-1]["head"]["kernels"] == 3
    assert document["least_board_energy"]["number"] is None


def test_a_predictor_of_energy_gives_the_board_its_energy(
    model: Path,
    tmp_path: Path,
    capsys: Captured,
) -> None:
    save_predictor(latency_of_relu(), tmp_path / "made", {})
    energy_of_relu().save(tmp_path / "energy", {})
    sides = (
        "--head",
        "host",
        "--head-predictor",
        tmp_path / "made",
        "--tail",
        "simulator:systolic",
        "--link",
        "1Gbit/s",
    )
    code, out, _ = run(capsys, model, *sides, "--head-energy", tmp_path / "energy", "--radio-mw", "500", "--json")
    document = json.loads(out)
    assert code == 0
    energies = [cut["board_energy"]["energy_mj"] for cut in document["cuts"]]
    assert energies[0] == pytest.approx(500 * document["cuts"][0]["link_ms"] / 1e3)
    assert energies[3] == pytest.approx(3 * (2e-3 + 3e-6 * 1024), rel=0.2)


def test_strict_refuses_what_has_no_full_price(
    tmp_path: Path,
    capsys: Captured,
) -> None:
    onnx.save(onnx.load_model_from_string(chain("Relu", "Erf").skeleton), tmp_path / "m.onnx")
    save_predictor(latency_of_relu(), tmp_path / "made", {})
    sides = (
        "--head",
        "host",
        "--head-predictor",
        tmp_path / "made",
        "--tail",
        "simulator:systolic",
        "--link",
        "1Gbit/s",
    )
    code, out, err = run(capsys, tmp_path / "m.onnx", *sides, "--strict")
    assert (code, out) == (5, "")
    assert "Erf" in err
    code, out, _ = run(capsys, tmp_path / "m.onnx", *sides)
    assert code == 0
    assert "≥" in out
    assert "no price    Erf" in out


def test_the_picture_is_written(model: Path, tmp_path: Path, capsys: Captured) -> None:
    code, _, _ = run(capsys, model, *SIMULATED, "--plot", tmp_path / "split.svg")
    assert code == 0
    assert "</svg>" in (tmp_path / "split.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--head", "host", "--tail", "host"), 2, "--link"),
        ((*SIMULATED[:-1], "20Mbit"), 2, "20Mbit/s"),
        ((*SIMULATED[:-1], "20mbit/s"), 2, "thousandth"),
        ((*SIMULATED, "--latency", "5"), 2, "5ms"),
        ((*SIMULATED, "--radio-mw", "-1"), 2, "--radio-mw"),
        ((*SIMULATED, "--plot", "split.png"), 2, ".svg"),
        ((*SIMULATED, "--measure"), 2, "neither side"),
        ((*SIMULATED, "--head-runtime", "ort"), 2, "its own runtime"),
        (("--head", "nano-1", "--tail", "host", "--link", "1Gbit/s"), 2, "no database"),
        (("--head", "host", "--tail", "host", "--link", "1Gbit/s"), 8, "no predictor"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_exit_code(
    model: Path, capsys: Captured, arguments: tuple[str, ...], code: int, said: str
) -> None:
    found, out, err = run(capsys, model, *arguments)
    assert (found, out) == (code, "")
    assert said in err
