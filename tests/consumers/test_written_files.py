"""From a table through the command line to a file, and from there through the reader's own code back to a price."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgecost.cli.main import cli
from edgecost.costmodels.arch_formats.networks import benchmark_networks
from edgecost.costmodels.lut import Lut
from edgecost.costmodels.space_file import load_space

pytestmark = pytest.mark.filterwarnings("ignore")  # the readers' own, of their old dependencies

#: Every so many of the 15,625 networks.
STEP = 125


@pytest.fixture
def lut(corrected) -> Lut:
    return corrected(load_space("nasbench201"))


@pytest.fixture
def write(lut: Lut, tmp_path: Path) -> Callable[[str], list[Path]]:
    """What ``edgecost lut export-archs`` writes, without the side files."""

    def run(name: str, *options: str) -> list[Path]:
        table = lut.save(tmp_path / "table.lut.json")
        words = ["lut", "export-archs", str(table), "--format", name, "--device", "box", "--out", str(tmp_path / "out")]
        done = CliRunner().invoke(cli, [*words, *options], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())

    return run


def prices_ms() -> tuple[np.ndarray, tuple[object, ...]]:
    networks = benchmark_networks()
    return networks.choices, networks.native


def test_nats_bench_answers_with_the_table_s_price_in_seconds(consumer, lut: Lut, write) -> None:
    nats_bench = consumer("nats_bench")
    (file,) = [path for path in write("nats-bench") if path.suffix == ".pbz2"]
    bench = nats_bench.create(str(file), "tss", fast_mode=False, verbose=False)
    choices, native = prices_ms()
    assert len(bench) == len(choices)
    seconds = lut.price(choices) / 1000
    for index in range(0, len(choices), STEP):
        assert bench.query_index_by_arch(native[index]) == index
        assert bench.get_latency(index, "cifar10", "200") == pytest.approx(seconds[index], rel=1e-12)


def test_nni_s_query_answers_with_the_table_s_price_in_seconds(consumer, lut: Lut, write) -> None:
    sqlite_ext = consumer("playhouse.sqlite_ext")
    benchmark = consumer("nni.nas.benchmark.nasbench201")
    (file,) = [path for path in write("nni-nb201") if path.suffix == ".db"]
    database = sqlite_ext.SqliteExtDatabase(str(file))
    benchmark.schema.proxy.initialize(database)
    choices, native = prices_ms()
    seconds = lut.price(choices) / 1000
    for index in range(0, len(choices), STEP):
        nodes = [part.strip("|").split("|") for part in str(native[index]).split("+")]
        arch = {
            f"{edge.split('~')[1]}_{target}": edge.split("~")[0].removeprefix("nor_")
            for target, node in enumerate(nodes, 1)
            for edge in node
        }
        (trial,) = benchmark.query_nb201_trial_stats(arch, 200, "cifar10")
        assert trial["latency"] == pytest.approx(seconds[index], rel=1e-12)
    database.close()


def test_syne_tune_s_blackbox_answers_with_the_table_s_price_in_milliseconds(consumer, lut: Lut, write) -> None:
    consumer("fastparquet")
    tabular = consumer("syne_tune.blackbox_repository.blackbox_tabular")
    files = write("syne-tune", "--samples", "300")
    folder = next(path.parent for path in files if path.name == "metadata.json")
    (task,) = json.loads((folder / "metadata.json").read_text())["task_names"]
    blackbox = tabular.deserialize(folder)[task]
    space = lut.space
    configurations = blackbox.all_configurations()
    assert len(configurations) == 300
    for chosen in configurations[::10]:
        arch = [position.names.index(chosen[f"hp_x{place}"]) for place, position in enumerate(space.positions)]
        found = blackbox.objective_function(chosen, fidelity={"hp_epoch": 1})["metric_latency_ms"]
        assert found == np.float32(lut.price(np.array([arch]))[0])
