"""The Homebrew adapter: DMR repeaters sign in to us, or we with somebody else's master."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Callable
from typing import ClassVar

from adapters.base import Adapter, Capability, Emit, Granting, RadioTraits
from adapters.errors import (
    AdapterError,
    Busy,
    InvalidSettings,
    NotSupported,
    Unreachable,
    reason_of,
)
from adapters.events import (
    AMBE_DMR,
    DONE,
    Command,
    KeyChannel,
    Online,
    Outcome,
    UnkeyChannel,
    VoiceFrame,
)
from adapters.homebrew.master import Master
from adapters.homebrew.openbridge import OpenBridge
from adapters.homebrew.peer import MasterPeer
from adapters.homebrew.settings import HomebrewSettings
from adapters.homebrew.station import Station, now


class HomebrewAdapter(Adapter):
    """A DMR system whose repeaters sign in to us, or whose master we are a peer of.

    A channel is ``"{slot}/{talkgroup}"``.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.KEY, Capability.VOICE})
    traits: ClassVar[RadioTraits] = RadioTraits(
        granting=Granting.LOCAL,
        identifies_talker=True,
        resource="timeslot",
        hold_s=1.0,
        echo_s=0.2,
        voice=(AMBE_DMR,),
    )
    Settings = HomebrewSettings
    settings: HomebrewSettings

    _station: Station | None = None

    @property
    def local_address(self) -> tuple[str, int] | None:
        """Host and port that repeaters reach us at; None while `run` is not up."""
        return self._station.local_address() if self._station else None

    async def run(self, emit: Emit) -> None:
        """Listen or sign in, emit `Online`, report until cancelled.

        Raises: Busy when the port is in use; InvalidSettings when the address is not ours. As a
        peer: AuthenticationFailed when the master refuses us, TimedOut when it does not answer,
        Unreachable when it is gone.
        """
        match self.settings.mode:
            case "peer":
                await self._be_a_peer(emit)
            case "openbridge":
                await self._bridge(emit)
            case _:
                await self._be_the_master(emit)

    async def _be_a_peer(self, emit: Emit) -> None:
        settings, device = self.settings, _where(self.settings)
        peer = MasterPeer(settings, self.channels, emit, self.traits.echo_s, device)
        try:
            await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: peer, remote_addr=(settings.host, settings.port)
            )
        except OSError as error:
            message = f"the master cannot be reached: {reason_of(error)}"
            raise Unreachable(message, device=device) from error
        await self._serve(peer, lambda: None)

    async def _bridge(self, emit: Emit) -> None:
        settings = self.settings
        link = OpenBridge(settings, self.channels, emit, self.traits.echo_s)
        try:
            await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: link,
                local_addr=(settings.host, settings.port),
                remote_addr=settings.far_address,
            )
        except OSError as error:
            raise _cannot_listen(error, settings) from error

        def listening() -> None:
            emit(Online(at=now()))
            link.report_health()

        await self._serve(link, listening)

    async def _be_the_master(self, emit: Emit) -> None:
        settings = self.settings
        master = Master(settings, self.channels, emit, self.traits.echo_s)
        try:
            await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: master, local_addr=(settings.host, settings.port)
            )
        except OSError as error:
            raise _cannot_listen(error, settings) from error

        def listening() -> None:
            emit(Online(at=now()))
            master.report_health()

        await self._serve(master, listening)

    async def _serve(self, station: Station, ready: Callable[[], None]) -> None:
        """Until it fails; then everything of it is gone."""
        self._station = station
        try:
            ready()
            await station.failed
        except OSError as error:
            message = f"the UDP socket failed: {error.strerror or error}"
            raise Unreachable(message, device=_where(self.settings)) from error
        finally:
            self._station = None
            station.close()
            await station.closed

    async def execute(self, command: Command) -> Outcome:
        """Key or unkey a talkgroup. Raises: Unreachable while `run` is not up."""
        if not isinstance(command, KeyChannel | UnkeyChannel):
            raise NotSupported("a DMR system over Homebrew can only be keyed and unkeyed")
        station = self._station
        if station is None:
            raise Unreachable("not listening for repeaters yet", device=_where(self.settings))
        if isinstance(command, KeyChannel):
            return station.key(command)
        station.unkey(command.transmission, drain=command.drain)
        return DONE

    async def send_voice(self, frames: AsyncIterator[VoiceFrame]) -> None:
        """Send voice in a transmission of ours; while `run` is not up there is none."""
        if self._station is not None:
            await self._station.play(frames)


def _where(settings: HomebrewSettings) -> str:
    return f"{settings.host}:{settings.port}"


def _cannot_listen(error: OSError, settings: HomebrewSettings) -> AdapterError:
    where = _where(settings)
    if error.errno == errno.EADDRINUSE:
        return Busy("this UDP port is in use by another program; choose another", device=where)
    if error.errno == errno.EACCES:
        return InvalidSettings("ports below 1024 need special rights; choose another", device=where)
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return InvalidSettings("no address of this machine; correct the host", device=where)
    return Unreachable(f"cannot listen: {error.strerror or error}", device=where)
