"""Reports: their pages hold what the store holds, stand alone, survive hostile names, and are the same each time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest

from edgecost.costmodels.cards.model_folder import open_folder
from edgecost.costmodels.comparison import compare
from edgecost.costmodels.reports.campaign import FAILED_SHOWN, KindRow, kind_of, read_campaign
from edgecost.costmodels.reports.campaign_page import campaign_report
from edgecost.costmodels.reports.comparison_page import comparison_report
from edgecost.costmodels.reports.device import read_device
from edgecost.costmodels.reports.device_page import device_report
from edgecost.costmodels.reports.drawings import GROUPS_MAX
from edgecost.costmodels.reports.model_page import model_report
from edgecost.costmodels.reports.page import Report, page_html, write_pictures
from edgecost.costmodels.reports.texts import DASH, duration, number, percent
from edgecost.db import Store
from edgecost.profiler.errors import UsageError
from edgecost.profiler.records import Device, Status
from tests import comparison_store
from tests.fleet_store import campaign as fleet_campaign
from tests.fleet_store import enrol, result, workload
from tests.report_html import Page
from tests.report_store import BOARD, CAMPAIGN, PROFILE, Desk, of_campaign, of_device
from tests.trained_store import Trained

HOSTILE = "<script>alert(1)</script> & $x_{1$ \x07 id=\"a\" href='#b' ]]> 漢字"


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Desk]:
    desk = of_device(tmp_path / "device.sqlite")
    yield desk
    desk.store.close()


@pytest.fixture
def campaign(tmp_path: Path) -> Iterator[Desk]:
    desk = of_campaign(tmp_path / "campaign.sqlite")
    yield desk
    desk.store.close()


def of_comparison(path: Path, name: str = "") -> Store:
    """Two workloads, each half as slow again on four threads as on one."""
    store = (bench := comparison_store.Bench(path)).store
    for size in (1, 2):
        made = comparison_store.relu(size, f"{name} {size}" if name else "")
        bench.write(made, comparison_store.around(size), comparison_store.ONE)
        bench.write(made, comparison_store.around(size * 1.5, seed=size), comparison_store.FOUR)
    return store


def compared(store: Store) -> Report:
    return comparison_report(compare(store, "threads=1", "threads=4"))


@pytest.fixture
def comparison(tmp_path: Path) -> Iterator[Store]:
    with of_comparison(tmp_path / "comparison.sqlite") as store:
        yield store


@pytest.fixture
def every(device: Desk, campaign: Desk, trained: Trained, comparison: Store) -> dict[str, Callable[[], Report]]:
    """A way to make each kind of report."""
    return {
        "device": lambda: device_report(read_device(device.store, "board")),
        "campaign": lambda: campaign_report(read_campaign(campaign.store, CAMPAIGN)),
        "model": lambda: model_report(open_folder(trained.folder)),
        "comparison": lambda: compared(comparison),
    }


KINDS = ("device", "campaign", "model", "comparison")


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_stands_alone(every: dict[str, Callable[[], Report]], kind: str) -> None:
    report = every[kind]()
    html = page_html(report)
    page = Page(html)
    assert "http:" not in html
    assert "https:" not in html
    assert all(link.startswith("#") for link in page.links)
    assert not re.search(r"@import|url\((?!#)", html)
    assert {"script", "link", "img", "iframe", "form"}.isdisjoint(page.tags)
    assert report.kind == kind
    assert page.title == report.title
    assert page.tags.count("h1") == 1
    assert page.tags.count("h2") == len(report.sections)
    assert len(page.ids) == len(set(page.ids))
    assert set(page.links) <= {f"#{name}" for name in page.ids}
    assert set(re.findall(r"url\(#([^)]*)\)", html)) <= set(page.ids)


@pytest.mark.parametrize("kind", KINDS)
def test_every_picture_says_in_words_what_it_shows(every: dict[str, Callable[[], Report]], kind: str) -> None:
    report = every[kind]()
    page = Page(page_html(report))
    assert page.labels == [picture.alt for picture in report.pictures]
    assert all(len(label) > 10 for label in page.labels)
    assert len({picture.name for picture in report.pictures}) == len(report.pictures) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_data_give_the_same_bytes(every: dict[str, Callable[[], Report]], kind: str, tmp_path: Path) -> None:
    assert page_html(every[kind]()) == page_html(every[kind]())
    written = [write_pictures(every[kind](), tmp_path / name) for name in ("one", "two")]
    for one, two in zip(*written, strict=True):
        assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_each_picture_is_written_as_svg_and_as_png(
    every: dict[str, Callable[[], Report]], kind: str, tmp_path: Path
) -> None:
    report = every[kind]()
    written = write_pictures(report, tmp_path / "pictures")
    names = {picture.name for picture in report.pictures}
    assert {path.name for path in written} == {f"{name}.{end}" for name in names for end in ("svg", "png")}
    for path in written:
        if path.suffix == ".svg":
            assert ElementTree.parse(path).getroot().tag.endswith("svg")
        else:
            assert path.read_bytes().startswith(b"\x89PNG\r\n")


def test_the_page_of_a_device_holds_what_the_store_holds(device: Desk) -> None:
    told = read_device(device.store, "board")
    html = page_html(device_report(told))
    page = Page(html)
    assert (
        "24 attempts under 1 runtime profile, of which 22 have numbers that may be used and 4.2 % were rejected" in html
    )
    assert page.row("ok") == ["ok", "22", "91.7 %"]
    assert page.row("rejected") == ["rejected", "1", "4.2 %"]
    assert page.row("anchor") == ["anchor", "18", "75.0 %"]
    assert page.row(PROFILE.label, PROFILE.profile_hash[:8])[2:] == [
        "2026-01-01 00:00:01", "2026-01-01 00:00:25", "24", "22", "8.3 %",
    ]  # fmt: skip
    assert page.row("sigmoid_6")[1:] == [
        "cell", "ok", "2026-01-01 00:00:25", "7.125", "6.982 … 7.268", "12.25", "3.5",
    ]  # fmt: skip
    assert page.row("sigmoid_4")[2:] == ["rejected: throttled: 91 °C", "2026-01-01 00:00:23", DASH, DASH, DASH, DASH]
    assert "a board on a desk" in html
    assert "board-0001" in html


def test_the_page_of_a_device_tells_whether_it_has_drifted(device: Desk) -> None:
    told = read_device(device.store, "board")
    (canary,) = told.canaries
    assert (canary.usual_us, canary.change) == (20.0, pytest.approx(0.25))
    (anchors,) = told.anchors
    assert [round(one.change, 6) for one in anchors.sessions] == [0.0] * 5 + [0.1]
    assert {one.anchors for one in anchors.sessions} == {3}
    page = Page(page_html(device_report(told)))
    assert [PROFILE.label, "7", "20", "25", "+25.0 %"] in page.rows
    assert page.row(PROFILE.label, "2026-01-01\N{NO-BREAK SPACE}00:00:19")[2:] == ["3", "+10.0 %"]


def test_the_page_of_a_device_names_its_meters(device: Desk) -> None:
    page = Page(page_html(device_report(read_device(device.store, "board"))))
    assert page.row("energy") == ["energy", "module", "ina3221", "ok", "1"]
    assert page.row("memory") == ["memory", "smaps-1", DASH, "ok", "1"]
    assert page.row("ina3221") == ["ina3221", "ina3221", "module", "40", "0.02", DASH, DASH]


def test_too_few_sessions_tell_no_drift_and_none_no_measurements(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "store.sqlite")
    assert "Nothing was measured on it yet." in page_html(device_report(read_device(desk.store, "board")))
    desk.write(workload(1), 3.0, conditions={"canary_us": 20.0})
    told = read_device(desk.store, "board")
    page = Page(page_html(device_report(told)))
    assert told.canaries[0].change is None
    assert [PROFILE.label, "1", DASH, "20", DASH] in page.rows
    desk.store.close()


def test_retracted_measurements_are_counted_apart(device: Desk) -> None:
    device.store.retract(f"{1:032x}", "keeper", "a fan fell off")
    html = page_html(device_report(read_device(device.store, "board")))
    assert "of which 21 have numbers that may be used" in html
    assert "1 measurement retracted: kept, and never used." in html


def test_a_board_of_a_fleet_is_told_with_its_labels_and_runtimes(tmp_path: Path) -> None:
    with Store(tmp_path / "store.sqlite") as store:
        board = enrol(store, "nano-1", pool="nano", rack="7")
        html = page_html(device_report(read_device(store, "nano-1")))
        assert "nano-1, active, agent 0.1.0" in html
        assert "<dd>pool=nano, rack=7</dd>" in html
        assert "<dt>Runtimes offered</dt><dd>ort</dd>" in html
        fleet_campaign(store, 1)
        batch = store.fleet.lease(board.agent_id, 1, 60.0)
        assert batch is not None
        store.fleet.accept(board.agent_id, result(board, batch))
        page = Page(page_html(campaign_report(read_campaign(store, "test"))))
        assert page.row("nano-1", board.device.identity[:12])[2:] == ["1", "1", "1", "1", "1"]


def test_the_page_of_a_campaign_holds_what_the_store_holds(campaign: Desk) -> None:
    html = page_html(campaign_report(read_campaign(campaign.store, CAMPAIGN)))
    page = Page(html)
    assert "3 of 6 jobs done, 1 failed, 2 to be done; 6 attempts." in html
    assert page.row("done") == ["done", "3", "50.0 %"]
    assert page.row("leased") == ["leased", "0", "0.0 %"]
    assert page.row("timeout") == ["timeout", "3", "50.0 %"]
    assert page.row("exhausted") == ["exhausted", "1"]
    assert page.row("conv-3")[2:] == ["cell", "exhausted", "timeout: no word for 60 s", "3"]
    assert page.row("conv") == ["conv", "3", "2", "4", "6"]
    # The first session is of one second, the other of five.
    assert page.row("board") == ["board", "board-0001", "2", "6", "3", "6", "1"]
    assert page.row("within ±2 %") == ["within ±2 %", "100.0 %"]
    assert page.row("within ±1 %") == ["within ±1 %", "0.0 %"]
    assert page.row("median half width") == ["median half width", "2.00 %"]


def test_a_campaign_that_has_not_begun_has_a_page_too(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "store.sqlite")
    desk.store.open_campaign("empty", "none", {})
    html = page_html(campaign_report(read_campaign(desk.store, "empty")))
    for text in ("0 of 0 jobs done", "No job has failed.", "No job has a latency yet.", "Nothing was measured yet."):
        assert text in html
    desk.store.close()


@pytest.mark.parametrize("kinds", [1, GROUPS_MAX + 3])
def test_one_value_is_drawn_and_so_are_very_many_kinds(tmp_path: Path, kinds: int) -> None:
    told = replace(
        read_campaign(of_campaign(tmp_path / "store.sqlite").store, CAMPAIGN),
        kinds=tuple(KindRow(f"kind {at}", (1.5,) * (1 if at else 500)) for at in range(kinds)),
        relative_half_widths=(0.02,),
    )
    report = campaign_report(told)
    (picture,) = [one for one in report.pictures if one.name == "latencies"]
    assert picture.alt.endswith("milliseconds" if kinds == 1 else "; 3 rarer kinds not drawn")
    svg = page_html(report)
    assert ">kind 0 (500)<" in svg
    assert (f">kind {GROUPS_MAX} (1)<" in svg) is False
    assert Page(svg).row(f"kind {kinds - 1}")[2:] == ["1.5"] * 3


def test_a_campaign_of_which_much_failed_lists_the_first_and_counts_all(tmp_path: Path) -> None:
    desk = of_campaign(tmp_path / "store.sqlite", jobs=FAILED_SHOWN + 4)
    desk.store.fleet.cancel(campaign=CAMPAIGN)
    told = read_campaign(desk.store, CAMPAIGN)
    assert len(told.failed) <= FAILED_SHOWN
    assert told.reasons == {"cancelled": FAILED_SHOWN // 2 + 1, "exhausted": 1}
    desk.store.close()


def test_a_campaign_is_found_by_name_number_and_beginning(campaign: Desk) -> None:
    campaign.store.open_campaign("blocks@other", "blocks", {})
    for name in (CAMPAIGN, "1", "blocks@b"):
        assert read_campaign(campaign.store, name).campaign.name == CAMPAIGN
    with pytest.raises(UsageError, match="several campaigns begin with 'blocks'"):
        read_campaign(campaign.store, "blocks")
    with pytest.raises(UsageError, match="there is no campaign ''"):
        read_campaign(campaign.store, "")


def test_what_a_job_measures_is_the_begin_of_its_label_and_of_other_jobs_the_purpose() -> None:
    assert kind_of("inverted_residual-8x8x16-4x4x24", "cell") == "inverted_residual"
    assert kind_of("nchwc.Conv 1x3x8x8", "kernel") == "nchwc.Conv"
    assert kind_of("tiny-0._.2.3", "network") == "network"
    assert kind_of("", "cell") == "cell"


def test_the_page_of_a_model_holds_its_card(trained: Trained) -> None:
    card = trained.report.card
    html = page_html(model_report(open_folder(trained.folder)))
    page = Page(html)
    assert card.held_out is not None
    bands = (card.held_out.within_2, card.held_out.within_5, card.held_out.within_10)
    assert page.row("predicted, held out")[1:5] == [str(card.held_out.n), *(f"{100 * one:.1f} %" for one in bands)]
    for group in card.by_kind:
        assert page.row(group.name)[1] == str(group.accuracy.n)
    for one in card.coverage:
        assert page.row(f"{one.nominal * 100:.0f} %")[1:3] == [percent(one.held), str(one.n)]
    assert {"parity", "kinds", "coverage"} <= {
        picture.name for picture in model_report(open_folder(trained.folder)).pictures
    }
    assert card.profile_label in html
    for point in card.curve:
        assert page.row(str(point.graphs))[1:] == [
            str(point.accuracy.n), str(point.unpriced), percent(point.accuracy.within_10)
        ]  # fmt: skip
    for wanted in card.next:
        assert page.row(wanted.subject)[1:3] == [wanted.target, f"{wanted.reason}: {wanted.why}"]


def test_a_model_without_a_card_says_how_to_have_one(trained: Trained) -> None:
    found = replace(open_folder(trained.folder), card=None)
    with pytest.raises(UsageError, match="has no card to report") as refused:
        model_report(found)
    assert "edgecost train" in refused.value.remedy


def test_the_page_of_a_comparison_has_every_row_with_its_verdict(comparison: Store) -> None:
    report = compared(comparison)
    page = Page(page_html(report))
    for size in (1, 2):
        assert page.row(f"relu {size}")[1:3] == ["A wins", "net"]
        assert page.row(f"relu {size}")[5:8] == [str(size), f"{1.5 * size:g}", "1.500"]
    assert "geometric mean 1.500" in page_html(report)


def test_hostile_names_are_text_and_nothing_else(tmp_path: Path) -> None:
    board = Device(HOSTILE, "hostile-identity", HOSTILE)
    desk = of_device(tmp_path / "device.sqlite", board)
    desk.write(replace(workload(7), name=HOSTILE), None, status=Status.CRASHED, message=HOSTILE)
    third = of_comparison(tmp_path / "comparison.sqlite", HOSTILE)
    others = of_campaign(tmp_path / "campaign.sqlite", HOSTILE)
    reports = [
        device_report(read_device(desk.store, HOSTILE)),
        campaign_report(read_campaign(others.store, CAMPAIGN)),
        compared(third),
    ]
    for report in reports:
        html = page_html(report)
        page = Page(html)
        assert "script" not in page.tags
        assert "\x07" not in html
        assert len(page.ids) == len(set(page.ids))
        assert any(cell.startswith("<script>alert(1)</script> & $x_{1$ ") for row in page.rows for cell in row)
        for path in write_pictures(report, tmp_path / "pictures"):
            assert path.suffix == ".png" or ElementTree.parse(path)
    assert reports[0].file_name == "report-device-script-alert-1-script-x_-1-id-a-href-b-漢字.html"
    desk.store.close()
    others.store.close()
    third.close()


def test_the_users_own_matplotlib_settings_come_back(device: Desk) -> None:
    before = dict(matplotlib.rcParams)
    page_html(device_report(read_device(device.store, "board")))
    assert dict(matplotlib.rcParams) == before


def test_a_device_is_found_by_the_beginning_of_its_identity_and_two_of_a_name_are_told_apart(device: Desk) -> None:
    assert read_device(device.store, "board-0").device == BOARD
    device.store.put_device(Device("board", "other-0002", ""))
    with pytest.raises(UsageError, match="2 devices are called 'board'") as refused:
        read_device(device.store, "board")
    assert "board (other-00)" in refused.value.remedy


def test_unknown_is_a_dash_and_never_zero() -> None:
    assert [number(None), number(float("nan")), percent(None), duration(None)] == [DASH] * 4
    assert [number(0.0), number(0.012345), number(123456.7), number(70)] == ["0", "0.01235", "123,457", "70"]
    assert [duration(90.0), duration(1e4), duration(1e6)] == ["90 s", "2.778 h", "11.57 d"]
