"""What is read for one power: a file of the kernel, a program, a library; and how a number is read from a file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from ...profiler.energy.meter import MeterFacts

_NUMBER = re.compile(rb"\s*(-?\d+)\s*")
_PAIR = re.compile(rb"\s*(-?\d+)\s+(-?\d+)\s*")


class CounterFault(ValueError):
    """A counter went backwards where it cannot have wrapped: what it counted before is lost."""


class Source(Protocol):
    """One power or energy, opened. ``read`` is called from one thread."""

    def read(self) -> float:
        """mW, or mJ since some beginning.

        Raises:
            OSError, ValueError: this reading gave nothing; the next one may.
            CounterFault: the counter started anew.
        """

    def close(self) -> None:
        """Let go of files and processes; safe to call twice."""


@dataclass(frozen=True)
class FoundSensor:
    """A sensor that is there and was read once.

    Attributes:
        is_whole: whether it is what the device takes as a whole; others are parts.
        parent: the rail that includes this one; empty for none.
        rails: what is read beside it, in the order of ``Railed.rails``, where ``open`` gives such a source.
    """

    facts: MeterFacts
    open: Callable[[], Source] = field(compare=False)
    is_whole: bool = False
    parent: str = ""
    rails: tuple[MeterFacts, ...] = ()


@dataclass(frozen=True)
class Problem:
    """Something that is missing or may not be read: what, and what helps. ``permission`` where a right is missing."""

    what: str
    remedy: str = ""
    permission: bool = False


class OpenFile:
    """A file of the kernel, kept open: opening costs more than reading, and a sensor may be renamed meanwhile."""

    def __init__(self, path: Path) -> None:
        """Raises OSError where it cannot be opened."""
        self._descriptor: int | None = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def number(self) -> int:
        """The whole number that it holds, and nothing else: a unit or garbage beside it is no number.

        Raises:
            OSError, ValueError: it cannot be read now, or holds no number.
        """
        return int(_matched(_NUMBER, self._text()).group(1))

    def pair(self) -> tuple[int, int]:
        """Two numbers of one reading; raises as ``number``."""
        found = _matched(_PAIR, self._text())
        return int(found.group(1)), int(found.group(2))

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _text(self) -> bytes:
        if self._descriptor is None:
            raise OSError("the file is closed")
        return os.pread(self._descriptor, 64, 0)


def _matched(pattern: re.Pattern[bytes], text: bytes) -> re.Match[bytes]:
    found = pattern.fullmatch(text)
    if found is None:
        raise ValueError(f"no number: {text!r}")
    return found


def text_of(path: Path) -> str | None:
    """A short text; None where it cannot be read, or there is nothing in it."""
    try:
        return path.read_text(errors="replace").strip("\0\n ") or None
    except OSError:
        return None


class Sum:
    """Several rails, read one after the other, as one power."""

    def __init__(self, parts: Sequence[Source]) -> None:
        self._parts = parts
        self._last: list[float] = []

    def read(self) -> float:
        """Their sum; one that gives nothing leaves no sum."""
        self._last = []  # what is not read this time is not known, whatever it was before
        for part in self._parts:
            self._last.append(part.read())
        return sum(self._last)

    def close(self) -> None:
        for part in self._parts:
            part.close()

    def last(self, at: int) -> float:
        """What a part said in the last reading; raises OSError where it said nothing."""
        if at >= len(self._last):
            raise OSError("it was not read")
        return self._last[at]


class Known:
    """A part of what was read already: looking at it reads nothing."""

    def __init__(self, look: Callable[[], float]) -> None:
        self.read = look

    def close(self) -> None:
        """Closed with what it is a part of."""


class Railed:
    """The whole as a source, and the rails beside it; ``close`` closes all of them."""

    def __init__(self, whole: Source, rails: Sequence[Source]) -> None:
        self._whole = whole
        self.rails = rails

    def read(self) -> float:
        return self._whole.read()

    def close(self) -> None:
        for one in (self._whole, *self.rails):
            one.close()


def opened_together(openers: Sequence[Callable[[], Source]], beside: Sequence[Callable[[], Source]] = ()) -> Source:
    """The whole that these make up, with its rails: these, where there are several, and then those ``beside``.

    All are opened, or none.

    Raises:
        OSError: as the opening of one.
    """
    found = _opened([*openers, *beside])
    own, rails = found[: len(openers)], found[len(openers) :]
    if len(own) > 1:
        whole = Sum(own)
        return Railed(whole, [*(Known(partial(whole.last, at)) for at in range(len(own))), *rails])
    return Railed(own[0], rails) if rails else own[0]


def _opened(openers: Sequence[Callable[[], Source]]) -> list[Source]:
    found: list[Source] = []
    try:
        for opener in openers:
            found.append(opener())
    except OSError:
        for one in found:
            one.close()
        raise
    return found
