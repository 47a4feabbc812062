"""What people see of a hub: who may, the numbers that the store holds, and nothing of what a stranger wrote run."""

from __future__ import annotations

import html
import http.client
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import onnx
import pytest

from edgecost.costmodels.fleet.fleet_campaign import plan_fleet_campaign, wishes_for
from edgecost.costmodels.fleet.pool import choose_pool
from edgecost.costmodels.lut import Lut
from edgecost.costmodels.predictor_folder import default_predictor
from edgecost.costmodels.space_file import load_space
from edgecost.db import Store
from edgecost.hub import pages
from edgecost.profiler.fleet_protocol import Enrolment
from edgecost.profiler.protocol import Settings
from edgecost.profiler.records import Device
from edgecost.profiler.weights import complete
from edgecost.profiler.workload import Workload
from tests.fleet_store import PROFILE, campaign, enrol, hello_of, result, workload
from tests.hub_server import Hub, served
from tests.test_fleet_pool_energy import work_off
from tests.trained_store import Trained, write

HERE = Path(pages.__file__).parent


@dataclass(frozen=True)
class Seen:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self):  # whatever was sent
        return json.loads(self.text)


@dataclass(frozen=True)
class Visitor:
    """A browser as far as a server sees it."""

    hub: Hub
    token: str = ""

    def get(self, place: str) -> Seen:
        return self._ask("GET", place, None, {})

    def post(self, place: str, fields: dict[str, str] | bytes | None = None, **headers: str) -> Seen:
        body = fields if isinstance(fields, bytes) else urlencode(fields or {}).encode()
        return self._ask("POST", place, body, headers)

    def _ask(self, verb: str, place: str, body: bytes | None, headers: dict[str, str]) -> Seen:
        sent = {**headers, **({"Cookie": f"edgecost_token={self.token}"} if self.token else {})}
        connection = http.client.HTTPConnection("127.0.0.1", self.hub.port, timeout=60)
        try:
            connection.request(verb, place, body, sent)
            answer = connection.getresponse()
            return Seen(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode())
        finally:
            connection.close()


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
    assert lab.get(f"/models/{name}").status in (400, 409)


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
    assert viewer.get("/luts/mnasnet-a1/pool/pool%3Dpi").status in (400, 404)


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
