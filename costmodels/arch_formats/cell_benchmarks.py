"""NAS-Bench-201 for code that asks a benchmark for a latency: HW-NAS-Bench, NATS-Bench and NASLib.

All three are pickles of built-in containers and plain floats: written here, never read. The networks are those of
CIFAR-10; what our device costs on another data set's networks is not known, and nothing is put in its place.
"""

from __future__ import annotations

import bz2
import math
import pickle
from collections.abc import Sequence
from types import MappingProxyType

from ..lut_formats.card import FormatCard, Metric
from .base import CELLS, ArchFileFormat
from .costs import About, Costs
from .networks import NASBENCH201, Networks

#: Reads on Python 3.4 and later, and has an opcode for every container that is used here.
_PROTOCOL = 4
_CLASSES = {"cifar10": 10, "cifar100": 100, "ImageNet16-120": 120}
_ONLY_CELLS = MappingProxyType({NASBENCH201: CELLS})
_SECONDS: tuple[tuple[Metric, str], ...] = (("latency", "s"),)


def _metric_name(about: About, costs: Sequence[Costs]) -> str:
    return "-".join([about.slug, *(one.metric for one in costs if one.metric != "latency")])


class HwNasBenchFormat(ArchFileFormat):
    """HW-NAS-Bench (Li et al., ICLR 2021), its nasbench201 part: ms and mJ under the names of its edge GPU."""

    name = "hw-nas-bench-201"
    card = FormatCard(
        title="HW-NAS-Bench, nasbench201",
        reader="hw_nas_bench_api.HWNASBenchAPI(file, search_space='nasbench201')",
        spaces=(NASBENCH201,),
        note="The reader knows only its own devices: your numbers stand under edgegpu_latency and edgegpu_energy, for"
        " cifar10; everything else is NaN.",
    )
    counts = _ONLY_CELLS
    benchmark_order = True
    holds_unknown = True
    many_metrics = True
    #: The reader asks for each of these whatever is wanted.
    metrics = (
        "edgegpu_latency edgegpu_energy raspi4_latency edgetpu_latency pixel3_latency eyeriss_latency eyeriss_energy "
        "eyeriss_arithmetic_intensity fpga_latency fpga_energy"
    ).split()

    def render(self, networks: Networks, costs: Sequence[Costs], about: About) -> dict[str, bytes]:
        """``nasbench201`` → data set → metric → a list in the benchmark's order."""
        unknown = [math.nan] * len(networks)
        known = {f"edgegpu_{one.metric}": one.floats for one in costs}
        document: dict[str, dict[str, list[object]]] = {}
        for data_set, classes in _CLASSES.items():
            here = known if data_set == "cifar10" else {}
            document[data_set] = {name: [*here.get(name, unknown)] for name in self.metrics}
            document[data_set]["config"] = [
                {"name": "infer.tiny", "C": 16, "N": 5, "arch_str": arch, "num_classes": classes}
                for arch in networks.native
            ]
        content = pickle.dumps({NASBENCH201: document}, _PROTOCOL)
        return {f"HW-NAS-Bench-{_metric_name(about, costs)}.pickle": content}


class NatsBenchFormat(ArchFileFormat):
    """NATS-Bench (Dong et al., TPAMI 2021), topology space; seconds. It holds latencies and nothing else."""

    name = "nats-bench"
    card = FormatCard(
        title="NATS-Bench, topology space",
        reader="nats_bench.create(file, 'tss').get_latency",
        spaces=(NASBENCH201,),
        units=_SECONDS,
        note="Accuracies are not in it: ask the published benchmark for those. An unknown latency is None there.",
    )
    counts = _ONLY_CELLS
    benchmark_order = True
    holds_unknown = True
    #: The network of both is the same; the validation split only changes what is trained.
    data_sets = ("cifar10-valid", "cifar10")
    _seed = 777

    def render(self, networks: Networks, costs: Sequence[Costs], about: About) -> dict[str, bytes]:
        """The state of the benchmark's own objects, as its ``state_dict`` would give them."""
        infos: dict[int, dict[str, object]] = {}
        for index, (arch, second) in enumerate(zip(networks.native, costs[0].floats, strict=True)):
            latency = None if math.isnan(second) else [second]
            infos[index] = {str(epochs): self._state(index, arch, latency, epochs) for epochs in (12, 200)}
        document = {
            "meta_archs": list(networks.native),
            "arch2infos": infos,
            "evaluated_indexes": list(range(len(networks))),
        }
        return {f"NATS-tss-{about.slug}.pickle.pbz2": bz2.compress(pickle.dumps(document, _PROTOCOL))}

    def _state(self, index: int, arch: object, latency: list[float] | None, epochs: int) -> dict[str, object]:
        trial = {
            "name": "edgecost",
            "net_state_dict": None,
            "train_acc1es": None,
            "train_acc5es": None,
            "train_losses": None,
            "train_times": None,
            "arch_config": {"arch_str": arch},
            "params": math.nan,
            "flop": math.nan,
            "seed": self._seed,
            "epochs": epochs,
            "latency": latency,
            "eval_names": [],
            "eval_acc1es": {},
            "eval_times": {},
            "eval_losses": {},
        }
        return {
            "arch_index": index,
            "arch_str": arch,
            "all_results": {(data_set, self._seed): dict(trial) for data_set in self.data_sets},
            "dataset_seed": {data_set: [self._seed] for data_set in self.data_sets},
            "clear_net_done": True,
        }


class NaslibFormat(ArchFileFormat):
    """NASLib: what ``graph.query(Metric.LATENCY, "cifar10", dataset_api={"nb201_data": …})`` reads; seconds.

    Two places: a list of epochs, which the query indexes, and ``cost_info``, which ``Metric.HP`` gives out.
    """

    name = "naslib"
    card = FormatCard(
        title="NASLib, NAS-Bench-201",
        reader="naslib.search_spaces.NasBench201SearchSpace.query",
        spaces=(NASBENCH201,),
        units=_SECONDS,
        note='Unpickle it and give it as dataset_api={"nb201_data": …}. It holds latencies and nothing else.',
    )
    counts = _ONLY_CELLS
    holds_unknown = True

    def render(self, networks: Networks, costs: Sequence[Costs], about: About) -> dict[str, bytes]:
        """By the cell's string; cifar10 is looked up as ``cifar10-valid``."""
        document = {
            arch: {"cifar10-valid": {"latency": [second], "cost_info": {"latency": second}}}
            for arch, second in zip(networks.native, costs[0].floats, strict=True)
        }
        return {f"nb201_{about.slug}_latency.pickle": pickle.dumps(document, _PROTOCOL)}
