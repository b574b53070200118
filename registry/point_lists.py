"""Lists of points in pages, with exact totals, as quick for a workroom of a province as of a town.

A statement is built once for each shape that a question can have, and kept as text: building it
takes longer than running it. What it does, for owners that are few or many:

- counted: kept sums give the total; of each owner the next few points are looked up by index.
- found (text or box): all matches are looked up in an index alone, counted, and cut to a page.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import (
    CTE,
    BigInteger,
    BindParameter,
    ColumnElement,
    Connection,
    Double,
    Integer,
    Select,
    SelectBase,
    Subquery,
    Text,
    bindparam,
    case,
    cast,
    false,
    func,
    literal_column,
    or_,
    select,
    true,
    union,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler

from registry import organizations, point_rules
from registry.database import Driver
from registry.errors import Invalid
from registry.identity import now, parse_id
from registry.models import ORGANIZATIONS, POINT_COUNTS, POINTS, SHARES
from registry.paging import DEFAULT_LIMIT, MAX_LIMIT, Page, decode_cursor, encode_cursor
from registry.partition import (
    RECEIVE_SHARES,
    SEE_POINTS,
    Principal,
    contains,
    lies_within,
    receives,
    top_paths,
)
from registry.point_counts import COUNTED
from registry.points import COLUMNS, Point, read_point, with_shares
from registry.search import escaped, words

_P = POINTS.c
_O = ORGANIZATIONS.c
_DEGREES = (Point._fields.index("longitude"), Point._fields.index("latitude"))
_OWNER = (Point._fields.index("organization_path"), Point._fields.index("organization_name"))
_ID_LENGTH = 36
_LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"
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


@dataclasses.dataclass(frozen=True, slots=True)
class _Shape:
    """What makes one statement another. stamps: their stamps are asked for, not the points. only:
    all points are those of one organisation. tops, receives: at how many paths the principal sees
    points, and is shown some; tops is None where they see every one. below: narrowed to an
    organisation. counted: which of `COUNTED` are asked for. words: of the text. box: "", "plain",
    or "across" the 180th meridian."""

    dialect: str
    stamps: bool
    only: bool
    tops: int | None
    receives: int
    below: bool
    counted: tuple[str, ...]
    words: int
    box: str

    @property
    def found(self) -> bool:
        """Whether no kept sum gives the total."""
        return bool(self.words or self.box)


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
    found, total = _run(connection, _page_statement(shape), values)[0]
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
        select(*COLUMNS, _stamp(connection.dialect.name))
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
    connection: Connection, shape: _Shape, values: Mapping[str, Any]
) -> tuple[Sequence[Sequence[Any]], int]:
    """Rows of `COLUMNS` of the page and one more, and the total of all."""
    found = _run(connection, _page_statement(shape), values)
    if shape.dialect == "sqlite":
        document, total = found[0]
        return [_with_position(row) for row in msgspec.json.decode(document)], total
    if found:
        return found, found[0][-1]
    return found, _run(connection, _total_statement(shape), values)[0][0]


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
) -> tuple[_Shape, dict[str, Any]]:
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
    shape = _Shape(
        dialect=_dialect(connection),
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
        plain = shape.dialect == "sqlite"
        values[f"word{number}"] = word if plain else f"%{escaped(word)}%"
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
    statement = _roots_statement(_dialect(connection))
    return {row[0] for row in _run(connection, statement, {})} <= roots


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
    if _dialect(connection) == "sqlite":
        return at.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
    return at


# --- the statements -------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class _Statement:
    """SQL as the driver takes it. names: of its parameters, in their order, for SQLite.
    constants: the parameters that are always the same."""

    sql: str
    names: tuple[str, ...] | None
    constants: Mapping[str, Any]


def _dialect(connection: Connection | Driver) -> str:
    return connection.kind if isinstance(connection, Driver) else connection.dialect.name


def _run(
    connection: Connection | Driver, statement: _Statement, values: Mapping[str, Any]
) -> Sequence[Sequence[Any]]:
    given: Any = {**statement.constants, **values}
    if statement.names is not None:
        given = tuple(given[name] for name in statement.names)
    if isinstance(connection, Driver):
        return connection.rows(statement.sql, given)
    result = connection.exec_driver_sql(statement.sql, given)
    # The driver's own tuples: SQLAlchemy would make an object of each.
    rows: Sequence[Sequence[Any]] = result.cursor.fetchall()
    result.close()
    return rows


class _HintedCompiler(SQLiteCompiler):
    """Writes hints down, which SQLAlchemy leaves out for SQLite."""

    def get_from_hint_text(self, table: Any, text: Any) -> Any:
        return text


def _compiled(statement: Select[Any], name: str) -> _Statement:
    dialect: Any = (postgresql.psycopg if name == "postgresql" else sqlite.pysqlite).dialect()
    if name == "sqlite":
        dialect.statement_compiler = _HintedCompiler
    compiled = statement.compile(dialect=dialect)
    names = compiled.positiontup
    constants = {name: value for name, value in compiled.params.items() if value is not None}
    return _Statement(str(compiled), tuple(names) if names is not None else None, constants)


@functools.lru_cache(maxsize=16)
def _roots_statement(dialect: str) -> _Statement:
    return _compiled(select(_O.path).where(_O.parent_id.is_(None)), dialect)


@functools.lru_cache(maxsize=1024)
def _page_statement(shape: _Shape) -> _Statement:
    """`COLUMNS` of a page and, last in each row, the total."""
    if shape.only and not shape.found:
        return _in_one_row(_page_of_one(shape), _total_of_one(shape), shape)
    owners = _owners(shape)
    alone = _alone(shape, owners)
    after = bindparam("after", type_=_P.id.type)
    ids: SelectBase
    total: ColumnElement[int]
    if shape.found:
        matches = _matches(shape, owners, alone)
        total = select(func.count()).select_from(matches).scalar_subquery()
        ids = select(matches.c.id).where(matches.c.id > after)
    else:
        total = _total(shape, owners, alone)
        ids = _next_of_owners(shape, owners, after)
        if alone is not None:
            ids = union(ids, select(alone.c.id).where(alone.c.id > after))
    next_ids = ids.subquery("next_ids")
    some = select(next_ids.c.id).order_by(next_ids.c.id).limit(bindparam("most", type_=Integer()))
    page = (
        select(*_columns(shape))
        .join_from(POINTS, ORGANIZATIONS, _P.organization_id == _O.id)
        .where(_P.id.in_(some))
        .order_by(_P.id)
    )
    return _in_one_row(page, cast(total, BigInteger), shape)


def _columns(
    shape: _Shape, of_owner: Callable[[ColumnElement[str]], ColumnElement[str]] = lambda each: each
) -> Iterator[ColumnElement[Any]]:
    """`COLUMNS`, on SQLite as they can stand in JSON, each with a name of its own; or the stamp.
    of_owner: how a column of the owner is had."""
    if shape.stamps:
        yield _stamp(shape.dialect, of_owner).label("stamp")
        return
    for number, column in enumerate(COLUMNS):
        if number in _OWNER:
            yield of_owner(column).label(f"c{number}")
        elif shape.dialect == "sqlite" and number in _DEGREES:
            exact = case((column.is_(None), None), else_=func.printf("%!.17g", column))
            yield exact.label(f"c{number}")
        else:
            yield column.label(f"c{number}")


def _stamp(
    dialect: str, of_owner: Callable[[ColumnElement[str]], ColumnElement[str]] = lambda each: each
) -> ColumnElement[str]:
    """SQL: a point's stamp. PostgreSQL says which transaction wrote each row; for SQLite, what
    changes with each write: what agents see is no edit, and counts up no version."""
    if dialect == "postgresql":
        parts = [_written_by("points"), of_owner(_written_by("organizations"))]
    else:
        parts = [cast(each, Text) for each in (_P.version, _P.updated_at, _P.status_since)]
        parts += [_P.status, _P.status_reason, of_owner(_O.path), of_owner(_O.name)]
    mark: ColumnElement[str] = literal_column("'|'", Text())
    whole: ColumnElement[str] = cast(_P.id, Text)
    for each in parts:
        whole = whole + mark + each
    return whole


def _written_by(table: str) -> ColumnElement[str]:
    return cast(literal_column(f"{table}.xmin"), Text)


def _in_one_row(page: Select[Any], total: ColumnElement[int], shape: _Shape) -> _Statement:
    """The page with its total: on PostgreSQL in each row, on SQLite one row with all of them as
    JSON, as with stamps on both. SQLite's driver lets go of Python's lock for every row, and with
    an event loop and other readers beside it, it waits for it each time: that took longer than
    everything else."""
    if shape.stamps:
        stamp = page.subquery("page").c.stamp
        in_json = func.json_group_array if shape.dialect == "sqlite" else func.json_agg
        listed: ColumnElement[Any] = cast(in_json(stamp), Text)
        return _compiled(select(listed, total.label("total")), shape.dialect)
    if shape.dialect == "postgresql":
        return _compiled(page.add_columns(total.label("total")), shape.dialect)
    rows = page.subquery("page")
    whole = select(func.json_group_array(func.json_array(*rows.c)), total.label("total"))
    return _compiled(whole, shape.dialect)


@functools.lru_cache(maxsize=1024)
def _total_statement(shape: _Shape) -> _Statement:
    if shape.only and not shape.found:
        return _compiled(select(_total_of_one(shape)), shape.dialect)
    owners = _owners(shape)
    alone = _alone(shape, owners)
    if shape.found:
        matches = _matches(shape, owners, alone)
        return _compiled(select(func.count()).select_from(matches), shape.dialect)
    total = _total(shape, owners, alone)
    return _compiled(select(cast(total, BigInteger)), shape.dialect)


def _page_of_one(shape: _Shape) -> Select[Any]:
    """The page of a workroom, which is what most people ask for: one run through one index."""
    only = bindparam("only", type_=_O.id.type)

    def of_owner(column: ColumnElement[str]) -> ColumnElement[str]:
        return select(column).select_from(ORGANIZATIONS).where(_O.id == only).scalar_subquery()

    return (
        select(*_columns(shape, of_owner))
        .select_from(POINTS)
        .where(
            _P.organization_id == only,
            *_wanted(shape),
            _P.id > bindparam("after", type_=_P.id.type),
        )
        .order_by(_P.id)
        .limit(bindparam("most", type_=Integer()))
    )


def _total_of_one(shape: _Shape) -> ColumnElement[int]:
    kept = POINT_COUNTS.c
    counted = select(func.coalesce(func.sum(kept.points), 0)).where(
        kept.organization_id == bindparam("only", type_=_O.id.type),
        *(kept[name] == bindparam(name, type_=_P[name].type) for name in shape.counted),
    )
    return cast(counted.scalar_subquery(), BigInteger)


def _paths(name: str, number: int) -> ColumnElement[bool]:
    """On organisations: at one of the paths given as parameters, or below."""

    def path(suffix: str) -> BindParameter[str]:
        return bindparam(f"{name}{suffix}", type_=_O.path.type)

    return or_(
        false(),
        *(
            or_(
                _O.path == path(f"{each}"),
                (_O.path > path(f"{each}_from")) & (_O.path < path(f"{each}_to")),
            )
            for each in range(number)
        ),
    )


def _owners(shape: _Shape) -> CTE | None:
    """The ids of the organisations all whose points are seen; None for every one."""
    if shape.tops is None:
        return None
    if shape.only:
        return select(_O.id).where(_O.id == bindparam("only", type_=_O.id.type)).cte("owners")
    own = select(_O.id).where(_paths("top", shape.tops))
    if not shape.receives:
        return own.cte("owners")
    given = _given(shape)
    shown = select(_O.id).join(
        given, given.c.point_id.is_(None) & lies_within(_O.path, given.c.owner_path)
    )
    if shape.below:
        shown = shown.where(_paths("below", 1))
    return union(own, shown).cte("owners")


def _given(shape: _Shape) -> Subquery:
    """The shares that are given to the principal and hold now."""
    owner = ORGANIZATIONS.alias("share_owner")
    at = bindparam("now", type_=SHARES.c.starts_at.type)
    return (
        select(SHARES.c.point_id, SHARES.c.owner_id, owner.c.path.label("owner_path"))
        .join(owner, owner.c.id == SHARES.c.owner_id)
        .where(
            SHARES.c.receiver_id.in_(select(_O.id).where(_paths("receives", shape.receives))),
            SHARES.c.starts_at <= at,
            SHARES.c.ends_at > at,
        )
        .subquery("given")
    )


def _alone(shape: _Shape, owners: CTE | None) -> CTE | None:
    """The ids of the points that are shown one by one, as the filter wants them, where no owner
    shows them anyway; None where none can be."""
    if not shape.receives or owners is None:
        return None
    given = _given(shape)
    shown = (
        select(_P.id)
        .join(given, (given.c.point_id == _P.id) & (given.c.owner_id == _P.organization_id))
        .where(_P.organization_id.not_in(select(owners.c.id)), *_wanted(shape))
        .distinct()
    )
    if shape.below:
        shown = shown.where(_P.organization_id.in_(select(_O.id).where(_paths("below", 1))))
    return shown.cte("alone")


def _wanted(shape: _Shape) -> Iterator[ColumnElement[bool]]:
    """What the filter says of a point itself."""
    for name in shape.counted:
        yield _P[name] == bindparam(name, type_=_P[name].type)
    for number in range(shape.words):
        # A subquery, or the word would be put in lower case again for every row.
        word = select(func.lower(bindparam(f"word{number}", type_=Text()))).scalar_subquery()
        if shape.dialect == "sqlite":
            yield func.instr(_P.search, word) > 0
        else:
            yield _P.search.like(word)
    if shape.box:
        side = functools.partial(bindparam, type_=Double())
        yield _P.latitude.between(side("south"), side("north"))
        if shape.box == "plain":
            yield _P.longitude.between(side("west"), side("east"))
        else:
            yield or_(_P.longitude >= side("west"), _P.longitude <= side("east"))


def _matches(shape: _Shape, owners: CTE | None, alone: CTE | None) -> CTE:
    """The ids of all points that are seen and wanted."""
    found = select(_P.id).where(*_wanted(shape))
    if owners is not None:
        found = found.where(_P.organization_id.in_(select(owners.c.id)))
    if shape.words and not shape.box:
        # SQLite would take the shorter index, and then look into every row for the text.
        found = found.with_hint(POINTS, "INDEXED BY ix_points_search", "sqlite")
    if alone is None:
        return found.cte("matches")
    return union(found, select(alone.c.id)).cte("matches")


def _total(shape: _Shape, owners: CTE | None, alone: CTE | None) -> ColumnElement[int]:
    """What the kept sums say."""
    kept = POINT_COUNTS.c
    counted = select(func.coalesce(func.sum(kept.points), 0)).where(
        *(kept[name] == bindparam(name, type_=_P[name].type) for name in shape.counted)
    )
    if owners is None:
        return counted.scalar_subquery()
    # Owner by owner, or PostgreSQL reads the sums of everybody.
    of_owner = counted.where(kept.organization_id == owners.c.id).correlate(owners)
    total = select(func.coalesce(func.sum(of_owner.scalar_subquery()), 0)).select_from(owners)
    if alone is None:
        return total.scalar_subquery()
    shown = select(func.count()).select_from(alone).scalar_subquery()
    return total.scalar_subquery() + shown


def _next_of_owners(
    shape: _Shape, owners: CTE | None, after: BindParameter[str]
) -> Select[tuple[str]]:
    """Ids among which are the next ones of all owners: no more than a page of each."""
    most = bindparam("most", type_=Integer())
    following = select(_P.id).where(*_wanted(shape), _P.id > after).order_by(_P.id)
    if owners is None:
        return following.limit(most)
    of_owner = following.where(_P.organization_id == owners.c.id).correlate(owners)
    if shape.dialect == "postgresql":
        each = of_owner.limit(most).lateral("each_owner")
        return select(each.c.id).select_from(owners.join(each, true()))
    # SQLite has no LATERAL. No point of the page is after the one at which some owner alone has
    # filled it.
    filled = of_owner.limit(1).offset(bindparam("skipped", type_=Integer())).scalar_subquery()
    ends = select(filled.label("id")).select_from(owners).subquery("ends")
    last = func.coalesce(select(func.min(ends.c.id)).scalar_subquery(), _LAST_ID)
    return following.where(_P.organization_id.in_(select(owners.c.id)), _P.id <= last).order_by(
        None
    )
