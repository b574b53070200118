"""Whether somebody may see a point's picture, whether in clear, and why they look."""

import dataclasses
from collections.abc import Hashable

from gateway.access.roles import may_see_clear, may_view, purpose_of_clear_view
from gateway.access.sessions import hash_token
from gateway.api.context import Context
from registry import masks, points
from registry.database import Connection
from registry.errors import Conflict, Forbidden, Invalid
from registry.partition import Principal
from registry.points import Point


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """A picture that somebody may see. clear: as it is, since the point has no masks or they may
    see past them. purpose: as stated for this look; clear_purpose: of the right to see past
    masks, where that is used."""

    point: Point
    clear: bool
    purpose: str = ""
    clear_purpose: str = ""

    @property
    def details(self) -> dict[str, object]:
        """For the record of viewing."""
        said: dict[str, object] = {"purpose": self.purpose} if self.purpose else {}
        if self.point.masked:
            said["picture"] = "clear" if self.clear else "masked"
        if self.clear_purpose:
            said["clear_view_for"] = self.clear_purpose
        return said


def sight_of(
    connection: Connection, principal: Principal, point_id: str, purpose: str | None
) -> Sight:
    """Raises: NotFound outside the partition; Forbidden without the role; Invalid where a purpose
    is asked for and none is stated."""
    point = points.get(connection, principal, point_id)
    path = point.organization.path
    if not may_view(principal, point):
        raise Forbidden("seeing pictures needs the role viewer, dispatcher or admin here")
    stated = (purpose or "").strip()
    if not stated and masks.requires_purpose(connection, path):
        raise Invalid.at("purpose", "whoever opens a picture of this organization says why")
    past_masks = point.masked and may_see_clear(principal, path)
    return Sight(
        point=point,
        clear=past_masks or not point.masked,
        purpose=stated,
        clear_purpose=purpose_of_clear_view(principal, path) if past_masks else "",
    )


async def picture_of(
    context: Context, principal: Principal, point_id: str, purpose: str | None
) -> Sight:
    """`sight_of` a point that has a camera. Raises: Conflict where it has none."""
    sight = await context.database.read(lambda c: sight_of(c, principal, point_id, purpose))
    if sight.point.device_id is None:
        raise Conflict("this point has no camera: no source is bound to it")
    return sight


class Seen:
    """Who has seen the small picture of which point since they signed in: that is recorded once,
    as lists ask again and again. A token that was refreshed counts as another."""

    def __init__(self, room: int = 100_000) -> None:
        self._room = room
        self._known: dict[tuple[bytes, str, str], None] = {}

    async def record(
        self, context: Context, principal: Principal, token: str, sight: Sight
    ) -> None:
        """Call it before anything is shown. Raises: DatabaseAway."""
        key = (hash_token(token)[:16], sight.point.id, str(sight.details))
        if key in self._known:
            return
        await record_sight(context, principal, sight, "thumbnail", {})
        self._known[key] = None
        if len(self._known) > self._room:
            del self._known[next(iter(self._known))]


def thumbnail_stamp(connection: Connection, point: Point) -> Hashable:
    """What a small picture of a point depends on: its masks and its source."""
    found = masks.of_points(connection, [point.id])[point.id]
    return (found.masked, found.version, found.movable, point.device_id, point.address)


async def record_sight(
    context: Context, principal: Principal, sight: Sight, action: str, details: dict[str, object]
) -> None:
    """Call it before anything is shown. Raises: DatabaseAway."""
    point = sight.point
    await context.audit.record(
        principal, action, "point", point.id, point.organization, {**details, **sight.details}
    )
