"""Tours (轮巡): an organisation's groups of points, shown on a wall one after another.

Whoever sees the organisation sees its tours, but of each group only the points that they see
themselves: the others are left out and counted. A deleted point leaves every tour; an organisation
that has tours is not deleted but merged, or its tours are removed first.

A tour on duty is one that is to be watched now: a response level asks for it, or a dispatcher. The
consoles of its organisation offer it first, and say so; nobody's wall is taken from them.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Select, insert, select
from sqlalchemy import delete as sql_delete

from registry import organizations, rows, walls
from registry.errors import Conflict, Invalid, Reason
from registry.models import ORGANIZATIONS, TOUR_GROUPS, TOUR_STOPS, TOURS
from registry.organizations import OrganizationRef
from registry.owned import Owned, owner_of
from registry.paging import DEFAULT_LIMIT, AnyRow, Page
from registry.partition import (
    DISPATCH,
    SEE_POINTS,
    Principal,
    require,
)

_T = TOURS.c
_G = TOUR_GROUPS.c
_S = TOUR_STOPS.c
_O = ORGANIZATIONS.c
MOST_GROUPS = 100
MOST_POINTS = 25
"""In one group: as many as the largest wall has tiles."""
DWELL_S = (5, 3600)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """points: ids. hidden: how many more there are that the principal does not see."""

    name: str
    points: tuple[str, ...] = ()
    hidden: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tour:
    """dwell_s: seconds for which a group stands. on_duty: whether it is to be watched now."""

    id: str
    version: int
    name: str
    organization: OrganizationRef
    dwell_s: int
    groups: tuple[Group, ...]
    on_duty: bool = False

    @property
    def hidden(self) -> int:
        return sum(group.hidden for group in self.groups)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NewTour:
    """organization: id or path."""

    name: str
    organization: str
    dwell_s: int = 15
    groups: tuple[Group, ...] = ()
    on_duty: bool = False


_COLUMNS: Select[Any] = select(
    _T.id,
    _T.version,
    _T.name,
    _T.organization_id,
    _O.path.label("organization_path"),
    _O.name.label("organization_name"),
    _T.dwell_s,
    _T.on_duty,
).join_from(TOURS, ORGANIZATIONS, _T.organization_id == _O.id)
_TOURS = Owned(kind="tour", table=TOURS, columns=_COLUMNS, roles=SEE_POINTS)


def _read_all(
    connection: Connection, principal: Principal, found: Sequence[AnyRow]
) -> tuple[Tour, ...]:
    groups: dict[str, list[Group]] = {row.id: [] for row in found}
    stored = connection.execute(
        select(_S.tour_id, _S.turn, _S.point_id)
        .where(_S.tour_id.in_(list(groups)))
        .order_by(_S.tour_id, _S.turn, _S.place)
    ).all()
    shown = walls.seen_points(connection, principal, [row.point_id for row in stored])
    stops: dict[tuple[str, int], list[str]] = {}
    for row in stored:
        stops.setdefault((row.tour_id, row.turn), []).append(row.point_id)
    for row in connection.execute(
        select(_G.tour_id, _G.position, _G.name)
        .where(_G.tour_id.in_(list(groups)))
        .order_by(_G.tour_id, _G.position)
    ):
        points = stops.get((row.tour_id, row.position), [])
        seen = tuple(each for each in points if each in shown)
        groups[row.tour_id].append(
            Group(name=row.name, points=seen, hidden=len(points) - len(seen))
        )
    return tuple(
        Tour(
            id=row.id,
            version=row.version,
            name=row.name,
            organization=owner_of(row),
            dwell_s=row.dwell_s,
            groups=tuple(groups[row.id]),
            on_duty=row.on_duty,
        )
        for row in found
    )


def get(connection: Connection, principal: Principal, tour_id: str) -> Tour:
    """Raises: NotFound where there is none, or none that the principal sees."""
    found = [_TOURS.row(connection, principal, tour_id)]
    return _read_all(connection, principal, found)[0]


def page(
    connection: Connection,
    principal: Principal,
    *,
    organization: str | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[Tour]:
    """The tours that the principal sees. organization: id or path; those below it are included.
    Raises: NotFound, Invalid."""

    def read(found: Sequence[AnyRow]) -> tuple[Tour, ...]:
        return _read_all(connection, principal, found)

    return _TOURS.page(
        connection, principal, read, organization=organization, limit=limit, cursor=cursor
    )


def create(connection: Connection, principal: Principal, new: NewTour) -> Tour:
    """Add a tour. Needs `dispatcher` or `admin` at its organisation, and to see each of its points.
    Raises: Invalid, NotFound, Forbidden, Conflict."""
    owner = organizations.get(connection, principal, new.organization)
    require(principal, DISPATCH, owner.path)
    values: dict[str, Any] = {
        "name": new.name.strip(),
        "dwell_s": new.dwell_s,
        "on_duty": new.on_duty,
    }
    _check(connection, principal, values, new.groups)
    _check_name_free(connection, owner.id, values["name"], None)
    tour_id = rows.insert_row(connection, TOURS, {**values, "organization_id": owner.id})
    _write(connection, tour_id, new.groups)
    details = {**values, "groups": _shown_groups(new.groups)}
    rows.record(connection, principal, "create", "tour", tour_id, owner.path, details)
    return get(connection, principal, tour_id)


def update(
    connection: Connection,
    principal: Principal,
    tour_id: str,
    changes: Mapping[str, Any],
    version: int | None = None,
) -> Tour:
    """Change name, dwell_s, on_duty or groups (a sequence of `Group`, which replace all that were
    there, hidden points too). Needs what `create` needs.

    Raises: NotFound, Forbidden, Invalid, Conflict, VersionMismatch.
    """
    before = get(connection, principal, tour_id)
    path = before.organization.path
    require(principal, DISPATCH, path)
    rows.check_fields(changes, frozenset({"name", "dwell_s", "on_duty", "groups"}))
    values: dict[str, Any] = {
        "name": str(changes.get("name", before.name)).strip(),
        "dwell_s": changes.get("dwell_s", before.dwell_s),
        "on_duty": changes.get("on_duty", before.on_duty),
    }
    groups = tuple(changes["groups"]) if "groups" in changes else None
    _check(connection, principal, values, groups or ())
    _check_name_free(connection, before.organization.id, values["name"], before.id)
    rows.update_row(connection, TOURS, "tour", before.id, values, version)
    if groups is not None:
        connection.execute(sql_delete(TOUR_STOPS).where(_S.tour_id == before.id))
        connection.execute(sql_delete(TOUR_GROUPS).where(_G.tour_id == before.id))
        _write(connection, before.id, groups)
    after = get(connection, principal, tour_id)
    changed = rows.difference(_shown(before), _shown(after))
    rows.record(connection, principal, "update", "tour", before.id, path, changed)
    return after


def delete(
    connection: Connection, principal: Principal, tour_id: str, version: int | None = None
) -> None:
    """Needs `dispatcher` or `admin`. Raises: NotFound, Forbidden, VersionMismatch."""
    before = get(connection, principal, tour_id)
    path = before.organization.path
    require(principal, DISPATCH, path)
    rows.delete_row(connection, TOURS, "tour", before.id, version)
    rows.record(connection, principal, "delete", "tour", before.id, path, _shown(before))


def _shown_groups(groups: Sequence[Group]) -> list[dict[str, Any]]:
    return [{"name": each.name, "points": list(each.points)} for each in groups]


def _shown(tour: Tour) -> dict[str, Any]:
    groups = _shown_groups(tour.groups)
    return {
        "name": tour.name,
        "dwell_s": tour.dwell_s,
        "on_duty": tour.on_duty,
        "groups": groups,
        "hidden": tour.hidden,
    }


def _write(connection: Connection, tour_id: str, groups: Sequence[Group]) -> None:
    if not groups:
        return
    connection.execute(
        insert(TOUR_GROUPS),
        [
            {"tour_id": tour_id, "position": turn, "name": group.name.strip()}
            for turn, group in enumerate(groups)
        ],
    )
    stops = [
        {"tour_id": tour_id, "turn": turn, "place": place, "point_id": point_id}
        for turn, group in enumerate(groups)
        for place, point_id in enumerate(group.points)
    ]
    if stops:
        connection.execute(insert(TOUR_STOPS), stops)


def _check(
    connection: Connection,
    principal: Principal,
    values: Mapping[str, Any],
    groups: Sequence[Group],
) -> None:
    reasons = []
    if not 1 <= len(values["name"]) <= 200:
        reasons.append(Reason(field="name", reason="must have 1 to 200 characters"))
    least, most = DWELL_S
    if not least <= values["dwell_s"] <= most:
        reasons.append(Reason(field="dwell_s", reason=f"must be {least} to {most} seconds"))
    if len(groups) > MOST_GROUPS:
        raise Invalid.at("groups", f"must be {MOST_GROUPS} at most")
    for turn, group in enumerate(groups):
        place = f"groups[{turn}]"
        if not 1 <= len(group.name.strip()) <= 200:
            reasons.append(Reason(field=f"{place}.name", reason="must have 1 to 200 characters"))
        if not 1 <= len(group.points) <= MOST_POINTS:
            reason = f"must be 1 to {MOST_POINTS} points"
            reasons.append(Reason(field=f"{place}.points", reason=reason))
            continue
        reasons += walls.unseen(connection, principal, group.points, f"{place}.points")
    if reasons:
        raise Invalid(*reasons)


def _check_name_free(
    connection: Connection, organization_id: str, name: str, but_id: str | None
) -> None:
    other = connection.scalar(
        select(_T.id).where(_T.organization_id == organization_id, _T.name == name)
    )
    if other is not None and other != but_id:
        raise Conflict(f"there is a tour named {name} at this organisation already", other=other)
