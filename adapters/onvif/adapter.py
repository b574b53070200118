"""The `onvif` kind: one camera or recorder."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime

from adapters.base import Adapter, Capability, Emit, MediaSource
from adapters.errors import AdapterError, InvalidSettings, NotSupported, ProtocolViolation
from adapters.events import (
    DONE,
    Alarm,
    Command,
    Found,
    Identity,
    Image,
    Inventory,
    Online,
    Outcome,
    Profile,
    RequestKeyframe,
    Result,
    RtspSource,
    Scope,
    SetClock,
    Source,
)
from adapters.onvif import discovery, events_wire, hello, ptz_wire, tls, wire
from adapters.onvif.client import OnvifClient, access_of, connect
from adapters.onvif.events import Held, PullPoint
from adapters.onvif.events_topics import Places
from adapters.onvif.ptz import MOVES, Heads
from adapters.onvif.settings import OnvifSettings
from adapters.onvif.soap import DeviceFault

_SIGNED_EVERY = 6
"""Every so many looks at the device one is signed: a changed password shows within a minute."""
_LISTENING_EVERY = 6
"""While its events come, a device is looked at so many times less: each poll is a signed look."""
_CLOCK_WRONG_S, _CLOCK_RIGHT_S = 30.0, 15.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What one conversation taught us about the device."""

    inventory: Inventory
    profiles: tuple[wire.MediaProfile, ...]
    services: Mapping[str, str]


class OnvifAdapter(Adapter):
    capabilities = frozenset(
        {
            Capability.DISCOVER,
            Capability.PROBE,
            Capability.MEDIA,
            Capability.SNAPSHOT,
            Capability.PTZ,
        }
    )
    Settings = OnvifSettings
    settings: OnvifSettings

    def __init__(self, settings: OnvifSettings, channels: Sequence[str] = ()) -> None:
        super().__init__(settings, channels)
        self._known: _Known | None = None
        self._streams: dict[str, str] = {}  # profile token -> RTSP address
        self._heads = Heads()
        self._offset_s = 0.0
        self._running: OnvifClient | None = None
        self._access = access_of(settings)
        self._learning = asyncio.Lock()
        self._events = Held()

    def take_over(self, before: Adapter) -> None:
        """One subscription per device ever, however often the connection breaks."""
        if isinstance(before, OnvifAdapter):
            self._events = before._events

    async def run(self, emit: Emit) -> None:
        async with self._connected() as client:
            self._running = client
            try:
                await self._run(client, emit)
            finally:
                self._running = None

    async def _run(self, client: OnvifClient, emit: Emit) -> None:
        self._forget()
        known = await self._learn(client)
        emit(Online(at=datetime.now(UTC), identity=known.inventory.identity))
        self._tell_clock(emit)
        if "events" not in client.services:
            return await self._look(client, known, emit, None)
        pull_point = await self._pull_point(client, known, emit)
        listening = asyncio.create_task(pull_point.run(), name="onvif-events")
        try:
            await self._look(client, known, emit, listening)
        except asyncio.CancelledError:
            await _ended(listening)
            await pull_point.give_back()
            raise
        finally:
            await _ended(listening)

    async def _look(
        self,
        client: OnvifClient,
        known: _Known,
        emit: Emit,
        listening: "asyncio.Task[None] | None",
    ) -> None:
        """See for ever that the device is there; ends with what ended the listening."""
        looks = 0
        while True:
            every_s = self.settings.check_interval_s
            if listening is None or listening.done():
                await asyncio.sleep(every_s)
            else:
                await asyncio.wait({listening}, timeout=every_s * _LISTENING_EVERY)
            if listening is not None and listening.done():
                listening.result()
            looks += 1
            self._offset_s = await client.measure_clock() or 0.0
            self._tell_clock(emit)
            if looks % _SIGNED_EVERY == 0:
                await self._still_the_same(client, known.inventory.identity)

    async def _pull_point(self, client: OnvifClient, known: _Known, emit: Emit) -> PullPoint:
        sources = tuple(source.address for source in known.inventory.sources)
        aliases = {profile.token: profile.source for profile in known.profiles}
        if len(sources) > 1:
            with contextlib.suppress(AdapterError):
                configurations = await client.call(events_wire.GET_SOURCE_CONFIGURATIONS)
                aliases |= configurations
        return PullPoint(
            client,
            self._events,
            device=self.settings.endpoint,
            device_url=self.settings.url,
            where=Places(sources=sources, aliases=aliases),
            emit=emit,
            offset_s=lambda: self._offset_s,
        )

    def _tell_clock(self, emit: Emit) -> None:
        """Once when the device's clock is wrong, once when it is right again."""
        limit_s = _CLOCK_RIGHT_S if self._events.clock_wrong else _CLOCK_WRONG_S
        wrong = abs(self._offset_s) > limit_s
        if wrong != self._events.clock_wrong:
            self._events.clock_wrong = wrong
            emit(Alarm(at=datetime.now(UTC), address="", active=wrong, kind="clock"))

    async def _still_the_same(self, client: OnvifClient, before: Identity) -> None:
        identity = await client.call(wire.GET_IDENTITY)
        if identity.serial != before.serial:
            self._forget()
            raise ProtocolViolation(
                f"another device answers here now: serial {identity.serial or 'unknown'} "
                f"in place of {before.serial or 'unknown'}",
                device=self.settings.endpoint,
            )

    @classmethod
    def discover(cls, scope: Scope) -> AsyncIterator[Found]:
        """ONVIF devices by WS-Discovery; `discovery.discover` has the details."""
        return discovery.discover(scope)

    @classmethod
    def announcements(cls, scope: Scope) -> AsyncIterator[Found]:
        """WS-Discovery's Hello; `hello.announcements` has the details."""
        return hello.announcements(scope)

    async def probe(self) -> Inventory:
        pinned, note = await self._certificate()
        async with self._connected() as client:
            self._forget()
            known = await self._learn(client)
            await self._doubt_addresses(client, known)
        return dataclasses.replace(
            known.inventory, settings=pinned, notes=(*client.rewritten, *note)
        )

    async def _doubt_addresses(self, client: OnvifClient, known: _Known) -> None:
        """Of a device that announces its services wrongly, learn where it says that streams and
        pictures are, so that whoever registers it sees all that is put right. One that does not
        is spared the two calls."""
        if client.rewritten and known.profiles:
            token = known.profiles[0].token
            with contextlib.suppress(AdapterError):
                await client.stream_address(token)
                await client.snapshot_address(token)

    async def _certificate(self) -> tuple[dict[str, str], tuple[str, ...]]:
        """Pin a certificate that no authority vouches for, if it is the first one seen: the
        settings to be kept, and a sentence that shows it."""
        settings = self.settings
        if not settings.url.startswith("https:"):
            return {}, ()
        if pinned := settings.certificate_sha256:
            return {}, (_pinned(pinned),)
        seen, trusted = await tls.presented(settings.url, settings.timeout_s)
        if trusted:
            return {}, ()
        if settings.trust == "given":
            raise InvalidSettings(
                f"no authority vouches for its certificate, SHA-256 {tls.shown(seen)}; give that "
                "as certificate_sha256 if it is the device's own",
                device=settings.endpoint,
            )
        learned = {"certificate_sha256": seen}
        self.settings = settings.model_copy(update=learned)
        return learned, (_pinned(seen),)

    def _connected(self) -> contextlib.AbstractAsyncContextManager[OnvifClient]:
        return connect(self.settings, self._access)

    async def execute(self, command: Command) -> Outcome:
        """Carries out what moves a camera, `SetClock` and `RequestKeyframe`; a continuous movement
        has stopped when it returns."""
        if not isinstance(command, (*MOVES, SetClock, RequestKeyframe)):
            raise NotSupported(
                f"a camera does not understand {type(command).__name__}",
                device=self.settings.endpoint,
            )
        async with self._connected() as client:
            known = await self._learned(client)
            if isinstance(command, SetClock):
                return await self._set_clock(client)
            if isinstance(command, RequestKeyframe):
                return await self._request_keyframe(client, known, command)
            movable = [
                profile
                for profile in known.profiles
                if profile.source == command.address and profile.ptz
            ]
            if not movable or "ptz" not in client.services:
                return _refused(f"source {command.address!r} cannot be moved")
            return await self._heads.execute(client, movable[0].token, command)

    async def _request_keyframe(
        self, client: OnvifClient, known: _Known, command: RequestKeyframe
    ) -> Outcome:
        token = self._profile(known, command.address, command.profile).token
        try:
            await client.request_keyframe(token)
        except DeviceFault as fault:
            return _refused(fault.message)
        return DONE

    async def _set_clock(self, client: OnvifClient) -> Outcome:
        try:
            await client.call(ptz_wire.set_clock(datetime.now(UTC)))
        except DeviceFault as fault:
            return _refused(fault.message)
        # What runs signs by the old offset until it has looked itself.
        for each in (client, self._running):
            if each is not None:
                self._offset_s = await each.measure_clock() or 0.0
        return DONE

    async def snapshot(self, address: str) -> Image:
        async with self._connected() as client:
            known = await self._learned(client)
            token = self._profile(known, address, "main").token
            return await client.picture(token)

    async def open_media(self, address: str, profile: str) -> MediaSource:
        known = self._known
        token = known and self._profile(known, address, profile).token
        if not token or token not in self._streams:
            async with self._connected() as client:
                known = await self._learned(client)
                token = self._profile(known, address, profile).token
                self._streams[token] = await client.stream_address(token)
        return RtspSource(
            url=self._streams[token],
            username=self.settings.username,
            password=self.settings.secret,
            transport=self.settings.transport,
            certificate_sha256=self.settings.certificate_sha256,
            allow_basic=self.settings.allow_basic,
        )

    def _profile(self, known: _Known, address: str, name: str) -> Profile:
        source = self._source(known, address)
        if not source.profiles:
            raise NotSupported(
                "this source has no video profile", device=self.settings.endpoint, address=address
            )
        named = {profile.name: profile for profile in source.profiles}
        return named.get(name, source.profiles[0])

    def _source(self, known: _Known, address: str) -> Source:
        for source in known.inventory.sources:
            if source.address == address:
                return source
        there = ", ".join(source.address for source in known.inventory.sources) or "none"
        raise NotSupported(
            f"there is no such video source; there are {there}",
            device=self.settings.endpoint,
            address=address,
        )

    def _forget(self) -> None:
        self._known = None
        self._streams.clear()

    async def _learned(self, client: OnvifClient) -> _Known:
        """What is known; asked for where nothing is yet."""
        async with self._learning:
            if self._known is None:
                return await self._learn(client)
            client.resume(self._known.services, self._offset_s)
            return self._known

    async def _learn(self, client: OnvifClient) -> _Known:
        offset_s = await client.measure_clock()
        self._offset_s = offset_s or 0.0
        await client.find_services()
        identity = await self._identify(client)
        profiles = await client.profiles()
        video_sources: tuple[str, ...] = ()
        if "media" in client.services:
            # Some encoders have none, and devices of Media2 alone cannot be asked: their profiles
            # name them.
            with contextlib.suppress(NotSupported, ProtocolViolation):
                video_sources = await client.call(wire.GET_VIDEO_SOURCES)
        self._known = _Known(
            inventory=wire.inventory(
                identity=identity,
                clock_offset_s=offset_s,
                services=client.services,
                video_sources=video_sources,
                profiles=profiles,
                notes=client.rewritten,
            ),
            profiles=profiles,
            services=dict(client.services),
        )
        return self._known

    async def _identify(self, client: OnvifClient) -> Identity:
        """With its endpoint reference where it tells no serial number: moved, it is known by it."""
        identity = await client.call(wire.GET_IDENTITY)
        if not identity.serial:
            with contextlib.suppress(NotSupported, ProtocolViolation):
                reference = await client.call_open(wire.GET_ENDPOINT_REFERENCE)
                identity = dataclasses.replace(identity, endpoint_reference=reference[:200])
        return identity


def _pinned(certificate_sha256: str) -> str:
    return f"its self-signed certificate is pinned: SHA-256 {tls.shown(certificate_sha256)}"


def _refused(reason: str) -> Outcome:
    return Outcome(result=Result.REFUSED, reason=reason)


async def _ended(task: "asyncio.Task[None]") -> None:
    """Cancel a task, and return when it has ended, however it did."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
