"""Homebrew messages against the documented byte offsets."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.homebrew_repeater import wire
from simulators.homebrew_repeater.faults import malformed_packets

PAYLOAD = bytes(range(33))


def test_dmrd_bytes_are_where_they_belong() -> None:
    sent = wire.Dmrd(
        sequence=0x7F,
        source=0x112233,
        destination=0x445566,
        repeater=0x0A0B0C0D,
        slot=2,
        private=True,
        frame_type=wire.FrameType.DATA_SYNC,
        kind=wire.DataType.TERMINATOR,
        stream=0xCAFEBABE,
        payload=PAYLOAD,
        bit_errors=3,
        rssi_dbm=-71,
    ).encode()
    assert len(sent) == 55
    assert sent[:4] == b"DMRD"
    assert sent[4] == 0x7F
    assert sent[5:8].hex() == "112233"
    assert sent[8:11].hex() == "445566"
    assert sent[11:15].hex() == "0a0b0c0d"
    assert sent[15] == 0x80 | 0x40 | 0x20 | 0x02
    assert sent[16:20].hex() == "cafebabe"
    assert sent[20:53] == PAYLOAD
    assert (sent[53], sent[54]) == (3, 71)


@pytest.mark.parametrize(
    ("bits", "slot", "private", "frame_type", "kind"),
    [
        (0x21, 1, False, wire.FrameType.DATA_SYNC, 1),
        (0x10, 1, False, wire.FrameType.VOICE_SYNC, 0),
        (0x05, 1, False, wire.FrameType.VOICE, 5),
        (0xE2, 2, True, wire.FrameType.DATA_SYNC, 2),
        (0x83, 2, False, wire.FrameType.VOICE, 3),
    ],
)
def test_control_bits(
    bits: int, slot: int, private: bool, frame_type: wire.FrameType, kind: int
) -> None:
    datagram = b"DMRD" + bytes(11) + bytes((bits,)) + bytes(4) + PAYLOAD
    assert len(datagram) == 53
    read = wire.read_dmrd(datagram)
    assert (read.slot, read.private, read.frame_type, read.kind) == (
        slot,
        private,
        frame_type,
        kind,
    )
    assert read.encode()[:53] == datagram


def test_configuration_fields() -> None:
    station = wire.Station(
        rx_frequency_hz=351_012_500,
        tx_frequency_hz=361_012_500,
        power_w=250,
        colour_code=3,
        latitude_deg=-41.805678,
        longitude_deg=123.431472,
        height_m=45,
        location="万莲派出所 Wanlian station",
        description="roof",
        slots="3",
        url="",
    )
    sent = wire.configuration(460_011, "BY2HT-1", station)
    assert len(sent) == 302
    assert sent[:4] == b"RPTC"
    assert int.from_bytes(sent[4:8], "big") == 460_011
    assert sent[8:16] == b"BY2HT-1 "
    assert sent[16:25] == b"351012500"
    assert sent[25:34] == b"361012500"
    assert sent[34:36] == b"99"
    assert sent[36:38] == b"03"
    assert sent[38:46] == b"-41.8056"
    assert sent[46:55] == b"123.43147"
    assert sent[55:58] == b"045"
    assert sent[58:78].decode().startswith("万莲派出所")
    assert sent[78:97] == b"roof".ljust(19)
    assert sent[97:98] == b"3"
    assert sent[98:222] == b" " * 124
    assert sent[222:262].rstrip() == b"20230605"
    assert sent[262:302].rstrip() == b"MMDVM"


def test_short_messages() -> None:
    name = bytes.fromhex("00070502")
    repeater = int.from_bytes(name, "big")
    assert wire.login(repeater) == b"RPTL" + name
    digest = hashlib.sha256(b"\x09\x08\x07\x06hutong").digest()
    assert wire.key(repeater, b"\x09\x08\x07\x06", "hutong") == b"RPTK" + name + digest
    assert wire.options(repeater, "TS1=101") == b"RPTO" + name + b"TS1=101"
    assert wire.ping(repeater) == b"RPTPING" + name
    assert wire.close(repeater) == b"RPTCL" + name
    assert wire.talker_alias(0x010203, 1, b"1234567") == b"DMRA\x01\x02\x03\x011234567"


@pytest.mark.parametrize(
    ("datagram", "word", "body"),
    [
        (b"RPTACK\x01\x02\x03\x04", wire.MasterWord.ACK, b"\x01\x02\x03\x04"),
        (b"MSTNAK\x00\x00\x00\x01", wire.MasterWord.NAK, b"\x00\x00\x00\x01"),
        (b"MSTCL\x00\x00\x00\x01", wire.MasterWord.CLOSE, b"\x00\x00\x00\x01"),
        (b"MSTPONG\x00\x00\x00\x01", wire.MasterWord.PONG, b"\x00\x00\x00\x01"),
    ],
)
def test_what_the_master_says(datagram: bytes, word: wire.MasterWord, body: bytes) -> None:
    assert wire.read_master(datagram) == wire.MasterMessage(word=word, body=body)


def test_malformed_dmrd_are_refused() -> None:
    packets = malformed_packets(460_011)
    refused = {}
    for name, packet in packets.items():
        if packet.startswith(b"DMRD") and name != "other repeater":
            with pytest.raises(wire.MalformedPacket) as caught:
                wire.read_dmrd(packet)
            refused[name] = str(caught.value)
    assert set(refused) == {"word only", "short", "long", "frame type 3", "burst 9"}
    assert wire.read_dmrd(packets["other repeater"]).repeater == 460_010


@given(datagram=st.binary(max_size=80))
def test_any_datagram_is_read_or_refused(datagram: bytes) -> None:
    for read in (wire.read_dmrd, wire.read_master):
        for data in (datagram, b"DMRD" + datagram, b"RPTACK" + datagram):
            try:
                read(data)
            except wire.MalformedPacket:
                continue
