"""The Homebrew protocol: datagrams ↔ messages. Pure.

Sources: n0mjs710/HBlink4 docs/protocol.md; g4klx/MMDVMHost DMRNetwork.cpp, as it was while it
still signed in by itself (before "Simplify the Host to DMR Gateway protocol") and as it is now.
All integers are big-endian.
"""

import dataclasses
import enum
import hmac

DMRD_LENGTH = 53
SEALED_LENGTH = 73  # OpenBridge adds HMAC-SHA1
DMRD_WITH_QUALITY_LENGTH = 55  # MMDVM adds a bit error rate and a signal strength
PAYLOAD_LENGTH = 33
CONFIGURATION_LENGTH = 302
DIGEST_LENGTH = 32
SALT_LENGTH = 4
VOICE_FRAMES = 6  # A to F

_SLOT_2 = 0x80
_PRIVATE = 0x40


class MalformedPacketError(ValueError):
    """A datagram is not of the protocol. offset: the first byte that cannot be right."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(f"{reason} (at byte {offset})")
        self.reason = reason
        self.offset = offset


class Frame(enum.IntEnum):
    """What a DMRD payload is. `Dmrd.kind` says more: the voice frame's place, or the data type."""

    VOICE = 0
    VOICE_SYNC = 1
    DATA_SYNC = 2


class DataType(enum.IntEnum):
    """The data types that matter here. Source: ETSI TS 102 361-1, table 6.1."""

    PRIVACY_HEADER = 0
    VOICE_HEADER = 1
    TERMINATOR = 2
    CSBK = 3
    DATA_HEADER = 6


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FromRepeater:
    """Base of what a repeater says of itself."""

    repeater_id: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Login(FromRepeater):
    """RPTL: asks for a challenge."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Authentication(FromRepeater):
    """RPTK. digest: SHA-256 of salt and passphrase."""

    digest: bytes


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Configuration(FromRepeater):
    """RPTC. Text as sent, without its padding; color_code: 0..15, None if it says none.

    slots: ``1``, ``2``, ``3`` for both, ``4`` for simplex.
    """

    callsign: str
    rx_frequency_hz: str
    tx_frequency_hz: str
    color_code: int | None
    latitude_deg: str
    longitude_deg: str
    location: str
    description: str
    slots: str
    software: str
    package: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options(FromRepeater):
    """RPTO. text: as the repeater's owner wrote it."""

    text: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ping(FromRepeater):
    """RPTPING."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Closing(FromRepeater):
    """RPTCL: signs off."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Dmrd(FromRepeater):
    """DMRD: one burst of 60 ms.

    slot: 1 or 2. kind: 0..5 for voice frames A to F, else the data type. stream_id: renewed by
    the sender for each talk. payload: 33 bytes as on the air. quality: the bytes after it.
    """

    sequence: int
    source_id: int
    destination_id: int
    slot: int
    private: bool
    frame: Frame
    kind: int
    stream_id: int
    payload: bytes
    quality: bytes = b""

    @property
    def is_header(self) -> bool:
        return self.frame is Frame.DATA_SYNC and self.kind == DataType.VOICE_HEADER

    @property
    def is_terminator(self) -> bool:
        return self.frame is Frame.DATA_SYNC and self.kind == DataType.TERMINATOR

    @property
    def is_privacy_header(self) -> bool:
        return self.frame is Frame.DATA_SYNC and self.kind == DataType.PRIVACY_HEADER

    @property
    def is_talk(self) -> bool:
        """Part of a voice call; control and data bursts are not."""
        return self.frame is not Frame.DATA_SYNC or self.kind <= DataType.TERMINATOR


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AliasBlock:
    """DMRA: 7 bytes of a talker alias. block: 0 for the header, else 1..3.

    repeater_id: None in the dialect of today's MMDVMHost, which leaves it out.
    """

    repeater_id: int | None
    source_id: int
    block: int
    data: bytes


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """DMRG: 7 bytes of GPS information of a radio, as on the air."""

    repeater_id: int | None
    source_id: int
    data: bytes


Message = (
    Login | Authentication | Configuration | Options | Ping | Closing | Dmrd | AliasBlock | Position
)


def decode(datagram: bytes) -> Message:
    """Read one datagram of a repeater.

    Raises: MalformedPacketError naming what is wrong and the offset of it.
    """
    command = datagram[:4]
    if command == b"DMRD":
        return _decode_dmrd(datagram)
    if command == b"RPTP":
        return Ping(repeater_id=_repeater_id(datagram, b"RPTPING"))
    if command == b"RPTC":
        if datagram[:5] == b"RPTCL" and len(datagram) != CONFIGURATION_LENGTH:
            return Closing(repeater_id=_repeater_id(datagram, b"RPTCL"))
        return _decode_configuration(datagram)
    if command == b"RPTL":
        return Login(repeater_id=_repeater_id(datagram, b"RPTL"))
    if command == b"RPTK":
        _need_length(datagram, "RPTK", 8 + DIGEST_LENGTH)
        return Authentication(repeater_id=_integer(datagram, 4, 4), digest=datagram[8:])
    if command == b"RPTO":
        _need_at_least(datagram, "RPTO", 8)
        return Options(repeater_id=_integer(datagram, 4, 4), text=_text(datagram[8:]))
    if command == b"DMRA":
        return _decode_alias(datagram)
    if command == b"DMRG":
        return _decode_position(datagram)
    raise MalformedPacketError(f"{bytes(command)!r} is no command of the Homebrew protocol", 0)


def _decode_dmrd(datagram: bytes) -> Dmrd:
    length = len(datagram)
    if length not in (DMRD_LENGTH, DMRD_WITH_QUALITY_LENGTH):
        raise MalformedPacketError(
            f"a DMRD of {length} bytes; it has {DMRD_LENGTH} or {DMRD_WITH_QUALITY_LENGTH}",
            min(length, DMRD_WITH_QUALITY_LENGTH),
        )
    bits = datagram[15]
    frame_bits = bits >> 4 & 0x3
    kind = bits & 0xF
    if frame_bits == 3:
        raise MalformedPacketError("a DMRD that is voice and data at once", 15)
    frame = _FRAMES[frame_bits]
    if frame is not Frame.DATA_SYNC and kind >= VOICE_FRAMES:
        raise MalformedPacketError(f"voice frame {kind} of a superframe of {VOICE_FRAMES}", 15)
    return Dmrd(
        sequence=datagram[4],
        source_id=_integer(datagram, 5, 3),
        destination_id=_integer(datagram, 8, 3),
        repeater_id=_integer(datagram, 11, 4),
        slot=2 if bits & _SLOT_2 else 1,
        private=bool(bits & _PRIVATE),
        frame=frame,
        kind=kind,
        stream_id=_integer(datagram, 16, 4),
        payload=datagram[20:DMRD_LENGTH],
        quality=datagram[DMRD_LENGTH:],
    )


_FRAMES = (Frame.VOICE, Frame.VOICE_SYNC, Frame.DATA_SYNC)


def _decode_configuration(datagram: bytes) -> Configuration:
    _need_length(datagram, "RPTC", CONFIGURATION_LENGTH)
    color_code = _text(datagram[36:38])
    return Configuration(
        repeater_id=_integer(datagram, 4, 4),
        callsign=_text(datagram[8:16]),
        rx_frequency_hz=_text(datagram[16:25]),
        tx_frequency_hz=_text(datagram[25:34]),
        color_code=int(color_code) if color_code in _COLOR_CODES else None,
        latitude_deg=_text(datagram[38:46]),
        longitude_deg=_text(datagram[46:55]),
        location=_text(datagram[58:78]),
        description=_text(datagram[78:97]),
        slots=_text(datagram[97:98]),
        software=_text(datagram[222:262]),
        package=_text(datagram[262:302]),
    )


_COLOR_CODES = frozenset(f"{code:0{digits}d}" for code in range(16) for digits in (1, 2))


def _decode_alias(datagram: bytes) -> AliasBlock:
    repeater_id, start = _subscriber_part(datagram, "DMRA", 15, 19)
    block = datagram[start + 3]
    if block > 3:
        raise MalformedPacketError(f"talker alias block {block}; there are 0 to 3", start + 3)
    return AliasBlock(
        repeater_id=repeater_id,
        source_id=_integer(datagram, start, 3),
        block=block,
        data=datagram[start + 4 :],
    )


def _decode_position(datagram: bytes) -> Position:
    repeater_id, start = _subscriber_part(datagram, "DMRG", 14, 18)
    return Position(
        repeater_id=repeater_id,
        source_id=_integer(datagram, start, 3),
        data=datagram[start + 3 :],
    )


def _subscriber_part(
    datagram: bytes, command: str, short: int, long: int
) -> tuple[int | None, int]:
    """The repeater's id, where the dialect has one, and where the radio's id begins."""
    if len(datagram) == short:
        return None, 4
    if len(datagram) == long:
        return _integer(datagram, 4, 4), 8
    raise MalformedPacketError(
        f"a {command} of {len(datagram)} bytes; it has {short} or {long}",
        min(len(datagram), long),
    )


def _repeater_id(datagram: bytes, command: bytes) -> int:
    if datagram[: len(command)] != command:
        raise MalformedPacketError(f"{datagram[:8]!r} where {command!r} was meant", 4)
    _need_length(datagram, command.decode(), len(command) + 4)
    return _integer(datagram, len(command), 4)


def _need_length(datagram: bytes, command: str, length: int) -> None:
    if len(datagram) != length:
        raise MalformedPacketError(
            f"a {command} of {len(datagram)} bytes; it has {length}", min(len(datagram), length)
        )


def _need_at_least(datagram: bytes, command: str, length: int) -> None:
    if len(datagram) < length:
        raise MalformedPacketError(
            f"a {command} of {len(datagram)} bytes; it has {length} or more", len(datagram)
        )


def _integer(datagram: bytes, offset: int, length: int) -> int:
    return int.from_bytes(datagram[offset : offset + length], "big")


def _text(field: bytes) -> str:
    return field.decode("utf-8", "replace").strip("\x00 ")


# --- what the master says ---------------------------------------------------------------------


class Word(enum.Enum):
    """What a master says to a peer besides DMRD, DMRA and DMRG."""

    ACK = b"RPTACK"
    NAK = b"MSTNAK"
    CLOSING = b"MSTCL"
    PONG = b"MSTPONG"
    BEACON = b"RPTSBKN"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FromMaster:
    """body: the peer's id; after RPTL the salt; empty for a beacon."""

    word: Word
    body: bytes


def decode_from_master(datagram: bytes) -> FromMaster | Dmrd | AliasBlock | Position:
    """Read one datagram of the master that we are a peer of.

    Raises: MalformedPacketError.
    """
    command = datagram[:4]
    if command == b"DMRD":
        return _decode_dmrd(datagram)
    if command == b"DMRA":
        return _decode_alias(datagram)
    if command == b"DMRG":
        return _decode_position(datagram)
    for word in Word:
        if datagram.startswith(word.value):
            body = datagram[len(word.value) :]
            if word is Word.BEACON:
                return FromMaster(word=word, body=b"")
            if len(body) != 4:
                name = word.value.decode()
                _need_length(datagram, name, len(word.value) + 4)
            return FromMaster(word=word, body=body)
    raise MalformedPacketError(f"{bytes(command)!r} is no word of a Homebrew master", 0)


def encode_challenge(salt: bytes) -> bytes:
    """The answer to RPTL. salt: 4 bytes. HBlink's diagrams call it MSTCL; its code sends this."""
    return b"RPTACK" + salt


def encode_ack(repeater_id: int) -> bytes:
    return b"RPTACK" + repeater_id.to_bytes(4, "big")


def encode_nak(repeater_id: int) -> bytes:
    return b"MSTNAK" + repeater_id.to_bytes(4, "big")


def encode_pong(repeater_id: int) -> bytes:
    return b"MSTPONG" + repeater_id.to_bytes(4, "big")


def encode_master_closing(repeater_id: int) -> bytes:
    return b"MSTCL" + repeater_id.to_bytes(4, "big")


def encode_dmrd(burst: Dmrd) -> bytes:
    """The burst as a datagram; `decode` gives it back."""
    bits = burst.frame << 4 | burst.kind
    if burst.slot == 2:
        bits |= _SLOT_2
    if burst.private:
        bits |= _PRIVATE
    return b"".join(
        (
            b"DMRD",
            bytes((burst.sequence & 0xFF,)),
            burst.source_id.to_bytes(3, "big"),
            burst.destination_id.to_bytes(3, "big"),
            burst.repeater_id.to_bytes(4, "big"),
            bytes((bits,)),
            burst.stream_id.to_bytes(4, "big"),
            burst.payload,
            burst.quality,
        )
    )


def readdress(datagram: bytes, repeater_id: int) -> bytes:
    """A DMRD datagram as another repeater is to get it: the same but for the repeater's id."""
    return datagram[:11] + repeater_id.to_bytes(4, "big") + datagram[15:]


# --- what a peer says -------------------------------------------------------------------------


def encode_login(repeater_id: int) -> bytes:
    return b"RPTL" + repeater_id.to_bytes(4, "big")


def encode_authentication(repeater_id: int, digest: bytes) -> bytes:
    """digest: SHA-256 of the salt and the passphrase."""
    return b"RPTK" + repeater_id.to_bytes(4, "big") + digest


def encode_configuration(
    repeater_id: int, *, callsign: str, color_code: int, description: str
) -> bytes:
    """RPTC, 302 bytes. A gateway has neither frequencies nor power, and both timeslots."""
    texts = (
        (callsign, 8),
        ("0" * 9, 9),
        ("0" * 9, 9),
        ("00", 2),
        (f"{color_code:02d}", 2),
        ("00.00000", 8),
        ("000.00000", 9),
        ("000", 3),
        ("", 20),
        (description, 19),
        ("3", 1),
        ("", 124),
        ("Hutong", 40),
        ("Hutong", 40),
    )
    fields = (text.encode()[:size].decode(errors="ignore").encode() for text, size in texts)
    filled = (field.ljust(size) for field, (_, size) in zip(fields, texts, strict=True))
    return b"RPTC" + repeater_id.to_bytes(4, "big") + b"".join(filled)


def encode_options(repeater_id: int, text: str) -> bytes:
    return b"RPTO" + repeater_id.to_bytes(4, "big") + text.encode()


def encode_ping(repeater_id: int) -> bytes:
    return b"RPTPING" + repeater_id.to_bytes(4, "big")


def encode_closing(repeater_id: int) -> bytes:
    return b"RPTCL" + repeater_id.to_bytes(4, "big")


# --- OpenBridge -------------------------------------------------------------------------------


def seal(datagram: bytes, key: bytes) -> bytes:
    """A DMRD as it goes between masters: 53 bytes, and HMAC-SHA1 of them."""
    return datagram + hmac.digest(key, datagram, "sha1")


def unseal(datagram: bytes, key: bytes) -> bytes:
    """The DMRD of a datagram between masters.

    Raises: MalformedPacketError when it is none, or of somebody with another key.
    """
    if datagram[:4] != b"DMRD":
        raise MalformedPacketError(f"{bytes(datagram[:4])!r} is no command of OpenBridge", 0)
    _need_length(datagram, "DMRD of OpenBridge", SEALED_LENGTH)
    burst, digest = datagram[:DMRD_LENGTH], datagram[DMRD_LENGTH:]
    if not hmac.compare_digest(hmac.digest(key, burst, "sha1"), digest):
        raise MalformedPacketError("a DMRD that was sealed with another passphrase", DMRD_LENGTH)
    return burst
