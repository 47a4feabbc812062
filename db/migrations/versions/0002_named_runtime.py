"""Runtimes by the names that people gave them."""

import sqlalchemy as sa
from alembic import op

revision = "edgecost_0002"
down_revision = "edgecost_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "named_runtime",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_named_runtime"),
    )


def downgrade() -> None:
    op.drop_table("named_runtime")
