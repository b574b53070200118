"""One WebSocket connection: commands out, answers matched by sequence number."""

from collections import OrderedDict
from collections.abc import Callable

import aiohttp

from adapters.errors import AdapterError, Unreachable
from adapters.zello import wire

UNANSWERED = 1024

Answered = Callable[[wire.Response], None]


class Link:
    """Writes to the socket. device: what errors name, the endpoint without credentials."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, device: str) -> None:
        self.socket = socket
        self.device = device
        self._seq = 0
        self._unanswered: OrderedDict[int, Answered] = OrderedDict()

    async def ask(self, command: Callable[[int], str], answered: Answered) -> None:
        """Send what `command` makes of a sequence number; its answer goes to `answered`.

        Raises: Unreachable when the connection is gone.
        """
        self._seq += 1
        self._unanswered[self._seq] = answered
        if len(self._unanswered) > UNANSWERED:
            self._unanswered.popitem(last=False)
        try:
            await self.socket.send_str(command(self._seq))
        except (ConnectionError, aiohttp.ClientError) as error:
            raise self.lost("it broke off") from error

    async def send_audio(self, packet: bytes) -> None:
        """Send a binary packet. Raises: Unreachable when the connection is gone."""
        try:
            await self.socket.send_bytes(packet)
        except (ConnectionError, aiohttp.ClientError) as error:
            raise self.lost("it broke off") from error

    def answer(self, response: wire.Response) -> bool:
        """Hand an answer to who waits for it; false when nobody does."""
        answered = self._unanswered.pop(response.seq, None)
        if answered is None:
            return False
        answered(response)
        return True

    def lost(self, reason: str) -> AdapterError:
        return Unreachable(f"the connection is gone: {reason}", device=self.device)
