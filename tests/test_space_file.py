"""Search spaces from TOML: what the form can say, and how faults are reported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgecost.costmodels.space import Space
from edgecost.costmodels.space_file import load_space, read_space
from edgecost.profiler.errors import UsageError

HEAD = """
name = "small"
title = "A small space"
citation = "none"
resolution = 32
resolutions = [32, 64]
width = 1.0
widths = [0.5, 1.0]

[native]
form = "indices"
"""
STEM = """
[[layer]]
name = "stem"
block = "conv"
out = 16
kernel = 3
stride = 2
"""
STAGE = """
[[layer]]
name = "stage"
block = "inverted_residual"
out = 24
stride = 2
kernel = [3, 5]
expand = [1, 4]
squeeze = [0, 0.25]
act = ["relu", "hard_swish"]
repeat = 2
depth = [1, 2]
"""
TAIL = """
[[layer]]
name = "classifier"
block = "pooled_linear"
out = 10
"""


def read(text: str) -> Space:
    return read_space(text, "small.toml")


def test_lists_are_a_cross_product_whose_first_field_varies_slowest() -> None:
    made = read(HEAD + STEM + STAGE + TAIL)
    names = made.positions[0].names
    assert len(names) == 16
    assert names[0] == "kernel3-expand1-squeeze0-actrelu"
    assert names[1] == "kernel3-expand1-squeeze0-acthard_swish"
    assert names[8].startswith("kernel5")
    assert made.size == 16 + 16**2


def test_a_whole_small_space_can_be_sampled() -> None:
    made = read(HEAD + STEM + STAGE + TAIL)
    archs = made.sample(made.size, seed=0)
    assert len({row.tobytes() for row in archs}) == made.size
    np.testing.assert_array_equal(archs, made.check_arch(archs))
    with pytest.raises(UsageError, match="272"):
        made.sample(made.size + 1, seed=0)


def test_a_layer_without_a_choice_is_fixed_also_when_repeated() -> None:
    made = read(HEAD + STEM + STEM.replace('"stem"', '"more"') + "repeat = 3\n" + TAIL)
    assert [cell.layer for cell in made.fixed] == ["stem", "more", "more", "more", "classifier"]
    assert made.size == 1
    assert made.build(made.sample(1, 0)[0]).kind == "network"


def test_an_elastic_layer_with_one_candidate_is_a_choice() -> None:
    made = read(HEAD + STEM + STEM.replace('"stem"', '"more"') + "repeat = 3\ndepth = [1, 3]\n" + TAIL)
    assert len(made.positions) == 3
    assert made.size == 2


def test_widths_scale_channels_but_not_classes(tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    path.write_text(HEAD + STEM + STAGE + TAIL)
    made = load_space(path, resolution=64, width=0.5)
    assert made.fixed[0].output_shape == (1, 8, 32, 32)
    assert made.positions[0].cells[0].output_shape == (1, 16, 16, 16)
    assert made.fixed[-1].output_shape == (1, 10)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kernel = [3, 5]", "kernel = [3, 4]", "'stage'.*'kernel' 4 is even"),
        ("kernel = [3, 5]", "kernel = []", "'kernel' is an empty list"),
        ("kernel = [3, 5]", "kernal = [3, 5]", "Did you mean 'kernel'"),
        ("out = 24", 'out = "24"', "'out' is '24'"),
        ("out = 24", "out = 24.5", "whole number"),
        ("out = 24", "out = 0", "least is 1"),
        ("out = 24", "out = [24, 32]", "one number here"),
        ("out = 24\n", "", "'stage'.*'out' is missing"),
        ("expand = [1, 4]\n", "", "'expand' is missing"),
        ("depth = [1, 2]", "depth = [1, 3]", "does not fit repeat = 2"),
        ("depth = [1, 2]", "depth = 2", "list of numbers"),
        ('"inverted_residual"', '"residual"', "Choose one of 'conv'"),
        ('"hard_swish"]', '"swash"]', "'act' is 'swash'"),
        ("repeat = 2", "repeat = 2\nskip = 3", "'skip' is 3"),
        ("repeat = 2", "repeat = 2\ngroups = 5", "'groups' 5 does not divide"),
        ("repeat = 2", 'repeat = 2\ncandidates = "some"', "'candidates' is missing"),
        ("repeat = 2", "repeat = 2\ncandidates = [{ kernel = 3 }]", "candidate 0.*'name' is missing"),
        ('name = "stage"', 'name = "stem"', "'stem'.*stands twice"),
        ('form = "indices"', 'form = "list"', "Choose one of 'indices'"),
        ('form = "indices"', 'form = "fields"\nfields = { k = "kernel" }', "'depth' is missing"),
        ('name = "small"', "name = small", "not TOML"),
        ("resolution = 32", "resolution = 33", "33 is not offered"),
        ('citation = "none"\n', "", "'citation' is missing"),
        ('citation = "none"', 'citation = "none"\ninput = "spectrogram"', "'input_bands' is missing"),
        ('citation = "none"', 'citation = "none"\ninput_bands = 64', "'input_bands' is of no use"),
        ('citation = "none"', 'citation = "none"\ninput_bands = 64\ninput = "sound"', "'input' is 'sound'"),
        ('block = "pooled_linear"\nout = 10', 'block = "linear"\nout = 10\nrepeat = 2', "behind a linear layer"),
    ],
)
def test_a_fault_is_reported_with_file_field_and_remedy(old: str, new: str, message: str) -> None:
    text = HEAD + STEM + STAGE + TAIL
    assert old in text
    with pytest.raises(UsageError, match=message) as caught:
        read(text.replace(old, new, 1))
    assert caught.value.message.startswith("small.toml")
    assert caught.value.remedy


def test_a_space_without_layers_is_refused() -> None:
    with pytest.raises(UsageError, match="'layer' is missing"):
        read(HEAD)


def test_an_unknown_space_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"(?s)no search space 'mobilenet'.*ofa-mobilenetv3"):
        load_space("mobilenet")
    with pytest.raises(UsageError, match="no search space"):
        load_space(tmp_path / "none.toml")


@pytest.mark.parametrize(("resolution", "width"), [(225, None), (None, 1.1)])
def test_a_resolution_or_width_that_is_not_offered_is_refused(resolution: int | None, width: float | None) -> None:
    with pytest.raises(UsageError, match="is not offered"):
        load_space("ofa-mobilenetv3", resolution=resolution, width=width)
