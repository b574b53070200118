"""The Zello adapter on a real socket: the simulated server for whole talks, and a scripted one
for what a server does only when it is slow, wrong or broken."""

import asyncio
import base64
import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import pytest
from aiohttp import WSMsgType, web

from adapters.errors import (
    AdapterError,
    AuthenticationFailed,
    InvalidSettings,
    NotSupported,
    ProtocolViolation,
    TimedOut,
    Unreachable,
)
from adapters.events import (
    ChannelHealth,
    Event,
    FloorIdle,
    FloorRefreshed,
    FloorTaken,
    KeyChannel,
    Malformed,
    MovePtz,
    Online,
    Outcome,
    Result,
    SendLocation,
    SendText,
    TextMessage,
    UnitLocation,
    UnkeyChannel,
)
from adapters.zello import outgoing, session
from adapters.zello.adapter import ZelloAdapter
from adapters.zello.settings import ZelloSettings
from simulators.zello_server import Kind, ZelloServer

E = TypeVar("E", bound=Event)

PASSWORD = "planted-password"
ACCOUNTS = {"gateway": PASSWORD, "other": "planted-other"}


class Gateway:
    """A running adapter and what it emits."""

    def __init__(self, url: str, channels: tuple[str, ...] = ("ops",), **given: Any) -> None:
        settings = {"url": url, "username": "gateway", "password": PASSWORD, **given}
        self.adapter = ZelloAdapter(ZelloSettings.model_validate(settings), channels)
        self.events: list[Event] = []
        self.task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    def emit(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()

    def start(self) -> "asyncio.Task[None]":
        self.task = asyncio.create_task(self.adapter.run(self.emit))
        self.task.add_done_callback(lambda task: self._changed.set())
        return self.task

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError, AdapterError):
                await self.task

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                assert self.task is not None
                if self.task.done():
                    await self.task
                self._changed.clear()
                await self._changed.wait()

    def all(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    async def get(self, kind: type[E], number: int = 0) -> E:
        """The event of that kind and number, from 0; waits for it."""
        await self.until(lambda: len(self.all(kind)) > number)
        return self.all(kind)[number]

    async def ready(self) -> None:
        """Until the channel is online."""
        await self.until(lambda: any(each.health == "ok" for each in self.all(ChannelHealth)))

    async def key(self, name: str = "t-1", channel: str = "ops") -> Outcome:
        return await self.adapter.execute(KeyChannel(address=channel, transmission=name))

    async def unkey(self, name: str = "t-1") -> Outcome:
        return await self.adapter.execute(UnkeyChannel(address="ops", transmission=name))

    async def text(self, text: str, channel: str = "ops") -> Outcome:
        return await self.adapter.execute(SendText(address=channel, text=text))


@contextlib.asynccontextmanager
async def running(server: ZelloServer, *channels: str, **given: Any) -> AsyncIterator[Gateway]:
    gateway = Gateway(server.url, channels or ("ops",), **given)
    gateway.start()
    try:
        await gateway.ready()
        yield gateway
    finally:
        await gateway.stop()


@contextlib.asynccontextmanager
async def a_server(**more: Any) -> AsyncIterator[ZelloServer]:
    async with ZelloServer(accounts=ACCOUNTS, channels=["ops", "north"], **more) as server:
        yield server


async def failure_of(gateway: Gateway) -> AdapterError:
    async with asyncio.timeout(30):
        with pytest.raises(AdapterError) as raised:
            await (gateway.task or gateway.start())
    return raised.value


# --- with the simulated server ----------------------------------------------------------------


async def test_a_phone_that_talks_is_told_with_who_and_where() -> None:
    async with a_server() as server, running(server, "ops", "north") as gateway:
        phone = server.phone("alex")
        phone.press("north")
        taken = await gateway.get(FloorTaken)
        assert (taken.address, taken.talker, taken.hold_s) == ("north", "alex", 3.0)
        assert taken.caused_by is None
        refreshed = await gateway.get(FloorRefreshed)
        assert refreshed.stream == taken.stream
        phone.release()
        idle = await gateway.get(FloorIdle)
        assert (idle.address, idle.stream, idle.reason) == ("north", taken.stream, "released")


async def test_a_key_is_a_stream_of_silence_until_it_is_released() -> None:
    async with a_server() as server, running(server) as gateway:
        phone = server.phone("alex")
        assert await gateway.text("A12 speaks") == Outcome(result=Result.DONE)
        assert (await gateway.key()).result is Result.DONE
        assert (await gateway.key()).result is Result.DONE, "repeated, it changes nothing"
        heard = await phone.wait_heard()
        await server.log.wait(Kind.PACKET, "gateway", count=8)
        await gateway.unkey()
        await phone.wait_heard(ended=True)
        assert (heard.sender, heard.channel) == ("gateway", "ops")
        assert 50 < sum(heard.gaps_ms) / len(heard.gaps_ms) < 70
        assert (await phone.wait_text()).text == "A12 speaks"
        order = [each.kind for each in server.log if each.kind in (Kind.TEXT, Kind.START)]
        assert order == [Kind.TEXT, Kind.START]
        assert server.log.of(Kind.INVALID) == []
        assert (await gateway.unkey()).result is Result.DONE
        assert gateway.all(FloorTaken) == []


async def test_texts_of_phones() -> None:
    async with a_server() as server, running(server) as gateway:
        phone = server.phone("alex")
        phone.text("ops", "for you alone", for_user="gateway")
        phone.text("ops", "到了")
        text = await gateway.get(TextMessage)
        assert (text.address, text.unit, text.text) == ("ops", "alex", "到了")


async def test_a_private_talk_is_none_of_the_channel() -> None:
    async with a_server() as server, running(server) as gateway:
        phone = server.phone("alex")
        phone.press("ops", for_user="gateway")
        phone.release()
        phone.text("ops", "after it")
        await gateway.get(TextMessage)
        assert gateway.all(FloorTaken) == []
        assert gateway.all(FloorIdle) == []


async def test_a_channel_that_is_taken_is_busy_in_the_server_s_words() -> None:
    async with a_server() as server, running(server) as gateway:
        phone = server.phone("alex")
        phone.press("ops")
        await gateway.get(FloorTaken)
        busy = await gateway.key()
        assert busy.result is Result.BUSY
        assert "failed to start stream" in busy.reason
        phone.release()
        await gateway.get(FloorIdle)
        assert (await gateway.key()).result is Result.DONE, "it comes in late"


@pytest.mark.parametrize(
    ("error", "result"),
    [
        ("channel is not ready", Result.BUSY),
        ("listen only connection", Result.REFUSED),
        ("something new", Result.REFUSED),
    ],
)
async def test_what_the_server_refuses(error: str, result: Result) -> None:
    async with a_server() as server, running(server) as gateway:
        server.refuse_start = error
        outcome = await gateway.key()
        assert outcome.result is result
        assert error in outcome.reason


async def test_a_stream_that_the_server_ends_is_told_and_not_begun_again() -> None:
    async with a_server() as server, running(server) as gateway:
        await gateway.key()
        await server.log.wait(Kind.START)
        assert server.end_stream("ops")
        idle = await gateway.get(FloorIdle)
        assert (idle.address, idle.reason, idle.caused_by) == ("ops", "system", "t-1")
        refused = await gateway.key()
        assert (refused.result, refused.reason) == (Result.REFUSED, "ended by the server")
        assert (await gateway.key("t-2")).result is Result.DONE
        await gateway.unkey("t-2")
        await gateway.unkey("t-1")
        assert (await gateway.key("t-1")).result is Result.DONE, "its release ends the bar"


async def test_one_account_has_one_stream_on_a_channel() -> None:
    async with a_server() as server, running(server, "ops", "north") as gateway:
        await gateway.key("t-1")
        assert (await gateway.key("t-2")).result is Result.BUSY
        assert (await gateway.key("t-3", "north")).result is Result.DONE
        assert (await gateway.key("t-1", "north")).result is Result.REFUSED


async def test_going_down_stops_our_streams() -> None:
    async with a_server() as server:
        async with running(server) as gateway:
            await gateway.key()
        stop = await server.log.wait(Kind.STOP)
        assert stop.detail == "stopped", "the stream was left to end with its connection"


async def test_a_lost_connection_is_retryable_and_ends_what_was_heard() -> None:
    async with a_server() as server, running(server) as gateway:
        server.phone("alex").press("ops")
        await gateway.get(FloorTaken)
        keyed = gateway.adapter
        server.drop_connections()
        error = await failure_of(gateway)
        assert isinstance(error, Unreachable)
        assert gateway.all(FloorIdle)[-1].reason == "lost"
        with pytest.raises(Unreachable):
            await keyed.execute(KeyChannel(address="ops", transmission="t"))


async def test_the_same_adapter_comes_back_with_its_refresh_token_or_without() -> None:
    async with a_server(require_token=True) as server:
        gateway = Gateway(server.url, auth_token=_a_token())
        for number in range(3):
            gateway.start()
            await gateway.get(Online, number)
            await gateway.stop()
            if number == 1:
                server.forget_tokens()
        assert len(server.log.of(Kind.LOGON)) == 3
        assert len(server.log.of(Kind.LOGON_REFUSED)) == 1


def _a_token() -> str:
    """A token as consumer Zello wants it; the simulated server checks its form and its end."""
    parts = (
        json.dumps({"alg": "RS256", "typ": "JWT"}).encode(),
        json.dumps({"iss": "x", "exp": 4_000_000_000}).encode(),
        bytes(256),
    )
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


async def test_logons_that_are_refused() -> None:
    async with a_server() as server:
        wrong = await failure_of(Gateway(server.url, password="planted-wrong"))
        assert isinstance(wrong, AuthenticationFailed)
        assert "'gateway'" in wrong.message
        assert "planted" not in str(wrong)
        for error, kind in (
            ("channels limit exceeded", InvalidSettings),
            ("not enough params", InvalidSettings),
            ("internal server error", ProtocolViolation),
        ):
            server.refuse_logon = error
            refused = await failure_of(Gateway(server.url))
            assert type(refused) is kind
    with pytest.raises(InvalidSettings, match="no channel"):
        await Gateway(server.url, ()).adapter.run(lambda event: None)


async def test_a_channel_that_is_not_there_is_down_and_the_others_are_not() -> None:
    async with a_server() as server, running(server, "nowhere", "ops") as gateway:
        await gateway.until(lambda: len(gateway.all(ChannelHealth)) == 2)
        health = {each.address: each for each in gateway.all(ChannelHealth)}
        assert (health["ops"].health, health["nowhere"].health) == ("ok", "down")
        assert health["nowhere"].reason
        assert (await gateway.key(channel="nowhere")).result is Result.BUSY
        refused = await gateway.key(channel="Never")
        assert refused.result is Result.REFUSED
        assert "Never" in refused.reason
        assert (await gateway.text("x", channel="Never")).result is Result.REFUSED


async def test_texts_that_cannot_go() -> None:
    async with a_server() as server, running(server) as gateway:
        long = await gateway.text("字" * 10_241)
        assert long.result is Result.REFUSED
        server.channels["ops"].texting = False
        assert (await gateway.text("x")).result is Result.DONE, "nobody waits for the answer"
        await gateway.until(lambda: gateway.all(ChannelHealth)[-1].health == "degraded")
        assert "texts are refused" in gateway.all(ChannelHealth)[-1].reason
        server.channels["ops"].texting = True
        await gateway.text("x")
        await gateway.until(lambda: gateway.all(ChannelHealth)[-1].health == "ok")


async def test_places_go_both_ways() -> None:
    async with a_server() as server, running(server, "ops", "north") as gateway:
        phone = server.phone("alex")
        phone.locate("north", 123.4315, 41.8057, address="万莲路 12 号")
        there = await gateway.get(UnitLocation)
        assert (there.unit, there.place, there.site) == ("alex", "万莲路 12 号", "")
        assert (there.longitude_deg, there.latitude_deg) == (123.4315, 41.8057)
        command = SendLocation(
            address="north", longitude_deg=-0.1586, latitude_deg=51.5237, accuracy_m=8, place="221B"
        )
        assert (await gateway.adapter.execute(command)).result is Result.DONE
        shown = await phone.wait_location()
        assert (shown.channel, shown.sender, shown.address) == ("north", "gateway", "221B")
        assert (shown.longitude_deg, shown.latitude_deg) == (-0.1586, 51.5237)
        assert shown.accuracy_m == 8
        nowhere = dataclasses.replace(command, address="nowhere")
        assert (await gateway.adapter.execute(nowhere)).result is Result.REFUSED
        # What is for one account alone, and what we sent ourselves, is nobody's place.
        phone.locate("north", 1, 1, for_user="gateway")
        phone.locate("north", 2, 2)
        assert (await gateway.get(UnitLocation, 1)).longitude_deg == 2


async def test_a_channel_that_refuses_places_is_degraded_until_it_takes_one() -> None:
    async with a_server() as server, running(server) as gateway:
        server.channels["ops"].locations = server.channels["ops"].texting = False
        place = SendLocation(address="ops", longitude_deg=1, latitude_deg=2)
        assert (await gateway.adapter.execute(place)).result is Result.DONE
        await gateway.until(lambda: gateway.all(ChannelHealth)[-1].health == "degraded")
        assert "places are refused: invalid request" in gateway.all(ChannelHealth)[-1].reason
        await gateway.text("x")
        await gateway.until(lambda: "texts" in gateway.all(ChannelHealth)[-1].reason)
        server.channels["ops"].locations = True
        await gateway.adapter.execute(place)
        await gateway.until(lambda: "places" not in gateway.all(ChannelHealth)[-1].reason)
        assert gateway.all(ChannelHealth)[-1].health == "degraded", "texts are refused still"
        server.channels["ops"].texting = True
        await gateway.text("x")
        await gateway.until(lambda: gateway.all(ChannelHealth)[-1].health == "ok")


async def test_what_is_not_supported_and_not_connected() -> None:
    gateway = Gateway("ws://127.0.0.1:9/ws")
    with pytest.raises(NotSupported):
        await gateway.adapter.execute(MovePtz(address="ops"))
    for attempt in (gateway.key(), gateway.unkey(), gateway.text("x")):
        with pytest.raises(Unreachable):
            await attempt


# --- with a scripted server -------------------------------------------------------------------


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
