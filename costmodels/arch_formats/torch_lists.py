"""The lists that HELP, NASFlat and MultiPredict read: one torch file for each device, a number for each network.

The elements are plain Python floats. ``torch.load`` refuses anything else since torch 2.6, where ``weights_only`` is
the default; NumPy scalars would need the class that made them.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib import import_module
from types import MappingProxyType

from ...profiler.errors import MissingPackage
from ..lut_formats.card import FormatCard
from .base import CELLS, ArchFileFormat
from .costs import About, Costs
from .networks import NASBENCH201, Networks

#: Networks of the lists that both projects ship for FBNet and Once-for-All.
_LISTED = 5000


def torch_list(values: list[float]) -> bytes:
    """A list of floats as ``torch.save`` writes it.

    Raises:
        MissingPackage: torch is not installed.
    """
    try:
        torch = import_module("torch")
    except ImportError as error:
        raise MissingPackage(
            "this file is written by torch, which is not installed", remedy="pip install torch"
        ) from error
    file = io.BytesIO()
    torch.save(values, file)
    return file.getvalue()


def _device_file(costs: Costs, about: About) -> str:
    return f"{about.slug}.pt" if costs.metric == "latency" else f"{about.slug}-{costs.metric}.pt"


class HelpFormat(ArchFileFormat):
    """HELP (Lee et al., NeurIPS 2021): ``data/<space>/latency/<device>.pt``. Name its ``data`` folder as the output."""

    name = "help"
    card = FormatCard(
        title="HELP",
        reader="loader.Data",
        spaces=(NASBENCH201, "fbnet-cifar", "fbnet", "ofa-mobilenetv3"),
        needs=("torch",),
        note="Networks in HELP's own order: its list of architectures, written out line by line (--archs). "
        "Its FBNet is the space on CIFAR-100, fbnet-cifar.",
    )
    counts = MappingProxyType(
        {NASBENCH201: CELLS, "fbnet-cifar": _LISTED, "fbnet": _LISTED, "ofa-mobilenetv3": _LISTED}
    )

    def render(self, networks: Networks, costs: Sequence[Costs], about: About) -> dict[str, bytes]:
        """One list."""
        folder = {"ofa-mobilenetv3": "ofa", "fbnet-cifar": "fbnet"}.get(networks.space, networks.space)
        return {f"{folder}/latency/{_device_file(costs[0], about)}": torch_list(costs[0].floats)}


class NasflatFormat(ArchFileFormat):
    """NASFlat and MultiPredict: ``embedding_datasets/<space>_latency/<device>.pt``; the reader scales it to 0 … 1."""

    name = "nasflat"
    card = FormatCard(
        title="NASFlat, MultiPredict",
        reader="nas_embedding_suite.nb201_ss.NASBench201, fbnet_ss.FBNet",
        spaces=(NASBENCH201, "fbnet-cifar", "fbnet"),
        needs=("torch",),
        note="The names of devices are in the reader's code: add yours there.",
    )
    counts = MappingProxyType({NASBENCH201: CELLS, "fbnet-cifar": _LISTED, "fbnet": _LISTED})

    def render(self, networks: Networks, costs: Sequence[Costs], about: About) -> dict[str, bytes]:
        """One list."""
        folder = {NASBENCH201: "nb201", "fbnet-cifar": "fbnet"}.get(networks.space, networks.space)
        return {f"{folder}_latency/{_device_file(costs[0], about)}": torch_list(costs[0].floats)}
