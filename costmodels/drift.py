"""Whether a device is what it was: the canary of a session against those of its earlier sessions.

The canary is a fixed product in numpy that every visit is set between; its quiet level in a session is the machine's
own speed, whatever is measured. A lower clock, heat or another host moves it, and every number of the session with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..profiler.records import Json

if TYPE_CHECKING:
    from ..db import Store

#: Of 14 sessions on a shared virtual machine 13 lay within 2 % of each other, and one was 11 % slower.
DRIFT_LIMIT = 0.10
#: With fewer earlier sessions nobody knows what is usual.
SESSIONS_MIN = 5
#: Newest sessions that are looked at: a machine that stays slower is soon judged by what it has become.
_HISTORY = 40
#: The quiet level of a device over its sessions: a quarter of them undisturbed is enough to know it.
_QUIET_PERCENTILE = 25


def canary_drift(
    store: Store, device_identity: str, profile_hash: str, conditions: Mapping[str, Json], session: str
) -> float | None:
    """This session's canary over the median of earlier ones, less 1: 0.2 is a machine that is 20 % slower than usual.

    None where the session has no canary, or too few others have.
    """
    now = conditions.get("canary_us")
    earlier = _canaries_us(store, device_identity, profile_hash, session)
    if not isinstance(now, int | float) or len(earlier) < SESSIONS_MIN:
        return None
    return now / float(np.median(earlier)) - 1.0


def quiet_canary_ns(
    store: Store, device_identity: str, profile_hash: str, environment_hash: str | None
) -> float | None:
    """What the canary takes on this device when nothing else runs; None where too few sessions tell.

    Only sessions in the same environment count: with another governor another speed is the quiet one. None asks for
    sessions in any.
    """
    earlier = _canaries_us(store, device_identity, profile_hash, environment_hash=environment_hash)
    return float(np.percentile(earlier, _QUIET_PERCENTILE)) * 1e3 if len(earlier) >= SESSIONS_MIN else None


def canary_level_us(
    store: Store, device_identity: str, profile_hash: str, is_meant: Callable[[str], bool], *, sessions_min: int = 1
) -> float | None:
    """The canary's median level over the newest sessions that are meant; None where fewer of them have one.

    Args:
        is_meant: whether a session counts, by its name.
    """
    found = store.session_conditions(device_identity, profile_hash, _HISTORY)
    known = [one.get("canary_us") for one in found if is_meant(str(one["session"]))]
    levels = [float(value) for value in known if isinstance(value, int | float)]
    return float(np.median(levels)) if len(levels) >= max(1, sessions_min) else None


def _canaries_us(
    store: Store, device_identity: str, profile_hash: str, session: str = "", environment_hash: str | None = None
) -> list[float]:
    """Of earlier sessions, one each, newest first; without ``session``."""
    found = store.session_conditions(device_identity, profile_hash, _HISTORY, environment_hash)
    known = [one.get("canary_us") for one in found if one["session"] != session]
    return [float(value) for value in known if isinstance(value, int | float)]
