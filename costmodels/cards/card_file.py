"""Model cards on disk: ``card.json`` beside the model, sealed, and bound to the very files that it speaks of."""

from __future__ import annotations

import hashlib
import typing
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import TypeVar

from ...profiler.errors import ArtefactError
from ...profiler.records import Json
from ..files import write_atomically
from ..sealed_file import read_sealed, sealed_text
from .model_card import ModelCard

FORMAT = "edgecost-model-card"
#: 1: first (after 0.1.0; models made before have no card). 2: ``curve`` and ``next``. Both are read. A field that goes
#: or changes its meaning raises it; a new field does too, since an older reader refuses what it does not know.
SCHEMA_VERSION = 2
NAME = "card.json"
_REMEDY = "train the model again: edgecost train"
_T = TypeVar("_T")


def write_card(card: ModelCard, folder: Path, model_files: tuple[str, ...]) -> None:
    """Write a card beside its model, after the model: a card that outlives its model's files is found out.

    Args:
        model_files: names of the model's own files.

    Raises:
        OutputError: it cannot be written.
    """
    content: dict[str, Json] = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "model_sha256": {name: _sha256(folder / name) for name in model_files},
        "card": card_document(card),
    }
    write_atomically(folder / NAME, sealed_text(content))


def read_card(folder: Path) -> ModelCard | None:
    """The card of the model in a folder; None where the model has none: it was made before there were cards.

    Raises:
        ArtefactError: it is truncated or was changed, was written with a newer schema, or is of another model.
    """
    path = folder / NAME
    if not path.exists():
        return None
    content = read_sealed(path, "a model card", FORMAT, range(1, SCHEMA_VERSION + 1), _REMEDY)
    digests, card = content.get("model_sha256"), content.get("card")
    if not isinstance(digests, dict) or not all(name == Path(name).name for name in digests):
        raise ArtefactError(f"{path} does not say which files it speaks of", remedy=_REMEDY)
    for name, digest in digests.items():
        if _sha256(folder / name) != digest:
            raise ArtefactError(
                f"{path} is the card of another model: {name} is not the file it speaks of", remedy=_REMEDY
            )
    if content["schema_version"] == 1 and isinstance(card, dict):
        card = {**card, "curve": [], "next": []}
    try:
        return _as(ModelCard, card)
    except (KeyError, TypeError, ValueError) as error:
        raise ArtefactError(f"{path} lacks a field or has a wrong one: {error}", remedy=_REMEDY) from error


def card_document(card: ModelCard) -> dict[str, Json]:
    """As JSON."""
    document = plain_json(asdict(card))
    assert isinstance(document, dict)
    return document


def model_digests(folder: Path) -> dict[str, str]:
    """sha256 of the model's files, as the card has them and ``read_card`` has checked them."""
    content = read_sealed(folder / NAME, "a model card", FORMAT, range(1, SCHEMA_VERSION + 1), _REMEDY)
    digests = content["model_sha256"]
    return {name: str(digest) for name, digest in digests.items()} if isinstance(digests, dict) else {}


def _sha256(path: Path) -> str:
    """Of what is there; empty where nothing can be read, which is no sha256."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def plain_json(value: object) -> Json:
    """A value as JSON holds it, tuples as lists; raises TypeError for what JSON has not."""
    if isinstance(value, Mapping):
        return {str(key): plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{value!r} is no JSON")


def _as(kind: type[_T], value: object) -> _T:
    """JSON as a dataclass, checked field by field.

    Raises:
        TypeError: a value has another type, or there are fields too few or too many.
    """
    if not isinstance(value, dict):
        raise TypeError(f"{value!r:.60} is no object")
    hints = typing.get_type_hints(kind)
    names = {one.name for one in fields(kind)}  # type: ignore[arg-type]  # only dataclasses are asked for
    if names != set(value):
        raise TypeError(f"{', '.join(sorted(names ^ set(value)))} missing or unknown in {kind.__name__}")
    return kind(**{name: _value(hints[name], value[name], name) for name in names})


def _value(hint: object, value: object, name: str) -> object:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is object:
        return value
    if is_dataclass(hint) and isinstance(hint, type):
        return _as(hint, value)
    if origin is tuple and isinstance(value, list):
        return tuple(_value(arguments[0], item, name) for item in value)
    if origin is Mapping and isinstance(value, dict):
        return {key: _value(arguments[1], item, name) for key, item in value.items()}
    if type(None) in arguments:
        others = [one for one in arguments if one is not type(None)]
        return None if value is None else _value(others[0], value, name)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and origin is None and type(value) is hint:
        return value
    raise TypeError(f"{name} is {value!r:.60}")
