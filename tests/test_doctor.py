"""`edgecost doctor`: every recorded board's text as it was read line by line, imports that crash, guards and wheels."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from edgecost.cli.main import main
from edgecost.devices.boards.board import BoardIdentity
from edgecost.devices.boards.known_bad import known_bad
from edgecost.devices.boards.recording import BoardRecording
from edgecost.devices.boards.report import BoardReport, report_board
from edgecost.devices.boards.report_lines import report_lines
from edgecost.devices.boards.wheels import onnxruntime_wheels, wheel_lines
from edgecost.devices.commands import RecordedCommands
from edgecost.devices.guards.coverage import coverage
from edgecost.devices.guards.found import Sources, find_sources
from edgecost.devices.guards.snapshot import Snapshot
from edgecost.profiler.errors import RecordingRefused, UsageError
from edgecost.profiler.importing import ImportedRuntime, import_runtime

from .recorded_boards import FOLDER, NAMES, as_ordinary_user, recorded, unpacked
from .recorded_trees import NANO, ORIN, X86, Firmware, grow
from .test_docs import load_script

Captured = pytest.CaptureFixture[str]
GOLDEN = Path(__file__).parent / "golden" / "boards"
NOTHING = RecordedCommands({})
texts = load_script("make_board_texts")


def report_of(board: BoardRecording) -> BoardReport:
    with unpacked(board) as root, as_ordinary_user():
        return report_board(root, board.recorded_commands(), board.machine)


def lines_of(name: str) -> list[str]:
    return report_lines(report_of(recorded(name)))


@pytest.mark.parametrize("name", NAMES)
def test_what_doctor_says_of_a_recorded_board_is_what_was_read_line_by_line(name: str) -> None:
    assert (GOLDEN / f"{name}.txt").read_text() == texts.text(name), "run: .venv/bin/python docs/make_board_texts.py"


def test_no_text_stands_there_of_a_board_that_was_not_recorded() -> None:
    assert sorted(path.stem for path in GOLDEN.glob("*.txt")) == NAMES


def test_the_page_on_boards_shows_three_of_them_as_they_are_now() -> None:
    page = texts.PAGE.read_text()
    shown = {found[1]: found[2] for found in texts.SHOWN.findall(page)}
    assert sorted(shown) == ["nano-r32.7.1-maxn", "pi5", "x86-rapl-root"]
    assert page == texts.page(), "run: .venv/bin/python docs/make_board_texts.py"


def test_doctor_prints_the_same_of_a_recording(capsys: Captured) -> None:
    path = FOLDER / "nano-r32.7.1-5w.json"
    assert main(["doctor", "--recorded", str(path)]) == 0
    assert capsys.readouterr().out == (GOLDEN / "nano-r32.7.1-5w.txt").read_text()
    assert main(["doctor", "--recorded", str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["board"]["runtimes"] is None
    assert document["board"]["power_mode"] == {"number": 1, "name": "5W"}
    whole, *parts = document["power_meters"]
    assert (whole["rail"], whole["scope"], whole["resolution_mw"], whole["read_median_ms"]) == (
        "POM_5V_IN", "module", 40.0, None,
    )  # fmt: skip
    assert {part["parent"] for part in parts} == {"POM_5V_IN"}


def test_what_is_no_recording_is_refused_by_doctor(tmp_path: Path) -> None:
    (tmp_path / "board.json").write_text("{}")
    assert main(["doctor", "--recorded", str(tmp_path / "board.json")]) == RecordingRefused.exit_code


@pytest.mark.skipif(os.geteuid() != 0, reason="only root reads what nobody may")
def test_root_does_not_take_files_that_nobody_may_read_for_empty_ones(capsys: Captured) -> None:
    assert main(["doctor", "--recorded", str(FOLDER / "x86-rapl-eacces.json")]) == UsageError.exit_code
    assert "ordinary user" in capsys.readouterr().err


def test_a_board_that_nobody_knows_lists_what_is_missing_and_what_that_costs(tmp_path: Path) -> None:
    lines = report_lines(report_board(tmp_path, NOTHING, "aarch64"))
    told = "\n".join(line.strip() for line in lines)
    for what in (
        "board: without a name (unknown)",
        "not known: name of the board\n→ /proc/device-tree/model",
        "not known: chip\n→ /proc/device-tree/compatible",
        "not known: which instructions the processor has",
        "wheels: which ones fit is not known, since glibc is not",
        "! energies are unsupported: neither RAPL nor a power chip was found",
        "! throttling: it is not seen",
        "! clock of the CPU: it is not seen",
        "! temperatures: none is told",
        "! voltage of the supply: it is not seen",
    ):
        assert what in told
    assert "clock of the GPU" not in told


@pytest.mark.parametrize("signal", ["SIGILL", "SIGSEGV", "SIGABRT"])
def test_an_import_that_crashes_is_told_with_the_signals_name(signal: str) -> None:
    crash = f"import os, signal; os.kill(os.getpid(), signal.{signal})"
    found = import_runtime("onnxruntime", [sys.executable, "-c", crash])
    assert (found.signal, found.is_usable, found.is_installed) == (signal, False, True)
    assert found.problem == f"its import is ended by {signal}"


def test_an_import_that_hangs_fails_or_says_nothing_is_told_as_such() -> None:
    hangs = import_runtime("tvm", [sys.executable, "-c", "import time; time.sleep(60)"], timeout_s=0.3)
    assert "did not end within 0.3 s" in hangs.problem
    fails = import_runtime("tvm", [sys.executable, "-c", 'print(\'{"problem": "ImportError: libcuda"}\')'])
    assert fails.problem == "it cannot be imported: ImportError: libcuda"
    silent = import_runtime("tvm", [sys.executable, "-c", "raise SystemExit('no space left')"])
    assert silent.problem == "its import ended without an answer: no space left"
    gone = import_runtime("tvm", ["/no/such/python"])
    assert "cannot be started" in gone.problem
    assert not any(one.is_usable or one.signal for one in (hangs, fails, silent, gone))


def test_a_runtime_that_is_there_says_its_providers_and_one_that_is_not_is_no_crash() -> None:
    here = import_runtime("onnxruntime")
    assert here.is_usable
    assert "CPUExecutionProvider" in here.providers
    missing = import_runtime("no_such_runtime")
    assert (missing.problem, missing.is_installed, missing.version) == ("not installed", False, None)


def test_an_installed_version_that_is_known_to_crash_comes_with_what_helps() -> None:
    crashed = ImportedRuntime("onnxruntime", "1.21.0", problem="its import is ended by SIGILL", signal="SIGILL")
    absent = ImportedRuntime("tvm", problem="not installed", is_installed=False)
    report = replace(report_of(recorded("pi4-arm64")), runtimes=(crashed, absent))
    told = [line.strip() for line in report_lines(report)]
    place = told.index("! onnxruntime 1.21.0: its import is ended by SIGILL")
    assert told[place + 1] == "→ take 1.20.1, or 1.22.1 and later"
    assert "tvm: not installed" in told
    assert not any(line.startswith("installed: not asked") for line in told)


@pytest.mark.parametrize(
    ("package", "version", "is_bad"),
    [
        ("onnxruntime", "1.21.0", True),
        ("onnxruntime", "1.21.0+jetson", True),
        ("onnxruntime", "1.21.1", False),
        ("onnxruntime", "1.28.0", False),
        ("onnxruntime", "1.29.0", True),
        ("onnxruntime", "1.32.0", True),
        ("onnxruntime", "1.9.0", False),
        ("numpy", "1.19.5", True),
        ("numpy", "1.21.0", False),
    ],
)
def test_a_version_is_known_to_fail_by_number_and_not_by_spelling(package: str, version: str, is_bad: bool) -> None:
    nano = BoardIdentity("jetson", "NVIDIA Jetson Nano Developer Kit", "tegra210", armv8_0=True, glibc="2.27")
    assert any(one.is_of(package, version) for one in known_bad(nano, "aarch64")) is is_bad


@pytest.mark.parametrize(
    ("glibc", "python", "words"),
    [
        ("2.27", (3, 8), "1.7.0 to 1.19.2"),
        ("2.27", (3, 10), "1.12.0 to 1.23.2"),
        ("2.27", (3, 12), "1.17.0 to 1.28.0"),
        ("2.28", (3, 12), "1.17.0 to the newest"),
        ("2.36", (3, 14), "1.24.1 to the newest"),
        ("2.23", (3, 11), "1.15.0 to 1.16.3"),
        ("2.23", (3, 12), "none"),
        ("2.12", (3, 8), "none"),
    ],
)
def test_wheels_fit_by_glibc_and_python_together(glibc: str, python: tuple[int, int], words: str) -> None:
    found = onnxruntime_wheels(glibc, python)
    assert found is not None
    assert found.words() == words


def test_wheels_of_a_python_or_a_machine_that_nobody_looked_at_are_not_known() -> None:
    board = BoardIdentity("unknown", None, glibc="2.36")
    assert onnxruntime_wheels("2.36", (3, 15)) is None
    assert wheel_lines(board, "x86_64", (3, 15))[0].endswith("not known for Python 3.15")
    assert wheel_lines(board, "riscv64", None) == ["wheels: none are known of for riscv64"]
    assert wheel_lines(board, "x86_64", (3, 9))[1].endswith("none, they need Python 3.10")
    none, remedy = wheel_lines(board, "aarch64", (3, 12), is_glibc=False)
    assert none.startswith("! wheels: none fit, since this Python was not made for glibc")
    assert "aarch64-gnu" in remedy


def covered(root: Path, commands: Firmware | RecordedCommands, kind: str, look: Snapshot | None = None) -> list[str]:
    sources = find_sources(root, commands)
    found = coverage(sources, kind, look, has_gpu=kind == "jetson")
    return [line for guard in found for line in guard.lines()]


def test_a_nano_sees_its_supply_and_not_what_the_kernels_log_alone_says(tmp_path: Path) -> None:
    told = covered(grow(tmp_path, NANO), NOTHING, "jetson")
    assert "voltage of the supply: POM_5V_IN" in told
    assert any(line.startswith("! electrical throttling: ") for line in told)
    assert any("OC ALARM" in line for line in told)
    orin = covered(grow(tmp_path / "orin", ORIN), NOTHING, "jetson")
    assert "clock of the GPU: 17000000.ga10b" in orin
    assert not any("electrical" in line for line in orin)
    assert any(line.startswith("throttling, as it happened: oc1_event_cnt (too low a supply)") for line in orin)


def test_a_raspberry_pi_whose_firmware_does_not_answer_does_not_see_throttling(tmp_path: Path) -> None:
    model = {"proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0"}
    seen = covered(grow(tmp_path, model), Firmware(bits=0), "raspberry-pi")
    unseen = covered(tmp_path, Firmware(bits=None), "raspberry-pi")
    assert any(line.startswith("throttling, as it happened: vcgencmd") for line in seen)
    assert any(line.startswith("! throttling: it is not seen") for line in unseen)
    assert any("join the group video" in line for line in unseen)


def test_whether_others_are_seen_is_found_by_looking(tmp_path: Path) -> None:
    root = grow(tmp_path, X86)
    blind = covered(root, NOTHING, "x86", Snapshot(0, 0))
    seeing = covered(root, NOTHING, "x86", Snapshot(0, 0, foreign_busy_s=1.0, swapped_pages=0))
    assert [line.partition(":")[0] for line in blind if line.startswith("! ")][-2:] == [
        "! other programs on the CPU",
        "! swapping",
    ]
    assert "other programs on the CPU: /proc/stat, less what is our own" in seeing
    assert "swapping: /proc/vmstat" in seeing


@dataclass(frozen=True)
class SourcesOfTomorrow(Sources):
    """What the guards may learn to look at."""

    kernel_alarms: dict[str, Path] = field(default_factory=dict)


def test_a_source_that_has_no_words_yet_is_shown_by_its_name() -> None:
    some = SourcesOfTomorrow(Path("/"), kernel_alarms={"/dev/kmsg": Path("/dev/kmsg")})
    none = SourcesOfTomorrow(Path("/"))
    told, silent = (
        [line for guard in coverage(one, "jetson", None, has_gpu=True) for line in guard.lines()]
        for one in (some, none)
    )
    assert "kernel alarms: /dev/kmsg" in told
    assert not any(line.startswith("kernel alarms") for line in silent)


def test_counters_that_have_counted_are_named_with_what_helps() -> None:
    told = lines_of("orin-nano-r36.4")
    place = told.index("  ! it throttled since the start: oc3_event_cnt 41")
    assert told[place + 1].strip().startswith("→ windows in which it does so again are rejected")


def test_a_part_says_what_it_is_a_part_of_and_what_includes_all_is_no_part() -> None:
    told = [line.strip() for line in lines_of("x86-rapl-root")]
    assert "rapl package-0: the whole" in told
    assert "rapl package-0 core: a part of package-0" in told
    assert "rapl psys: beside the whole, and never added to it" in told
    orin = [line.strip() for line in lines_of("agx-orin-r35.4")]
    assert "ina3221 1-0041 VDDQ_VDD2_1V8AO: a part of VIN_SYS_5V0" in orin
    assert "ina3221 1-0040 VDD_CPU_CV: a part of the whole" in orin


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nano-2gb", "unsupported: a Jetson Nano of 2 GB has no INA3221"),
        ("pi4-arm64", "unsupported: a Raspberry Pi before the 5 has no power sensor"),
        ("x86-vm-none", "unsupported: a virtual machine is not told what it takes"),
        ("x86-rapl-eacces", "unavailable: there is a meter, and this user may not read it"),
        ("thor-r38", "unsupported: no INA3221 was found"),
        ("pi5", ""),
        ("x86-h200", ""),
    ],
)
def test_a_board_without_energies_says_why_and_never_zero(name: str, why: str) -> None:
    report = report_of(recorded(name))
    assert report.no_energy.startswith(why)
    assert bool(report.no_energy) is bool(why)
    if why:
        assert report.whole_meters == ()
    assert not any(line.strip().startswith("now 0 mW") for line in lines_of(name))
