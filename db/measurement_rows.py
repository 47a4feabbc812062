"""Rows of the store → measurements. By place and not by name: of a training set names would cost more than values."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from operator import itemgetter

from ..profiler.records import Energy, Latency, Measurement, PeakMemory, Reading, Status
from .codec import decode_visits

#: Columns of text whose names are those of the record's fields.
TEXTS = (
    *("measurement_id", "graph_hash", "profile_hash", "environment_hash", "device_identity", "session", "protocol"),
    *("purpose", "message", "started_at", "finished_at"),
)
#: Field of ``Latency`` → column, in the record's order.
LATENCY = {field.name: f"latency_{field.name}" for field in fields(Latency)}
ENERGY = tuple(field.name for field in fields(Energy) if field.name != "status")
MEMORY = tuple(field.name for field in fields(PeakMemory) if field.name != "status")

_STATUS = {status.value: status for status in Status}
_Values = Callable[[Sequence[object]], tuple[object, ...]]


def energy_of(status: object, numbers: Iterable[object]) -> Energy:
    """An energy from its status and the columns ``ENERGY``."""
    return Energy(Reading(status), **dict(zip(ENERGY, numbers, strict=True)))  # type: ignore[arg-type]


class MeasurementRows:
    """Reads rows with these columns; ``payload`` and ``conditions`` may be missing."""

    def __init__(self, columns: Iterable[str]) -> None:
        place = {name: n for n, name in enumerate(columns)}

        def values(*names: str) -> _Values:
            return itemgetter(*(place[name] for name in names))

        self._texts = values(*TEXTS)
        self._latency = values(*LATENCY.values())
        self._energy = values(*(f"energy_{name}" for name in ENERGY))
        self._memory = values(*(f"memory_{name}" for name in MEMORY))
        self._status, self._visits, self._overhead = place["status"], place["latency_visits"], place["overhead_ms"]
        self._energy_status, self._memory_status = place["energy_status"], place["memory_status"]
        self._raw = (place["payload"], place["conditions"]) if "payload" in place else None

    def measurement(self, row: Sequence[object]) -> Measurement:
        payload, conditions = (None, None) if self._raw is None else (row[place] for place in self._raw)
        texts = dict(zip(TEXTS, self._texts(row), strict=True))
        return Measurement(
            **texts,  # type: ignore[arg-type]  # the columns have the types of the fields
            status=_STATUS[row[self._status]],  # type: ignore[index]
            latency=None if row[self._visits] is None else Latency(*self._latency(row)),  # type: ignore[arg-type]
            overhead_ms=row[self._overhead],  # type: ignore[arg-type]
            visits=() if payload is None else decode_visits(payload),  # type: ignore[arg-type]
            conditions={} if conditions is None else json.loads(conditions),  # type: ignore[arg-type]
            energy=self._energy_of(row),
            peak_memory=self._memory_of(row),
        )

    def _energy_of(self, row: Sequence[object]) -> Energy | None:
        status = row[self._energy_status]
        return None if status is None else energy_of(status, self._energy(row))

    def _memory_of(self, row: Sequence[object]) -> PeakMemory | None:
        status = row[self._memory_status]
        if status is None:
            return None
        numbers = dict(zip(MEMORY, self._memory(row), strict=True))
        return PeakMemory(Reading(status), **numbers)  # type: ignore[arg-type]
