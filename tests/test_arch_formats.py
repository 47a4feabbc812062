"""Lists of whole networks: which networks, in which order, at which price, and what a wrong list is answered with."""

from __future__ import annotations

import hashlib
import json
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from edgecost.costmodels import arch_formats, format_registry
from edgecost.costmodels.arch_formats import ArchFormat, arch_format, arch_format_names
from edgecost.costmodels.arch_formats.costs import About, Costs
from edgecost.costmodels.arch_formats.networks import (
    Networks,
    benchmark_networks,
    cell_networks,
    chain_networks,
    read_cells,
    read_chains,
)
from edgecost.costmodels.arch_formats.order import read_order
from edgecost.costmodels.arch_formats.prices import table_about, table_costs
from edgecost.costmodels.arch_formats.values_file import read_values
from edgecost.costmodels.lut_formats.card import FormatCard
from edgecost.costmodels.lut_formats.contract import checksum_lut, without
from edgecost.costmodels.space_file import load_space
from edgecost.profiler.errors import GateError, MissingPackage, UsageError
from tests import arch_readers

DATA = Path(__file__).parents[2] / "shared" / "data"
ORDER = DATA / "nb201_order.txt"
ABOUT = About(device="a box", source="a test", precision="fp32", batch=1, created="2026-01-01T00:00:00+00:00")


def cell_costs(networks: Networks, unit: str = "ms") -> Costs:
    """A number for each cell that tells it from all others, whatever its place in the list."""
    values = [float(int(hashlib.sha256(str(one).encode()).hexdigest()[:8], 16) + 1) for one in networks.native]
    return Costs("latency" if unit == "ms" else "energy", unit, np.array(values))


def fbnet(count: int, name: str = "fbnet") -> tuple[Networks, Costs, About]:
    space = load_space(name)
    networks = chain_networks([space], space.sample(count, seed=1), [0] * count, "a test")
    lut = checksum_lut(space, scale=0.5, offset_ms=1024.0)
    return networks, table_costs([lut], [space], networks, "latency"), table_about([lut], "a box", ["latency"])


@pytest.fixture
def lined(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch without torch: a zip of the list's pickle, so that the order of numbers is tested everywhere."""
    import io
    import pickle
    import zipfile

    def save(values: list[float], file: io.BytesIO) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(zipfile.ZipInfo("archive/data.pkl"), pickle.dumps(values, 2))

    module = ModuleType("torch")
    module.save = save  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", module)


def test_the_benchmark_s_order_is_the_published_one() -> None:
    if not ORDER.is_file():
        pytest.skip("the published order is not beside the repository")
    lines = [line for line in ORDER.read_text().splitlines() if not line.startswith("#")]
    assert ["".join(map(str, row)) for row in benchmark_networks().choices.tolist()] == lines
    np.testing.assert_array_equal(read_cells(read_order(ORDER), "published").choices, benchmark_networks().choices)


@pytest.mark.usefixtures("lined")
def test_published_latencies_come_out_at_the_published_indices(tmp_path: Path) -> None:
    """HELP's and HW-NAS-Bench's raspi4: 10.4820 and 54.7774 ms for the first two cells."""
    if not (DATA / "nasbench201_latency.npz").is_file():
        pytest.skip("the published measurements are not beside the repository")
    held = np.load(DATA / "nasbench201_latency.npz", allow_pickle=False)
    np.testing.assert_array_equal(held["ops"], benchmark_networks().choices)
    column = held["latency"][:, list(held["devices"]).index("raspi4")].astype(np.float64)
    rows = np.random.default_rng(0).permutation(15625)
    lines = [f"{''.join(map(str, held['ops'][row].tolist()))},{float(column[row])!r}" for row in rows]
    (tmp_path / "v.csv").write_text("arch,latency_ms\n" + "\n".join(lines))
    values = read_values(tmp_path / "v.csv")
    costs = values.costs(read_cells(values.archs, "v"), benchmark_networks(), "latency")
    listed = arch_readers.torch_list(arch_format("help").write(benchmark_networks(), [costs], tmp_path, ABOUT)[0])
    assert [round(value, 4) for value in listed[:2]] == [10.4820, 54.7774]
    assert listed == column.tolist()


@pytest.mark.usefixtures("lined")
def test_the_published_networks_of_fbnet_are_a_list_that_help_and_nasflat_take(tmp_path: Path) -> None:
    if not (DATA / "fbnet_latency.npz").is_file():
        pytest.skip("the published measurements are not beside the repository")
    np.save(tmp_path / "order.npy", np.load(DATA / "fbnet_latency.npz", allow_pickle=False)["ops"])
    space = load_space("fbnet")
    networks = read_chains(read_order(tmp_path / "order.npy"), [space], "order.npy")
    lut = checksum_lut(space)
    costs = table_costs([lut], [space], networks, "latency")
    for name in ("help", "nasflat"):
        file = arch_format(name).write(networks, [costs], tmp_path, table_about([lut], None, ["latency"]))[0]
        assert arch_readers.torch_list(file) == lut.price(np.load(tmp_path / "order.npy")).tolist()


def test_index_0_of_the_benchmark_is_written_as_the_benchmark_writes_it() -> None:
    expected = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
    assert benchmark_networks().native[0] == expected
    assert len(set(benchmark_networks().native)) == 15625


@pytest.mark.usefixtures("lined")
def test_help_gets_every_cell_s_number_at_the_benchmark_s_index(tmp_path: Path) -> None:
    networks = benchmark_networks()
    costs = cell_costs(networks)
    file, side = arch_format("help").write(networks, [costs], tmp_path, ABOUT)
    assert (file, side.name) == (tmp_path / "nasbench201" / "latency" / "a_box.pt", "a_box.pt.edgecost.json")
    listed = arch_readers.torch_list(file)
    assert {type(value) for value in listed} == {float}
    by_text = dict(zip(networks.native, costs.floats, strict=True))
    for index in np.random.default_rng(0).choice(15625, 1000, replace=False).tolist():
        assert listed[index] == by_text[networks.native[index]]


@pytest.mark.parametrize("name", ["help", "nasflat"])
@pytest.mark.parametrize("space_name", ["fbnet", "fbnet-cifar"])
@pytest.mark.usefixtures("lined")
def test_an_fbnet_list_holds_the_corrected_sums_in_the_order_of_the_list(
    tmp_path: Path, name: str, space_name: str
) -> None:
    networks, costs, about = fbnet(5000, space_name)
    file = arch_format(name).write(networks, [costs], tmp_path, about)[0]
    assert str(file.relative_to(tmp_path)).startswith("fbnet")
    listed = arch_readers.torch_list(file)
    space = load_space(space_name)
    lut = checksum_lut(space)
    for row in range(0, 5000, 5):
        cells = [lut.query(cell.key).latency_ms for cell in space.cells_of(networks.choices[row]) if not cell.absent]
        assert listed[row] == 0.5 * sum(cells) + 1024.0


@pytest.mark.usefixtures("lined")
def test_an_energy_list_holds_sums_of_energies_and_has_a_name_of_its_own(tmp_path: Path) -> None:
    space = load_space("fbnet")
    networks, _, about = fbnet(5000)
    lut = checksum_lut(space, scale=0.5)
    costs = table_costs([lut], [space], networks, "energy")
    file, side = arch_format("help").write(networks, [costs], tmp_path, about)
    assert file.name == "a_box-energy.pt"
    cells = [lut.query(cell.key).energy_mj for cell in space.cells_of(networks.choices[7]) if not cell.absent]
    assert arch_readers.torch_list(file)[7] == sum(cells)
    assert json.loads(side.read_text())["metrics"][0]["unit"] == "mJ"


@pytest.mark.usefixtures("lined")
def test_once_for_all_networks_are_priced_at_their_own_resolution(tmp_path: Path) -> None:
    spaces = [load_space("ofa-mobilenetv3", resolution=side) for side in (160, 224)]
    luts = [checksum_lut(space) for space in spaces]
    given = [spaces[i % 2].decode(row)[0] for i, row in enumerate(spaces[0].sample(5000, seed=3))]
    networks = read_chains(given, spaces, "a list")
    listed = arch_readers.torch_list(
        arch_format("help").write(
            networks, [table_costs(luts, spaces, networks, "latency")], tmp_path, table_about(luts, None, ["latency"])
        )[0]
    )
    for row in range(0, 5000, 500):
        for i in (row, row + 1):
            assert listed[i] == luts[i % 2].price([given[i]])[0]


def test_torch_s_own_loader_takes_the_list_without_any_class(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="HELP's reader is torch.load")
    networks = benchmark_networks()
    costs = cell_costs(networks)
    file = arch_format("help").write(networks, [costs], tmp_path, ABOUT)[0]
    assert torch.load(file, weights_only=True) == costs.floats
    assert arch_readers.torch_list(file) == costs.floats


def test_without_torch_the_remedy_is_said_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    networks = benchmark_networks()
    with pytest.raises(MissingPackage, match="pip install torch"):
        arch_format("help").write(networks, [cell_costs(networks)], tmp_path, ABOUT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("lined")
@pytest.mark.parametrize("left", [4999, 1])
def test_a_list_of_the_wrong_length_is_refused(tmp_path: Path, left: int) -> None:
    networks, costs, about = fbnet(left)
    with pytest.raises(UsageError, match=f"reads 5000 networks of fbnet by their index; the order names {left}"):
        arch_format("help").write(networks, [costs], tmp_path, about)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("lined")
def test_a_cell_that_stands_twice_is_named(tmp_path: Path) -> None:
    choices = benchmark_networks().choices.copy()
    choices[9] = choices[4]
    networks = cell_networks(choices, "order.txt")
    with pytest.raises(UsageError, match=r"architecture 10 of order\.txt is the same as 5"):
        arch_format("nasflat").write(networks, [cell_costs(networks)], tmp_path, ABOUT)


@pytest.mark.usefixtures("lined")
def test_a_network_without_a_price_is_refused_or_gets_what_the_user_says(tmp_path: Path) -> None:
    networks = benchmark_networks()
    values = cell_costs(networks).values.copy()
    values[3] = np.nan
    costs = Costs("latency", "ms", values)
    with pytest.raises(GateError, match="of 1 networks is not known, first 4"):
        arch_format("help").write(networks, [costs], tmp_path, ABOUT)
    assert list(tmp_path.iterdir()) == []
    file, side = arch_format("help").write(networks, [costs.with_stand_in(0.25)], tmp_path, ABOUT)
    assert arch_readers.torch_list(file)[3] == 0.25
    assert json.loads(side.read_text())["metrics"][0]["stand_ins"] == 1


def test_a_table_without_a_cell_or_its_energy_names_it() -> None:
    space = load_space("fbnet")
    networks, _, _ = fbnet(200)
    lost = space.positions[3].cells[2].key
    for metric in ("latency", "energy"):
        with pytest.raises(GateError, match=lost):
            table_costs([without(checksum_lut(space), lost)], [space], networks, metric)
    with pytest.raises(UsageError, match="no sum"):
        table_costs([checksum_lut(space)], [space], networks, "memory")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("421219", "line is no cell|'421219' is no cell"),
        ("|avg_pool_3x3~0|+|none~0|none~1|", "is no cell"),
        ("15625", "is no cell"),
    ],
)
def test_a_line_that_is_no_cell_is_named_with_its_number(line: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"(?s)mine, architecture 2.*{message}"):
        read_cells(["421211", line], "mine")


def test_a_line_that_is_no_network_of_a_chain_is_named_with_its_number() -> None:
    space = load_space("fbnet")
    good = space.sample(1, seed=0)[0].tolist()
    with pytest.raises(UsageError, match=r"mine, architecture 2: ?.*position 21"):
        read_chains([good, [*good[:-1], 9]], [space], "mine")
    with pytest.raises(UsageError, match="mine, architecture 1"):
        read_chains(["3.1"], [space], "mine")


def test_a_resolution_without_a_table_is_refused() -> None:
    space = load_space("ofa-mobilenetv3")
    arch = {**space.decode(space.sample(1, seed=0))[0], "r": [176]}
    with pytest.raises(UsageError, match=r"architecture 1 asks for resolution 176; there are prices for \[224\]"):
        read_chains([arch], [space], "mine")


def test_the_forms_of_an_order_say_the_same(tmp_path: Path) -> None:
    networks = cell_networks(benchmark_networks().choices[:50], "a test")
    (tmp_path / "a.txt").write_text("# a comment\n" + "\n".join(networks.native) + "\n\n")
    (tmp_path / "b.jsonl").write_text("\n".join(json.dumps(row) for row in networks.choices.tolist()))
    np.save(tmp_path / "c.npy", networks.choices)
    for name in ("a.txt", "b.jsonl", "c.npy"):
        assert read_cells(read_order(tmp_path / name), name).native == networks.native


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    for name in ("order.pt", "order.pkl"):
        (tmp_path / name).write_bytes(b"\x80\x02")
        with pytest.raises(UsageError, match="never opened"):
            read_order(tmp_path / name)
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UsageError, match="cannot be read"):
        read_order(tmp_path / "objects.npy")


def test_the_side_file_says_what_the_list_cannot(tmp_path: Path) -> None:
    networks, costs, about = fbnet(20)
    files = arch_format("nnabla-nas").write(networks, [costs], tmp_path, about)
    document = json.loads(files[-1].read_text())
    name = files[0].name
    assert document["sha256"] == {name: hashlib.sha256(files[0].read_bytes()).hexdigest()}
    told = ("written_for", "space", "networks", "networks_from", "device", "precision", "batch", "created")
    assert [document[key] for key in told] == [
        "nnabla-nas", "fbnet", 20, "a test", "a box", "fp32", 1, "2026-01-01T00:00:00+00:00",
    ]  # fmt: skip
    assert document["correction"]["by_resolution"] == {"224": {"scale": 0.5, "offset_ms": 1024.0, "fitted_on": 8}}


class Plugin:
    """What a plugin's author writes."""

    name = "plugin"
    card = FormatCard("a plugin's reader", "nobody")

    def write(self, networks: Networks, costs: list[Costs], folder: Path, about: About) -> list[Path]:
        return []


def test_a_plugin_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("edgecost_test_plugin")
    module.Plugin, module.wrong = Plugin, 3  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "edgecost_test_plugin", module)
    objects = {"plugin": "Plugin", "wrong": "wrong", "lost": "lost", "help": "wrong"}
    points = [EntryPoint(name, f"edgecost_test_plugin:{what}", arch_formats.GROUP) for name, what in objects.items()]
    monkeypatch.setattr(format_registry, "entry_points", lambda group: points if group == arch_formats.GROUP else [])
    assert isinstance(arch_format("plugin"), Plugin)
    assert arch_format("help").name == "help"
    for name, message in {"wrong": "members", "lost": "imported"}.items():
        with pytest.raises(UsageError, match=message):
            arch_format(name)


def test_an_unknown_format_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="Did you mean 'help'"):
        arch_format("helb")
    for name in arch_format_names():
        made = arch_format(name)
        assert isinstance(made, ArchFormat)
        assert made.name == name
        assert made.card.title
        assert made.card.reader
