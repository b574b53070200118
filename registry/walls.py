"""Walls: the layouts that a user has saved, seen by nobody else.

A point that its user may not see at present is left out and counted; it keeps its place, and is
back there when the right is. A deleted point leaves the wall; a deleted user takes theirs along.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Select, func, insert, select
from sqlalchemy import delete as sql_delete

from registry import rows
from registry.errors import Conflict, Invalid, NotFound, Reason
from registry.identity import parse_id
from registry.models import POINTS, WALL_PLACES, WALLS
from registry.paging import DEFAULT_LIMIT, AnyRow, Page, read_page
from registry.partition import Principal, visible_points

_W = WALLS.c
_P = WALL_PLACES.c
SIZES = (1, 4, 9, 16, 25)
MOST_WALLS = 100
"""Of one user."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wall:
    """tiles: 1, 4, 9, 16 or 25. points: the id of the point in each of them by rows, None for an
    empty one. hidden: how many points stand in places that look empty to this user now."""

    id: str
    version: int
    name: str
    tiles: int
    points: tuple[str | None, ...]
    hidden: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NewWall:
    """points: as in `Wall`; what is missing at the end is empty."""

    name: str
    tiles: int
    points: tuple[str | None, ...] = ()


_COLUMNS: Select[Any] = select(_W.id, _W.version, _W.name, _W.tiles)


def _read_all(
    connection: Connection, principal: Principal, found: Sequence[AnyRow]
) -> tuple[Wall, ...]:
    places: dict[str, dict[int, str]] = {row.id: {} for row in found}
    hidden = dict.fromkeys(places, 0)
    stored = connection.execute(
        select(_P.wall_id, _P.place, _P.point_id).where(_P.wall_id.in_(list(places)))
    ).all()
    shown = seen_points(connection, principal, [row.point_id for row in stored])
    for row in stored:
        if row.point_id in shown:
            places[row.wall_id][row.place] = row.point_id
        else:
            hidden[row.wall_id] += 1
    return tuple(
        Wall(
            id=row.id,
            version=row.version,
            name=row.name,
            tiles=row.tiles,
            points=tuple(places[row.id].get(place) for place in range(row.tiles)),
            hidden=hidden[row.id],
        )
        for row in found
    )


def seen_points(
    connection: Connection, principal: Principal, point_ids: Sequence[str]
) -> frozenset[str]:
    """Those of the points that there are and that the principal sees now."""
    wanted = sorted({each for each in point_ids if parse_id(each) == each})
    if not wanted:
        return frozenset()
    return frozenset(
        connection.scalars(
            select(POINTS.c.id).where(POINTS.c.id.in_(wanted), visible_points(principal))
        )
    )


def get(connection: Connection, principal: Principal, wall_id: str) -> Wall:
    """Raises: NotFound where there is none, or where it is another user's."""
    found = connection.execute(
        _COLUMNS.where(_W.id == rows.known_id("wall", wall_id), _W.user_id == principal.user_id)
    ).all()
    if not found:
        raise NotFound("wall", wall_id)
    return _read_all(connection, principal, found)[0]


def page(
    connection: Connection,
    principal: Principal,
    *,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[Wall]:
    """The user's own walls. Raises: Invalid."""

    def read(found: Sequence[AnyRow]) -> tuple[Wall, ...]:
        return _read_all(connection, principal, found)

    own = [_W.user_id == principal.user_id]
    return read_page(connection, WALLS, _COLUMNS, own, read, limit=limit, cursor=cursor)


def create(connection: Connection, principal: Principal, new: NewWall) -> Wall:
    """Save a layout. Raises: Invalid, also for a point that the user does not see; Conflict where
    they have one of this name, or too many."""
    values: dict[str, Any] = {"name": new.name.strip(), "tiles": new.tiles}
    _check(connection, principal, values, new.points)
    _check_name_free(connection, principal, values["name"], None)
    own = select(func.count()).select_from(WALLS).where(_W.user_id == principal.user_id)
    if (connection.scalar(own) or 0) >= MOST_WALLS:
        raise Conflict(f"{MOST_WALLS} walls are saved already: delete one first")
    wall_id = rows.insert_row(connection, WALLS, {**values, "user_id": principal.user_id})
    _write(connection, wall_id, new.points)
    details = {**values, "points": list(new.points)}
    rows.record(connection, principal, "create", "wall", wall_id, "", details)
    return get(connection, principal, wall_id)


def update(
    connection: Connection,
    principal: Principal,
    wall_id: str,
    changes: Mapping[str, Any],
    version: int | None = None,
) -> Wall:
    """Change name, tiles or points. Given points replace all that were there, hidden ones too;
    without them, only those go that the new number of tiles has no place for.

    Raises: NotFound, Invalid, Conflict, VersionMismatch.
    """
    before = get(connection, principal, wall_id)
    rows.check_fields(changes, frozenset({"name", "tiles", "points"}))
    values: dict[str, Any] = {
        "name": str(changes.get("name", before.name)).strip(),
        "tiles": changes.get("tiles", before.tiles),
    }
    points = tuple(changes["points"]) if "points" in changes else None
    _check(connection, principal, values, points or ())
    _check_name_free(connection, principal, values["name"], before.id)
    rows.update_row(connection, WALLS, "wall", before.id, values, version)
    gone = _P.wall_id == before.id
    if points is None:
        connection.execute(sql_delete(WALL_PLACES).where(gone, _P.place >= values["tiles"]))
    else:
        connection.execute(sql_delete(WALL_PLACES).where(gone))
        _write(connection, before.id, points)
    after = get(connection, principal, wall_id)
    changed = rows.difference(_shown(before), _shown(after))
    rows.record(connection, principal, "update", "wall", before.id, "", changed)
    return after


def delete(
    connection: Connection, principal: Principal, wall_id: str, version: int | None = None
) -> None:
    """Raises: NotFound, VersionMismatch."""
    before = get(connection, principal, wall_id)
    rows.delete_row(connection, WALLS, "wall", before.id, version)
    rows.record(connection, principal, "delete", "wall", before.id, "", {"name": before.name})


def _shown(wall: Wall) -> dict[str, Any]:
    return {"name": wall.name, "tiles": wall.tiles, "points": list(wall.points)}


def _write(connection: Connection, wall_id: str, points: Sequence[str | None]) -> None:
    places = [
        {"wall_id": wall_id, "place": place, "point_id": point_id}
        for place, point_id in enumerate(points)
        if point_id is not None
    ]
    if places:
        connection.execute(insert(WALL_PLACES), places)


def _check(
    connection: Connection,
    principal: Principal,
    values: Mapping[str, Any],
    points: Sequence[str | None],
) -> None:
    reasons = []
    if not 1 <= len(values["name"]) <= 200:
        reasons.append(Reason(field="name", reason="must have 1 to 200 characters"))
    if values["tiles"] not in SIZES:
        allowed = ", ".join(str(size) for size in SIZES)
        reasons.append(Reason(field="tiles", reason=f"must be one of {allowed}"))
    elif len(points) > values["tiles"]:
        reasons.append(Reason(field="points", reason=f"there are {values['tiles']} tiles only"))
    reasons += unseen(connection, principal, points, "points")
    if reasons:
        raise Invalid(*reasons)


def unseen(
    connection: Connection, principal: Principal, points: Sequence[str | None], field: str
) -> list[Reason]:
    """A reason for each point that the principal does not see, or that stands there twice."""
    shown = seen_points(connection, principal, [each for each in points if each is not None])
    reasons = []
    seen: set[str] = set()
    for place, each in enumerate(points):
        if each is None:
            continue
        if each not in shown:
            reasons.append(Reason(field=f"{field}[{place}]", reason=f"there is no point {each!r}"))
        elif each in seen:
            reasons.append(Reason(field=f"{field}[{place}]", reason="stands here already"))
        seen.add(each)
    return reasons


def _check_name_free(
    connection: Connection, principal: Principal, name: str, but_id: str | None
) -> None:
    other = connection.scalar(select(_W.id).where(_W.user_id == principal.user_id, _W.name == name))
    if other is not None and other != but_id:
        raise Conflict(f"there is a wall named {name} already", other=other)
