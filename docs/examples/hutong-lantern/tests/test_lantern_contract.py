"""The adapter and a simulated recorder: the contract of every adapter, and what is its own."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hutong_lantern.adapter import LanternAdapter
from hutong_lantern.contract import PLANTED, LanternContract, LanternPeer
from hutong_lantern.simulator import LanternRecorder

from adapters import catalog
from adapters.base import Adapter
from adapters.errors import AuthenticationFailed, Busy, InvalidSettings
from adapters.events import Alarm, Malformed, Motion, Online, RtspSource, SourceStatus, Unrecognised
from adapters.testing import failure_of, running, until


class TestLantern(LanternContract):
    pass


def run(check: Coroutine[Any, Any, None]) -> None:
    asyncio.run(check)


def adapter_for(recorder: LanternRecorder) -> Adapter:
    return LanternAdapter(LanternPeer._settings(recorder.endpoint, PLANTED))


def test_the_gateway_knows_the_kind() -> None:
    assert catalog.load("lantern") is LanternAdapter


def test_events_are_reported_as_they_come() -> None:
    async def check() -> None:
        async with LanternPeer() as peer, running(peer) as it:
            await it.first(Online)
            assert [e.status for e in it.events if isinstance(e, SourceStatus)] == ["online"] * 2
            peer.recorder.tell("motion", "ch-2", "begin")
            motion = await it.first(Motion)
            assert (motion.address, motion.active) == ("ch-2", True)
            peer.recorder.tell("disk", state="begin", part="disk 1")
            alarm = await it.first(Alarm)
            assert (alarm.address, alarm.kind, alarm.part) == ("", "storage", "disk 1")
            peer.recorder.tell("motion", "ch-1", "sometimes")
            assert "state" in (await it.first(Malformed)).reason
            peer.recorder.tell("face", "ch-1", "once", name="nobody's business")
            unknown = await it.first(Unrecognised)
            assert (
                unknown.sample
                == '{"kind": "face", "name": "str", "number": "int", "state": "once"}'
            )
            since = len(it.events)
            peer.recorder.tell("camera", "ch-1", "end")
            assert (await it.first(SourceStatus, since)).status == "offline"

    run(check())


def test_a_token_that_ends_is_not_a_wrong_password() -> None:
    async def check() -> None:
        async with LanternPeer() as peer, running(peer) as it:
            await it.first(Online)
            for _ in range(3):
                peer.recorder.tell("motion", "ch-1", "begin")
            await until(lambda: sum(isinstance(e, Motion) for e in it.events) == 3, "three")
            since = len(it.events)
            peer.recorder.restart()
            image = await it.adapter.snapshot("ch-1")
            assert image.data.startswith(b"\xff\xd8")
            peer.recorder.tell("motion", "ch-2", "end")  # its numbers begin at 1 again
            assert (await it.first(Motion, since)).address == "ch-2"
            assert len(peer.recorder.tokens) == 1

    run(check())


def test_it_signs_out_and_uses_one_session() -> None:
    async def check() -> None:
        async with LanternPeer() as peer:
            async with running(peer) as it:
                await it.first(Online)
                await it.adapter.open_media("ch-1", "main")
                assert len(peer.recorder.tokens) == 1
            assert not peer.recorder.tokens

    run(check())


def test_no_session_left_is_busy_and_a_locked_account_final() -> None:
    async def check() -> None:
        async with LanternRecorder(PLANTED, channels=1, sessions=0) as full:
            with pytest.raises(Busy):
                await adapter_for(full).probe()
        async with LanternPeer() as peer:
            peer.recorder.wrong_passwords = 5
            async with running(peer) as it:
                error = await failure_of(it.task)
        assert isinstance(error, AuthenticationFailed)
        assert "locked" in error.message

    run(check())


def test_streams_are_asked_for_where_the_recorder_was_reached() -> None:
    async def check() -> None:
        async with LanternRecorder(
            PLANTED, channels=1, announces="192.168.1.108", clock_s=3600
        ) as recorder:
            adapter = adapter_for(recorder)
            inventory = await adapter.probe()
            assert inventory.clock_offset_s == pytest.approx(3600, abs=5)
            assert [note.split()[5] for note in inventory.notes] == ["192.168.1.108"]
            names = [(each.name, each.width) for each in inventory.sources[0].profiles]
            assert names == [("main", 320), ("sub", 128)]
            for profile in ("main", "sub"):
                source = await adapter.open_media("ch-1", profile)
                assert isinstance(source, RtspSource)
                assert source.url.startswith("rtsp://127.0.0.1:")
                assert source.url.endswith(profile)
            with pytest.raises(InvalidSettings):
                await adapter.open_media("ch-9", "main")

    run(check())
