"""The contract that every adapter and its simulator must pass.

A test module of a kind subclasses `AdapterContract` (radio and PTT: `RadioContract`, or, where
nothing can be keyed, `ListeningContract`; where voice passes, `VoiceContract` of
`adapters.testing_voice`), and says how its other side is simulated::

    class TestAcme(AdapterContract):
        def peer(self) -> Peer:
            return AcmePeer()

It needs pytest and nothing else: each check runs in an event loop of its own.
"""

import abc
import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, TypeVar

import pytest

from adapters import peers
from adapters.base import Adapter, Capability, PacketSource
from adapters.errors import (
    AdapterError,
    AuthenticationFailed,
    NotSupported,
    ProtocolViolation,
)
from adapters.events import (
    Command,
    FloorIdle,
    FloorTaken,
    Found,
    KeyChannel,
    Malformed,
    MovePtz,
    Online,
    Result,
    RtspSource,
    Scope,
    SendLocation,
    SendText,
    UnkeyChannel,
    VoiceFrame,
)
from adapters.footprint import Footprint
from adapters.overheard import all_output
from adapters.peers import (
    ListeningPeer,
    Peer,
    RadioPeer,
    Run,
    ended,
    failure_of,
    running,
    until,
)

T = TypeVar("T")

__all__ = [
    "AdapterContract",
    "ListeningContract",
    "ListeningPeer",
    "Peer",
    "RadioContract",
    "RadioPeer",
    "Run",
    "ended",
    "failure_of",
    "running",
    "until",
]


class AdapterContract(abc.ABC):
    """What holds for every kind. Subclass it in a test module as ``Test…`` and give `peer`."""

    @abc.abstractmethod
    def peer(self) -> Peer:
        """A new peer, not started yet."""

    def _with(self, check: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
        async def run() -> T:
            async with self.peer() as peer:
                return await check(peer)

        return asyncio.run(run())

    @staticmethod
    async def _met(peer: Peer, run: Run) -> None:
        await run.first(Online)
        async with asyncio.timeout(peers.PATIENCE_S):
            await peer.ready()

    # --- running ------------------------------------------------------------------------------

    def test_run_reports_online_and_times_carry_a_zone(self) -> None:
        async def check(peer: Peer) -> None:
            async with running(peer) as run:
                await run.first(Online)
                for event in run.events:
                    assert event.at.tzinfo is not None, f"{event!r} has a time without zone"
                    assert abs(event.at - datetime.now(UTC)) < timedelta(seconds=peers.PATIENCE_S)
                await asyncio.sleep(0)
                assert not run.task.done(), "run() ended although nothing was wrong"

        self._with(check)

    def test_cancelling_leaves_nothing_behind(self) -> None:
        async def once(peer: Peer) -> None:
            async with running(peer) as run:
                await run.first(Online)
            assert run.task.cancelled(), f"cancelled, run() ended otherwise: {run.task!r}"

        async def check(peer: Peer) -> None:
            await once(peer)  # thread pools and parsed documents stay, once
            await self._nothing_beyond(peer, once)

        self._with(check)

    def test_cancelling_before_it_is_online_leaves_nothing_behind(self) -> None:
        async def early(peer: Peer) -> None:
            for steps in (*range(12), 16, 24, 40, 80):
                async with running(peer) as run:
                    for _ in range(steps):
                        await asyncio.sleep(0)
                assert run.task.done()

        async def check(peer: Peer) -> None:
            async with running(peer) as run:
                await run.first(Online)
            await self._nothing_beyond(peer, early)

        self._with(check)

    def test_probing_leaves_nothing_behind(self) -> None:
        async def once(peer: Peer) -> None:
            await peer.adapter(peer.settings(), peer.channels).probe()

        async def check(peer: Peer) -> None:
            if Capability.PROBE not in peer.adapter.capabilities:
                return
            await once(peer)
            await self._nothing_beyond(peer, once)

        self._with(check)

    async def _nothing_beyond(
        self, peer: Peer, act: Callable[[Any], Coroutine[Any, Any, None]]
    ) -> None:
        """Act, and see that nothing of the adapter's is there afterwards.

        The peer's own ends of old connections go away in their own time, which is awaited.
        """
        await asyncio.sleep(0.05)
        before = Footprint.now()
        await act(peer)
        deadline = time.monotonic() + peers.PATIENCE_S / 4
        while left := Footprint.now().beyond(before):
            assert time.monotonic() < deadline, f"left behind: {left}"
            await asyncio.sleep(0.01)

    # --- what goes wrong ----------------------------------------------------------------------

    def test_a_dead_peer_is_retryable(self) -> None:
        async def check(peer: Peer) -> None:
            with socket.socket() as unused:  # bound and not listening: nobody else gets the port
                unused.bind(("127.0.0.1", 0))
                if peer.calls_us:
                    return
                async with running(peer, peer.at(*unused.getsockname())) as run:
                    error = await failure_of(run.task)
            assert error.retryable, f"{error!r} says that trying again cannot help"
            self._is_a_sentence(error)
            assert not any(isinstance(event, Online) for event in run.events)

        self._with(check)

    def test_a_silent_peer_is_retryable(self) -> None:
        async def check(peer: Peer) -> None:
            with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, never answers
                if peer.calls_us:
                    return
                async with running(peer, peer.at(*silent.getsockname())) as run:
                    error = await failure_of(run.task)
            assert error.retryable, f"{error!r} says that trying again cannot help"
            self._is_a_sentence(error)

        self._with(check)

    def test_a_wrong_password_is_not_retryable(self) -> None:
        async def check(peer: Peer) -> None:
            async with running(peer, peer.wrong_password()) as run:
                if peer.calls_us:
                    refused = await run.first(Malformed)
                    assert re.search(r"\w \w", refused.reason)
                    assert refused.peer, "the report does not say who was refused"
                    assert not run.task.done(), "one wrong peer must not end the others"
                    return
                error = await failure_of(run.task)
            assert isinstance(error, AuthenticationFailed), repr(error)
            assert not error.retryable
            assert error.device, "the error does not say which device"
            self._is_a_sentence(error)
            assert not any(isinstance(event, Online) for event in run.events)

        self._with(check)

    def test_garbage_is_counted_and_the_next_good_frame_arrives(self) -> None:
        async def check(peer: Peer) -> None:
            async with running(peer) as run:
                await self._met(peer, run)
                await peer.send_garbage()
                try:
                    malformed = await run.first(Malformed)
                    assert malformed.reason
                except ProtocolViolation as violation:
                    self._is_a_sentence(violation)
                else:
                    since = len(run.events)
                    await peer.send_good()
                    await until(
                        lambda: any(not isinstance(e, Malformed) for e in run.events[since:]),
                        "an event after the garbage",
                    )
                    assert not run.task.done()
                    return
            await peer.send_good()
            async with running(peer) as again:  # as the supervisor would
                await again.first(Online)

        self._with(check)

    @staticmethod
    def _is_a_sentence(error: AdapterError) -> None:
        assert re.search(r"\w \w", error.message), f"no sentence for a person: {error.message!r}"
        assert "Traceback" not in error.message
        assert "\n" not in error.message

    # --- capabilities -------------------------------------------------------------------------

    def test_what_is_declared_works(self) -> None:
        async def check(peer: Peer) -> None:
            declared = peer.adapter.capabilities
            async with running(peer) as run:
                await self._met(peer, run)
                if Capability.DISCOVER in declared:
                    await self._discovers(peer)
                if Capability.PROBE in declared:
                    await self._describes_itself(run.adapter)
                for capability in declared & {Capability.TEXT, Capability.LOCATION}:
                    outcome = await run.adapter.execute(_saying(peer.channels[0])[capability])
                    assert outcome.result is Result.DONE, outcome

        self._with(check)

    async def _discovers(self, peer: Peer) -> None:
        scope = peer.scope()
        assert scope is not None, "DISCOVER is declared, but the peer gives no scope"
        found = [one async for one in peer.adapter.discover(scope)]
        assert found, "the peer was not discovered"
        assert all(isinstance(one, Found) and one.endpoint for one in found)
        assert len({one.endpoint for one in found}) == len(found)

    async def _describes_itself(self, adapter: Adapter) -> None:
        declared = adapter.capabilities
        inventory = await adapter.probe()
        assert inventory.sources
        numbers = [source.channel_number for source in inventory.sources]
        assert numbers == list(range(1, len(numbers) + 1))
        address = inventory.sources[0].address
        names = [profile.name for profile in inventory.sources[0].profiles]
        assert names in (["main"], ["main", "sub"])
        if Capability.MEDIA in declared:
            for profile in ("main", "sub"):  # no sub gives main
                await self._gives_media(adapter, address, profile)
        if Capability.SNAPSHOT in declared:
            image = await adapter.snapshot(address)
            assert image.content_type == "image/jpeg"
            assert image.data.startswith(b"\xff\xd8")
            assert image.at.tzinfo is not None
        if Capability.PTZ in declared:
            await self._moves(adapter, inventory.sources)

    async def _gives_media(self, adapter: Adapter, address: str, profile: str) -> None:
        source = await adapter.open_media(address, profile)
        if isinstance(source, RtspSource):
            assert source.url.startswith(("rtsp://", "rtsps://"))
            assert "@" not in source.url.partition("//")[2].partition("/")[0]
            return
        assert isinstance(source, PacketSource)
        async with asyncio.timeout(peers.PATIENCE_S), source.open() as items:
            async for _ in items:
                return
            raise AssertionError("the stream ended before its first item")

    async def _moves(self, adapter: Adapter, sources: Sequence[Any]) -> None:
        for source in sources:
            move = MovePtz(address=source.address, pan=0.5, duration_ms=50)
            outcome = await adapter.execute(move)
            if "ptz" in source.capabilities:
                assert outcome.result is Result.DONE, outcome
            else:
                assert outcome.result is Result.REFUSED
                assert outcome.reason

    def test_what_is_not_declared_is_not_supported(self) -> None:
        async def check(peer: Peer) -> None:
            adapter = peer.adapter(peer.settings(), peer.channels)
            for capability, attempt in _attempts(adapter).items():
                if capability not in adapter.capabilities:
                    with pytest.raises(NotSupported):
                        await attempt()

        self._with(check)

    def test_the_kind_is_declared(self) -> None:
        adapter = self.peer().adapter
        assert all(isinstance(one, Capability) for one in adapter.capabilities)
        assert hasattr(adapter, "Settings")
        keyed = Capability.KEY in adapter.capabilities
        assert not keyed or adapter.traits is not None, "what can be keyed says its traits"

    # --- secrets ------------------------------------------------------------------------------

    def test_secrets_are_told_to_nobody(self) -> None:
        async def check(peer: Peer) -> None:
            assert peer.secrets
            assert all(len(secret) >= 8 for secret in peer.secrets)
            with all_output(but=peer.loggers) as output:
                shown = [repr(peer.settings()), str(peer.settings())]
                async with running(peer) as run:
                    await self._met(peer, run)
                    shown += [repr(run.adapter), repr(run.events)]
                    if Capability.PROBE in peer.adapter.capabilities:
                        shown.append(repr(await run.adapter.probe()))
                    await peer.send_garbage()
                    await until(
                        lambda: (
                            run.task.done()
                            or any(isinstance(event, Malformed) for event in run.events)
                        ),
                        "the garbage to be noticed",
                    )
                shown += [repr(run.events), repr(run.task), *await self._refusal(peer)]
                shown.append(output())
            for text in shown:
                for secret in peer.secrets:
                    before, found, after = text.partition(secret)
                    assert not found, f"a password was shown: {before[-200:]}***{after[:100]}"

        self._with(check)

    async def _refusal(self, peer: Peer) -> list[str]:
        settings = peer.wrong_password()
        async with running(peer, settings) as run:
            try:
                await until(lambda: run.task.done() or bool(run.events), "the refusal")
                if run.task.done():
                    await run.task
            except AdapterError as error:
                return [repr(settings), str(error), repr(error), repr(error.__cause__)]
        return [repr(settings), repr(run.events)]


def _saying(address: str) -> dict[Capability, Command]:
    place = SendLocation(address=address, longitude_deg=123.43, latitude_deg=41.8)
    return {Capability.TEXT: SendText(address=address, text="测试"), Capability.LOCATION: place}


def _attempts(adapter: Adapter) -> dict[Capability, Callable[[], Coroutine[Any, Any, object]]]:
    """How each capability is asked for."""

    async def discover() -> None:
        async for _ in adapter.discover(Scope(interfaces=("127.0.0.1",), timeout_s=0.1)):
            break

    async def no_frames() -> AsyncIterator[VoiceFrame]:
        return
        yield

    def executes(command: Command) -> Callable[[], Coroutine[Any, Any, object]]:
        return lambda: adapter.execute(command)

    return {
        Capability.DISCOVER: discover,
        Capability.PROBE: adapter.probe,
        Capability.MEDIA: lambda: adapter.open_media("1", "main"),
        Capability.SNAPSHOT: lambda: adapter.snapshot("1"),
        Capability.PTZ: executes(MovePtz(address="1")),
        Capability.KEY: executes(KeyChannel(address="1", transmission="t")),
        **{capability: executes(command) for capability, command in _saying("1").items()},
        Capability.VOICE: lambda: adapter.send_voice(no_frames()),
    }


class ListeningContract(AdapterContract):
    """What holds for a trunk or PTT system that can only be heard. `peer` gives a
    `ListeningPeer`."""

    asks_for_voice: ClassVar[bool] = False

    @abc.abstractmethod
    def peer(self) -> ListeningPeer: ...

    def test_a_talk_is_reported_from_start_to_end(self) -> None:
        async def check(peer: ListeningPeer) -> None:
            async with running(peer) as run:
                await self._met(peer, run)
                await peer.send_good()
                taken = await run.first(FloorTaken)
                idle = await run.first(FloorIdle)
            assert taken.address == idle.address == peer.channels[0]
            assert taken.stream == idle.stream
            assert taken.stream
            assert taken.hold_s > 0
            assert taken.caused_by is None

        self._with(check)

    def test_it_says_whether_it_can_be_keyed(self) -> None:
        adapter = self.peer().adapter
        assert adapter.traits is not None, "a radio system says its traits"
        assert adapter.traits.receive_only == (Capability.KEY not in adapter.capabilities)

    def test_it_says_which_voice_it_passes(self) -> None:
        adapter = self.peer().adapter
        assert adapter.traits is not None, "a radio system says its traits"
        assert bool(adapter.traits.voice) == (Capability.VOICE in adapter.capabilities)
        if Capability.VOICE in adapter.capabilities:
            assert self.asks_for_voice, "a kind that passes voice keeps VoiceContract"


class RadioContract(ListeningContract):
    """What holds for those that can be keyed besides. `peer` gives a `RadioPeer`."""

    @abc.abstractmethod
    def peer(self) -> RadioPeer: ...

    def test_a_key_reaches_the_peer_once_and_ends(self) -> None:
        async def check(peer: RadioPeer) -> None:
            channel = peer.channels[0]
            key = KeyChannel(address=channel, transmission="t-1")
            async with running(peer) as run:
                await self._met(peer, run)
                await self._done(run, key)
                await until(lambda: list(peer.heard(channel)) == [True], "our transmission")
                for _ in range(3):
                    await self._done(run, key)
                await asyncio.sleep(0.1)  # a second start would be heard by now
                assert list(peer.heard(channel)) == [True]
                await self._done(run, UnkeyChannel(address=channel, transmission="t-1"))
                await until(lambda: list(peer.heard(channel)) == [False], "its end")

        self._with(check)

    def test_unkeying_what_is_not_keyed_changes_nothing(self) -> None:
        async def check(peer: RadioPeer) -> None:
            channel = peer.channels[0]
            async with running(peer) as run:
                await self._met(peer, run)
                await self._done(run, UnkeyChannel(address=channel, transmission="never"))
                await self._done(run, KeyChannel(address=channel, transmission="t-1"))
                await until(lambda: list(peer.heard(channel)) == [True], "our transmission")
                await self._done(run, UnkeyChannel(address=channel, transmission="never"))
                assert list(peer.heard(channel)) == [True]

        self._with(check)

    def test_an_unknown_channel_is_refused_with_a_reason(self) -> None:
        async def check(peer: RadioPeer) -> None:
            async with running(peer) as run:
                await self._met(peer, run)
                key = KeyChannel(address="no such channel", transmission="t-1")
                outcome = await run.adapter.execute(key)
            assert outcome.result is Result.REFUSED
            assert outcome.reason

        self._with(check)

    def test_cancelling_ends_our_transmission(self) -> None:
        async def check(peer: RadioPeer) -> None:
            channel = peer.channels[0]
            async with running(peer) as run:
                await self._met(peer, run)
                await self._done(run, KeyChannel(address=channel, transmission="t-1"))
                await until(lambda: list(peer.heard(channel)) == [True], "our transmission")
            await until(lambda: not any(peer.heard(channel)), "its end")

        self._with(check)

    @staticmethod
    async def _done(run: Run, command: Command) -> None:
        outcome = await run.adapter.execute(command)
        assert outcome.result is Result.DONE, f"{command!r}: {outcome!r}"
