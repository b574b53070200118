"""Giving points back to the polygons: what would move and why, then moving it.

`plan` reads and may take long; `apply` writes its plan in one transaction, and refuses one that is
no longer true. A point is looked up among the polygons at and below its home, so that re-partition
of an organisation concerns exactly the points that were created or imported under it or below.
"""

import contextlib
import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import numpy
from numpy.typing import NDArray
from sqlalchemy import (
    Connection,
    func,
    select,
    text,
)

from registry import organizations, rows, sharing
from registry.errors import Conflict
from registry.exchange.bulk import insert_rows, narrow_cache, stored, widen_cache
from registry.identity import new_id, now
from registry.jurisdictions import Explanation, Jurisdictions, Overlap
from registry.models import CHANGES, ORGANIZATIONS, POINT_COUNTS, POINTS
from registry.partition import ADMINISTER, Principal, require, within
from registry.placed_points import BY, PlacedPoints, chunks, homes_below
from registry.point_counts import counted_at_once

_P = POINTS.c
_O = ORGANIZATIONS.c
_WRITTEN_AT_ONCE = 5_000
"""A statement that writes more could take longer than PostgreSQL is let."""
_FEW = 2_000
"""Points that are counted one by one: fewer than it takes to count all of their owners' anew."""
_RECORD = (
    *("id", "at", "user_id", "user_name", "action", "kind"),
    *("object_id", "organization_path", "details"),
)
_EXPLICIT, _POLYGON, _NONE = range(len(BY))
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

    def __init__(
        self,
        connection: Connection,
        stamp: Stamp,
        polygons: Jurisdictions,
        include_explicit: bool,
    ) -> None:
        self.changes: list[_Change] = []
        self.reasons: list[tuple[_Change, Explanation]] = []
        self.flows: Counter[tuple[str, str, str]] = Counter()
        self.examined = 0
        self.explicit = 0
        self.without_position = 0
        self.unassigned = 0
        self._connection = connection
        self._paths = [path for _, _, path in stamp]
        self._ids = [each_id for each_id, _, _ in stamp]
        self.numbers = {each_id: number for number, each_id in enumerate(self._ids)}
        self._all = polygons
        self._include_explicit = include_explicit
        self._polygons: dict[int, tuple[Jurisdictions, NDArray[numpy.int64]]] = {}

    def take(self, points: PlacedPoints) -> None:
        """Look up some points."""
        everyone = self._include_explicit
        wanted = numpy.ones(len(points), bool) if everyone else points.by != _EXPLICIT
        self.explicit += int(len(points) - wanted.sum())
        for home in numpy.unique(points.homes[wanted]).tolist():
            self._take_home(home, numpy.flatnonzero(wanted & (points.homes == home)), points)

    def _take_home(self, home: int, which: NDArray[numpy.int64], points: PlacedPoints) -> None:
        """Look up those points of a chunk that have one home. which: their places in it."""
        polygons, owner_of_rank = self._polygons_of(home)
        longitudes_deg, latitudes_deg = points.longitudes_deg, points.latitudes_deg
        self.examined += len(which)
        placed = which[~numpy.isnan(longitudes_deg[which])]
        self.without_position += len(which) - len(placed)
        rank = numpy.full(len(points), -1, dtype=numpy.int64)
        rank[placed] = polygons.ranks(longitudes_deg[placed], latitudes_deg[placed])
        # No polygon claims an explicit one: what somebody said stays.
        which = which[(rank[which] >= 0) | (points.by[which] != _EXPLICIT)]
        covered = rank[which] >= 0
        self.unassigned += int(len(which) - covered.sum())
        target = numpy.where(covered, owner_of_rank[rank[which]], home)
        target_by = numpy.where(covered, _POLYGON, _NONE)
        changed = (target != points.owners[which]) | (target_by != points.by[which])
        for here in numpy.flatnonzero(changed).tolist():
            at = int(which[here])
            change = _Change(
                points.id_of(at),
                int(points.versions[at]),
                self._ids[points.owners[at]],
                self._ids[target[here]],
                BY[points.by[at]],
                BY[target_by[here]],
            )
            self._change(change, polygons, float(longitudes_deg[at]), float(latitudes_deg[at]))

    def _change(
        self,
        change: _Change,
        polygons: Jurisdictions,
        longitude_deg: float,
        latitude_deg: float,
    ) -> None:
        self.changes.append(change)
        self.flows[change.source_id, change.target_id, change.assigned_by] += 1
        if len(self.reasons) < MAX_LISTED:
            nowhere = math.isnan(longitude_deg)
            place = (None, None) if nowhere else (longitude_deg, latitude_deg)
            self.reasons.append((change, polygons.explain(*place)))

    def _polygons_of(self, home: int) -> tuple[Jurisdictions, NDArray[numpy.int64]]:
        """The polygons of a home and below it, and the number of each one's organisation. The
        last entry is for rank -1, and is not used."""
        if home not in self._polygons:
            polygons = self._all.below(self._paths[home])
            numbers = [
                self.numbers[polygons.at(rank).organization_id] for rank in range(len(polygons))
            ]
            self._polygons[home] = polygons, numpy.array([*numbers, -1], dtype=numpy.int64)
        return self._polygons[home]

    def moves(self) -> tuple[PlannedMove, ...]:
        """The first 1,000, with their names."""
        ids = [change.point_id for change, _ in self.reasons]
        found = self._connection.execute(select(_P.id, _P.name).where(_P.id.in_(ids)))
        names = {row.id: row.name for row in found}
        return tuple(
            PlannedMove(
                point_id=change.point_id,
                name=names.get(change.point_id, ""),
                source=self._path(change.source_id),
                target=self._path(change.target_id),
                was_assigned_by=change.was_assigned_by,
                assigned_by=change.assigned_by,
                why=why,
            )
            for change, why in self.reasons
        )

    def flowing(self) -> tuple[Flow, ...]:
        """Where how many go."""
        return tuple(
            Flow(source=source, target=target, assigned_by=assigned_by, points=number)
            for (source, target, assigned_by), number in sorted(
                ((self._path(source), self._path(target), assigned_by), number)
                for (source, target, assigned_by), number in self.flows.items()
            )
        )

    def _path(self, organization_id: str) -> str:
        return self._paths[self.numbers[organization_id]]


def in_scope(connection: Connection, principal: Principal, reference: str) -> int:
    """How many points a re-partition of an organisation concerns, those explicitly given
    included. Raises: NotFound, Forbidden."""
    organization = organizations.get(connection, principal, reference)
    require(principal, ADMINISTER, organization.path)
    return (
        connection.scalar(
            select(func.count()).where(_P.home_id.in_(homes_below(organization.path)))
        )
        or 0
    )


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
    Raises: NotFound, Forbidden; Conflict where organisations change meanwhile.
    """
    organization = organizations.get(connection, principal, reference)
    require(principal, ADMINISTER, organization.path)
    stamp = _stamp(connection, organization.path)
    total = in_scope(connection, principal, organization.id)
    polygons = organizations.load_jurisdictions(connection, organization.path)
    planning = _Planning(connection, stamp, polygons, include_explicit)
    there_are = connection.scalar(select(func.sum(POINT_COUNTS.c.points))) or 0
    done = 0
    for chunk in chunks(
        connection, organization.path, planning.numbers, most_of_all=total * 4 > there_are
    ):
        planning.take(chunk)
        done += len(chunk)
        progress(done, total)
    return Plan(
        organization_id=organization.id,
        path=organization.path,
        examined=planning.examined,
        explicit=planning.explicit,
        without_position=planning.without_position,
        unassigned=planning.unassigned,
        moved=len(planning.changes),
        moves=planning.moves(),
        flows=planning.flowing(),
        overlaps=polygons.overlaps()[:MAX_OVERLAPS],
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
    paths = {each_id: path for each_id, _, path in made.stamp}
    touched = {each for c in made.changes for each in (c.source_id, c.target_id)}
    many = len(made.changes) > _FEW
    with _at_once(connection, touched) if many else contextlib.nullcontext():
        for start in range(0, len(made.changes), _WRITTEN_AT_ONCE):
            part = made.changes[start : start + _WRITTEN_AT_ONCE]
            _write(connection, principal, part, paths)
    sharing.end_stale(connection, principal)
    details = {"moved": made.moved, "examined": made.examined, "unassigned": made.unassigned}
    rows.record(
        connection, principal, "partition", "organization", organization.id, made.path, details
    )


def _stamp(connection: Connection, path: str) -> Stamp:
    """What the answer depends on beside the points."""
    statement = select(_O.id, _O.version, _O.path).where(within(_O.path, path)).order_by(_O.id)
    return tuple((row.id, row.version, row.path) for row in connection.execute(statement))


@contextlib.contextmanager
def _at_once(connection: Connection, touched: Iterable[str]) -> Iterator[None]:
    """For very many changes: counted once at the end. touched: organisations, by id."""
    widen_cache(connection)
    try:
        with counted_at_once(connection, touched):
            yield
    finally:
        narrow_cache(connection)


def _write(
    connection: Connection,
    principal: Principal,
    changes: Sequence[_Change],
    paths: Mapping[str, str],
) -> None:
    at = now()
    if _update_owners(connection, changes, at) != len(changes):
        raise Conflict("points changed since this was planned")
    moment = stored(connection, at, CHANGES.c.at)
    who = (moment, principal.user_id, principal.name, "partition", "point")
    insert_rows(
        connection,
        CHANGES,
        _RECORD,
        [(new_id(), *who, c.point_id, paths[c.source_id], _details(c, principal)) for c in changes],
    )


def _details(c: _Change, principal: Principal) -> str:
    changed: dict[str, Any] = dict(principal.by)
    if c.source_id != c.target_id:
        changed["organization_id"] = [c.source_id, c.target_id]
    if c.was_assigned_by != c.assigned_by:
        changed["assigned_by"] = [c.was_assigned_by, c.assigned_by]
    return msgspec.json.encode(changed).decode()


def _update_owners(connection: Connection, changes: Sequence[_Change], at: datetime) -> int:
    """How many points there were. PostgreSQL takes all in one statement, and so counts once for
    it."""
    if connection.dialect.name == "sqlite":
        moment = stored(connection, at, _P.updated_at)
        return connection.exec_driver_sql(
            "UPDATE points SET organization_id = ?, assigned_by = ?, version = version + 1, "
            "updated_at = ? WHERE id = ? AND version = ?",
            [(c.target_id, c.assigned_by, moment, c.point_id, c.version) for c in changes],
        ).rowcount
    statement = text(
        "UPDATE points SET organization_id = c.owner, assigned_by = c.by, "
        "version = version + 1, updated_at = :at "
        "FROM unnest(CAST(:ids AS uuid[]), CAST(:versions AS int[]), CAST(:owners AS uuid[]), "
        "CAST(:bys AS text[])) AS c (of, read, owner, by) "
        "WHERE points.id = c.of AND points.version = c.read"
    )
    values = {
        "at": at,
        "ids": [c.point_id for c in changes],
        "versions": [c.version for c in changes],
        "owners": [c.target_id for c in changes],
        "bys": [c.assigned_by for c in changes],
    }
    return connection.execute(statement, values).rowcount
