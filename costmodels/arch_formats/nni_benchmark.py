"""NNI's database of NAS-Bench-201 with our latencies.

NNI checks the hash of its own file, so ours cannot stand in its place: it is bound to the models before the first query
(the card's note says how). SQLite of the standard library writes it; what we do not know is NULL.
"""

from __future__ import annotations

import json
import math
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import MappingProxyType

from ..lut_formats.card import FormatCard
from ..onboarding.cell_space import EDGES, OP_NAMES
from .base import CELLS, ArchFileFormat
from .costs import About, Costs
from .networks import NASBENCH201, Networks

_OPS = tuple(name.removeprefix("nor_") for name in OP_NAMES)
_FIGURES = "train_acc valid_acc test_acc ori_test_acc train_loss valid_loss test_loss ori_test_loss parameters".split()
_TIMES = "training_time valid_evaluation_time test_evaluation_time ori_test_evaluation_time".split()
_COLUMNS = [*_FIGURES, "latency", "flops", *_TIMES]
_SEED = 777
#: The network of both data sets is the same, whatever it was trained with and for how long.
_TRIALS = tuple((epochs, data_set) for epochs in (12, 200) for data_set in ("cifar10-valid", "cifar10"))
_SCHEMA = f"""
CREATE TABLE nb201trialconfig (id INTEGER PRIMARY KEY, arch JSON, num_epochs INTEGER, num_channels INTEGER,
    num_cells INTEGER, dataset VARCHAR(20));
CREATE TABLE nb201trialstats (id INTEGER PRIMARY KEY, config_id INTEGER REFERENCES nb201trialconfig (id), seed INTEGER,
    {", ".join(f"{name} REAL" for name in _COLUMNS)});
CREATE TABLE nb201intermediatestats (id INTEGER PRIMARY KEY, trial_id INTEGER REFERENCES nb201trialstats (id),
    current_epoch INTEGER, {", ".join(f"{name} REAL" for name in _FIGURES[:8])});
"""
_INDICES = """
CREATE INDEX nb201trialconfig_arch ON nb201trialconfig (arch);
CREATE INDEX nb201trialstats_config_id ON nb201trialstats (config_id);
CREATE INDEX nb201intermediatestats_trial_id ON nb201intermediatestats (trial_id);
"""


class NniFormat(ArchFileFormat):
    """``query_nb201_trial_stats``; seconds."""

    name = "nni-nb201"
    card = FormatCard(
        title="NNI, NAS-Bench-201",
        reader="nni.nas.benchmark.nasbench201.query_nb201_trial_stats",
        spaces=(NASBENCH201,),
        units=(("latency", "s"),),
        note="Bind it before the first query: nni.nas.benchmark.nasbench201.schema.proxy.initialize("
        "playhouse.sqlite_ext.SqliteExtDatabase(file)), with peewee < 4. It holds latencies and nothing else.",
    )
    counts = MappingProxyType({NASBENCH201: CELLS})
    holds_unknown = True

    def render(self, networks: Networks, costs: Sequence[Costs], about: About) -> dict[str, bytes]:
        """One database."""
        configs: list[tuple[int, str, int, int, int, str]] = []
        stats: list[tuple[int, int, int, float | None]] = []
        for row, second in zip(networks.choices.tolist(), costs[0].floats, strict=True):
            arch = _arch_json(row)
            for epochs, data_set in _TRIALS:
                number = len(configs) + 1
                configs.append((number, arch, epochs, 16, 5, data_set))
                stats.append((number, number, _SEED, None if math.isnan(second) else second))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "nb201.db"
            with closing(sqlite3.connect(file)) as database, database:
                database.executescript(_SCHEMA)
                database.executemany("INSERT INTO nb201trialconfig VALUES (?, ?, ?, ?, ?, ?)", configs)
                database.executemany(
                    "INSERT INTO nb201trialstats (id, config_id, seed, latency) VALUES (?, ?, ?, ?)", stats
                )
                database.executescript(_INDICES)
            content = file.read_bytes()
        return {f"nasbench201-{about.slug}.db": content}


def _arch_json(row: Sequence[int]) -> str:
    """As SQLite's ``json`` writes what the query asks for: sorted keys, no blanks."""
    edges = {f"{source}_{target}": _OPS[op] for (source, target), op in zip(EDGES, row, strict=True)}
    return json.dumps(edges, sort_keys=True, separators=(",", ":"))
