"""Model cards: what they count and judge on a store whose contents are known, and how they come back from disk."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgecost.costmodels.cards.card_file import NAME, card_document, model_digests, plain_json, read_card, write_card
from edgecost.costmodels.cards.card_pictures import card_html, card_svg
from edgecost.costmodels.cards.model_card import HASH_LENGTH, PAIRS_MAX, thinned_pairs
from edgecost.costmodels.cards.model_folder import ModelFolder, Refused, list_folders, named_folder, open_folder
from edgecost.costmodels.cards.training_data import NOTHING_LEFT, RETRACTED, UNREADABLE
from edgecost.costmodels.predictor_file import FILES, load_predictor, save_predictor
from edgecost.costmodels.training import TrainingReport, save_report
from edgecost.costmodels.validation import accuracy
from edgecost.profiler.errors import ArtefactError, UsageError
from edgecost.profiler.protocol import PROTOCOL
from edgecost.profiler.records import content_hash
from tests.trained_store import AGAIN, CANARY_US, CELLS, NETWORKS


@pytest.fixture
def made(trained) -> tuple[TrainingReport, Path]:
    """The report, and the folder of its predictor."""
    return trained.report, trained.folder


@pytest.fixture
def folder(trained, tmp_path) -> Path:
    """A copy that may be spoilt."""
    return Path(shutil.copytree(trained.folder, tmp_path / "copy"))


def reseal(folder: Path, **changes: object) -> None:
    """Change a card and make its hash fit, as another edgecost would write it."""
    content = {**json.loads((folder / NAME).read_text()), **changes}
    content.pop("content_sha256")
    (folder / NAME).write_text(json.dumps({**content, "content_sha256": content_hash(content)}, indent=1))


def test_every_measurement_is_either_used_or_left_out_for_a_reason(made) -> None:
    data = made[0].card.data
    assert data.purposes == {"cell": CELLS, "panel": AGAIN, "network": NETWORKS}
    assert (data.rows, data.graphs, data.networks) == (CELLS + AGAIN + NETWORKS, CELLS, NETWORKS)
    assert data.left_out == {NOTHING_LEFT: 2, RETRACTED: 1, "segfault": 1, UNREADABLE: 1}
    assert (data.measured_from[:16], data.measured_until[:16]) == ("2026-01-01T00:00", "2026-01-01T00:20")
    assert data.protocols == {PROTOCOL: data.rows}
    assert (data.environments, data.sessions, data.seed) == (1, 6, 0)


def test_the_card_judges_as_the_report_does_and_by_kind_and_size(made) -> None:
    report, _ = made
    card = report.card
    assert (card.held_out, card.floor, card.flops_only) == (report.held_out, report.floor, report.flops_only)
    assert card.floor_radius == pytest.approx(0.01)
    assert card.canary_us == CANARY_US
    for groups in (card.by_kind, card.by_size):
        within = sum(group.accuracy.n * group.accuracy.within_10 for group in groups)
        assert within / CELLS == pytest.approx(card.held_out.within_10)
    # One cell has a kind that no other has: held out, nothing can predict it.
    assert sum(group.accuracy.n for group in card.by_kind) == len(card.pairs.measured) == CELLS - 1
    assert any(text.startswith("1 graph had no prediction when held out") for text in card.limits)
    assert [one.nominal for one in card.coverage] == [0.8, 0.9, 0.95]
    assert card.coverage[1].held == report.coverage
    held = [one.held for one in card.coverage]
    assert held == sorted(held)


def test_whole_networks_are_judged_each_by_a_correction_that_had_not_seen_it(made) -> None:
    report, _ = made
    assert report.card.networks.n == NETWORKS
    scores = report.predictor.network_scores_
    # The card's errors are per cent of the measured value, the predictor's are logarithms of the same ratios.
    assert report.card.networks.mape_percent == pytest.approx(100 * scores.mean(), rel=0.1)
    # Of twelve networks an interval of 95 % cannot be made from the eleven others.
    assert [one.held is None for one in report.card.network_coverage] == [False, False, True]


def test_the_pairs_are_the_held_out_predictions(made) -> None:
    report, _ = made
    pairs = report.card.pairs
    found = accuracy(pairs.predicted, pairs.measured)
    # One that could not be predicted misses every band, and has no error.
    assert found.mape_percent == pytest.approx(report.held_out.mape_percent)
    assert found.within_10 * found.n == pytest.approx(report.held_out.within_10 * report.held_out.n)
    assert all(len(graph) == HASH_LENGTH for graph in pairs.graph)
    assert set(pairs.kind) <= set(report.predictor.kinds_)
    assert list(pairs.measured) == sorted(pairs.measured)


def test_of_many_pairs_evenly_spaced_ranks_are_kept_and_never_one_without_a_prediction() -> None:
    measured = np.arange(1.0, 3 * PAIRS_MAX + 1)
    predicted = measured.copy()
    predicted[::10] = np.nan
    pairs = thinned_pairs(predicted, measured, ["k"] * len(measured), [""] * len(measured))
    assert len(pairs.measured) == PAIRS_MAX
    assert pairs.measured[0] == 2.0
    assert pairs.measured[-1] == 3 * PAIRS_MAX
    assert pairs.predicted == pairs.measured


def test_what_it_cannot_do_is_said(made) -> None:
    told = " ".join(made[0].card.limits)
    assert "Nothing was measured of" in told
    # Its cells have convolutions of every form, whatever the runtime calls them.
    (lacking,) = (text for text in made[0].card.limits if text.startswith("Nothing was measured of"))
    assert "Softmax" in lacking
    assert not {"pointwise", "depthwise", "nchwc.MaxPool", "shallow"} & set(lacking.replace(",", "").split())
    assert "Gemm" in told
    assert "have no price" in told
    assert "Nothing was measured twice" not in told


def test_the_card_comes_back_as_it_was_with_what_the_caller_knows_of_the_device(made, tmp_path) -> None:
    report, folder = made
    card = read_card(folder)
    assert card == replace(report.card, profile=card.profile)
    save_report(report, tmp_path, {"device": "bench ä"})
    assert read_card(tmp_path).device == {**card.device, "name": "bench ä"}
    assert card.profile == plain_json(report.card.profile)
    assert set(model_digests(folder)) == set(FILES)
    json.dumps(card_document(card), allow_nan=False)


def test_a_card_of_schema_1_is_read_and_says_nothing_of_what_came_later(made, folder) -> None:
    card = json.loads((folder / NAME).read_text())["card"]
    reseal(
        folder, schema_version=1, card={name: value for name, value in card.items() if name not in ("curve", "next")}
    )
    assert read_card(folder) == replace(read_card(made[1]), curve=(), next=())
    assert read_card(made[1]).curve


def test_the_provenance_says_what_staleness_is_told_by(made) -> None:
    report, folder = made
    _, provenance = load_predictor(folder, metric="latency")
    assert provenance["environment"] == report.card.environment
    assert provenance["protocols"] == [PROTOCOL]
    assert provenance["metric"] == "latency"


def test_a_predictor_of_another_metric_is_refused(made, tmp_path) -> None:
    report, _ = made
    save_predictor(report.predictor, tmp_path, {"metric": "energy"})
    load_predictor(tmp_path)
    with pytest.raises(ArtefactError, match="predicts energy in mJ, not latency in ms"):
        load_predictor(tmp_path, metric="latency")


def test_a_predictor_without_a_card_loads_and_says_so(folder) -> None:
    (folder / NAME).unlink()
    load_predictor(folder)
    assert read_card(folder) is None
    assert open_folder(folder).card is None


def test_the_card_of_another_predictor_is_refused_and_the_predictor_is_not(made, folder) -> None:
    save_predictor(made[0].predictor, folder, {"device": "other"})
    load_predictor(folder)
    with pytest.raises(ArtefactError, match=r"card of another model: predictor\.json") as caught:
        read_card(folder)
    assert "edgecost train" in caught.value.remedy


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 3}, "schema version 3"),
        ({"format": "edgecost-predictor"}, "is not a model card"),
        ({"model_sha256": None}, "which files"),
        ({"model_sha256": {"../x": ""}}, "which files"),
        ({"card": None}, "is no object"),
        ({"card": {"model": "predictor"}}, "missing or unknown in ModelCard"),
    ],
)
def test_a_card_that_another_edgecost_would_write_is_refused(folder, changes, message) -> None:
    reseal(folder, **changes)
    with pytest.raises(ArtefactError, match=message):
        read_card(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("metric", 3),
        ("floor_radius", "0.1"),
        ("anchors", {}),
        ("limits", [1]),
        ("versions", {"edgecost": 1}),
        ("data", 1),
    ],
)
def test_a_field_of_another_type_is_refused_by_name(folder, field, value) -> None:
    card = json.loads((folder / NAME).read_text())["card"]
    reseal(folder, card={**card, field: value})
    with pytest.raises(ArtefactError, match="has a wrong one"):
        read_card(folder)


def test_a_card_with_a_number_that_is_none_is_never_written(made, tmp_path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_card(replace(made[0].card, canary_us=math.nan), tmp_path, ())
    assert not any(tmp_path.iterdir())


def test_folders_are_listed_with_what_is_refused_among_them(folder, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    shutil.copytree(folder, tmp_path / "spoilt")
    (tmp_path / "spoilt" / "predictor.json").write_text("{")
    (tmp_path / "file").touch()
    found = list_folders(tmp_path)
    assert [(one.folder.name, type(one)) for one in found] == [
        ("copy", ModelFolder),
        ("empty", Refused),
        ("spoilt", Refused),
    ]
    assert list_folders(tmp_path / "nowhere") == []


def test_a_model_is_found_by_path_by_name_and_by_the_beginning_of_its_name(tmp_path) -> None:
    for name in ("ab", "abc", "abd"):
        (tmp_path / name).mkdir()
    assert named_folder(tmp_path, "ab") == tmp_path / "ab"
    assert named_folder(tmp_path, "abc") == tmp_path / "abc"
    assert named_folder(tmp_path / "nowhere", str(tmp_path / "abd")) == tmp_path / "abd"
    with pytest.raises(UsageError, match="several models begin with a: ab, abc, abd"):
        named_folder(tmp_path, "a")
    with pytest.raises(UsageError, match="there is no model 'x'"):
        named_folder(tmp_path, "x")
    with pytest.raises(ArtefactError, match="holds no model"):
        open_folder(tmp_path / "ab")


def test_the_same_card_gives_the_same_picture_with_every_panel(made) -> None:
    card = made[0].card
    svg = card_svg(card)
    assert svg == card_svg(card)
    for text in ("predicted, ms", "Error by size", "Within ±10 %", "whole networks (12)", card.by_kind[0].name):
        assert text in svg
    page = card_html(card)
    assert page.count("<svg") == 1
    assert all(limit.partition(":")[0] in page for limit in card.limits)
    assert "<script" not in page


def test_a_card_with_nothing_to_draw_says_so_in_its_panels(made) -> None:
    none = made[0].card.pairs
    bare = replace(
        made[0].card,
        pairs=replace(none, graph=(), kind=(), predicted=(), measured=()),
        by_kind=(),
        by_size=(),
        coverage=(),
        network_coverage=(),
        held_out=None,
    )
    svg = card_svg(bare)
    assert svg.count("no held-out predictions") == 2
    assert "nothing was held out" in svg
    assert "there are no intervals" in svg
