"""A Zello Channel API server on loopback, with the faults that tests need."""

import hmac
import itertools
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from simulators.waiting import Changes
from simulators.zello_server import wire
from simulators.zello_server.channel import Channel
from simulators.zello_server.phone import Phone
from simulators.zello_server.record import Kind, Log
from simulators.zello_server.session import Session
from simulators.zello_server.wire import ErrorText, Refused

MAX_REFRESH_TOKENS = 1000


class ZelloServer:
    """The server; use as an async context manager.

    accounts: passwords by username. channels: their names; names not here are answered as the
    service answers what it cannot find. port: 0 for a free one, then in `url`. require_token: as
    consumer Zello, which wants an auth or refresh token; without it as Zello Work. ping_s: time
    between WebSocket pings, and for the pong. ready_delay_s: from logon to channel status. clock:
    seconds since 1970, by which auth tokens run out.

    Faults, to be set at any time: refuse_logon and refuse_start hold the error text to answer
    with; silent takes everything and says nothing; delay_s is how late all that it says comes; a
    channel's lose_ends tells nobody of the end of a talk.
    """

    def __init__(
        self,
        *,
        accounts: Mapping[str, str],
        channels: Iterable[str],
        host: str = "127.0.0.1",
        port: int = 0,
        require_token: bool = False,
        ping_s: float = 30.0,
        ready_delay_s: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.accounts = dict(accounts)
        self.host, self.port = host, port
        self.require_token = require_token
        self.ping_s = ping_s
        self.ready_delay_s = ready_delay_s
        self.clock = clock
        self.log = Log()
        self.channels = {name: Channel(name, self.log) for name in channels}
        self.phones: dict[str, Phone] = {}
        self.sessions: set[Session] = set()
        self.refuse_logon = ""
        self.refuse_start = ""
        self.silent = False
        self.delay_s = 0.0
        self._changes = Changes()
        self._server: Server | None = None
        self._messages = itertools.count(0x1000000)
        self._refresh: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        await self.up()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for phone in self.phones.values():
            phone.leave()
        await self.down()

    @property
    def url(self) -> str:
        return f"ws://{self.host}:{self.port}/ws"

    # --- phones ---------------------------------------------------------------------------------

    def phone(self, username: str, channels: Iterable[str] | None = None) -> Phone:
        """The phone with this username, made and joined at the first call.

        channels: those it is on, None for all. Raises: KeyError for a channel that is not there.
        """
        if username not in self.phones:
            names = self.channels if channels is None else channels
            on = {name: self.channels[name] for name in names}
            self.phones[username] = Phone(username, on, self._changes)
            self.phones[username].join()
        return self.phones[username]

    # --- faults ---------------------------------------------------------------------------------

    def end_stream(self, channel: str) -> bool:
        """End who talks there, from the server's side; False if nobody does."""
        talking = self.channels[channel].talk is not None
        self.channels[channel].end("server", tell_sender=True)
        return talking

    def drop_connections(self) -> int:
        """Break every connection without a word; gives how many."""
        dropped = list(self.sessions)
        for session in dropped:
            session.abort()
        return len(dropped)

    def forget_tokens(self) -> None:
        """Every refresh token that was given out is worth nothing from now on."""
        self._refresh.clear()

    def say_error(self, text: str) -> None:
        """Send on_error to every connection."""
        for session in self.sessions:
            session.deliver(wire.error(text))

    async def down(self) -> None:
        """Stop listening and close every connection."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def up(self) -> None:
        """Listen, on the port of before if there was one."""
        self._server = await serve(
            self._serve,
            self.host,
            self.port,
            ping_interval=self.ping_s,
            ping_timeout=self.ping_s,
            compression=None,
            process_request=_only_ws,
            max_size=1 << 20,
            close_timeout=1,
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    # --- what sessions ask ----------------------------------------------------------------------

    def channel(self, name: str) -> Channel | None:
        """By name in any case, as the service's logon takes it (its issues 233 and 236)."""
        folded = name.casefold()
        return next((c for c in self.channels.values() if c.name.casefold() == folded), None)

    def admit(self, logon: wire.Logon) -> str:
        """The username that a logon is for. Raises: Refused."""
        if self.refuse_logon:
            raise Refused(self.refuse_logon)
        if self.require_token and not (logon.auth_token or logon.refresh_token):
            raise Refused(ErrorText.NOT_ENOUGH_PARAMS)
        if logon.auth_token:
            wire.check_token(logon.auth_token, self.clock())
        username = self._named(logon)
        self._replace(username)
        return username

    def _named(self, logon: wire.Logon) -> str:
        """Who a refresh token, a password or nothing but an auth token stands for."""
        refreshed = self._refresh.get(logon.refresh_token)
        if logon.refresh_token and (refreshed is None or logon.username not in ("", refreshed)):
            raise Refused(ErrorText.NOT_AUTHORIZED)
        if refreshed is not None and not logon.password:
            return refreshed
        if not logon.username and logon.auth_token:
            return f"anonymous{self.next_message()}"
        if not logon.username or not logon.password:
            raise Refused(ErrorText.NOT_ENOUGH_PARAMS)
        password = self.accounts.get(logon.username, "")
        if not password or not hmac.compare_digest(password.encode(), logon.password.encode()):
            raise Refused(ErrorText.NOT_AUTHORIZED)
        return logon.username

    def issue_refresh_token(self, username: str) -> str:
        token = secrets.token_urlsafe(32)
        self._refresh[token] = username
        while len(self._refresh) > MAX_REFRESH_TOKENS:
            del self._refresh[next(iter(self._refresh))]
        return token

    def next_message(self) -> int:
        return next(self._messages)

    def _replace(self, username: str) -> None:
        """An account is on one connection: an older one is closed."""
        for session in self.sessions:
            if session.username == username and session.logged_on:
                session.leave("replaced")
                session.hang_up(ErrorText.CLOSED)

    async def _serve(self, connection: ServerConnection) -> None:
        self.log.add(Kind.CONNECT)
        session = Session(self, connection)
        self.sessions.add(session)
        try:
            await session.run()
        finally:
            self.sessions.discard(session)
            self._changes.notify()


def _only_ws(connection: ServerConnection, request: Request) -> Response | None:
    """The API is at /ws, and at /ws/NETWORK for networks of their own."""
    if request.path == "/ws" or request.path.startswith("/ws/"):
        return None
    return connection.respond(HTTPStatus.NOT_FOUND, "the API is at /ws\n")
