"""The tables of the registry, a file per aggregate."""

from registry.models.base import Base
from registry.models.changes import CHANGES
from registry.models.devices import DEVICES
from registry.models.jobs import JOBS
from registry.models.levels import APPLIED_LEVELS, LEVELS
from registry.models.masks import POINT_MASKS
from registry.models.organizations import ORGANIZATIONS
from registry.models.patches import PATCH_MEMBERS, PATCHES
from registry.models.point_counts import POINT_CELLS, POINT_COUNTS, UNCOUNTED_WRITES
from registry.models.points import POINTS
from registry.models.quality import POINT_QUALITY
from registry.models.shares import SHARES
from registry.models.systems import CHANNELS, SYSTEMS
from registry.models.tokens import TOKEN_ROLES, TOKENS
from registry.models.units import UNIT_ADDRESSES, UNITS
from registry.models.users import ROLES, SESSIONS, USERS
from registry.models.walls import TOUR_GROUPS, TOUR_STOPS, TOURS, WALL_PLACES, WALLS

METADATA = Base.metadata

__all__ = [
    "APPLIED_LEVELS",
    "CHANGES",
    "CHANNELS",
    "DEVICES",
    "JOBS",
    "LEVELS",
    "METADATA",
    "ORGANIZATIONS",
    "PATCHES",
    "PATCH_MEMBERS",
    "POINTS",
    "POINT_CELLS",
    "POINT_COUNTS",
    "POINT_MASKS",
    "POINT_QUALITY",
    "ROLES",
    "SESSIONS",
    "SHARES",
    "SYSTEMS",
    "TOKENS",
    "TOKEN_ROLES",
    "TOURS",
    "TOUR_GROUPS",
    "TOUR_STOPS",
    "UNCOUNTED_WRITES",
    "UNITS",
    "UNIT_ADDRESSES",
    "USERS",
    "WALLS",
    "WALL_PLACES",
]
