"""RTCP (RFC 3550 section 6): sender reports in, receiver reports out. No I/O."""

import struct
from typing import NamedTuple

from adapters.errors import ProtocolViolation

_SENDER, _RECEIVER, _DESCRIPTION = 200, 201, 202
_NTP_SHIFT = 1 << 32


class SenderReport(NamedTuple):
    """Which moment of the sender's wall clock a media timestamp stands for.

    wall_us: µs since 1900 on the sender's clock; 0 for a sender without one. timestamp: RTP.
    """

    ssrc: int
    wall_us: int
    timestamp: int


def sender_reports(data: bytes) -> list[SenderReport]:
    """The sender reports of a compound packet. Raises: ProtocolViolation."""
    reports, at = [], 0
    while at < len(data):
        if len(data) - at < 4 or data[at] >> 6 != 2:
            raise ProtocolViolation("this is not an RTCP packet of version 2")
        stop = at + 4 + 4 * int.from_bytes(data[at + 2 : at + 4], "big")
        if stop > len(data):
            raise ProtocolViolation("an RTCP packet is cut short")
        if data[at + 1] == _SENDER:
            if stop - at < 28:
                raise ProtocolViolation("a sender report is cut short")
            ssrc, ntp, timestamp = struct.unpack_from(">IQI", data, at + 4)
            reports.append(SenderReport(ssrc, ntp * 1_000_000 // _NTP_SHIFT, timestamp))
        at = stop
    return reports


def receiver_report(ssrc: int) -> bytes:
    """A sign of life: a receiver report without figures, and who we are."""
    item = b"\x01\x06hutong\x00\x00\x00\x00"
    chunk = struct.pack(">I", ssrc) + item
    return (
        struct.pack(">BBHI", 0x80, _RECEIVER, 1, ssrc)
        + struct.pack(">BBH", 0x81, _DESCRIPTION, len(chunk) // 4)
        + chunk
    )
