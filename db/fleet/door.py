"""The fleet's door to the store: each method is one transaction. The statements stand beside it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from ...profiler.fleet_protocol import Enrolled, Enrolment, Hello, Result
from ...profiler.records import Json
from ..connect import Database, now, stamp
from . import access, agents, blobs, jobs, leases, results
from .records import Agent, AgentWork, AuditEntry, Batch, JobView, NewCode, Person, Verdict
from .wakeup import Listener, announce

#: How long an enrolment code may be used.
CODE_VALID_S = 600.0


class Fleet:
    """Every method raises ``StoreError`` when the database fails; nothing of that call is kept then."""

    def __init__(self, database: Database) -> None:
        self._database = database
        #: Hashes of environments and profiles that were stored through this door; nothing ever removes one.
        self._known: set[str] = set()

    def server_time(self) -> str:
        with self._database.read() as connection:
            return stamp(now(connection))

    def listener(self, on_word: Callable[[], None]) -> Listener:
        """What calls ``on_word`` whenever there may be new work, from a thread; on SQLite it never does."""
        return Listener(self._database, on_word)

    # Who may come in.

    def make_code(
        self,
        labels: Mapping[str, str],
        *,
        name: str | None = None,
        replaces: str | None = None,
        by: str = "",
        valid_s: float = CODE_VALID_S,
    ) -> NewCode:
        """Arguments and errors as ``access.make_code``."""
        with self._database.write() as connection:
            made = access.make_code(connection, labels, name, replaces, by, valid_s)
            detail: dict[str, Json] = {"labels": dict(labels), "name": name, "replaces": replaces}
            access.log(connection, by, "", "code made", name or replaces or "", detail)
            return made

    def too_many_wrong_codes(self, address: str) -> bool:
        with self._database.read() as connection:
            return access.too_many_wrong_codes(connection, address)

    def enrol(self, request: Enrolment, address: str) -> Enrolled:
        """Raises as ``agents.enrol``."""
        with self._database.write() as connection:
            made = agents.enrol(connection, request, address)
            access.log(connection, made.name, address, "enrolled", made.name, {"device": request.device.identity})
            return made

    def note(self, actor: str, address: str, action: str, subject: str, detail: Mapping[str, Json]) -> None:
        """Add to the log what somebody did, or was refused."""
        with self._database.write() as connection:
            access.log(connection, actor, address, action, subject, detail)

    def audit(self, limit: int) -> list[AuditEntry]:
        """Newest first."""
        with self._database.read() as connection:
            return access.entries(connection, limit)

    def make_token(self, name: str, role: str, *, by: str = "") -> str:
        """Raises as ``access.make_token``."""
        with self._database.write() as connection:
            token = access.make_token(connection, name, role)
            access.log(connection, by, "", "token made", name, {"role": role})
            return token

    def revoke_token(self, name: str, *, by: str = "") -> None:
        """Raises as ``access.revoke_token``."""
        with self._database.write() as connection:
            access.revoke_token(connection, name)
            access.log(connection, by, "", "token revoked", name, {})

    def person(self, token: str) -> Person:
        """Raises as ``access.person``."""
        with self._database.read() as connection:
            found, is_stale = access.person(connection, token)
        if is_stale:
            with self._database.write() as connection:
                access.note_use(connection, found.name)
        return found

    # Agents.

    def authenticate(self, token: str) -> tuple[str, str]:
        """Raises as ``agents.authenticate``."""
        with self._database.read() as connection:
            return agents.authenticate(connection, token)

    def hello(self, agent_id: str, said: Hello, address: str) -> Agent:
        """Raises as ``agents.hello``."""
        with self._database.write() as connection:
            return agents.hello(connection, agent_id, said, address)

    def seen(self, agent_id: str, address: str, conditions: Mapping[str, Json] | None = None) -> None:
        with self._database.write() as connection:
            agents.seen(connection, agent_id, address, conditions)

    def agents(self) -> list[Agent]:
        """By name."""
        with self._database.read() as connection:
            return agents.all_agents(connection)

    def agents_with_work(self) -> list[AgentWork]:
        """By name."""
        with self._database.snapshot() as connection:
            return agents.with_work(connection, agents.all_agents(connection))

    def agent(self, name: str) -> AgentWork:
        """Raises as ``agents.find``."""
        with self._database.snapshot() as connection:
            return agents.with_work(connection, [agents.find(connection, name)])[0]

    def set_agent_state(self, name: str, state: str, *, by: str = "", address: str = "") -> Agent:
        """Raises as ``agents.set_state``."""
        with self._database.write() as connection:
            found = agents.set_state(connection, name, state)
            access.log(connection, by, address, f"board {state}", found.name, {})
            announce(connection)
            return found

    # Work.

    def lease(self, agent_id: str, limit: int, lease_s: float) -> Batch | None:
        """Raises as ``leases.lease``."""
        with self._database.write() as connection:
            found = leases.lease(connection, agent_id, limit, lease_s)
            if found is None and leases.reap(connection):
                found = leases.lease(connection, agent_id, limit, lease_s)
            return found

    def has_work(self, agent_id: str) -> bool:
        """Whether it is worth to ask for a lease: true also for who would be refused one."""
        with self._database.read() as connection:
            return leases.has_work(connection, agent_id)

    def renew(self, agent_id: str, token: str, lease_s: float) -> leases.Held:
        with self._database.write() as connection:
            return leases.renew(connection, agent_id, token, lease_s)

    def release(self, agent_id: str, token: str, job_ids: Sequence[int] = ()) -> int:
        with self._database.write() as connection:
            number = leases.release(connection, agent_id, token, job_ids)
            announce(connection)
            return number

    def reap(self) -> int:
        """Take away leases that ran out; their number."""
        with self._database.write() as connection:
            number = leases.reap(connection)
            if number:
                announce(connection)
            return number

    def accept(self, agent_id: str, result: Result) -> Verdict:
        """Raises as ``results.accept``."""
        with self._database.write() as connection:
            verdict = results.accept(connection, agent_id, result, self._known)
        if verdict.is_new:  # what comes with a second copy of a result is not looked at
            self._known |= {result.measurement.environment_hash, result.measurement.profile_hash}
        return verdict

    def announce(self) -> None:
        """Wake whoever waits for work."""
        with self._database.write() as connection:
            announce(connection)

    # Jobs, as people see and steer them.

    def jobs(
        self, *, campaign: str | None = None, states: Collection[str] = (), after: int = 0, limit: int = 100
    ) -> list[JobView]:
        """Raises as ``jobs.listed``."""
        with self._database.read() as connection:
            return jobs.listed(connection, campaign=campaign, states=states, after=after, limit=limit)

    def job(self, job_id: int) -> tuple[JobView, list[dict[str, object]]]:
        """A job and every result that was sent for it. Raises as ``jobs.one``."""
        with self._database.snapshot() as connection:
            return jobs.one(connection, job_id), jobs.attempts_of(connection, job_id)

    def job_states(self, campaign_id: int) -> dict[str, int]:
        with self._database.read() as connection:
            return jobs.open_in(connection, campaign_id)

    def accepted_by(self, campaign_id: int) -> dict[str, int]:
        """Results that counted, by the name of the board."""
        with self._database.read() as connection:
            return jobs.accepted_by(connection, campaign_id)

    def cancel(
        self, *, job_ids: Sequence[int] = (), campaign: str | None = None, by: str = "", address: str = ""
    ) -> int:
        """Raises as ``jobs.cancel``."""
        with self._database.write() as connection:
            number = jobs.cancel(connection, job_ids=job_ids, campaign=campaign)
            access.log(connection, by, address, "cancelled", campaign or "jobs", {"jobs": list(job_ids)})
            return number

    def retry(
        self, *, job_ids: Sequence[int] = (), campaign: str | None = None, by: str = "", address: str = ""
    ) -> int:
        """Raises as ``jobs.retry``."""
        with self._database.write() as connection:
            number = jobs.retry(connection, job_ids=job_ids, campaign=campaign)
            access.log(connection, by, address, "tried again", campaign or "jobs", {"jobs": list(job_ids)})
            announce(connection)
            return number

    # Models and traces.

    def put_blob(
        self, sha256: str, pieces: Iterable[bytes], *, media_type: str, by: str, most_bytes: int
    ) -> blobs.BlobInfo:
        """Raises as ``blobs.put``."""
        with self._database.write() as connection:
            return blobs.put(connection, sha256, pieces, media_type, by, most_bytes)

    def blob_info(self, sha256: str) -> blobs.BlobInfo | None:
        with self._database.read() as connection:
            return blobs.info(connection, sha256)

    def read_blob(self, sha256: str, start: int, length: int) -> bytes:
        with self._database.read() as connection:
            return blobs.read(connection, sha256, start, length)
