"""The Zello server over real WebSockets."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from zello_client import START, ZelloClient, client

from simulators.zello_server import Kind, ZelloServer

ACCOUNTS = {"gateway": "g4te", "alex": "a1ex"}


@pytest.fixture
async def server() -> AsyncIterator[ZelloServer]:
    async with ZelloServer(accounts=ACCOUNTS, channels=["巡逻", "Duty"]) as running:
        yield running


@pytest.fixture
async def gateway(server: ZelloServer) -> AsyncIterator[ZelloClient]:
    async with client(server.url) as connected:
        await connected.logon("gateway", "g4te", "巡逻", "Duty")
        yield connected


# --- logging on -------------------------------------------------------------------------------


async def test_logon_and_channel_status(server: ZelloServer) -> None:
    server.phone("lee", ["巡逻"])
    async with client(server.url) as one:
        answer = await one.ask(
            command="logon", username="gateway", password="g4te", channels=["巡逻", "Duty"]
        )
        assert answer["success"] is True
        assert len(answer["refresh_token"]) > 20
        status = await one.event("on_channel_status")
        assert status == {
            "command": "on_channel_status",
            "channel": "巡逻",
            "status": "online",
            "users_online": 2,
            "images_supported": False,
            "texting_supported": True,
            "locations_supported": True,
            "full_duplex": False,
        }
        assert (await one.event("on_channel_status"))["users_online"] == 1
        server.phone("lee", ["巡逻"]).leave()
        assert (await one.event("on_channel_status"))["users_online"] == 1
    await server.log.wait(Kind.DISCONNECT, "gateway")


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"username": "gateway", "password": "no", "channel": "Duty"}, "not authorized"),
        ({"username": "nobody", "password": "g4te", "channel": "Duty"}, "not authorized"),
        ({"username": "gateway", "channel": "Duty"}, "not enough params"),
        ({"channel": "Duty"}, "not enough params"),
        ({"username": "gateway", "password": "g4te"}, "not enough params"),
        ({"refresh_token": "made up", "channel": "Duty"}, "not authorized"),
        ({"auth_token": "a.b.c", "channel": "Duty"}, "not authorized"),
        ({"username": 7, "channel": "Duty"}, "invalid request"),
        (
            {"username": "gateway", "password": "g4te", "channels": [str(n) for n in range(101)]},
            "channels limit exceeded",
        ),
    ],
)
async def test_logon_refused(server: ZelloServer, message: dict[str, Any], text: str) -> None:
    async with client(server.url) as one:
        assert (await one.ask(command="logon", **message))["error"] == text
        assert (await one.ask(**START, channel="Duty"))["error"] == "not logged in"
        await one.logon("gateway", "g4te", "Duty")
    assert server.log.of(Kind.LOGON_REFUSED)[0].detail == text


def jwt(exp: float) -> str:
    parts = ({"alg": "RS256", "typ": "JWT"}, {"iss": "Wlc6", "exp": exp})
    texts = [base64.urlsafe_b64encode(json.dumps(part).encode()) for part in parts]
    texts.append(base64.urlsafe_b64encode(bytes(256)))
    return ".".join(text.decode().rstrip("=") for text in texts)


async def test_consumer_network_wants_a_token() -> None:
    async with ZelloServer(accounts=ACCOUNTS, channels=["Duty"], require_token=True) as server:
        named: dict[str, Any] = {
            "command": "logon",
            "username": "gateway",
            "password": "g4te",
            "channel": "Duty",
        }
        async with client(server.url) as one:
            assert (await one.ask(**named))["error"] == "not enough params"
            stale = await one.ask(**named, auth_token=jwt(time.time() - 1))
            assert stale["error"] == "not authorized"
            answer = await one.ask(**named, auth_token=jwt(time.time() + 60))
        async with client(server.url) as again:
            token = answer["refresh_token"]
            once_more = await again.ask(command="logon", refresh_token=token, channel="Duty")
            assert once_more["success"] is True
        assert [record.username for record in server.log.of(Kind.LOGON)] == ["gateway"] * 2
        async with client(server.url) as nobody:
            await nobody.ask(command="logon", auth_token=jwt(time.time() + 60), channel="Duty")
            refused = await nobody.ask(**START)
            assert refused["error"] == "listen only connection"


async def test_channel_name_in_another_case_talks_but_hears_nothing(server: ZelloServer) -> None:
    phone = server.phone("lee")
    async with client(server.url) as one:
        await one.logon("gateway", "g4te", "duty")
        stream = (await one.ask(**START, channel="duty"))["stream_id"]
        assert (await phone.wait_heard()).channel == "Duty"
        await one.ask(command="stop_stream", stream_id=stream, channel="duty")
        assert phone.press("Duty")
        phone.text("Duty", "anybody?")
        assert (await one.ask(command="nothing"))["error"] == "unknown command"
        assert {event["command"] for event in one.events} <= {"on_channel_status"}


async def test_channel_that_is_not_there_stays_offline(server: ZelloServer) -> None:
    async with client(server.url) as one:
        await one.ask(command="logon", username="gateway", password="g4te", channel="Nowhere")
        status = await one.event("on_channel_status")
        assert (status["status"], status["error_type"]) == ("offline", "unknown")
        assert (await one.ask(**START, channel="Nowhere"))["error"] == "channel is not ready"


async def test_channel_gets_ready_later(server: ZelloServer) -> None:
    server.ready_delay_s = 0.05
    async with client(server.url) as one:
        await one.ask(command="logon", username="gateway", password="g4te", channel="Duty")
        assert (await one.ask(**START))["error"] == "channel is not ready"
        await one.event("on_channel_status")
        assert (await one.ask(**START))["success"] is True


async def test_an_account_is_on_one_connection(server: ZelloServer, gateway: ZelloClient) -> None:
    await gateway.ask(**START, channel="Duty")
    async with client(server.url) as newer:
        await newer.logon("gateway", "g4te", "Duty")
        assert (await gateway.event("on_error"))["error"] == "server closed connection"
        with pytest.raises(ConnectionClosed):
            await gateway.connection.recv()
        assert server.log.of(Kind.STOP)[0].detail == "sender gone"
        assert (await newer.ask(**START, channel="Duty"))["success"] is True


async def test_only_the_api_path_is_served(server: ZelloServer) -> None:
    with pytest.raises(InvalidStatus):
        await connect(server.url.replace("/ws", "/other"), proxy=None)
    async with client(server.url + "/district") as one:
        await one.logon("alex", "a1ex", "Duty")


async def test_server_pings() -> None:
    async with ZelloServer(accounts=ACCOUNTS, channels=["Duty"], ping_s=0.02) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(
            b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        assert (await reader.readexactly(1))[0] == 0x89, "a ping, which gets no pong"
        rest = await asyncio.wait_for(reader.read(), 5)
        assert b"keepalive ping timeout" in rest
        writer.close()
        await writer.wait_closed()


# --- talking ----------------------------------------------------------------------------------


async def test_a_talk_from_the_client(server: ZelloServer, gateway: ZelloClient) -> None:
    phone, elsewhere = server.phone("lee"), server.phone("wu", ["Duty"])
    async with client(server.url) as alex:
        await alex.logon("alex", "a1ex", "巡逻")
        phone.press("Duty")  # so that stream ids of the two differ
        phone.release()
        answer = await gateway.ask(**START, channel="巡逻")
        stream = answer["stream_id"]
        started = await alex.event("on_stream_start")
        assert started == {
            "command": "on_stream_start",
            "type": "audio",
            "codec": "opus",
            "codec_header": "gD4BPA==",
            "packet_duration": 60,
            "stream_id": started["stream_id"],
            "channel": "巡逻",
            "from": "gateway",
        }
        for data in (b"one", b"two"):
            await gateway.connection.send(b"\x01" + stream.to_bytes(4) + bytes(4) + data)
        assert await alex.next() == (1, started["stream_id"], 0, b"one")
        assert await alex.next() == (1, started["stream_id"], 1, b"two")
        stopped = await gateway.ask(command="stop_stream", stream_id=stream, channel="巡逻")
        assert stopped["success"] is True
        assert await alex.next() == {
            "command": "on_stream_stop",
            "stream_id": started["stream_id"],
        }
        heard = await phone.wait_heard(ended=True)
        assert (heard.sender, heard.channel, heard.packets) == ("gateway", "巡逻", 2)
        assert elsewhere.heard[0].sender == "lee"
        assert len(elsewhere.heard) == 1
        kinds = [record.kind for record in server.log if record.username == "gateway"]
        assert kinds == [Kind.LOGON, Kind.START, Kind.PACKET, Kind.PACKET, Kind.STOP]
        times = [record.at_s for record in server.log]
        assert times == sorted(times)


async def test_a_talk_from_a_phone(server: ZelloServer, gateway: ZelloClient) -> None:
    phone = server.phone("lee")
    assert phone.press("巡逻")
    assert phone.talking_on == "巡逻"
    started = await gateway.event("on_stream_start")
    assert (started["from"], started["packet_duration"]) == ("lee", 60)
    first, second = await gateway.next(), await gateway.next()
    assert first == (1, started["stream_id"], 0, b"\x58")
    assert second == (1, started["stream_id"], 1, b"\x58")
    phone.release()
    stop = await gateway.event("on_stream_stop")
    assert stop == {"command": "on_stream_stop", "stream_id": started["stream_id"]}
    assert not phone.pressing
    assert await phone.talk("Duty", seconds=0)
    assert server.log.of(Kind.STOP, "lee")[1].channel == "Duty"


async def test_first_come_first_served(server: ZelloServer, gateway: ZelloClient) -> None:
    phone, other = server.phone("lee"), server.phone("wu")
    assert phone.press("Duty")
    assert not other.press("Duty")
    assert not phone.press("巡逻"), "a phone has one microphone"
    assert other.refused == phone.refused == 1
    answer = await gateway.ask(**START, channel="Duty")
    assert answer["error"] == "failed to start stream"
    assert server.log.of(Kind.START_REFUSED, "gateway")[0].channel == "Duty"
    assert (await gateway.ask(**START, channel="巡逻"))["success"] is True
    phone.release()
    assert other.press("Duty")


async def test_talk_for_one_user(server: ZelloServer, gateway: ZelloClient) -> None:
    wanted, other = server.phone("lee"), server.phone("wu")
    await gateway.ask(**START, channel="Duty", **{"for": "lee"})
    await gateway.ask(command="send_text_message", channel="Duty", text="hi", **{"for": "lee"})
    assert (await wanted.wait_heard()).for_user == "lee"
    assert (await wanted.wait_text()).text == "hi"
    assert other.heard == []
    assert other.texts == []


async def test_text_both_ways(server: ZelloServer, gateway: ZelloClient) -> None:
    phone = server.phone("lee")
    answer = await gateway.ask(command="send_text_message", channel="Duty", text="1001 李警官")
    assert answer == {"seq": answer["seq"], "success": True}
    text = await phone.wait_text()
    assert (text.sender, text.channel, text.text) == ("gateway", "Duty", "1001 李警官")
    phone.text("Duty", "收到")
    event = await gateway.event("on_text_message")
    assert (event["from"], event["for"], event["text"]) == ("lee", False, "收到")
    assert [record.detail for record in server.log.of(Kind.TEXT)] == ["1001 李警官", "收到"]


async def test_the_server_ends_a_stream(server: ZelloServer, gateway: ZelloClient) -> None:
    phone = server.phone("lee")
    stream = (await gateway.ask(**START, channel="Duty"))["stream_id"]
    assert server.end_stream("Duty")
    assert not server.end_stream("Duty")
    assert (await gateway.event("on_stream_stop"))["stream_id"] == stream
    assert (await phone.wait_heard(ended=True)).packets == 0
    await gateway.connection.send(b"\x01" + stream.to_bytes(4) + bytes(4) + b"late")
    late = await gateway.ask(command="stop_stream", stream_id=stream, channel="Duty")
    assert late["error"] == "failed to stop stream"
    assert gateway.events == []
    assert phone.press("Duty")
    server.end_stream("Duty")
    assert not phone.pressing


async def test_a_lost_talker_ends_its_stream(server: ZelloServer) -> None:
    phone = server.phone("lee")
    async with client(server.url) as one:
        await one.logon("gateway", "g4te", "Duty")
        await one.ask(**START, channel="Duty")
        await phone.wait_heard()
        one.connection.transport.abort()
        await phone.wait_heard(ended=True)
    assert server.log.of(Kind.STOP, "gateway")[0].detail == "sender gone"


async def test_wrong_commands_are_answered(server: ZelloServer, gateway: ZelloClient) -> None:
    async def error_after(data: str | bytes) -> str:
        await gateway.connection.send(data)
        return str((await gateway.event("on_error"))["error"])

    assert await error_after("{") == "invalid json"
    assert await error_after('"x"') == "invalid request"
    assert await error_after(b"\x07") == "invalid audio packet"
    assert await error_after(b"\x01" + bytes(8) + b"data") == "failed to send data"
    asked = [
        ({"command": "dance"}, "unknown command"),
        ({"command": "start_stream", "channel": "Duty"}, "not enough params"),
        (START, "not enough params"),
        (START | {"channel": 5}, "invalid request"),
        (START | {"channel": "Other"}, "channel is not ready"),
        ({"command": "stop_stream"}, "not enough params"),
        ({"command": "stop_stream", "stream_id": 99}, "failed to stop stream"),
        ({"command": "send_text_message", "channel": "Duty"}, "not enough params"),
        ({"command": "send_image", "channel": "Duty"}, "invalid request"),
        ({"command": "logon", "channel": "Duty"}, "invalid request"),
    ]
    for message, text in asked:
        assert (await gateway.ask(**message))["error"] == text, message
    assert (await gateway.ask(**START, channel="Duty"))["success"] is True


async def test_listen_only(server: ZelloServer) -> None:
    async with client(server.url) as one:
        await one.ask(
            command="logon", username="alex", password="a1ex", channel="Duty", listen_only=True
        )
        assert (await one.ask(**START))["error"] == "listen only connection"
        server.phone("lee").press("Duty")
        assert (await one.event("on_stream_start"))["from"] == "lee"


# --- faults -----------------------------------------------------------------------------------


async def test_faults_on_demand(server: ZelloServer, gateway: ZelloClient) -> None:
    server.refuse_start = "failed to start stream"
    assert (await gateway.ask(**START, channel="Duty"))["error"] == "failed to start stream"
    server.refuse_start = ""
    server.say_error("internal server error")
    assert (await gateway.event("on_error"))["error"] == "internal server error"
    server.silent = True
    await gateway.send(command="start_stream", seq=900)
    await server.log.wait(Kind.INVALID, "gateway", count=2)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(gateway.connection.recv(), 0.05)
    server.silent = False
    assert (await gateway.ask(**START, channel="Duty"))["success"] is True
    server.refuse_logon = "internal server error"
    async with client(server.url) as other:
        answer = await other.ask(command="logon", username="alex", password="a1ex", channel="Duty")
        assert answer["error"] == "internal server error"


async def test_dropped_connections_and_a_server_that_comes_back(
    server: ZelloServer, gateway: ZelloClient
) -> None:
    assert server.drop_connections() == 1
    with pytest.raises(ConnectionClosed):
        await gateway.connection.recv()
    await server.log.wait(Kind.DISCONNECT, "gateway")
    url = server.url
    await server.down()
    with pytest.raises(OSError, match=r"refused|Connect"):
        await connect(url, proxy=None)
    await server.up()
    assert server.url == url
    async with client(url) as again:
        await again.logon("gateway", "g4te", "Duty")


async def test_nothing_is_left_behind() -> None:
    before = asyncio.all_tasks()
    async with ZelloServer(accounts=ACCOUNTS, channels=["Duty"]) as server:
        async with client(server.url) as one:
            await one.logon("gateway", "g4te", "Duty")
            await one.ask(**START, channel="Duty")
        await server.log.wait(Kind.DISCONNECT)
        assert server.phone("lee").press("Duty")
    await asyncio.sleep(0)
    assert {task for task in asyncio.all_tasks() if not task.done()} == before
