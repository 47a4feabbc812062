"""Anchors: a few of the graphs that a predictor was trained on, measured again to see whether the device still is what
it was.

They are chosen at training, always the same ones from the same data, and kept in the model card with their latency.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ...db import Store
from ...db.campaigns import MAX_ATTEMPTS
from ...profiler.protocol import KERNELS, Settings
from ...profiler.records import Measurement
from ...profiler.workload import Workload
from ..campaign import Planned
from ..dataset import Sample
from ..local_setting import LocalSetting
from ..planned_campaign import Narrator, measure_planned

PURPOSE = "anchor"
#: Kinds of kernel that have anchors, and anchors of each: of one anchor alone nobody could say whether its kind has
#: become slower or its process was unlucky, and eight are measured in seconds.
KINDS, OF_EACH = 4, 2
#: An anchor takes at least this long: of 1,400 kernels measured in two sessions on one machine, those above 0.02 ms
#: agreed within 5.5 % nine times of ten, those below 0.01 ms within 10 % only.
SHORTEST_MS = 0.02
#: Of the interval within its session; wider ones were disturbed, and disturb what is compared with them.
_SPREAD_MAX = 0.03
#: Within this two sessions of an anchor agree nine times of ten; used where the training data have no repetitions.
USUAL_RADIUS = 0.055
#: Processes that measure the anchors: of three, one that fell into a bad minute does not move the median.
SESSIONS = 3


@dataclass(frozen=True)
class Anchor:
    """A graph of the training data that is measured again.

    Attributes:
        kind: of the kernel that takes most of it.
        purpose: under which it was measured for the training.
        latency_ms: what it took then, net.
    """

    graph_hash: str
    name: str
    kind: str
    purpose: str
    latency_ms: float


@dataclass(frozen=True)
class AnchorReading:
    """An anchor then and now; ``latency_ms`` is None where it gave no number."""

    anchor: Anchor
    latency_ms: float | None

    @property
    def change(self) -> float | None:
        """Natural logarithm of now over then."""
        return None if self.latency_ms is None else math.log(self.latency_ms / self.anchor.latency_ms)


@dataclass(frozen=True)
class AnchorVerdict:
    """What the anchors say.

    Attributes:
        verdict: ``holds``, ``all`` (all have drifted together), ``kind`` (some kinds have), or ``unknown`` (too few
            gave a number).
        change: median relative change of all of them, 0.1 is 10 % slower; None when unknown.
        kinds: relative change of each kind that has drifted by itself.
        limit: relative change up to which two sessions of one machine differ nine times of ten.
    """

    verdict: Literal["holds", "all", "kind", "unknown"]
    change: float | None
    kinds: Mapping[str, float]
    limit: float


def choose_anchors(samples: Sequence[Sample], kinds: Sequence[str], purposes: Sequence[str]) -> tuple[Anchor, ...]:
    """A few samples, spread over the commonest kinds and, within each, over sizes. Equal data give equal anchors.

    Args:
        kinds: of each sample, the kind that takes most of it.
        purposes: of each sample.
    """
    groups: dict[str, list[tuple[float, str, int]]] = defaultdict(list)
    for place, (sample, kind) in enumerate(zip(samples, kinds, strict=True)):
        spread = (sample.hi_ms - sample.lo_ms) / 2 / sample.latency_ms
        if sample.latency_ms >= SHORTEST_MS and spread <= _SPREAD_MAX:
            groups[kind].append((sample.latency_ms, sample.workload.graph_hash, place))
    ranked = sorted(groups, key=lambda kind: (-len(groups[kind]), kind))[:KINDS]
    places_of = _places({kind: len(groups[kind]) for kind in ranked})
    chosen = []
    for kind, each in places_of.items():
        ordered = sorted(groups[kind])
        # The middles of equal parts: the extremes are the least usual.
        chosen += [ordered[int((part + 0.5) * len(ordered) / each)][2] for part in range(each)]
    return tuple(
        Anchor(
            graph_hash=samples[place].workload.graph_hash,
            name=samples[place].workload.name,
            kind=kinds[place],
            purpose=purposes[place],
            latency_ms=samples[place].latency_ms,
        )
        for place in chosen
    )


def _places(candidates: Mapping[str, int]) -> dict[str, int]:
    """Anchors by kind: as evenly as there are candidates, the commoner kinds first."""
    places = dict.fromkeys(candidates, 0)
    while sum(places.values()) < min(KINDS * OF_EACH, sum(candidates.values())):
        places[min((kind for kind in places if places[kind] < candidates[kind]), key=places.__getitem__)] += 1
    return places


def measure_anchors(
    store: Store, setting: LocalSetting, narrator: Narrator, anchors: Sequence[Anchor], *, sessions: int = SESSIONS
) -> tuple[list[AnchorReading], list[str]]:
    """Measure the anchors now, each in so many processes; the readings, and the hashes that the store does not know."""
    known: dict[str, Workload] = {}
    for anchor in anchors:
        workload = store.workload(anchor.graph_hash)
        if workload is not None:
            known[anchor.graph_hash] = workload
    before = {m.measurement_id for m in _made(store, setting, known)}
    rounds = _rounds(store, setting, known)
    for session in range(sessions):
        for is_kernel, settings in ((True, KERNELS), (False, Settings())):
            wanted = [
                Planned(known[a.graph_hash], PURPOSE, a.name, round=rounds[a.graph_hash] + session)
                for a in anchors
                if a.graph_hash in known and (a.purpose in ("kernel", "repeated")) == is_kernel
            ]
            if wanted:
                title = f"measuring anchors, process {session + 1} of {sessions}"
                seeded = replace(settings, seed=session)
                measure_planned(store, setting, "anchors", PURPOSE, wanted, narrator, title, settings=seeded)
    now: dict[str, list[float]] = defaultdict(list)
    for measurement in _made(store, setting, known):
        if measurement.measurement_id not in before and measurement.net_ms is not None:
            now[measurement.graph_hash].append(measurement.net_ms)
    readings = [
        AnchorReading(a, statistics.median(now[a.graph_hash]) if now[a.graph_hash] else None)
        for a in anchors
        if a.graph_hash in known
    ]
    return readings, [a.graph_hash for a in anchors if a.graph_hash not in known]


def judge_anchors(readings: Sequence[AnchorReading], radius: float | None) -> AnchorVerdict:
    """Whether the anchors hold.

    All have drifted when their median change is beyond what two sessions of one machine differ by; one kind has when
    all its anchors are, in one direction, and there are at least two.

    Args:
        radius: relative difference that nine of ten repetitions stay within; None where that was not measured.
    """
    limit = USUAL_RADIUS if radius is None else max(radius, USUAL_RADIUS)
    known = [(r.anchor.kind, r.change) for r in readings if r.change is not None]
    changes = [change for _, change in known if change is not None]
    if len(changes) < max(2, len(readings) / 2):
        return AnchorVerdict("unknown", None, {}, limit)
    middle = statistics.median(changes)
    by_kind: dict[str, list[float]] = defaultdict(list)
    for kind, change in known:
        assert change is not None
        by_kind[kind].append(change)
    bound = math.log1p(limit)
    drifted = {
        kind: math.expm1(statistics.median(values))
        for kind, values in by_kind.items()
        if len(values) >= OF_EACH and (min(values) > bound or max(values) < -bound)
    }
    if abs(middle) > bound:
        return AnchorVerdict("all", math.expm1(middle), drifted, limit)
    return AnchorVerdict("kind" if drifted else "holds", math.expm1(middle), drifted, limit)


def _rounds(store: Store, setting: LocalSetting, known: Mapping[str, Workload]) -> dict[str, int]:
    """By graph, the round that asks for one more: a job that was given up is followed by a new one, too."""
    every = store.measurements(
        device_identity=setting.device.identity,
        profile_hash=setting.profile.profile_hash,
        graph_hashes=list(known),
        purposes=(PURPOSE,),
        usable_only=False,
    )
    usable = Counter(one.graph_hash for one in _made(store, setting, known))
    failed = Counter(one.graph_hash for one in every if not one.status.has_latency)
    return {graph_hash: usable[graph_hash] + failed[graph_hash] // MAX_ATTEMPTS for graph_hash in known}


def _made(store: Store, setting: LocalSetting, known: Mapping[str, Workload]) -> list[Measurement]:
    return store.measurements(
        device_identity=setting.device.identity,
        profile_hash=setting.profile.profile_hash,
        graph_hashes=list(known),
        purposes=(PURPOSE,),
    )
