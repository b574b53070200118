"""Lists of points in pages, with exact totals, as quick for a workroom of a province as of a town.

What the statements are, and what they do, is in `point_statements`.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import (
    Connection,
    select,
)

from registry import organizations, point_rules
from registry.database import Driver
from registry.errors import Invalid
from registry.identity import now, parse_id
from registry.models import ORGANIZATIONS, POINTS
from registry.paging import DEFAULT_LIMIT, MAX_LIMIT, Page, decode_cursor, encode_cursor
from registry.partition import (
    RECEIVE_SHARES,
    SEE_POINTS,
    Principal,
    contains,
    receives,
    top_paths,
)
from registry.point_counts import COUNTED
from registry.point_statements import (
    Shape,
    dialect_of,
    page_statement,
    roots_statement,
    run,
    stamp,
    total_statement,
)
from registry.points import COLUMNS, Point, read_point, with_shares
from registry.search import lowered, words

_P = POINTS.c
_O = ORGANIZATIONS.c
_DEGREES = (Point._fields.index("longitude"), Point._fields.index("latitude"))
_ID_LENGTH = 36
_FIRST_ID = "00000000-0000-0000-0000-000000000000"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PointFilter:
    """None is anything. organization: id or path; those below it are included. q: words.
    bbox: west, south, east, north in degrees; west may be greater, across the 180th meridian."""

    organization: str | None = None
    q: str | None = None
    status: str | None = None
    category: int | None = None
    ownership: str | None = None
    assigned_by: str | None = None
    bbox: tuple[float, float, float, float] | None = None


EVERYTHING = PointFilter()


def page(
    connection: Connection,
    principal: Principal,
    wanted: PointFilter = EVERYTHING,
    *,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[Point]:
    """The points that the principal sees and the filter wants, in the order they were made.

    Raises: NotFound for an organisation that is not seen; Invalid.
    """
    shape, values = _question(connection, principal, wanted)
    values |= _place(limit, cursor)
    found, total = _read_page(connection, shape, values)
    items = with_shares(connection, principal, tuple(map(read_point, found[:limit])))
    more = len(found) > limit
    return Page(items=items, next=encode_cursor(items[-1].id) if more else None, total=total)


def stamps(
    connection: Connection | Driver,
    principal: Principal,
    wanted: PointFilter = EVERYTHING,
    *,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[str]:
    """`page`, with each point's stamp in its place: its id, and what tells this state of the point
    and the names of its owner from every other. For who keeps what was made of points, and whom
    nothing is shared with. A bare driver cannot look an organisation up. Raises: as `page`.
    """
    shape, values = _question(connection, principal, wanted, stamps=True)
    values |= _place(limit, cursor)
    found, total = run(connection, page_statement(shape), values)[0]
    # Each begins with its id; what an aggregate is given in order, it need not keep so.
    items = sorted(msgspec.json.decode(found, type=list[str]) if found else ())
    more = len(items) > limit
    items = items[:limit]
    next_ = encode_cursor(items[-1][:_ID_LENGTH]) if more else None
    return Page(items=tuple(items), next=next_, total=total)


def stamped(connection: Connection, wanted: Iterable[str]) -> dict[str, Point]:
    """Points by the stamps they have now, given stamps that they had; those that are gone are left
    out. Nobody's rights are looked at: they were, where the stamps came from."""
    ids = [each[:_ID_LENGTH] for each in wanted]
    statement = (
        select(*COLUMNS, stamp(connection.dialect.name))
        .join_from(POINTS, ORGANIZATIONS, _P.organization_id == _O.id)
        .where(_P.id.in_(ids))
    )
    return {row[-1]: read_point(row) for row in connection.execute(statement)}


def _place(limit: int, cursor: str | None) -> dict[str, Any]:
    """Where the page is in the list. Raises: Invalid."""
    if not 1 <= limit <= MAX_LIMIT:
        raise Invalid.at("limit", f"must be 1 to {MAX_LIMIT}")
    return {"after": _after(cursor), "most": limit + 1, "skipped": limit}


def _read_page(
    connection: Connection, shape: Shape, values: Mapping[str, Any]
) -> tuple[Sequence[Sequence[Any]], int]:
    """Rows of `COLUMNS` of the page and one more, and the total of all."""
    found = run(connection, page_statement(shape), values)
    if shape.dialect == "sqlite":
        document, total = found[0]
        return [_with_position(row) for row in msgspec.json.decode(document)], total
    if found:
        return found, found[0][-1]
    return found, run(connection, total_statement(shape), values)[0][0]


def _with_position(row: list[Any]) -> list[Any]:
    """A row of SQLite's JSON, in which only a text keeps all digits of a number."""
    for column in _DEGREES:
        if row[column] is not None:
            row[column] = float(row[column])
    return row


def _after(cursor: str | None) -> str:
    if cursor is None:
        return _FIRST_ID
    parsed = parse_id(decode_cursor(cursor))
    if parsed is None:
        raise Invalid.at("cursor", "is not one that a list of ours gave")
    return parsed


# --- the question -----------------------------------------------------------------------------


def _question(
    connection: Connection | Driver,
    principal: Principal,
    wanted: PointFilter,
    *,
    stamps: bool = False,
) -> tuple[Shape, dict[str, Any]]:
    """The shape of the statement, and the values of its parameters."""
    tops = top_paths(principal, SEE_POINTS)
    receiving = top_paths(principal, RECEIVE_SHARES) if receives(principal) else ()
    below = None
    if wanted.organization is not None:
        assert isinstance(connection, Connection)
        below = organizations.get_shown(connection, principal, wanted.organization).path
        tops = _narrowed(tops, below)
    only = principal.only if below is None and not receiving else None
    everything = only is None and (tops == ("",) or _covers_all(connection, tops))
    point_rules.check_filter(wanted.status, wanted.category, wanted.ownership, wanted.assigned_by)
    counted = {name: getattr(wanted, name) for name in COUNTED}
    values = {name: value for name, value in counted.items() if value is not None}
    looked_for = words(wanted.q) if wanted.q is not None else []
    shape = Shape(
        dialect=dialect_of(connection),
        stamps=stamps,
        only=only is not None,
        tops=None if everything else len(tops),
        receives=0 if everything else len(receiving),
        below=below is not None,
        counted=tuple(values),
        words=len(looked_for),
        box=_box(wanted.bbox),
    )
    if only is not None:
        values["only"] = only
    elif not everything:
        values |= _path_values("top", tops)
    if shape.receives:
        values |= _path_values("receives", receiving) | {"now": _stored(connection, now())}
        if below is not None:
            values |= _path_values("below", (below,))
    for number, word in enumerate(looked_for):
        values[f"word{number}"] = lowered(word) if shape.dialect == "sqlite" else word
    if wanted.bbox is not None:
        values |= dict(zip(("west", "south", "east", "north"), wanted.bbox, strict=True))
    return shape, values


def _narrowed(tops: Sequence[str], below: str) -> tuple[str, ...]:
    """What of the subtrees at tops is at or below a path."""
    if any(contains(top, below) for top in tops):
        return (below,)
    return tuple(top for top in tops if contains(below, top))


def _covers_all(connection: Connection | Driver, tops: Sequence[str]) -> bool:
    """Whether no organisation is outside the tops, so that no owner needs to be looked at."""
    roots = {top for top in tops if "/" not in top}
    if not roots:
        return False
    statement = roots_statement(dialect_of(connection))
    return {row[0] for row in run(connection, statement, {})} <= roots


def _box(bbox: tuple[float, float, float, float] | None) -> str:
    if bbox is None:
        return ""
    point_rules.check_box(*bbox)
    west_deg, _, east_deg, _ = bbox
    return "plain" if west_deg <= east_deg else "across"


def _path_values(name: str, paths: Iterable[str]) -> dict[str, str]:
    values = {}
    for number, path in enumerate(paths):
        values[f"{name}{number}"] = path
        # "0" follows "/" in byte order.
        values[f"{name}{number}_from"], values[f"{name}{number}_to"] = f"{path}/", f"{path}0"
    return values


def _stored(connection: Connection | Driver, at: datetime) -> Any:
    """An instant as the driver takes it."""
    if dialect_of(connection) == "sqlite":
        return at.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
    return at
