"""What a bad network does to the packets of one sender."""

import asyncio
import random
from collections.abc import Callable

HELD_BACK_S = 0.09
"""A packet that is to be overtaken waits so long: one or two of the next ones pass it."""
TWICE_WITHIN_S = 0.1
APART_S = 1e-6
"""Timers of one time run in any order."""


class Disturbance:
    """Loses, doubles, delays and reorders; all may be changed at any time.

    loss, duplicate, reorder: parts of the packets, 0 to 1. delay_s: each is late by a random time
    up to it, but none overtakes another for that. lost, doubled, held_back: counted.
    """

    def __init__(self, chance: random.Random, *, loss: float = 0.0) -> None:
        self.loss = loss
        self.duplicate = 0.0
        self.reorder = 0.0
        self.delay_s = 0.0
        self.lost = self.doubled = self.held_back = 0
        self._chance = chance
        self._last_s = 0.0
        self._timers: set[asyncio.TimerHandle] = set()

    def loses(self) -> bool:
        """Whether the next packet is lost; counts it then."""
        lost = self._hits(self.loss)
        self.lost += lost
        return lost

    def send(self, packet: bytes, deliver: Callable[[bytes], None]) -> None:
        """Deliver a packet as the network lets it through, not at all perhaps."""
        if self.loses():
            return
        now_s = asyncio.get_running_loop().time()
        at_s = now_s + self._chance.uniform(0, self.delay_s)
        if self._last_s > now_s:
            at_s = max(at_s, self._last_s + APART_S)
        if self._hits(self.reorder):
            self.held_back += 1
            at_s += HELD_BACK_S
        else:
            self._last_s = at_s
        self._deliver(at_s, packet, deliver)
        if self._hits(self.duplicate):
            self.doubled += 1
            self._deliver(at_s + self._chance.uniform(0, TWICE_WITHIN_S), packet, deliver)

    def close(self) -> None:
        """What is still on its way never arrives."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _hits(self, part: float) -> bool:
        return part > 0 and self._chance.random() < part

    def _deliver(self, at_s: float, packet: bytes, deliver: Callable[[bytes], None]) -> None:
        loop = asyncio.get_running_loop()
        if at_s <= loop.time() and not self._timers:
            deliver(packet)
            return

        def arrive() -> None:
            self._timers.discard(timer)
            deliver(packet)

        timer = loop.call_at(at_s, arrive)
        self._timers.add(timer)
