"""Active profiling: measure next what most reduces the error of the table that was asked for, and stop at the target.

Batch by batch: what the store holds says what is known (``lut_survey``), the cells that help most are predicted, then
measured through the ordinary campaign, and the predictions are held against the measurements. All state is in the
store: the same command goes on where an interrupted one stopped, with the batch that was begun.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ...db import Store
from ...db.campaigns import MAX_ATTEMPTS
from ...profiler.errors import UsageError
from ...profiler.protocol import Settings
from ...profiler.records import Json, Status
from ..campaign import Planned, plan
from ..cards.session_anchors import check_session
from ..dataset import Sample, load_samples
from ..local_setting import LocalSetting
from ..planned_campaign import CampaignOutcome, Narrator, measure_planned, what_is_left
from ..space import Space
from .lut_survey import NEWEST, Candidate, Knowledge, LutSurvey

Floats = npt.NDArray[np.float64]

#: Cells of the first batch: with the kinds that a space has, the least a predictor and its folds can do with.
FIRST = 12
#: A batch is no less than this, since starting a runner and training anew cost about a second, and no less than this
#: part of what is measured: a large space would be trained anew hundreds of times.
BATCH, GROWTH = NEWEST, 4
#: What a batch's line on the terminal names.
_NAMED = 2


class MeasuresCells(Protocol):
    """Carries out a batch."""

    def open_jobs(self) -> int:
        """Jobs of this campaign that an interrupted run left."""

    def measure(self, wanted: Sequence[Planned], budget_s: float | None, limit: int | None) -> CampaignOutcome:
        """Measure these and whatever was left open, into the store."""


@dataclass(frozen=True)
class Batch:
    """One turn: what was known before it, what it measured, and how the predictions stood the test.

    Attributes:
        cells_measured: cells of the table that were measured when the batch was chosen.
        estimated_error: of the table then; None where none could be given.
        evidence_cells: cells that were predicted unseen, behind the estimate.
        cells: what was chosen, with the reasons.
        predicted: of the chosen cells that had a prediction and were then measured, how many.
        mean_error: their mean absolute error, measured against predicted; None when there was none.
        moved: how far the prices of 90 % of the architectures moved at most when predictions gave way to measurements:
            it should not exceed the estimate much more often than once in ten batches.
        measuring_s, thinking_s: time of the campaign, and of training and choosing before it.
    """

    cells_measured: int
    estimated_error: float | None
    evidence_cells: int
    cells: tuple[Candidate, ...]
    predicted: int
    mean_error: float | None
    moved: float | None
    measuring_s: float
    thinking_s: float

    def document(self) -> dict[str, Json]:
        """As JSON."""
        return {**asdict(self), "cells": [{"cell": one.key, "why": one.why, "gain": one.gain} for one in self.cells]}


@dataclass(frozen=True)
class AdaptiveOutcome:
    """How far one run came.

    Attributes:
        stopped_by: ``target``, ``complete`` (every cell is measured or has failed), ``budget`` or ``limit``.
        unpriced: keys of cells that are neither measured nor predictable: with them there is no table.
        anchors: what the anchors said before the first batch; None where none were measured.
    """

    target: float
    stopped_by: str
    cells: int
    measured: int
    failed: int
    unpriced: tuple[str, ...]
    estimated_error: float | None
    of_noise: float | None
    evidence_cells: int
    batches: tuple[Batch, ...]
    by_status: dict[Status, int] = field(default_factory=dict)
    total_s: float = 0.0
    anchors: Mapping[str, Json] | None = None

    @property
    def reached(self) -> bool:
        return self.estimated_error is not None and self.estimated_error <= self.target

    def document(self) -> dict[str, Json]:
        """As JSON."""
        return {
            "target": self.target,
            "reached": self.reached,
            "stopped_by": self.stopped_by,
            "cells": self.cells,
            "cells_measured": self.measured,
            "cells_predicted": self.cells - self.measured - len(self.unpriced),
            "cells_failed": self.failed,
            "cells_unpriced": list(self.unpriced),
            "estimated_error": self.estimated_error,
            "estimated_error_of_noise": self.of_noise,
            "evidence_cells": self.evidence_cells,
            "by_status": {status.value: count for status, count in self.by_status.items()},
            "total_s": self.total_s,
            "anchors": None if self.anchors is None else dict(self.anchors),
            "measuring_s": math.fsum(batch.measuring_s for batch in self.batches),
            "thinking_s": math.fsum(batch.thinking_s for batch in self.batches),
            "trace": [batch.document() for batch in self.batches],
        }


@dataclass
class StoreCampaign:
    """The ordinary campaign on the local store. Its first batch waits for the session's anchors."""

    store: Store
    setting: LocalSetting
    space: Space
    narrator: Narrator
    seed: int = 0
    _is_checked: bool = False

    @property
    def _name(self) -> str:
        profile = self.setting.profile.profile_hash[:8]
        return f"{self.space.name}-{self.space.resolution}-w{self.space.width:g}-{profile}-adaptive"

    def open_jobs(self) -> int:
        campaign_id = plan(self.store, self.setting, self._name, self.space.name, [])
        jobs = next(campaign.jobs for campaign in self.store.campaigns() if campaign.id == campaign_id)
        return jobs["pending"] + jobs["leased"]

    def measure(self, wanted: Sequence[Planned], budget_s: float | None, limit: int | None) -> CampaignOutcome:
        check, begin = None, time.monotonic()
        if not self._is_checked:
            check = check_session(self.store, self.setting, self.narrator)
            self._is_checked = True
        outcome = measure_planned(
            self.store,
            self.setting,
            self._name,
            self.space.name,
            list(wanted),
            self.narrator,
            "measuring cells",
            budget_s=what_is_left(budget_s, begin),
            limit=limit,
            settings=Settings(seed=self.seed),
        )
        return outcome if check is None else replace(outcome, anchors=check.document())


def measure_adaptively(
    store: Store,
    setting: LocalSetting,
    space: Space,
    narrator: Narrator,
    *,
    target: float,
    panel_share: float = 0.1,
    budget_s: float | None = None,
    limit: int | None = None,
    seed: int = 0,
    campaign: MeasuresCells | None = None,
    survey: LutSurvey | None = None,
) -> AdaptiveOutcome:
    """Measure cells of a space until the error of its table is estimated to be at the target or below.

    Args:
        target: relative error (``lut_error``), above 0 and below 1.
        panel_share: share of the measured cells that is measured again in another process, which tells the noise.
        budget_s, limit: stop after this time, or this many measurements, too.
        campaign: what measures; None for this machine.
        survey: of the space; None has it made.

    Raises:
        UsageError: a target that is none, or a share below 0 or above 1.
    """
    if not 0 < target < 1:
        raise UsageError(f"an error of {target:.0%} is no target", remedy="ask for one like 5%")
    if not 0 <= panel_share <= 1:
        raise UsageError(f"a share lies between 0 and 1, not at {panel_share}")
    narrator.stage("looking at the cells")
    made = survey or LutSurvey(space, setting.profile, seed=seed)
    chosen_campaign = campaign or StoreCampaign(store, setting, space, narrator, seed)
    run = _Run(store, setting, made, narrator, chosen_campaign, target, panel_share, budget_s, limit, seed)
    return run.until_done()


class _Run:
    def __init__(
        self,
        store: Store,
        setting: LocalSetting,
        survey: LutSurvey,
        narrator: Narrator,
        campaign: MeasuresCells,
        target: float,
        panel_share: float,
        budget_s: float | None,
        limit: int | None,
        seed: int,
    ) -> None:
        self.store, self.setting, self.survey, self.narrator = store, setting, survey, narrator
        self.campaign, self.target, self.panel_share, self.seed = campaign, target, panel_share, seed
        self.budget_s, self.limit = budget_s, limit
        self.begin = time.monotonic()
        self.batches: list[Batch] = []
        self.by_status: Counter[Status] = Counter()
        self.anchors: Mapping[str, Json] | None = None
        #: Graph hashes of cells that the campaign did not take, as when another process holds them.
        self.refused: set[str] = set()

    def until_done(self) -> AdaptiveOutcome:
        if self.campaign.open_jobs() and not self._spent():
            self.narrator.note("finishing the batch that was begun")
            self._measure([])
        while True:
            thought = time.monotonic()
            samples = load_samples(self.store, self.setting.device.identity, self.setting.profile)
            knowledge = self.survey.know(samples)
            failed = self._failed(knowledge)
            stop = self._stop(knowledge, failed)
            if stop:
                self.narrator.note(self._told(knowledge))
                return self._outcome(stop, knowledge, failed)
            count = max(BATCH, int(knowledge.measured.sum()) // GROWTH) if knowledge.measured.any() else FIRST
            if self.limit is not None:
                count = min(count, self.limit)
            chosen = self.survey.choose(knowledge, count, without=failed)
            self.narrator.note(f"{self._told(knowledge)}\n  next: {self._next(chosen)}")
            thinking_s = time.monotonic() - thought
            before_s = time.monotonic()
            taken = self._measure([*self._cells(chosen), *self._panel(samples, len(chosen))])
            measuring_s = time.monotonic() - before_s
            if not taken and not self._spent():
                self.refused.update(self.survey.hashes[one.place] for one in chosen)
            self._judge(knowledge, chosen, measuring_s, thinking_s)

    def _spent(self) -> str:
        if self.limit is not None and self.limit <= 0:
            return "limit"
        if self.budget_s is not None and time.monotonic() - self.begin >= self.budget_s:
            return "budget"
        return ""

    def _stop(self, knowledge: Knowledge, failed: Sequence[int]) -> str:
        estimate = knowledge.estimate
        if estimate is not None and estimate.error is not None and estimate.error <= self.target:
            return "target"
        if int(knowledge.measured.sum()) + len(failed) == len(knowledge.measured):
            return "complete"
        return self._spent()

    def _measure(self, wanted: Sequence[Planned]) -> int:
        """The number of attempts that were made."""
        budget_s = None if self.budget_s is None else max(0.0, self.budget_s - (time.monotonic() - self.begin))
        outcome = self.campaign.measure(wanted, budget_s, self.limit)
        if self.limit is not None:
            self.limit -= outcome.report.measured
        self.by_status.update(outcome.report.by_status)
        self.anchors = self.anchors or outcome.anchors
        return outcome.report.measured

    def _cells(self, chosen: Sequence[Candidate]) -> list[Planned]:
        workloads = list(self.survey.workloads.values())
        return [Planned(workloads[one.place], "cell", one.key) for one in chosen]

    def _panel(self, samples: Sequence[Sample], new: int) -> list[Planned]:
        """Cells of earlier batches, in this batch's process: of all that are measured, the share that was asked for."""
        ours = {sample.workload.graph_hash: sample for sample in samples}
        measured = [place for place, name in enumerate(self.survey.hashes) if name in ours]
        order = random.Random(self.seed).sample(range(len(self.survey.hashes)), len(self.survey.hashes))
        again = [place for place in measured if len(ours[self.survey.hashes[place]].sessions_ms) > 1]
        once = [place for place in order if place in set(measured) - set(again)]
        count = math.ceil(self.panel_share * (len(measured) + new)) - len(again)
        workloads = list(self.survey.workloads.values())
        return [Planned(workloads[place], "panel", self.survey.keys[place]) for place in once[: max(0, count)]]

    def _failed(self, knowledge: Knowledge) -> list[int]:
        """Places of cells that give no number: tried often enough, too short to tell, or held by another process."""
        wanted = [name for name, known in zip(self.survey.hashes, knowledge.measured, strict=True) if not known]
        device, profile = self.setting.device.identity, self.setting.profile.profile_hash
        made = self.store.measurements(
            device_identity=device, profile_hash=profile, graph_hashes=wanted, purposes=("cell",), usable_only=False
        )
        failures = Counter(
            one.graph_hash for one in made if not one.status.has_latency and one.status is not Status.INTERRUPTED
        )
        usable = self.store.measurements(device_identity=device, profile_hash=profile, graph_hashes=wanted)
        given_up = {name for name, count in failures.items() if count >= MAX_ATTEMPTS}
        given_up |= {one.graph_hash for one in usable} | self.refused
        return [place for place, name in enumerate(self.survey.hashes) if name in given_up]

    def _judge(self, before: Knowledge, chosen: Sequence[Candidate], measuring_s: float, thinking_s: float) -> None:
        """Hold what was predicted against what was then measured."""
        hashes = [self.survey.hashes[one.place] for one in chosen]
        found = {
            sample.workload.graph_hash: sample.latency_ms
            for sample in load_samples(
                self.store, self.setting.device.identity, self.setting.profile, graph_hashes=hashes
            )
        }
        after = before.latency_ms.copy()
        for one in chosen:
            after[one.place] = found.get(self.survey.hashes[one.place], after[one.place])
        errors = [
            abs(before.latency_ms[one.place] / after[one.place] - 1)
            for one in chosen
            if self.survey.hashes[one.place] in found and np.isfinite(before.latency_ms[one.place])
        ]
        moved = None
        if errors and not before.unpriced:
            moves = np.abs(self.survey.uses @ before.latency_ms / (self.survey.uses @ after) - 1)
            moved = float(np.quantile(moves, 0.9))
        estimate = before.estimate
        self.batches.append(
            Batch(
                cells_measured=int(before.measured.sum()),
                estimated_error=None if estimate is None else estimate.error,
                evidence_cells=0 if estimate is None else estimate.evidence_cells,
                cells=tuple(chosen),
                predicted=len(errors),
                mean_error=float(np.mean(errors)) if errors else None,
                moved=moved,
                measuring_s=measuring_s,
                thinking_s=thinking_s,
            )
        )

    def _told(self, knowledge: Knowledge) -> str:
        """The state in a line: ``20 of 96 cells measured, estimated error 4.1 % (17 cells predicted unseen)``."""
        count, estimate = int(knowledge.measured.sum()), knowledge.estimate
        text = f"{count} of {len(knowledge.measured)} cells measured"
        last = self.batches[-1] if self.batches else None
        if last is not None and last.mean_error is not None:
            text += f"; the last {last.predicted} were predicted {100 * last.mean_error:.1f} % off"
        if estimate is None:
            return f"{text}; {len(knowledge.unpriced)} cells cannot be predicted yet"
        if estimate.error is None:
            return f"{text}; only {estimate.evidence_cells} of them predicted unseen, too few for an estimate"
        return (
            f"{text}; estimated error {100 * estimate.error:.1f} % ({estimate.evidence_cells} cells predicted unseen)"
        )

    def _next(self, chosen: Sequence[Candidate]) -> str:
        named = ", ".join(f"{one.key} ({one.why})" for one in chosen[:_NAMED])
        more = f" and {len(chosen) - _NAMED} more" if len(chosen) > _NAMED else ""
        return f"{named}{more}"

    def _outcome(self, stop: str, knowledge: Knowledge, failed: Sequence[int]) -> AdaptiveOutcome:
        estimate = knowledge.estimate
        return AdaptiveOutcome(
            target=self.target,
            stopped_by=stop,
            cells=len(knowledge.measured),
            measured=int(knowledge.measured.sum()),
            failed=len(failed),
            unpriced=tuple(self.survey.keys[place] for place in knowledge.unpriced),
            estimated_error=None if estimate is None else estimate.error,
            of_noise=None if estimate is None else estimate.of_noise,
            evidence_cells=0 if estimate is None else estimate.evidence_cells,
            batches=tuple(self.batches),
            by_status=dict(self.by_status),
            total_s=time.monotonic() - self.begin,
            anchors=self.anchors,
        )
