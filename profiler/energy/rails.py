"""Rails beside the whole: the same windows, as each rail's own readings have them. Nothing here is ever added up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ..readings import Energy
from ..records import Json, Sensor
from .estimate import estimate
from .meter import Meter, MeterFacts, Recording
from .trace import Trace
from .windows import EnergySettings, Span, Window, judge


@runtime_checkable
class RailedMeter(Protocol):
    """What a ``Meter`` has too that reads single rails beside the whole."""

    @property
    def rails(self) -> tuple[MeterFacts, ...]:
        """Of each rail, the same during a session; no two have one name (``MeterFacts.rail``)."""


@runtime_checkable
class RailedRecording(Protocol):
    """What the ``Recording`` of such a meter has too."""

    def rail_traces(self) -> tuple[Trace, ...]:
        """As ``Recording.trace``, for each of the meter's rails."""


@dataclass(frozen=True)
class RailSession:
    """What one rail took in the windows of a session."""

    facts: MeterFacts
    energy: Energy
    windows: tuple[Window, ...]

    def document(self) -> dict[str, Json]:
        """As JSON: what includes the rail, and its windows."""
        return {"parent": self.facts.parent, "windows": [window.document() for window in self.windows]}


def rails_of(meter: Meter) -> tuple[MeterFacts, ...]:
    """The rails that a meter reads beside the whole."""
    return meter.rails if isinstance(meter, RailedMeter) else ()


def sensors_of(meter: Meter) -> list[Sensor]:
    """What energies of this meter refer to: the whole first, then the rails."""
    return [facts.sensor() for facts in (meter.facts, *rails_of(meter))]


def judge_rails(
    recording: Recording,
    rails: Sequence[MeterFacts],
    spans: Iterable[tuple[Span, Span, Span]],
    windows: Sequence[Window],
    settings: EnergySettings,
    overheads_mj: Mapping[str, float | None],
) -> tuple[RailSession, ...]:
    """The energy of each rail over the windows of the whole. A window that does not count there counts nowhere.

    Args:
        spans: of each window: the rest before, the active time, the rest after.
        overheads_mj: by rail, of a run of an empty graph.
    """
    if not rails or not isinstance(recording, RailedRecording):
        return ()
    placed = list(zip(spans, windows, strict=True))
    found = []
    for facts, trace in zip(rails, recording.rail_traces(), strict=True):
        own = tuple(_window(trace, facts, times, whole, settings) for times, whole in placed)
        energy = estimate(own, facts, settings, overhead_mj=overheads_mj.get(facts.rail))
        found.append(RailSession(facts, energy, own))
    return tuple(found)


def _window(
    trace: Trace, facts: MeterFacts, times: tuple[Span, Span, Span], whole: Window, settings: EnergySettings
) -> Window:
    before, active, after = times
    if whole.reason:
        return Window(active.runs, active.seconds, None, None, whole.reason)
    return judge(trace, facts, before, active, after, settings, lambda _: "")
