"""Who may come in: one-time enrolment codes, tokens of agents and of people, and the log of what was done.

Secrets are 60 bits for a code that lives for minutes and 256 for a token; the store keeps their sha256 only. Each
function runs inside the caller's transaction.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy import Connection, func, insert, select, update

from ...profiler.errors import HubRefused, UsageError
from ...profiler.records import Json
from ..connect import insert_missing, now, stamp
from ..fleet_schema import ROLES, access_token, agent, audit_log, enrolment_code
from .records import AuditEntry, NewCode, Person
from .selector import check_labels

#: Letters that are not taken for one another when a code is read aloud.
_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
_CODE_LETTERS, _CODE_GROUP = 12, 4
#: Wrong codes from one address within a minute after which it has to wait.
WRONG_CODES_MAX = 10
WRONG_CODES_WINDOW_S = 60.0
#: ``last_used`` is written this often, not at every request.
_SEEN_EVERY_S = 60.0


def hash_secret(secret: str) -> str:
    """sha256, in hexadecimal, of a token or of a code as people type it."""
    return hashlib.sha256(secret.encode()).hexdigest()


def make_code(
    connection: Connection, labels: Mapping[str, str], name: str | None, replaces: str | None, by: str, valid_s: float
) -> NewCode:
    """A code with which one board can enrol once.

    Args:
        name: of the board; None leaves that to the board.
        replaces: name of an enrolled board whose place this one takes, its labels and history kept.

    Raises:
        UsageError: a label that no selector could name, or there is no such board to replace.
    """
    check_labels(labels)
    known = select(agent.c.agent_id).where(agent.c.name == (name if replaces is None else replaces))
    is_known = connection.execute(known).first() is not None
    if replaces is not None and not is_known:
        raise UsageError(f"there is no board {replaces!r} to replace", remedy="edgecost devices list")
    if replaces is None and name is not None and is_known:
        raise UsageError(f"there is a board {name!r} already", remedy=f"to enrol it anew: --replace {name}")
    letters = "".join(secrets.choice(_ALPHABET) for _ in range(_CODE_LETTERS))
    code = "-".join(letters[at : at + _CODE_GROUP] for at in range(0, _CODE_LETTERS, _CODE_GROUP))
    moment = now(connection)
    row = {
        "code_hash": hash_secret(code),
        "name": name,
        "labels": dict(labels),
        "replaces": replaces,
        "created_by": by,
        "created_at": stamp(moment),
        "expires_at": stamp(moment + timedelta(seconds=valid_s)),
    }
    connection.execute(insert(enrolment_code), row)
    return NewCode(code, str(row["expires_at"]))


def too_many_wrong_codes(connection: Connection, address: str) -> bool:
    """Whether an address has guessed so often of late that it has to wait; all replicas count together."""
    since = stamp(now(connection) - timedelta(seconds=WRONG_CODES_WINDOW_S))
    wrong = select(func.count()).where(
        audit_log.c.action == "enrol refused", audit_log.c.address == address, audit_log.c.at > since
    )
    return int(connection.execute(wrong).scalar_one()) >= WRONG_CODES_MAX


def make_token(connection: Connection, name: str, role: str) -> str:
    """A token for a person or program; the answer is the only time that it is said.

    Raises:
        UsageError: no such role, or the name is taken.
    """
    if role not in ROLES:
        raise UsageError(f"there is no role {role!r}", remedy=f"one of {', '.join(ROLES)}")
    token = secrets.token_urlsafe(32)
    row = {"token_hash": hash_secret(token), "name": name, "role": role, "created_at": stamp(now(connection))}
    statement = insert_missing(access_token, connection).values(row).returning(access_token.c.name)
    if connection.execute(statement).first() is None:
        raise UsageError(f"there is a token {name!r} already", remedy="revoke it first, or choose another name")
    return token


def revoke_token(connection: Connection, name: str) -> None:
    """Let a token open nothing any more. Its name stays taken: the log speaks of it.

    Raises:
        UsageError: there is no such token.
    """
    gone = update(access_token).where(access_token.c.name == name, access_token.c.revoked_at.is_(None))
    if connection.execute(gone.values(revoked_at=stamp(now(connection)))).rowcount == 0:
        raise UsageError(f"there is no valid token {name!r}")


def person(connection: Connection, token: str) -> tuple[Person, bool]:
    """Who shows this token, and whether it is time to write down that it was used.

    Raises:
        HubRefused: nobody, or not any more.
    """
    table = access_token
    row = connection.execute(
        select(table.c.name, table.c.role, table.c.last_used).where(
            table.c.token_hash == hash_secret(token), table.c.revoked_at.is_(None)
        )
    ).one_or_none()
    if row is None:
        raise HubRefused("this token opens nothing here", remedy="make one: edgecost hub token NAME --role viewer")
    late = stamp(now(connection) - timedelta(seconds=_SEEN_EVERY_S))
    return Person(row.name, row.role), row.last_used is None or row.last_used < late


def note_use(connection: Connection, name: str) -> None:
    """Write down that a token was used."""
    used = update(access_token).where(access_token.c.name == name)
    connection.execute(used.values(last_used=stamp(now(connection))))


def log(
    connection: Connection, actor: str, address: str, action: str, subject: str, detail: Mapping[str, Json]
) -> None:
    """Add to the log what somebody did."""
    row = {"actor": actor, "address": address, "action": action, "subject": subject, "detail": dict(detail)}
    connection.execute(insert(audit_log), {**row, "at": stamp(now(connection))})


def entries(connection: Connection, limit: int) -> list[AuditEntry]:
    """The newest entries of the log, newest first."""
    table = audit_log
    rows = connection.execute(select(table).order_by(table.c.id.desc()).limit(limit)).mappings()
    return [
        AuditEntry(row["at"], row["actor"], row["address"], row["action"], row["subject"], row["detail"])
        for row in rows
    ]
