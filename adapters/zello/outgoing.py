"""The streams that we send: start, silence every 60 ms, stop."""

import asyncio
import dataclasses
from collections import OrderedDict
from functools import partial

from adapters.errors import AdapterError, TimedOut
from adapters.events import DONE, KeyChannel, Outcome, Result
from adapters.zello import wire
from adapters.zello.link import Link

ANSWER_S = 5.0
REMEMBERED = 256
PACKET_S = wire.PACKET_MS / 1000
MOST_BEHIND_S = 6 * PACKET_S

ENDED_BY_SERVER = "ended by the server"
_BUSY = frozenset({"channel is not ready", "failed to start stream"})
_GONE = frozenset({"not logged in", "server closed connection"})


@dataclasses.dataclass(slots=True, eq=False, kw_only=True)
class OutgoingStream:
    """One transmission of ours. stream_id: None while the server has not answered.

    answer: what `key` gives, or raises. channel: the address as the server spells it.
    """

    transmission: str
    address: str
    channel: str
    answer: asyncio.Future[Outcome | AdapterError]
    stream_id: int | None = None
    released: bool = False
    speaking: asyncio.Task[None] | None = None


class OutgoingStreams:
    """Our streams on one connection. tasks: runs what sends the silence."""

    def __init__(self, link: Link, tasks: asyncio.TaskGroup) -> None:
        self._link = link
        self._tasks = tasks
        self._streams: dict[str, OutgoingStream] = {}
        self._by_id: dict[int, OutgoingStream] = {}
        self._ended: OrderedDict[str, str] = OrderedDict()
        self._latest: dict[str, str] = {}

    async def key(self, command: KeyChannel, channel: str) -> Outcome:
        """Start a stream and wait for the server's word on it.

        Raises: Unreachable, or TimedOut when there is no answer within 5 s; a stream that the
        server grants after all is stopped then.
        """
        name = command.transmission
        if name in self._ended:
            return Outcome(result=Result.REFUSED, reason=self._ended[name])
        stream = self._streams.get(name)
        if stream is None:
            if any(each.address == command.address for each in self._streams.values()):
                return Outcome(result=Result.BUSY, reason="this account is talking on it already")
            stream = await self._start(command, channel)
        elif stream.address != command.address:
            reason = f"this transmission is on {stream.address!r}"
            return Outcome(result=Result.REFUSED, reason=reason)
        return await self._outcome(stream)

    async def unkey(self, name: str) -> None:
        """End a stream; one whose start is not answered yet ends as soon as it is."""
        self._ended.pop(name, None)
        stream = self._streams.get(name)
        if stream is None:
            return
        self._drop(stream)
        stream.released = True
        if stream.stream_id is None:
            reason = "released before the server had answered"
            _settle(stream, Outcome(result=Result.REFUSED, reason=reason))
        else:
            await self._stop(stream)

    def stopped(self, stream_id: int) -> OutgoingStream | None:
        """The server ended a stream; gives it if it was one of ours. It is not started again."""
        stream = self._by_id.get(stream_id)
        if stream is None:
            return None
        self._drop(stream)
        self._ended[stream.transmission] = ENDED_BY_SERVER
        if len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)
        return stream

    def is_running(self, name: str | None) -> bool:
        return name in self._streams

    def latest_on(self, address: str) -> str | None:
        """The transmission of ours that is on a channel, or was last."""
        return self._latest.get(address)

    async def stop_all(self) -> None:
        """Stop every stream, as far as the connection still lets us."""
        error = self._link.lost("it was closed")
        for stream in list(self._streams.values()):
            self._drop(stream)
            stream.released = True
            _settle(stream, error)
            if stream.stream_id is not None:
                await self._stop(stream)

    async def _start(self, command: KeyChannel, channel: str) -> OutgoingStream:
        stream = OutgoingStream(
            transmission=command.transmission,
            address=command.address,
            channel=channel,
            answer=asyncio.get_running_loop().create_future(),
        )
        self._streams[stream.transmission] = stream
        self._latest[stream.address] = stream.transmission
        try:
            await self._link.ask(
                lambda seq: wire.encode_start_stream(seq=seq, channel=channel),
                partial(self._answered, stream),
            )
        except AdapterError:
            self._drop(stream)
            raise
        return stream

    async def _outcome(self, stream: OutgoingStream) -> Outcome:
        try:
            async with asyncio.timeout(ANSWER_S):
                outcome = await asyncio.shield(stream.answer)
        except TimeoutError:
            self._drop(stream)
            stream.released = True
            message = f"the server did not answer start_stream within {ANSWER_S:g} s"
            raise TimedOut(message, device=self._link.device, address=stream.address) from None
        if isinstance(outcome, AdapterError):
            raise outcome
        return outcome

    def _answered(self, stream: OutgoingStream, response: wire.Response) -> None:
        stream.stream_id = response.stream_id
        if stream.released:
            if stream.stream_id is not None:
                self._tasks.create_task(self._stop(stream))
            return
        if response.error or stream.stream_id is None:
            self._drop(stream)
            _settle(stream, self._failure(stream, response.error or "it gave no stream id"))
            return
        self._by_id[stream.stream_id] = stream
        stream.speaking = self._tasks.create_task(self._speak(stream, stream.stream_id))
        _settle(stream, DONE)

    def _failure(self, stream: OutgoingStream, error: str) -> Outcome | AdapterError:
        if error in _GONE:
            return self._link.lost(error)
        result = Result.BUSY if error in _BUSY else Result.REFUSED
        return Outcome(result=result, reason=f"the server says: {error}")

    async def _speak(self, stream: OutgoingStream, stream_id: int) -> None:
        """Send silence every 60 ms; late timers do not add up, nor is a long gap made up for."""
        loop = asyncio.get_running_loop()
        packet = wire.encode_audio(stream_id, wire.OPUS_SILENCE)
        due_s = loop.time()
        while not stream.released:
            try:
                await self._link.send_audio(packet)
            except AdapterError:
                return  # the reader ends the connection
            due_s += PACKET_S
            if loop.time() - due_s > MOST_BEHIND_S:
                due_s = loop.time()
            await asyncio.sleep(due_s - loop.time())

    async def _stop(self, stream: OutgoingStream) -> None:
        stream_id = stream.stream_id
        if stream_id is None:
            return
        try:
            await self._link.ask(
                lambda seq: wire.encode_stop_stream(
                    seq=seq, channel=stream.channel, stream_id=stream_id
                ),
                _ignore,
            )
        except AdapterError:
            return  # a stream ends with its connection

    def _drop(self, stream: OutgoingStream) -> None:
        if self._streams.get(stream.transmission) is stream:
            del self._streams[stream.transmission]
        if stream.stream_id is not None:
            self._by_id.pop(stream.stream_id, None)
        if stream.speaking is not None:
            stream.speaking.cancel()


def _settle(stream: OutgoingStream, outcome: Outcome | AdapterError) -> None:
    if not stream.answer.done():
        stream.answer.set_result(outcome)


def _ignore(response: wire.Response) -> None:
    """The API says of `failed to stop stream` that it is safe to ignore."""
