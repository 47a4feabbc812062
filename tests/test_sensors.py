"""Power sensors of recorded boards: what is found by name, what is the whole, and what a failed reading is."""

from __future__ import annotations

import errno
import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecost.devices.commands import Answer, RecordedCommands
from edgecost.devices.sensors import find_sensors, open_meter
from edgecost.devices.sensors import nvml as nvml_sensors
from edgecost.devices.sensors import source as sources
from edgecost.devices.sensors.contract import PowerMeterContract
from edgecost.devices.sensors.external import ProgramMeter
from edgecost.devices.sensors.pace import read_cost
from edgecost.devices.sensors.pmic import power_mw
from edgecost.devices.sensors.rails import rail_set
from edgecost.devices.sensors.source import CounterFault
from edgecost.profiler.energy.meter import Counts, Meter
from edgecost.profiler.errors import MeterError, NoMeter, UsageError

NO_PROGRAMS = RecordedCommands({})
RAPL = "sys/class/powercap/intel-rapl:0"
PMIC = """\
   3V7_WL_SW_A current(0)=0.05562000A
   VDD_CORE_A current(7)=5.03652000A
  HDMI_A current(10)=0.01221000A
   3V7_WL_SW_V volt(8)=3.71290000V
   VDD_CORE_V volt(15)=0.89369880V
   HDMI_V volt(18)=5.15120000V
   EXT5V_V volt(24)=5.15258800V
   BATT_V volt(25)=0.00000000V
"""


def tree(root: Path, files: Mapping[str, str]) -> Path:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def nano(root: Path, *, bus: str = "6-0040", device: str = "iio:device0", rails: str = "POM_5V_IN GPU CPU") -> Path:
    folder = f"sys/bus/i2c/drivers/ina3221x/{bus}/{device}"
    names = [name if name.startswith(("POM", "X")) else f"POM_5V_{name}" for name in rails.split()]
    files = {}
    for index, name in enumerate(names):
        files[f"{folder}/rail_name_{index}"] = f"{name}\n"
        files[f"{folder}/in_power{index}_input"] = f"{1600 - 700 * index}\n"
    return tree(root, files)


def hwmon(root: Path, number: int, labels: list[str], *, place: str = "1-0040") -> Path:
    real = f"sys/devices/i2c/{place}/hwmon/hwmon{number}"
    files = {
        f"{real}/name": "ina3221\n",
        f"{real}/update_interval": "7\n",
        f"{real}/in7_label": "sum of shunt voltages\n",
    }
    for channel, label in enumerate(labels, 1):
        files |= {
            f"{real}/in{channel}_label": f"{label}\n", f"{real}/in{channel}_input": "5000\n",
            f"{real}/curr{channel}_input": f"{channel * 100}\n", f"{real}/shunt{channel}_resistor": "5000\n",
        }  # fmt: skip
    tree(root, files)
    link = root / f"sys/class/hwmon/hwmon{number}"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(root / real)
    return root


def rapl(root: Path, *, energy_uj: str = "1000000", most: str | None = "262143328850") -> Path:
    files = {f"{RAPL}/name": "package-0\n", f"{RAPL}/energy_uj": f"{energy_uj}\n"}
    if most is not None:
        files[f"{RAPL}/max_energy_range_uj"] = f"{most}\n"
    return tree(root, files)


def test_a_nano_has_a_whole_and_two_parts_of_it(tmp_path: Path) -> None:
    found = find_sensors(nano(tmp_path), NO_PROGRAMS)
    (whole,) = found.whole
    assert (whole.facts.rail, whole.facts.scope, whole.facts.resolution) == ("POM_5V_IN", "module", 40.0)
    assert whole.open().read() == 1600.0
    assert {one.facts.rail: (one.facts.scope, one.parent) for one in found.sensors if not one.is_whole} == {
        "POM_5V_GPU": ("gpu", "POM_5V_IN"),
        "POM_5V_CPU": ("cpu", "POM_5V_IN"),
    }


@pytest.mark.parametrize(("bus", "device"), [("1-0040", "iio:device3"), ("6-0040", "iio:device0")])
def test_the_number_of_a_bus_or_of_a_device_is_of_no_account(tmp_path: Path, bus: str, device: str) -> None:
    assert find_sensors(nano(tmp_path, bus=bus, device=device), NO_PROGRAMS).whole[0].open().read() == 1600.0


def test_volts_and_amperes_of_one_conversion_are_preferred(tmp_path: Path) -> None:
    root = nano(tmp_path)
    tree(root, {"sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/ui_input_0": "5010 400\n"})
    assert find_sensors(root, NO_PROGRAMS).whole[0].open().read() == 2004.0


def test_a_module_of_an_orin_nano_is_read_through_hwmon_whatever_its_number(tmp_path: Path) -> None:
    found = find_sensors(hwmon(tmp_path, 4, ["VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"]), NO_PROGRAMS)
    (whole,) = found.whole
    assert whole.open().read() == 500.0
    # 40 µV over 5 mΩ are 8 mA, at 5 V 40 mW; two conversions of three channels take twice the update interval.
    assert (whole.facts.resolution, whole.facts.period_s) == (40.0, 0.014)
    assert "sum of shunt voltages" not in [one.facts.rail for one in found.sensors]


def test_an_agx_xavier_takes_what_its_six_rails_take_together(tmp_path: Path) -> None:
    hwmon(tmp_path, 1, ["GPU", "CPU", "SOC"], place="1-0040")
    hwmon(tmp_path, 2, ["CV", "VDDRQ", "SYS5V"], place="1-0041")
    (whole,) = find_sensors(tmp_path, NO_PROGRAMS).whole
    assert whole.open().read() == 2 * (500.0 + 1000.0 + 1500.0)
    assert whole.facts.resolution == 6 * 40.0


def test_an_agx_orin_has_a_rail_that_is_inside_another_and_is_not_added(tmp_path: Path) -> None:
    hwmon(tmp_path, 1, ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"], place="1-0040")
    hwmon(tmp_path, 2, ["NC", "VDDQ_VDD2_1V8AO", "NC"], place="1-0041")
    found = find_sensors(tmp_path, NO_PROGRAMS)
    assert found.whole[0].open().read() == 500.0 + 1000.0 + 1500.0
    assert {one.facts.rail: one.parent for one in found.sensors}["VDDQ_VDD2_1V8AO"] == "VIN_SYS_5V0"


def test_rails_that_nobody_wrote_down_have_no_total(tmp_path: Path) -> None:
    found = find_sensors(nano(tmp_path, rails="XIN XCPU"), NO_PROGRAMS)
    assert found.whole == ()
    assert [one.facts.rail for one in found.sensors] == ["XIN", "XCPU"]
    assert "no total" in found.problems[0].what
    with pytest.raises(NoMeter, match="no total"):
        open_meter(root=tmp_path, commands=NO_PROGRAMS)


def test_a_rail_with_cpu_in_its_name_is_not_the_cpu() -> None:
    known = rail_set(["VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"])
    assert known is not None
    assert known.parts["VDD_CPU_GPU_CV"] == "cpu_gpu_cv"
    assert rail_set(["VDD_IN", "VDD_CPU_GPU_CV"]) is None


def test_packages_are_added_and_psys_and_its_double_are_not(tmp_path: Path) -> None:
    rapl(tmp_path)
    tree(tmp_path, {
        "sys/class/powercap/intel-rapl:1/name": "package-1", "sys/class/powercap/intel-rapl:1/energy_uj": "3000000",
        "sys/class/powercap/intel-rapl:1/max_energy_range_uj": "262143328850",
        "sys/class/powercap/intel-rapl:2/name": "psys", "sys/class/powercap/intel-rapl:2/energy_uj": "9000000",
        f"{RAPL}:0/name": "core", f"{RAPL}:0/energy_uj": "500000",
        "sys/class/powercap/intel-rapl-mmio:0/name": "package-0",
        "sys/class/powercap/intel-rapl-mmio:0/energy_uj": "1000000",
    })  # fmt: skip
    found = find_sensors(tmp_path, NO_PROGRAMS)
    (whole,) = found.whole
    assert whole.facts.counts is Counts.ENERGY
    assert whole.open().read() == 4000.0
    others = {one.facts.name: one.parent for one in found.sensors if not one.is_whole}
    assert others == {"rapl package-0": "", "rapl package-1": "", "rapl psys": "", "rapl package-0 core": "package-0"}


def test_a_counter_that_wraps_goes_on(tmp_path: Path) -> None:
    opened = find_sensors(rapl(tmp_path, energy_uj="9000", most="10000"), NO_PROGRAMS).whole[0].open()
    read = []
    for energy_uj in (9000, 9900, 400, 500):
        rapl(tmp_path, energy_uj=str(energy_uj), most="10000")
        read.append(opened.read())
    assert read == [9.0, 9.9, 10.4, 10.5]


def test_a_counter_that_goes_back_where_nobody_says_where_it_wraps_is_a_fault_and_no_number(tmp_path: Path) -> None:
    opened = find_sensors(rapl(tmp_path, energy_uj="9000", most=None), NO_PROGRAMS).whole[0].open()
    assert opened.read() == 9.0
    rapl(tmp_path, energy_uj="100", most=None)
    with pytest.raises(CounterFault):
        opened.read()


def test_a_counter_that_may_not_be_read_says_so_and_what_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rapl(tmp_path)

    def refused(path: Path, flags: int) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    # Root reads whatever its mode; the tests may run as root.
    monkeypatch.setattr(sources.os, "open", refused)
    found = find_sensors(tmp_path, NO_PROGRAMS)
    assert found.sensors == ()
    assert found.problems[0].permission
    with pytest.raises(MeterError, match="may not be read") as caught:
        open_meter(root=tmp_path, commands=NO_PROGRAMS)
    assert not isinstance(caught.value, NoMeter)
    assert "energy_uj" in caught.value.remedy


def test_the_pmic_pairs_currents_and_voltages_by_name_and_leaves_out_what_has_no_current() -> None:
    expected = 0.05562 * 3.7129 + 5.03652 * 0.8936988 + 0.01221 * 5.1512
    assert power_mw(PMIC) == pytest.approx(expected * 1e3)


@pytest.mark.parametrize("text", ["", "VDD_CORE_V volt(15)=0.89V", PMIC.replace("0.89369880", "nan"), "\0\0"])
def test_a_pmic_that_does_not_say_all_says_nothing(text: str) -> None:
    with pytest.raises(ValueError, match=r"rail"):
        power_mw(text)


def test_a_raspberry_pi_without_it_has_no_sensor_although_the_program_ends_well(tmp_path: Path) -> None:
    answer = Answer('error=1 error_msg="Command not registered"\n', "", 0)
    found = find_sensors(tmp_path, RecordedCommands({("vcgencmd", "pmic_read_adc"): answer}))
    assert (found.sensors, found.problems) == ((), ())
    five = find_sensors(tmp_path, RecordedCommands({("vcgencmd", "pmic_read_adc"): Answer(PMIC, "", 0)}))
    assert (five.whole[0].facts.scope, five.whole[0].facts.disturbs) == ("pmic_sum", True)


def test_who_may_not_ask_the_firmware_is_told_which_group_helps(tmp_path: Path) -> None:
    answer = Answer("", "VCHI initialization failed\n", 255)
    found = find_sensors(tmp_path, RecordedCommands({("vcgencmd", "pmic_read_adc"): answer}))
    assert "VCHI" in found.problems[0].what
    assert "group video" in found.problems[0].remedy


def test_a_chip_that_somebody_added_says_its_shunt_and_is_found_by_name(tmp_path: Path) -> None:
    folder = "sys/class/hwmon/hwmon7"
    tree(
        tmp_path,
        {f"{folder}/name": "ina226\n", f"{folder}/power1_input": "3250000\n", f"{folder}/shunt_resistor": "2000\n"},
    )
    tree(tmp_path, {"sys/class/hwmon/hwmon0/name": "cpu_thermal\n"})
    (whole,) = find_sensors(tmp_path, NO_PROGRAMS).whole
    assert whole.open().read() == 3250.0
    assert "2000 µΩ" in whole.facts.note
    # 25 steps of 2.5 µV over 2 mΩ, as the driver calls a step of power.
    assert whole.facts.resolution == 31.25


@pytest.mark.parametrize(
    ("chip", "shunt_uohm", "step_mw"),
    [("ina219", "100000\n", 2.0), ("ina230", "10000\n", 6.25), ("ina260", None, 10.0), ("ina226", None, None)],
)
def test_a_step_of_an_added_chip_hangs_on_its_shunt(
    tmp_path: Path, chip: str, shunt_uohm: str | None, step_mw: float | None
) -> None:
    folder = "sys/class/hwmon/hwmon7"
    files = {f"{folder}/name": f"{chip}\n", f"{folder}/power1_input": "3250000\n"}
    tree(tmp_path, files | ({} if shunt_uohm is None else {f"{folder}/shunt_resistor": shunt_uohm}))
    assert find_sensors(tmp_path, NO_PROGRAMS).whole[0].facts.resolution == step_mw


def test_a_sensor_is_the_same_one_whatever_its_supply_stands_at_today(tmp_path: Path) -> None:
    hashes = set()
    for millivolts in (4976, 5000, 5024):
        root = hwmon(tmp_path / str(millivolts), 4, ["VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"])
        for channel in (1, 2, 3):
            tree(root, {f"sys/devices/i2c/1-0040/hwmon/hwmon4/in{channel}_input": f"{millivolts}\n"})
        hashes |= {find_sensors(root, NO_PROGRAMS).whole[0].facts.sensor().sensor_hash}
    assert len(hashes) == 1


def test_a_step_of_rapl_is_its_range_by_the_values_of_32_bits(tmp_path: Path) -> None:
    assert find_sensors(rapl(tmp_path / "a"), NO_PROGRAMS).whole[0].facts.resolution == 0.061
    assert find_sensors(rapl(tmp_path / "b", most=None), NO_PROGRAMS).whole[0].facts.resolution is None


@settings(deadline=None, max_examples=80)
@given(garbage=st.sampled_from([b"", b"\0\0\0", b"1600 mW", b"nan", b"0x10", b"1.5", b"16\n17", b"\xff", b"--3"]))
def test_what_is_no_number_is_a_failure_and_never_a_power(
    tmp_path_factory: pytest.TempPathFactory, garbage: bytes
) -> None:
    root = nano(tmp_path_factory.mktemp("board"))
    opened = find_sensors(root, NO_PROGRAMS).whole[0].open()
    path = root / "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power0_input"
    path.write_bytes(garbage)
    with pytest.raises(ValueError, match="no number"):
        opened.read()


def test_a_sensor_that_gives_nothing_is_no_meter(tmp_path: Path) -> None:
    root = nano(tmp_path)
    (root / "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power0_input").write_text("")
    with pytest.raises(MeterError, match="gives no reading"):
        open_meter(root=root, commands=NO_PROGRAMS)
    assert read_cost(find_sensors(root, NO_PROGRAMS).whole[0].open()).median_ms is None


def program(text: str) -> str:
    return shlex.join([sys.executable, "-u", "-c", text])


STEADY = """
import time
n = 0
while True:
    print(f"{1000 + n * 0.02:.3f},{2.5 + n % 2}", flush=True)
    n += 1
    time.sleep(0.02)
"""


class TestAProgramThatPrintsReadings(PowerMeterContract):
    """Any meter, in any language."""

    def make_meter(self) -> Meter:
        return open_meter("exec:" + program(STEADY))


class TestASensorOfTheKernel(PowerMeterContract):
    """A recorded Nano."""

    @pytest.fixture(autouse=True)
    def _board(self, tmp_path: Path) -> None:
        self.root = nano(tmp_path)

    def make_meter(self) -> Meter:
        return open_meter(root=self.root, commands=NO_PROGRAMS)


def test_lines_that_are_none_are_failures() -> None:
    text = STEADY.replace("    n += 1\n", "    n += 1\n    if n % 3 == 0: print('t,watts', flush=True)\n")
    meter = ProgramMeter(program(text))
    with meter.recording() as recording:
        while len(recording.trace().times_ns) < 12:
            time.sleep(0.01)
        trace = recording.trace()
    assert set(trace.values) == {2500.0, 3500.0}
    assert trace.failures_ns


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (program("print('hello')"), "0 readings and 1 lines that are none"),
        (program("raise SystemExit(1)"), "0 readings"),
        ("edgecost-no-such-program", "cannot be started"),
    ],
)
def test_a_program_that_is_no_meter_says_why(command: str, said: str) -> None:
    with pytest.raises(MeterError, match=said):
        ProgramMeter(command)


def test_a_name_that_is_none_names_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        open_meter("ina", root=nano(tmp_path), commands=NO_PROGRAMS)
    assert "ina3221x 6-0040 POM_5V_IN" in caught.value.remedy
    with pytest.raises(UsageError, match="no program"):
        open_meter("exec:")


class LittleNvml:
    """As much of NVIDIA's library as is used, for a machine without one."""

    class NVMLError(Exception):
        """What the library raises."""

    def __init__(self, energies: list[int | None]) -> None:
        self.energies = energies

    def nvmlInit(self) -> None:  # noqa: N802
        if not self.energies:
            raise self.NVMLError("Driver Not Loaded")

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.energies)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> object:  # noqa: N802
        return index

    def nvmlDeviceGetName(self, handle: object) -> bytes:  # noqa: N802
        return b"NVIDIA H200"

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: object) -> int:  # noqa: N802
        assert isinstance(handle, int)
        found = self.energies[handle]
        if found is None:
            raise self.NVMLError("Not Supported")
        return found


def test_a_gpu_is_the_whole_where_it_is_the_only_one() -> None:
    found, problems = nvml_sensors.find(LittleNvml([5000]))
    assert ([one.is_whole for one in found], problems) == ([True], [])
    assert found[0].open().read() == 5000.0
    two, problems = nvml_sensors.find(LittleNvml([5000, None]))
    assert [one.is_whole for one in two] == [False]
    assert "Not Supported" in problems[0].what
    assert "Driver Not Loaded" in nvml_sensors.find(LittleNvml([]))[1][0].what
