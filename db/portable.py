"""The tables as they travel between stores: which columns, and what stands for numbers that mean nothing elsewhere.

Row numbers stay at home. A job is named by its campaign and its key, a measurement's job likewise; an annotation is the
same when all it says is the same. Leases and spooled visits are work in progress and do not leave: a leased job leaves
as ``pending``. Reads and writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ColumnElement,
    Double,
    FromClause,
    Integer,
    LargeBinary,
    Select,
    Table,
    Text,
    case,
    cast,
    func,
    literal,
    select,
)

from . import schema

#: A value of a row outside SQLAlchemy's types; a JSON document is its text.
Value = str | int | float | bytes | None
Row = tuple[Value, ...]

#: Stands in a job's key where the number of its campaign stood: in another store the campaign has another number.
_CAMPAIGN = "{campaign}/"


class Kind(Enum):
    """What a column holds."""

    TEXT = "text"
    JSON = "json"
    REAL = "real"
    INTEGER = "integer"
    BYTES = "bytes"


@dataclass(frozen=True)
class Field:
    """A column of a portable table."""

    name: str
    kind: Kind
    nullable: bool


@dataclass(frozen=True)
class Portable:
    """A table as it travels. ``key`` are the fields that say which row it is."""

    table: Table
    fields: tuple[Field, ...]
    key: tuple[str, ...]

    @property
    def name(self) -> str:
        return str(self.table.name)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields)


def _kind(column: Column[object]) -> Kind:
    if isinstance(column.type, JSON):
        return Kind.JSON
    if isinstance(column.type, LargeBinary):
        return Kind.BYTES
    if isinstance(column.type, Double):
        return Kind.REAL
    return Kind.INTEGER if isinstance(column.type, (Integer, BigInteger)) else Kind.TEXT


def _portable(
    table: Table, key: tuple[str, ...], *, without: tuple[str, ...] = (), more: tuple[Field, ...] = ()
) -> Portable:
    own = (Field(c.name, _kind(c), bool(c.nullable)) for c in table.columns if c.name not in without)
    return Portable(table, (*own, *more), key)


_LEASE = ("lease_owner", "lease_token", "lease_until")
_JOB = (Field("job_campaign_name", Kind.TEXT, True), Field("job_dedupe_key", Kind.TEXT, True))
_SAID = ("measurement_id", "author", "verdict", "reason", "created_at")

MEASUREMENT = _portable(schema.measurement, ("measurement_id",), without=("job_id",), more=_JOB)
ANNOTATION = _portable(schema.annotation, _SAID, without=("id",))
CAMPAIGN = _portable(schema.campaign, ("name",), without=("id",))
JOB = _portable(
    schema.job,
    ("campaign_name", "dedupe_key"),
    without=("id", "campaign_id", *_LEASE),
    more=(Field("campaign_name", Kind.TEXT, False),),
)
#: What stands by itself, in an order in which each refers to earlier ones only.
CATALOGUE = (
    _portable(schema.device, ("identity",)),
    _portable(schema.environment, ("environment_hash",)),
    _portable(schema.runtime_profile, ("profile_hash",)),
    _portable(schema.sensor, ("sensor_hash",)),
    _portable(schema.workload, ("graph_hash",)),
    _portable(schema.named_runtime, ("name",)),
    CAMPAIGN,
    JOB,
)
NUMBERS = (
    _portable(schema.measurement_energy, ("measurement_id", "rail")),
    _portable(schema.measurement_memory, ("measurement_id",)),
)
RAW = _portable(schema.measurement_raw, ("measurement_id", "kind"))
#: What a measurement has and never changes.
PARTS = (*NUMBERS, RAW)
#: Measurements and what belongs to them, which travel together.
MEASURED = (MEASUREMENT, *PARTS, ANNOTATION)
ALL = (*CATALOGUE, *MEASURED)


def leaving(portable: Portable) -> Select[Value]:
    """The rows of a table as they leave, in the order of ``fields``; JSON as the text that is stored."""
    source: FromClause = portable.table
    if portable is JOB:
        source = schema.job.join(schema.campaign)
    elif portable is MEASUREMENT:
        source = schema.measurement.outerjoin(schema.job).outerjoin(schema.campaign)
    columns: list[ColumnElement[Value]] = [_leaves(portable, field).label(field.name) for field in portable.fields]
    statement: Select[Value] = select().add_columns(*columns).select_from(source)
    return statement


def _leaves(portable: Portable, field: Field) -> ColumnElement[Value]:
    job, campaign = schema.job, schema.campaign
    if field.name in ("campaign_name", "job_campaign_name"):
        return campaign.c.name
    if field.name == "job_dedupe_key" or (portable is JOB and field.name == "dedupe_key"):
        number = cast(job.c.campaign_id, Text) + "/"
        rest = func.substr(job.c.dedupe_key, func.length(number) + 1)
        own = func.substr(job.c.dedupe_key, 1, func.length(number)) == number
        return case((own, literal(_CAMPAIGN, Text) + rest), else_=job.c.dedupe_key)
    if portable is JOB and field.name == "state":
        return case((job.c.state == "leased", "pending"), else_=job.c.state)
    column = portable.table.c[field.name]
    return cast(column, Text) if field.kind is Kind.JSON else column


def key_here(key: ColumnElement[str], campaign_id: ColumnElement[int]) -> ColumnElement[str]:
    """A job's key as it is in the store where its campaign has this number."""
    own = func.substr(key, 1, len(_CAMPAIGN)) == _CAMPAIGN
    return case((own, cast(campaign_id, Text) + "/" + func.substr(key, len(_CAMPAIGN) + 1)), else_=key)
