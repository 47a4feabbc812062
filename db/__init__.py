"""The SQL store: workloads, campaigns, measurements and what they refer to, on SQLite or PostgreSQL by one code path.

It knows nothing above it but the records, measures nothing and plans nothing.

connect     opens an engine, names its errors, brings the schema to head
schema      the tables; migrations/ the same, step by step
codec       visits as bytes
workloads, measurements, campaigns   the statements
records     what campaigns and jobs look like from outside
store       the one door
"""

from .records import CampaignSummary, Interrupted, Job, NewJob, SpooledVisit, StoreCounts
from .store import Store

__all__ = ["CampaignSummary", "Interrupted", "Job", "NewJob", "SpooledVisit", "Store", "StoreCounts"]
