"""Machines as devices: recorded /proc and /sys trees of a board, a Jetson, a virtual machine and a laptop."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from edgecost.devices.host import (
    HostFacts,
    facts_document,
    find_noise,
    host_device,
    host_environment,
    memory_limit_bytes,
    read_conditions,
    read_host,
)
from edgecost.profiler.records import RuntimeProfile
from tests import recorded_boards

RASPBERRY_PI_4 = {
    "proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 cpuid\n"
    "CPU implementer\t: 0x41\nCPU part\t: 0xd08\n\nHardware\t: BCM2835\nRevision\t: c03114\n"
    "Serial\t\t: 10000000abcdef01\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n",
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    "proc/device-tree/serial-number": "10000000abcdef01\0",
    "proc/meminfo": "MemTotal:        3884360 kB\nMemFree:          120000 kB\n",
    "proc/loadavg": "0.08 0.03 0.01 1/180 1234\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "ondemand\n",
    "sys/class/thermal/thermal_zone0/temp": "48199\n",
    "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
}
JETSON_NANO = {
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: ARMv8 Processor rev 1 (v8l)\nBogoMIPS\t: 38.40\n"
    "Features\t: fp asimd crc32\nCPU part\t: 0xd07\n",
    "proc/device-tree/model": "NVIDIA Jetson Nano Developer Kit\0",
    "proc/device-tree/serial-number": "1423220012345\0",
    "proc/meminfo": "MemTotal:        4051048 kB\n",
    "proc/loadavg": "0.50 0.40 0.30 2/500 4321\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil\n",
    "sys/class/thermal/thermal_zone0/temp": "41500\n",
    "sys/class/thermal/thermal_zone1/temp": "-12500\n",
    "sys/class/thermal/thermal_zone2/temp": "\n",
    "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
}
X86_VM = {
    "proc/cpuinfo": "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC\nflags\t: fpu hypervisor\n"
    "\nprocessor\t: 1\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC, the second\nflags\t\t: fpu sse2 hypervisor\n",
    "proc/meminfo": "MemTotal:        8000000 kB\n",
    "proc/loadavg": "0.00 0.01 0.05 1/90 77\n",
    "sys/class/dmi/id/sys_vendor": "QEMU\n",
    "etc/machine-id": "fedcba9876543210fedcba9876543210\n",
    "sys/devices/system/cpu/cpu0/cache/index0/level": "1\n",
    "sys/devices/system/cpu/cpu0/cache/index0/type": "Data\n",
    "sys/devices/system/cpu/cpu0/cache/index0/size": "32K\n",
    "sys/devices/system/cpu/cpu0/cache/index2/level": "2\n",
    "sys/devices/system/cpu/cpu0/cache/index2/type": "Unified\n",
    "sys/devices/system/cpu/cpu0/cache/index2/size": "1024K\n",
    "sys/devices/system/cpu/cpu0/cache/index3/level": "3\n",
    "sys/devices/system/cpu/cpu0/cache/index3/size": "32M\n",
}
X86_LAPTOP = {
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: Intel(R) Core(TM) i7-8650U CPU @ 1.90GHz\nflags\t\t: fpu vmx avx2\n",
    "proc/meminfo": "MemTotal:       16000000 kB\n",
    "proc/loadavg": "7.50 3.00 2.00 1/900 99\n",
    "sys/class/dmi/id/sys_vendor": "LENOVO\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
    "sys/devices/system/cpu/intel_pstate/no_turbo": "0\n",
    "var/lib/dbus/machine-id": "aaaabbbbccccddddeeeeffff00001111\n",
}
MACHINES = {"Pi 4": RASPBERRY_PI_4, "Jetson Nano": JETSON_NANO, "VM": X86_VM, "laptop": X86_LAPTOP}


def recorded(files: dict[str, str], root: Path) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def quiet(facts: HostFacts) -> HostFacts:
    return replace(facts, load_1min=0.0, governors=("performance",), turbo=False, hypervisor=None, cpus_allowed=4)


def test_a_raspberry_pi_is_known_by_its_device_tree(tmp_path: Path) -> None:
    facts = read_host(recorded(RASPBERRY_PI_4, tmp_path))
    assert facts.cpu_model == "Raspberry Pi 4 Model B Rev 1.4"
    assert facts.memory_bytes == 3884360 * 1024
    assert facts.governors == ("ondemand",)
    assert facts.temperatures_celsius == (48.199,)
    assert (facts.turbo, facts.hypervisor, facts.load_1min) == (None, None, 0.08)


def test_a_jetson_is_known_as_the_board_not_as_an_arm_processor(tmp_path: Path) -> None:
    facts = read_host(recorded(JETSON_NANO, tmp_path))
    assert facts.cpu_model == "NVIDIA Jetson Nano Developer Kit"
    assert facts.temperatures_celsius == (41.5, -12.5)
    assert "NVIDIA Jetson Nano Developer Kit" in host_device(facts, tmp_path).description


def test_a_virtual_machine_is_known_by_its_processor_flags(tmp_path: Path) -> None:
    facts = read_host(recorded(X86_VM, tmp_path))
    assert (facts.cpu_model, facts.hypervisor) == ("AMD EPYC", "QEMU")
    assert (facts.governors, facts.turbo, facts.temperatures_celsius) == ((), None, ())


def test_a_virtual_machine_without_a_vendor_is_still_one(tmp_path: Path) -> None:
    files = {name: text for name, text in X86_VM.items() if "dmi" not in name}
    assert read_host(recorded(files, tmp_path)).hypervisor == "unnamed"


def test_a_laptop_has_a_governor_and_turbo_but_no_hypervisor(tmp_path: Path) -> None:
    facts = read_host(recorded(X86_LAPTOP, tmp_path))
    assert facts.cpu_model == "Intel(R) Core(TM) i7-8650U CPU @ 1.90GHz"
    assert (facts.governors, facts.turbo, facts.hypervisor) == (("powersave",), True, None)


@pytest.mark.parametrize(
    ("file", "content", "turbo"),
    [
        ("intel_pstate/no_turbo", "1\n", False),
        ("cpufreq/boost", "1\n", True),
        ("cpufreq/boost", "0\n", False),
    ],
)
def test_turbo_is_read_as_each_driver_writes_it(file: str, content: str, turbo: bool, tmp_path: Path) -> None:
    assert read_host(recorded({f"sys/devices/system/cpu/{file}": content}, tmp_path)).turbo is turbo


def test_what_cannot_be_read_is_none(tmp_path: Path) -> None:
    facts = read_host(tmp_path)
    assert (facts.cpu_model, facts.memory_bytes, facts.hypervisor) == (None, None, None)
    assert (facts.governors, facts.turbo, facts.temperatures_celsius, facts.load_1min) == ((), None, (), None)
    assert find_noise(replace(facts, cpus_allowed=4)) == ()
    assert host_device(facts, tmp_path).description.startswith(facts.architecture)


def test_this_machine_can_be_read_and_described() -> None:
    facts = read_host()
    assert facts.memory_bytes is None or facts.memory_bytes > 1 << 20
    assert facts.cpus_allowed >= 1
    assert json.loads(json.dumps(facts_document(facts)))["architecture"] == facts.architecture
    assert host_device(facts) == host_device(facts)


@pytest.mark.parametrize("name", MACHINES)
def test_the_identity_survives_another_host_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = recorded(MACHINES[name], tmp_path)
    facts = read_host(root)
    before = host_device(facts, root)
    monkeypatch.setattr(socket, "gethostname", lambda: "renamed")
    after = host_device(facts, root)
    assert after.name == "renamed"
    assert before.identity == after.identity


def test_boards_from_one_card_image_are_two_devices(tmp_path: Path) -> None:
    first = recorded(RASPBERRY_PI_4, tmp_path / "first")
    second = recorded(RASPBERRY_PI_4 | {"proc/device-tree/serial-number": "10000000abcdef02\0"}, tmp_path / "second")
    assert host_device(read_host(first), first).identity != host_device(read_host(second), second).identity


@pytest.mark.parametrize("machine_id", ["uninitialized\n", "\n"])
def test_a_machine_id_that_says_nothing_is_not_one(
    machine_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = recorded({"etc/machine-id": machine_id, "proc/device-tree/serial-number": "0000000000000000\0"}, tmp_path)
    before = host_device(read_host(root), root).identity
    monkeypatch.setattr(socket, "gethostname", lambda: "another")
    assert host_device(read_host(root), root).identity != before


def test_the_environment_changes_with_what_is_frozen_and_with_nothing_else(tmp_path: Path) -> None:
    facts = read_host(recorded(X86_LAPTOP, tmp_path))
    profile = RuntimeProfile("onnxruntime", "1.32.0")
    before = host_environment(facts, profile, (1,)).environment_hash
    warm = replace(facts, load_1min=99.0, temperatures_celsius=(90.0,))
    assert host_environment(warm, profile, (1,)).environment_hash == before
    others = {
        host_environment(replace(facts, governors=("performance",)), profile, (1,)).environment_hash,
        host_environment(replace(facts, turbo=False), profile, (1,)).environment_hash,
        host_environment(facts, replace(profile, version="1.33.0"), (1,)).environment_hash,
        host_environment(facts, profile, (0,)).environment_hash,
    }
    assert len(others | {before}) == 5


def test_a_quiet_machine_has_no_findings(tmp_path: Path) -> None:
    assert find_noise(quiet(read_host(recorded(X86_LAPTOP, tmp_path)))) == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"load_1min": 3.0}, "the load is 3.0 on 4 CPUs"),
        ({"governors": ("ondemand", "performance")}, "governor is ondemand, performance"),
        ({"turbo": True}, "turbo is on"),
        ({"hypervisor": "QEMU"}, "virtual machine (QEMU)"),
        ({"cpus_allowed": 1}, "one CPU only"),
    ],
    ids=["load", "governor", "turbo", "hypervisor", "one CPU"],
)
def test_each_disturbance_is_a_finding_with_consequence_and_remedy(
    change: dict[str, object], said: str, tmp_path: Path
) -> None:
    (finding,) = find_noise(replace(quiet(read_host(tmp_path)), **change))
    assert said in finding.what
    assert finding.consequence
    assert finding.remedy


def test_findings_stand_worst_first(tmp_path: Path) -> None:
    facts = replace(read_host(recorded(X86_LAPTOP, tmp_path)), cpus_allowed=8)
    assert [finding.what.split()[1] for finding in find_noise(facts)] == ["load", "CPU", "is"]


# What moves all the time.

MOVING = {
    "proc/meminfo": "MemTotal:        8000000 kB\nMemFree:  1 kB\nMemAvailable:    2000000 kB\n",
    "proc/stat": "cpu  100 20 30 4000 50 6 7 89 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\nintr 5\n",
    "proc/loadavg": "1.25 1.00 0.50 2/500 4321\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "600000\n",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "1500000\n",
    "sys/class/thermal/thermal_zone0/temp": "48199\n",
}


def test_the_conditions_of_a_recorded_machine_are_read_with_their_units(tmp_path: Path) -> None:
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    assert read_conditions(recorded(MOVING, tmp_path)) == {
        "load_1min": 1.25,
        "clocks_mhz": [600.0, 1500.0],
        "temperatures_celsius": [48.199],
        "memory_available_bytes": 2_000_000 * 1024,
        # user, nice, system, irq and softirq; neither idle nor waiting.
        "cpu_busy_s": (100 + 20 + 30 + 6 + 7) / ticks_per_s,
        "cpu_stolen_s": 89 / ticks_per_s,
    }


@pytest.mark.parametrize("stat", ["", "cpu  1 2 3\n", "intr 1 2 3 4 5 6 7 8 9\n"], ids=["empty", "old", "no CPU"])
def test_conditions_that_cannot_be_read_are_none(stat: str, tmp_path: Path) -> None:
    broken = {"proc/stat": stat, "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "<unknown>\n"}
    assert read_conditions(recorded(broken, tmp_path)) == {
        "load_1min": None,
        "clocks_mhz": [],
        "temperatures_celsius": [],
        "memory_available_bytes": None,
        "cpu_busy_s": None,
        "cpu_stolen_s": None,
    }


def test_the_busy_seconds_of_this_machine_only_grow_and_are_json() -> None:
    first, second = read_conditions(), read_conditions()
    assert json.loads(json.dumps(second)) == second
    for name in ("cpu_busy_s", "cpu_stolen_s"):
        before, after = first[name], second[name]
        assert before is None or (isinstance(after, float) and isinstance(before, float) and after >= before)


def test_the_limit_of_memory_is_below_what_there_is_and_unknown_where_that_is(tmp_path: Path) -> None:
    facts = read_host(recorded(MOVING, tmp_path))
    limit = memory_limit_bytes(facts)
    assert limit is not None
    assert 0.8 * 8_000_000 * 1024 < limit < 8_000_000 * 1024
    assert memory_limit_bytes(replace(facts, memory_bytes=None)) is None


def test_the_cache_of_a_core_is_its_second_level_and_none_where_the_kernel_does_not_tell(tmp_path: Path) -> None:
    assert read_host(recorded(X86_VM, tmp_path / "vm")).core_cache_bytes == 1 << 20
    assert read_host(recorded(RASPBERRY_PI_4, tmp_path / "pi")).core_cache_bytes is None


def test_a_zone_that_is_constant_is_no_temperature() -> None:
    with recorded_boards.unpacked(recorded_boards.recorded("nano-r32.7.1-maxn")) as root:
        assert read_conditions(root)["temperatures_celsius"] == [41.0, 36.5, 34.0, 33.0, 35.25]
