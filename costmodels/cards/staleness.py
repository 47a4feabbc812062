"""Whether a model still speaks of the device as it is: the cheap part, which compares and measures nothing.

Imports nothing heavy: ``edgecost predict`` asks it before every answer. The thorough part is ``model_check.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...profiler.records import Json

if TYPE_CHECKING:
    from ..local_setting import LocalSetting

#: Fields of an environment that a latency follows, as people call them. The host's Python is not among them: the
#: runtime's own time is measured, and the call is subtracted.
_NAMES = {
    "cpu_model": "the processor",
    "architecture": "the architecture",
    "kernel": "the operating system's kernel",
    "driver": "the driver",
    "hypervisor": "the hypervisor",
    "governors": "the CPU frequency governor",
    "turbo": "turbo",
    "runtime": "the runtime",
    "pinned_cpus": "the CPUs that are used",
    "target": "the target",
}
#: Memory that differs by no more than this is the same machine: a kernel keeps more or less of it for itself.
_MEMORY_SHARE = 0.1
MEASURE_ANCHORS = "see whether its numbers hold: edgecost models check --measure"
#: Another version of a runtime is another profile, of which the database has nothing yet.
MEASURE_PROFILE = "measure it: edgecost campaign kernels, then edgecost train"
#: A campaign measures nothing twice, and training takes the median of old and new: what is to replace old measurements
#: goes into a database of its own.
MEASURE_ANEW = (
    "measure into a new database: edgecost campaign kernels --db NEW.sqlite, then edgecost train --db NEW.sqlite"
)


@dataclass(frozen=True)
class Finding:
    """A reason to doubt a model.

    Attributes:
        what: what changed, from what to what.
        remedy: the command that settles it.
        anchors_tell: whether measuring the anchors can clear it: the machine may be as fast as it was all the same.
    """

    what: str
    remedy: str
    anchors_tell: bool = False


def cheap_findings(provenance: Mapping[str, Json], setting: LocalSetting) -> list[Finding]:
    """What differs between the device that a predictor was trained on and this one as it is now.

    Args:
        provenance: of the predictor, as ``load_predictor`` gives it; what an older one does not say is not compared.
    """
    from ...profiler.protocol import PROTOCOL

    identity = provenance.get("device_identity")
    if isinstance(identity, str) and identity != setting.device.identity:
        named = provenance.get("device_description") or provenance.get("device") or identity[:12]
        return [Finding(f"it was trained on another device, {named}, and prices that one", MEASURE_PROFILE)]
    found = []
    trained = provenance.get("environment")
    if isinstance(trained, dict):
        found += environment_findings(trained, setting.stage.environment.document)
    profile_hash = provenance.get("profile_hash")
    if isinstance(profile_hash, str) and profile_hash != setting.profile.profile_hash and not found:
        change = f"it was trained for {provenance.get('profile')}, and this is {setting.profile.label}"
        found.append(Finding(change, MEASURE_PROFILE))
    protocols = provenance.get("protocols")
    if isinstance(protocols, list) and protocols and protocols != [PROTOCOL]:
        told = ", ".join(map(str, protocols))
        found.append(
            Finding(f"measured under the protocol {told}, measurements are made under {PROTOCOL} now", MEASURE_ANEW)
        )
    return found


def cheap_warnings(provenance: Mapping[str, Json], setting: LocalSetting) -> list[str]:
    """One line for people when a predictor may be stale or is another device's; none when nothing speaks against it."""
    found = cheap_findings(provenance, setting)
    if not found:
        return []
    reasons = "; ".join(one.what for one in found)
    return [f"! this predictor may be stale: {reasons} → {found[0].remedy}"]


def environment_findings(trained: Mapping[str, object], now: Mapping[str, object]) -> list[Finding]:
    """What differs between two environments that a latency follows."""
    found = []
    for key, name in _NAMES.items():
        if key in trained and key in now and trained[key] != now[key]:
            change = f"{name} was {_text(trained[key])}, and is {_text(now[key])}"
            # Another version of a runtime may be slower in one kernel of a hundred, which no anchor sees.
            is_runtime = key == "runtime"
            found.append(Finding(change, MEASURE_PROFILE if is_runtime else MEASURE_ANCHORS, not is_runtime))
    before, after = trained.get("memory_bytes"), now.get("memory_bytes")
    if isinstance(before, int) and isinstance(after, int) and abs(after - before) > _MEMORY_SHARE * before:
        change = f"the memory was {before / 2**30:.0f} GiB, and is {after / 2**30:.0f}"
        found.append(Finding(change, MEASURE_ANCHORS, anchors_tell=True))
    return found


def _text(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value)) or "unknown"
    if isinstance(value, bool):
        return "on" if value else "off"
    return "unknown" if value is None else str(value)
