"""What comes off the air: one talk as a radio hears it, checked burst by burst."""

import dataclasses

from simulators.homebrew_repeater import burst
from simulators.homebrew_repeater.wire import Dmrd, FrameType

MAX_FAULTS = 20
MAX_GAPS = 10_000
MAX_VOICE = 10_000


@dataclasses.dataclass(slots=True, kw_only=True)
class Heard:
    """One talk that a radio heard; grows while it lasts.

    origin: ``master`` for what the master sent, ``air`` for a radio of the same repeater.
    started_s, ended_s: monotonic clock. ended_by: ``terminator``, ``lost`` (no burst for 1.5 s),
    ``superseded`` (another talk began on the slot) or ``unplugged``; empty while it lasts.
    frames: voice bursts. missing: bursts that the sequence numbers say were lost. gaps_ms: time
    between packets. control_checks: link control messages that were read (header, one in each
    superframe, terminator). control: the 9 bytes of the last one. colour_codes: all that came.
    voice: 27 bytes of each voice burst, the first 10,000. faults: what did not fit, the first 20.
    """

    stream: int
    source: int
    talkgroup: int
    slot: int
    private: bool
    origin: str
    started_s: float
    ended_s: float | None = None
    ended_by: str = ""
    late_entry: bool = False
    frames: int = 0
    missing: int = 0
    gaps_ms: list[float] = dataclasses.field(default_factory=list)
    control_checks: int = 0
    faults: list[str] = dataclasses.field(default_factory=list)
    alias: str = ""
    emergency: bool = False
    encrypted: bool = False
    control: bytes = b""
    colour_codes: set[int] = dataclasses.field(default_factory=set)
    voice: list[bytes] = dataclasses.field(default_factory=list)

    @property
    def lc_ok(self) -> bool:
        """Link control was read at least once, and everything fitted."""
        return self.control_checks > 0 and not self.faults

    def hear_voice(self, voice: bytes) -> None:
        if len(self.voice) < MAX_VOICE:
            self.voice.append(voice)


class Reception:
    """Follows one stream from the master; `heard` is what is known of it so far."""

    def __init__(self, first: Dmrd, now_s: float) -> None:
        self.heard = Heard(
            stream=first.stream,
            source=first.source,
            talkgroup=first.destination,
            slot=first.slot,
            private=first.private,
            origin="master",
            started_s=now_s,
            late_entry=not first.is_header,
        )
        self._control = burst.LinkControl(
            source=first.source, destination=first.destination, private=first.private
        ).encode()
        self._last_s = now_s
        self._sequence: int | None = None
        self._place = -1
        self._fragments: list[int] = []
        self._alias: dict[int, bytes] = {}

    def feed(self, packet: Dmrd, now_s: float) -> None:
        """Take the next burst of the stream."""
        self._count(packet, now_s)
        if (packet.source, packet.destination) != (self.heard.source, self.heard.talkgroup):
            self._fault(f"source or destination changed within stream {packet.stream:08x}")
        try:
            if packet.is_voice:
                self._voice(packet)
            elif packet.is_header or packet.is_terminator:
                self._full_control(packet)
        except burst.BadBurst as bad:
            self._fault(str(bad))

    def end(self, reason: str, now_s: float) -> None:
        self.heard.ended_s = now_s
        self.heard.ended_by = reason

    def _count(self, packet: Dmrd, now_s: float) -> None:
        if self._sequence is not None:
            step = (packet.sequence - self._sequence) % 256
            self.heard.missing += max(step - 1, 0)
            if step == 0:
                self._fault(f"sequence number {packet.sequence} came twice")
            if len(self.heard.gaps_ms) < MAX_GAPS:
                self.heard.gaps_ms.append((now_s - self._last_s) * 1000)
        self._sequence, self._last_s = packet.sequence, now_s

    def _full_control(self, packet: Dmrd) -> None:
        found = burst.read_data_burst(packet.payload)
        if found.data_type != packet.kind:
            self._fault(f"slot type {found.data_type} in a DMRD of data type {packet.kind}")
        self.heard.colour_codes.add(found.colour_code)
        self._check_control(found.control)

    def _voice(self, packet: Dmrd) -> None:
        self.heard.frames += 1
        self.heard.hear_voice(burst.voice_of(packet.payload))
        expected = (self._place + 1) % burst.SUPERFRAME
        if packet.kind != expected and not self.heard.missing and self._place >= 0:
            self._fault(f"burst {'ABCDEF'[packet.kind]} where {'ABCDEF'[expected]} was due")
        self._place = packet.kind
        if (packet.kind == 0) != (packet.frame_type is FrameType.VOICE_SYNC):
            self._fault(f"burst {'ABCDEF'[packet.kind]} with frame type {packet.frame_type:d}")
        found = burst.read_voice_burst(packet.payload)
        if found.sync != (packet.kind == 0):
            self._fault(f"voice sync {'in' if found.sync else 'not in'} burst {packet.kind}")
        elif not found.sync:
            self.heard.colour_codes.add(found.colour_code)
            self._embedded(packet.kind, found)

    def _embedded(self, place: int, found: burst.VoiceBurst) -> None:
        expected = burst.FRAGMENT_OF_BURST[place]
        if found.fragment is not expected:
            self._fault(f"LCSS {found.fragment:d} in burst {'ABCDEF'[place]}, not {expected:d}")
        if place == 1:
            self._fragments = []
        if place <= 4:
            self._fragments.append(found.bits)
        if place == 4 and len(self._fragments) == 4:
            b, c, d, e = self._fragments
            self._embedded_message(burst.read_embedded((b, c, d, e)))

    def _embedded_message(self, message: bytes) -> None:
        opcode = message[0] & 0x3F
        if burst.Opcode.ALIAS_HEADER <= opcode <= burst.Opcode.ALIAS_BLOCK_3:
            self._alias[opcode] = message[2:]
            self.heard.alias = burst.read_alias(self._alias)
        elif opcode in (burst.Opcode.GROUP, burst.Opcode.PRIVATE):
            self._check_control(message)

    def _check_control(self, control: bytes) -> None:
        """Opcode and ids must be those of DMRD, which does not carry the service options."""
        self.heard.control_checks += 1
        self.heard.control = control
        self.heard.emergency = bool(control[2] & 0x80)
        self.heard.encrypted = bool(control[2] & 0x40)
        if control[:1] + control[3:] != self._control[:1] + self._control[3:]:
            self._fault(f"link control {control.hex()}, DMRD says {self._control.hex()}")

    def _fault(self, text: str) -> None:
        if len(self.heard.faults) < MAX_FAULTS:
            self.heard.faults.append(text)
