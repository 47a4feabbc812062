"""What measurements refer to: devices, environments, profiles, sensors, workloads. Stored once; the first stays."""

from __future__ import annotations

import zlib
from dataclasses import asdict
from typing import TYPE_CHECKING

from sqlalchemy import Connection, select

from ..profiler.records import Device, Environment, RuntimeProfile, Sensor
from . import schema
from .connect import insert_missing, now, stamp

if TYPE_CHECKING:
    from ..profiler.workload import Workload


def put_device(connection: Connection, device: Device) -> None:
    connection.execute(
        insert_missing(schema.device, connection),
        {
            "identity": device.identity,
            "name": device.name,
            "description": device.description,
            "first_seen": stamp(now(connection)),
        },
    )


def put_environment(connection: Connection, environment: Environment) -> None:
    row = {"environment_hash": environment.environment_hash, "document": dict(environment.document)}
    connection.execute(insert_missing(schema.environment, connection), row)


def put_profile(connection: Connection, profile: RuntimeProfile) -> None:
    row = {"profile_hash": profile.profile_hash, "document": profile.document()}
    connection.execute(insert_missing(schema.runtime_profile, connection), row)


def put_sensor(connection: Connection, sensor: Sensor) -> None:
    row = {"sensor_hash": sensor.sensor_hash, "document": dict(sensor.document)}
    connection.execute(insert_missing(schema.sensor, connection), row)


def put_workload(connection: Connection, workload: Workload) -> None:
    connection.execute(
        insert_missing(schema.workload, connection),
        {
            "graph_hash": workload.graph_hash,
            "name": workload.name,
            "kind": workload.kind,
            "skeleton_zlib": zlib.compress(workload.skeleton),
            "weights": [asdict(weight) for weight in workload.weights],
            "path": workload.path,
        },
    )


def workload(connection: Connection, graph_hash: str) -> Workload | None:
    """The workload with this hash, None when unknown."""
    # onnx comes with these; whoever only reads numbers goes without.
    from ..profiler.weights import Weight
    from ..profiler.workload import Workload

    table = schema.workload
    row = connection.execute(select(table).where(table.c.graph_hash == graph_hash)).mappings().one_or_none()
    if row is None:
        return None
    return Workload(
        name=row["name"],
        kind=row["kind"],
        graph_hash=row["graph_hash"],
        skeleton=zlib.decompress(row["skeleton_zlib"]),
        weights=tuple(Weight(**{**weight, "shape": tuple(weight["shape"])}) for weight in row["weights"]),
        path=row["path"],
    )


def profile(connection: Connection, profile_hash: str) -> RuntimeProfile | None:
    """The runtime profile with this hash, None when unknown."""
    table = schema.runtime_profile
    statement = select(table.c.document).where(table.c.profile_hash == profile_hash)
    document = connection.execute(statement).scalar_one_or_none()
    return None if document is None else RuntimeProfile.from_document(document)


def environment(connection: Connection, environment_hash: str) -> Environment | None:
    """The environment with this hash, None when unknown."""
    table = schema.environment
    statement = select(table.c.document).where(table.c.environment_hash == environment_hash)
    document = connection.execute(statement).scalar_one_or_none()
    return None if document is None else Environment(document)


def sensor(connection: Connection, sensor_hash: str) -> Sensor | None:
    """The sensor with this hash, None when unknown."""
    table = schema.sensor
    statement = select(table.c.document).where(table.c.sensor_hash == sensor_hash)
    document = connection.execute(statement).scalar_one_or_none()
    return None if document is None else Sensor(document)


def devices(connection: Connection) -> list[Device]:
    """All devices, by name."""
    table = schema.device
    rows = connection.execute(select(table.c.name, table.c.identity, table.c.description)).all()
    return sorted((Device(name, identity, description) for name, identity, description in rows), key=_by_name)


def _by_name(device: Device) -> tuple[str, str]:
    return device.name, device.identity
