"""Recorded boards: what they are found to be, what doctor says of them, and what a recording keeps to itself."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgecost.cli.main import main
from edgecost.devices.boards.identity import identify
from edgecost.devices.boards.jetson import l4t_release, power_mode
from edgecost.devices.boards.known_bad import known_bad, no_runtime
from edgecost.devices.boards.raspberry_pi import decode, revision_code
from edgecost.devices.boards.record import record_board, without_private
from edgecost.devices.boards.recording import BoardRecording, load
from edgecost.devices.boards.report import report_board
from edgecost.devices.commands import Answer, RecordedCommands
from edgecost.devices.host import host_environment, read_host
from edgecost.devices.sensors import find_sensors
from edgecost.profiler.errors import OutputError, RecordingRefused
from edgecost.profiler.records import RuntimeProfile

from .recorded_boards import FOLDER, NAMES, as_ordinary_user, recorded, unpacked

NOTHING = RecordedCommands({})


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_board_is_found_to_be_what_it_is(name: str) -> None:
    board = recorded(name)
    with unpacked(board) as root, as_ordinary_user():
        found = identify(root, board.recorded_commands())
        sensors = find_sensors(root, board.recorded_commands())
    told = dict(found.document())
    told["power_mode"] = None if found.power_mode is None else found.power_mode.name
    told["whole_meter"] = sensors.whole[0].facts.name if sensors.whole else None
    assert dict(board.expected) == {key: told[key] for key in board.expected}


@pytest.mark.parametrize("name", NAMES)
def test_a_recording_is_small_and_says_the_same_when_written_again(name: str) -> None:
    board = recorded(name)
    assert len(board.files) + len(board.unreadable) < 100
    assert board.to_json() == (FOLDER / f"{name}.json").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_what_record_board_writes_of_a_board_is_found_to_be_the_same_board(name: str, tmp_path: Path) -> None:
    board = recorded(name)
    with unpacked(board) as root, as_ordinary_user():
        again = record_board(name, root, board.recorded_commands(), host="")
        first = identify(root, board.recorded_commands())
        sensors = find_sensors(root, board.recorded_commands())
    (tmp_path / "again.json").write_text(again.to_json())
    loaded = load(tmp_path / "again.json")
    with unpacked(loaded) as root, as_ordinary_user():
        assert first == identify(root, loaded.recorded_commands())
        assert sensors.sensors == find_sensors(root, loaded.recorded_commands()).sensors
    assert set(again.unreadable) == set(board.unreadable)


def test_a_recording_has_no_serial_number_no_id_no_address_and_no_name_of_the_machine() -> None:
    board = recorded("pi4-arm64")
    secrets = {
        "serial": "10000000abcdef42",
        "mac": "dc:a6:32:0a:1b:2c",
        "machine id": "0123456789abcdef0123456789abcdef",
        "gpu": "1a2b3c4d-1111-2222-3333-123456789abc",
        "gpu serial": "1652823054567",
        "host": "kitchen-pi",
    }
    files = {
        **board.files,
        "/proc/cpuinfo": board.files["/proc/cpuinfo"].replace("0000000000000000", secrets["serial"]),
        "/etc/machine-id": secrets["machine id"],
        "/proc/device-tree/serial-number": secrets["serial"],
        "/etc/nvpmodel.conf": f"# {secrets['host']} {secrets['mac']} {secrets['machine id']}\n",
    }
    said = f"<serial>{secrets['gpu serial']}</serial>\n<uuid>GPU-{secrets['gpu']}</uuid>\nGPU-{secrets['gpu']}"
    commands = RecordedCommands({("nvidia-smi", "-q", "-x"): Answer(said, f"{secrets['host']}: warning", 0)})
    with unpacked(replace(board, files=files)) as root:
        written = record_board("mine", root, commands, host=secrets["host"]).to_json()
    assert [what for what, secret in secrets.items() if secret in written] == []
    assert "Raspberry Pi 4 Model B" in written
    assert "c03114" in written


def test_a_host_name_that_is_part_of_a_word_leaves_the_word() -> None:
    assert without_private("tegrastats tegra", "tegra") == "tegrastats host"


@pytest.mark.parametrize("path", ["/a/../../b", "a", "/", "//a", "/a/", "/a\0", "", "/./a"])
def test_a_path_that_leads_out_of_the_folder_is_refused(path: str, tmp_path: Path) -> None:
    with pytest.raises(RecordingRefused):
        BoardRecording("x", "aarch64", "1", {path: "text"}).unpack(tmp_path / "in")


@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside", "b/../../../c", "..", "", "../../../.."])
def test_a_link_that_leads_out_of_the_folder_is_refused(target: str, tmp_path: Path) -> None:
    links = {"/link": target} if target == ".." else {"/a/link": target}
    with pytest.raises(RecordingRefused):
        BoardRecording("x", "aarch64", "1", {}, links=links).unpack(tmp_path / "in")


def test_a_file_is_never_written_through_a_link(tmp_path: Path) -> None:
    board = BoardRecording("x", "aarch64", "1", {"/a/b/file": "new"}, links={"/a/b": "../c"})
    with pytest.raises(RecordingRefused, match="two things"):
        board.unpack(tmp_path / "in")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": "edgecost-board-2"}',
        '{"format": "edgecost-board-1", "name": 1}',
        '{"format": "edgecost-board-1", "name": "x", "machine": "m", "kernel_release": "k", "files": {"/a": 1}}',
        '{"format": "edgecost-board-1", "name": "x", "machine": "m", "kernel_release": "k", "files": {}, "folders": [],'
        ' "links": {}, "unreadable": [], "commands": [1]}',
    ],
)
def test_a_document_that_is_no_recording_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "board.json").write_text(text)
    with pytest.raises(RecordingRefused):
        load(tmp_path / "board.json")


def test_a_recording_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingRefused, match="cannot be read"):
        load(tmp_path / "none.json")


def test_bytes_that_are_no_text_come_back_as_they_were(tmp_path: Path) -> None:
    recorded("pi5").unpack(tmp_path)
    assert (tmp_path / "proc/device-tree/system/linux,revision").read_bytes() == b"\0\xd0\x41\x70"
    assert revision_code(tmp_path, {}) == 0xD04170


@pytest.mark.parametrize(
    ("code", "soc", "module", "void"),
    [
        (0xA020D3, "BCM2837", "3B+ 1 GiB Rev 1.3", False),
        (0xC03114, "BCM2711", "4B 4 GiB Rev 1.4", False),
        (0xD04170, "BCM2712", "5 8 GiB Rev 1.0", False),
        (0x902120, "BCM2837", "Zero 2 W 512 MiB Rev 1.0", False),
        (0x2C03114, "BCM2711", "4B 4 GiB Rev 1.4", True),
        (0x000E, "BCM2835", "B 512 MiB Rev 2.0", False),
        (0x100000E, "BCM2835", "B 512 MiB Rev 2.0", True),
        (0x0015, "BCM2835", "A+ Rev 1.1", False),
        (0xC0FFF0, None, None, False),
    ],
)
def test_a_revision_code_says_chip_type_memory_and_revision(
    code: int, soc: str | None, module: str | None, void: bool
) -> None:
    found = decode(code)
    assert found is not None
    assert (soc, module, void) == (found.soc, found.module(), found.warranty_void)


def test_a_revision_code_that_was_never_given_out_says_nothing() -> None:
    assert decode(0x0099) is None


def test_without_the_release_file_the_package_tells_and_without_both_nobody_does(tmp_path: Path) -> None:
    asked = ("dpkg-query", "--showformat=${Version}", "--show", "nvidia-l4t-core")
    told = RecordedCommands({asked: Answer("32.7.1-20220219090432", "", 0)})
    assert l4t_release(tmp_path, told) == "32.7.1"
    assert l4t_release(tmp_path, RecordedCommands({asked: Answer("", "no packages found", 1)})) is None
    assert l4t_release(tmp_path, NOTHING) is None


def test_the_power_mode_is_asked_for_where_no_file_tells(tmp_path: Path) -> None:
    said = "NVPM WARN: fan mode is not set!\nNV Power Mode: MAXN\n0\n"
    mode = power_mode(tmp_path, RecordedCommands({("nvpmodel", "-q"): Answer(said, "", 0)}))
    assert mode is not None
    assert (mode.number, mode.name) == (0, "MAXN")
    assert power_mode(tmp_path, NOTHING) is None


def test_a_release_that_no_table_knows_has_no_jetpack_and_says_so() -> None:
    board = recorded("nano-r32.7.1-maxn")
    changed = {**board.files, "/etc/nv_tegra_release": "# R32 (release), REVISION: 9.9, GCID: 1\n"}
    with unpacked(replace(board, files=changed)) as root:
        found = identify(root, board.recorded_commands())
    assert (found.l4t, found.jetpack) == ("32.9.9", None)
    assert "JetPack of this L4T" in [one.what for one in found.missing]


def test_a_board_that_nobody_knows_says_what_is_missing(tmp_path: Path) -> None:
    found = identify(tmp_path, NOTHING)
    assert (found.kind, found.name, found.armv8_0, found.glibc) == ("unknown", None, None, None)
    assert [one.what for one in found.missing] == [
        "name of the board",
        "chip",
        "which instructions the processor has",
        "version of glibc",
    ]


def test_versions_that_fail_are_named_only_where_they_fail() -> None:
    versions = {}
    for name in ("nano-r32.7.1-maxn", "pi4-arm64", "pi5", "x86-amd"):
        board = recorded(name)
        with unpacked(board) as root:
            found = known_bad(identify(root, board.recorded_commands()), board.machine)
        versions[name] = [one.package + one.versions for one in found]
    assert versions == {
        "nano-r32.7.1-maxn": ["onnxruntime==1.21.0", "numpy==1.19.5", "onnxruntime>=1.29.0"],
        "pi4-arm64": ["onnxruntime==1.21.0"],
        "pi5": [],
        "x86-amd": [],
    }


def test_a_32_bit_system_is_told_that_there_is_no_runtime_for_it() -> None:
    assert "64-bit" in (no_runtime("armv7l") or "")
    assert no_runtime("aarch64") is None


def test_a_board_that_is_short_of_volts_says_so() -> None:
    board = recorded("pi4-undervolt")
    with unpacked(board) as root:
        report = report_board(root, board.recorded_commands(), board.machine)
    (told,) = [one.what for one in report.advice]
    assert told.startswith("at this moment: under-voltage, it throttles; before, as far as the firmware remembers: ")
    assert told.endswith("under-voltage, it throttles (0x50005)")


def test_cpus_that_a_power_mode_switched_off_are_named() -> None:
    board = recorded("nano-r32.7.1-5w")
    with unpacked(board) as root:
        report = report_board(root, board.recorded_commands(), board.machine)
    assert "CPUs 2-3 are off in this power mode" in [one.what for one in report.advice]
    assert report.cpus_offline == "2-3"


def environment_of(name: str) -> dict[str, object]:
    """The conditions of a session on a recorded board."""
    with unpacked(recorded(name)) as root:
        facts = read_host(root)
    profile = RuntimeProfile("onnxruntime", "1.28.0")
    return dict(host_environment(facts, profile, (0,)).document)


def test_two_power_modes_are_two_environments_and_a_board_without_them_has_the_one_it_had() -> None:
    fast, slow = environment_of("nano-r32.7.1-maxn"), environment_of("nano-r32.7.1-5w")
    assert (fast["power_mode"], slow["power_mode"], slow["l4t"]) == ("MAXN", "5W", "32.7.1")
    assert {"power_mode", "l4t"}.isdisjoint(environment_of("pi5"))


def test_record_board_writes_a_document_that_can_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["record-board", "--name", "mine", "-o", str(tmp_path / "mine.json")]) == 0
    assert "files and" in capsys.readouterr().out
    board = load(tmp_path / "mine.json")
    assert board.name == "mine"
    assert "/proc/cpuinfo" in board.files
    assert main(["record-board", "-o", str(tmp_path / "no" / "mine.json")]) == OutputError.exit_code


def test_doctor_says_which_board_this_is(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", "--json"])
    board = json.loads(capsys.readouterr().out)["board"]
    main(["doctor"])
    assert f"({board['kind']})" in capsys.readouterr().out
