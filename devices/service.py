"""An agent as a service: opens its folder, runs the loop, and ends it when told to. Standard library only."""

from __future__ import annotations

import threading
from contextlib import ExitStack

from ..profiler.errors import EdgecostError, HubRefused
from .agent_home import AgentHome
from .agent_loop import AgentLoop, Ending, Manner
from .control import controlled, restore_leftover
from .hub_client import HubClient
from .hub_connection import Place
from .outbox import Outbox
from .recovery import read_boot_id
from .spool import open_spool
from .told import Told, Weight


class AgentService:
    """One agent. ``run`` blocks; ``stop`` may be called from any thread, but from no signal handler."""

    def __init__(
        self, home: AgentHome, told: Told, manner: Manner | None = None, *, boot_id: str | None = None
    ) -> None:
        self._home = home
        self._told = told
        self._manner = manner or Manner()
        self._boot_id = read_boot_id() if boot_id is None else boot_id
        self._ending = Ending()
        self._guard = threading.Lock()
        self._fatal: EdgecostError | None = None

    def stop(self) -> None:
        """End soon: nothing new is begun, and what is not measured is given back."""
        self._ending.begin("the agent ends")

    def run(self) -> None:
        """Work until told to end.

        Raises:
            HubRefused: the hub does not know this agent any more, or speaks another protocol.
            UsageError: nobody enrolled in this folder, another agent runs in it, or the control profile cannot be
                applied.
            StoreError: the spool cannot be used.
        """
        with ExitStack() as stack:
            stack.enter_context(self._home.lock())
            membership, token = self._home.read(), self._home.token()
            place = Place(membership.hub_url, membership.ca_file, membership.allow_plain_http)
            spool = open_spool(self._home.spool_path, lambda text: self._told(Weight.ERROR, text))
            stack.callback(spool.close)
            outbox = stack.enter_context(Outbox(spool, HubClient(place, token), self._told, self._fail))
            # Before anything looks at the board: what was left may have switched CPUs off, and lowered clocks.
            if self._manner.control:
                stack.enter_context(controlled(self._manner.control))
            elif left := restore_leftover():
                self._told(Weight.WARNING, left)
            loop = AgentLoop(
                self._home, membership, self._boot_id, spool, outbox, lambda: HubClient(place, token), self._told,
                self._manner, self._ending, self._fail,
            )  # fmt: skip
            loop.run()
            if self._fatal is None:
                loop.part()
        if isinstance(self._fatal, HubRefused):
            raise HubRefused(
                f"the hub works with this agent no more: {self._fatal.message}",
                remedy=self._fatal.remedy or "enrol it again: edgecost agent enroll",
                status=self._fatal.status,
            )
        if self._fatal is not None:
            raise self._fatal

    def _fail(self, error: EdgecostError) -> None:
        """The hub refuses this agent as such, or the spool is broken: what there is is kept, and the agent ends."""
        with self._guard:
            self._fatal = self._fatal or error
        self._ending.begin(error.message)
