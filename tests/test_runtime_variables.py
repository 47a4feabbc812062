"""Environment variables as options of a runtime: its process gets them, a session does not, and no other may be set."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgecost.cli.main import main
from edgecost.devices.host import host_environment, read_host
from edgecost.profiler.client import RunnerClient, RunnerSupply, describe_interpreter
from edgecost.profiler.errors import UsageError
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.kernels.graph import kernels
from edgecost.profiler.protocol import runner_rules
from edgecost.profiler.records import RuntimeProfile
from edgecost.profiler.runtimes import BUILT_IN, resolve
from edgecost.profiler.variables import variables_of, without_variables
from edgecost.profiler.workload import workload_from_model

OPTION = ("env.OPENBLAS_CORETYPE", "Haswell")


@pytest.fixture
def with_variable(profile: RuntimeProfile) -> RuntimeProfile:
    return replace(profile, options=(OPTION, ("session.intra_op.allow_spinning", "0")))


def test_the_runner_is_started_with_it_and_the_session_hears_nothing_of_it(with_variable: RuntimeProfile) -> None:
    with (
        RunnerSupply.for_profile(with_variable) as supply,
        RunnerClient(supply, with_variable, runner_rules()) as runner,
    ):
        assert runner.opened["runtime_version"] == with_variable.version
        environment = Path(f"/proc/{runner.opened['pid']}/environ").read_bytes().split(b"\0")
        assert b"OPENBLAS_CORETYPE=Haswell" in environment
    assert without_variables(with_variable.options) == {"session.intra_op.allow_spinning": "0"}
    graph = GraphBuilder("conv")
    made = graph.conv(graph.input((1, 8, 8, 8)), 8)
    workload = workload_from_model("conv", "block", graph.model(made), tuple(graph.weights))
    assert kernels(workload, with_variable)


def test_it_is_part_of_the_profile_and_stands_in_the_environment(
    profile: RuntimeProfile, with_variable: RuntimeProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    facts = read_host()
    assert with_variable.profile_hash != profile.profile_hash
    assert host_environment(facts, with_variable, ()).document["variables"] == {"OPENBLAS_CORETYPE": "Haswell"}
    plain = host_environment(facts, profile, ())
    assert "variables" not in plain.document
    # Whoever set it outside measures in another environment, too.
    monkeypatch.setenv("OPENBLAS_CORETYPE", "ARMV8")
    inherited = host_environment(facts, profile, ())
    assert inherited.document == {**plain.document, "variables": {"OPENBLAS_CORETYPE": "ARMV8"}}
    assert host_environment(facts, with_variable, ()).document["variables"] == {"OPENBLAS_CORETYPE": "Haswell"}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LD_PRELOAD", "/tmp/evil.so", "not among those that a runtime may set"),
        ("PYTHONPATH", "/tmp", "not among those"),
        ("", "1", "not among those"),
        ("OPENBLAS_CORETYPE", "ARMV8;reboot", "no such value"),
        ("OPENBLAS_CORETYPE", "", "no such value"),
    ],
)
def test_what_could_load_code_is_refused_wherever_a_profile_comes_from(
    name: str, value: str, said: str, profile: RuntimeProfile
) -> None:
    options = ((f"env.{name}", value),)
    with pytest.raises(UsageError, match=said):
        variables_of(options)
    with pytest.raises(UsageError, match=said):
        RunnerSupply.for_profile(replace(profile, options=options))
    with pytest.raises(UsageError, match=said):
        resolve(replace(BUILT_IN["ort"], options=options))


@pytest.mark.parametrize("name", ["tvm", "virtual-nano"])
def test_only_onnx_runtime_has_a_process_that_is_given_them(name: str) -> None:
    with pytest.raises(UsageError, match="only the process of ONNX Runtime"):
        resolve(replace(BUILT_IN[name], options=(OPTION,)))


def test_an_interpreter_is_asked_in_the_environment_that_it_will_run_in(tmp_path: Path) -> None:
    """Where numpy dies without the variable, nothing could be said of the interpreter without it."""
    interpreter = tmp_path / "python"
    interpreter.write_text('#!/bin/sh\necho "{\\"python_version\\": \\"$OPENBLAS_CORETYPE\\"}"\n')
    interpreter.chmod(0o755)
    assert describe_interpreter(str(interpreter), {"OPENBLAS_CORETYPE": "ARMV8"})["python_version"] == "ARMV8"


def test_a_runtime_of_one_s_own_has_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = ["--db", str(tmp_path / "store.sqlite")]
    added = ["runtime", "add", "nano", "--base", "ort", "--option", "=".join(OPTION)]
    assert main([*added, *database]) == 0
    capsys.readouterr()
    assert main(["runtime", "show", "nano", *database, "--json"]) == 0
    assert "env.OPENBLAS_CORETYPE" in json.dumps(json.loads(capsys.readouterr().out))
    assert main(["runtime", "list", *database]) == 0
    capsys.readouterr()
    refused = ["runtime", "add", "evil", "--base", "ort", "--option", "env.LD_PRELOAD=/tmp/evil.so", "--unchecked"]
    assert main([*refused, *database]) == UsageError.exit_code
    assert "LD_PRELOAD is not among those" in capsys.readouterr().err
