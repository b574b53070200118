"""What holds besides for a system that passes voice: the contract of `Adapter.send_voice` and of
`VoiceHeard`.

As `adapters.testing`, for kinds that declare `Capability.VOICE`::

    class TestAcme(VoiceContract):
        def peer(self) -> VoicePeer:
            return AcmePeer()
"""

import abc
import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence

from adapters import peers
from adapters.events import (
    FloorIdle,
    FloorTaken,
    KeyChannel,
    UnkeyChannel,
    VoiceFlag,
    VoiceFrame,
    VoiceHeard,
)
from adapters.peers import RadioPeer, Run, running, until
from adapters.testing import RadioContract

__all__ = ["VoiceContract", "VoicePeer"]

SAID = 6
SENT = 4
"""Frames, given all at once; no jitter buffer is too small for so many."""


class VoicePeer(RadioPeer):
    """One whose channels pass voice both ways, in frames of frame_ms."""

    frame_ms: int = 60

    @abc.abstractmethod
    def payload(self, number: int) -> bytes:
        """Voice of one frame, other than that of any other number and than silence."""

    @abc.abstractmethod
    async def say(self, count: int) -> None:
        """Talk on the first channel and let go: `payload` of 0, 1, 2 and so on, at least count."""

    @abc.abstractmethod
    def said_to(self, address: str) -> Sequence[bytes]:
        """All voice of ours that the peer has heard on a channel, in the order of its coming; what
        the adapter filled in too."""


class _Frames(AsyncIterator[VoiceFrame]):
    """What `send_voice` is given. for_ever: nothing says that no more comes."""

    def __init__(self, frames: Iterable[VoiceFrame], *, for_ever: bool = False) -> None:
        self._frames, self._for_ever = iter(frames), for_ever

    async def __anext__(self) -> VoiceFrame:
        frame = next(self._frames, None)
        if frame is not None:
            return frame
        if self._for_ever:
            await asyncio.Event().wait()
        raise StopAsyncIteration


class VoiceContract(RadioContract):
    """What holds for those that pass voice besides. `peer` gives a `VoicePeer`."""

    asks_for_voice = True

    @abc.abstractmethod
    def peer(self) -> VoicePeer: ...

    def test_what_is_said_is_told_frame_by_frame(self) -> None:
        async def check(peer: VoicePeer) -> None:
            async with running(peer) as run:
                await self._met(peer, run)
                await peer.say(SAID)
                idle = await run.first(FloorIdle)
                taken = await run.first(FloorTaken)
                between = run.events[run.events.index(taken) : run.events.index(idle)]
            told = [event for event in between if isinstance(event, VoiceHeard)]
            frames = [event.frame for event in told]
            assert {event.address for event in told} == {peer.channels[0]}
            assert {frame.transmission for frame in frames} == {taken.stream}
            assert {frame.codec for frame in frames} <= set(self._codecs())
            assert frames[0].flags & VoiceFlag.FIRST
            assert not any(frame.flags & VoiceFlag.FIRST for frame in frames[1:])
            spoken = [frame for frame in frames if frame.payload]
            assert [f.sequence for f in spoken[:SAID]] == list(range(SAID))
            assert [f.payload for f in spoken[:SAID]] == [peer.payload(n) for n in range(SAID)]
            times_us = [frame.media_time_us for frame in spoken]
            assert times_us == sorted(set(times_us)), "each begins after the one before"

        self._with(check)

    def test_voice_goes_out_once_and_in_order_whatever_the_network_made_of_it(self) -> None:
        async def check(peer: VoicePeer) -> None:
            channel = peer.channels[0]
            numbers = [0, 2, 1, 2, *range(3, SENT)]
            async with running(peer) as run:
                await self._keyed(peer, run)
                async with asyncio.timeout(peers.PATIENCE_S):
                    await run.adapter.send_voice(_Frames(self._frame(peer, n) for n in numbers))
                await until(lambda: SENT - 1 in self._numbers(peer), "the last of it")
                heard = self._numbers(peer)
                assert heard == sorted(set(heard)), f"{heard} of {numbers}"
                assert len(heard) >= SENT - 1, f"{heard} of {numbers}"
                assert list(peer.heard(channel)) == [True], "its end unkeys nothing"
                await self._done(run, UnkeyChannel(address=channel, transmission="t-1"))
                await until(lambda: list(peer.heard(channel)) == [False], "the end")

        self._with(check)

    def test_voice_ends_with_its_transmission(self) -> None:
        async def check(peer: VoicePeer) -> None:
            channel = peer.channels[0]
            async with running(peer) as run:
                await self._keyed(peer, run)
                frames = _Frames([self._frame(peer, 0)], for_ever=True)
                sending = asyncio.create_task(run.adapter.send_voice(frames))
                await until(lambda: self._numbers(peer) == [0] or sending.done(), "our voice")
                assert not sending.done(), "more may come"
                await self._done(run, UnkeyChannel(address=channel, transmission="t-1"))
                async with asyncio.timeout(peers.PATIENCE_S):
                    await sending
                await until(lambda: list(peer.heard(channel)) == [False], "the end")

        self._with(check)

    def test_cancelling_voice_unkeys_nothing(self) -> None:
        async def check(peer: VoicePeer) -> None:
            async with running(peer) as run:
                await self._keyed(peer, run)
                frames = _Frames([self._frame(peer, 0)], for_ever=True)
                sending = asyncio.create_task(run.adapter.send_voice(frames))
                await until(lambda: self._numbers(peer) == [0] or sending.done(), "our voice")
                sending.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await sending
                await asyncio.sleep(0.1)  # an end would be heard by now
                assert list(peer.heard(peer.channels[0])) == [True]
                again = _Frames([self._frame(peer, SENT)])
                await run.adapter.send_voice(again)
                await until(lambda: SENT in self._numbers(peer), "who goes on")

        self._with(check)

    def test_voice_of_no_transmission_and_of_another_codec_goes_nowhere(self) -> None:
        async def check(peer: VoicePeer) -> None:
            async with running(peer) as run:
                await self._met(peer, run)
                stray = _Frames([self._frame(peer, 0, transmission="never")], for_ever=True)
                async with asyncio.timeout(peers.PATIENCE_S):
                    await run.adapter.send_voice(stray)
                assert not peer.heard(peer.channels[0]), "voice keys nothing"
                await self._keyed(peer, run, met=True)
                other = [self._frame(peer, 0, codec="no such codec"), self._frame(peer, 1)]
                await run.adapter.send_voice(_Frames(other))
                await until(lambda: self._numbers(peer) == [1], "what it can send")

        self._with(check)

    # --- small things ---------------------------------------------------------------------------

    def _codecs(self) -> Sequence[str]:
        traits = self.peer().adapter.traits
        assert traits is not None, "a radio system says its traits"
        assert traits.voice, "a kind that passes voice names its codecs"
        return traits.voice

    def _frame(
        self, peer: VoicePeer, number: int, *, transmission: str = "t-1", codec: str = ""
    ) -> VoiceFrame:
        return VoiceFrame(
            transmission=transmission,
            sequence=number,
            media_time_us=number * peer.frame_ms * 1000,
            codec=codec or self._codecs()[0],
            duration_ms=peer.frame_ms,
            flags=int(VoiceFlag.FIRST) if number == 0 else 0,
            payload=peer.payload(number),
        )

    async def _keyed(self, peer: VoicePeer, run: Run, *, met: bool = False) -> None:
        if not met:
            await self._met(peer, run)
        channel = peer.channels[0]
        await self._done(run, KeyChannel(address=channel, transmission="t-1"))
        await until(lambda: list(peer.heard(channel)) == [True], "our transmission")

    @staticmethod
    def _numbers(peer: VoicePeer) -> list[int]:
        """What the peer has heard of `payload`."""
        known = {peer.payload(number): number for number in range(SAID + SENT)}
        heard = peer.said_to(peer.channels[0])
        return [known[each] for each in heard if each in known]
