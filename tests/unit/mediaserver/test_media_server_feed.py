"""The RTSP server that media servers read from, asked by hand."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import pytest
from patience import wait_until

from adapters.base import AccessUnit, TrackFormat
from gateway.live.errors import NoSource
from gateway.live.frames import LiveFormat, LiveUnit
from gateway.live.mediaserver.feed import FeedServer
from gateway.live.viewer import Viewer

SPS, PPS = b"\x67\x42\xc0\x1e\x95", b"\x68\xce\x3c\x80"
AVCC = b"\x01\x42\xc0\x1e\xff\xe1\x00\x05" + SPS + b"\x01\x00\x04" + PPS
PICTURES = LiveFormat(
    track=TrackFormat(track=0, kind="video", codec="avc1.42c01e", description=AVCC)
)
SINGLE = LiveFormat(track=TrackFormat(track=0, kind="video", codec="jpeg", description=b""))
STREAM = "secret/name"


def picture(number: int, *, key: bool = False) -> LiveUnit:
    data = (4).to_bytes(4, "big") + b"\x65" + number.to_bytes(3, "big")
    unit = AccessUnit(track=0, pts_us=number * 40_000, keyframe=key, data=data)
    return LiveUnit(unit, video=True, sequence=number, placement=None)


class Stage:
    """What is behind the feed: one stream, whose viewers a test plays to."""

    def __init__(self) -> None:
        self.viewers: list[Viewer] = []
        self.entries: list[LiveFormat | LiveUnit] = [PICTURES, picture(0, key=True)]
        self.server = FeedServer(self.open_stream, host="127.0.0.1", port=0)

    async def open_stream(self, asked: str) -> AbstractAsyncContextManager[Viewer]:
        if asked != STREAM:
            raise NoSource("nobody may watch this")
        return self.tap()

    @contextlib.asynccontextmanager
    async def tap(self) -> AsyncIterator[Viewer]:
        viewer = Viewer(50)
        self.viewers.append(viewer)
        viewer.begin(self.entries)
        try:
            yield viewer
        finally:
            self.viewers.remove(viewer)


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._sent = 0

    async def ask(self, method: str, path: str = STREAM, **headers: str) -> tuple[int, str]:
        """Status, and all the rest of the answer as text."""
        self._sent += 1
        lines = [f"{method} rtsp://127.0.0.1/{path} RTSP/1.0", f"CSeq: {self._sent}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        async with asyncio.timeout(30):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            size = head.partition("Content-Length: ")[2].partition("\r\n")[0]
            body = await self.reader.readexactly(int(size or 0))
        assert f"CSeq: {self._sent}\r\n" in head
        return int(head.split()[1]), head + body.decode()

    async def set_up(self) -> None:
        assert (await self.ask("DESCRIBE"))[0] == 200
        track = f"{STREAM}/track=0"
        assert (await self.ask("SETUP", track, Transport="RTP/AVP/TCP;interleaved=0-1"))[0] == 200

    async def play(self) -> None:
        await self.set_up()
        assert (await self.ask("PLAY"))[0] == 200

    async def packet(self) -> bytes:
        async with asyncio.timeout(30):
            head = await self.reader.readexactly(4)
            assert head[:2] == b"$\x00"
            return await self.reader.readexactly(int.from_bytes(head[2:], "big"))

    async def ended(self) -> None:
        async with asyncio.timeout(30):
            with contextlib.suppress(ConnectionError):
                await self.reader.read()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    it = Stage()
    async with it.server:
        yield it
    await wait_until(lambda: not it.viewers, what="the stream to be left")
    left = [task for task in asyncio.all_tasks() if task.get_name().startswith("media-feed")]
    assert left == []


@contextlib.asynccontextmanager
async def connected(stage: Stage) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.server.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_it_plays_from_the_keyframe_on(stage: Stage) -> None:
    async with connected(stage) as client:
        status, said = await client.ask("OPTIONS")
        assert status == 200
        assert "DESCRIBE" in said
        await client.play()
        assert [(await client.packet())[12:] for _ in range(3)] == [SPS, PPS, b"\x65\0\0\0"]
        stage.viewers[0].offer(picture(1))
        packet = await client.packet()
        assert packet[12:] == b"\x65\0\0\1"
        assert packet[1] & 0x80, "the last of its picture"
        assert stage.server.reading == 1
        client.writer.write(b"$\x01\x00\x04RTCP")  # a report, which is passed over
        assert (await client.ask("GET_PARAMETER"))[0] == 200
        assert (await client.ask("TEARDOWN"))[0] == 200
        await client.ended()


@pytest.mark.parametrize("path", ["", "secret", "secret/other", "other/name", "name"])
async def test_what_nobody_may_watch_is_not_there(stage: Stage, path: str) -> None:
    async with connected(stage) as client:
        assert (await client.ask("DESCRIBE", path))[0] == 404
    assert stage.server.refused == 1


async def test_a_later_reader_takes_the_stream_over(stage: Stage) -> None:
    async with connected(stage) as first, connected(stage) as second:
        await first.play()
        await second.play()
        await first.ended()
        await wait_until(lambda: len(stage.viewers) == 1, what="one viewer")
        await second.packet()


async def test_who_may_not_watch_any_more_is_cut_off(stage: Stage) -> None:
    async with connected(stage) as client:
        await client.play()
        stage.server.disconnect("secret/another")
        assert (await client.packet())[12:] == SPS
        stage.server.disconnect(STREAM)
        await client.ended()


async def test_another_codec_is_told_by_beginning_anew(stage: Stage) -> None:
    async with connected(stage) as client:
        await client.play()
        stage.viewers[0].offer(SINGLE)
        await client.ended()


async def test_a_stream_that_ends_ends_the_connection(stage: Stage) -> None:
    async with connected(stage) as client:
        await client.play()
        stage.viewers[0].close(1000, "the camera is gone")
        await client.ended()


async def test_a_codec_that_is_not_carried_is_refused(stage: Stage) -> None:
    stage.entries = [SINGLE, picture(0, key=True)]
    async with connected(stage) as client:
        client.writer.write(f"DESCRIBE rtsp://x/{STREAM} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode())
        await client.ended()


async def test_packets_go_within_the_connection_only(stage: Stage) -> None:
    async with connected(stage) as client:
        assert (await client.ask("PLAY"))[0] == 455
        assert (await client.ask("DESCRIBE"))[0] == 200
        track = f"{STREAM}/track=0"
        udp = "RTP/AVP;unicast;client_port=5000-5001"
        assert (await client.ask("SETUP", track, Transport=udp))[0] == 461
        assert (await client.ask("SETUP", f"{STREAM}/track=7", Transport=udp))[0] == 404
        assert (await client.ask("PLAY"))[0] == 455
        assert (await client.ask("RECORD"))[0] == 501


@pytest.mark.parametrize(
    "junk", [b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"A" * 100_000]
)
async def test_junk_ends_its_connection_and_no_other(stage: Stage, junk: bytes) -> None:
    async with connected(stage) as good, connected(stage) as bad:
        await good.play()
        with contextlib.suppress(ConnectionError):
            bad.writer.write(junk)
            await bad.writer.drain()
        await bad.ended()
        await good.packet()
