"""One connection to a Zello server, from logon until it ends."""

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial

import aiohttp

from adapters.base import Emit
from adapters.errors import (
    AdapterError,
    AuthenticationFailed,
    InvalidSettings,
    ProtocolViolation,
    TimedOut,
    Unreachable,
)
from adapters.events import (
    DONE,
    ChannelHealth,
    Event,
    FloorIdle,
    KeyChannel,
    Malformed,
    Online,
    Outcome,
    Result,
    SendLocation,
    SendText,
    TextMessage,
    UnitLocation,
)
from adapters.zello import wire
from adapters.zello.incoming import IncomingStreams
from adapters.zello.link import Link
from adapters.zello.outgoing import OutgoingStreams
from adapters.zello.settings import ZelloSettings

logger = logging.getLogger(__name__)

LOGON_S = 10.0
FIRST_STATUS_S = 10.0

_PASSES = frozenset({"internal server error", "server closed connection"})
_CONNECTION_ENDS = frozenset({"server closed connection", "not logged in"})


class Session:
    """Reads what the server says and tells it as events; executes commands meanwhile.

    hold_s: a stream without packets for so long is lost. refused: the server does not take what we
    log on with.
    """

    def __init__(
        self,
        *,
        link: Link,
        settings: ZelloSettings,
        channels: Sequence[str],
        emit: Emit,
        hold_s: float,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self.refused = False
        self._loop = asyncio.get_running_loop()
        self._link = link
        self._settings = settings
        self._emit = emit
        self._incoming = IncomingStreams(hold_s)
        self._outgoing = OutgoingStreams(link, tasks)
        self._addresses = {channel.casefold(): channel for channel in channels}
        self._spelling = {channel: channel for channel in channels}
        self._health: dict[str, tuple[str, str]] = {}
        self._refused: dict[str, dict[str, str]] = {}
        self._misconfigured: set[str] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._failure: AdapterError | None = None

    # --- life ---

    async def log_on(self, *, auth_token: str = "", refresh_token: str = "") -> str:
        """Log on with all channels; gives the refresh token for the next connection.

        Raises: AuthenticationFailed, InvalidSettings, TimedOut or another AdapterError.
        """
        answer: asyncio.Future[wire.Response] = self._loop.create_future()
        await self._link.ask(
            lambda seq: wire.encode_logon(
                seq=seq,
                channels=list(self._spelling),
                username=self._settings.username,
                password=self._settings.password.get_secret_value(),
                auth_token=auth_token,
                refresh_token=refresh_token,
                platform_name=self._settings.platform_name,
            ),
            answer.set_result,
        )
        try:
            async with asyncio.timeout(LOGON_S):
                while not answer.done():
                    self._handle(await self._link.socket.receive())
                    if self._failure is not None:
                        raise self._failure
        except TimeoutError:
            message = f"the server did not answer the logon within {LOGON_S:g} s"
            raise TimedOut(message, device=self._link.device) from None
        response = answer.result()
        if response.error:
            self.refused = response.error not in _PASSES
            raise self._logon_refused(response.error, auth_token)
        return response.refresh_token

    async def read(self) -> AdapterError:
        """Report until the connection ends; gives why it did."""
        self._emit(Online(at=now()))
        self._set_timer("status", self._loop.time() + FIRST_STATUS_S, self._miss_channels)
        while self._failure is None:
            self._handle(await self._link.socket.receive())
        self._report(self._incoming.all_lost(now()))
        return self._failure

    async def close(self) -> None:
        """Stop our streams and all timers."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        await self._outgoing.stop_all()

    def _logon_refused(self, error: str, auth_token: str) -> AdapterError:
        device = self._link.device
        if error == "not authorized":
            message = f"the server refused the account {self._settings.username!r}: "
            message += _what_to_mend(auth_token)
            return AuthenticationFailed(message, device=device)
        if error == "not enough params":
            message = "the server misses a password or token; complete the settings"
            return InvalidSettings(message, device=device)
        if "channel" in error:
            names = ", ".join(self._spelling)
            message = f"the server refused the channels ({names}): {error}"
            return InvalidSettings(message, device=device)
        return ProtocolViolation(f"the server refused the logon: {error}", device=device)

    # --- from the server ---

    def _handle(self, message: aiohttp.WSMessage) -> None:
        try:
            match message.type:
                case aiohttp.WSMsgType.BINARY:
                    self._handle_packet(wire.decode_binary(message.data))
                case aiohttp.WSMsgType.TEXT:
                    self._handle_message(wire.decode_text(message.data))
                case aiohttp.WSMsgType.ERROR:
                    reason = f"it sent what is no WebSocket message: {message.data}"
                    self._failure = ProtocolViolation(reason, device=self._link.device)
                case _:
                    code = self._link.socket.close_code
                    self._failure = self._link.lost(f"the server closed it (code {code})")
        except wire.MalformedMessageError as error:
            self._emit(Malformed(at=now(), reason=str(error), peer=self._link.device))

    def _handle_packet(self, packet: wire.AudioPacket | wire.ImagePacket) -> None:
        if isinstance(packet, wire.AudioPacket):
            self._report(self._incoming.packet(packet.stream_id, self._loop.time(), now()))

    def _handle_message(self, message: wire.ServerMessage) -> None:
        match message:
            case wire.StreamStarted():
                self._start_incoming(message)
            case wire.StreamStopped():
                self._stop_stream(message.stream_id)
            case wire.Response():
                if not self._link.answer(message):
                    logger.debug("zello.unexpected_answer", extra={"seq": message.seq})
            case wire.ChannelStatus():
                self._note_status(message)
            case wire.TextReceived() if not message.private_to and not self._is_me(message.sender):
                self._emit(
                    TextMessage(
                        at=now(),
                        address=self._address(message.channel),
                        unit=message.sender,
                        text=message.text,
                    )
                )
            case wire.LocationReceived() if not message.private_to and not self._is_me(
                message.sender
            ):
                self._emit(
                    UnitLocation(
                        at=now(),
                        unit=message.sender,
                        longitude_deg=message.longitude_deg,
                        latitude_deg=message.latitude_deg,
                        place=message.place,
                    )
                )
            case wire.ServerError():
                self._note_error(message.error)

    def _start_incoming(self, start: wire.StreamStarted) -> None:
        if start.private_to:
            return  # one account hears it; it is not talk on the channel
        address = self._address(start.channel)
        caused_by = None
        if self._is_me(start.sender):  # our account, signed in twice
            caused_by = self._outgoing.latest_on(address) or f"account {start.sender}"
        self._report(
            self._incoming.started(
                stream_id=start.stream_id,
                address=address,
                sender=start.sender,
                caused_by=caused_by,
                now_s=self._loop.time(),
                at=now(),
            )
        )

    def _stop_stream(self, stream_id: int) -> None:
        ours = self._outgoing.stopped(stream_id)
        if ours is None:
            self._report(self._incoming.stopped(stream_id, "released", now()))
            return
        self._emit(
            FloorIdle(
                at=now(),
                address=ours.address,
                stream=str(stream_id),
                reason="system",
                caused_by=ours.transmission,
            )
        )

    def _note_status(self, status: wire.ChannelStatus) -> None:
        address = self._address(status.channel)
        if address in self._spelling:
            self._spelling[address] = status.channel
        if status.online:
            self._misconfigured.discard(address)
            if self._health.get(address, ("", ""))[0] != "degraded":  # what is taken again mends it
                self._tell_health(address, "ok")
            return
        self._report(self._incoming.channel_lost(address, now()))
        self._tell_health(address, "down", status.error or "the server says it is offline")
        if status.error_type == "configuration":
            self._misconfigured.add(address)
        if self._misconfigured >= self._spelling.keys():
            message = f"this account cannot connect to any of its channels: {status.error}"
            self._failure = InvalidSettings(message, device=self._link.device, address=address)

    def _note_error(self, error: str) -> None:
        if error in _CONNECTION_ENDS:
            message = f"the server ended the connection: {error}"
            self._failure = Unreachable(message, device=self._link.device)
            return
        reason = f"the server reports an error: {error}"
        self._emit(Malformed(at=now(), reason=reason, peer=self._link.device))

    def _miss_channels(self) -> None:
        """Names are case-sensitive, and the server says nothing about one that it does not know."""
        for address in self._spelling:
            if address not in self._health:
                reason = "the server says nothing of it; check the name, capitals included"
                self._tell_health(address, "down", reason)

    def _tell_health(self, address: str, health: str, reason: str = "") -> None:
        if self._health.get(address) != (health, reason):
            self._health[address] = (health, reason)
            self._emit(ChannelHealth(at=now(), address=address, health=health, reason=reason))

    # --- commands ---

    async def key(self, command: KeyChannel) -> Outcome:
        channel = self._spelling.get(command.address)
        if channel is None:
            return self._unknown(command.address)
        return await self._outgoing.key(command, channel)

    async def unkey(self, transmission: str) -> None:
        await self._outgoing.unkey(transmission)

    async def send_text(self, command: SendText) -> Outcome:
        """Send a text; `done` once it is written, for a start that follows must not wait for it.

        What the server says against it later is told as the health of the channel.
        """
        channel = self._spelling.get(command.address)
        if channel is None:
            return self._unknown(command.address)
        if len(command.text.encode()) > wire.TEXT_LIMIT_BYTES:
            reason = f"a text may have {wire.TEXT_LIMIT_BYTES} bytes"
            return Outcome(result=Result.REFUSED, reason=reason)

        await self._link.ask(
            lambda seq: wire.encode_text_message(seq=seq, channel=channel, text=command.text),
            partial(self._answered, command.address, "texts"),
        )
        return DONE

    async def send_location(self, command: SendLocation) -> Outcome:
        """Show a place on the channel; `done` once it is written, as with a text."""
        channel = self._spelling.get(command.address)
        if channel is None:
            return self._unknown(command.address)
        await self._link.ask(
            lambda seq: wire.encode_location(
                seq=seq,
                channel=channel,
                longitude_deg=command.longitude_deg,
                latitude_deg=command.latitude_deg,
                accuracy_m=command.accuracy_m,
                place=command.place,
            ),
            partial(self._answered, command.address, "places"),
        )
        return DONE

    def _answered(self, address: str, what: str, response: wire.Response) -> None:
        """A channel that refuses one kind is degraded until it takes that kind again."""
        refused = self._refused.setdefault(address, {})
        if response.error:
            refused[what] = f"{what} are refused: {response.error}"
        else:
            refused.pop(what, None)
        if refused:
            self._tell_health(address, "degraded", "; ".join(refused.values()))
        elif self._health.get(address, ("", ""))[0] == "degraded":
            self._tell_health(address, "ok")

    def _unknown(self, address: str) -> Outcome:
        reason = f"{address!r} is not among the channels of this connection"
        return Outcome(result=Result.REFUSED, reason=reason)

    # --- small things ---

    def _address(self, channel: str) -> str:
        """Our word for a channel; the server may spell its name in other capitals."""
        return self._addresses.get(channel.casefold(), channel)

    def _is_me(self, sender: str) -> bool:
        return sender.casefold() == self._settings.username.casefold()

    def _report(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, FloorIdle) and self._outgoing.is_running(event.caused_by):
                # An end that names a transmission says that it is over, and ours is not.
                event = dataclasses.replace(event, caused_by=None)
            self._emit(event)
        self._arm_expiry()

    def _arm_expiry(self) -> None:
        at_s = self._incoming.next_expiry_s()
        if at_s is not None and "expiry" not in self._timers and self._failure is None:
            self._set_timer("expiry", at_s, self._expire)

    def _expire(self) -> None:
        self._report(self._incoming.expire(self._loop.time(), now()))

    def _set_timer(self, name: str, at_s: float, callback: Callable[[], None]) -> None:
        def fire() -> None:
            del self._timers[name]
            callback()

        self._timers[name] = self._loop.call_at(at_s, fire)


def _what_to_mend(auth_token: str) -> str:
    if not auth_token:
        return "check name and password"
    ends = wire.token_ends(auth_token)
    if ends is not None and ends <= now():
        return f"its auth_token ran out at {ends:%Y-%m-%d %H:%M} UTC, make a new one"
    return "check name, password and auth_token"


def now() -> datetime:
    """The time of an event that happens now."""
    return datetime.now(UTC)
