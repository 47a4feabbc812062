"""The agent's life: say hello, ask for work, carry it out, hand results over, and end when told to.

Whatever fails does so without losing a result: what a dead process left is recovered first, a hub that is away is
waited for, and what is leased is measured meanwhile. All times are by the monotonic clock. Standard library only.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone

from ..profiler.conclusion import timestamp
from ..profiler.errors import BadDocument, HubError, HubRefused, HubUnreachable, StoreUnwritable
from ..profiler.fleet_protocol import GiveBack, Hello, Lease, OfferedRuntime, Renewed, Welcome, WorkRequest
from ..profiler.installed import edgecost_version
from .agent import work_off
from .agent_home import AgentHome, Membership
from .backoff import Backoff
from .guards import board_watch
from .heartbeat import Heartbeat
from .host import facts_document, read_conditions, read_host
from .hub_client import HubClient
from .lease_hold import LeaseHold
from .lease_work import Desk, Measure, carry_out
from .leased_work import MODEL_BYTES_MAX
from .model_cache import ModelCache
from .offers import Offers
from .outbox import FATAL, Outbox
from .recovery import recover
from .spool import Spool
from .told import Told, Weight

#: How often a board that is to take no more work asks whether it may again, and a full one looks for room.
REST_S = 60.0
#: At its end an agent tries for so long to send what is left; systemd would kill it after 90 s.
FAREWELL_S = 10.0
#: A hub, or a proxy, that says at once that there is no work is not asked in a tight loop.
_HASTY_S = 1.0
#: Jobs of a first lease; a later one has as many as are measured together.
_FIRST_LIMIT, _LIMIT_MAX = 32, 256


@dataclass(frozen=True)
class Manner:
    """How an agent is to run.

    Attributes:
        until_idle_s: end when there was no work for so long, and all is sent; None never ends by itself.
        cpus: those that runners are pinned to; none for the runtime's own.
        rest_s: see ``REST_S``.
        measure: measures jobs; another one where measuring is not the point.
        meter: name of the power meter for energies; empty for what the board has.
        control: name of the control profile that is applied while the agent runs; empty for none.
    """

    until_idle_s: float | None = None
    cpus: tuple[int, ...] = ()
    rest_s: float = REST_S
    measure: Measure = work_off
    meter: str = ""
    control: str = ""


class Ending:
    """The word to end, from whatever thread: waits end, requests break off, the runner is killed."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._guard = threading.Lock()
        self._client: HubClient | None = None
        self._hold: LeaseHold | None = None
        self._why = ""

    @property
    def has_begun(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until the end begins; whether it has."""
        return self._event.wait(seconds)

    def begin(self, why: str) -> None:
        with self._guard:
            self._why = self._why or why
            client, hold = self._client, self._hold
            self._event.set()
        if hold is not None:
            hold.stop(why)
        if client is not None:
            client.abort()

    def watch(self, client: HubClient | None = None, hold: LeaseHold | None = None) -> None:
        """These end too. ``hold`` takes the place of the one before."""
        with self._guard:
            self._client, self._hold = client or self._client, hold
            why = self._why
        if why:
            self.begin(why)


class AgentLoop:
    """What an agent does between the opening of its folder and the closing."""

    def __init__(
        self,
        home: AgentHome,
        membership: Membership,
        boot_id: str,
        spool: Spool,
        outbox: Outbox,
        new_client: Callable[[], HubClient],
        told: Told,
        manner: Manner,
        ending: Ending,
        failed: Callable[[HubRefused], None],
    ) -> None:
        self._home = home
        self._membership = membership
        self._boot_id = boot_id
        self._spool = spool
        self._outbox = outbox
        self._new_client = new_client
        self._told = told
        self._manner = manner
        self._ending = ending
        self._failed = failed
        self._client = new_client()
        self._backoff = Backoff(ending.wait)
        self._offers = Offers(membership.runtimes)
        self._models = ModelCache(home.models_path)
        self._desk = Desk(
            membership.device.identity,
            self._offers,
            spool,
            outbox,
            self._fetch,
            told,
            manner.cpus,
            manner.measure,
            manner.meter,
            board_watch(),
        )
        self._state = "active"
        self._lease_s, self._wait_s = 0.0, 0.0
        self._limit = _FIRST_LIMIT
        self._said: tuple[OfferedRuntime, ...] | None = None
        self._given_back: list[tuple[str, GiveBack]] = []
        self._is_recovered = False
        self._busy_at_s = time.monotonic()

    def run(self) -> None:
        """Until the end begins, or there was no work for as long as was asked for.

        Raises:
            StoreError: the spool cannot be used.
        """
        self._ending.watch(client=self._client)
        while not self._ending.has_begun and not self._is_idle():
            try:
                self._turn()
            except HubUnreachable as error:
                self._rest(error.message, error.retry_after_s)
            except BadDocument as error:
                self._rest(error.message, None)
            except HubRefused as error:
                if error.status in FATAL:
                    self._failed(error)
                elif error.status == 409:
                    # The board may take no work now; hello says in which state it is.
                    self._said = None
                    self._ending.wait(min(1.0, self._manner.rest_s))
                else:
                    self._rest(error.message, None)
        self._client.close()

    def part(self) -> None:
        """Send what is left, give back what was not begun, and say goodbye; all of it if the hub is there."""
        self._outbox.flush(FAREWELL_S)
        client = self._new_client()
        try:
            with suppress(HubError):
                self._give_back(client)
                client.bye()
        finally:
            client.close()

    def _turn(self) -> None:
        """One round of the loop: whatever is due next."""
        if not self._is_recovered and not self._recover():
            return
        if self._said is None or self._offers.is_stale:
            self._greet()
        self._give_back(self._client)
        if self._state == "retired":
            self._failed(HubRefused(f"{self._membership.name} was retired", status=401))
        elif self._state != "active":
            self._told(Weight.NOTE, f"the hub wants this board to rest: it is {self._state}")
            self._said = None
            self._ending.wait(self._manner.rest_s)
        elif not self._outbox.has_room():
            self._told(Weight.WARNING, "there is no room for more results: no work is taken until some are sent")
            self._ending.wait(self._manner.rest_s)
        else:
            self._ask_for_work()

    def _recover(self) -> bool:
        """Let go what a dead process held; False when there is no room for it yet."""
        try:
            results, given_back = recover(self._spool, self._membership.device.identity, self._boot_id)
            again = self._spool.offer_again()
        except StoreUnwritable as error:
            self._told(Weight.ERROR, error.message)
            self._ending.wait(self._manner.rest_s)
            return False
        self._given_back += given_back
        for result in results:
            made = result.measurement
            self._told(Weight.WARNING, f"found attempt {made.measurement_id[:8]}: {made.status.value}, {made.message}")
        if again:
            self._told(Weight.NOTE, f"{again} results that the hub refused are offered again")
        self._outbox.look()
        self._is_recovered = True
        return True

    def _greet(self) -> None:
        offers = self._offers.look()
        if offers == self._said:
            return
        hello = Hello(
            boot_id=self._boot_id,
            agent_version=edgecost_version(),
            device=self._membership.device,
            sent_at=timestamp(datetime.now(timezone.utc)),
            runtimes=offers,
            host=facts_document(read_host()),
        )
        self._heard(self._client.hello(hello))
        self._said = offers
        for offer in offers:
            told = f"cannot be used: {offer.problem}" if offer.profile is None else "is offered"
            self._told(Weight.WARNING if offer.profile is None else Weight.NOTE, f"runtime {offer.name} {told}")

    def _heard(self, welcome: Welcome) -> None:
        self._state, self._lease_s, self._wait_s = welcome.state, welcome.lease_s, welcome.wait_s
        self._answered()
        self._told(Weight.NOTE, f"{self._membership.hub_url} knows this board as {welcome.name}, {welcome.state}")

    def _answered(self) -> None:
        self._backoff.succeeded()
        self._home.touch_contact()

    def _ask_for_work(self) -> None:
        asked_at_s = time.monotonic()
        lease = self._client.lease(WorkRequest(self._wait_now_s(), self._limit, read_conditions()))
        self._answered()
        if lease is not None:
            self._work(lease, asked_at_s + lease.expires_s)
            self._busy_at_s = time.monotonic()
        elif time.monotonic() - asked_at_s < _HASTY_S:
            self._ending.wait(_HASTY_S)

    def _work(self, lease: Lease, expires_at_s: float) -> None:
        self._told(Weight.NOTE, f"{len(lease.jobs)} jobs of {lease.campaign} for {lease.runtime}")
        self._limit = max(1, min(_LIMIT_MAX, lease.settings.group_size))
        hold = LeaseHold(lease, expires_at_s)
        try:
            self._spool.take(lease, self._boot_id)
        except StoreUnwritable as error:
            self._told(Weight.ERROR, error.message)
            self._given_back.append((lease.lease_token, GiveBack(reason=error.message)))
            return
        self._ending.watch(hold=hold)
        with Heartbeat(self._new_client(), hold, self._lease_s, self._told, self._renewed, self._failed):
            end = carry_out(hold, self._desk)
        self._ending.watch()
        if end.unanswered:
            self._told(Weight.WARNING, f"{len(end.unanswered)} jobs are given back: {end.why}")
            self._given_back.append((lease.lease_token, GiveBack(end.unanswered, end.why)))
        with suppress(StoreUnwritable):  # it is let go at the next start
            self._spool.drop(lease.lease_token)
        if end.has_changed:
            self._said = None
        if len(end.unanswered) == len(lease.jobs) and not self._ending.has_begun:
            # Whatever is wrong with the board, the same lease would come back at once.
            self._give_back(self._client)
            self._backoff.pause()

    def _renewed(self, answer: Renewed) -> None:
        self._home.touch_contact()
        if answer.state != self._state:
            self._told(Weight.NOTE, f"the hub says that this board is {answer.state} now")
            self._state = answer.state

    def _give_back(self, client: HubClient) -> None:
        """Give back jobs that will not be measured. What the hub does not want back runs out there."""
        while self._given_back:
            token, given = self._given_back[0]
            try:
                client.release(token, given)
            except HubRefused as error:
                if error.status in FATAL:
                    raise
                self._told(Weight.WARNING, f"the hub does not take jobs back: {error.message}")
            self._given_back.pop(0)

    def _fetch(self, sha256: str) -> bytes:
        return self._client.blob(sha256, self._models, MODEL_BYTES_MAX)

    def _rest(self, why: str, retry_after_s: float | None) -> None:
        if not self._ending.has_begun:
            self._told(Weight.WARNING, why)
            self._backoff.pause(retry_after_s)

    def _wait_now_s(self) -> float:
        """How long the hub may let this request wait: not beyond the time at which an idle agent ends."""
        if self._manner.until_idle_s is None:
            return self._wait_s
        left_s = self._busy_at_s + self._manner.until_idle_s - time.monotonic()
        return max(0.0, min(self._wait_s, left_s))

    def _is_idle(self) -> bool:
        if self._manner.until_idle_s is None or not self._is_recovered:
            return False
        return time.monotonic() - self._busy_at_s >= self._manner.until_idle_s and self._outbox.is_empty()
