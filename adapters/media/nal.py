"""What the NAL unit codecs (H.264, H.265) have in common: kinds of units, and their formats."""

import dataclasses
import enum
from collections.abc import Iterable, Mapping
from typing import Protocol

MAX_NAL_BYTES = 8 * 1024 * 1024
MAX_FRAGMENTS = 65_536
"""Pieces of one unit: a peer that sends single bytes must not cost a hundred times their size."""


class NalKind(enum.Enum):
    """What a NAL unit is to us. SKIPPABLE: a picture that cannot be decoded after joining here."""

    PARAMETER = "parameter"
    KEY = "key"
    PICTURE = "picture"
    SKIPPABLE = "skippable"
    DELIMITER = "delimiter"
    OTHER = "other"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VideoFormat:
    """What parameter sets say. codec: RFC 6381. width, height: pixels after cropping.
    fps: 0 if they do not say."""

    codec: str
    description: bytes
    width: int
    height: int
    fps: float


class Depacketiser(Protocol):
    """Turns RTP payloads of one track into NAL units.

    continuation: what the payload of a fragment begins with that goes on with the unit that is
    half received; empty where none is.
    """

    continuation: bytes

    def push(self, payload: bytes) -> list[bytes]:
        """The NAL units that this payload completes. Raises: ProtocolViolation, NotSupported."""

    def extend(self, piece: bytes) -> None:
        """Go on with what follows `continuation` in such a payload. Raises: ProtocolViolation."""

    def reset(self) -> None:
        """Forget a half-received unit, after a loss."""


class NalCodec(Protocol):
    """One codec whose access units are made of NAL units."""

    name: str
    kinds: tuple[NalKind, ...]
    """What a NAL unit is, by its first byte."""

    def depacketiser(self) -> Depacketiser: ...

    def kind(self, nal: bytes) -> NalKind: ...

    def begins_picture(self, nal: bytes) -> bool:
        """Whether a unit of a picture is the first of it."""

    def parameter_key(self, nal: bytes) -> tuple[int, int]:
        """(NAL unit type, id of the set): a later set of the same key replaces it.
        Raises: ProtocolViolation."""

    def is_root(self, nal: bytes) -> bool:
        """A sequence parameter set: a changed one makes all sets that hang on it stale."""

    def parameter_sets_of(self, fmtp: Mapping[str, str]) -> list[bytes]:
        """The parameter sets that an SDP carries; what cannot be read is left out."""

    def video_format(self, sets: Iterable[bytes]) -> VideoFormat | None:
        """None while a set is missing. Raises: ProtocolViolation."""


def split_annex_b(data: bytes) -> list[bytes]:
    """NAL units of a byte stream with start codes (H.264 annex B)."""
    units = []
    begin = data.find(b"\x00\x00\x01")
    while begin >= 0:
        end = data.find(b"\x00\x00\x01", begin + 3)
        unit = data[begin + 3 : end if end >= 0 else len(data)]
        unit = unit.rstrip(b"\x00") if end >= 0 else unit
        if unit:
            units.append(unit)
        begin = end
    return units


def join_with_lengths(nals: Iterable[bytes]) -> bytes:
    """NAL units, each preceded by its length in 4 bytes (ISO/IEC 14496-15)."""
    parts = []
    for nal in nals:
        parts.append(len(nal).to_bytes(4, "big"))
        parts.append(nal)
    return b"".join(parts)


def split_with_lengths(data: bytes) -> list[bytes]:
    """The inverse of `join_with_lengths`; a last unit that is cut short is left out."""
    units, at = [], 0
    while at + 4 <= len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data):
            break
        units.append(data[at + 4 : end])
        at = end
    return units
