"""Servers whose answers are damaged on the way: the reader says so, and leaves nothing behind."""

import asyncio
import contextlib
import random

from media_samples import rtp_stream, sample
from scripted_camera import SDP, Asked, ScriptedCamera, camera, until

from adapters.errors import AdapterError
from adapters.events import RtspSource, Secret
from adapters.footprint import Footprint
from adapters.media import RtspLimits, open_stream

QUICK = RtspLimits(connect_s=2.0, request_s=0.3, silence_s=0.4, farewell_s=0.1)
SEEDS = 120


def damaged(data: bytes, chance: random.Random) -> bytes:
    """data with some of its bytes changed, left out, repeated, or strange ones in between."""
    result = bytearray(data)
    for _ in range(chance.choice((0, 1, 1, 2, 8))):
        at = chance.randrange(len(result) + 1)
        match chance.randrange(4):
            case 0:
                result[at : at + 1] = chance.randbytes(1)
            case 1:
                del result[at : at + chance.choice((1, 4, 40))]
            case 2:
                result[at:at] = result[at : at + chance.choice((1, 10, 200))]
            case 3:
                result[at:at] = chance.choice((b"$\0\xff\xff", b"\r\n", b";", b'"', b"9" * 12))
    return bytes(result)


async def _play(seed: int) -> str:
    """Play a damaged camera; gives what came of it: ``pictures`` or the error's name."""
    chance = random.Random(seed)
    packets = [damaged(data, chance) for unit in rtp_stream(sample()) for data in unit]
    sdp = f"{SDP}m=audio 0 RTP/AVP 8\r\na=control:trackID=2\r\n"

    def script(asked: Asked) -> bytes | None:
        if asked.method == "DESCRIBE" and "authorization" not in asked.headers:
            lines = ['WWW-Authenticate: Digest realm="r", nonce="n", qop="auth"']
            return damaged(asked.answer("401 Unauthorized", lines), chance)
        return damaged(polite.politely(asked), chance)

    polite = ScriptedCamera(None, packets, sdp)
    async with camera(script, packets, sdp) as it:
        source = RtspSource(url=it.url, username="u", password=Secret("p"))
        try:
            async with open_stream(source, limits=QUICK, audio=True) as stream:
                async for _ in stream:
                    pass
        except AdapterError as error:
            signed = [asked for asked in it.asked if "authorization" in asked.headers]
            told = sum(asked.method == "DESCRIBE" for asked in signed)
            assert told <= 2
            return type(error).__name__
    return "ended"


async def test_whatever_is_damaged_is_an_error_of_ours() -> None:
    await asyncio.to_thread(sample)
    before = Footprint.now()
    ends: list[str] = []
    async with asyncio.timeout(60):
        for first in range(0, SEEDS, 40):
            ends += await asyncio.gather(*(_play(seed) for seed in range(first, first + 40)))
    assert {"TimedOut", "ProtocolViolation"} <= set(ends)
    assert "ended" not in ends
    with contextlib.suppress(TimeoutError):
        await until(lambda: not Footprint.now().beyond(before))
    assert not Footprint.now().beyond(before)
