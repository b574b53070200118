"""Shares: one organisation shows another a point, or all points of a subtree, for a time.

Who sees what by them is said in `registry.partition` alone.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, or_, select

from registry import organizations, points, rows, sharing
from registry.errors import Invalid, NotFound, Reason
from registry.identity import now, parse_id, to_milliseconds
from registry.models import ORGANIZATIONS, POINTS, SHARES
from registry.organizations import OrganizationRef
from registry.paging import DEFAULT_LIMIT, AnyRow, Page, read_page
from registry.partition import (
    DISPATCH,
    RECEIVE_SHARES,
    SEE_AUDIT,
    Principal,
    contains,
    given_shares,
    receives,
    require,
    visible_organizations,
)

_S = SHARES.c
_OWNER = ORGANIZATIONS.alias("owner")
_RECEIVER = ORGANIZATIONS.alias("receiver")
_SHOW = DISPATCH | SEE_AUDIT


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """owner: who shows. point_id: the one point shown, None for all of the owner and below.
    ptz: whether the receivers may move the cameras too."""

    id: str
    version: int
    owner: OrganizationRef
    point_id: str | None
    receiver: OrganizationRef
    purpose: str
    approved_by_id: str
    approved_by_name: str
    starts_at: datetime
    ends_at: datetime
    ptz: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NewShare:
    """point: id; or organization: id or path of a subtree; one of the two. to: id or path.
    starts_at: None for now."""

    to: str
    purpose: str
    ends_at: datetime
    point: str | None = None
    organization: str | None = None
    starts_at: datetime | None = None
    ptz: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Term:
    """From when to when a share holds."""

    starts_at: datetime
    ends_at: datetime

    def holds(self, at: datetime, since: datetime) -> bool:
        """Whether it holds at this time, and held already when something happened."""
        return self.ends_at > at and since >= self.starts_at


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What shares show somebody. subtrees: by path. points: by owner's path and id."""

    subtrees: Mapping[str, tuple[Term, ...]] = dataclasses.field(default_factory=dict)
    points: Mapping[tuple[str, str], tuple[Term, ...]] = dataclasses.field(default_factory=dict)

    def covers(
        self, path: str, point_id: str | None, at: datetime, since: datetime | None = None
    ) -> bool:
        """Whether a share that holds at this time shows a point, or with None any channel, of the
        organisation at path. since: when that happened which is to be shown, None for now."""
        happened = since or at
        for shown, terms in self.subtrees.items():
            if contains(shown, path) and any(each.holds(at, happened) for each in terms):
                return True
        alone = self.points.get((path, point_id), ()) if point_id else ()
        return any(each.holds(at, happened) for each in alone)


_COLUMNS: Select[Any] = (
    select(
        _S.id,
        _S.version,
        _S.owner_id,
        _OWNER.c.path.label("owner_path"),
        _OWNER.c.name.label("owner_name"),
        _S.point_id,
        _S.receiver_id,
        _RECEIVER.c.path.label("receiver_path"),
        _RECEIVER.c.name.label("receiver_name"),
        _S.purpose,
        _S.approved_by_id,
        _S.approved_by_name,
        _S.starts_at,
        _S.ends_at,
        _S.ptz,
    )
    .join_from(SHARES, _OWNER, _S.owner_id == _OWNER.c.id)
    .join(_RECEIVER, _S.receiver_id == _RECEIVER.c.id)
)


def _read(row: AnyRow) -> Share:
    return Share(
        id=row.id,
        version=row.version,
        owner=OrganizationRef(id=row.owner_id, path=row.owner_path, name=row.owner_name),
        point_id=row.point_id,
        receiver=OrganizationRef(
            id=row.receiver_id, path=row.receiver_path, name=row.receiver_name
        ),
        purpose=row.purpose,
        approved_by_id=row.approved_by_id,
        approved_by_name=row.approved_by_name,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        ptz=row.ptz,
    )


def _read_all(found: Sequence[AnyRow]) -> tuple[Share, ...]:
    return tuple(_read(row) for row in found)


def _known(principal: Principal) -> ColumnElement[bool]:
    """SQL: a share is known to those who could have approved it or audit it, and to those to whom
    it is given."""
    return or_(
        _S.owner_id.in_(visible_organizations(principal, _SHOW)),
        _S.receiver_id.in_(visible_organizations(principal, RECEIVE_SHARES)),
    )


def get(connection: Connection, principal: Principal, share_id: str) -> Share:
    """Raises: NotFound where there is none, or none that the principal knows of."""
    wanted = _COLUMNS.where(_S.id == rows.known_id("share", share_id), _known(principal))
    row = connection.execute(wanted).one_or_none()
    if row is None:
        raise NotFound("share", share_id)
    return _read(row)


def page(
    connection: Connection,
    principal: Principal,
    *,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[Share]:
    """The shares that the principal knows of, those over and those to come included. Raises:
    Invalid."""
    conditions = [_known(principal)]
    return read_page(
        connection, SHARES, _COLUMNS, conditions, _read_all, limit=limit, cursor=cursor
    )


def shown(connection: Connection, principal: Principal) -> Shown:
    """What shares show the principal now, beside what their roles do."""
    if not receives(principal):
        return Shown()
    given = given_shares(principal)
    held = connection.execute(
        select(given.c.point_id, given.c.owner_path, given.c.starts_at, given.c.ends_at)
        .outerjoin_from(given, POINTS, POINTS.c.id == given.c.point_id)
        .where(or_(given.c.point_id.is_(None), POINTS.c.organization_id == given.c.owner_id))
        .order_by(given.c.starts_at, given.c.id)
    ).all()
    subtrees: dict[str, tuple[Term, ...]] = {}
    alone: dict[tuple[str, str], tuple[Term, ...]] = {}
    for row in held:
        term = (Term(row.starts_at, row.ends_at),)
        if row.point_id is None:
            subtrees[row.owner_path] = subtrees.get(row.owner_path, ()) + term
        else:
            place = (row.owner_path, row.point_id)
            alone[place] = alone.get(place, ()) + term
    return Shown(subtrees=subtrees, points=alone)


def create(connection: Connection, principal: Principal, new: NewShare) -> Share:
    """Show a point or a subtree to an organisation. Who does it approves it: needs `dispatcher` or
    `admin` at the owner, by a role and never by a share.

    The receiver may lie outside of what the principal sees: it is named by its id or whole path.
    Raises: Invalid; NotFound for a point or subtree that is not seen; Forbidden.
    """
    if (new.point is None) == (new.organization is None):
        raise Invalid.at("from", "must name a point or an organization, and one of the two")
    if new.point is not None:
        point = points.get(connection, principal, new.point)
        point_id, owner = point.id, point.organization
    else:
        point_id = None
        owner = organizations.get(connection, principal, new.organization or "").ref
    require(principal, DISPATCH, owner.path)
    receiver = _receiver(connection, new.to)
    if receiver is None:
        raise Invalid.at("to", f"there is no organization {new.to!r}")
    if contains(receiver.path, owner.path):
        raise Invalid.at("to", "it sees this already: it owns it, or is above who does")
    starts_at, ends_at = _term(new)
    values = {
        "owner_id": owner.id,
        "point_id": point_id,
        "receiver_id": receiver.id,
        "purpose": new.purpose.strip(),
        "approved_by_id": principal.user_id,
        "approved_by_name": principal.name,
        "starts_at": starts_at,
        "ends_at": ends_at,
        "ptz": new.ptz,
    }
    share_id = rows.insert_row(connection, SHARES, values)
    details = {
        "point": point_id,
        "to": receiver.path,
        "purpose": values["purpose"],
        "starts_at": starts_at.isoformat(),
        "ends_at": ends_at.isoformat(),
        "ptz": new.ptz,
    }
    rows.record(connection, principal, "create", "share", share_id, owner.path, details)
    return get(connection, principal, share_id)


def delete(
    connection: Connection, principal: Principal, share_id: str, version: int | None = None
) -> None:
    """End a share now. Needs `dispatcher` or `admin` at its owner.

    Raises: NotFound, Forbidden, VersionMismatch.
    """
    before = get(connection, principal, share_id)
    require(principal, DISPATCH, before.owner.path)
    rows.check_version("share", version, before.version)
    sharing.end(connection, principal, _S.id == before.id, "ended by hand")


def _receiver(connection: Connection, reference: str) -> OrganizationRef | None:
    parsed = parse_id(reference)
    columns = ORGANIZATIONS.c
    row = connection.execute(
        select(columns.id, columns.path, columns.name).where(
            columns.id == parsed if parsed else columns.path == reference.strip("/")
        )
    ).one_or_none()
    return OrganizationRef(id=row.id, path=row.path, name=row.name) if row else None


def _term(new: NewShare) -> tuple[datetime, datetime]:
    """From when to when. Raises: Invalid for no purpose, or a time that is over or no time."""
    at = now()
    starts_at = to_milliseconds(new.starts_at) if new.starts_at else at
    ends_at = to_milliseconds(new.ends_at)
    reasons = []
    if not 1 <= len(new.purpose.strip()) <= 400:
        reasons.append(Reason(field="purpose", reason="must have 1 to 400 characters"))
    if ends_at <= max(at, starts_at):
        reasons.append(Reason(field="ends_at", reason="must be later than now and the start"))
    if reasons:
        raise Invalid(*reasons)
    return starts_at, ends_at
