"""Models where they lie on the hub's machine: their cards as pages, and a picture of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...costmodels.cards.card_pictures import card_svg
from ...costmodels.cards.model_card import ModelCard
from ...costmodels.cards.model_folder import ModelFolder, Refused, list_folders
from ...costmodels.predictor_folder import predictors_root
from ...costmodels.validation import Accuracy
from ...db import Store
from ...profiler.errors import UsageError
from .growth import EfficiencyView, NextView, efficiency_of, next_view


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


def models_view(_: object) -> ModelsView:
    """Every folder with a model."""
    root = predictors_root()
    return ModelsView(str(root), tuple(_row(one) for one in list_folders(root)))


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
        _next(store, found, card),
    )


def _next(store: Store, found: ModelFolder, card: ModelCard) -> NextView | None:
    """None where the card does not say, or is of a device or profile that this store does not know."""
    identity = found.provenance.get("device_identity")
    profile = store.profile(str(found.provenance.get("profile_hash")))
    if not card.next or not isinstance(identity, str) or profile is None:
        return None
    return next_view(store, card, identity, profile)


def model_picture(name: str) -> str:
    """Predicted against measured, errors by kind and size, and coverage, as SVG; raises as ``model_view``."""
    return card_svg(_card(name)[1])


def _card(name: str) -> tuple[ModelFolder, ModelCard]:
    for one in list_folders(predictors_root()):
        if one.folder.name != name:
            continue
        if isinstance(one, Refused):
            raise UsageError(f"the model {name} cannot be used: {one.why}", remedy="train it again: edgecost train")
        if one.card is None:
            raise UsageError(f"the model {name} has no card", remedy="train it again: edgecost train")
        return one, one.card
    raise UsageError(f"there is no model {name}", remedy="edgecost models list")


def _row(found: ModelFolder | Refused) -> ModelRow:
    name = Path(found.folder).name
    if isinstance(found, Refused):
        return ModelRow(name, problem=found.why)
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
