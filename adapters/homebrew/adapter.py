"""The Homebrew adapter: DMR repeaters sign in to us."""

import asyncio
import errno
import socket
from typing import ClassVar

from adapters.base import Adapter, Capability, Emit, Granting, RadioTraits
from adapters.errors import AdapterError, Busy, InvalidSettings, NotSupported, Unreachable
from adapters.events import DONE, Command, KeyChannel, Online, Outcome, UnkeyChannel
from adapters.homebrew.master import Master
from adapters.homebrew.settings import HomebrewSettings
from adapters.homebrew.station import now


class HomebrewAdapter(Adapter):
    """A DMR system whose repeaters sign in to us. A channel is ``"{slot}/{talkgroup}"``."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.KEY})
    traits: ClassVar[RadioTraits] = RadioTraits(
        granting=Granting.LOCAL,
        identifies_talker=True,
        resource="timeslot",
        hold_s=1.0,
        echo_s=0.2,
    )
    Settings = HomebrewSettings
    settings: HomebrewSettings

    _master: Master | None = None

    @property
    def local_address(self) -> tuple[str, int] | None:
        """Host and port that repeaters reach us at; None while `run` is not up."""
        return self._master.local_address() if self._master else None

    async def run(self, emit: Emit) -> None:
        """Listen, emit `Online`, report until cancelled.

        Raises: Busy when the port is in use; InvalidSettings when the address is not ours.
        """
        settings = self.settings
        master = Master(settings, self.channels, emit, self.traits.echo_s)
        try:
            await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: master, local_addr=(settings.host, settings.port)
            )
        except OSError as error:
            raise _cannot_listen(error, settings) from error
        self._master = master
        try:
            emit(Online(at=now()))
            master.report_health()
            await master.failed
        except OSError as error:
            message = f"the UDP socket failed: {error.strerror or error}"
            raise Unreachable(message, device=_where(settings)) from error
        finally:
            self._master = None
            master.close()
            await master.closed

    async def execute(self, command: Command) -> Outcome:
        """Key or unkey a talkgroup. Raises: Unreachable while `run` is not up."""
        if not isinstance(command, KeyChannel | UnkeyChannel):
            raise NotSupported("a DMR system over Homebrew can only be keyed and unkeyed")
        master = self._master
        if master is None:
            raise Unreachable("not listening for repeaters yet", device=_where(self.settings))
        if isinstance(command, KeyChannel):
            return master.key(command)
        master.unkey(command.transmission)
        return DONE


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
