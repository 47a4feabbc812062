"""The contract of search spaces, for every built-in one; spaces of other packages; ``edgecost space check``."""

from __future__ import annotations

import json
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgecost.cli.main import cli
from edgecost.costmodels import space_check, space_file
from edgecost.costmodels.onboarding.cell_space import NasBench201
from edgecost.costmodels.space import Space
from edgecost.costmodels.space_check import check_space
from edgecost.costmodels.space_contract import SpaceContract
from edgecost.costmodels.space_file import load_space, plugin_space_names, space_names
from edgecost.profiler.errors import ModelError, UsageError

TINY = Path(__file__).with_name("tiny.toml")


@cache
def space(name: str) -> Space:
    return load_space(name)


@pytest.mark.parametrize("name", space_names())
class TestBuiltIn(SpaceContract):
    @pytest.fixture(autouse=True)
    def _named(self, name: str) -> None:
        self.name = name

    def make_space(self) -> Space:
        return space(self.name)


class TestAFile(SpaceContract):
    cells = None

    def make_space(self) -> Space:
        return load_space(TINY)


@pytest.mark.parametrize(
    ("name", "cells", "what"),
    [
        ("ofa-resnet50", 144, "bottleneck"),
        ("apq", 335 + 2, "conv"),
        ("apq", 444, "depthwise"),
        ("attentivenas", 218, "projected_bottleneck"),
        ("efficienttdnn", 7203, "se_res2"),
        ("efficienttdnn", 147, "tdnn_conv"),
        ("efficienttdnn", 15950, "signal_conv"),
        ("efficienttdnn", 145, "dense"),
        ("nasbench201", 6, "relu_conv"),
        ("nasbench201", 2, "nasbench_reduction"),
        ("bert-base", 4, "self_attention"),
        ("tf-nas", 36480 - 6 * (912 - 11) + 1, "inverted_residual"),  # below the input's width all are one block
    ],
)
def test_blocks_are_as_many_as_the_authors_of_the_space_have(name: str, cells: int, what: str) -> None:
    assert sum(cell.spec.block == what for cell in space(name).measurable) == cells


def test_sizes_of_spaces_are_those_of_the_papers() -> None:
    assert space("nasbench201").size == 5**6
    assert space("hat-wmt").size == 2 * 2 * 6**6 * sum(36**depth for depth in range(1, 7))
    assert space("bert-base").size == sum(12**depth for depth in range(6, 13))
    assert space("darts-cifar").size == (1 * 3 * 6 * 10 * 7**8) ** 2


def test_networks_of_nas_bench_201_are_those_of_the_benchmarks_own_code() -> None:
    cells = NasBench201()
    for arch in cells.pool[np.random.default_rng(4).choice(len(cells.pool), 100, replace=False)]:
        assert space("nasbench201").build(arch).graph_hash == cells.build(arch).graph_hash


def test_a_number_stands_for_a_list_of_one_as_in_the_spaces_own_code() -> None:
    made = space("attentivenas")
    arch = made.sample(1, 3)
    (native,) = made.decode(arch)
    assert isinstance(native, dict)
    np.testing.assert_array_equal(made.encode([{**native, "resolution": 224}]), arch)
    with pytest.raises(UsageError, match="asks for resolution"):
        made.encode([{**native, "resolution": 192}])
    genes = space("hat-wmt").decode(space("hat-wmt").sample(1, 3))[0]
    assert isinstance(genes, dict)
    short = {key: value[0] if len(value) == 1 else value for key, value in genes.items()}
    assert isinstance(short["encoder_embed_dim"], int)
    np.testing.assert_array_equal(space("hat-wmt").encode([short]), space("hat-wmt").encode([genes]))


def test_a_space_of_another_package_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("theirs", "somewhere:space", space_file.GROUP)
    monkeypatch.setattr(space_file, "entry_points", lambda group: [point])
    monkeypatch.setattr(EntryPoint, "load", lambda self: lambda resolution, width: load_space(TINY))
    assert plugin_space_names() == ["theirs"]
    assert load_space("theirs").name == "tiny"
    monkeypatch.setattr(EntryPoint, "load", lambda self: TINY)
    assert load_space("theirs", resolution=64).resolution == 64
    monkeypatch.setattr(EntryPoint, "load", lambda self: 3)
    with pytest.raises(UsageError, match="neither the path"):
        load_space("theirs")
    monkeypatch.undo()
    monkeypatch.setattr(space_file, "entry_points", lambda group: [EntryPoint("theirs", "no.such:space", group)])
    with pytest.raises(UsageError, match="cannot be imported"):
        load_space("theirs")


def test_check_says_what_was_tried() -> None:
    result = CliRunner().invoke(cli, ["space", "check", str(TINY), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["cells"], found["built"], found["networks"], found["is_chain"]) == (20, 20, 3, True)
    told = CliRunner().invoke(cli, ["space", "check", "nasbench201", "--cells", "3", "--networks", "1"])
    assert "15,625 architectures" in told.output
    assert "depend on several choices" in told.output


def test_a_native_form_that_leaves_a_choice_out_is_found(tmp_path: Path) -> None:
    file = tmp_path / "forgetful.toml"
    file.write_text(TINY.read_text().replace('fields = { ks = "kernel", e = "expand" }', 'fields = { ks = "kernel" }'))
    with pytest.raises(UsageError, match=r"is written .* read as"):
        check_space(load_space(file))
    result = CliRunner().invoke(cli, ["space", "check", str(file)])
    assert isinstance(result.exception, UsageError)


def test_two_keys_of_one_graph_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    made = load_space(TINY)
    first = made.workload(made.measurable[0])
    monkeypatch.setattr(Space, "workload", lambda self, cell: first)
    with pytest.raises(ModelError, match="are one graph"):
        check_space(made)


def test_a_network_that_does_not_run_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    made = load_space(TINY)
    with monkeypatch.context() as patch:
        patch.setattr(space_check, "_input", lambda shape, kind: np.full(shape, np.inf, np.float32))
        with pytest.raises(ModelError, match="not finite"):
            check_space(made)
    monkeypatch.setattr(space_check, "RUN_BYTES", 0)
    assert (check_space(made).networks, check_space(made).too_large) == (0, 3)
