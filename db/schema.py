"""The tables of the store, as SQLAlchemy Core metadata. ``migrations/`` makes them; a test compares the two.

Units stand in column names. Hashes are sha256 in hexadecimal. Timestamps are ISO-8601 text in UTC: the same text
comes back from both engines. JSON is ``json``, not ``jsonb``, which turns 1e16 into an integer and so breaks hashes.
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
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

#: Every revision that this version can read and lift, oldest first; the last one is the head.
REVISIONS = tuple(f"edgecost_{number:04d}" for number in range(1, 8))
HEAD = REVISIONS[-1]

#: What a job can be in.
JOB_STATES = ("pending", "leased", "done", "failed")

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

#: SQLite counts rows only in a column of the exact type INTEGER.
row_id = BigInteger().with_variant(Integer(), "sqlite")

device = Table(
    "device",
    metadata,
    Column("identity", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("first_seen", Text, nullable=False),
)

environment = Table(
    "environment",
    metadata,
    Column("environment_hash", Text, primary_key=True),
    Column("document", JSON, nullable=False),
)

runtime_profile = Table(
    "runtime_profile",
    metadata,
    Column("profile_hash", Text, primary_key=True),
    Column("document", JSON, nullable=False),
)

#: What somebody wants to measure with, by the name they gave it. Nothing refers to it: measurements refer to what was
#: found when it was looked up, a ``runtime_profile``.
named_runtime = Table(
    "named_runtime",
    metadata,
    Column("name", Text, primary_key=True),
    Column("document", JSON, nullable=False),
)

workload = Table(
    "workload",
    metadata,
    Column("graph_hash", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("skeleton_zlib", LargeBinary, nullable=False),
    Column("weights", JSON, nullable=False),
    Column("path", Text, nullable=False),
)

campaign = Table(
    "campaign",
    metadata,
    Column("id", row_id, primary_key=True),
    Column("name", Text, nullable=False),
    Column("space", Text, nullable=False),
    Column("settings", JSON, nullable=False),
    Column("created_at", Text, nullable=False),
    #: Which boards of a fleet may work on it (``fleet/selector.py``); NULL leaves it to the machine that made it.
    Column("selector", Text),
    Column("cancelled_at", Text),
    UniqueConstraint("name"),
)

job = Table(
    "job",
    metadata,
    Column("id", row_id, primary_key=True),
    Column("campaign_id", row_id, ForeignKey(campaign.c.id), nullable=False),
    Column("graph_hash", Text, ForeignKey(workload.c.graph_hash), nullable=False),
    Column("purpose", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("lease_owner", Text),
    Column("lease_token", Text),
    Column("lease_until", Text),
    Column("dedupe_key", Text, nullable=False),
    #: The one device that it is for; NULL is whichever the campaign's selector matches.
    Column("device_identity", Text),
    #: Why it failed: ``exhausted``, ``expired``, ``quarantined``, ``cancelled``.
    Column("reason", Text),
    #: How often a board died with it in hand.
    Column("kills", Integer, nullable=False, server_default="0"),
    UniqueConstraint("dedupe_key"),
    CheckConstraint("state IN ('pending', 'leased', 'done', 'failed')", name="state"),
    CheckConstraint("(state = 'leased') = (lease_owner IS NOT NULL)", name="lease"),
)
Index(None, job.c.campaign_id, job.c.state, job.c.priority)
Index(None, job.c.lease_owner)
#: What the reaper looks for.
Index(
    "ix_job_running_out",
    job.c.lease_until,
    sqlite_where=job.c.state == "leased",
    postgresql_where=job.c.state == "leased",
)

#: One attempt. ``latency_*`` are all NULL when the attempt has no latency; triggers refuse UPDATE and DELETE.
measurement = Table(
    "measurement",
    metadata,
    Column("measurement_id", Text, primary_key=True),
    Column("job_id", row_id, ForeignKey(job.c.id)),
    Column("graph_hash", Text, ForeignKey(workload.c.graph_hash), nullable=False),
    Column("profile_hash", Text, ForeignKey(runtime_profile.c.profile_hash), nullable=False),
    Column("environment_hash", Text, ForeignKey(environment.c.environment_hash), nullable=False),
    Column("device_identity", Text, ForeignKey(device.c.identity), nullable=False),
    Column("session", Text, nullable=False),
    Column("protocol", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("started_at", Text, nullable=False),
    Column("finished_at", Text, nullable=False),
    Column("recorded_at", Text, nullable=False),
    Column("latency_median_ms", Double),
    Column("latency_lo_ms", Double),
    Column("latency_hi_ms", Double),
    Column("latency_min_ms", Double),
    Column("latency_quartile_ms", Double),
    Column("latency_mean_ms", Double),
    Column("latency_p90_ms", Double),
    Column("latency_p99_ms", Double),
    Column("latency_mad_ms", Double),
    Column("latency_visits", Integer),
    Column("latency_runs", Integer),
    Column("overhead_ms", Double),
    Column("all_visits", Integer, nullable=False),
    Column("rejected_visits", Integer, nullable=False),
    CheckConstraint("(latency_median_ms IS NULL) = (latency_visits IS NULL)", name="latency"),
)
# The newest of a graph on a device and profile. PostgreSQL keeps equal keys once: with the time behind them, of which
# there are no two, the index would be several times as large.
Index(None, measurement.c.graph_hash, measurement.c.device_identity, measurement.c.profile_hash)
# All of a device and profile, page by page.
Index(None, measurement.c.device_identity, measurement.c.profile_hash, measurement.c.started_at)

#: What an energy was measured with; content-addressed.
sensor = Table(
    "sensor",
    metadata,
    Column("sensor_hash", Text, primary_key=True),
    Column("document", JSON, nullable=False),
)

#: Energy of one run: at most one row per measurement and rail, immutable. The row with an empty rail is the device as a
#: whole, whether one rail feeds it or several are summed; parts stand beside it and are never added to it.
measurement_energy = Table(
    "measurement_energy",
    metadata,
    Column("measurement_id", Text, ForeignKey(measurement.c.measurement_id), primary_key=True),
    Column("rail", Text, primary_key=True),
    Column("status", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("sensor_hash", Text, ForeignKey(sensor.c.sensor_hash)),
    Column("gross_median_mj", Double),
    Column("gross_lo_mj", Double),
    Column("gross_hi_mj", Double),
    Column("gross_systematic_mj", Double),
    Column("net_median_mj", Double),
    Column("net_lo_mj", Double),
    Column("net_hi_mj", Double),
    Column("net_systematic_mj", Double),
    Column("idle_mw", Double),
    Column("idle_deviation_mw", Double),
    Column("active_mw", Double),
    Column("overhead_mj", Double),
    Column("window_ms", Double),
    Column("windows", Integer),
    Column("runs", Integer),
    CheckConstraint("(status IN ('ok', 'unconverged')) = (gross_median_mj IS NOT NULL)", name="status"),
    CheckConstraint(
        "gross_median_mj IS NULL OR (0 < gross_median_mj AND gross_median_mj < 1e300 AND gross_lo_mj IS NOT NULL "
        "AND gross_lo_mj <= gross_median_mj AND gross_hi_mj IS NOT NULL AND gross_median_mj <= gross_hi_mj)",
        name="gross",
    ),
    CheckConstraint(
        "net_median_mj IS NULL OR (0 < net_median_mj AND net_median_mj < 1e300 AND gross_median_mj IS NOT NULL "
        "AND net_lo_mj IS NOT NULL AND net_lo_mj <= net_median_mj "
        "AND net_hi_mj IS NOT NULL AND net_median_mj <= net_hi_mj)",
        name="net",
    ),
)

#: Memory of a workload at its highest, above a process without it; at most one row per measurement, immutable.
measurement_memory = Table(
    "measurement_memory",
    metadata,
    Column("measurement_id", Text, ForeignKey(measurement.c.measurement_id), primary_key=True),
    Column("status", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("peak_bytes", BigInteger),
    Column("lo_bytes", BigInteger),
    Column("hi_bytes", BigInteger),
    Column("loading_bytes", BigInteger),
    Column("kept_bytes", BigInteger),
    Column("baseline_bytes", BigInteger),
    Column("overhead_bytes", BigInteger),
    Column("device_bytes", BigInteger),
    Column("repetitions", Integer),
    CheckConstraint("(status IN ('ok', 'unconverged')) = (peak_bytes IS NOT NULL)", name="status"),
    CheckConstraint(
        "peak_bytes IS NULL OR (0 < peak_bytes AND lo_bytes IS NOT NULL AND lo_bytes <= peak_bytes "
        "AND hi_bytes IS NOT NULL AND peak_bytes <= hi_bytes)",
        name="peak",
    ),
)

#: Traces of a measurement, one row each; ``codec`` names how ``payload`` is written (``codec.py``). On PostgreSQL each
#: month has a partition (``partitions.py``).
measurement_raw = Table(
    "measurement_raw",
    metadata,
    Column("measurement_id", Text, ForeignKey(measurement.c.measurement_id), primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("codec", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    postgresql_partition_by="RANGE (measurement_id)",
)

#: What people say about a measurement afterwards. A retracted one is never read as a result again.
annotation = Table(
    "annotation",
    metadata,
    Column("id", row_id, primary_key=True),
    Column("measurement_id", Text, ForeignKey(measurement.c.measurement_id), nullable=False),
    Column("author", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    CheckConstraint("verdict IN ('retract', 'note')", name="verdict"),
)
Index(None, annotation.c.measurement_id)

#: Visits of measurements that are not complete; gone once the measurement is recorded.
visit_spool = Table(
    "visit_spool",
    metadata,
    Column("measurement_id", Text, primary_key=True),
    Column("session", Text, primary_key=True),
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    Column("job_id", row_id, ForeignKey(job.c.id), nullable=False),
    Column("payload", LargeBinary, nullable=False),
)
Index(None, visit_spool.c.job_id)

#: What was measured on each day, added up; derived from ``measurement`` by ``maintenance.py`` and never exported.
rollup_daily = Table(
    "rollup_daily",
    metadata,
    Column("day", Text, primary_key=True),
    Column("device_identity", Text, primary_key=True),
    Column("profile_hash", Text, primary_key=True),
    Column("purpose", Text, primary_key=True),
    Column("attempts", BigInteger, nullable=False),
    Column("usable", BigInteger, nullable=False),
    Column("rejected", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("visits", BigInteger, nullable=False),
    Column("rejected_visits", BigInteger, nullable=False),
    CheckConstraint("attempts = usable + rejected + failed", name="attempts"),
)
