"""The agent's part in voice: what is heard leaves it only while the bridge asks for it, what is to
be sent waits here until the adapter takes it.

Of a talk that nobody asked for no more than the last `KEPT_MS` are kept, in memory, so that its
beginning is there when the bridge has decided.
"""

import asyncio
import collections
import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import structlog

from adapters.base import Adapter, Capability
from adapters.errors import AdapterError
from adapters.events import VoiceFlag, VoiceFrame
from gateway.bus.client import Bus
from gateway.bus.voice import UnreadableVoice, decode_voice, encode_voice
from gateway.bus.voice_line import VoiceLine

KEPT_MS = 360
"""What adapters can still bring in order: more would make the whole talk later."""
MOST_WAITING_MS = 1000
"""Of what the adapter does not take: a key that is slow, or an adapter that is."""
TAKEN_WITHIN_S = 0.1
LONGEST_FORWARD_S = 10.0

log = structlog.get_logger("voice")


@dataclasses.dataclass(slots=True)
class AgentVoiceCounters:
    """Frames. forwarded: left the agent. kept_back: heard and asked for by nobody. delivered: taken
    by the adapter. dropped: the oldest, of an adapter that is slow. late: of no transmission that
    is or will be keyed. malformed: by the adapter's own mistake."""

    forwarded: int = 0
    kept_back: int = 0
    delivered: int = 0
    dropped: int = 0
    late: int = 0
    malformed: int = 0


class Outgoing:
    """Voice of one transmission on its way to the adapter: an iterator that ends with it."""

    def __init__(self, transmission: str, counters: AgentVoiceCounters) -> None:
        self.transmission = transmission
        self.sending: asyncio.Task[None] | None = None
        self.keyed = False
        self._counters = counters
        self._waiting: collections.deque[VoiceFrame] = collections.deque()
        self._waiting_ms = 0
        self._came, self._taken = asyncio.Event(), asyncio.Event()
        self._closed = False

    def put(self, frame: VoiceFrame) -> None:
        """Drops the oldest when more than `MOST_WAITING_MS` wait."""
        if self._closed:
            self._counters.late += 1
            return
        self._waiting.append(frame)
        self._waiting_ms += frame.duration_ms
        while self._waiting_ms > MOST_WAITING_MS and len(self._waiting) > 1:
            self._waiting_ms -= self._waiting.popleft().duration_ms
            self._counters.dropped += 1
        self._came.set()

    @property
    def begun(self) -> bool:
        return bool(self._waiting)

    def close(self, *, drain: bool = False) -> None:
        """Nothing comes any more. drain: what waits is still to be sent."""
        self._closed = True
        if not drain:
            self._counters.dropped += len(self._waiting)
            self._waiting.clear()
        self._came.set()
        if not self._waiting:
            self._taken.set()

    async def taken(self) -> None:
        """Until the adapter took all that waits, or does not."""
        if self.sending is None or self.sending.done():
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TAKEN_WITHIN_S):
                await self._taken.wait()

    def __aiter__(self) -> "Outgoing":
        return self

    async def __anext__(self) -> VoiceFrame:
        while not self._waiting:
            if self._closed:
                self._taken.set()
                raise StopAsyncIteration
            self._came.clear()
            await self._came.wait()
        frame = self._waiting.popleft()
        self._waiting_ms -= frame.duration_ms
        self._counters.delivered += 1
        return frame


@dataclasses.dataclass(slots=True)
class _ChannelVoice:
    """stream: of the talk that is heard, empty for none. until_s: it is forwarded till then.
    kept: its last frames that nobody asked for. out: what is keyed; early: voice of a transmission
    whose key has not come yet; over: those that have ended."""

    topic: str
    stream: str = ""
    until_s: float = float("-inf")
    encrypted: bool = False
    kept: collections.deque[VoiceFrame] = dataclasses.field(default_factory=collections.deque)
    out: Outgoing | None = None
    early: Outgoing | None = None
    over: collections.deque[str] = dataclasses.field(
        default_factory=lambda: collections.deque(maxlen=8)
    )


class AgentVoice:
    """Voice of one system. codecs: those that its adapter passes, none for a system without voice.
    adapter: the one that is online."""

    def __init__(
        self,
        bus: Bus,
        *,
        system_id: str,
        codecs: Iterable[str],
        channels: Iterable[str],
        adapter: Callable[[], Adapter | None],
    ) -> None:
        self.counters = AgentVoiceCounters()
        self._bus, self._system_id, self._adapter = bus, system_id, adapter
        self._codecs = frozenset(codecs)
        self._now_s = asyncio.get_running_loop().time
        self._channels = {
            channel_id: _ChannelVoice(topic=bus.topics.voice_in(channel_id))
            for channel_id in (channels if self._codecs else ())
        }
        self._sending: set[asyncio.Task[None]] = set()
        self._line: VoiceLine | None = None

    @contextlib.asynccontextmanager
    async def listening(self) -> Any:
        """Hear what is to be sent; on leaving nothing is sent any more."""
        if not self._channels:
            yield
            return
        line = self._line = self._bus.voice("agent")
        for channel_id in self._channels:
            topic = self._bus.topics.voice_out(channel_id)
            line.subscribe(topic, functools.partial(self._on_out, channel_id))
        try:
            yield
        finally:
            self._line = None
            for channel_id in self._channels:
                line.unsubscribe(self._bus.topics.voice_out(channel_id))
            self.drop_all()
            for task in self._sending:
                task.cancel()
            await asyncio.gather(*self._sending, return_exceptions=True)

    # --- what is heard --------------------------------------------------------------------------

    def began(self, channel_id: str, stream: str) -> None:
        """Another talk is on the air, empty for none: nothing of the one before leaves us."""
        known = self._channels.get(channel_id)
        if known is None or known.stream == stream:
            return
        self.counters.kept_back += len(known.kept)
        known.kept.clear()
        known.stream, known.until_s = stream, float("-inf")

    def heard(self, channel_id: str, frame: VoiceFrame) -> None:
        known = self._channels.get(channel_id)
        if known is None or frame.transmission != known.stream:
            self.counters.late += 1
        elif self._now_s() < known.until_s:
            self._forward(known, frame)
        else:
            known.kept.append(frame)
            while sum(each.duration_ms for each in known.kept) > KEPT_MS:
                known.kept.popleft()
                self.counters.kept_back += 1

    def forward(self, channel_id: str, command: Mapping[str, Any]) -> tuple[str, bool]:
        """`voice.forward`: the talk that is its transmission leaves us for lease_ms, 0 to stop.
        Gives why not, empty where it does, and whether this only renews it."""
        known, lease_ms = self._channels.get(channel_id), command.get("lease_ms")
        if known is None:
            return "the system passes no voice", False
        if not known.stream or command.get("transmission") != known.stream:
            return "that talk is over", False
        lease_s = lease_ms / 1000 if isinstance(lease_ms, int | float) else 0.0
        now_s = self._now_s()
        renewed = now_s < known.until_s
        known.encrypted = command.get("encrypted") is True
        known.until_s = now_s + min(lease_s, LONGEST_FORWARD_S)
        if lease_s > 0:
            kept, known.kept = known.kept, collections.deque()
            for frame in kept:
                self._forward(known, frame)
        return "", renewed

    def _forward(self, known: _ChannelVoice, frame: VoiceFrame) -> None:
        if frame.flags & VoiceFlag.ENCRYPTED and not known.encrypted:
            self.counters.kept_back += 1
            return
        try:
            message = encode_voice(frame, self._bus.uptime_ms())
        except UnreadableVoice as error:
            self.counters.malformed += 1
            if self.counters.malformed == 1:
                log.warning("voice not sent", system=self._system_id, reason=str(error))
            return
        if self._line is not None and self._line.publish(known.topic, message):
            self.counters.forwarded += 1

    # --- what is to be sent ---------------------------------------------------------------------

    def _on_out(self, channel_id: str, _topic: str, message: bytes) -> None:
        frame, known = decode_voice(message), self._channels[channel_id]
        if frame.codec not in self._codecs or frame.transmission in known.over:
            self.counters.late += 1
            return
        out = known.out
        if out is None or out.transmission != frame.transmission:
            out = known.early
            if out is None or out.transmission != frame.transmission:
                self._close(out)
                out = known.early = Outgoing(frame.transmission, self.counters)
        out.put(frame)
        self._send(out)

    def requested(self, channel_id: str, transmission: str) -> None:
        """The channel is about to be keyed; what came before the key is its own. The same
        transmission may come again: for a member that was busy in the middle of the talk."""
        known = self._channels.get(channel_id)
        if known is None:
            return
        if transmission in known.over:
            known.over.remove(transmission)
        self._close(known.out)
        early, known.early = known.early, None
        if early is None or early.transmission != transmission:
            self._close(early)
            early = Outgoing(transmission, self.counters)
        known.out = early

    def keyed(self, channel_id: str, transmission: str) -> None:
        """The system sends our transmission now."""
        known = self._channels.get(channel_id)
        if known is None or known.out is None or known.out.transmission != transmission:
            return
        known.out.keyed = True
        self._send(known.out)

    async def end(self, channel_id: str, transmission: str, *, drain: bool) -> None:
        """Before the channel is unkeyed. drain: what waits goes to the adapter first."""
        known = self._channels.get(channel_id)
        if known is None:
            return
        known.over.append(transmission)
        out = known.out
        if out is None or out.transmission != transmission:
            return
        known.out = None
        out.close(drain=drain)
        if drain:
            await out.taken()

    def drop_all(self) -> None:
        """The system, or the broker, is gone: so is all that is forwarded or sent."""
        for known in self._channels.values():
            known.until_s = float("-inf")
            known.kept.clear()
            for out in (known.out, known.early):
                self._close(out)
            known.out = known.early = None

    def _close(self, out: Outgoing | None) -> None:
        if out is not None:
            out.close()

    def _send(self, out: Outgoing) -> None:
        """Voice goes to the adapter from its first frame on, once the channel is keyed."""
        adapter = self._adapter()
        if out.sending is not None or not out.keyed or not out.begun or adapter is None:
            return
        if Capability.VOICE not in type(adapter).capabilities:
            return
        out.sending = asyncio.get_running_loop().create_task(self._hand_over(adapter, out))
        self._sending.add(out.sending)
        out.sending.add_done_callback(self._sending.discard)

    async def _hand_over(self, adapter: Adapter, out: Outgoing) -> None:
        try:
            await adapter.send_voice(out)
        except AdapterError as error:
            log.warning("voice not sent", system=self._system_id, reason=str(error))
        except Exception:  # an adapter's own mistake ends the voice, not the key
            log.exception("voice failed", system=self._system_id)
        finally:
            out.close()
