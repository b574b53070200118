"""A phone: a member of channels inside the server's process."""

import asyncio
import dataclasses
import itertools
import time

from simulators.waiting import Changes
from simulators.zello_server import wire
from simulators.zello_server.channel import Channel, Stream
from simulators.zello_server.wire import Refused

MAX_HEARD = 1000
PACKET_MS = 60
CODEC_HEADER = "gD4BPA=="
"""16,000 Hz, 1 frame per packet, 60 ms."""

SILENCE = b"\x58"
"""An Opus packet of 60 ms wideband with nothing in it (RFC 6716, 3.1 and 3.2.1)."""


@dataclasses.dataclass(slots=True, kw_only=True)
class HeardStream:
    """A talk that a phone heard. started_s, ended_s: monotonic clock. gaps_ms: time between its
    packets, the first 1,000."""

    stream: int
    channel: str
    sender: str
    for_user: str
    started_s: float
    ended_s: float | None = None
    packets: int = 0
    gaps_ms: list[float] = dataclasses.field(default_factory=list)
    last_s: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HeardText:
    channel: str
    sender: str
    text: str
    at_s: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HeardLocation:
    channel: str
    sender: str
    longitude_deg: float
    latitude_deg: float
    accuracy_m: float
    address: str
    at_s: float


class Phone:
    """One phone; `ZelloServer.phone` makes it. heard, texts and locations keep the last 1,000."""

    def __init__(self, username: str, channels: dict[str, Channel], changes: Changes) -> None:
        self.username = username
        self.channels = channels
        self.heard: list[HeardStream] = []
        self.texts: list[HeardText] = []
        self.locations: list[HeardLocation] = []
        self.users_online: dict[str, int] = {}
        self.refused = 0
        self._changes = changes
        self._streams = itertools.count(1)
        self._texts = itertools.count(1)
        self._stream: Stream | None = None
        self._open: dict[int, HeardStream] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = 0.0

    @property
    def pressing(self) -> bool:
        return self._stream is not None and not self._stream.ended

    @property
    def talking_on(self) -> str:
        """The channel it talks on, empty if it does not."""
        return self._stream.channel.name if self._stream is not None and self.pressing else ""

    def press(self, channel: str, *, for_user: str = "", limit_s: float | None = None) -> bool:
        """Start to talk; silent audio follows each 60 ms. False if somebody talks there already.

        limit_s: it lets go by itself after that. Raises: KeyError if the phone is not on that
        channel.
        """
        audio = wire.Audio(codec_header=CODEC_HEADER, packet_ms=PACKET_MS, for_user=for_user)
        if self.pressing:
            self.refused += 1
            return False
        try:
            self._stream = self.channels[channel].start(self, audio)
        except Refused:
            self.refused += 1
            return False
        self._due_s = asyncio.get_running_loop().time()
        self._speak(self._stream)
        if limit_s is not None:
            asyncio.get_running_loop().call_later(limit_s, self._let_go, self._stream)
        self._changes.notify()
        return True

    def release(self) -> None:
        """Let go; nothing happens if it does not talk."""
        if self._stream is not None and self.pressing:
            self._stream.channel.end("released")
        self._quiet()

    def _let_go(self, stream: Stream) -> None:
        if stream is self._stream:
            self.release()

    async def talk(self, channel: str, *, seconds: float) -> bool:
        """Press, hold, release; True if it could talk. Cancelling it releases."""
        if not self.press(channel):
            return False
        stream = self._stream
        try:
            await asyncio.sleep(seconds)
        finally:
            if stream is not None:
                self._let_go(stream)
        return True

    def text(self, channel: str, text: str, *, for_user: str = "") -> None:
        """Raises: KeyError if the phone is not on that channel."""
        self.channels[channel].text(self, next(self._texts), text, for_user)

    def locate(
        self,
        channel: str,
        longitude_deg: float,
        latitude_deg: float,
        *,
        accuracy_m: float = 10.0,
        address: str = "",
        for_user: str = "",
    ) -> None:
        """Show where it is, in WGS-84. Raises: KeyError if the phone is not on that channel."""
        location = wire.Location(
            longitude_deg=longitude_deg,
            latitude_deg=latitude_deg,
            accuracy_m=accuracy_m,
            address=address,
        )
        self.channels[channel].location(self, next(self._texts), location, for_user)

    def leave(self) -> None:
        """Switch off: leave every channel, breaking off what it says."""
        for channel in self.channels.values():
            channel.leave(self)
        self._quiet()

    def join(self) -> None:
        for channel in self.channels.values():
            if self not in channel.members:
                channel.join(self, channel.name)

    async def wait_heard(
        self, count: int = 1, *, ended: bool = False, timeout_s: float = 30.0
    ) -> HeardStream:
        """Wait until count talks were heard (and the last ended); gives that one.

        Raises: TimeoutError.
        """
        await self._changes.until(
            lambda: (
                len(self.heard) >= count
                and (not ended or self.heard[count - 1].ended_s is not None)
            ),
            timeout_s,
        )
        return self.heard[count - 1]

    async def wait_text(self, count: int = 1, *, timeout_s: float = 30.0) -> HeardText:
        """Wait until count texts came; gives the last of them. Raises: TimeoutError."""
        await self._changes.until(lambda: len(self.texts) >= count, timeout_s)
        return self.texts[count - 1]

    async def wait_location(self, count: int = 1, *, timeout_s: float = 30.0) -> HeardLocation:
        """Wait until count places were shown; gives the last of them. Raises: TimeoutError."""
        await self._changes.until(lambda: len(self.locations) >= count, timeout_s)
        return self.locations[count - 1]

    # --- as a member of its channels ------------------------------------------------------------

    def next_stream(self) -> int:
        return next(self._streams)

    def deliver(self, message: wire.Message) -> None:
        now_s = time.monotonic()
        match message["command"]:
            case "on_stream_start":
                self._start(message, now_s)
            case "on_stream_stop":
                heard = self._open.pop(message["stream_id"], None)
                if heard is not None:
                    heard.ended_s = now_s
            case "on_text_message":
                self.texts.append(
                    HeardText(
                        channel=message["channel"],
                        sender=message["from"],
                        text=message["text"],
                        at_s=now_s,
                    )
                )
                del self.texts[:-MAX_HEARD]
            case "on_location":
                self.locations.append(
                    HeardLocation(
                        channel=message["channel"],
                        sender=message["from"],
                        longitude_deg=message["longitude"],
                        latitude_deg=message["latitude"],
                        accuracy_m=message["accuracy"],
                        address=message.get("rgl", ""),
                        at_s=now_s,
                    )
                )
                del self.locations[:-MAX_HEARD]
            case "on_channel_status":
                self.users_online[message["channel"]] = message["users_online"]
        self._changes.notify()

    def deliver_audio(self, packet: wire.AudioPacket) -> None:
        heard = self._open.get(packet.stream)
        if heard is None:
            return
        now_s = time.monotonic()
        if heard.packets and len(heard.gaps_ms) < MAX_HEARD:
            heard.gaps_ms.append((now_s - heard.last_s) * 1000)
        heard.packets += 1
        heard.last_s = now_s
        self._changes.notify()

    def _start(self, message: wire.Message, now_s: float) -> None:
        heard = HeardStream(
            stream=message["stream_id"],
            channel=message["channel"],
            sender=message["from"],
            for_user=message.get("for", ""),
            started_s=now_s,
        )
        self._open[heard.stream] = heard
        self.heard.append(heard)
        del self.heard[:-MAX_HEARD]

    def _speak(self, stream: Stream) -> None:
        """Send a packet now and the next in 60 ms, until the stream ends."""
        if stream.ended:
            return
        stream.channel.relay(stream, SILENCE)
        loop = asyncio.get_running_loop()
        self._due_s = max(self._due_s, loop.time() - PACKET_MS / 2000) + PACKET_MS / 1000
        self._timer = loop.call_at(self._due_s, self._speak, stream)

    def _quiet(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._stream = None
        self._changes.notify()
