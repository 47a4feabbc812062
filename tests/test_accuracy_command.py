"""``benchmarks/accuracy.py`` at its smallest: every part says something, and what is kept is not computed again."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.benchmark

pytest.importorskip("onnxruntime")

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
published = pytest.mark.skipif(not DATA.is_dir(), reason="the published measurements are not beside the repository")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, BENCHMARKS / "accuracy.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@published
def test_published_parts_stand_beside_their_figures_and_their_intervals_in_part_d(tmp_path: Path) -> None:
    small = ("--task", "N3", "--seeds", 1, "--spaces", "latbench", "--samples", 100, "--space-seeds", 1)
    options = ("--part", "a,b,d", "--keep", tmp_path, "--data", DATA, *small)
    done = run(*options)
    assert done.returncode == 0, done.stderr
    assert "### a. A new device" in done.stdout
    assert "NASFlat" in done.stdout
    assert "| latbench | 100 | 1 | edgecost |" in done.stdout
    assert "latbench, 100 samples (worst device)" in done.stdout
    kept = {file.name: file.stat().st_mtime_ns for file in tmp_path.glob("*.json")}
    assert len(kept) == 2
    again = run(*options, "--json")
    assert again.returncode == 0, again.stderr
    assert {file.name: file.stat().st_mtime_ns for file in tmp_path.glob("*.json")} == kept
    assert set(json.loads(again.stdout)) >= {"machine", "edgecost", "a", "b"}


def test_speed_and_an_empty_part_d_need_no_data(tmp_path: Path) -> None:
    done = run("--part", "de", "--rows", "100", "--population", "100", "--data", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "networks per CPU s" in done.stdout
    assert "intervals are judged by parts a, b and c" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--part", "x"], "letters of abcde"),
        (["--part", "a", "--data", "nowhere"], "leave parts a and b out"),
        (["--part", "c", "--factor", "16"], "between 0 and --networks"),
    ],
)
def test_what_cannot_work_is_said_before_anything_runs(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    with pytest.raises(SystemExit) as stop:
        importlib.import_module("accuracy").parse(arguments)
    assert stop.value.code == 2
    assert words in capsys.readouterr().err
