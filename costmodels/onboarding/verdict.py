"""Whether a device that was learnt from few samples may be believed: in a word, with the reasons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Word = Literal["go", "with care", "no-go"]

#: Mean leave-one-out error up to which a model decides by itself, and above which it decides nothing.
GO_PERCENT, NO_GO_PERCENT = 5.0, 15.0
#: Of the error of a guess that knows no architecture (the median of the other samples): a model that leaves more than
#: the second share of it has hardly learnt anything, however small its error is.
GO_SHARE, NO_GO_SHARE = 0.5, 0.75
#: With fewer samples no error is known well enough for a plain go.
GO_SAMPLES = 10


@dataclass(frozen=True)
class Verdict:
    """``go``, ``with care`` or ``no-go``; ``advice`` says what to do now."""

    word: Word
    advice: str


def judge(samples: int, error_percent: float, spread_percent: float) -> Verdict:
    """The verdict on a leave-one-out error.

    Args:
        spread_percent: error of guessing the median of the other samples.
    """
    if error_percent > NO_GO_SHARE * spread_percent:
        return Verdict("no-go", "it tells networks apart hardly better than one number for all: measure more")
    if error_percent > NO_GO_PERCENT:
        return Verdict("no-go", "the error is too large to choose by: measure more")
    if samples < GO_SAMPLES:
        return Verdict("with care", f"{samples} samples say little of the error itself: measure more")
    if error_percent <= GO_PERCENT and error_percent <= GO_SHARE * spread_percent:
        return Verdict("go", "good to choose networks by; measure the last few before they are deployed")
    return Verdict("with care", "good to sort out the slow ones; measure those that you would choose")
