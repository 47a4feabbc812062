"""The SQL store: workloads, campaigns, measurements and what they refer to, on SQLite or PostgreSQL by one code path.

It knows nothing above it but the records, measures nothing and plans nothing.

connect     opens an engine, names its errors, brings the schema to head
schema, fleet_schema   the tables; migrations/ the same, step by step
codec       visits as bytes
workloads, measurements, campaigns   the statements
attempts    what an attempt does to its job: the one place where a job ends
fleet/      boards, leases, receipts, models: what a fleet keeps here
measurement_rows     rows as measurements
tallies     what reports count
maintenance          what is added up from time to time
portable    the tables as they travel between stores
outgoing, intake     reads a store as it travels; takes it over into another
export, export_file, export_reader   the same as Parquet files
other_store, bulk, staging           somebody else's file; many rows at once, and where they wait
records     what campaigns and jobs look like from outside
store       the one door
"""

from .records import (
    CampaignSummary,
    DailyRollup,
    Exported,
    Interrupted,
    Job,
    Maintained,
    NewJob,
    SpooledVisit,
    StoreCounts,
    TakenOver,
)
from .store import Store

__all__ = [
    "CampaignSummary",
    "DailyRollup",
    "Exported",
    "Interrupted",
    "Job",
    "Maintained",
    "NewJob",
    "SpooledVisit",
    "Store",
    "StoreCounts",
    "TakenOver",
]
