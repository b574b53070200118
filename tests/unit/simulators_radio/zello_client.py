"""A small Zello client for the tests: plain JSON over a WebSocket, shares no code."""

import asyncio
import contextlib
import json
import struct
from collections.abc import AsyncIterator
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

START = {
    "command": "start_stream",
    "type": "audio",
    "codec": "opus",
    "codec_header": "gD4BPA==",
    "packet_duration": 60,
}


class ZelloClient:
    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.events: list[dict[str, Any]] = []
        self._seq = 0

    async def send(self, **message: Any) -> None:
        await self.connection.send(json.dumps(message))

    async def ask(self, **message: Any) -> dict[str, Any]:
        """The answer to a command; events on the way are kept."""
        self._seq += 1
        await self.send(seq=self._seq, **message)
        async with asyncio.timeout(30):
            while True:
                answer = await self.next()
                if isinstance(answer, dict) and answer.get("seq") == self._seq:
                    return answer
                if isinstance(answer, dict):
                    self.events.append(answer)

    async def next(self) -> dict[str, Any] | tuple[int, int, int, bytes]:
        """The next message: JSON, or type, stream, packet and data of a binary one."""
        async with asyncio.timeout(30):
            data = await self.connection.recv()
        if isinstance(data, bytes):
            return (*struct.unpack(">BII", data[:9]), data[9:])
        message = json.loads(data)
        assert isinstance(message, dict)
        return message

    async def event(self, command: str) -> dict[str, Any]:
        """The next event of that name, kept or to come; others are dropped."""
        while self.events:
            kept = self.events.pop(0)
            if kept.get("command") == command:
                return kept
        while True:
            message = await self.next()
            if isinstance(message, dict) and message.get("command") == command:
                return message

    async def logon(self, username: str, password: str, *channels: str) -> None:
        """Log on and wait until each channel has said its status."""
        answer = await self.ask(
            command="logon", username=username, password=password, channels=list(channels)
        )
        assert answer.get("success") is True, answer
        waiting = set(channels)
        while waiting:
            waiting.discard((await self.event("on_channel_status"))["channel"])


@contextlib.asynccontextmanager
async def client(url: str) -> AsyncIterator[ZelloClient]:
    async with connect(url, compression=None, proxy=None) as connection:
        yield ZelloClient(connection)
