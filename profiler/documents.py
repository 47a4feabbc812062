"""Frozen dataclasses as JSON documents and back, checked strictly by their annotations. Standard library only.

Boards and hubs exchange them, and either may be broken, old or hostile: a field that is missing, unknown, of another
type or not a finite number is an error, never left out and never guessed. Nothing is run but the checks of the
dataclasses themselves.
"""

from __future__ import annotations

import math
import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from functools import lru_cache
from typing import TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import BadDocument, UsageError
from .records import Json

#: How deep a free-form JSON value may be nested: an environment has two levels.
JSON_DEPTH_MAX = 16

#: JSON can spell these and no database can hold them: PostgreSQL has no zero character, UTF-8 no lone surrogates.
_UNWRITABLE = re.compile(r"[\x00\ud800-\udfff]")

T = TypeVar("T")


def encode(value: object) -> Json:
    """A record as JSON: dataclasses become objects, tuples lists, members of an enumeration their values."""
    if isinstance(value, Enum):
        return encode(value.value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if is_dataclass(value):
        return {one.name: encode(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    raise TypeError(f"{type(value).__name__} has no place in a document")


def document_of(record: object) -> dict[str, Json]:
    """A dataclass as a JSON object."""
    found = encode(record)
    assert isinstance(found, dict)
    return found


def decode(kind: type[T], document: object) -> T:
    """The record that a JSON object describes.

    Raises:
        BadDocument: a field is missing, unknown or of another type, a number is not finite, or the record refuses it.
    """
    found = _record(kind, document, kind.__name__)
    assert isinstance(found, kind)
    return found


@lru_cache(maxsize=256)
def _described(kind: type) -> tuple[tuple[Field[object], object], ...]:
    """The fields of a dataclass with their types, in order."""
    hints = get_type_hints(kind)
    return tuple((one, hints[one.name]) for one in fields(kind))


def _record(kind: type, document: object, where: str) -> object:
    if not isinstance(document, Mapping):
        raise BadDocument(f"{where}: an object belongs here, not {_shown(document)}")
    described = _described(kind)
    unknown = set(document) - {one.name for one, _ in described}
    if unknown:
        raise BadDocument(f"{where} has no field {min(unknown)!r}", remedy="is the other side newer? upgrade edgecost")
    values = {}
    for one, hint in described:
        if one.name in document:
            values[one.name] = _value(hint, document[one.name], f"{where}.{one.name}")
        elif one.default is MISSING and one.default_factory is MISSING:
            raise BadDocument(f"{where} lacks the field {one.name!r}")
    try:
        return kind(**values)
    except (UsageError, ValueError) as error:
        raise BadDocument(f"{where}: {error}") from error


def _is_json(hint: object) -> bool:
    """Whether a type is ``Json``; Python expands one level of it, so that it is not equal to itself any more."""
    return {list, dict} <= {get_origin(one) for one in get_args(hint)}


def _value(hint: object, value: object, where: str) -> object:
    if _is_json(hint):
        return _json(value, where, JSON_DEPTH_MAX)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        inner = [one for one in arguments if one is not type(None)]
        if value is None and len(inner) < len(arguments):
            return None
        return _value(inner[0], value, where)
    if origin is tuple or (isinstance(origin, type) and issubclass(origin, Sequence)):
        return _items(arguments, value, where)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise BadDocument(f"{where}: an object belongs here, not {_shown(value)}")
        return {str(_finite(key, where)): _value(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    assert isinstance(hint, type), hint
    if is_dataclass(hint):
        return _record(hint, value, where)
    if issubclass(hint, Enum):
        try:
            return hint(value)
        except ValueError:
            raise BadDocument(
                f"{where}: {_shown(value)} is none of {', '.join(str(one.value) for one in hint)}"
            ) from None
    return _plain(hint, value, where)


def _items(arguments: tuple[object, ...], value: object, where: str) -> tuple[object, ...]:
    if not isinstance(value, list | tuple):
        raise BadDocument(f"{where}: a list belongs here, not {_shown(value)}")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_value(arguments[0], item, f"{where}[{at}]") for at, item in enumerate(value))
    if len(arguments) != len(value):
        raise BadDocument(f"{where}: {len(arguments)} values belong here, not {len(value)}")
    pairs = zip(arguments, value, strict=True)
    return tuple(_value(one, item, f"{where}[{at}]") for at, (one, item) in enumerate(pairs))


def _plain(hint: type, value: object, where: str) -> object:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        _finite(value, where)
        value = float(value)
    if type(value) is not hint:
        raise BadDocument(f"{where}: {_NAMES.get(hint, hint.__name__)} belongs here, not {_shown(value)}")
    return _finite(value, where)


def _finite(value: object, where: str) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        raise BadDocument(f"{where}: {value} is not a finite number")
    if type(value) is int and not -(1 << 63) <= value < 1 << 63:
        raise BadDocument(f"{where}: {_shown(value)} does not fit 64 bits")
    if isinstance(value, str) and _UNWRITABLE.search(value):
        raise BadDocument(f"{where}: a text with a zero character, or half of a surrogate pair")
    return value


def _json(value: object, where: str, depth: int) -> Json:
    if depth == 0:
        raise BadDocument(f"{where}: nested deeper than {JSON_DEPTH_MAX}")
    if isinstance(value, Mapping):
        return {str(_finite(key, where)): _json(item, f"{where}.{key}", depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item, where, depth - 1) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        _finite(value, where)
        return value
    raise BadDocument(f"{where}: {_shown(value)} is no JSON")


_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def schema_of(kind: type) -> dict[str, Json]:
    """The JSON schema (draft 2020-12) of a dataclass: the same rules as ``decode``, for whoever writes a client."""
    properties: dict[str, Json] = {}
    required: list[Json] = []
    for one, hint in _described(kind):
        properties[one.name] = _schema(hint)
        if one.default is MISSING and one.default_factory is MISSING:
            required.append(one.name)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _schema(hint: object) -> Json:
    if _is_json(hint):
        return {}
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        inner: list[Json] = [_schema(one) for one in arguments if one is not type(None)]
        return {"anyOf": [*inner, {"type": "null"}]} if len(inner) < len(arguments) else inner[0]
    if origin is tuple or (isinstance(origin, type) and issubclass(origin, Sequence)):
        return _schema_of_items(arguments)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _schema(arguments[1])}
    assert isinstance(hint, type), hint
    if is_dataclass(hint):
        return schema_of(hint)
    if issubclass(hint, Enum):
        return {"enum": [encode(one) for one in hint]}
    return dict(_SCHEMAS[hint])


def _schema_of_items(arguments: tuple[object, ...]) -> Json:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return {"type": "array", "items": _schema(arguments[0])}
    parts: list[Json] = [_schema(one) for one in arguments]
    return {"type": "array", "prefixItems": parts, "minItems": len(parts), "maxItems": len(parts)}


_SCHEMAS: Mapping[type, Mapping[str, Json]] = {
    str: {"type": "string"},
    int: {"type": "integer", "minimum": -(1 << 63), "maximum": (1 << 63) - 1},
    float: {"type": "number"},
    bool: {"type": "boolean"},
}
