"""Radio and PTT systems: queries and edits."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Select, func, select
from sqlalchemy import delete as sql_delete

from registry import channels, organizations, rows
from registry.channels import Channel
from registry.errors import Conflict, Invalid
from registry.models import CHANNELS, ORGANIZATIONS, SYSTEMS, UNIT_ADDRESSES
from registry.organizations import OrganizationRef
from registry.owned import Owned, owner_of
from registry.paging import DEFAULT_LIMIT, AnyRow, Page
from registry.partition import (
    ADMINISTER,
    INTEGRATE,
    SEE_CHANNELS,
    SYSTEM,
    Principal,
    common_path,
    require,
)

_S = SYSTEMS.c
_O = ORGANIZATIONS.c
_EDITABLE = frozenset({"name", "organization", "settings", "secrets", "enabled"})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """settings: without its secrets, which only `running` gives, sealed."""

    id: str
    version: int
    adapter: str
    name: str
    organization: OrganizationRef
    settings: Mapping[str, Any]
    has_secrets: bool
    enabled: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NewSystem:
    """organization: id or path. secrets: the secret part of the settings, sealed."""

    adapter: str
    name: str
    organization: str
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    secrets: bytes | None = None
    enabled: bool = True


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RunningSystem:
    """What an agent needs to run a system. secrets: sealed."""

    system: System
    secrets: bytes | None
    channels: tuple[Channel, ...]


_COLUMNS: Select[Any] = select(
    _S.id,
    _S.version,
    _S.adapter,
    _S.name,
    _S.organization_id,
    _O.path.label("organization_path"),
    _O.name.label("organization_name"),
    _S.settings,
    _S.secrets,
    _S.enabled,
).join_from(SYSTEMS, ORGANIZATIONS, _S.organization_id == _O.id)
_SYSTEMS = Owned(kind="system", table=SYSTEMS, columns=_COLUMNS, roles=SEE_CHANNELS)


def _read(row: AnyRow) -> System:
    return System(
        id=row.id,
        version=row.version,
        adapter=row.adapter,
        name=row.name,
        organization=owner_of(row),
        settings=row.settings,
        has_secrets=row.secrets is not None,
        enabled=row.enabled,
    )


def _read_all(found: Sequence[AnyRow]) -> tuple[System, ...]:
    return tuple(_read(row) for row in found)


def get(connection: Connection, principal: Principal, system_id: str) -> System:
    """A system. Seen like channels; its settings should be shown to integrators only.

    Raises: NotFound where there is none, or none that the principal sees.
    """
    return _read(_SYSTEMS.row(connection, principal, system_id))


def page(
    connection: Connection,
    principal: Principal,
    *,
    organization: str | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[System]:
    """The systems that the principal sees, in the order they were made. organization: id or path;
    those below it are included. Raises: NotFound, Invalid."""
    return _SYSTEMS.page(
        connection, principal, _read_all, organization=organization, limit=limit, cursor=cursor
    )


def running(connection: Connection) -> tuple[RunningSystem, ...]:
    """Every enabled system with its sealed secrets and its channels: for the agents."""
    by_system: dict[str, list[Channel]] = {}
    for channel in channels.every(connection):
        by_system.setdefault(channel.system_id, []).append(channel)
    return tuple(
        RunningSystem(
            system=_read(row), secrets=row.secrets, channels=tuple(by_system.get(row.id, ()))
        )
        for row in connection.execute(_COLUMNS.where(_S.enabled).order_by(_S.id))
    )


def run(connection: Connection, system_id: str) -> RunningSystem:
    """One system as `running` gives them, enabled or not. Raises: NotFound."""
    row = _SYSTEMS.row(connection, SYSTEM, system_id)
    return RunningSystem(
        system=_read(row), secrets=row.secrets, channels=channels.every(connection, row.id)
    )


def create(connection: Connection, principal: Principal, new: NewSystem) -> System:
    """Add a system. Needs `integrator` or `admin` at its organisation.

    Raises: Invalid; NotFound for an organisation that is not seen; Forbidden; Conflict.
    """
    owner = organizations.get(connection, principal, new.organization)
    require(principal, INTEGRATE, owner.path)
    name = _checked_name(new.name)
    _check_name_free(connection, owner.id, name, None)
    values = {
        "adapter": new.adapter,
        "name": name,
        "organization_id": owner.id,
        "settings": dict(new.settings),
        "secrets": new.secrets,
        "enabled": new.enabled,
    }
    system_id = rows.insert_row(connection, SYSTEMS, values)
    details = {"adapter": new.adapter, "name": name}
    rows.record(connection, principal, "create", "system", system_id, owner.path, details)
    return get(connection, principal, system_id)


def update(
    connection: Connection,
    principal: Principal,
    system_id: str,
    changes: Mapping[str, Any],
    version: int | None = None,
) -> System:
    """Change name, organization (id or path), settings, secrets (sealed) or enabled.

    Needs `integrator` or `admin`; for another organisation `admin` at one that contains both.
    Raises: NotFound, Forbidden, Invalid, Conflict, VersionMismatch.
    """
    before = get(connection, principal, system_id)
    require(principal, INTEGRATE, before.organization.path)
    rows.check_fields(changes, _EDITABLE)
    values = {field: value for field, value in changes.items() if field != "organization"}
    values["name"] = _checked_name(str(values.get("name", before.name)))
    owner_id = before.organization.id
    if "organization" in changes:
        target = organizations.get(connection, principal, changes["organization"])
        if target.id != owner_id:
            require(principal, ADMINISTER, common_path(before.organization.path, target.path))
        owner_id = values["organization_id"] = target.id
    _check_name_free(connection, owner_id, values["name"], before.id)
    rows.update_row(connection, SYSTEMS, "system", before.id, values, version)
    old = {**dataclasses.asdict(before), "organization_id": before.organization.id}
    shown = {**values, "secrets": "changed"} if "secrets" in values else values
    changed = rows.difference(old, shown)
    path = before.organization.path
    rows.record(connection, principal, "update", "system", before.id, path, changed)
    return _read(_SYSTEMS.row(connection, SYSTEM, before.id))


def delete(
    connection: Connection, principal: Principal, system_id: str, version: int | None = None
) -> None:
    """Remove a system that has no channels; units lose their addresses on it. Needs `integrator`
    or `admin`. Raises: NotFound, Forbidden, Conflict, VersionMismatch."""
    before = get(connection, principal, system_id)
    require(principal, INTEGRATE, before.organization.path)
    number = connection.scalar(
        select(func.count()).select_from(CHANNELS).where(CHANNELS.c.system_id == before.id)
    )
    if number:
        raise Conflict(f"the system {before.name} still has {number} channels: remove them first")
    connection.execute(sql_delete(UNIT_ADDRESSES).where(UNIT_ADDRESSES.c.system_id == before.id))
    rows.delete_row(connection, SYSTEMS, "system", before.id, version)
    path = before.organization.path
    details = {"adapter": before.adapter, "name": before.name}
    rows.record(connection, principal, "delete", "system", before.id, path, details)


def _checked_name(name: str) -> str:
    trimmed = name.strip()
    if not 1 <= len(trimmed) <= 200:
        raise Invalid.at("name", "must have 1 to 200 characters")
    return trimmed


def _check_name_free(
    connection: Connection, organization_id: str, name: str, but_id: str | None
) -> None:
    holder = connection.scalar(
        select(_S.id).where(_S.organization_id == organization_id, _S.name == name)
    )
    if holder not in (None, but_id):
        raise Conflict(f"there is a system named {name} there already", other=str(holder))
