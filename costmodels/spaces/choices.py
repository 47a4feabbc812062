"""The choices of a space file: lists of values that layers take by name, and what a field says once they are made.

A field may hold a value; ``"@name"``, the value of a choice; ``{ by = "name", is = [...] }``, a value for each
candidate of a choice, or ``{ by = "name", is = { candidate = value } }``; ``{ at = [...] }``, one for each repetition
of the layer (the last one for all that follow).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .table import Table, Toml

#: Where a field looks up names that are not choices of the whole space: the values of the candidate in hand.
Local = Mapping[str, Toml]


@dataclass(frozen=True)
class SharedChoice:
    """A choice that several layers look at: its number among the positions, and its candidates."""

    place: int
    values: tuple[Toml, ...]


@dataclass(frozen=True)
class Resolver:
    """Finds what fields depend on, and what they hold."""

    shared: Mapping[str, SharedChoice]

    def scope(self, data: Mapping[str, Toml], local: Local) -> Iterator[int]:
        """The positions of the shared choices that any of these fields looks at."""
        for value in data.values():
            name = _name_of(value)
            if name and name not in local and name in self.shared:
                yield self.shared[name].place

    def resolve(self, given: Table, chosen: Mapping[int, int], local: Local) -> Table:
        """The table with one value in each field.

        Raises:
            UsageError: a field names no choice, or has not one value for each of its candidates.
        """
        return Table(
            given.where, {field: self._value(given, field, chosen, local) for field in given.data}, given.known
        )

    def _value(self, given: Table, field: str, chosen: Mapping[int, int], local: Local) -> Toml:
        value = given.data[field]
        name = _name_of(value)
        if not name:
            return value
        if name in local:
            return self._mapped(given, field, local[name]) if isinstance(value, dict) else local[name]
        if name not in self.shared:
            known = ", ".join([*local, *self.shared]) or "none"
            raise given.error(field, f"looks at {name!r}, which is no choice", f"Choices: {known}.")
        choice = self.shared[name]
        index = chosen[choice.place]
        if not isinstance(value, dict):
            return choice.values[index]
        listed = value.get("is")
        if isinstance(listed, dict):
            return self._mapped(given, field, choice.values[index])
        if not isinstance(listed, list) or len(listed) != len(choice.values) or set(value) != {"by", "is"}:
            raise given.error(
                field, f"is {value!r}", f"Give by and is, with {len(choice.values)} values as {name!r} has candidates."
            )
        return listed[index]

    def _mapped(self, given: Table, field: str, chosen: Toml) -> Toml:
        """The value for a candidate, which stands in a table by its text."""
        value = given.data[field]
        listed = value.get("is") if isinstance(value, dict) else None
        if not isinstance(listed, dict) or str(chosen) not in listed:
            raise given.error(field, f"says nothing for {chosen!r}", f"Give is = {{ {chosen} = … }}.")
        return listed[str(chosen)]


def at_offset(data: Mapping[str, Toml], offset: int) -> dict[str, Toml]:
    """The fields of one repetition of a layer: every ``{ at = [...] }`` replaced by its value."""
    made: dict[str, Toml] = {}
    for field, value in data.items():
        listed = value.get("at") if isinstance(value, dict) and set(value) == {"at"} else None
        made[field] = listed[min(offset, len(listed) - 1)] if isinstance(listed, list) and listed else value
    return made


def _name_of(value: Toml) -> str:
    """The choice that a field looks at; empty for none."""
    if isinstance(value, str) and value.startswith("@"):
        return value[1:]
    by = value.get("by") if isinstance(value, dict) else None
    return by if isinstance(by, str) else ""
