"""A test of a patch: how long it listens, what it takes for an echo, and who ends it."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import virtual_time

from gateway.bus.messages import CloudEvent
from gateway.interop.patch_test import KEYED_FOR_S, LISTEN_FOR_S, PatchTest, listening_s

A, B = "a", "b"


class Stage:
    """Agents that key what they are told to."""

    def __init__(self, *channels: str, listen_s: float = LISTEN_FOR_S) -> None:
        self.keys: list[tuple[str, str]] = []
        self.unkeys: list[str] = []
        self._report: asyncio.Future[list[dict[str, Any]]] = (
            asyncio.get_running_loop().create_future()
        )
        self.test = PatchTest(
            channels or (A, B),
            "tag",
            listen_s=listen_s,
            key=self._key,
            unkey=lambda channel, _: self.unkeys.append(channel),
            done=self._report.set_result,
        )
        self.test.begin()

    def _key(self, channel: str, transmission: str) -> None:
        self.keys.append((channel, transmission))
        loop = asyncio.get_running_loop()
        data = {"transmission": transmission, "outcome": "done"}
        loop.call_soon(lambda: self.say("command.result", channel, **data))

    def say(self, kind: str, channel: str, **data: Any) -> bool:
        event = CloudEvent(
            id="e",
            source="hutong/n/s",
            type=kind,
            subject=channel,
            time="",
            epoch="e",
            sequence=1,
            uptime_ms=1,
            data=data,
        )
        return self.test.hears(event)

    async def finished(self) -> list[dict[str, Any]]:
        return await self._report


def play(story: Coroutine[Any, Any, None]) -> None:
    virtual_time.run(story)


def test_what_comes_back_as_late_as_a_recorder_tells_it_is_still_heard() -> None:
    async def story() -> None:
        stage = Stage(listen_s=listening_s([0.2, 6.0]))
        await asyncio.sleep(KEYED_FOR_S + 6.0)
        assert stage.unkeys == [A]
        assert stage.keys == [stage.keys[0]], "it is still listening"
        assert stage.say("floor.taken", B, stream="late", talker="")
        found = await stage.finished()
        assert found[0]["loops_to"] == [{"channel": B, "delay_s": 6.4}]

    play(story())


def test_it_listens_as_long_as_its_slowest_member_needs_and_no_longer_than_that() -> None:
    assert listening_s([]) == LISTEN_FOR_S
    assert listening_s([0.2, 0.5]) == LISTEN_FOR_S
    assert listening_s([0.2, 6.0]) == 7.0
    assert listening_s([30.0]) == 12.0

    async def story() -> None:
        stage = Stage()
        await stage.finished()
        assert asyncio.get_running_loop().time() < 2 * (KEYED_FOR_S + LISTEN_FOR_S) + 0.3

    play(story())


def test_a_stream_is_of_the_key_after_which_it_began() -> None:
    async def story() -> None:
        stage = Stage()
        await asyncio.sleep(KEYED_FOR_S + LISTEN_FOR_S - 0.1)
        assert stage.say("floor.taken", B, stream="s", talker="")
        await asyncio.sleep(0.5)
        assert stage.keys[-1][0] == B
        assert stage.say("floor.refreshed", B, stream="s", talker="")
        found = await stage.finished()
        assert [len(each["loops_to"]) for each in found] == [1, 0]
        assert found[1]["echo_s"] is None

    play(story())


def test_what_goes_on_longer_than_our_key_could_is_a_person_and_ends_the_test() -> None:
    async def story() -> None:
        stage = Stage()
        await asyncio.sleep(0.2)
        assert stage.say("floor.taken", A, stream="s", talker="sys/1")
        await asyncio.sleep(1.0)
        assert stage.say("floor.refreshed", A, stream="s", talker="sys/1")
        await asyncio.sleep(2.0)
        assert not stage.say("floor.refreshed", A, stream="s", talker="sys/1")
        found = await stage.finished()
        assert [each["channel"] for each in found] == [A, B][: len(found)]
        assert found[-1]["outcome"] == "stopped"
        assert all(each["echo_s"] is None and each["loops_to"] == [] for each in found)

    play(story())
