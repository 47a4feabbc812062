"""Which boards a campaign is for: ``pool=nano,runtime=ort``. Parsed once; knows no database."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ...profiler.errors import UsageError

#: Labels that every board has without being given them; ``runtime`` has several values.
RESERVED = ("name", "device", "runtime", "virtual")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+-]*")
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_TERM = re.compile(rf"({_KEY.pattern})(!?=)(.+)")


@dataclass(frozen=True)
class Term:
    """One condition: ``key`` has one of ``values``, or none of them."""

    key: str
    values: tuple[str, ...]
    negated: bool = False

    def holds(self, labels: Mapping[str, Collection[str]]) -> bool:
        """Whether it holds for a board; a label that the board has not got has no value."""
        return bool(set(self.values) & set(labels.get(self.key, ()))) != self.negated


@dataclass(frozen=True)
class Selector:
    """All of its terms must hold."""

    terms: tuple[Term, ...]

    @classmethod
    def parse(cls, text: str) -> Selector:
        """A list of ``key=value``, ``key=one|other`` and ``key!=value``, or the name of one board.

        Raises:
            UsageError: it is none of these.
        """
        parts = [part.strip() for part in text.split(",")]
        return cls(tuple(sorted((_term(part, text) for part in parts), key=str)))

    def matches(self, labels: Mapping[str, Collection[str]]) -> bool:
        return all(term.holds(labels) for term in self.terms)

    @property
    def runtime(self) -> str | None:
        """The one runtime that it asks for; None where it leaves that open."""
        for term in self.terms:
            if term.key == "runtime" and len(term.values) == 1 and not term.negated:
                return term.values[0]
        return None

    def __str__(self) -> str:
        return ",".join(f"{term.key}{'!=' if term.negated else '='}{'|'.join(term.values)}" for term in self.terms)


def _term(part: str, whole: str) -> Term:
    if _WORD.fullmatch(part):
        return Term("name", (part,))
    found = _TERM.fullmatch(part)
    values = tuple(sorted({value.strip() for value in found[3].split("|")})) if found else ()
    if found is None or not all(_WORD.fullmatch(value) for value in values):
        raise UsageError(
            f"{whole!r} does not say which boards: {part!r} is no condition",
            remedy="write it like pool=nano,runtime=ort or name=nano-1|nano-2",
        )
    return Term(found[1], values, negated=found[2] == "!=")


def check_labels(labels: Mapping[str, str]) -> None:
    """Refuse labels that no selector could name.

    Raises:
        UsageError: a key is reserved, or a key or value has other letters than a selector takes.
    """
    for key, value in labels.items():
        if key in RESERVED:
            raise UsageError(f"the label {key} is what every board has by itself", remedy="choose another key")
        if not _KEY.fullmatch(key) or not _WORD.fullmatch(value):
            raise UsageError(f"{key}={value} is no label", remedy="letters, digits and . _ - / : +, like pool=nano")
