"""The boards that measure one campaign together: those that match a selector and have one runtime alike."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...db import Store
from ...db.fleet.records import Agent
from ...db.fleet.selector import Selector
from ...profiler.errors import UsageError
from ...profiler.records import Device, RuntimeProfile

DEFAULT_RUNTIME = "ort"


@dataclass(frozen=True)
class Pool:
    """Boards that are taken to be alike; how far they are is measured (``pool_samples``).

    Attributes:
        selector: in its normal form, so that one pool has one name.
        runtime: its name on the boards.
        profile: what it is there, on all of them.
        boards: at least one, by name.
    """

    selector: str
    runtime: str
    profile: RuntimeProfile
    boards: tuple[Device, ...]

    @property
    def device(self) -> Device:
        """What a table of this pool is a table of: the board, where it is one, else all of them as one device."""
        if len(self.boards) == 1:
            return self.boards[0]
        together = "+".join(sorted(board.identity for board in self.boards))
        kinds = sorted({board.description for board in self.boards})
        return Device(
            name=self.selector,
            identity=hashlib.sha256(together.encode()).hexdigest(),
            description=f"{len(self.boards)} boards: {'; '.join(kinds)}",
        )


def choose_pool(store: Store, text: str, runtime: str | None = None) -> Pool:
    """The boards that a selector means, and the runtime to measure with.

    Args:
        runtime: its name; None for the selector's own (``runtime=…``), else ``ort``.

    Raises:
        UsageError: no active board matches or has the runtime, the boards have several versions or settings of it, or
            the selector asks for another runtime.
    """
    selector = Selector.parse(text)
    if runtime is not None and selector.runtime not in (None, runtime):
        raise UsageError(f"{text} asks for the runtime {selector.runtime}, and --runtime for {runtime}")
    wanted = runtime or selector.runtime or DEFAULT_RUNTIME
    everyone = store.fleet.agents()
    matching = [one for one in everyone if selector.matches(one.all_labels())]
    active = [one for one in matching if one.state == "active"]
    if not active:
        raise UsageError(_why_none(text, everyone, matching), remedy="edgecost devices list")
    offers = {one.name: offer for one in active for offer in one.usable if offer.name == wanted}
    if not offers:
        problems = {f"{one.name}: {_problem(one, wanted)}" for one in active}
        raise UsageError(
            f"no board that matches {text} can measure with {wanted} ({'; '.join(sorted(problems))})",
            remedy=f"on the board: edgecost agent enroll … --runtime {wanted}, and look at edgecost agent status",
        )
    _check_alike(text, {name: offer.label for name, offer in offers.items()}, {o.profile_hash for o in offers.values()})
    (profile_hash,) = {offer.profile_hash for offer in offers.values()}
    profile = store.profile(profile_hash)
    assert profile is not None, "a board's profile is stored when it says hello"
    boards = [Device(one.name, one.device_identity, one.description) for one in active if one.name in offers]
    return Pool(str(selector), wanted, profile, tuple(boards))


def _why_none(text: str, everyone: Sequence[Agent], matching: Sequence[Agent]) -> str:
    if not everyone:
        return "no board is enrolled yet"
    if not matching:
        return f"no board matches {text}"
    states = ", ".join(f"{one.name} is {one.state}" for one in matching)
    return f"no board that matches {text} takes work: {states}"


def _problem(agent: Agent, runtime: str) -> str:
    for offer in agent.offers:
        if offer.name == runtime:
            return offer.problem
    return f"offers {', '.join(offer.name for offer in agent.offers) or 'nothing'}"


def _check_alike(text: str, labels: Mapping[str, str], hashes: set[str]) -> None:
    if len(hashes) == 1:
        return
    listed = "; ".join(f"{name}: {label}" for name, label in sorted(labels.items()))
    raise UsageError(
        f"the boards of {text} do not measure the same thing ({listed})",
        remedy="give them the same runtime and settings, or choose fewer: --device 'pool=nano,name=nano-1|nano-2'",
    )
