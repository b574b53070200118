"""What the bus needs of a broker, tried on the one that is given; for `hutong doctor`."""

import asyncio
import uuid

from gateway.bus.address import BrokerAddress
from gateway.bus.link import Link, Will, connect
from gateway.bus.topics import Topics

MANY = 1_500
"""More than Mosquitto keeps for one subscriber by default (seen: 1,020 of 10,000 came)."""
WITHIN_S = 20.0
BATCH = 200


class BrokerUnfit(OSError):
    """One sentence: what the broker does not do, and what to set."""


async def examine_broker(
    address: BrokerAddress, prefix: str = "hutong/v1", *, within_s: float = WITHIN_S
) -> str:
    """Retained messages by the thousand for a QoS 1 subscriber, and wills; all is cleared again.

    Raises: BrokerUnfit; BrokerAway, BrokerRefused.
    """
    topics, token = Topics(prefix), uuid.uuid4().hex[:8]
    root = f"{topics.prefix}/doctor/{token}"
    async with connect(address, f"hutong-doctor-{token}") as writer:
        try:
            await _publish(writer, root, b"kept", within_s)
            heard = await _count(address, token, root, within_s)
        finally:
            await _publish(writer, root, b"", within_s)
    if not heard:
        raise BrokerUnfit(
            f"the broker takes messages on {topics.prefix}/# and gives none back: give our name "
            "the right to read and write there, and let it keep retained messages"
        )
    if heard < MANY:
        raise BrokerUnfit(
            f"of {MANY} retained messages a subscriber got {heard}, and nobody was told: set "
            "max_queued_messages 0 and max_inflight_messages 1000 (Mosquitto), or the like"
        )
    await _see_will(address, token, root, within_s)
    return f"gives back {MANY} of {MANY} retained messages and tells wills"


async def _publish(writer: Link, root: str, payload: bytes, within_s: float) -> None:
    try:
        async with asyncio.timeout(within_s):
            for number in range(MANY):
                if not writer.publish(f"{root}/{number}", payload, retain=True):
                    raise BrokerUnfit("the broker broke the connection off while we published")
                await _confirmed(writer, BATCH)
            await _confirmed(writer, 0)
    except TimeoutError:
        raise BrokerUnfit(
            f"the broker did not confirm {MANY} messages within {within_s:g} s"
        ) from None


async def _confirmed(writer: Link, most_open: int) -> None:
    while writer.unconfirmed > most_open:  # noqa: ASYNC110 - a link has no event for it
        await asyncio.sleep(0.01)


async def _count(address: BrokerAddress, token: str, root: str, within_s: float) -> int:
    """How many of them a subscriber gets, once, within_s at most."""
    heard: set[str] = set()
    loop = asyncio.get_running_loop()
    async with connect(address, f"hutong-doctor-{token}-r", lambda t, _p: heard.add(t)) as reader:
        await reader.subscribe(f"{root}/#", 1)
        until_s, before, quiet_s = loop.time() + within_s, -1, loop.time()
        while len(heard) < MANY and loop.time() < until_s:
            if len(heard) != before:
                before, quiet_s = len(heard), loop.time()
            elif loop.time() - quiet_s > within_s / 5:
                break
            await asyncio.sleep(0.05)
    return len(heard)


async def _see_will(address: BrokerAddress, token: str, root: str, within_s: float) -> None:
    """Whoever dies is to be told offline."""
    seen = asyncio.Event()
    topic = f"{root}/will"
    async with connect(address, f"hutong-doctor-{token}-r", lambda *_: seen.set()) as reader:
        await reader.subscribe(topic, 1)
        will = Will(topic=topic, payload=b"died")
        async with connect(address, f"hutong-doctor-{token}-w", will=will) as dying:
            dying.abort()
        try:
            async with asyncio.timeout(within_s):
                await seen.wait()
        except TimeoutError:
            raise BrokerUnfit("the broker tells nobody of the will of a client that died") from None
        finally:
            reader.publish(topic, b"", retain=True)
            await reader.drain()
