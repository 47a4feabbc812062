"""Sample sets and benchmarks of whole networks, read by independent readers and by the real ones where they install."""

from __future__ import annotations

import json
import math
import sqlite3
import sys
from pathlib import Path

import numpy as np
import pytest

from edgecost.costmodels.arch_formats import arch_format
from edgecost.costmodels.arch_formats.costs import About, Costs
from edgecost.costmodels.arch_formats.dynas import DynasPredictor
from edgecost.costmodels.arch_formats.networks import (
    Networks,
    benchmark_networks,
    cell_networks,
    chain_networks,
    read_chains,
)
from edgecost.costmodels.lut_formats.contract import checksum_lut, without
from edgecost.costmodels.space_file import load_space
from edgecost.profiler.errors import GateError, MissingPackage, UsageError
from tests import arch_readers

ABOUT = About(device="box", source="a test", created="2026-01-01T00:00:00+00:00")


def cells(count: int | None = None) -> Networks:
    every = benchmark_networks()
    if count is None:
        return every
    return cell_networks(every.choices[np.random.default_rng(0).choice(15625, count, replace=False)], "a test")


def chains(name: str, count: int) -> Networks:
    space = load_space(name)
    return chain_networks([space], space.sample(count, seed=1), [0] * count, "a test")


def numbered(networks: Networks, metric: str = "latency", unit: str = "ms") -> Costs:
    """1.5, 2.5, … : each its own, exact in float32 and, as a thousandth, still told apart."""
    return Costs(metric, unit, np.arange(len(networks)) + 1.5)


def lost(networks: Networks, row: int) -> Costs:
    values = numbered(networks).values.copy()
    values[row] = np.nan
    return Costs("latency", "ms", values)


def test_eagle_finds_each_cell_by_its_six_operators(tmp_path: Path) -> None:
    networks, costs = cells(1000), numbered(cells(1000))
    file = arch_format("eagle").write(networks, [costs], tmp_path, ABOUT)[0]
    read = arch_readers.plain_pickle(file.read_bytes())
    assert read == {tuple(row): value for row, value in zip(networks.choices.tolist(), costs.floats, strict=True)}
    assert {type(place) for point in read for place in point} == {int}


def test_eagle_s_reduction_of_the_runs_is_a_number(tmp_path: Path) -> None:
    networks = cells(1000)
    runs = tuple((float(i), i + 1.0, i + 8.0) for i in range(1, 1001))
    costs = Costs("latency", "ms", np.array([np.median(one) for one in runs]), runs=runs)
    file = arch_format("eagle-runs").write(networks, [costs], tmp_path, ABOUT)[0]
    read = arch_readers.plain_pickle(file.read_bytes())
    for row, one in zip(networks.choices.tolist(), runs, strict=True):
        assert arch_readers.quartile_mean(read[tuple(row)]) == one[1]


def test_two_runs_which_eagle_makes_nan_of_are_refused(tmp_path: Path) -> None:
    assert math.isnan(arch_readers.quartile_mean([[1.0, 2.0]])), "the trap"
    networks = cells(2)
    costs = Costs("latency", "ms", np.array([1.0, 2.0]), runs=((1.0, 1.0, 1.0), (2.0, 2.0)))
    with pytest.raises(UsageError, match="has 2 runs, and 1 networks have too few"):
        arch_format("eagle-runs").write(networks, [costs], tmp_path, ABOUT)
    with pytest.raises(UsageError, match="not measured run by run"):
        arch_format("eagle-runs").write(networks, [numbered(networks)], tmp_path, ABOUT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["eagle", "dynas-t", "nnabla-nas", "syne-tune"])
def test_a_sample_without_a_price_is_refused(tmp_path: Path, name: str) -> None:
    networks = chains("ofa-mobilenetv3", 5) if name == "dynas-t" else cells(5)
    with pytest.raises(GateError, match="of 1 networks is not known, first 3"):
        arch_format(name).write(networks, [lost(networks, 2)], tmp_path, ABOUT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["eagle", "dynas-t", "nats-bench", "naslib", "nni-nb201", "hw-nas-bench-201"])
def test_a_space_that_the_reader_does_not_know_is_refused(tmp_path: Path, name: str) -> None:
    networks = chains("proxylessnas", 5)
    with pytest.raises(UsageError, match="space proxylessnas is not what"):
        arch_format(name).write(networks, [numbered(networks)], tmp_path, ABOUT)


@pytest.mark.parametrize("name", ["eagle", "nnabla-nas", "syne-tune", "naslib", "nni-nb201"])
def test_writing_again_gives_the_same_bytes(tmp_path: Path, name: str) -> None:
    if name == "syne-tune":
        pytest.importorskip("pyarrow", reason="writes the parquet file")
    networks = cells() if name in ("naslib", "nni-nb201") else cells(50)
    made = arch_format(name)
    first, again = (
        [file.read_bytes() for file in made.write(networks, [numbered(networks)], tmp_path, ABOUT)] for _ in range(2)
    )
    assert first == again


def test_dynas_t_reads_each_network_and_its_latency(tmp_path: Path) -> None:
    space = load_space("ofa-mobilenetv3")
    networks = chains("ofa-mobilenetv3", 1000)
    costs = numbered(networks)
    rows = arch_readers.dynas_rows(arch_format("dynas-t").write(networks, [costs], tmp_path, ABOUT)[0])
    np.testing.assert_array_equal(space.encode([arch for arch, _ in rows]), networks.choices)
    assert [float(rest["latency"]) for _, rest in rows] == costs.floats
    assert rows[0][0].keys() == {"ks", "e", "d", "r", "wid"}
    assert (rows[0][0]["r"], rows[0][0]["wid"]) == ([224], None)
    assert {rest[name] for _, rest in rows for name in ("params", "macs", "accuracy_top1")} == {""}


def test_the_predictor_for_dynas_t_prices_its_one_hot_vectors_exactly() -> None:
    space = load_space("ofa-mobilenetv3")
    lut = checksum_lut(space, scale=0.5, offset_ms=1024.0)
    predictor = DynasPredictor(lut)
    archs = space.sample(1000, seed=2)
    hot = np.array([arch_readers.dynas_one_hot(arch) for arch in space.decode(archs)])
    assert hot.shape == (1000, 135) == (1000, predictor.columns)
    np.testing.assert_array_equal(predictor.predict(hot), lut.price(archs))
    assert predictor.predict(hot[:1]).shape == (1,)


def test_the_predictor_for_dynas_t_refuses_what_is_no_choice() -> None:
    space = load_space("ofa-mobilenetv3")
    predictor = DynasPredictor(checksum_lut(space))
    hot = np.array([arch_readers.dynas_one_hot(space.decode(space.sample(1, seed=0))[0])])
    with pytest.raises(UsageError, match=r"give \(networks, 135\)"):
        predictor.predict(hot[:, :-1])
    hot[0, 60:63] = (1, 1, 0)
    with pytest.raises(UsageError, match=r"columns 60 to 62 \(e\)"):
        predictor.predict(hot)
    with pytest.raises(UsageError, match="not of fbnet"):
        DynasPredictor(checksum_lut(load_space("fbnet")))
    lost_key = space.cells[9].key
    with pytest.raises(GateError, match=lost_key):
        DynasPredictor(without(checksum_lut(space), lost_key))


@pytest.mark.parametrize("name", ["fbnet", "proxylessnas", "nasbench201"])
def test_nnabla_nas_finds_one_choice_in_every_group(tmp_path: Path, name: str) -> None:
    networks = cells(1000) if name == "nasbench201" else chains(name, 1000)
    costs = Costs("latency", "ms", numbered(networks).values * 1e-7)
    file = arch_format("nnabla-nas").write(networks, [costs], tmp_path, ABOUT)[0]
    rows = arch_readers.one_hot_csv(file, [len(names) for names in networks.candidates])
    assert [chosen for chosen, _ in rows] == networks.choices.tolist()
    assert [value for _, value in rows] == costs.floats


def test_nnabla_nas_has_no_column_for_a_place_that_is_left_out(tmp_path: Path) -> None:
    networks = chains("ofa-mobilenetv3", 5)
    with pytest.raises(UsageError, match="leaves places out"):
        arch_format("nnabla-nas").write(networks, [numbered(networks)], tmp_path, ABOUT)


def test_hw_nas_bench_has_every_metric_that_its_reader_asks_for(tmp_path: Path) -> None:
    networks = cells()
    energy = Costs("energy", "mJ", numbered(networks).values * 2)
    file = arch_format("hw-nas-bench-201").write(networks, [lost(networks, 3), energy], tmp_path, ABOUT)[0]
    read = arch_readers.plain_pickle(file.read_bytes())["nasbench201"]
    metrics = [
        *("edgegpu_latency", "edgegpu_energy", "raspi4_latency", "edgetpu_latency", "pixel3_latency"),
        *("eyeriss_latency", "eyeriss_energy", "eyeriss_arithmetic_intensity", "fpga_latency", "fpga_energy"),
    ]
    for data_set in ("cifar10", "cifar100", "ImageNet16-120"):
        assert {len(read[data_set][name]) for name in (*metrics, "config")} == {15625}
        assert [one["arch_str"] for one in read[data_set]["config"]] == list(networks.native)
    chosen = np.random.default_rng(1).choice(np.arange(4, 15625), 1000, replace=False).tolist()
    assert [read["cifar10"]["edgegpu_latency"][i] for i in chosen] == [i + 1.5 for i in chosen]
    assert [read["cifar10"]["edgegpu_energy"][i] for i in chosen] == [2 * (i + 1.5) for i in chosen]
    assert math.isnan(read["cifar10"]["edgegpu_latency"][3])
    assert math.isnan(read["cifar100"]["edgegpu_latency"][4])


@pytest.mark.parametrize("name", ["hw-nas-bench-201", "nats-bench"])
def test_a_reader_by_index_gets_only_the_benchmark_s_own_order(tmp_path: Path, name: str) -> None:
    every = benchmark_networks()
    networks = cell_networks(every.choices[::-1].copy(), "mine")
    with pytest.raises(UsageError, match=r"architecture 1 of mine .* is not what NAS-Bench-201 numbers so"):
        arch_format(name).write(networks, [numbered(networks)], tmp_path, ABOUT)


def test_nats_bench_holds_seconds_at_each_index(tmp_path: Path) -> None:
    networks = cells()
    file = arch_format("nats-bench").write(networks, [lost(networks, 3)], tmp_path, ABOUT)[0]
    read = arch_readers.bz2_pickle(file)
    assert read["meta_archs"] == list(networks.native)
    for index in np.random.default_rng(2).choice(np.arange(4, 15625), 1000, replace=False).tolist():
        for epochs in ("12", "200"):
            results = read["arch2infos"][index][epochs]["all_results"]
            assert {tuple(trial["latency"]) for trial in results.values()} == {((index + 1.5) * 0.001,)}
    assert read["arch2infos"][3]["12"]["all_results"]["cifar10", 777]["latency"] is None


def test_nats_bench_s_own_code_gives_the_seconds_out(tmp_path: Path) -> None:
    nats_bench = pytest.importorskip("nats_bench", reason="the reader itself")
    networks = cells()
    file = arch_format("nats-bench").write(networks, [lost(networks, 3)], tmp_path, ABOUT)[0]
    bench = nats_bench.create(str(file), "tss", fast_mode=False, verbose=False)
    assert len(bench) == 15625
    for index in np.random.default_rng(2).choice(np.arange(4, 15625), 1000, replace=False).tolist():
        assert bench.query_index_by_arch(networks.native[index]) == index
        for data_set in ("cifar10-valid", "cifar10"):
            for epochs in ("12", "200"):
                assert bench.get_latency(index, data_set, epochs) == (index + 1.5) * 0.001
    assert bench.get_latency(3, "cifar10", "12") is None
    with pytest.raises(KeyError):
        bench.get_latency(4, "cifar100", "12")


def test_naslib_finds_seconds_by_the_cell_s_string_in_both_places(tmp_path: Path) -> None:
    networks = cells()
    file = arch_format("naslib").write(networks, [numbered(networks)], tmp_path, ABOUT)[0]
    read = arch_readers.plain_pickle(file.read_bytes())
    assert len(read) == 15625
    for index in np.random.default_rng(3).choice(15625, 1000, replace=False).tolist():
        row = read[networks.native[index]]["cifar10-valid"]
        assert row["latency"][-1] == row["cost_info"]["latency"] == (index + 1.5) * 0.001


def test_nni_s_database_holds_seconds_by_the_operators_of_the_edges(tmp_path: Path) -> None:
    networks = cells()
    file = arch_format("nni-nb201").write(networks, [lost(networks, 3)], tmp_path, ABOUT)[0]
    database = sqlite3.connect(file)
    rows = database.execute(
        "SELECT c.arch, c.num_epochs, c.dataset, c.num_channels, c.num_cells, s.latency, s.test_acc"
        " FROM nb201trialstats s JOIN nb201trialconfig c ON s.config_id = c.id"
    ).fetchall()
    database.close()
    assert len(rows) == 4 * 15625
    assert {row[1:5] for row in rows} == {(e, d, 16, 5) for e in (12, 200) for d in ("cifar10", "cifar10-valid")}
    assert {row[6] for row in rows} == {None}
    found = {row[0]: row[5] for row in rows}
    for index in np.random.default_rng(4).choice(15625, 1000, replace=False).tolist():
        assert found[nni_arch(networks, index)] == (None if index == 3 else (index + 1.5) * 0.001)
    assert found[nni_arch(networks, 3)] is None


def nni_arch(networks: Networks, index: int) -> str:
    """The benchmark's string, in NNI's terms."""
    nodes = [part.strip("|").split("|") for part in networks.native[index].split("+")]
    edges = {
        f"{edge.split('~')[1]}_{target}": edge.split("~")[0].removeprefix("nor_")
        for target, node in enumerate(nodes, 1)
        for edge in node
    }
    return json.dumps(edges, sort_keys=True, separators=(",", ":"))


@pytest.mark.filterwarnings("ignore")  # NNI's own, of its old dependencies
def test_nni_s_own_query_finds_each_network(tmp_path: Path) -> None:
    sqlite_ext = pytest.importorskip("playhouse.sqlite_ext", reason="the reader's database layer")
    nasbench201 = pytest.importorskip("nni.nas.benchmark.nasbench201", reason="the reader itself")
    networks = cells()
    file = arch_format("nni-nb201").write(networks, [numbered(networks)], tmp_path, ABOUT)[0]
    database = sqlite_ext.SqliteExtDatabase(str(file))
    nasbench201.schema.proxy.initialize(database)
    for index in range(0, 15625, 16):
        arch = json.loads(nni_arch(networks, index))
        (trial,) = nasbench201.query_nb201_trial_stats(arch, 200, "cifar10")
        assert (trial["latency"], trial["config"]["arch"]) == ((index + 1.5) * 0.001, arch)
        (mean,) = nasbench201.query_nb201_trial_stats(arch, 12, "cifar10-valid", reduction="mean")
        assert mean["latency"] == (index + 1.5) * 0.001
    database.close()


def test_a_metric_that_the_reader_has_no_place_for_is_refused(tmp_path: Path) -> None:
    networks = cells()
    with pytest.raises(UsageError, match="'naslib' cannot hold energy"):
        arch_format("naslib").write(networks, [numbered(networks, "energy", "mJ")], tmp_path, ABOUT)
    both = [numbered(networks), numbered(networks, "energy", "mJ")]
    with pytest.raises(UsageError, match="holds one metric, 2 were given"):
        arch_format("eagle").write(networks, both, tmp_path, ABOUT)


def test_syne_tune_s_folder_holds_choices_and_objectives(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="writes and reads the parquet file")
    networks = chains("ofa-mobilenetv3", 1000)
    both = [numbered(networks), Costs("energy", "mJ", numbered(networks).values * 2)]
    files = arch_format("syne-tune").write(networks, both, tmp_path, ABOUT)
    folder = tmp_path / "ofa-mobilenetv3-box"
    values = np.load(folder / "objectives_evaluations.npy", allow_pickle=False)
    assert (values.shape, values.dtype) == ((1, 1000, 1, 1, 2), np.float32)
    np.testing.assert_array_equal(values[0, :, 0, 0, 0], numbered(networks).values)
    np.testing.assert_array_equal(values[0, :, 0, 0, 1], 2 * numbered(networks).values)
    assert json.loads((folder / "metadata.json").read_text()) == {
        "objectives_names": ["metric_latency_ms", "metric_energy_mj"],
        "task_names": ["box"],
    }
    domains = json.loads((folder / "configspace.json").read_text())
    table = parquet.read_table(folder / "hyperparameters.parquet").to_pydict()
    assert list(table) == list(domains) == [f"hp_x{place}" for place in range(20)]
    for place, column in enumerate(table.values()):
        names = [*networks.candidates[place], "absent"]
        assert column == [names[index] for index in networks.choices[:, place].tolist()]
        assert set(column) <= set(domains[f"hp_x{place}"]["domain_kwargs"]["categories"])
    assert len(files) == 7


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Syne Tune's own, of pandas
def test_syne_tune_s_own_code_opens_the_folder(tmp_path: Path) -> None:
    pytest.importorskip("fastparquet", reason="the reader's engine")
    tabular = pytest.importorskip("syne_tune.blackbox_repository.blackbox_tabular", reason="the reader itself")
    networks = cells(1000)
    arch_format("syne-tune").write(networks, [numbered(networks)], tmp_path, ABOUT)
    box = tabular.deserialize(tmp_path / "nasbench201-box")["box"]
    for row in range(0, 1000, 10):
        choices = {f"hp_x{place}": networks.candidates[place][op] for place, op in enumerate(networks.choices[row])}
        assert box.objective_function(choices, fidelity={"hp_epoch": 1}) == {"metric_latency_ms": row + 1.5}


def test_syne_tune_holds_one_resolution(tmp_path: Path) -> None:
    spaces = [load_space("ofa-mobilenetv3", resolution=side) for side in (160, 224)]
    given = [space.decode(space.sample(1, seed=0))[0] for space in spaces]
    networks = read_chains(given, spaces, "mine")
    with pytest.raises(UsageError, match="one resolution"):
        arch_format("syne-tune").write(networks, [numbered(networks)], tmp_path, ABOUT)


def test_without_pyarrow_the_remedy_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    networks = cells(5)
    with pytest.raises(MissingPackage, match="pip install pyarrow"):
        arch_format("syne-tune").write(networks, [numbered(networks)], tmp_path, ABOUT)
    assert list(tmp_path.iterdir()) == []
