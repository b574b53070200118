"""Homebrew protocol messages as a repeater writes and reads them. No I/O.

Layouts: HBlink4 docs/protocol.md for sign-in, configuration and DMRD; MMDVMHost's last direct
client (June 2023) for the two bytes that it adds to DMRD, DMRA, and the text form of RPTC.
All numbers are big-endian.
"""

import dataclasses
import enum
import hashlib
import struct

DMRD_BYTES = 53
DMRD_WITH_SIGNAL_BYTES = 55
PAYLOAD_BYTES = 33
CONFIGURATION_BYTES = 302
_DMRD = struct.Struct(">4sB3s3sIBI33s")


class MalformedPacket(ValueError):
    """A datagram that is not of the protocol; the message says why."""


class FrameType(enum.IntEnum):
    """Bits 5 and 4 of a DMRD's byte 15."""

    VOICE = 0
    VOICE_SYNC = 1
    DATA_SYNC = 2


class DataType(enum.IntEnum):
    """The low nibble of byte 15 where the frame type is DATA_SYNC (ETSI TS 102 361-1, 9.3.6)."""

    VOICE_HEADER = 1
    TERMINATOR = 2
    CSBK = 3
    DATA_HEADER = 6


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Dmrd:
    """One burst of a timeslot.

    sequence: 0..255, wraps. source, destination: 24-bit DMR ids. repeater: 32-bit id. slot: 1 or
    2. kind: a `DataType` where frame_type is DATA_SYNC, otherwise the burst's place in its
    superframe, 0 (A) to 5 (F). stream: 32 bits, new with each talk. payload: 33 bytes as on air.
    bit_errors: of the 141 protected voice bits. rssi_dbm: 0 if unknown, else negative.
    """

    sequence: int
    source: int
    destination: int
    repeater: int
    slot: int
    private: bool = False
    frame_type: FrameType
    kind: int
    stream: int
    payload: bytes
    bit_errors: int = 0
    rssi_dbm: int = 0

    @property
    def is_header(self) -> bool:
        return self.frame_type is FrameType.DATA_SYNC and self.kind == DataType.VOICE_HEADER

    @property
    def is_terminator(self) -> bool:
        return self.frame_type is FrameType.DATA_SYNC and self.kind == DataType.TERMINATOR

    @property
    def is_voice(self) -> bool:
        return self.frame_type is not FrameType.DATA_SYNC

    def encode(self) -> bytes:
        """The 55 bytes that a repeater sends."""
        bits = (self.slot == 2) << 7 | self.private << 6 | self.frame_type << 4 | self.kind
        head = _DMRD.pack(
            b"DMRD",
            self.sequence,
            self.source.to_bytes(3, "big"),
            self.destination.to_bytes(3, "big"),
            self.repeater,
            bits,
            self.stream,
            self.payload,
        )
        return head + bytes((self.bit_errors, -self.rssi_dbm))


def read_dmrd(datagram: bytes) -> Dmrd:
    """Read a DMRD of 53 bytes, or of 55 with bit errors and RSSI.

    Raises: MalformedPacket.
    """
    if len(datagram) not in (DMRD_BYTES, DMRD_WITH_SIGNAL_BYTES):
        raise MalformedPacket(f"DMRD of {len(datagram)} bytes, expected 53 or 55")
    _, sequence, source, destination, repeater, bits, stream, payload = _DMRD.unpack_from(datagram)
    if bits >> 4 & 3 == 3:
        raise MalformedPacket(f"DMRD with frame type 3 (byte 15 is 0x{bits:02x})")
    frame_type = FrameType(bits >> 4 & 3)
    kind = bits & 0x0F
    if frame_type is not FrameType.DATA_SYNC and kind > 5:
        raise MalformedPacket(f"voice burst {kind} of a superframe, expected 0 to 5")
    signal = datagram[DMRD_BYTES:]
    return Dmrd(
        sequence=sequence,
        source=int.from_bytes(source, "big"),
        destination=int.from_bytes(destination, "big"),
        repeater=repeater,
        slot=2 if bits & 0x80 else 1,
        private=bool(bits & 0x40),
        frame_type=frame_type,
        kind=kind,
        stream=stream,
        payload=payload,
        bit_errors=signal[0] if signal else 0,
        rssi_dbm=-signal[1] if signal else 0,
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """What a repeater tells the master about itself in RPTC.

    slots: ``1``, ``2``, ``3`` for both, ``4`` for a simplex hotspot.
    """

    rx_frequency_hz: int = 351_000_000
    tx_frequency_hz: int = 361_000_000
    power_w: int = 25
    colour_code: int = 1
    latitude_deg: float = 39.9042
    longitude_deg: float = 116.4074
    height_m: int = 30
    location: str = ""
    description: str = ""
    slots: str = "3"
    url: str = ""
    software: str = "20230605"
    package: str = "MMDVM"


def login(repeater: int) -> bytes:
    return b"RPTL" + repeater.to_bytes(4, "big")


def key(repeater: int, salt: bytes, passphrase: str) -> bytes:
    """RPTK: the answer to the salt, SHA-256 over salt and passphrase."""
    digest = hashlib.sha256(salt + passphrase.encode()).digest()
    return b"RPTK" + repeater.to_bytes(4, "big") + digest


def configuration(repeater: int, callsign: str, station: Station) -> bytes:
    """RPTC, 302 bytes; texts are cut or filled up with blanks to their fields."""
    fields = (
        _text(callsign, 8),
        f"{station.rx_frequency_hz:09d}".encode()[:9],
        f"{station.tx_frequency_hz:09d}".encode()[:9],
        f"{min(station.power_w, 99):02d}".encode(),
        f"{station.colour_code:02d}".encode(),
        _text(f"{station.latitude_deg:08.5f}", 8),
        _text(f"{station.longitude_deg:09.5f}", 9),
        f"{min(station.height_m, 999):03d}".encode(),
        _text(station.location, 20),
        _text(station.description, 19),
        _text(station.slots, 1),
        _text(station.url, 124),
        _text(station.software, 40),
        _text(station.package, 40),
    )
    return b"RPTC" + repeater.to_bytes(4, "big") + b"".join(fields)


def options(repeater: int, text: str) -> bytes:
    return b"RPTO" + repeater.to_bytes(4, "big") + text.encode()


def ping(repeater: int) -> bytes:
    return b"RPTPING" + repeater.to_bytes(4, "big")


def close(repeater: int) -> bytes:
    return b"RPTCL" + repeater.to_bytes(4, "big")


def position(source: int, data: bytes) -> bytes:
    """DMRG: the 7 bytes in which a radio says where it is; it names no repeater."""
    return b"DMRG" + source.to_bytes(3, "big") + data


def talker_alias(source: int, block: int, data: bytes) -> bytes:
    """DMRA: one of the four 7-byte blocks of a talker alias; it names no repeater."""
    return b"DMRA" + source.to_bytes(3, "big") + bytes((block,)) + data


class MasterWord(enum.Enum):
    """What a master says besides DMRD."""

    ACK = b"RPTACK"
    NAK = b"MSTNAK"
    CLOSE = b"MSTCL"
    PONG = b"MSTPONG"
    BEACON = b"RPTSBKN"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MasterMessage:
    """body: what follows the word, usually the repeater's id; the salt after RPTL."""

    word: MasterWord
    body: bytes


def read_master(datagram: bytes) -> MasterMessage:
    """Read a control message of the master.

    Raises: MalformedPacket.
    """
    for word in MasterWord:
        if datagram.startswith(word.value):
            body = datagram[len(word.value) :]
            if word is not MasterWord.BEACON and len(body) != 4:
                raise MalformedPacket(
                    f"{word.value.decode()} followed by {len(body)} bytes, expected 4"
                )
            return MasterMessage(word=word, body=body)
    raise MalformedPacket(f"unknown message from the master: {datagram[:8]!r}")


def _text(text: str, size: int) -> bytes:
    """Cut at a character boundary and filled with blanks."""
    cut = text.encode()[:size].decode(errors="ignore").encode()
    return cut.ljust(size)
