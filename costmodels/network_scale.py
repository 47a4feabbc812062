"""The whole networks of a space that the store holds, and the factor of a LUT from them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..db import Store
from ..profiler.errors import UsageError
from ..profiler.records import RuntimeProfile
from ..profiler.workload import Workload
from .correction import fit_scale
from .dataset import load_samples
from .lut import Lut
from .predictor import NETWORKS_MIN
from .space import Space
from .validation import Accuracy, repeatability_of


@dataclass(frozen=True, eq=False)
class MeasuredNetworks:
    """Whole networks of one space with what was measured of them.

    Attributes:
        archs: int16 (networks, positions).
        measured: ms or mJ, float64 (networks,): of a whole run, the call's own share included for latencies.
        sessions: values of each network's sessions.
    """

    archs: npt.NDArray[np.int16]
    measured: npt.NDArray[np.float64]
    sessions: tuple[tuple[float, ...], ...]

    def __len__(self) -> int:
        return len(self.measured)

    @property
    def floor(self) -> Accuracy | None:
        """Agreement of a second session with the first; None where none was repeated."""
        return repeatability_of(self.sessions)


def networks_in_store(
    store: Store, device_identity: str, profile: RuntimeProfile, space: Space, purposes: Collection[str] = ("network",)
) -> MeasuredNetworks:
    """The networks of a space whose latency was measured on a device and profile, in ms."""
    samples = load_samples(store, device_identity, profile, purposes=purposes)
    return of_space(space, [(one.workload, one.raw_ms, one.sessions_ms) for one in samples])


def of_space(space: Space, found: Sequence[tuple[Workload, float, tuple[float, ...]]]) -> MeasuredNetworks:
    """Those workloads that are networks of a space, each with its number and the numbers of its sessions.

    A network is recognised by its name, which holds the space and the architecture, and checked by its graph.
    """
    archs, measured, sessions = [], [], []
    prefix = f"{space.name}-"
    for workload, value, of_sessions in found:
        if not workload.name.startswith(prefix):
            continue
        # A space of one network has no positions, and its name nothing behind the dash.
        codes = [code for code in workload.name.removeprefix(prefix).split(".") if code]
        if len(codes) != len(space.positions) or not all(code == "_" or code.isdecimal() for code in codes):
            continue
        arch = np.array([-1 if code == "_" else int(code) for code in codes], dtype=np.int16)
        if _is_of(space, arch, workload):
            archs.append(arch)
            measured.append(value)
            sessions.append(of_sessions)
    shape = (len(archs), len(space.positions))
    return MeasuredNetworks(
        np.array(archs, dtype=np.int16).reshape(shape), np.array(measured, dtype=np.float64), tuple(sessions)
    )


def _is_of(space: Space, arch: npt.NDArray[np.int16], workload: Workload) -> bool:
    try:
        return space.build(arch[None]).graph_hash == workload.graph_hash
    except UsageError:  # another space had the same name
        return False


def scale_from_store(store: Store, device_identity: str, profile: RuntimeProfile, space: Space, lut: Lut) -> Lut:
    """The table with its factor fitted; unchanged when fewer than three networks of the space were measured."""
    found = networks_in_store(store, device_identity, profile, space)
    if len(found) < NETWORKS_MIN:
        return lut
    sums = lut.price(found.archs, corrected=False, space=space)
    return lut.with_scale(fit_scale(sums, found.measured), len(found))
