"""Two DMR masters in a patch: what a radio says at a repeater of one comes out, bit by bit, of a
repeater of the other."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from brokers import RunningBroker
from patience import wait_until
from voice_stage import Stage, patched, stage

from gateway.agents.build import radio_adapter
from simulators.homebrew_repeater import Heard, Repeater

PASSPHRASE = "correct horse"
TALKGROUP, SLOT = 3101, 1


def said(number: int, who: int = 0xC5) -> bytes:
    """Voice that is known again."""
    return number.to_bytes(4, "big") * 6 + bytes((who, 0x5C, 1))


def numbers_of(heard: Heard, who: int = 0xC5) -> list[int]:
    """What was heard of `said`, without what fills gaps."""
    found = [int.from_bytes(voice[:4], "big") for voice in heard.voice]
    return [n for n, v in zip(found, heard.voice, strict=True) if v == said(n, who)]


@contextlib.asynccontextmanager
async def two_masters(
    broker: RunningBroker, **patch: Any
) -> AsyncIterator[tuple[Stage, Repeater, Repeater]]:
    made: dict[str, Any] = {}

    def master(name: str) -> Any:
        def make(addresses: tuple[str, ...]) -> Any:
            settings = {"port": 0, "passphrase": PASSPHRASE, "hold_s": 1.0}
            made[name] = radio_adapter("homebrew", settings, addresses)
            return made[name]

        return make

    systems = {name: master(name) for name in "ab"}
    async with (
        stage(broker, patched("a", "b", **patch), systems, f"{SLOT}/{TALKGROUP}") as it,
        contextlib.AsyncExitStack() as stack,
    ):
        repeaters = []
        await wait_until(lambda: len(made) == 2 and all(m.local_address for m in made.values()))
        for number, name in enumerate("ab"):
            repeater = Repeater(
                id=460001 + number, passphrase=PASSPHRASE, master=made[name].local_address
            )
            repeaters.append(await stack.enter_async_context(repeater))
            await repeater.wait_signed_in()
        await it.ready()
        yield it, repeaters[0], repeaters[1]


async def test_what_one_repeater_sends_comes_out_of_the_other_unchanged(
    broker: RunningBroker,
) -> None:
    async with two_masters(broker) as (it, near, far):
        talker, listener = near.radio(3101001), far.radio(3101002)
        assert talker.press(TALKGROUP, SLOT, voice=said)
        spoken = talker.last_talk
        assert spoken is not None
        await wait_until(lambda: spoken.heard.frames >= 20)
        await talker.release()
        heard = await listener.wait_heard(ended=True)
        assert numbers_of(heard) == list(range(spoken.heard.frames))
        assert heard.ended_by == "terminator"
        assert heard.lc_ok, heard.faults
        assert heard.talkgroup == TALKGROUP
        assert heard.stream != spoken.heard.stream
        # The mark of the end goes with the end itself; which of them is first, nobody can say.
        assert it.bridge.voice.counters.not_carried <= 1


async def test_an_emergency_on_the_other_side_is_heard_instead(broker: RunningBroker) -> None:
    async with two_masters(broker) as (_, near, far):
        talker, listener = near.radio(3101001), near.radio(3101003)
        other, hearer = far.radio(3101002), far.radio(3101004)
        assert talker.press(TALKGROUP, SLOT, voice=said)
        first = await hearer.wait_heard()
        await wait_until(lambda: numbers_of(first), what="the far side hears the talk")
        assert other.press(
            TALKGROUP, SLOT, emergency=True, polite=False, voice=lambda n: said(n, 0xEE)
        )
        await talker.release()
        # Its own slot is free now, and the emergency comes in there.
        heard = await listener.wait_heard(2)
        await wait_until(lambda: numbers_of(heard, 0xEE), what="the emergency is heard")
        await other.release()
        await wait_until(lambda: heard.ended_by, what="its end")
        assert not numbers_of(heard), "nothing of who was cut"
        await wait_until(lambda: first.ended_by, what="what was keyed for the first is over")
        assert not numbers_of(first, 0xEE)


async def test_patched_for_silence_it_is_silence_that_is_heard(broker: RunningBroker) -> None:
    async with two_masters(broker, voice="silence") as (it, near, far):
        talker, listener = near.radio(3101001), far.radio(3101002)
        assert talker.press(TALKGROUP, SLOT, voice=said)
        heard = await listener.wait_heard()
        await wait_until(lambda: heard.frames >= 5)
        await talker.release()
        await wait_until(lambda: heard.ended_by)
        assert not numbers_of(heard)
        assert not it.on_in
        assert it.member("b")["voice"] == "none"
