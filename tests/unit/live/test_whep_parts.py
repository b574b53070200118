"""The pure parts of WHEP: offers, packets, and which pictures are sent when."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.base import AccessUnit, TrackFormat
from gateway.live import NotOffered
from gateway.live.frames import LiveFormat, LiveUnit
from gateway.live.whep_feed import AGAIN_S, Feed, annex_b, parameter_sets
from gateway.live.whep_sdp import OfferUnusable, Prepared, prepare_offer, restore_answer

OFFER = "\r\n".join(
    [
        "v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0 1",
        "m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103 104 105 106 107 112 113",
        "c=IN IP4 0.0.0.0", "a=mid:0", "a=recvonly",
        "a=candidate:1 1 udp 2122 0b7f5e5e-1.local 50000 typ host",
        "a=candidate:2 1 udp 2122 192.0.2.7 50000 typ host",
        "a=rtpmap:96 VP8/90000", "a=rtcp-fb:96 nack pli",
        "a=rtpmap:97 rtx/90000", "a=fmtp:97 apt=96",
        "a=rtpmap:102 H264/90000", "a=rtcp-fb:102 nack pli",
        "a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f",
        "a=rtpmap:103 rtx/90000", "a=fmtp:103 apt=102",
        "a=rtpmap:104 H264/90000",
        "a=fmtp:104 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42001f",
        "a=rtpmap:105 rtx/90000", "a=fmtp:105 apt=104",
        "a=rtpmap:106 H264/90000",
        "a=fmtp:106 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
        "a=rtpmap:107 rtx/90000", "a=fmtp:107 apt=106",
        "a=rtpmap:112 H264/90000",
        "a=fmtp:112 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=64001f",
        "a=rtpmap:113 rtx/90000", "a=fmtp:113 apt=112",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111 0 8",
        "c=IN IP4 0.0.0.0", "a=mid:1", "a=recvonly",
        "a=rtpmap:111 opus/48000/2", "a=fmtp:111 minptime=10", "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000", "",
    ]
)  # fmt: skip


@pytest.mark.parametrize(
    ("codec", "taken", "profile"),
    [
        ("avc1.42001e", "102 103", "42001f"),
        ("avc1.42e01e", "106 107", "42e01f"),
        ("avc1.640028", "112 113", "64001f"),
        ("avc1.4d0029", "102 103", "42001f"),  # Main is not offered: any baseline
        ("avc1.64002a", "112 113", "64001f"),
    ],
)
def test_the_codec_that_fits_best_is_taken(codec: str, taken: str, profile: str) -> None:
    prepared = prepare_offer(OFFER, codec, None)
    assert prepared.profile == profile
    assert f"m=video 9 UDP/TLS/RTP/SAVPF {taken}\r\n" in prepared.sdp
    assert "VP8" not in prepared.sdp
    assert prepared.sdp.count("profile-level-id=42e01f") == 1
    assert prepared.sdp.count("profile-level-id=") == 1
    assert "candidate" not in prepared.sdp
    assert "m=audio 9 UDP/TLS/RTP/SAVPF 111 0 8" in prepared.sdp
    answer = "a=fmtp:102 packetization-mode=1;profile-level-id=42e01f"
    assert restore_answer(answer, prepared).endswith(profile)


def test_sound_is_taken_as_it_is() -> None:
    prepared = prepare_offer(OFFER, "avc1.42e01e", "pcma")
    assert prepared.sound
    assert "m=audio 9 UDP/TLS/RTP/SAVPF 8\r\n" in prepared.sdp
    assert "opus" not in prepared.sdp
    without = OFFER.replace("a=rtpmap:8 PCMA/8000\r\n", "")
    assert not prepare_offer(without, "avc1.42e01e", "pcma").sound


@pytest.mark.parametrize(
    ("offer", "understood"),
    [
        ("", False),
        ("hello", False),
        ("v=0\r\n", False),
        (OFFER.replace("H264", "H263"), True),
        (OFFER.replace("m=video", "m=text"), True),
        (OFFER.replace("packetization-mode=1", "packetization-mode=0"), True),
    ],
)
def test_offers_that_cannot_be_used(offer: str, understood: bool) -> None:
    with pytest.raises(OfferUnusable) as raised:
        prepare_offer(offer, "avc1.42e01e", "pcmu")
    assert raised.value.understood == understood


@given(st.lists(st.sampled_from([*OFFER.split("\r\n"), "m=video", "m=", "a=fmtp:102", "a=x"])))
def test_any_lines_are_taken_or_refused(lines: list[str]) -> None:
    with contextlib.suppress(OfferUnusable):
        assert isinstance(prepare_offer("\r\n".join(lines), "avc1.42e01e", "pcmu"), Prepared)


def test_units_and_parameter_sets_follow_start_codes() -> None:
    assert annex_b(b"\0\0\0\2ab\0\0\0\1c") == b"\0\0\0\1ab\0\0\0\1c"
    assert annex_b(b"\0\0\0\2ab\0\0\0\7c") == b"\0\0\0\1ab"
    avcc = b"\x01\x42\xe0\x1e\xff\xe1\0\3sps\1\0\3pps"
    assert parameter_sets(avcc) == b"\0\0\0\1sps\0\0\0\1pps"
    assert parameter_sets(avcc[:-1]) == b"\0\0\0\1sps"


@given(st.binary(max_size=60))
def test_any_bytes_make_whole_packets(data: bytes) -> None:
    assert isinstance(annex_b(data), bytes)
    assert isinstance(parameter_sets(data), bytes)


FORMAT = LiveFormat(
    track=TrackFormat(
        track=0, kind="video", codec="avc1.42e01e", description=b"\1\x42\xe0\x1e\xff\xe1\0\3sps\0"
    )
)


def picture(number: int, *, key: bool = False) -> LiveUnit:
    unit = AccessUnit(
        track=0, pts_us=number * 40_000, keyframe=key, data=b"\0\0\0\1" + bytes([number])
    )
    return LiveUnit(unit, video=True, sequence=0, placement=None)


class Fed:
    """A feed, and what it has sent: (number of the picture, time in ms, with parameter sets)."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.asked = 0
        self.feed = Feed(sound=None, ask=self._ask, max_group_units=4, clock=lambda: self.now_s)

    def _ask(self) -> None:
        self.asked += 1

    async def add(self, *entries: LiveUnit | LiveFormat) -> list[tuple[int, float, bool]]:
        for entry in entries:
            await self.feed.add(entry)
        return await self.sent()

    async def sent(self) -> list[tuple[int, float, bool]]:
        found = []
        while not self.feed.pictures._packets.empty():
            packet = await self.feed.pictures.recv()
            data = bytes(packet)
            assert packet.pts is not None
            found.append((data[-1], packet.pts / 1_000, b"sps" in data))
        return found


async def test_a_peer_begins_at_the_keyframe_and_is_on_time_at_once() -> None:
    fed = Fed()
    assert await fed.add(FORMAT, picture(0), picture(1, key=True), picture(2), picture(3)) == []
    await fed.feed.connected()
    assert await fed.sent() == [(1, 118, True), (2, 119, False), (3, 120, False)]
    assert await fed.add(picture(4)) == [(4, 160, False)]


async def test_a_lost_picture_brings_the_group_again_at_most_once_a_second() -> None:
    fed = Fed()
    await fed.add(FORMAT, picture(0, key=True))
    await fed.feed.connected()
    await fed.add(picture(1))
    fed.feed.lost_picture()
    again = await fed.add(picture(2))
    assert [number for number, _, _ in again] == [0, 1, 2]
    assert again[0][2]
    times = [time for _, time, _ in again]
    assert times == sorted(times)
    assert times[0] > 40
    assert times[-1] <= 80
    fed.feed.lost_picture()
    assert [number for number, _, _ in await fed.add(picture(3))] == [3]
    fed.now_s += AGAIN_S
    assert [number for number, _, _ in await fed.add(picture(4, key=True))] == [4]
    assert [number for number, _, _ in await fed.add(picture(5))] == [5]  # the keyframe was it


async def test_a_group_that_is_not_kept_makes_the_camera_be_asked() -> None:
    fed = Fed()
    await fed.add(FORMAT, picture(0, key=True))
    await fed.feed.connected()
    await fed.add(*(picture(number) for number in range(1, 7)))
    fed.feed.lost_picture()
    await fed.add(picture(7))
    assert fed.asked == 1


async def test_pictures_that_become_another_codec_end_the_view() -> None:
    fed = Fed()
    await fed.add(FORMAT)
    other = TrackFormat(track=0, kind="video", codec="hvc1.1.6.L93.B0", description=b"")
    with pytest.raises(NotOffered, match="hvc1"):
        await fed.add(LiveFormat(track=other))
