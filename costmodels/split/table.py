"""Every cut of a network with what it costs, and the best of them; the table of split computing.

Its form, head, link and tail beside everything on the device and everything on the server, is that of BottleFit
(Matsubara et al., "BottleFit: Learning Compressed Representations in Deep Neural Networks for Effective and Efficient
Split Computing", WoWMoM 2022); that a cut is chosen by predicted layers is Neurosurgeon's (Kang et al., ASPLOS 2017).
Nothing is trained here: bottlenecks are what the network has, and accuracy is not looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from .cuts import CutPoint
from .link import Link
from .prices import HalfPrice


@dataclass(frozen=True)
class Question:
    """What is asked of a network.

    Attributes:
        tensors_max: how many tensors may cross at once.
        compress: floats of 32 bits cross as whole numbers of 8.
        round_trip: what the tail makes is wanted on the board.
        radio_mw: what the board's radio takes while it sends or receives, beyond the rest; None is not known.
        idle_mw: what the board takes while it waits for link and tail; None counts no waiting.
    """

    link: Link
    tensors_max: int = 2
    compress: bool = False
    round_trip: bool = False
    radio_mw: float | None = None
    idle_mw: float | None = None


@dataclass(frozen=True)
class BoardEnergy:
    """What one inference takes of the board.

    Attributes:
        lo_mj, hi_mj: interval of the head's share, the others as they were given; None where there is none.
        radio_mj: None where something crosses and nobody said what the radio takes.
        waiting_mj: None where it is not counted.
        is_lower_bound: a part of it is not known, and is left out.
    """

    energy_mj: float
    lo_mj: float | None
    hi_mj: float | None
    radio_mj: float | None
    waiting_mj: float | None
    is_lower_bound: bool


@dataclass(frozen=True)
class SplitCut:
    """One cut.

    Attributes:
        number: place among the cuts, from 0.
        answer_bytes: what goes back; 0 where nothing is asked back.
        link_ms: there, and back where that is asked; 0 where nothing crosses.
        sending_ms: of it, what the radio is busy.
        total_ms: None where neither half has any price.
        lo_ms, hi_ms: sums of the ends of both halves' intervals.
        interval_coverage: what the interval holds at the least: that of the halves where one of them does all, else
            by Bonferroni's inequality.
        is_lower_bound: a kernel of a half has no price.
        energy: None where the head's is not known.
    """

    number: int
    point: CutPoint
    head: HalfPrice
    tail: HalfPrice
    answer_bytes: int
    link_ms: float
    sending_ms: float
    total_ms: float | None
    lo_ms: float | None
    hi_ms: float | None
    interval_coverage: float
    is_lower_bound: bool
    energy: BoardEnergy | None

    def document(self) -> dict[str, object]:
        """As JSON."""
        return {
            "number": self.number,
            "position": self.point.position,
            "after": self.point.after,
            "crossing": [asdict(one) for one in self.point.crossing],
            "crossing_bytes": self.point.size_bytes,
            "answer_bytes": self.answer_bytes,
            "head": asdict(self.head),
            "link_ms": self.link_ms,
            "tail": asdict(self.tail),
            "total_ms": self.total_ms,
            "lo_ms": self.lo_ms,
            "hi_ms": self.hi_ms,
            "interval_coverage": self.interval_coverage,
            "is_lower_bound": self.is_lower_bound,
            "board_energy": None if self.energy is None else asdict(self.energy),
        }


@dataclass(frozen=True)
class Best:
    """The cut with the smallest known number.

    Attributes:
        number: of the cut; None where no cut has a number without a gap.
        maybe: cuts with a lower bound below it: with what is missing they may be better or worse.
        close: cuts whose interval reaches below the upper end of its own.
    """

    number: int | None
    maybe: tuple[int, ...] = ()
    close: tuple[int, ...] = ()


@dataclass(frozen=True)
class Split:
    """A network on two devices.

    Attributes:
        cuts: in the order of the network: the first is everything on the tail, the last everything on the head.
        too_many, unknown: positions that are left out (``CutPoints``).
    """

    network: str
    cuts: tuple[SplitCut, ...]
    too_many: int
    unknown: int

    @property
    def fastest(self) -> Best:
        return _best([(one.total_ms, one.lo_ms, one.hi_ms, one.is_lower_bound) for one in self.cuts])

    @property
    def thriftiest(self) -> Best:
        found = [one.energy for one in self.cuts]
        return _best(
            [
                (None, None, None, True) if one is None else (one.energy_mj, one.lo_mj, one.hi_mj, one.is_lower_bound)
                for one in found
            ]
        )


#: What the interval of one half holds.
_HALF_COVERAGE = 0.9


def split_cut(
    number: int, point: CutPoint, head: HalfPrice, tail: HalfPrice, answer_bytes: int, question: Question
) -> SplitCut:
    """Add up one cut.

    Args:
        answer_bytes: of what the tail makes; it goes back only where that is asked.
    """
    link, returns = question.link, question.round_trip and answer_bytes > 0
    link_ms = sending_ms = 0.0
    for size_bytes, crosses in ((point.size_bytes, bool(point.crossing)), (answer_bytes, returns)):
        if crosses:
            link_ms += link.crossing_ms(size_bytes)
            sending_ms += link.sending_ms(size_bytes)
    working = [one for one in (head, tail) if one.source != "nothing"]
    known = [one.latency_ms for one in working if one.latency_ms is not None]
    low, high = _added(head.lo_ms, tail.lo_ms, link_ms), _added(head.hi_ms, tail.hi_ms, link_ms)
    return SplitCut(
        number=number,
        point=point,
        head=head,
        tail=tail,
        answer_bytes=answer_bytes if returns else 0,
        link_ms=link_ms,
        sending_ms=sending_ms,
        total_ms=sum(known) + link_ms if known else None,
        lo_ms=low,
        hi_ms=high,
        interval_coverage=round(1 - len(working) * (1 - _HALF_COVERAGE), 2),
        is_lower_bound=head.is_lower_bound or tail.is_lower_bound,
        energy=_board_energy(head, tail, link_ms, sending_ms, question),
    )


def _board_energy(
    head: HalfPrice, tail: HalfPrice, link_ms: float, sending_ms: float, question: Question
) -> BoardEnergy | None:
    if head.energy is None:
        return None
    radio_mj = None if question.radio_mw is None else question.radio_mw * sending_ms / 1e3
    if not link_ms:
        radio_mj = 0.0
    waiting_mj = None
    lacks = head.energy.is_lower_bound or radio_mj is None
    if question.idle_mw is not None:
        waiting_mj = question.idle_mw * (link_ms + (tail.latency_ms or 0.0)) / 1e3
        lacks = lacks or tail.is_lower_bound
    rest_mj = (radio_mj or 0.0) + (waiting_mj or 0.0)
    bounded = not lacks and head.energy.lo_mj is not None and head.energy.hi_mj is not None
    return BoardEnergy(
        energy_mj=head.energy.energy_mj + rest_mj,
        lo_mj=_added(head.energy.lo_mj, rest_mj) if bounded else None,
        hi_mj=_added(head.energy.hi_mj, rest_mj) if bounded else None,
        radio_mj=radio_mj,
        waiting_mj=waiting_mj,
        is_lower_bound=lacks,
    )


def _added(*values: float | None) -> float | None:
    """The sum; None where a part is not known."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _best(numbers: Sequence[tuple[float | None, float | None, float | None, bool]]) -> Best:
    """Of (value, low, high, whether the value is a lower bound) by cut; of equal ones the first."""
    whole = [(value, place) for place, (value, _, _, lacks) in enumerate(numbers) if value is not None and not lacks]
    if not whole:
        return Best(None)
    least, best = min(whole)
    high = numbers[best][2]
    maybe = [place for place, (value, _, _, lacks) in enumerate(numbers) if lacks and (value is None or value < least)]
    close = [
        place
        for place, (_, low, _, lacks) in enumerate(numbers)
        if place != best and not lacks and high is not None and low is not None and low <= high
    ]
    return Best(best, tuple(maybe), tuple(close))
