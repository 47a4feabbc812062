"""``edgecost report`` as a user meets it: where the page goes, what is printed, what is said of a wrong name."""

from __future__ import annotations

import json
import shutil
import webbrowser
from pathlib import Path

import pytest

from edgecost.cli.main import main
from tests.report_store import CAMPAIGN, of_campaign, of_device
from tests.trained_store import Trained

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory and a working directory of our own."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("EDGECOST_DB", str(tmp_path / "store.sqlite"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def measured(tmp_path: Path) -> None:
    of_device(tmp_path / "store.sqlite").store.close()


def said(captured: Captured, *arguments: str, code: int = 0) -> str:
    """Standard output, or for an error the other one."""
    assert main(["report", *arguments]) == code
    out, err = captured.readouterr()
    return out if code == 0 else err


@pytest.mark.usefixtures("measured")
def test_a_page_is_written_here_under_the_name_of_its_subject(home: Path, capsys: Captured) -> None:
    out = said(capsys, "device", "board")
    assert "Report: report-device-board.html" in out
    assert [path.name for path in home.iterdir()] == ["report-device-board.html"]
    html = (home / "report-device-board.html").read_text()
    assert html.startswith("<!DOCTYPE html>")
    assert html.endswith("</html>\n")
    before = html
    said(capsys, "device", "board")
    assert (home / "report-device-board.html").read_text() == before


@pytest.mark.usefixtures("measured")
def test_the_page_and_the_pictures_go_where_they_are_told_to(home: Path, capsys: Captured) -> None:
    out = said(capsys, "device", "board", "-o", "new/page.html", "--pictures", "new/pictures")
    assert "Report: new/page.html" in out
    assert "Pictures: 6 files in new/pictures" in out
    assert {path.name for path in (home / "new" / "pictures").iterdir()} == {
        f"{name}.{end}" for name in ("outcomes", "canary", "anchors") for end in ("svg", "png")
    }


@pytest.mark.usefixtures("measured")
def test_json_is_the_data_of_the_report_and_writes_nothing_by_itself(home: Path, capsys: Captured) -> None:
    document = json.loads(said(capsys, "device", "board", "--json"))
    assert (document["schema_version"], document["kind"], document["page"]) == (1, "device", None)
    assert document["data"]["by_status"] == {"ok": 22, "rejected": 1, "segfault": 1}
    assert document["data"]["newest"][0]["energy_mj"] == 12.25
    assert document["data"]["newest"][1]["latency_ms"] is None
    assert list(home.iterdir()) == []
    document = json.loads(said(capsys, "device", "board", "--json", "-o", "page.html"))
    assert document["page"] == "page.html"
    assert (home / "page.html").exists()


def test_a_campaign_has_a_page(tmp_path: Path, home: Path, capsys: Captured) -> None:
    of_campaign(tmp_path / "store.sqlite").store.close()
    out = said(capsys, "campaign", CAMPAIGN)
    assert "3 of 6 jobs done, 1 failed" in out
    assert (home / "report-campaign-blocks-board.html").exists()
    document = json.loads(said(capsys, "campaign", CAMPAIGN, "--json"))
    assert document["data"]["failed"][0]["said"] == "timeout: no word for 60 s"


def test_a_model_has_a_page_by_its_folder_and_by_its_name(
    trained: Trained, tmp_path: Path, home: Path, capsys: Captured
) -> None:
    said(capsys, "model", str(trained.folder), "-o", "one.html")
    shutil.copytree(trained.folder, tmp_path / "data" / "edgecost" / "predictors" / trained.folder.name)
    said(capsys, "model", trained.folder.name[:3], "-o", "two.html")
    assert (home / "one.html").read_bytes() == (home / "two.html").read_bytes()
    document = json.loads(said(capsys, "model", str(trained.folder), "--json"))
    assert document["data"]["pairs"]["predicted"] == list(trained.report.card.pairs.predicted)


@pytest.mark.usefixtures("measured")
def test_a_comparison_has_a_page(home: Path, capsys: Captured) -> None:
    assert "geometric mean" in said(capsys, "comparison", "threads=1", "until=2026-01-02")
    assert len(list(home.glob("report-comparison-*.html"))) == 1


@pytest.mark.usefixtures("measured")
def test_open_shows_the_file_that_was_written(home: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: shown.append(url) or True)
    said(capsys, "device", "board", "--open")
    assert shown == [(home / "report-device-board.html").as_uri()]
    monkeypatch.setattr(webbrowser, "open", lambda url: False)
    assert "copy it to a machine that has one" in said(capsys, "device", "board", "--open", code=10).lower()


@pytest.mark.usefixtures("measured")
def test_wrong_names_say_what_there_is(home: Path, capsys: Captured) -> None:
    err = said(capsys, "device", "bord", code=2)
    assert "there is no device 'bord'" in err
    assert "board (board-00)" in err
    err = said(capsys, "campaign", "none", code=2)
    assert "there is no campaign 'none'" in err
    assert "edgecost campaign list" in err
    assert "there is no model 'none'" in said(capsys, "model", "none", code=2)
    assert "holds no model" in said(capsys, "model", str(home), code=8)
    assert "B (threads=9) matches no measurement" in said(capsys, "comparison", "threads=1", "threads=9", code=2)
    assert "a report is an .html file" in said(capsys, "device", "board", "-o", "page.pdf", code=2)
    assert list(home.iterdir()) == []


def test_looking_makes_no_database(tmp_path: Path, capsys: Captured) -> None:
    assert "there is no database" in said(capsys, "device", "board", code=2)
    assert not (tmp_path / "store.sqlite").exists()


@pytest.mark.usefixtures("measured")
def test_a_folder_that_cannot_be_written_is_said_plainly(home: Path, capsys: Captured) -> None:
    (home / "file").write_text("")
    assert "cannot be written" in said(capsys, "device", "board", "-o", "file/page.html", code=10)
