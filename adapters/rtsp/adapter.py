"""The kind ``rtsp``: one camera, one source, one or two streams."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import ClassVar

from adapters.base import Adapter, Capability, Emit, MediaSource, TrackFormat
from adapters.errors import InvalidSettings, NotSupported, ProtocolViolation, TimedOut
from adapters.events import Identity, Inventory, Online, Profile, RtspSource, Source
from adapters.media.nal import VideoFormat
from adapters.media.native import video_of
from adapters.media.rtsp import open_session
from adapters.media.sdp import SessionDescription
from adapters.media.stream import open_stream
from adapters.rtsp.settings import RtspSettings
from adapters.rtsp.wire import codec_name, described_format, oddities, readable_audio

ADDRESS = "1"
# A DESCRIBE proves that the path and the password still work, an OPTIONS only that it lives.
DESCRIBE_EVERY = 4


class RtspAdapter(Adapter):
    """A camera that only speaks RTSP. Its one source has the address ``1``."""

    capabilities = frozenset({Capability.PROBE, Capability.MEDIA})
    serves: ClassVar[str] = "video"
    Settings = RtspSettings

    def __init__(self, settings: RtspSettings, channels: Sequence[str] = ()) -> None:
        super().__init__(settings, channels)
        self.settings: RtspSettings = settings
        self._limits = settings.limits

    async def run(self, emit: Emit) -> None:
        """Check the camera again and again. Raises: AdapterError when it is away."""
        checks = 0
        while True:
            await self._check(thoroughly=checks % DESCRIBE_EVERY == 0)
            if checks == 0:
                emit(Online(at=datetime.now(UTC), identity=Identity()))
            checks += 1
            await asyncio.sleep(self.settings.check_interval_s)

    async def probe(self) -> Inventory:
        """Ask for the session description; sizes that it leaves out are read from the stream.

        notes: what is read through PyAV and why, and audio that is not passed on.
        """
        names = ("main", "sub") if self.settings.sub_endpoint else ("main",)
        descriptions = {name: await self._description(name) for name in names}
        profiles = [await self._profile(*each) for each in descriptions.items()]
        notes = [note for each in descriptions.items() for note in oddities(*each)]
        title = descriptions["main"].name
        has_audio = any(readable_audio(each) for each in descriptions.values())
        only = Source(
            address=ADDRESS,
            name=title if title not in ("", "-") else "RTSP",
            channel_number=1,
            profiles=tuple(profiles),
            capabilities=frozenset({"audio"} if has_audio else ()),
        )
        return Inventory(identity=Identity(), sources=(only,), notes=tuple(notes))

    async def _description(self, profile: str) -> SessionDescription:
        async with open_session(self.settings.source(profile), self._limits) as session:
            await session.options()
            return await session.describe()

    async def open_media(self, address: str, profile: str) -> MediaSource:
        """Raises: InvalidSettings for another address than ``1`` or an unknown profile."""
        if address != ADDRESS:
            raise InvalidSettings(f"there is only the source {ADDRESS!r}", address=address)
        if profile not in ("main", "sub"):
            raise InvalidSettings(f"there is no profile {profile!r}", address=address)
        return self.settings.source(profile)

    async def _check(self, *, thoroughly: bool) -> None:
        async with open_session(self.settings.source("main"), self._limits) as session:
            if thoroughly:
                await session.describe()
            else:
                await session.options()

    async def _profile(self, name: str, description: SessionDescription) -> Profile:
        source = self.settings.source(name)
        try:
            media, codec = video_of(description)
        except NotSupported:
            known, codec_text, fps = None, codec_name(description), 0.0
        else:
            known, codec_text, fps = described_format(media, codec), codec.name, media.fps
        size = (known.width, known.height) if known else await self._size_in_band(source)
        return Profile(
            name=name,
            token=name,
            codec=codec_text,
            width=size[0],
            height=size[1],
            fps=round(fps or _fps(known), 3),
        )

    async def _size_in_band(self, source: RtspSource) -> tuple[int, int]:
        """The size from the first keyframe; (0, 0) when none comes in time."""
        try:
            async with (
                asyncio.timeout(self._limits.request_s),
                open_stream(source, limits=self._limits) as stream,
            ):
                async for item in stream:
                    if isinstance(item, TrackFormat) and item.kind == "video":
                        return item.width, item.height
        except (TimeoutError, TimedOut, ProtocolViolation, NotSupported):
            pass
        return 0, 0


def _fps(known: VideoFormat | None) -> float:
    return known.fps if known else 0.0
