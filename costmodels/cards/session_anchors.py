"""Anchors at the beginning of a campaign's session: is the device what it was when the store's first numbers were made?

Measurements of one store are used together, whatever day they are of. So a campaign that has something to measure, and
finds measurements of an earlier session, first measures a few of those again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ...db import Store
from ...profiler.records import Json, Measurement
from ..local_setting import LocalSetting
from ..planned_campaign import Narrator
from .anchors import SESSIONS, SHORTEST_MS, Anchor, AnchorReading, AnchorVerdict, judge_anchors, measure_anchors

#: Anchors of a session: a median of six shrugs off two that fell into a bad moment, and they take about a second.
ANCHORS = 6
#: Measurements they are chosen from: the oldest, which stay the oldest, so that all sessions have the same anchors.
_OLDEST = 200
_PURPOSES = ("kernel", "cell")
#: Of the interval within its session; wider ones were disturbed.
_SPREAD_MAX = 0.03


@dataclass(frozen=True)
class SessionCheck:
    """What the anchors said at the beginning of a session.

    Attributes:
        since: when the oldest of them was measured first.
    """

    verdict: AnchorVerdict
    readings: tuple[AnchorReading, ...]
    since: str

    def document(self) -> dict[str, Json]:
        """As JSON."""
        told = self.verdict
        return {
            "since": self.since,
            **asdict(told),
            "kinds": dict(told.kinds),
            "anchors": [
                {"name": one.anchor.name, "then_ms": one.anchor.latency_ms, "now_ms": one.latency_ms}
                for one in self.readings
            ],
        }


def check_session(store: Store, setting: LocalSetting, narrator: Narrator) -> SessionCheck | None:
    """Measure the session's anchors and tell the narrator what they say; None where the store has too few for any.

    Anchors that seem to have drifted are measured in more processes before it is said.
    """
    first = _first_measurements(store, setting)
    if len(first) < ANCHORS:
        return None
    anchors = [_anchor(store, one) for one in first]
    readings, _ = measure_anchors(store, setting, narrator, anchors, sessions=1)
    verdict = judge_anchors(readings, None)
    if verdict.verdict != "holds":
        readings, _ = measure_anchors(store, setting, narrator, anchors, sessions=SESSIONS - 1)
        verdict = judge_anchors(readings, None)
    found = SessionCheck(verdict, tuple(readings), min(one.started_at for one in first))
    narrator.note(_told(found))
    return found


def _first_measurements(store: Store, setting: LocalSetting) -> list[Measurement]:
    """Of the oldest that are long and steady enough, the middles of equal parts by latency; all where they are few."""
    made = store.measurements(
        device_identity=setting.device.identity, profile_hash=setting.profile.profile_hash, purposes=_PURPOSES
    )
    oldest: dict[str, Measurement] = {}
    for one in made:
        steady = one.latency is not None and one.latency.relative_half_width <= _SPREAD_MAX
        if steady and one.net_ms is not None and one.net_ms >= SHORTEST_MS and len(oldest) < _OLDEST:
            oldest.setdefault(one.graph_hash, one)
    ordered = sorted(oldest.values(), key=lambda one: (one.net_ms or 0.0, one.graph_hash))
    if len(ordered) < ANCHORS:
        return ordered
    return [ordered[int((part + 0.5) * len(ordered) / ANCHORS)] for part in range(ANCHORS)]


def _anchor(store: Store, one: Measurement) -> Anchor:
    workload = store.workload(one.graph_hash)
    name = one.graph_hash[:12] if workload is None else workload.name
    return Anchor(one.graph_hash, name, one.purpose, one.purpose, one.net_ms or 0.0)


def _told(found: SessionCheck) -> str:
    """A line for people."""
    verdict, day = found.verdict, found.since[:10]
    if verdict.change is None:
        return "anchors: too few gave a number; whether the device is what it was is not known"
    change = f"{abs(verdict.change):.1%} {'slower' if verdict.change > 0 else 'faster'}".replace("%", " %")
    limit = f"{verdict.limit:.1%}".replace("%", " %")
    if verdict.verdict == "holds":
        return f"anchors: {change} than on {day}, within the {limit} that two sessions differ by"
    return (
        f"anchors: the device is {change} than on {day}, beyond the {limit} that two sessions differ by: what is"
        " measured now does not go with what this database holds. Let nothing else run, see"
        " docs/how-to/quieter-measurements.md, or measure into another database: --db"
    )
