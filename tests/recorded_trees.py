"""Small trees of /sys and /proc as boards have them, written into a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgecost.devices.commands import Answer

ORIN: dict[str, str] = {
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    "sys/class/hwmon/hwmon3/name": "soctherm_oc",
    "sys/class/hwmon/hwmon3/oc1_event_cnt": "0",
    "sys/class/hwmon/hwmon3/oc3_event_cnt": "41",
    "sys/class/thermal/cooling_device0/type": "pwm-fan",
    "sys/class/thermal/cooling_device0/cur_state": "2",
    "sys/class/thermal/cooling_device1/type": "cpu-throttle-alert",
    "sys/class/thermal/cooling_device1/cur_state": "0",
    "sys/class/thermal/thermal_zone0/type": "AO-therm",
    "sys/class/thermal/thermal_zone0/temp": "41500",
    "sys/class/thermal/thermal_zone1/type": "PMIC-Die",
    "sys/class/thermal/thermal_zone1/temp": "100000",
    "sys/class/devfreq/17000000.ga10b/cur_freq": "624750000",
    "sys/class/devfreq/17000000.ga10b/min_freq": "624750000",
    "sys/class/devfreq/17000000.ga10b/max_freq": "624750000",
    "sys/class/devfreq/17000000.ga10b/governor": "nvhost_podgov",
}
NANO: dict[str, str] = {
    "proc/device-tree/model": "NVIDIA Jetson Nano Developer Kit\0",
    "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=5W >\n< PM_CONFIG DEFAULT=0 >",
    "var/lib/nvpmodel/status": "pmode:0000",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_0": "POM_5V_IN",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_voltage0_input": "4984",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_1": "POM_5V_GPU",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_voltage1_input": "12",
    "sys/devices/system/cpu/cpu2/online": "1",
    "sys/devices/system/cpu/cpu0/cpuidle/state1/disable": "0",
    "sys/devices/system/cpu/cpufreq/policy0/affected_cpus": "0 1 2 3",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_available_governors": "interactive performance schedutil",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "825600",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq": "1479000",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_min_freq": "102000",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_governor": "schedutil",
    "sys/class/devfreq/57000000.gpu/min_freq": "76800000",
    "sys/class/devfreq/57000000.gpu/max_freq": "921600000",
    "proc/sys/kernel/random/boot_id": "11111111-aaaa",
}
#: One whose device tree says what it is made of.
TEGRA: dict[str, str] = {**NANO, "proc/device-tree/compatible": "nvidia,p3450-0000\0nvidia,tegra210\0"}
PI: dict[str, str] = {
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    "sys/class/hwmon/hwmon2/name": "rpi_volt",
    "sys/class/hwmon/hwmon2/in0_lcrit_alarm": "0",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
    "sys/class/thermal/thermal_zone0/temp": "52300",
}
X86: dict[str, str] = {
    "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "7",
    "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count": "9",
    "sys/class/thermal/cooling_device0/type": "intel_powerclamp",
    "sys/class/thermal/cooling_device0/cur_state": "-1",
    "sys/class/thermal/cooling_device1/type": "LCD",
    "sys/class/thermal/cooling_device1/cur_state": "40",
}


def grow(root: Path, files: Mapping[str, str]) -> Path:
    """Write the files; those that are there already are changed."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def contents(root: Path, files: Mapping[str, str]) -> dict[str, str]:
    """What the files hold now, without the ends of lines."""
    return {name: (root / name).read_text().strip("\n") for name in files if (root / name).exists()}


class Firmware:
    """A Raspberry Pi's answers, which change from look to look."""

    def __init__(self, bits: int | None = 0, supply_v: str = "5.1") -> None:
        self.bits = bits
        self.supply_v = supply_v

    def run(self, argv: Sequence[str], timeout_s: float = 5.0) -> Answer | None:
        del timeout_s
        if tuple(argv) == ("vcgencmd", "get_throttled"):
            return None if self.bits is None else Answer(f"throttled=0x{self.bits:x}\n", "", 0)
        if tuple(argv) == ("vcgencmd", "pmic_read_adc"):
            return Answer(f"   VDD_CORE_A current(7)=1.2A\n     EXT5V_V volt(24)={self.supply_v}V\n", "", 0)
        return None


class JetsonPrograms:
    """nvpmodel and jetson_clocks, as they change a recorded Nano."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.fails = False

    def run(self, argv: Sequence[str], timeout_s: float = 5.0) -> Answer | None:
        del timeout_s
        if self.fails:
            return Answer("", "Error opening /sys: Permission denied", 1)
        policy = "sys/devices/system/cpu/cpufreq/policy0"
        if tuple(argv[:2]) == ("nvpmodel", "-m"):
            is_5w = argv[2] == "1"
            grow(
                self.root,
                {
                    "var/lib/nvpmodel/status": f"pmode:000{argv[2]}",
                    "sys/devices/system/cpu/cpu2/online": "0" if is_5w else "1",
                    f"{policy}/scaling_max_freq": "918000" if is_5w else "1479000",
                    "sys/class/devfreq/57000000.gpu/max_freq": "640000000" if is_5w else "921600000",
                },
            )
        elif tuple(argv) == ("jetson_clocks",):
            grow(
                self.root,
                {
                    f"{policy}/scaling_min_freq": (self.root / policy / "scaling_max_freq").read_text().strip(),
                    "sys/devices/system/cpu/cpu0/cpuidle/state1/disable": "1",
                    "sys/class/devfreq/57000000.gpu/min_freq": "921600000",
                },
            )
        else:
            return None
        return Answer("", "", 0)
