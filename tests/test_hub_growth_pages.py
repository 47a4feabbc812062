"""Pages of what more measurements bring: what to measure next, sample-efficiency, audits; and a graph's visits."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgecost.costmodels.fleet.fleet_campaign import plan_fleet_campaign, wishes_for
from edgecost.costmodels.fleet.pool import choose_pool
from edgecost.costmodels.network_scale import networks_in_store
from edgecost.costmodels.predictor_folder import default_predictor
from edgecost.costmodels.space_file import load_space
from edgecost.db import Store
from edgecost.hub.pages.charts import strips
from edgecost.hub.pages.commands import doer_of
from edgecost.profiler.protocol import Settings
from edgecost.profiler.records import Status, Visit
from edgecost.profiler.runtimes import host_profile
from tests.fleet_store import campaign, enrol, result
from tests.hub_server import served
from tests.hub_visitor import Visitor
from tests.test_fleet_pool_energy import work_off
from tests.trained_store import Trained, write

SPACE = "nasbench201"


@pytest.fixture
def viewer(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visitor]:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with served(store) as hub:
        yield Visitor(hub, store.fleet.make_token("anna", "viewer"))


def put_in_place(store: Store, trained: Trained) -> str:
    """The measurements of a predictor in the store, and the predictor where the hub looks; its name."""
    store.merge(trained.store)
    place = default_predictor(trained.setting.device.identity, trained.setting.profile)
    shutil.copytree(trained.folder, place)
    return place.name


def test_a_model_s_page_says_what_to_measure_next_and_by_which_command(
    store: Store, viewer: Visitor, trained_for_space: Trained
) -> None:
    name = put_in_place(store, trained_for_space)
    card = trained_for_space.report.card
    view = viewer.get(f"/models/{name}?format=json").json["next"]
    told = {target["target"]: target for target in view["targets"]}
    assert [row["wanted"]["subject"] for target in view["targets"] for row in target["rows"]] == [
        one.subject for one in card.next
    ]
    assert told["ofa-mobilenetv3"]["command"] == "edgecost campaign run --space ofa-mobilenetv3 --adaptive --target 5%"
    assert told["the networks measured here"]["command"] == "edgecost audit additivity MODEL.onnx"
    assert told["any network"]["command"] == "edgecost campaign kernels"
    assert view["train"] == "edgecost train"
    page = viewer.get(f"/models/{name}").text
    for one in card.next:
        assert one.reason in page
        assert one.gain is None or f"{one.gain * 100:.1f} %" in page
    assert ">edgecost campaign run --space ofa-mobilenetv3 --adaptive --target 5%</pre>" in page


def test_what_was_measured_since_the_training_is_marked(
    store: Store, viewer: Visitor, trained_for_space: Trained
) -> None:
    name = put_in_place(store, trained_for_space)
    assert "measured since" not in viewer.get(f"/models/{name}").text
    space = load_space("ofa-mobilenetv3")
    wanted = next(one for one in trained_for_space.report.card.next if one.kind == "cell")
    (cell,) = (one for one in space.measurable if one.key == wanted.subject)
    graph = space.workload(cell)
    assert graph is not None
    made = write(store, trained_for_space.setting, graph, 1.5)
    # As the fixture has it, it was measured long before: what counts is the training.
    assert "measured since" not in viewer.get(f"/models/{name}").text
    old = store.browsing.measurement(made)
    later = "2099-01-01T00:00:00.000+00:00"
    store.record(replace(old, measurement_id="later", session="later", started_at=later, finished_at=later))
    assert "measured since, 2099-01-01" in viewer.get(f"/models/{name}").text


def test_a_board_measures_by_its_name_in_the_fleet(store: Store) -> None:
    board = enrol(store, "nano 1's")
    (offer,) = store.fleet.agent("nano 1's").agent.usable
    profile = store.profile(offer.profile_hash)
    assert profile is not None
    doer = doer_of(store, board.device.identity, profile)
    assert doer.cells("fbnet") == "edgecost campaign run --space fbnet --device 'name=nano 1'\"'\"'s,runtime=ort'"
    assert doer.networks("fbnet", "x").endswith(" --networks 40")
    assert (doer.kernels(), doer.kinds(), doer.train()) == ("", "", "edgecost train --all")


@pytest.mark.parametrize(
    ("changes", "flags"),
    [
        ({}, ""), ({"threads": 3}, " --threads 3"), ({"graph_level": "ORT_ENABLE_BASIC"}, " --runtime ort-basic"),
        ({"precision": "fp16"}, " --runtime 'NAME of "),
    ],
)  # fmt: skip
def test_another_machine_is_told_the_runtime(store: Store, changes: dict[str, object], flags: str) -> None:
    profile = replace(host_profile(), **changes)
    told = doer_of(store, "somewhere", profile).train()
    assert told.startswith(f"edgecost train{flags}")


def test_how_the_error_fell_stands_with_the_board_the_fleet_and_the_model(
    store: Store, viewer: Visitor, trained_for_space: Trained
) -> None:
    name = put_in_place(store, trained_for_space)
    curve = trained_for_space.report.card.curve
    last, before = curve[-1].accuracy.within_10, curve[-2].accuracy.within_10
    told = f"From {curve[-1].graphs} graphs it predicts {last * 100:.1f} % of unseen ones within 10 %"
    page = viewer.get(f"/models/{name}").text
    assert told in page
    assert "Sample-efficiency is how the error of a device" in page
    board = enrol(store, "nano-1")
    assert "The hub's machine has no predictor" in viewer.get("/devices/nano-1").text.replace("&#39;", "'")
    (offer,) = store.fleet.agent("nano-1").agent.usable
    profile = store.profile(offer.profile_hash)
    assert profile is not None
    shutil.copytree(trained_for_space.folder, default_predictor(board.device.identity, profile))
    assert told in viewer.get("/devices/nano-1").text
    row = viewer.get("/").text
    assert f"{last * 100:.1f} % from {curve[-1].graphs}" in row
    assert f"{before * 100:.1f} % from {curve[-2].graphs}" in row
    (efficiency,) = viewer.get("/devices/nano-1?format=json").json["row"]["efficiencies"]
    assert [point["graphs"] for point in efficiency["points"]] == [one.graphs for one in curve]


def test_a_card_that_is_replaced_or_spoilt_is_noticed(
    store: Store, viewer: Visitor, trained_for_space: Trained
) -> None:
    board = enrol(store, "nano-1")
    (offer,) = store.fleet.agent("nano-1").agent.usable
    profile = store.profile(offer.profile_hash)
    assert profile is not None
    folder = default_predictor(board.device.identity, profile)
    shutil.copytree(trained_for_space.folder, folder)
    assert len(viewer.get("/?format=json").json["boards"][0]["efficiencies"]) == 1
    (folder / "card.json").write_text("{")
    assert viewer.get("/?format=json").json["boards"][0]["efficiencies"] == []
    (folder / "card.json").unlink()
    assert viewer.get("/?format=json").json["boards"][0]["efficiencies"] == []


def measured_pool(store: Store, networks: int) -> str:
    """Two boards that measured a space and some whole networks; where the table of their pool is."""
    space = load_space(SPACE)
    boards = [enrol(store, "nano-1"), enrol(store, "nano-2")]
    pool = choose_pool(store, "pool=nano")
    wishes = wishes_for(space, pool, panel_share=0.0, networks=networks, seed=0)
    plan_fleet_campaign(store, pool, "t", SPACE, wishes, Settings())
    while any(work_off(store, board, factor) for board, factor in zip(boards, (1.0, 1.21), strict=True)):
        pass
    return f"/luts/{SPACE}/pool/pool%3Dnano%2Cruntime%3Dort"


def test_the_audit_of_a_pool_s_table_holds_its_sums_against_networks(store: Store, viewer: Visitor) -> None:
    place = measured_pool(store, 6)
    assert f'href="{place}/audit"' in viewer.get(place).text
    view = viewer.get(f"{place}/audit?format=json").json
    assert (view["networks"], view["of"], len(view["audit"]["networks"])) == (6, 6, 6)
    page = viewer.get(f"{place}/audit").text
    for one in view["audit"]["networks"]:
        assert one["arch"] in page
        assert one["sum_ms"] > 0
    errors = sorted(one["sum_ms"] / one["measured_ms"] - 1 for one in view["audit"]["networks"])
    assert view["audit"]["bias_percent"] == pytest.approx(100 * (errors[2] + errors[3]) / 2)
    assert f"{view['audit']['bias_percent']:+.1f} %" in page
    assert f"hold {view['held']} of the 6 judged networks" in page
    assert "--device pool=nano,runtime=ort --networks 40" in page
    picture = viewer.get(f"{place}/audit.svg")
    assert picture.headers["content-type"] == "image/svg+xml"
    assert "</svg>" in picture.text
    assert Visitor(viewer.hub).get(f"{place}/audit.svg").status == 303


def test_without_networks_the_audit_says_so_and_which_command_measures_them(store: Store, viewer: Visitor) -> None:
    place = measured_pool(store, 0)
    page = viewer.get(f"{place}/audit")
    assert page.status == 200
    assert (
        "There is no audit yet: no whole networks of this space were measured here, and 3 are the least." in page.text
    )
    assert f"edgecost campaign run --space {SPACE} --device pool=nano,runtime=ort --networks 40" in page.text
    assert viewer.get(f"{place}/audit?format=json").json["audit"] is None
    assert viewer.get(f"{place}/audit.svg").status == 404
    assert viewer.get("/luts/nowhere/pool/pool%3Dnano/audit").status == 404


def test_a_device_s_table_is_audited_by_its_own_networks(store: Store, viewer: Visitor) -> None:
    measured_pool(store, 6)
    identity = store.fleet.agent("nano-1").agent.device_identity
    (offer,) = store.fleet.agent("nano-1").agent.usable
    place = f"/luts/{SPACE}/{identity}/{offer.profile_hash}"
    profile = store.profile(offer.profile_hash)
    assert profile is not None
    networks = networks_in_store(store, identity, profile, load_space(SPACE))
    view = viewer.get(f"{place}/audit?format=json").json
    assert view["networks"] == len(networks) == 6
    assert sorted(one["measured_ms"] for one in view["audit"]["networks"]) == pytest.approx(sorted(networks.measured))
    assert view["command"].endswith("--device name=nano-1,runtime=ort --networks 40")
    assert view["audit"]["correction"]["scale"] == pytest.approx(viewer.get(f"{place}?format=json").json["scale"])


def test_a_graph_shows_every_visit_of_its_measurements(store: Store, viewer: Visitor) -> None:
    board = enrol(store, "nano-1")
    campaign(store, 1)
    batch = store.fleet.lease(board.agent_id, 1, 60.0)
    assert batch is not None
    made = result(board, batch)
    visits = tuple(
        Visit(
            at + 1, "s", (1000,), (), (10, 10), 0, "canary" if at == 2 else "", None if at == 2 else 1e6 * (1 + at / 10)
        )
        for at in range(5)
    )
    store.fleet.accept(board.agent_id, replace(made, measurement=replace(made.measurement, visits=visits)))
    graph_hash = made.measurement.graph_hash
    view = viewer.get(f"/workloads/{graph_hash}?format=json").json
    (row,) = view["visits"]["rows"]
    assert len(row["dots"]) == 4
    assert row["dots"] == sorted(row["dots"])
    assert row["dots"][1] < row["middle"] < row["dots"][2]
    page = viewer.get(f"/workloads/{graph_hash}").text
    assert page.count("<circle") == 4
    assert "nano-1, " in page


def test_a_graph_s_kernels_stand_on_its_page_where_there_is_a_predictor(
    store: Store, viewer: Visitor, trained: Trained
) -> None:
    store.merge(trained.store)
    one = store.browsing.newest(device_identity=trained.setting.device.identity)[-1]
    assert viewer.get(f"/workloads/{one.graph_hash}?format=json").json["breakdown"] is None
    place = default_predictor(trained.setting.device.identity, trained.setting.profile)
    shutil.copytree(trained.folder, place)
    view = viewer.get(f"/workloads/{one.graph_hash}?format=json").json["breakdown"]
    assert view["device"] == trained.setting.device.name
    assert sum(box["width"] for box in view["flame"]["boxes"] if box["y"]) == pytest.approx(view["flame"]["width"])
    assert 'class="flame"' in viewer.get(f"/workloads/{one.graph_hash}").text


def test_visits_that_did_not_count_have_a_course_on_the_board_s_page(store: Store, viewer: Visitor) -> None:
    board = enrol(store, "nano-1")
    campaign(store, 2)
    for number, reasons in enumerate((("throttled", ""), ("", ""))):
        batch = store.fleet.lease(board.agent_id, 1, 60.0)
        assert batch is not None
        made = result(board, batch, name=f"{number:032x}")
        visits = tuple(
            Visit(at + 1, "s", (1000,), (), (10, 10), 0, why, None if why else 1e6) for at, why in enumerate(reasons)
        )
        store.fleet.accept(board.agent_id, replace(made, measurement=replace(made.measurement, visits=visits)))
    charts = viewer.get("/devices/nano-1?format=json").json["charts"]
    (chart,) = (one for one in charts if one["title"].startswith("visits that did not count"))
    assert chart["unit"] == "%"
    (first, second) = chart["dots"]
    assert first[1] < second[1]  # upwards is more
    assert store.browsing.newest(device_identity=board.device.identity)[0].status is Status.OK


def test_strips_are_logarithmic_only_where_one_would_hide_another() -> None:
    near, far = (strips("t", "ms", [("a", [1.0, 1.1]), ("b", [top, top])]) for top in (2.0, 300.0))
    assert near is not None
    assert far is not None
    assert (near.is_logarithmic, far.is_logarithmic) == (False, True)
    for chart in (near, far):
        places = [x for row in chart.rows for x in row.dots]
        assert all(0 <= x <= chart.width for x in places)
        assert chart.rows[0].dots[1] > chart.rows[0].dots[0]
    assert [tick.text for tick in far.ticks] == ["1", "2", "5", "10", "20", "50", "100", "200", "500"]
    assert strips("t", "ms", [("a", [])]) is None
    alone = strips("t", "ms", [("a", [1.0])])
    assert alone is not None
    assert 0 <= alone.rows[0].middle <= alone.width
