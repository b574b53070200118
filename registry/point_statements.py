"""SQL of lists of points: one statement for each shape that a question can have, kept as text.

Building one takes longer than running it. What they do, for owners that are few or many:

- counted: kept sums give the total; of each owner the next few points are looked up by index.
- found (text or box): all matches are looked up in an index alone, counted, and cut to a page.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

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

from registry.database import Driver
from registry.models import ORGANIZATIONS, POINT_COUNTS, POINTS, SHARES
from registry.partition import (
    lies_within,
)
from registry.points import COLUMNS, Point

_P = POINTS.c
_O = ORGANIZATIONS.c
_DEGREES = (Point._fields.index("longitude"), Point._fields.index("latitude"))
_OWNER = (Point._fields.index("organization_path"), Point._fields.index("organization_name"))
_LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"


@dataclasses.dataclass(frozen=True, slots=True)
class Shape:
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


@dataclasses.dataclass(frozen=True, slots=True)
class Statement:
    """SQL as the driver takes it. names: of its parameters, in their order, for SQLite.
    constants: the parameters that are always the same."""

    sql: str
    names: tuple[str, ...] | None
    constants: Mapping[str, Any]


def dialect_of(connection: Connection | Driver) -> str:
    """`sqlite` or `postgresql`."""
    return connection.kind if isinstance(connection, Driver) else connection.dialect.name


def run(
    connection: Connection | Driver, statement: Statement, values: Mapping[str, Any]
) -> Sequence[Sequence[Any]]:
    """The rows of a statement, each a tuple of the driver. values: by name, of all parameters that
    are not constants."""
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


def _compiled(statement: Select[Any], name: str) -> Statement:
    dialect: Any = (postgresql.psycopg if name == "postgresql" else sqlite.pysqlite).dialect()
    if name == "sqlite":
        dialect.statement_compiler = _HintedCompiler
    compiled = statement.compile(dialect=dialect)
    names = compiled.positiontup
    constants = {name: value for name, value in compiled.params.items() if value is not None}
    return Statement(str(compiled), tuple(names) if names is not None else None, constants)


@functools.lru_cache(maxsize=16)
def roots_statement(dialect: str) -> Statement:
    """The paths of all districts."""
    return _compiled(select(_O.path).where(_O.parent_id.is_(None)), dialect)


@functools.lru_cache(maxsize=1024)
def page_statement(shape: Shape) -> Statement:
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
    shape: Shape, of_owner: Callable[[ColumnElement[str]], ColumnElement[str]] = lambda each: each
) -> Iterator[ColumnElement[Any]]:
    """`COLUMNS`, on SQLite as they can stand in JSON, each with a name of its own; or the stamp.
    of_owner: how a column of the owner is had."""
    if shape.stamps:
        yield stamp(shape.dialect, of_owner).label("stamp")
        return
    for number, column in enumerate(COLUMNS):
        if number in _OWNER:
            yield of_owner(column).label(f"c{number}")
        elif shape.dialect == "sqlite" and number in _DEGREES:
            exact = case((column.is_(None), None), else_=func.printf("%!.17g", column))
            yield exact.label(f"c{number}")
        else:
            yield column.label(f"c{number}")


def stamp(
    dialect: str, of_owner: Callable[[ColumnElement[str]], ColumnElement[str]] = lambda each: each
) -> ColumnElement[str]:
    """SQL: a point's stamp. PostgreSQL says which transaction wrote each row; for SQLite, what
    changes with each write: what agents see is no edit, and counts up no version."""
    if dialect == "postgresql":
        mark: ColumnElement[str] = literal_column("'|'", Text())
        whole: ColumnElement[str] = cast(_P.id, Text)
        for each in (_written_by("points"), of_owner(_written_by("organizations"))):
            whole = whole + mark + each
        return whole
    parts = (_P.id, _P.updated_at, _P.status_since, _P.status, _P.status_reason)
    # In one go: each || would copy all that stands before it.
    pattern = literal_column(f"'{'|'.join(['%s'] * (len(parts) + 2))}'", Text())
    return func.printf(pattern, *parts, of_owner(_O.path), of_owner(_O.name), type_=Text())


def _written_by(table: str) -> ColumnElement[str]:
    return cast(literal_column(f"{table}.xmin"), Text)


def _in_one_row(page: Select[Any], total: ColumnElement[int], shape: Shape) -> Statement:
    """The page with its total: on PostgreSQL in each row, on SQLite one row with all of them as
    JSON, as with stamps on both. SQLite's driver lets go of Python's lock for every row, and with
    an event loop and other readers beside it, it waits for it each time: that took longer than
    everything else."""
    if shape.stamps:
        each = page.subquery("page").c.stamp
        in_json = func.json_group_array if shape.dialect == "sqlite" else func.json_agg
        listed: ColumnElement[Any] = cast(in_json(each), Text)
        return _compiled(select(listed, total.label("total")), shape.dialect)
    if shape.dialect == "postgresql":
        return _compiled(page.add_columns(total.label("total")), shape.dialect)
    rows = page.subquery("page")
    whole = select(func.json_group_array(func.json_array(*rows.c)), total.label("total"))
    return _compiled(whole, shape.dialect)


@functools.lru_cache(maxsize=1024)
def total_statement(shape: Shape) -> Statement:
    """How many there are, for a page that is empty and so cannot tell."""
    if shape.only and not shape.found:
        return _compiled(select(_total_of_one(shape)), shape.dialect)
    owners = _owners(shape)
    alone = _alone(shape, owners)
    if shape.found:
        matches = _matches(shape, owners, alone)
        return _compiled(select(func.count()).select_from(matches), shape.dialect)
    total = _total(shape, owners, alone)
    return _compiled(select(cast(total, BigInteger)), shape.dialect)


def _page_of_one(shape: Shape) -> Select[Any]:
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


def _total_of_one(shape: Shape) -> ColumnElement[int]:
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


def _owners(shape: Shape) -> CTE | None:
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


def _given(shape: Shape) -> Subquery:
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


def _alone(shape: Shape, owners: CTE | None) -> CTE | None:
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


def _wanted(shape: Shape) -> Iterator[ColumnElement[bool]]:
    """What the filter says of a point itself."""
    for name in shape.counted:
        yield _P[name] == bindparam(name, type_=_P[name].type)
    for number in range(shape.words):
        word = bindparam(f"word{number}", type_=Text())
        if shape.dialect == "sqlite":
            yield func.instr(_P.search, word) > 0
        else:
            # A subquery, or the word would be put in lower case again for every row. strpos takes
            # two thirds of the time of LIKE.
            yield func.strpos(_P.search, select(func.lower(word)).scalar_subquery()) > 0
    if shape.box:
        side = functools.partial(bindparam, type_=Double())
        yield _P.latitude.between(side("south"), side("north"))
        if shape.box == "plain":
            yield _P.longitude.between(side("west"), side("east"))
        else:
            yield or_(_P.longitude >= side("west"), _P.longitude <= side("east"))


def _matches(shape: Shape, owners: CTE | None, alone: CTE | None) -> CTE:
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


def _total(shape: Shape, owners: CTE | None, alone: CTE | None) -> ColumnElement[int]:
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
    shape: Shape, owners: CTE | None, after: BindParameter[str]
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
