"""The report of a campaign, laid out."""

from __future__ import annotations

from shlex import quote

import numpy as np

from ...profiler.documents import document_of
from . import drawings
from .campaign import FAILED_SHOWN, WIDTHS, CampaignReport
from .page import Picture, Report, Section, Table
from .texts import DASH, counted, duration, listed, moment, number, percent, seconds_between, share

#: Kinds that a table lists; the data hold all of them.
_KINDS_SHOWN = 60


def campaign_report(told: CampaignReport) -> Report:
    """Lay out what was read."""
    facts = [
        ("Space", told.campaign.space or DASH),
        ("Opened", moment(told.campaign.created_at)),
        ("Measured", f"{moment(told.first_at)} … {moment(told.last_at)}" if told.first_at else DASH),
    ]
    return Report(
        kind="campaign",
        subject=told.campaign.name,
        title=told.campaign.name,
        lead=_lead(told),
        facts=facts,
        sections=[_jobs(told), _failures(told), _latencies(told), _times(told), _widths(told)],
        data=document_of(told),
    )


def _lead(told: CampaignReport) -> str:
    done, failed = told.campaign.jobs["done"], told.campaign.jobs["failed"]
    left = told.jobs - done - failed
    return (
        f"{done:,} of {counted(told.jobs, 'job')} done, {failed:,} failed, {left:,} to be done;"
        f" {counted(told.attempts, 'attempt')}."
    )


def _jobs(told: CampaignReport) -> Section:
    states = dict(told.campaign.jobs)
    rows = [[state, f"{n:,}", percent(share(n, told.jobs))] for state, n in states.items()]
    outcomes = [[status, f"{n:,}", percent(share(n, told.attempts))] for status, n in told.by_status.items()]
    alt = f"Jobs by state: {listed(states)}"
    pictures = [Picture("jobs", alt, lambda: drawings.bars(states, "jobs"))] if told.jobs else []
    passed_s = _passed_s(told)
    if len(passed_s) > 1:
        over = f"Usable results over time: {len(passed_s):,} in {duration(passed_s[-1])}"
        pictures.append(Picture("progress", over, lambda: drawings.progress(passed_s, "results")))
    return Section(
        "How far it is",
        pictures=pictures,
        tables=[
            Table("Jobs by state", ("state", "jobs", "share, %"), rows),
            Table("Attempts by outcome", ("outcome", "attempts", "share, %"), outcomes),
        ],
    )


def _passed_s(told: CampaignReport) -> list[float]:
    """Of each usable result, since the first attempt began."""
    if told.first_at is None:
        return []
    passed = [seconds_between(told.first_at, one) for one in told.finished_at]
    return [seconds for seconds in passed if seconds is not None]


def _failures(told: CampaignReport) -> Section:
    if not told.reasons:
        return Section("What failed", "No job has failed.")
    reasons = [[reason, f"{n:,}"] for reason, n in told.reasons.items()]
    jobs = [
        [job.label, str(job.job_id), job.purpose, job.reason, job.said or DASH, f"{job.attempts:,}"]
        for job in told.failed
    ]
    total = sum(told.reasons.values())
    cut = f" (the first {FAILED_SHOWN} of {total:,})" if total > len(told.failed) else ""
    heads = ("job", "number", "purpose", "reason", "what its last attempt said", "failed attempts")
    return Section(
        "What failed",
        tables=[
            Table("Failed jobs by reason", ("reason", "jobs"), reasons),
            Table(f"Failed jobs{cut}", heads, jobs, left=5),
        ],
        notes=[f"Try them again: edgecost jobs retry --campaign {quote(told.campaign.name)}"],
    )


def _latencies(told: CampaignReport) -> Section:
    if not told.kinds:
        return Section("Latencies by kind", "No job has a latency yet.")
    groups = {row.kind: row.latencies_ms for row in told.kinds}
    rows = [
        [row.kind, f"{len(row.latencies_ms):,}", number(min(row.latencies_ms)), number(row.median_ms),
         number(max(row.latencies_ms))]
        for row in told.kinds[:_KINDS_SHOWN]
    ]  # fmt: skip
    hidden = len(told.kinds) - drawings.GROUPS_MAX
    more = f"; {counted(hidden, 'rarer kind')} not drawn" if hidden > 0 else ""
    alt = f"Latency of each job, by kind, in milliseconds{more}"
    heads = ("kind", "jobs", "least, ms", "median, ms", "most, ms")
    cut = f", the {_KINDS_SHOWN} commonest of {len(told.kinds)}" if len(told.kinds) > _KINDS_SHOWN else ""
    return Section(
        "Latencies by kind",
        pictures=[Picture("latencies", alt, lambda: drawings.spreads(groups, "latency, ms"))],
        tables=[Table(f"Latencies by kind{cut}", heads, rows)],
        notes=["Medians as measured, the call overhead included; of each job the newest that may be used."],
    )


def _times(told: CampaignReport) -> Section:
    if not told.devices:
        return Section("Time for each job", "Nothing was measured yet.")
    rows = [
        [row.device, row.device_identity[:12], f"{row.sessions:,}", f"{row.attempts:,}", f"{row.usable:,}",
         number(row.measuring_s), number(row.seconds_per_attempt)]
        for row in told.devices
    ]  # fmt: skip
    heads = ("device", "identity", "sessions", "attempts", "usable", "measuring, s", "for each attempt, s")
    return Section(
        "Time for each job",
        tables=[Table("Devices", heads, rows, left=2)],
        notes=["From begin to end of each session, shared out evenly: graphs take turns within a session."],
    )


def _widths(told: CampaignReport) -> Section:
    widths = [100.0 * width for width in told.relative_half_widths]
    if not widths:
        return Section("How sure the latencies are", "No latency has an interval.")
    # An interval that stops at the target exactly is within it, whatever rounding says.
    held = {most: float(np.mean(np.array(widths) <= 100 * most * (1 + 1e-9))) for most in WIDTHS}
    rows = [[f"within ±{100 * most:.0f} %", percent(share_held)] for most, share_held in held.items()]
    rows += [
        ["median half width", f"{np.median(widths):.2f} %"],
        ["nine of ten are within", f"{np.percentile(widths, 90):.2f} %"],
    ]
    alt = f"Half width of the 95 % interval of {len(widths):,} latencies, in per cent of the latency"
    return Section(
        "How sure the latencies are",
        pictures=[Picture("widths", alt, lambda: drawings.shares_within(widths, "half width of the interval, %"))],
        tables=[Table("Half width of the 95 % interval of the median, of the latency", ("", "latencies, %"), rows)],
        notes=["Within one session; between two sessions numbers differ by more."],
    )
