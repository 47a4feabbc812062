"""Pages of what was learnt: prices of dropped models, cards of predictors, tables as heat maps and as files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecost.costmodels.device_table import device_table
from edgecost.costmodels.lut import Lut
from edgecost.costmodels.metrics.energy_predictor import EnergyPredictor
from edgecost.costmodels.predictor_file import load_predictor
from edgecost.costmodels.predictor_folder import default_predictor
from edgecost.costmodels.space_file import load_space
from edgecost.db import Store
from edgecost.profiler.kernels.graph import kernels
from edgecost.profiler.weights import complete
from tests.hub_server import served
from tests.hub_visitor import Visitor
from tests.trained_store import Trained, write


@pytest.fixture
def lab(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visitor]:
    """A viewer of a hub whose store a predictor was trained from; the predictor is not in its place yet."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    shutil.copy(trained.store, tmp_path / "store.sqlite")
    with Store(tmp_path / "store.sqlite") as store, served(store) as hub:
        store.open_campaign("ofa", "ofa-mobilenetv3", {"protocol": {}})
        yield Visitor(hub, store.fleet.make_token("anna", "viewer"))


def put_in_place(trained: Trained) -> str:
    """The name of the predictor in its place."""
    place = default_predictor(trained.setting.device.identity, trained.setting.profile)
    shutil.copytree(trained.folder, place)
    return place.name


def test_a_dropped_model_is_priced_where_there_is_a_predictor(lab: Visitor, trained: Trained) -> None:
    space = load_space("ofa-mobilenetv3")
    graph = next(made for cell in space.measurable if (made := space.workload(cell)) is not None)
    model = complete(graph.skeleton, graph.weights)
    assert "No device has a predictor yet" in lab.post("/ask?name=net.onnx", model).text
    put_in_place(trained)
    seen = lab.post("/ask?name=net.onnx", model)
    assert seen.status == 200, seen.text
    (price,) = lab.post("/ask?name=net.onnx&format=json", model).json["prices"]
    assert price["lo_ms"] < price["total_ms"] < price["hi_ms"]
    assert price["measured_ms"] > 0
    assert sum(part for source, part in price["coverage"] if source != "unsupported") == pytest.approx(1.0)
    assert trained.setting.device.name in seen.text
    assert "Its most expensive kernels" in seen.text
    boxes = price["flame"]["boxes"]
    for row in (0.0, price["flame"]["row"]):
        assert sum(box["width"] for box in boxes if box["y"] == row) == pytest.approx(price["flame"]["width"])
    assert seen.text.count("<rect") == len(boxes)
    again = lab.get(f"/workloads/{graph.graph_hash}/prices?format=json").json
    assert again["prices"][0]["total_ms"] == price["total_ms"]
    assert lab.get("/workloads/ffff/prices").status == 404


def test_a_model_s_page_says_what_its_card_says(lab: Visitor, trained: Trained) -> None:
    assert "There is none in" in lab.get("/models").text
    name = put_in_place(trained)
    assert f'href="/models/{name}"' in lab.get("/models").text
    card = trained.report.card
    assert card is not None
    assert card.held_out is not None
    view = lab.get(f"/models/{name}?format=json").json
    assert view["accuracies"][0][1]["within_10"] == card.held_out.within_10
    assert view["limits"] == list(card.limits)
    picture = lab.get(f"/models/{name}/picture.svg")
    assert picture.headers["content-type"] == "image/svg+xml"
    assert "</svg>" in picture.text
    assert "script" not in picture.headers["content-security-policy"]
    assert Visitor(lab.hub).get(f"/models/{name}/picture.svg").status == 303
    assert lab.get("/models/nothing").status == 404
    (default_predictor(trained.setting.device.identity, trained.setting.profile) / "card.json").write_text("{")
    assert "/models/" not in lab.get("/models").text.partition("<table>")[2]
    assert lab.get(f"/models/{name}").status == 400


def test_a_table_is_a_heat_map_and_a_file_in_any_format(lab: Visitor, trained: Trained, tmp_path: Path) -> None:
    identity, profile_hash = trained.setting.device.identity, trained.setting.profile.profile_hash
    place = f"/luts/ofa-mobilenetv3/{identity}/{profile_hash}"
    assert f'href="{place}"' in lab.get("/luts").text
    lacking = lab.get(place)
    assert (lacking.status, "no predictor was given" in lacking.text) == (409, True)
    put_in_place(trained)
    unlike = lab.get(place)
    assert (unlike.status, "no kernel of their kind was measured" in unlike.text) == (409, True)
    cells_of = [one for one in load_space("ofa-mobilenetv3").measurable if one.key in unlike.text]
    with Store(tmp_path / "store.sqlite") as store:
        for cell in cells_of:
            graph = load_space("ofa-mobilenetv3").workload(cell)
            assert graph is not None
            write(store, trained.setting, graph, 1.5)
    view = lab.get(f"{place}?format=json").json
    cells = {one["key"]: one for row in view["heat"] for one in row["cells"]}
    assert len(cells) == view["cells"] == sum(view["sources"].values())
    seen = lab.get(place)
    assert seen.text.count('<li class="heat') == view["cells"]
    native = lab.get(f"{place}/files/native")
    assert native.headers["content-disposition"].startswith("attachment; filename*=UTF-8''ofa-mobilenetv3")
    (tmp_path / "lut.json").write_text(native.text)
    table = Lut.load(tmp_path / "lut.json")
    assert all(table.query(key).latency_ms == pytest.approx(one["latency_ms"]) for key, one in cells.items())
    assert {one["shade"] for one in cells.values()} <= set(range(9))
    assert "ofa" in [name for name, _ in view["formats"]]
    assert "hat" not in [name for name, _ in view["formats"]]
    assert lab.get(f"{place}/files/nothing").status == 404
    assert lab.get(f"/luts/nowhere/{identity}/{profile_hash}").status == 404
    assert lab.get(f"/luts/ofa-mobilenetv3/{identity}/ffff").status == 404


def test_a_table_has_the_energies_of_a_predictor_as_lut_build_has_them(
    lab: Visitor, trained: Trained, tmp_path: Path
) -> None:
    put_in_place(trained)
    device, profile = trained.setting.device, trained.setting.profile
    space = load_space("ofa-mobilenetv3")
    cells = [made for cell in space.measurable if (made := space.workload(cell)) is not None]
    graphs = [kernels(one, profile) for one in cells]
    energy = EnergyPredictor(rounds=20).fit(graphs, [3.0 + n for n in range(len(graphs))], scope="module")
    energy.save(default_predictor(device.identity, profile, "energy"), {})
    with Store(tmp_path / "store.sqlite") as store:
        write(store, trained.setting, cells[-1], 1.5)
        table = device_table(
            store, space, device, profile, "", load_predictor(default_predictor(device.identity, profile))[0]
        )
    view = lab.get(f"/luts/ofa-mobilenetv3/{device.identity}/{profile.profile_hash}?format=json").json
    shown = {one["key"]: one["energy_mj"] for row in view["heat"] for one in row["cells"]}
    expected = {cell.key: cell.energy_mj for cell in table.cells if cell.source != "absent"}
    assert None not in expected.values()
    assert shown == pytest.approx(expected, rel=1e-9)
    assert view["energy"].startswith("gross, of the module")
