"""The shape of a point: structs, not dicts, since a list of 50 is answered a thousand times a
second."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from registry.paging import Page
from registry.point_clusters import Cluster
from registry.points import Point, Shared


class RefShape(msgspec.Struct):
    id: str
    path: str
    name: str


class SourceShape(msgspec.Struct):
    device: str
    address: str | None


class ProfileShape(msgspec.Struct):
    """Without the device's own token for it."""

    name: str
    codec: str
    width: int = 0
    height: int = 0
    fps: float = 0.0


class SharedShape(msgspec.Struct):
    share: str
    ends_at: str


class PointShape(msgspec.Struct):
    """Never the host, a user, a password or a stream address."""

    id: str
    version: int
    code: str | None
    name: str
    place: str
    organization: RefShape
    assigned_by: str
    longitude: float | None
    latitude: float | None
    category: int
    ownership: str
    source: SourceShape | None
    profiles: list[ProfileShape]
    status: str
    status_since: str
    status_reason: str
    capabilities: msgspec.Raw
    masked: bool
    shared: SharedShape | None
    attributes: msgspec.Raw


class PointsShape(msgspec.Struct):
    items: list[PointShape]
    next: str | None
    total: int


class GeometryShape(msgspec.Struct):
    coordinates: tuple[float, float]
    type: str = "Point"


class FeatureShape(msgspec.Struct):
    """A point as a GeoJSON feature; one without a place on the map has no geometry."""

    id: str
    geometry: GeometryShape | None
    properties: PointShape
    type: str = "Feature"


class FeaturesShape(msgspec.Struct):
    features: list[FeatureShape]
    next: str | None
    total: int
    type: str = "FeatureCollection"


_PROFILES = msgspec.json.Decoder(list[ProfileShape])


def point_shape(point: Point) -> PointShape:
    return PointShape(
        point.id,
        point.version,
        point.code,
        point.name,
        point.place,
        RefShape(point.organization_id, point.organization_path, point.organization_name),
        point.assigned_by,
        point.longitude,
        point.latitude,
        point.category,
        point.ownership,
        SourceShape(point.device_id, point.address) if point.device_id else None,
        _PROFILES.decode(point.profiles_json) if point.profiles_json != "[]" else [],
        point.status,
        _timestamp(point.status_since_at),
        point.status_reason,
        msgspec.Raw(point.capabilities_json),
        bool(point.masked_flag),
        _shared(point.shared) if point.shared else None,
        msgspec.Raw(point.attributes_json),
    )


def _timestamp(at: datetime | str) -> str:
    """RFC 3339; the registry's times are in UTC and whole milliseconds, on SQLite texts."""
    if isinstance(at, str):
        return f"{at[:10]}T{at[11:23]}Z"
    return f"{at.isoformat(timespec='milliseconds')[:-6]}Z"


def _shared(shared: Shared) -> SharedShape:
    return SharedShape(shared.share_id, _timestamp(shared.ends_at))


def points_shape(page: Page[Point]) -> PointsShape:
    return PointsShape([point_shape(each) for each in page.items], page.next, page.total)


def features_shape(page: Page[Point]) -> FeaturesShape:
    return FeaturesShape([_feature(each) for each in page.items], page.next, page.total)


def _feature(point: Point) -> FeatureShape:
    geometry = None
    if point.longitude is not None and point.latitude is not None:
        geometry = GeometryShape((point.longitude, point.latitude))
    return FeatureShape(point.id, geometry, point_shape(point))


class ClusterShape(msgspec.Struct):
    """bbox: of the cell, as west, south, east, north."""

    points: int
    longitude: float
    latitude: float
    bbox: tuple[float, float, float, float]


class ClustersShape(msgspec.Struct):
    """total: the points in all cells; those without a position are in none."""

    items: list[ClusterShape]
    total: int


def clusters_shape(found: Sequence[Cluster]) -> ClustersShape:
    items = [ClusterShape(each.points, each.longitude, each.latitude, each.box) for each in found]
    return ClustersShape(items, sum(each.points for each in found))
