"""The smallest independent readers of lists and sample sets of whole networks, written from their grammars alone.

They share nothing with edgecost. Pickles are opened by a reader that knows no class: it accepts what our files may
hold, built-in containers and numbers, and refuses everything that could run.
"""

from __future__ import annotations

import ast
import bz2
import csv
import io
import pickle
import zipfile
from pathlib import Path

import numpy as np


class PlainUnpickler(pickle.Unpickler):
    """Refuses every class and function; a set is the only thing that is no literal of the protocol's own."""

    def find_class(self, module: str, name: str) -> object:
        raise AssertionError(f"the file names {module}.{name}: a reader would import it")


def plain_pickle(content: bytes) -> object:
    return PlainUnpickler(io.BytesIO(content)).load()


def bz2_pickle(path: Path) -> object:
    return plain_pickle(bz2.decompress(path.read_bytes()))


def torch_list(path: Path) -> object:
    """What torch keeps of an object without tensors: a pickle in a zip archive, without a persistent id."""
    with zipfile.ZipFile(path) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        return plain_pickle(archive.read(name))


def one_hot_csv(path: Path, sizes: list[int]) -> list[tuple[list[int], float]]:
    """nnabla-nas: groups of the given sizes, each with one 1, and the number."""
    rows = []
    for line in path.read_text().split("\n")[:-1]:
        *hot, value = line.split(",")
        assert len(hot) == sum(sizes)
        chosen, start = [], 0
        for size in sizes:
            group = hot[start : start + size]
            assert sorted(group) == ["0"] * (size - 1) + ["1"]
            chosen.append(group.index("1"))
            start += size
        rows.append((chosen, float(value)))
    return rows


def dynas_rows(path: Path) -> list[tuple[dict[str, list[float]], dict[str, str]]]:
    """DyNAS-T: the first column is a Python literal, the others are known by their place."""
    _, *rows = csv.reader(path.read_text().splitlines())
    names = ("date", "params", "latency", "macs", "accuracy_top1")
    return [(ast.literal_eval(arch), dict(zip(names, rest, strict=True))) for arch, *rest in rows]


def dynas_one_hot(arch: dict[str, list[float]]) -> list[int]:
    """DyNAS-T's generic vector: every kernel, then every expansion, then every depth, ascending choices."""
    groups = [(arch["ks"], (3, 5, 7)), (arch["e"], (3, 4, 6)), (arch["d"], (2, 3, 4))]
    return [int(value == choice) for values, choices in groups for value in values for choice in choices]


def quartile_mean(runs: list[list[float]]) -> float:
    """Eagle: the mean of what lies between the quartiles, of each session, then of the sessions."""

    def within(values: list[float]) -> float:
        low, high = np.percentile(values, [25, 75])
        kept = [value for value in values if low <= value <= high]
        return sum(kept) / len(kept) if kept else float("nan")

    return within([within(session) for session in runs])
