"""Which stored attempts one side of a comparison means: ``runtime=tvm,threads=4``, read, checked and matched."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from datetime import datetime, timezone

from ..profiler.errors import UsageError
from ..profiler.records import Device, Measurement, RuntimeProfile

#: What stands for a side that is not narrowed.
ALL = "all"
#: The precision builder ends the name of a converted workload so: ``block int8-qdq``, ``block fp16``.
_PRECISION_SUFFIX = re.compile(r"(?P<base>.+)[ -](?P<precision>(?:fp|bf|u?int)\d+(?:-[a-z]+)?)")
_PLAIN_PRECISION = "fp32"
_RUNTIME_SHORT = {"ort": "onnxruntime"}


@dataclass(frozen=True)
class Attempt:
    """One stored measurement with what it refers to. The measurement may be without its visits."""

    measurement: Measurement
    profile: RuntimeProfile
    device: Device
    name: str

    @property
    def base_name(self) -> str:
        """The workload's name without the precision it was converted to."""
        match = _PRECISION_SUFFIX.fullmatch(self.name)
        return match["base"] if match else self.name

    @property
    def precision(self) -> str:
        """Of the runtime profile where that changes it, else of the graph by the workload's name."""
        if self.profile.precision != _PLAIN_PRECISION:
            return self.profile.precision
        match = _PRECISION_SUFFIX.fullmatch(self.name)
        return match["precision"] if match else _PLAIN_PRECISION

    def facets(self) -> dict[str, str]:
        """What must be equal for two latencies to be the same quantity, as text by name."""
        found = {field.name: _text(getattr(self.profile, field.name)) for field in fields(self.profile)}
        found["level"] = found.pop("graph_level")
        return {**found, "precision": self.precision, "device": self.device.identity}


def _text(value: object) -> str:
    if isinstance(value, (tuple, list)):
        return " ".join("=".join(map(str, part)) if isinstance(part, (tuple, list)) else str(part) for part in value)
    return str(value)


@dataclass(frozen=True)
class Selection:
    """One side as it was asked for. ``wanted`` holds keys and values; times are UTC, ``until`` is not included."""

    text: str
    wanted: tuple[tuple[str, str], ...] = ()
    since: datetime | None = None
    until: datetime | None = None

    @property
    def is_everything(self) -> bool:
        return not self.wanted and self.since is None and self.until is None

    @property
    def keys(self) -> frozenset[str]:
        """The keys that narrow by a value, not by time."""
        return frozenset(key for key, _ in self.wanted)

    def matches(self, attempt: Attempt) -> bool:
        started = _instant(attempt.measurement.started_at)
        if self.since is not None and started < self.since:
            return False
        if self.until is not None and started >= self.until:
            return False
        return all(_MATCHERS[key](attempt, value) for key, value in self.wanted)


def _same_runtime(attempt: Attempt, value: str) -> bool:
    return attempt.profile.runtime == _RUNTIME_SHORT.get(value.lower(), value.lower())


def _same_version(attempt: Attempt, value: str) -> bool:
    """``1.32`` means every 1.32.x, but not 1.320."""
    return f"{attempt.profile.version}.".startswith(f"{value}.")


def _same_provider(attempt: Attempt, value: str) -> bool:
    suffix = "executionprovider"
    return attempt.profile.provider.lower().removesuffix(suffix) == value.lower().removesuffix(suffix)


def _same_level(attempt: Attempt, value: str) -> bool:
    return _short_level(attempt.profile.graph_level) == _short_level(value)


def _short_level(name: str) -> str:
    return name.lower().removeprefix("ort_").removeprefix("enable_")


def _same_device(attempt: Attempt, value: str) -> bool:
    return attempt.device.name == value or attempt.device.identity.startswith(value)


_MATCHERS: dict[str, Callable[[Attempt, str], bool]] = {
    "runtime": _same_runtime,
    "version": _same_version,
    "provider": _same_provider,
    "threads": lambda attempt, value: attempt.profile.threads == int(value),
    "precision": lambda attempt, value: attempt.precision == value.lower(),
    "level": _same_level,
    "option": lambda attempt, value: value in {f"{name}={setting}" for name, setting in attempt.profile.options},
    "device": _same_device,
    "environment": lambda attempt, value: attempt.measurement.environment_hash.startswith(value.lower()),
    "profile": lambda attempt, value: attempt.measurement.profile_hash.startswith(value.lower()),
}
#: Every key of a selection.
KEYS = (*_MATCHERS, "since", "until")


def parse_selection(text: str) -> Selection:
    """Read ``key=value[,key=value…]``; an empty text or ``all`` narrows nothing.

    Keys: runtime, version (``1.32`` means every 1.32.x), provider, threads, precision, level, option (``option=k=v``),
    device (name, or the beginning of the identity), environment and profile (beginning of the hash), since and until
    (ISO 8601; UTC unless it says otherwise; ``until`` is not included, so that one day can end A and begin B).

    Raises:
        UsageError: an unknown or repeated key, a key without a value, a value that cannot be one.
    """
    if text.strip().lower() in ("", ALL):
        return Selection(ALL)
    found: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not key or not value:
            raise UsageError(
                f"{text!r}: {part.strip()!r} is not key=value", remedy="write it like runtime=tvm,threads=4"
            )
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, 1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise UsageError(f"{text!r}: there is no key {key!r}", remedy=f"{hint}keys: {', '.join(KEYS)}")
        if key in found:
            raise UsageError(f"{text!r}: {key} is there twice", remedy="name each key once")
        found[key] = value
    if "threads" in found and not (found["threads"].isascii() and found["threads"].isdigit()):
        raise UsageError(f"{text!r}: {found['threads']!r} is no number of threads", remedy="write it like threads=4")
    since, until = (_moment(text, found.pop(key, None)) for key in ("since", "until"))
    if since is not None and until is not None and since >= until:
        raise UsageError(f"{text!r}: nothing lies between these times", remedy="until must be later than since")
    return Selection(text.strip(), tuple(found.items()), since, until)


def _moment(text: str, value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        return _instant(value)
    except ValueError as error:
        raise UsageError(
            f"{text!r}: {value!r} is no time", remedy="write it like since=2026-07-01 or since=2026-07-01T12:00"
        ) from error


def _instant(value: str) -> datetime:
    # Python 3.10 does not read the Z of ISO 8601.
    found = datetime.fromisoformat(f"{value[:-1]}+00:00" if value.endswith(("Z", "z")) else value)
    return found.replace(tzinfo=timezone.utc) if found.tzinfo is None else found.astimezone(timezone.utc)


def inventory(attempts: Iterable[Attempt]) -> str:
    """What there is to select from, for a message: ``runtime: onnxruntime, tvm; threads: 1, 4``."""
    values: dict[str, set[str]] = {}
    for attempt in attempts:
        shown = attempt.facets() | {"device": attempt.device.name}
        for key in ("runtime", "version", "provider", "threads", "precision", "level", "device"):
            values.setdefault(key, set()).add(shown[key])
    return "; ".join(f"{key}: {', '.join(sorted(some))}" for key, some in values.items())
