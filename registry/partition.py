"""Who sees what, who may do what where, and which organisation a polygon gives a point to.

Visibility is `visible`, one SQL expression, which every list and get of the registry uses, with
`visible_points` around it, which adds what is shared; `require` decides what may be done with what
is seen.
"""

import dataclasses
import enum
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import ColumnElement, Select, Subquery, false, or_, select, true

from registry.errors import Forbidden
from registry.identity import now
from registry.models import CHANNELS, ORGANIZATIONS, POINTS, SHARES


class Role(enum.StrEnum):
    """What a person may do, given at an organisation and inherited below it."""

    VIEWER = "viewer"
    DISPATCHER = "dispatcher"
    INTEGRATOR = "integrator"
    AUDITOR = "auditor"
    CLEAR_VIEW = "clear_view"
    ADMIN = "admin"


ALL_ROLES = frozenset(Role)
SEE_ORGANIZATIONS = ALL_ROLES
SEE_POINTS = ALL_ROLES - {Role.AUDITOR}
SEE_CHANNELS = SEE_POINTS
SEE_PICTURES = SEE_POINTS - {Role.INTEGRATOR}
SEE_DEVICES = frozenset({Role.INTEGRATOR, Role.ADMIN})
SEE_UNITS = frozenset({Role.DISPATCHER, Role.INTEGRATOR, Role.ADMIN})
SEE_AUDIT = frozenset({Role.AUDITOR, Role.ADMIN})
INTEGRATE = frozenset({Role.INTEGRATOR, Role.ADMIN})
DISPATCH = frozenset({Role.DISPATCHER, Role.ADMIN})
ADMINISTER = frozenset({Role.ADMIN})
RECEIVE_SHARES = frozenset({Role.VIEWER, Role.DISPATCHER, Role.ADMIN})
"""Whom a share gives `viewer`: who may look where it is given to. Nobody integrates or audits by a
share, and `clear_view` is of its own place."""

SHARED_POINTS = POINTS.alias("shared_points")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A role at an organisation. path: its slug path, "" for the whole registry.
    ends_at: the grant is nothing from then on. purpose: what `clear_view` was given for."""

    role: Role
    organization_id: str
    path: str
    ends_at: datetime | None = None
    purpose: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ByToken:
    """The access token by which a program asks. narrowed: it carries fewer roles than its user."""

    id: str
    name: str
    narrowed: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Whoever asks: a user with all roles that hold now. token: by which a program asks for them,
    None for the person. What is known of them beside, so that nobody needs to look: shown: False
    where no share is given to them; only: the id of the one organisation whose points they see,
    where it is one and has none below."""

    user_id: str
    name: str
    grants: tuple[Grant, ...] = ()
    shown: bool = True
    only: str | None = None
    token: ByToken | None = None

    @property
    def by(self) -> dict[str, dict[str, str]]:
        """What a record says beside the user's name."""
        if self.token is None:
            return {}
        return {"token": {"id": self.token.id, "name": self.token.name}}

    def may(self, roles: Iterable[Role], path: str) -> bool:
        """Whether one of the roles is held at path or above it."""
        wanted = frozenset(roles)
        return any(each.role in wanted and contains(each.path, path) for each in self.grants)


SYSTEM = Principal(
    user_id="",
    name="system",
    grants=(Grant(role=Role.ADMIN, organization_id="", path=""),),
)
"""The gateway itself: agents, the command line, the demo. Never a person's."""


def contains(path: str, other: str) -> bool:
    """Whether the organisation at path is other or above it. "" is above all."""
    return path in ("", other) or other.startswith(f"{path}/")


def require(principal: Principal, roles: Role | Iterable[Role], path: str) -> None:
    """Raises: Forbidden unless the principal holds one of the roles at path or above it."""
    wanted = frozenset({roles} if isinstance(roles, Role) else roles)
    if not principal.may(wanted, path):
        names = " or ".join(sorted(wanted))
        where = f"at {path}" if path else "for the whole registry"
        raise Forbidden(f"this needs the role {names} {where} or above")


def common_path(*paths: str) -> str:
    """The path of the deepest organisation that contains all of them, "" if none does."""
    shared: list[str] = []
    for parts in zip(*(path.split("/") for path in paths), strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return "/".join(shared)


def parent_path(path: str) -> str:
    """The path of the organisation above, "" above a root."""
    return path.rpartition("/")[0]


def top_paths(principal: Principal, roles: Iterable[Role]) -> tuple[str, ...]:
    """The paths at which the principal holds one of the roles, without those below another."""
    wanted = frozenset(roles)
    tops: list[str] = []
    for path in sorted({each.path for each in principal.grants if each.role in wanted}):
        if not any(contains(top, path) for top in tops):
            tops.append(path)
    return tuple(tops)


def within(path_column: ColumnElement[str], path: str) -> ColumnElement[bool]:
    """SQL: the organisation of path_column is at path or below. "0" follows "/" in byte order."""
    if not path:
        return true()
    return or_(
        path_column == path,
        (path_column > f"{path}/") & (path_column < f"{path}0"),
    )


def within_any(path_column: ColumnElement[str], paths: Iterable[str]) -> ColumnElement[bool]:
    """SQL: `within` one of the paths; within none when there is none."""
    return or_(false(), *(within(path_column, path) for path in paths))


def visible_organizations(
    principal: Principal, roles: Iterable[Role] = SEE_POINTS
) -> Select[tuple[str]]:
    """SQL: the ids of the organisations at or below which the principal holds one of the roles."""
    tops = top_paths(principal, roles)
    return select(ORGANIZATIONS.c.id).where(within_any(ORGANIZATIONS.c.path, tops))


def visible(
    owner_column: ColumnElement[str], principal: Principal, roles: Iterable[Role] = SEE_POINTS
) -> ColumnElement[bool]:
    """SQL: the row, owned by the organisation in owner_column, is seen by the principal."""
    if top_paths(principal, roles) == ("",):
        return true()
    return owner_column.in_(visible_organizations(principal, roles))


def visible_points(principal: Principal, roles: Iterable[Role] = SEE_POINTS) -> ColumnElement[bool]:
    """SQL: the point is seen by the principal, by a role or, where one that `viewer` is enough for
    is asked for, by a share."""
    own = visible(POINTS.c.organization_id, principal, roles)
    if not receives(principal, roles):
        return own
    shown = given_shares(principal)
    alone = (
        select(shown.c.point_id)
        .join(SHARED_POINTS, SHARED_POINTS.c.id == shown.c.point_id)
        .where(SHARED_POINTS.c.organization_id == shown.c.owner_id)
    )
    subtrees = select(ORGANIZATIONS.c.id).join(
        shown,
        shown.c.point_id.is_(None) & lies_within(ORGANIZATIONS.c.path, shown.c.owner_path),
    )
    return or_(own, POINTS.c.id.in_(alone), POINTS.c.organization_id.in_(subtrees))


def visible_channels(
    principal: Principal, roles: Iterable[Role] = SEE_CHANNELS
) -> ColumnElement[bool]:
    """SQL: the channel is seen by the principal, by a role or, where one that `viewer` is enough
    for is asked for, by a share of a subtree. A share of a point shows that point alone."""
    own = visible(CHANNELS.c.organization_id, principal, roles)
    if not receives(principal, roles):
        return own
    shown = given_shares(principal)
    subtrees = select(ORGANIZATIONS.c.id).join(
        shown,
        shown.c.point_id.is_(None) & lies_within(ORGANIZATIONS.c.path, shown.c.owner_path),
    )
    return or_(own, CHANNELS.c.organization_id.in_(subtrees))


def receives(principal: Principal, roles: Iterable[Role] = SEE_POINTS) -> bool:
    """Whether a share may show the principal, in one of the roles, what no role of theirs does."""
    tops = top_paths(principal, RECEIVE_SHARES)
    return principal.shown and Role.VIEWER in frozenset(roles) and tops not in ((), ("",))


def given_shares(principal: Principal) -> Subquery:
    """SQL: the shares that hold now and are given to the principal: to an organisation at or below
    which they hold `viewer`, `dispatcher` or `admin`. With `owner_path`, that of who shows."""
    owner = ORGANIZATIONS.alias("share_owner")
    at = now()
    return (
        select(SHARES, owner.c.path.label("owner_path"))
        .join(owner, owner.c.id == SHARES.c.owner_id)
        .where(
            SHARES.c.receiver_id.in_(visible_organizations(principal, RECEIVE_SHARES)),
            SHARES.c.starts_at <= at,
            SHARES.c.ends_at > at,
        )
        .subquery("given")
    )


def lies_within(
    path_column: ColumnElement[str], above_column: ColumnElement[str]
) -> ColumnElement[bool]:
    """SQL: `within`, of two columns."""
    return or_(
        path_column == above_column,
        (path_column > above_column + "/") & (path_column < above_column + "0"),
    )


def owned_within(owner_column: ColumnElement[str], path: str) -> ColumnElement[bool]:
    """SQL: the row is owned by the organisation at path or one below it."""
    if not path:
        return true()
    return owner_column.in_(select(ORGANIZATIONS.c.id).where(within(ORGANIZATIONS.c.path, path)))
