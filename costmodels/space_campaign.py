"""A space measured on this machine: its plan, its campaign and how far it is."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace

from ..db import Store
from ..profiler.protocol import Settings
from .cards.session_anchors import check_session
from .local_setting import LocalSetting
from .planned_campaign import CampaignOutcome, Narrator, is_anything_open, measure_planned, what_is_left
from .space import Space
from .space_plan import plan_space


def measure_space(
    store: Store,
    setting: LocalSetting,
    space: Space,
    narrator: Narrator,
    *,
    panel_share: float,
    panel_sessions: int = 1,
    budget_s: float | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> CampaignOutcome:
    """Measure the cells of a space, their relatives and the panel; what the store has is not measured again.

    A session that has something to measure begins with the store's anchors (``cards.session_anchors``).
    """
    name = f"{space.name}-{space.resolution}-w{space.width:g}-{setting.profile.profile_hash[:8]}"
    wanted = plan_space(space, panel_share=panel_share, panel_sessions=panel_sessions, seed=seed)
    counts = Counter(planned.purpose for planned in wanted)
    narrator.note(
        f"{counts['cell']} cells, {counts['support']} relatives of those that stand alone,"
        f" {counts['panel']} repetitions of cells in other processes"
    )
    check, begin = None, time.monotonic()
    if is_anything_open(store, setting, name, space.name, wanted):
        check = check_session(store, setting, narrator)
    outcome = measure_planned(
        store,
        setting,
        name,
        space.name,
        wanted,
        narrator,
        "measuring cells",
        budget_s=what_is_left(budget_s, begin),
        limit=limit,
        settings=Settings(seed=seed),
    )
    return outcome if check is None else replace(outcome, anchors=check.document())
