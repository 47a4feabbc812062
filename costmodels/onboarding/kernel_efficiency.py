"""What more kernels of a new device would bring: by how much less uncertain its shift would be, by its own account.

That needs no latency of the kernels that would be measured next, only which they are. The trees' part of the error,
which the known device has as well, stays: no kernel of the new device changes it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..space_models.efficiency import MORE, EfficiencyReport, Gain
from .kernel_shift import Columns, Shift, choose_kernels, expected_deviation

Ints = npt.NDArray[np.int64]

#: Of a normal variable, the mean size beside the standard deviation.
_MEAN_SIZE = math.sqrt(2 / math.pi)


def kernel_efficiency(
    columns: Columns,
    shift: Shift,
    measured: Ints,
    candidates: Ints,
    error_percent: float,
    more: Sequence[int] = MORE,
) -> EfficiencyReport:
    """The expected mean error with more kernels, chosen as ``choose_kernels`` would go on.

    Args:
        columns: of all kernels of the known device, and ``shift`` what was learned from those in ``measured``.
        candidates: rows that may be measured, in ``measured`` or not.
        error_percent: mean absolute error now, on kernels that were left out.
    """
    order = choose_kernels(columns, candidates, len(measured) + max(more)).tolist()
    following = [row for row in order if row not in set(measured.tolist())]
    now = expected_deviation(columns, shift, measured)
    share = min(1.0, (100 * _MEAN_SIZE * now / error_percent) ** 2) if error_percent > 0 else 1.0
    gains = []
    for extra in more:
        if extra <= len(following):
            rows = np.concatenate([measured, np.array(following[:extra], np.int64)])
            left = expected_deviation(columns, shift, rows) / now
            gains.append(Gain(extra, error_percent * math.sqrt(1 - share + share * left**2), None, None))
    return EfficiencyReport(len(measured), error_percent, "the model's own uncertainty", None, tuple(gains))
