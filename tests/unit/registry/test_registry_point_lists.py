"""Pages of points over many owners: merged, counted and stable whoever asks and writes."""

import functools
import itertools
from typing import Any

import pytest
from databases import ON_SQLITE, Registry
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from registry import organizations, point_lists, point_statements, points
from registry.database import Connection
from registry.identity import new_id, now
from registry.models import POINTS
from registry.organizations import NewOrganization
from registry.paging import encode_cursor
from registry.partition import SYSTEM, Grant, Principal, Role
from registry.point_lists import PointFilter
from registry.points import NewPoint, Point

pytest_plugins = ["databases"]

PATHS = ("d", "d/a", "d/b", "d/c", "d/c/x", "e", "e/z")
STATUSES = ("online", "offline", "fault", "unknown")


def viewer(*paths: str) -> Principal:
    grants = tuple(Grant(role=Role.VIEWER, organization_id="", path=path) for path in paths)
    return Principal(user_id="", name="v", grants=grants)


@pytest.fixture
def tree(registry: Registry) -> Registry:
    for path in PATHS:
        parent, _, slug = path.rpartition("/")
        kind = {0: "district", 1: "station", 2: "workroom"}[path.count("/")]
        new = NewOrganization(kind=kind, name=path, slug=slug, parent=parent or None)
        registry(organizations.create, SYSTEM, new)
    return registry


def fill(connection: Connection, ids: dict[str, str], owners: list[int]) -> list[dict[str, Any]]:
    """One point for each owner named, in this order; what was written."""
    made = []
    for number, owner in enumerate(owners):
        at = now()
        made.append(
            {
                "id": new_id(),
                "version": 1,
                "name": f"{'停车场' if number % 3 else '东门Gate'}{number}",
                "place": f"路{number % 5}",
                "organization_id": ids[PATHS[owner]],
                "home_id": ids[PATHS[owner]],
                "assigned_by": ("explicit", "none")[number % 2],
                "longitude": number / 10,
                "latitude": 1.0,
                "category": (1, 2)[number % 2],
                "ownership": "other",
                "profiles": [],
                "capabilities": [],
                "masked": False,
                "status": STATUSES[number % 4],
                "status_since": at,
                "status_reason": "",
                "attributes": {},
                "created_at": at,
                "updated_at": at,
                "path": PATHS[owner],
            }
        )
    rows = [{k: v for k, v in each.items() if k != "path"} for each in made]
    if rows:
        connection.execute(insert(POINTS), rows)
    return made


def alike(point: Point) -> Point:
    """Whichever way the driver gave it."""
    return point._replace(masked_flag=point.masked, status_since_at=point.status_since)


FILTERS: tuple[tuple[PointFilter, Any], ...] = (
    (PointFilter(), lambda row: True),
    (PointFilter(status="fault"), lambda row: row["status"] == "fault"),
    (
        PointFilter(category=1, assigned_by="explicit"),
        lambda row: row["category"] == 1 and row["assigned_by"] == "explicit",
    ),
    (PointFilter(q="场"), lambda row: "场" in row["name"]),
    (PointFilter(q="gate 路1"), lambda row: "Gate" in row["name"] and "路1" in row["place"]),
    (PointFilter(bbox=(0.35, 0, 1.25, 2)), lambda row: 0.35 <= row["longitude"] <= 1.25),
    (
        PointFilter(q="停车", status="online", bbox=(0, 0, 2, 2)),
        lambda row: "停车" in row["name"] and row["status"] == "online" and row["longitude"] <= 2,
    ),
    (PointFilter(organization="d/c"), lambda row: row["path"].startswith("d/c")),
)


@given(
    owners=st.lists(st.integers(0, len(PATHS) - 1), max_size=40),
    tops=st.sets(st.sampled_from(PATHS), min_size=1, max_size=3),
    which=st.integers(0, len(FILTERS) - 1),
    limit=st.integers(1, 7),
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_pages_are_all_that_is_seen_and_wanted_in_order(
    tree: Registry, owners: list[int], tops: set[str], which: int, limit: int
) -> None:
    wanted, matches = FILTERS[which]
    who = viewer(*tops, "d/c") if wanted.organization else viewer(*tops)
    seen_at = {each.path for each in who.grants}

    def run(connection: Connection) -> tuple[list[dict[str, Any]], list[Any]]:
        ids = {each.path: each.id for each in organizations.tree(connection, SYSTEM)}
        made = fill(connection, ids, owners)
        pages = []
        cursor = None
        while True:
            page = point_lists.page(connection, who, wanted, limit=limit, cursor=cursor)
            stamps = point_lists.stamps(connection, who, wanted, limit=limit, cursor=cursor)
            stamped = point_lists.stamped(connection, stamps.items)
            assert tuple(alike(stamped[each]) for each in stamps.items) == tuple(
                alike(each) for each in page.items
            )
            assert (stamps.next, stamps.total) == (page.next, page.total)
            pages.append(page)
            cursor = page.next
            if cursor is None:
                return made, pages

    made, pages = tree.undone(run)
    expected = [
        row["id"]
        for row in made
        if matches(row)
        and any(row["path"] == top or row["path"].startswith(f"{top}/") for top in seen_at)
    ]
    assert [each.id for page in pages for each in page.items] == expected
    assert {page.total for page in pages} == {len(expected)}
    assert all(len(page.items) == limit for page in pages[:-1])


def test_a_list_goes_on_where_it_was_while_others_write(tree: Registry) -> None:
    def create(path: str) -> str:
        return tree(points.create, SYSTEM, NewPoint(organization=path, name="p")).id

    first = [create(path) for path in ("d/a", "d/b", "d/a", "d/c/x", "d/b")]
    page = tree(point_lists.page, viewer("d"), limit=2)
    assert [each.id for each in page.items] == first[:2]
    # One already seen goes, one is made, and one not yet seen gets another owner.
    tree(points.delete, SYSTEM, first[0])
    last = create("d/a")
    tree(points.assign, SYSTEM, [first[3]], "d/a")
    page = tree(point_lists.page, viewer("d"), limit=10, cursor=page.next)
    assert [each.id for each in page.items] == [*first[2:], last]
    assert (page.next, page.total) == (None, 5)


def test_the_total_stands_on_an_empty_page_too(tree: Registry) -> None:
    made = tree(points.create, SYSTEM, NewPoint(organization="d/a", name="p"))
    end = encode_cursor(made.id)
    for wanted in (PointFilter(), PointFilter(q="p")):
        page = tree(point_lists.page, viewer("d"), wanted, cursor=end)
        assert (page.items, page.next, page.total) == ((), None, 1)


def nobody(connection: Connection) -> Any:
    pytest.fail("the driver alone did not do")


def test_a_bare_driver_finds_the_same_stamps(tree: Registry) -> None:
    for path in ("d/a", "d/b", "d/a", "e/z"):
        tree(points.create, SYSTEM, NewPoint(organization=path, name=f"东门 {path}"))
    for who, wanted in itertools.product(
        (viewer("d/a"), viewer("d"), SYSTEM),
        (PointFilter(), PointFilter(q="东门"), PointFilter(category=9)),
    ):
        ask = functools.partial(point_lists.stamps, principal=who, wanted=wanted, limit=2)
        expected = tree(ask)
        assert expected.items
        assert tree.database.glance_now(ask, nobody) == expected


def test_the_long_way_answers_where_the_driver_fails(tree: Registry) -> None:
    def told(sql: str) -> Any:
        return tree.database.glance_now(lambda driver: driver.rows(sql, ()), lambda c: "long way")

    assert told("nonsense") == "long way"
    assert told("SELECT 1 FROM nowhere") == "long way"
    assert [tuple(each) for each in told("SELECT 1")] == [(1,)]


@ON_SQLITE
def test_a_search_reads_the_index_that_is_made_for_it(tree: Registry) -> None:
    def plan(connection: Connection) -> str:
        who = viewer("d/a")
        shape, values = point_lists._question(connection, who, PointFilter(q="停车"))
        values |= {"after": "", "most": 51, "skipped": 50}
        statement = point_statements.page_statement(shape)
        explained = point_statements.Statement(
            f"EXPLAIN QUERY PLAN {statement.sql}", statement.names, statement.constants
        )
        return "\n".join(str(row[3]) for row in point_statements.run(connection, explained, values))

    assert "SEARCH points USING INDEX ix_points_search (organization_id=?)" in tree(plan)
