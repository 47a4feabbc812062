"""The terminal door: exit codes, messages that name the remedy, JSON beside tables. Nothing is measured here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import onnx
import pytest
from onnx import TensorProto, helper

from edgecost.cli.main import cli, main
from edgecost.cli.output import interval, milliseconds, percent, print_json, print_table
from edgecost.costmodels.lut_formats.contract import checksum_lut
from edgecost.costmodels.space_file import load_space

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command of a test works on a database of its own, and finds no predictor of the user's."""
    monkeypatch.setenv("EDGECOST_DB", str(tmp_path / "test.sqlite"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "test.sqlite"


def run(captured: Captured, *arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one command."""
    code = main([str(argument) for argument in arguments])
    out, err = captured.readouterr()
    return code, out, err


def commands(group: click.Group, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, command in sorted(group.commands.items()):
        found.append((*prefix, name))
        if isinstance(command, click.Group):
            found += commands(command, (*prefix, name))
    return found


@pytest.mark.parametrize("path", commands(cli), ids=" ".join)
def test_every_command_explains_itself(path: tuple[str, ...], capsys: Captured) -> None:
    code, out, _ = run(capsys, *path, "--help")
    assert code == 0
    assert out.startswith(f"Usage: edgecost {' '.join(path)}")


@pytest.mark.parametrize("path", commands(cli), ids=" ".join)
def test_every_command_that_does_something_gives_an_example(path: tuple[str, ...], capsys: Captured) -> None:
    command: click.Command = cli
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    if not isinstance(command, click.Group):
        assert "Example:" in (command.epilog or "")


#: What they print is a program or a file for others, or nothing.
WITHOUT_JSON = {("completion",), ("agent", "run"), ("agent", "systemd"), ("control", "systemd"), ("record-board",)}


@pytest.mark.parametrize("path", [c for c in commands(cli) if c not in WITHOUT_JSON], ids=" ".join)
def test_every_command_that_shows_something_has_json(path: tuple[str, ...]) -> None:
    command: click.Command = cli
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    if not isinstance(command, click.Group):
        assert "--json" in {option for parameter in command.params for option in parameter.opts}


def test_a_misspelt_command_is_wrong_usage_and_gets_a_suggestion(capsys: Captured) -> None:
    code, _, err = run(capsys, "campain")
    assert code == 2
    assert "campaign" in err


def test_space_list_as_json_holds_the_counts_of_the_specification(capsys: Captured) -> None:
    code, out, _ = run(capsys, "space", "list", "--json")
    assert code == 0
    document = json.loads(out)
    assert document["schema_version"] == 1
    cells = {space["name"]: space["cells"] for space in document["spaces"]}
    assert (
        cells
        | {
            "fbnet": 106,
            "fbnet-cifar": 106,
            "mobilenetv3-large": 17,
            "ofa-mobilenetv3": 96,
            "ofa-proxyless": 103,
            "proxylessnas": 70,
            "singlepath-nas": 46,
        }
        == cells
    )


def test_a_table_in_a_pipe_is_not_folded(capsys: Captured) -> None:
    code, out, _ = run(capsys, "space", "show", "ofa-mobilenetv3")
    assert code == 0
    keys = [cell.key for cell in load_space("ofa-mobilenetv3").cells]
    assert all(any(key in line for line in out.splitlines()) for key in keys)


def test_an_unknown_space_is_wrong_usage_and_names_the_spaces_there_are(capsys: Captured) -> None:
    code, _, err = run(capsys, "space", "show", "nope")
    assert code == 2
    assert "ofa-mobilenetv3" in err


def test_an_empty_database_is_made_and_described(database: Path, capsys: Captured) -> None:
    code, out, _ = run(capsys, "db", "info", "--json", "--failures")
    assert code == 0
    document = json.loads(out)
    assert document["counts"]["measurements"] == 0
    assert document["failures"] == []
    assert database.exists()


def test_a_file_that_is_no_database_gets_the_code_of_databases(tmp_path: Path, capsys: Captured) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a database, but long enough to be looked at as one" * 10)
    code, _, err = run(capsys, "db", "info", "--db", text)
    assert code == 7
    assert "not a database" in err
    assert text.read_text().startswith("not a database")


def test_a_folder_that_cannot_be_made_is_found_before_anything_is_measured(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "file").touch()
    code, _, err = run(capsys, "quickstart", "--out", tmp_path / "file" / "folder")
    assert code == 10
    assert "--out" in err


@pytest.mark.parametrize("command", ["profile", "predict"])
@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x08"], ids=["empty", "text", "truncated"])
def test_a_broken_model_gets_the_code_of_models(command: str, content: bytes, tmp_path: Path, capsys: Captured) -> None:
    model = tmp_path / "broken.onnx"
    model.write_bytes(content)
    predictor = [] if command == "profile" else ["--predictor", str(a_predictor(tmp_path))]
    code, out, err = run(capsys, command, model, *predictor)
    assert (code, out) == (6, "")
    assert "broken.onnx" in err


def a_predictor(tmp_path: Path) -> Path:
    """A predictor of this machine's runtime, trained on made-up latencies of real cells."""
    from edgecost.costmodels.predictor import LatencyPredictor
    from edgecost.costmodels.predictor_file import save_predictor
    from edgecost.profiler.kernels.graph import kernels
    from edgecost.profiler.runtimes import host_profile

    space, profile = load_space(str(Path(__file__).with_name("tiny.toml"))), host_profile()
    built = [space.workload(cell) for cell in space.measurable]
    graphs = [kernels(workload, profile) for workload in built if workload is not None]
    predictor = LatencyPredictor(rounds=5).fit(graphs, [0.01 * len(graph) for graph in graphs])
    save_predictor(predictor, tmp_path / "predictor", {"profile_hash": profile.profile_hash, "profile": profile.label})
    return tmp_path / "predictor"


def save_model(path: Path, shape: list[int | str], op: str = "Relu") -> Path:
    graph = helper.make_graph(
        [helper.make_node(op, ["input"], ["output"])],
        "graph",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_a_dynamic_model_is_refused_with_the_option_that_helps(tmp_path: Path, capsys: Captured) -> None:
    model = save_model(tmp_path / "dynamic.onnx", ["batch", 3, 8, 8])
    code, _, err = run(capsys, "profile", model)
    assert code == 6
    assert "--shape input=1,3,8,8" in err


def test_a_shape_that_is_none_is_wrong_usage(tmp_path: Path, capsys: Captured) -> None:
    code, _, err = run(capsys, "profile", tmp_path / "x.onnx", "--shape", "input=1,a")
    assert code == 2
    assert "input=1,3,224,224" in err


def test_a_kernel_without_a_price_makes_the_total_a_lower_bound_and_strict_refuses_it(
    tmp_path: Path, capsys: Captured
) -> None:
    model, predictor = save_model(tmp_path / "erf.onnx", [1, 3, 8, 8], "Erf"), a_predictor(tmp_path)
    code, out, _ = run(capsys, "predict", model, "--predictor", predictor, "--json")
    document = json.loads(out)
    assert code == 0
    assert document["is_lower_bound"] is True
    assert document["coverage"]["unsupported"] == 1.0
    assert [kernel["latency_ms"] for kernel in document["kernels"]] == [None]
    code, _, err = run(capsys, "predict", model, "--predictor", predictor, "--strict")
    assert code == 5
    assert "Erf" in err


def test_predicting_without_a_predictor_says_how_to_get_one(tmp_path: Path, capsys: Captured) -> None:
    code, _, err = run(capsys, "predict", save_model(tmp_path / "m.onnx", [1, 3, 8, 8]))
    assert code == 8
    assert "edgecost train" in err


def test_training_on_nothing_says_what_to_measure(capsys: Captured) -> None:
    code, _, err = run(capsys, "train")
    assert code == 2
    assert "edgecost campaign run" in err


def test_a_lut_of_nothing_lists_every_missing_cell(tmp_path: Path, capsys: Captured) -> None:
    code, _, err = run(capsys, "lut", "build", "--space", "ofa-mobilenetv3", "--out", tmp_path / "luts")
    assert code == 5
    assert all(cell.key in err for cell in load_space("ofa-mobilenetv3").measurable)
    assert list((tmp_path / "luts").iterdir()) == []


def test_an_unknown_format_is_refused_before_any_work(tmp_path: Path, capsys: Captured) -> None:
    code, _, err = run(capsys, "lut", "build", "--space", "fbnet", "--format", "offa", "--out", tmp_path)
    assert code == 2
    assert "'ofa'" in err


def test_a_lut_is_asked_for_cells_and_for_networks(tmp_path: Path, capsys: Captured) -> None:
    space = load_space("ofa-mobilenetv3")
    table = checksum_lut(space, scale=2.0)
    path = table.save(tmp_path / "lut.json")
    code, out, _ = run(capsys, "lut", "query", path, "--key", "linear", "--json")
    assert code == 0
    assert [cell["key"] for cell in json.loads(out)["cells"]] == ["linear-1x1x1280-1000"]
    arch = {"ks": [3] * 20, "e": [4] * 20, "d": [2] * 5, "r": [224]}
    code, out, _ = run(capsys, "lut", "query", path, "--arch", json.dumps(arch), "--json")
    assert code == 0
    network = json.loads(out)["networks"][0]
    assert network["latency_ms"] == 2 * network["sum_ms"] == table.price([arch])[0]


def test_a_changed_lut_is_refused(tmp_path: Path, capsys: Captured) -> None:
    path = checksum_lut(load_space("ofa-mobilenetv3")).save(tmp_path / "lut.json")
    path.write_text(path.read_text().replace('"n": 3', '"n": 4', 1))
    code, _, err = run(capsys, "lut", "query", path)
    assert code == 8
    assert "Error" in err


@pytest.mark.parametrize("value", ["soon", "-3s", "3 weeks"])
def test_a_budget_that_is_no_time_is_wrong_usage(value: str, capsys: Captured) -> None:
    code, _, err = run(capsys, "campaign", "run", "--space", "fbnet", "--budget", value)
    assert code == 2
    assert "90s" in err


def test_doctor_names_packages_machine_and_findings(capsys: Captured) -> None:
    code, out, _ = run(capsys, "doctor", "--json")
    assert code == 0
    document = json.loads(out)
    assert document["packages"]["onnxruntime"]
    assert document["facts"]["cpus_allowed"] >= 1
    assert all(set(finding) == {"what", "consequence", "remedy"} for finding in document["findings"])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_printed_for_each_shell(shell: str, capsys: Captured) -> None:
    code, out, _ = run(capsys, "completion", shell)
    assert code == 0
    assert "_EDGECOST_COMPLETE" in out


def test_a_reader_that_leaves_early_gets_no_traceback() -> None:
    command = f"{sys.executable} -m edgecost space show ofa-mobilenetv3 | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=os.environ, check=True)
    assert "Traceback" not in done.stderr


def test_quantities_without_a_value_are_a_dash_and_never_zero() -> None:
    assert [milliseconds(None), percent(None), interval(None, 2.0)] == ["–", "–", "–"]
    assert [milliseconds(1.5), milliseconds(0.0123)] == ["1.500 ms", "12.30 µs"]


def test_json_has_no_value_that_json_does_not_know(capsys: Captured) -> None:
    print_json({"a": float("nan"), "b": [float("inf"), 1.0]})
    assert json.loads(capsys.readouterr().out) == {"schema_version": 1, "a": None, "b": [None, 1.0]}


def test_a_missing_system_library_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    def fails(**_: object) -> None:
        raise OSError(cause)

    monkeypatch.setattr(cli, "main", fails)
    cause = "libgomp.so.1: cannot open shared object file: No such file or directory"
    code, _, err = run(capsys, "train")
    assert code == 9
    assert "apt install libgomp1" in err
    cause = "something else"
    with pytest.raises(OSError, match="something else"):
        main(["train"])


def test_a_table_is_a_table_without_the_package_for_looks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    print_table("Boards", ["board", "ms"], [["nano-1", "2.5"], ["pi", "10.25"]])
    assert capsys.readouterr().out == "Boards\n\nboard      ms\n──────  ─────\nnano-1    2.5\npi      10.25\n\n"
