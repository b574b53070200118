"""The RTSP camera against real readers (ffprobe, PyAV) and a client of the tests' own."""

import asyncio
import itertools
import json
import os
import random
import signal
import time
from urllib.parse import quote

import av
import pytest
from video_peers import RtspClient, depacketize, rtsp_fleet, rtsp_spec, until

from simulators.clips import read_wall_clock_ns
from simulators.rtsp_camera import RtspCamera, RtspQuirks


def with_password(camera: RtspCamera, profile: str = "main", password: str | None = None) -> str:
    user, given = camera.spec.username, password or camera.spec.password
    return camera.url(profile).replace(  # type: ignore[arg-type]
        "rtsp://", f"rtsp://{quote(user)}:{quote(given)}@"
    )


def client(camera: RtspCamera, profile: str = "main") -> RtspClient:
    return RtspClient(camera.url(profile), password=camera.spec.password)  # type: ignore[arg-type]


async def play_on(peer: RtspClient) -> None:
    """Take packets until the connection ends."""
    while True:
        await peer.packet()


async def ffprobe(url: str, transport: str) -> tuple[int, dict[str, object], str]:
    process = await asyncio.create_subprocess_exec(
        *("ffprobe", "-v", "error", "-rtsp_transport", transport, "-analyzeduration", "1M"),
        *("-show_streams", "-of", "json", "-count_packets", "-read_intervals", "%+#20", url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(30):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
            await process.wait()
    streams = json.loads(out or b"{}").get("streams", [{}])
    return process.returncode or 0, streams[0] if streams else {}, err.decode()


async def test_ffprobe_reads_it_over_tcp_and_udp() -> None:
    specs = [
        rtsp_spec("one", host="127.0.1.2", main_size=(640, 360), sub_size=(320, 180)),
        rtsp_spec("two", host="127.0.1.3", profile="main"),
    ]
    async with rtsp_fleet(specs) as fleet:
        one, two = fleet.cameras["one"], fleet.cameras["two"]
        results = await asyncio.gather(
            ffprobe(with_password(one), "tcp"),
            ffprobe(with_password(one, "sub"), "udp"),
            ffprobe(with_password(two), "udp"),
            ffprobe(with_password(two, password="wrong"), "tcp"),
        )
        await until(lambda: one.sessions == two.sessions == 0)
    sizes = [(code, s.get("codec_name"), s.get("width"), s.get("height")) for code, s, _ in results]
    assert sizes[:3] == [
        (0, "h264", 640, 360),
        (0, "h264", 320, 180),
        (0, "h264", 160, 120),
    ], results
    assert [s["profile"] for _, s, _ in results[:3]] == [
        "Constrained Baseline",
        "Constrained Baseline",
        "Main",
    ]
    assert all(s["has_b_frames"] == 0 and s["avg_frame_rate"] == "15/1" for _, s, _ in results[:3])
    assert all(int(str(s["nb_read_packets"])) >= 10 for _, s, _ in results[:3])
    assert sizes[3][0] != 0
    assert "401" in results[3][2]
    assert two.refused == 1


def decode_some(url: str, count: int) -> list[tuple[int, int]]:
    options = {"rtsp_transport": "tcp", "analyzeduration": "0", "probesize": "32"}
    with av.open(url, options=options, timeout=10) as container:
        frames = []
        for frame in container.decode(video=0):
            frames.append((frame.width, frame.pts))
            if len(frames) == count:
                return frames
    raise AssertionError("the stream ended")


async def test_pyav_decodes_it() -> None:
    async with rtsp_fleet([rtsp_spec()]) as fleet:
        url = with_password(fleet.cameras["gate"])
        frames = await asyncio.to_thread(decode_some, url, 20)
    assert {width for width, _ in frames} == {160}
    steps = [b - a for (_, a), (_, b) in itertools.pairwise(frames)]
    assert all(step % 6_000 == 0 for step in steps)  # 90 kHz at 15 frames/s
    assert steps.count(6_000) >= 12


async def test_the_dialogue_of_a_session() -> None:
    async with rtsp_fleet([rtsp_spec()]) as fleet, client(fleet.cameras["gate"]) as peer:
        camera = fleet.cameras["gate"]
        options = await peer.ask("OPTIONS")
        assert {"DESCRIBE", "SETUP", "PLAY", "TEARDOWN", "GET_PARAMETER"} <= set(
            options.header("public").split(", ")
        )
        reply = await peer.play()
        assert "seq=" in reply.header("rtp-info")
        assert camera.clients == 1
        await peer.access_unit()
        assert (await peer.ask("GET_PARAMETER")).status == 200
        assert (await peer.ask("PAUSE")).status == 200
        assert (camera.clients, camera.sessions) == (0, 1)
        assert (await peer.ask("RECORD")).status == 501
        assert (await peer.ask("PLAY", Session="other")).status == 454
        assert (await peer.ask("SETUP", Transport="RTP/AVP;multicast")).status == 461
        assert (await peer.ask("DESCRIBE", peer.url + "x")).status == 404
        assert (await peer.ask("OPTIONS", Require="play.basic")).status == 551
        assert (await peer.ask("TEARDOWN")).status == 200
        assert camera.sessions == 0


async def test_the_sdp_and_the_band_carry_parameter_sets() -> None:
    async with rtsp_fleet([rtsp_spec()]) as fleet, client(fleet.cameras["gate"]) as peer:
        await peer.play()
        sdp = (await peer.ask("DESCRIBE")).body.decode()
        assert "packetization-mode=1" in sdp
        assert "sprop-parameter-sets=Z" in sdp
        units = [(await peer.access_unit())[1] for _ in range(16)]
    kinds = [[nal[0] & 0x1F for nal in unit] for unit in units]
    keyframes = [unit for unit in kinds if 5 in unit]
    assert keyframes == [[7, 8, 6, 5]]
    assert all(unit == [6, 1] for unit in kinds if 5 not in unit)


async def test_clients_join_one_timeline_where_it_is() -> None:
    async with rtsp_fleet([rtsp_spec()]) as fleet:
        camera = fleet.cameras["gate"]
        async with client(camera) as first, client(camera) as second:
            await first.play()
            while 5 not in [nal[0] & 0x1F for nal in (await first.access_unit())[1]]:
                pass
            await second.play()
            stamp, joined = await second.access_unit()
            assert [nal[0] & 0x1F for nal in joined] == [6, 1]  # in mid-GOP
            while True:
                other_stamp, same = await first.access_unit()
                if other_stamp == stamp:
                    break
            assert same == joined


async def test_the_wall_clock_is_that_of_sending() -> None:
    async with rtsp_fleet([rtsp_spec()]) as fleet, client(fleet.cameras["gate"]) as peer:
        await peer.play()
        before_ns = time.time_ns()
        await peer.access_unit()
        _, unit = await peer.access_unit()
        sent_ns = read_wall_clock_ns(b"".join(unit))
        assert sent_ns is not None
        assert before_ns <= sent_ns <= time.time_ns()


async def test_frames_come_at_their_rate() -> None:
    async with rtsp_fleet([rtsp_spec(fps=30)]) as fleet, client(fleet.cameras["gate"]) as peer:
        await peer.play()
        first = (await peer.access_unit())[0]
        before_s = time.monotonic()
        stamps = [(await peer.access_unit())[0] for _ in range(30)]
        took_s = time.monotonic() - before_s
        assert all((b - a) % 3_000 == 0 for a, b in itertools.pairwise(stamps))
        assert abs((stamps[-1] - first) % 2**32 / 90_000 - took_s) < 0.3


async def test_a_requested_keyframe_is_next() -> None:
    async with rtsp_fleet([rtsp_spec()]) as fleet, client(fleet.cameras["gate"]) as peer:
        await peer.play()
        while 5 not in [nal[0] & 0x1F for nal in (await peer.access_unit())[1]]:
            pass
        fleet.cameras["gate"].request_keyframe()
        kinds = [[nal[0] & 0x1F for nal in (await peer.access_unit())[1]] for _ in range(3)]
        assert any(5 in unit for unit in kinds), kinds


async def test_another_interleaved_channel_and_sender_reports() -> None:
    async with rtsp_fleet([rtsp_spec()]) as fleet, client(fleet.cameras["gate"]) as peer:
        await peer.play("RTP/AVP/TCP;unicast;interleaved=4-5")
        channels = set()
        while channels != {4, 5}:
            channel, packet = await peer.packet()
            channels.add(channel)
            assert channel in (4, 5)
            assert packet[1] == 200 or channel == 4


@pytest.mark.parametrize("authentication", ["basic", "both"])
async def test_basic_authentication(authentication: str) -> None:
    quirks = RtspQuirks(authentication=authentication)  # type: ignore[arg-type]
    specs = [rtsp_spec(password="x", quirks=quirks)]
    async with rtsp_fleet(specs) as fleet, client(fleet.cameras["gate"]) as peer:
        refused = await peer.ask("DESCRIBE")
        assert refused.status == 401
        assert any("Basic" in value for _, value in refused.headers)
        granted = await peer.ask("DESCRIBE", Authorization="Basic YWRtaW46eA==")
        assert granted.status == 200


async def test_basic_is_refused_where_only_digest_is_offered() -> None:
    specs = [rtsp_spec(password="x")]
    async with rtsp_fleet(specs) as fleet, client(fleet.cameras["gate"]) as peer:
        assert (await peer.ask("DESCRIBE", Authorization="Basic YWRtaW46eA==")).status == 401


async def test_a_digest_for_an_old_nonce_is_stale() -> None:
    async with rtsp_fleet([rtsp_spec()]) as fleet, client(fleet.cameras["gate"]) as peer:
        await peer.ask("DESCRIBE")
        peer._nonce = "old"
        again = await peer.ask("DESCRIBE")
        assert again.status == 401
        assert 'stale="true"' in again.header("www-authenticate")
        assert (await peer.ask("DESCRIBE")).status == 200


async def test_a_session_without_a_sign_of_life_ends() -> None:
    async with rtsp_fleet([rtsp_spec(session_timeout_s=0.4)]) as fleet:
        camera = fleet.cameras["gate"]
        async with client(camera) as lazy, client(camera) as lively:
            await lazy.play()
            await lively.play()
            while camera.sessions == 2:
                assert (await lively.ask("OPTIONS")).status == 200
                await lively.access_unit()
            await lazy.reader.read()  # comes back only when the connection ends
            assert lazy.reader.at_eof()
            assert (await lively.ask("GET_PARAMETER")).status == 200


async def test_a_slow_client_loses_whole_frames_and_hurts_nobody() -> None:
    spec = rtsp_spec(main_size=(640, 360), fps=30, gop_s=0.5)
    async with rtsp_fleet([spec]) as fleet:
        camera = fleet.cameras["gate"]
        async with client(camera) as slow, client(camera) as quick:
            await slow.play()
            await quick.play()
            (session,) = [s for s in camera._sessions if s.id == slow.session]
            transport = camera._sessions[session]._transport
            await slow.access_unit()
            slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
            transport.write(b"$\x09\xff\xff" + bytes(65_535))
            while transport.get_write_buffer_size() <= 256 * 1024:
                transport.write(b"$\x09\xff\xff" + bytes(65_535))
            while camera.frames_dropped < 5:
                await quick.access_unit()
            assert session.player.frames_dropped == camera.frames_dropped  # none of quick's
            slow.writer.transport.resume_reading()  # type: ignore[attr-defined]
            kinds = await units_until_gap(slow)
            assert all(unit in ([6, 1], [7, 8, 6, 5]) for unit in kinds)  # never half a frame
            assert kinds[-1] == [7, 8, 6, 5]  # nor one that lacks what it refers to


async def units_until_gap(peer: RtspClient) -> list[list[int]]:
    """The kinds of NAL units of each access unit, the last one the first after a gap."""
    units: list[list[int]] = []
    payloads: list[bytes] = []
    gap = False
    while not (gap and not payloads):
        channel, packet = await peer.packet()
        if channel:
            continue
        sequence = int.from_bytes(packet[2:4])
        gap = gap or sequence != (peer.sequence + 1) % 65_536
        peer.sequence = sequence
        payloads.append(packet[12:])
        if packet[1] & 0x80:
            units.append([nal[0] & 0x1F for nal in depacketize(payloads)])
            payloads = []
    return units


async def test_power_off_drops_and_refuses_and_on_serves_at_the_same_address() -> None:
    async with rtsp_fleet([rtsp_spec()]) as fleet:
        camera = fleet.cameras["gate"]
        url = camera.url()
        async with client(camera) as peer:
            await peer.play()
            await camera.power(False)
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await play_on(peer)
        with pytest.raises(ConnectionRefusedError):
            await client(camera).__aenter__()
        assert (camera.sessions, camera.clients) == (0, 0)
        await camera.power(True)
        assert camera.url() == url
        async with client(camera) as peer:
            await peer.play()
            await peer.access_unit()


async def test_power_switched_in_haste_ends_as_the_last_order_says() -> None:
    async with rtsp_fleet([rtsp_spec("a"), rtsp_spec("b")], share_ports=True) as fleet:
        first, second = fleet.cameras.values()
        for on in (False, True, False):
            await asyncio.gather(first.power(not on), second.power(not on))
            await asyncio.gather(
                first.power(not on), second.power(on), first.power(on), second.power(on)
            )
            if on:
                async with client(first) as peer:
                    await peer.play()
            else:
                with pytest.raises(ConnectionRefusedError):
                    await client(first).__aenter__()


async def test_cameras_that_share_a_port_differ_by_path_and_password() -> None:
    specs = [rtsp_spec("门 1"), rtsp_spec("门 2"), rtsp_spec("three", path="deep/three")]
    async with rtsp_fleet(specs, share_ports=True) as fleet:
        first, second, third = fleet.cameras.values()
        assert first.port == second.port == third.port
        assert third.url().endswith("/deep/three/ch1/main")
        async with client(first) as peer, client(second) as other:
            await peer.play()
            await other.play()
            await first.power(False)
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await play_on(peer)
            await other.access_unit()
        async with client(first) as peer:
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await peer.ask("DESCRIBE")
        async with RtspClient(second.url(), password=first.spec.password) as peer:
            await peer.ask("DESCRIBE")
            assert (await peer.ask("DESCRIBE")).status == 401


async def test_a_recorder_has_a_channel_for_each_source() -> None:
    async with rtsp_fleet([rtsp_spec(sources=3)]) as fleet:
        camera = fleet.cameras["gate"]
        assert camera.url("sub", 3).endswith("/ch3/sub")
        async with RtspClient(camera.url("sub", 3), password=camera.spec.password) as peer:
            await peer.play()
            await peer.access_unit()


async def test_silent_answers_nothing_and_stops_the_picture() -> None:
    async with rtsp_fleet([rtsp_spec(), rtsp_spec("other")]) as fleet:
        camera, other = fleet.cameras.values()
        async with client(camera) as peer, client(other) as witness:
            await peer.play()
            await witness.play()
            await peer.access_unit()
            camera.quirks = RtspQuirks(silent=True)
            requests = camera.requests
            answer = asyncio.create_task(peer.ask("OPTIONS"))
            await until(lambda: camera.requests > requests)
            sent = camera.stream().frames_sent
            for _ in range(4):
                await witness.access_unit()
            assert not answer.done()
            assert camera.stream().frames_sent == sent
            answer.cancel()
            await asyncio.gather(answer, return_exceptions=True)


async def test_garbage_is_no_rtsp() -> None:
    specs = [rtsp_spec(quirks=RtspQuirks(garbage=True))]
    async with rtsp_fleet(specs) as fleet, client(fleet.cameras["gate"]) as peer:
        peer.writer.write(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
        assert not (await peer.reader.readexactly(64)).startswith(b"RTSP")


async def test_a_camera_bears_only_so_many_sessions() -> None:
    async with rtsp_fleet([rtsp_spec(quirks=RtspQuirks(max_sessions=1))]) as fleet:
        camera = fleet.cameras["gate"]
        async with client(camera) as first, client(camera) as second:
            await first.play()
            await second.ask("DESCRIBE")
            setup = await second.ask("SETUP", Transport="RTP/AVP/TCP;interleaved=0-1")
            assert setup.status == 453


async def test_junk_from_a_client_ends_only_its_own_connection() -> None:
    rng = random.Random(7)
    async with rtsp_fleet([rtsp_spec()]) as fleet:
        camera = fleet.cameras["gate"]
        async with client(camera) as good:
            await good.play()
            for _ in range(20):
                async with client(camera) as bad:
                    bad.writer.write(b"X" + rng.randbytes(200) + b"\r\n\r\n")
                    bad.writer.write_eof()
                    await bad.reader.read()
            await good.access_unit()


async def test_two_cameras_of_one_name_or_place_are_refused() -> None:
    with pytest.raises(ValueError, match="'gate'"):
        rtsp_fleet([rtsp_spec(), rtsp_spec()])
    specs = [rtsp_spec("a", path="same"), rtsp_spec("b", path="same")]
    with pytest.raises(ValueError, match="must differ in path"):
        async with rtsp_fleet(specs, share_ports=True):
            pass


async def test_a_port_in_use_is_named() -> None:
    async with rtsp_fleet([rtsp_spec()]) as fleet:
        port = fleet.cameras["gate"].port
        with pytest.raises(OSError, match=rf"127\.0\.0\.1:{port}"):
            async with rtsp_fleet([rtsp_spec("other", port=port)]):
                pass


async def test_closing_leaves_no_file_open() -> None:
    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = open_files()
    async with rtsp_fleet(
        [rtsp_spec(f"c{i}", host=f"127.0.1.{i + 1}") for i in range(20)]
    ) as fleet:
        camera = fleet.cameras["c3"]
        async with client(camera) as peer:
            await peer.play("RTP/AVP;unicast;client_port=50000-50001")
            await until(lambda: camera.stream().frames_sent > 2)
    await until(lambda: open_files() <= before)
