"""HAT's samples: what random transformers take, encoder and decoder apart, for the perceptron that HAT trains on them.

A translation runs the encoder once and the decoder once a token, so the decoder's cells, which are one step in the
middle of a sentence, count as often as a sentence has tokens. What the table does not know, the spread of repeated
runs, stays empty: the reader takes the first two numbers behind the features.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...profiler.errors import UsageError
from ..lut import Lut
from ..space import Space
from ..spaces.coding import Numeric
from .card import FormatCard, Metric
from .rows import Rows
from .side import write_with_side

#: As many as the authors measured; the reader needs 160 at the least, one batch of 128 in four fifths of them.
SAMPLES = 2000
_SEED = 0
_HEADER = (
    "encoder_embed_dim,encoder_layer_num,encoder_ffn_embed_dim_avg,encoder_self_attention_heads_avg,"
    "decoder_embed_dim,decoder_layer_num,decoder_ffn_embed_dim_avg,decoder_self_attention_heads_avg,"
    "decoder_ende_attention_heads_avg,decoder_arbitrary_ende_attn_avg,"
    "latency_mean_encoder,latency_mean_decoder,latency_std_encoder,latency_std_decoder"
)
#: How the reader codes attention to one, two or three layers of the encoder.
_ATTENDED = {-1: 1, 1: 2, 2: 3}


class HatFormat:
    """mit-han-lab/hardware-aware-transformers."""

    name = "hat"
    card = FormatCard(
        title="HAT",
        reader="latency_predictor.py LatencyPredictor(lat_dataset_path=)",
        spaces=("hat-wmt", "hat-iwslt"),
        units=(("latency", "ms"), ("energy", "mJ")),
        note="2,000 random transformers. A decoder step counts as often as the source has tokens; the constant of the "
        "correction is in the encoder's number. Spreads are empty, which the reader does not look at.",
    )

    def filename(self, lut: Lut, space: Space) -> str:
        """Any name will do: it is an argument of the reader."""
        return f"{space.name}_edgecost.csv"

    def write(self, lut: Lut, space: Space, path: Path, metric: Metric = "latency") -> list[Path]:
        """Write the samples and their side file.

        Raises:
            GateError: the table lacks a cell of the space, or its metric; nothing is written.
            UsageError: the space is not HAT's, or the metric does not add up.
        """
        if space.name not in self.card.spaces:
            raise UsageError(f"space {space.name} is not HAT's", remedy=f"It holds: {', '.join(self.card.spaces)}.")
        rows = Rows.of(lut, space, metric, self.card, self.name)
        rows.require(list(space.measurable))
        archs = space.sample(SAMPLES, _SEED)
        encoder, decoder = (self._sums(rows, archs, part) for part in ("encoder", "decoder"))
        encoder += rows.offset
        decoder *= space.resolution
        lines = [_HEADER]
        for arch, first, second in zip(space.decode(archs), encoder.tolist(), decoder.tolist(), strict=True):
            assert isinstance(arch, dict), "HAT's own form is a dictionary"
            lines.append(",".join([*map(repr, features(arch)), repr(first), repr(second), "", ""]))
        target = path / self.filename(lut, space) if path.is_dir() else path
        entries = [(cell.key, cell) for cell in space.measurable]
        return write_with_side(target, ("\n".join(lines) + "\n").encode(), rows, entries)

    def _sums(self, rows: Rows, archs: Numeric, part: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Of the cells of one of the two halves, once each, in the reader's unit."""
        costs = [rows.value(cell) if cell.layer.startswith(part) else 0.0 for cell in rows.space.measurable]
        total = np.zeros(len(archs))
        for factor in rows.space.factors:
            total += factor.table(np.array(costs))[factor.entry(archs)]
        return total


def features(arch: dict[str, list[int | float]]) -> list[float]:
    """The ten features of a transformer in the reader's order; means are over the layers that are there."""
    deep = int(arch["decoder_layer_num"][0])
    attended = [_ATTENDED[int(code)] for code in arch["decoder_arbitrary_ende_attn"][:deep]]
    return [
        arch["encoder_embed_dim"][0],
        len(arch["encoder_ffn_embed_dim"]),
        _mean(arch["encoder_ffn_embed_dim"]),
        _mean(arch["encoder_self_attention_heads"]),
        arch["decoder_embed_dim"][0],
        deep,
        _mean(arch["decoder_ffn_embed_dim"][:deep]),
        _mean(arch["decoder_self_attention_heads"][:deep]),
        _mean(arch["decoder_ende_attention_heads"][:deep]),
        _mean(attended),
    ]


def _mean(values: list[int] | list[int | float]) -> float:
    return sum(values) / len(values)
