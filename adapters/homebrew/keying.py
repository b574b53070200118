"""What we transmit: header, voice or silence in superframes, terminator. Pure."""

import dataclasses
import math
import re
from collections import OrderedDict
from collections.abc import Callable

from adapters.homebrew import dmr
from adapters.homebrew.jitter import SILENCE, JitterBuffer
from adapters.homebrew.settings import LARGEST_UNIT_ID
from adapters.homebrew.wire import VOICE_FRAMES, DataType, Dmrd, Frame, encode_dmrd

LARGEST_TALKGROUP = 0xFFFFFF
BURST_S = dmr.BURST_MS / 1000
REMEMBERED = 256

_ADDRESS = re.compile(r"([12])/([1-9][0-9]{0,7})", re.ASCII)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Talkgroup:
    """A channel of a DMR system: a talkgroup on a timeslot."""

    slot: int
    talkgroup: int

    @property
    def address(self) -> str:
        return f"{self.slot}/{self.talkgroup}"


def parse_address(address: str) -> Talkgroup | None:
    """``"{slot}/{talkgroup}"`` without leading zeros; None for anything else."""
    match = _ADDRESS.fullmatch(address)
    if match is None or int(match[2]) > LARGEST_TALKGROUP:
        return None
    return Talkgroup(slot=int(match[1]), talkgroup=int(match[2]))


def parse_unit(unit: str) -> int | None:
    """A DMR id in decimal; None for anything else."""
    if not (unit.isascii() and unit.isdecimal() and len(unit) <= 8):
        return None
    return int(unit) if 1 <= int(unit) <= LARGEST_UNIT_ID else None


@dataclasses.dataclass(slots=True, kw_only=True)
class Transmission:
    """One talk of ours. sequence counts bursts; burst 0 is the header, then frames A to F.

    due_s: when the next burst is to go out, monotonic; it advances by 60 ms whenever one goes, so
    late timers do not add up. jitter: the voice that was given, None until some was; there is
    silence without. drained_by_s: it ends when that voice is out, or then; None: it does not.
    """

    name: str
    channel: Talkgroup
    source_id: int
    stream_id: int
    due_s: float
    sequence: int = 0
    jitter: JitterBuffer | None = None
    drained_by_s: float | None = None
    _stops: list[Callable[[], None]] = dataclasses.field(default_factory=list)
    _ambe: bytes = SILENCE
    _encoded: dict[int, "_Encoded"] = dataclasses.field(default_factory=dict)

    @property
    def stream(self) -> str:
        return f"{self.stream_id:08x}"

    def open_voice(self, stop: Callable[[], None]) -> JitterBuffer:
        """Voice is to come. stop: is called when the transmission ends before that voice."""
        if self.jitter is None:
            self.jitter = JitterBuffer()
        if self.drained_by_s is None:
            self.jitter.open()
        self._stops.append(stop)
        return self.jitter

    def close_voice(self, stop: Callable[[], None]) -> None:
        """No more is to come from there. stop: as it was given."""
        self._stops.remove(stop)
        if self.jitter is not None and not self._stops:
            self.jitter.close()

    def end(self) -> None:
        """It has ended: whoever gives it voice may go."""
        for stop in self._stops:
            stop()

    def prepare(self) -> None:
        """Choose the voice of the burst that is due; every repeater gets the same."""
        if self.jitter is not None and self.sequence:
            self._ambe = self.jitter.pull(self.due_s)  # not when the timer came to it

    def is_drained(self, now_s: float) -> bool:
        """It was to end when its voice is out, and that is so, or took too long."""
        if self.drained_by_s is None:
            return False
        return now_s >= self.drained_by_s or self.jitter is None or self.jitter.is_over

    def burst(self, repeater_id: int, color_code: int) -> bytes:
        """The datagram that is due, for one repeater."""
        if self.sequence == 0:
            payload = self._for(color_code).header
            return self._datagram(repeater_id, Frame.DATA_SYNC, DataType.VOICE_HEADER, payload)
        place = (self.sequence - 1) % VOICE_FRAMES
        frame = Frame.VOICE if place else Frame.VOICE_SYNC
        payload = dmr.encode_voice(self._ambe, self._for(color_code).middles()[place])
        return self._datagram(repeater_id, frame, place, payload)

    def terminator(self, repeater_id: int, color_code: int) -> bytes:
        payload = self._for(color_code).terminator()
        return self._datagram(repeater_id, Frame.DATA_SYNC, DataType.TERMINATOR, payload)

    def _for(self, color_code: int) -> "_Encoded":
        if color_code not in self._encoded:
            self._encoded[color_code] = _Encoded(self._link_control(), color_code)
        return self._encoded[color_code]

    def _link_control(self) -> dmr.LinkControl:
        return dmr.LinkControl(destination_id=self.channel.talkgroup, source_id=self.source_id)

    def _datagram(self, repeater_id: int, frame: Frame, kind: int, payload: bytes) -> bytes:
        return encode_dmrd(
            Dmrd(
                sequence=self.sequence,
                source_id=self.source_id,
                destination_id=self.channel.talkgroup,
                repeater_id=repeater_id,
                slot=self.channel.slot,
                private=False,
                frame=frame,
                kind=kind,
                stream_id=self.stream_id,
                payload=payload,
            )
        )


class _Encoded:
    """The bursts of a transmission in one colour code. Only the header is needed at once; what
    comes later is encoded when it is due."""

    def __init__(self, link_control: dmr.LinkControl, color_code: int) -> None:
        self._link_control = link_control
        self._color_code = color_code
        self._middles: tuple[int, ...] = ()
        self._terminator = b""
        self.header = dmr.encode_header(link_control, color_code)

    def middles(self) -> tuple[int, ...]:
        if not self._middles:
            self._middles = dmr.encode_middles(self._link_control, self._color_code)
        return self._middles

    def terminator(self) -> bytes:
        if not self._terminator:
            self._terminator = dmr.encode_terminator(self._link_control, self._color_code)
        return self._terminator


class Echoes:
    """Tells what comes back of our own. gateway_id: the radio id that only we use.

    echo_s: for how long after its end a transmission is still looked for by its source id. Own
    stream ids are remembered for the last 256 transmissions, whatever their age.
    """

    def __init__(self, gateway_id: int, echo_s: float) -> None:
        self._gateway_id = gateway_id
        self._echo_s = echo_s
        self._by_stream: OrderedDict[int, str] = OrderedDict()
        self._by_address: OrderedDict[str, _Keyed] = OrderedDict()

    def began(self, transmission: Transmission) -> None:
        self._by_stream[transmission.stream_id] = transmission.name
        address = transmission.channel.address
        self._by_address[address] = _Keyed(transmission.name, transmission.source_id)
        self._by_address.move_to_end(address)
        for memory in (self._by_stream, self._by_address):
            if len(memory) > REMEMBERED:
                memory.popitem(last=False)

    def ended(self, transmission: Transmission, now_s: float) -> None:
        keyed = self._by_address.get(transmission.channel.address)
        if keyed is not None and keyed.name == transmission.name:
            keyed.until_s = now_s + self._echo_s

    def cause_of(self, burst: Dmrd, now_s: float) -> str | None:
        """The transmission that this burst is the echo of, None if it is none of ours.

        What carries the gateway's radio id is always ours: where its transmission is no longer
        known, the id itself stands for it.
        """
        by_stream = self._by_stream.get(burst.stream_id)
        if by_stream is not None:
            return by_stream
        address = f"{burst.slot}/{burst.destination_id}"
        keyed = None if burst.private else self._by_address.get(address)
        if burst.source_id == self._gateway_id:
            return keyed.name if keyed else f"radio {self._gateway_id}"
        if keyed is None or keyed.source_id != burst.source_id or now_s > keyed.until_s:
            return None
        return keyed.name


@dataclasses.dataclass(slots=True)
class _Keyed:
    name: str
    source_id: int
    until_s: float = math.inf
