"""The ONVIF camera against calls that are right, and wrong on purpose."""

import asyncio
import contextlib
import datetime
import io
from collections.abc import AsyncIterator

import aiohttp
import av
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from video_peers import (
    SOAP,
    TDS,
    TEV,
    TRT,
    WSNT,
    RtspClient,
    SoapClient,
    one_camera,
    onvif_fleet,
    onvif_spec,
    texts,
    token,
    until,
)

from simulators.onvif_camera import (
    EventKind,
    OnvifCamera,
    Position,
    Quirks,
    RtspQuirks,
    soap,
)
from simulators.onvif_camera.http import HttpError, HttpRequest, HttpResponse, next_request
from simulators.onvif_camera.ptz import FULL_SPEED, PtzHead


@contextlib.asynccontextmanager
async def caller(camera: OnvifCamera, password: str = "") -> AsyncIterator[SoapClient]:
    """A client with a fresh UsernameToken for each call."""
    given_ = password or camera.spec.password
    async with aiohttp.ClientSession() as session:
        yield SoapClient(session, camera.base_url, lambda: token("admin", given_))


# credentials


async def test_what_must_be_anonymous_is() -> None:
    actions = ("GetSystemDateAndTime", "GetServices", "GetCapabilities", "GetEndpointReference")
    async with one_camera() as camera, aiohttp.ClientSession() as session:
        client = SoapClient(session, camera.base_url)
        for action in actions:
            status, root = await client.device(action)
            assert (status, root[-1][0].tag) == (200, f"{{{TDS}}}{action}Response")


async def test_without_credentials_it_asks_for_a_digest_and_takes_it() -> None:
    async with one_camera() as camera, aiohttp.ClientSession() as session:
        client = SoapClient(session, camera.base_url)
        body = f'<GetDeviceInformation xmlns="{TDS}"/>'
        async with session.post(camera.device_url, data=b"<x/>") as response:
            assert response.status == 400
        status, _ = await client.call("/onvif/device_service", body)
        assert status == 401

        def digest(password: str) -> requests.Response:
            with requests.Session() as peer:
                return peer.post(
                    camera.device_url,
                    data=f'<s:Envelope xmlns:s="{SOAP}"><s:Body>{body}</s:Body></s:Envelope>',
                    auth=requests.auth.HTTPDigestAuth("admin", password),
                )

        good = await asyncio.to_thread(digest, camera.spec.password)
        assert good.status_code == 200
        assert "SN-gate" in good.text
        assert camera.refused == 0
        assert (await asyncio.to_thread(digest, "wrong")).status_code == 401
        assert camera.refused == 1


async def test_wrong_tokens_are_not_authorized() -> None:
    async with one_camera() as camera, aiohttp.ClientSession() as session:
        now = datetime.datetime.now(datetime.UTC)
        password = camera.spec.password
        same = token("admin", password, nonce=b"once")
        old = now - datetime.timedelta(minutes=5)
        for header, expected in (
            (token("admin", "wrong"), 400),
            (token("root", password), 400),
            (token("admin", password, created=old), 400),
            (token("admin", password, created=now + datetime.timedelta(minutes=5)), 400),
            (token("admin", password).replace("#PasswordDigest", "#PasswordText"), 400),
            (token("admin", password).replace("<Nonce>", "<Nonce>*"), 400),
            (same, 200),
            (same, 400),  # replayed
            (token("admin", password), 200),
        ):
            client = SoapClient(session, camera.base_url, lambda header=header: header)
            status, root = await client.device("GetDeviceInformation")
            assert status == expected, header
            if expected == 400:
                codes = texts(root, "Value")
                assert codes == ["s:Sender", "ter:NotAuthorized"]


async def test_the_device_s_own_clock_decides_what_is_fresh() -> None:
    hours = datetime.timedelta(hours=8)
    quirks = Quirks(clock_offset_s=hours.total_seconds())
    async with one_camera(quirks=quirks) as camera, aiohttp.ClientSession() as session:
        created = datetime.datetime.now(datetime.UTC) + hours
        password = camera.spec.password
        early = SoapClient(session, camera.base_url, lambda: token("admin", password))
        assert (await early.device("GetDeviceInformation"))[0] == 400
        in_time = SoapClient(
            session, camera.base_url, lambda: token("admin", password, created=created)
        )
        assert (await in_time.device("GetDeviceInformation"))[0] == 200


# requests that are wrong


@pytest.mark.parametrize(
    ("path", "body", "status", "codes"),
    [
        ("device", f'<Nonsense xmlns="{TDS}"/>', 500, ["s:Receiver", "ter:ActionNotSupported"]),
        ("media", f'<GetScopes xmlns="{TDS}"/>', 500, ["s:Receiver", "ter:ActionNotSupported"]),
        (
            "ptz",
            '<GetNodes xmlns="http://www.onvif.org/ver20/ptz/wsdl"/>',
            500,
            ["s:Receiver", "ter:ActionNotSupported"],
        ),
        (
            "media",
            f'<GetProfile xmlns="{TRT}"><ProfileToken>no</ProfileToken></GetProfile>',
            400,
            ["s:Sender", "ter:InvalidArgVal", "ter:NoProfile"],
        ),
        (
            "device",
            f'<GetCapabilities xmlns="{TDS}"><Category>Sport</Category></GetCapabilities>',
            400,
            ["s:Sender", "ter:InvalidArgVal"],
        ),
        ("device", "", 400, ["s:Sender", "ter:WellFormed"]),
        ("device", "<open>", 400, ["s:Sender", "ter:WellFormed"]),
    ],
)
async def test_faults(path: str, body: str, status: int, codes: list[str]) -> None:
    async with one_camera() as camera, caller(camera) as client:
        answered, root = await client.call(f"/onvif/{path}_service", body)
        assert (answered, texts(root, "Value")) == (status, codes)
        assert texts(root, "Text")[0]


async def test_entities_are_refused_unexpanded() -> None:
    bomb = (
        '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
        '<!ENTITY f SYSTEM "file:///etc/passwd">]>'
        f'<s:Envelope xmlns:s="{SOAP}"><s:Body><GetCapabilities xmlns="{TDS}">'
        "<Category>&b;&f;</Category></GetCapabilities></s:Body></s:Envelope>"
    )
    async with one_camera() as camera, aiohttp.ClientSession() as session:
        async with session.post(camera.device_url, data=bomb.encode()) as response:
            answer = await response.text()
            assert response.status == 400
        assert "ter:WellFormed" in answer
        assert "aaaa" not in answer
        assert "root:" not in answer


async def test_http_that_is_wrong_is_answered() -> None:
    async with one_camera() as camera, aiohttp.ClientSession() as session:
        for method, path, expected in (
            ("GET", "/", 404),
            ("GET", "/onvif/device_service", 405),
            ("DELETE", "/onvif/snapshot/profile_1_main", 405),
            ("GET", "/onvif/snapshot/profile_1_main", 401),
        ):
            async with session.request(method, camera.base_url + path) as response:
                assert response.status == expected, path
        for data, expected_line in (
            (b"nonsense\r\n\r\n", b"HTTP/1.1 400"),
            (b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", b"HTTP/1.1 413"),
            (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"HTTP/1.1 411"),
            (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 4_000, b"HTTP/1.1 431"),
        ):
            reader, writer = await asyncio.open_connection(camera.host, camera.onvif_port)
            writer.write(data)
            assert (await reader.read()).startswith(expected_line)
            writer.close()


async def test_requests_of_one_connection_are_answered_in_order() -> None:
    async with one_camera(delay_ms=5) as camera:
        reader, writer = await asyncio.open_connection(camera.host, camera.onvif_port)
        for path in ("/a", "/onvif/device_service"):
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        writer.write(b"GET /b HTTP/1.1\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
    assert [line.split()[1] for line in answer.splitlines() if line.startswith(b"HTTP")] == [
        b"404",
        b"405",
        b"404",
    ]


HEAD = b"POST /onvif/device_service HTTP/1.1\r\nContent-Length: 2\r\n\r\nab"


@given(st.binary() | st.binary().map(lambda tail: HEAD[:-9] + tail))
def test_any_bytes_are_a_request_or_an_http_error(data: bytes) -> None:
    try:
        request, used = next_request(data)
    except HttpError as error:
        assert error.status in (400, 411, 413, 431)
        return
    assert (request is None) == (used == 0)


tags = st.sampled_from(
    ["ContinuousMove", "ProfileToken", "Velocity", "PanTilt", "Timeout", "PresetToken", "Stop"]
)
trees = st.recursive(
    st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["C"]), max_size=12).map(
        soap.text
    ),
    lambda inner: st.tuples(tags, st.lists(inner, max_size=4)).map(
        lambda pair: f'<{pair[0]} x="{len(pair[1])}" y="nan">{"".join(pair[1])}</{pair[0]}>'
    ),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.binary() | trees.map(str.encode))
def test_any_body_is_answered(
    shared_camera: tuple[OnvifCamera, asyncio.AbstractEventLoop], data: bytes
) -> None:
    camera, _ = shared_camera
    namespace = soap.PTZ
    head = token("admin", camera.spec.password)
    wrapped = (
        f'<s:Envelope xmlns:s="{SOAP}"><s:Header>{head}</s:Header>'
        f'<s:Body xmlns="{namespace}">'.encode()
        + data
        + b"</s:Body></s:Envelope>"
    )
    for body in (data, wrapped):
        request = HttpRequest(
            method="POST",
            target="/onvif/ptz_service",
            headers={},
            body=body,
            keep_alive=True,
        )
        answer = camera.handle(request)
        assert isinstance(answer, HttpResponse)
        assert answer.status in (200, 400, 401, 500)


@pytest.fixture
async def shared_camera() -> AsyncIterator[tuple[OnvifCamera, asyncio.AbstractEventLoop]]:
    async with one_camera(ptz=True) as camera:
        yield camera, asyncio.get_running_loop()


# events


async def subscribe(client: SoapClient, lifetime: str = "PT60S") -> tuple[int, str]:
    status, root = await client.call(
        "/onvif/event_service",
        f'<CreatePullPointSubscription xmlns="{TEV}"><InitialTerminationTime>{lifetime}'
        "</InitialTerminationTime></CreatePullPointSubscription>",
    )
    return status, next(iter(texts(root, "Address")), "")


def pull(timeout: str = "PT0S", limit: int = 100) -> str:
    return (
        f'<PullMessages xmlns="{TEV}"><Timeout>{timeout}</Timeout>'
        f"<MessageLimit>{limit}</MessageLimit></PullMessages>"
    )


async def test_the_life_of_a_subscription() -> None:
    async with one_camera() as camera, caller(camera) as client:
        _, address = await subscribe(client)
        assert camera.subscriptions == 1
        _, first = await client.call(address, pull(limit=2))
        assert len(texts(first, "Topic")) == 2
        _, rest = await client.call(address, pull())
        assert len(texts(rest, "Topic")) == len(EventKind) - 2
        waiting = asyncio.create_task(client.call(address, pull("PT30S")))
        await until(lambda: camera.events.alive[0].pulling)
        status, second = await client.call(address, pull("PT30S"))
        assert (status, texts(second, "Text")) == (500, ["another PullMessages waits"])
        camera.notify("signal_lost", True)
        _, news = await waiting
        assert texts(news, "Topic") == ["tns1:VideoSource/SignalLoss"]
        renew = f'<Renew xmlns="{WSNT}"><TerminationTime>PT600S</TerminationTime></Renew>'
        status, renewed = await client.call(address, renew)
        ends, now = (
            datetime.datetime.fromisoformat(texts(renewed, name)[0])
            for name in ("TerminationTime", "CurrentTime")
        )
        assert 595 <= (ends - now).total_seconds() <= 601
        sync = f'<SetSynchronizationPoint xmlns="{TEV}"/>'
        assert (await client.call(address, sync))[0] == 200
        _, again = await client.call(address, pull())
        assert len(texts(again, "Topic")) == len(EventKind)
        assert (await client.call(address, f'<Unsubscribe xmlns="{WSNT}"/>'))[0] == 200
        assert camera.subscriptions == 0
        assert (await client.call(address, pull()))[0] == 400


async def test_a_subscription_runs_out_by_itself() -> None:
    async with one_camera() as camera, caller(camera) as client:
        assert (await subscribe(client, "PT0.2S"))[0] == 200
        assert camera.subscriptions == 1
        await until(lambda: camera.subscriptions == 0)
        assert (await subscribe(client, "1999-01-01T00:00:00Z"))[0] == 400
        assert (await subscribe(client, "soon"))[0] == 400
        in_a_minute = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=1)
        assert (await subscribe(client, in_a_minute.isoformat()))[0] == 200


async def test_a_camera_bears_only_so_many_subscriptions() -> None:
    async with one_camera(quirks=Quirks(max_subscriptions=2)) as camera, caller(camera) as client:
        statuses = [(await subscribe(client))[0] for _ in range(3)]
        assert statuses == [200, 200, 500]


async def test_a_subscription_nobody_pulls_stays_small() -> None:
    async with one_camera() as camera, caller(camera) as client:
        await subscribe(client)
        for index in range(500):
            camera.notify("motion", bool(index % 2))
        (subscription,) = camera.events.alive
        assert subscription.dropped == 300 + len(EventKind)
        assert len(await subscription.pull(1_000, 0)) == 200


# snapshots, PTZ, power and faults


async def test_the_snapshot_is_a_jpeg_of_the_stream() -> None:
    async with one_camera() as camera:
        url = f"{camera.base_url}/onvif/snapshot/profile_1_sub"

        def fetch(password: str) -> requests.Response:
            with requests.Session() as peer:
                return peer.get(url, auth=requests.auth.HTTPDigestAuth("admin", password))

        answer = await asyncio.to_thread(fetch, camera.spec.password)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/jpeg")
        assert (await asyncio.to_thread(fetch, "wrong")).status_code == 401
        assert camera.snapshots == 1
    with av.open(io.BytesIO(answer.content), format="mjpeg") as container:
        frame = next(container.decode(video=0))
    assert (frame.width, frame.height) == (120, 90)


def test_a_head_moves_by_time_and_stops_at_the_end() -> None:
    now_s = 100.0
    head = PtzHead(lambda: now_s)
    head.move(Position(pan=1.0, tilt=-1.0, zoom=0.5), 1.0)
    now_s += 0.5
    assert head.moving
    assert head.position == Position(
        pan=0.5 * FULL_SPEED, tilt=-0.5 * FULL_SPEED, zoom=0.25 * FULL_SPEED
    )
    now_s += 10
    assert head.position.pan == FULL_SPEED  # for one second only
    assert not head.moving
    head.move(Position(pan=1.0), 60.0)
    now_s += 60
    assert head.position.pan == 1.0
    head.move(Position(pan=-1.0, zoom=-1.0), 60.0)
    head.stop(pan_tilt=False)
    assert head.velocity == Position(pan=-1.0)


async def test_power_off_drops_everything_and_on_is_the_same_device() -> None:
    async with one_camera() as camera, caller(camera) as client:
        _, address = await subscribe(client)
        await client.call(address, pull())
        waiting = asyncio.create_task(client.call(address, pull("PT30S")))
        await until(lambda: camera.events.alive[0].pulling)
        url = camera.device_url
        peer = RtspClient(camera.rtsp_url(), password=camera.spec.password)
        async with peer:
            await peer.play()
            assert camera.rtsp_clients == 1
            await camera.power(False)
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await read_on(peer)
        with pytest.raises(aiohttp.ClientError):
            await waiting
        assert (camera.rtsp_clients, camera.subscriptions) == (0, 0)
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.device("GetServices")
        await camera.power(True)
        assert camera.device_url == url
        assert (await client.device("GetDeviceInformation"))[0] == 200
        assert (await client.call(address, pull()))[0] == 400


async def read_on(peer: RtspClient) -> None:
    while True:
        await peer.packet()


async def test_silent_and_garbage_devices() -> None:
    async with one_camera() as camera, caller(camera) as client:
        camera.quirks = Quirks(garbage=True)
        with pytest.raises(aiohttp.ClientError):
            await client.device("GetServices")
        assert camera.rtsp.quirks.garbage
        camera.quirks = Quirks(silent=True)
        asked = camera.requests
        waiting = asyncio.create_task(client.device("GetServices"))
        await until(lambda: camera.requests > asked)
        assert camera.rtsp.quirks.silent
        camera.quirks = Quirks(rtsp=RtspQuirks(silent=True))
        async with caller(camera) as other:
            assert (await other.device("GetServices"))[0] == 200
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_processing_takes_the_given_time() -> None:
    async with one_camera(delay_ms=80) as camera, caller(camera) as client:
        loop = asyncio.get_running_loop()
        before_s = loop.time()
        assert (await client.device("GetServices"))[0] == 200
        assert loop.time() - before_s >= 0.08


async def test_each_camera_has_its_own_password_and_identity() -> None:
    specs = [onvif_spec(f"c{i}", host=f"127.0.3.{i}") for i in (1, 2)]
    async with onvif_fleet(specs) as fleet:
        first, second = fleet.cameras.values()
        assert first.spec.endpoint_reference != second.spec.endpoint_reference
        async with caller(second, password=first.spec.password) as client:
            assert (await client.device("GetDeviceInformation"))[0] == 400


async def test_a_port_in_use_is_named_and_nothing_is_left() -> None:
    async with one_camera() as camera:
        port = camera.onvif_port
        fleet = onvif_fleet([onvif_spec("b"), onvif_spec("c", onvif_port=port)])
        with pytest.raises(OSError, match=rf"127\.0\.0\.1:{port}"):
            await fleet.__aenter__()
        reached = fleet.cameras["b"]
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(reached.host, reached.onvif_port)
