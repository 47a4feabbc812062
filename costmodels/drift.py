"""Whether a device is what it was: the canary of a session against those of its earlier sessions.

The canary is a fixed product in numpy that every visit is set between; its quiet level in a session is the machine's
own speed, whatever is measured. A lower clock, heat or another host moves it, and every number of the session with it.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from ..db import Store
from ..profiler.records import Json
from .local_setting import LocalSetting

#: Of 14 sessions on a shared virtual machine 13 lay within 2 % of each other, and one was 11 % slower.
DRIFT_LIMIT = 0.10
#: With fewer earlier sessions nobody knows what is usual.
SESSIONS_MIN = 5
#: Newest measurements that are looked at: a few hundred sessions at most.
_HISTORY = 500


def canary_drift(store: Store, setting: LocalSetting, conditions: Mapping[str, Json], session: str) -> float | None:
    """This session's canary over the median of earlier ones, less 1: 0.2 is a machine that is 20 % slower than usual.

    None where the session has no canary, or too few others have.
    """
    now = conditions.get("canary_us")
    earlier: dict[str, float] = {}
    for one in store.recent_conditions(setting.device.identity, setting.profile.profile_hash, _HISTORY):
        canary = one.get("canary_us")
        if one["session"] != session and isinstance(canary, int | float):
            earlier.setdefault(str(one["session"]), float(canary))
    if not isinstance(now, int | float) or len(earlier) < SESSIONS_MIN:
        return None
    return now / statistics.median(earlier.values()) - 1.0
