"""Who bridges: one lease, on the broker alone.

Retained `bridge/lease`, renewed every 0.5 s, lost after 1.5 s on the watcher's own clock. A
candidate claims the next epoch; the first claim of an epoch to come back on the topic wins, so
the broker's order decides. Whoever hears a higher claim stops, and so does a holder whose own
renewals do not come back: it is cut off, and somebody else may bridge already. Claims and renewals
have a connection of their own: behind thousands of events they would come too late.
"""

import asyncio
import random
from collections.abc import Callable

import structlog

from gateway.bus.client import Bus
from gateway.bus.messages import decode, encode
from gateway.bus.presence import Presence

log = structlog.get_logger("bridge-lease")

RENEW_EVERY_S = 0.5
LOST_AFTER_S = 1.5
LOOK_EVERY_S = 0.1
CLAIM_ANSWERED_WITHIN_S = 0.2


class BridgeLease:
    """`held` says whether our decisions count; `run` keeps trying until cancelled."""

    def __init__(self, bus: Bus, presence: Presence) -> None:
        self.bridge_epoch = 0
        self.held = False
        self._bus = bus
        self._presence = presence
        self._loop = asyncio.get_running_loop()
        self._me = f"{bus.node}/{bus.epoch}"
        self._highest = 0
        self._owner = ""
        self._heard_s = 0.0
        self._claim = 0
        self._won: list[Callable[[], None]] = []
        self._lost: list[Callable[[], None]] = []
        bus.subscribe(bus.topics.bridge_lease(), self._heard, apart=True)
        bus.on_lost(self._forget)

    def on_won(self, callback: Callable[[], None]) -> None:
        self._won.append(callback)

    def on_lost(self, callback: Callable[[], None]) -> None:
        self._lost.append(callback)

    async def run(self) -> None:
        while True:
            await self._bus.connected.wait()
            if self.held and not self._must_claim_anew():
                self._renew()
                await asyncio.sleep(RENEW_EVERY_S)
            elif self._owner and not self.held and not self._silent():
                await asyncio.sleep(LOOK_EVERY_S)
            else:
                await self._try_to_win()

    @property
    def held_elsewhere(self) -> bool:
        """Does another node bridge, as far as we hear?"""
        return self._owner not in ("", self._me) and not self._silent()

    def _silent(self) -> bool:
        return self._loop.time() - self._heard_s >= LOST_AFTER_S

    def _must_claim_anew(self) -> bool:
        """Our renewals do not come back; or an agent obeys a higher epoch, from before the broker
        lost its memory, and would refuse all that we say."""
        if self._silent():
            log.warning("bridge lease lost: our renewals do not come back")
        elif self._highest_obeyed() <= self.bridge_epoch:
            return False
        self._forget()
        return True

    async def _try_to_win(self) -> None:
        """Wait for what is retained, then claim the epoch above all that anybody obeys."""
        await asyncio.sleep(random.uniform(0.02, 0.08))
        if self._owner and not self._silent():
            return
        self._claim = max(self._highest, self._highest_obeyed()) + 1
        payload = self._payload(self._claim)
        self._bus.publish_retained(self._bus.topics.bridge_lease(), payload)
        await asyncio.sleep(CLAIM_ANSWERED_WITHIN_S)

    def _highest_obeyed(self) -> int:
        """What agents say in their status: a broker that lost its memory brings no epoch back."""
        said = [status.get("bridge_epoch") for status in self._presence.nodes().values()]
        return max((epoch for epoch in said if isinstance(epoch, int)), default=0)

    def _renew(self) -> None:
        """The claim stays retained; what is retained anew, a broker stores before it passes it on,
        and a busy one takes its time."""
        payload = self._payload(self.bridge_epoch)
        self._bus.publish(self._bus.topics.bridge_lease(), payload, qos=0, apart=True)

    def _payload(self, epoch: int) -> bytes:
        return encode(
            {
                "node": self._bus.node,
                "epoch": self._bus.epoch,
                "bridge_epoch": epoch,
                "ttl_ms": int(LOST_AFTER_S * 1000),
            }
        )

    def _heard(self, _topic: str, payload: bytes) -> None:
        lease = decode(payload)
        epoch, node, life = lease.get("bridge_epoch"), lease.get("node"), lease.get("epoch")
        if not isinstance(epoch, int) or not isinstance(node, str):
            raise ValueError("a bridge lease without node or bridge_epoch")
        writer = f"{node}/{life}"
        if epoch < self._highest or (epoch == self._highest and self._owner not in ("", writer)):
            return
        first = self._highest == 0
        self._highest, self._owner, self._heard_s = epoch, writer, self._loop.time()
        if writer == self._me:
            self._heard_of_us(epoch)
            return
        if self.held:
            log.warning("another node bridges", node=node, bridge_epoch=epoch)
            self._stop()
        if first and node == self._bus.node:
            self._owner = ""  # our own earlier life, gone with its process

    def _heard_of_us(self, epoch: int) -> None:
        if epoch != self._claim:
            self._owner = ""  # what we held before we lost it; only a new claim counts
            return
        if self.held:
            return
        self.held, self.bridge_epoch = True, epoch
        log.info("this node bridges", bridge_epoch=epoch)
        self._bus.obeys_bridge(epoch)
        for callback in self._won:
            callback()

    def _forget(self) -> None:
        """Nobody is known to bridge: the broker is gone, or our lease is."""
        self._owner = ""
        self._stop()

    def _stop(self) -> None:
        self._claim = 0
        if not self.held:
            return
        self.held = False
        for callback in self._lost:
            callback()
