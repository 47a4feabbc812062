"""The first schema: catalogue, campaigns with leased jobs, immutable measurements.

The triggers stand here only; metadata cannot say them.
"""

import sqlalchemy as sa
from alembic import op

revision = "edgecost_0001"
down_revision = None
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
IMMUTABLE = ("measurement", "measurement_raw")


def upgrade() -> None:
    create_catalogue()
    create_campaigns()
    create_measurements()
    create_raw_and_annotation()
    if op.get_context().dialect.name == "postgresql":
        freeze_on_postgresql()
    else:
        freeze_on_sqlite()


def downgrade() -> None:
    for table in (
        "visit_spool",
        "annotation",
        "measurement_raw",
        "measurement",
        "job",
        "campaign",
        "workload",
        "runtime_profile",
        "environment",
        "device",
    ):
        op.drop_table(table)
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP FUNCTION edgecost_refuse()")


def create_catalogue() -> None:
    op.create_table(
        "device",
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("first_seen", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("identity", name="pk_device"),
    )
    op.create_table(
        "environment",
        sa.Column("environment_hash", sa.Text(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("environment_hash", name="pk_environment"),
    )
    op.create_table(
        "runtime_profile",
        sa.Column("profile_hash", sa.Text(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("profile_hash", name="pk_runtime_profile"),
    )
    op.create_table(
        "workload",
        sa.Column("graph_hash", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("skeleton_zlib", sa.LargeBinary(), nullable=False),
        sa.Column("weights", sa.JSON(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("graph_hash", name="pk_workload"),
    )


def create_campaigns() -> None:
    op.create_table(
        "campaign",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("space", sa.Text(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_campaign"),
        sa.UniqueConstraint("name", name="uq_campaign_name"),
    )
    op.create_table(
        "job",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("campaign_id", ROW_ID, nullable=False),
        sa.Column("graph_hash", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.Text()),
        sa.Column("lease_token", sa.Text()),
        sa.Column("lease_until", sa.Text()),
        sa.Column("dedupe_key", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_job"),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"], name="fk_job_campaign_id"),
        sa.ForeignKeyConstraint(["graph_hash"], ["workload.graph_hash"], name="fk_job_graph_hash"),
        sa.UniqueConstraint("dedupe_key", name="uq_job_dedupe_key"),
        sa.CheckConstraint("state IN ('pending', 'leased', 'done', 'failed')", name=op.f("ck_job_state")),
        sa.CheckConstraint("(state = 'leased') = (lease_owner IS NOT NULL)", name=op.f("ck_job_lease")),
    )
    op.create_index("ix_job_campaign_id_state_priority", "job", ["campaign_id", "state", "priority"])
    op.create_index("ix_job_lease_owner", "job", ["lease_owner"])


def create_measurements() -> None:
    owners = ("workload.graph_hash", "runtime_profile.profile_hash", "environment.environment_hash")
    references = [(name.split(".")[1], name) for name in owners]
    references += [("job_id", "job.id"), ("device_identity", "device.identity")]
    latency_is_whole = "(latency_median_ms IS NULL) = (latency_visits IS NULL)"
    latencies = ("median", "lo", "hi", "min", "quartile", "mean", "p90", "p99", "mad")
    texts = ["graph_hash", "profile_hash", "environment_hash", "device_identity", "session", "protocol"]
    texts += ["purpose", "status", "message", "started_at", "finished_at", "recorded_at"]
    op.create_table(
        "measurement",
        sa.Column("measurement_id", sa.Text(), nullable=False),
        sa.Column("job_id", ROW_ID),
        *(sa.Column(name, sa.Text(), nullable=False) for name in texts),
        *(sa.Column(f"latency_{name}_ms", sa.Double()) for name in latencies),
        sa.Column("latency_visits", sa.Integer()),
        sa.Column("latency_runs", sa.Integer()),
        sa.Column("overhead_ms", sa.Double()),
        sa.Column("all_visits", sa.Integer(), nullable=False),
        sa.Column("rejected_visits", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("measurement_id", name="pk_measurement"),
        *(sa.ForeignKeyConstraint([here], [there], name=f"fk_measurement_{here}") for here, there in references),
        sa.CheckConstraint(latency_is_whole, name=op.f("ck_measurement_latency")),
    )
    op.create_index("ix_measurement_profile_hash_graph_hash", "measurement", ["profile_hash", "graph_hash"])
    op.create_index("ix_measurement_device_identity_started_at", "measurement", ["device_identity", "started_at"])
    op.create_index("ix_measurement_graph_hash", "measurement", ["graph_hash"])


def belongs_to_measurement(name: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["measurement_id"], ["measurement.measurement_id"], name=name)


def create_raw_and_annotation() -> None:
    op.create_table(
        "measurement_raw",
        sa.Column("measurement_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("codec", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("measurement_id", "kind", name="pk_measurement_raw"),
        belongs_to_measurement("fk_measurement_raw_measurement_id"),
    )
    op.create_table(
        "annotation",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("measurement_id", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_annotation"),
        belongs_to_measurement("fk_annotation_measurement_id"),
        sa.CheckConstraint("verdict IN ('retract', 'note')", name=op.f("ck_annotation_verdict")),
    )
    op.create_index("ix_annotation_measurement_id", "annotation", ["measurement_id"])
    op.create_table(
        "visit_spool",
        sa.Column("measurement_id", sa.Text(), nullable=False),
        sa.Column("session", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("job_id", ROW_ID, nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("measurement_id", "session", "ordinal", name="pk_visit_spool"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_visit_spool_job_id"),
    )
    op.create_index("ix_visit_spool_job_id", "visit_spool", ["job_id"])


def freeze_on_sqlite() -> None:
    for table in IMMUTABLE:
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is immutable; annotate instead'); END"
            )
    # INSERT OR REPLACE deletes without asking the trigger above; the first row stays.
    op.execute(
        "CREATE TRIGGER measurement_no_replace BEFORE INSERT ON measurement "
        "WHEN EXISTS (SELECT 1 FROM measurement WHERE measurement_id = NEW.measurement_id) "
        "BEGIN SELECT RAISE(IGNORE); END"
    )
    op.execute(
        "CREATE TRIGGER measurement_raw_no_replace BEFORE INSERT ON measurement_raw WHEN EXISTS "
        "(SELECT 1 FROM measurement_raw WHERE measurement_id = NEW.measurement_id AND kind = NEW.kind) "
        "BEGIN SELECT RAISE(IGNORE); END"
    )


def freeze_on_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION edgecost_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ "
        "BEGIN RAISE EXCEPTION '% is immutable; annotate instead', TG_TABLE_NAME; END $$"
    )
    for table in IMMUTABLE:
        op.execute(
            f"CREATE TRIGGER {table}_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION edgecost_refuse()"
        )
