"""One WebSocket connection: commands in, answers and events out."""

import asyncio
import itertools
import json
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from simulators.zello_server import wire
from simulators.zello_server.channel import Channel, Stream
from simulators.zello_server.record import Kind
from simulators.zello_server.wire import ErrorText, Refused

if TYPE_CHECKING:
    from simulators.zello_server.server import ZelloServer

log = logging.getLogger(__name__)

MAX_OUTBOX = 2000
MAX_ENDED = 64


class Session:
    """A client's connection; `run` lives as long as it does."""

    def __init__(self, server: "ZelloServer", connection: ServerConnection) -> None:
        self.username = ""
        self.platform_name = ""
        self.logged_on = False
        self.channels: dict[str, Channel | None] = {}
        self.ready: set[str] = set()
        self._server = server
        self._connection = connection
        self._listen_only = False
        self._streams = itertools.count(1)
        self._outgoing: dict[int, Stream] = {}
        self._outbox: asyncio.Queue[tuple[float, str | bytes | None]] = asyncio.Queue(MAX_OUTBOX)
        self._now_s = asyncio.get_running_loop().time
        self._timers: list[asyncio.TimerHandle] = []
        self._commands: dict[str, Callable[[wire.Message], wire.Message]] = {
            "start_stream": self._start_stream,
            "stop_stream": self._stop_stream,
            "send_text_message": self._send_text,
            "send_location": self._send_location,
        }

    async def run(self) -> None:
        """Serve until either side closes."""
        writer = asyncio.create_task(self._write())
        try:
            async for data in self._connection:
                self._receive(data)
        except ConnectionClosed:
            pass
        finally:
            writer.cancel()
            await asyncio.wait([writer])
            self.leave("disconnected")

    def leave(self, reason: str) -> None:
        """Out of every channel; what it was saying ends."""
        for timer in self._timers:
            timer.cancel()
        for channel in self.channels.values():
            if channel is not None:
                channel.leave(self)
        self.channels.clear()
        if self.logged_on:
            self.logged_on = False
            self._server.log.add(Kind.DISCONNECT, username=self.username, detail=reason)

    def abort(self) -> None:
        """The connection is gone without a word."""
        self._connection.transport.abort()

    def hang_up(self, text: str) -> None:
        """Say why, then close."""
        self.deliver(wire.error(text))
        self._put(None)

    # --- as a member of its channels ------------------------------------------------------------

    def next_stream(self) -> int:
        return next(self._streams)

    def deliver(self, message: wire.Message) -> None:
        self._put(json.dumps(message, ensure_ascii=False))

    def deliver_audio(self, packet: wire.AudioPacket) -> None:
        self._put(packet.encode())

    def _put(self, data: str | bytes | None) -> None:
        if self._server.silent:
            return
        if self._outbox.full():
            log.warning("connection of %s reads too slowly and is dropped", self.username)
            self.abort()
            return
        self._outbox.put_nowait((self._now_s() + self._server.delay_s, data))

    async def _write(self) -> None:
        try:
            while True:
                due_s, data = await self._outbox.get()
                if due_s > self._now_s():
                    await asyncio.sleep(due_s - self._now_s())
                if data is None:
                    break
                await self._connection.send(data)
            await self._connection.close()
        except ConnectionClosed:
            return

    # --- commands -------------------------------------------------------------------------------

    def _receive(self, data: str | bytes) -> None:
        if isinstance(data, bytes):
            self._audio(data)
            return
        sequence = None
        try:
            message = wire.read_command(data)
            sequence = wire.sequence_of(message)
            answer = self._obey(message)
        except Refused as refused:
            self._refuse(sequence, refused.text)
            return
        if sequence is not None:
            self.deliver({"seq": sequence, "success": True} | answer)
        if message["command"] == "logon":
            self._enter()

    def _refuse(self, sequence: int | None, text: str) -> None:
        self._server.log.add(Kind.INVALID, username=self.username, detail=text)
        if sequence is None:
            self.deliver(wire.error(text))
        else:
            self.deliver({"seq": sequence, "error": text})

    def _obey(self, message: wire.Message) -> wire.Message:
        command = message["command"]
        if command == "logon":
            return self._logon(message)
        if not self.logged_on:
            raise Refused(ErrorText.NOT_LOGGED_IN)
        if command == "send_image":
            raise Refused(ErrorText.INVALID_REQUEST)
        if command not in self._commands:
            raise Refused(ErrorText.UNKNOWN_COMMAND)
        return self._commands[command](message)

    def _logon(self, message: wire.Message) -> wire.Message:
        if self.logged_on:
            raise Refused(ErrorText.INVALID_REQUEST)
        logon = None
        try:
            logon = wire.read_logon(message)
            self.username = self._server.admit(logon)
        except Refused as refused:
            username = logon.username if logon is not None else ""
            self._server.log.add(Kind.LOGON_REFUSED, username=username, detail=refused.text)
            raise
        self.logged_on = True
        self.platform_name = logon.platform_name
        self._listen_only = logon.listen_only or not logon.username
        self.channels = {name: self._server.channel(name) for name in logon.channels}
        self._server.log.add(Kind.LOGON, username=self.username, detail=", ".join(logon.channels))
        return {"refresh_token": self._server.issue_refresh_token(self.username)}

    def _enter(self) -> None:
        """Connect to the channels, at once or after the server's delay."""
        if self._server.ready_delay_s > 0:
            loop = asyncio.get_running_loop()
            self._timers.append(loop.call_later(self._server.ready_delay_s, self._join))
        else:
            self._join()

    def _join(self) -> None:
        for name, channel in self.channels.items():
            if channel is None:
                self.deliver(
                    wire.channel_status(name, online=False, users=0, error="unable to verify")
                )
                continue
            self.ready.add(name)
            channel.join(self, name)
            if name != channel.name:
                self.deliver(channel.status(name))

    def _start_stream(self, message: wire.Message) -> wire.Message:
        name = self._channel_name(message)
        try:
            channel = self._may_talk(name)
            audio = wire.read_audio(message)
            if self._server.refuse_start:
                raise Refused(self._server.refuse_start)
            stream = channel.start(self, audio)
        except Refused as refused:
            self._server.log.add(
                Kind.START_REFUSED, username=self.username, channel=name, detail=refused.text
            )
            raise
        self._outgoing[stream.id] = stream
        if len(self._outgoing) > MAX_ENDED:
            self._forget_ended()
        return {"stream_id": stream.id}

    def _stop_stream(self, message: wire.Message) -> wire.Message:
        number = message.get("stream_id")
        stream = self._outgoing.get(number) if isinstance(number, int) else None
        if number is None:
            raise Refused(ErrorText.NOT_ENOUGH_PARAMS)
        if stream is None or stream.ended:
            raise Refused(ErrorText.STOP_FAILED)
        stream.channel.end("stopped")
        return {}

    def _send_text(self, message: wire.Message) -> wire.Message:
        channel = self._may_talk(self._channel_name(message))
        if not channel.texting:
            raise Refused(ErrorText.INVALID_REQUEST)
        text, for_user = wire.read_text(message)
        channel.text(self, self._server.next_message(), text, for_user)
        return {}

    def _send_location(self, message: wire.Message) -> wire.Message:
        channel = self._may_talk(self._channel_name(message))
        if not channel.locations:
            raise Refused(ErrorText.INVALID_REQUEST)
        location, for_user = wire.read_location(message)
        channel.location(self, self._server.next_message(), location, for_user)
        return {}

    def _audio(self, data: bytes) -> None:
        try:
            packet = wire.read_packet(data)
            stream = self._outgoing.get(packet.stream)
            if stream is None:
                raise Refused(ErrorText.SEND_FAILED)
        except Refused as refused:
            self._refuse(None, refused.text)
            return
        if not stream.ended:
            stream.channel.relay(stream, packet.data)

    def _channel_name(self, message: wire.Message) -> str:
        """A connection to one channel need not name it."""
        name = message.get("channel")
        if name is None and len(self.channels) == 1:
            return next(iter(self.channels))
        if name is None:
            raise Refused(ErrorText.NOT_ENOUGH_PARAMS)
        if not isinstance(name, str):
            raise Refused(ErrorText.INVALID_REQUEST)
        return name

    def _may_talk(self, name: str) -> Channel:
        channel = self.channels.get(name)
        if channel is None or name not in self.ready:
            raise Refused(ErrorText.NOT_READY)
        if self._listen_only:
            raise Refused(ErrorText.LISTEN_ONLY)
        return channel

    def _forget_ended(self) -> None:
        self._outgoing = {
            number: stream for number, stream in self._outgoing.items() if not stream.ended
        }
