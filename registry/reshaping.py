"""Changing the shape of the tree: moving and renaming organisations, merging one into another.

Each is one transaction. What belongs to an organisation follows by its id; what is named by path,
and that is the organisations themselves and the record of changes, is written anew, so that a
path given away never shows somebody else's past.
"""

from collections.abc import Mapping
from typing import Any

import shapely
from shapely.geometry import mapping
from sqlalchemy import Connection, Table, Text, case, func, literal, select
from sqlalchemy import delete as sql_delete
from sqlalchemy import update as sql_update

from registry import organizations, rows, sharing
from registry.errors import Conflict, Invalid
from registry.identity import now
from registry.jurisdictions import read_geometry
from registry.models import (
    APPLIED_LEVELS,
    CHANGES,
    CHANNELS,
    DEVICES,
    LEVELS,
    ORGANIZATIONS,
    PATCHES,
    POINTS,
    ROLES,
    SHARES,
    SYSTEMS,
    TOKEN_ROLES,
    TOURS,
    UNITS,
)
from registry.organizations import PARENT_KINDS, Organization
from registry.partition import (
    ADMINISTER,
    Principal,
    Role,
    common_path,
    contains,
    parent_path,
    require,
    within,
)

_O = ORGANIZATIONS.c
_P = POINTS.c
_OWNED: tuple[Table, ...] = (DEVICES, SYSTEMS, CHANNELS, PATCHES, UNITS, LEVELS, TOURS)
_NAMED: tuple[Table, ...] = (SYSTEMS, PATCHES, LEVELS, TOURS)


def move(
    connection: Connection,
    principal: Principal,
    reference: str,
    *,
    parent: str | None,
    slug: str,
    version: int | None = None,
) -> Organization:
    """Put an organisation, with all below it and all that they own, under another parent, or give
    it another slug. parent: id or path, None for a root.

    Needs `admin` at an organisation that contains the old parent and the new one; for a slug alone,
    at the parent, or at itself for a root. Points whose home it leaves behind get the nearest
    district above their new place as their home.
    Raises: NotFound, Forbidden, VersionMismatch; Invalid for what cannot stand there; Conflict
    where the new path is taken.
    """
    organizations.lock_tree(connection)
    before = organizations.get(connection, principal, reference)
    above = None
    if parent is not None and parent == before.parent_id:
        # Staying where it is needs no sight of what is above.
        above = organizations.get_by_id(connection, parent)
    elif parent is not None:
        above = organizations.get(connection, principal, parent)
    old_above, new_above = parent_path(before.path), above.path if above else ""
    if (above.id if above else None) != before.parent_id:
        require(principal, ADMINISTER, common_path(old_above, new_above))
    else:
        require(principal, ADMINISTER, old_above or before.path)
    rows.check_version("organization", version, before.version)
    if above is not None and contains(before.path, above.path):
        raise Invalid.at("parent", "an organization cannot stand below itself")
    organizations.check_place(before.kind, above.kind if above else None)
    organizations.check_slug(slug)
    path = f"{new_above}/{slug}" if above else slug
    if path == before.path:
        return before
    organizations.check_path_free(connection, path)
    connection.execute(
        sql_update(ORGANIZATIONS)
        .where(_O.id == before.id)
        .values(slug=slug, parent_id=above.id if above else None)
    )
    _repath(connection, before.path, path)
    _bring_home(connection, path)
    changed = {"path": [before.path, path]}
    rows.record(connection, principal, "move", "organization", before.id, path, changed)
    return organizations.get_by_id(connection, before.id)


def merge(
    connection: Connection,
    principal: Principal,
    reference: str,
    into: str,
    version: int | None = None,
) -> Organization:
    """Make two organisations of one kind into one: `into` succeeds the other, which is gone then.
    Answers the one that stays.

    Its children, points, devices, systems, channels, patches, units, levels, tours and roles
    become the other's; polygons are united; a `clear_view`, which somebody gave for the one alone,
    ends; a purpose that either asked for is asked for. Needs `admin` at an organisation that
    contains the other's parent and `into`.
    Raises: NotFound, Forbidden, VersionMismatch; Invalid where the two cannot be one; Conflict
    naming what both have.
    """
    source, target = _both(connection, principal, reference, into, version)
    if source.kind != target.kind:
        raise Invalid.at("into", f"a {source.kind} can only be merged into another {source.kind}")
    _take_over(connection, principal, source, target, explicitly=False)
    _succeed_shares(connection, principal, source.id, target.id)
    polygons = [read_geometry(each.jurisdiction) for each in (source, target) if each.jurisdiction]
    united: dict[str, Any] = {
        "purpose_required": source.purpose_required or target.purpose_required
    }
    if source.jurisdiction:
        united |= organizations.jurisdiction_values(_document(shapely.union_all(polygons)))
    rows.update_row(connection, ORGANIZATIONS, "organization", target.id, united, None)
    _close(connection, principal, source, target, "merge")
    return organizations.get_by_id(connection, target.id)


def delete_reassigning(
    connection: Connection,
    principal: Principal,
    reference: str,
    reassign_to: str,
    version: int | None = None,
) -> None:
    """Remove an organisation and give what it owns to another, its points explicitly.

    Needs `admin` at an organisation that contains the other's parent and `reassign_to`.
    Raises: as `merge`.
    """
    source, target = _both(connection, principal, reference, reassign_to, version)
    _take_over(connection, principal, source, target, explicitly=True)
    ended = (SHARES.c.owner_id == source.id) | (SHARES.c.receiver_id == source.id)
    sharing.end(connection, principal, ended, "an organization was deleted")
    _close(connection, principal, source, target, "delete")


def _both(
    connection: Connection,
    principal: Principal,
    reference: str,
    other: str,
    version: int | None,
) -> tuple[Organization, Organization]:
    organizations.lock_tree(connection)
    source = organizations.get(connection, principal, reference)
    target = organizations.get(connection, principal, other)
    require(principal, ADMINISTER, common_path(parent_path(source.path), target.path))
    rows.check_version("organization", version, source.version)
    if contains(source.path, target.path):
        raise Invalid.at("into", "an organization cannot go into itself or one below it")
    return source, target


def _take_over(
    connection: Connection,
    principal: Principal,
    source: Organization,
    target: Organization,
    *,
    explicitly: bool,
) -> None:
    children = _children(connection, source, target)
    _check_calm(connection, source)
    _check_names(connection, source, target)
    for child in children:
        connection.execute(
            sql_update(ORGANIZATIONS).where(_O.id == child.id).values(parent_id=target.id)
        )
        _repath(connection, child.path, f"{target.path}/{child.slug}")
    touched: dict[str, Any] = {"updated_at": now()}
    for table in _OWNED:
        connection.execute(
            sql_update(table)
            .where(table.c.organization_id == source.id)
            .values(organization_id=target.id, version=table.c.version + 1, **touched)
        )
    connection.execute(sql_update(POINTS).where(_P.home_id == source.id).values(home_id=target.id))
    by = case((_P.assigned_by == "polygon", "explicit"), else_=_P.assigned_by)
    connection.execute(
        sql_update(POINTS)
        .where(_P.organization_id == source.id)
        .values(
            organization_id=target.id,
            assigned_by=by if explicitly else _P.assigned_by,
            version=_P.version + 1,
            **touched,
        )
    )
    _bring_home(connection, target.path)
    _move_roles(connection, source.id, target.id)


def _children(
    connection: Connection, source: Organization, target: Organization
) -> list[Organization]:
    """Raises: Invalid, Conflict where one of them cannot stand below the target."""
    children = organizations.children(connection, source.id)
    taken = {each.slug for each in organizations.children(connection, target.id)} - {
        # Where the target is the source's own parent, the source makes room.
        source.slug if source.parent_id == target.id else ""
    }
    for child in children:
        if target.kind not in PARENT_KINDS[child.kind]:
            raise Invalid.at("into", f"{child.path} is a {child.kind}: none below a {target.kind}")
    both = tuple(f"{target.path}/{each.slug}" for each in children if each.slug in taken)
    if both:
        raise Conflict(f"there is one already at {', '.join(both)}", others=both)
    return children


def _check_calm(connection: Connection, source: Organization) -> None:
    """Raises: Conflict while a response level of the source is in force: what it changed could
    not be put back."""
    level = connection.scalar(
        select(LEVELS.c.name)
        .join(APPLIED_LEVELS, APPLIED_LEVELS.c.level_id == LEVELS.c.id)
        .where(APPLIED_LEVELS.c.organization_id == source.id)
    )
    if level is not None:
        raise Conflict(f"the level {level} is in force at {source.path}: restore it first")


def _check_names(connection: Connection, source: Organization, target: Organization) -> None:
    both = []
    for table in _NAMED:
        theirs = select(table.c.name).where(table.c.organization_id == target.id)
        ours = table.c.organization_id == source.id
        names = connection.scalars(select(table.c.name).where(ours, table.c.name.in_(theirs)))
        both += [f"{table.name} {name}" for name in names]
    theirs_too = DEVICES.alias("theirs")
    hosts = connection.scalars(
        select(DEVICES.c.endpoint)
        .join(
            theirs_too,
            (theirs_too.c.adapter == DEVICES.c.adapter)
            & (theirs_too.c.endpoint == DEVICES.c.endpoint)
            & (theirs_too.c.organization_id == target.id),
        )
        .where(DEVICES.c.organization_id == source.id)
    )
    both += [f"devices {endpoint}" for endpoint in hosts]
    if both:
        raise Conflict(f"both have {', '.join(both)}: rename one first", others=tuple(both))


def _move_roles(connection: Connection, source_id: str, target_id: str) -> None:
    """Who has a role at the source, and what access token carries it, has it at the target; once,
    where they had it at both."""
    for table, whose in ((ROLES, "user_id"), (TOKEN_ROLES, "token_id")):
        held = table.alias("held")
        twice = (
            select(held.c[whose])
            .where(
                held.c.organization_id == target_id,
                held.c[whose] == table.c[whose],
                held.c.role == table.c.role,
            )
            .exists()
        )
        here = table.c.organization_id == source_id
        ends = (table.c.role == Role.CLEAR_VIEW.value) | twice
        connection.execute(sql_delete(table).where(here, ends))
        connection.execute(sql_update(table).where(here).values(organization_id=target_id))


def _succeed_shares(
    connection: Connection, principal: Principal, source_id: str, target_id: str
) -> None:
    """Shares to the source are the target's, and so are those of single points. One of all that
    the source had ends: the target has more than that."""
    c = SHARES.c
    own = (c.owner_id == source_id) & (c.receiver_id == target_id)
    other = (c.owner_id == target_id) & (c.receiver_id == source_id)
    whole = (c.owner_id == source_id) & c.point_id.is_(None)
    sharing.end(connection, principal, own | other | whole, "an organization was merged")
    for column in (c.owner_id, c.receiver_id):
        statement = sql_update(SHARES).where(column == source_id)
        connection.execute(statement.values({column: target_id, c.version: c.version + 1}))


def _close(
    connection: Connection,
    principal: Principal,
    source: Organization,
    target: Organization,
    action: str,
) -> None:
    connection.execute(
        sql_update(CHANGES)
        .where(CHANGES.c.organization_path == source.path)
        .values(organization_path=target.path)
    )
    connection.execute(sql_delete(ORGANIZATIONS).where(_O.id == source.id))
    details: Mapping[str, Any] = {"path": [source.path, target.path], "into": target.id}
    rows.record(connection, principal, action, "organization", source.id, target.path, details)


def _repath(connection: Connection, old: str, new: str) -> None:
    """Write the paths of an organisation and of all below it anew, in the record of changes too."""

    def renamed(column: Any) -> Any:
        return literal(new, Text()) + func.substr(column, len(old) + 1)

    connection.execute(
        sql_update(ORGANIZATIONS)
        .where(within(_O.path, old))
        .values(
            path=renamed(_O.path),
            depth=_O.depth + (new.count("/") - old.count("/")),
            version=_O.version + 1,
            updated_at=now(),
        )
    )
    connection.execute(
        sql_update(CHANGES)
        .where(within(CHANGES.c.organization_path, old))
        .values(organization_path=renamed(CHANGES.c.organization_path))
    )


def _bring_home(connection: Connection, path: str) -> None:
    """Give the points owned at path or below, whose home is not above them any more, the nearest
    district at or above path as their home."""
    owners = select(_O.id).where(within(_O.path, path))
    homes = connection.execute(
        select(_O.id, _O.path).where(
            _O.id.in_(select(_P.home_id).where(_P.organization_id.in_(owners)).distinct())
        )
    ).all()
    lost = [
        home.id for home in homes if not contains(home.path, path) and not contains(path, home.path)
    ]
    if not lost:
        return
    district_id = organizations.nearest_district(connection, path)
    connection.execute(
        sql_update(POINTS)
        .where(_P.organization_id.in_(owners), _P.home_id.in_(lost))
        .values(home_id=district_id)
    )


def _document(geometry: Any) -> Mapping[str, Any]:
    """GeoJSON of a geometry, its positions as lists."""

    def lists(value: Any) -> Any:
        return [lists(each) for each in value] if isinstance(value, tuple | list) else value

    document = mapping(geometry)
    return {"type": document["type"], "coordinates": lists(document["coordinates"])}
