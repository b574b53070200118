"""One media server: whether it can be used, the paths that are made on it, who reads there."""

import asyncio
import contextlib
import dataclasses
import hmac
import secrets
from collections.abc import Callable

import structlog

from gateway.live.mediaserver import wire
from gateway.live.mediaserver.control import ControlApi
from gateway.live.mediaserver.errors import MediaServerError, Unsafe
from gateway.live.mediaserver.keys import AUDIENCE, KeyRing
from gateway.live.mediaserver.wire import Offer, Reader
from gateway.live.variants import StreamKey

LOSE_AFTER_S = 10.0
LEAVE_S = 2.0

log = structlog.get_logger(__name__)


@dataclasses.dataclass(slots=True, kw_only=True)
class MediaPath:
    """A path that is ours. name: on the server; fed_as: what it is asked of us by, after the
    secret. wanted_s: when somebody last wanted it."""

    key: StreamKey
    name: str
    fed_as: str
    wanted_s: float


class MediaServer:
    """api: its control API. offer: where people reach it, where that is not what it says itself.
    owner: what the names of our paths begin with. feed: where it reads what we feed it."""

    def __init__(
        self,
        api: ControlApi,
        *,
        offer: Offer,
        owner: str,
        keys: KeyRing,
        feed: str,
        clock: Callable[[], float],
    ) -> None:
        self.api = api
        self.paths: dict[StreamKey, MediaPath] = {}
        self.reason = "it has not been asked yet"
        self.version = ""
        self.offer = Offer()
        self.secret = secrets.token_urlsafe(24)
        self._set_offer = offer
        self._owner = owner
        self._pattern = wire.path_pattern(owner)
        self._keys = keys
        self._feed = feed
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
            elif not await self.api.has_path(self._pattern):
                await self._take_on()
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
        # What one of us left there that was set up in another way.
        for name in await self.api.path_names():
            if self._owner in name and name != self._pattern:
                await self.api.delete_path(name)
        await self.api.put_path(self._pattern, f"{self._feed}/{self.secret}")

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

    def path(self, key: StreamKey) -> MediaPath:
        """The path of a stream, which the server makes when it is asked for it."""
        path = self.paths.get(key)
        if path is None:
            name = secrets.token_urlsafe(12)
            path = MediaPath(key=key, name=self._owner + name, fed_as=name, wanted_s=0.0)
            self.paths[key] = path
        path.wanted_s = self._clock()
        return path

    def fed(self, asked: str) -> MediaPath | None:
        """What it asks us for, as ``secret/name``; None where it is not this server that asks, or
        for what there is not."""
        secret, _, name = asked.partition("/")
        if not hmac.compare_digest(secret.encode(), self.secret.encode()):
            return None
        return next((path for path in self.paths.values() if path.fed_as == name), None)

    async def leave(self) -> None:
        """Take away what is ours, and with it whoever reads there; what cannot be is taken away
        by whoever comes next."""
        with contextlib.suppress(TimeoutError, MediaServerError):
            async with asyncio.timeout(LEAVE_S):
                await self.api.delete_path(self._pattern)
