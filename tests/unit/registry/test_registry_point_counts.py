"""Kept counts and clusters against a plain count, whoever writes and however many at once."""

import math
import threading
from collections import Counter
from typing import Any

import pytest
from databases import Registry
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import bindparam, func, insert, select, update

from registry import organizations, point_clusters, point_counts, points
from registry.database import Connection, Database
from registry.errors import Invalid, NotFound
from registry.identity import new_id, now
from registry.models import ORGANIZATIONS, POINT_CELLS, POINT_COUNTS, POINTS
from registry.models.point_counts import CELL_LEVELS
from registry.organizations import NewOrganization
from registry.partition import SYSTEM, Grant, Principal, Role
from registry.points import NewPoint

pytest_plugins = ["databases"]

NEXT = {
    "version": POINTS.c.version + 1,
    "updated_at": bindparam("at", callable_=now, type_=POINTS.c.updated_at.type),
}
PATHS = ("d", "d/a", "d/b")
POSITIONS = ((None, None), (0.0, 0.0), (123.4567891, 41.8), (123.46, 41.81), (-180.0, -90.0))


@pytest.fixture
def tree(registry: Registry) -> Registry:
    registry(organizations.create, SYSTEM, NewOrganization(kind="district", name="D", slug="d"))
    for slug in ("a", "b"):
        new = NewOrganization(kind="station", name=slug, slug=slug, parent="d")
        registry(organizations.create, SYSTEM, new)
    return registry


def kept_and_true(connection: Connection) -> tuple[dict[Any, int], dict[Any, int]]:
    """What the triggers keep of every kind and cell, and what a scan of the points says."""
    kept: dict[Any, int] = {}
    key = ("organization_id", *point_counts.COUNTED)
    counts = POINT_COUNTS.c
    for row in connection.execute(
        select(*(counts[name] for name in key), func.sum(counts.points)).group_by(
            *(counts[name] for name in key)
        )
    ):
        kept[tuple(row[:-1])] = row[-1]
    cells = POINT_CELLS.c
    place = (cells.organization_id, cells.level, cells.x, cells.y)
    sums = (func.sum(cells.points), func.sum(cells.longitude_sum), func.sum(cells.latitude_sum))
    for row in connection.execute(select(*place, *sums).group_by(*place)):
        kept[tuple(row[:4])] = row[4]
        kept[(*row[:4], "sums")] = int(row[5]), int(row[6])  # type: ignore[assignment]
    true: Counter[Any] = Counter()
    sums_of: dict[Any, tuple[int, int]] = {}
    columns = (*key, "longitude", "latitude")
    for row in connection.execute(select(*(POINTS.c[name] for name in columns))):
        true[tuple(row[:5])] += 1
        longitude, latitude = row[5:]
        if longitude is None:
            continue
        for level in CELL_LEVELS:
            x = math.floor((longitude + 180) * 2**level / 360)
            y = math.floor((latitude + 90) * 2**level / 360)
            cell = (row[0], level, x, y)
            true[cell] += 1
            before = sums_of.get((*cell, "sums"), (0, 0))
            millionths = math.trunc(longitude * 1e6), math.trunc(latitude * 1e6)
            sums_of[(*cell, "sums")] = before[0] + millionths[0], before[1] + millionths[1]
    gone = {cell for cell, number in kept.items() if number in (0, (0, 0))}
    assert all(kept[cell] == 0 for cell in gone if cell[-1] != "sums")
    return {k: v for k, v in kept.items() if k not in gone}, {
        k: v for k, v in {**true, **sums_of}.items() if v != (0, 0)
    }


def assert_counted(registry: Registry) -> None:
    kept, true = registry(kept_and_true)
    assert kept == true


def row(organization_id: str, number: int, **more: Any) -> dict[str, Any]:
    at = now()
    longitude, latitude = POSITIONS[number % len(POSITIONS)]
    return {
        "id": new_id(),
        "name": f"p{number}",
        "place": "",
        "organization_id": organization_id,
        "home_id": organization_id,
        "assigned_by": ("explicit", "polygon", "none")[number % 3],
        "longitude": longitude,
        "latitude": latitude,
        "category": (1, 2, 3, 9)[number % 4],
        "ownership": ("other", "property")[number % 2],
        "profiles": [],
        "capabilities": [],
        "masked": False,
        "status": ("online", "offline", "fault", "unknown")[number % 4],
        "status_since": at,
        "status_reason": "",
        "attributes": {},
        "version": 1,
        "created_at": at,
        "updated_at": at,
        **more,
    }


def ids(registry: Registry) -> list[str]:
    return [registry(organizations.get, SYSTEM, path).id for path in PATHS]


WRITES = st.lists(
    st.tuples(
        st.sampled_from(["insert", "batch", "move", "status", "place", "delete", "rename"]),
        st.integers(0, 7),
        st.integers(0, 59),
    ),
    max_size=14,
)


@given(writes=WRITES)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_counts_follow_any_writes(tree: Registry, writes: list[tuple[str, int, int]]) -> None:
    owners = ids(tree)

    def run(connection: Connection) -> tuple[dict[Any, int], dict[Any, int]]:
        for verb, which, number in writes:
            owner = owners[number % 3]
            some = POINTS.c.name == f"p{which}"
            if verb == "insert":
                connection.execute(insert(POINTS).values(row(owner, which)))
            elif verb == "batch":
                batch = [row(owners[each % 3], each % 8) for each in range(number % 9 + 1)]
                connection.execute(insert(POINTS), batch)
            elif verb == "delete":
                connection.execute(POINTS.delete().where(some))
            elif verb == "place":
                longitude, latitude = POSITIONS[number % len(POSITIONS)]
                position = {"longitude": longitude, "latitude": latitude}
                connection.execute(update(POINTS).where(some).values(position | NEXT))
            else:
                changes = {
                    "move": {"organization_id": owner},
                    "status": {"status": "fault"},
                    "rename": {"name": f"p{number % 8}"},
                }
                connection.execute(update(POINTS).where(some).values(changes[verb] | NEXT))
        return kept_and_true(connection)

    kept, true = tree.undone(run)
    assert kept == true


def test_what_was_there_before_is_counted_by_the_migration(
    empty_database_url: str,
) -> None:
    database = Database(empty_database_url)
    try:
        database.upgrade_now()
        registry = Registry(database)
        district = NewOrganization(kind="district", name="D", slug="d")
        home = registry(organizations.create, SYSTEM, district)
        database.write_now(
            lambda c: c.execute(insert(POINTS), [row(home.id, each) for each in range(40)])
        )
        database.downgrade_now("0003")
        database.upgrade_now()
        assert_counted(registry)
        with pytest.raises(Exception, match="ck_points_category"):
            database.write_now(
                lambda c: c.execute(insert(POINTS).values(row(home.id, 1, category=4)))
            )
    finally:
        database.close_now()


def test_very_many_writes_are_counted_at_once(tree: Registry) -> None:
    owners = ids(tree)
    tree(points.create, SYSTEM, NewPoint(organization="d/a", name="first", longitude=1, latitude=2))

    def run(connection: Connection) -> None:
        with point_counts.counted_at_once(connection, owners):
            batch = [row(owners[each % 3], each) for each in range(200)]
            connection.execute(insert(POINTS), batch)
            connection.execute(
                update(POINTS)
                .where(POINTS.c.name == "p7")
                .values(organization_id=owners[0], **NEXT)
            )

    tree.database.write_now(run)
    assert_counted(tree)
    # From then on each write is counted again.
    tree(points.create, SYSTEM, NewPoint(organization="d/b", name="next", longitude=1, latitude=2))
    assert_counted(tree)


def test_writers_side_by_side_are_all_counted(tree: Registry) -> None:
    owners = ids(tree)
    failures: list[BaseException] = []

    def turn(connection: Connection, seed: int) -> None:
        batch = [row(owners[(seed + each) % 3], each) for each in range(5)]
        connection.execute(insert(POINTS), batch)
        mine = POINTS.c.id.in_([each["id"] for each in batch])
        connection.execute(update(POINTS).where(mine).values(status="fault"))

    def write(seed: int) -> None:
        try:
            for _ in range(15):
                tree.database.write_now(lambda c: turn(c, seed))
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert not failures
    assert_counted(tree)
    # The next writer who is alone folds in what others had to write beside it.
    tree(points.create, SYSTEM, NewPoint(organization="d/a", name="last"))
    left = tree.database.read_now(
        lambda c: c.scalar(select(func.count()).where(POINT_COUNTS.c.slot > 0))
    )
    assert left == 0
    assert_counted(tree)


VIEWER = Principal(
    user_id="",
    name="v",
    grants=(Grant(role=Role.VIEWER, organization_id="", path="d/a"),),
)


def place(registry: Registry, organization: str, longitude: float, latitude: float) -> None:
    registry(
        points.create,
        SYSTEM,
        NewPoint(
            organization=organization,
            name="p",
            longitude=longitude,
            latitude=latitude,
            assign="explicit",
        ),
    )


@given(
    spots=st.lists(
        st.tuples(st.sampled_from(PATHS), st.floats(-180, 180), st.floats(-90, 90)),
        max_size=20,
    ),
    zoom=st.integers(0, 22),
    box=st.none()
    | st.tuples(st.floats(-180, 180), st.floats(-90, 90), st.floats(-180, 180), st.floats(-90, 90)),
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_clusters_hold_every_point_that_is_seen_once(
    tree: Registry,
    spots: list[tuple[str, float, float]],
    zoom: int,
    box: tuple[float, float, float, float] | None,
) -> None:
    owners = dict(zip(PATHS, ids(tree), strict=True))
    if box is not None and box[1] > box[3]:
        box = (box[0], box[3], box[2], box[1])

    def run(connection: Connection) -> Any:
        for path, longitude, latitude in spots:
            position = {"longitude": longitude, "latitude": latitude}
            connection.execute(insert(POINTS).values(row(owners[path], 1) | position))
        return [
            point_clusters.clusters(connection, who, zoom=zoom, bbox=box)
            for who in (SYSTEM, VIEWER)
        ]

    everybody, viewer = tree.undone(run)
    for found, seen in (
        (everybody, spots),
        (viewer, [each for each in spots if each[0] == "d/a"]),
    ):
        assert len({each.box for each in found}) == len(found)
        inside = [each for each in seen if box is None or within(box, each[1], each[2])]
        held = sum(each.points for each in found)
        assert len(inside) <= held <= len(seen)
        if box is None:
            assert held == len(seen)
        for longitude, latitude in ((each[1], each[2]) for each in inside):
            assert any(within(each.box, longitude, latitude, slack_deg=1e-6) for each in found)
        for each in found:
            assert within(each.box, each.longitude, each.latitude, slack_deg=2e-6)


def within(
    box: tuple[float, float, float, float],
    longitude: float,
    latitude: float,
    slack_deg: float = 0.0,
) -> bool:
    west, south, east, north = box
    if not south - slack_deg <= latitude <= north + slack_deg:
        return False
    if west <= east:
        return west - slack_deg <= longitude <= east + slack_deg
    return longitude >= west or longitude <= east


def test_clusters_grow_finer_with_the_zoom(tree: Registry) -> None:
    for longitude in (123.40, 123.4005, 123.9, 124.5):
        place(tree, "d/a", longitude, 41.8)
    place(tree, "d/b", 123.40, 41.8)

    def numbers(zoom: int, **more: Any) -> list[int]:
        found = tree(point_clusters.clusters, SYSTEM, zoom=zoom, **more)
        return [each.points for each in found]

    assert numbers(0) == [5]
    assert numbers(9) == [3, 1, 1]
    assert numbers(9, organization="d/b") == [1]
    assert numbers(9, bbox=(124, 41, 125, 42)) == [1]
    assert numbers(20, bbox=(123.39, 41.79, 123.41, 41.81)) == [2, 1]
    finest = tree(point_clusters.clusters, SYSTEM, zoom=20, bbox=(123.39, 41.79, 123.41, 41.81))
    assert (finest[0].longitude, finest[0].latitude) == (123.4, 41.8)


def test_a_box_that_is_too_wide_for_its_zoom_gets_coarser_cells(tree: Registry) -> None:
    for number in range(40):
        place(tree, "d", 100 + number * 0.01, 30)
    found = tree(point_clusters.clusters, SYSTEM, zoom=22, bbox=(0, 0, 179, 80))
    assert sum(each.points for each in found) == 40
    west, _, east, _ = found[0].box
    assert 179 / (east - west) <= point_clusters.MOST_COLUMNS


def test_what_makes_no_sense_is_refused(tree: Registry) -> None:
    for zoom in (-1, 23):
        with pytest.raises(Invalid, match="zoom"):
            tree(point_clusters.clusters, SYSTEM, zoom=zoom)
    with pytest.raises(Invalid, match="bbox"):
        tree(point_clusters.clusters, SYSTEM, zoom=3, bbox=(0, 5, 1, 4))
    with pytest.raises(NotFound):
        tree(point_clusters.clusters, VIEWER, zoom=3, organization="d/b")


def test_counts_of_the_tree_are_those_of_the_points(tree: Registry) -> None:
    owners = ids(tree)
    tree.database.write_now(
        lambda c: c.execute(insert(POINTS), [row(owners[n % 3], n) for n in range(24)])
    )
    counted = tree(organizations.counts, SYSTEM)
    assert counted["d"].points == 24
    assert counted["d"].online == counted["d"].offline == counted["d"].fault == 6
    assert counted["d"].unassigned == 8
    assert set(tree(organizations.counts, VIEWER)) >= {"d/a"}
    assert "d/b" not in tree(organizations.counts, VIEWER)
    assert tree.database.read_now(
        lambda c: c.scalar(select(func.count()).select_from(ORGANIZATIONS))
    ) == len(PATHS)
