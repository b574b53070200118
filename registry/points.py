"""Video points: queries and edits."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Text,
    cast,
    or_,
    select,
)

from registry import organizations, point_rules, rows, sharing
from registry.errors import Conflict, Forbidden, Invalid, NotFound
from registry.identity import now
from registry.models import DEVICES, ORGANIZATIONS, POINTS
from registry.organizations import Organization, OrganizationRef
from registry.partition import (
    ADMINISTER,
    INTEGRATE,
    SEE_DEVICES,
    SEE_PICTURES,
    SEE_POINTS,
    Principal,
    Role,
    common_path,
    contains,
    given_shares,
    receives,
    require,
    visible,
    visible_points,
)
from registry.sources import (
    Profile,
    profiles_from_json,
    profiles_to_json,
    source_from_json,
)

_P = POINTS.c
_O = ORGANIZATIONS.c


class Point(NamedTuple):
    """A row of `COLUMNS`, as the database gives it: a list of 50 is read a thousand times a second,
    so what few ask for is made of it when they do.

    organization_id, organization_path, organization_name: the owner. home_id: the organisation
    under which it was created. longitude, latitude: WGS-84 degrees. device_id, address: its source.
    host, channel_number: where a spreadsheet says the camera is; never shown outside. `_flag` and
    `_at` are as the driver gives them.
    """

    id: str
    version: int
    code: str | None
    name: str
    place: str
    organization_id: str
    organization_path: str
    organization_name: str
    home_id: str
    assigned_by: str
    longitude: float | None
    latitude: float | None
    category: int
    ownership: str
    device_id: str | None
    address: str | None
    host: str | None
    channel_number: int | None
    profiles_json: str
    capabilities_json: str
    masked_flag: int
    status: str
    status_since_at: datetime | str
    status_reason: str
    attributes_json: str
    shared: "Shared | None" = None

    @property
    def organization(self) -> OrganizationRef:
        return OrganizationRef(
            id=self.organization_id, path=self.organization_path, name=self.organization_name
        )

    @property
    def masked(self) -> bool:
        return bool(self.masked_flag)

    @property
    def status_since(self) -> datetime:
        if isinstance(self.status_since_at, str):  # SQLite's own, in UTC
            return datetime.fromisoformat(self.status_since_at).replace(tzinfo=UTC)
        return self.status_since_at

    @property
    def profiles(self) -> tuple[Profile, ...]:
        return profiles_from_json(msgspec.json.decode(self.profiles_json))

    @property
    def capabilities(self) -> tuple[str, ...]:
        return tuple(msgspec.json.decode(self.capabilities_json))

    @property
    def attributes(self) -> dict[str, Any]:
        document: dict[str, Any] = msgspec.json.decode(self.attributes_json)
        return document


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """The share by which the reader sees a point's picture, no role of theirs doing so. Of several
    the one that lasts longest; ptz: whether any of them lets them move it."""

    share_id: str
    ends_at: datetime
    ptz: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NewPoint:
    """organization: id or path of the one under which it is created.

    assign: ``explicit`` makes that one the owner; ``polygon`` gives it to whichever organisation
    below has the polygon, and where none has, it is the organisation's and *unassigned*. None is
    ``polygon`` under a district and ``explicit`` under a station or workroom.
    """

    organization: str
    name: str
    code: str | None = None
    place: str = ""
    longitude: float | None = None
    latitude: float | None = None
    category: int = 9
    ownership: str = "other"
    host: str | None = None
    channel_number: int | None = None
    masked: bool = False
    attributes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    assign: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A point that changes its owner, or how it came by it. source, target: slug paths."""

    point_id: str
    source: str
    target: str
    assigned_by: str


COLUMNS: tuple[ColumnElement[Any], ...] = (
    cast(_P.id, Text),
    _P.version,
    _P.code,
    _P.name,
    _P.place,
    cast(_P.organization_id, Text),
    _O.path,
    _O.name,
    cast(_P.home_id, Text),
    _P.assigned_by,
    _P.longitude,
    _P.latitude,
    _P.category,
    _P.ownership,
    cast(_P.device_id, Text),
    _P.address,
    _P.host,
    _P.channel_number,
    cast(_P.profiles, Text),
    cast(_P.capabilities, Text),
    _P.masked,
    _P.status,
    _P.status_since,
    _P.status_reason,
    cast(_P.attributes, Text),
)
"""Of points joined with their owners, in the order of `Point`."""
_SELECTED: Select[Any] = select(*COLUMNS).join_from(
    POINTS, ORGANIZATIONS, _P.organization_id == _O.id
)


def read_point(row: Sequence[Any]) -> Point:
    """A point from its `COLUMNS`, which may be followed by others."""
    return Point._make((*row[:25], None))


def get(
    connection: Connection,
    principal: Principal,
    point_id: str,
    roles: Iterable[Role] = SEE_POINTS,
) -> Point:
    """A point. roles: those that let the principal see it, `SEE_PICTURES` for a picture of it.

    Raises: NotFound where there is none, or none that the principal sees.
    """
    row = connection.execute(
        _SELECTED.where(
            _P.id == rows.known_id("point", point_id),
            visible_points(principal, roles),
        )
    ).one_or_none()
    if row is None:
        raise NotFound("point", point_id)
    return with_shares(connection, principal, (read_point(row),))[0]


def with_shares(
    connection: Connection, principal: Principal, found: tuple[Point, ...]
) -> tuple[Point, ...]:
    """Points as the principal sees them: with the share where it is one that shows them."""
    if not receives(principal):
        return found
    paths = {each.organization_path for each in found}
    seen = {path for path in paths if principal.may(SEE_PICTURES, path)}
    foreign = [each for each in found if each.organization_path not in seen]
    if not foreign:
        return found
    given = given_shares(principal)
    ids = [each.id for each in foreign]
    shares = connection.execute(
        select(given.c.id, given.c.point_id, given.c.owner_path, given.c.ends_at, given.c.ptz)
        .where(or_(given.c.point_id.is_(None), given.c.point_id.in_(ids)))
        .order_by(given.c.ends_at.desc(), given.c.id)
    ).all()

    def shown(point: Point) -> Point:
        path = point.organization.path
        mine = [
            each
            for each in shares
            if (each.point_id == point.id and each.owner_path == path)
            or (each.point_id is None and contains(each.owner_path, path))
        ]
        if not mine:
            return point
        ptz = any(each.ptz for each in mine)
        shared = Shared(share_id=mine[0].id, ends_at=mine[0].ends_at, ptz=ptz)
        return point._replace(shared=shared)

    known = {each.id: shown(each) for each in foreign} if shares else {}
    return tuple(known.get(each.id, each) for each in found)


def get_many(connection: Connection, principal: Principal, point_ids: Iterable[str]) -> list[Point]:
    """Points in the order asked for. Raises: NotFound naming the first that is not seen."""
    wanted = [rows.known_id("point", each) for each in point_ids]
    found = {
        row[0]: read_point(row)
        for row in connection.execute(_SELECTED.where(_P.id.in_(wanted), visible_points(principal)))
    }
    for each in wanted:
        if each not in found:
            raise NotFound("point", each)
    return [found[each] for each in wanted]


def create(connection: Connection, principal: Principal, new: NewPoint) -> Point:
    """Add a point. Needs `integrator` or `admin` at the organisation it is created under.

    Raises: Invalid; NotFound for an organisation that is not seen; Forbidden; Conflict.
    """
    home = organizations.get(connection, principal, new.organization)
    require(principal, INTEGRATE, home.path)
    values = point_rules.clean(
        {
            field.name: getattr(new, field.name)
            for field in dataclasses.fields(new)
            if field.name not in ("organization", "assign")
        }
    )
    check_code_free(connection, principal, values["code"], None)
    owner_id, assigned_by = _assign(
        connection, home.id, home.path, new.assign or default_assign(home), values
    )
    point_id = rows.insert_row(
        connection,
        POINTS,
        {
            **values,
            "organization_id": owner_id,
            "home_id": home.id,
            "assigned_by": assigned_by,
            "profiles": [],
            "capabilities": [],
            "status": "unknown",
            "status_since": now(),
            "status_reason": "",
        },
    )
    # Whoever may create under home sees all that its polygons can give it to.
    point = get(connection, principal, point_id)
    rows.record(connection, principal, "create", "point", point_id, point.organization.path, values)
    return point


def default_assign(home: Organization) -> str:
    """How a point created under an organisation finds its owner when nobody says."""
    return "polygon" if home.kind == "district" else "explicit"


def _assign(
    connection: Connection, home_id: str, home_path: str, assign: str, values: Mapping[str, Any]
) -> tuple[str, str]:
    """Owner id and ``assigned_by`` of a point created under an organisation."""
    if assign == "explicit":
        return home_id, "explicit"
    if assign != "polygon":
        raise Invalid.at("assign", "must be explicit or polygon")
    longitude_deg, latitude_deg = values["longitude"], values["latitude"]
    if longitude_deg is None or latitude_deg is None:
        return home_id, "none"
    owner = organizations.load_jurisdictions(
        connection, home_path, (longitude_deg, latitude_deg)
    ).owner(longitude_deg, latitude_deg)
    return (owner.organization_id, "polygon") if owner else (home_id, "none")


def update(
    connection: Connection,
    principal: Principal,
    point_id: str,
    changes: Mapping[str, Any],
    version: int | None = None,
) -> Point:
    """Change a point: the fields of `NewPoint` but `assign`, attributes as a whole.

    Needs `integrator` or `admin` where it is; `admin` for `masked`; for `organization`, which
    makes it explicitly that one's, `admin` at an organisation that contains both. A new position
    of a point that is not explicitly somebody's is looked up again, and where that gives it to
    another organisation the role is needed at its home too. version: the one the caller read.
    Raises: NotFound, Forbidden, Invalid, Conflict, VersionMismatch.
    """
    before = get(connection, principal, point_id)
    require(principal, INTEGRATE, before.organization.path)
    rows.check_version("point", version, before.version)
    rows.check_fields(changes, point_rules.EDITABLE | {"organization"})
    if changes.get("masked", before.masked) != before.masked:
        require(principal, ADMINISTER, before.organization.path)
    old = point_rules.editable(before)
    values = point_rules.clean({**old, **{k: v for k, v in changes.items() if k in old}})
    if values["code"] != before.code:
        check_code_free(connection, principal, values["code"], before.id)
    owner = _owner_after(connection, principal, before, values, changes.get("organization"))
    changed = rows.difference({**old, **_owner_values(before)}, {**values, **owner})
    if not changed:
        return before
    rows.update_row(connection, POINTS, "point", before.id, {**values, **owner}, version)
    if "organization_id" in changed:
        sharing.end_stale(connection, principal)
    path = before.organization.path
    rows.record(connection, principal, "update", "point", before.id, path, changed)
    return _after(connection, before.id)


def _home_path(connection: Connection, point: Point) -> str:
    """The path of the organisation under which it was created."""
    return organizations.get_by_id(connection, point.home_id).path


def _owner_values(point: Point) -> dict[str, str]:
    return {
        "organization_id": point.organization.id,
        "home_id": point.home_id,
        "assigned_by": point.assigned_by,
    }


def _owner_after(
    connection: Connection,
    principal: Principal,
    before: Point,
    values: Mapping[str, Any],
    organization: str | None,
) -> dict[str, str]:
    if organization is not None:
        target = organizations.get(connection, principal, organization)
        return _explicitly(connection, principal, before, target)
    position = (values["longitude"], values["latitude"])
    if before.assigned_by == "explicit" or position == (before.longitude, before.latitude):
        return _owner_values(before)
    home_path = _home_path(connection, before)
    owner_id, assigned_by = _assign(connection, before.home_id, home_path, "polygon", values)
    if owner_id != before.organization.id and not principal.may(INTEGRATE, home_path):
        raise Forbidden(
            "this position belongs to another organization: moving the point there needs the "
            f"role admin or integrator at {home_path}"
        )
    return {"organization_id": owner_id, "home_id": before.home_id, "assigned_by": assigned_by}


def _explicitly(
    connection: Connection, principal: Principal, point: Point, target: Organization
) -> dict[str, str]:
    """Values that make a point explicitly the target's; its home follows when it lies outside."""
    if target.id != point.organization.id or point.assigned_by != "explicit":
        # Pinning a point where a polygon put it is a change of boundary too.
        require(principal, ADMINISTER, common_path(point.organization.path, target.path))
    inside = contains(_home_path(connection, point), target.path)
    return {
        "organization_id": target.id,
        "home_id": point.home_id if inside else target.id,
        "assigned_by": "explicit",
    }


def assign(
    connection: Connection,
    principal: Principal,
    point_ids: Iterable[str],
    organization: str | None,
) -> tuple[Move, ...]:
    """Give points to an organisation explicitly, or, with None, back to the polygons.

    All of them or none. Needs `admin` at an organisation that contains both sides of each move,
    and for None at each point's home. Points that stay as they are, are not in the answer.
    Raises: NotFound, Forbidden.
    """
    target = organizations.get(connection, principal, organization) if organization else None
    moves = []
    for point in get_many(connection, principal, dict.fromkeys(point_ids)):
        require(principal, ADMINISTER, point.organization.path)
        if target is not None:
            values = _explicitly(connection, principal, point, target)
        else:
            home_path = _home_path(connection, point)
            require(principal, ADMINISTER, home_path)
            owner_id, assigned_by = _assign(
                connection, point.home_id, home_path, "polygon", point_rules.editable(point)
            )
            values = {**_owner_values(point), "organization_id": owner_id}
            values["assigned_by"] = assigned_by
        changed = rows.difference(_owner_values(point), values)
        if not changed:
            continue
        rows.update_row(connection, POINTS, "point", point.id, values, point.version)
        after = _after(connection, point.id)
        source = point.organization.path
        rows.record(connection, principal, "assign", "point", point.id, source, changed)
        moves.append(
            Move(
                point_id=point.id,
                source=source,
                target=after.organization.path,
                assigned_by=after.assigned_by,
            )
        )
    if moves:
        sharing.end_stale(connection, principal)
    return tuple(moves)


def delete(
    connection: Connection, principal: Principal, point_id: str, version: int | None = None
) -> None:
    """Remove a point. Needs `integrator` or `admin` where it is, `admin` for a masked one.

    Raises: NotFound, Forbidden, VersionMismatch.
    """
    before = get(connection, principal, point_id)
    require(principal, ADMINISTER if before.masked else INTEGRATE, before.organization.path)
    rows.delete_row(connection, POINTS, "point", before.id, version)
    details = {**point_rules.editable(before)}
    path = before.organization.path
    rows.record(connection, principal, "delete", "point", before.id, path, details)


def set_source(
    connection: Connection,
    principal: Principal,
    point_id: str,
    device_id: str,
    address: str,
    version: int | None = None,
) -> Point:
    """Bind a point by hand to a source that a device has. Needs `integrator` or `admin` at both,
    `admin` for a masked point: its masks are of what it shows.

    Raises: NotFound, Forbidden, VersionMismatch; Invalid where the device has no such source;
    Conflict naming the point that has it.
    """
    before = get(connection, principal, point_id)
    require(principal, INTEGRATE, before.organization.path)
    device = connection.execute(
        select(DEVICES.c.id, DEVICES.c.sources).where(
            DEVICES.c.id == rows.known_id("device", device_id),
            visible(DEVICES.c.organization_id, principal, SEE_DEVICES),
        )
    ).one_or_none()
    if device is None:
        raise NotFound("device", device_id)
    found = {each["address"]: source_from_json(each) for each in device.sources}
    if address not in found:
        known = ", ".join(sorted(found)) or "none"
        raise Invalid.at("address", f"the device has no such source; it has {known}")
    holder = connection.scalar(
        select(_P.id).where(_P.device_id == device.id, _P.address == address)
    )
    if holder is not None and holder != before.id:
        raise Conflict(
            "another point shows this source", other=_shown(connection, principal, holder)
        )
    source = found[address]
    values = {
        "device_id": device.id,
        "address": address,
        "profiles": profiles_to_json(source.profiles),
        "capabilities": list(source.capabilities),
    }
    return _set_source(connection, principal, before, values, version)


def clear_source(
    connection: Connection, principal: Principal, point_id: str, version: int | None = None
) -> Point:
    """Take a point's source away; its status is unknown then. Needs `integrator` or `admin`, for a
    masked point `admin`: the camera would be free to be shown in clear by another point.

    Raises: NotFound, Forbidden, VersionMismatch.
    """
    before = get(connection, principal, point_id)
    require(principal, INTEGRATE, before.organization.path)
    values: dict[str, Any] = {"device_id": None, "address": None}
    values |= {"profiles": [], "capabilities": []}
    return _set_source(connection, principal, before, values, version)


def _set_source(
    connection: Connection,
    principal: Principal,
    before: Point,
    values: Mapping[str, Any],
    version: int | None,
) -> Point:
    if before.masked:
        require(principal, ADMINISTER, before.organization.path)
    unknown = {"status": "unknown", "status_since": now(), "status_reason": ""}
    rows.update_row(connection, POINTS, "point", before.id, {**values, **unknown}, version)
    old = {"device_id": before.device_id, "address": before.address}
    changed = rows.difference(old, {field: values[field] for field in old})
    path = before.organization.path
    rows.record(connection, principal, "source", "point", before.id, path, changed)
    return _after(connection, before.id)


def check_code_free(
    connection: Connection, principal: Principal, code: str | None, but_id: str | None
) -> None:
    """Raises: Conflict ``code in use``, naming the point only to who sees it."""
    if code is None:
        return
    holder = connection.scalar(select(_P.id).where(_P.code == code))
    if holder is not None and holder != but_id:
        raise Conflict("code in use", other=_shown(connection, principal, holder))


def _shown(connection: Connection, principal: Principal, point_id: str) -> str:
    """The id where the principal sees the point, else empty."""
    seen = visible(_P.organization_id, principal, SEE_POINTS)
    return connection.scalar(select(_P.id).where(_P.id == point_id, seen)) or ""


def _after(connection: Connection, point_id: str) -> Point:
    """A point just written, which may have left the writer's own partition."""
    return read_point(connection.execute(_SELECTED.where(_P.id == point_id)).one())
