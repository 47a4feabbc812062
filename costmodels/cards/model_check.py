"""Whether a model is stale: its environment, the machine's levels since, newer measurements, and its anchors.

Four witnesses, the cheap ones first. Each says what it saw and which command settles it; the verdict is the worst.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from ...db import Store
from ...profiler.records import Json
from ..device_probe import probe_features, probe_of
from ..drift import DRIFT_LIMIT, canary_level_us
from ..local_setting import LocalSetting
from ..planned_campaign import Narrator
from ..predictor import LatencyPredictor
from .anchors import AnchorReading, AnchorVerdict, judge_anchors, measure_anchors
from .model_card import ModelCard
from .prequential import ALPHA, Newer, judge_newer
from .staleness import MEASURE_ANCHORS, MEASURE_ANEW, Finding, cheap_findings

#: Sessions since training from which the machine's level is told: of fewer, one disturbed session would decide.
_SESSIONS_MIN = 3
#: A quantity of the probe that differs by more than this is another machine; disturbed ones differ by less.
_PROBE_SHARE = 0.25

#: As people read it.
_NOMINAL = f"{(1 - ALPHA) * 100:g} %"

Verdict = Literal["fresh", "environment changed", "drifted"]


@dataclass(frozen=True)
class ModelCheck:
    """What a check found.

    Attributes:
        verdict: ``drifted`` (measurements contradict the model), ``environment changed``, or ``fresh``.
        findings: what speaks against the model.
        notes: what speaks for it, and what could not be looked at.
        canary_change: relative change of the machine's own speed since; None where not known.
    """

    verdict: Verdict
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    newer: Newer | None
    canary_change: float | None
    anchors: tuple[AnchorReading, ...]
    anchor_verdict: AnchorVerdict | None

    @property
    def is_stale(self) -> bool:
        return self.verdict != "fresh"

    def document(self) -> dict[str, Json]:
        """As JSON."""
        told = self.anchor_verdict
        return {
            "verdict": self.verdict,
            "findings": [{"what": one.what, "remedy": one.remedy} for one in self.findings],
            "notes": list(self.notes),
            "newer_measurements": None if self.newer is None else dict(asdict(self.newer)),
            "canary_change": self.canary_change,
            "anchors": [
                {"name": a.name, "kind": a.kind, "then_ms": a.latency_ms, "now_ms": one.latency_ms}
                for one in self.anchors
                for a in [one.anchor]
            ],
            "anchor_verdict": None if told is None else {**asdict(told), "kinds": dict(told.kinds)},
        }


def check_model(
    store: Store,
    setting: LocalSetting,
    predictor: LatencyPredictor,
    provenance: Mapping[str, Json],
    card: ModelCard | None,
    narrator: Narrator,
    *,
    measure: bool = False,
) -> ModelCheck:
    """Compare what a predictor was trained on with the device as it is, and with what the store has since.

    Args:
        card: None for a predictor that has none: then the environment alone is compared, as far as it is known.
        measure: measure the anchors, some seconds; the measurements are stored.
    """
    inquiry = _Inquiry(store, setting)
    inquiry.findings += cheap_findings(provenance, setting)
    is_elsewhere = provenance.get("device_identity") not in (None, setting.device.identity)
    is_other_profile = provenance.get("profile_hash") not in (None, setting.profile.profile_hash)
    if card is None:
        inquiry.notes.append("it has no card, so nothing but its environment can be compared; train it again for one")
    elif is_other_profile:
        inquiry.notes.append("nothing that is measured now can be compared: it would be of another runtime")
    elif not is_elsewhere:
        inquiry.ask_canary(card)
        inquiry.ask_probe(card)
        inquiry.ask_newer(card, predictor)
        if measure:
            inquiry.ask_anchors(card, narrator)
    return inquiry.verdict()


class _Inquiry:
    """Hears one witness after the other."""

    def __init__(self, store: Store, setting: LocalSetting) -> None:
        self.store = store
        self.setting = setting
        self.findings: list[Finding] = []
        self.notes: list[str] = []
        self.newer: Newer | None = None
        self.canary_change: float | None = None
        self.readings: list[AnchorReading] = []
        self.anchors: AnchorVerdict | None = None

    def ask_canary(self, card: ModelCard) -> None:
        """The machine's own speed in the sessions since, over that in the sessions of the training."""
        device, profile = self.setting.device.identity, self.setting.profile.profile_hash
        every = self.store.measurements(device_identity=device, profile_hash=profile, usable_only=False)
        since = {m.session for m in every if m.started_at > card.data.measured_until}
        level = canary_level_us(self.store, device, profile, since.__contains__, sessions_min=_SESSIONS_MIN)
        if level is None or card.canary_us is None:
            self.notes.append(f"the machine's own speed: unknown, fewer than {_SESSIONS_MIN} sessions since training")
            return
        self.canary_change = level / card.canary_us - 1.0
        if abs(self.canary_change) > DRIFT_LIMIT:
            what = f"the machine is {_change(self.canary_change)} than it was in training, in {len(since)} sessions"
            self.findings.append(Finding(what, MEASURE_ANCHORS, anchors_tell=True))
        else:
            change = f"{_signed(self.canary_change)} in {len(since)} sessions since training"
            self.notes.append(f"the machine's own speed: {change}, within {DRIFT_LIMIT * 100:g} %")

    def ask_probe(self, card: ModelCard) -> None:
        """A newer probe against that of the training."""
        if card.probe is None:
            return
        found = probe_of(self.store, self.setting.device.identity, self.setting.profile)
        if found is None or found.measured_at <= card.probe.measured_at:
            self.notes.append(f"the probe: none since {card.probe.measured_at[:19]}")
            return
        now, then = probe_features(found), card.probe.features
        changes = {name: math.expm1(now[name] - then[name]) for name in sorted(now.keys() & then.keys())}
        moved = {name: change for name, change in changes.items() if abs(change) > _PROBE_SHARE}
        if moved:
            worst = max(moved, key=lambda name: abs(moved[name]))
            named = f"{worst.removeprefix('log_')} by {_signed(moved[worst])}"
            what = f"the probe finds {len(moved)} of {len(changes)} quantities changed, {named}"
            self.findings.append(Finding(what, MEASURE_ANCHORS, anchors_tell=True))
        else:
            self.notes.append(f"the probe: {len(changes)} quantities within {_PROBE_SHARE * 100:g} %")

    def ask_newer(self, card: ModelCard, predictor: LatencyPredictor) -> None:
        """Measurements made since, each predicted first."""
        if card.metric != "latency":
            self.notes.append(f"newer measurements: not compared for {card.metric}")
            return
        newer = judge_newer(self.store, self.setting, predictor, card, card.data.measured_until)
        self.newer = newer
        if newer is None:
            self.notes.append("newer measurements: none in this database")
            return
        told = f"{newer.graphs} graphs measured since training, {newer.repeated} of them again"
        if newer.is_shifted:
            assert newer.repeated_shift is not None
            what = f"{told}: those are {_change(newer.repeated_shift)} in the median than they were"
            self.findings.append(Finding(what, MEASURE_ANEW))
        if newer.is_outside:
            assert newer.outside is not None
            assert newer.shift is not None
            share, shift = f"{newer.outside * 100:.1f} %", _signed(newer.shift)
            outside = f"{share} are outside the {_NOMINAL} interval, the median is {shift} off"
            remedy = MEASURE_ANEW if newer.is_shifted else "train on them, too: edgecost train"
            self.findings.append(Finding(f"{told}: {outside}", remedy))
        if not newer.is_shifted and not newer.is_outside:
            self.notes.append(f"newer measurements: {told}: {_newer(newer)}")

    def ask_anchors(self, card: ModelCard, narrator: Narrator) -> None:
        """The anchors, measured now."""
        if not card.anchors:
            self.notes.append("anchors: it has none; nothing it was trained on was long and steady enough")
            return
        self.readings, unknown = measure_anchors(self.store, self.setting, narrator, card.anchors)
        if unknown:
            missing = f"{len(unknown)} of {len(card.anchors)} are not in this database"
            self.notes.append(f"anchors: {missing}; name the one it was trained from: --db")
        if not self.readings:
            return
        self.anchors = told = judge_anchors(self.readings, card.floor_radius)
        if told.verdict == "unknown" or told.change is None:
            self.notes.append("anchors: too few gave a number; stop other programs and try again")
        elif told.verdict == "holds":
            change = f"{_signed(told.change)} in the median of {len(self.readings)}"
            limit = f"{told.limit * 100:.1f} %"
            self.notes.append(f"anchors: {change}, within {limit}, as two sessions of one machine are")
        elif told.verdict == "all":
            what = f"all {len(self.readings)} anchors are {_change(told.change)} in the median than at training"
            self.findings.append(Finding(what, MEASURE_ANEW))
        for kind, change_of_kind in told.kinds.items() if told.verdict == "kind" else ():
            what = f"anchors of the kind {kind} are {_change(change_of_kind)} than at training, the others are not"
            self.findings.append(Finding(what, MEASURE_ANEW))

    def verdict(self) -> ModelCheck:
        """What all of them amount to. Anchors that hold answer for a machine that looks different."""
        told = self.anchors
        findings = self.findings
        if told is not None and told.verdict == "holds":
            cleared = [one.what for one in findings if one.anchors_tell]
            self.notes += [f"{what}; but the anchors hold" for what in cleared]
            findings = [one for one in findings if not one.anchors_tell]
        contradicted = self.newer is not None and (self.newer.is_shifted or self.newer.is_outside)
        drifted = contradicted or (told is not None and told.verdict in ("all", "kind"))
        return ModelCheck(
            verdict="drifted" if drifted else ("environment changed" if findings else "fresh"),
            findings=tuple(findings),
            notes=tuple(self.notes),
            newer=self.newer,
            canary_change=self.canary_change,
            anchors=tuple(self.readings),
            anchor_verdict=told,
        )


def _newer(newer: Newer) -> str:
    if newer.outside is None:
        return "too few to tell anything"
    again = "" if newer.repeated_shift is None else f"; those again differ by {_signed(newer.repeated_shift)}"
    return f"{newer.outside * 100:.1f} % outside the {_NOMINAL} interval{again}"


def _signed(change: float) -> str:
    """``+12.0 %``."""
    return f"{change * 100:+.1f} %"


def _change(change: float) -> str:
    """``12.0 % slower``."""
    return f"{abs(change) * 100:.1f} % {'slower' if change > 0 else 'faster'}"
