"""HAQ (mit-han-lab/haq): an array of layers by bits of weights by bits of activations, at batch 16.

Its reader adds up one number of each layer and compares with the sum at 8 bits: ratios count, not the unit.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence

import numpy as np

from ...profiler.errors import UsageError
from ...profiler.records import Json
from ..lut_formats.card import FormatCard
from .base import OpTableFormat, Priced, Row
from .model_layers import at_batch
from .request import Request

_BATCH = 16
_WIDTHS = range(1, 9)
#: What the request's own prices are of.
_OWN_BITS = {"fp32": (32, 32), "fp16": (16, 16), "int8-qdq": (8, 8), "int8-qoperator": (8, 8)}
#: The reader takes the first layer's activations for an image of 8 bits and marks them with -1: column 6 of 0…7.
_IMAGE_COLUMN = 6

_NEEDS = "a search needs another predictor, such as --predictor W8A8=FOLDER"

Bits = tuple[int, int]


class HaqFormat(OpTableFormat):
    """A NumPy file of (layers, 8, 8) float64, milliseconds."""

    name = "haq"
    card = FormatCard(
        title="HAQ",
        reader="lib.env.linear_quantize_env.LinearQuantizeEnv (lib/simulator/lookup_tables/)",
        units=(("latency", "ms"), ("energy", "mJ")),
        note="From one .onnx file. Bits without a predictor run as the next wider ones that have: --predictor W8A8=….",
    )
    models = (1, 1)

    def rows(self, request: Request) -> list[Row]:
        """A row for each layer and each pair of bits that runs as such."""
        (model,) = request.models
        used = sorted(set(_runs_as(_known(request)).values()))
        if len(used) == 1:
            request.narrator.note(f"Every width runs as {bits_name(used[0])}, so all cost the same: {_NEEDS}")
        return [
            Row(f"{place} {layer.name} {bits_name(bits)}", at_batch(layer, _BATCH), _asked(bits, request))
            for place, layer in enumerate(model.weighted)
            for bits in used
        ]

    def render(self, priced: Sequence[Priced], request: Request) -> dict[str, bytes]:
        """Never a 0: what runs wider costs what the wider one costs."""
        (model,) = request.models
        runs_as = _runs_as(_known(request))
        latency = {one.row.name: one.latency_ms for one in priced}
        table = np.empty((len(model.weighted), len(_WIDTHS), len(_WIDTHS)))
        for place, layer in enumerate(model.weighted):
            for (weights, activations), bits in runs_as.items():
                table[place, weights - 1, activations - 1] = latency[f"{place} {layer.name} {bits_name(bits)}"]
        table[0, :, _IMAGE_COLUMN] = table[0, :, 7]
        file = io.BytesIO()
        np.save(file, table, allow_pickle=False)
        return {f"{model.name}_imagenet_batch{_BATCH}_latency_table.npy": file.getvalue()}

    def said(self, priced: Sequence[Priced], request: Request) -> dict[str, Json]:
        runs_as: dict[str, Json] = {
            bits_name(bits): bits_name(wider) for bits, wider in _runs_as(_known(request)).items()
        }
        return {
            "batch": _BATCH,
            "model": request.models[0].name,
            "layers": [layer.name for layer in request.models[0].weighted],
            "runs_as": runs_as,
            "first_layer": "column 6 holds the number of 8-bit activations: the reader asks there for the image",
            "file_name": "the reader wants <arch>_<data>_batch16_latency_table.npy: rename it to your own",
        }


def bits_name(bits: Bits) -> str:
    """``W8A8``."""
    return f"W{bits[0]}A{bits[1]}"


def parse_bits(text: str) -> Bits:
    """``W8A8`` → (8, 8).

    Raises:
        UsageError: it is written otherwise.
    """
    match = re.fullmatch(r"[Ww](\d+)[Aa](\d+)", text)
    if match is None:
        raise UsageError(f"{text!r} is no pair of bits", remedy="write it like W8A8: weights, then activations")
    return int(match[1]), int(match[2])


def _known(request: Request) -> list[Bits]:
    own = _OWN_BITS.get(request.prices.about.precision or "fp32", (32, 32))
    return sorted({*request.by_bits, own})


def _asked(bits: Bits, request: Request) -> Bits | None:
    return bits if bits in request.by_bits else None


def _runs_as(known: Iterable[Bits]) -> dict[Bits, Bits]:
    """For each pair of 1…8 bits the narrowest known one that holds it."""
    return {
        (weights, activations): min(
            (bits for bits in known if bits[0] >= weights and bits[1] >= activations),
            key=lambda bits: (sum(bits), bits),
        )
        for weights in _WIDTHS
        for activations in _WIDTHS
    }
