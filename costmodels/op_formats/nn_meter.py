"""nn-Meter (microsoft/nn-Meter, which NNI asks too): a folder with a model for each kind of kernel, and fusion rules.

Its reader adds up what the models say of a network's kernels, and counts a kernel without a model as 0 ms without a
word. The models are pickles for that reader; nothing of edgecost opens one.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...profiler.errors import GateError, UsageError
from ..lut_formats.card import FormatCard
from .base import check_models, unit_of
from .distil import LEAST_ROWS, Distilled, distil
from .nn_meter_kernels import KERNELS, Sample, fusion_pairs, samples_of
from .prices import OpPrice
from .side import side_text, write_files

if TYPE_CHECKING:
    from ...profiler.records import Json
    from .request import Request

_VERSION = 1.0
_ZERO = "nn-Meter counts a kernel without a model as 0 ms, without a word"


@dataclass(frozen=True)
class _Kind:
    """A kind of kernel after it was priced: a model, or why there is none."""

    model: Distilled | None
    priced: int
    sources: Mapping[str, int]
    why: str


class NnMeterFormat:
    """``<device>/<kernel>.pkl``, ``<device>/fusion_rules.json``, and ``<device>.yaml`` to register them."""

    name: ClassVar[str] = "nn-meter"
    card: ClassVar[FormatCard] = FormatCard(
        title="nn-Meter, NNI",
        reader="nn-meter register --predictor <device>.yaml; nn_meter.load_latency_predictor(device)",
        units=(("latency", "ms"),),
        note="Models are distilled from the predictor; the side file has their error. Missing kernels count as 0 ms.",
    )

    def write(self, request: Request, folder: Path) -> list[Path]:
        """See ``OpFormat``. The models are pickles of ``lightgbm.Booster``."""
        check_models(self.name, (0, 0), request)
        unit = unit_of(self.name, self.card, request)
        about = request.prices.about
        found = {kind: _made(kind, request) for kind in KERNELS}
        _require(found, request.allow_missing)
        models = {kind: one.model for kind, one in found.items() if one.model is not None}
        _refuse_others(folder / about.slug, models)
        rules = {f"BF_{name}": {"obey": request.prices.fuses(pair)} for name, pair in fusion_pairs().items()}
        files = {
            f"{about.slug}.yaml": self._entry(about.slug, folder, models),
            **{f"{about.slug}/{kind}.pkl": model.content for kind, model in models.items()},
            f"{about.slug}/fusion_rules.json": (json.dumps({**rules, "MON": {"obey": 0}}, indent=1) + "\n").encode(),
        }
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        more: dict[str, Json] = {
            "batch": 1,
            "seed": request.seed,
            "missing_kernels": {kind: one.why for kind, one in found.items() if one.model is None},
            "missing_kernels_policy": _ZERO,
            "channels": "multiples of 8, and 3 of an image: others are answered as their neighbours are",
            "global_avgpool": "nn-Meter does not tell the size of the map: rows with size 1 are of 7×7 maps",
        }
        rows: Json = {kind: _told(one) for kind, one in found.items() if one.model is not None}
        return write_files(folder, files, side_text(self.name, hashes, (request.metric, unit), about, rows, more))

    @staticmethod
    def _entry(slug: str, folder: Path, models: Mapping[str, Distilled]) -> bytes:
        """What `nn-meter register` reads."""
        import yaml

        entry = {
            "name": slug,
            "version": _VERSION,
            "category": "cpu",
            "package_location": str((folder / slug).resolve()),
            "kernel_predictors": list(models),
        }
        return yaml.safe_dump(entry, sort_keys=False).encode()


def _made(kind: str, request: Request) -> _Kind:
    samples = samples_of(kind, request.samples, request.seed)
    request.narrator.stage(f"pricing {kind}", len(samples))
    prices = request.prices.price([one.operator for one in samples], request.narrator)
    known = [(sample, price) for sample, price in zip(samples, prices, strict=True) if price.latency_ms is not None]
    sources: Counter[str] = Counter(price.source for _, price in known)
    told = {part for price in prices if price.latency_ms is None for part in price.why.split("; ")}
    reasons = "; ".join(sorted(told))
    if len(known) < LEAST_ROWS:
        why = reasons or f"{len(known)} rows are too few; {LEAST_ROWS} is the least"
        return _Kind(None, len(known), sources, why)
    return _Kind(_distilled(known, request.seed), len(known), sources, reasons)


def _distilled(known: list[tuple[Sample, OpPrice]], seed: int) -> Distilled:
    features = np.array([sample.features for sample, _ in known], dtype=np.float64)
    latency_ms = np.array([price.latency_ms for _, price in known], dtype=np.float64)
    return distil(features, latency_ms, seed)


def _require(found: Mapping[str, _Kind], allow_missing: bool) -> None:
    missing = {kind: one.why for kind, one in found.items() if one.model is None}
    if not missing or (allow_missing and len(missing) < len(found)):
        return
    listed = "\n".join(f"  {kind}: {why}" for kind, why in missing.items())
    raise GateError(
        f"{len(missing)} of {len(found)} kinds of kernels have no price, and {_ZERO}:\n{listed}",
        remedy="measure kernels of these kinds: edgecost campaign kernels, then edgecost train; or leave them out and"
        " say so: --allow-missing",
    )


def _refuse_others(folder: Path, models: Mapping[str, Distilled]) -> None:
    """nn-Meter loads every pickle in the folder, one of an earlier export too."""
    others = sorted(file.name for file in folder.glob("*.pkl") if file.stem not in models)
    if others:
        raise UsageError(
            f"{folder} holds {', '.join(others)}, which nn-Meter would load as well",
            remedy="remove them, or name another folder: --out DIR",
        )


def _told(one: _Kind) -> Json:
    assert one.model is not None, "only kinds with a model are told"
    rows: dict[str, Json] = {"rows": one.priced, "sources": dict(one.sources)}
    rows["held_out_against_the_predictor"] = one.model.document()
    if one.why:
        rows["rows_without_price"] = one.why
    return rows
