"""The record of looking, moving and signing in, and reading it together with that of writes.

A write is recorded in `changes` by the transaction that does it, so that neither is there without
the other. What writes nothing is recorded here, in tables of their own, which on SQLite are another
file: a long import locks the registry's, and somebody who looks meanwhile is recorded all the same.
Organisations are named by their id: paths change, and here is no transaction to follow them.
"""

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, any_, func, insert, literal, select, true
from sqlalchemy.dialects.postgresql import ARRAY, TEXT

from registry import changes, migrations
from registry.database import Database, beside
from registry.errors import Forbidden, Invalid
from registry.identity import new_id, now, parse_id
from registry.models import CHANGES, ORGANIZATIONS, POINTS, USERS
from registry.models.audit import AUDIT
from registry.organizations import OrganizationRef
from registry.paging import DEFAULT_LIMIT, MAX_LIMIT, Page, decode_cursor, encode_cursor
from registry.partition import SEE_AUDIT, Principal, top_paths, within_any

_A = AUDIT.c
_C = CHANGES.c
FILE = "audit.db"
ENDINGS = ("merge", "delete")
"""What becomes of an organisation in the end; where that is recorded, its past is told."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One thing that somebody did. user_id: empty for the gateway itself. organization_path: of
    that time. address: where they were, empty for a write. details: of an update ``{field:
    [before, after]}``."""

    id: str
    at: datetime
    user_id: str
    user_name: str
    action: str
    kind: str
    object_id: str
    organization_path: str
    address: str
    details: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ActFilter:
    """since, until: from then on, and before then."""

    kind: str | None = None
    action: str | None = None
    object_id: str | None = None
    user_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What somebody audits. ids: of organisations, those included that are gone."""

    tops: tuple[str, ...]
    ids: frozenset[str]

    @property
    def everything(self) -> bool:
        return self.tops == ("",)


def open_store(registry_url: str, **options: Any) -> Database:
    """The record's own database, beside the registry's. options: as of `Database`.

    Raises: DatabaseUnusable.
    """
    url = beside(registry_url, FILE)
    return Database(url, **{"readers": 2, "lineage": migrations.AUDIT, **options})


def record(
    store: Connection,
    *,
    principal: Principal,
    action: str,
    kind: str,
    object_id: str,
    organization: OrganizationRef | None,
    address: str = "",
    details: Mapping[str, Any],
) -> None:
    """Write down what somebody did. details: JSON values only, and no secret ever."""
    store.execute(
        insert(AUDIT).values(
            id=new_id(),
            at=now(),
            user_id=principal.user_id,
            user_name=principal.name,
            action=action,
            kind=kind,
            object_id=object_id,
            organization_id=organization.id if organization else "",
            organization_path=organization.path if organization else "",
            address=address[:64],
            details={**details, **principal.by},
        )
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """names: of users by id. places: owners of points by the point's id."""

    names: Mapping[str, str]
    places: Mapping[str, OrganizationRef]


def who_and_where(
    connection: Connection, user_ids: Collection[str], point_ids: Collection[str]
) -> Known:
    """Of acts that name both by id. connection: of the registry. Those that are gone are left
    out."""
    users = connection.execute(
        select(USERS.c.id, USERS.c.name).where(USERS.c.id.in_(list(user_ids)))
    )
    owners = connection.execute(
        select(POINTS.c.id, ORGANIZATIONS.c.id, ORGANIZATIONS.c.path, ORGANIZATIONS.c.name)
        .join_from(POINTS, ORGANIZATIONS, POINTS.c.organization_id == ORGANIZATIONS.c.id)
        .where(POINTS.c.id.in_(list(point_ids)))
    )
    return Known(
        names={row[0]: row[1] for row in users},
        places={row[0]: OrganizationRef(id=row[1], path=row[2], name=row[3]) for row in owners},
    )


def record_all(
    store: Connection, acts: Sequence[Act], places: Mapping[str, OrganizationRef]
) -> None:
    """Write down many acts at once. places: where each object is, by its id; of one that has
    gone, the record of the whole registry tells."""
    values = []
    for act in acts:
        place = places.get(act.object_id)
        values.append(
            {
                **{field.name: getattr(act, field.name) for field in dataclasses.fields(act)},
                "organization_id": place.id if place else "",
                "address": act.address[:64],
                "details": dict(act.details),
            }
        )
    if values:
        store.execute(insert(AUDIT), values)


def scope_of(connection: Connection, principal: Principal) -> Scope:
    """What the principal audits now. connection: of the registry. Raises: Forbidden for nothing."""
    tops = top_paths(principal, SEE_AUDIT)
    if not tops:
        raise Forbidden("this needs the role auditor or admin somewhere")
    if tops == ("",):
        return Scope(tops=tops, ids=frozenset())
    living = select(ORGANIZATIONS.c.id).where(within_any(ORGANIZATIONS.c.path, tops))
    gone = select(_C.object_id).where(
        _C.kind == "organization",
        _C.action.in_(ENDINGS),
        within_any(_C.organization_path, tops),
    )
    ids = frozenset({*connection.scalars(living), *connection.scalars(gone)})
    return Scope(tops=tops, ids=ids)


Part = tuple[list[Act], int]
"""The newest acts of one of the two records, and how many it has in all."""


def read_acts(
    store: Connection, scope: Scope, wanted: ActFilter, *, before: str | None, limit: int
) -> Part:
    """Of this record; limit + 1 of them at most, newest first. before: an id."""
    seen = true() if scope.everything else _is_one_of(store, _A.organization_id, scope.ids)
    columns = (
        *(_A.id, _A.at, _A.user_id, _A.user_name, _A.action, _A.kind, _A.object_id),
        *(_A.organization_path, _A.address, _A.details),
    )
    return _read(store, select(*columns), _A, [seen, *_conditions(_A, wanted)], before, limit)


def read_changes(
    connection: Connection, scope: Scope, wanted: ActFilter, *, before: str | None, limit: int
) -> Part:
    """Of the record of writes, in the registry; as `read_acts`."""
    conditions = [within_any(_C.organization_path, scope.tops), *_conditions(_C, wanted)]
    return _read(connection, changes.COLUMNS, _C, conditions, before, limit)


def merge(acts: Part, writes: Part, *, limit: int = DEFAULT_LIMIT) -> Page[Act]:
    """Both records as one page, newest first."""
    found = sorted([*acts[0], *writes[0]], key=lambda act: act.id, reverse=True)
    items = tuple(found[:limit])
    more = len(found) > limit
    return Page(
        items=items,
        next=encode_cursor(items[-1].id) if more else None,
        total=acts[1] + writes[1],
    )


def position(cursor: str | None, limit: int) -> str | None:
    """The id in a cursor. Raises: Invalid for one that is none, or a limit outside 1..500."""
    if not 1 <= limit <= MAX_LIMIT:
        raise Invalid.at("limit", f"must be 1 to {MAX_LIMIT}")
    if cursor is None:
        return None
    parsed = parse_id(decode_cursor(cursor))
    if parsed is None:
        raise Invalid.at("cursor", "is not one that a list of ours gave")
    return parsed


def _read(
    connection: Connection,
    columns: Select[Any],
    of: Any,
    conditions: Iterable[ColumnElement[bool]],
    before: str | None,
    limit: int,
) -> Part:
    matching = list(conditions)
    wanted = columns.where(*matching).order_by(of.id.desc()).limit(limit + 1)
    if before is not None:
        wanted = wanted.where(of.id < before)
    found = [Act(**{"address": "", **row._mapping}) for row in connection.execute(wanted)]
    total = connection.scalar(select(func.count(of.id)).where(*matching)) or 0
    return found, total


def _conditions(of: Any, wanted: ActFilter) -> Iterable[ColumnElement[bool]]:
    for column, value in (
        (of.kind, wanted.kind),
        (of.action, wanted.action),
        (of.object_id, wanted.object_id),
        (of.user_id, wanted.user_id),
    ):
        if value is not None:
            yield column == value
    if wanted.since is not None:
        yield of.at >= wanted.since
    if wanted.until is not None:
        yield of.at < wanted.until


def _is_one_of(
    connection: Connection, column: ColumnElement[str], ids: Collection[str]
) -> ColumnElement[bool]:
    """SQL: ``IN``, as one parameter however many there are."""
    if connection.dialect.name == "postgresql":
        return column == any_(literal(sorted(ids), ARRAY(TEXT)))
    return column.in_(select(func.json_each(_json(ids)).table_valued("value").c.value))


def _json(ids: Collection[str]) -> str:
    return "[" + ",".join(f'"{each}"' for each in sorted(ids)) + "]"
