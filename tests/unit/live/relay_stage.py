"""What the tests of the relay need: time that is moved by hand, and a camera that is played."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from adapters.base import AccessUnit, MediaItem, PacketSource, TrackFormat

FORMAT = TrackFormat(
    track=0, kind="video", codec="avc1.42c01e", description=b"\x01avcC", width=64, height=48
)


class HandClock:
    """Monotonic time that only `pass_s` moves; `sleep` wakes when its time has come."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def clock(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now_s + seconds, future))
        await future

    @property
    def delays(self) -> list[float]:
        """What is being slept for, in seconds from now."""
        return sorted(at - self.now_s for at, future in self._sleepers if not future.done())

    async def pass_s(self, seconds: float) -> None:
        self.now_s += seconds
        for at, future in self._sleepers:
            if at <= self.now_s and not future.done():
                future.set_result(None)
        await settle()


async def settle() -> None:
    """Let everything that can run, run."""
    for _ in range(100):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object], timeout_s: float = 5.0) -> None:
    """Return as soon as the condition holds. Raises: TimeoutError."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - the condition is that of many different things
            await asyncio.sleep(0.002)


def picture(number: int, *, key: bool = False, size: int = 20) -> AccessUnit:
    """The access unit with a number, 40 ms apart."""
    data = (number & 0xFFFF).to_bytes(4, "big") * (size // 4)
    return AccessUnit(track=0, pts_us=number * 40_000, keyframe=key, data=data)


class PlayedCamera:
    """A source that a test plays. opened: how often; open: how many streams run now."""

    def __init__(self) -> None:
        self.opened = 0
        self.open = 0
        self.refusal: BaseException | None = None
        self._queues: list[asyncio.Queue[MediaItem | BaseException]] = []

    def play(self, *items: MediaItem | BaseException) -> None:
        """Send items, or break with an error, on the stream opened last."""
        for item in items:
            self._queues[-1].put_nowait(item)

    async def source(self, point_id: str, profile: str) -> PacketSource:
        if self.refusal is not None:
            raise self.refusal
        return PacketSource(open=self._open)

    @contextlib.asynccontextmanager
    async def _open(self) -> AsyncIterator[AsyncIterator[MediaItem]]:
        queue: asyncio.Queue[MediaItem | BaseException] = asyncio.Queue()
        self._queues.append(queue)
        self.opened += 1
        self.open += 1
        try:
            yield self._items(queue)
        finally:
            self.open -= 1

    async def _items(
        self, queue: "asyncio.Queue[MediaItem | BaseException]"
    ) -> AsyncIterator[MediaItem]:
        while True:
            item = await queue.get()
            if isinstance(item, BaseException):
                raise item
            yield item
