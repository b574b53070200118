"""A timeslot of a repeater: one talk at a time, from the air or from the master."""

import asyncio
import dataclasses
import time
from collections.abc import Callable

from simulators.homebrew_repeater import burst
from simulators.homebrew_repeater.reception import Heard, Reception
from simulators.homebrew_repeater.wire import DataType, Dmrd, FrameType

WATCHDOG_S = 1.5
"""A network talk without a burst for so long is over (MMDVMHost DMRSlot)."""

Send = Callable[[Dmrd], None]
Hear = Callable[[Heard], None]
Voice = Callable[[int], bytes]
"""The 27 bytes of voice of each burst of a talk, by its number from 0."""


@dataclasses.dataclass(slots=True)
class SlotCounts:
    """ignored: bursts from the master while a radio talks here, or late ones of an ended talk.
    data: bursts that are not voice (CSBK, data)."""

    ignored: int = 0
    data: int = 0


class Talk:
    """A radio's talk: header at once, a voice burst each 60 ms, a terminator after release.

    It runs on timers of the event loop, not in a task. `ended` is done when the last packet has
    gone; `heard` is the talk as other radios of the repeater hear it. voice: silence if None.
    rssi_dbm, bit_errors: what the repeater says of each burst from now on, errors of 141 bits.
    """

    def __init__(
        self,
        *,
        repeater: int,
        slot: int,
        control: burst.LinkControl,
        stream: int,
        colour_code: int,
        alias: str,
        position: tuple[float, float] | None,
        send: Send,
        send_alias: Callable[[int, int, bytes], None],
        send_position: Callable[[int, bytes], None],
        finished: Callable[["Talk"], None],
        voice: Voice | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.rssi_dbm, self.bit_errors = -60, 0
        self.packets = 0
        self._loop = loop
        self._repeater, self._slot, self._control = repeater, slot, control
        self._stream, self._colour_code = stream, colour_code
        self._send, self._send_alias, self._finished = send, send_alias, finished
        self._send_position = send_position
        where = () if position is None else (burst.position_block(*position),)
        self._messages = (control.encode(), *burst.alias_blocks(alias), *where)
        self._say = voice
        self._middles: tuple[int, ...] = ()
        self._voice = 0
        self._sequence = 0
        self._releasing = False
        self.heard = Heard(
            stream=stream,
            source=control.source,
            talkgroup=control.destination,
            slot=slot,
            private=control.private,
            origin="air",
            started_s=time.monotonic(),
            control_checks=1,
            alias=alias,
            emergency=control.emergency,
            encrypted=control.encrypted,
        )
        header = burst.header(control.encode(), colour_code)
        self._burst(FrameType.DATA_SYNC, DataType.VOICE_HEADER, header)
        self._due_s = loop.time() + burst.FRAME_S
        self._timer = loop.call_at(self._due_s, self._tick)

    def release(self) -> asyncio.Future[None]:
        """Let go: the terminator takes the next burst, up to 60 ms later."""
        self._releasing = True
        return asyncio.shield(self.ended)

    def finish_now(self) -> None:
        """Send the terminator without waiting for the next burst."""
        if not self.ended.done():
            self._terminate()

    def vanish(self) -> None:
        """Stop without a terminator, as when a radio leaves coverage."""
        if not self.ended.done():
            self._end("lost")

    def _tick(self) -> None:
        if self._releasing:
            self._terminate()
            return
        place = self._voice % burst.SUPERFRAME
        if place == 0:
            turn = self._voice // burst.SUPERFRAME % len(self._messages)
            self._middles = burst.superframe_middles(self._messages[turn], self._colour_code)
        frame_type = FrameType.VOICE_SYNC if place == 0 else FrameType.VOICE
        voice = burst.SILENCE if self._say is None else self._say(self._voice)
        self._burst(frame_type, place, burst.voice_burst(voice, self._middles[place]))
        self.heard.hear_voice(voice)
        self._pass_alias(place)
        self._voice += 1
        self.heard.frames += 1
        # After a stall of this process the rest keeps its spacing, rather than coming in a heap.
        self._due_s = max(self._due_s, self._loop.time() - burst.FRAME_S / 2) + burst.FRAME_S
        self._timer = self._loop.call_at(self._due_s, self._tick)

    def _pass_alias(self, place: int) -> None:
        """A repeater sends DMRA, or DMRG, when the last fragment of a block has come, once each."""
        superframe = self._voice // burst.SUPERFRAME
        if place == 4 and 0 < superframe < len(self._messages):
            block = self._messages[superframe]
            if block[0] == burst.Opcode.POSITION:
                self._send_position(self._control.source, block[2:])
                return
            self._send_alias(self._control.source, block[0] - burst.Opcode.ALIAS_HEADER, block[2:])

    def _terminate(self) -> None:
        payload = burst.terminator(self._control.encode(), self._colour_code)
        self._burst(FrameType.DATA_SYNC, DataType.TERMINATOR, payload)
        self._end("terminator")

    def _burst(self, frame_type: FrameType, kind: int, payload: bytes) -> None:
        self._send(
            Dmrd(
                sequence=self._sequence,
                source=self._control.source,
                destination=self._control.destination,
                repeater=self._repeater,
                slot=self._slot,
                private=self._control.private,
                frame_type=frame_type,
                kind=kind,
                stream=self._stream,
                payload=payload,
                bit_errors=self.bit_errors,
                rssi_dbm=self.rssi_dbm,
            )
        )
        self._sequence = (self._sequence + 1) % 256
        self.packets += 1

    def _end(self, reason: str) -> None:
        self._timer.cancel()
        self.heard.ended_s = time.monotonic()
        self.heard.ended_by = reason
        self.ended.set_result(None)
        self._finished(self)


class Slot:
    """State of one timeslot. hear is told of each talk from the master when it begins."""

    def __init__(self, number: int, hear: Hear, changed: Callable[[], None]) -> None:
        self.number = number
        self.counts = SlotCounts()
        self.talk: Talk | None = None
        self.reception: Reception | None = None
        self._hear = hear
        self._changed = changed
        self._ended_stream: int | None = None
        self._watchdog: asyncio.TimerHandle | None = None

    @property
    def busy(self) -> bool:
        return self.talk is not None or self.reception is not None

    def begin(self, talk: Talk) -> None:
        self.talk = talk

    def finished(self, talk: Talk) -> None:
        if self.talk is talk:
            self.talk = None
        self._changed()

    def receive(self, packet: Dmrd) -> None:
        """Take a burst from the master."""
        if not (packet.is_voice or packet.is_header or packet.is_terminator):
            self.counts.data += 1
            self._changed()
            return
        now_s = time.monotonic()
        reception = self._reception_of(packet, now_s)
        if reception is None:
            self.counts.ignored += 1
            self._changed()
            return
        reception.feed(packet, now_s)
        if packet.is_terminator:
            self.end("terminator")
        else:
            self._watch()
        self._changed()

    def end(self, reason: str) -> None:
        """End what is coming from the master, if anything is."""
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        if self.reception is not None:
            self.reception.end(reason, time.monotonic())
            self._ended_stream = self.reception.heard.stream
            self.reception = None
            self._changed()

    def _reception_of(self, packet: Dmrd, now_s: float) -> Reception | None:
        """The reception that a burst belongs to, None if it belongs to none.

        A radio that talks here comes before the master (MMDVMHost DMRSlot::writeNetwork).
        """
        if self.reception is not None and self.reception.heard.stream == packet.stream:
            return self.reception
        if self.talk is not None or packet.stream == self._ended_stream or packet.is_terminator:
            return None
        self.end("superseded")
        self.reception = Reception(packet, now_s)
        self._hear(self.reception.heard)
        return self.reception

    def _watch(self) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
        loop = asyncio.get_running_loop()
        self._watchdog = loop.call_later(WATCHDOG_S, self.end, "lost")
