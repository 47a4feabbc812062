"""``edgecost db export``, ``import`` and ``merge`` at the terminal: words, JSON and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgecost.cli.main import main
from edgecost.db import Store
from edgecost.db.schema import HEAD
from tests.moved_stores import fill, furnish
from tests.test_db_measurements import measured

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    with Store(tmp_path / "source.sqlite") as store:
        fill(store, 5)
    return tmp_path / "source.sqlite"


def run(captured: Captured, *arguments: str | Path) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    out, err = captured.readouterr()
    return code, out, err


def test_out_and_in_again(source: Path, tmp_path: Path, capsys: Captured, database_url: str) -> None:
    out = tmp_path / "out"
    code, said, err = run(capsys, "db", "export", "--parquet", out, "--db", source)
    assert (code, err) == (0, "measurements written (5)\n")
    assert "measurement raw" in said
    assert str(out) in said
    code, said, err = run(capsys, "db", "import", out, "--db", database_url)
    assert (code, err) == (0, "measurements read (5)\n")
    assert said.startswith("5 measurements new, 0 known, 0 refused\nalso new: 1 device, ")
    code, said, err = run(capsys, "db", "import", out, "--db", database_url, "--json")
    assert (code, err) == (0, "")
    assert [json.loads(said)[name] for name in ("new", "known", "refused")] == [0, 5, []]


def test_export_as_json_of_one_device(source: Path, tmp_path: Path, capsys: Captured) -> None:
    arguments = ("--device", "nano", "--db", source, "--json")
    code, said, _ = run(capsys, "db", "export", "--parquet", tmp_path / "out", *arguments)
    told = json.loads(said)
    assert code == 0
    assert (told["rows"]["measurement"], told["schema_revision"]) == (5, HEAD)
    assert told["size_bytes"] > 0
    code, _, err = run(capsys, "db", "export", "--parquet", tmp_path / "tx2", "--device", "tx2", "--db", source)
    assert code == 2
    assert "edgecost db info lists the devices" in err


def test_a_database_that_is_not_there_is_not_made_to_be_exported(tmp_path: Path, capsys: Captured) -> None:
    code, _, err = run(capsys, "db", "export", "--parquet", tmp_path / "out", "--db", tmp_path / "none.sqlite")
    assert code == 2
    assert "no database there" in err
    assert [*tmp_path.iterdir()] == []


def test_a_merge_says_what_was_refused_after_it_has_taken_the_rest(
    source: Path, tmp_path: Path, capsys: Captured
) -> None:
    target = tmp_path / "target.sqlite"
    with Store(target) as store:
        furnish(store)
        store.record(measured("m0001", message="another"))
    code, said, err = run(capsys, "db", "merge", source, "--db", target)
    assert code == 7
    assert said.startswith("4 measurements new, 0 known, 1 refused\n")
    assert "(m0001)" in err
    code, said, _ = run(capsys, "db", "merge", source, "--db", target, "--json")
    assert code == 7
    assert json.loads(said)["refused"] == ["m0001"]


def test_what_is_no_export_is_refused_with_a_remedy(tmp_path: Path, capsys: Captured) -> None:
    code, _, err = run(capsys, "db", "import", tmp_path, "--db", tmp_path / "target.sqlite")
    assert code == 8
    assert "Name the folder that `edgecost db export` wrote." in err
