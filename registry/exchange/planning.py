"""What is done with each row of a staged file; nothing is written to the registry."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy
from sqlalchemy import Connection, select

from registry import organizations, point_rules
from registry.errors import Invalid
from registry.exchange.bulk import among
from registry.exchange.reasons import Refusal, refuse
from registry.exchange.staging import GOOD, LOOSE, Staging
from registry.identity import new_id
from registry.jurisdictions import Jurisdictions
from registry.models import ORGANIZATIONS, POINTS
from registry.organizations import Organization
from registry.partition import ADMINISTER, INTEGRATE, Principal, contains, within
from registry.points import default_assign

_P = POINTS.c
_HOME = ORGANIZATIONS.alias("import_home")
EDITED = tuple(sorted(point_rules.EDITABLE))
_POINTS = (
    select(
        _P.id,
        _P.version,
        _P.organization_id,
        ORGANIZATIONS.c.path,
        ORGANIZATIONS.c.name.label("owner_name"),
        _P.home_id,
        _HOME.c.path.label("home_path"),
        _P.assigned_by,
        *(_P[field] for field in EDITED),
    )
    .join_from(POINTS, ORGANIZATIONS, _P.organization_id == ORGANIZATIONS.c.id)
    .join(_HOME, _P.home_id == _HOME.c.id)
)
_UPDATED_AT_ONCE = 2_000


class _Wrong(Exception):
    def __init__(self, *refusals: Refusal) -> None:
        super().__init__(refusals)
        self.refusals = refusals


class Polygons:
    """The jurisdictions at and below organisations, each read once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[str, Jurisdictions] = {}

    def below(self, path: str) -> Jurisdictions:
        if path not in self._known:
            self._known[path] = organizations.load_jurisdictions(self._connection, path)
        return self._known[path]


# --- new points -----------------------------------------------------------------------------------


class _Owners:
    """The different ways in which new points are owned, numbered for the staging file."""

    def __init__(self) -> None:
        self.numbers: dict[tuple[str, str, str, str], int] = {}

    def number(self, organization_id: str, home_id: str, assigned_by: str, path: str) -> int:
        return self.numbers.setdefault(
            (organization_id, home_id, assigned_by, path), len(self.numbers)
        )


def plan_creates(
    connection: Connection,
    staging: Staging,
    home: Organization,
    polygons: Polygons,
    keep_on: Callable[[], None],
) -> None:
    """An owner and an id for each row that means no point there is; refuses those without name or
    of an organisation that home does not have."""
    staging.refuse_where(f"name IS NULL AND {LOOSE}", refuse("name", "missing"))
    below = _Below(connection, home)
    owners = _Owners()
    by_polygon = default_assign(home) == "polygon"
    columns = "n, organization, assigned_by, longitude, latitude"
    for chunk in staging.select(columns, "rows", LOOSE):
        keep_on()
        refused: list[tuple[int, Refusal]] = []
        made: dict[int, int] = {}
        loose: list[tuple[int, float | None, float | None]] = []
        for n, organization, assigned_by, longitude, latitude in chunk:
            if organization is not None and assigned_by in (None, "explicit"):
                owner = below.find(organization)
                if owner is None:
                    refusal = refuse(
                        *("organization", "no_such_organization", "", organization),
                        organization=home.path,
                    )
                    refused.append((n, refusal))
                else:
                    number = owners.number(owner[0], owner[0], "explicit", owner[1])
                    made[n] = number
            elif by_polygon if assigned_by is None else assigned_by != "explicit":
                loose.append((n, longitude, latitude))
            else:
                number = owners.number(home.id, home.id, "explicit", home.path)
                made[n] = number
        if loose:
            numbers = _by_polygon(loose, home, polygons, owners)
            made.update(zip((n for n, *_ in loose), numbers, strict=True))
        staging.refuse(refused)
        # Ids follow one another as the rows of the file do.
        staging.insert("created", ((n, new_id(), made[n]) for n in sorted(made)), 3)
    staging.insert("owners", ((number, *owner) for owner, number in owners.numbers.items()), 5)


def _by_polygon(
    rows: Sequence[tuple[int, float | None, float | None]],
    home: Organization,
    polygons: Polygons,
    owners: _Owners,
) -> list[int]:
    """The owners of rows that are created under home."""
    nobody = owners.number(home.id, home.id, "none", home.path)
    longitudes = numpy.array([each[1] for each in rows], dtype=float)
    latitudes = numpy.array([each[2] for each in rows], dtype=float)
    placed = numpy.flatnonzero(~numpy.isnan(longitudes))
    if not placed.size:
        return [nobody] * len(rows)
    jurisdictions = polygons.below(home.path)
    ranks = jurisdictions.ranks(longitudes[placed], latitudes[placed])
    numbers = numpy.full(len(rows), nobody, dtype=numpy.int64)
    found = numpy.full(len(placed), nobody, dtype=numpy.int64)
    for rank in numpy.unique(ranks[ranks >= 0]).tolist():
        owner = jurisdictions.at(rank)
        number = owners.number(owner.organization_id, home.id, "polygon", owner.path)
        found[ranks == rank] = number
    numbers[placed] = found
    listed: list[int] = numbers.tolist()
    return listed


class _Below:
    """The organisations at and below home, by what a file may call them."""

    def __init__(self, connection: Connection, home: Organization) -> None:
        _O = ORGANIZATIONS.c
        self._found: dict[str, set[tuple[str, str]]] = {}
        wanted = select(_O.id, _O.path, _O.name).where(within(_O.path, home.path))
        for row in connection.execute(wanted):
            for called in {row.path, row.path.removeprefix(f"{home.path}/"), row.name}:
                self._found.setdefault(called, set()).add((row.id, row.path))

    def find(self, reference: str) -> tuple[str, str] | None:
        """Id and path of the only one with that path or name."""
        found = self._found.get(reference, set()) | self._found.get(reference.strip("/"), set())
        return next(iter(found)) if len(found) == 1 else None


# --- points that there are ------------------------------------------------------------------------


def plan_updates(
    connection: Connection,
    principal: Principal,
    staging: Staging,
    home: Organization,
    polygons: Polygons,
    keep_on: Callable[[], None],
) -> None:
    """What changes of the points that rows mean; refuses what the principal may not change."""
    planner = _Updates(principal, home, polygons)
    columns = f"n, point_id, organization, {', '.join(EDITED)}"
    source = "meant JOIN rows USING (n)"
    for chunk in staging.select(columns, source, GOOD, _UPDATED_AT_ONCE):
        keep_on()
        wanted = among(connection, _P.id, [row[1] for row in chunk], "ids")
        points = {row.id: dict(row._mapping) for row in connection.execute(_POINTS.where(wanted))}
        planned: list[tuple[int, Any]] = []
        refused: list[tuple[int, Refusal]] = []
        for n, point_id, organization, *cells in chunk:
            try:
                what = planner.plan(points[point_id], organization, _given(cells))
            except _Wrong as wrong:
                refused.extend((n, each) for each in wrong.refusals)
            else:
                if what is not None:
                    planned.append((n, what))
        staging.plan_updates(planned)
        staging.refuse(refused)


def _given(cells: Sequence[Any]) -> dict[str, Any]:
    """What a staged row says, without what it leaves as it is."""
    given = {field: cell for field, cell in zip(EDITED, cells, strict=True) if cell is not None}
    if "masked" in given:
        given["masked"] = bool(given["masked"])
    if "attributes" in given:
        given["attributes"] = msgspec.json.decode(given["attributes"])
    return given


class _Updates:
    def __init__(self, principal: Principal, home: Organization, polygons: Polygons) -> None:
        self._principal = principal
        self._home = home
        self._polygons = polygons

    def plan(
        self, point: Mapping[str, Any], organization: str | None, given: dict[str, Any]
    ) -> dict[str, Any] | None:
        """What is written of a point, or None where the row says what it is already."""
        path = point["path"]
        if not self._principal.may(INTEGRATE, path):
            raise _Wrong(refuse("row", "may_not_write"))
        if organization is not None and organization.strip("/") not in self._names_of(point):
            raise _Wrong(refuse("organization", "other_owner", "", organization, owner=path))
        values = _differences(point, given)
        if not values:
            return None
        if "masked" in values and not self._principal.may(ADMINISTER, path):
            raise _Wrong(refuse("masked", "may_not_mask"))
        old = {field: point[field] for field in EDITED}
        cleaned = _clean({**old, **values})
        values = {field: new for field, new in cleaned.items() if new != old[field]}
        changed = {field: [old[field], new] for field, new in values.items()}
        if {"longitude", "latitude"} & values.keys() and point["assigned_by"] != "explicit":
            owner = self._owner_after(point, cleaned["longitude"], cleaned["latitude"])
            values |= owner
            changed |= {field: [point[field], new] for field, new in owner.items()}
        if not values:
            return None
        what = {"id": point["id"], "version": point["version"], "path": path}
        return {**what, "values": values, "changed": changed}

    def _names_of(self, point: Mapping[str, Any]) -> set[str]:
        path: str = point["path"]
        names = {path, point["organization_id"], path.removeprefix(f"{self._home.path}/")}
        return names | ({point["owner_name"]} if contains(self._home.path, path) else set())

    def _owner_after(
        self, point: Mapping[str, Any], longitude_deg: float, latitude_deg: float
    ) -> dict[str, str]:
        owner = self._polygons.below(point["home_path"]).owner(longitude_deg, latitude_deg)
        owner_id = owner.organization_id if owner else point["home_id"]
        if owner_id != point["organization_id"] and not self._principal.may(
            INTEGRATE, point["home_path"]
        ):
            raise _Wrong(refuse("row", "may_not_write"))
        after = {"organization_id": owner_id, "assigned_by": "polygon" if owner else "none"}
        return {field: value for field, value in after.items() if value != point[field]}


def _differences(point: Mapping[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """What a row says that its point does not."""
    attributes = given.pop("attributes", None)
    values = {field: new for field, new in given.items() if new != point[field]}
    sides = ("longitude", "latitude")
    if all(_is_near(given.get(side, point[side]), point[side]) for side in sides):
        for side in sides:
            values.pop(side, None)
    if attributes:
        known = point["attributes"]
        new = {
            name: value
            for name, value in attributes.items()
            if name not in known or not (value == known[name] or _is_near(value, known[name]))
        }
        if new:
            values["attributes"] = {**known, **new}
    return values


def _is_near(new: Any, old: Any) -> bool:
    """Whether two numbers are the same but for the digits that a workbook drops: it keeps 16, and
    a position needs no tenth of a millimetre."""
    numbers = isinstance(new, float) and isinstance(old, float)
    return numbers and math.isclose(new, old, rel_tol=1e-14, abs_tol=1e-9)


def _clean(values: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return point_rules.clean(values)
    except Invalid as invalid:
        raise _Wrong(
            *(refuse(each.field, "invalid", detail=each.reason) for each in invalid.reasons)
        ) from None
