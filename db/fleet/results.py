"""Results of boards: measurement, receipt and the job's next state at once, and once, however often one is sent."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, select

from ...profiler.errors import BadDocument
from ...profiler.fleet_protocol import Result
from ...profiler.records import Environment, Json, Measurement, RuntimeProfile, Sensor
from .. import measurements, schema, workloads
from ..attempts import Attempt, close_attempt, lock_job
from ..connect import now_stamp
from ..fleet_schema import agent, receipt
from .records import Verdict


def accept(connection: Connection, agent_id: str, result: Result, known: Collection[str]) -> Verdict:
    """Record what an agent sends; a result that was recorded before gets the answer that it got then.

    Args:
        known: hashes of environments and profiles that are in the store for sure, and need not be put again.

    Raises:
        BadDocument: it is another device's, for another graph than the job's, or refers to what it does not bring.
    """
    measurement = result.measurement
    job = lock_job(connection, result.job_id)  # first: two copies of one result wait for each other here
    about = _look_up(connection, agent_id, measurement.measurement_id)
    if about.before is not None:
        return about.before
    if job is None:
        raise BadDocument(f"there is no job {result.job_id}")
    if measurement.graph_hash != job["graph_hash"] or measurement.purpose != job["purpose"]:
        raise BadDocument(f"job {result.job_id} is for another graph or purpose than this result")
    _check_numbers(measurement, is_of_energy=measurement.latency is None and _wants_energy(connection, job))
    if measurement.device_identity != about.device_identity:
        raise BadDocument("a board sends its own measurements only")
    _put_references(connection, result, known)
    if not measurements.add(connection, measurement, result.job_id, about.moment):
        raise BadDocument(f"the measurement {measurement.measurement_id} stands in the store without a receipt")
    attempt = Attempt(
        job_id=result.job_id,
        measurement_id=measurement.measurement_id,
        status=measurement.status,
        answers=measurement.answers,
        owner=agent_id,
        lease_token=result.lease_token,
        killed=bool(result.killed_by),
    )
    verdict, state = close_attempt(connection, job, attempt, about.moment)
    return Verdict(measurement.measurement_id, verdict, state, is_new=True)


def _check_numbers(measurement: Measurement, *, is_of_energy: bool) -> None:
    """Refuse a latency that is none: a broken board must not teach a predictor."""
    latency, overhead_ms = measurement.latency, measurement.overhead_ms
    if overhead_ms is not None and overhead_ms < 0:
        raise BadDocument(f"an overhead of {overhead_ms} ms")
    if measurement.status.has_latency and latency is None and not is_of_energy:
        raise BadDocument(f"a result that is {measurement.status.value} and has no latency")
    if is_of_energy and latency is None and measurement.status.has_latency != (measurement.energy is not None):
        raise BadDocument(f"a result that is {measurement.status.value} where an energy was asked for, and has none")
    if latency is None:
        return
    ordered = 0 < latency.lo_ms <= latency.median_ms <= latency.hi_ms and 0 < latency.min_ms <= latency.median_ms
    if not ordered or latency.visits < 1 or latency.runs < latency.visits:
        raise BadDocument(
            f"no latency is {latency.median_ms} ms in {latency.lo_ms} … {latency.hi_ms} ms, the shortest"
            f" {latency.min_ms} ms, of {latency.visits} visits and {latency.runs} runs"
        )


def _wants_energy(connection: Connection, job: RowMapping) -> bool:
    """Whether the job's campaign asks for energies; asked of results without a latency only."""
    table = schema.campaign
    settings = connection.execute(select(table.c.settings).where(table.c.id == job["campaign_id"])).scalar_one()
    return settings is not None and "energy" in settings


@dataclass(frozen=True)
class _About:
    """What is known before a result is looked at: one statement, asked for every result.

    Attributes:
        before: what the same attempt was told when it came the first time.
        moment: of its arrival.
    """

    before: Verdict | None
    device_identity: str
    moment: str


def _look_up(connection: Connection, agent_id: str, measurement_id: str) -> _About:
    """Asked while the job is held, so that the receipt of a copy that came at the same time is seen."""
    said = (receipt.c.verdict, receipt.c.job_state)
    statement = (
        select(agent.c.device_identity, now_stamp(connection).label("moment"), *said)
        .outerjoin_from(agent, receipt, receipt.c.measurement_id == measurement_id)
        .where(agent.c.agent_id == agent_id)
    )
    device_identity, arrived, verdict, state = connection.execute(statement).one()
    before = None if verdict is None else Verdict(measurement_id, verdict, state, is_new=False)
    return _About(before, device_identity, arrived)


def _put_references(connection: Connection, result: Result, known: Collection[str]) -> None:
    measurement = result.measurement
    environment = Environment(result.environment)
    try:
        profile = RuntimeProfile.from_document(result.profile)
    except ValueError as error:
        raise BadDocument(f"the profile of a result: {error}") from error
    if environment.environment_hash != measurement.environment_hash:
        raise BadDocument("the environment is not the one that the measurement refers to")
    if profile.profile_hash != measurement.profile_hash:
        raise BadDocument("the runtime profile is not the one that the measurement refers to")
    if measurement.energy is not None and measurement.energy.sensor_hash is not None:
        _put_sensor(connection, measurement.energy.sensor_hash, result.sensor)
    brought = {Sensor(document).sensor_hash: document for document in result.rail_sensors}
    for energy in measurement.rails.values():
        if energy.sensor_hash is not None:
            _put_sensor(connection, energy.sensor_hash, brought.get(energy.sensor_hash))
    if environment.environment_hash not in known:
        workloads.put_environment(connection, environment)
    if profile.profile_hash not in known:
        workloads.put_profile(connection, profile)


def _put_sensor(connection: Connection, sensor_hash: str, document: Mapping[str, Json] | None) -> None:
    if document is None or Sensor(document).sensor_hash != sensor_hash:
        raise BadDocument("the energy refers to a sensor that the result does not bring")
    workloads.put_sensor(connection, Sensor(document))
