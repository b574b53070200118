"""Cameras and recorders: queries, edits, and the binding of their sources to points."""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, or_, select
from sqlalchemy import update as sql_update

from registry import binding, organizations, rows
from registry.binding import Registration
from registry.errors import Conflict, Invalid, Reason
from registry.identity import now, to_milliseconds
from registry.models import DEVICES, ORGANIZATIONS, POINTS
from registry.organizations import OrganizationRef
from registry.owned import Owned, owner_of
from registry.paging import DEFAULT_LIMIT, AnyRow, Page
from registry.partition import (
    ADMINISTER,
    INTEGRATE,
    SEE_DEVICES,
    SEE_POINTS,
    SYSTEM,
    Principal,
    common_path,
    require,
    visible,
)
from registry.search import matching
from registry.sources import FoundSource, source_from_json, source_to_json, storable

_D = DEVICES.c
_O = ORGANIZATIONS.c
_P = POINTS.c
_MOST_NOTES = 20
STATUSES = ("online", "offline", "fault", "unknown")
_EDITABLE = frozenset({"name", "organization", "endpoint", "username", "secret", "settings"})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DeviceIdentity:
    """Who a device says it is. Unknown fields are empty."""

    manufacturer: str = ""
    model: str = ""
    serial: str = ""
    firmware: str = ""
    endpoint_reference: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSource:
    """A source of a device. point_id: whom it shows, None while it belongs to no point that the
    reader sees; organization_path: that point's owner."""

    found: FoundSource
    point_id: str | None
    organization_path: str | None

    @property
    def address(self) -> str:
        return self.found.address

    @property
    def name(self) -> str:
        return self.found.name


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """clock_offset_s: device clock minus ours, None unknown. notes: what its last probe found odd.
    The password is not in it: see `secret` and `running`."""

    id: str
    version: int
    adapter: str
    endpoint: str
    name: str
    organization: OrganizationRef
    username: str
    has_secret: bool
    settings: Mapping[str, Any]
    identity: DeviceIdentity
    clock_offset_s: float | None
    status: str
    status_since: datetime
    last_error: str
    sources: tuple[DeviceSource, ...]
    notes: tuple[str, ...] = ()

    @property
    def points(self) -> dict[str, str]:
        """Source address → point id, of the sources that have a point."""
        return {each.address: each.point_id for each in self.sources if each.point_id}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NewDevice:
    """endpoint: host or URL. organization: id or path. secret: the password, sealed."""

    adapter: str
    endpoint: str
    organization: str
    name: str = ""
    username: str = ""
    secret: bytes | None = None
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RunningDevice:
    """What an agent needs to run a device. secret: its password, sealed."""

    device: Device
    secret: bytes | None


_COLUMNS: Select[Any] = select(
    _D.id,
    _D.version,
    _D.adapter,
    _D.endpoint,
    _D.name,
    _D.organization_id,
    _O.path.label("organization_path"),
    _O.name.label("organization_name"),
    _D.username,
    _D.secret,
    _D.settings,
    _D.manufacturer,
    _D.model,
    _D.serial,
    _D.firmware,
    _D.endpoint_reference,
    _D.clock_offset_s,
    _D.status,
    _D.status_since,
    _D.last_error,
    _D.sources,
    _D.notes,
).join_from(DEVICES, ORGANIZATIONS, _D.organization_id == _O.id)
_DEVICES = Owned(kind="device", table=DEVICES, columns=_COLUMNS, roles=SEE_DEVICES)


def _points_of(
    connection: Connection, principal: Principal, device_ids: Sequence[str] | None
) -> dict[tuple[str, str], tuple[str, str]]:
    """(device id, address) → (point id, owner's path), of the points that the principal sees."""
    wanted = (
        select(_P.device_id, _P.address, _P.id, _O.path)
        .join_from(POINTS, ORGANIZATIONS, _P.organization_id == _O.id)
        .where(_P.device_id.is_not(None), visible(_P.organization_id, principal, SEE_POINTS))
    )
    if device_ids is not None:
        wanted = wanted.where(_P.device_id.in_(device_ids))
    return {(row[0], row[1]): (row[2], row[3]) for row in connection.execute(wanted)}


def _read(row: AnyRow, points: Mapping[tuple[str, str], tuple[str, str]]) -> Device:
    sources = []
    for document in row.sources:
        found = source_from_json(document)
        point_id, path = points.get((row.id, found.address), (None, None))
        sources.append(DeviceSource(found=found, point_id=point_id, organization_path=path))
    return Device(
        id=row.id,
        version=row.version,
        adapter=row.adapter,
        endpoint=row.endpoint,
        name=row.name,
        organization=owner_of(row),
        username=row.username,
        has_secret=row.secret is not None,
        settings=row.settings,
        identity=DeviceIdentity(
            manufacturer=row.manufacturer,
            model=row.model,
            serial=row.serial,
            firmware=row.firmware,
            endpoint_reference=row.endpoint_reference,
        ),
        clock_offset_s=row.clock_offset_s,
        status=row.status,
        status_since=row.status_since,
        last_error=row.last_error,
        sources=tuple(sources),
        notes=tuple(row.notes or ()),
    )


def get(connection: Connection, principal: Principal, device_id: str) -> Device:
    """A device. Seen by `integrator` and `admin`.

    Raises: NotFound where there is none, or none that the principal sees.
    """
    row = _DEVICES.row(connection, principal, device_id)
    return _read(row, _points_of(connection, principal, [row.id]))


def page(
    connection: Connection,
    principal: Principal,
    *,
    organization: str | None = None,
    q: str | None = None,
    status: str | None = None,
    adapter: str | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[Device]:
    """The devices that the principal sees, in the order they were made. organization: id or path;
    those below it are included. Raises: NotFound, Invalid."""
    conditions: list[ColumnElement[bool]] = []
    if q is not None:
        conditions.append(matching(q, (_D.name, _D.endpoint, _D.model, _D.serial)))
    if status is not None:
        if status not in STATUSES:
            raise Invalid.at("status", f"must be one of {', '.join(STATUSES)}")
        conditions.append(_D.status == status)
    if adapter is not None:
        conditions.append(_D.adapter == adapter)

    def read(found: Sequence[AnyRow]) -> tuple[Device, ...]:
        points = _points_of(connection, principal, [row.id for row in found])
        return tuple(_read(row, points) for row in found)

    return _DEVICES.page(
        connection,
        principal,
        read,
        *conditions,
        organization=organization,
        limit=limit,
        cursor=cursor,
    )


def running(connection: Connection) -> tuple[RunningDevice, ...]:
    """Every device with its sealed password and all its points: for the agents, not for people."""
    points = _points_of(connection, SYSTEM, None)
    return tuple(
        RunningDevice(device=_read(row, points), secret=row.secret)
        for row in connection.execute(_COLUMNS.order_by(_D.id))
    )


def run(connection: Connection, device_id: str) -> RunningDevice:
    """One device as `running` gives them. Raises: NotFound."""
    row = _DEVICES.row(connection, SYSTEM, device_id)
    device = _read(row, _points_of(connection, SYSTEM, [row.id]))
    return RunningDevice(device=device, secret=row.secret)


def register(
    connection: Connection,
    principal: Principal,
    new: NewDevice,
    sources: Sequence[FoundSource],
    *,
    identity: DeviceIdentity | None = None,
    clock_offset_s: float | None = None,
    notes: Sequence[str] = (),
) -> Registration:
    """Add a device that was probed, and bind each of its sources to a point.

    A source is bound to the one point without a source that matches, inside the device's
    organisation; without any, a point is created there; with several, nothing is done and they
    are named. Needs `integrator` or `admin` at the organisation. See `registry.sources.match`.
    Raises: Invalid; NotFound for an organisation that is not seen; Forbidden; Conflict naming the
    device that has the endpoint.
    """
    owner = organizations.get(connection, principal, new.organization)
    require(principal, INTEGRATE, owner.path)
    endpoint = new.endpoint.strip()
    name = new.name.strip() or _name_of(identity, endpoint)
    _check(name, endpoint)
    _check_endpoint_free(connection, principal, new.adapter, endpoint, None)
    values = {
        "adapter": new.adapter,
        "endpoint": endpoint,
        "name": name,
        "organization_id": owner.id,
        "username": new.username,
        "secret": new.secret,
        "settings": dict(new.settings),
        "status": "unknown",
        "status_since": now(),
        "last_error": "",
        **_probed(sources, identity or DeviceIdentity(), clock_offset_s, notes),
    }
    device_id = rows.insert_row(connection, DEVICES, values)
    details = {"adapter": new.adapter, "endpoint": endpoint, "name": name}
    rows.record(connection, principal, "create", "device", device_id, owner.path, details)
    return binding.bind(connection, principal, device_id, name, endpoint, owner, sources)


def refresh(
    connection: Connection,
    principal: Principal,
    device_id: str,
    sources: Sequence[FoundSource],
    *,
    identity: DeviceIdentity | None = None,
    clock_offset_s: float | None = None,
    notes: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
) -> Registration:
    """Write what a new probe found. A source keeps the point it has, by its address, and the
    point gets the new profiles; new sources are bound as by `register`; a point whose source is
    gone keeps it and turns to ``fault``. settings: kept beside those it has. Needs `integrator`
    or `admin`.

    Raises: NotFound, Forbidden.
    """
    before = get(connection, principal, device_id)
    require(principal, INTEGRATE, before.organization.path)
    owner = organizations.get(connection, principal, before.organization.id)
    known = _with_reference(identity or before.identity, before.identity)
    values = _probed(sources, known, clock_offset_s, notes)
    values["settings"] = {**before.settings, **(settings or {})}
    rows.update_row(connection, DEVICES, "device", before.id, values, None)
    details = {"sources": [each.address for each in sources]}
    rows.record(connection, principal, "refresh", "device", before.id, owner.path, details)
    return binding.bind(
        connection, principal, before.id, before.name, before.endpoint, owner, sources
    )


def update(
    connection: Connection,
    principal: Principal,
    device_id: str,
    changes: Mapping[str, Any],
    version: int | None = None,
) -> Device:
    """Change name, organization (id or path), endpoint, username, secret (sealed) or settings.

    Needs `integrator` or `admin`; for another organisation `admin` at one that contains both.
    Raises: NotFound, Forbidden, Invalid, Conflict, VersionMismatch.
    """
    before = get(connection, principal, device_id)
    require(principal, INTEGRATE, before.organization.path)
    rows.check_fields(changes, _EDITABLE)
    values = {field: value for field, value in changes.items() if field != "organization"}
    name = str(values.get("name", before.name)).strip()
    endpoint = str(values.get("endpoint", before.endpoint)).strip()
    _check(name, endpoint)
    values |= {"name": name, "endpoint": endpoint}
    if endpoint != before.endpoint:
        _check_endpoint_free(connection, principal, before.adapter, endpoint, before.id)
    if "organization" in changes:
        target = organizations.get(connection, principal, changes["organization"])
        if target.id != before.organization.id:
            require(principal, ADMINISTER, common_path(before.organization.path, target.path))
        values["organization_id"] = target.id
    rows.update_row(connection, DEVICES, "device", before.id, values, version)
    old = {
        **dataclasses.asdict(before),
        "organization_id": before.organization.id,
        "secret": None,
    }
    shown = {**values, "secret": "changed"} if "secret" in values else values
    changed = rows.difference(old, shown)
    path = before.organization.path
    rows.record(connection, principal, "update", "device", before.id, path, changed)
    return _after(connection, principal, before.id)


def delete(
    connection: Connection, principal: Principal, device_id: str, version: int | None = None
) -> None:
    """Remove a device; its points stay, without a source. Needs `integrator` or `admin`;
    `admin` where one of them is masked.

    Raises: NotFound, Forbidden, VersionMismatch.
    """
    before = get(connection, principal, device_id)
    require(principal, INTEGRATE, before.organization.path)
    for path in _owners_of_masked(connection, before.id):
        require(principal, ADMINISTER, path)
    binding.release(connection, before.id)
    rows.delete_row(connection, DEVICES, "device", before.id, version)
    details = {"adapter": before.adapter, "endpoint": before.endpoint, "name": before.name}
    path = before.organization.path
    rows.record(connection, principal, "delete", "device", before.id, path, details)


def _owners_of_masked(connection: Connection, device_id: str) -> tuple[str, ...]:
    """The paths of whoever owns masked points of a device. Without its point a camera could be
    registered again, and shown in clear."""
    found = connection.scalars(
        select(_O.path)
        .join_from(POINTS, ORGANIZATIONS, _P.organization_id == _O.id)
        .where(_P.device_id == device_id, _P.masked.is_(True))
        .distinct()
    )
    return tuple(found)


def set_status(
    connection: Connection,
    device_id: str,
    status: str,
    since: datetime,
    last_error: str = "",
    identity: DeviceIdentity | None = None,
) -> bool:
    """Write what the agent saw; whether that changed anything. No version is counted up and
    nothing recorded. identity: where the device said anew who it is."""
    values: dict[str, Any] = {"status": status, "last_error": storable(last_error, 2000)}
    if identity is not None:
        values |= _identity_values(identity)
        if not identity.endpoint_reference:
            del values["endpoint_reference"]  # told by discovery alone; not unsaid by silence
    changed = connection.execute(
        sql_update(DEVICES)
        .where(
            _D.id == device_id,
            or_(*(DEVICES.c[field] != value for field, value in values.items())),
        )
        .values(**values, status_since=to_milliseconds(since))
    )
    return changed.rowcount > 0


def _with_reference(identity: DeviceIdentity, before: DeviceIdentity) -> DeviceIdentity:
    """Few probes tell the endpoint reference: what discovery said of it stays."""
    if identity.endpoint_reference or identity.serial != before.serial:
        return identity
    return dataclasses.replace(identity, endpoint_reference=before.endpoint_reference)


def _probed(
    sources: Sequence[FoundSource],
    identity: DeviceIdentity,
    clock_offset_s: float | None,
    notes: Sequence[str],
) -> dict[str, Any]:
    addresses = [each.address for each in sources]
    if len(set(addresses)) != len(addresses):
        raise Invalid.at("sources", "two sources of the device have the same address")
    if any(not 1 <= len(each) <= 200 for each in addresses):
        raise Invalid.at("sources", "a source address must have 1 to 200 characters")
    return {
        **_identity_values(identity),
        "clock_offset_s": clock_offset_s,
        "sources": [source_to_json(each) for each in sources],
        "notes": [storable(each, 1_000) for each in notes[:_MOST_NOTES]],
    }


def _identity_values(identity: DeviceIdentity) -> dict[str, str]:
    """A device may say anything about itself: what a column cannot hold is cut."""
    return {field: storable(text, 200) for field, text in dataclasses.asdict(identity).items()}


def _name_of(identity: DeviceIdentity | None, endpoint: str) -> str:
    parts = (identity.manufacturer, identity.model) if identity else ()
    return storable(" ".join(part for part in parts if part), 200) or endpoint


def _check(name: str, endpoint: str) -> None:
    reasons = [
        Reason(field=field, reason=f"must have 1 to {most} characters")
        for field, text, most in (("name", name, 200), ("endpoint", endpoint, 500))
        if not 1 <= len(text) <= most
    ]
    if reasons:
        raise Invalid(*reasons)


def _check_endpoint_free(
    connection: Connection, principal: Principal, adapter: str, endpoint: str, but_id: str | None
) -> None:
    """Raises: Conflict where a device that the principal sees has the endpoint already."""
    holder = connection.scalar(
        select(_D.id)
        .where(
            _D.adapter == adapter,
            _D.endpoint == endpoint,
            visible(_D.organization_id, principal, SEE_DEVICES),
        )
        .limit(1)
    )
    if holder not in (None, but_id):
        raise Conflict(f"{endpoint} is registered already", other=str(holder))


def _after(connection: Connection, principal: Principal, device_id: str) -> Device:
    """A device just written, which may have left the writer's own partition."""
    row = _DEVICES.row(connection, SYSTEM, device_id)
    return _read(row, _points_of(connection, principal, [device_id]))
