"""Points from a staged file into the registry: all of it, or, where asked, its good rows."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, insert, or_, select, update

from registry import changes, organizations, point_rules, sharing
from registry.database import Database
from registry.errors import Invalid, VersionMismatch
from registry.exchange.coordinates import SYSTEMS, System, to_wgs84
from registry.exchange.reasons import Refusal, refuse
from registry.exchange.staging import StagedRow, Staging
from registry.identity import new_id, now
from registry.jurisdictions import Jurisdictions
from registry.models import CHANGES, ORGANIZATIONS, POINTS
from registry.organizations import Organization
from registry.partition import (
    ADMINISTER,
    INTEGRATE,
    SEE_POINTS,
    Principal,
    contains,
    require,
    within,
)
from registry.points import default_assign

_P = POINTS.c
_HOME = ORGANIZATIONS.alias("import_home")
_POINTS = (
    select(
        _P.id,
        _P.version,
        _P.organization_id,
        ORGANIZATIONS.c.path,
        _P.home_id,
        _HOME.c.path.label("home_path"),
        _P.assigned_by,
        *(_P[field] for field in sorted(point_rules.EDITABLE)),
    )
    .join_from(POINTS, ORGANIZATIONS, _P.organization_id == ORGANIZATIONS.c.id)
    .join(_HOME, _P.home_id == _HOME.c.id)
)
_DEFAULTS: Mapping[str, Any] = {
    "code": None,
    "name": "",
    "place": "",
    "longitude": None,
    "latitude": None,
    "category": 9,
    "ownership": "other",
    "host": None,
    "channel_number": None,
    "masked": False,
    "attributes": {},
}
MAX_OUTSIDE = 100
LOOKED_UP = 20_000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """Rows that lie in no jurisdiction's box of the organisation. rows: their numbers, the first
    100. would_be_inside: by coordinate system, how many it would put inside."""

    count: int = 0
    rows: tuple[int, ...] = ()
    would_be_inside: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """applied: whether anything was written. created, updated, unchanged, refused: rows; what
    would become of them where nothing was written. write_lock_s: for how long other writers of a
    SQLite registry had to wait at most."""

    applied: bool
    created: int
    updated: int
    unchanged: int
    refused: int
    outside: Outside
    write_lock_s: float


def run_import(
    database: Database,
    principal: Principal,
    staging: Staging,
    organization: str,
    *,
    dry_run: bool = False,
    partial: bool = False,
    keep_on: Callable[[], None] = lambda: None,
) -> ImportReport:
    """Write what a file says. organization: id or path, under which new points are created and in
    which names are looked up.

    All rows or none; with partial, the good ones. Needs `integrator` or `admin` there, and for
    each point that a row changes where that is. Blocks: call it in a thread. keep_on: called
    between rows; raises to stop, and then nothing was written.
    Raises: NotFound, Forbidden, Conflict, VersionMismatch, DatabaseAway.
    """

    def look(connection: Connection) -> tuple[str, Outside]:
        # The stamp first: what is written meanwhile must be seen as a change.
        stamp = changes.stamp(connection)
        _plan(connection, principal, staging, organization, keep_on)
        return stamp, _outside(connection, principal, staging, organization)

    stamp, outside = database.read_now(look)
    counts = staging.counts()
    if dry_run or (counts["refused"] and not partial) or not (counts["create"] + counts["update"]):
        return _report(staging, outside, applied=False)
    began: list[float] = []

    def write(connection: Connection) -> bool:
        began.append(time.monotonic())
        # With several writers a change may be committed late, with an id from before the stamp.
        if connection.dialect.name != "sqlite" or changes.stamp(connection) != stamp:
            _plan(connection, principal, staging, organization, keep_on)
            if staging.counts()["refused"] and not partial:
                return False
        _execute(connection, principal, staging, keep_on)
        keep_on()
        return True

    applied = database.write_now(write)
    return _report(staging, outside, applied=applied, lock_s=time.monotonic() - began[-1])


def _report(
    staging: Staging, outside: Outside, *, applied: bool, lock_s: float = 0.0
) -> ImportReport:
    counts = staging.counts()
    return ImportReport(
        applied=applied,
        created=counts["create"],
        updated=counts["update"],
        unchanged=counts["same"],
        refused=counts["refused"],
        outside=outside,
        write_lock_s=round(lock_s, 3),
    )


def _plan(
    connection: Connection,
    principal: Principal,
    staging: Staging,
    organization: str,
    keep_on: Callable[[], None],
) -> None:
    """Decide for each row what is done with it; nothing is written to the registry."""
    home = organizations.get(connection, principal, organization)
    require(principal, INTEGRATE, home.path)
    staging.begin_again()
    staging.refuse_repeated_keys()
    for chunk in staging.good("(id IS NOT NULL OR code IS NOT NULL)"):
        keep_on()
        _match_keys(connection, principal, staging, chunk)
    _match_names(connection, staging, home)
    staging.refuse_double_claims()
    planner = _Planner(connection, principal, home)
    for chunk in staging.good():
        keep_on()
        planned, refused = planner.plan(chunk)
        staging.plan(planned)
        staging.refuse(refused)


def _match_keys(
    connection: Connection, principal: Principal, staging: Staging, chunk: Sequence[StagedRow]
) -> None:
    ids = [row.id for row in chunk if row.id]
    codes = [row.code for row in chunk if row.code]
    found = connection.execute(
        select(_P.id, _P.code, ORGANIZATIONS.c.path)
        .join_from(POINTS, ORGANIZATIONS, _P.organization_id == ORGANIZATIONS.c.id)
        .where(or_(_P.id.in_(ids), _P.code.in_(codes)))
    ).all()
    by_id = {row.id: row for row in found}
    by_code = {row.code: row for row in found if row.code}
    refused: list[tuple[int, Refusal]] = []
    matched: list[tuple[str, int]] = []
    for row in chunk:
        holder = by_code.get(row.code) if row.code else None
        point = by_id.get(row.id) if row.id else holder
        if row.id and (point is None or not principal.may(SEE_POINTS, point.path)):
            refused.append((row.n, refuse("id", "no_such_point", value=row.id)))
        elif holder is not None and point is not None and holder.id != point.id:
            refused.append((row.n, refuse("code", "code_in_use", value=row.code)))
        elif point is not None and not principal.may(INTEGRATE, point.path):
            seen = principal.may(SEE_POINTS, point.path)
            reason = "may_not_write" if seen else "code_in_use"
            refused.append((row.n, refuse("row" if seen else "code", reason, value=row.code or "")))
        elif point is not None:
            matched.append((point.id, row.n))
    staging.refuse(refused)
    staging.note_points(matched)


def _match_names(connection: Connection, staging: Staging, home: Organization) -> None:
    """Names and places are looked up among the points that were created inside the organisation,
    whoever a polygon gave them to."""
    loose = next(staging.good("point_id IS NULL AND name IS NOT NULL"), None)
    if loose is None:
        return
    inside = select(ORGANIZATIONS.c.id).where(within(ORGANIZATIONS.c.path, home.path))
    wanted = (
        select(_P.id, _P.code, _P.name, _P.place)
        .where(_P.home_id.in_(inside))
        .order_by(_P.id)
        .limit(LOOKED_UP)
    )
    # A read on PostgreSQL is no transaction, so there is no cursor to stream from.
    found = connection.execute(wanted).all()
    while found:
        staging.note_existing(tuple(row) for row in found)
        found = connection.execute(wanted.where(_P.id > found[-1].id)).all()
    staging.match_names()


class _Planner:
    def __init__(self, connection: Connection, principal: Principal, home: Organization) -> None:
        self._connection = connection
        self._principal = principal
        self._home = home
        self._jurisdictions: dict[str, Jurisdictions] = {}
        self._organizations: dict[str, tuple[str, str] | None] = {}

    def plan(
        self, chunk: Sequence[StagedRow]
    ) -> tuple[list[tuple[str, Any, int]], list[tuple[int, Refusal]]]:
        """(action, what of it, n) of good rows; (n, why) of the others."""
        wanted = [row.point_id for row in chunk if row.point_id]
        found = self._connection.execute(_POINTS.where(_P.id.in_(wanted))) if wanted else ()
        points = {row.id: dict(row._mapping) for row in found}
        planned: list[tuple[str, Any, int]] = []
        refused: list[tuple[int, Refusal]] = []
        loose: list[tuple[dict[str, Any], int]] = []
        for row in chunk:
            try:
                if row.point_id is None:
                    what = self._create(row)
                    if what["assigned_by"] == "polygon":
                        loose.append((what, row.n))
                    planned.append(("create", what, row.n))
                else:
                    planned.append(self._update(row, points[row.point_id]))
            except _Wrong as wrong:
                refused.extend((row.n, each) for each in wrong.refusals)
        self._give_owners([what for what, _ in loose])
        return planned, refused

    def _create(self, row: StagedRow) -> dict[str, Any]:
        given = dict(row.given)
        organization, assigned_by = given.pop("organization", None), given.pop("assigned_by", None)
        if not given.get("name"):
            raise _Wrong(refuse("name", "missing"))
        values = _clean({**_DEFAULTS, **given})
        home = (self._home.id, self._home.path)
        if organization is not None and assigned_by in (None, "explicit"):
            home = self._below(organization)
            explicit = True
        else:
            explicit = (assigned_by or default_assign(self._home)) == "explicit"
        return {
            "values": values,
            "home_id": home[0],
            "organization_id": home[0],
            "path": home[1],
            "assigned_by": "explicit" if explicit else "polygon",
        }

    def _below(self, reference: str) -> tuple[str, str]:
        """Id and path of an organisation within the one that the file is imported into."""
        if reference not in self._organizations:
            found = self._connection.execute(
                select(ORGANIZATIONS.c.id, ORGANIZATIONS.c.path).where(
                    or_(
                        ORGANIZATIONS.c.path == reference.strip("/"),
                        ORGANIZATIONS.c.path == f"{self._home.path}/{reference.strip('/')}",
                        ORGANIZATIONS.c.name == reference,
                    ),
                    within(ORGANIZATIONS.c.path, self._home.path),
                )
            ).all()
            only = found[0] if len(found) == 1 else None
            self._organizations[reference] = (only.id, only.path) if only else None
        below = self._organizations[reference]
        if below is None:
            where = self._home.path
            raise _Wrong(
                refuse("organization", "no_such_organization", "", reference, organization=where)
            )
        return below

    def _give_owners(self, created: Sequence[dict[str, Any]]) -> None:
        """Owners by polygon of rows that are created under the import's own organisation."""
        placed = [each for each in created if each["values"]["longitude"] is not None]
        for each in created:
            each["assigned_by"] = "none"
        if not placed:
            return
        owners = self._polygons(self._home.path).owners(
            [each["values"]["longitude"] for each in placed],
            [each["values"]["latitude"] for each in placed],
        )
        for each, owner in zip(placed, owners, strict=True):
            if owner is not None:
                each |= {"organization_id": owner.organization_id, "path": owner.path}
                each["assigned_by"] = "polygon"

    def _polygons(self, path: str) -> Jurisdictions:
        if path not in self._jurisdictions:
            found = organizations.load_jurisdictions(self._connection, path)
            self._jurisdictions[path] = found
        return self._jurisdictions[path]

    def _update(self, row: StagedRow, point: Mapping[str, Any]) -> tuple[str, Any, int]:
        path = point["path"]
        if not self._principal.may(INTEGRATE, path):
            raise _Wrong(refuse("row", "may_not_write"))
        given = dict(row.given)
        organization = given.pop("organization", None)
        given.pop("assigned_by", None)
        if organization is not None and organization.strip("/") not in self._names_of(point):
            raise _Wrong(refuse("organization", "other_owner", "", organization, owner=path))
        old = {field: point[field] for field in point_rules.EDITABLE}
        if given.get("masked", old["masked"]) != old["masked"] and not self._principal.may(
            ADMINISTER, path
        ):
            raise _Wrong(refuse("masked", "may_not_mask"))
        for name, value in given.get("attributes", {}).items():
            if _is_near(value, old["attributes"].get(name)):
                given["attributes"][name] = old["attributes"][name]
        merged = {
            **old,
            **given,
            "attributes": {**old["attributes"], **given.get("attributes", {})},
        }
        if all(_is_near(merged[side], old[side]) for side in ("longitude", "latitude")):
            merged |= {side: old[side] for side in ("longitude", "latitude")}
        values = {field: new for field, new in _clean(merged).items() if new != old[field]}
        changed = {field: [old[field], new] for field, new in values.items()}
        if {"longitude", "latitude"} & values.keys() and point["assigned_by"] != "explicit":
            owner = self._owner_after(point, merged["longitude"], merged["latitude"])
            values |= owner
            changed |= {field: [point[field], new] for field, new in owner.items()}
        if not values:
            return "same", None, row.n
        what = {"id": point["id"], "version": point["version"], "path": path}
        return "update", {**what, "values": values, "changed": changed}, row.n

    def _names_of(self, point: Mapping[str, Any]) -> set[str]:
        path: str = point["path"]
        inside = contains(self._home.path, path)
        return {path, point["organization_id"], path.removeprefix(f"{self._home.path}/")} | (
            {self._name(path)} if inside else set()
        )

    def _name(self, path: str) -> str:
        key = f"name of {path}"
        if key not in self._organizations:
            name = self._connection.scalar(
                select(ORGANIZATIONS.c.name).where(ORGANIZATIONS.c.path == path)
            )
            self._organizations[key] = (name or "", path)
        found = self._organizations[key]
        return found[0] if found else ""

    def _owner_after(
        self, point: Mapping[str, Any], longitude_deg: float, latitude_deg: float
    ) -> dict[str, str]:
        owner = self._polygons(point["home_path"]).owner(longitude_deg, latitude_deg)
        owner_id = owner.organization_id if owner else point["home_id"]
        if owner_id != point["organization_id"] and not self._principal.may(
            INTEGRATE, point["home_path"]
        ):
            raise _Wrong(refuse("row", "may_not_write"))
        after = {"organization_id": owner_id, "assigned_by": "polygon" if owner else "none"}
        return {field: value for field, value in after.items() if value != point[field]}


def _is_near(new: Any, old: Any) -> bool:
    """Whether two numbers are the same but for the digits that a workbook drops: it keeps 16, and
    a position needs no tenth of a millimetre."""
    numbers = isinstance(new, float) and isinstance(old, float)
    return numbers and math.isclose(new, old, rel_tol=1e-14, abs_tol=1e-9)


class _Wrong(Exception):
    def __init__(self, *refusals: Refusal) -> None:
        super().__init__(refusals)
        self.refusals = refusals


def _clean(values: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return point_rules.clean(values)
    except Invalid as invalid:
        raise _Wrong(
            *(refuse(each.field, "invalid", detail=each.reason) for each in invalid.reasons)
        ) from None


def _execute(
    connection: Connection,
    principal: Principal,
    staging: Staging,
    keep_on: Callable[[], None],
) -> None:
    for chunk in staging.planned("update"):
        keep_on()
        _update_all(connection, chunk)
        _record(
            connection,
            principal,
            "update",
            ((each["id"], each["path"], each["changed"]) for each in chunk),
        )
    sharing.end_stale(connection, principal)
    for chunk in staging.planned("create"):
        keep_on()
        at = now()
        rows = [
            {
                **each["values"],
                "id": new_id(),
                "version": 1,
                "created_at": at,
                "updated_at": at,
                "organization_id": each["organization_id"],
                "home_id": each["home_id"],
                "assigned_by": each["assigned_by"],
                "profiles": [],
                "capabilities": [],
                "status": "unknown",
                "status_since": at,
                "status_reason": "",
            }
            for each in chunk
        ]
        connection.execute(insert(POINTS), rows)
        _record(
            connection,
            principal,
            "create",
            (
                (row["id"], each["path"], each["values"])
                for row, each in zip(rows, chunk, strict=True)
            ),
        )


def _update_all(connection: Connection, chunk: Sequence[Mapping[str, Any]]) -> None:
    by_fields: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for each in chunk:
        fields = tuple(sorted(each["values"]))
        values = {f"new_{field}": each["values"][field] for field in fields}
        row = {"of": each["id"], "read": each["version"], **values}
        by_fields.setdefault(fields, []).append(row)
    for fields, rows in by_fields.items():
        statement = (
            update(POINTS)
            .where(_P.id == bindparam("of"), _P.version == bindparam("read"))
            .values(
                version=_P.version + 1,
                updated_at=now(),
                **{field: bindparam(f"new_{field}") for field in fields},
            )
        )
        if connection.execute(statement, rows).rowcount != len(rows):
            raise VersionMismatch("point", rows[0]["read"], rows[0]["read"] + 1)


def _record(
    connection: Connection,
    principal: Principal,
    action: str,
    written: Iterable[tuple[str, str, Mapping[str, Any]]],
) -> None:
    at = now()
    connection.execute(
        insert(CHANGES),
        [
            {
                "id": new_id(),
                "at": at,
                "user_id": principal.user_id,
                "user_name": principal.name,
                "action": action,
                "kind": "point",
                "object_id": point_id,
                "organization_path": path,
                "details": dict(details),
            }
            for point_id, path, details in written
        ],
    )


def _outside(
    connection: Connection, principal: Principal, staging: Staging, organization: str
) -> Outside:
    home = organizations.get(connection, principal, organization)
    _O = ORGANIZATIONS.c
    boxes = connection.execute(
        select(_O.west_deg, _O.south_deg, _O.east_deg, _O.north_deg).where(
            within(_O.path, home.path), _O.area_m2.is_not(None)
        )
    ).all()
    if not boxes:
        return Outside()
    west, south = min(b[0] for b in boxes), min(b[1] for b in boxes)
    east, north = max(b[2] for b in boxes), max(b[3] for b in boxes)
    count = 0
    rows: list[int] = []
    others: list[System] = [each for each in SYSTEMS if each != staging.system]
    inside = dict.fromkeys(others, 0)
    for row, *raw in staging.positions():
        longitude, latitude = to_wgs84(raw[0], raw[1], staging.system)
        if west <= longitude <= east and south <= latitude <= north:
            continue
        count += 1
        if len(rows) < MAX_OUTSIDE:
            rows.append(row)
        for system in others:
            x, y = to_wgs84(raw[0], raw[1], system)
            inside[system] += west <= x <= east and south <= y <= north
    return Outside(
        count=count, rows=tuple(rows), would_be_inside={k: v for k, v in inside.items() if v}
    )
