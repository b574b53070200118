"""Knowing a device again: by where it is, or after it moved; and which of its sources wait."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, or_, select
from sqlalchemy import update as sql_update

from registry import binding, devices, organizations
from registry.binding import AmbiguousSource, Registration
from registry.devices import Device, DeviceIdentity, NewDevice
from registry.models import DEVICES, POINTS
from registry.partition import SEE_DEVICES, SYSTEM, Principal, visible
from registry.sources import FoundSource, host_of, place_of, storable

_D = DEVICES.c
_P = POINTS.c


def at_endpoint(
    connection: Connection, principal: Principal, adapter: str, endpoint: str
) -> str | None:
    """The id of the device at this host and port, however its endpoint is written, if the
    principal sees it."""
    place = place_of(endpoint)
    near = connection.execute(
        select(_D.id, _D.endpoint)
        .where(
            _D.adapter == adapter,
            _D.endpoint.icontains(place[0], autoescape=True),
            visible(_D.organization_id, principal, SEE_DEVICES),
        )
        .order_by(_D.id)
    )
    return next((row.id for row in near if place_of(row.endpoint) == place), None)


def known_as(
    connection: Connection,
    principal: Principal,
    adapter: str,
    endpoint: str,
    identity: DeviceIdentity,
) -> Device | None:
    """The device elsewhere that says it is the one now met at endpoint: the same endpoint
    reference, or else maker, model and serial number. None where there are several.

    Cheap devices share their serial numbers: whether it is the same one shows only where the old
    address has fallen silent.
    """
    reference, serial = identity.endpoint_reference.strip(), identity.serial.strip()
    signs = [_D.endpoint_reference == storable(reference, 200)] if reference else []
    if len(set(serial)) > 1:  # firmware without one says 0000
        same_serial = and_(
            _D.serial == storable(serial, 200),
            _D.manufacturer == storable(identity.manufacturer, 200),
            _D.model == storable(identity.model, 200),
        )
        signs.append(same_serial)
    if not signs:
        return None
    alike = connection.execute(
        select(_D.id, _D.endpoint, _D.endpoint_reference).where(
            _D.adapter == adapter,
            or_(*signs),
            visible(_D.organization_id, principal, SEE_DEVICES),
        )
    ).all()
    others = [row for row in alike if place_of(row.endpoint) != place_of(endpoint)]
    certain = [row for row in others if reference and row.endpoint_reference == reference]
    chosen = certain or others
    return devices.get(connection, principal, chosen[0].id) if len(chosen) == 1 else None


def move(
    connection: Connection,
    principal: Principal,
    device_id: str,
    new: NewDevice,
    sources: Sequence[FoundSource],
    *,
    identity: DeviceIdentity,
    clock_offset_s: float | None = None,
    notes: Sequence[str] = (),
) -> Registration:
    """Give a device that was met at another address that address, with the credentials and
    settings it was met with; it keeps its name, organisation and points, as by `refresh`.

    Raises: NotFound, Forbidden, Invalid, Conflict where another device has the address.
    """
    before = devices.get(connection, principal, device_id)
    changes: dict[str, Any] = {
        "endpoint": new.endpoint,
        "username": new.username,
        "settings": {**before.settings, **new.settings},
    }
    if new.secret is not None:
        changes["secret"] = new.secret
    devices.update(connection, principal, before.id, changes)
    connection.execute(
        sql_update(POINTS).where(_P.device_id == before.id).values(host=host_of(new.endpoint))
    )
    return devices.refresh(
        connection,
        principal,
        before.id,
        sources,
        identity=identity,
        clock_offset_s=clock_offset_s,
        notes=notes,
    )


def ambiguous(
    connection: Connection, principal: Principal, device: Device
) -> tuple[AmbiguousSource, ...]:
    """The sources of a device that have no point because several could be meant, as of now."""
    owner = organizations.get(connection, SYSTEM, device.organization.id)
    taken = connection.scalars(select(_P.address).where(_P.device_id == device.id)).all()
    loose = [each.found for each in device.sources if each.address not in taken]
    return binding.undecided(connection, principal, device.endpoint, owner, loose)
