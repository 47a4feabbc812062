"""``edgecost tune`` and what comes of it: real searches of a few trials, records that stay, profiles that know them."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pytest

from edgecost.cli.main import main
from edgecost.costmodels.named_runtimes import chosen_profile
from edgecost.profiler.errors import UsageError
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.runtimes import BUILT_IN, resolve
from edgecost.profiler.tvm.client import RECORDS_FILE, tuning_database
from edgecost.profiler.tvm.compiler import tuning_refusal
from edgecost.profiler.weights import complete

if importlib.util.find_spec("tvm") is None or importlib.util.find_spec("xgboost") is None:
    pytest.skip("TVM cannot tune here: pip install 'edgecost[tvm]'", allow_module_level=True)

Captured = pytest.CaptureFixture[str]
FAST = ("--preset", "quick", "--ci", "90%", "--max-time", "20s")


class Answer(NamedTuple):
    """Exit code and both streams of one command."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data directory of our own for the whole file: what one test has tuned the next one finds."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as changed:
        changed.setenv("XDG_DATA_HOME", str(folder / "data"))
        changed.setenv("EDGECOST_DB", str(folder / "store.sqlite"))
        yield folder


@pytest.fixture(scope="module")
def model(home: Path) -> Path:
    """One product, which is one kernel to tune."""
    if refused := tuning_refusal(version("apache-tvm"), version("apache-tvm-ffi")):
        pytest.skip(refused)
    graph = GraphBuilder("product")
    made = graph.linear(graph.input((4, 16)), 24)
    path = home / "product.onnx"
    path.write_bytes(complete(graph.model(made).SerializeToString(), tuple(graph.weights)))
    return path


def run(captured: Captured, *arguments: str | Path) -> Answer:
    code = main([str(argument) for argument in arguments])
    return Answer(code, *captured.readouterr())


def test_without_records_the_command_that_makes_them_is_named(home: Path, model: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as changed:
        changed.setenv("XDG_DATA_HOME", str(tmp_path))
        with pytest.raises(UsageError, match="nothing was tuned") as caught:
            resolve(BUILT_IN["tvm-tuned"])
    assert "edgecost tune" in caught.value.remedy


def test_tuning_keeps_its_trials_and_the_next_call_finds_them(home: Path, model: Path, capsys: Captured) -> None:
    first = run(capsys, "tune", model, "--trials", "3", "--json")
    assert (first.code, first.err) == (0, "")
    told = json.loads(first.out)
    assert [(task["trials"], task["best_us"] > 0) for task in told["tasks"]] == [(3, True)]
    assert told["reused"] == 0
    records = Path(told["database"]) / RECORDS_FILE
    assert records.is_relative_to(home)
    assert records.read_bytes().count(b"\n") == 3
    before = records.read_bytes()
    again = run(capsys, "tune", model, "--trials", "3")
    assert again.code == 0
    assert "1 kernels had their trials already" in again.out
    assert "--runtime tvm-tuned" in again.out
    # A bar is for people who watch; here is a line per stage, and none per step.
    assert again.err == "tuning product.onnx (3)\n"
    assert records.read_bytes() == before


def test_a_tuned_profile_says_how_many_trials_and_changes_with_them(home: Path, model: Path, capsys: Captured) -> None:
    before = chosen_profile("tvm-tuned", None, None)
    assert dict(before.options)["trials"] == "3"
    assert "3 trials" in before.label
    answer = run(capsys, "profile", model, "--runtime", "tvm-tuned", *FAST, "--json")
    # 3: this machine was too busy for every visit.
    assert answer.code in (0, 3)
    told = json.loads(answer.out)
    assert (told["profile"], told["profile_hash"]) == (before.label, before.profile_hash)
    assert told["latency"]["median_ms"] > 0
    records = tuning_database(before) / RECORDS_FILE
    lines = records.read_bytes().splitlines(keepends=True)
    records.write_bytes(b"".join([*lines, lines[0]]))
    after = chosen_profile("tvm-tuned", None, None)
    assert dict(after.options)["trials"] == "4"
    assert after.profile_hash != before.profile_hash


def test_what_cannot_be_tuned_is_said_to_be_so(home: Path, model: Path, capsys: Captured) -> None:
    answer = run(capsys, "tune", model, "--runtime", "ort")
    assert answer.code == UsageError.exit_code
    assert "only TVM can" in answer.err
