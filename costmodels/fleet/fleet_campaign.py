"""A campaign on the boards of a pool: its jobs planned in the store, and followed until the boards have done them.

Nothing is measured here: boards take jobs when they like (``devices``), and whoever follows may go and come back.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ...db import Store
from ...db.records import NewJob
from ...profiler.documents import document_of
from ...profiler.energy.windows import EnergySettings
from ...profiler.protocol import Settings
from ...profiler.records import Json, Quantity
from ..campaign import Planned
from ..dataset import NETWORK_PURPOSES
from ..planned_campaign import Narrator
from ..space import Space
from ..space_plan import plan_space
from .pool import Pool

#: How often the store is asked how far the boards are.
LOOK_S = 1.0
#: Boards that were not heard of for this long are told of.
SILENT_S = 120.0
#: Whole networks of which the factor from sums to networks is made, and processes that measure each.
NETWORKS, NETWORK_SESSIONS = 8, 2
#: Cells that every board of a pool measures at the least: their paces are compared by them.
PANEL_MIN = 8


@dataclass(frozen=True)
class Wish:
    """A planned workload, for whichever board or for one of them.

    Attributes:
        board: identity of the only board that may measure it; empty for any.
    """

    planned: Planned
    board: str = ""


@dataclass(frozen=True)
class FleetOutcome:
    """A campaign's jobs after it was followed.

    Attributes:
        accepted_by: results that counted, by board.
        reused: workloads that had been measured before.
    """

    campaign: str
    planned: int
    reused: int
    done: int
    failed: int
    left: int
    followed_s: float
    accepted_by: Mapping[str, int]

    def document(self) -> dict[str, Json]:
        """As JSON."""
        return {**document_of(self), "accepted_by": dict(self.accepted_by)}


def wishes_for(space: Space, pool: Pool, *, panel_share: float, networks: int, seed: int) -> list[Wish]:
    """What is measured for a table: every cell on some board, a panel of cells on each board, some whole networks.

    The panel tells how far the boards are from each other, and how far processes are.
    """
    wishes = []
    if len(pool.boards) > 1:
        panel_share = max(panel_share, min(1.0, PANEL_MIN / len(space.measurable)))
    for planned in plan_space(space, panel_share=panel_share, seed=seed):
        if planned.purpose == "panel" and len(pool.boards) > 1:
            wishes += [Wish(replace(planned, round=0), board.identity) for board in pool.boards]
        else:
            wishes.append(Wish(planned))
    count = min(networks, space.size)
    if count:
        for arch in space.sample(count, seed):
            workload = space.build(arch[None])
            wishes += [
                Wish(Planned(workload, "network", workload.name, priority=-session, round=session))
                for session in range(NETWORK_SESSIONS)
            ]
    return wishes


def wishes_of(planned: Sequence[Planned], pool: Pool, seed: int) -> list[Wish]:
    """Each workload on whichever board is free, and some blocks on every board, which tell the boards' paces."""
    blocks = [one for one in planned if one.purpose not in NETWORK_PURPOSES]
    several = len(pool.boards) > 1
    panel = random.Random(seed).sample(blocks, min(PANEL_MIN, len(blocks))) if several else []
    chosen = {one.workload.graph_hash for one in panel}
    everywhere = [Wish(one, board.identity) for one in panel for board in pool.boards]
    return everywhere + [Wish(one) for one in planned if one.workload.graph_hash not in chosen]


def plan_fleet_campaign(
    store: Store,
    pool: Pool,
    name: str,
    origin: str,
    wishes: Sequence[Wish],
    settings: Settings,
    energy: EnergySettings | None = None,
) -> tuple[int, str, int]:
    """Write as jobs what is wished and was not measured yet by any board of the pool.

    Args:
        energy: how long to measure energies; None where latencies are wanted.

    Returns:
        The campaign's id, its name, and how many workloads need no job.
    """
    profile_hash = pool.profile.profile_hash
    full_name = f"{name}@{pool.selector}/{profile_hash[:8]}"
    document: dict[str, Json] = {
        "runtime": pool.runtime,
        "profile_hash": profile_hash,
        "protocol": document_of(settings),
    }
    if energy is not None:
        document["energy"] = document_of(energy)
    quantity = Quantity.LATENCY if energy is None else Quantity.ENERGY
    campaign_id = store.open_campaign(full_name, origin, document, pool.selector)
    by_board = {board.identity: _measured(store, board.identity, profile_hash, quantity) for board in pool.boards}
    by_all: Counter[tuple[str, str]] = sum(by_board.values(), Counter())
    jobs = []
    for wish in wishes:
        key = (wish.planned.workload.graph_hash, wish.planned.purpose)
        made = by_board[wish.board][key] if wish.board else by_all[key]
        if made <= wish.planned.round:
            store.put_workload(wish.planned.workload)
            jobs.append(_new_job(wish, campaign_id))
    store.add_jobs(campaign_id, jobs)
    return campaign_id, full_name, len(wishes) - len(jobs)


def _measured(store: Store, identity: str, profile_hash: str, quantity: Quantity) -> Counter[tuple[str, str]]:
    found = store.measurements(device_identity=identity, profile_hash=profile_hash, of=quantity)
    return Counter((one.graph_hash, one.purpose) for one in found)


def _new_job(wish: Wish, campaign_id: int) -> NewJob:
    planned = wish.planned
    where = f"@{wish.board}" if wish.board else ""
    return NewJob(
        graph_hash=planned.workload.graph_hash,
        purpose=planned.purpose,
        label=planned.label,
        priority=planned.priority,
        dedupe_key=f"{campaign_id}/{planned.purpose}/{planned.round}/{planned.workload.graph_hash}{where}",
        device_identity=wish.board or None,
    )


def follow(
    store: Store, pool: Pool, campaign_id: int, narrator: Narrator, title: str, *, budget_s: float | None = None
) -> dict[str, int]:
    """Wait until a campaign's jobs are over, telling how far they are; the jobs by state at the end.

    Args:
        budget_s: seconds after which nobody waits any longer; the boards go on.
    """
    begin, counts = time.monotonic(), store.fleet.job_states(campaign_id)
    open_jobs = counts["pending"] + counts["leased"]
    narrator.stage(title, open_jobs)
    silence = _Silence(store, pool, narrator)
    while open_jobs and not (budget_s is not None and time.monotonic() - begin > budget_s):
        time.sleep(LOOK_S)
        before, counts = counts, store.fleet.job_states(campaign_id)
        open_jobs = counts["pending"] + counts["leased"]
        for state in ("done", "failed"):
            for _ in range(counts[state] - before[state]):
                narrator.step(f"{counts['leased']} in hand, {counts['failed']} failed")
        silence.look()
    return counts


class _Silence:
    """Tells once of each board that falls silent, and that it is back."""

    def __init__(self, store: Store, pool: Pool, narrator: Narrator) -> None:
        self._store = store
        self._names = {board.name for board in pool.boards}
        self._narrator = narrator
        self._silent: set[str] = set()
        self._next = time.monotonic() + SILENT_S / 4

    def look(self) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + SILENT_S / 4
        now = datetime.fromisoformat(self._store.fleet.server_time())
        for agent in self._store.fleet.agents():
            if agent.name not in self._names or agent.last_seen is None:
                continue
            is_silent = (now - datetime.fromisoformat(agent.last_seen)).total_seconds() > SILENT_S
            if is_silent and agent.name not in self._silent:
                self._silent.add(agent.name)
                self._narrator.note(f"{agent.name} was not heard of for {SILENT_S:.0f} s; its jobs go to others")
            elif not is_silent and agent.name in self._silent:
                self._silent.discard(agent.name)
                self._narrator.note(f"{agent.name} is back")


def measure_on_fleet(
    store: Store,
    pool: Pool,
    space: Space,
    narrator: Narrator,
    *,
    panel_share: float,
    networks: int = NETWORKS,
    limit: int | None = None,
    budget_s: float | None = None,
    seed: int = 0,
) -> FleetOutcome:
    """Have a space measured by the boards of a pool; called again, it goes on where the boards are.

    Args:
        limit: workloads at most.
    """
    name = f"{space.name}-{space.resolution}-w{space.width:g}"
    wishes = wishes_for(space, pool, panel_share=panel_share, networks=networks, seed=seed)
    if limit is not None:
        wishes = wishes[:limit]
    return carry_out(store, pool, name, space.name, wishes, narrator, settings=Settings(seed=seed), budget_s=budget_s)


def carry_out(
    store: Store,
    pool: Pool,
    name: str,
    origin: str,
    wishes: Sequence[Wish],
    narrator: Narrator,
    *,
    settings: Settings,
    energy: EnergySettings | None = None,
    budget_s: float | None = None,
) -> FleetOutcome:
    """Plan what is wished and follow the boards; arguments as ``plan_fleet_campaign`` and ``follow``."""
    begin = time.monotonic()
    campaign_id, full_name, reused = plan_fleet_campaign(store, pool, name, origin, wishes, settings, energy)
    if reused:
        narrator.note(f"{reused} of {len(wishes)} workloads already measured, reused")
    failed = store.fleet.job_states(campaign_id)["failed"]
    if failed:
        narrator.note(f"{failed} jobs failed before: edgecost jobs retry --campaign '{full_name}'")
    boards = ", ".join(board.name for board in pool.boards)
    counts = follow(store, pool, campaign_id, narrator, f"measuring on {boards}", budget_s=budget_s)
    return FleetOutcome(
        campaign=full_name,
        planned=len(wishes),
        reused=reused,
        done=counts["done"],
        failed=counts["failed"],
        left=counts["pending"] + counts["leased"],
        followed_s=time.monotonic() - begin,
        accepted_by=store.fleet.accepted_by(campaign_id),
    )
