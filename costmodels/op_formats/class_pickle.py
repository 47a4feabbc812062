"""Pickles of objects whose classes are not here: their reader has them.

Python's own pickler asks for the class and checks that it is there. What is needed of the protocol is little: a name,
no arguments, and the attributes.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass

_HEAD = b"\x80\x02"  # PROTO 2: every Python 3 reads it
_STOP = b"."
_MARK, _EMPTY_TUPLE, _NEWOBJ, _BUILD = b"(", b")", b"\x81", b"b"
_EMPTY_DICT, _SETITEMS = b"}", b"u"
_EMPTY_LIST, _APPENDS = b"]", b"e"

Plain = None | bool | int | float | str | tuple["Plain", ...]


@dataclass(frozen=True)
class Instance:
    """An object of the reader's.

    Attributes:
        module, name: of its class.
        attributes: what its ``__dict__`` holds; its constructor is not called.
    """

    module: str
    name: str
    attributes: Mapping[str, Value]


Value = Plain | Instance | list["Value"] | dict[str, "Value"]


def pickled(value: Value) -> bytes:
    """The pickle of lists, dictionaries, instances and plain values, protocol 2."""
    return _HEAD + _written(value) + _STOP


def _written(value: Value) -> bytes:
    if isinstance(value, Instance):
        named = f"c{value.module}\n{value.name}\n".encode("ascii")
        return named + _EMPTY_TUPLE + _NEWOBJ + _written(dict(value.attributes)) + _BUILD
    if isinstance(value, dict):
        items = b"".join(_written(key) + _written(item) for key, item in value.items())
        return _EMPTY_DICT + _MARK + items + _SETITEMS
    if isinstance(value, list):
        return _EMPTY_LIST + _MARK + b"".join(map(_written, value)) + _APPENDS
    # Plain values come from the pickler itself. What it memorises begins anew in each, and is read in it alone.
    return pickle.dumps(value, 2)[len(_HEAD) : -len(_STOP)]
