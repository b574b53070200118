"""Binding the sources of a device to points, in one transaction with the device itself."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, and_, or_, select, update

from registry import point_status, points, rows
from registry.identity import now
from registry.jurisdictions import is_position
from registry.models import ORGANIZATIONS, POINTS
from registry.organizations import Organization
from registry.partition import SEE_POINTS, Principal, owned_within, visible
from registry.sources import (
    Candidate,
    FoundSource,
    Matching,
    host_of,
    match,
    profiles_to_json,
    storable,
)

_P = POINTS.c


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BoundSource:
    address: str
    point_id: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AmbiguousSource:
    """point_ids: the points that could be meant; the source was left alone."""

    address: str
    point_ids: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What became of each source. kept: bound before and still."""

    device_id: str
    bound: tuple[BoundSource, ...]
    created: tuple[BoundSource, ...]
    ambiguous: tuple[AmbiguousSource, ...]
    kept: tuple[BoundSource, ...] = ()


def bind(
    connection: Connection,
    principal: Principal,
    device_id: str,
    device_name: str,
    endpoint: str,
    owner: Organization,
    sources: Sequence[FoundSource],
) -> Registration:
    """Give each source of a device its point; see `registry.devices.register`."""
    by_address = {each.address: each for each in sources}
    kept = _keep(connection, device_id, by_address)
    loose = [each for each in sources if each.address not in kept]
    host = host_of(endpoint)
    candidates = _candidates(connection, principal, owner.path, host, loose, lock=True)
    matching = match(loose, host, list(candidates))
    owners = {each.point_id: path for each, path in candidates.items()}
    for address, point_id in matching.bound.items():
        source = by_address[address]
        _bind_one(connection, principal, point_id, owners[point_id], device_id, source, host)
    created = []
    hidden = _has_lost_masked(connection, device_id, kept.values())
    for address in matching.fresh:
        source = by_address[address]
        point = _create(connection, principal, device_name, owner, source, host, masked=hidden)
        path = point.organization.path
        _bind_one(connection, principal, point.id, path, device_id, source, host)
        created.append(BoundSource(address=address, point_id=point.id))
    return Registration(
        device_id=device_id,
        bound=_bound(matching.bound),
        created=tuple(created),
        ambiguous=_ambiguous(matching),
        kept=_bound(kept),
    )


def undecided(
    connection: Connection,
    principal: Principal,
    endpoint: str,
    owner: Organization,
    loose: Sequence[FoundSource],
) -> tuple[AmbiguousSource, ...]:
    """Those of a device's sources without a point that could belong to several."""
    host = host_of(endpoint)
    candidates = _candidates(connection, principal, owner.path, host, loose, lock=False)
    return _ambiguous(match(loose, host, list(candidates)))


def _ambiguous(matching: Matching) -> tuple[AmbiguousSource, ...]:
    return tuple(
        AmbiguousSource(address=address, point_ids=ids)
        for address, ids in matching.ambiguous.items()
    )


def _bound(points_by_address: Mapping[str, str]) -> tuple[BoundSource, ...]:
    return tuple(
        BoundSource(address=address, point_id=point_id)
        for address, point_id in points_by_address.items()
    )


def release(connection: Connection, device_id: str) -> None:
    """Take the device away from all its points, which stay."""
    connection.execute(
        update(POINTS)
        .where(_P.device_id == device_id)
        .values(
            device_id=None,
            address=None,
            profiles=[],
            capabilities=[],
            status="unknown",
            status_since=now(),
            status_reason="",
            version=_P.version + 1,
            updated_at=now(),
        )
    )


def _keep(
    connection: Connection, device_id: str, by_address: Mapping[str, FoundSource]
) -> dict[str, str]:
    """Refresh the points that the device has already; their ids by address.

    Firmware that renames all its sources at once (seen at updates of recorders) is met by their
    channel numbers: sixteen points must not turn into thirty-two.
    """
    bound = connection.execute(
        select(_P.address, _P.id, _P.channel_number)
        .where(_P.device_id == device_id)
        .order_by(_P.id)
    ).all()
    renamed: dict[int, FoundSource] = {}
    if bound and not any(row.address in by_address for row in bound):
        renamed = {each.channel_number: each for each in by_address.values()}
    kept: dict[str, str] = {}
    for address, point_id, channel_number in bound:
        source = by_address.get(address) or renamed.pop(channel_number, None)
        if source is None:
            point_status.set_status(
                connection, [(point_id, "fault", now(), "the device has no such source any more")]
            )
            continue
        kept[source.address] = point_id
        connection.execute(
            update(POINTS)
            .where(_P.id == point_id)
            .values(updated_at=now(), address=source.address, **_shown(source))
        )
    return kept


def _has_lost_masked(connection: Connection, device_id: str, kept_ids: Collection[str]) -> bool:
    """Whether a masked point of the device has no source any more: what it showed may be what is
    new, under another address, and must not be shown in clear before somebody has looked."""
    found = connection.scalars(select(_P.id).where(_P.device_id == device_id, _P.masked.is_(True)))
    return not set(found) <= set(kept_ids)


def _candidates(
    connection: Connection,
    principal: Principal,
    path: str,
    host: str,
    sources: Sequence[FoundSource],
    *,
    lock: bool,
) -> dict[Candidate, str]:
    """The points without a source, inside the organisation, that any of the sources may be, each
    with its owner's path."""
    codes = [each.point_code for each in sources if each.point_code]
    numbers = [each.channel_number for each in sources]
    if not sources:
        return {}
    wanted = (
        select(_P.id, _P.code, _P.host, _P.channel_number, ORGANIZATIONS.c.path)
        .join_from(POINTS, ORGANIZATIONS, _P.organization_id == ORGANIZATIONS.c.id)
        .where(
            _P.device_id.is_(None),
            or_(_P.code.in_(codes), and_(_P.host == host, _P.channel_number.in_(numbers))),
            owned_within(_P.organization_id, path),
            visible(_P.organization_id, principal, SEE_POINTS),
        )
        .order_by(_P.id)
    )
    if lock:
        # Two devices registered at the same moment must not both find the point free.
        wanted = wanted.with_for_update(of=POINTS)
    return {
        Candidate(
            point_id=row.id, code=row.code, host=row.host, channel_number=row.channel_number
        ): row.path
        for row in connection.execute(wanted)
    }


def _bind_one(
    connection: Connection,
    principal: Principal,
    point_id: str,
    organization_path: str,
    device_id: str,
    source: FoundSource,
    host: str,
) -> None:
    values: dict[str, Any] = {
        "device_id": device_id,
        "address": source.address,
        "host": host,
        "channel_number": source.channel_number,
        "status": "unknown",
        "status_since": now(),
        "status_reason": "",
        **_shown(source),
    }
    rows.update_row(connection, POINTS, "point", point_id, values, None)
    details = {"device_id": [None, device_id], "address": [None, source.address]}
    rows.record(connection, principal, "source", "point", point_id, organization_path, details)


def _shown(source: FoundSource) -> dict[str, Any]:
    return {
        "profiles": profiles_to_json(source.profiles),
        "capabilities": list(source.capabilities),
    }


def _create(
    connection: Connection,
    principal: Principal,
    device_name: str,
    owner: Organization,
    source: FoundSource,
    host: str,
    *,
    masked: bool,
) -> points.Point:
    """A point for a source that no point matches. Its code is left out where it is in use."""
    code = source.point_code
    taken = code and connection.scalar(select(_P.id).where(_P.code == code))
    longitude_deg, latitude_deg = source.longitude_deg, source.latitude_deg
    positioned = (
        longitude_deg is not None
        and latitude_deg is not None
        and is_position(longitude_deg, latitude_deg)
    )
    new = points.NewPoint(
        organization=owner.id,
        name=storable(source.name, 200) or f"{device_name[:190]} {source.channel_number}",
        code=None if taken else code,
        longitude=longitude_deg if positioned else None,
        latitude=latitude_deg if positioned else None,
        host=host,
        channel_number=source.channel_number,
        masked=masked,
    )
    return points.create(connection, principal, new)
