"""Prices of the cells of a grid in batches: each kernel that cells of a batch share once, and known ones not again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..kernel_arrays.prices import RowPricer, RowPrices
from ..predictor import LatencyPredictor
from .branching import Leaf
from .cells import Cells, Ints
from .forms import KernelForm, Sizes
from .learning import Ask, Learnt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

#: What a cell's price comes from: every kernel lies inside what was measured of its kind; one lies outside of it, and
#: physics extrapolates; one has no price, and so has the cell none.
SOURCES = ("predicted", "extrapolated", "unsupported")
#: Kernels whose prices are kept between batches: some 40 megabytes.
_KNOWN_MAX = 1 << 20
#: Codes of kernels are whole numbers below this.
_CODE_MAX = 1 << 62


@dataclass(frozen=True, eq=False)
class CellPrices:
    """What each cell of a batch costs; all of shape (cells,).

    Attributes:
        latency_ms: NaN where a kernel has no price.
        lo_ms, hi_ms: the interval, as ``GraphPrice`` has it; NaN where there is none.
        source: places in ``SOURCES``.
    """

    latency_ms: Floats
    lo_ms: Floats
    hi_ms: Floats
    source: Ints


@dataclass(frozen=True, eq=False)
class _Known:
    """Prices by code, the codes ascending."""

    codes: Ints
    prices: RowPrices


class GridPricer:
    """Prices cells by one predictor.

    Args:
        learnt: of the part of a grid whose cells are priced.
        limits: the largest value of each size in it.
        ask: the optimiser, for cells that the fast way does not know.

    Attributes:
        asked: cells that were asked one by one.
        kernels: distinct kernels that were priced.
    """

    def __init__(
        self, predictor: LatencyPredictor, learnt: Learnt, limits: Mapping[str, int], ask: Ask, alpha: float = 0.1
    ) -> None:
        self.asked = 0
        self.kernels = 0
        self._predictor, self._learnt, self._limits, self._ask, self._alpha = predictor, learnt, limits, ask, alpha
        self._rows = RowPricer(predictor, alpha)
        self._known: dict[KernelForm, _Known] = {}

    def price(self, cells: Cells) -> CellPrices:
        """Raises what the optimiser raises for cells that it is asked for."""
        latency, low, high = (np.full(cells.count, math.nan) for _ in range(3))
        found = CellPrices(latency, low, high, np.zeros(cells.count, np.int64))
        families, sizes = cells.families, cells.sizes
        for number in np.unique(families).tolist():
            own = np.flatnonzero(families == number)
            family = self._learnt.families.get(number)
            leaves = [(Leaf(None), own)] if family is None else family.tree.leaves(sizes, own)
            for leaf, chosen in leaves:
                if leaf.forms is None:
                    part = self._price_one_by_one(cells, chosen)
                else:
                    part = self._price_forms(
                        leaf.forms, {name: one[chosen] for name, one in sizes.items()}, len(chosen)
                    )
                for name in ("latency_ms", "lo_ms", "hi_ms", "source"):
                    getattr(found, name)[chosen] = getattr(part, name)
        return found

    def _price_one_by_one(self, cells: Cells, chosen: Ints) -> CellPrices:
        self.asked += len(chosen)
        prices = self._predictor.price([self._ask(cells, place) for place in chosen.tolist()], alpha=self._alpha)
        latency = np.array([math.nan if one.is_lower_bound else one.total_ms for one in prices])
        bounds = np.array([(one.lo_ms, one.hi_ms) for one in prices], np.float64)
        outside = np.array([any(kernel.source == "predicted" for kernel in one.kernels) for one in prices])
        return CellPrices(latency, bounds[:, 0], bounds[:, 1], _sources(latency, outside))

    def _price_forms(self, forms: Sequence[KernelForm], sizes: Sizes, count: int) -> CellPrices:
        """Sums over kernels, in the order in which ``prices.summed`` adds them."""
        total, reaches, outside = np.zeros(count), np.zeros(count), np.zeros(count, bool)
        for form in forms:
            one = self._price_form(form, sizes, count)
            total = total + one.latency_ms
            reaches = reaches + one.latency_ms * one.reach
            outside |= one.is_outside
        radius = reaches / total
        radius[~np.isfinite(radius)] = math.nan
        return CellPrices(total, total * np.exp(-radius), total * np.exp(radius), _sources(total, outside))

    def _price_form(self, form: KernelForm, sizes: Sizes, count: int) -> RowPrices:
        """One kernel of each cell; those that agree in all sizes that it depends on have the same."""
        codes, lasting = self._codes(form.parameters, sizes, count)
        distinct, first, place = np.unique(codes, return_index=True, return_inverse=True)
        known = self._known.get(form) if lasting else None
        if known is None:
            priced = self._price_rows(form, sizes, first)
            self._keep(form, _Known(distinct, priced), lasting)
            return _taken(priced, place)
        at = np.minimum(np.searchsorted(known.codes, distinct), len(known.codes) - 1)
        is_new = known.codes[at] != distinct
        if is_new.any():
            known = _merged(known, _Known(distinct[is_new], self._price_rows(form, sizes, first[is_new])))
            self._keep(form, known, lasting)
            at = np.searchsorted(known.codes, distinct)
        return _taken(known.prices, at[place])

    def _codes(self, names: Sequence[str], sizes: Sizes, count: int) -> tuple[Ints, bool]:
        """A number for each combination of sizes, and whether it is the same in other batches."""
        codes, limit, lasting = np.zeros(count, np.int64), 1, True
        for name in names:
            width = self._limits[name] + 1
            if limit * width > _CODE_MAX:
                # Numbered anew, among those that are here.
                distinct, codes = np.unique(codes, return_inverse=True)
                limit, lasting = len(distinct), False
            codes, limit = codes * width + sizes[name], limit * width
        return codes, lasting

    def _price_rows(self, form: KernelForm, sizes: Sizes, places: Ints) -> RowPrices:
        self.kernels += len(places)
        return self._rows.price(form.rows({name: sizes[name][places] for name in form.parameters}, len(places)))

    def _keep(self, form: KernelForm, known: _Known, lasting: bool) -> None:
        if not lasting:
            return
        if sum(len(one.codes) for one in self._known.values()) + len(known.codes) > _KNOWN_MAX:
            # What the next batches need comes again with them.
            self._known.clear()
        if len(known.codes) <= _KNOWN_MAX:
            self._known[form] = known


def _sources(latency_ms: Floats, outside: Flags) -> Ints:
    return np.where(np.isnan(latency_ms), 2, outside.astype(np.int64))


def _taken(prices: RowPrices, places: Ints) -> RowPrices:
    return RowPrices(prices.latency_ms[places], prices.reach[places], prices.is_outside[places])


def _merged(known: _Known, new: _Known) -> _Known:
    codes = np.concatenate([known.codes, new.codes])
    order = np.argsort(codes, kind="stable")
    pairs = [(getattr(known.prices, name), getattr(new.prices, name)) for name in ("latency_ms", "reach", "is_outside")]
    return _Known(codes[order], RowPrices(*(np.concatenate(pair)[order] for pair in pairs)))
