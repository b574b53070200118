"""The tree of organisations; on both databases."""

from typing import Any

import pytest
from databases import ON_SQLITE, Registry, square

from registry import organizations, points
from registry.errors import Conflict, Forbidden, Invalid, NotFound, VersionMismatch
from registry.organizations import NewOrganization, Organization
from registry.partition import SYSTEM, Grant, Principal, Role
from registry.points import NewPoint

pytest_plugins = ["databases"]


def add(
    registry: Registry, kind: str, parent: str | None, slug: str, **values: Any
) -> Organization:
    new = NewOrganization(kind=kind, name=f"the {slug}", slug=slug, parent=parent, **values)
    return registry(organizations.create, SYSTEM, new)


def admin(path: str) -> Principal:
    return Principal(
        user_id="01890000-0000-7000-8000-000000000001",
        name="admin",
        grants=(Grant(role=Role.ADMIN, organization_id="", path=path),),
    )


def test_by_id_and_by_path(registry: Registry) -> None:
    district = add(registry, "district", None, "d", code="210103000000", region="210103")
    station = add(registry, "station", "d", "s1", jurisdiction=square(0, 0))
    workroom = add(registry, "workroom", station.id, "w-1")
    assert (workroom.path, workroom.depth, workroom.parent_id) == ("d/s1/w-1", 3, station.id)
    assert registry(organizations.get, SYSTEM, "d/s1/w-1") == workroom
    assert registry(organizations.get, SYSTEM, "/d/s1/w-1/") == workroom
    assert registry(organizations.get, SYSTEM, workroom.id) == workroom
    assert registry(organizations.get, SYSTEM, "d") == district
    assert station.jurisdiction == square(0, 0)
    for nothing in ("", "d/s", "d/s1/%", "D", "w-1"):
        with pytest.raises(NotFound):
            registry(organizations.get, SYSTEM, nothing)


@ON_SQLITE
@pytest.mark.parametrize(
    ("kind", "parent", "fits"),
    [
        ("district", None, True),
        ("district", "d", True),
        ("district", "d/s", False),
        ("station", None, False),
        ("station", "d", True),
        ("station", "d/s", False),
        ("workroom", None, False),
        ("workroom", "d", False),
        ("workroom", "d/s", True),
        ("workroom", "d/s/w", True),
        ("room", "d", False),
    ],
)
def test_what_stands_below_what(
    registry: Registry, kind: str, parent: str | None, fits: bool
) -> None:
    add(registry, "district", None, "d")
    add(registry, "station", "d", "s")
    add(registry, "workroom", "d/s", "w")
    if fits:
        assert add(registry, kind, parent, "new").kind == kind
    else:
        with pytest.raises(Invalid):
            add(registry, kind, parent, "new")


@ON_SQLITE
@pytest.mark.parametrize(
    "slug", ["", "A", "a_b", "-a", "a-", "a/b", "a b", "é", "x" * 64, "+", "#"]
)
def test_a_slug_is_a_topic_level(registry: Registry, slug: str) -> None:
    with pytest.raises(Invalid, match="slug"):
        add(registry, "district", None, slug)


def test_siblings_and_codes_are_unique(registry: Registry) -> None:
    add(registry, "district", None, "d", code="210103000000")
    add(registry, "station", "d", "s")
    with pytest.raises(Conflict, match="at d/s already"):
        add(registry, "station", "d", "s")
    with pytest.raises(Conflict, match="code in use"):
        add(registry, "station", "d", "t", code="210103000000")
    with pytest.raises(Invalid, match="12 digits"):
        add(registry, "station", "d", "t", code="21")
    assert [each.path for each in registry(organizations.tree, SYSTEM)] == ["d", "d/s"]


def test_pages_of_the_tree_in_path_order(registry: Registry) -> None:
    for kind, parent, slug in (
        ("district", None, "d"),
        ("station", "d", "s-2"),
        ("station", "d", "s"),
        ("workroom", "d/s", "a"),
        ("station", "d", "s0"),
    ):
        add(registry, kind, parent, slug)
    expected = ["d", "d/s", "d/s-2", "d/s/a", "d/s0"]
    assert [each.path for each in registry(organizations.tree, SYSTEM)] == expected
    assert [each.path for each in registry(organizations.tree, SYSTEM, "d/s")] == ["d/s", "d/s/a"]
    seen: list[str] = []
    cursor = None
    while True:
        page = registry(organizations.page, SYSTEM, limit=2, cursor=cursor)
        seen += [each.path for each in page.items]
        assert page.total == 5
        cursor = page.next
        if cursor is None:
            break
    assert seen == expected


def test_who_may_do_what_to_the_tree(registry: Registry) -> None:
    add(registry, "district", None, "d")
    add(registry, "station", "d", "s")
    new = NewOrganization(kind="workroom", name="w", slug="w", parent="d/s")
    with pytest.raises(NotFound):
        registry(organizations.create, admin("x"), new)
    viewer = Principal(
        user_id="",
        name="",
        grants=(Grant(role=Role.VIEWER, organization_id="", path="d"),),
    )
    with pytest.raises(Forbidden):
        registry(organizations.create, viewer, new)
    with pytest.raises(Forbidden, match="whole registry"):
        registry(
            organizations.create,
            admin("d"),
            NewOrganization(kind="district", name="x", slug="x"),
        )
    registry(organizations.create, admin("d/s"), new)
    with pytest.raises(Forbidden):
        registry(organizations.delete, admin("d/s/w"), "d/s/w")
    registry(organizations.delete, admin("d/s"), "d/s/w")


def test_nobody_changes_their_own_boundary(registry: Registry) -> None:
    add(registry, "district", None, "d")
    add(registry, "station", "d", "s")
    with pytest.raises(Forbidden, match="at d or above"):
        registry(organizations.set_jurisdiction, admin("d/s"), "d/s", square(0, 0))
    changed = registry(organizations.set_jurisdiction, admin("d"), "d/s", square(0, 0), 1)
    assert (changed.jurisdiction, changed.version) == (square(0, 0), 2)
    with pytest.raises(VersionMismatch):
        registry(organizations.set_jurisdiction, admin("d"), "d/s", None, 1)
    assert registry(organizations.set_jurisdiction, admin("d"), "d/s", None).jurisdiction is None
    # A root has nobody above it.
    assert registry(organizations.set_jurisdiction, admin("d"), "d", square(0, 0)).version == 2


def test_editing_names_and_codes(registry: Registry) -> None:
    before = add(registry, "district", None, "d", code="210103000000")
    changed = registry(
        organizations.update, admin("d"), "d", {"name": " New ", "code": None}, before.version
    )
    assert (changed.name, changed.code, changed.version) == ("New", None, 2)
    for field in ("slug", "path", "kind", "parent"):
        with pytest.raises(Invalid, match=f"{field}: cannot be changed"):
            registry(organizations.update, SYSTEM, "d", {field: "x"})
    with pytest.raises(VersionMismatch):
        registry(organizations.update, SYSTEM, "d", {"name": "x"}, 1)


def test_what_owns_something_stays(registry: Registry) -> None:
    add(registry, "district", None, "d")
    add(registry, "station", "d", "s")
    point = registry(points.create, SYSTEM, NewPoint(organization="d/s", name="p"))
    with pytest.raises(Conflict) as refused:
        registry(organizations.delete, SYSTEM, "d/s")
    assert refused.value.others == ("1 points", "1 points created here")
    with pytest.raises(Conflict, match="1 organizations"):
        registry(organizations.delete, SYSTEM, "d")
    registry(points.delete, SYSTEM, point.id)
    with pytest.raises(VersionMismatch):
        registry(organizations.delete, SYSTEM, "d/s", 2)
    registry(organizations.delete, SYSTEM, "d/s", 1)
    registry(organizations.delete, SYSTEM, "d")
    assert registry(organizations.tree, SYSTEM) == ()
