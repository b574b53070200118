"""Giving points back to the polygons: what would move and why, then moving it.

`plan` reads and may take long; `apply` writes its plan in one transaction, and refuses one that is
no longer true. A point is looked up among the polygons at and below its home, so that re-partition
of an organisation concerns exactly the points that were created or imported under it or below.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy
from sqlalchemy import Connection, bindparam, func, insert, select
from sqlalchemy import update as sql_update

from registry import organizations, rows, sharing
from registry.errors import Conflict
from registry.identity import new_id, now
from registry.jurisdictions import Explanation, Jurisdictions, Overlap
from registry.models import CHANGES, ORGANIZATIONS, POINTS
from registry.paging import AnyRow
from registry.partition import ADMINISTER, Principal, require, within

_P = POINTS.c
_O = ORGANIZATIONS.c
_CHUNK = 20_000
MAX_LISTED = 1_000
MAX_OVERLAPS = 200

Progress = Callable[[int, int], None]
"""`progress(done, total)` after each chunk; whatever it raises ends the planning."""

Stamp = tuple[tuple[str, int, str], ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PlannedMove:
    """A point that would change its owner or how it came by it. why: by what rule."""

    point_id: str
    name: str
    source: str
    target: str
    was_assigned_by: str
    assigned_by: str
    why: Explanation


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """How many points go from one organisation to another; the same one where only how they came
    by it changes."""

    source: str
    target: str
    assigned_by: str
    points: int


@dataclasses.dataclass(frozen=True, slots=True)
class _Change:
    point_id: str
    version: int
    source_id: str
    target_id: str
    was_assigned_by: str
    assigned_by: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """examined: points that were looked up. explicit: those left alone because somebody gave them
    to their owner. without_position: examined, and nowhere on the map. moves: the first 1,000.
    overlaps: polygons that contest ground, and who gets it, the greatest 200."""

    organization_id: str
    path: str
    examined: int
    explicit: int
    without_position: int
    unassigned: int
    moved: int
    moves: tuple[PlannedMove, ...]
    flows: tuple[Flow, ...]
    overlaps: tuple[Overlap, ...]
    changes: tuple[_Change, ...] = dataclasses.field(repr=False)
    stamp: Stamp = dataclasses.field(repr=False)


class _Planning:
    """What is gathered over all homes."""

    def __init__(self, paths: Mapping[str, str]) -> None:
        self.paths = paths
        self.changes: list[_Change] = []
        self.moves: list[PlannedMove] = []
        self.flows: Counter[tuple[str, str, str]] = Counter()
        self.examined = 0
        self.without_position = 0
        self.unassigned = 0

    def take(self, found: Sequence[AnyRow], home_id: str, polygons: Jurisdictions) -> None:
        """Look up some points of one home."""
        self.examined += len(found)
        placed = numpy.array([row.longitude is not None for row in found], dtype=bool)
        self.without_position += int(len(found) - placed.sum())
        best = numpy.full(len(found), -1, dtype=numpy.int64)
        best[placed] = polygons.ranks(
            [row.longitude for row in found if row.longitude is not None],
            [row.latitude for row in found if row.latitude is not None],
        )
        for row, rank in zip(found, best.tolist(), strict=True):
            if rank >= 0:
                target_id, assigned_by = polygons.at(rank).organization_id, "polygon"
            elif row.assigned_by == "explicit":
                # No polygon claims it: what somebody said stays.
                continue
            else:
                target_id, assigned_by = home_id, "none"
                self.unassigned += 1
            if (row.organization_id, row.assigned_by) != (target_id, assigned_by):
                self._change(row, target_id, assigned_by, polygons)

    def _change(
        self, row: AnyRow, target_id: str, assigned_by: str, polygons: Jurisdictions
    ) -> None:
        self.changes.append(
            _Change(
                row.id, row.version, row.organization_id, target_id, row.assigned_by, assigned_by
            )
        )
        source, target = self.paths[row.organization_id], self.paths[target_id]
        self.flows[source, target, assigned_by] += 1
        if len(self.moves) < MAX_LISTED:
            self.moves.append(
                PlannedMove(
                    point_id=row.id,
                    name=row.name,
                    source=source,
                    target=target,
                    was_assigned_by=row.assigned_by,
                    assigned_by=assigned_by,
                    why=polygons.explain(row.longitude, row.latitude),
                )
            )


def in_scope(connection: Connection, principal: Principal, reference: str) -> int:
    """How many points a re-partition of an organisation concerns, those explicitly given
    included. Raises: NotFound, Forbidden."""
    organization = organizations.get(connection, principal, reference)
    require(principal, ADMINISTER, organization.path)
    return connection.scalar(select(func.count()).where(_homed(organization.path))) or 0


def plan(
    connection: Connection,
    principal: Principal,
    reference: str,
    *,
    include_explicit: bool = False,
    progress: Progress = lambda done, total: None,
) -> Plan:
    """What a re-partition of an organisation would do. Needs `admin` at it. Writes nothing.

    include_explicit: points given explicitly go to the polygon that covers them, too; one that no
    polygon covers stays. progress: told how far it is.
    Raises: NotFound, Forbidden.
    """
    organization = organizations.get(connection, principal, reference)
    require(principal, ADMINISTER, organization.path)
    stamp = _stamp(connection, organization.path)
    paths = {each_id: path for each_id, _, path in stamp}
    counted = connection.execute(
        select(_P.home_id, _P.assigned_by, func.count().label("points"))
        .where(_homed(organization.path))
        .group_by(_P.home_id, _P.assigned_by)
        .order_by(_P.home_id)
    ).all()
    wanted = [row for row in counted if include_explicit or row.assigned_by != "explicit"]
    total = sum(row.points for row in wanted)
    planning = _Planning(paths)
    for home_id in dict.fromkeys(row.home_id for row in wanted):
        polygons = organizations.load_jurisdictions(connection, paths[home_id])
        for chunk in _chunks(connection, home_id, include_explicit):
            planning.take(chunk, home_id, polygons)
            progress(planning.examined, total)
    everything = organizations.load_jurisdictions(connection, organization.path)
    return Plan(
        organization_id=organization.id,
        path=organization.path,
        examined=planning.examined,
        explicit=sum(row.points for row in counted if row not in wanted),
        without_position=planning.without_position,
        unassigned=planning.unassigned,
        moved=len(planning.changes),
        moves=tuple(planning.moves),
        flows=tuple(
            Flow(source=source, target=target, assigned_by=assigned_by, points=number)
            for (source, target, assigned_by), number in sorted(planning.flows.items())
        ),
        overlaps=everything.overlaps()[:MAX_OVERLAPS],
        changes=tuple(planning.changes),
        stamp=stamp,
    )


def apply(connection: Connection, principal: Principal, made: Plan) -> None:
    """Do what a plan says, all of it or nothing.

    Raises: NotFound, Forbidden; Conflict where organisations, polygons or one of the points
    changed since the plan was made: plan again.
    """
    organizations.lock_tree(connection)
    organization = organizations.get(connection, principal, made.organization_id)
    require(principal, ADMINISTER, organization.path)
    if _stamp(connection, organization.path) != made.stamp:
        raise Conflict("organizations changed since this was planned", other=organization.path)
    for start in range(0, len(made.changes), _CHUNK):
        _write(connection, principal, made.changes[start : start + _CHUNK], dict(_paths(made)))
    sharing.end_stale(connection, principal)
    details = {"moved": made.moved, "examined": made.examined, "unassigned": made.unassigned}
    rows.record(
        connection, principal, "partition", "organization", organization.id, made.path, details
    )


def _paths(made: Plan) -> list[tuple[str, str]]:
    return [(each_id, path) for each_id, _, path in made.stamp]


def _homed(path: str) -> Any:
    return _P.home_id.in_(select(_O.id).where(within(_O.path, path)))


def _chunks(
    connection: Connection, home_id: str, include_explicit: bool
) -> Iterator[Sequence[AnyRow]]:
    """The points of one home by and by, never all of them in memory."""
    statement = select(
        _P.id,
        _P.version,
        _P.name,
        _P.longitude,
        _P.latitude,
        _P.organization_id,
        _P.assigned_by,
    ).where(_P.home_id == home_id)
    if not include_explicit:
        statement = statement.where(_P.assigned_by != "explicit")
    statement = statement.order_by(_P.id).limit(_CHUNK)
    found = connection.execute(statement).all()
    while found:
        yield found
        if len(found) < _CHUNK:
            return
        found = connection.execute(statement.where(_P.id > found[-1].id)).all()


def _stamp(connection: Connection, path: str) -> Stamp:
    """What the answer depends on beside the points."""
    statement = select(_O.id, _O.version, _O.path).where(within(_O.path, path)).order_by(_O.id)
    return tuple((row.id, row.version, row.path) for row in connection.execute(statement))


def _write(
    connection: Connection,
    principal: Principal,
    changes: tuple[_Change, ...],
    paths: Mapping[str, str],
) -> None:
    at = now()
    statement = (
        sql_update(POINTS)
        .where(_P.id == bindparam("of"), _P.version == bindparam("read"))
        .values(
            organization_id=bindparam("to"),
            assigned_by=bindparam("by"),
            version=_P.version + 1,
            updated_at=at,
        )
    )
    written = connection.execute(
        statement,
        [
            {"of": c.point_id, "read": c.version, "to": c.target_id, "by": c.assigned_by}
            for c in changes
        ],
    )
    if written.rowcount != len(changes):
        raise Conflict("points changed since this was planned")
    connection.execute(
        insert(CHANGES),
        [
            {
                "id": new_id(),
                "at": at,
                "user_id": principal.user_id,
                "user_name": principal.name,
                "action": "partition",
                "kind": "point",
                "object_id": c.point_id,
                "organization_path": paths[c.source_id],
                "details": rows.difference(
                    {"organization_id": c.source_id, "assigned_by": c.was_assigned_by},
                    {"organization_id": c.target_id, "assigned_by": c.assigned_by},
                ),
            }
            for c in changes
        ],
    )
