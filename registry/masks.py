"""Privacy masks of points, and where a purpose has to be stated: queries and edits."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Text, cast, exists, insert, select, update

from registry import points, rows
from registry.errors import Invalid, VersionMismatch
from registry.identity import now
from registry.mask_rules import Polygon, checked_polygons, checked_presets
from registry.models import ORGANIZATIONS, POINT_MASKS, POINTS
from registry.partition import ADMINISTER, Principal, parent_path, require

_M = POINT_MASKS.c
_P = POINTS.c
_O = ORGANIZATIONS.c

GivenPolygons = Sequence[Sequence[Sequence[float]]]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Masks:
    """What is hidden of a point's picture.

    version: 0 before they are first set. masked: whether anything is hidden at all; where it is
    and no polygon holds for what the camera shows, all of the picture is. movable: the camera
    turns, so that polygons hold at a preset only.
    """

    point_id: str
    version: int = 0
    masked: bool = False
    movable: bool = False
    polygons: tuple[Polygon, ...] = ()
    presets: Mapping[str, tuple[Polygon, ...]] = dataclasses.field(default_factory=dict)

    def at(self, preset: str | None) -> tuple[Polygon, ...]:
        """What to hide while the camera stands at a preset, None for nowhere known; none for
        all of the picture. Only of a masked point."""
        if not self.movable:
            return self.polygons
        return self.presets.get(preset, ()) if preset is not None else ()


def get(connection: Connection, principal: Principal, point_id: str) -> Masks:
    """Raises: NotFound where there is no such point, or none that the principal sees."""
    point = points.get(connection, principal, point_id)
    return of_points(connection, [point.id])[point.id]


def of_points(connection: Connection, point_ids: Iterable[str]) -> dict[str, Masks]:
    """Of these points, whoever asks; without those that are gone."""
    found = connection.execute(
        select(
            cast(_P.id, Text),
            _P.masked,
            _P.capabilities,
            _M.version,
            _M.polygons,
            _M.presets,
        )
        .join_from(POINTS, POINT_MASKS, _M.point_id == _P.id, isouter=True)
        .where(_P.id.in_(list(point_ids)))
    )
    return {
        row[0]: Masks(
            point_id=row[0],
            masked=row.masked,
            movable="ptz" in row.capabilities,
            version=row.version or 0,
            polygons=_read(row.polygons or ()),
            presets={name: _read(each) for name, each in (row.presets or {}).items()},
        )
        for row in found
    }


def put(
    connection: Connection,
    principal: Principal,
    point_id: str,
    *,
    polygons: GivenPolygons = (),
    presets: Mapping[str, GivenPolygons] | None = None,
    version: int | None = None,
) -> Masks:
    """These masks in place of those there are; the point is masked from then on, and wholly where
    there are none. Needs `admin` where the point is. version: the one the caller read.

    Raises: NotFound, Forbidden, Invalid, VersionMismatch.
    """
    point = points.get(connection, principal, point_id)
    path = point.organization.path
    require(principal, ADMINISTER, path)
    before = of_points(connection, [point.id])[point.id]
    rows.check_version("masks", version, before.version)
    values = _checked(before.movable, polygons, presets or {})
    _store(connection, before, values)
    if not before.masked:
        rows.update_row(connection, POINTS, "point", point.id, {"masked": True}, None)
    old = {**_document(before.polygons, before.presets), "masked": before.masked}
    changed = rows.difference(old, {**values, "masked": True})
    rows.record(connection, principal, "masks", "point", point.id, path, changed)
    return of_points(connection, [point.id])[point.id]


def requires_purpose(connection: Connection, path: str) -> bool:
    """Whether the organisation at path, or one above it, asks for a purpose before a picture."""
    above = []
    here = path
    while here:
        above.append(here)
        here = parent_path(here)
    asking = exists().where(_O.path.in_(above), _O.purpose_required.is_(True))
    return bool(connection.scalar(select(asking)))


def _checked(
    movable: bool, polygons: GivenPolygons, presets: Mapping[str, GivenPolygons]
) -> dict[str, Any]:
    """The columns. Raises: Invalid."""
    if movable and polygons:
        raise Invalid.at("polygons", "this camera moves: say under presets what to hide where")
    if presets and not movable:
        raise Invalid.at("presets", "this camera does not move: its masks are polygons")
    return _document(checked_polygons("polygons", polygons), checked_presets(presets))


def _store(connection: Connection, before: Masks, values: Mapping[str, Any]) -> None:
    """Raises: VersionMismatch where somebody else was faster."""
    if before.version == 0:
        made = {"point_id": before.point_id, "version": 1, "updated_at": now()}
        connection.execute(insert(POINT_MASKS).values(**made, **values))
        return
    written = connection.execute(
        update(POINT_MASKS)
        .where(_M.point_id == before.point_id, _M.version == before.version)
        .values(**values, version=before.version + 1, updated_at=now())
    )
    if written.rowcount == 0:
        raise VersionMismatch("masks", before.version, before.version + 1)


def _read(stored: Iterable[Any]) -> tuple[Polygon, ...]:
    return tuple(tuple((x, y) for x, y in corners) for corners in stored)


def _document(
    polygons: Iterable[Polygon], presets: Mapping[str, Iterable[Polygon]]
) -> dict[str, Any]:
    """As JSON; also in the record of changes, where it tells what was hidden on a day."""
    return {
        "polygons": [[list(corner) for corner in each] for each in polygons],
        "presets": {
            name: [[list(corner) for corner in each] for each in found]
            for name, found in presets.items()
        },
    }
