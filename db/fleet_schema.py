"""The tables of a fleet: agents, who may do what, receipts of results, artefacts, and what was done by whom.

Part of the metadata in ``schema.py``. Of tokens and codes only the sha256 is stored: they are random enough that a slow
hash would add nothing.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
)

from .schema import device, job, measurement, metadata, row_id

#: ``draining`` finishes what it holds and takes no more; ``retired`` may not come back under its token.
AGENT_STATES = ("active", "draining", "retired")
#: What people may do: look; run campaigns and steer boards; enrol boards and make tokens.
ROLES = ("viewer", "operator", "admin")
#: What became of a result.
VERDICTS = ("accepted", "attempt", "late", "killed")

#: One enrolled board. ``last_*``, ``runtimes``, ``host`` and ``conditions`` are what it said last.
agent = Table(
    "agent",
    metadata,
    Column("agent_id", Text, primary_key=True),
    Column("device_identity", Text, ForeignKey(device.c.identity), nullable=False),
    Column("name", Text, nullable=False),
    Column("token_hash", Text, nullable=False),
    Column("labels", JSON, nullable=False),
    Column("state", Text, nullable=False),
    Column("enrolled_at", Text, nullable=False),
    Column("last_seen", Text),
    Column("last_address", Text, nullable=False),
    Column("agent_version", Text, nullable=False),
    Column("protocol", Integer, nullable=False),
    Column("boot_id", Text),
    Column("clock_offset_s", Double),
    Column("runtimes", JSON, nullable=False),
    Column("host", JSON, nullable=False),
    Column("conditions", JSON, nullable=False),
    UniqueConstraint("device_identity"),
    UniqueConstraint("name"),
    UniqueConstraint("token_hash"),
    CheckConstraint("state IN ('active', 'draining', 'retired')", name="state"),
)

#: A one-time permission to enrol one board.
enrolment_code = Table(
    "enrolment_code",
    metadata,
    Column("code_hash", Text, primary_key=True),
    Column("name", Text),
    Column("labels", JSON, nullable=False),
    Column("replaces", Text),
    Column("created_by", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("expires_at", Text, nullable=False),
    Column("used_at", Text),
    Column("used_by", Text, ForeignKey(agent.c.agent_id)),
)

#: What people and their programs show to the hub.
access_token = Table(
    "access_token",
    metadata,
    Column("token_hash", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("revoked_at", Text),
    Column("last_used", Text),
    UniqueConstraint("name"),
    CheckConstraint("role IN ('viewer', 'operator', 'admin')", name="role"),
)

#: What became of each result that was sent for a job. At most one of a job is accepted, and the database sees to it.
receipt = Table(
    "receipt",
    metadata,
    Column("measurement_id", Text, ForeignKey(measurement.c.measurement_id), primary_key=True),
    Column("job_id", row_id, ForeignKey(job.c.id), nullable=False),
    Column("owner", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("job_state", Text, nullable=False),
    Column("received_at", Text, nullable=False),
    CheckConstraint("verdict IN ('accepted', 'attempt', 'late', 'killed')", name="verdict"),
)
Index(None, receipt.c.job_id)
Index(
    "uq_receipt_accepted",
    receipt.c.job_id,
    unique=True,
    sqlite_where=receipt.c.verdict == "accepted",
    postgresql_where=receipt.c.verdict == "accepted",
)

#: Models and traces by their contents, in pieces, so that no replica of the hub needs a disk of its own.
blob = Table(
    "blob",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    CheckConstraint("size_bytes >= 0", name="size"),
)
blob_piece = Table(
    "blob_piece",
    metadata,
    Column("sha256", Text, ForeignKey(blob.c.sha256), primary_key=True),
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    Column("payload", LargeBinary, nullable=False),
)

#: Who did what; rows are only added.
audit_log = Table(
    "audit_log",
    metadata,
    Column("id", row_id, primary_key=True),
    Column("at", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", JSON, nullable=False),
)
Index(None, audit_log.c.action, audit_log.c.address, audit_log.c.at)
