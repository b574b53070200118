"""The record of who looked, moved and signed in; on both databases."""

from datetime import timedelta
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from databases import Registry
from sqlalchemy import inspect

from registry import audit, organizations, points, reshaping
from registry.audit import Act, ActFilter, Scope
from registry.database import Connection, Database, beside
from registry.errors import Forbidden, Invalid
from registry.identity import now
from registry.models.audit import AUDIT_METADATA
from registry.organizations import NewOrganization, OrganizationRef
from registry.paging import Page
from registry.partition import SYSTEM, Grant, Principal, Role
from registry.points import NewPoint

pytest_plugins = ["databases"]


def holding(role: str, path: str) -> Principal:
    grants = (Grant(role=Role(role), organization_id="", path=path),)
    return Principal(user_id="01890000-0000-7000-8000-000000000001", name="u", grants=grants)


@pytest.fixture
def tree(registry: Registry) -> Registry:
    for kind, parent, slug in (
        ("district", None, "d"),
        ("station", "d", "s1"),
        ("station", "d", "s2"),
    ):
        new = NewOrganization(kind=kind, name=slug, slug=slug, parent=parent)
        registry(organizations.create, SYSTEM, new)
    return registry


def look(store: Database, place: OrganizationRef | None, **more: Any) -> None:
    values = {
        "principal": holding("viewer", "d"),
        "action": "open_live",
        "kind": "point",
        "object_id": "01890000-0000-7000-8000-000000000002",
        "organization": place,
        "address": "192.0.2.1",
        "details": {"purpose": "case 7"},
        **more,
    }
    store.write_now(lambda c: audit.record(c, **values))


def read(
    tree: Registry,
    store: Database,
    who: Principal,
    *,
    cursor: str | None = None,
    limit: int = 50,
    **wanted: Any,
) -> Page[Act]:
    before = audit.position(cursor, limit)
    scope, given = tree(audit.scope_of, who), ActFilter(**wanted)
    parts = [
        database.read_now(lambda c, fn=fn: fn(c, scope, given, before=before, limit=limit))
        for fn, database in (
            (audit.read_acts, store),
            (audit.read_changes, tree.database),
        )
    ]
    return audit.merge(*parts, limit=limit)


def test_looking_and_writing_are_told_as_one(tree: Registry, audit_store: Database) -> None:
    place = tree(organizations.get, SYSTEM, "d/s1").ref
    ids = []
    for number in range(3):
        point = tree(points.create, SYSTEM, NewPoint(organization="d/s1", name=f"p{number}"))
        ids.append(point.id)
        look(audit_store, place, object_id=point.id)
    told = read(tree, audit_store, holding("auditor", "d/s1"))
    assert [(each.action, each.object_id) for each in told.items[:6]] == [
        (action, each) for each in reversed(ids) for action in ("open_live", "create")
    ]
    newest = told.items[0]
    assert (newest.address, newest.organization_path) == ("192.0.2.1", "d/s1")
    assert newest.details == {"purpose": "case 7"}
    assert told.total == 7  # the station itself was made, too
    paged: list[Act] = []
    cursor = None
    while True:
        page = read(tree, audit_store, holding("auditor", "d/s1"), cursor=cursor, limit=2)
        assert page.total == 7
        paged += page.items
        if (cursor := page.next) is None:
            break
    assert paged == list(told.items)
    views = read(tree, audit_store, SYSTEM, action="open_live", object_id=ids[1])
    assert [each.object_id for each in views.items] == [ids[1]]
    for wanted, number in (
        ({"kind": "point"}, 6),
        ({"user_id": "01890000-0000-7000-8000-000000000001"}, 3),
        ({"since": now() + timedelta(hours=1)}, 0),
        ({"until": now() + timedelta(hours=1)}, 9),
    ):
        assert read(tree, audit_store, SYSTEM, **wanted).total == number, wanted


def test_who_audits_what(tree: Registry, audit_store: Database) -> None:
    for path in ("d", "d/s1", "d/s2"):
        look(audit_store, tree(organizations.get, SYSTEM, path).ref)
    look(audit_store, None)
    for who, number in (
        (holding("auditor", "d"), 3),
        (holding("admin", "d/s1"), 1),
        (holding("auditor", "elsewhere"), 0),
        (SYSTEM, 4),
    ):
        assert read(tree, audit_store, who, action="open_live").total == number
    for role in ("viewer", "dispatcher", "integrator"):
        with pytest.raises(Forbidden):
            read(tree, audit_store, holding(role, "d"))
    for wrong in ("!", "bm90IGFuIGlk"):
        with pytest.raises(Invalid):
            read(tree, audit_store, SYSTEM, cursor=wrong)


def test_the_past_follows_an_organisation_and_is_nobody_elses(
    tree: Registry, audit_store: Database
) -> None:
    def seen(path: str) -> int:
        return read(tree, audit_store, holding("auditor", path), action="open_live").total

    look(audit_store, tree(organizations.get, SYSTEM, "d/s1").ref)
    tree(reshaping.move, SYSTEM, "d/s1", parent="d", slug="new")
    again = NewOrganization(kind="station", name="s1", slug="s1", parent="d")
    tree(organizations.create, SYSTEM, again)
    assert (seen("d/new"), seen("d/s1")) == (1, 0)
    tree(reshaping.merge, SYSTEM, "d/new", "d/s2")
    assert (seen("d/s2"), seen("d/s1"), seen("d")) == (1, 0, 1)
    tree(reshaping.move, SYSTEM, "d/s2", parent="d", slug="s3")
    assert seen("d/s3") == 1
    tree(organizations.delete, SYSTEM, "d/s3")
    assert (seen("d/s1"), seen("d")) == (0, 1)


def test_as_many_organisations_as_there_may_be(audit_store: Database) -> None:
    mine = OrganizationRef(id="01890000-0000-7000-8000-00000000000a", path="d", name="d")
    look(audit_store, mine)
    many = {f"01890000-0000-7000-8000-{number:012x}" for number in range(50_000)}
    scope = Scope(tops=("d",), ids=frozenset(many))
    acts, total = audit_store.read_now(
        lambda c: audit.read_acts(c, scope, ActFilter(), before=None, limit=50)
    )
    assert (len(acts), total) == (1, 1)


def test_the_steps_of_the_record_are_its_own(empty_database_url: str) -> None:
    registry, store = Database(empty_database_url), audit.open_store(empty_database_url)

    def tables(connection: Connection) -> set[str]:
        return set(inspect(connection).get_table_names())

    def differences(connection: Connection) -> list[Any]:
        options = {"version_table": "audit_version", "include_name": _of_audit}
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, AUDIT_METADATA))

    try:
        registry.upgrade_now()
        store.upgrade_now()
        store.upgrade_now()
        assert store.read_now(differences) == []
        look(store, None)
        own_file = "audit" not in registry.read_now(tables)
        assert own_file is (registry.kind == "sqlite")
        # Neither takes the other's tables down.
        registry.downgrade_now("base")
        assert {"audit", "audit_version"} <= store.read_now(tables)
        scope = Scope(tops=("",), ids=frozenset())
        kept = store.read_now(
            lambda c: audit.read_acts(c, scope, ActFilter(), before=None, limit=5)
        )
        assert kept[1] == 1
        registry.upgrade_now()
        store.downgrade_now("base")
        assert "audit" not in store.read_now(tables)
        assert "points" in registry.read_now(tables)
    finally:
        registry.close_now()
        store.close_now()


def _of_audit(name: str | None, kind: str, _parents: Any) -> bool:
    return kind != "table" or name in AUDIT_METADATA.tables


def test_where_the_record_lies() -> None:
    assert beside("sqlite:////var/hutong/hutong.db", "audit.db").endswith(
        ":////var/hutong/audit.db"
    )
    url = "postgresql://hutong:secret@db.example/hutong"
    assert beside(url, "audit.db") == url
