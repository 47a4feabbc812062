"""Models of a space on disk: they come back the same, or they are refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgecost.costmodels.space_models.encoding import Encoding, encode_cells
from edgecost.costmodels.space_models.space_model import BAND_ALPHAS, SpaceModel
from edgecost.costmodels.space_models.space_model_file import NAME, load_space_model, save_space_model
from edgecost.profiler.errors import ArtefactError, OutputError, UsageError
from edgecost.profiler.records import content_hash

EDGES = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]
KNOWN = 120


@pytest.fixture(scope="module")
def every() -> Encoding:
    """Cells, degenerate ones among them."""
    return encode_cells(np.random.default_rng(7).integers(0, 5, (400, 6)), EDGES)


@pytest.fixture(scope="module")
def serial(every) -> SpaceModel:
    counts = every.matrix("counts")
    return SpaceModel().fit(every.take(np.arange(KNOWN)), (4.0 + counts @ [0.0, 0.1, 1.0, 3.0, 0.7])[:KNOWN])


@pytest.fixture(scope="module")
def crossed(every) -> SpaceModel:
    """What an edge costs hangs on another edge: trees are elected; disconnected networks have a law of their own."""
    hot = every.matrix("one_hot").reshape(every.size, 6, 5)
    latency = (4.0 + 2 * every.matrix("counts")[:, 3]) * np.where(hot[:, 3, 1] * hot[:, 5, 2] + hot[:, 0, 3], 2.5, 1.0)
    latency = np.where(every.degenerate, 0.01 + 0.001 * hot[:, 0, 0], latency)
    return SpaceModel(interval="quantile", folds=3, random_state=5).fit(
        every.take(np.arange(300)), latency[:300] * np.random.default_rng(1).lognormal(0, 0.03, 300)
    )


@pytest.fixture(scope="module")
def saved(crossed, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("space-model")
    save_space_model(crossed, folder, {"device": "nano ä"})
    return folder


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    """A copy that may be spoilt."""
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def test_the_models_hold_what_a_file_has_to_keep(serial, crossed) -> None:
    assert serial.correction_.booster is None
    assert crossed.correction_.booster is not None
    assert crossed.degenerate_ms_ is not None
    assert len(crossed.degenerate_scores_) > 1
    assert len(crossed.bands_) == len(BAND_ALPHAS)


def rewrite(folder: Path, **changes: object) -> None:
    """Change the content and make its hash fit, as a newer edgecost would."""
    content = {**json.loads((folder / NAME).read_text()), **changes}
    content.pop("content_sha256")
    (folder / NAME).write_text(json.dumps({**content, "content_sha256": content_hash(content)}, indent=1))


def test_what_comes_back_predicts_the_same_to_the_last_bit(crossed, saved, every, tmp_path) -> None:
    back, provenance = load_space_model(saved)
    assert provenance == {"device": "nano ä"}
    np.testing.assert_array_equal(back.predict(every), crossed.predict(every))
    for alpha in BAND_ALPHAS:
        np.testing.assert_array_equal(back.predict_interval(every, alpha), crossed.predict_interval(every, alpha))
    np.testing.assert_array_equal(back.extrapolates(every), crossed.extrapolates(every))
    assert back.report() == crossed.report()
    save_space_model(back, tmp_path, provenance)
    # What was loaded has no held-out predictions any more, and so no card.
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        path.name: path.read_bytes() for path in saved.iterdir() if path.name != "card.json"
    }


def test_a_table_alone_needs_no_booster_on_disk(serial, every, tmp_path) -> None:
    save_space_model(serial, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["card.json", NAME]
    np.testing.assert_array_equal(load_space_model(tmp_path)[0].predict(every), serial.predict(every))
    table = json.loads((tmp_path / NAME).read_text())["table"]
    by_hand = table["constant_ms"] + sum(
        cost * every.block(block).values[:, every.block(block).columns.index(column)]
        for name, cost in table["cost_ms"].items()
        for block, _, column in [name.partition(".")]
    )
    np.testing.assert_allclose(np.maximum(by_hand, table["floor_ms"]), serial.table_.predict(every), rtol=1e-9)


@pytest.mark.parametrize("name", [NAME, "trees.txt", "band-1-high.txt"])
@pytest.mark.parametrize("spoil", ["cut", "changed", "gone", "not text"])
def test_a_spoilt_file_is_refused(folder, name, spoil) -> None:
    path = folder / name
    whole = path.read_bytes()
    middle = len(whole) // 2
    if spoil == "gone":
        path.unlink()
    else:
        turned = bytes([whole[middle] ^ 1])
        content = {"cut": whole[:middle], "changed": whole[:middle] + turned + whole[middle + 1 :], "not text": b"\xff"}
        path.write_bytes(content[spoil])
    with pytest.raises(ArtefactError) as caught:
        load_space_model(folder)
    assert name in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 99}, "schema version 99"),
        ({"schema_version": True}, "schema version True"),
        ({"format": "edgecost-predictor"}, "is not a space model"),
        ({"sha256": {"../trees.txt": hashlib.sha256(b"").hexdigest()}}, "that no model has"),
        ({"correction": {"expert": "oracle", "blocks": [], "shrinkage": 0}}, "'oracle' is none of"),
        ({"report": {}}, "lacks a field"),
        ({"table": []}, "is no object"),
        ({"parameters": {"folds": "5", "interval": "quantile", "random_state": 0}}, "is no number"),
    ],
)
def test_what_another_edgecost_would_write_is_refused(folder, changes, message) -> None:
    rewrite(folder, **changes)
    with pytest.raises(ArtefactError, match=message):
        load_space_model(folder)


def test_a_model_that_knows_nothing_is_not_saved(tmp_path) -> None:
    with pytest.raises(UsageError, match="knows nothing yet"):
        save_space_model(SpaceModel(), tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_folder_that_cannot_be_is_said_so(serial, tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        save_space_model(serial, tmp_path / "file" / "model")
