"""Models where they lie on the hub's machine: their cards as pages, and a picture of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...costmodels.cards.card_pictures import card_svg
from ...costmodels.cards.model_card import ModelCard
from ...costmodels.cards.model_folder import ModelFolder, open_folder
from ...costmodels.predictor_folder import predictors_root
from ...costmodels.validation import Accuracy
from ...db import Store
from ...profiler.errors import ArtefactError, UsageError
from ...profiler.records import RuntimeProfile
from .growth import EfficiencyView, NextView, efficiency_of, next_view
from .kept import Kept


@dataclass(frozen=True)
class ModelRow:
    """One model in the list; numbers are None where the card has none, or there is no card.

    Attributes:
        problem: why it cannot be used; empty where it can.
        within_10, floor_within_10: share of held-out graphs within 10 %, and of graphs that were measured again.
    """

    name: str
    device: str = ""
    profile: str = ""
    metric: str = ""
    made_at: str = ""
    within_10: float | None = None
    floor_within_10: float | None = None
    problem: str = ""


@dataclass(frozen=True)
class ModelsView:
    """All models, and where they are."""

    folder: str
    models: tuple[ModelRow, ...]


@dataclass(frozen=True)
class ModelView:
    """One model's card.

    Attributes:
        accuracies: what it says of whom, with how well.
        coverage: nominal share, share that was held, and of how many.
        efficiency, next: None where the card does not tell: of energies and memory, and in old cards.
    """

    row: ModelRow
    unit: str
    accuracies: tuple[tuple[str, Accuracy], ...]
    by_kind: tuple[tuple[str, Accuracy], ...]
    coverage: tuple[tuple[float, float | None, int], ...]
    data: tuple[tuple[str, str], ...]
    limits: tuple[str, ...]
    efficiency: EfficiencyView | None
    next: NextView | None


def models_view(_: object, rows: Kept[ModelRow]) -> ModelsView:
    """Every folder with a model.

    Args:
        rows: what was read of them before (``read_row``).
    """
    root = predictors_root()
    return ModelsView(str(root), tuple(rows.of(one) for one in _folders(root)))


def read_row(folder: Path) -> ModelRow:
    """What the list says of one."""
    try:
        return _row(open_folder(folder))
    except ArtefactError as error:
        return ModelRow(folder.name, problem=error.message)


def _folders(root: Path) -> list[Path]:
    return sorted(one for one in root.iterdir() if one.is_dir()) if root.is_dir() else []


def model_view(store: Store, name: str) -> ModelView:
    """One model.

    Raises:
        UsageError: there is no such model, or it has no card.
    """
    found, card = _card(name)
    told = {
        "held out, by a model that had not seen them": card.held_out,
        "measured again in another process: the floor": card.floor,
        "a line through FLOPs alone": card.flops_only,
        "whole networks, each left out": card.networks,
    }
    data = card.data
    counted = {
        "measurements": str(data.rows),
        "graphs": str(data.graphs),
        "whole networks": str(data.networks),
        "sessions": str(data.sessions),
        "measured": f"{data.measured_from[:10]} to {data.measured_until[:10]}" if data.rows else "–",
        "left out": ", ".join(f"{count} {why}" for why, count in data.left_out.items()) or "nothing",
        "versions": ", ".join(f"{package} {version}" for package, version in card.versions.items()),
    }
    return ModelView(
        _row(found),
        card.unit,
        tuple((name, one) for name, one in told.items() if one is not None),
        tuple((one.name, one.accuracy) for one in card.by_kind),
        tuple((one.nominal, one.held, one.n) for one in card.coverage),
        tuple(counted.items()),
        tuple(card.limits),
        efficiency_of(name, card) if card.curve else None,
        _next(store, card),
    )


def _next(store: Store, card: ModelCard) -> NextView | None:
    """None where the card does not say, or not of which device and profile it is."""
    identity = card.device.get("identity")
    if not card.next or identity is None or card.profile is None:
        return None
    try:
        profile = RuntimeProfile.from_document(card.profile)
    except ValueError:  # a later edgecost wrote it
        return None
    return next_view(store, card, identity, profile)


def model_picture(name: str) -> str:
    """Predicted against measured, errors by kind and size, and coverage, as SVG; raises as ``model_view``."""
    return card_svg(_card(name)[1])


def _card(name: str) -> tuple[ModelFolder, ModelCard]:
    # Asked for by a name in the list, never put together to a path: a name may hold anything.
    folder = next((one for one in _folders(predictors_root()) if one.name == name), None)
    if folder is None:
        raise UsageError(f"there is no model {name}", remedy="edgecost models list")
    try:
        found = open_folder(folder)
    except ArtefactError as error:
        message = f"the model {name} cannot be used: {error.message}"
        raise UsageError(message, remedy="train it again: edgecost train") from error
    if found.card is None:
        raise UsageError(f"the model {name} has no card", remedy="train it again: edgecost train")
    return found, found.card


def _row(found: ModelFolder) -> ModelRow:
    name = found.folder.name
    card = found.card
    if card is None:
        return ModelRow(name, problem="it has no card: it was made before there were any")
    return ModelRow(
        name,
        card.device.get("name", "–"),
        card.profile_label,
        card.metric,
        card.made_at,
        None if card.held_out is None else card.held_out.within_10,
        None if card.floor is None else card.floor.within_10,
    )
