"""Commands that measure what a page lacks, ready to copy: for a board of the fleet, a pool, or the machine itself."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from ...db import Store
from ...profiler.records import RuntimeProfile
from ...profiler.runtimes import BUILT_IN, NamedRuntime

#: Whole networks that an audit of a table is worth: eight fit the factor, the others judge it.
_NETWORKS = 40


@dataclass(frozen=True)
class Doer:
    """Who measures on a device and profile.

    Attributes:
        selector: of boards of the fleet; empty for a machine that is not in it, where commands are typed on itself.
        flags: what such a command says of the runtime, with a space before it.
    """

    selector: str
    flags: str = ""

    @property
    def where(self) -> str:
        """Where the commands are typed."""
        return "on the hub's machine" if self.selector else "on that machine, with this database (EDGECOST_DB)"

    def cells(self, space: str) -> str:
        """The cells of a space that are not measured yet: a board takes all, a machine the best first."""
        if self.selector:
            return f"edgecost campaign run --space {shlex.quote(space)} --device {shlex.quote(self.selector)}"
        return f"edgecost campaign run --space {shlex.quote(space)} --adaptive --target 5%{self.flags}"

    def networks(self, space: str, table: str) -> str:
        """Whole networks of a space, for the audit of a table.

        Args:
            table: name of its native file.
        """
        if self.selector:
            return f"{self.cells(space)} --networks {_NETWORKS}"
        return f"edgecost lut audit {shlex.quote(table)} --measure {_NETWORKS}{self.flags}"

    def kernels(self) -> str:
        """Each kernel of a network alone; empty for boards of a fleet, which take no such command."""
        return "" if self.selector else f"edgecost audit additivity MODEL.onnx{self.flags}"

    def kinds(self) -> str:
        """Kernels of every kind, likewise."""
        return "" if self.selector else f"edgecost campaign kernels{self.flags}"

    def train(self) -> str:
        """The predictor anew."""
        return "edgecost train --all" if self.selector else f"edgecost train{self.flags}"


def doer_of(store: Store, identity: str, profile: RuntimeProfile) -> Doer:
    """Whoever can measure on a device under a profile."""
    for agent in store.fleet.agents():
        if agent.device_identity == identity and agent.state != "retired":
            for offer in agent.usable:
                if offer.profile_hash == profile.profile_hash:
                    return Doer(f"name={agent.name},runtime={offer.name}")
    return Doer("", _flags([*BUILT_IN.values(), *store.named_runtimes()], profile))


def _flags(named: list[NamedRuntime], profile: RuntimeProfile) -> str:
    """How a profile is asked for; by a name that only says what it is where nobody has named it."""
    fitting = [one for one in named if _is(one, profile)]
    fitting.sort(key=lambda one: one.threads != profile.threads)
    if not fitting:
        return f" --runtime {shlex.quote(f'NAME of {profile.label}')}"
    chosen = fitting[0]
    runtime = "" if chosen.name == "ort" else f" --runtime {shlex.quote(chosen.name)}"
    return runtime + ("" if chosen.threads == profile.threads else f" --threads {profile.threads}")


def _is(named: NamedRuntime, profile: RuntimeProfile) -> bool:
    """But for the threads, which a command may change, and what the machine adds to the options."""
    fields = ("runtime", "provider", "precision", "graph_level", "interpreter", "affinity")
    same = all(getattr(named, name) == getattr(profile, name) for name in fields)
    return same and set(named.options) <= set(profile.options)
