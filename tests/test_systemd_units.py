"""Units of systemd: an agent without rights, and root's units that do for it what takes rights, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgecost.cli.main import main
from edgecost.devices import systemd_unit
from edgecost.devices.control import apply, restore, show
from edgecost.devices.control.saved import STATE
from edgecost.devices.systemd_unit import agent_unit, not_of_root, own_command, profile_unit, restore_unit
from edgecost.profiler.errors import UsageError
from tests.recorded_trees import NANO, contents, grow
from tests.test_control import GOVERNOR

COMMAND = f"{sys.executable} -m edgecost"
UNITS: dict[str, Callable[[str], str]] = {
    "edgecost-agent.service": agent_unit,
    "edgecost-restore.service": restore_unit,
    "edgecost-control@.service": profile_unit,
}
OF_ROOT = ["edgecost-restore.service", "edgecost-control@.service"]


def parsed(text: str) -> dict[str, list[tuple[str, str]]]:
    """Settings of each section, in order; a line that is none fails."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in text.splitlines():
        if line.startswith("["):
            section = found.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            name, equals, value = line.partition("=")
            assert equals, line
            section.append((name, value))
    return found


@pytest.mark.parametrize("name", UNITS)
def test_systemd_itself_finds_no_fault(name: str, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    for other, unit in UNITS.items():
        (tmp_path / other).write_text(unit(COMMAND))
    instance = name.replace("@.", "@governor-performance.")
    done = subprocess.run(
        [analyze, "verify", "--recursive-errors=no", str(tmp_path / instance)],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_has_its_sections_and_runs_an_absolute_path(name: str) -> None:
    found = parsed(UNITS[name](COMMAND))
    assert list(found) == ["Unit", "Service", "Install"]
    started = [value for key, value in found["Service"] if key.startswith("Exec")]
    assert all(value.startswith(f"{COMMAND} ") for value in started)


@pytest.mark.parametrize("name", OF_ROOT)
def test_what_runs_as_root_has_fixed_arguments_and_little_else_of_the_machine(name: str) -> None:
    service = parsed(UNITS[name](COMMAND))["Service"]
    started = {value.removeprefix(f"{COMMAND} ") for key, value in service if key.startswith("Exec")}
    assert started <= {"control restore --leftover", "control apply %i", "control restore"}
    for wanted in (
        ("NoNewPrivileges", "yes"), ("ProtectSystem", "full"), ("PrivateNetwork", "yes"), ("RestrictSUIDSGID", "yes"),
    ):  # fmt: skip
        assert wanted in service
    # It could not write what it is for.
    assert not {"ProtectKernelTunables", "User"} & {key for key, _ in service}


def test_an_agent_waits_for_the_unit_that_restores_and_gets_no_right_by_it() -> None:
    found = parsed(agent_unit(COMMAND))
    unit = dict(found["Unit"])
    assert "edgecost-restore.service" in unit["Wants"].split()
    assert "edgecost-restore.service" in unit["After"].split()
    assert ("CapabilityBoundingSet", "") in found["Service"]
    # Not required: where root did not install it, an agent runs all the same.
    assert "Requires" not in unit


def test_the_commands_print_them_and_warn_of_who_would_get_root_s_rights(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd_unit, "not_of_root", lambda _: None)
    assert main(["control", "systemd"]) == 0
    plain = capsys.readouterr()
    assert (plain.out, plain.err) == (restore_unit(own_command()), "")
    monkeypatch.setattr(systemd_unit, "not_of_root", lambda _: Path("/home/anna/edgecost"))
    assert main(["control", "systemd", "--profile"]) == 0
    warned = capsys.readouterr()
    assert warned.out == profile_unit(own_command())
    assert "! /home/anna/edgecost can be written by others than root" in warned.err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes what is root's, and what is another's")
@pytest.mark.parametrize(
    ("owner", "mode", "is_open"), [(0, 0o755, False), (0, 0o775, True), (65534, 0o755, True), (0, 0o1777, False)]
)
def test_a_folder_that_others_may_write_is_named(owner: int, mode: int, is_open: bool, tmp_path: Path) -> None:
    folder = tmp_path / "opt"
    folder.mkdir()
    program = folder / "edgecost"
    program.write_text("")
    program.chmod(0o755)
    folder.chmod(mode)
    os.chown(folder, owner, owner)
    # What else is looked at is this Python's, which is of no account here.
    found = {systemd_unit._is_open_to_others(place) and place for place in (program, folder)}
    assert (folder in found) == is_open
    assert program not in found
    if is_open:
        assert not_of_root(str(program)) == folder


def test_only_what_was_left_comes_back_by_that_name(tmp_path: Path) -> None:
    grow(tmp_path, NANO)
    apply("governor-performance", root=tmp_path, by_hand=True)
    assert restore(root=tmp_path, leftover_only=True).profile == ""
    assert contents(tmp_path, NANO)[GOVERNOR] == "performance"
    (tmp_path / "proc/sys/kernel/random/boot_id").write_text("another start")
    assert restore(root=tmp_path, leftover_only=True).profile == "governor-performance"
    assert contents(tmp_path, NANO)[GOVERNOR] == NANO[GOVERNOR]
    assert show(tmp_path) is None


def test_a_note_that_others_may_write_is_not_believed(tmp_path: Path) -> None:
    """Who restores as root writes what it says, wherever it says."""
    grow(tmp_path, NANO)
    apply("governor-performance", root=tmp_path, by_hand=True)
    (tmp_path / STATE).chmod(0o666)
    with pytest.raises(UsageError, match="others than root may write it"):
        restore(root=tmp_path)
    assert contents(tmp_path, NANO)[GOVERNOR] == "performance"


def test_a_note_is_only_its_owner_s_to_write_whatever_the_mask(tmp_path: Path) -> None:
    grow(tmp_path, NANO)
    before = os.umask(0)
    try:
        apply("governor-performance", root=tmp_path, by_hand=True)
    finally:
        os.umask(before)
    assert (tmp_path / STATE).stat().st_mode & 0o777 == 0o644
    assert restore(root=tmp_path).profile == "governor-performance"


def test_the_command_restores_a_leftover_and_says_so_where_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    if show() is not None:
        pytest.skip("a control profile is applied on this machine")
    assert main(["control", "restore", "--leftover"]) == 0
    assert "Nothing was left" in capsys.readouterr().out
