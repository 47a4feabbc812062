"""What a board offers: its runtimes by name, and the profile that each one is now. Standard library only."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence

from ..profiler.errors import EdgecostError, UsageError
from ..profiler.fleet_protocol import OfferedRuntime
from ..profiler.records import Json, RuntimeProfile
from ..profiler.runtimes import NamedRuntime, resolve

#: Looking may start an interpreter, and runtimes are installed by people: rarely.
LOOK_EVERY_S = 600.0


def profile_document(profile: RuntimeProfile) -> dict[str, Json]:
    """A profile as JSON has it: lists, no tuples."""
    document: dict[str, Json] = json.loads(json.dumps(profile.document()))
    return document


class Offers:
    """The runtimes of one board."""

    def __init__(
        self,
        runtimes: Sequence[NamedRuntime],
        *,
        resolved: Callable[[NamedRuntime], RuntimeProfile] = resolve,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runtimes = {named.name: named for named in runtimes}
        self._resolved = resolved
        self._clock = clock
        self._looked_at_s: float | None = None
        self._broken: dict[str, str] = {}

    def look(self) -> tuple[OfferedRuntime, ...]:
        """What each runtime is at this moment."""
        self._looked_at_s = self._clock()
        return tuple(self._offer(named) for named in self._runtimes.values())

    @property
    def is_stale(self) -> bool:
        """Whether it is time to look again; what was broken is tried again then."""
        if self._looked_at_s is not None and self._clock() - self._looked_at_s < LOOK_EVERY_S:
            return False
        self._broken.clear()
        return True

    def profile(self, name: str) -> RuntimeProfile:
        """The profile that a runtime is at this moment.

        Raises:
            EdgecostError: there is none of this name, or it cannot be used now.
        """
        if name not in self._runtimes:
            raise UsageError(f"this board has no runtime {name!r}")
        return self._resolved(self._runtimes[name])

    def broke(self, name: str, why: str) -> None:
        """A runtime that is there does not run: it is not offered until it is tried again."""
        self._broken[name] = why

    def _offer(self, named: NamedRuntime) -> OfferedRuntime:
        if named.name in self._broken:
            return OfferedRuntime(named.name, problem=self._broken[named.name])
        try:
            return OfferedRuntime(named.name, profile_document(self._resolved(named)))
        except EdgecostError as error:
            return OfferedRuntime(named.name, problem=error.message)
