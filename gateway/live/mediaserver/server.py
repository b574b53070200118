"""One media server: whether it can be used, the paths that are made on it, who reads there."""

import asyncio
import contextlib
import dataclasses
import secrets
from collections.abc import Callable

import structlog

from gateway.live.mediaserver import wire
from gateway.live.mediaserver.control import ControlApi
from gateway.live.mediaserver.errors import MediaServerError, Unsafe
from gateway.live.mediaserver.keys import AUDIENCE, KeyRing
from gateway.live.mediaserver.wire import Offer, Reader
from gateway.live.variants import StreamKey

CONFIRM_S = 5.0
LOSE_AFTER_S = 10.0
LEAVE_S = 2.0

log = structlog.get_logger(__name__)


@dataclasses.dataclass(slots=True, kw_only=True)
class MediaPath:
    """A path that is ours. secret: what the media server reads it with from us. confirmed_s: when
    the server last took it. wanted_s: when somebody last wanted it."""

    key: StreamKey
    name: str
    secret: str = dataclasses.field(repr=False)
    confirmed_s: float
    wanted_s: float


class MediaServer:
    """api: its control API. offer: where people reach it, where that is not what it says itself.
    owner: what the names of our paths begin with. source: where it reads a secret's stream."""

    def __init__(
        self,
        api: ControlApi,
        *,
        offer: Offer,
        owner: str,
        keys: KeyRing,
        source: Callable[[str], str],
        clock: Callable[[], float],
    ) -> None:
        self.api = api
        self.paths: dict[StreamKey, MediaPath] = {}
        self.reason = "it has not been asked yet"
        self.version = ""
        self.offer = Offer()
        self._set_offer = offer
        self._owner = owner
        self._keys = keys
        self._source = source
        self._clock = clock
        self._started = ""
        self._day = -1
        self._said: str | None = None
        self._heard_s: float | None = None
        self._unsafe = False

    @property
    def url(self) -> str:
        return self.api.url

    @property
    def ready(self) -> bool:
        return not self.reason

    @property
    def lost(self) -> bool:
        """Whether it has been silent for so long, or is so open, that nobody can be known to look
        there by right."""
        silent = self._heard_s is not None and self._clock() - self._heard_s > LOSE_AFTER_S
        return silent or self._unsafe

    async def look(self) -> list[Reader] | None:
        """Everybody who reads there; None while it cannot be used."""
        try:
            started, self.version = await self.api.info()
            if not self.ready or started != self._started:
                await self._take_on()
                self._started = started
            elif self._day != self._keys.day:
                await self._refresh_keys()
            readers = await self.api.readers()
        except MediaServerError as error:
            self.away(error.message)
            self._unsafe = isinstance(error, Unsafe)
            return None
        self._heard_s, self._unsafe = self._clock(), False
        self.away("")
        return readers

    async def _take_on(self) -> None:
        """Make it ours, as it starts or comes back. Raises: MediaServerError."""
        configuration = await self.api.configuration()
        wire.check_safe(configuration, AUDIENCE)
        await self.api.refuses_strangers()
        await self._refresh_keys()
        said = wire.offer(configuration, self.url)
        self.offer = Offer(
            whep=self._set_offer.whep or said.whep,
            hls=self._set_offer.hls or said.hls,
            rtsp=self._set_offer.rtsp or said.rtsp,
        )
        ours = {path.name for path in self.paths.values()}
        for name in await self.api.path_names():
            if name.startswith(self._owner) and name not in ours:
                await self.api.delete_path(name)
        for path in self.paths.values():
            await self._put(path)

    async def _refresh_keys(self) -> None:
        day = self._keys.day
        await self.api.refresh_keys()
        self._day = day

    def away(self, reason: str) -> None:
        """It is not to be used before the next look, or with an empty reason: it is. Told once
        when it goes and once when it comes."""
        self.reason = reason
        if reason != self._said:
            self._said = reason
            if reason:
                log.warning("media_server.away", server=self.url, reason=reason)
            else:
                log.info("media_server.used", server=self.url, version=self.version)

    # --- paths ----------------------------------------------------------------------------------

    async def path(self, key: StreamKey) -> MediaPath:
        """The path of a stream, made on the server. Raises: MediaServerError."""
        now_s = self._clock()
        path = self.paths.get(key)
        if path is None:
            path = MediaPath(
                key=key,
                name=f"{self._owner}{secrets.token_urlsafe(12)}",
                secret=secrets.token_urlsafe(24),
                confirmed_s=-CONFIRM_S,
                wanted_s=now_s,
            )
            self.paths[key] = path
        path.wanted_s = now_s
        if now_s - path.confirmed_s >= CONFIRM_S:
            try:
                await self._put(path)
            except MediaServerError as error:
                self.away(error.message)
                raise
        return path

    async def _put(self, path: MediaPath) -> None:
        await self.api.put_path(path.name, self._source(path.secret))
        path.confirmed_s = self._clock()

    async def drop(self, path: MediaPath) -> None:
        """Nobody wants it: whoever still reads it is disconnected."""
        self.paths.pop(path.key, None)
        try:
            await self.api.delete_path(path.name)
        except MediaServerError as error:
            # It is removed when the server is taken on again, or has gone with its memory.
            self.away(error.message)

    async def leave(self) -> None:
        """Take away what is ours; what cannot be is taken away by whoever comes next."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                for path in tuple(self.paths.values()):
                    await self.drop(path)
