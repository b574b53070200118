"""The demo's district: an invented part of a real city, its places, cameras, radios and people.

Coordinates are WGS-84 degrees. Workrooms are the cells of a grid whose inner corners are moved a
little, so that borders look drawn by people and still meet without gaps.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from shapely.geometry import Polygon, mapping
from shapely.ops import unary_union

WEST_DEG, SOUTH_DEG = 123.4310, 41.7660
CELL_WIDTH_DEG, CELL_HEIGHT_DEG = 0.0135, 0.0120

_MOVED = {
    (1, 1): (0.0021, -0.0013),
    (2, 1): (-0.0017, 0.0016),
    (3, 1): (0.0012, 0.0009),
    (1, 0): (0.0010, 0.0),
    (2, 0): (0.0, -0.0011),
    (3, 0): (-0.0008, 0.0004),
    (1, 2): (-0.0009, 0.0006),
    (2, 2): (0.0014, 0.0),
    (3, 2): (0.0, 0.0012),
    (0, 1): (-0.0012, 0.0008),
    (4, 1): (0.0015, -0.0006),
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An organisation of the demo. cells: (column, row) of the grid that it is made of."""

    slug: str
    name: str
    kind: str
    parent: str | None
    cells: tuple[tuple[int, int], ...]

    @property
    def path(self) -> str:
        return f"{self.parent}/{self.slug}" if self.parent else self.slug


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CameraPlan:
    """A camera as the district's own list has it, before anything is registered."""

    number: int
    name: str
    place: str
    host: str
    longitude_deg: float
    latitude_deg: float
    category: int
    ownership: str
    username: str
    password: str
    ptz: bool


def _corner(column: int, row: int) -> tuple[float, float]:
    east, north = _MOVED.get((column, row), (0.0, 0.0))
    return (
        round(WEST_DEG + column * CELL_WIDTH_DEG + east, 6),
        round(SOUTH_DEG + row * CELL_HEIGHT_DEG + north, 6),
    )


def _cell(column: int, row: int) -> Polygon:
    corners = [(column, row), (column + 1, row), (column + 1, row + 1), (column, row + 1)]
    return Polygon([_corner(*corner) for corner in corners])


def polygon(cells: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """The GeoJSON polygon of some cells together."""
    shape: dict[str, Any] = mapping(unary_union([_cell(*cell) for cell in cells]))
    return {"type": shape["type"], "coordinates": shape["coordinates"]}


DISTRICT = "shenhe"
_STATIONS = (
    ("wanlian", "万莲派出所", ((0, 0), (0, 1), (1, 0))),
    ("nanta", "南塔派出所", ((1, 1), (2, 0), (2, 1))),
    ("binhe", "滨河派出所", ((3, 0), (3, 1))),
)
_ROOMS = {
    "wanlian": ("文萃社区警务室", "泉园社区警务室", "长青社区警务室"),
    "nanta": ("文艺社区警务室", "彩塔社区警务室", "展览馆社区警务室"),
    "binhe": ("正阳社区警务室", "大西社区警务室"),
}
_STREETS = ("文萃路", "泉园一路", "长青街", "文艺路", "彩塔街", "展览馆路", "正阳街", "大西路")
_SPOTS = (
    ("路口", "{street}与南二经街交口", 1, "public_security"),
    ("小区东门", "{street}18号小区东门", 2, "community"),
    ("商业广场", "{street}66号商业广场", 3, "property"),
)


def places() -> list[Place]:
    """District, stations and workrooms, parents first."""
    cells = tuple((column, row) for column in range(4) for row in range(2))
    found = [Place(slug=DISTRICT, name="沈河区", kind="district", parent=None, cells=cells)]
    for slug, name, own in _STATIONS:
        found.append(Place(slug=slug, name=name, kind="station", parent=DISTRICT, cells=own))
        found += [
            Place(
                slug=f"room-{number:02d}",
                name=room,
                kind="workroom",
                parent=f"{DISTRICT}/{slug}",
                cells=(cell,),
            )
            for number, (room, cell) in enumerate(zip(_ROOMS[slug], own, strict=True), start=1)
        ]
    return found


def cameras(count: int, password: str) -> list[CameraPlan]:
    """`count` cameras spread over the workrooms; the last one stands outside every polygon.

    password: the common part; each camera has its own user and password.
    """
    rooms = [place for place in places() if place.kind == "workroom"]
    plans = []
    for index in range(count):
        room = rooms[index % len(rooms)]
        street = _STREETS[index % len(_STREETS)]
        kind, place, category, ownership = _SPOTS[index // len(rooms) % len(_SPOTS)]
        longitude, latitude = _spot(room.cells[0], index // len(rooms))
        plans.append(
            CameraPlan(
                number=index + 1,
                name=f"{street}{kind}",
                place=place.format(street=street),
                host=f"127.0.{1 + index // 250}.{1 + index % 250}",
                longitude_deg=longitude,
                latitude_deg=latitude,
                category=category,
                ownership=ownership,
                username=f"viewer{index + 1:03d}",
                password=f"{password}-{index + 1:03d}",
                ptz=index % 6 == 0,
            )
        )
    return [*plans[:-1], _outside(plans[-1])] if plans else []


def _spot(cell: tuple[int, int], turn: int) -> tuple[float, float]:
    """A place well inside a cell, another one for each turn."""
    centre = _cell(*cell).representative_point()
    step = turn % 9
    return (
        round(centre.x + (step % 3 - 1) * CELL_WIDTH_DEG * 0.2, 6),
        round(centre.y + (step // 3 - 1) * CELL_HEIGHT_DEG * 0.2, 6),
    )


def _outside(plan: CameraPlan) -> CameraPlan:
    return dataclasses.replace(
        plan,
        name="浑河大桥北",
        place="浑河大桥北侧引桥",
        longitude_deg=round(WEST_DEG + 1.3 * CELL_WIDTH_DEG, 6),
        latitude_deg=round(SOUTH_DEG - 0.35 * CELL_HEIGHT_DEG, 6),
    )


USERS = (
    ("admin", "admin", DISTRICT),
    ("dispatcher", "dispatcher", DISTRICT),
    ("integrator", "integrator", DISTRICT),
    ("auditor", "auditor", DISTRICT),
    ("viewer", "viewer", f"{DISTRICT}/wanlian/room-01"),
    ("clear-view", "clear_view", f"{DISTRICT}/wanlian"),
)
"""(name, role, organisation): one user for each role."""

TALKGROUPS = (
    ("1/3101", "指挥一组 TG 3101", DISTRICT),
    ("2/3102", "万莲巡逻组 TG 3102", f"{DISTRICT}/wanlian"),
)
PTT_CHANNELS = (
    ("Patrol", "乡村巡逻 Patrol", DISTRICT),
    ("Property", "物业联动 Property", f"{DISTRICT}/nanta"),
)
RADIOS = ((3101001, "张伟"), (3101002, "李娜"), (3102001, "王强"))
PHONES = (("village-01", "赵敏"), ("village-02", "陈杰"))
PATCHED = ("1/3101", "Patrol")
"""The talkgroup and the PTT channel that the demo's patch joins."""
