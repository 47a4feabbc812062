"""``edgecost agent``: enrol, look, run and end as systemd would have it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecost.cli.main import main
from edgecost.profiler.fleet_protocol import Problem
from tests.little_hub import CODE, LittleHub, home_at, job, once, served

RUN = [sys.executable, "-m", "edgecost", "agent", "run"]


@pytest.fixture
def hub() -> Iterator[LittleHub]:
    with served(LittleHub()) as found:
        yield found


def run(home: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen([*RUN, "--home", str(home), *options], stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = process.communicate(timeout=120)
    return process.returncode, said


def test_a_board_is_enrolled_and_looked_at(hub: LittleHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--home", str(tmp_path / "agent")]
    assert main(["agent", "enroll", hub.url, CODE, "--name", "nano-7", *where]) == 0
    assert "This board is nano-7" in capsys.readouterr().out
    assert main(["agent", "status", "--json", *where]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["name"], found["hub"], found["running"]) == ("nano-7", hub.url, False)
    assert found["runtimes"] == [{"name": "ort", "usable": True, "problem": None}]
    assert (found["spool"], found["last_contact"]) == (None, None)
    assert main(["agent", "status", *where]) == 0
    assert "heard never" in capsys.readouterr().out


def test_the_environment_names_the_folder(hub: LittleHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECOST_AGENT_HOME", str(tmp_path / "there"))
    assert main(["agent", "enroll", hub.url, CODE]) == 0
    assert (tmp_path / "there" / "token").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["enroll", "http://hub.example", "CODE"], 2, "in the clear"),
        (["enroll", "hub.example", "CODE"], 2, "no address"),
        (["enroll", "http://127.0.0.1:1", "CODE"], 11, "cannot be reached"),
        (["enroll", "https://hub.example", "CODE", "--runtime", "ort", "--runtime", "ort"], 2, "each once"),
        (["status"], 2, "no agent"),
        (["run", "--cpu", "9999"], 2, "CPU 9999"),
    ],
)
def test_what_cannot_be_has_its_exit_code_and_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str],
    code: int, said: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("EDGECOST_AGENT_HOME", str(tmp_path / "agent"))
    assert main(["agent", *arguments]) == code
    assert said in capsys.readouterr().err


def test_it_measures_and_ends_when_there_is_no_more_work(hub: LittleHub, tmp_path: Path) -> None:
    home = home_at(tmp_path, hub)
    hub.jobs = [job(1), job(2)]
    code, said = ended(run(home.folder, "--until-idle", "1s"))
    assert (code, len(hub.results), hub.byes) == (0, 2, 1), said
    assert "2 jobs of test" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_in_peace(hub: LittleHub, tmp_path: Path, number: signal.Signals) -> None:
    hub.wait_s = 50.0
    process = run(home_at(tmp_path, hub).folder)
    hub.until(lambda: "POST /v1/leases" in hub.heard)
    process.send_signal(number)
    code, said = ended(process)
    assert (code, hub.byes) == (0, 1), said


def test_a_hub_that_knows_it_no_more_is_exit_code_11(hub: LittleHub, tmp_path: Path) -> None:
    hub.pranks.append(once("/hello", lambda handler: handler.say(401, Problem("was retired", "enrol it again"))))
    code, said = ended(run(home_at(tmp_path, hub).folder))
    assert code == 11
    assert "was retired" in said
    assert "enrol it again" in said


def test_nobody_enrolled_is_exit_code_2(tmp_path: Path) -> None:
    code, said = ended(run(tmp_path))
    assert code == 2
    assert "edgecost agent enroll" in said


def test_a_control_profile_that_nobody_knows_is_exit_code_2(hub: LittleHub, tmp_path: Path) -> None:
    code, said = ended(run(home_at(tmp_path, hub).folder, "--control", "faster"))
    assert code == 2
    assert "there is no control profile 'faster'" in said


def test_lines_carry_their_weight_where_the_journal_reads_them(hub: LittleHub, tmp_path: Path) -> None:
    command = [*RUN, "--home", str(home_at(tmp_path, hub).folder), "--until-idle", "0s"]
    environment = {**os.environ, "JOURNAL_STREAM": "8:1"}
    made = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, timeout=120, check=True)
    assert {line[:3] for line in made.stderr.splitlines()} == {"<6>"}


def test_the_unit_runs_the_agent_without_rights(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agent", "systemd"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (started,) = [line for line in lines if line.startswith("ExecStart=")]
    assert started.startswith("ExecStart=/")
    assert started.endswith(" agent run")
    for wanted in ("NoNewPrivileges=yes", "CapabilityBoundingSet=", "ProtectSystem=strict", "User=edgecost"):
        assert wanted in lines


def test_an_idle_agent_is_small_and_sleeps(hub: LittleHub, tmp_path: Path) -> None:
    hub.wait_s = 50.0
    process = run(home_at(tmp_path, hub).folder)
    try:
        hub.until(lambda: "POST /v1/leases" in hub.heard)
        before_s = cpu_s(process.pid)
        time.sleep(1.0)
        spent_s = cpu_s(process.pid) - before_s
        status = Path(f"/proc/{process.pid}/status").read_text()
    finally:
        process.terminate()
        ended(process)
    rss_kb = int(status.partition("VmRSS:")[2].split()[0])
    assert rss_kb < 40_000  # 29 MB where it was measured; libraries differ
    assert spent_s < 0.2


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
