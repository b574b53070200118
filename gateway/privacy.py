"""What is hidden of pictures, and pictures that are kept, on the registry of this node."""

from collections.abc import Collection, Hashable, Mapping

from gateway.agents.cameras import Cameras
from gateway.api.sight import thumbnail_stamp
from gateway.live.covers import Covers
from gateway.live.snapshots import Snapshot, Snapshots
from gateway.live.thumbnails import Thumbnails
from gateway.live.whereabouts import Whereabouts
from registry import masks, points
from registry.database import Connection, Database
from registry.masks import Masks
from registry.partition import SYSTEM


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
