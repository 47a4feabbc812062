"""``edgecost config show``: every value that commands go by, with where it comes from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgecost.cli.main import main

Captured = pytest.CaptureFixture[str]
VARIABLES = ("EDGECOST_DB", "EDGECOST_RUNTIME", "EDGECOST_AGENT_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")


@pytest.fixture(autouse=True)
def nothing_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def shown(captured: Captured) -> dict[str, dict[str, object]]:
    assert main(["config", "show", "--json"]) == 0
    return {one["name"]: one for one in json.loads(captured.readouterr().out)["settings"]}


def test_without_any_variable_everything_is_the_default(tmp_path: Path, capsys: Captured) -> None:
    found = shown(capsys)
    assert {one["source"] for one in found.values()} == {"default"}
    assert found["runtime"]["value"] == "ort"
    assert found["database"]["value"] == str(tmp_path / ".local/share/edgecost/edgecost.sqlite")
    assert found["database"]["is_there"] is False
    assert found["runtime"]["is_there"] is None


def test_each_variable_is_named_where_it_counts(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGECOST_DB", str(tmp_path / "my.sqlite"))
    monkeypatch.setenv("EDGECOST_RUNTIME", "tvm")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "my.sqlite").touch()
    found = shown(capsys)
    assert (found["database"]["source"], found["database"]["is_there"]) == ("EDGECOST_DB", True)
    assert (found["runtime"]["value"], found["runtime"]["source"]) == ("tvm", "EDGECOST_RUNTIME")
    assert found["predictors"]["value"] == str(tmp_path / "data/edgecost/predictors")
    assert found["agent's folder"]["source"] == "XDG_STATE_HOME"
    monkeypatch.setenv("EDGECOST_AGENT_HOME", str(tmp_path / "agent"))
    agent = shown(capsys)["agent's folder"]
    assert (agent["value"], agent["source"]) == (str(tmp_path / "agent"), "EDGECOST_AGENT_HOME")


def test_a_password_is_not_shown(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECOST_DB", "postgresql://anna:secret@db.lab/edgecost")
    assert main(["config", "show"]) == 0
    out = capsys.readouterr().out
    assert "anna:***@db.lab" in out
    assert "secret" not in out
