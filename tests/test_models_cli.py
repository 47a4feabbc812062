"""``edgecost models``: list, show and check, as a user meets them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from edgecost.cli.main import main
from edgecost.costmodels.cards.card_file import NAME
from edgecost.costmodels.predictor_file import load_predictor, save_predictor
from edgecost.db import Store
from tests.trained_store import CELLS, Trained, measure_later


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """A data directory of our own; its folder of predictors."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("EDGECOST_DB", str(tmp_path / "store.sqlite"))
    return tmp_path / "data" / "edgecost" / "predictors"


@pytest.fixture
def mine(trained, home, tmp_path) -> Path:
    """The predictor in the data directory, under the name that `train` gives it, and the store behind it."""
    setting = trained.setting
    shutil.copy(trained.store, tmp_path / "store.sqlite")
    name = f"{setting.device.identity[:12]}-{setting.profile.profile_hash[:12]}"
    return Path(shutil.copytree(trained.folder, home / name))


def printed(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(["models", *arguments]) == code
    return capsys.readouterr().out


def strip_environment(folder: Path, **changes: object) -> None:
    """As if the predictor had been trained in another environment; its card is then another model's."""
    predictor, provenance = load_predictor(folder)
    save_predictor(predictor, folder, {**provenance, **changes})
    (folder / NAME).unlink()


def test_an_empty_data_directory_says_what_to_do(capsys) -> None:
    assert "edgecost train" in printed(capsys, "list")
    assert json.loads(printed(capsys, "list", "--json"))["models"] == []


def test_every_predictor_has_a_line_also_those_that_cannot_be_used(mine, home, capsys) -> None:
    shutil.copytree(mine, home / "old")
    (home / "old" / NAME).unlink()
    shutil.copytree(mine, home / "spoilt")
    (home / "spoilt" / "booster.txt").write_text("")
    out = printed(capsys, "list")
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert lines[mine.name].rstrip().endswith("fresh")
    assert lines["old"].rstrip().endswith("no card")
    assert lines["spoilt"].rstrip().endswith("refused")
    assert "booster.txt is not the file it speaks of" in out
    models = json.loads(printed(capsys, "list", "--json"))["models"]
    assert [one["state"] for one in models] == ["fresh", "no card", "refused"]
    assert 0 < models[0]["held_out_within_10"] <= models[0]["floor_within_10"] == 1.0


def test_a_card_is_shown_by_default_by_name_and_by_folder(mine, capsys) -> None:
    out = printed(capsys, "show")
    for text in ("What it was made of", "retracted", "±10 %", "FLOPs only", "promised", "█", "What it cannot do"):
        assert text in out
    assert re.search(r"^  [▁▂▃▄▅▆▇█ ]+  predicted against measured, from -\d.* % to \+\d.* %$", out, re.MULTILINE)
    assert "State: fresh" in out
    assert "What to measure next" in out
    assert "Unseen graphs within ±10 %, by how many trained: 16 → " in out
    assert printed(capsys, "show", mine.name[:6]) == out
    assert printed(capsys, "show", str(mine)) == out


def test_a_card_as_json_holds_what_is_needed_to_plot_it(mine, trained: Trained, capsys, tmp_path) -> None:
    document = json.loads(printed(capsys, "show", "--json", "--picture", str(tmp_path / "card.svg")))
    assert document["schema_version"] == 1
    assert document["pairs"]["predicted"] == list(trained.report.card.pairs.predicted)
    assert document["held_out"]["n"] == CELLS
    assert set(document["sha256"]) == {"predictor.json", "booster.txt"}
    assert (tmp_path / "card.svg").read_text().lstrip().startswith("<?xml")


def test_a_picture_may_be_a_page_and_nothing_else_than_the_two(mine, capsys, tmp_path) -> None:
    assert f"Picture: {tmp_path}/card.html" in printed(capsys, "show", "--picture", str(tmp_path / "card.html"))
    assert (tmp_path / "card.html").read_text().startswith("<!DOCTYPE html>")
    assert main(["models", "show", "--picture", "card.png"]) == 2
    assert "name it like card.svg" in capsys.readouterr().err.replace("Name", "name")


def test_a_predictor_without_a_card_says_so_and_when_it_was_made(mine, capsys) -> None:
    (mine / NAME).unlink()
    out = printed(capsys, "show")
    assert "It has no card" in out
    assert "held out ±10 %" in out
    assert json.loads(printed(capsys, "show", "--json"))["card"] is None
    assert main(["models", "show", "--picture", "card.svg"]) == 2


def test_nothing_of_a_name_or_where_a_model_should_be_is_an_error_with_a_remedy(home, capsys, tmp_path) -> None:
    assert main(["models", "show", "nobody"]) == 2
    assert "edgecost models list" in capsys.readouterr().err
    assert main(["models", "show"]) == 8
    assert "edgecost train" in capsys.readouterr().err
    assert main(["models", "check", str(tmp_path)]) == 8
    assert "holds no model" in capsys.readouterr().err


def test_a_fresh_predictor_passes_the_check(mine, capsys) -> None:
    assert "fresh" in printed(capsys, "check").splitlines()[0]
    document = json.loads(printed(capsys, "check", "--json"))
    assert (document["verdict"], document["findings"]) == ("fresh", [])


def test_newer_measurements_that_differ_fail_the_check_with_the_figure_and_the_command(mine, trained, capsys) -> None:
    measure_later(mine.parents[3] / "store.sqlite", trained.setting, lambda _: 1.3)
    assert main(["models", "check"]) == 5
    told = capsys.readouterr()
    assert "30." in told.out
    assert "% slower" in told.out
    assert "campaign kernels --db NEW.sqlite" in told.err
    assert main(["models", "check", "--json"]) == 5
    assert json.loads(capsys.readouterr().out)["newer_measurements"]["is_shifted"] is True


def test_a_stale_predictor_warns_once_on_standard_error_and_answers(mine, trained, capsys, tmp_path) -> None:
    with Store(trained.store) as store:
        workload = store.workload(store.measurements(purposes=("cell",))[0].graph_hash)
    from edgecost.profiler.weights import complete

    model = tmp_path / "cell.onnx"
    model.write_bytes(complete(workload.skeleton, workload.weights))
    assert main(["predict", str(model)]) == 0
    assert capsys.readouterr().err == ""
    environment = {**trained.setting.stage.environment.document, "kernel": "Linux 1.0"}
    strip_environment(mine, environment=environment)
    assert main(["predict", str(model), "--json"]) == 0
    told = capsys.readouterr()
    assert told.err.count("\n") == 1
    assert "kernel was Linux 1.0" in told.err
    assert json.loads(told.out)["total_ms"] > 0
    assert main(["lut", "build", "--space", "ofa-mobilenetv3", "--out", str(tmp_path / "lut")]) in (0, 5)
    assert "kernel was Linux 1.0" in capsys.readouterr().err
    assert main(["models", "check"]) == 5
    assert "models check --measure" in capsys.readouterr().err


def test_predict_refuses_a_predictor_of_another_metric(mine, capsys, tmp_path) -> None:
    strip_environment(mine, metric="energy")
    (tmp_path / "model.onnx").touch()
    assert main(["predict", str(tmp_path / "model.onnx")]) == 8
    assert "predicts energy in mJ, not latency in ms" in capsys.readouterr().err
