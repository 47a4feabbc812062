"""What was measured on each day, added up: made by ``maintenance.py`` from the measurements, and made again at will."""

import sqlalchemy as sa
from alembic import op

revision = "edgecost_0006"
down_revision = "edgecost_0005"
branch_labels = None
depends_on = None

KEY = ("day", "device_identity", "profile_hash", "purpose")
SUMS = ("attempts", "usable", "rejected", "failed", "visits", "rejected_visits")


def upgrade() -> None:
    op.create_table(
        "rollup_daily",
        *(sa.Column(name, sa.Text(), nullable=False) for name in KEY),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in SUMS),
        sa.PrimaryKeyConstraint(*KEY, name="pk_rollup_daily"),
        sa.CheckConstraint("attempts = usable + rejected + failed", name=op.f("ck_rollup_daily_attempts")),
    )


def downgrade() -> None:
    op.drop_table("rollup_daily")
