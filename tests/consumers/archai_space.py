"""The smallest space that archai's searches accept, of architectures without networks. Imports archai.

Classes stand in a module because archai's ``overrides`` looks for their bases among the module's names.
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
from archai.discrete_search.api import ArchaiModel, ModelEvaluator
from archai.discrete_search.api.search_space import BayesOptSearchSpace, EvolutionarySearchSpace
from overrides import overrides

from edgecost.costmodels.space import Space


def model_of(arch: np.ndarray) -> ArchaiModel:
    return ArchaiModel(arch=None, archid=".".join(map(str, arch.tolist())), metadata={"arch": arch})


def arch_of(model: ArchaiModel) -> np.ndarray:
    return model.metadata["arch"]


class Archs(EvolutionarySearchSpace, BayesOptSearchSpace):
    """Every place has a candidate: for spaces without elastic stages."""

    def __init__(self, space: Space) -> None:
        self.space, self.random = space, random.Random(0)

    @overrides
    def save_arch(self, model, file_path) -> None:
        Path(file_path).write_text(model.archid)

    @overrides
    def load_arch(self, file_path):
        return model_of(np.array([int(index) for index in Path(file_path).read_text().split(".")]))

    @overrides
    def save_model_weights(self, model, file_path) -> None:
        """There are none."""

    @overrides
    def load_model_weights(self, model, file_path) -> None:
        """There are none."""

    @overrides
    def random_sample(self) -> ArchaiModel:
        return model_of(self.space.sample(1, self.random.randrange(10**6))[0])

    @overrides
    def mutate(self, arch) -> ArchaiModel:
        changed = arch_of(arch).copy()
        place = self.random.randrange(len(changed))
        changed[place] = self.random.randrange(len(self.space.positions[place].names))
        return model_of(changed)

    @overrides
    def crossover(self, arch_list) -> ArchaiModel:
        first, second = (arch_of(one) for one in arch_list[:2])
        return model_of(np.where(np.arange(len(first)) % 2, first, second))

    @overrides
    def encode(self, arch) -> np.ndarray:
        return arch_of(arch).astype(float)


class Work(ModelEvaluator):
    """Something to be large while latency is to be small."""

    @overrides
    def evaluate(self, arch, budget=None) -> float:
        return float(arch_of(arch).sum())
