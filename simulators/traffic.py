"""Who presses at random, when and for how long: load for a gateway. Pure.

Times between presses and lengths of talks are exponential, as calls of many people are.
"""

import dataclasses
import random
from collections.abc import Iterator, Sequence


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """From at_s on, for_s long, presses_s presses a second."""

    at_s: float
    for_s: float
    presses_s: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Press:
    """at_s: after the start. who: an index among those who press. seconds: how long."""

    at_s: float
    who: int
    seconds: float


def presses(
    *, people: int, presses_s: float, talk_s: float, peaks: Sequence[Peak], seed: int | None
) -> Iterator[Press]:
    """Without end, in order of time; none where nobody ever presses. talk_s: the mean length; no
    talk is shorter than 0.2 s or longer than four times the mean."""
    chance = random.Random(seed)
    at_s = 0.0
    ends = sorted({edge for peak in peaks for edge in (peak.at_s, peak.at_s + peak.for_s)})
    while people:
        rate = presses_s + sum(p.presses_s for p in peaks if p.at_s <= at_s < p.at_s + p.for_s)
        edge = next((each for each in ends if each > at_s), None)
        next_s = at_s + chance.expovariate(rate) if rate > 0 else None
        if next_s is None and edge is None:
            return
        if edge is not None and (next_s is None or next_s >= edge):
            at_s = edge  # exponential times have no memory: draw anew from here on
            continue
        assert next_s is not None
        at_s = next_s
        seconds = min(max(chance.expovariate(1 / talk_s), 0.2), 4 * talk_s)
        yield Press(at_s=at_s, who=chance.randrange(people), seconds=seconds)
