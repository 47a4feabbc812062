"""The tutorials are true: each page's commands run in their order in an empty folder, and print what the page shows.

What a page shows is held against what was printed, line by line; numbers and hashes aside, and ``…`` stands for
anything. A block is left out with its reason in a comment before it, ``<!-- not run: … -->``. What measures this
machine, which may be too busy for it, says ``<!-- may end with 3: … -->``; there the lines are not compared.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgecost.costmodels.lut_formats.contract import checksum_lut
from edgecost.costmodels.predictor import LatencyPredictor
from edgecost.costmodels.predictor_file import save_predictor
from edgecost.costmodels.space_file import load_space
from edgecost.profiler.weights import complete

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "docs" / "tutorial").glob("*.md"))
PIECE = re.compile(
    r"^(?:<!-- (?P<mark>[^>]*) -->\n)?```(?P<language>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)
NUMBER = re.compile(r"[+−-]?\b(?:\d{4}-\d\d-\d\dT[\d:]+|[0-9a-f]{8,}|\d+(?:[.,:]\d+)*(?:e[+-]?\d+)?)")
RULE_OR_PICTURE = re.compile("[─▁▂▃▄▅▆▇█]")
HUB_PORT = "8440"
LIMIT_S = 300
#: ONNX Runtime's kernels depend on the processor.
X86_ALONE = "printed so on x86-64"
#: Ends the page at the first command that fails; ``may`` holds the exit codes that the block allows besides.
PRELUDE = r"""
may=
failed() { case " $may " in *" $1 "*) ;; *) echo "@@ failed with $1: $2"; exit "$1" ;; esac; }
trap 'failed $? "$BASH_COMMAND"' ERR
trap 'trap - ERR; for job in $(jobs -p); do kill "$job"; done; wait' EXIT
"""
HUB_IS_UP = "until (exec 3<>/dev/tcp/127.0.0.1/PORT) 2>/dev/null; do sleep 0.1; done\n"


@dataclass(frozen=True)
class Step:
    """A block that is run, and the lines that the page says it prints."""

    language: str
    body: str
    mark: str
    shown: tuple[str, ...]

    @property
    def may_end_with(self) -> str:
        """Exit codes that are no failure, with blanks between them."""
        found = re.match(r"may end with ([\d ,or]+):", self.mark)
        return " ".join(re.findall(r"\d+", found[1])) if found else ""


def steps_of(page: Path) -> list[Step]:
    """What is run, in order; a block of text is the output of the block before it."""
    steps: list[Step] = []
    is_run = False
    for mark, language, body in PIECE.findall(page.read_text(encoding="utf-8")):
        if language == "text":
            if is_run:
                last = steps.pop()
                steps.append(Step(last.language, last.body, last.mark, (*last.shown, *body.splitlines())))
        else:
            is_run = language in ("sh", "python") and not mark.startswith("not run: ")
            if is_run:
                steps.append(Step(language, body, mark, ()))
    return steps


def script_of(steps: Sequence[Step], folder: Path, port: int) -> str:
    """The page as one bash script; ``@@ N`` stands before what block N prints."""
    pieces = [PRELUDE]
    for number, step in enumerate(steps):
        body = step.body.replace(HUB_PORT, str(port))
        if step.language == "python":
            (folder / f".step{number}.py").write_text(body, encoding="utf-8")
            body = f"python .step{number}.py\n"
        elif "edgecost hub serve" in body:
            body = body.replace("edgecost hub serve", f"edgecost hub serve --port {port}") + HUB_IS_UP
        pieces.append(f"echo '@@ {number}'\nmay='{step.may_end_with}'\n{body.replace('PORT', str(port))}")
    return "".join([*pieces, "\nexit 0\n"])


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


def run_page(page: Path, folder: Path) -> tuple[int, str]:
    """Exit code, and all that its commands print."""
    commands = folder / ".bin"
    commands.mkdir()
    for name, arguments in (("edgecost", "-m edgecost "), ("python", "")):
        (commands / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments}"$@"\n', encoding="utf-8")
        (commands / name).chmod(0o755)
    home = {name: str(folder / ".home" / name.lower()) for name in ("XDG_DATA_HOME", "XDG_STATE_HOME", "HOME")}
    environment = {
        **os.environ, **home, "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "120",
        "EDGECOST_DB": str(folder / "edgecost.sqlite"),
    }  # fmt: skip
    script = script_of(steps_of(page), folder, free_port())
    process = subprocess.Popen(
        ["bash", "-c", script], cwd=folder, env=environment, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        printed, _ = process.communicate(timeout=LIMIT_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return process.returncode, printed


def quickstart_folder(folder: Path, cell_graphs, law) -> None:
    """What ``make quickstart`` leaves, from numbers that are not measured."""
    place = folder / "edgecost-quickstart"
    place.mkdir()
    space = load_space("ofa-mobilenetv3")
    checksum_lut(space).save(place / "ofa-mobilenetv3-w1-224.lut.json")
    predictor = LatencyPredictor(rounds=5).fit(cell_graphs, law.measured_ms(cell_graphs, seed=0))
    save_predictor(predictor, place / "predictor", {})
    network = space.build(space.sample(1, seed=0))
    (place / "example.onnx").write_bytes(complete(network.skeleton, network.weights))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_tutorial_run_and_print_what_it_shows(page: Path, tmp_path: Path, cell_graphs, law) -> None:
    steps = steps_of(page)
    if any("tvm" in step.body for step in steps) and importlib.util.find_spec("tvm") is None:
        pytest.skip("TVM is not installed: pip install 'edgecost[tvm]'")
    if page.stem == "first-lut":
        quickstart_folder(tmp_path, cell_graphs, law)
    code, printed = run_page(page, tmp_path)
    assert code == 0, printed
    outputs = re.split(r"^@@ \d+\n", printed, flags=re.MULTILINE)[1:]
    assert len(outputs) == len(steps)
    for step, output in zip(steps, outputs, strict=True):
        if not step.may_end_with and (platform.machine() == "x86_64" or step.mark != X86_ALONE):
            lines = ["", *map(masked, output.splitlines())]
            assert [line for line in step.shown if not is_printed(line, lines)] == [], output


def test_a_page_whose_command_fails_or_prints_something_else_is_found(tmp_path: Path) -> None:
    for name, body, expected in (("bad", "false", 1), ("good", "true", 0), ("may", "(exit 3)", 0)):
        mark = "<!-- may end with 3: it is busy -->\n" if name == "may" else ""
        page = tmp_path / f"{name}.md"
        page.write_text(f"{mark}```sh\n{body}\n```\n", encoding="utf-8")
        (tmp_path / name).mkdir()
        assert run_page(page, tmp_path / name)[0] == expected
    lines = [masked(" at 2026-11-27T21:57:21 ─── 12.5 ms, of 0a1b2c3d4e "), masked("1 ms … 2 ms")]
    assert is_printed("at 2027-01-02T03:04:05  3 ms, of …", lines)
    assert is_printed("3.5 ms … 4.5 ms", lines)
    assert not is_printed("at 2027-01-02T03:04:05  3 µs, of 0a1b2c3d4e", lines)
