"""``edgecost runtime`` and ``--runtime``: what they print, what they store, and exit codes. Nothing is measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import click
import pytest
from click.testing import CliRunner

from edgecost.cli.campaigns import campaign
from edgecost.cli.doctor import doctor
from edgecost.cli.luts import lut
from edgecost.cli.models import predict, train
from edgecost.cli.options import same_runtime
from edgecost.cli.runtimes import runtime
from edgecost.db import Store
from edgecost.profiler.errors import EdgecostError
from edgecost.profiler.runtimes import BUILT_IN, host_profile

TINY = str(Path(__file__).with_name("tiny.toml"))


class Answer(NamedTuple):
    """Exit code, standard output, and what went wrong."""

    code: int
    out: str
    error: str


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command of a test works on a database of its own, and finds no predictor of the user's."""
    monkeypatch.setenv("EDGECOST_DB", str(tmp_path / "test.sqlite"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("EDGECOST_RUNTIME", raising=False)
    return tmp_path / "test.sqlite"


def ask(command: click.Command, *arguments: str | Path) -> Answer:
    """One command as ``cli.main`` runs it: an error of ours ends it with its code and its words."""
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if isinstance(result.exception, EdgecostError):
        return Answer(result.exception.exit_code, result.stdout, str(result.exception))
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return Answer(result.exit_code, result.stdout, result.stderr)


def test_an_own_runtime_is_added_shown_listed_and_removed(database: Path) -> None:
    added = ask(runtime, "add", "mine", "--option", "a.b=c=d", "--affinity", "0", "--summary", "one of ours", "--json")
    assert (added.code, added.error) == (0, "")
    document = json.loads(added.out)
    assert document["definition"]["options"] == [["a.b", "c=d"]]
    assert document["definition"]["affinity"] == [0]
    assert document["profile"]["version"] == host_profile().version
    shown = json.loads(ask(runtime, "show", "mine", "--json").out)
    assert shown == {**document, "problem": None}
    with Store(database) as store:
        assert [named.summary for named in store.named_runtimes()] == ["one of ours"]
    rows = json.loads(ask(runtime, "list", "--json").out)["runtimes"]
    assert [row["name"] for row in rows] == [*BUILT_IN, "mine"]
    assert [row["built_in"] for row in rows] == [True] * len(BUILT_IN) + [False]
    assert all(row["usable"] == (row["problem"] is None) for row in rows)
    assert (rows[0]["usable"], rows[0]["version"]) == (True, host_profile().version)
    removed = ask(runtime, "remove", "mine")
    assert removed.code == 0
    assert "Measurements made with it stay" in removed.out
    assert ask(runtime, "show", "mine").code == 2


def test_showing_a_built_in_runtime_says_its_profile_and_makes_no_database(database: Path) -> None:
    shown = ask(runtime, "show", "ort")
    assert shown.code == 0
    assert host_profile().profile_hash in shown.out
    assert host_profile().label in shown.out
    assert not database.exists()


def test_a_runtime_that_cannot_be_used_is_shown_with_the_code_of_the_reason(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    refused = ask(runtime, "add", "old", "--interpreter", gone)
    assert refused.code == 4
    assert "--unchecked" in refused.error
    assert ask(runtime, "add", "old", "--interpreter", gone, "--unchecked").code == 0
    shown = ask(runtime, "show", "old", "--json")
    assert shown.code == 4
    document = json.loads(shown.out)
    assert document["definition"]["interpreter"] == gone
    assert document["profile"] is document["profile_hash"] is None
    assert document["problem"] == f"cannot start the interpreter {gone}: No such file or directory"
    assert gone in ask(runtime, "show", "old").out


@pytest.mark.parametrize("text", ["", "a", "0,", "-1", "0,0", "0 1"])
def test_cpus_that_are_none_are_wrong_usage(text: str) -> None:
    answer = ask(runtime, "add", "mine", "--affinity", text)
    assert answer.code == 2
    assert "0,1" in answer.error


@pytest.mark.parametrize("text", ["", "spinning", "=1"])
def test_an_option_that_is_none_is_wrong_usage(text: str) -> None:
    answer = ask(runtime, "add", "mine", "--option", text)
    assert answer.code == 2
    assert "=0" in answer.error


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (train, ()),
        (predict, ("model.onnx",)),
        (campaign, ("run", "--space", TINY)),
        (lut, ("build", "--space", TINY, "--out", "{folder}")),
        (runtime, ("show",)),
        (runtime, ("remove",)),
        (runtime, ("add", "mine", "--base")),
    ],
    ids=["train", "predict", "campaign", "lut", "show", "remove", "add"],
)
def test_every_command_answers_an_unknown_runtime_with_those_there_are(
    command: click.Command, arguments: tuple[str, ...], tmp_path: Path, database: Path
) -> None:
    filled = [argument.format(folder=tmp_path / "out") for argument in arguments]
    answer = ask(command, *filled, *(["nope"] if command is runtime else ["--runtime", "nope"]))
    assert answer.code == 2
    assert "no runtime 'nope'; there are ort, " in answer.error
    assert "edgecost runtime add" in answer.error
    assert not database.exists()


def test_the_variable_names_the_runtime_when_the_option_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECOST_RUNTIME", "nope")
    assert "'nope'" in ask(train).error
    assert "edgecost campaign run" in ask(train, "--runtime", "ort").error
    monkeypatch.setenv("EDGECOST_RUNTIME", "")
    assert "edgecost campaign run" in ask(train).error


def test_a_predictor_of_one_runtime_is_refused_for_another(tmp_path: Path) -> None:
    from edgecost.costmodels.predictor import LatencyPredictor
    from edgecost.costmodels.predictor_file import save_predictor
    from edgecost.costmodels.space_file import load_space
    from edgecost.profiler.kernels.graph import kernels

    space, profile = load_space(TINY), host_profile()
    built = [space.workload(cell) for cell in space.measurable]
    graphs = [kernels(workload, profile) for workload in built if workload is not None]
    predictor = LatencyPredictor(rounds=5).fit(graphs, [0.01 * len(graph) for graph in graphs])
    folder = tmp_path / "predictor"
    save_predictor(predictor, folder, {"profile_hash": profile.profile_hash, "profile": profile.label})
    ask(runtime, "add", "mine", "--option", "a=b")
    model = tmp_path / "none.onnx"
    assert ask(predict, model, "--predictor", folder, "--runtime", "ort").code == 6
    other = ask(predict, model, "--predictor", folder, "--runtime", "mine")
    assert other.code == 8
    assert "--runtime" in other.error


def test_a_campaign_of_a_runtime_that_is_not_here_measures_nothing(database: Path) -> None:
    answer = ask(campaign, "run", "--space", TINY, "--runtime", "ort-acl")
    assert answer.code == 2
    assert "ACLExecutionProvider" in answer.error
    assert not database.exists()


def test_a_following_command_speaks_of_the_same_runtime() -> None:
    assert [same_runtime("ort", None), same_runtime("mine", 2)] == ["", " --runtime mine --threads 2"]


def test_doctor_says_which_ffi_tvm_stands_on() -> None:
    document = json.loads(ask(doctor, "--json").out)
    assert {"apache-tvm", "matplotlib"} <= set(document["packages"])
    assert document["tvm"]["apache_tvm_ffi_known_to_tune"] == "0.1.14.post1"
    if document["packages"]["apache-tvm"] is not None:
        assert f"apache-tvm-ffi {document['tvm']['apache_tvm_ffi']}" in ask(doctor).out
