"""Runs what pages show: the commands of a page in their order, in one folder, held against what the page shows.

What a page shows is held against what was printed, line by line; numbers and hashes aside, and ``…`` stands for
anything. Comments right before a block say what a reader need not see, one on a line:

- ``<!-- not run: REASON -->``: no test can run it. Its commands are parsed all the same.
- ``<!-- run with THIS instead of THAT: REASON -->``: a test puts THIS for every THAT of the block.
- ``<!-- may end with 3: REASON -->``: exit codes that are no failure; the lines are not compared.
- ``<!-- printed so on x86-64 -->``: elsewhere the lines are not compared.
- ``<!-- of another machine: WHICH -->`` before a text: of it only the heads of tables are compared.
"""

from __future__ import annotations

import os
import platform
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("docs", "examples", "benchmarks")
PIECE = re.compile(
    r"^(?P<marks>(?:<!-- [^\n]* -->\n)*)```(?P<language>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)
RULE_OR_PICTURE = re.compile("[─▁▂▃▄▅▆▇█]")
NUMBER = re.compile(r"[+−-]?\b(?:\d{4}-\d\d-\d\dT[\d:]+|[0-9a-f]{8,}|\d+(?:[.,:]\d+)*(?:e[+-]?\d+)?)")
NOT_RUN = re.compile(r"not run: (.+)")
STAND_IN = re.compile(r"run with (.+) instead of (.+?): .+")
ELSEWHERE = re.compile(r"of another machine: .+")
MAY_END = re.compile(r"may end with ([\d ,or]+): .+")
#: ONNX Runtime's kernels depend on the processor.
X86_ALONE = "printed so on x86-64"
#: A comment before a block is one of these.
KNOWN_MARKS = (NOT_RUN, STAND_IN, ELSEWHERE, MAY_END, re.compile(re.escape(X86_ALONE)))
#: Every page but the history, by its place below the root. The reference of the command line is the commands' own help.
PAGES = sorted(
    str(page.relative_to(ROOT))
    for page in (*ROOT.glob("*.md"), *(one for room in ROOMS for one in (ROOT / room).rglob("*.md")))
    if page.name != "CHANGELOG.md"
)
#: Of a hub and of Dask's scheduler; for each of them a test takes one that is free.
PORTS = ("8440", "8786")
LIMIT_S = 300
#: Ends the page at the first command that fails; ``may`` holds the exit codes that the block allows besides.
PRELUDE = r"""
set -o pipefail
may=
failed() { case " $may " in *" $1 "*) ;; *) echo "@@ failed with $1: $2"; exit "$1" ;; esac; }
trap 'failed $? "$BASH_COMMAND"' ERR
trap 'trap - ERR; for job in $(jobs -p); do kill "$job"; done; wait' EXIT
"""
HUB_IS_UP = "until (exec 3<>/dev/tcp/127.0.0.1/8440) 2>/dev/null; do sleep 0.1; done\n"
#: What a page may call beside what a system has. ``sudo`` asks nobody: a test is what it is.
PROGRAMS = {
    "edgecost": f'"{sys.executable}" -m edgecost',
    "python": f'"{sys.executable}"',
    "sudo": "",
    "dask": f'"{sys.executable}" -m dask',
}


@dataclass(frozen=True)
class Step:
    """A block of a page, and the lines that the page says it prints."""

    language: str
    body: str
    marks: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()

    @property
    def why_not(self) -> str:
        """Why no test runs it; empty where one does."""
        return next((found[1] for mark in self.marks if (found := NOT_RUN.fullmatch(mark))), "")

    @property
    def may_end_with(self) -> str:
        """Exit codes that are no failure, with blanks between them."""
        found = next((found for mark in self.marks if (found := MAY_END.fullmatch(mark))), None)
        return " ".join(re.findall(r"\d+", found[1])) if found else ""

    @property
    def stand_ins(self) -> tuple[tuple[str, str], ...]:
        """What is shown and what is run in its place."""
        return tuple((found[2], found[1]) for mark in self.marks if (found := STAND_IN.fullmatch(mark)))

    @property
    def command(self) -> str:
        """What is run, after the stand-ins."""
        body = self.body
        for shown, run in self.stand_ins:
            assert shown in body, f"no {shown!r} to put {run!r} for in: {body}"
            body = body.replace(shown, run)
        return body

    @property
    def is_compared(self) -> bool:
        """Whether the lines that it shows are those of this machine."""
        return not self.may_end_with and (platform.machine() == "x86_64" or X86_ALONE not in self.marks)


def blocks_of(text: str) -> list[Step]:
    """Every block of a page in order; a block of text that follows is the output of the one before it."""
    found: list[Step] = []
    for comments, language, body in PIECE.findall(text):
        marks = tuple(comment[5:-4] for comment in comments.splitlines())
        if language == "text" and found:
            last, lines = found.pop(), body.splitlines()
            shown = heads_of(lines) if any(map(ELSEWHERE.fullmatch, marks)) else lines
            found.append(replace(last, shown=(*last.shown, *shown)))
        elif language != "text":
            found.append(Step(language, body, marks))
    return found


def heads_of(lines: Sequence[str]) -> list[str]:
    """The heads of the tables: what stands over a rule."""
    return [head for head, rule in pairwise(lines) if rule.strip() and not rule.strip(" ─")]


def steps_of(page: Path, languages: Sequence[str] = ("sh",)) -> list[Step]:
    """What is run, in order."""
    blocks = blocks_of(page.read_text(encoding="utf-8"))
    return [block for block in blocks if block.language in languages and not block.why_not]


def script_of(steps: Sequence[Step], folder: Path) -> str:
    """The page as one bash script; ``@@ N`` stands before what block N prints."""
    pieces, free = [PRELUDE], {port: str(free_port()) for port in PORTS}
    for number, step in enumerate(steps):
        # Of a list of commands bash traps the last one's failure alone.
        body = step.command.replace(" && ", "\n")
        if step.language == "python":
            (folder / f".step{number}.py").write_text(body, encoding="utf-8")
            body = f"python .step{number}.py\n"
        elif "edgecost hub serve" in body:
            body = re.sub(r"edgecost hub serve(.*\n)", rf"edgecost hub serve --port {PORTS[0]}\1{HUB_IS_UP}", body)
        pieces.append(f"echo '@@ {number}'\nmay='{step.may_end_with}'\n{body}")
    script = "".join([*pieces, "\nexit 0\n"])
    for port, other in free.items():
        script = script.replace(port, other)
    return script


def masked(line: str) -> str:
    """Without numbers, hashes, rules, small pictures, and how wide the columns are."""
    return " ".join(NUMBER.sub("#", RULE_OR_PICTURE.sub("", line)).split())


def is_printed(shown: str, lines: Sequence[str]) -> bool:
    """Whether one of the masked lines is the one that a page shows."""
    pattern = ".*".join(map(re.escape, masked(shown).split("…")))
    return any(re.fullmatch(pattern, line) for line in lines)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def home_of(folder: Path) -> dict[str, str]:
    """The places that a page's commands know as theirs, all of them below the folder."""
    home = {name: str(folder / ".home" / name.lower()) for name in ("XDG_DATA_HOME", "XDG_STATE_HOME", "HOME")}
    return {**home, "EDGECOST_DB": str(folder / "edgecost.sqlite"), "BROWSER": "true"}


def run_steps(steps: Sequence[Step], folder: Path, settings: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Exit code, and all that the commands print."""
    commands = folder / ".bin"
    commands.mkdir()
    for name, program in PROGRAMS.items():
        (commands / name).write_text(f'#!/bin/sh\nexec {program} "$@"\n', encoding="utf-8")
        (commands / name).chmod(0o755)
    path = f"{commands}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **home_of(folder), "PATH": path, "COLUMNS": "120", **(settings or {})}
    process = subprocess.Popen(
        ["bash", "-c", script_of(steps, folder)], cwd=folder, env=environment, text=True,
        start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        printed, _ = process.communicate(timeout=LIMIT_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return process.returncode, printed


def play(steps: Sequence[Step], folder: Path, settings: Mapping[str, str] | None = None) -> None:
    """Run the steps and hold what they print against what is shown; the first command that fails ends it.

    Raises:
        AssertionError: a command failed, or a line that the page shows was not printed.
    """
    code, printed = run_steps(steps, folder, settings)
    assert code == 0, printed
    outputs = re.split(r"^@@ \d+\n", printed, flags=re.MULTILINE)[1:]
    assert len(outputs) == len(steps)
    for step, output in zip(steps, outputs, strict=True):
        if step.is_compared:
            lines = ["", *map(masked, output.splitlines())]
            assert [line for line in step.shown if not is_printed(line, lines)] == [], output
