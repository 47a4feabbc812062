"""What `doctor` says of a board, as data: identity, runtimes, power meters, guards, and what to mend.

A board that was recorded is told of in the same way; what only the board itself could tell is said not to be asked.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ...profiler.importing import ImportedRuntime, import_runtime
from ...profiler.records import Json
from ..commands import Commands, HostCommands
from ..guards.coverage import Guard, coverage
from ..guards.found import find_sources
from ..guards.nvidia import find_gpus
from ..guards.snapshot import look
from ..host import Finding, HostFacts, find_noise, read_host
from ..sensors import FoundSensors, find_sensors
from ..sensors.source import Problem
from ..sensors.survey import SurveyedSensor, survey
from .advice import Advice, advice, counted
from .board import BoardIdentity
from .identity import identify
from .known_bad import KnownBad, known_bad, no_runtime
from .reading import text_of
from .wheels import is_of_glibc, wheel_lines

#: Runtimes that are asked for.
RUNTIMES = ("onnxruntime", "tvm")
_HERE = Path("/")


@dataclass(frozen=True)
class BoardReport:
    """Everything that can be said of a board before anything is measured.

    Attributes:
        cpus_offline: as the kernel writes a set of them; None where all are on.
        runtimes: what became of importing each; None where nobody was asked, since this is a recording.
        versions: of runtimes, that fail on such a board.
        wheels: which versions pip would take, in lines.
        unusable: why no runtime can be had at all.
        meters: power meters, those of the whole first.
        no_energy: ``unavailable`` or ``unsupported`` and why, where there is no energy of the whole; else empty.
        findings: what makes numbers noisy on any machine; ``advice`` is of this kind of board.
    """

    board: BoardIdentity
    machine: str
    cpus_offline: str | None
    runtimes: tuple[ImportedRuntime, ...] | None
    versions: tuple[KnownBad, ...]
    wheels: tuple[str, ...]
    unusable: str | None
    meters: tuple[SurveyedSensor, ...]
    meter_problems: tuple[Advice, ...]
    no_energy: str
    guards: tuple[Guard, ...]
    advice: tuple[Advice, ...]
    findings: tuple[Finding, ...]

    @property
    def is_recording(self) -> bool:
        """Whether the board is not here, so that only what it wrote of itself is known."""
        return self.runtimes is None

    @property
    def whole_meters(self) -> tuple[str, ...]:
        """Power meters that say what the device takes as a whole, in order of preference."""
        return tuple(one.facts.name for one in self.meters if one.is_whole)

    def document(self) -> Mapping[str, Json]:
        """As JSON."""
        return {
            **self.board.document(),
            "machine": self.machine,
            "cpus_offline": self.cpus_offline,
            "runtimes": None if self.runtimes is None else [dict(one.document()) for one in self.runtimes],
            "known_bad_versions": [asdict(one) for one in self.versions],
            "wheels": list(self.wheels),
            "unusable": self.unusable,
            "whole_meters": list(self.whole_meters),
            "other_meters": [one.facts.name for one in self.meters if not one.is_whole],
            "meter_problems": [asdict(one) for one in self.meter_problems],
            "no_energy": self.no_energy or None,
            "guards": [dict(one.document()) for one in self.guards],
            "advice": [asdict(one) for one in self.advice],
        }


def report_board(
    root: Path = _HERE,
    commands: Commands | None = None,
    machine: str | None = None,
    facts: HostFacts | None = None,
) -> BoardReport:
    """Look at a board.

    Args:
        root, commands, machine: those of a recorded one; with another root nothing is timed, and nobody is asked which
            runtimes are installed.
        facts: what is known of this machine already; None to look.
    """
    is_here, asked, architecture = root == _HERE, commands or HostCommands(), machine or platform.machine()
    board, sensors = identify(root, asked), find_sensors(root, asked)
    facts = facts or read_host(root)
    if not is_here:
        facts = replace(facts, cpus_allowed=_cpus_online(root) or facts.cpus_allowed)
    meters, problems = survey(sensors, is_timed=is_here)
    sources = find_sources(root, asked, find_gpus() if is_here else None)
    has_gpu = board.kind == "jetson" or bool(board.gpus)
    return BoardReport(
        board=board,
        machine=architecture,
        cpus_offline=text_of(root / "sys/devices/system/cpu/offline"),
        runtimes=tuple(import_runtime(name) for name in RUNTIMES) if is_here else None,
        versions=known_bad(board, architecture),
        wheels=tuple(
            wheel_lines(board, architecture, sys.version_info[:2], is_glibc=is_of_glibc())
            if is_here
            else wheel_lines(board, architecture, None)
        ),
        unusable=no_runtime(architecture),
        meters=tuple(meters),
        meter_problems=(*_by_remedy(problems), *_of_gpus(board, sensors, is_here=is_here)),
        no_energy="" if sensors.whole else _why_no_energy(board, facts, sensors, is_here=is_here),
        guards=coverage(sources, board.kind, look(sources, asked) if is_here else None, has_gpu=has_gpu),
        advice=(*advice(root, board, asked), *counted(sources)),
        # A Jetson's governor does not matter where its clocks are locked, and that is what its own advice is about.
        findings=tuple(one for one in find_noise(facts) if board.kind != "jetson" or "governor" not in one.what),
    )


def _cpus_online(root: Path) -> int | None:
    """How many CPUs are on, from a set such as ``0-1,4``; None where the kernel does not say."""
    spans = [span.partition("-") for span in (text_of(root / "sys/devices/system/cpu/online") or "").split(",") if span]
    if not spans or not all(first.isdecimal() and (not dash or last.isdecimal()) for first, dash, last in spans):
        return None
    return sum(int(last or first) - int(first) + 1 for first, _, last in spans)


def _by_remedy(problems: tuple[Problem, ...]) -> tuple[Advice, ...]:
    """Problems that the same thing helps against, as one."""
    remedies = list(dict.fromkeys(one.remedy for one in problems))
    return tuple(Advice("; ".join(one.what for one in problems if one.remedy == each), each) for each in remedies)


def _of_gpus(board: BoardIdentity, sensors: FoundSensors, *, is_here: bool) -> tuple[Advice, ...]:
    """A GPU's own counter of energy is asked by NVML, which a recording has not."""
    if not board.gpus or any(one.facts.driver == "nvml" for one in sensors.sensors):
        return ()
    if not is_here:
        return (Advice("the GPU's own counter of energy is not asked, since this is a recording", ""),)
    if any("NVML" in one.what or "GPU" in one.what for one in sensors.problems):
        return ()
    return (Advice("the GPU's own counter of energy is not asked", "pip install nvidia-ml-py"),)


def _why_no_energy(board: BoardIdentity, facts: HostFacts, sensors: FoundSensors, *, is_here: bool) -> str:
    if board.gpus and not is_here:
        return ""
    if any(one.permission for one in sensors.problems):
        return "unavailable: there is a meter, and this user may not read it"
    return f"unsupported: {_why_unsupported(board, facts, sensors)}"


def _why_unsupported(board: BoardIdentity, facts: HostFacts, sensors: FoundSensors) -> str:
    if sensors.sensors:
        return "which rails make up the whole is not known"
    if board.kind == "raspberry-pi":
        if board.soc == "BCM2712":
            return "the power chip of a Raspberry Pi 5 is asked by vcgencmd pmic_read_adc, which does not answer"
        return "a Raspberry Pi before the 5 has no power sensor, and volts alone are no power"
    if board.kind == "jetson" and board.module == "p3448-0003":
        return "a Jetson Nano of 2 GB has no INA3221"
    if board.kind == "jetson":
        return "no INA3221 was found, and nobody has told us this board's rails: edgecost record-board helps"
    if facts.hypervisor:
        return "a virtual machine is not told what it takes"
    return "neither RAPL nor a power chip was found"
