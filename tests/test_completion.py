"""A shell completes what edgecost has: the shells themselves where they are installed, what they ask everywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgecost.cli.main import main

SHELLS = ("bash", "zsh", "fish")
#: How each shell is asked what it makes of a line; bash's own way needs a terminal, so its function is called.
ASKED = {
    "bash": (
        'source "$SCRIPT"; COMP_WORDS=(edgecost campaign r); COMP_CWORD=2; _edgecost_completion edgecost;'
        ' printf "%s\\n" "${COMPREPLY[@]}"'
    ),
    "zsh": 'autoload -Uz compinit && compinit -u -D && source "$SCRIPT" && print -- "${_comps[edgecost]}"',
    "fish": 'source "$SCRIPT"; complete -C "edgecost campaign r"',
}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """One in which the command is found by its name."""
    command = tmp_path / "bin" / "edgecost"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m edgecost "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    return {
        **os.environ, "HOME": str(tmp_path), "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}",
        "SCRIPT": str(tmp_path / "script"),
    }  # fmt: skip


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_itself_takes_the_script(shell: str, environment: dict[str, str], capsys: pytest.CaptureFixture[str]):
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"no {shell} on this machine")
    assert main(["completion", shell]) == 0
    Path(environment["SCRIPT"]).write_text(capsys.readouterr().out, encoding="utf-8")
    bare = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    done = subprocess.run(
        [program, *bare, "-c", ASKED[shell]], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split()[0] == ("_edgecost_completion" if shell == "zsh" else "run")


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("line", "word", "offered"),
    [
        ("edgecost camp", "camp", ["campaign"]),
        ("edgecost lut export", "export", ["export", "export-archs", "export-ops"]),
        ("edgecost compare --pic", "--pic", ["--picture"]),
        ("edgecost completion ", "", ["bash", "zsh", "fish"]),
    ],
)
def test_commands_options_and_choices_are_offered(
    shell: str, line: str, word: str, offered: list[str], environment: dict[str, str]
):
    asked = {"_EDGECOST_COMPLETE": f"{shell}_complete", "COMP_WORDS": line}
    asked["COMP_CWORD"] = word if shell == "fish" else str(len(line.split()) - (1 if word else 0))
    done = subprocess.run(
        [sys.executable, "-m", "edgecost"], env={**environment, **asked}, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    separator = "\n" if shell == "zsh" else ","
    said = [line for line in done.stdout.replace("\t", separator).replace(separator, "\n").splitlines() if line]
    assert [one for one in said if one in offered] == offered
