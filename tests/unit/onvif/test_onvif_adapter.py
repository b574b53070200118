"""The adapter against simulated cameras, and against devices that behave badly."""

import asyncio
import contextlib
import dataclasses
import gc
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from adapters.errors import (
    AuthenticationFailed,
    Busy,
    NotSupported,
    ProtocolViolation,
    TimedOut,
    Unreachable,
)
from adapters.events import Event, KeyChannel, MovePtz, Online, Profile, Result, RtspSource
from adapters.onvif.adapter import OnvifAdapter
from simulators.onvif_camera import OnvifCamera, OnvifFleet, Quirks

MakeAdapter = Callable[..., OnvifAdapter]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def device(serve: Serve) -> AsyncIterator[str]:
    """host:port of a TCP server that treats each connection as told, then closes it."""

    serving: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(handle(reader, writer))
        serving.add(task)
        task.add_done_callback(serving.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()
        yield f"{host}:{port}"
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving)


async def request_of(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-len")),
        0,
    )
    return head + await reader.readexactly(length)


def answers(status: str, body: bytes = b"", headers: str = "") -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode())
        writer.write(body)
        await writer.drain()
        writer.write_eof()
        await reader.read()

    return serve


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - conditions on other programs have no event
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def running(adapter: OnvifAdapter) -> AsyncIterator[tuple["asyncio.Task[None]", list[Event]]]:
    events: list[Event] = []
    task = asyncio.create_task(adapter.run(events.append))
    try:
        await until(lambda: bool(events) or task.done())
        yield task, events
    finally:
        task.cancel()
        await asyncio.wait([task])


class TestProbe:
    async def test_tells_who_it_is_and_what_it_has(
        self, adapter: OnvifAdapter, camera: OnvifCamera
    ) -> None:
        found = await adapter.probe()
        assert found.identity.serial == "SN-gate"
        assert found.identity.manufacturer == "Hutong"
        assert [(s.address, s.channel_number) for s in found.sources] == [
            ("source_1", 1), ("source_2", 2),
        ]  # fmt: skip
        assert all(each.bit_rate_bps > 0 for each in found.sources[1].profiles)
        profiles = found.sources[1].profiles
        assert tuple(dataclasses.replace(each, bit_rate_bps=0) for each in profiles) == (
            Profile(
                name="main", token="profile_2_main", codec="h264", width=160, height=128, fps=5
            ),
            Profile(name="sub", token="profile_2_sub", codec="h264", width=128, height=96, fps=5),
        )
        assert found.sources[0].capabilities == {"ptz", "events"}
        assert found.clock_offset_s == pytest.approx(0, abs=1.5)
        assert camera.subscriptions == 0
        assert sum(camera.actions.values()) == 5

    @pytest.mark.parametrize("offset_s", [-7_200.0, 86_400.0 * 400])
    async def test_signs_by_the_clock_of_the_device(
        self, adapter: OnvifAdapter, camera: OnvifCamera, offset_s: float
    ) -> None:
        camera.quirks = Quirks(clock_offset_s=offset_s, created_window_s=5)
        found = await adapter.probe()
        assert found.clock_offset_s == pytest.approx(offset_s, abs=1.5)
        assert camera.refused == 0

    async def test_keeps_to_the_way_it_reached_the_device(
        self, camera: OnvifCamera, make_adapter: MakeAdapter
    ) -> None:
        """Behind a NAT: the camera announces its own port, which the relay does not forward."""
        relayed = 0

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal relayed
            relayed += 1
            inner_reader, inner_writer = await asyncio.open_connection(
                camera.host, camera.onvif_port
            )
            with contextlib.closing(inner_writer):
                while True:
                    inner_writer.write(await request_of(reader))
                    head = await inner_reader.readuntil(b"\r\n\r\n")
                    length = int(head.lower().partition(b"content-length:")[2].split(b"\r")[0])
                    writer.write(head + await inner_reader.readexactly(length))

        async with device(relay) as endpoint:
            adapter = make_adapter(endpoint)
            found = await adapter.probe()
            relayed_before = relayed
            image = await adapter.snapshot("source_1")
            outside = make_adapter(endpoint.replace("127.0.0.1", "localhost"))
            source = await outside.open_media("source_1", "main")
        assert len(found.sources) == 2
        assert image.data.startswith(b"\xff\xd8")
        assert relayed > relayed_before > 0
        assert isinstance(source, RtspSource)
        assert source.url.startswith(f"rtsp://localhost:{camera.rtsp_port}/")

    async def test_does_not_follow_a_redirect_with_credentials(
        self, camera: OnvifCamera, make_adapter: MakeAdapter
    ) -> None:
        header = f"Location: {camera.device_url}\r\n"
        async with device(answers("302 Found", headers=header)) as endpoint:
            with pytest.raises(ProtocolViolation, match="redirects"):
                await make_adapter(endpoint).probe()
        assert camera.requests == 0

    async def test_survives_a_device_that_closes_after_each_answer(
        self, camera: OnvifCamera, make_adapter: MakeAdapter
    ) -> None:
        async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            request = await request_of(reader)
            inner_reader, inner_writer = await asyncio.open_connection(
                camera.host, camera.onvif_port
            )
            with contextlib.closing(inner_writer):
                inner_writer.write(request)
                head = await inner_reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r")[0])
                writer.write(head + await inner_reader.readexactly(length))
                await writer.drain()

        async with device(once) as endpoint:
            assert len((await make_adapter(endpoint).probe()).sources) == 2

    async def test_again_and_again_leaves_nothing_in_memory(
        self, camera: OnvifCamera, make_adapter: MakeAdapter
    ) -> None:
        """home-assistant/core#43582: other clients keep 10 to 50 MB for each try."""

        async def look(times: int) -> int:
            for _ in range(times):
                await make_adapter(camera.device_url).probe()
                with contextlib.suppress(AuthenticationFailed):
                    await make_adapter(camera.device_url, password="wrong").probe()
            gc.collect()
            return len(gc.get_objects())

        before = await look(10)
        grown = await look(40) - before
        assert grown < 200


class TestBadDevices:
    @pytest.mark.parametrize(
        ("serve", "error", "says"),
        [
            (answers("200 OK", b"<html>sign in</html>"), ProtocolViolation, "not SOAP"),
            (answers("200 OK"), ProtocolViolation, "no XML"),
            (answers("404 Not Found"), ProtocolViolation, "no ONVIF service"),
            (answers("503 Busy"), Busy, "too busy"),
            (answers("200 OK", b"<" + b"x" * 9_000_000), ProtocolViolation, "larger than"),
            (answers("999999 \x00"), ProtocolViolation, "no HTTP"),
        ],
        ids=["html", "empty", "not-there", "busy", "endless", "no-http"],
    )
    async def test_get_one_clear_sentence(
        self, serve: Serve, error: type[Exception], says: str, make_adapter: MakeAdapter
    ) -> None:
        async with device(serve) as endpoint:
            with pytest.raises(error, match=says) as raised:
                await make_adapter(endpoint).probe()
        assert str(raised.value).startswith(f"{endpoint}: ")

    async def test_that_drip_their_answer_time_out(self, make_adapter: MakeAdapter) -> None:
        async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await request_of(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while True:
                writer.write(b"<")
                await writer.drain()
                await asyncio.sleep(0.02)

        async with device(drip) as endpoint:
            with pytest.raises(TimedOut, match=r"within 0.3 s"):
                await make_adapter(endpoint, timeout_s=0.3).probe()

    async def test_whose_name_is_unknown_are_unreachable(
        self, make_adapter: MakeAdapter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def unknown(*_: Any, **__: Any) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        with pytest.raises(Unreachable, match="not known to the name server"):
            await make_adapter("camera.example").probe()

    async def test_that_speak_no_tls_are_unreachable(self, make_adapter: MakeAdapter) -> None:
        async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await reader.read()

        async with device(plain) as endpoint:
            with pytest.raises(Unreachable, match="TLS"):
                await make_adapter(f"https://{endpoint}").probe()

    async def test_that_stop_answering_end_the_run(
        self, camera: OnvifCamera, make_adapter: MakeAdapter
    ) -> None:
        adapter = make_adapter(camera.device_url, check_interval_s=0.02)
        async with running(adapter) as (task, events):
            assert isinstance(events[0], Online)
            assert events[0].identity is not None
            assert events[0].identity.serial == "SN-gate"
            await camera.power(False)
            with pytest.raises(Unreachable):
                await asyncio.wait_for(task, 5)

    async def test_that_turn_out_to_be_another_end_the_run(
        self, fleet: OnvifFleet, camera: OnvifCamera, make_adapter: MakeAdapter
    ) -> None:
        adapter = make_adapter(camera.device_url, check_interval_s=0.01)
        async with running(adapter) as (task, _):
            camera.spec = dataclasses.replace(camera.spec, serial="SN-new")
            with pytest.raises(ProtocolViolation, match="another device answers"):
                await asyncio.wait_for(task, 5)

    async def test_whose_password_was_changed_end_the_run(
        self, camera: OnvifCamera, make_adapter: MakeAdapter
    ) -> None:
        adapter = make_adapter(camera.device_url, check_interval_s=0.01)
        async with running(adapter) as (task, _):
            camera._guard = type(camera._guard)("admin", "another-password")
            with pytest.raises(AuthenticationFailed):
                await asyncio.wait_for(task, 5)


class TestMedia:
    async def test_is_described_without_credentials_and_asked_for_once(
        self, adapter: OnvifAdapter, camera: OnvifCamera
    ) -> None:
        sub = await adapter.open_media("source_2", "sub")
        assert isinstance(sub, RtspSource)
        assert sub.url == camera.rtsp_url("sub", 2)
        assert (sub.username, sub.password.reveal(), sub.transport) == (
            "admin", "planted-password", "tcp",
        )  # fmt: skip
        requests = camera.requests
        assert await adapter.open_media("source_2", "sub") == sub
        assert camera.requests == requests

    async def test_of_an_unknown_source_is_not_supported(self, adapter: OnvifAdapter) -> None:
        with pytest.raises(NotSupported, match="there are source_1, source_2"):
            await adapter.open_media("source_9", "main")

    async def test_snapshot_is_had_with_digest(
        self, adapter: OnvifAdapter, camera: OnvifCamera
    ) -> None:
        image = await adapter.snapshot("source_1")
        assert image.data.startswith(b"\xff\xd8")
        assert (camera.snapshots, camera.refused) == (1, 0)

    async def test_snapshot_that_is_no_picture_is_refused(
        self, camera: OnvifCamera, adapter: OnvifAdapter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def page(*_: Any) -> bytes:
            return b"<html></html>"

        monkeypatch.setattr(camera.rtsp, "snapshot", page)
        with pytest.raises(ProtocolViolation, match="no JPEG"):
            await adapter.snapshot("source_1")


class TestMoving:
    async def test_stops_after_its_duration(
        self, adapter: OnvifAdapter, camera: OnvifCamera
    ) -> None:
        outcome = await adapter.execute(MovePtz(address="source_2", pan=1.0, duration_ms=100))
        head = camera.ptz_heads[2]
        assert outcome.result is Result.DONE
        assert (head.moves, head.stops, head.moving) == (1, 1, False)
        assert 0.02 < head.position.pan < 0.4

    async def test_stops_when_whoever_asked_is_gone(
        self, adapter: OnvifAdapter, camera: OnvifCamera
    ) -> None:
        move = MovePtz(address="source_1", tilt=-1.0, duration_ms=60_000)
        task = asyncio.create_task(adapter.execute(move))
        await until(lambda: camera.ptz_heads[1].moving)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert not camera.ptz_heads[1].moving

    async def test_is_not_stopped_by_the_movement_before(
        self, adapter: OnvifAdapter, camera: OnvifCamera
    ) -> None:
        head = camera.ptz_heads[1]
        first = asyncio.create_task(
            adapter.execute(MovePtz(address="source_1", pan=1.0, duration_ms=150))
        )
        await until(lambda: head.moves == 1)
        second = asyncio.create_task(
            adapter.execute(MovePtz(address="source_1", pan=-1.0, duration_ms=60_000))
        )
        await until(lambda: head.moves == 2)
        await first
        assert head.stops == 0
        assert head.velocity.pan == -1.0
        second.cancel()
        await asyncio.wait([second])
        assert not head.moving

    async def test_stands_still_on_request(
        self, adapter: OnvifAdapter, camera: OnvifCamera
    ) -> None:
        assert (await adapter.execute(MovePtz(address="source_1"))).result is Result.DONE
        assert (camera.ptz_heads[1].moves, camera.ptz_heads[1].stops) == (0, 1)

    @pytest.mark.parametrize(
        "move",
        [
            MovePtz(address="source_1", pan=1.5),
            MovePtz(address="source_1", pan=float("nan")),
            MovePtz(address="source_9", pan=0.5),
        ],
        ids=["too-fast", "nan", "unknown-source"],
    )
    async def test_is_refused_with_a_reason(
        self, adapter: OnvifAdapter, camera: OnvifCamera, move: MovePtz
    ) -> None:
        outcome = await adapter.execute(move)
        assert outcome.result is Result.REFUSED
        assert outcome.reason
        assert not camera.actions["ContinuousMove"]
        assert camera.ptz_heads[1].moves == 0

    async def test_of_a_fixed_camera_is_refused(
        self, fleet: OnvifFleet, make_adapter: MakeAdapter
    ) -> None:
        adapter = make_adapter(fleet.cameras["fixed"].device_url)
        outcome = await adapter.execute(MovePtz(address="source_1", pan=0.5))
        assert outcome.result is Result.REFUSED
        assert "cannot be moved" in outcome.reason

    async def test_a_radio_command_is_not_understood(self, adapter: OnvifAdapter) -> None:
        with pytest.raises(NotSupported, match="KeyChannel"):
            await adapter.execute(KeyChannel(address="source_1", transmission="t"))
