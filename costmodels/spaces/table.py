"""A TOML table that is read field by field, and whose faults are reported with file, layer, field and remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, TypeVar

from ...profiler.errors import UsageError

if TYPE_CHECKING:
    from typing import TypeAlias

#: What ``tomllib`` can return, dates aside (no field holds one).
Toml: TypeAlias = "bool | int | float | str | list[Toml] | dict[str, Toml]"
Name = TypeVar("Name", bound=str)


@dataclass(frozen=True)
class Table:
    """One table of a file.

    Attributes:
        where: the file, and the layer if any, as messages name them.
        data: the fields.
        known: names a field may have; None where they are free.
    """

    where: str
    data: Mapping[str, Toml]
    known: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for field in self.data:
            if self.known is not None and field not in self.known:
                near = get_close_matches(field, self.known, n=1)
                remedy = f"Did you mean '{near[0]}'?" if near else f"Known fields: {', '.join(sorted(self.known))}."
                raise self.error(field, "is not a known field", remedy)

    def error(self, field: str, problem: str, remedy: str) -> UsageError:
        """The error that says what is wrong with a field."""
        return UsageError(f"{self.where}: field '{field}' {problem}", remedy=remedy)

    def text(self, field: str, default: str | None = None) -> str:
        """A string."""
        value = self._get(field, default)
        if not isinstance(value, str):
            raise self.error(field, f"is {value!r}", "Give a string.")
        return value

    def one_of(self, field: str, offered: Sequence[Name], default: Name | None = None) -> Name:
        """A string out of a closed list."""
        value = self.text(field, default)
        for name in offered:
            if name == value:
                return name
        raise self.error(field, f"is {value!r}", f"Choose one of {', '.join(repr(str(name)) for name in offered)}.")

    def flag(self, field: str, default: bool) -> bool:
        """True or false."""
        value = self._get(field, default)
        if not isinstance(value, bool):
            raise self.error(field, f"is {value!r}", "Give true or false.")
        return value

    def number(self, field: str, default: float | None = None, *, minimum: float | None = None) -> float:
        """A finite number, as it stands in the file: an integer stays one."""
        value = self._get(field, default)
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or value != value
            or abs(value) == float("inf")
        ):
            raise self.error(field, f"is {value!r}", "Give one number here.")
        if minimum is not None and value < minimum:
            raise self.error(field, f"is {value!r}", f"The least is {minimum:g}.")
        return value

    def integer(self, field: str, default: int | None = None, *, minimum: int | None = None) -> int:
        """A whole number."""
        value = self.number(field, default, minimum=minimum)
        if not isinstance(value, int):
            raise self.error(field, f"is {value!r}", "Give a whole number.")
        return value

    def numbers(self, field: str, default: Sequence[float] | None = None) -> list[float]:
        """A list of numbers, not empty."""
        value = self.data.get(field)
        if value is None and default is not None:
            return list(default)
        if not isinstance(value, list) or not value:
            raise self.error(field, "is missing" if value is None else f"is {value!r}", "Give a list of numbers.")
        return [Table(self.where, {field: item}).number(field) for item in value]

    def sub(self, field: str, known: Sequence[str] | None) -> Table:
        """A table inside this one."""
        value = self._get(field, None)
        if not isinstance(value, dict):
            raise self.error(field, f"is {value!r}", f"Give a table: [{field}].")
        return Table(f"{self.where}: {field}", value, known)

    def tables(self, field: str) -> list[dict[str, Toml]]:
        """A list of tables."""
        value = self._get(field, None)
        rows = [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
        if not isinstance(value, list) or len(rows) != len(value):
            raise self.error(field, f"is {value!r}", "Give a list of tables.")
        return rows

    def _get(self, field: str, default: Toml | None) -> Toml:
        value = self.data.get(field, default)
        if value is None:
            raise self.error(field, "is missing", "Add it.")
        return value
