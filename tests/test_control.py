"""Control profiles on recorded trees: what they change, and that everything comes back whatever happens between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecost.cli.main import main
from edgecost.devices.control import PROFILES, apply, controlled, restore, saved, show
from edgecost.devices.control.control import _restore
from edgecost.devices.control.profiles import Plan
from edgecost.devices.control.saved import STATE, Saved
from edgecost.profiler.errors import UsageError
from tests.recorded_trees import NANO, ORIN, JetsonPrograms, contents, grow

POLICY = "sys/devices/system/cpu/cpufreq/policy0"
GOVERNOR = f"{POLICY}/scaling_governor"
#: Does what the first lines of ``apply`` do, and is killed there.
DIES = """
import os, signal, sys
from pathlib import Path
from edgecost.devices.control import apply
from tests.recorded_trees import JetsonPrograms

root = Path(sys.argv[2])
apply(sys.argv[1], root=root, commands=JetsonPrograms(root))
os.kill(os.getpid(), signal.SIGKILL)
"""
#: Applies a profile as a user who is not root.
UNPRIVILEGED = """
import os, sys
from pathlib import Path
from edgecost.devices.control import apply
from edgecost.profiler.errors import UsageError

if os.geteuid() == 0:
    os.setuid(65534)
try:
    apply("governor-performance", root=Path(sys.argv[1]))
except UsageError as error:
    assert "sudo" in error.remedy
    print(error.message)
"""


def test_a_governor_is_set_and_comes_back(tmp_path: Path) -> None:
    grow(tmp_path, NANO)
    with controlled("governor-performance", root=tmp_path):
        assert contents(tmp_path, NANO) == {**NANO, GOVERNOR: "performance"}
        standing = show(tmp_path)
        assert standing is not None
        assert (standing.profile, standing.files) == ("governor-performance", {GOVERNOR: "schedutil"})
    assert contents(tmp_path, NANO) == NANO
    assert show(tmp_path) is None


@pytest.mark.parametrize("name", list(PROFILES))
def test_every_profile_gives_back_the_whole_tree_after_an_error(name: str, tmp_path: Path) -> None:
    grow(tmp_path, NANO)
    seen = []

    def work() -> None:
        with controlled(name, root=tmp_path, commands=JetsonPrograms(tmp_path)):
            seen.append(contents(tmp_path, NANO))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert (seen == [NANO]) == (name == "as-is")
    assert contents(tmp_path, NANO) == NANO


def test_a_nano_is_locked_and_put_into_5_watts(tmp_path: Path) -> None:
    programs = JetsonPrograms(grow(tmp_path, NANO))
    with controlled("jetson-5w", root=tmp_path, commands=programs):
        found = contents(tmp_path, NANO)
        assert (found["var/lib/nvpmodel/status"], found["sys/devices/system/cpu/cpu2/online"]) == ("pmode:0001", "0")
    with controlled("jetson-maxn-locked", root=tmp_path, commands=programs):
        found = contents(tmp_path, NANO)
        assert found[f"{POLICY}/scaling_min_freq"] == found[f"{POLICY}/scaling_max_freq"] == "1479000"
    assert contents(tmp_path, NANO) == NANO


@pytest.mark.parametrize("name", ["governor-performance", "jetson-maxn-locked", "jetson-5w"])
def test_what_a_killed_process_left_is_restored_by_the_next_start(name: str, tmp_path: Path) -> None:
    programs = JetsonPrograms(grow(tmp_path, NANO))
    ended = subprocess.run([sys.executable, "-c", DIES, name, str(tmp_path)], check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    assert contents(tmp_path, NANO) != NANO
    with controlled("as-is", root=tmp_path, commands=programs):
        assert contents(tmp_path, NANO) == NANO
    assert show(tmp_path) is None


def test_a_profile_that_follows_a_killed_process_covers_what_was_first(tmp_path: Path) -> None:
    programs = JetsonPrograms(grow(tmp_path, NANO))
    subprocess.run([sys.executable, "-c", DIES, "jetson-5w", str(tmp_path)], check=False, timeout=60)
    with controlled("governor-performance", root=tmp_path, commands=programs):
        assert contents(tmp_path, NANO) == {**NANO, GOVERNOR: "performance"}
    assert contents(tmp_path, NANO) == NANO


def test_a_restart_of_the_machine_ends_what_was_applied_by_hand(tmp_path: Path) -> None:
    programs = JetsonPrograms(grow(tmp_path, NANO))
    apply("jetson-5w", root=tmp_path, commands=programs, by_hand=True)
    with controlled("as-is", root=tmp_path, commands=programs):
        assert contents(tmp_path, NANO) != NANO
    after = {**NANO, "proc/sys/kernel/random/boot_id": "22222222-bbbb"}
    grow(tmp_path, {"proc/sys/kernel/random/boot_id": "22222222-bbbb"})
    with controlled("as-is", root=tmp_path, commands=programs):
        assert contents(tmp_path, NANO) == after


def test_what_is_applied_is_not_covered_by_another_and_by_hand_it_stays(tmp_path: Path) -> None:
    programs = JetsonPrograms(grow(tmp_path, NANO))
    apply("governor-performance", root=tmp_path, commands=programs, by_hand=True)
    with pytest.raises(UsageError, match=r"(?s)applied, by hand.*edgecost control restore"):
        apply("jetson-5w", root=tmp_path, commands=programs)
    with controlled("governor-performance", root=tmp_path, commands=programs):
        pass
    assert contents(tmp_path, NANO)[GOVERNOR] == "performance"
    assert restore(root=tmp_path).profile == "governor-performance"
    assert contents(tmp_path, NANO) == NANO
    assert restore(root=tmp_path).profile == ""


def test_another_living_process_is_left_its_profile(tmp_path: Path) -> None:
    grow(tmp_path, NANO)
    boot = NANO["proc/sys/kernel/random/boot_id"]
    parent = os.getppid()
    standing = Saved("governor-performance", {GOVERNOR: "schedutil"}, None, boot, parent, saved.started_at(parent) or 0)
    saved.save(standing, tmp_path)
    with pytest.raises(UsageError, match=f"by process {parent}"):
        apply("governor-performance", root=tmp_path)
    with controlled("as-is", root=tmp_path):
        pass
    assert show(tmp_path) == standing


def test_a_program_that_fails_changes_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    programs = JetsonPrograms(grow(tmp_path, NANO))
    programs.fails = True
    with pytest.raises(UsageError, match=r"(?s)nvpmodel -m 1 failed: .*Permission denied.*root"):
        apply("jetson-5w", root=tmp_path, commands=programs)
    assert contents(tmp_path, NANO) == NANO
    assert show(tmp_path) is None


@pytest.mark.parametrize(
    ("name", "board", "said"),
    [
        ("jetson-5w", ORIN, "no Jetson"),
        ("governor-performance", ORIN, "no governor of frequencies"),
        ("governor-performance", {f"{POLICY}/scaling_available_governors": "userspace"}, "it has userspace"),
        ("jetson-5w", {"etc/nvpmodel.conf": "< POWER_MODEL ID=2 NAME=15W >"}, "it has 15W"),
        ("faster", NANO, "no control profile 'faster'"),
    ],
)
def test_what_a_board_cannot_have_is_refused_by_what_it_lacks(
    name: str, board: dict[str, str], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        apply(name, root=grow(tmp_path, board))
    assert contents(tmp_path, board) == board
    assert not (tmp_path / STATE).exists()


def test_who_has_no_right_changes_nothing_and_is_told_what_helps() -> None:
    with TemporaryDirectory() as folder:
        root = grow(Path(folder), NANO)
        root.chmod(0o755)
        (root / GOVERNOR).chmod(0o444)
        ended = subprocess.run(
            [sys.executable, "-c", UNPRIVILEGED, folder], check=False, capture_output=True, text=True, timeout=60
        )
        assert ended.stdout == f"governor-performance needs the right to change /{GOVERNOR}\n"
        assert contents(root, NANO) == NANO
        assert not (root / STATE).exists()


def test_without_a_place_for_what_was_nothing_is_changed(tmp_path: Path) -> None:
    grow(tmp_path, {**NANO, "var/lib/edgecost": "a file where the folder should be"})
    with pytest.raises(UsageError, match="root"):
        apply("governor-performance", root=tmp_path)
    assert contents(tmp_path, NANO) == NANO


def test_a_damaged_note_is_not_taken_for_nothing_to_restore(tmp_path: Path) -> None:
    grow(tmp_path, {**NANO, STATE: '{"profile": "jetson-5w"'})
    for act in (restore, lambda root: apply("governor-performance", root=root)):
        with pytest.raises(UsageError, match="cannot be read"):
            act(root=tmp_path)
    assert contents(tmp_path, NANO) == NANO


def test_a_file_that_is_gone_does_not_keep_the_others_from_coming_back(tmp_path: Path) -> None:
    programs = JetsonPrograms(grow(tmp_path, NANO))
    apply("jetson-maxn-locked", root=tmp_path, commands=programs)
    gone = "sys/devices/system/cpu/cpu0/cpuidle/state1/disable"
    (tmp_path / gone).unlink()
    assert restore(root=tmp_path, commands=programs).gone == (gone,)
    assert contents(tmp_path, NANO) == {name: text for name, text in NANO.items() if name != gone}


def test_the_note_is_on_the_disk_before_the_first_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grow(tmp_path, NANO)
    seen: list[tuple[bool, str]] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        seen.append(((tmp_path / STATE).exists(), contents(tmp_path, NANO)[GOVERNOR]))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    apply("governor-performance", root=tmp_path)
    # The note, then the folder that names it: both before the governor is another.
    assert seen == [(False, "schedutil"), (True, "schedutil")]
    assert contents(tmp_path, NANO)[GOVERNOR] == "performance"


FILES = [f"sys/f{place}" for place in range(6)]
TEXTS = st.sampled_from(["0", "1", "performance", "1479000", "WFI c7"])


@settings(max_examples=60)
@given(st.fixed_dictionaries(dict.fromkeys(FILES, TEXTS)), st.dictionaries(st.sampled_from(FILES), TEXTS), st.data())
def test_after_any_number_of_writes_the_old_tree_comes_back(
    before: dict[str, str], writes: dict[str, str], data: st.DataObject
) -> None:
    with TemporaryDirectory() as folder:
        root = grow(Path(folder), before)
        plan = Plan(writes=writes)
        saved.save(Saved("x", {name: before[name] for name in plan.files}, None, "", 1, 0), root)
        done = data.draw(st.integers(0, len(writes)), label="writes before the end")
        for name in list(writes)[:done]:
            (root / name).write_text(writes[name])
        _restore(root, JetsonPrograms(root))
        assert contents(root, before) == before
        assert show(root) is None


def test_the_command_lists_what_each_profile_changes_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["control", "list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["profiles"]
    assert [row["name"] for row in found] == list(PROFILES)
    assert all(bool(row["changes"]) != bool(row["problem"]) for row in found if row["name"] != "as-is")


def test_an_unknown_profile_is_refused_before_anything_is_measured(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(b"never read")
    assert main(["profile", str(model), "--control", "faster"]) == UsageError.exit_code
    assert "there is no control profile 'faster'" in capsys.readouterr().err


def test_a_fleet_is_not_controlled_from_here(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["campaign", "run", "--space", "nats-bench", "--device", "pool=nano", "--control", "jetson-5w"]
    assert main(arguments) == UsageError.exit_code
    assert "--control is of this machine" in capsys.readouterr().err
