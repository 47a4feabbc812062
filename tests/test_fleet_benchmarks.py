"""The benchmarks of the fleet run, at their smallest, and say what they are meant to say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.benchmark

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_cycles_are_counted_on_both_engines(postgresql_server: str) -> None:
    command = [sys.executable, BENCHMARKS / "fleet_cycles.py", "--jobs", "6", "--way", "1x4", "--json"]
    server = ["--postgresql", postgresql_server.format("postgres")]
    done = subprocess.run([*command, *server], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found) == {"SQLite, 1 workers, 4 in a lease", "PostgreSQL, 1 workers, 4 in a lease"}
    assert all(one["cycles/s"] > 0 and one["worker ms/cycle"] > 0 for one in found.values())


def test_a_short_soak_loses_nothing_and_says_so() -> None:
    command = [sys.executable, BENCHMARKS / "fleet_soak.py", "--minutes", "0.05", "--engine", "sqlite", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "each with one result" in done.stdout
    assert "Lost: 0. Doubled: 0." in done.stdout
