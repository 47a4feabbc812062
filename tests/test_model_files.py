"""Files of models: no spoilt byte of any of them gives a traceback or another prediction; old files are still read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgecost.costmodels.cards.card_file import NAME, read_card, write_card
from edgecost.costmodels.predictor_file import FILES, SCHEMA_VERSION, load_predictor, save_predictor
from edgecost.costmodels.space_models.encoding import Encoding, encode_cells
from edgecost.costmodels.space_models.space_model import SpaceModel
from edgecost.costmodels.space_models.space_model_file import load_space_model, save_space_model
from edgecost.profiler.errors import ArtefactError
from edgecost.profiler.kernels.graph import Kernel
from edgecost.profiler.records import content_hash

GOLDEN = Path(__file__).parent / "golden"
EDGES = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]
#: Loading takes milliseconds; how many depends on the neighbours of the machine.
FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def cells() -> Encoding:
    return encode_cells(np.random.default_rng(7).integers(0, 5, (60, 6)), EDGES)


def graph(channels: int, size: int) -> tuple[Kernel, ...]:
    """A convolution and an addition, as the golden predictor was trained on."""
    small, wide = (1, channels, size, size), (1, 2 * channels, size, size)
    notes = (("group", "1"), ("kernel_shape", "3x3"), ("strides", "1x1"))
    return Kernel("Conv", (small,), ((2 * channels, channels, 3, 3),), (wide,), notes), Kernel(
        "Add", (wide, wide), (), (wide,)
    )


def predicted(folder: Path) -> list[float]:
    predictor, _ = load_predictor(folder)
    prices = predictor.price([graph(channels, size) for channels in (4, 16) for size in (8, 28, 64)])
    return [value for price in prices for value in (price.total_ms, price.lo_ms or 0.0, price.hi_ms or 0.0)]


def predicted_of_space(folder: Path) -> list[float]:
    model, _ = load_space_model(folder)
    return [*model.predict(cells()).tolist(), *model.predict_interval(cells()).ravel().tolist()]


def card_text(folder: Path) -> list[float]:
    card = read_card(folder)
    assert card is not None
    return [*card.pairs.predicted, *card.pairs.measured]


@pytest.fixture(scope="module")
def spaces(tmp_path_factory) -> Path:
    """A model with trees, whose table alone would not do, and its card."""
    every = encode_cells(np.random.default_rng(7).integers(0, 5, (300, 6)), EDGES)
    hot = every.matrix("one_hot").reshape(every.size, 6, 5)
    latency = (4.0 + 2 * every.matrix("counts")[:, 3]) * np.where(hot[:, 3, 1] * hot[:, 5, 2] + hot[:, 0, 3], 2.5, 1.0)
    folder = tmp_path_factory.mktemp("space")
    save_space_model(SpaceModel(folds=3).fit(every, latency), folder)
    return folder


@pytest.fixture(scope="module")
def predictors(tmp_path_factory, trained) -> Path:
    """The golden predictor, small and so quick to read; the card beside it is that of a larger one, bound to it."""
    folder = Path(shutil.copytree(GOLDEN / "predictor-2", tmp_path_factory.mktemp("predictor") / "copy"))
    write_card(trained.report.card, folder, FILES)
    return folder


def spoilt(data: st.DataObject, whole: bytes) -> bytes:
    """A flipped bit, another byte, a cut end, a lost or doubled piece, or something in front."""
    place = data.draw(st.integers(0, len(whole) - 1), "place")
    length = data.draw(st.integers(1, 200), "length")
    ways: dict[str, Callable[[], bytes]] = {
        "flip": lambda: (
            whole[:place] + bytes([whole[place] ^ (1 << data.draw(st.integers(0, 7)))]) + whole[place + 1 :]
        ),
        "byte": lambda: whole[:place] + data.draw(st.binary(min_size=1, max_size=4)) + whole[place + 1 :],
        "cut": lambda: whole[:place],
        "lose": lambda: whole[:place] + whole[place + length :],
        "double": lambda: whole[: place + length] + whole[place:],
        "more": lambda: whole + data.draw(st.binary(min_size=1, max_size=4)),
    }
    return ways[data.draw(st.sampled_from(sorted(ways)), "way")]()


@pytest.mark.parametrize("name", ["predictor.json", "booster.txt", NAME])
@FUZZ
@given(data=st.data())
def test_a_spoilt_predictor_is_refused_or_predicts_as_before(predictors, tmp_path_factory, name, data) -> None:
    judge(predictors, tmp_path_factory, name, data, [predicted, card_text])


@pytest.mark.parametrize("name", ["space-model.json", "trees.txt", NAME])
@FUZZ
@given(data=st.data())
def test_a_spoilt_space_model_is_refused_or_predicts_as_before(spaces, tmp_path_factory, name, data) -> None:
    judge(spaces, tmp_path_factory, name, data, [predicted_of_space, card_text])


def judge(
    good: Path,
    factory: pytest.TempPathFactory,
    name: str,
    data: st.DataObject,
    reads: list[Callable[[Path], list[float]]],
) -> None:
    whole = (good / name).read_bytes()
    changed = spoilt(data, whole)
    folder = Path(shutil.copytree(good, factory.mktemp("spoilt") / "copy"))
    (folder / name).write_bytes(changed)
    refused = []
    for read in reads:
        try:
            found = read(folder)
        except ArtefactError as error:
            refused.append(error)
        else:
            assert found == read(good)
    assert all(error.remedy for error in refused)
    # A card binds the files of its model: whatever was changed, at least one of the two notices.
    assert refused or changed == whole


@pytest.mark.parametrize(
    "missing", ["parameters", "ranges", "composition", "roofline_ms_per_unit", "provenance", "work"]
)
def test_a_predictor_that_lacks_a_field_is_refused_and_not_a_traceback(tmp_path, missing) -> None:
    folder = Path(shutil.copytree(GOLDEN / "predictor-2", tmp_path / "copy"))
    content = json.loads((folder / "predictor.json").read_text())
    content = {name: value for name, value in content.items() if name not in (missing, "content_sha256")}
    text = json.dumps({**content, "content_sha256": content_hash(content)}, indent=1)
    (folder / "predictor.json").write_text(text)
    if missing == "provenance":
        assert load_predictor(folder)[1] == {}
        return
    with pytest.raises(ArtefactError):
        load_predictor(folder)


def test_every_version_that_is_read_has_a_golden_file() -> None:
    """A version that can no longer be read goes from the folder and from ``predictor_file``'s range, both at once."""
    kept = {path.name for path in GOLDEN.iterdir()}
    assert f"predictor-{SCHEMA_VERSION}" in kept
    assert "space-model-1" in kept


@pytest.mark.parametrize("folder", sorted(GOLDEN.glob("predictor-*")), ids=lambda folder: folder.name)
def test_a_predictor_of_each_version_prices_as_it_did_when_it_was_written(folder) -> None:
    """Written by edgecost 0.1.0 (lightgbm 4.7.0): three rounds on twelve graphs of a known law."""
    predictor, provenance = load_predictor(folder)
    assert provenance == {"device": "nano"}
    assert read_card(folder) is None
    expected = json.loads((folder / "expected.json").read_text())
    graphs = [graph(channels, size) for channels, size in expected["graphs"]]
    np.testing.assert_allclose(predictor.predict(graphs), expected["latency_ms"], rtol=1e-12)
    if "network_ms" in expected:
        whole = [sum(graphs, ()) * copies for copies in (1, 40)]
        np.testing.assert_allclose(predictor.predict(whole, network=True), expected["network_ms"], rtol=1e-12)
    np.testing.assert_allclose(predictor.predict_interval(graphs, alpha=0.2), expected["interval_80_ms"], rtol=1e-12)


def test_a_space_model_of_the_first_version_prices_as_it_did_with_its_card() -> None:
    """A table: 4 ms, and for each operation of a cell 0, 0.1, 1, 3 or 0.7 ms."""
    folder = GOLDEN / "space-model-1"
    np.testing.assert_allclose(
        predicted_of_space(folder)[:4], 4.0 + cells().matrix("counts")[:4] @ [0.0, 0.1, 1.0, 3.0, 0.7], rtol=1e-6
    )
    card = read_card(folder)
    assert (card.model, card.device, card.held_out.n) == ("space-model", {"name": "nano"}, len(card.pairs.measured))
    assert card.held_out.within_10 == 1.0


def test_what_is_saved_again_over_itself_keeps_its_card(trained, tmp_path) -> None:
    folder = Path(shutil.copytree(trained.folder, tmp_path / "copy"))
    predictor, provenance = load_predictor(folder)
    save_predictor(predictor, folder, provenance)
    assert read_card(folder) == read_card(trained.folder)
