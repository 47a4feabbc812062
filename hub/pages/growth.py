"""What more measurements bring to a predictor, as its card has it: sample-efficiency, and what to measure next."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ...costmodels.cards.card_file import read_card
from ...costmodels.cards.growth import CELL, KERNEL, LearningPoint, NextMeasurement
from ...costmodels.cards.model_card import ModelCard
from ...costmodels.predictor_folder import predictor_folder
from ...db import Store
from ...profiler.errors import ArtefactError
from ...profiler.records import RuntimeProfile
from .charts import Chart, course
from .commands import Doer, doer_of
from .kept import Kept


@dataclass(frozen=True)
class EfficiencyView:
    """How the error of a device's predictor falls with the number of measured graphs.

    Attributes:
        model: name of the predictor's folder.
        floor_within_10: share of graphs measured again within 10 %: no predictor does better. None where none was.
        chart: of the share within 10 %; None with fewer than two points.
    """

    model: str
    profile: str
    points: tuple[LearningPoint, ...]
    floor_within_10: float | None
    chart: Chart | None

    @property
    def last(self) -> LearningPoint:
        """With all that it was trained on."""
        return self.points[-1]

    @property
    def before(self) -> LearningPoint | None:
        """With half of it."""
        return self.points[-2] if len(self.points) > 1 else None


@dataclass(frozen=True)
class NextRow:
    """One thing to measure; ``measured_at`` where it was since the training, else empty."""

    wanted: NextMeasurement
    measured_at: str


@dataclass(frozen=True)
class NextTarget:
    """What helps the prices of one space, or of networks; the best first.

    Attributes:
        command: that measures them; empty where there is none.
        where: it is typed.
        note: what to put into it, or why there is none.
    """

    target: str
    command: str
    where: str
    note: str
    rows: tuple[NextRow, ...]


@dataclass(frozen=True)
class NextView:
    """All of it, and the command that trains anew."""

    targets: tuple[NextTarget, ...]
    train: str


class Shelf:
    """Learning curves of predictors by where these lie."""

    def __init__(self) -> None:
        self._kept = Kept(_efficiency)

    def efficiencies(self, identity: str, profile_hashes: Sequence[str]) -> tuple[EfficiencyView, ...]:
        """Of the latency predictors of a device, as far as there are any."""
        found = (self._kept.of(predictor_folder(identity, one)) for one in profile_hashes)
        return tuple(one for one in found if one is not None)


def _efficiency(folder: Path) -> EfficiencyView | None:
    """None where there is no card, or it is refused, or does not tell."""
    with suppress(ArtefactError):
        card = read_card(folder)
        if card is not None and card.curve:
            return efficiency_of(folder.name, card)
    return None


def efficiency_of(model: str, card: ModelCard) -> EfficiencyView:
    """The learning curve of a card that has one."""
    shares = [one.accuracy.within_10 * 100 for one in card.curve]
    graphs = [f"{one.graphs} graphs" for one in card.curve]
    title = "share of unseen graphs predicted within 10 %, by the number that trained; each step doubles it"
    floor = None if card.floor is None else card.floor.within_10
    return EfficiencyView(model, card.profile_label, card.curve, floor, course(title, "%", graphs, shares))


def next_view(store: Store, card: ModelCard, identity: str, profile: RuntimeProfile) -> NextView:
    """What a card says would help, with what was measured since marked, and the commands."""
    graphs = [one.graph for one in card.next if one.graph]
    found = store.measurements(
        device_identity=identity, profile_hash=profile.profile_hash, graph_hashes=graphs
    ) if graphs else []  # fmt: skip
    since = {one.graph_hash: one.finished_at for one in found if one.finished_at > card.made_at}
    doer = doer_of(store, identity, profile)
    targets: dict[str, list[NextMeasurement]] = {}
    for one in card.next:
        targets.setdefault(one.target, []).append(one)
    return NextView(tuple(_target(name, some, since, doer) for name, some in targets.items()), doer.train())


def _target(name: str, wanted: Sequence[NextMeasurement], since: dict[str, str], doer: Doer) -> NextTarget:
    kind = wanted[0].kind
    rows = tuple(NextRow(one, since.get(one.graph, "")) for one in wanted)
    if kind == CELL:
        note = "" if not doer.selector else "A board measures all cells that are missing, these among them."
        return NextTarget(name, doer.cells(name), doer.where, note, rows)
    command, note = doer.kinds(), ""
    if kind == KERNEL:
        command, note = doer.kernels(), "MODEL.onnx is the file of a network that has them."
    if not command:
        note = "Boards of a fleet measure cells of spaces; nothing has them measure single kernels."
    return NextTarget(name, command, doer.where, note, rows)
