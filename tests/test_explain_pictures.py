"""The pictures of docs/explain are those of what was measured for them, and so is what the pages say below them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.doc_scripts import DOCS, load_script

make_explain_pictures = load_script("make_explain_pictures")
picture_captions = load_script("picture_captions")

PICTURES = DOCS / "pictures"
NAMES = sorted(make_explain_pictures.PICTURE)
ANEW = "run: PYTHONPATH=. .venv/bin/python docs/make_explain_pictures.py"
#: A picture is of the matplotlib that drew it: another one may place things a hair elsewhere.
DRAWN_BY = re.compile(r"drawn by matplotlib (\S+)")


def texts(svg: str) -> list[str]:
    return ["".join(one.itertext()) for one in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_drawn_from_its_measurements(name: str) -> None:
    kept = (PICTURES / f"explain-{name}.svg").read_text(encoding="utf-8")
    drawn = make_explain_pictures.draw(name)
    assert texts(drawn) == texts(kept), ANEW
    if DRAWN_BY.findall(drawn) == DRAWN_BY.findall(kept):
        assert drawn == kept, ANEW


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_says_what_was_measured_where_when_and_by_which_command(name: str) -> None:
    document = json.loads((PICTURES / f"explain-{name}.json").read_text(encoding="utf-8"))
    assert document["command"].endswith(f"docs/make_explain_pictures.py --measure {name}")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", document["date"])
    assert all(document[field] for field in ("what", "device", "runtime", "protocol", "versions"))


@pytest.mark.parametrize("name", NAMES)
def test_a_page_shows_the_picture_with_an_alternative_and_the_numbers_below_it(name: str) -> None:
    page = picture_captions.page_of(name).read_text(encoding="utf-8")
    assert len(re.findall(rf"!\[[^\]]{{40,}}\]\(\.\./pictures/explain-{name}\.svg\)", page)) == 1
    assert picture_captions.captioned(name) == page, ANEW


def test_every_picture_and_every_measurement_is_used() -> None:
    found = {path.name for path in PICTURES.glob("explain-*")}
    assert found == {f"explain-{name}.{kind}" for name in NAMES for kind in ("json", "svg")}


def test_what_is_virtual_says_so_in_the_picture() -> None:
    for name in NAMES:
        document = json.loads((PICTURES / f"explain-{name}.json").read_text(encoding="utf-8"))
        if "virtual" in document["device"]:
            assert any("virtual" in text for text in texts(make_explain_pictures.draw(name))), name


def test_a_page_without_its_picture_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "explain").mkdir()
    (tmp_path / "explain" / "energy.md").write_text("# Energy\n", encoding="utf-8")
    monkeypatch.setattr(picture_captions, "DOCS", tmp_path)
    with pytest.raises(ValueError, match=r"energy\.md shows no explain-energy\.svg"):
        picture_captions.captioned("energy")
