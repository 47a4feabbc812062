"""A device of the store by the name that somebody gives it."""

from __future__ import annotations

from ..db import Store
from ..profiler.errors import UsageError
from ..profiler.records import Device

#: Beginnings of an identity that are shorter could be anything.
_IDENTITY_MIN = 4
_NAMED = 12


def find_device(store: Store, name: str, *, also: tuple[str, ...] = ()) -> Device:
    """The device with a name, or whose identity begins with it.

    Args:
        also: other names that may be given where this is asked, for the remedy.

    Raises:
        UsageError: there is none, or several have the name.
    """
    devices = store.devices()
    known = [device for device in devices if device.name == name]
    if not known and len(name) >= _IDENTITY_MIN:
        known = [device for device in devices if device.identity.startswith(name)]
    if len(known) == 1:
        return known[0]
    if not devices and not also:
        raise UsageError(
            f"there is no device {name!r}: nothing was measured into {store.url}",
            remedy="measure first (edgecost profile MODEL.onnx), or name another database: --db",
        )
    named = [*also, *(f"{device.name} ({device.identity[:8]})" for device in known or devices)]
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    raise UsageError(
        f"{len(known)} devices are called {name!r}" if known else f"there is no device {name!r} in the database",
        remedy=f"name one, or the beginning of its identity: {', '.join(named[:_NAMED])}{more}",
    )
