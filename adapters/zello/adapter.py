"""The Zello adapter: one account on one server, with its channels."""

import asyncio
from typing import ClassVar

import aiohttp

from adapters.base import Adapter, Capability, Emit, Granting, RadioTraits
from adapters.errors import (
    AdapterError,
    AuthenticationFailed,
    InvalidSettings,
    NotSupported,
    ProtocolViolation,
    TimedOut,
    Unreachable,
    reason_of,
)
from adapters.events import (
    DONE,
    Command,
    KeyChannel,
    Outcome,
    SendLocation,
    SendText,
    UnkeyChannel,
)
from adapters.zello.link import Link
from adapters.zello.session import Session
from adapters.zello.settings import ZelloSettings

CONNECT_S = 10.0
PING_S = 20.0
CLOSE_S = 1.0


class ZelloAdapter(Adapter):
    """Zello channels through the account of the gateway. A channel's address is its name."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {Capability.KEY, Capability.TEXT, Capability.LOCATION}
    )
    traits: ClassVar[RadioTraits] = RadioTraits(
        granting=Granting.ASKS,
        can_tell=True,
        identifies_talker=True,
        carries_alias=False,
        resource="channel",
        hold_s=3.0,
    )
    Settings = ZelloSettings
    settings: ZelloSettings

    _session: Session | None = None
    _refresh_token: str = ""

    def take_over(self, before: Adapter) -> None:
        """The refresh token: where the auth token has run out meanwhile, nothing else lets us back
        in. It stands for one account at one server."""
        if isinstance(before, ZelloAdapter) and _account(before) == _account(self):
            self._refresh_token = before._refresh_token

    async def run(self, emit: Emit) -> None:
        """Log on, emit `Online`, report until cancelled.

        Raises: AuthenticationFailed; InvalidSettings for channels that the server does not let
        us have; Unreachable when the connection is lost.
        """
        if not self.channels:
            message = "no channel is registered, and Zello lets nobody log on without one"
            raise InvalidSettings(message, device=self.settings.endpoint)
        token = self._refresh_token
        failure, refused = await self._connect(emit, token)
        if refused and token:
            self._refresh_token = ""  # it has run out; the account itself may still be good
            failure, _ = await self._connect(emit, "")
        raise failure

    async def execute(self, command: Command) -> Outcome:
        """Key, unkey, send a text or a place. Raises: Unreachable while there is no connection;
        TimedOut."""
        if not isinstance(command, KeyChannel | UnkeyChannel | SendText | SendLocation):
            raise NotSupported("a Zello channel can be keyed, unkeyed, sent texts and places")
        session = self._session
        if session is None:
            raise Unreachable("not connected", device=self.settings.endpoint)
        match command:
            case KeyChannel():
                return await session.key(command)
            case SendText():
                return await session.send_text(command)
            case SendLocation():
                return await session.send_location(command)
        await session.unkey(command.transmission)
        return DONE

    async def _connect(self, emit: Emit, refresh_token: str) -> tuple[AdapterError, bool]:
        """What ended the connection, and whether that was the answer to the logon.

        Raises: AdapterError when there is no connection at all.
        """
        endpoint = self.settings.endpoint
        async with aiohttp.ClientSession() as http:
            link = Link(await _open(http, endpoint), endpoint)
            session: Session | None = None
            try:
                async with asyncio.TaskGroup() as tasks:
                    session = Session(
                        link=link,
                        settings=self.settings,
                        channels=self.channels,
                        emit=emit,
                        hold_s=self.traits.hold_s,
                        tasks=tasks,
                    )
                    failure = await self._serve(session, refresh_token)
                    await self._end(session)
            finally:
                # A cancelled run comes here with the connection still up.
                if session is not None:
                    await self._end(session)
                await link.socket.close()
        return failure, session.refused

    async def _serve(self, session: Session, refresh_token: str) -> AdapterError:
        """Gives, and does not raise, what ends the connection: a task group would wrap it."""
        auth_token = "" if refresh_token else self.settings.auth_token.get_secret_value()
        try:
            self._refresh_token = await session.log_on(
                auth_token=auth_token, refresh_token=refresh_token
            )
        except AdapterError as error:
            return error
        self._session = session
        return await session.read()

    async def _end(self, session: Session) -> None:
        self._session = None
        await session.close()


def _account(adapter: ZelloAdapter) -> tuple[str, str]:
    return adapter.settings.endpoint, adapter.settings.username


async def _open(http: aiohttp.ClientSession, endpoint: str) -> aiohttp.ClientWebSocketResponse:
    try:
        async with asyncio.timeout(CONNECT_S):
            return await http.ws_connect(
                endpoint, heartbeat=PING_S, timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_S)
            )
    except TimeoutError:
        message = f"nobody answered within {CONNECT_S:g} s"
        raise TimedOut(message, device=endpoint) from None
    except aiohttp.InvalidURL as error:
        raise InvalidSettings("this is not a URL", device=endpoint) from error
    except aiohttp.WSServerHandshakeError as error:
        if error.status in (401, 403):
            message = f"the server refused the connection (HTTP {error.status})"
            raise AuthenticationFailed(message, device=endpoint) from error
        message = f"this is not a Zello server: {error.message} (HTTP {error.status})"
        raise ProtocolViolation(message, device=endpoint) from error
    except aiohttp.ClientConnectorError as error:
        raise Unreachable(
            f"cannot connect: {reason_of(error.os_error)}", device=endpoint
        ) from error
    except (aiohttp.ClientError, OSError) as error:
        raise Unreachable(f"cannot connect: {error}", device=endpoint) from error
