"""A province to measure with: 601 organisations with polygons, and as many points as one likes.

Sixteen districts side by side, of six stations of five or six workrooms each; every workroom is a
rectangle, its points lie in it, and their names and addresses are of the usual kind.
"""

import contextlib
import csv
import itertools
import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import insert

from gateway.access.sessions import hash_token
from registry import organizations, sessions, users
from registry.database import Connection, Database
from registry.exchange.bulk import insert_rows, stored
from registry.identity import new_id, now
from registry.models import POINTS, UNCOUNTED_WRITES
from registry.organizations import NewOrganization
from registry.partition import SYSTEM
from registry.point_counts import counted_at_once
from registry.users import NewRole, NewUser

STREETS = (
    *("光明", "和平", "建设", "解放", "人民", "东门", "西门", "南湖", "北站", "万莲"),
    *("沈河", "长江", "黄河", "青年", "文化", "中山", "胜利", "友谊", "新华", "红旗"),
    *("团结", "幸福", "朝阳", "迎宾", "滨河", "铁西", "大东", "皇姑", "于洪", "浑南"),
    *("苏家", "辽中", "康平", "法库", "新民", "棋盘", "沈北", "三好", "奉天", "太原"),
)
SPOTS = (
    *("东门", "西门", "南门", "北门", "路口", "大厅", "停车场", "单元门口", "电梯", "楼道"),
    *("广场", "公交站", "菜市场", "小学门口", "幼儿园", "地下车库", "围墙", "河边", "桥头"),
)
DISTRICTS, STATIONS = 16, 6
WEST_DEG, SOUTH_DEG = 120.0, 40.0
WIDE_DEG, HIGH_DEG = 0.3, 0.24
"""Of a district."""


class Workroom:
    """path: its slug path. box: west, south, east, north in degrees."""

    def __init__(self, path: str, box: tuple[float, float, float, float]) -> None:
        self.path = path
        self.box = box
        self.id = ""

    def spot(self, chance: random.Random) -> tuple[float, float]:
        west, south, east, north = self.box
        return (
            round(chance.uniform(west, east), 6),
            round(chance.uniform(south, north), 6),
        )


def polygon(box: tuple[float, float, float, float]) -> dict[str, Any]:
    west, south, east, north = box
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def organized(database: Database) -> list[Workroom]:
    """Make the tree; the workrooms in path order."""

    def build(connection: Connection) -> list[Workroom]:
        rooms = []
        _add(connection, "district", "p", None, None)
        for district in range(DISTRICTS):
            west = WEST_DEG + district % 4 * WIDE_DEG
            south = SOUTH_DEG + district // 4 * HIGH_DEG
            above = _add(connection, "district", f"d{district:02}", "p", None)
            for station in range(STATIONS):
                box = _part(west, south, station)
                place = _add(connection, "station", f"s{station}", above, box)
                count = 6 if (district * STATIONS + station) % 12 == 0 else 5
                rooms += [_workroom(connection, place, box, each, count) for each in range(count)]
        return rooms

    return database.write_now(build)


def _part(west: float, south: float, station: int) -> tuple[float, float, float, float]:
    wide, high = WIDE_DEG / 3, HIGH_DEG / 2
    left, low = west + station % 3 * wide, south + station // 3 * high
    return left, low, left + wide, low + high


def _workroom(
    connection: Connection,
    station: str,
    box: tuple[float, float, float, float],
    number: int,
    count: int,
) -> Workroom:
    west, south, east, north = box
    wide = (east - west) / count
    part = (west + number * wide, south, west + (number + 1) * wide, north)
    room = Workroom(_add(connection, "workroom", f"w{number}", station, part), part)
    room.id = organizations.get(connection, SYSTEM, room.path).id
    return room


def _add(
    connection: Connection,
    kind: str,
    slug: str,
    parent: str | None,
    box: tuple[float, float, float, float] | None,
) -> str:
    new = NewOrganization(
        kind=kind,
        name=f"{slug}号",
        slug=slug,
        parent=parent,
        jurisdiction=polygon(box) if box else None,
    )
    return organizations.create(connection, SYSTEM, new).path


def person(database: Database, role: str, path: str) -> str:
    """Somebody with a role who is signed in; their token."""
    token = f"{role} of {path}".replace(" ", "-")
    name = token

    def write(connection: Connection) -> None:
        new = NewUser(name=name, password_hash="!", roles=(NewRole(role=role, organization=path),))
        user = users.create(connection, SYSTEM, new)
        ends_at = now() + timedelta(hours=12)
        sessions.open_session(connection, user.id, hash_token(token), ends_at)

    database.write_now(write)
    return token


FIELDS = (
    *("id", "version", "name", "place", "organization_id", "home_id", "assigned_by"),
    *("longitude", "latitude", "category", "ownership", "profiles", "capabilities", "masked"),
    *("status", "status_since", "status_reason", "attributes", "created_at", "updated_at"),
)


def rows(
    rooms: list[Workroom], count: int, home_id: str, at: object, no: object
) -> Iterator[tuple[Any, ...]]:
    """Points by their `FIELDS`, those of a district together, as they are imported. at, no: a time
    and a false as the driver takes them."""
    chance = random.Random(1)
    part = len(rooms) // DISTRICTS
    for number in range(count):
        first = number * DISTRICTS // count * part
        room = rooms[first + chance.randrange(part)]
        longitude, latitude = room.spot(chance)
        category = chance.choice((1, 2, 3, 9))
        ownership = chance.choice(("public_security", "community", "property"))
        status = chance.choices(("online", "offline", "fault"), (90, 8, 2))[0]
        yield (
            *(new_id(), 1, name(chance), place(chance), room.id, home_id, "polygon"),
            *(longitude, latitude, category, ownership, "[]", "[]", no),
            *(status, at, "", "{}", at, at),
        )


def name(chance: random.Random) -> str:
    street, spot = chance.choice(STREETS), chance.choice(SPOTS)
    return f"{street}街{chance.randint(1, 400)}号{spot}{chance.randint(1, 30)}"


def place(chance: random.Random) -> str:
    return f"{chance.choice(STREETS)}路{chance.randint(1, 900)}号"


def fill(database: Database, rooms: list[Workroom], count: int) -> None:
    """Put points in, as quickly as the database takes them in."""
    home = database.read_now(lambda connection: organizations.get(connection, SYSTEM, "p"))

    def write(connection: Connection) -> None:
        at = stored(connection, now(), POINTS.c.created_at)
        no = 0 if connection.dialect.name == "sqlite" else False
        points = rows(rooms, count, home.id, at, no)
        with counted_at_once(connection, [each.id for each in rooms]):
            while batch := list(itertools.islice(points, 20_000)):
                insert_rows(connection, POINTS, FIELDS, batch)

    database.write_now(write)


@contextlib.contextmanager
def uncounted(connection: Connection) -> Iterator[None]:
    """Nothing is counted in here, for a limit that only inserts; the caller undoes it all."""
    if connection.dialect.name == "sqlite":
        connection.execute(insert(UNCOUNTED_WRITES).values(id=1))
    else:
        connection.exec_driver_sql("ALTER TABLE points DISABLE TRIGGER USER")
    yield


def settle(url: str) -> None:
    """What PostgreSQL does by itself some minutes after so many rows."""
    if url.startswith("postgresql"):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")


COLUMNS = ("name", "place", "longitude", "latitude", "category", "ownership")


def spreadsheet(rooms: list[Workroom], count: int) -> Iterator[tuple[Any, ...]]:
    """Rows of a file that is imported under the province, its header first."""
    yield COLUMNS
    chance = random.Random(2)
    for number in range(count):
        room = rooms[number * len(rooms) // count]
        longitude, latitude = room.spot(chance)
        # A number of its own makes each name one of a kind, as a district's list has them.
        yield (
            f"{name(chance)}-{number}",
            place(chance),
            longitude,
            latitude,
            chance.choice((1, 2, 3, 9)),
            chance.choice(("public_security", "community", "property")),
        )


def write_csv(file: Path, rooms: list[Workroom], count: int) -> None:
    with file.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows(spreadsheet(rooms, count))
