"""What each role allows, in the words of the routes. The rules themselves are the registry's."""

from registry.partition import (
    ADMINISTER,
    DISPATCH,
    INTEGRATE,
    SEE_AUDIT,
    SEE_PICTURES,
    Principal,
    Role,
    contains,
    require,
    top_paths,
)
from registry.points import Point


def may_see_pictures(principal: Principal, path: str) -> bool:
    """Live, snapshot, thumbnail, event picture: of points owned by the organisation at path."""
    return principal.may(SEE_PICTURES, path)


def may_view(principal: Principal, point: Point) -> bool:
    """`may_see_pictures` of this point, by a role or by a share; of a masked one, before that."""
    return point.shared is not None or may_see_pictures(principal, point.organization.path)


def may_move(principal: Principal, point: Point) -> bool:
    """PTZ, by a role or by a share that names it."""
    by_share = point.shared is not None and point.shared.ptz
    return by_share or may_dispatch(principal, point.organization.path)


def may_see_clear(principal: Principal, path: str) -> bool:
    """Masked points in clear. An admin may not, unless given the role like anybody else."""
    return principal.may({Role.CLEAR_VIEW}, path)


def purpose_of_clear_view(principal: Principal, path: str) -> str:
    """What `may_see_clear` was given for here, empty where it was not."""
    given = (
        each.purpose
        for each in principal.grants
        if each.role is Role.CLEAR_VIEW and contains(each.path, path)
    )
    return next(given, "")


def may_dispatch(principal: Principal, path: str) -> bool:
    """Patches, talk, PTZ."""
    return principal.may(DISPATCH, path)


def may_integrate(principal: Principal, path: str) -> bool:
    """Devices, systems, channels, units, points."""
    return principal.may(INTEGRATE, path)


def may_see_audit(principal: Principal, path: str) -> bool:
    return principal.may(SEE_AUDIT, path)


def administers_anything(principal: Principal) -> bool:
    return bool(top_paths(principal, ADMINISTER))


__all__ = [
    "Role",
    "administers_anything",
    "may_dispatch",
    "may_integrate",
    "may_move",
    "may_see_audit",
    "may_see_clear",
    "may_see_pictures",
    "may_view",
    "purpose_of_clear_view",
    "require",
]
