"""What a group of measurements is given and gives back: tasks, the stage they run on, who listens, where time went."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from .measurement_id import new_measurement_id
from .records import Environment, Json, Measurement, RuntimeProfile, Visit
from .watching import Watch
from .workload import Workload


@dataclass(frozen=True)
class Task:
    """A workload to be measured: the identity of the attempt is made before its first run.

    Attributes:
        is_last_attempt: whether a rejected attempt would be the end of it; then what little it says is kept.
        is_last_when_late: whether it would be when the group's time is up, since that is all the time there is.
    """

    workload: Workload
    purpose: str
    measurement_id: str = field(default_factory=new_measurement_id)
    is_last_attempt: bool = False
    is_last_when_late: bool = False


class Listener(Protocol):
    """What happens during a group, as it happens."""

    def visited(self, visits: Sequence[tuple[Task, Visit]]) -> None:
        """A round's visits were judged; they should survive the death of this process from here on."""

    def finished(self, task: Task, measurement: Measurement) -> None:
        """An attempt is over."""


class Gathered:
    """A listener that keeps every measurement, in the order in which they end."""

    def __init__(self) -> None:
        self.measurements: list[Measurement] = []

    def visited(self, visits: Sequence[tuple[Task, Visit]]) -> None:
        """The measurement brings its visits; nothing is kept in between."""

    def finished(self, task: Task, measurement: Measurement) -> None:
        self.measurements.append(measurement)


@dataclass(frozen=True)
class Stage:
    """What a measurement stands on, the same for every workload of a group.

    Attributes:
        environment: as it was when the stage was set.
        cpus: those that the runner is pinned to; none leaves that to the operating system.
        read_environment: the environment as it is now; a group in which it changed is rejected. None never looks.
        read_conditions: what moves all the time (load, clock, temperature): kept beside the measurement, not judged.
        quiet_canary_ns: what the canary took in earlier, quiet sessions of this device; None where that is not known.
        watch: what sees faults of the device while it measures; None where nothing does.
        is_unwanted: whether nobody waits for an attempt any more, by its measurement id; asked between rounds.
    """

    profile: RuntimeProfile
    environment: Environment
    device_identity: str
    cpus: tuple[int, ...] = ()
    read_environment: Callable[[], Environment] | None = field(default=None, compare=False)
    read_conditions: Callable[[], Mapping[str, Json]] | None = field(default=None, compare=False)
    quiet_canary_ns: float | None = field(default=None, compare=False)
    is_unwanted: Callable[[str], bool] | None = field(default=None, compare=False)
    watch: Watch | None = field(default=None, compare=False)


@dataclass
class GroupTimes:
    """Seconds that a group took, and where they went."""

    total_s: float = 0.0
    warmup_s: float = 0.0
    measuring_s: float = 0.0

    @property
    def outside_share(self) -> float | None:
        """Share of the time spent neither warming up nor measuring; None where a device's clock is not this one's."""
        if not self.total_s or self.warmup_s + self.measuring_s > self.total_s:
            return None
        return 1.0 - (self.warmup_s + self.measuring_s) / self.total_s
