"""One way to open any stream, whoever delivers it."""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from adapters.base import MediaItem, MediaSource, PacketSource
from adapters.media.limits import RtspLimits
from adapters.media.reading import open_rtsp
from adapters.media.slots import ThreadSlots


class MediaStream(Protocol):
    """An async iterator of items. reader: ``native``, ``pyav``, or ``adapter`` where the adapter
    delivers the items itself. reason: why it is PyAV, else empty. transport: ``tcp``, ``udp``, or
    empty. audio_reason: why audio that is there is not passed on, else empty."""

    @property
    def reader(self) -> str: ...

    @property
    def reason(self) -> str: ...

    @property
    def transport(self) -> str: ...

    @property
    def audio_reason(self) -> str: ...

    def __aiter__(self) -> AsyncIterator[MediaItem]: ...

    async def pour(self, sink: Callable[[MediaItem], None]) -> None:
        """Instead of iterating: sink gets each item as it comes, which is the quickest way.
        Returns where the stream ends. Raises: AdapterError when it breaks; what sink raises."""


class _AdapterStream:
    reader = "adapter"
    reason = transport = audio_reason = ""

    def __init__(self, items: AsyncIterator[MediaItem]) -> None:
        self._items = items

    def __aiter__(self) -> AsyncIterator[MediaItem]:
        return self._items

    async def pour(self, sink: Callable[[MediaItem], None]) -> None:
        async for item in self._items:
            sink(item)


@contextlib.asynccontextmanager
async def open_stream(
    source: MediaSource,
    *,
    limits: RtspLimits | None = None,
    slots: ThreadSlots | None = None,
    audio: bool = False,
) -> AsyncIterator[MediaStream]:
    """Play a source, whoever can read it.

    slots: bounds the PyAV threads of all streams that are given the same. audio: ask for the
    camera's audio too; it comes as track 1.
    Raises, here or while iterating: AdapterError.
    """
    if isinstance(source, PacketSource):
        async with source.open() as items:
            yield _AdapterStream(items)
    else:
        async with open_rtsp(source, limits, slots, audio=audio) as stream:
            yield stream
