"""The bus on a real broker, both kinds: order, birth and will, states that come back, refusals."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from brokers import RunningBroker, free_port, read_kept, running
from patience import wait_until

from gateway.bus.address import BrokerAddress, parse_broker_url
from gateway.bus.client import Bus, check
from gateway.bus.errors import BrokerAway, BrokerNotStarted, BrokerRefused
from gateway.bus.link import Link, connect
from gateway.bus.messages import decode, encode
from gateway.bus.presence import Presence
from gateway.bus.topics import Topics


@contextlib.asynccontextmanager
async def joined(broker: RunningBroker, node: str) -> AsyncIterator[Bus]:
    bus = Bus(broker.address, node=node, topics=Topics())
    task = asyncio.create_task(bus.run())
    try:
        async with asyncio.timeout(30):
            await bus.connected.wait()
        yield bus
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_messages_arrive_once_and_in_order(broker: RunningBroker) -> None:
    got: list[bytes] = []
    async with joined(broker, "a") as a, joined(broker, "b") as b:
        topic = "hutong/v1/org/channels/event/d/c"
        b.subscribe("hutong/v1/org/channels/event/#", lambda _t, payload: got.append(payload))
        await wait_until(lambda: b.publish(topic, b"probe") and got, what="subscription")
        got.clear()
        for number in range(1000):
            a.publish(topic, b"%d" % number)
        await wait_until(lambda: len([g for g in got if g != b"probe"]) == 1000)
        assert [g for g in got if g != b"probe"] == [b"%d" % n for n in range(1000)]


async def test_a_lone_message_does_not_wait_for_a_delayed_acknowledgement(
    broker: RunningBroker,
) -> None:
    async with joined(broker, "a") as a:
        got = asyncio.Event()
        a.subscribe("hutong/v1/org/channels/event/#", lambda _t, _p: got.set())
        topic = "hutong/v1/org/channels/event/d/c"
        await wait_until(lambda: a.publish(topic, b"probe") and got.is_set())
        times_s = []
        loop = asyncio.get_running_loop()
        for _ in range(20):
            got.clear()
            began = loop.time()
            a.publish(topic, b"x")
            async with asyncio.timeout(30):
                await got.wait()
            times_s.append(loop.time() - began)
        assert sorted(times_s)[10] < 0.02  # 0.04 with Nagle's algorithm on


async def test_birth_is_retained_and_the_will_says_offline(broker: RunningBroker) -> None:
    async with joined(broker, "watcher") as watcher:
        presence = Presence(watcher, asyncio.get_running_loop().time)
        bus = Bus(broker.address, node="dies", topics=Topics(), roles=("agent",), url="http://x")
        task = asyncio.create_task(bus.run())
        await wait_until(lambda: "dies" in presence.nodes())
        status = presence.nodes()["dies"]
        assert status["epoch"] == bus.epoch
        assert status["roles"] == ["agent"]
        link = bus._link
        assert link is not None
        link.abort()  # no DISCONNECT: only the will can tell
        task.cancel()
        await wait_until(lambda: not presence.believes("dies", bus.epoch))


async def test_an_old_will_after_a_new_birth_does_not_make_us_offline(
    broker: RunningBroker,
) -> None:
    async with joined(broker, "watcher") as watcher, joined(broker, "n") as bus:
        presence = Presence(watcher, asyncio.get_running_loop().time)
        await wait_until(lambda: presence.believes("n", bus.epoch))
        async with connect(broker.address, "old-life") as old:
            will = b'{"state":"offline","epoch":"earlier","uptime_ms":1,"ttl_s":30}'
            old.publish("hutong/v1/status/n", will, retain=True)
            await old.drain()
        async with connect(
            broker.address, "late-reader", lambda _t, payload: statuses.append(decode(payload))
        ) as late:
            statuses: list[dict[str, object]] = []
            online = lambda: statuses and statuses[-1]["state"] == "online"  # noqa: E731
            await read_kept(late, "hutong/v1/status/n", online)
        assert presence.believes("n", bus.epoch)


async def test_states_come_back_after_the_broker_dies_and_events_do_not(
    broker: RunningBroker,
) -> None:
    lost: list[bool] = []
    async with joined(broker, "n") as bus:
        bus.on_lost(lambda: lost.append(True))
        topic = "hutong/v1/org/channels/state/d/c"
        bus.set_state(topic, {"floor": "idle"})
        await broker.kill()
        await wait_until(lambda: lost, what="the loss is noticed")
        assert bus.publish("hutong/v1/org/channels/event/d/c", b"stale press") is False
        bus.set_state(topic, {"floor": "taken"})
        await broker.start()
        seen: list[tuple[str, bytes]] = []
        taken = b'{"floor":"taken"}'
        async with asyncio.timeout(30):
            await bus.connected.wait()
        async with connect(broker.address, "r", lambda t, p: seen.append((t, p))) as reader:
            await read_kept(reader, "hutong/v1/org/#", lambda: (topic, taken) in seen)
        assert all(b"stale" not in payload for _, payload in seen)
        assert bus.counters.dropped >= 1


async def test_overlapping_subscriptions_are_refused(embedded_broker: RunningBroker) -> None:
    bus = Bus(embedded_broker.address, node="n", topics=Topics())
    bus.subscribe("hutong/v1/org/channels/event/#", lambda _t, _p: None)
    with pytest.raises(ValueError, match="overlaps"):
        bus.subscribe("hutong/v1/org/channels/+/a/b", lambda _t, _p: None)


async def test_an_unreadable_payload_is_counted_and_the_next_one_read(
    broker: RunningBroker,
) -> None:
    good: list[str] = []
    async with joined(broker, "n") as bus:
        presence = Presence(bus, asyncio.get_running_loop().time)
        presence.on_change(good.append)
        bus.publish("hutong/v1/status/bad", b"\xff not json")
        bus.publish(
            "hutong/v1/status/good", b'{"state":"online","epoch":"e","uptime_ms":1,"ttl_s":30}'
        )
        await wait_until(lambda: "good" in good)
        assert bus.counters.unreadable == 1


async def test_the_reader_credential_reads_everything_and_writes_nothing(tmp_path: Path) -> None:
    async with running("embedded", tmp_path) as broker, joined(broker, "n") as bus:
        heard: list[bytes] = []
        bus.subscribe("hutong/v1/org/channels/event/#", lambda _t, payload: heard.append(payload))
        seen: list[str] = []
        reader = broker.broker.reader  # type: ignore[attr-defined]
        async with connect(reader, "reader", lambda t, _p: seen.append(t)) as link:
            assert await link.subscribe("hutong/v1/#", 1)
            await wait_until(lambda: "hutong/v1/status/n" in seen)
            link.publish("hutong/v1/org/channels/event/d/c", b"forged")
            await link.drain()
            bus.publish("hutong/v1/org/channels/event/d/c", b"honest")
            await wait_until(lambda: b"honest" in heard)
        assert b"forged" not in heard


async def test_a_broker_that_is_not_there_or_refuses_is_one_clear_sentence(
    tmp_path: Path,
) -> None:
    nowhere = BrokerAddress(host="127.0.0.1", port=free_port())
    with pytest.raises(BrokerAway, match=r"does not answer \(Connection refused\)"):
        await check(nowhere)
    async with running("embedded", tmp_path) as broker:
        wrong = dataclasses.replace(broker.address, password="wrong")
        with pytest.raises(BrokerRefused, match="refused our name or password"):
            await check(wrong)


@pytest.mark.parametrize("url", ["http://x", "mqtt://", "mqtt://h:port", "nonsense"])
def test_broker_urls_that_cannot_be(url: str) -> None:
    with pytest.raises(ValueError, match="HUTONG_MQTT_URL"):
        parse_broker_url(url)


def test_a_broker_url_hides_its_password() -> None:
    address = parse_broker_url("mqtts://u%40x:s3cret@broker")
    assert (address.username, address.password, address.port) == ("u@x", "s3cret", 8883)
    assert "s3cret" not in repr(address)


async def test_a_node_that_falls_silent_is_told_of_without_any_message(
    embedded_broker: RunningBroker,
) -> None:
    told: list[str] = []
    async with joined(embedded_broker, "watcher") as watcher:
        presence = Presence(watcher, asyncio.get_running_loop().time)
        presence.on_change(told.append)
        status = b'{"state":"online","epoch":"e","uptime_ms":1,"ttl_s":0.2}'
        watcher.publish("hutong/v1/status/silent", status)
        await wait_until(lambda: presence.believes("silent", "e"))
        told.clear()
        await wait_until(lambda: told == ["silent"])
        assert not presence.believes("silent", "e")


async def test_only_what_is_new_in_a_status_is_told(embedded_broker: RunningBroker) -> None:
    told: list[str] = []
    async with joined(embedded_broker, "watcher") as watcher:
        presence = Presence(watcher, asyncio.get_running_loop().time)
        presence.on_change(told.append)
        for uptime_ms, bridge_epoch in ((1, 0), (2, 0), (3, 0), (4, 7)):
            status = {"state": "online", "epoch": "e", "uptime_ms": uptime_ms, "ttl_s": 30}
            watcher.publish("hutong/v1/status/n", encode({**status, "bridge_epoch": bridge_epoch}))
        await wait_until(lambda: presence.nodes().get("n", {}).get("bridge_epoch") == 7)
        assert told.count("n") == 2
        assert (presence.clock_ms("n") or 0) >= 4


async def test_two_processes_with_one_name_do_not_answer_each_other_without_end(
    embedded_broker: RunningBroker,
) -> None:
    async with joined(embedded_broker, "same") as one, joined(embedded_broker, "same") as other:
        before = one.counters.sent + other.counters.sent
        async with asyncio.timeout(30):
            for number in range(200):
                seen = one.counters.received
                one.publish("hutong/v1/status/probe", b'{"epoch":"%d"}' % number)
                await wait_until(lambda seen=seen: one.counters.received > seen)
        assert one.counters.sent + other.counters.sent - before < 220


async def test_what_is_subscribed_while_it_connects_is_heard(broker: RunningBroker) -> None:
    got: list[bytes] = []
    bus = Bus(broker.address, node="n", topics=Topics())
    late = "hutong/v1/org/channels/command/d/c"
    subscribe = bus._subscribe

    async def slowly(link: Link, pattern: str, qos: int) -> None:
        await subscribe(link, pattern, qos)
        if late not in bus._handlers:
            bus.subscribe(late, lambda _t, payload: got.append(payload))

    bus._subscribe = slowly  # type: ignore[method-assign]
    task = asyncio.create_task(bus.run())
    try:
        await wait_until(lambda: bus.connected.is_set())
        bus.publish(late, b"heard")
        await wait_until(lambda: got == [b"heard"])
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_handlers_own_mistake_is_counted_and_the_connection_stays(
    broker: RunningBroker,
) -> None:
    got: list[bytes] = []

    def handler(_topic: str, payload: bytes) -> None:
        if payload == b"poison":
            raise TypeError("not foreseen")
        got.append(payload)

    async with joined(broker, "n") as bus:
        bus.subscribe("hutong/v1/org/channels/event/#", handler)
        topic = "hutong/v1/org/channels/event/d/c"
        await wait_until(lambda: bus.publish(topic, b"probe") and got)
        bus.publish(topic, b"poison")
        bus.publish(topic, b"good")
        await wait_until(lambda: got[-1] == b"good")
        assert bus.counters.unreadable == 1
        assert bus.counters.connects == 1


async def test_a_disowned_state_is_never_sent_again(broker: RunningBroker) -> None:
    topic = "hutong/v1/org/patches/state/d/p"
    async with joined(broker, "n") as bus, joined(broker, "other") as other:
        bus.set_state(topic, {"floor": "taken"})
        other_heard: list[bytes] = []
        other.subscribe(topic, lambda _t, payload: other_heard.append(payload))
        await wait_until(lambda: other_heard)
        bus.disown(topic)
        other.set_state(topic, {"floor": "idle"})
        await wait_until(lambda: other_heard[-1] == b'{"floor":"idle"}')
        link = bus._link
        assert link is not None
        await link.close()
        await wait_until(lambda: bus.counters.connects == 2)
        bus.set_state("hutong/v1/org/patches/state/d/q", {})
        heard: list[tuple[str, bytes]] = []
        async with connect(broker.address, "r", lambda t, p: heard.append((t, p))) as reader:
            both = lambda: len({t for t, _ in heard}) == 2  # noqa: E731
            await read_kept(reader, "hutong/v1/org/patches/state/#", both)
        assert b'{"floor":"taken"}' not in [p for _, p in heard]


async def test_leaving_says_offline_and_all_that_was_still_to_be_said(
    broker: RunningBroker,
) -> None:
    async with joined(broker, "watcher") as watcher:
        presence = Presence(watcher, asyncio.get_running_loop().time)
        heard: list[bytes] = []
        watcher.subscribe("hutong/v1/org/points/state/#", lambda _t, p: heard.append(p))
        async with joined(broker, "n") as bus:
            await wait_until(lambda: presence.believes("n", bus.epoch))
            bus.set_state("hutong/v1/org/points/state/d/p", {"status": "offline"})
            await bus.leave()
        await wait_until(lambda: heard == [b'{"status":"offline"}'])
        await wait_until(lambda: not presence.believes("n", bus.epoch))


async def test_the_highest_bridge_epoch_of_a_node_is_obeyed_and_told() -> None:
    bus = Bus(BrokerAddress(host="127.0.0.1", port=1), node="n", topics=Topics())
    assert bus.obeys_bridge(3)
    assert not bus.obeys_bridge(2)
    assert bus.obeys_bridge(4)
    assert bus.status()["bridge_epoch"] == 4


async def test_the_embedded_broker_comes_back_after_a_start_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.bus.broker._TRY_AGAIN_AFTER_S", 0.01)
    async with running("embedded", tmp_path) as broker:
        embedded = broker.broker  # type: ignore[attr-defined]
        first, start, failed = embedded.pid, embedded._start, []

        async def fails_once() -> None:
            if not failed:
                failed.append(True)
                raise BrokerNotStarted("no room")
            await start()

        embedded._start = fails_once
        await broker.kill()
        await wait_until(lambda: failed and embedded.pid != first)
        await broker.start()


async def test_who_only_looks_on_is_called_when_the_answer_of_others_is_on_its_way(
    broker: RunningBroker,
) -> None:
    unsent: list[bool] = []
    seen: list[str] = []
    async with joined(broker, "answers") as bus:

        def look(topic: str, _payload: bytes) -> None:
            seen.append(topic)
            assert bus._link is not None
            unsent.append(bus._link.unwritten)

        def reply(_topic: str, _payload: bytes) -> None:
            bus.publish("hutong/v1/answer", b"{}")

        asked = bus.topics.org_all("channels", "event")
        bus.subscribe(asked, look, later=True)
        bus.subscribe(asked, reply)
        wanted = [bus.topics.org("channels", "event", "a", f"c-{n}") for n in range(20)]
        await wait_until(lambda: bus.publish(wanted[0], b"{}") and seen, what="subscription")
        seen.clear()
        for topic in wanted:
            bus.publish(topic, b"{}")
        await wait_until(lambda: wanted[-1] in seen)
        assert seen[-20:] == wanted
        assert not any(unsent)
