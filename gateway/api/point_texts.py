"""Lists of points as JSON, each point written once for as long as it stays as it is."""

import msgspec

from gateway.api.point_shapes import point_shape, points_shape
from registry import point_lists
from registry.database import Connection, Database, Driver
from registry.paging import Page
from registry.partition import Principal, receives
from registry.point_lists import PointFilter

ROOM = 50_000
"""Points, of some 700 bytes each."""


class PointTexts:
    """What a page needs of a point's JSON is mostly there: the database is asked for stamps alone,
    a third of the work. Threads may share it. room: of points; whole halves are forgotten at once.
    """

    def __init__(self, room: int = ROOM) -> None:
        self._room = room // 2
        self._recent: dict[str, bytes] = {}
        self._older: dict[str, bytes] = {}
        self._encoder = msgspec.json.Encoder()

    async def page(
        self,
        database: Database,
        principal: Principal,
        wanted: PointFilter,
        *,
        limit: int,
        cursor: str | None,
    ) -> bytes:
        """A page of points as the contract shows it. Raises: as `point_lists.page`."""

        def quick(driver: Driver) -> bytes | None:
            found = point_lists.stamps(driver, principal, wanted, limit=limit, cursor=cursor)
            return self._known(found)

        def at_length(connection: Connection) -> bytes:
            if receives(principal):  # What is shared is shown to each as it was shared with them.
                page = point_lists.page(connection, principal, wanted, limit=limit, cursor=cursor)
                return self._encoder.encode(points_shape(page))
            found = point_lists.stamps(connection, principal, wanted, limit=limit, cursor=cursor)
            return self._read(connection, found)

        if wanted.organization is not None or receives(principal):
            return await database.read(at_length)
        return await database.glance(quick, at_length)

    def _known(self, found: Page[str]) -> bytes | None:
        """The page where all of it is kept."""
        recent = self._recent
        texts = [text for stamp in found.items if (text := recent.get(stamp))]
        return self._page(found, texts) if len(texts) == len(found.items) else None

    def _read(self, connection: Connection, found: Page[str]) -> bytes:
        """The page, of which what is not kept is read. A point that changed in between is shown
        as it is now, one that is gone is left out."""
        known = {
            stamp: text
            for stamp in found.items
            if (text := self._recent.get(stamp) or self._older.get(stamp))
        }
        unknown = [stamp for stamp in found.items if stamp not in known]
        if unknown:
            for stamp, point in point_lists.stamped(connection, unknown).items():
                known[stamp] = self._encoder.encode(point_shape(point))
        self._keep(known)
        return self._page(found, [known[stamp] for stamp in sorted(known)])

    def _page(self, found: Page[str], texts: list[bytes]) -> bytes:
        next_ = self._encoder.encode(found.next)
        return b'{"items":[%b],"next":%b,"total":%d}' % (b",".join(texts), next_, found.total)

    def _keep(self, texts: dict[str, bytes]) -> None:
        if len(self._recent) + len(texts) > self._room:
            self._recent, self._older = {}, self._recent
        self._recent.update(texts)
