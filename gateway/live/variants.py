"""The forms in which one stream is shown, each made of another by tapping its relay."""

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable

from adapters.base import MediaItem
from adapters.errors import Unreachable
from gateway.live.frames import LiveFormat, LiveUnit
from gateway.live.viewer import Viewer

Transform = Callable[[AsyncIterator[MediaItem]], AsyncIterator[MediaItem]]
"""Makes a stream of another. A unit with `discontinuity` follows what was left out: it is a
keyframe, and begins anew. Raises, while iterating: AdapterError. Closing it leaves nothing."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StreamKey:
    """Which stream in which form. clear: nothing is masked; for a point without masks too.
    jpeg: as single pictures, for who cannot decode it."""

    point_id: str
    profile: str
    clear: bool = True
    jpeg: bool = False

    @property
    def parent(self) -> "StreamKey | None":
        """What this is made of; None for the camera's own stream."""
        if self.jpeg:
            return dataclasses.replace(self, jpeg=False)
        if not self.clear:
            return dataclasses.replace(self, clear=True)
        return None

    @property
    def name(self) -> str:
        form = [*(() if self.clear else ("masked",)), *(("jpeg",) if self.jpeg else ())]
        return "/".join((self.point_id, self.profile, *form))


async def tapped(viewer: Viewer) -> AsyncIterator[MediaItem]:
    """What a viewer that is no person gets of a relay. Raises: Unreachable when that has lost its
    camera, ViewClosed when it has ended."""
    began = False
    while True:
        for entry in await viewer.take():
            if isinstance(entry, LiveFormat):
                yield entry.track
            elif isinstance(entry, LiveUnit):
                began = True
                yield entry.unit
            elif began and entry.state == "reconnecting":
                raise Unreachable(entry.reason)


@contextlib.asynccontextmanager
async def transformed(
    viewer: Viewer, transform: Transform
) -> AsyncIterator[AsyncIterator[MediaItem]]:
    """What a transform makes of what a viewer gets; both are closed on leaving."""
    source = tapped(viewer)
    made = transform(source)
    try:
        yield made
    finally:
        for each in (made, source):
            if (aclose := getattr(each, "aclose", None)) is not None:
                await aclose()
