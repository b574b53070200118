"""The tree of organisations: queries and edits."""

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Select, exists, func, or_, select
from sqlalchemy import update as sql_update

from registry import codes, point_counts, rows
from registry.errors import Conflict, Invalid, NotFound, Reason
from registry.identity import parse_id
from registry.jurisdictions import Jurisdiction, Jurisdictions, area_m2, read_geometry
from registry.models import (
    CHANGES,
    CHANNELS,
    DEVICES,
    LEVELS,
    ORGANIZATIONS,
    PATCHES,
    POINT_COUNTS,
    POINTS,
    ROLES,
    SHARES,
    SYSTEMS,
    TOURS,
    UNITS,
)
from registry.paging import MAX_LIMIT, AnyRow, Page, decode_cursor, encode_cursor
from registry.partition import (
    ADMINISTER,
    SEE_ORGANIZATIONS,
    SEE_POINTS,
    Principal,
    Role,
    contains,
    given_shares,
    lies_within,
    parent_path,
    receives,
    require,
    visible,
    within,
)

KINDS = ("district", "station", "workroom")
PARENT_KINDS: Mapping[str, tuple[str | None, ...]] = {
    "district": (None, "district"),
    "station": ("district",),
    "workroom": ("station", "workroom"),
}
TREE_LOCK = 7_310_418
"""Number of the PostgreSQL advisory lock that lets one transaction change the tree at a time."""
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_CHECKS: Mapping[str, Callable[[str], object]] = {
    "code": codes.check_organization_code,
    "region": codes.check_region,
    "business_group_code": lambda text: codes.check_group_code(text, codes.BUSINESS_GROUP),
    "virtual_organization_code": lambda text: codes.check_group_code(
        text, codes.VIRTUAL_ORGANIZATION
    ),
}
_UNIQUE_CODES = ("code", "business_group_code", "virtual_organization_code")
_EDITABLE = frozenset({"name", "purpose_required", *_CHECKS})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationRef:
    """How other objects name the organisation that owns them."""

    id: str
    path: str
    name: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    """depth: 1 for a root. code: 12 digits. region: 6 or 12 digits of GB/T 2260.
    business_group_code, virtual_organization_code: 20 digits of GB/T 28181, types 215 and 216,
    under which its points stand in a catalogue. jurisdiction: GeoJSON. purpose_required: here and
    below, whoever opens a picture says why."""

    id: str
    version: int
    kind: str
    name: str
    slug: str
    path: str
    depth: int
    parent_id: str | None
    code: str | None
    region: str | None
    business_group_code: str | None
    virtual_organization_code: str | None
    jurisdiction: Mapping[str, Any] | None
    purpose_required: bool

    @property
    def ref(self) -> OrganizationRef:
        return OrganizationRef(id=self.id, path=self.path, name=self.name)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NewOrganization:
    """parent: id or path, None for a root, which only a district can be."""

    kind: str
    name: str
    slug: str
    parent: str | None = None
    code: str | None = None
    region: str | None = None
    business_group_code: str | None = None
    virtual_organization_code: str | None = None
    jurisdiction: Mapping[str, Any] | None = None
    purpose_required: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Points of an organisation and of all below it. unassigned: ``assigned_by`` is none."""

    points: int = 0
    online: int = 0
    offline: int = 0
    fault: int = 0
    unassigned: int = 0

    def plus(self, other: "Counts") -> "Counts":
        return Counts(
            points=self.points + other.points,
            online=self.online + other.online,
            offline=self.offline + other.offline,
            fault=self.fault + other.fault,
            unassigned=self.unassigned + other.unassigned,
        )


_O = ORGANIZATIONS.c
_COLUMNS: Select[Any] = select(
    _O.id,
    _O.version,
    _O.kind,
    _O.name,
    _O.slug,
    _O.path,
    _O.depth,
    _O.parent_id,
    _O.code,
    _O.region,
    _O.business_group_code,
    _O.virtual_organization_code,
    _O.jurisdiction,
    _O.purpose_required,
)


def _read(row: AnyRow) -> Organization:
    return Organization(**row._mapping)


def get(
    connection: Connection,
    principal: Principal,
    reference: str,
    roles: Iterable[Role] = SEE_ORGANIZATIONS,
) -> Organization:
    """An organisation by id or slug path. roles: those that let the principal see it.

    Raises: NotFound where there is none, or none that the principal sees.
    """
    parsed = parse_id(reference)
    row = connection.execute(
        _COLUMNS.where(
            _O.id == parsed if parsed else _O.path == reference.strip("/"),
            visible(_O.id, principal, roles),
        )
    ).one_or_none()
    if row is None:
        raise NotFound("organization", reference)
    return _read(row)


def get_shown(
    connection: Connection,
    principal: Principal,
    reference: str,
    roles: Iterable[Role] = SEE_POINTS,
) -> Organization:
    """An organisation whose points or channels a list may be narrowed to: one that `get` gives, or
    that a share shows something of: the owner of a shared point, or one in a shared subtree.

    Raises: NotFound.
    """
    with contextlib.suppress(NotFound):
        return get(connection, principal, reference, roles)
    if not receives(principal, roles):
        raise NotFound("organization", reference)
    given = given_shares(principal)
    parsed = parse_id(reference)
    row = connection.execute(
        _COLUMNS.where(
            _O.id == parsed if parsed else _O.path == reference.strip("/"),
            exists().where(
                or_(
                    given.c.owner_id == _O.id,
                    given.c.point_id.is_(None) & lies_within(_O.path, given.c.owner_path),
                )
            ),
        )
    ).one_or_none()
    if row is None:
        raise NotFound("organization", reference)
    return _read(row)


def tree(
    connection: Connection, principal: Principal, below: str | None = None
) -> tuple[Organization, ...]:
    """All organisations that the principal sees, in path order: a parent stands before its
    children. below: only the one at this path and those below it."""
    wanted = _COLUMNS.where(visible(_O.id, principal, SEE_ORGANIZATIONS)).order_by(_O.path)
    if below is not None:
        wanted = wanted.where(within(_O.path, below))
    return tuple(_read(row) for row in connection.execute(wanted))


def page(
    connection: Connection,
    principal: Principal,
    *,
    limit: int | None = None,
    cursor: str | None = None,
) -> Page[Organization]:
    """`tree` in pages. limit: 1 to 500, None for the whole tree at once. Raises: Invalid."""
    if limit is not None and not 1 <= limit <= MAX_LIMIT:
        raise Invalid.at("limit", f"must be 1 to {MAX_LIMIT}")
    seen = visible(_O.id, principal, SEE_ORGANIZATIONS)
    wanted = _COLUMNS.where(seen).order_by(_O.path)
    if cursor is not None:
        wanted = wanted.where(_O.path > decode_cursor(cursor))
    if limit is not None:
        wanted = wanted.limit(limit + 1)
    found = [_read(row) for row in connection.execute(wanted)]
    items = tuple(found[:limit])
    return Page(
        items=items,
        next=encode_cursor(items[-1].path) if len(found) > len(items) else None,
        total=connection.scalar(select(func.count()).select_from(ORGANIZATIONS).where(seen)) or 0,
    )


def counts(
    connection: Connection, principal: Principal, below: str | None = None
) -> dict[str, Counts]:
    """`Counts` by path, of the points that the principal sees; a path without points is left out.
    below: only the organisation at this path and those below it."""
    seen = visible(POINT_COUNTS.c.organization_id, principal, SEE_POINTS)
    totals: dict[str, Counts] = {}
    for owner, figures in point_counts.of_organizations(connection, seen, below).items():
        own = Counts(**figures)
        path = owner
        while path and contains(below or "", path):
            totals[path] = totals.get(path, Counts()).plus(own)
            path = parent_path(path)
    return totals


def create(connection: Connection, principal: Principal, new: NewOrganization) -> Organization:
    """Add an organisation. Needs `admin` at its parent; a root needs it for the whole registry.

    Raises: Invalid; NotFound for a parent that the principal does not see; Forbidden; Conflict.
    """
    lock_tree(connection)
    parent = get(connection, principal, new.parent) if new.parent else None
    require(principal, ADMINISTER, parent.path if parent else "")
    _check_new(new, parent)
    path = f"{parent.path}/{new.slug}" if parent else new.slug
    check_path_free(connection, path)
    given = {field: getattr(new, field) for field in _CHECKS}
    _check_codes_free(connection, given, None)
    values: dict[str, Any] = {
        "kind": new.kind,
        "name": new.name.strip(),
        "slug": new.slug,
        "path": path,
        "depth": parent.depth + 1 if parent else 1,
        "parent_id": parent.id if parent else None,
        "purpose_required": new.purpose_required,
        **given,
        **jurisdiction_values(new.jurisdiction),
    }
    organization_id = rows.insert_row(connection, ORGANIZATIONS, values)
    details = {field: values[field] for field in ("kind", "name", "path", *_CHECKS)}
    rows.record(connection, principal, "create", "organization", organization_id, path, details)
    return get(connection, principal, organization_id)


def update(
    connection: Connection,
    principal: Principal,
    reference: str,
    changes: Mapping[str, Any],
    version: int | None = None,
) -> Organization:
    """Change name, region, a code or purpose_required. Needs `admin` at it.

    version: the one the caller read.
    Raises: NotFound, Forbidden, Invalid, Conflict, VersionMismatch.
    """
    before = get(connection, principal, reference)
    require(principal, ADMINISTER, before.path)
    rows.check_fields(changes, _EDITABLE)
    old = dataclasses.asdict(before)
    name = str(changes.get("name", before.name)).strip()
    fields = ("purpose_required", *_CHECKS)
    values = {"name": name, **{field: changes.get(field, old[field]) for field in fields}}
    # What an older version accepted stays until somebody changes it.
    given = {field: values[field] for field in _CHECKS if values[field] != old[field]}
    _check_names(name, given)
    _check_codes_free(connection, given, before.id)
    rows.update_row(connection, ORGANIZATIONS, "organization", before.id, values, version)
    changed = rows.difference(old, values)
    rows.record(connection, principal, "update", "organization", before.id, before.path, changed)
    return get(connection, principal, before.id)


def set_jurisdiction(
    connection: Connection,
    principal: Principal,
    reference: str,
    jurisdiction: Mapping[str, Any] | None,
    version: int | None = None,
) -> Organization:
    """Set or remove the polygon. Needs `admin` at the organisation's parent, since nobody changes
    their own boundary; at itself for a root. Points stay where they are until a re-partition.

    jurisdiction: GeoJSON Polygon or MultiPolygon.
    Raises: NotFound, Forbidden, Invalid, VersionMismatch.
    """
    lock_tree(connection)
    before = get(connection, principal, reference)
    require(principal, ADMINISTER, parent_path(before.path) or before.path)
    values = jurisdiction_values(jurisdiction)
    rows.update_row(connection, ORGANIZATIONS, "organization", before.id, values, version)
    details = {"area_m2": values["area_m2"]}
    rows.record(
        connection, principal, "jurisdiction", "organization", before.id, before.path, details
    )
    return get(connection, principal, before.id)


def delete(
    connection: Connection, principal: Principal, reference: str, version: int | None = None
) -> None:
    """Remove an organisation that owns nothing. Needs `admin` at its parent.

    Raises: NotFound, Forbidden, VersionMismatch; Conflict naming what it still owns.
    """
    lock_tree(connection)
    before = get(connection, principal, reference)
    require(principal, ADMINISTER, parent_path(before.path))
    owned = _owned(connection, before.id)
    if owned:
        raise Conflict(
            f"{before.path} still owns {', '.join(owned)}: move or remove them first, or say "
            "with reassign_to who gets them",
            other=before.path,
            others=owned,
        )
    rows.delete_row(connection, ORGANIZATIONS, "organization", before.id, version)
    # Its past is told one level up: an organisation that gets this path later has none of it.
    above = parent_path(before.path)
    connection.execute(
        sql_update(CHANGES)
        .where(CHANGES.c.organization_path == before.path)
        .values(organization_path=above)
    )
    details = {"path": before.path}
    rows.record(connection, principal, "delete", "organization", before.id, above, details)


def load_jurisdictions(
    connection: Connection, path: str, position: tuple[float, float] | None = None
) -> Jurisdictions:
    """The polygons of the organisation at path and all below it. position: only those whose box
    holds this longitude and latitude, in degrees."""
    wanted = select(_O.id, _O.path, _O.depth, _O.area_m2, _O.jurisdiction).where(
        within(_O.path, path), _O.area_m2.is_not(None)
    )
    if position is not None:
        longitude_deg, latitude_deg = position
        wanted = wanted.where(
            _O.west_deg <= longitude_deg,
            _O.east_deg >= longitude_deg,
            _O.south_deg <= latitude_deg,
            _O.north_deg >= latitude_deg,
        )
    return Jurisdictions(
        Jurisdiction(
            organization_id=row.id,
            path=row.path,
            depth=row.depth,
            area_m2=row.area_m2,
            geometry=read_geometry(row.jurisdiction),
        )
        for row in connection.execute(wanted)
    )


def lock_tree(connection: Connection) -> None:
    """Let nobody else change the tree until this transaction ends: paths are made from what was
    read. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(TREE_LOCK)))


def get_by_id(connection: Connection, organization_id: str) -> Organization:
    """One just written, which may have left the writer's own partition."""
    return _read(connection.execute(_COLUMNS.where(_O.id == organization_id)).one())


def children(connection: Connection, organization_id: str) -> list[Organization]:
    """The organisations right below one, whoever asks."""
    wanted = _COLUMNS.where(_O.parent_id == organization_id).order_by(_O.path)
    return [_read(row) for row in connection.execute(wanted)]


def nearest_district(connection: Connection, path: str) -> str:
    """The id of the deepest district at path or above it."""
    above = []
    here = path
    while here:
        above.append(here)
        here = parent_path(here)
    wanted = select(_O.id).where(_O.path.in_(above), _O.kind == "district")
    found: str = connection.execute(wanted.order_by(_O.depth.desc()).limit(1)).scalar_one()
    return found


def jurisdiction_values(document: Mapping[str, Any] | None) -> dict[str, Any]:
    """The columns of a polygon. Raises: Invalid."""
    if document is None:
        box: tuple[float | None, ...] = (None, None, None, None)
        area, kept = None, None
    else:
        geometry = read_geometry(document)
        box, area = geometry.bounds, area_m2(geometry)
        kept = {"type": document["type"], "coordinates": document["coordinates"]}
    west, south, east, north = box
    return {
        "jurisdiction": kept,
        "area_m2": area,
        "west_deg": west,
        "south_deg": south,
        "east_deg": east,
        "north_deg": north,
    }


def _check_new(new: NewOrganization, parent: Organization | None) -> None:
    check_place(new.kind, parent.kind if parent else None)
    check_slug(new.slug)
    _check_names(new.name.strip(), {field: getattr(new, field) for field in _CHECKS})


def check_place(kind: str, parent_kind: str | None) -> None:
    """Raises: Invalid where an organisation of this kind cannot stand below one of that."""
    if kind not in KINDS:
        raise Invalid.at("kind", f"must be one of {', '.join(KINDS)}")
    if parent_kind not in PARENT_KINDS[kind]:
        above = " or ".join(each or "nothing" for each in PARENT_KINDS[kind])
        raise Invalid.at("parent", f"a {kind} stands below a {above}")


def check_slug(slug: str) -> None:
    """Raises: Invalid for what is no topic level, or reads as an id."""
    if not _SLUG.fullmatch(slug) or parse_id(slug):
        raise Invalid.at("slug", "must be 1 to 63 of a-z, 0-9 and - (not at an end)")


def _check_names(name: str, given: Mapping[str, str | None]) -> None:
    """given: codes and region, those that are to be written. Raises: Invalid."""
    reasons = []
    if not 1 <= len(name) <= 200:
        reasons.append(Reason(field="name", reason="must have 1 to 200 characters"))
    for field, text in given.items():
        try:
            if text is not None:
                _CHECKS[field](text)
        except Invalid as wrong:
            reasons.append(Reason(field=field, reason=wrong.reasons[0].reason))
    if reasons:
        raise Invalid(*reasons)


def check_path_free(connection: Connection, path: str) -> None:
    """Raises: Conflict where there is an organisation at path."""
    if connection.scalar(select(_O.id).where(_O.path == path)):
        raise Conflict(f"there is an organization at {path} already", other=path)


def _check_codes_free(
    connection: Connection, given: Mapping[str, str | None], but_id: str | None
) -> None:
    """Raises: Conflict where another organisation has one of the codes."""
    for field in _UNIQUE_CODES:
        code = given.get(field)
        if code is None:
            continue
        holder = connection.scalar(select(_O.id).where(_O[field] == code))
        if holder not in (None, but_id):
            raise Conflict("code in use")


def _owned(connection: Connection, organization_id: str) -> tuple[str, ...]:
    """What hangs on an organisation, as ``3 points``; empty when nothing does."""
    kinds = (
        ("organizations", ORGANIZATIONS.c.parent_id),
        ("points", POINTS.c.organization_id),
        ("points created here", POINTS.c.home_id),
        ("devices", DEVICES.c.organization_id),
        ("systems", SYSTEMS.c.organization_id),
        ("channels", CHANNELS.c.organization_id),
        ("patches", PATCHES.c.organization_id),
        ("units", UNITS.c.organization_id),
        ("levels", LEVELS.c.organization_id),
        ("tours", TOURS.c.organization_id),
        ("roles", ROLES.c.organization_id),
        ("shares", SHARES.c.owner_id),
        ("shares received", SHARES.c.receiver_id),
    )
    found = []
    for name, column in kinds:
        number = connection.scalar(select(func.count()).where(column == organization_id))
        if number:
            found.append(f"{number} {name}")
    return tuple(found)
