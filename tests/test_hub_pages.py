"""What people see of a hub: who may, the numbers that the store holds, and nothing of what a stranger wrote run."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import onnx
import pytest

from edgecost.costmodels.fleet.fleet_campaign import plan_fleet_campaign, wishes_for
from edgecost.costmodels.fleet.pool import choose_pool
from edgecost.costmodels.space_file import load_space
from edgecost.db import Store
from edgecost.hub import pages
from edgecost.profiler.fleet_protocol import Enrolment
from edgecost.profiler.protocol import Settings
from edgecost.profiler.readings import Energy, Reading
from edgecost.profiler.records import Device
from edgecost.profiler.workload import Workload
from tests.fleet_store import PROFILE, campaign, enrol, hello_of, result, workload
from tests.hub_server import Hub, served
from tests.hub_visitor import Visitor
from tests.test_fleet_pool_energy import work_off

HERE = Path(pages.__file__).parent


@pytest.fixture
def hub(store: Store) -> Iterator[Hub]:
    with served(store) as made:
        yield made


@pytest.fixture
def viewer(store: Store, hub: Hub) -> Visitor:
    return Visitor(hub, store.fleet.make_token("anna", "viewer"))


@pytest.fixture
def operator(store: Store, hub: Hub) -> Visitor:
    return Visitor(hub, store.fleet.make_token("otto", "operator"))


def worked(store: Store, jobs: int = 3) -> None:
    """One board with results, and a job of it that is not done."""
    board = enrol(store, "nano-1")
    campaign(store, jobs + 1)
    for _ in range(jobs):
        batch = store.fleet.lease(board.agent_id, 1, 600.0)
        assert batch is not None
        store.fleet.accept(board.agent_id, result(board, batch))


PLACES = ["/", "/devices/nano-1", "/campaigns", "/campaigns/1", "/workloads", "/models", "/luts", "/compare", "/ask"]


@pytest.mark.parametrize("place", PLACES)
def test_nobody_sees_anything_without_a_token_and_is_sent_where_one_is_shown(
    place: str, store: Store, hub: Hub
) -> None:
    worked(store)
    seen = Visitor(hub).get(place)
    assert (seen.status, seen.text) == (303, "")
    assert seen.headers["location"].startswith("/sign-in?then=")
    assert Visitor(hub, "made-up").get(place).status == 303
    assert Visitor(hub).get(f"{place}?format=json").status == 401


@pytest.mark.parametrize("place", PLACES)
def test_every_page_is_whole_and_the_same_as_json(place: str, store: Store, viewer: Visitor) -> None:
    worked(store)
    seen = viewer.get(place)
    assert seen.status == 200
    assert seen.text.count("<h1>") == 1
    assert "</html>" in seen.text
    assert "default-src 'self'" in seen.headers["content-security-policy"]
    assert isinstance(viewer.get(f"{place}?format=json").json, dict)


def test_a_token_becomes_a_cookie_that_no_script_reads_and_no_other_site_sends(store: Store, hub: Hub) -> None:
    token = store.fleet.make_token("anna", "viewer")
    visitor = Visitor(hub)
    wrong = visitor.post("/sign-in", {"token": "made-up"})
    assert wrong.status == 401
    assert "set-cookie" not in wrong.headers
    right = visitor.post("/sign-in", {"token": f" {token} ", "then": "/campaigns"})
    assert (right.status, right.headers["location"]) == (303, "/campaigns")
    cookie = right.headers["set-cookie"]
    assert f"edgecost_token={token}" in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    gone = Visitor(hub, token).post("/sign-out")
    assert 'edgecost_token=""' in gone.headers["set-cookie"]
    store.fleet.revoke_token("anna")
    assert Visitor(hub, token).get("/").status == 303


@pytest.mark.parametrize("then", ["//evil.example", "https://evil.example/", "\\\\evil.example", "/\\evil.example", ""])
def test_signing_in_leads_nowhere_else(then: str, store: Store, hub: Hub) -> None:
    token = store.fleet.make_token("anna", "viewer")
    assert Visitor(hub).post("/sign-in", {"token": token, "then": then}).headers["location"] == "/"


def test_the_fleet_shows_what_the_store_holds(store: Store, viewer: Visitor) -> None:
    worked(store)
    enrol(store, "pi-1", pool="pi")
    seen = viewer.get("/")
    assert "2 boards" in seen.text
    assert "the board nano-1" in seen.text
    assert PROFILE.label in seen.text
    (nano, pi) = viewer.get("/?format=json").json["boards"]
    assert (nano["board"]["name"], nano["board"]["accepted"], pi["board"]["accepted"]) == ("nano-1", 3, 0)


def test_a_board_shows_its_measurements_and_a_measurement_its_graph(store: Store, viewer: Visitor) -> None:
    worked(store)
    seen = viewer.get("/devices/nano-1")
    for one in store.browsing.newest(device_identity="device-nano-1"):
        assert one.latency is not None
        assert f'href="/measurements/{one.measurement_id}"' in seen.text
        page = viewer.get(f"/measurements/{one.measurement_id}")
        assert f'href="/workloads/{one.graph_hash}"' in page.text
        assert one.measurement_id in viewer.get(f"/workloads/{one.graph_hash}").text
    assert viewer.get("/workloads?q=sigmoid_2").text.count("<tr>") == 2
    assert "Nothing was found" in viewer.get("/workloads?q=%25").text


def test_a_measurement_shows_the_energies_of_its_rails_beside_the_whole(store: Store, viewer: Visitor) -> None:
    board = enrol(store, "nano-1")
    campaign(store, 1)
    batch = store.fleet.lease(board.agent_id, 1, 60.0)
    assert batch is not None
    whole = Energy(Reading.OK, "module", gross_median_mj=12.0, gross_lo_mj=11.8, gross_hi_mj=12.2)
    rails = {
        "POM_5V_CPU": replace(whole, scope="cpu", gross_median_mj=7.25, gross_lo_mj=7.0, gross_hi_mj=7.5),
        "POM_5V_<GPU>": Energy(Reading.BELOW_RESOLUTION, "gpu", "nothing runs there"),
    }
    made = result(board, batch)
    made = replace(made, measurement=replace(made.measurement, energy=whole, rails=rails))
    store.fleet.accept(board.agent_id, made)
    page = viewer.get(f"/measurements/{made.measurement.measurement_id}").text
    assert "POM_5V_CPU" in page
    assert "7.25 mJ" in page
    assert "below resolution" in page
    assert "POM_5V_&lt;GPU&gt;" in page


def test_a_board_that_says_the_same_again_is_held_against_itself(store: Store, viewer: Visitor) -> None:
    board = enrol(store, "nano-1")
    for name in ("first", "second", "third"):
        campaign(store, 2, name=name)
        while batch := store.fleet.lease(board.agent_id, 1, 60.0):
            store.fleet.accept(board.agent_id, result(board, batch))
    seen = viewer.get("/devices/nano-1")
    assert "graphs measured again, relative to their first time here" in seen.text
    charts = viewer.get("/devices/nano-1?format=json").json["charts"]
    assert len(next(one for one in charts if one["unit"] == "×")["dots"]) == 4


def test_a_board_that_is_away_is_told_of_on_both_pages(
    store: Store, viewer: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked(store)
    assert "not heard of</small>" not in viewer.get("/").text
    monkeypatch.setattr("edgecost.hub.pages.views.SILENT_S", -1.0)
    assert "not heard of</small>" in viewer.get("/").text
    assert "what it measured it keeps" in viewer.get("/devices/nano-1").text


def test_a_campaign_tells_how_far_it_is_and_why_jobs_failed(store: Store, viewer: Visitor, operator: Visitor) -> None:
    worked(store, 6)
    seen = viewer.get("/campaigns/1")
    assert "6 of 7 done" in seen.text
    assert "a minute it takes" in seen.text
    view = viewer.get("/campaigns/1?format=json").json
    assert f"more, until {view['ends_at'][:10]}" in seen.text
    assert view["left_s"] == pytest.approx(60 / view["per_minute"])
    assert "Cancel what is open" not in seen.text
    assert viewer.post("/campaigns/1/cancel").status == 403
    assert operator.post("/campaigns/1/cancel").headers["location"] == "/campaigns/1"
    failed = operator.get("/campaigns/1").text
    assert "cancelled" in failed
    assert "It is over." in failed
    operator.post("/campaigns/1/retry")
    assert viewer.get("/campaigns/1?format=json").json["open_jobs"] == 1


def test_steering_takes_the_role_and_our_own_page(store: Store, viewer: Visitor, operator: Visitor) -> None:
    enrol(store, "nano-1")
    assert viewer.post("/devices/nano-1/drain").status == 403
    elsewhere = operator.post("/devices/nano-1/drain", Origin="http://evil.example")
    assert (elsewhere.status, store.fleet.agent("nano-1").agent.state) == (403, "active")
    here = operator.post("/devices/nano-1/drain", Origin=operator.hub.url)
    assert (here.status, store.fleet.agent("nano-1").agent.state) == (303, "draining")
    assert store.fleet.audit(1)[0].actor == "otto"
    operator.post("/devices/nano-1/resume")
    assert store.fleet.agent("nano-1").agent.state == "active"


EVIL = "<script>alert(1)</script>\"'&"


def test_what_a_stranger_wrote_is_shown_and_not_run(store: Store, viewer: Visitor) -> None:
    device = Device(f"nano {EVIL}", "device-evil", f"a board {EVIL}")
    code = store.fleet.make_code({"pool": "x"}, by="keeper").code
    made = store.fleet.enrol(Enrolment(code, device, "0.1.0"), "127.0.0.1")
    store.fleet.hello(made.agent_id, hello_of(device, "ort"), "127.0.0.1")
    graph = workload(5)
    store.put_workload(Workload(f"net {EVIL}", graph.kind, graph.graph_hash, graph.skeleton, graph.weights))
    for place in (
        "/",
        f"/workloads/{graph.graph_hash}",
        f"/workloads?{urlencode({'q': EVIL})}",
        "/sign-in?then=%22%3E",
    ):
        text = viewer.get(place).text
        assert "<script>alert" not in text
        assert re.findall(r"<script[^>]*>", text) == ['<script src="/static/edgecost.js" defer>']


@pytest.mark.parametrize(
    ("place", "status"),
    [
        ("/devices/nobody", 404), ("/campaigns/99", 404), ("/campaigns/x", 404), ("/workloads/ffff", 404),
        ("/measurements/ffff", 404), ("/static/../app.py", 404), ("/static/base.html", 404), ("/nowhere", 404),
    ],
)  # fmt: skip
def test_what_is_not_there_is_said_on_a_page(place: str, status: int, viewer: Visitor) -> None:
    assert viewer.get(place).status == status


def test_nothing_is_loaded_from_elsewhere() -> None:
    for file in [*HERE.glob("templates/*.html"), *HERE.glob("static/*")]:
        text = file.read_text().replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert not re.search(r"(https?:)?//[a-z]", text.replace("</", "")), file
        assert "style=" not in text, file


def test_boards_of_a_pool_have_a_table_together(store: Store, viewer: Visitor) -> None:
    space = load_space("mnasnet-a1")
    boards = [enrol(store, "nano-1"), enrol(store, "nano-2")]
    pool = choose_pool(store, "pool=nano")
    plan_fleet_campaign(
        store, pool, "t", "mnasnet-a1", wishes_for(space, pool, panel_share=0.0, networks=0, seed=0), Settings()
    )
    while any(work_off(store, board, factor) for board, factor in zip(boards, (1.0, 1.21), strict=True)):
        pass
    place = "/luts/mnasnet-a1/pool/pool%3Dnano%2Cruntime%3Dort"
    assert f'href="{place}"' in viewer.get("/luts").text
    view = viewer.get(f"{place}?format=json").json
    cells = [one for row in view["heat"] for one in row["cells"]]
    assert (view["cells"], view["sources"]) == (len(cells), {"measured": len(space.measurable)})
    assert viewer.get(f"{place}/files/native").status == 200
    assert viewer.get("/luts/mnasnet-a1/pool/pool%3Dpi").status == 400


def test_two_boards_are_compared_with_their_sureness_and_a_picture(store: Store, viewer: Visitor) -> None:
    first, second = enrol(store, "nano-1"), enrol(store, "nano-2")
    for board, name in ((first, "one"), (second, "two")):
        campaign(store, 3, name=name)
        while batch := store.fleet.lease(board.agent_id, 1, 60.0):
            store.fleet.accept(board.agent_id, result(board, batch))
    asked = urlencode({"a": "device=nano-1", "b": "device=nano-2"})
    view = viewer.get(f"/compare?{asked}&format=json").json
    assert (view["of"], view["mean"]) == (3, pytest.approx(1.0))
    seen = viewer.get(f"/compare?{asked}")
    assert "in the geometric mean of 3 workloads" in seen.text
    assert 'value="device=nano-1"' in seen.text
    picture = re.search(r'src="(/compare/picture.svg[^"]*)"', seen.text)
    assert picture is not None
    assert "</svg>" in viewer.get(html.unescape(picture.group(1))).text
    wrong = viewer.get("/compare?a=devise%3Dnano-1&b=all")
    assert wrong.status == 400
    assert "devise" in wrong.text


@pytest.mark.parametrize("body", [b"", b"no model", b"\x08\x07" + b"\xff" * 40])
def test_what_is_no_model_is_refused_with_a_reason(body: bytes, viewer: Visitor) -> None:
    seen = viewer.post("/ask", body)
    assert seen.status == 422
    assert 'class="problem"' in seen.text


def test_a_model_that_points_to_other_files_is_refused(viewer: Visitor) -> None:
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/passwd")
    value = onnx.helper.make_tensor_value_info("x", 1, [1])
    out = onnx.helper.make_tensor_value_info("y", 1, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Add", ["x", "w"], ["y"])], "g", [value], [out], [tensor])
    seen = viewer.post("/ask", onnx.helper.make_model(graph).SerializeToString())
    assert (seen.status, "/etc/passwd" in seen.text) == (422, False)
