"""The kind ``lantern``: a recorder with several channels, its events by long poll."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import ClassVar

from yarl import URL

from adapters.base import Adapter, Capability, Emit, MediaSource
from adapters.errors import InvalidSettings
from adapters.events import (
    Identity,
    Image,
    Inventory,
    Malformed,
    Online,
    Profile,
    RtspSource,
    Secret,
    Source,
)
from hutong_lantern import wire
from hutong_lantern.client import LanternClient
from hutong_lantern.reports import report_of, status_of
from hutong_lantern.settings import LanternSettings

QUALITIES = {"hd": "main", "sd": "sub"}


class LanternAdapter(Adapter):
    """One recorder; the address of a source is the id of its channel.

    It announces its streams at the address that it has in its own network: host is put right to
    the one by which it was reached, which the notes of a probe say.
    """

    seam_version: ClassVar[int] = 1
    serves: ClassVar[str] = "video"
    capabilities = frozenset({Capability.PROBE, Capability.MEDIA, Capability.SNAPSHOT})
    Settings = LanternSettings

    def __init__(self, settings: LanternSettings, channels: Sequence[str] = ()) -> None:
        super().__init__(settings, channels)
        self.settings: LanternSettings = settings
        self._running: LanternClient | None = None

    async def run(self, emit: Emit) -> None:
        """Report until cancelled. Raises: AdapterError."""
        async with LanternClient(self.settings) as client:
            recorder, channels = await client.recorder(), await client.channels()
            after = (await client.events(None, 0.0)).next
            emit(Online(at=datetime.now(UTC), identity=_identity(recorder)))
            for channel in channels:
                emit(status_of(channel.id, connected=channel.connected, now=datetime.now(UTC)))
            self._running = client
            try:
                while True:
                    batch = await client.events(after, self.settings.poll_s)
                    _report(batch, emit)
                    after = batch.next
            finally:
                self._running = None

    async def probe(self) -> Inventory:
        async with self._client() as client:
            recorder, channels = await client.recorder(), await client.channels()
        now = datetime.now(UTC)
        return Inventory(
            identity=_identity(recorder),
            sources=tuple(_source(each, number) for number, each in enumerate(channels, start=1)),
            clock_offset_s=recorder.clock_offset_s(now),
            notes=self._notes(channels),
        )

    async def snapshot(self, address: str) -> Image:
        async with self._client() as client:
            await self._channel(client, address)
            data = await client.picture(address)
        return Image(data=data, content_type="image/jpeg", at=datetime.now(UTC))

    async def open_media(self, address: str, profile: str) -> MediaSource:
        """No sub gives main. Raises: InvalidSettings for a source or profile that is not there."""
        if profile not in QUALITIES.values():
            raise InvalidSettings(f"there is no profile {profile!r}", address=address)
        async with self._client() as client:
            channel = await self._channel(client, address)
        by_profile = {QUALITIES[stream.quality]: stream for stream in reversed(channel.streams)}
        stream = by_profile.get(profile) or by_profile.get("main") or channel.streams[0]
        return RtspSource(
            url=str(URL(stream.url).with_host(self._host)),
            username=self.settings.username,
            password=Secret(self.settings.password.get_secret_value()),
        )

    @property
    def _host(self) -> str:
        return self.settings.url.host or ""

    @contextlib.asynccontextmanager
    async def _client(self) -> AsyncIterator[LanternClient]:
        """The one that runs, which saves a session; else one of its own."""
        if self._running is not None:
            yield self._running
            return
        async with LanternClient(self.settings) as client:
            yield client

    async def _channel(self, client: LanternClient, address: str) -> wire.Channel:
        for channel in await client.channels():
            if channel.id == address:
                return channel
        device = self.settings.endpoint
        raise InvalidSettings("it has no such channel", device=device, address=address)

    def _notes(self, channels: Sequence[wire.Channel]) -> tuple[str, ...]:
        """One sentence for each host that it announces and that was put right."""
        hosts = {URL(stream.url).host or "" for each in channels for stream in each.streams}
        return tuple(
            f"its streams are announced at {host} and asked for at {self._host}, where it was"
            " reached"
            for host in sorted(hosts - {self._host})
        )


def _report(batch: wire.Batch, emit: Emit) -> None:
    for document in batch.events:
        now = datetime.now(UTC)
        try:
            event = wire.read_event(document)
        except wire.MalformedDocument as error:
            emit(Malformed(at=now, reason=f"an event that cannot be read: {error}"))
        else:
            emit(report_of(event, now))


def _identity(recorder: wire.Recorder) -> Identity:
    return Identity(
        manufacturer=recorder.maker,
        model=recorder.model,
        serial=recorder.serial,
        firmware=recorder.firmware,
    )


def _source(channel: wire.Channel, number: int) -> Source:
    """number: from 1 and without gaps, as the gateway counts."""
    main, *others = sorted(channel.streams, key=lambda stream: stream.quality)  # hd before sd
    return Source(
        address=channel.id,
        name=channel.name,
        channel_number=number,
        profiles=(
            _profile("main", main),
            *(_profile("sub", each) for each in others[:1] if each.quality == "sd"),
        ),
        capabilities=frozenset({"events"}),
    )


def _profile(name: str, stream: wire.Stream) -> Profile:
    return Profile(
        name=name,
        token=stream.quality,
        codec=stream.codec,
        width=stream.width,
        height=stream.height,
        fps=stream.fps,
        bit_rate_bps=stream.kbps * 1000,
    )
