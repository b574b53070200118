"""One way to open any stream: natively where that works, through PyAV where it does not."""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from adapters.base import MediaItem, MediaSource, PacketSource
from adapters.errors import NotSupported
from adapters.media.native import open_native
from adapters.media.rtsp import RtspLimits
from adapters.media.slots import ThreadSlots


class MediaStream(Protocol):
    """An async iterator of items. reader: ``native``, ``pyav``, or ``adapter`` where the adapter
    delivers the items itself."""

    @property
    def reader(self) -> str: ...

    def __aiter__(self) -> AsyncIterator[MediaItem]: ...

    async def pour(self, sink: Callable[[MediaItem], None]) -> None:
        """Instead of iterating: sink gets each item as it comes, which is the quickest way.
        Returns where the stream ends. Raises: AdapterError when it breaks; what sink raises."""


class _AdapterStream:
    reader = "adapter"

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
) -> AsyncIterator[MediaStream]:
    """Play a source, whoever can read it.

    slots: bounds the PyAV threads of all streams that are given the same.
    Raises, here or while iterating: AdapterError.
    """
    async with contextlib.AsyncExitStack() as stack:
        stream: MediaStream
        if isinstance(source, PacketSource):
            stream = _AdapterStream(await stack.enter_async_context(source.open()))
        elif source.transport != "tcp":
            stream = await stack.enter_async_context(_through_pyav(source, limits, slots))
        else:
            try:
                stream = await stack.enter_async_context(open_native(source, limits))
            except NotSupported:
                stream = await stack.enter_async_context(_through_pyav(source, limits, slots))
        yield stream


def _through_pyav(
    source: MediaSource, limits: RtspLimits | None, slots: ThreadSlots | None
) -> contextlib.AbstractAsyncContextManager[MediaStream]:
    # Imported here: FFmpeg's libraries take memory that most processes never need.
    from adapters.media.pyav import open_pyav

    assert not isinstance(source, PacketSource)
    return open_pyav(source, limits, slots)
