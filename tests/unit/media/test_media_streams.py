"""Reading streams over real sockets: the session, its errors, and both readers."""

import asyncio
import contextlib
import functools
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import av
import pytest
import uvloop
from media_samples import lengths, pictures_only, rtp, rtp_stream, sample
from scripted_camera import SDP, Asked, ScriptedCamera, camera, until

from adapters.base import AccessUnit, MediaItem, PacketSource, TrackFormat
from adapters.errors import (
    AdapterError,
    AuthenticationFailed,
    Busy,
    NotSupported,
    ProtocolViolation,
    TimedOut,
    Unreachable,
)
from adapters.events import RtspSource, Secret
from adapters.footprint import Footprint
from adapters.media import MediaStream, RtspLimits, ThreadSlots, open_stream
from adapters.media.delivery import MediaQueue
from adapters.media.handover import MAX_WAITING_PACKETS, Handover, description_of
from adapters.media.reading import open_rtsp
from adapters.media.rtsp import RtspSession, open_session
from adapters.media.sdp import parse_sdp
from simulators.rtsp_camera import RtspCamera, RtspCameraSpec, RtspFleet

QUICK = RtspLimits(connect_s=2.0, request_s=0.3, silence_s=0.4, farewell_s=0.2)
PASSWORD = "planted p@ss:/"

open_native = functools.partial(open_rtsp, reader="native")
open_pyav = functools.partial(open_rtsp, reader="pyav")


def source(it: ScriptedCamera, **fields: object) -> RtspSource:
    return RtspSource(url=it.url, **fields)  # type: ignore[arg-type]


async def take(stream: MediaStream, count: int) -> list[MediaItem]:
    items: list[MediaItem] = []
    async with asyncio.timeout(10):
        async for item in stream:
            items.append(item)
            if len(items) == count:
                break
    return items


@pytest.fixture(scope="session")
def clip_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture
async def street(clip_cache: Path) -> AsyncIterator[RtspCamera]:
    spec = RtspCameraSpec(
        name="street",
        username="viewer",
        password=PASSWORD,
        main_size=(160, 128),
        sub_size=(128, 96),
        gop_s=0.4,
    )
    async with RtspFleet([spec], clip_cache=clip_cache) as fleet:
        yield fleet.cameras["street"]


def at(it: RtspCamera, profile: str = "main", **fields: object) -> RtspSource:
    url = it.url("main" if profile == "main" else "sub")
    given = {"username": "viewer", "password": Secret(PASSWORD), **fields}
    return RtspSource(url=url, **given)  # type: ignore[arg-type]


# --- what a stream gives ----------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["h264", "h265"])
async def test_the_whole_session_and_its_pictures(codec: str) -> None:
    clip = sample(codec)
    packets = [data for unit in rtp_stream(clip) for data in unit]
    async with camera(packets=packets, sdp=SDP.replace("H264", codec.upper())) as it:
        async with open_stream(source(it)) as stream:
            assert stream.reader == "native"
            track, *units = await take(stream, 1 + len(clip.units))
        assert isinstance(track, TrackFormat)
        assert [unit.data for unit in units if isinstance(unit, AccessUnit)] == [
            lengths(pictures_only(codec, nals)) for nals in clip.units
        ]
        assert it.methods() == ["OPTIONS", "DESCRIBE", "SETUP", "PLAY", "TEARDOWN"]
        assert it.asked[2].url == f"{it.url}/trackID=1"
        assert {asked.headers.get("session") for asked in it.asked[3:]} == {"42"}


def test_the_loop_that_the_gateway_runs_on() -> None:
    async def play() -> list[MediaItem]:
        packets = [data for unit in rtp_stream(sample()) for data in unit]
        async with camera(packets=packets) as it, open_stream(source(it)) as stream:
            return await take(stream, 5)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert len(runner.run(play())) == 5


@pytest.mark.parametrize("reader", ["native", "pyav"])
async def test_a_simulated_camera(street: RtspCamera, reader: str) -> None:
    before = Footprint.now()
    opener = {"native": open_native, "pyav": open_pyav}[reader]
    async with opener(at(street)) as stream:
        track, *units = await take(stream, 10)
        assert stream.reader == reader
        assert street.clients == 1
    assert isinstance(track, TrackFormat)
    assert (track.width, track.height) == (160, 128)
    pictures = [unit for unit in units if isinstance(unit, AccessUnit)]
    assert pictures[0].keyframe
    times = [unit.pts_us for unit in pictures]
    assert times == sorted(set(times))
    await _gone(street, before)


async def _gone(it: RtspCamera, before: Footprint) -> None:
    await until(lambda: not it.sessions and not Footprint.now().beyond(before))


async def test_udp(street: RtspCamera) -> None:
    street.udp_ports()  # the camera keeps them
    before = Footprint.now()
    async with open_stream(at(street, transport="udp")) as stream:
        assert (stream.reader, stream.transport) == ("native", "udp")
        items = await take(stream, 10)
    assert isinstance(items[0], TrackFormat)
    await _gone(street, before)


@pytest.mark.parametrize("reader", ["native", "pyav"])
async def test_cancelling_leaves_nothing_behind(street: RtspCamera, reader: str) -> None:
    before = Footprint.now()
    opener = {"native": open_native, "pyav": open_pyav}[reader]
    playing = asyncio.Event()

    async def play() -> None:
        async with opener(at(street)) as stream:
            async for _ in stream:
                playing.set()

    task = asyncio.create_task(play())
    async with asyncio.timeout(10):
        await playing.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await _gone(street, before)


async def test_jpeg_goes_to_pyav_and_comes_out_as_pictures() -> None:
    sdp, packets = await asyncio.to_thread(_jpeg_packets)
    async with camera(packets=packets, sdp=sdp) as it, open_stream(source(it)) as stream:
        assert stream.reader == "pyav"
        assert "JPEG" in stream.reason
        track, first, second = await take(stream, 3)
    assert isinstance(track, TrackFormat)
    assert (track.codec, track.width, track.height) == ("jpeg", 64, 48)
    for unit in (first, second):
        assert isinstance(unit, AccessUnit)
        assert unit.keyframe
        assert unit.data.startswith(b"\xff\xd8")


def _jpeg_packets() -> tuple[str, list[bytes]]:
    """RTP packets of a JPEG stream, as FFmpeg's own muxer sends them."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as catcher:
        catcher.bind(("127.0.0.1", 0))
        catcher.settimeout(0.2)
        url = f"rtp://127.0.0.1:{catcher.getsockname()[1]}"
        packets: list[bytes] = []
        with av.open(url, "w", format="rtp") as output:
            stream = output.add_stream("mjpeg", rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
            for index in range(5):
                frame = av.VideoFrame(64, 48, "yuvj420p")
                frame.pts = index
                for packet in stream.encode(frame):
                    output.mux(packet)
                    packets += _caught(catcher)
        packets += _caught(catcher)
    sdp = "v=0\r\ns=-\r\nm=video 0 RTP/AVP 26\r\na=control:trackID=1\r\n"
    return sdp, packets


def _caught(catcher: socket.socket) -> list[bytes]:
    packets = []
    try:
        while True:
            data = catcher.recv(65_536)
            packets.append(data)
            if data[1] & 0x80:
                return packets
    except TimeoutError:
        return packets


async def test_a_mode_that_shows_only_in_the_packets_goes_to_pyav_in_the_middle() -> None:
    before = Footprint.now()
    clip = sample()
    plain = [data for unit in rtp_stream(clip) for data in unit]
    odd = rtp(65_500 + len(plain), 0, b"\x39\x00\x00")  # STAP-B: interleaved packetization
    after = rtp_stream(
        clip, first_sequence=65_501 + len(plain), first_timestamp=2**32 - 9_000 + 90_000
    )
    packets = [*plain, odd, *(data for unit in after for data in unit)]
    async with camera(packets=packets) as it:
        async with open_stream(source(it)) as stream:
            assert (stream.reader, stream.reason) == ("native", "")
            items = await take(stream, 1 + len(clip.units) + 3)
            assert stream.reader == "pyav"
            assert "interleaved" in stream.reason
        assert it.methods().count("PLAY") == 1
        assert it.methods()[-1] == "TEARDOWN"
    units = [item for item in items if isinstance(item, AccessUnit)]
    assert units[len(clip.units)].keyframe
    assert [unit.discontinuity for unit in units] == [
        number == len(clip.units) for number in range(len(units))
    ]
    times = [unit.pts_us for unit in units]
    assert times == sorted(set(times))
    await until(lambda: not Footprint.now().beyond(before))


async def test_no_more_threads_than_slots() -> None:
    sdp, packets = await asyncio.to_thread(_jpeg_packets)
    slots = ThreadSlots(1)
    async with camera(packets=packets, sdp=sdp) as it, open_stream(source(it), slots=slots):
        with pytest.raises(Busy):
            async with open_stream(source(it), slots=slots):
                pass
    async with camera(packets=packets, sdp=sdp) as it, open_stream(source(it), slots=slots) as one:
        assert await take(one, 2)


async def test_no_password_and_no_address_reaches_ffmpeg() -> None:
    (media,) = parse_sdp(SDP.encode()).media
    text = description_of(media).decode()
    assert "trackID" not in text
    assert "rtsp" not in text


async def test_nobody_else_can_read_what_is_handed_over() -> None:
    (media,) = parse_sdp(SDP.encode()).media
    handover = Handover(media)
    url = handover.open()
    port = int(url.split(":")[2].partition("/")[0])
    try:
        for path in ("", "/", "/" + "0" * 32):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                f"DESCRIBE rtsp://127.0.0.1:{port}{path} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode()
            )
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()
    finally:
        await handover.aclose()


async def test_a_reader_that_is_too_slow_drops_and_tells() -> None:
    (media,) = parse_sdp(SDP.encode()).media
    handover = Handover(media)
    assert not handover.take_gap()
    for number in range(MAX_WAITING_PACKETS + 10):
        handover.put(rtp(number, 0, b"\x41x"))
    assert handover.dropped == 10
    assert handover.take_gap()
    assert not handover.take_gap()
    with pytest.raises(ProtocolViolation):
        handover.put(b"no packet")
    await handover.aclose()


async def test_pyav_reads_on_for_as_long_as_there_are_packets() -> None:
    """FFmpeg reports to the sender after some 300 kB; that must hurt nobody."""
    sdp, packets = await asyncio.to_thread(_jpeg_packets)
    whole = next(n for n, data in enumerate(packets) if data[1] & 0x80) + 1
    picture = packets[:whole]
    size = sum(map(len, picture))
    repeats = 700_000 // size
    many = [
        data[:2] + (n * whole + k).to_bytes(2, "big") + (n * 9_000).to_bytes(4, "big") + data[8:]
        for n in range(repeats)
        for k, data in enumerate(picture)
    ]
    async with camera(packets=many, sdp=sdp) as it, open_stream(source(it)) as stream:
        items = await take(stream, repeats)
    assert len(items) == repeats


async def test_what_an_adapter_delivers_itself_is_passed_on() -> None:
    track = TrackFormat(track=0, kind="video", codec="jpeg", description=b"")

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[AsyncIterator[MediaItem]]:
        async def items() -> AsyncIterator[MediaItem]:
            yield track

        yield items()

    async with open_stream(PacketSource(open=opened)) as stream:
        assert stream.reader == "adapter"
        assert [item async for item in stream] == [track]


# --- signing in -------------------------------------------------------------------------------


def demanding(
    *challenges: str, accepts: Callable[[Asked], bool]
) -> Callable[[Asked], bytes | None]:
    def script(asked: Asked) -> bytes | None:
        if asked.method == "OPTIONS" or accepts(asked):
            return None
        lines = [f"WWW-Authenticate: {challenge}" for challenge in challenges]
        return asked.answer("401 Unauthorized", lines)

    return script


async def _describe(
    it: ScriptedCamera, username: str = "u", password: str = "p", **fields: object
) -> None:
    who = source(it, username=username, password=Secret(password), **fields)
    async with open_session(who, QUICK) as session:
        await session.options()
        await session.describe()


async def test_a_wrong_password_is_tried_once() -> None:
    script = demanding('Digest realm="r", nonce="n"', accepts=lambda asked: False)
    async with camera(script) as it:
        with pytest.raises(AuthenticationFailed) as raised:
            await _describe(it)
        assert it.methods() == ["OPTIONS", "DESCRIBE", "DESCRIBE"]
        assert str(it.port) in raised.value.device


async def test_without_a_password_none_is_invented() -> None:
    script = demanding('Basic realm="r"', accepts=lambda asked: False)
    async with camera(script) as it:
        with pytest.raises(AuthenticationFailed):
            await _describe(it, username="", password="")
        assert all("authorization" not in asked.headers for asked in it.asked)


async def test_basic_only_where_nothing_else_is_offered() -> None:
    script = demanding(
        'Basic realm="r"', accepts=lambda asked: asked.headers.get("authorization") == "Basic dTpw"
    )
    async with camera(script) as it:
        await _describe(it, allow_basic=True)
    async with camera(script) as it:
        with pytest.raises(AuthenticationFailed, match="Basic"):
            await _describe(it)
        assert not any("authorization" in asked.headers for asked in it.asked)
    both = demanding(
        'Basic realm="r"',
        'Digest realm="r", nonce="n"',
        accepts=lambda asked: asked.headers.get("authorization", "").startswith("Digest "),
    )
    async with camera(both) as it:
        await _describe(it)
        assert not any("Basic" in asked.headers.get("authorization", "") for asked in it.asked)


async def test_a_nonce_that_went_stale_is_renewed() -> None:
    def script(asked: Asked) -> bytes | None:
        nonce = "b" if asked.method in ("SETUP", "PLAY") else "a"
        if f'nonce="{nonce}"' in asked.headers.get("authorization", ""):
            return None
        lines = [f'WWW-Authenticate: Digest realm="r", nonce="{nonce}", stale=true']
        return asked.answer("401 Unauthorized", lines)

    clip = [data for unit in rtp_stream(sample()) for data in unit]
    async with camera(script, clip) as it:
        who = source(it, username="u", password=Secret("p"))
        async with open_stream(who, limits=QUICK) as stream:
            await take(stream, 2)


async def test_a_camera_that_hangs_up_with_its_challenge() -> None:
    def script(asked: Asked) -> bytes | None:
        if "authorization" in asked.headers:
            return None
        lines = ['WWW-Authenticate: Digest realm="r", nonce="n"', "Connection: close"]
        return asked.answer("401 Unauthorized", lines)

    async with camera(script) as it:
        await _describe(it)
        assert it.connections == 2


async def test_the_password_of_a_simulated_camera(street: RtspCamera) -> None:
    for opener in (open_native, open_pyav):
        with pytest.raises(AuthenticationFailed) as raised:
            async with opener(at(street, password=Secret("planted-wrong"))) as stream:
                await take(stream, 1)
        assert "planted" not in repr(raised.value) + str(raised.value)
        assert raised.value.__cause__ is None


# --- what goes wrong --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "status", "error"),
    [
        ("DESCRIBE", "404 Not Found", ProtocolViolation),
        ("DESCRIBE", "403 Forbidden", AuthenticationFailed),
        ("DESCRIBE", "453 Not Enough Bandwidth", Busy),
        ("SETUP", "453 Not Enough Bandwidth", Busy),
        ("PLAY", "503 Service Unavailable", Busy),
        ("SETUP", "461 Unsupported Transport", NotSupported),
    ],
)
async def test_refusals(method: str, status: str, error: type[AdapterError]) -> None:
    def script(asked: Asked) -> bytes | None:
        return asked.answer(status) if asked.method == method else None

    async with camera(script) as it:
        with pytest.raises(error) as raised:
            async with open_native(source(it), QUICK):
                pass
        assert str(it.port) in str(raised.value)


@pytest.mark.parametrize(
    "target", ["127.0.0.1", "localhost", "169.254.169.254", "[::1]", "0.0.0.0"]
)
async def test_a_redirect_into_our_own_machine_is_not_followed(target: str) -> None:
    session = RtspSession(RtspSource(url="rtsp://192.0.2.1/live"), QUICK)
    with pytest.raises(ProtocolViolation, match="redirects"):
        await session.follow(f"rtsp://{target}/latest")


async def test_a_redirect_on_the_same_camera_is_followed() -> None:
    def script(asked: Asked) -> bytes | None:
        if asked.method == "DESCRIBE" and not asked.url.endswith("/other"):
            return asked.answer("302 Moved", [f"Location: {asked.url}/other"])
        return None

    async with camera(script) as it:
        await _describe(it)
        assert it.asked[-1].url == f"{it.url}/other"


@pytest.mark.parametrize("base", ["rtsp://10.9.8.7/other/", "", "nonsense"])
async def test_the_announced_base_counts_where_it_is_one(base: str) -> None:
    def script(asked: Asked) -> bytes | None:
        if asked.method == "DESCRIBE":
            body = "v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:t1\r\n"
            return asked.answer(headers=[f"Content-Base: {base}"], body=body)
        return None

    async with camera(script) as it:
        async with open_native(source(it), QUICK):
            pass
        setup = next(asked for asked in it.asked if asked.method == "SETUP")
        assert setup.url == ("rtsp://10.9.8.7/other/t1" if "10.9" in base else f"{it.url}/t1")


async def test_a_silent_peer_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = RtspSource(url=f"rtsp://127.0.0.1:{silent.getsockname()[1]}/")
        with pytest.raises(TimedOut):
            async with open_stream(where, limits=QUICK):
                pass


async def test_nobody_there() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        where = RtspSource(url=f"rtsp://127.0.0.1:{unused.getsockname()[1]}/")
        with pytest.raises(Unreachable):
            async with open_stream(where, limits=QUICK):
                pass


async def test_another_protocol_is_noticed_at_once() -> None:
    async with camera(lambda asked: b"SSH-2.0-OpenSSH_9.2\r\n") as it:
        with pytest.raises(ProtocolViolation):
            async with open_native(source(it), RtspLimits(request_s=30)):
                pass


async def test_a_stream_that_falls_silent_is_over() -> None:
    packets = [data for unit in rtp_stream(sample()) for data in unit]
    async with camera(packets=packets) as it, open_native(source(it), QUICK) as stream:
        with pytest.raises(TimedOut):
            await take(stream, 1_000)


async def test_a_connection_that_breaks_ends_the_stream() -> None:
    packets = [data for unit in rtp_stream(sample()) for data in unit]
    async with camera(packets=packets) as it, open_native(source(it)) as stream:
        await take(stream, 3)
        it.drop()
        with pytest.raises(Unreachable):
            await take(stream, 1_000)


async def test_signs_of_life_are_sent_and_answers_between_packets_do_no_harm() -> None:
    clip = [data for unit in rtp_stream(sample()) for data in unit]

    def script(asked: Asked) -> bytes | None:
        if asked.method == "SETUP":
            transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"
            return asked.answer(headers=[transport, "Session: 1;timeout=5"])
        if asked.method == "OPTIONS":
            return asked.answer(headers=["Public: GET_PARAMETER, PLAY"])
        return None

    limits = RtspLimits(silence_s=4.0)
    async with camera(script, clip) as it, open_native(source(it), limits) as stream:
        await take(stream, 2)
        await until(lambda: "GET_PARAMETER" in it.methods())
        assert it.asked[-1].headers["session"] == "1"


async def test_two_pyav_streams_of_one_slot(street: RtspCamera) -> None:
    slots = ThreadSlots(1)
    async with open_pyav(at(street), slots=slots) as stream:
        await take(stream, 1)
        with pytest.raises(Busy):
            async with open_pyav(at(street), slots=slots):
                pass
    async with open_pyav(at(street), slots=slots) as stream:
        await take(stream, 1)


async def test_pouring_gives_each_item_at_once_and_ends_with_the_stream() -> None:
    queue = MediaQueue()
    units = [AccessUnit(track=0, pts_us=n, keyframe=True, data=b"") for n in range(3)]
    got: list[MediaItem] = []
    queue.put(units[0])
    pouring = asyncio.create_task(queue.pour(got.append))
    await until(lambda: got == units[:1])
    queue.put(units[1])
    assert got == units[:2]
    queue.fail(Unreachable("it broke"))
    with pytest.raises(Unreachable):
        await pouring

    def sink(item: MediaItem) -> None:
        raise ValueError("a mistake of the consumer's")

    queue = MediaQueue()
    pouring = asyncio.create_task(queue.pour(sink))
    await asyncio.sleep(0)
    queue.put(units[0])
    with pytest.raises(ValueError, match="consumer"):
        await pouring


async def test_a_queue_is_bounded_in_bytes_and_resumes_track_by_track() -> None:
    queue = MediaQueue(max_bytes=100)

    def unit(track: int, size: int, *, key: bool) -> AccessUnit:
        return AccessUnit(track=track, pts_us=0, keyframe=key, data=b"x" * size)

    for item in (unit(0, 90, key=True), unit(0, 90, key=False), unit(0, 90, key=False)):
        queue.put(item)
    assert queue.dropped == 3
    queue.put(unit(1, 9, key=True))
    queue.put(unit(0, 9, key=False))
    queue.put(unit(0, 9, key=True))
    taken = [await queue.take() for _ in range(2)]
    assert taken == [
        AccessUnit(track=track, pts_us=0, keyframe=True, data=b"x" * 9, discontinuity=True)
        for track in (1, 0)
    ]


async def test_a_slow_consumer_skips_to_a_keyframe() -> None:
    queue = MediaQueue(limit=3)
    track = TrackFormat(track=0, kind="video", codec="jpeg", description=b"")
    queue.put(track)
    for index in range(7):
        unit = AccessUnit(track=0, pts_us=index, keyframe=index in (0, 5), data=b"")
        queue.put(unit)
    got = [await queue.take() for _ in range(3)]
    assert got[0] == track
    assert [item.pts_us for item in got[1:] if isinstance(item, AccessUnit)] == [5, 6]
    assert isinstance(got[1], AccessUnit)
    assert got[1].discontinuity
    assert queue.dropped == 5
