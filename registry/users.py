"""Users and their roles: queries and edits. Passwords come hashed, the gateway hashes them."""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, exists, func, insert, or_, select
from sqlalchemy import delete as sql_delete
from sqlalchemy import update as sql_update

from registry import organizations, rows
from registry.errors import Conflict, Forbidden, Invalid, NotFound, Reason
from registry.identity import now
from registry.models import ORGANIZATIONS, ROLES, SESSIONS, SHARES, TOKENS, USERS
from registry.organizations import OrganizationRef
from registry.paging import DEFAULT_LIMIT, AnyRow, Page, read_page
from registry.partition import (
    ADMINISTER,
    RECEIVE_SHARES,
    SEE_POINTS,
    Grant,
    Principal,
    Role,
    top_paths,
    visible_organizations,
    within,
)
from registry.search import matching

_U = USERS.c
_R = ROLES.c
_O = ORGANIZATIONS.c
_EDITABLE = frozenset({"name", "disabled", "password_hash"})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UserRole:
    """A role that a user has at an organisation. purpose, ends_at: of `clear_view`."""

    role: Role
    organization: OrganizationRef
    purpose: str = ""
    ends_at: datetime | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class User:
    id: str
    version: int
    name: str
    disabled: bool
    roles: tuple[UserRole, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NewRole:
    """organization: id or path. A `clear_view` states its purpose and its end."""

    role: str
    organization: str
    purpose: str = ""
    ends_at: datetime | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    """name: for signing in, unique in the whole registry."""

    name: str
    password_hash: str
    roles: tuple[NewRole, ...]
    disabled: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What signing in needs to know of a user."""

    user_id: str
    name: str
    password_hash: str
    disabled: bool


_COLUMNS: Select[Any] = select(_U.id, _U.version, _U.name, _U.disabled)


def seen(principal: Principal) -> ColumnElement[bool]:
    """SQL: the user has a role within what the principal administers. The registry itself sees
    everyone; a person also sees themselves, which shows more than a token may carry."""
    if top_paths(principal, ADMINISTER) == ("",):
        return _U.id.is_not(None)
    within = exists().where(
        _R.user_id == _U.id,
        _R.organization_id.in_(visible_organizations(principal, ADMINISTER)),
    )
    if principal.token is not None:
        return within
    return or_(within, _U.id == principal.user_id)


def _read_all(connection: Connection, found: Sequence[AnyRow]) -> tuple[User, ...]:
    roles: dict[str, list[UserRole]] = {row.id: [] for row in found}
    wanted = (
        select(_R.user_id, _R.role, _R.purpose, _R.ends_at, _O.id, _O.path, _O.name)
        .join_from(ROLES, ORGANIZATIONS, _R.organization_id == _O.id)
        .where(_R.user_id.in_(list(roles)))
        .order_by(_R.user_id, _O.path, _R.role)
    )
    for row in connection.execute(wanted):
        roles[row.user_id].append(
            UserRole(
                role=Role(row.role),
                organization=OrganizationRef(id=row.id, path=row.path, name=row.name),
                purpose=row.purpose,
                ends_at=row.ends_at,
            )
        )
    return tuple(
        User(
            id=row.id,
            version=row.version,
            name=row.name,
            disabled=row.disabled,
            roles=tuple(roles[row.id]),
        )
        for row in found
    )


def get(connection: Connection, principal: Principal, user_id: str) -> User:
    """A user with a role within what the principal administers, or the principal's own.

    Raises: NotFound.
    """
    found = connection.execute(
        _COLUMNS.where(_U.id == rows.known_id("user", user_id), seen(principal))
    ).all()
    if not found:
        raise NotFound("user", user_id)
    return _read_all(connection, found)[0]


def page(
    connection: Connection,
    principal: Principal,
    *,
    q: str | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[User]:
    """The users with a role within what the principal administers. Raises: Forbidden for who
    administers nothing; Invalid."""
    if not top_paths(principal, ADMINISTER):
        raise Forbidden("this needs the role admin somewhere")
    conditions = [seen(principal)]
    if q is not None:
        conditions.append(matching(q, (_U.name,)))

    def read(found: Sequence[AnyRow]) -> tuple[User, ...]:
        return _read_all(connection, found)

    return read_page(connection, USERS, _COLUMNS, conditions, read, limit=limit, cursor=cursor)


def create(connection: Connection, principal: Principal, new: NewUser) -> User:
    """Add a user with at least one role. Needs `admin` at the organisation of every role.

    Raises: Invalid; Forbidden; Conflict where the name is taken.
    """
    name = _checked_name(new.name)
    roles = _resolve(connection, principal, new.roles)
    _check_name_free(connection, name, None)
    values = {"name": name, "password_hash": new.password_hash, "disabled": new.disabled}
    user_id = rows.insert_row(connection, USERS, values)
    _write_roles(connection, user_id, roles)
    user = get(connection, principal, user_id)
    rows.record(connection, principal, "create", "user", user_id, recorded_at(user), _shown(user))
    return user


def update(
    connection: Connection,
    principal: Principal,
    user_id: str,
    changes: Mapping[str, Any],
    version: int | None = None,
) -> User:
    """Change name, disabled or password_hash. Needs `admin` at every organisation where the user
    has a role. A user who is disabled, or gets another password, is signed out everywhere; the
    access tokens of one who is disabled end for good.

    Raises: NotFound, Forbidden, Invalid, Conflict, VersionMismatch.
    """
    before = get(connection, principal, user_id)
    require_whole(principal, before)
    rows.check_fields(changes, _EDITABLE)
    values = dict(changes)
    if "name" in values:
        values["name"] = _checked_name(str(values["name"]))
        _check_name_free(connection, values["name"], before.id)
    rows.update_row(connection, USERS, "user", before.id, values, version)
    if values.get("disabled") or "password_hash" in values:
        connection.execute(sql_delete(SESSIONS).where(SESSIONS.c.user_id == before.id))
    shown = {**values, "password_hash": "changed"} if "password_hash" in values else values
    changed = rows.difference({"name": before.name, "disabled": before.disabled}, shown)
    if values.get("disabled") and (ended := _end_tokens(connection, before.id)):
        changed["tokens"] = [ended, 0]
    rows.record(connection, principal, "update", "user", before.id, recorded_at(before), changed)
    return _after(connection, before.id)


def _end_tokens(connection: Connection, user_id: str) -> int:
    """How many there were that had not ended."""
    own = TOKENS.c.user_id == user_id
    running = select(func.count()).select_from(TOKENS).where(own, TOKENS.c.ends_at > now())
    number = connection.scalar(running) or 0
    connection.execute(sql_delete(TOKENS).where(own))
    return number


def set_roles(
    connection: Connection,
    principal: Principal,
    user_id: str,
    roles: Sequence[NewRole],
    version: int | None = None,
) -> User:
    """Give a user exactly these roles, at least one. Needs `admin` at the organisation of every
    role that the user has or gets.

    Raises: NotFound, Forbidden, Invalid, VersionMismatch.
    """
    before = get(connection, principal, user_id)
    require_whole(principal, before)
    resolved = _resolve(connection, principal, roles)
    rows.update_row(connection, USERS, "user", before.id, {}, version)
    connection.execute(sql_delete(ROLES).where(_R.user_id == before.id))
    _write_roles(connection, before.id, resolved)
    after = _after(connection, before.id)
    changed = rows.difference(_shown(before), _shown(after))
    rows.record(connection, principal, "roles", "user", before.id, recorded_at(before), changed)
    return after


def delete(
    connection: Connection, principal: Principal, user_id: str, version: int | None = None
) -> None:
    """Remove a user, with their sessions and access tokens. Needs `admin` at every organisation
    where the user has a role; nobody removes themselves.

    Raises: NotFound, Forbidden, Conflict, VersionMismatch."""
    before = get(connection, principal, user_id)
    require_whole(principal, before)
    if before.id == principal.user_id:
        raise Conflict("nobody can remove themselves")
    rows.delete_row(connection, USERS, "user", before.id, version)
    rows.record(
        connection, principal, "delete", "user", before.id, recorded_at(before), _shown(before)
    )


def credentials(connection: Connection, name: str) -> Credentials | None:
    """What signing in under a name needs, None where nobody has it."""
    row = connection.execute(
        select(_U.id, _U.name, _U.password_hash, _U.disabled).where(_U.name == name.strip())
    ).one_or_none()
    if row is None:
        return None
    return Credentials(
        user_id=row.id, name=row.name, password_hash=row.password_hash, disabled=row.disabled
    )


def place_of(connection: Connection, name: str) -> tuple[Principal, OrganizationRef | None] | None:
    """Who has a name, and the first organisation where they have a role; roles are left out."""
    found = connection.execute(_COLUMNS.where(_U.name == name.strip())).all()
    if not found:
        return None
    user = _read_all(connection, found)[0]
    place = user.roles[0].organization if user.roles else None
    return Principal(user_id=user.id, name=user.name), place


def credentials_of(connection: Connection, user_id: str) -> Credentials | None:
    """`credentials` by id."""
    name = connection.scalar(select(_U.name).where(_U.id == rows.known_id("user", user_id)))
    return credentials(connection, name) if name else None


def set_password_hash(
    connection: Connection,
    principal: Principal,
    password_hash: str,
    keep_session: bytes | None = None,
) -> None:
    """A user's change of their own password; it ends their other sessions.

    keep_session: token hash of the session that goes on.
    """
    connection.execute(
        sql_update(USERS)
        .where(_U.id == principal.user_id)
        .values(password_hash=password_hash, version=_U.version + 1, updated_at=now())
    )
    ended = sql_delete(SESSIONS).where(SESSIONS.c.user_id == principal.user_id)
    if keep_session is not None:
        ended = ended.where(SESSIONS.c.token_hash != keep_session)
    connection.execute(ended)
    rows.record(connection, principal, "password", "user", principal.user_id, "", {})


def principal_of(connection: Connection, user_id: str) -> Principal | None:
    """The user as a principal with the roles that hold now; None when gone or disabled."""
    principal = holder(connection, user_id)
    return None if principal is None else with_sight(connection, principal)


def holder(connection: Connection, user_id: str) -> Principal | None:
    """`principal_of`, of which nothing is known beside the roles."""
    row = connection.execute(
        select(_U.id, _U.name).where(_U.id == user_id, _U.disabled.is_(False))
    ).one_or_none()
    if row is None:
        return None
    granted = connection.execute(
        select(_R.role, _R.ends_at, _R.purpose, _O.id, _O.path)
        .join_from(ROLES, ORGANIZATIONS, _R.organization_id == _O.id)
        .where(_R.user_id == user_id, or_(_R.ends_at.is_(None), _R.ends_at > now()))
        .order_by(_O.path, _R.role)
    )
    return Principal(
        user_id=row.id,
        name=row.name,
        grants=tuple(
            Grant(
                role=Role(each.role),
                organization_id=each.id,
                path=each.path,
                ends_at=each.ends_at,
                purpose=each.purpose,
            )
            for each in granted
        ),
    )


def with_sight(connection: Connection, principal: Principal) -> Principal:
    """The principal, and what is known of them by their roles."""
    return dataclasses.replace(
        principal,
        shown=_is_shown_something(connection, principal),
        only=_only_organization(connection, principal),
    )


def _only_organization(connection: Connection, principal: Principal) -> str | None:
    """The id of the one organisation whose points the roles show; None where they are several."""
    tops = top_paths(principal, SEE_POINTS)
    if len(tops) != 1:
        return None
    found = connection.execute(select(_O.id).where(within(_O.path, tops[0])).limit(2)).all()
    only: str | None = found[0][0] if len(found) == 1 else None
    return only


def _is_shown_something(connection: Connection, principal: Principal) -> bool:
    """Whether a share that has not ended is given to the principal, also one that begins later."""
    given = select(SHARES.c.id).where(
        SHARES.c.receiver_id.in_(visible_organizations(principal, RECEIVE_SHARES)),
        SHARES.c.ends_at > now(),
    )
    return connection.execute(given.limit(1)).first() is not None


def require_whole(principal: Principal, user: User) -> None:
    """Raises: Forbidden unless the principal administers every place where the user has a role."""
    for each in user.roles:
        if not principal.may(ADMINISTER, each.organization.path):
            raise Forbidden(
                f"{user.name} has a role outside what you administer: "
                "this needs an admin of all of it"
            )


def _resolve(
    connection: Connection, principal: Principal, roles: Sequence[NewRole]
) -> list[dict[str, Any]]:
    """Roles as rows. Raises: Invalid, Forbidden."""
    if not roles:
        raise Invalid.at("roles", "a user needs at least one role; to shut one out, disable them")
    resolved: dict[tuple[str, str], dict[str, Any]] = {}
    for index, new in enumerate(roles):
        place = f"roles[{index}]"
        if new.role not in set(Role):
            raise Invalid.at(f"{place}.role", f"must be one of {', '.join(Role)}")
        try:
            owner = organizations.get(connection, principal, new.organization)
        except NotFound as missing:
            raise Invalid.at(f"{place}.organization", missing.message) from None
        if not principal.may(ADMINISTER, owner.path):
            raise Forbidden(f"giving a role at {owner.path} needs the role admin there or above")
        if new.role == Role.CLEAR_VIEW:
            _check_clear_view(place, new)
        resolved[new.role, owner.id] = {
            "role": str(new.role),
            "organization_id": owner.id,
            "purpose": new.purpose,
            "ends_at": new.ends_at,
        }
    return list(resolved.values())


def _check_clear_view(place: str, new: NewRole) -> None:
    reasons = []
    if not new.purpose.strip():
        reasons.append(Reason(field=f"{place}.purpose", reason="clear_view needs a purpose"))
    if new.ends_at is None:
        reasons.append(Reason(field=f"{place}.ends_at", reason="clear_view needs an end"))
    if reasons:
        raise Invalid(*reasons)


def _write_roles(connection: Connection, user_id: str, roles: Sequence[Mapping[str, Any]]) -> None:
    connection.execute(insert(ROLES), [{**each, "user_id": user_id} for each in roles])


def _after(connection: Connection, user_id: str) -> User:
    return _read_all(connection, connection.execute(_COLUMNS.where(_U.id == user_id)).all())[0]


def recorded_at(user: User) -> str:
    """Where a change of the user is recorded: the first organisation where they have a role."""
    return user.roles[0].organization.path if user.roles else ""


def _shown(user: User) -> dict[str, Any]:
    roles = [f"{each.role} at {each.organization.path}" for each in user.roles]
    return {"name": user.name, "disabled": user.disabled, "roles": roles}


def _checked_name(name: str) -> str:
    trimmed = name.strip()
    if not 1 <= len(trimmed) <= 100:
        raise Invalid.at("name", "must have 1 to 100 characters")
    return trimmed


def _check_name_free(connection: Connection, name: str, but_id: str | None) -> None:
    holder = connection.scalar(select(_U.id).where(_U.name == name))
    if holder not in (None, but_id):
        raise Conflict("name in use")
