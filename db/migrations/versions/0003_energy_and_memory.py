"""Energy and peak memory of measurements, in tables beside them, and the sensors behind the energies.

New tables, not new columns: SQLite adds a column with a constraint only by making the table anew, and ``measurement``
is the table that nothing may make anew.
"""

import sqlalchemy as sa
from alembic import op

revision = "edgecost_0003"
down_revision = "edgecost_0002"
branch_labels = None
depends_on = None

#: By table, what identifies a row.
IMMUTABLE = {"measurement_energy": ("measurement_id", "rail"), "measurement_memory": ("measurement_id",)}
INTERVALS = ("gross", "net")
POWERS = ("idle_mw", "idle_deviation_mw", "active_mw", "overhead_mj", "window_ms")
SIZES = (
    *("peak_bytes", "lo_bytes", "hi_bytes", "loading_bytes", "kept_bytes"),
    *("baseline_bytes", "overhead_bytes", "device_bytes"),
)


def upgrade() -> None:
    op.create_table(
        "sensor",
        sa.Column("sensor_hash", sa.Text(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("sensor_hash", name="pk_sensor"),
    )
    create_energy()
    create_memory()
    if op.get_context().dialect.name == "postgresql":
        freeze_on_postgresql()
    else:
        freeze_on_sqlite()


def downgrade() -> None:
    for table in ("measurement_memory", "measurement_energy", "sensor"):
        op.drop_table(table)


def create_energy() -> None:
    numbers = [f"{kind}_{name}_mj" for kind in INTERVALS for name in ("median", "lo", "hi", "systematic")]
    op.create_table(
        "measurement_energy",
        sa.Column("measurement_id", sa.Text(), nullable=False),
        sa.Column("rail", sa.Text(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("status", "message", "scope")),
        sa.Column("sensor_hash", sa.Text()),
        *(sa.Column(name, sa.Double()) for name in (*numbers, *POWERS)),
        *(sa.Column(name, sa.Integer()) for name in ("windows", "runs")),
        sa.PrimaryKeyConstraint("measurement_id", "rail", name="pk_measurement_energy"),
        belongs_to_measurement("measurement_energy"),
        sa.ForeignKeyConstraint(["sensor_hash"], ["sensor.sensor_hash"], name="fk_measurement_energy_sensor_hash"),
        sa.CheckConstraint(
            "(status IN ('ok', 'unconverged')) = (gross_median_mj IS NOT NULL)",
            name=op.f("ck_measurement_energy_status"),
        ),
        sa.CheckConstraint(
            "gross_median_mj IS NULL OR (0 < gross_median_mj AND gross_median_mj < 1e300 AND gross_lo_mj IS NOT NULL "
            "AND gross_lo_mj <= gross_median_mj AND gross_hi_mj IS NOT NULL AND gross_median_mj <= gross_hi_mj)",
            name=op.f("ck_measurement_energy_gross"),
        ),
        sa.CheckConstraint(
            "net_median_mj IS NULL OR (0 < net_median_mj AND net_median_mj < 1e300 AND gross_median_mj IS NOT NULL "
            "AND net_lo_mj IS NOT NULL AND net_lo_mj <= net_median_mj "
            "AND net_hi_mj IS NOT NULL AND net_median_mj <= net_hi_mj)",
            name=op.f("ck_measurement_energy_net"),
        ),
    )


def create_memory() -> None:
    op.create_table(
        "measurement_memory",
        sa.Column("measurement_id", sa.Text(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("status", "method", "message")),
        *(sa.Column(name, sa.BigInteger()) for name in SIZES),
        sa.Column("repetitions", sa.Integer()),
        sa.PrimaryKeyConstraint("measurement_id", name="pk_measurement_memory"),
        belongs_to_measurement("measurement_memory"),
        sa.CheckConstraint(
            "(status IN ('ok', 'unconverged')) = (peak_bytes IS NOT NULL)", name=op.f("ck_measurement_memory_status")
        ),
        sa.CheckConstraint(
            "peak_bytes IS NULL OR (0 < peak_bytes AND lo_bytes IS NOT NULL AND lo_bytes <= peak_bytes "
            "AND hi_bytes IS NOT NULL AND peak_bytes <= hi_bytes)",
            name=op.f("ck_measurement_memory_peak"),
        ),
    )


def belongs_to_measurement(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["measurement_id"], ["measurement.measurement_id"], name=f"fk_{table}_measurement_id"
    )


def freeze_on_sqlite() -> None:
    for table, key in IMMUTABLE.items():
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is immutable; annotate instead'); END"
            )
        # INSERT OR REPLACE deletes without asking the trigger above; the first row stays.
        same = " AND ".join(f"{name} = NEW.{name}" for name in key)
        op.execute(
            f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} "
            f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {same}) BEGIN SELECT RAISE(IGNORE); END"
        )


def freeze_on_postgresql() -> None:
    for table in IMMUTABLE:
        op.execute(
            f"CREATE TRIGGER {table}_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION edgecost_refuse()"
        )
