"""Sets of samples that a reader trains its own predictor on: Eagle and BRP-NAS, nnabla-nas, Syne Tune."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Sequence
from importlib import import_module

import numpy as np

from ...profiler.errors import MissingPackage, UsageError
from ...profiler.records import Json
from ..lut_formats.card import FormatCard, Metric
from ..onboarding.chain_space import ABSENT
from .base import ArchFileFormat
from .costs import About, Costs
from .networks import NASBENCH201, Networks

_PROTOCOL = 4
_ALL: tuple[tuple[Metric, str], ...] = (("latency", "ms"), ("energy", "mJ"), ("memory", "bytes"))
#: With two runs the reader's quartile filter keeps nothing, and the mean of nothing is nan.
_LEAST_RUNS = 3


def _points(networks: Networks) -> list[tuple[int, ...]]:
    return [tuple(row) for row in networks.choices.tolist()]


class EagleFormat(ArchFileFormat):
    """Eagle and BRP-NAS (Dudziak et al., NeurIPS 2020): a pickled dictionary of a cell's six operators to a number."""

    name = "eagle"
    card = FormatCard(
        title="Eagle, BRP-NAS",
        reader="eagle.predictors.EagleDataset(file, process=False)",
        spaces=(NASBENCH201,),
        units=_ALL,
    )
    distinct = True

    def render(self, networks: Networks, costs: Sequence[Costs], about: About) -> dict[str, bytes]:
        """One dictionary in the order of the networks."""
        samples = dict(zip(_points(networks), costs[0].floats, strict=True))
        return {f"{about.slug}-{costs[0].metric}.pickle": pickle.dumps(samples, _PROTOCOL)}


class EagleRunsFormat(ArchFileFormat):
    """The same with every run, which the reader reduces itself: the mean of what lies between the quartiles."""

    name = "eagle-runs"
    card = FormatCard(
        title="Eagle, BRP-NAS, with each run",
        reader="eagle.predictors.EagleDataset(file, process=True)",
        spaces=(NASBENCH201,),
        units=_ALL,
        note=f"Needs measurements, at least {_LEAST_RUNS} of each network: a column latency_runs_ms of --values.",
    )
    distinct = True

    def render(self, networks: Networks, costs: Sequence[Costs], about: About) -> dict[str, bytes]:
        """A list of one session for each network."""
        runs = costs[0].runs
        if not runs:
            raise UsageError(
                f"these {costs[0].metric} numbers were not measured run by run",
                remedy="write them as 'eagle', or give the runs: --values with a column latency_runs_ms",
            )
        few = [number for number, one in enumerate(runs) if len(one) < _LEAST_RUNS or not np.isfinite(one).all()]
        if few:
            raise UsageError(
                f"{networks.native[few[0]]} has {len(runs[few[0]])} runs, and {len(few)} networks have too few: the"
                f" reader makes nan of fewer than {_LEAST_RUNS}",
                remedy="write them as 'eagle', one number for each network",
            )
        samples = {point: [list(one)] for point, one in zip(_points(networks), runs, strict=True)}
        return {f"{about.slug}-{costs[0].metric}-runs.pickle": pickle.dumps(samples, _PROTOCOL)}


class NnablaFormat(ArchFileFormat):
    """nnabla-nas: CSV without a header, a one-hot group for each choice and the number last."""

    name = "nnabla-nas"
    card = FormatCard(
        title="nnabla-nas",
        reader="nnabla_nas.utils.estimator.latency.LatencyPredictor(data_file), --time-scale m",
        units=(("latency", "ms"), ("energy", "mJ")),
        note="Columns in the order of the space's places and candidates; your search space must have its modules so.",
    )

    def render(self, networks: Networks, costs: Sequence[Costs], about: About) -> dict[str, bytes]:
        """Every choice is made, so a place that is not active has no column that could say so."""
        if networks.elastic:
            raise UsageError(
                f"{networks.space} leaves places out, and the format '{self.name}' has no column for that",
                remedy="write 'dynas-t' for ofa-mobilenetv3",
            )
        lines = []
        for row, value in zip(networks.choices.tolist(), costs[0].floats, strict=True):
            hot = [
                "1" if candidate == chosen else "0"
                for chosen, names in zip(row, networks.candidates, strict=True)
                for candidate in range(len(names))
            ]
            lines.append(",".join([*hot, repr(value)]))
        return {f"{networks.space}-{about.slug}-{costs[0].metric}.csv": ("\n".join(lines) + "\n").encode()}


class SyneTuneFormat(ArchFileFormat):
    """Syne Tune: a folder that its tabular blackbox is read from; one task, the device; one fidelity and one seed."""

    name = "syne-tune"
    card = FormatCard(
        title="Syne Tune, tabular blackbox",
        reader="syne_tune.blackbox_repository.blackbox_tabular.deserialize(folder)",
        units=_ALL,
        needs=("pyarrow",),
        note="Numbers are float32. Choices are hp_x0, hp_x1, …; objectives metric_latency_ms, metric_energy_mj.",
    )
    distinct = True
    many_metrics = True

    def render(self, networks: Networks, costs: Sequence[Costs], about: About) -> dict[str, bytes]:
        """Six files."""
        if len(set(networks.resolutions)) > 1:
            raise UsageError(f"the format '{self.name}' holds networks of one resolution", remedy="write one by one")
        names = [f"metric_{one.metric}_{one.unit.lower()}" for one in costs]
        # (tasks, networks, seeds, fidelities, objectives)
        values = np.stack([one.values for one in costs], axis=1).astype(np.float32)[None, :, None, None, :]
        domains: dict[str, Json] = {
            f"hp_x{place}": _domain("Categorical", {"categories": [*here]})
            for place, here in enumerate(self._categories(networks))
        }
        files = {
            "configspace.json": _json(domains),
            "fidelityspace.json": _json({"hp_epoch": _domain("Integer", {"lower": 1, "upper": 1})}),
            "hyperparameters.parquet": self._parquet(networks),
            "objectives_evaluations.npy": _npy(values),
            "fidelities_values.npy": _npy(np.array([1], dtype=np.int64)),
            "metadata.json": _json({"objectives_names": [*names], "task_names": [about.slug]}),
        }
        return {f"{networks.space}-{about.slug}/{name}": content for name, content in files.items()}

    @staticmethod
    def _categories(networks: Networks) -> list[tuple[str, ...]]:
        return [
            (*names, ABSENT) if (column < 0).any() else names
            for names, column in zip(networks.candidates, networks.choices.T, strict=True)
        ]

    def _parquet(self, networks: Networks) -> bytes:
        try:
            arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
        except ImportError as error:
            raise MissingPackage(
                "this file is written by pyarrow, which is not installed", remedy="pip install pyarrow"
            ) from error
        columns = {
            # A place that is not active has the index -1: the last name.
            f"hp_x{place}": arrow.array([names[index] for index in networks.choices[:, place].tolist()], arrow.string())
            for place, names in enumerate(self._categories(networks))
        }
        file = io.BytesIO()
        # The reader's engine has no snappy, which is the default.
        parquet.write_table(arrow.table(columns), file, compression="gzip")
        return file.getvalue()


def _domain(kind: str, arguments: dict[str, Json]) -> Json:
    return {"domain_cls": kind, "domain_kwargs": arguments, "sampler_cls": "Uniform", "sampler_kwargs": {}}


def _json(document: dict[str, Json]) -> bytes:
    return (json.dumps(document, indent=1) + "\n").encode()


def _npy(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()
