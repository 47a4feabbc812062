"""Pictures of comparisons: they hold what the numbers say, are the same each time, and survive hostile names."""

from __future__ import annotations

import importlib.util
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest

from edgecost.costmodels.comparison import Comparison, compare
from edgecost.costmodels.pictures import ROWS_MAX, comparison_html, comparison_svg, summary
from edgecost.profiler.records import Status


def _load_helper():
    spec = importlib.util.spec_from_file_location("comparison_store", Path(__file__).with_name("comparison_store.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


helper = _load_helper()

HOSTILE = "<script>alert(1)</script> & $x_{1$ \x07 漢字 ]]> \"'"


def compared(folder: Path, n: int, *, name: str = "", visits: int = 9) -> Comparison:
    """Workloads 1…n, of which the k-th takes 1 + k % of A's time longer on B."""
    bench = helper.Bench(folder / "store.sqlite")
    try:
        for size in range(1, n + 1):
            workload = helper.relu(size, f"{name} {size}" if name else "")
            bench.write(workload, helper.around(size, visits), helper.ONE)
            bench.write(workload, helper.around(size * (1.01 + 0.01 * size), visits, seed=size), helper.FOUR)
        bench.write(helper.relu(n + 1), [], helper.FOUR, status=Status.UNSUPPORTED_OPERATOR)
        bench.write(helper.relu(n + 1), helper.around(1.0), helper.ONE)
        return compare(bench.store, "threads=1", "threads=4")
    finally:
        bench.store.close()


def texts(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return ["".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")]


class Reader(HTMLParser):
    """Collects the tags and the cells of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "data")]
        if tag == "td":
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "td":
            self.cells[-1] += data


@pytest.mark.parametrize("n", [1, 3])
def test_the_picture_names_workloads_sides_and_units(tmp_path: Path, n: int) -> None:
    found = texts(comparison_svg(compared(tmp_path, n)))
    assert {f"relu {size}" for size in range(1, n + 1)} <= set(found)
    joined = " ".join(found)
    assert "A: threads=1;  B: threads=4" in joined
    assert "net latency of a visit, ms" in joined
    assert "B / A with 95 % interval" in joined


def test_the_same_comparison_gives_the_same_bytes_without_a_date(tmp_path: Path) -> None:
    found = compared(tmp_path, 3)
    first = comparison_svg(found)
    assert comparison_svg(found) == first
    assert "<dc:date>" not in first
    assert comparison_html(found) == comparison_html(found)


def test_a_long_comparison_shows_the_largest_differences_and_counts_the_rest(tmp_path: Path) -> None:
    found = compared(tmp_path, ROWS_MAX + 2)
    labels = texts(comparison_svg(found))
    shown = [label for label in labels if label.startswith("relu ")]
    assert shown == [row.name for row in found.rows[:ROWS_MAX]]
    assert "relu 1" not in shown
    assert any(label.startswith("2 more workloads") for label in labels)


def test_hostile_names_are_text_and_nothing_else(tmp_path: Path) -> None:
    found = compared(tmp_path, 2, name=HOSTILE)
    svg = comparison_svg(found)
    assert not list(ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}script"))
    assert any("<script>" in text for text in texts(svg))
    page = Reader()
    page.feed(comparison_html(found))
    assert "script" not in page.tags
    assert page.cells[0] == re.sub(r"\x07", " ", found.rows[0].name)


def test_the_page_stands_alone_and_holds_every_row_and_count(tmp_path: Path) -> None:
    found = compared(tmp_path, ROWS_MAX + 1)
    html = comparison_html(found)
    page = Reader()
    page.feed(html)
    assert page.tags.count("td") == 9 * len(found.rows)
    assert {row.name for row in found.rows} <= set(page.cells)
    assert all(link.startswith("#") for link in page.links)
    assert "1 only on A: unsupported_operator" in html
    assert "1 without latency on B: unsupported_operator" in html
    assert html.count("<?xml") == html.count("<!DOCTYPE svg") == 0


def test_few_visits_are_drawn_without_an_interval(tmp_path: Path) -> None:
    found = compared(tmp_path, 1, visits=2)
    assert found.rows[0].lo is None
    assert "relu 1" in texts(comparison_svg(found))
    assert "too few visits" in comparison_html(found)


def test_the_users_own_matplotlib_settings_come_back(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    comparison_svg(compared(tmp_path, 1))
    assert dict(matplotlib.rcParams) == before


def test_the_summary_is_one_sentence_with_the_mean_and_the_totals(tmp_path: Path) -> None:
    text = summary(compared(tmp_path, 1))
    assert text.startswith("B / A of 1 common workloads: geometric mean 1.020 (95 %: ")
    assert text.endswith("together 1.000 ms on A, 1.020 ms on B.")
