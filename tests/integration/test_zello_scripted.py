"""The Zello adapter against a scripted server, for what one does only when it is slow, wrong or
broken."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import WSMsgType, web
from zello_stage import Gateway, failure_of

from adapters.errors import (
    AuthenticationFailed,
    InvalidSettings,
    ProtocolViolation,
    TimedOut,
    Unreachable,
)
from adapters.events import (
    ChannelHealth,
    FloorIdle,
    FloorTaken,
    Malformed,
    Online,
    Result,
    TextMessage,
)
from adapters.zello import outgoing, session


class Script:
    """A WebSocket server that logs everybody on, brings ``ops`` online, and then does as told."""

    def __init__(self) -> None:
        self.url = ""
        self.heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.packets = 0
        self.socket = web.WebSocketResponse()
        self.logon: dict[str, Any] = {"success": True, "refresh_token": "r"}
        self.status: list[dict[str, Any]] = [{"channel": "ops", "status": "online"}]

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        self.socket = socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                self.packets += 1
                continue
            command = json.loads(message.data)
            if command["command"] != "logon":
                self.heard.put_nowait(command)
                continue
            if self.logon:
                await self.say(seq=command["seq"], **self.logon)
            for status in self.status:
                await self.say(command="on_channel_status", **status)
        return socket

    async def say(self, **document: Any) -> None:
        await self.socket.send_str(json.dumps(document))

    async def next(self, command: str) -> dict[str, Any]:
        async with asyncio.timeout(30):
            said = await self.heard.get()
        assert said["command"] == command, said
        return said


@contextlib.asynccontextmanager
async def scripted() -> AsyncIterator[tuple[Script, Gateway]]:
    script = Script()
    application = web.Application()
    application.router.add_get("/ws", script.serve)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    script.url = f"ws://127.0.0.1:{runner.addresses[0][1]}/ws"
    gateway = Gateway(script.url)
    try:
        yield script, gateway
    finally:
        await gateway.stop()
        await runner.cleanup()


@contextlib.asynccontextmanager
async def online() -> AsyncIterator[tuple[Script, Gateway]]:
    async with scripted() as (script, gateway):
        gateway.start()
        await gateway.ready()
        yield script, gateway


async def test_a_release_before_the_server_has_answered_stops_the_stream_as_soon_as_it_has() -> (
    None
):
    async with online() as (script, gateway):
        keying = asyncio.create_task(gateway.key())
        start = await script.next("start_stream")
        assert (await gateway.unkey()).result is Result.DONE
        released = await keying
        assert released.result is Result.REFUSED
        assert "released" in released.reason
        await script.say(seq=start["seq"], success=True, stream_id=7)
        stop = await script.next("stop_stream")
        assert (stop["stream_id"], stop["channel"]) == (7, "ops")
        assert script.packets == 0


async def test_keys_repeated_before_the_answer_are_one_start() -> None:
    async with online() as (script, gateway):
        keying = [asyncio.create_task(gateway.key()) for _ in range(3)]
        start = await script.next("start_stream")
        await script.say(seq=start["seq"], success=True, stream_id=7)
        assert [(await each).result for each in keying] == [Result.DONE] * 3
        assert script.heard.empty()


async def test_a_text_goes_before_the_start_without_waiting_for_its_answer() -> None:
    async with online() as (script, gateway):
        await gateway.text("A12")
        keying = asyncio.create_task(gateway.key())
        await script.next("send_text_message")
        start = await script.next("start_stream")
        await script.say(seq=start["seq"], success=True, stream_id=7)
        await keying


async def test_a_channel_goes_by_the_name_that_the_server_gives_it() -> None:
    async with scripted() as (script, gateway):
        script.status = [{"channel": "OPS", "status": "online"}]
        gateway.start()
        await gateway.ready()
        await gateway.text("A12")
        assert (await script.next("send_text_message"))["channel"] == "OPS"
        keying = asyncio.create_task(gateway.key())
        start = await script.next("start_stream")
        assert start["channel"] == "OPS"
        await script.say(seq=start["seq"], success=True, stream_id=7)
        await keying
        await gateway.unkey()
        assert (await script.next("stop_stream"))["channel"] == "OPS"


async def test_an_answer_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "ANSWER_S", 0.1)
    async with online() as (script, gateway):
        with pytest.raises(TimedOut, match="start_stream"):
            await gateway.key()
        start = await script.next("start_stream")
        await script.say(seq=start["seq"], success=True, stream_id=7)
        assert (await script.next("stop_stream"))["stream_id"] == 7


async def test_a_stream_without_an_id_is_refused() -> None:
    async with online() as (script, gateway):
        keying = asyncio.create_task(gateway.key())
        start = await script.next("start_stream")
        await script.say(seq=start["seq"], success=True)
        assert (await keying).result is Result.REFUSED


async def test_a_connection_that_goes_during_a_start() -> None:
    async with online() as (script, gateway):
        keying = asyncio.create_task(gateway.key())
        await script.next("start_stream")
        await script.socket.close()
        with pytest.raises(Unreachable):
            await keying
        assert isinstance(await failure_of(gateway), Unreachable)


async def test_garbage_is_told_and_the_next_message_is_read() -> None:
    async with online() as (script, gateway):
        await script.socket.send_str("{")
        await script.socket.send_str('{"command": "on_stream_stop"}')
        await script.socket.send_bytes(b"\x07" + bytes(8))
        await script.say(command="on_something_new", whatever=1)
        await script.say(seq=99, success=True)
        await script.say(command="on_error", error="invalid audio packet")
        await script.say(command="on_stream_start", stream_id=7, channel="OPS", **{"from": "alex"})
        taken = await gateway.get(FloorTaken)
        assert taken.address == "ops", "the server spells the name in other capitals"
        told = [each.reason for each in gateway.all(Malformed)]
        assert len(told) == 4
        assert "$.stream_id" in told[1]
        assert "invalid audio packet" in told[3]
        assert all(each.peer == script.url for each in gateway.all(Malformed))


async def test_our_own_account_is_never_another_talker() -> None:
    async with online() as (script, gateway):
        keying = asyncio.create_task(gateway.key())
        start = await script.next("start_stream")
        await script.say(seq=start["seq"], success=True, stream_id=7)
        await keying
        await script.say(
            command="on_stream_start", stream_id=8, channel="ops", **{"from": "Gateway"}
        )
        assert (await gateway.get(FloorTaken)).caused_by == "t-1"
        await script.say(command="on_stream_stop", stream_id=8)
        assert (await gateway.get(FloorIdle)).caused_by is None, "ours goes on"
        await script.say(command="on_text_message", channel="ops", text="x", **{"from": "gateway"})
        await script.say(command="on_text_message", channel="ops", text="y", **{"from": "alex"})
        assert (await gateway.get(TextMessage)).text == "y"


async def test_a_channel_that_goes_offline_ends_its_talks() -> None:
    async with online() as (script, gateway):
        await script.say(command="on_stream_start", stream_id=7, channel="ops", **{"from": "alex"})
        await script.say(
            command="on_channel_status", channel="ops", status="offline", error="moved away"
        )
        assert (await gateway.get(FloorIdle)).reason == "lost"
        health = await gateway.get(ChannelHealth, 1)
        assert (health.health, health.reason) == ("down", "moved away")


async def test_an_account_without_any_of_its_channels_is_misconfigured() -> None:
    async with scripted() as (script, gateway):
        script.status = [
            {
                "channel": "ops",
                "status": "offline",
                "error": "no access",
                "error_type": "configuration",
            }
        ]
        error = await failure_of(gateway)
        assert isinstance(error, InvalidSettings)
        assert "no access" in error.message


async def test_a_channel_of_which_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "FIRST_STATUS_S", 0.05)
    async with scripted() as (script, gateway):
        script.status = []
        gateway.start()
        health = await gateway.get(ChannelHealth)
        assert health.health == "down"
        assert "capitals" in health.reason


async def test_an_error_that_ends_the_connection() -> None:
    async with online() as (script, gateway):
        await script.say(command="on_error", error="server closed connection")
        error = await failure_of(gateway)
        assert isinstance(error, Unreachable)
        assert "server closed connection" in error.message


async def test_a_logon_that_is_not_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "LOGON_S", 0.1)
    async with scripted() as (script, gateway):
        script.logon = {}
        error = await failure_of(gateway)
        assert isinstance(error, TimedOut)
        assert gateway.all(Online) == []


async def test_bytes_that_are_no_websocket() -> None:
    async with online() as (script, gateway):
        assert script.socket._req is not None
        transport = script.socket._req.transport
        assert transport is not None
        transport.write(b"\xff\xff not a frame")
        assert isinstance(await failure_of(gateway), ProtocolViolation)


async def test_servers_that_are_none() -> None:
    async def no_websocket(request: web.Request) -> web.Response:
        return web.Response(status=int(request.match_info["status"]), text="no")

    application = web.Application()
    application.router.add_get("/{status}", no_websocket)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    base = f"ws://127.0.0.1:{runner.addresses[0][1]}"
    try:
        assert isinstance(await failure_of(Gateway(f"{base}/403")), AuthenticationFailed)
        assert isinstance(await failure_of(Gateway(f"{base}/200")), ProtocolViolation)
        assert isinstance(await failure_of(Gateway(f"{base}/500")), ProtocolViolation)
    finally:
        await runner.cleanup()
    assert isinstance(await failure_of(Gateway(f"{base}/403")), Unreachable)
    assert isinstance(await failure_of(Gateway("ws://")), InvalidSettings)
