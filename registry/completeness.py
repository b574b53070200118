"""Which points lack which of the sixteen mandatory attributes of *one machine, one file*."""

import dataclasses
from collections.abc import Mapping

from sqlalchemy import ColumnElement, Connection, String, and_, case, cast, func, or_, select

from registry import organizations
from registry.machine_file import ATTRIBUTES, MANDATORY_COLUMNS
from registry.models import POINTS
from registry.partition import SEE_POINTS, Principal, owned_within, visible

MANDATORY = (
    *MANDATORY_COLUMNS,
    *(name for name, attribute in ATTRIBUTES.items() if attribute.mandatory),
)
MAX_LISTED = 1000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Incomplete:
    """lacking: names of mandatory attributes."""

    point_id: str
    name: str
    lacking: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Completeness:
    """points: all that were looked at. complete: those that lack nothing. lacking: by attribute,
    how many lack it. incomplete: those that lack something, by id, 1000 at most, from ``after``
    on; next: the id to go on after, None at the end."""

    organization: str
    points: int
    complete: int
    lacking: Mapping[str, int]
    incomplete: tuple[Incomplete, ...]
    next: str | None


def _lacks(name: str) -> ColumnElement[bool]:
    if name not in MANDATORY_COLUMNS:
        # None there is JSON's null, and an empty list is no type at all.
        text = func.coalesce(cast(POINTS.c.attributes[name].as_string(), String), "")
        return text.in_(("", "[]", "null"))
    column = POINTS.c[name]
    if name in ("name", "place"):
        return column == ""
    return column.is_(None)


def completeness(
    connection: Connection,
    principal: Principal,
    organization: str,
    *,
    after: str = "",
    limit: int = 100,
) -> Completeness:
    """What the points of an organisation and of those below it lack, as far as the principal sees.

    Raises: NotFound.
    """
    below = organizations.get(connection, principal, organization, SEE_POINTS)
    scope = and_(
        owned_within(POINTS.c.organization_id, below.path),
        visible(POINTS.c.organization_id, principal, SEE_POINTS),
    )
    lacks = {name: _lacks(name) for name in MANDATORY}
    counted = connection.execute(
        select(
            func.count(),
            func.coalesce(func.sum(case((or_(*lacks.values()), 0), else_=1)), 0),
            *(func.coalesce(func.sum(case((each, 1), else_=0)), 0) for each in lacks.values()),
        )
        .select_from(POINTS)
        .where(scope)
    ).one()
    wanted = (
        select(POINTS.c.id, POINTS.c.name, *(case((each, 1), else_=0) for each in lacks.values()))
        .where(scope, or_(*lacks.values()))
        .order_by(POINTS.c.id)
        .limit(min(limit, MAX_LISTED))
    )
    if after:
        wanted = wanted.where(POINTS.c.id > after)
    incomplete = tuple(
        Incomplete(
            point_id=row[0],
            name=row[1],
            lacking=tuple(name for name, lacking in zip(lacks, row[2:], strict=True) if lacking),
        )
        for row in connection.execute(wanted)
    )
    full = len(incomplete) == min(limit, MAX_LISTED)
    return Completeness(
        organization=below.path,
        points=counted[0],
        complete=int(counted[1]),
        lacking={name: int(n) for name, n in zip(lacks, counted[2:], strict=True)},
        incomplete=incomplete,
        next=incomplete[-1].point_id if full and incomplete else None,
    )
