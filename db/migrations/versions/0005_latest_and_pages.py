"""Indexes of measurements for two questions: the newest of a graph on a device, and a device's share page by page."""

from alembic import op

revision = "edgecost_0005"
down_revision = "edgecost_0004"
branch_labels = None
depends_on = None

#: Each of the old ones begins as a new one does, or was asked only together with a device.
OLD = (("profile_hash", "graph_hash"), ("device_identity", "started_at"), ("graph_hash",))
NEW = (("graph_hash", "device_identity", "profile_hash"), ("device_identity", "profile_hash", "started_at"))


def upgrade() -> None:
    exchange(OLD, NEW)


def downgrade() -> None:
    exchange(NEW, OLD)


def exchange(gone: tuple[tuple[str, ...], ...], made: tuple[tuple[str, ...], ...]) -> None:
    for columns in gone:
        op.drop_index(name(columns), "measurement")
    for columns in made:
        op.create_index(name(columns), "measurement", list(columns))


def name(columns: tuple[str, ...]) -> str:
    return f"ix_measurement_{'_'.join(columns)}"
