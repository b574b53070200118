"""Media servers over real sockets: the control API's stand-in judges each request by MediaMTX's
description; streams are read from us by RTSP as MediaMTX reads them."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from media_server_double import Description, MediaServerDouble, described, published
from media_stage import MediaStage, derive, free_port, probe
from patience import wait_until

from gateway import commands
from gateway.live import LiveSettings
from gateway.live.mediaserver import (
    KeyRing,
    MediaServerError,
    MediaServerSettings,
    examine,
    service,
)
from gateway.settings import load
from simulators.rtsp_camera import RtspCameraSpec, RtspFleet

PASSWORD = "planted-camera-password"
QUICK = LiveSettings(linger_s=0.2, rights_interval_s=0.1)


@pytest.fixture(scope="module")
def clip_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


def spec(name: str, **more: object) -> RtspCameraSpec:
    return RtspCameraSpec(
        name=name,
        username="viewer",
        password=PASSWORD,
        main_size=(320, 192),
        sub_size=(128, 96),
        gop_s=0.4,
        **more,  # type: ignore[arg-type]
    )


@pytest.fixture
async def stage(
    clip_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[MediaStage, MediaServerDouble]]:
    """Live view of two cameras with one media server, which is looked at often."""
    monkeypatch.setattr(service, "LOOK_EVERY_S", 0.05)
    cameras = [spec("gate"), spec("yard", audio="pcma")]
    async with RtspFleet(cameras, clip_cache=clip_cache) as fleet:
        it = MediaStage(fleet, QUICK)
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(it.serve_keys())
            server = MediaServerDouble(it.jwks_url)
            await stack.enter_async_context(server.serving())
            async with it.watching(server.url):
                await it.ready()
                yield it, server
            assert server.paths == {}, "paths are taken away at the end"
            assert server.complaints == []


Stage = tuple[MediaStage, MediaServerDouble]


def path_of(url: str) -> str:
    return url.split("?", maxsplit=1)[0].split("/")[3]


# --- what is handed out ---------------------------------------------------------------------------


async def test_a_ticket_names_the_path_that_was_made_for_it(stage: Stage) -> None:
    it, server = stage
    handed = await it.hand_out("gate")
    name = path_of(handed.urls["hls"])
    assert handed.urls["whep"] == f"https://127.0.0.1:8889/{name}/whep"
    assert handed.urls["hls"] == f"http://127.0.0.1:8888/{name}/index.m3u8"
    assert handed.urls["rtsp"] == f"rtsp://127.0.0.1:8554/{name}?token={handed.token}"
    assert "gate" not in str(handed.urls), "addresses do not tell which point they show"
    (configuration,) = server.paths.values()
    assert configuration["sourceOnDemand"] is True
    again, other = await it.hand_out("gate"), await it.hand_out("yard")
    assert path_of(again.urls["hls"]) == name, "one path for each stream"
    assert path_of(other.urls["hls"]) != name
    assert again.token != handed.token
    assert len(server.paths) == 1, "one configuration for all"


async def test_no_camera_address_or_password_reaches_the_media_server(stage: Stage) -> None:
    it, server = stage
    await it.hand_out("gate")
    await it.hand_out("gate", "sub")
    camera = it.fleet.cameras["gate"]
    told = str(server.paths)
    assert PASSWORD not in told
    assert "viewer" not in told
    assert camera.url("main") not in told
    assert f"127.0.0.1:{it.media.feed.port}/" in told


async def test_a_token_reads_one_path_only_and_rules_nothing(stage: Stage) -> None:
    it, server = stage
    gate, yard = await it.hand_out("gate"), await it.hand_out("yard")
    here, there = path_of(gate.urls["hls"]), path_of(yard.urls["hls"])
    assert await server.read("rtspsessions", there, gate.token) is None
    assert await server.read("rtspsessions", here, "") is None
    assert await server._subject(gate.token, "api") is None
    assert await server._subject(gate.token, "publish", here) is None
    assert await server.read("rtspsessions", here, gate.token)


# --- who reads ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "transport"),
    [("webrtcsessions", "whep"), ("hlssessions", "hls"), ("rtspsessions", "rtsp")],
)
async def test_the_record_of_viewing_is_told_of_sessions(
    stage: Stage, kind: str, transport: str
) -> None:
    it, server = stage
    handed = await it.hand_out("gate")
    session = await server.read(kind, path_of(handed.urls["hls"]), handed.token)
    assert session
    await wait_until(lambda: it.opened, what="the session to be seen")
    server.leave(kind, session)
    await wait_until(lambda: it.closed, what="its end to be seen")
    (opened,), (closed,) = it.opened, it.closed
    assert (opened.user_id, opened.point_id, opened.transport) == ("user", "gate", transport)
    assert opened.purpose == "a fire"
    assert (closed.id, closed.ended) == (opened.id, "the viewer left")
    assert closed.seconds > 0


async def test_a_ticket_that_appears_twice_keeps_the_first_session(stage: Stage) -> None:
    it, server = stage
    handed = await it.hand_out("gate")
    path = path_of(handed.urls["hls"])
    first = await server.read("rtspsessions", path, handed.token)
    await wait_until(lambda: it.opened, what="the first to be seen")
    second = await server.read("webrtcsessions", path, handed.token)
    await wait_until(lambda: not server.has(second), what="the second to be kicked")
    assert server.has(first)
    assert it.media.counters.replayed == 1
    assert len(it.opened) == 1


async def test_a_token_cannot_be_used_again_after_its_session(stage: Stage) -> None:
    it, server = stage
    handed = await it.hand_out("gate")
    path = path_of(handed.urls["hls"])
    first = await server.read("rtspsessions", path, handed.token)
    assert first
    await wait_until(lambda: it.opened, what="the first to be seen")
    server.leave("rtspsessions", first)
    await wait_until(lambda: it.closed, what="its end to be seen")
    second = await server.read("rtspsessions", path, handed.token)
    await wait_until(lambda: not server.has(second), what="the second to be kicked")


async def test_who_loses_the_right_is_disconnected(stage: Stage) -> None:
    it, server = stage
    gate, yard = await it.hand_out("gate"), await it.hand_out("yard")
    lost = await server.read("webrtcsessions", path_of(gate.urls["hls"]), gate.token)
    kept = await server.read("webrtcsessions", path_of(yard.urls["hls"]), yard.token)
    await wait_until(lambda: len(it.opened) == 2, what="both to be seen")
    it.denied.add("gate")
    await wait_until(lambda: it.closed, what="the view to end")
    assert not server.has(lost)
    assert server.has(kept)
    assert it.closed[0].ended == "the right to see this point has ended"


async def test_a_point_that_gets_masks_is_taken_from_the_media_server(stage: Stage) -> None:
    it, server = stage
    handed = await it.hand_out("gate")
    session = await server.read("rtspsessions", path_of(handed.urls["hls"]), handed.token)
    await wait_until(lambda: it.opened, what="the session to be seen")
    it.masked.add("gate")
    await wait_until(lambda: not server.has(session), what="it to be kicked")
    source = server.source_of(path_of(handed.urls["hls"]))
    assert source
    code, said = await probe(source, "-rtsp_transport", "tcp")
    assert code, said


async def test_a_kick_that_fails_is_tried_again(stage: Stage) -> None:
    it, server = stage
    handed = await it.hand_out("gate")
    session = await server.read("rtspsessions", path_of(handed.urls["hls"]), handed.token)
    await wait_until(lambda: it.opened, what="the session to be seen")
    server.kick_fails = True
    it.denied.add("gate")
    await wait_until(lambda: it.media.counters.kicked >= 2, what="two tries")
    assert server.has(session)
    server.kick_fails = False
    await wait_until(lambda: not server.has(session), what="it to be kicked")


async def test_a_ticket_opens_one_stream_here_or_there(stage: Stage) -> None:
    it, server = stage
    ticket = it.ticket("gate")
    handed = it.media.hand_out(ticket)
    path = path_of(handed.urls["hls"])
    async with await it.live.redeem(ticket.token, "frames"):
        session = await server.read("rtspsessions", path, handed.token)
        await wait_until(lambda: not server.has(session), what="it to be kicked")
    other = it.ticket("gate")
    handed = it.media.hand_out(other)
    assert await server.read("rtspsessions", path, handed.token)
    await wait_until(lambda: it.opened, what="the session to be seen")
    with pytest.raises(Exception, match="unknown, used or too old"):
        await it.live.redeem(other.token, "frames")


async def test_sessions_of_other_paths_are_left_alone(stage: Stage) -> None:
    it, server = stage
    server.paths["somebody-elses"] = {"source": "publisher"}
    other = await server.read(
        "rtspsessions", "somebody-elses", it.keys.reader_token("x", "somebody-elses", 30)
    )
    assert other
    handed = await it.hand_out("gate")
    forged = it.keys.reader_token("nobody", path_of(handed.urls["hls"]), 30)
    ours = await server.read("rtspsessions", path_of(handed.urls["hls"]), forged)
    await wait_until(lambda: not server.has(ours), what="the unknown one to be kicked")
    assert server.has(other)
    server.paths.pop("somebody-elses")


async def test_hundreds_of_sessions_are_all_seen(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    it, server = stage
    monkeypatch.setattr("gateway.live.mediaserver.wire.PAGE_SIZE", 7)
    for _ in range(30):
        handed = await it.hand_out("gate")
        assert await server.read("hlssessions", path_of(handed.urls["hls"]), handed.token)
    await wait_until(lambda: len(it.opened) == 30, what="all to be seen")
    assert it.media.readers == 30


# --- the server itself ----------------------------------------------------------------------------


async def test_paths_are_made_again_after_a_restart(stage: Stage) -> None:
    it, server = stage
    handed = await it.hand_out("gate")
    await server.read("rtspsessions", path_of(handed.urls["hls"]), handed.token)
    await wait_until(lambda: it.opened, what="the session to be seen")
    server.restart()
    await wait_until(lambda: server.paths, what="the path to be made again")
    await wait_until(lambda: it.closed, what="the lost session to be told")
    assert server.source_of(path_of(handed.urls["hls"]))


async def test_paths_are_made_again_when_its_file_was_changed(stage: Stage) -> None:
    it, server = stage
    handed = await it.hand_out("gate")
    server.paths.clear()
    await wait_until(lambda: server.paths, what="the path to be made again")
    assert server.source_of(path_of(handed.urls["hls"]))


async def test_without_the_server_the_gateway_says_so(stage: Stage) -> None:
    it, server = stage
    assert server._runner is not None
    await server._runner.cleanup()
    await wait_until(lambda: not it.media.servers[0].ready, what="it to be missed")
    handed = it.media.hand_out(it.ticket("gate"))
    assert handed.urls == {}
    assert handed.token == ""
    assert "the media server is away" in handed.reason
    assert it.media.counters.fallen_back == 1
    server.paths.clear()


async def test_views_at_a_server_that_stays_away_count_as_closed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    it, server = stage
    handed = await it.hand_out("gate")
    path = path_of(handed.urls["hls"])
    source = server.source_of(path)
    assert source
    assert await server.read("rtspsessions", path, handed.token)
    await wait_until(lambda: it.opened, what="the session to be seen")
    monkeypatch.setattr("gateway.live.mediaserver.server.LOSE_AFTER_S", 0.3)
    assert server._runner is not None
    await server._runner.cleanup()
    await wait_until(lambda: it.closed, what="the view to count as closed")
    assert it.closed[0].ended == "the media server is away"
    code, said = await probe(source, "-rtsp_transport", "tcp")
    assert code, f"nothing is fed that nobody is known to watch: {said}"
    server.paths.clear()


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("authMethod", "internal", "authMethod must be jwt"),
        ("authJWTExclude", [{"action": "read"}], "authJWTExclude must be empty"),
        ("authJWTAudience", "", "authJWTAudience must be hutong-media"),
        ("hlsCDNSecret", "s", "hlsCDNSecret must be empty"),
    ],
)
async def test_a_server_that_opens_too_much_is_not_used(
    clip_cache: Path, setting: str, value: object, said: str
) -> None:
    async with RtspFleet([spec("gate")], clip_cache=clip_cache) as fleet:
        it = MediaStage(fleet)
        async with it.serve_keys():
            server = MediaServerDouble(it.jwks_url)
            server.configuration[setting] = value
            # Keys of another audience are refused before anything else is seen.
            server.open_api = setting == "authJWTAudience"
            async with server.serving(), it.watching(server.url):
                media = it.media.servers[0]
                await wait_until(lambda: "must be" in media.reason, what="a refusal")
                assert said in media.reason
                assert not (it.media.hand_out(it.ticket("gate"))).urls
                assert server.paths == {}


async def test_a_control_api_that_is_open_is_not_used(clip_cache: Path) -> None:
    async with RtspFleet([spec("gate")], clip_cache=clip_cache) as fleet:
        it = MediaStage(fleet)
        async with it.serve_keys():
            server = MediaServerDouble(it.jwks_url)
            server.open_api = True
            async with server.serving(), it.watching(server.url):
                media = it.media.servers[0]
                await wait_until(lambda: "without a token" in media.reason, what="a refusal")
                assert not media.ready


async def test_what_a_dead_node_left_behind_is_taken_away(clip_cache: Path) -> None:
    async with RtspFleet([spec("gate")], clip_cache=clip_cache) as fleet:
        it = MediaStage(fleet)
        async with it.serve_keys():
            server = MediaServerDouble(it.jwks_url)
            async with server.serving():
                async with it.watching(server.url):
                    await it.ready()
                    ((ours, left),) = server.paths.items()
                other = {"source": "publisher"}
                server.paths = {ours: left, f"{ours[2:14]}old": left, "h0-of-another-node": other}
                async with it.watching(server.url):
                    await it.ready()
                    assert set(server.paths) == {ours, "h0-of-another-node"}
                    assert server.paths[ours] != left, "with a secret of its own"
                server.paths.clear()


async def test_many_servers_share_the_streams(
    clip_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "LOOK_EVERY_S", 0.05)
    names = [f"camera-{number}" for number in range(12)]
    async with contextlib.AsyncExitStack() as stack:
        fleet = await stack.enter_async_context(
            RtspFleet([spec(name) for name in names], clip_cache=clip_cache)
        )
        it = MediaStage(fleet)
        await stack.enter_async_context(it.serve_keys())
        one, two = MediaServerDouble(it.jwks_url), MediaServerDouble(it.jwks_url)
        await stack.enter_async_context(one.serving())
        await stack.enter_async_context(two.serving())
        await stack.enter_async_context(it.watching(one.url, two.url))
        await it.ready()
        servers = [it.media.servers[0].paths, it.media.servers[1].paths]
        for name in names * 2:
            await it.hand_out(name)
        assert sum(len(paths) for paths in servers) == len(names), "each stream is at one of them"
        assert all(servers)
        assert two._runner is not None
        await two._runner.cleanup()
        await wait_until(lambda: not all(s.ready for s in it.media.servers), what="a loss")
        for name in names:
            await it.hand_out(name)
        assert len(servers[0]) == len(names), "the other one takes its streams over"


# --- what media servers read ----------------------------------------------------------------------


async def test_a_stream_is_fed_as_it_comes_from_the_camera(stage: Stage) -> None:
    it, server = stage
    handed = await it.hand_out("yard")
    source = server.source_of(path_of(handed.urls["hls"]))
    assert source
    code, said = await probe(source, "-rtsp_transport", "tcp")
    assert code == 0, said
    assert said.split() == ["h264,320,192", "pcm_alaw"]


async def test_a_secret_is_good_only_while_somebody_may_watch(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    it, server = stage
    ticket = it.ticket("gate")
    path = path_of(it.media.hand_out(ticket).urls["hls"])
    source = server.source_of(path)
    assert source
    it.media.used_here(ticket.id)
    code, said = await probe(source, "-rtsp_transport", "tcp")
    assert code
    assert "404" in said
    assert it.media.feed.refused == 1
    secret = source.split("/")[3]
    for guess in ("guessed", f"guessed/{path[12:]}", f"{secret}/guessed", secret, "/"):
        code, said = await probe(f"rtsp://127.0.0.1:{it.media.feed.port}/{guess}")
        assert code, guess
    monkeypatch.setattr(service, "KEEP_IDLE_S", 0.0)
    await wait_until(lambda: not it.media.servers[0].paths, what="the path to be forgotten")
    assert path_of((await it.hand_out("gate")).urls["hls"]) != path


async def test_the_keys_are_read_anew_when_the_day_changes(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    it, server = stage
    before = server.keys_read
    day = it.keys.day
    monkeypatch.setattr(type(it.keys), "day", property(lambda _ring: day + 1))
    refresh = "POST /v3/auth/jwks/refresh"
    count = server.asked.count(refresh)
    await wait_until(lambda: server.asked.count(refresh) == count + 1, what="a refresh")
    await wait_until(lambda: server.keys_read > before, what="the keys to be read")


# --- the description ------------------------------------------------------------------------------


def test_the_stand_in_refuses_what_is_not_described() -> None:
    ours = Description(described())
    ok = {"status": "ok"}
    put = "/v3/config/paths/replace/x"
    assert ours.complaints("POST", put, {}, {"source": "publisher"}, 200, ok) == []
    assert ours.complaints("POST", put, {}, {"sauce": "publisher"}, 200, ok)
    assert ours.complaints("POST", put, {}, {"source": 5}, 200, ok)
    assert ours.complaints("PUT", put, {}, {"source": "publisher"}, 200, ok)
    assert ours.complaints("GET", "/v3/rtspsessions/list", {"size": "5"}, None, 200, {"items": []})
    assert ours.complaints("GET", "/v3/info", {}, None, 200, {"version": 5})


@pytest.mark.skipif(published() is None, reason="MEDIAMTX_OPENAPI names no description")
def test_our_description_says_nothing_that_the_published_one_does_not() -> None:
    theirs, ours = published(), described()
    assert theirs is not None
    aliases = {"ReaderList": "RTSPSessionList", "Reader": "RTSPSession"}
    for path, operations in ours["paths"].items():
        for method, operation in operations.items():
            said = theirs["paths"][path][method]
            given = {each["name"] for each in operation.get("parameters", ())}
            assert given <= {each["name"] for each in said.get("parameters", ())}, path
            assert set(operation["responses"]) <= set(said["responses"]), path
            assert ("requestBody" in operation) == ("requestBody" in said), path
    schemas = theirs["components"]["schemas"]
    for name, schema in ours["components"]["schemas"].items():
        known = schemas[aliases.get(name, name)]["properties"]
        for field, kind in schema["properties"].items():
            target = known[field]
            if "$ref" in target:
                target = schemas[target["$ref"].rpartition("/")[2]]
            assert target["type"] == kind.get("type", target["type"]), f"{name}.{field}"


# --- the doctor -----------------------------------------------------------------------------------


async def test_the_doctor_looks_at_media_servers_where_there_are_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HUTONG_MEDIA_SERVER_URL", f"http://127.0.0.1:{free_port()}")
    assert await commands.examine(load()) == 1
    (failed,) = [each for each in capsys.readouterr().out.splitlines() if "FAILED" in each]
    assert failed.startswith("FAILED  media server: its control API cannot be reached")
    monkeypatch.setenv("HUTONG_MEDIA_SERVER_URL", "")
    assert await commands.examine(load()) == 0
    assert "media server" not in capsys.readouterr().out


async def test_the_doctor_says_what_has_to_be_put_right() -> None:
    keys = KeyRing(derive)

    async def jwks(_request: web.Request) -> web.Response:
        return web.json_response(keys.jwks())

    app = web.Application()
    app.router.add_get("/", jwks)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server = MediaServerDouble(f"http://127.0.0.1:{runner.addresses[0][1]}/")
    try:
        async with server.serving():
            settings = MediaServerSettings(control=(server.url,))
            assert "serves whep, hls, rtsp" in await examine(settings, keys)
            server.configuration["srt"] = True
            assert "turn off what nobody is handed: srt" in await examine(settings, keys)
            strangers = KeyRing(lambda purpose: derive(f"another {purpose}"))
            with pytest.raises(MediaServerError, match="refuses our token"):
                await examine(settings, strangers)
            server.configuration["authMethod"] = "internal"
            with pytest.raises(MediaServerError, match="authMethod must be jwt"):
                await examine(settings, keys)
            server.open_api = True
            with pytest.raises(MediaServerError, match="without a token"):
                await examine(settings, keys)
        with pytest.raises(MediaServerError, match="cannot be reached"):
            await examine(settings, keys)
    finally:
        await runner.cleanup()
