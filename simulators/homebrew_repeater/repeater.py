"""A DMR repeater that signs in to a master by the Homebrew protocol, and its radios."""

import asyncio
import dataclasses
import enum
import logging
import random
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from simulators.homebrew_repeater import burst, faults, wire
from simulators.homebrew_repeater.disturbance import Disturbance
from simulators.homebrew_repeater.link import Link, MasterSilent, Refused, SignInError
from simulators.homebrew_repeater.radio import Radio
from simulators.homebrew_repeater.reception import Heard
from simulators.homebrew_repeater.slot import Slot, Talk, Voice
from simulators.waiting import Changes

log = logging.getLogger(__name__)


class LinkState(enum.StrEnum):
    """Where a repeater stands with its master."""

    OFF = "off"
    SIGNING_IN = "signing_in"
    SIGNED_IN = "signed_in"
    WAITING = "waiting"


@dataclasses.dataclass(slots=True)
class Counts:
    """sent, received: DMRD packets. malformed: packets from the master that are not of the
    protocol or for another repeater. unsent: bursts while not signed in. sign_ins: how often it
    signed in."""

    sent: int = 0
    received: int = 0
    malformed: int = 0
    unsent: int = 0
    sign_ins: int = 0


class Repeater:
    """A repeater with two timeslots; use as an async context manager.

    id: 32-bit DMR id. master: host and UDP port. station: what RPTC says besides the callsign.
    options: text of RPTO, none sent if empty. ping_interval_s: a ping each; after
    max_missed_pings unanswered ones it signs in again. reply_s: how long an answer to a sign-in
    step is awaited. retry_s, retry_max_s: back-off between sign-ins, for ever. loss: where
    `network.loss` begins. network: what happens to the DMRD packets that it sends; its loss is
    that of both ways. passphrase may be changed at any time. seed: of ids and losses, for
    repeatable runs.
    """

    def __init__(
        self,
        *,
        id: int,  # noqa: A002 - the protocol's own word
        passphrase: str,
        master: tuple[str, int],
        callsign: str = "HT0001",
        station: wire.Station | None = None,
        options: str = "",
        ping_interval_s: float = 5.0,
        max_missed_pings: int = 3,
        reply_s: float = 1.0,
        retry_s: float = 0.2,
        retry_max_s: float = 2.0,
        loss: float = 0.0,
        seed: int | None = None,
    ) -> None:
        self.id = id
        self.passphrase = passphrase
        self.master = master
        self.callsign = callsign
        self.station = station or wire.Station()
        self.options = options
        self.ping_interval_s = ping_interval_s
        self.max_missed_pings = max_missed_pings
        self.reply_s = reply_s
        self.retry_s, self.retry_max_s = retry_s, retry_max_s
        self.changes = Changes()
        self.counts = Counts()
        self.state = LinkState.OFF
        self.last_error = ""
        self.radios: dict[int, Radio] = {}
        self.slots = {number: Slot(number, self._hear, self.changes.notify) for number in (1, 2)}
        self._random = random.Random(seed)
        self.network = Disturbance(self._random, loss=loss)
        self._attempts = 0
        self._link: Link | None = None
        self._running: asyncio.Task[None] | None = None
        self._plugged = asyncio.Event()
        self._plugged.set()

    # --- life -----------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._run(), name=f"repeater {self.id}")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for slot in self.slots.values():
            if slot.talk is not None:
                slot.talk.finish_now()
            slot.end("unplugged")
        self.network.close()
        if self._link is not None and self.signed_in:
            self._link.send(wire.close(self.id))
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
            if not self._running.cancelled():
                self._running.result()
        self._set(LinkState.OFF)

    @property
    def signed_in(self) -> bool:
        return self.state is LinkState.SIGNED_IN

    @property
    def plugged(self) -> bool:
        return self._plugged.is_set()

    async def wait_signed_in(self, timeout_s: float = 30.0) -> None:
        """Raises: TimeoutError."""
        await self.changes.until(lambda: self.signed_in, timeout_s)

    # --- radios ---------------------------------------------------------------------------------

    def radio(
        self,
        id: int,  # noqa: A002
        alias: str = "",
        *,
        talkgroups: Iterable[int] | None = None,
    ) -> Radio:
        """The radio with this id, made at the first call. talkgroups: those it hears, or all."""
        if id not in self.radios:
            self.radios[id] = Radio(
                id=id, alias=alias, talkgroups=talkgroups, begin=self._begin, changes=self.changes
            )
        return self.radios[id]

    # --- faults ---------------------------------------------------------------------------------

    def unplug(self) -> None:
        """Power off: the socket is dead, nothing is said to the master, every talk breaks off."""
        self._plugged.clear()
        for slot in self.slots.values():
            if slot.talk is not None:
                slot.talk.vanish()
            slot.end("unplugged")
        self.network.close()
        if self._link is not None:
            self._link.abort()
        self._set(LinkState.OFF)

    def plug(self) -> None:
        """Power on again; it signs in from a new port."""
        self._plugged.set()

    def send_malformed(self, kind: str) -> None:
        """Send one of `faults.malformed_packets` to the master."""
        self.send_raw(faults.malformed_packets(self.id)[kind])

    def send_raw(self, datagram: bytes) -> None:
        """Send any bytes to the master. Raises: ConnectionError if there is no socket."""
        if self._link is None or not self.plugged:
            raise ConnectionError(f"repeater {self.id} has no socket")
        self._link.send(datagram)

    # --- the link to the master -----------------------------------------------------------------

    async def _run(self) -> None:
        back_off_s = self.retry_s
        while True:
            await self._plugged.wait()
            signed_in_before = self.counts.sign_ins
            again_at_once = False
            try:
                await self._session()
            except (SignInError, OSError) as error:
                self._note(error)
                again_at_once = isinstance(error, Refused) and self.signed_in
            if self.counts.sign_ins > signed_in_before:
                back_off_s = self.retry_s
            if not self._plugged.is_set():
                continue
            self._set(LinkState.WAITING)
            if not again_at_once:
                await asyncio.sleep(back_off_s * self._random.uniform(0.75, 1.25))
                back_off_s = min(back_off_s * 2, self.retry_max_s)

    async def _session(self) -> None:
        """Sign in and stay so. Raises: SignInError or OSError when that is over."""
        self._set(LinkState.SIGNING_IN)
        self._attempts += 1
        link = Link(self.master, self._voice, self._malformed, attempt=self._attempts)
        async with link:
            self._link = link
            try:
                if not self.plugged:
                    raise MasterSilent("unplugged")
                await self._sign_in(link)
                self.counts.sign_ins += 1
                self.last_error = ""
                self._set(LinkState.SIGNED_IN)
                log.info("repeater %d signed in to %s:%d", self.id, *self.master)
                await self._keep(link)
            finally:
                self._link = None

    async def _sign_in(self, link: Link) -> None:
        salt = await link.ask(wire.login(self.id), self.reply_s)
        steps = [
            wire.key(self.id, salt, self.passphrase),
            wire.configuration(self.id, self.callsign, self.station),
        ]
        if self.options:
            steps.append(wire.options(self.id, self.options))
        for step in steps:
            body = await link.ask(step, self.reply_s)
            if body != self.id.to_bytes(4, "big"):
                raise Refused(f"the master acknowledged {body.hex()}, not {self.id}")

    async def _keep(self, link: Link) -> None:
        """Ping until the master is silent, refuses us or closes."""
        unanswered = 0
        while True:
            if unanswered >= self.max_missed_pings:
                raise MasterSilent(f"{unanswered} pings without an answer")
            link.send(wire.ping(self.id))
            unanswered += 1
            if await link.heard_pong(self.ping_interval_s):
                unanswered = 0

    def _set(self, state: LinkState) -> None:
        if state is not self.state:
            self.state = state
            self.changes.notify()

    def _note(self, error: Exception) -> None:
        """Warn once when the master is lost, not at each attempt."""
        text = str(error) or type(error).__name__
        if text != self.last_error:
            log.warning("repeater %d: %s", self.id, text)
        self.last_error = text

    # --- bursts ---------------------------------------------------------------------------------

    def _begin(
        self,
        radio: Radio,
        control: burst.LinkControl,
        number: int,
        polite: bool,
        voice: Voice | None,
    ) -> Talk | None:
        slot = self.slots[number]
        if not self.plugged or slot.talk is not None or (polite and slot.busy):
            return None
        talk = Talk(
            repeater=self.id,
            slot=number,
            control=control,
            stream=self._random.randint(1, 0xFFFFFFFE),
            colour_code=self.station.colour_code,
            alias=radio.alias,
            position=radio.position,
            send=self._send,
            send_alias=self._send_alias,
            send_position=self._send_position,
            finished=slot.finished,
            voice=voice,
        )
        slot.begin(talk)
        self._hear(talk.heard)
        return talk

    def _send(self, packet: wire.Dmrd) -> None:
        if self._link is None or not self.signed_in:
            self.counts.unsent += 1
        else:
            self.network.send(packet.encode(), self._deliver)

    def _deliver(self, datagram: bytes) -> None:
        if self._link is None or not self.signed_in:
            self.counts.unsent += 1
        else:
            self._link.send(datagram)
            self.counts.sent += 1

    def _send_position(self, source: int, data: bytes) -> None:
        if self._link is not None and self.signed_in:
            self._link.send(wire.position(source, data))

    def _send_alias(self, source: int, block: int, data: bytes) -> None:
        if self._link is not None and self.signed_in:
            self._link.send(wire.talker_alias(source, block, data))

    def _voice(self, datagram: bytes) -> None:
        """A DMRD from the master."""
        if not self.signed_in:
            return
        try:
            packet = wire.read_dmrd(datagram)
        except wire.MalformedPacket as error:
            self._malformed(str(error))
            return
        if packet.repeater != self.id:
            self._malformed(f"DMRD for repeater {packet.repeater}")
        elif not self.network.loses():
            self.counts.received += 1
            self.slots[packet.slot].receive(packet)

    def _malformed(self, reason: str) -> None:
        self.counts.malformed += 1
        log.debug("repeater %d: %s", self.id, reason)
        self.changes.notify()

    def _hear(self, heard: Heard) -> None:
        for radio in self.radios.values():
            if radio.hears(heard):
                radio.hear(heard)
