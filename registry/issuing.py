"""Giving points the next free code."""

from sqlalchemy import Connection, select

from registry import points
from registry.codes import NETWORK_CAMERA, PointCode, issue, parse_point_code
from registry.errors import Conflict, Invalid
from registry.models import ORGANIZATIONS
from registry.partition import INTEGRATE, Principal, require


def give_code(
    connection: Connection,
    principal: Principal,
    point_id: str,
    *,
    industry: str = "00",
    type: str = NETWORK_CAMERA,  # noqa: A002 - the standard's word
    network: str = "0",
    version: int | None = None,
) -> points.Point:
    """Give a point that has no code the next free one of its owner's region.

    Needs `integrator` or `admin` where it is.
    Raises: NotFound, Forbidden, VersionMismatch; Invalid where the owner has no region; Conflict
    where the point has a code, or none is left.
    """
    before = points.get(connection, principal, point_id)
    require(principal, INTEGRATE, before.organization.path)
    if before.code is not None:
        raise Conflict("the point has a code", other=before.code)
    region = _region_of(connection, before.organization.path)
    first = PointCode(
        region=region[:6],
        grassroots=(region[6:8] or "00").ljust(2, "0"),
        industry=industry,
        type=type,
        network=network,
        serial=1,
    )
    (code,) = issue(connection, parse_point_code(str(first)))
    return points.update(connection, principal, point_id, {"code": str(code)}, version)


def _region_of(connection: Connection, path: str) -> str:
    """The region of the organisation at path, else of the nearest above it that has one."""
    parts = path.split("/")
    above = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
    found = connection.scalar(
        select(ORGANIZATIONS.c.region)
        .where(ORGANIZATIONS.c.path.in_(above), ORGANIZATIONS.c.region.is_not(None))
        .order_by(ORGANIZATIONS.c.depth.desc())
        .limit(1)
    )
    if found is None:
        raise Invalid.at("region", f"{path} and those above it have no GB/T 2260 region")
    return str(found)
