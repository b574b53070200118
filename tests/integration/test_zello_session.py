"""The Zello adapter on a real socket, against the simulated server: whole talks."""

import dataclasses

import pytest
from zello_stage import ACCOUNTS, Gateway, a_server, a_token, failure_of, running

from adapters.errors import (
    AuthenticationFailed,
    InvalidSettings,
    NotSupported,
    ProtocolViolation,
    Unreachable,
)
from adapters.events import (
    ChannelHealth,
    FloorIdle,
    FloorRefreshed,
    FloorTaken,
    KeyChannel,
    MovePtz,
    Online,
    Outcome,
    Result,
    SendLocation,
    TextMessage,
    UnitLocation,
)
from simulators.zello_server import Kind, ZelloServer


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


async def test_a_work_network_is_at_a_path_of_its_own_and_wants_no_token() -> None:
    async with a_server() as server, running(server, network="shenhe") as gateway:
        assert gateway.adapter.settings.endpoint == f"{server.url}/shenhe"
        server.phone("alex").press("ops")
        assert (await gateway.get(FloorTaken)).talker == "alex"


async def test_consumer_zello_wants_a_token_beside_the_password() -> None:
    async with a_server(require_token=True) as server:
        missing = await failure_of(Gateway(server.url))
        assert isinstance(missing, InvalidSettings)
        assert "token" in missing.message
        async with running(server, auth_token=a_token()) as gateway:
            assert (await gateway.key()).result is Result.DONE


async def test_a_hundred_channels_are_one_connection_and_one_more_is_refused() -> None:
    names = [f"c-{number}" for number in range(100)]
    async with ZelloServer(accounts=ACCOUNTS, channels=[*names, "one more"]) as server:
        async with running(server, *names) as gateway:
            await gateway.until(lambda: len(gateway.all(ChannelHealth)) == 100)
            assert len(server.sessions) == 1
            phones = [server.phone(f"p-{number}") for number in range(3)]
            for number, phone in enumerate(phones):
                phone.press(names[-1 - number])
            await gateway.until(lambda: len(gateway.all(FloorTaken)) == 3)
            taken = {each.address: each.talker for each in gateway.all(FloorTaken)}
            assert taken == {"c-99": "p-0", "c-98": "p-1", "c-97": "p-2"}
            for number in range(5):
                assert (await gateway.key(f"t-{number}", names[number])).result is Result.DONE
        refused = await failure_of(Gateway(server.url, (*names, "one more")))
        assert isinstance(refused, InvalidSettings)
        assert "channels limit exceeded" in refused.message


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
        gateway = Gateway(server.url, auth_token=a_token())
        for number in range(3):
            gateway.start()
            await gateway.get(Online, number)
            await gateway.stop()
            if number == 1:
                server.forget_tokens()
        assert len(server.log.of(Kind.LOGON)) == 3
        assert len(server.log.of(Kind.LOGON_REFUSED)) == 1


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
