"""The record of every write: who, when, what."""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, select

from registry.errors import Forbidden
from registry.models import CHANGES
from registry.paging import DEFAULT_LIMIT, AnyRow, Page, read_page
from registry.partition import SEE_AUDIT, Principal, top_paths, within_any

_C = CHANGES.c


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One write. user_id: empty for the gateway itself. details: of an update ``{field: [before,
    after]}``, of the others what was made or removed."""

    id: str
    at: datetime
    user_id: str
    user_name: str
    action: str
    kind: str
    object_id: str
    organization_path: str
    details: Mapping[str, Any]


COLUMNS: Select[Any] = select(
    _C.id,
    _C.at,
    _C.user_id,
    _C.user_name,
    _C.action,
    _C.kind,
    _C.object_id,
    _C.organization_path,
    _C.details,
)


def _read_all(found: Sequence[AnyRow]) -> tuple[Change, ...]:
    return tuple(Change(**row._mapping) for row in found)


def stamp(connection: Connection) -> str:
    """The id of the latest change, empty before the first: another one means that something was
    written. Two writers that end out of order can hide one of them, so look now and then anyway.
    """
    return connection.scalar(select(_C.id).order_by(_C.id.desc()).limit(1)) or ""


def page(
    connection: Connection,
    principal: Principal,
    *,
    kind: str | None = None,
    object_id: str | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[Change]:
    """The changes at the organisations that the principal audits, oldest first.

    Raises: Forbidden for who audits nothing; Invalid.
    """
    tops = top_paths(principal, SEE_AUDIT)
    if not tops:
        raise Forbidden("this needs the role auditor or admin somewhere")
    conditions = [within_any(_C.organization_path, tops)]
    if kind is not None:
        conditions.append(_C.kind == kind)
    if object_id is not None:
        conditions.append(_C.object_id == object_id)
    return read_page(
        connection, CHANGES, COLUMNS, conditions, _read_all, limit=limit, cursor=cursor
    )
