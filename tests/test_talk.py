"""What people are told while they wait: bars on a terminal, a line for each stage elsewhere, nothing beside JSON."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest

from edgecost.cli.output import Talk
from edgecost.cli.progress import rate

WAITING = """
import time
from edgecost.cli.output import Talk
with Talk() as talk:
    talk.stage("looking around")
    time.sleep(0.3)
    talk.stage("measuring", 40)
    for at in range(30):
        talk.step(f"cell[/{at}]")
        time.sleep(0.01)
    talk.note("half [of] it")
"""
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def on_a_terminal(script: str) -> tuple[str, str]:
    """Standard output, and the lines that a terminal was left with on standard error."""
    keeper, terminal = pty.openpty()
    environment = {**os.environ, "COLUMNS": "100", "TERM": "xterm"}
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=terminal, env=environment, text=True
    ) as process:
        os.close(terminal)
        said = b""
        while True:
            try:
                piece = os.read(keeper, 65536)
            except OSError:  # Linux says so when the last writer has gone
                break
            if not piece:
                break
            said += piece
        assert process.stdout is not None
        printed = process.stdout.read()
    os.close(keeper)
    assert process.returncode == 0, said
    return printed, ESCAPES.sub("", said.decode())


@pytest.fixture(scope="module")
def seen() -> tuple[str, str]:
    return on_a_terminal(WAITING)


def test_a_terminal_sees_count_rate_remaining_time_and_the_latest(seen):
    shown = [line for line in seen[1].replace("\r", "\n").splitlines() if line.startswith("measuring")]
    assert re.search(r"30/40 +\d+(\.\d+)?/s +0:00:0\d +cell\[/29\]", shown[-1]), shown[-1]


def test_a_stage_without_a_count_shows_the_time_it_takes_and_ends_with_the_next(seen):
    shown = [line for line in seen[1].replace("\r", "\n").splitlines() if line.startswith("looking around")]
    assert re.search(r"looking around ━+ +0:00:0\d *$", shown[-1]), shown[-1]


def test_a_terminal_sees_notes_as_they_are_and_standard_output_stays_clean(seen):
    assert "half [of] it" in seen[1]
    assert seen[0] == ""


def test_a_pipe_gets_a_line_for_each_stage_and_no_step(capsys):
    with Talk() as talk:
        talk.stage("looking around")
        talk.stage("measuring", 40)
        talk.step("cell 1")
        talk.note("a note")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "looking around\nmeasuring (40)\na note\n")


def test_beside_json_nothing_is_said(capsys):
    with Talk(quiet=True) as talk:
        talk.stage("measuring", 40)
        talk.step("cell 1")
        talk.note("a note")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("per_second", "said"),
    [
        (None, ""),
        (0.0, ""),
        (123456.0, "123,456/s"),
        (12.34, "12.3/s"),
        (1.0, "1/s"),
        (0.5, "30/min"),
        (0.01, "36/h"),
        (1e-5, "0.036/h"),
    ],
)
def test_a_rate_is_in_the_time_in_which_something_happens(per_second, said):
    assert rate(per_second) == said
