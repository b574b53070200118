"""Units, people with radios and phones: queries and edits."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Select, insert, select
from sqlalchemy import delete as sql_delete

from registry import organizations, rows
from registry.errors import Conflict, Invalid, Reason
from registry.identity import parse_id
from registry.models import ORGANIZATIONS, SYSTEMS, UNIT_ADDRESSES, UNITS
from registry.organizations import OrganizationRef
from registry.owned import Owned, owner_of
from registry.paging import DEFAULT_LIMIT, AnyRow, Page
from registry.partition import (
    ADMINISTER,
    INTEGRATE,
    SEE_CHANNELS,
    SEE_UNITS,
    Principal,
    common_path,
    require,
    visible,
)
from registry.search import matching

_U = UNITS.c
_A = UNIT_ADDRESSES.c
_O = ORGANIZATIONS.c
_EDITABLE = frozenset({"alias", "organization", "priority", "addresses"})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UnitAddress:
    """What a system calls the unit. system_id: ours."""

    system_id: str
    address: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """priority: 0..255 of its talk."""

    id: str
    version: int
    alias: str
    organization: OrganizationRef
    priority: int
    addresses: tuple[UnitAddress, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NewUnit:
    """organization: id or path."""

    alias: str
    organization: str
    priority: int = 0
    addresses: tuple[UnitAddress, ...] = ()


_COLUMNS: Select[Any] = select(
    _U.id,
    _U.version,
    _U.alias,
    _U.organization_id,
    _O.path.label("organization_path"),
    _O.name.label("organization_name"),
    _U.priority,
).join_from(UNITS, ORGANIZATIONS, _U.organization_id == _O.id)
_UNITS = Owned(kind="unit", table=UNITS, columns=_COLUMNS, roles=SEE_UNITS)


def _read_all(connection: Connection, found: Sequence[AnyRow]) -> tuple[Unit, ...]:
    addresses: dict[str, list[UnitAddress]] = {row.id: [] for row in found}
    wanted = (
        select(_A.unit_id, _A.system_id, _A.address)
        .where(_A.unit_id.in_(list(addresses)))
        .order_by(_A.system_id, _A.address)
    )
    for row in connection.execute(wanted):
        addresses[row.unit_id].append(UnitAddress(system_id=row.system_id, address=row.address))
    return tuple(
        Unit(
            id=row.id,
            version=row.version,
            alias=row.alias,
            organization=owner_of(row),
            priority=row.priority,
            addresses=tuple(addresses[row.id]),
        )
        for row in found
    )


def get(connection: Connection, principal: Principal, unit_id: str) -> Unit:
    """Raises: NotFound where there is none, or none that the principal sees."""
    return _read_all(connection, [_UNITS.row(connection, principal, unit_id)])[0]


def page(
    connection: Connection,
    principal: Principal,
    *,
    organization: str | None = None,
    q: str | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[Unit]:
    """The units that the principal sees, in the order they were made. organization: id or path;
    those below it are included. Raises: NotFound, Invalid."""
    conditions = [matching(q, (_U.alias,))] if q is not None else []

    def read(found: Sequence[AnyRow]) -> tuple[Unit, ...]:
        return _read_all(connection, found)

    return _UNITS.page(
        connection,
        principal,
        read,
        *conditions,
        organization=organization,
        limit=limit,
        cursor=cursor,
    )


def every(connection: Connection) -> tuple[Unit, ...]:
    """Every unit: for agents and bridge, which name talkers by them; not for people."""
    found = connection.execute(_COLUMNS.order_by(_U.id)).all()
    by_unit: dict[str, list[UnitAddress]] = {}
    addresses = select(_A.unit_id, _A.system_id, _A.address).order_by(_A.system_id, _A.address)
    for row in connection.execute(addresses):
        by_unit.setdefault(row.unit_id, []).append(
            UnitAddress(system_id=row.system_id, address=row.address)
        )
    return tuple(
        Unit(
            id=row.id,
            version=row.version,
            alias=row.alias,
            organization=owner_of(row),
            priority=row.priority,
            addresses=tuple(by_unit.get(row.id, ())),
        )
        for row in found
    )


def create(connection: Connection, principal: Principal, new: NewUnit) -> Unit:
    """Add a unit. Needs `integrator` or `admin` at its organisation.

    Raises: Invalid; NotFound for an organisation that is not seen; Forbidden; Conflict where an
    address is another unit's.
    """
    owner = organizations.get(connection, principal, new.organization)
    require(principal, INTEGRATE, owner.path)
    alias = new.alias.strip()
    _check(alias, new.priority, new.addresses)
    _check_addresses(connection, principal, new.addresses, None)
    values = {"alias": alias, "organization_id": owner.id, "priority": new.priority}
    unit_id = rows.insert_row(connection, UNITS, values)
    _write_addresses(connection, unit_id, new.addresses)
    unit = get(connection, principal, unit_id)
    rows.record(connection, principal, "create", "unit", unit_id, owner.path, _shown(unit))
    return unit


def update(
    connection: Connection,
    principal: Principal,
    unit_id: str,
    changes: Mapping[str, Any],
    version: int | None = None,
) -> Unit:
    """Change alias, organization (id or path), priority, or addresses as a whole, a sequence of
    `UnitAddress`. Needs `integrator` or `admin`; for another organisation `admin` at one that
    contains both. Raises: NotFound, Forbidden, Invalid, Conflict, VersionMismatch."""
    before = get(connection, principal, unit_id)
    require(principal, INTEGRATE, before.organization.path)
    rows.check_fields(changes, _EDITABLE)
    addresses = tuple(changes.get("addresses", before.addresses))
    values = {
        "alias": str(changes.get("alias", before.alias)).strip(),
        "priority": changes.get("priority", before.priority),
    }
    _check(values["alias"], values["priority"], addresses)
    fresh = [each for each in addresses if each not in before.addresses]
    _check_addresses(connection, principal, fresh, before.id)
    if "organization" in changes:
        target = organizations.get(connection, principal, changes["organization"])
        if target.id != before.organization.id:
            require(principal, ADMINISTER, common_path(before.organization.path, target.path))
        values["organization_id"] = target.id
    rows.update_row(connection, UNITS, "unit", before.id, values, version)
    connection.execute(sql_delete(UNIT_ADDRESSES).where(_A.unit_id == before.id))
    _write_addresses(connection, before.id, addresses)
    found = connection.execute(_COLUMNS.where(_U.id == before.id)).all()
    after = _read_all(connection, found)[0]
    changed = rows.difference(_shown(before), _shown(after))
    path = before.organization.path
    rows.record(connection, principal, "update", "unit", before.id, path, changed)
    return after


def delete(
    connection: Connection, principal: Principal, unit_id: str, version: int | None = None
) -> None:
    """Remove a unit. Needs `integrator` or `admin`. Raises: NotFound, Forbidden,
    VersionMismatch."""
    before = get(connection, principal, unit_id)
    require(principal, INTEGRATE, before.organization.path)
    rows.delete_row(connection, UNITS, "unit", before.id, version)
    path = before.organization.path
    rows.record(connection, principal, "delete", "unit", before.id, path, _shown(before))


def _write_addresses(
    connection: Connection, unit_id: str, addresses: Sequence[UnitAddress]
) -> None:
    if addresses:
        connection.execute(
            insert(UNIT_ADDRESSES),
            [{**dataclasses.asdict(each), "unit_id": unit_id} for each in addresses],
        )


def _shown(unit: Unit) -> dict[str, Any]:
    return {
        "alias": unit.alias,
        "organization": unit.organization.path,
        "priority": unit.priority,
        "addresses": [dataclasses.asdict(each) for each in unit.addresses],
    }


def _check(alias: str, priority: int, addresses: Sequence[UnitAddress]) -> None:
    reasons = []
    if not 1 <= len(alias) <= 200:
        reasons.append(Reason(field="alias", reason="must have 1 to 200 characters"))
    if not 0 <= priority <= 255:
        reasons.append(Reason(field="priority", reason="must be 0 to 255"))
    for index, each in enumerate(addresses):
        if not 1 <= len(each.address) <= 200:
            reasons.append(
                Reason(field=f"addresses[{index}].address", reason="must have 1 to 200 characters")
            )
        if each in addresses[:index]:
            reasons.append(Reason(field=f"addresses[{index}]", reason="is there twice"))
    if reasons:
        raise Invalid(*reasons)


def _check_addresses(
    connection: Connection,
    principal: Principal,
    addresses: Sequence[UnitAddress],
    but_id: str | None,
) -> None:
    """Raises: Invalid for a system that is not seen; Conflict for an address that is taken."""
    if not addresses:
        return
    wanted = {each.system_id for each in addresses if parse_id(each.system_id) == each.system_id}
    known = set(
        connection.scalars(
            select(SYSTEMS.c.id).where(
                SYSTEMS.c.id.in_(wanted),
                visible(SYSTEMS.c.organization_id, principal, SEE_CHANNELS),
            )
        )
    )
    unknown = [
        Reason(field="addresses", reason=f"there is no system {each.system_id!r}")
        for each in addresses
        if each.system_id not in known
    ]
    if unknown:
        raise Invalid(*unknown)
    for each in addresses:
        holder = connection.scalar(
            select(_A.unit_id).where(_A.system_id == each.system_id, _A.address == each.address)
        )
        if holder is None or holder == but_id:
            continue
        seen = visible(_U.organization_id, principal, SEE_UNITS)
        shown = connection.scalar(select(_U.id).where(_U.id == holder, seen))
        raise Conflict(f"the address {each.address} is another unit's", other=shown or "")
