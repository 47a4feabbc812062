"""A fleet: agents, tokens, receipts, artefacts, an audit log; and what a campaign and a job need to be its own.

Columns are added without constraints: SQLite would have to make a table anew for one, and others refer to these.
"""

import sqlalchemy as sa
from alembic import op

revision = "edgecost_0004"
down_revision = "edgecost_0003"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
LEASED = sa.text("state = 'leased'")
ACCEPTED = sa.text("verdict = 'accepted'")


def upgrade() -> None:
    for name in ("selector", "cancelled_at"):
        op.add_column("campaign", sa.Column(name, sa.Text()))
    for name in ("device_identity", "reason"):
        op.add_column("job", sa.Column(name, sa.Text()))
    op.add_column("job", sa.Column("kills", sa.Integer(), nullable=False, server_default="0"))
    op.create_index("ix_job_running_out", "job", ["lease_until"], sqlite_where=LEASED, postgresql_where=LEASED)
    create_agents()
    create_access()
    create_receipts()
    create_blobs()


def downgrade() -> None:
    for table in ("audit_log", "blob_piece", "blob", "receipt", "access_token", "enrolment_code", "agent"):
        op.drop_table(table)
    op.drop_index("ix_job_running_out", "job")
    for table, names in (("job", ("kills", "reason", "device_identity")), ("campaign", ("cancelled_at", "selector"))):
        for name in names:
            op.drop_column(table, name)


def create_agents() -> None:
    op.create_table(
        "agent",
        *texts("agent_id", "device_identity", "name", "token_hash"),
        sa.Column("labels", sa.JSON(), nullable=False),
        *texts("state", "enrolled_at"),
        sa.Column("last_seen", sa.Text()),
        *texts("last_address", "agent_version"),
        sa.Column("protocol", sa.Integer(), nullable=False),
        sa.Column("boot_id", sa.Text()),
        sa.Column("clock_offset_s", sa.Double()),
        *(sa.Column(name, sa.JSON(), nullable=False) for name in ("runtimes", "host", "conditions")),
        sa.PrimaryKeyConstraint("agent_id", name="pk_agent"),
        sa.ForeignKeyConstraint(["device_identity"], ["device.identity"], name="fk_agent_device_identity"),
        *(sa.UniqueConstraint(one, name=f"uq_agent_{one}") for one in ("device_identity", "name", "token_hash")),
        sa.CheckConstraint("state IN ('active', 'draining', 'retired')", name=op.f("ck_agent_state")),
    )
    op.create_table(
        "enrolment_code",
        *texts("code_hash"),
        sa.Column("name", sa.Text()),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("replaces", sa.Text()),
        *texts("created_by", "created_at", "expires_at"),
        sa.Column("used_at", sa.Text()),
        sa.Column("used_by", sa.Text()),
        sa.PrimaryKeyConstraint("code_hash", name="pk_enrolment_code"),
        sa.ForeignKeyConstraint(["used_by"], ["agent.agent_id"], name="fk_enrolment_code_used_by"),
    )


def create_access() -> None:
    op.create_table(
        "access_token",
        *texts("token_hash", "name", "role", "created_at"),
        *(sa.Column(name, sa.Text()) for name in ("revoked_at", "last_used")),
        sa.PrimaryKeyConstraint("token_hash", name="pk_access_token"),
        sa.UniqueConstraint("name", name="uq_access_token_name"),
        sa.CheckConstraint("role IN ('viewer', 'operator', 'admin')", name=op.f("ck_access_token_role")),
    )
    op.create_table(
        "audit_log",
        sa.Column("id", ROW_ID, nullable=False),
        *texts("at", "actor", "address", "action", "subject"),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_log"),
    )
    op.create_index("ix_audit_log_action_address_at", "audit_log", ["action", "address", "at"])


def create_receipts() -> None:
    op.create_table(
        "receipt",
        *texts("measurement_id"),
        sa.Column("job_id", ROW_ID, nullable=False),
        *texts("owner", "verdict", "job_state", "received_at"),
        sa.PrimaryKeyConstraint("measurement_id", name="pk_receipt"),
        sa.ForeignKeyConstraint(["measurement_id"], ["measurement.measurement_id"], name="fk_receipt_measurement_id"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_receipt_job_id"),
        sa.CheckConstraint("verdict IN ('accepted', 'attempt', 'late', 'killed')", name=op.f("ck_receipt_verdict")),
    )
    op.create_index("ix_receipt_job_id", "receipt", ["job_id"])
    op.create_index(
        "uq_receipt_accepted", "receipt", ["job_id"], unique=True, sqlite_where=ACCEPTED, postgresql_where=ACCEPTED
    )


def create_blobs() -> None:
    op.create_table(
        "blob",
        *texts("sha256"),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        *texts("media_type", "created_by", "created_at"),
        sa.PrimaryKeyConstraint("sha256", name="pk_blob"),
        sa.CheckConstraint("size_bytes >= 0", name=op.f("ck_blob_size")),
    )
    op.create_table(
        "blob_piece",
        *texts("sha256"),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", "ordinal", name="pk_blob_piece"),
        sa.ForeignKeyConstraint(["sha256"], ["blob.sha256"], name="fk_blob_piece_sha256"),
    )


def texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]
