"""A host with its radios: they press, the feed tells of it as MMDVMHost does."""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from typing import Any, Literal, Self

from simulators.mmdvm_host import documents
from simulators.mmdvm_host.documents import Dialect, Talk
from simulators.mqtt_publisher import BrokerPlace, Publisher

SLOTTED = frozenset({"DMR"})


class Radio:
    """A radio that the host hears. unit: its id, or call sign. Made by `MmdvmHost.radio`."""

    def __init__(self, host: "MmdvmHost", unit: str, info: str, mode: str) -> None:
        self.unit, self.info, self.mode = unit, info, mode
        self._host = host
        self._talk: Talk | None = None

    @property
    def pressing(self) -> bool:
        return self._talk is not None

    def press(
        self,
        destination: int | str,
        slot: int = 1,
        *,
        group: bool = True,
        late: bool = False,
        limit_s: float | None = None,
    ) -> bool:
        """Talk to a group, or to one unit; False when a radio is heard on that slot already.

        late: the host has missed the beginning. limit_s: it is released after that.
        """
        talk = self._subject("rf", destination, slot, group=group)
        if self._talk is not None or not self._host._begin(talk, late=late):
            return False
        self._talk = talk
        if limit_s is not None:
            self._host._later(limit_s, self.release)
        return True

    def release(self) -> None:
        self._stop("end")

    def vanish(self) -> None:
        """Stop without a terminator: the host notices that it is lost."""
        self._stop("lost")

    def time_out(self) -> None:
        """It talked for longer than the host lets it; it goes on until it is released."""
        if self._talk is not None:
            self._host._say(documents.ended(self._talk, "timeout", self._host.clock()))

    def say_alias(self, text: str) -> None:
        """A piece of its talker alias arrives."""
        if self._talk is not None:
            self._host._say(documents.alias(self._talk, text, self._host.clock()))

    def call_emergency(self, destination: int | str, slot: int = 1) -> None:
        """A CSBK that asks for help, without a talk."""
        talk = self._subject("rf", destination, slot)
        at, dialect = self._host.clock(), self._host.dialect
        said = documents.began(talk, "csbk", at, dialect, csbk_desc="Call Emergency")
        self._host._say(said)

    def send_data(self, destination: int | str, slot: int = 1, *, blocks: int = 4) -> None:
        """A text or a position: begins and ends like a talk, and is none."""
        talk = self._subject("rf", destination, slot)
        at = self._host.clock()
        self._host._say(documents.began(talk, "start", at, self._host.dialect, frames=blocks))
        self._host._say(documents.ended(talk, "end", self._host.clock()))

    def be_rejected(self, destination: int | str, slot: int = 1) -> None:
        """The host's own lists refuse it."""
        talk = self._subject("rf", destination, slot)
        said = documents.began(talk, "rejected", self._host.clock(), self._host.dialect)
        self._host._say(said)

    def _stop(self, action: str) -> None:
        if self._talk is not None:
            self._host._finish(self._talk, action)
            self._talk = None

    def _subject(
        self,
        source: Literal["rf", "network"],
        destination: int | str,
        slot: int,
        *,
        group: bool = True,
    ) -> Talk:
        return Talk(
            mode=self.mode,
            slot=slot if self.mode in SLOTTED else 0,
            source=source,
            unit=self.unit,
            info=self.info or self.unit,
            destination=str(destination),
            group=group,
        )


class MmdvmHost:
    """One host. Use as an async context manager.

    name: of its topics. dialect: ``ids`` (source_id …) or ``src`` (src_id …). period_s: between
    two measurements of a radio that is heard. client_id: ``MMDVMHost.{pid}`` if left out, which
    nats-server refuses for its full stop.

    Faults, to be set at any time: those of `feed` (a `Publisher`); no_ends leaves every end out;
    rssi_dbm and bit_error_percent are what it measures; with measures False it tells neither;
    clock_offset_s is the error of its clock.
    """

    def __init__(
        self,
        place: BrokerPlace,
        *,
        name: str = "mmdvm",
        dialect: Dialect = "ids",
        period_s: float = 1.0,
        client_id: str | None = None,
        seed: int | None = None,
    ) -> None:
        self.name, self.dialect, self.period_s = name, dialect, period_s
        self.no_ends = False
        self.measures = True
        self.rssi_dbm = -64
        self.bit_error_percent = 0.4
        self.clock_offset_s = 0.0
        self.radios: dict[str, Radio] = {}
        self._heard: dict[tuple[str, int], Talk] = {}
        self._began_s: dict[Talk, float] = {}
        self._measuring: asyncio.Task[None] | None = None
        self._timers: set[asyncio.TimerHandle] = set()
        # As MMDVMHost: QoS 2, nothing retained, and no will.
        identifier = client_id or f"MMDVMHost.{os.getpid()}"
        self.feed = Publisher(place, identifier, qos=2, seed=seed)

    async def __aenter__(self) -> Self:
        await self.feed.__aenter__()
        self.tell("idle", "MMDVMHost is starting")
        self._measuring = asyncio.create_task(self._measure())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._measuring is not None:
            self._measuring.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._measuring
        for waiting in self._timers:
            waiting.cancel()
        await self.feed.__aexit__(*exc_info)

    def radio(self, unit: int | str, info: str = "", *, mode: str = "DMR") -> Radio:
        """The radio of this id, made at the first call. info: what the host knows of it."""
        key = str(unit)
        if key not in self.radios:
            self.radios[key] = Radio(self, key, info, mode)
        return self.radios[key]

    # --- what else the host hears and says ------------------------------------------------------

    def network_begins(self, unit: int, destination: int, slot: int = 1) -> Talk:
        """Somebody talks through the network: no radio of ours."""
        talk = Talk(
            mode="DMR",
            slot=slot,
            source="network",
            unit=str(unit),
            info=str(unit),
            destination=str(destination),
        )
        self._say(documents.began(talk, "start", self.clock(), self.dialect))
        return talk

    def network_ends(self, talk: Talk) -> None:
        said = documents.ended(talk, "end", self.clock(), duration=2.0, loss=0.0, ber=0.1)
        self._say(said)

    def end_without_start(self, slot: int = 1) -> None:
        talk = Talk(mode="DMR", slot=slot, source="rf", unit="0", info="", destination="0")
        self._say(documents.ended(talk, "end", self.clock(), duration=1.0, ber=0.0))

    def tell(self, mode: str, message: str = "") -> None:
        """What the host does: ``idle``, ``DMR``, ``error``, ``lockout`` …"""
        self._say(documents.host(mode, message, self.clock()))

    def fm(self, state: str) -> None:
        self._say(documents.fm(state, self.clock()))

    def clock(self) -> str:
        return documents.timestamp(self.clock_offset_s)

    # --- talks ----------------------------------------------------------------------------------

    def _begin(self, talk: Talk, *, late: bool) -> bool:
        where = (talk.mode, talk.slot)
        if where in self._heard:
            return False
        self._heard[where] = talk
        self._began_s[talk] = time.monotonic()
        action = "late_entry" if late else "start"
        self._say(documents.began(talk, action, self.clock(), self.dialect))
        return True

    def _finish(self, talk: Talk, action: str) -> None:
        self._heard.pop((talk.mode, talk.slot), None)
        duration_s = round(time.monotonic() - self._began_s.pop(talk, time.monotonic()), 1)
        measured: dict[str, Any] = {"duration": duration_s}
        if self.measures:
            rssi = {"min": self.rssi_dbm - 6, "max": self.rssi_dbm + 4, "ave": self.rssi_dbm}
            measured |= {"ber": self.bit_error_percent, "rssi": rssi}
        if not self.no_ends:
            self._say(documents.ended(talk, action, self.clock(), **measured))

    def _later(self, delay_s: float, act: Callable[[], None]) -> None:
        def due() -> None:
            self._timers.discard(handle)
            act()

        handle = asyncio.get_running_loop().call_later(delay_s, due)
        self._timers.add(handle)

    async def _measure(self) -> None:
        while True:
            for talk in list(self._heard.values()) if self.measures else ():
                at = self.clock()
                self._say(documents.level("RSSI", talk, self.rssi_dbm, at))
                self._say(documents.level("BER", talk, self.bit_error_percent, at))
            await asyncio.sleep(self.period_s)

    def _say(self, document: dict[str, Any]) -> None:
        self.feed.publish(f"{self.name}/json", document)
