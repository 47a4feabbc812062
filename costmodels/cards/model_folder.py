"""Models where they lie: what a folder holds, by its name or path, without loading any trees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...profiler.errors import ArtefactError, UsageError
from ...profiler.records import Json
from ..metrics import memory_format
from ..predictor_file import read_provenance
from ..space_models import space_model_file
from .card_file import read_card
from .model_card import ModelCard

PREDICTOR = "predictor.json"
_REMEDY = "see what there is: edgecost models list"


@dataclass(frozen=True)
class ModelFolder:
    """A model on disk.

    Attributes:
        model: ``predictor``, ``memory-predictor`` or ``space-model``.
        card: None for one that was made before there were cards.
    """

    folder: Path
    model: str
    provenance: Mapping[str, Json]
    card: ModelCard | None


@dataclass(frozen=True)
class Refused:
    """A folder whose model cannot be used, and why."""

    folder: Path
    why: str


def open_folder(folder: Path) -> ModelFolder:
    """Look into a folder.

    Raises:
        ArtefactError: it holds no model, or a file of it is refused.
    """
    if memory_format.is_of_memory(folder):
        return ModelFolder(folder, "memory-predictor", memory_format.read_provenance(folder), read_card(folder))
    if (folder / PREDICTOR).exists():
        return ModelFolder(folder, "predictor", read_provenance(folder), read_card(folder))
    if (folder / space_model_file.NAME).exists():
        return ModelFolder(folder, "space-model", space_model_file.read_provenance(folder), read_card(folder))
    found = "is not there" if not folder.exists() else "holds no model"
    raise ArtefactError(f"{folder} {found}", remedy=f"train one: edgecost train; or {_REMEDY}")


def list_folders(root: Path) -> list[ModelFolder | Refused]:
    """Every folder below ``root`` that holds a model or a part of one, by name; none where ``root`` is not there."""
    found: list[ModelFolder | Refused] = []
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        if folder.is_dir():
            try:
                found.append(open_folder(folder))
            except ArtefactError as error:
                found.append(Refused(folder, error.message))
    return found


def named_folder(root: Path, name: str) -> Path:
    """The folder that somebody means: a path, or the name (or its beginning) of a folder below ``root``.

    Raises:
        UsageError: nothing has the name, or several begin with it.
    """
    path = Path(name)
    if path.is_dir():
        return path
    matching = [one for one in sorted(root.iterdir()) if one.name.startswith(name)] if root.is_dir() else []
    exact = [one for one in matching if one.name == name]
    if len(exact or matching) == 1:
        return (exact or matching)[0]
    if matching:
        raise UsageError(f"several models begin with {name}: {', '.join(one.name for one in matching)}", remedy=_REMEDY)
    raise UsageError(f"there is no model {name!r}: neither a folder nor one in {root}", remedy=_REMEDY)
