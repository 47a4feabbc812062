"""What programs tell of a spoiled time: the firmware's clock, the kernel's log; and others, who are waited for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from edgecost.devices.commands import Answer, RecordedCommands
from edgecost.devices.guards import BoardWatch, board_watch
from edgecost.devices.guards.found import FIRMWARE_CLOCK, KERNEL_LOG, MEASURE_CLOCK, find_sources
from edgecost.devices.guards.judging import Manner, judge
from edgecost.devices.guards.meanwhile import meanwhile
from edgecost.devices.guards.quiet import QUIET_MAX_S, Patience, Quiet
from edgecost.devices.guards.snapshot import ClockReading, Snapshot, look
from tests.recorded_boards import NAMES, recorded, unpacked
from tests.recorded_trees import NANO, PI, TEGRA, grow

POLICY = "sys/devices/system/cpu/cpufreq/policy0"
PI_CLOCK = {
    **PI, f"{POLICY}/affected_cpus": "0 1 2 3", f"{POLICY}/scaling_cur_freq": "2400000",
    f"{POLICY}/scaling_min_freq": "1500000", f"{POLICY}/scaling_max_freq": "2400000",
    f"{POLICY}/scaling_governor": "ondemand",
}  # fmt: skip
BUSY = Manner(cpu_clocks={"policy0": frozenset({0, 1, 2, 3}), FIRMWARE_CLOCK: frozenset({0, 1, 2, 3})}, is_busy=True)


def log(*lines: str, code: int = 0) -> RecordedCommands:
    return RecordedCommands({KERNEL_LOG: Answer("".join(f"{line}\n" for line in lines), "", code)})


def kinds(begin: Snapshot, end: Snapshot, *between: Snapshot, manner: Manner | None = None) -> list[str]:
    return [fault.kind for fault in judge(begin, end, between, manner)]


OLD_ALARM = "[  90.250000] soctherm: OC ALARM 0x00000001"
NEW_ALARM = "[ 117.500000] soctherm: OC ALARM 0x00000001"


def test_a_jetson_without_counters_has_its_kernel_s_log_read(tmp_path: Path) -> None:
    root = grow(tmp_path, TEGRA)
    sources = find_sources(root, log("[    1.000000] soctherm: started"))
    assert sources.asks_log
    before = look(sources, log("[    1.000000] soctherm: started", OLD_ALARM))
    after = look(sources, log(OLD_ALARM, NEW_ALARM, "[ 118.000000] soctherm: OC ALARM 0x00000001"))
    forgotten = look(sources, log("[ 990.250000] wlan0: associated"))
    assert kinds(before, look(sources, log(OLD_ALARM))) == []
    assert kinds(before, after) == ["undervoltage"]
    assert "2 times" in judge(before, after)[0].message
    assert "[ 118.000000] soctherm: OC ALARM 0x00000001" in judge(before, after)[0].message
    assert kinds(before, forgotten) == []
    assert kinds(before, look(sources, log(code=1))) == ["unknown"]


class Log:
    """A kernel's log that grows."""

    def __init__(self, *lines: str) -> None:
        self.lines = [*lines]

    def run(self, argv: Sequence[str], timeout_s: float = 5.0) -> Answer | None:
        return log(*self.lines).run(argv, timeout_s)


def test_an_alarm_spoils_the_part_in_which_it_came_though_most_looks_leave_the_log_out(tmp_path: Path) -> None:
    told = Log(OLD_ALARM)
    watched = BoardWatch(find_sources(grow(tmp_path, TEGRA), told), told)
    with watched.watching(0.005) as looks:
        for alarm, expected in ((None, []), (NEW_ALARM, ["undervoltage"]), (None, [])):
            made = looks.looks_made()
            while looks.looks_made() < made + 3:
                pass
            begin = watched.glance()
            told.lines += [alarm] if alarm else []
            end = watched.glance()
            faults = looks.faults_between(begin.begin_ns, end.at_ns, is_busy=True)
            assert [fault.kind for fault in faults if fault.kind != "slow_clock"] == expected
        assert "undervoltage" in [fault.kind for fault in looks.faults()]


@pytest.mark.parametrize("commands", [RecordedCommands({}), log(code=1), log("soctherm: started")])
def test_a_log_that_may_not_be_read_or_has_no_times_is_not_asked(commands: RecordedCommands, tmp_path: Path) -> None:
    assert not find_sources(grow(tmp_path, TEGRA), commands).asks_log


def test_an_alarm_without_its_time_could_be_an_old_one_and_is_unknown(tmp_path: Path) -> None:
    sources = find_sources(grow(tmp_path, TEGRA), log())
    assert sources.asks_log
    assert kinds(look(sources, log()), look(sources, log("soctherm: OC ALARM 0x00000001"))) == ["unknown"]


def firmware(hertz: str) -> RecordedCommands:
    return RecordedCommands({MEASURE_CLOCK: Answer(f"frequency(0)={hertz}\n", "", 0)})


def test_a_clock_that_the_firmware_capped_is_slow_though_the_kernel_shows_its_wish(tmp_path: Path) -> None:
    sources = find_sources(grow(tmp_path, PI_CLOCK), firmware("2400033792"))
    assert sources.asks_clock
    full, capped = look(sources, firmware("2400033792")), look(sources, firmware("1500019456"))
    assert full.clocks[FIRMWARE_CLOCK] == ClockReading(2400033, None, None, None, 2400000)
    assert kinds(full, full, full, manner=BUSY) == []
    # In a time of latencies, too, which nobody knows to have been busy throughout; on average, not at one moment.
    for manner in (BUSY, replace(BUSY, is_busy=False)):
        (fault,) = judge(full, full, [capped, capped], manner)
        assert fault.kind == "slow_clock"
        assert fault.message == f"{FIRMWARE_CLOCK} ran at 81% of what the kernel asked for"
    assert kinds(full, full, *[full] * 20, capped, manner=BUSY) == []
    assert kinds(full, full, capped, manner=replace(BUSY, is_busy=False, is_rest=True)) == []


def test_a_clock_that_is_low_since_the_kernel_wishes_it_is_none_that_was_capped(tmp_path: Path) -> None:
    sources = find_sources(grow(tmp_path, PI_CLOCK), firmware("2400033792"))
    full = look(sources, firmware("2400033792"))
    grow(tmp_path, {f"{POLICY}/scaling_cur_freq": "1500000"})
    low = look(sources, firmware("1500019456"))
    assert kinds(low, low, low, low, manner=Manner(cpu_clocks=sources.cpu_clocks)) == []
    assert kinds(full, low, full, low, manner=Manner(cpu_clocks=sources.cpu_clocks)) == []


class Raising:
    """A kernel that wishes more just when the firmware is asked: asking is work, too."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, argv: Sequence[str], timeout_s: float = 5.0) -> Answer | None:
        answer = firmware("1500019456").run(argv, timeout_s)
        grow(self.root, {f"{POLICY}/scaling_cur_freq": "2400000"})
        return answer


def test_a_wish_that_changes_while_the_firmware_is_asked_is_taken_at_its_lower(tmp_path: Path) -> None:
    sources = find_sources(grow(tmp_path, PI_CLOCK), firmware("2400033792"))
    grow(tmp_path, {f"{POLICY}/scaling_cur_freq": "1500000"})
    assert look(sources, Raising(tmp_path)).clocks[FIRMWARE_CLOCK].wished == 1500000
    assert look(sources, Raising(tmp_path)).clocks[FIRMWARE_CLOCK].wished == 2400000


def test_firmware_that_stops_telling_its_clock_is_unknown_and_not_well(tmp_path: Path) -> None:
    sources = find_sources(grow(tmp_path, PI_CLOCK), firmware("2400033792"))
    full = look(sources, firmware("2400033792"))
    assert kinds(full, look(sources, RecordedCommands({}))) == ["unknown"]
    assert kinds(full, look(sources, firmware("garbage"))) == ["unknown"]


def test_the_firmware_s_clock_is_kept_beside_the_kernel_s_wish(tmp_path: Path) -> None:
    commands = firmware("1500019456")
    watched = BoardWatch(find_sources(grow(tmp_path, PI_CLOCK), commands), commands).on((0,))
    with watched.watching(3600.0) as looks:
        end = watched.glance()
        looks.faults_between(end.begin_ns, end.at_ns, is_busy=True)
        told = looks.seen()["meanwhile"]
    assert told == {
        "looks": 1,
        "clocks_mhz": {
            FIRMWARE_CLOCK: {"min": 1500.019, "mean": 1500.019, "max": 1500.019},
            "policy0": {"min": 2400.0, "mean": 2400.0, "max": 2400.0},
        },
        "temperatures_celsius": {"cpu-thermal": {"min": 52.3, "mean": 52.3, "max": 52.3}},
    }


def test_of_what_moved_the_lowest_the_mean_and_the_highest_are_kept_and_nothing_of_what_was_not_read() -> None:
    manner = Manner(frozenset({0}), {"policy0": frozenset({0}), "policy4": frozenset({4})})
    looks = [
        Snapshot(
            at, at, supplies_mv={"EXT5V": volts}, temperatures_celsius={"dead": None},
            clocks={"policy0": ClockReading(khz, None, None, None), "policy4": ClockReading(9, None, None, None)},
        )
        for at, (khz, volts) in enumerate([(600000, None), (1800000, 4900.0), (None, 5100.0)])
    ]  # fmt: skip
    assert meanwhile(looks, manner) == {
        "meanwhile": {
            "looks": 3,
            "clocks_mhz": {"policy0": {"min": 600.0, "mean": 1200.0, "max": 1800.0}},
            "supplies_mv": {"EXT5V": {"min": 4900.0, "mean": 5000.0, "max": 5100.0}},
        }
    }
    assert meanwhile([Snapshot(0, 0)], manner) == {}


def test_settings_that_change_meanwhile_are_a_fault_and_a_cpu_that_is_off_tells_only_that() -> None:
    was = ClockReading(1000, 100, 1479, "schedutil")
    begin = Snapshot(0, 0, clocks={"policy0": was}, online="0-3")
    assert kinds(begin, begin) == []
    for changed in (replace(was, governor="performance"), replace(was, low=1479), replace(was, high=918)):
        assert kinds(begin, replace(begin, clocks={"policy0": changed})) == ["changed"]
    off = ClockReading(None, None, None, None)
    assert kinds(begin, replace(begin, clocks={"policy0": off}, online="0-1")) == ["changed"]


@dataclass
class Clock:
    """Time that passes by sleeping, and others who take a share of a CPU until some moment."""

    share: float
    until_s: float
    now_s: float = 0.0

    def read(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def busy_s(self) -> float | None:
        return self.share * min(self.now_s, self.until_s)


def waited(patience: Patience, clock: Clock) -> tuple[float, float | None, bool]:
    found = patience.wait(clock.busy_s, 0.05, clock=clock.read, sleep=clock.sleep)
    return found.waited_s, None if found.share is None else round(found.share, 6), found.in_vain


def test_others_are_waited_for_until_they_stop() -> None:
    assert waited(Patience(), Clock(0.01, 1e9)) == (1.0, 0.01, False)
    assert waited(Patience(), Clock(0.5, 10.0)) == (11.0, 0.0, False)


def test_those_who_never_stop_are_waited_for_less_and_less_and_it_is_said() -> None:
    patience = Patience()
    assert waited(patience, Clock(0.5, 1e9)) == (QUIET_MAX_S, 0.5, True)
    assert waited(patience, Clock(0.5, 1e9)) == (QUIET_MAX_S / 2, 0.5, True)
    assert waited(patience, Clock(0.01, 1e9)) == (1.0, 0.01, False)
    assert waited(patience, Clock(0.5, 1e9))[0] == QUIET_MAX_S


def test_where_others_cannot_be_told_from_us_nobody_is_waited_for_and_it_is_said(tmp_path: Path) -> None:
    clock = Clock(0.5, 1e9)
    found = Patience().wait(lambda: None, 0.05, clock=clock.read, sleep=clock.sleep)
    assert (found.waited_s, found.share, found.in_vain) == (0.0, None, False)
    told = BoardWatch(find_sources(grow(tmp_path, NANO), RecordedCommands({})), RecordedCommands({})).wait()
    assert "other programs on the CPU" in str(told["unwatched"])
    assert not told.keys() & {"quiet_s", "foreign_load"}


class Told(Patience):
    """Waiting that came to this."""

    def __init__(self, found: Quiet) -> None:
        super().__init__()
        self.found = found

    def wait(self, busy_s: Callable[[], float | None], most_share: float, **_: object) -> Quiet:
        del busy_s, most_share
        return self.found


@pytest.mark.parametrize(
    ("quiet", "kept"),
    [
        (Quiet(1.0, 0.01), {"quiet_s": 1.0}),
        (Quiet(60.04, 0.51239, in_vain=True), {"quiet_s": 60.0, "foreign_load": 0.512}),
        (Quiet(0.0), {}),
    ],
)
def test_how_long_others_were_waited_for_stands_beside_the_measurement(
    quiet: Quiet, kept: dict[str, float], tmp_path: Path
) -> None:
    sources = find_sources(grow(tmp_path, NANO), RecordedCommands({}))
    told = BoardWatch(sources, RecordedCommands({}), patience=Told(quiet)).wait()
    assert {name: told[name] for name in ("quiet_s", "foreign_load") if name in told} == kept


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_board_spoils_nothing_but_one_whose_supply_sags(name: str) -> None:
    board = recorded(name)
    with unpacked(board) as root:
        watched = board_watch(root, board.recorded_commands())
        if watched is None:
            assert name == "x86-vm-none"
            return
        begin, between, end = watched.begin(), watched.glance(), watched.begin()
        found = {fault.kind for fault in watched.judge(begin, end, [between])}
        assert found == ({"undervoltage", "throttled", "slow_clock"} if name == "pi4-undervolt" else set())
        assert (FIRMWARE_CLOCK in begin.clocks) == name.startswith("pi")
        # Jetson Linux 32 tells it in its log alone, which is in no recording.
        is_r32 = name.startswith(("nano-", "tx2-"))
        assert ("electrical throttling" in str(watched.wait()["unwatched"])) == is_r32
