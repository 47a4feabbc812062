"""Raw samples by months on PostgreSQL: what is there becomes the default partition, without being moved.

The partitions of months are made by ``partitions.py``, here as later. SQLite keeps its one table.
"""

import sqlalchemy as sa
from alembic import op

revision = "edgecost_0007"
down_revision = "edgecost_0006"
branch_labels = None
depends_on = None

RAW, OTHER, WHOLE = "measurement_raw", "measurement_raw_other", "measurement_raw_whole"
FOREIGN_KEY = "fk_measurement_raw_measurement_id"


def upgrade() -> None:
    if op.get_context().dialect.name != "postgresql":
        return
    give_way_to_another(OTHER)
    create_raw("RANGE (measurement_id)")
    op.execute(f"ALTER TABLE {RAW} ATTACH PARTITION {OTHER} DEFAULT")


def downgrade() -> None:
    if op.get_context().dialect.name != "postgresql":
        return
    give_way_to_another(WHOLE)
    create_raw()
    op.execute(f"INSERT INTO {RAW} SELECT * FROM {WHOLE}")
    op.drop_table(WHOLE)  # with its months


def give_way_to_another(name: str) -> None:
    """Call the table, and what has its name, otherwise."""
    op.rename_table(RAW, name)
    op.execute(f"ALTER TABLE {name} RENAME CONSTRAINT pk_{RAW} TO pk_{name}")
    op.execute(f"ALTER TRIGGER {RAW}_immutable ON {name} RENAME TO {name}_immutable")


def create_raw(partition_by: str | None = None) -> None:
    op.create_table(
        RAW,
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("measurement_id", "kind", "codec")),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("measurement_id", "kind", name=f"pk_{RAW}"),
        sa.ForeignKeyConstraint(["measurement_id"], ["measurement.measurement_id"], name=FOREIGN_KEY),
        postgresql_partition_by=partition_by,
    )
    op.execute(
        f"CREATE TRIGGER {RAW}_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON {RAW} "
        "FOR EACH STATEMENT EXECUTE FUNCTION edgecost_refuse()"
    )
