"""The factor of a LUT from the whole networks of its space that the store holds."""

from __future__ import annotations

import numpy as np

from ..db import Store
from ..profiler.records import RuntimeProfile
from .correction import fit_scale
from .dataset import load_samples
from .lut import Lut
from .predictor import NETWORKS_MIN
from .space import Space


def scale_from_store(store: Store, device_identity: str, profile: RuntimeProfile, space: Space, lut: Lut) -> Lut:
    """The table with its factor fitted; unchanged when fewer than three networks of the space were measured.

    A network is recognised by its name, which holds the space and the architecture, and checked by its graph.
    """
    samples = load_samples(store, device_identity, profile, purposes=("network",))
    archs, measured_ms = [], []
    prefix = f"{space.name}-"
    for sample in samples:
        if not sample.workload.name.startswith(prefix):
            continue
        codes = sample.workload.name[len(prefix) :].split(".")
        if len(codes) != len(space.positions):
            continue
        arch = np.array([[-1 if code == "_" else int(code) for code in codes]], dtype=np.int16)
        if space.build(arch).graph_hash == sample.workload.graph_hash:
            archs.append(arch[0])
            measured_ms.append(sample.raw_ms)
    if len(archs) < NETWORKS_MIN:
        return lut
    sums = lut.price(np.array(archs), corrected=False, space=space)
    return lut.with_scale(fit_scale(sums, np.array(measured_ms)), len(archs))
