"""``--control`` of the commands that measure on this machine: who has it, and that it holds while they measure."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import click
import pytest

from edgecost.cli import controls
from edgecost.cli.main import cli, main
from edgecost.devices import control
from edgecost.devices.control import controlled, restore_leftover, saved, show
from edgecost.devices.control.saved import Saved
from edgecost.profiler.errors import MeterError, UsageError
from tests.onnx_models import CORPUS
from tests.recorded_trees import NANO, contents, grow
from tests.test_control import GOVERNOR

#: Those that always measure here, and those that do where it is asked for.
MEASURING = {
    "quickstart", "profile", "probe", "tune", "onboard", "audit additivity", "campaign run", "campaign kernels",
    "campaign energy", "campaign memory", "agent run",
}  # fmt: skip
ON_REQUEST = {"split", "lut audit", "models check"}

SPACE = ["--space", "nasbench201"]
#: Each with the function that measures for it.
WORK = {
    "quickstart": ([], "quickstart.run_quickstart"),
    "probe": ([], "device_probe.measure_probe"),
    "onboard": ([*SPACE, "--alone"], "onboarding.onboard.measure_plan"),
    "tune": (["MODEL", "--runtime", "tvm-tuned"], "tuning.tune"),
    "audit additivity": (["MODEL"], "additivity.audit_additivity"),
    "campaign run": (SPACE, "space_campaign.measure_space"),
    "campaign kernels": ([], "kernel_campaign.measure_random_kernels"),
    "campaign energy": ([*SPACE, "--runtime", "virtual-nano"], "metrics.energy_campaign.measure_energies"),
    "campaign memory": (["MODEL"], "metrics.memory_campaign.measure_networks"),
}


def commands(group: click.Group, names: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*names, name))
        else:
            yield " ".join((*names, name)), command


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A board in a folder, which the commands take for this machine."""
    root = grow(tmp_path / "board", NANO)
    monkeypatch.setattr(control, "controlled", partial(controlled, root=root))
    monkeypatch.setattr(control, "restore_leftover", partial(restore_leftover, root=root))
    return root


def test_every_command_that_measures_here_takes_a_control_profile() -> None:
    found = {name for name, one in commands(cli) if any("--control" in option.opts for option in one.params)}
    assert found == MEASURING | ON_REQUEST


@pytest.mark.parametrize("name", WORK)
def test_a_profile_holds_while_a_command_measures_and_what_was_before_comes_back(
    name: str, board: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "tune":
        pytest.importorskip("tvm")
    seen: list[tuple[str, bool]] = []

    def measure(*_: object, **__: object) -> object:
        seen.append((contents(board, NANO)[GOVERNOR], show(board) is not None))
        raise MeterError("enough")

    arguments, function = WORK[name]
    monkeypatch.setattr(f"edgecost.costmodels.{function}", measure)
    monkeypatch.chdir(tmp_path)
    model = tmp_path / "model.onnx"
    model.write_bytes(CORPUS["whole"])
    given = [str(model) if one == "MODEL" else one for one in arguments]
    stored = ["--db", str(tmp_path / "here.db")]
    assert main([*name.split(), *given, *stored, "--control", "governor-performance"]) == MeterError.exit_code
    assert seen == [("performance", True)], capsys.readouterr().err
    assert contents(board, NANO) == NANO
    assert show(board) is None


@pytest.mark.parametrize("name", ["campaign energy", "probe"])
def test_without_a_profile_what_was_left_comes_back_before_they_measure(
    name: str, board: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (board / GOVERNOR).write_text("performance")
    saved.save(Saved("governor-performance", {GOVERNOR: NANO[GOVERNOR]}, None, "an earlier start", 1, 1), board)
    arguments, function = WORK[name]

    def measure(*_: object, **__: object) -> object:
        raise MeterError(contents(board, NANO)[GOVERNOR])

    monkeypatch.setattr(f"edgecost.costmodels.{function}", measure)
    assert main([*name.split(), *arguments, "--db", str(tmp_path / "here.db")]) == MeterError.exit_code
    told = capsys.readouterr().err
    assert f"Error: {NANO[GOVERNOR]}" in told
    assert "restored what governor-performance had left" in told


def test_energies_of_a_fleet_are_not_controlled_from_here(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["campaign", "energy", *SPACE, "--device", "pool=nano", "--control", "jetson-5w"]
    assert main(arguments) == UsageError.exit_code
    assert "--control is of this machine" in capsys.readouterr().err
    assert contents(board, NANO) == NANO


@click.command()
@click.option("--measure", is_flag=True)
@controls.control_option_beside("measure", "--measure")
def sometimes(measure: bool) -> None:
    """Measures where it is asked to."""
    click.echo(f"measuring: {measure}")


@pytest.mark.parametrize("arguments", [[], ["--measure"]])
def test_who_does_not_measure_leaves_what_was_left(arguments: list[str], board: Path) -> None:
    (board / GOVERNOR).write_text("performance")
    saved.save(Saved("governor-performance", {GOVERNOR: NANO[GOVERNOR]}, None, "an earlier start", 1, 1), board)
    sometimes.main(arguments, standalone_mode=False)
    assert contents(board, NANO)[GOVERNOR] == (NANO[GOVERNOR] if arguments else "performance")


def test_a_profile_beside_nothing_that_measures_is_refused(board: Path) -> None:
    with pytest.raises(UsageError, match="--control is for measuring") as caught:
        sometimes.main(["--control", "governor-performance"], standalone_mode=False)
    assert "--measure" in caught.value.remedy
    assert contents(board, NANO) == NANO
