"""The report of a device, laid out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...db.fleet.records import Agent
from ...profiler.documents import document_of
from ...profiler.records import Json
from ..drift import DRIFT_LIMIT, SESSIONS_MIN
from . import drawings
from .device import AnchorCourse, DeviceReport
from .page import Picture, Report, Section, Table
from .texts import DASH, clock, counted, interval, listed, moment, number, percent, share, signed_percent

#: Characters of a hash that tell the profiles of one device apart.
_HASH = 8


def device_report(told: DeviceReport) -> Report:
    """Lay out what was read."""
    sections = [_outcome_section(told), _newest_section(told), _drift_section(told), _reading_section(told)]
    first = min((row.first_at for row in told.profiles), default=None)
    last = max((row.last_at for row in told.profiles), default=None)
    facts = [
        ("Description", told.device.description or DASH),
        ("Identity", told.device.identity),
        ("Measured", f"{moment(first)} … {moment(last)}" if first else DASH),
    ]
    return Report(
        kind="device",
        subject=told.device.name,
        title=f"{told.device.name}{' (virtual)' if told.is_virtual else ''}",
        lead=_lead(told),
        facts=[*facts, *_agent_facts(told.agent)],
        sections=sections,
        data=document_of(told),
    )


def _lead(told: DeviceReport) -> str:
    if not told.attempts:
        return "Nothing was measured on it yet."
    usable = sum(row.usable for row in told.profiles)
    virtual = " It is virtual: its numbers are of a law, and no board gave them." if told.is_virtual else ""
    return (
        f"{counted(told.attempts, 'attempt')} under {counted(len(told.profiles), 'runtime profile')}, of which"
        f" {usable:,} have numbers that may be used and {percent(told.rejected_share)} were rejected.{virtual}"
    )


def _agent_facts(agent: Agent | None) -> list[tuple[str, str]]:
    if agent is None:
        return []
    offset = "" if agent.clock_offset_s is None else f", its clock {agent.clock_offset_s:+.3g} s off"
    runtimes = ", ".join(f"{one.name}{f' (broken: {one.problem})' if one.problem else ''}" for one in agent.offers)
    return [
        ("In the fleet", f"{agent.name}, {agent.state}, agent {agent.agent_version}{offset}"),
        ("Labels", ", ".join(f"{key}={value}" for key, value in sorted(agent.labels.items())) or DASH),
        ("Runtimes offered", runtimes or DASH),
        ("Last heard of", moment(agent.last_seen)),
    ]


def _outcome_section(told: DeviceReport) -> Section:
    statuses = [[name, f"{n:,}", percent(share(n, told.attempts))] for name, n in told.by_status.items()]
    purposes = [[name, f"{n:,}", percent(share(n, told.attempts))] for name, n in told.by_purpose.items()]
    profiles = [
        [row.label, row.profile_hash[:_HASH], clock(row.first_at), clock(row.last_at), f"{row.attempts:,}",
         f"{row.usable:,}", percent(share(row.attempts - row.usable, row.attempts))]
        for row in told.profiles
    ]  # fmt: skip
    heads = ("profile", "hash", "first, UTC", "last, UTC", "attempts", "usable", "without a usable number, %")
    picture = Picture(
        "outcomes", f"Attempts by outcome: {listed(told.by_status)}", lambda: drawings.bars(told.by_status, "attempts")
    )
    retracted = f"{counted(told.retracted, 'measurement')} retracted: kept, and never used." if told.retracted else ""
    return Section(
        "What was measured",
        pictures=[picture] if told.attempts else [],
        tables=[
            Table("Attempts by outcome", ("outcome", "attempts", "share, %"), statuses),
            Table("Attempts by purpose", ("purpose", "attempts", "share, %"), purposes),
            Table("Runtime profiles", heads, profiles, left=4),
        ],
        notes=[retracted] if retracted else [],
    )


def _newest_section(told: DeviceReport) -> Section:
    profile = ["profile"] if len(told.profiles) > 1 else []
    of_gpu = ["memory of the GPU, MB"] if any(row.device_memory_bytes is not None for row in told.newest) else []
    rows = [
        [row.workload, *(row.profile_hash[:_HASH] for _ in profile), row.purpose,
         f"{row.status}: {row.message}" if row.message else row.status,
         clock(row.finished_at), number(row.latency_ms), interval(row.lo_ms, row.hi_ms), number(row.energy_mj),
         number(None if row.peak_memory_bytes is None else row.peak_memory_bytes / 1e6),
         *(number(None if row.device_memory_bytes is None else row.device_memory_bytes / 1e6) for _ in of_gpu)]
        for row in told.newest
    ]  # fmt: skip
    heads = (
        "workload", *profile, "purpose", "outcome", "finished, UTC", "latency, ms", "95 % interval, ms", "energy, mJ",
        "peak memory, MB", *of_gpu,
    )  # fmt: skip
    table = Table(f"The newest {len(rows)} attempts, the newest first", heads, rows, left=4 + len(profile))
    notes = ("Latencies are medians as measured, the call overhead included; energies are gross.",)
    return Section("Newest measurements", tables=[table], notes=notes)


def _drift_section(told: DeviceReport) -> Section:
    known = [course for course in told.canaries if course.known_us]
    rows = [
        [course.profile, f"{len(course.known_us):,}", number(course.usual_us), number(course.known_us[-1]),
         signed_percent(course.change)]
        for course in known
    ]  # fmt: skip
    pictures, tables, notes = [], [], []
    if known:
        shown = [drawings.Course(course.profile, course.known_us) for course in known]
        alt = f"Canary of each session, in microseconds, over {counted(len(known), 'profile')}; higher is slower"
        pictures.append(Picture("canary", alt, lambda: drawings.courses(shown, "canary, µs", "session, oldest first")))
        heads = ("profile", "sessions", "usual, µs", "newest, µs", "change, %")
        tables.append(Table("Canary: the machine's own speed, whatever is measured", heads, rows))
        moved = [course for course in known if course.change is not None and abs(course.change) > DRIFT_LIMIT]
        notes += [f"{course.profile}: the newest session is {signed_percent(course.change)} off." for course in moved]
        notes.append(
            f"A change beyond {DRIFT_LIMIT * 100:.0f} % moves every number of the session with it; with fewer than"
            f" {SESSIONS_MIN} earlier sessions nobody knows what is usual."
        )
    if told.anchors:
        pictures.append(_anchor_picture(told.anchors))
        tables.append(_anchor_table(told.anchors))
    lead = "" if known or told.anchors else "Neither a canary nor an anchor tells whether it is what it was."
    return Section("Whether it is what it was", lead, pictures, tables, notes)


def _anchor_picture(found: Sequence[AnchorCourse]) -> Picture:
    shown = [drawings.Course(one.profile, [100.0 * session.change for session in one.sessions]) for one in found]
    alt = "Anchors measured again in later sessions: median change against their first measurement, in per cent"
    return Picture(
        "anchors", alt, lambda: drawings.courses(shown, "change, %", "session with anchors, oldest first")
    )  # fmt: skip


def _anchor_table(found: Sequence[AnchorCourse]) -> Table:
    rows = [
        [course.profile, clock(one.started_at), f"{one.anchors:,}", signed_percent(one.change)]
        for course in found
        for one in course.sessions
    ]
    heads = ("profile", "session, UTC", "anchors", "median change, %")
    return Table("Anchors: graphs measured again at the beginning of a session", heads, rows, left=2)


def _reading_section(told: DeviceReport) -> Section:
    if not told.readings:
        return Section("Energy and memory", "Neither was measured.")
    names = {one.sensor_hash: str(one.document.get("name", one.sensor_hash[:12])) for one in told.meters}
    rows = [
        [one.quantity.value, one.means or DASH, names.get(one.sensor_hash or "", DASH), one.status, f"{one.readings:,}"]
        for one in told.readings
    ]
    tables = [Table("Readings by outcome", ("quantity", "of", "meter", "outcome", "readings"), rows, left=4)]
    if told.meters:
        heads = ("meter", "driver", "scope", "resolution, mW", "period, s", "gain error, %", "offset, mW")
        tables.append(Table("Power meters", heads, [_meter_cells(one.document) for one in told.meters], left=3))
    return Section("Energy and memory", tables=tables)


def _meter_cells(document: Mapping[str, Json]) -> list[str]:
    def told(key: str, factor: float = 1.0) -> str:
        value = document.get(key)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return number(float(value) * factor) if is_number else DASH  # type: ignore[arg-type]  # it is one

    texts = [str(document.get(key) or DASH) for key in ("name", "driver", "scope")]
    return [*texts, told("resolution_mw"), told("period_s"), told("gain_error", 100.0), told("offset_mw")]
