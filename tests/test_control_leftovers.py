"""What a control profile left: who brings it back, who leaves it, and what a command does that is told to end."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from edgecost.devices.commands import Answer
from edgecost.devices.control import apply, controlled, restore, restore_leftover, saved, show
from edgecost.devices.control.saved import STATE, Saved
from edgecost.profiler.errors import UsageError
from tests.recorded_trees import NANO, JetsonPrograms, contents, grow
from tests.test_control import DIES, GOVERNOR


def test_who_measures_without_a_profile_restores_what_was_left_and_touches_nothing_that_is_held(tmp_path: Path) -> None:
    programs = JetsonPrograms(grow(tmp_path, NANO))
    assert restore_leftover(root=tmp_path, commands=programs) == ""
    apply("governor-performance", root=tmp_path, commands=programs, by_hand=True)
    assert restore_leftover(root=tmp_path, commands=programs) == ""
    assert contents(tmp_path, NANO)[GOVERNOR] == "performance"
    restore(root=tmp_path, commands=programs)
    subprocess.run([sys.executable, "-c", DIES, "jetson-5w", str(tmp_path)], check=False, timeout=60)
    assert contents(tmp_path, NANO) != NANO
    assert restore_leftover(root=tmp_path, commands=programs) == "restored what jetson-5w had left"
    assert contents(tmp_path, NANO) == NANO


def test_what_cannot_be_restored_is_told_and_kept(tmp_path: Path) -> None:
    grow(tmp_path, NANO)
    (tmp_path / STATE).parent.mkdir(parents=True)
    (tmp_path / STATE).write_text("{")
    told = restore_leftover(root=tmp_path)
    assert "cannot be read" in told
    assert "restore what it names by hand" in told
    assert (tmp_path / STATE).read_text() == "{"


#: Measures under a profile until it is told to end: SIGTERM comes while the command runs.
TOLD_TO_END = """
import sys, time
from pathlib import Path
import click
from edgecost.cli import controls
from edgecost.devices import control

root = Path(sys.argv[1])
held = control.controlled
control.controlled = lambda name: held(name, root=root)

@click.command()
@controls.control_option
def measure():
    print("measuring", flush=True)
    time.sleep(60)

measure(["--control", "governor-performance"])
"""


#: Measures without a profile, and says what it finds.
MEASURES = """
import sys
from functools import partial
from pathlib import Path
import click
from edgecost.cli import controls
from edgecost.devices import control

root = Path(sys.argv[1])
control.restore_leftover = partial(control.restore_leftover, root=root)

@click.command()
@click.option("--device", "selector")
@controls.control_option
def measure(selector):
    print((root / sys.argv[2]).read_text().strip())

measure(sys.argv[3:])
"""


@pytest.mark.parametrize(
    ("arguments", "governor", "told"),
    [
        ([], "schedutil", "restored what governor-performance had left\n"),
        (["--device", "pool=nano"], "performance", ""),
    ],
)
def test_a_command_without_a_profile_restores_before_it_measures_here(
    arguments: list[str], governor: str, told: str, tmp_path: Path
) -> None:
    grow(tmp_path, {**NANO, GOVERNOR: "performance"})
    saved.save(Saved("governor-performance", {GOVERNOR: "schedutil"}, None, "an earlier start", 1, 1), tmp_path)
    ended = subprocess.run(
        [sys.executable, "-c", MEASURES, str(tmp_path), GOVERNOR, *arguments],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (ended.stdout, ended.stderr) == (f"{governor}\n", told)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_was_changed_comes_back_when_the_command_is_told_to_end(number: signal.Signals, tmp_path: Path) -> None:
    grow(tmp_path, NANO)
    running = subprocess.Popen([sys.executable, "-c", TOLD_TO_END, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    assert running.stdout.readline() == "measuring\n"
    assert contents(tmp_path, NANO)[GOVERNOR] == "performance"
    running.send_signal(number)
    assert running.wait(60) == 128 + number
    running.stdout.close()
    assert contents(tmp_path, NANO) == NANO
    assert show(tmp_path) is None


class ToldToEnd(JetsonPrograms):
    """Programs during which the process is told to end, from some run on, before they have done their work."""

    def __init__(self, root: Path, from_run: int) -> None:
        super().__init__(root)
        self.runs, self.from_run = 0, from_run

    def run(self, argv: Sequence[str], timeout_s: float = 5.0) -> Answer | None:
        self.runs += 1
        if self.runs >= self.from_run:
            signal.raise_signal(signal.SIGTERM)
        return super().run(argv, timeout_s)


@pytest.mark.parametrize("from_run", [1, 2, 3])
def test_who_is_told_to_end_half_way_goes_through_with_it_first(from_run: int, tmp_path: Path) -> None:
    """While it applies (two programs), and while it restores (a third, and again if anything is left)."""

    def end(number: int, _: object) -> None:
        raise SystemExit(number)

    grow(tmp_path, {**NANO, "var/lib/nvpmodel/status": "pmode:0001"})
    before, seen = contents(tmp_path, NANO), []
    standing = signal.signal(signal.SIGTERM, end)

    def work() -> None:
        with controlled("jetson-maxn-locked", root=tmp_path, commands=ToldToEnd(tmp_path, from_run)):
            seen.append(contents(tmp_path, NANO)["var/lib/nvpmodel/status"])

    try:
        with pytest.raises(SystemExit):
            work()
        assert signal.getsignal(signal.SIGTERM) is end
    finally:
        signal.signal(signal.SIGTERM, standing)
    assert seen == ([] if from_run < 3 else ["pmode:0000"])
    assert contents(tmp_path, NANO)["var/lib/nvpmodel/status"] == before["var/lib/nvpmodel/status"]
    assert show(tmp_path) is None


def test_a_profile_within_one_of_the_same_process_is_left_to_the_outer_one(tmp_path: Path) -> None:
    grow(tmp_path, NANO)
    with controlled("governor-performance", root=tmp_path):
        with controlled("as-is", root=tmp_path):
            pass
        assert contents(tmp_path, NANO)[GOVERNOR] == "performance"
        with pytest.raises(UsageError, match="is applied"), controlled("governor-performance", root=tmp_path):
            pass
        assert contents(tmp_path, NANO)[GOVERNOR] == "performance"
    assert contents(tmp_path, NANO) == NANO


def test_what_another_applied_while_the_lock_was_waited_for_is_not_undone(tmp_path: Path) -> None:
    """A leftover is seen; until the lock is had its place is another's, who holds it."""
    grow(tmp_path, {**NANO, GOVERNOR: "performance"})
    boot, parent = NANO["proc/sys/kernel/random/boot_id"], os.getppid()
    saved.save(Saved("jetson-5w", {GOVERNOR: "schedutil"}, None, boot, os.getpid(), 1), tmp_path)
    held = Saved("governor-performance", {GOVERNOR: "schedutil"}, None, boot, parent, saved.started_at(parent) or 0)
    told: list[str] = []
    waiting = threading.Thread(target=lambda: told.append(restore_leftover(root=tmp_path)))
    with (tmp_path / STATE).with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting.start()
        # It cannot be seen when it waits. Where this is too short, it finds the other's at once, and passes.
        waiting.join(0.3)
        saved.save(held, tmp_path)
    waiting.join(60)
    assert told == [""]
    assert show(tmp_path) == held
    assert contents(tmp_path, NANO)[GOVERNOR] == "performance"
