"""Access tokens: programs act by them for a user, never with more than that user has now.

The registry knows hashes, never a token. What a token carries is worked out at each lookup: the
roles that its user holds then, without `clear_view`, and of those only what it was narrowed to.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, insert, or_, select
from sqlalchemy import delete as sql_delete
from sqlalchemy import update as sql_update

from registry import organizations, rows, users
from registry.errors import Conflict, Forbidden, Invalid, NotFound
from registry.identity import now
from registry.models import ORGANIZATIONS, TOKEN_ROLES, TOKENS, USERS
from registry.organizations import OrganizationRef
from registry.paging import DEFAULT_LIMIT, AnyRow, Page, read_page
from registry.partition import SYSTEM, ByToken, Grant, Principal, Role, contains
from registry.users import User, UserRole

DEFAULT_DAYS = 90
MAX_DAYS = 366
MOST_TOKENS = 100
"""Of one user, that have not ended."""

CARRIABLE = tuple(role for role in Role if role is not Role.CLEAR_VIEW)
CARRIED: Mapping[Role, frozenset[Role]] = {
    Role.VIEWER: frozenset({Role.VIEWER}),
    Role.DISPATCHER: frozenset({Role.VIEWER, Role.DISPATCHER}),
    Role.INTEGRATOR: frozenset({Role.INTEGRATOR}),
    Role.AUDITOR: frozenset({Role.AUDITOR}),
    Role.CLEAR_VIEW: frozenset(),
    Role.ADMIN: frozenset(CARRIABLE),
}
"""What a token may carry of each role of its user. Whoever may do less by the one than by the other
may be given it: an admin's token can be a viewer's."""

_T = TOKENS.c
_R = TOKEN_ROLES.c
_O = ORGANIZATIONS.c


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TokenRole:
    role: Role
    organization: OrganizationRef


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """user_id, user_name: for whom it acts. roles: what it is narrowed to, None for all that its
    user has. last_used_at: to some minutes. created_by_id: empty for the gateway itself."""

    id: str
    version: int
    name: str
    user_id: str
    user_name: str
    roles: tuple[TokenRole, ...] | None
    created_at: datetime
    ends_at: datetime
    last_used_at: datetime | None
    created_by_id: str
    created_by_name: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NewTokenRole:
    """organization: id or path."""

    role: str
    organization: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """user: id, None for whoever makes it. ends_at: in `DEFAULT_DAYS` where None. roles: None for
    all that the user has."""

    name: str
    token_hash: bytes
    user: str | None = None
    ends_at: datetime | None = None
    roles: tuple[NewTokenRole, ...] | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Acting:
    """Who stands behind a token that is shown, until when, and since when we know of its use."""

    principal: Principal
    ends_at: datetime
    last_used_at: datetime | None


_COLUMNS: Select[Any] = select(
    _T.id,
    _T.version,
    _T.name,
    _T.user_id,
    USERS.c.name.label("user_name"),
    _T.narrowed,
    _T.created_at,
    _T.ends_at,
    _T.last_used_at,
    _T.created_by_id,
    _T.created_by_name,
).join_from(TOKENS, USERS, _T.user_id == USERS.c.id)


# --- who acts -------------------------------------------------------------------------------------


def find(connection: Connection, token_hash: bytes) -> Acting | None:
    """None for a token that is unknown or over, or whose user is gone or disabled."""
    return _acting(connection, _T.token_hash == token_hash)


def principal_of(connection: Connection, token_id: str) -> Principal | None:
    """`find` by id, for what goes on after it was let in."""
    acting = _acting(connection, _T.id == token_id)
    return None if acting is None else acting.principal


def _acting(connection: Connection, which: ColumnElement[bool]) -> Acting | None:
    row = connection.execute(
        select(_T.id, _T.name, _T.user_id, _T.narrowed, _T.ends_at, _T.last_used_at).where(
            which, _T.ends_at > now()
        )
    ).one_or_none()
    holder = users.holder(connection, row.user_id) if row is not None else None
    if row is None or holder is None:
        return None
    grants: tuple[Grant, ...] = tuple(each for each in holder.grants if CARRIED[each.role])
    if row.narrowed:
        wanted = _grants(connection, row.id)
        grants = narrowed(holder.grants, wanted)
    token = ByToken(id=row.id, name=row.name, narrowed=row.narrowed)
    principal = dataclasses.replace(holder, grants=grants, token=token)
    return Acting(
        principal=users.with_sight(connection, principal),
        ends_at=row.ends_at,
        last_used_at=row.last_used_at,
    )


def _grants(connection: Connection, token_id: str) -> tuple[Grant, ...]:
    found = connection.execute(
        select(_R.role, _O.id, _O.path)
        .join_from(TOKEN_ROLES, ORGANIZATIONS, _R.organization_id == _O.id)
        .where(_R.token_id == token_id)
        .order_by(_O.path, _R.role)
    )
    return tuple(Grant(role=Role(e.role), organization_id=e.id, path=e.path) for e in found)


def narrowed(held: Iterable[Grant], wanted: Iterable[Grant]) -> tuple[Grant, ...]:
    """What of `wanted` is held: where a role is held below the place that is asked for, it is
    carried there alone."""
    own = tuple(held)
    carried: dict[tuple[Role, str], Grant] = {}
    for want in wanted:
        for each in own:
            if want.role not in CARRIED[each.role]:
                continue
            if contains(each.path, want.path):
                carried[want.role, want.path] = want
            elif contains(want.path, each.path):
                carried[want.role, each.path] = dataclasses.replace(each, role=want.role)
    return tuple(carried.values())


def acting_user(connection: Connection, principal: Principal) -> User:
    """The user for whom a token acts, with the roles that it carries now. Raises: NotFound."""
    user = users.get(connection, SYSTEM, principal.user_id)
    ids = {each.organization_id for each in principal.grants}
    found = connection.execute(select(_O.id, _O.path, _O.name).where(_O.id.in_(ids)))
    places = {row.id: OrganizationRef(id=row.id, path=row.path, name=row.name) for row in found}
    roles = tuple(
        UserRole(role=each.role, organization=places[each.organization_id])
        for each in principal.grants
        if each.organization_id in places
    )
    return dataclasses.replace(user, roles=roles)


def note_uses(connection: Connection, uses: Mapping[str, datetime]) -> None:
    """Write down when tokens were last used, by id; those that are gone are left out."""
    for token_id, at in uses.items():
        unknown = or_(_T.last_used_at.is_(None), _T.last_used_at < at)
        connection.execute(
            sql_update(TOKENS).where(_T.id == token_id, unknown).values(last_used_at=at)
        )


# --- making and ending them -----------------------------------------------------------------------


def create(connection: Connection, principal: Principal, new: NewToken) -> Token:
    """A token for the principal, or for a user all of whose roles are where they administer.

    Raises: NotFound for a user who is not seen; Forbidden; Conflict for one who is disabled or has
    too many; Invalid, also for roles that the user does not have.
    """
    user = users.get(connection, principal, new.user or principal.user_id)
    if user.id != principal.user_id:
        users.require_whole(principal, user)
    if user.disabled:
        raise Conflict(f"{user.name} is disabled: nothing can act for them")
    name = new.name.strip()
    if not 1 <= len(name) <= 100:
        raise Invalid.at("name", "must have 1 to 100 characters")
    ends_at = _checked_end(new.ends_at)
    roles = _resolve(connection, principal, user, new.roles)
    _make_room(connection, user)
    values = {
        "user_id": user.id,
        "name": name,
        "token_hash": new.token_hash,
        "narrowed": roles is not None,
        "ends_at": ends_at,
        "created_by_id": principal.user_id,
        "created_by_name": principal.name,
    }
    token_id = rows.insert_row(connection, TOKENS, values)
    if roles:
        given = [{"role": r.role, "organization_id": r.organization_id} for r in roles]
        connection.execute(insert(TOKEN_ROLES), [{**each, "token_id": token_id} for each in given])
    token = _read(connection, token_id)
    _record(connection, principal, "create", token, user)
    return token


def _checked_end(given: datetime | None) -> datetime:
    at = now()
    if given is None:
        return at + timedelta(days=DEFAULT_DAYS)
    if given <= at:
        raise Invalid.at("ends_at", "must be in the future")
    # Whoever reckons in days writes down the end a moment before we look at the clock.
    if given > at + timedelta(days=MAX_DAYS, minutes=1):
        raise Invalid.at("ends_at", f"must be within {MAX_DAYS} days")
    return given


def _resolve(
    connection: Connection,
    principal: Principal,
    user: User,
    roles: Sequence[NewTokenRole] | None,
) -> tuple[Grant, ...] | None:
    """What a token is narrowed to, None for nothing. Raises: Invalid."""
    holder = users.holder(connection, user.id)
    held = holder.grants if holder else ()
    if roles is None:
        if not any(CARRIED[each.role] for each in held):
            raise Invalid.at("roles", f"{user.name} has no role that a token can carry")
        return None
    if not roles:
        raise Invalid.at("roles", "name at least one, or leave it out for all of them")
    wanted: dict[tuple[str, str], Grant] = {}
    for index, new in enumerate(roles):
        place = f"roles[{index}]"
        if new.role not in CARRIABLE:
            raise Invalid.at(f"{place}.role", f"must be one of {', '.join(CARRIABLE)}")
        try:
            owner = organizations.get(connection, principal, new.organization)
        except NotFound as missing:
            raise Invalid.at(f"{place}.organization", missing.message) from None
        want = Grant(role=Role(new.role), organization_id=owner.id, path=owner.path)
        if want not in narrowed(held, (want,)):
            reason = f"{user.name} is no {want.role} at {want.path}: a token carries no more"
            raise Invalid.at(place, reason)
        wanted[new.role, owner.id] = want
    return tuple(wanted.values())


def _make_room(connection: Connection, user: User) -> None:
    """Forget tokens of the user that are over. Raises: Conflict where too many are not."""
    own = _T.user_id == user.id
    connection.execute(sql_delete(TOKENS).where(own, _T.ends_at <= now()))
    number = connection.scalar(select(func.count()).select_from(TOKENS).where(own)) or 0
    if number >= MOST_TOKENS:
        raise Conflict(f"{user.name} has {MOST_TOKENS} tokens already: revoke one first")


def revoke(
    connection: Connection, principal: Principal, token_id: str, version: int | None = None
) -> Token:
    """End a token; gives what it was. Whose it is may, and who administers every place where the
    user has a role; by a token, that token alone.

    Raises: NotFound, Forbidden, VersionMismatch.
    """
    token = get(connection, principal, token_id)
    user = users.get(connection, SYSTEM, token.user_id)
    if principal.token is not None and principal.token.id != token.id:
        raise Forbidden("a token ends no other one: sign in")
    if user.id != principal.user_id:
        users.require_whole(principal, user)
    rows.delete_row(connection, TOKENS, "token", token.id, version)
    _record(connection, principal, "delete", token, user)
    return token


def _record(
    connection: Connection, principal: Principal, action: str, token: Token, user: User
) -> None:
    where = users.recorded_at(user)
    rows.record(connection, principal, action, "token", token.id, where, _shown(token))


def _shown(token: Token) -> dict[str, Any]:
    roles = token.roles
    return {
        "name": token.name,
        "user": token.user_name,
        "ends_at": token.ends_at.isoformat(timespec="milliseconds"),
        "roles": None if roles is None else [f"{r.role} at {r.organization.path}" for r in roles],
    }


# --- reading them ---------------------------------------------------------------------------------


def get(connection: Connection, principal: Principal, token_id: str) -> Token:
    """Raises: NotFound where there is none, or none that the principal sees."""
    known = rows.known_id("token", token_id)
    found = connection.execute(_COLUMNS.where(_T.id == known, _seen(principal))).all()
    if not found:
        raise NotFound("token", token_id)
    return _read_all(connection, found)[0]


def page(
    connection: Connection,
    principal: Principal,
    *,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[Token]:
    """One's own tokens, and those of users with a role within what the principal administers; by
    a token, that one and the latter. Raises: Invalid."""

    def read(found: Sequence[AnyRow]) -> tuple[Token, ...]:
        return _read_all(connection, found)

    conditions = [_seen(principal)]
    return read_page(connection, TOKENS, _COLUMNS, conditions, read, limit=limit, cursor=cursor)


def _seen(principal: Principal) -> ColumnElement[bool]:
    theirs = _T.user_id.in_(select(USERS.c.id).where(users.seen(principal)))
    return theirs if principal.token is None else or_(theirs, _T.id == principal.token.id)


def _read(connection: Connection, token_id: str) -> Token:
    return _read_all(connection, connection.execute(_COLUMNS.where(_T.id == token_id)).all())[0]


def _read_all(connection: Connection, found: Sequence[AnyRow]) -> tuple[Token, ...]:
    roles: dict[str, list[TokenRole]] = {row.id: [] for row in found}
    wanted = (
        select(_R.token_id, _R.role, _O.id, _O.path, _O.name)
        .join_from(TOKEN_ROLES, ORGANIZATIONS, _R.organization_id == _O.id)
        .where(_R.token_id.in_(list(roles)))
        .order_by(_R.token_id, _O.path, _R.role)
    )
    for row in connection.execute(wanted):
        place = OrganizationRef(id=row.id, path=row.path, name=row.name)
        roles[row.token_id].append(TokenRole(role=Role(row.role), organization=place))
    return tuple(_token(row, tuple(roles[row.id])) for row in found)


def _token(row: AnyRow, roles: tuple[TokenRole, ...]) -> Token:
    values = dict(row._mapping)
    is_narrowed = values.pop("narrowed")
    return Token(**values, roles=roles if is_narrowed else None)
