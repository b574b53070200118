"""Live view of this node, put together: what it takes of cameras, registry and record."""

import contextlib
import dataclasses
import os
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping

from adapters.base import MediaSource
from adapters.errors import Unreachable
from gateway.access.roles import may_see_clear, may_view
from gateway.agents.cameras import Cameras, NoCamera
from gateway.api.sight import thumbnail_stamp
from gateway.live import LiveService, NoSource, View, Viewing
from gateway.live.covers import Covers
from gateway.live.jpeg import jpeg_transform
from gateway.live.masking import Masking
from gateway.live.mediaserver import KeyRing, MediaServers, MediaServerSettings
from gateway.live.record import ViewingRecord
from gateway.live.snapshots import Snapshot, Snapshots
from gateway.live.thumbnails import Thumbnails
from gateway.live.whep import WhepViews
from gateway.live.whereabouts import Whereabouts
from gateway.settings import Settings
from gateway.startup import CannotStart
from gateway.vision import PicturePool
from registry import masks, points, tokens, users
from registry.database import Connection, Database
from registry.errors import DatabaseAway, NotFound
from registry.masks import Masks
from registry.partition import SYSTEM


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LiveView:
    """pictures: threads that make and shrink pictures. media: external media servers, where any
    are set."""

    live: LiveService
    pictures: PicturePool
    covers: Covers
    masking: Masking
    record: ViewingRecord
    peers: WhepViews
    media: MediaServers | None


async def open_view(
    stack: contextlib.AsyncExitStack,
    *,
    database: Database,
    cameras: Cameras,
    store: Database,
    node: str,
    settings: Settings,
    keys: KeyRing,
) -> LiveView:
    """The stack closes it. store: of the record of viewing. Raises: CannotStart."""
    pictures = await stack.enter_async_context(PicturePool())
    covers = await stack.enter_async_context(covers_of(database, cameras))
    threads = max(2, (os.cpu_count() or 2) // 2)
    masking = Masking(covers, await stack.enter_async_context(PicturePool(threads)))
    record = await stack.enter_async_context(ViewingRecord(store, database))
    media: MediaServers | None = None

    def opened(viewing: Viewing) -> None:
        record.told(viewing)
        if media is not None:
            media.used_here(viewing.id)

    live = await stack.enter_async_context(
        LiveService(
            _opens(cameras),
            rights(database),
            evidence=cameras.stream_seen,
            ask_keyframe=_asks(cameras),
            masking=masking,
            jpeg=jpeg_transform(pictures),
            opened=opened,
            closed=record.told,
        )
    )
    if settings.media_servers is not None:
        media = _media_servers(settings.media_servers, database, live, record, node, keys)
        await _served(stack, media)
    peers = await stack.enter_async_context(WhepViews(live, settings.meets_peers_on))
    return LiveView(
        live=live,
        pictures=pictures,
        covers=covers,
        masking=masking,
        record=record,
        peers=peers,
        media=media,
    )


def _opens(cameras: Cameras) -> Callable[[str, str], Awaitable[MediaSource]]:
    async def open_media(point_id: str, profile: str) -> MediaSource:
        try:
            return await cameras.open_media(point_id, profile)
        except (NoCamera, NotFound):
            raise NoSource("this point has no camera") from None

    return open_media


def _asks(cameras: Cameras) -> Callable[[str, str], Awaitable[None]]:
    async def ask_keyframe(point_id: str, profile: str) -> None:
        try:
            await cameras.request_keyframe(point_id, profile)
        except (NoCamera, NotFound, DatabaseAway):
            raise Unreachable("it cannot be asked now") from None

    return ask_keyframe


def _media_servers(
    settings: MediaServerSettings,
    database: Database,
    live: LiveService,
    record: ViewingRecord,
    node: str,
    keys: KeyRing,
) -> MediaServers:
    async def unmasked(point_id: str) -> bool:
        point = await database.read(lambda c: points.get(c, SYSTEM, point_id))
        return not point.masked

    return MediaServers(
        settings,
        live=live,
        keys=keys,
        node=node,
        allowed=rights(database),
        unmasked=unmasked,
        opened=record.told,
        closed=record.told,
    )


async def _served(stack: contextlib.AsyncExitStack, servers: MediaServers) -> None:
    """Raises: CannotStart."""
    try:
        await stack.enter_async_context(servers)
    except OSError as error:
        raise CannotStart(
            f"what media servers read cannot be served ({error.strerror or error}): "
            "set HUTONG_MEDIA_FEED_URL to a free port of this machine"
        ) from None


def rights(database: Database) -> Callable[[View], Awaitable[bool]]:
    """May a user see a point's picture so now, by the token by which they asked for it if it was
    one? Raises: DatabaseAway when nobody can say."""

    def ask(connection: Connection, view: View) -> bool:
        principal = (
            tokens.principal_of(connection, view.token_id)
            if view.token_id
            else users.principal_of(connection, view.user_id)
        )
        if principal is None:
            return False
        try:
            point = points.get(connection, principal, view.point_id)
        except NotFound:
            return False
        hidden = view.clear and point.masked
        clear = not hidden or may_see_clear(principal, point.organization.path)
        return may_view(principal, point) and clear

    async def allowed(view: View) -> bool:
        return await database.read(lambda connection: ask(connection, view))

    return allowed


def covers_of(database: Database, cameras: Cameras) -> Covers:
    """What is hidden of each point's picture now."""

    async def read(point_ids: Collection[str]) -> Mapping[str, Masks]:
        return await database.read(lambda c: masks.of_points(c, point_ids))

    return Covers(read, Whereabouts(cameras.stands_at))


def thumbnails_of(database: Database, snapshots: Snapshots) -> Thumbnails:
    """Of all points; masked where they are, whoever asks."""

    async def take(point_id: str, width: int) -> Snapshot:
        return await snapshots.take(point_id, width, clear=False, prefer_viewed=True)

    async def stamp_of(point_id: str) -> Hashable:
        def read(connection: Connection) -> Hashable:
            return thumbnail_stamp(connection, points.get(connection, SYSTEM, point_id))

        return await database.read(read)

    return Thumbnails(take, stamp_of)
