"""Response levels: applied at once, restored as it was, and never two keyers; on both databases."""

from typing import Any

import pytest
from databases import ON_SQLITE, Registry
from test_registry_radio import channel, district, patch, somebody, trunk

from registry import channels, levels, organizations, patches, points, tours, units
from registry.errors import Conflict, Forbidden, Invalid, NotFound
from registry.levels import Level, NewLevel, Step
from registry.organizations import NewOrganization
from registry.partition import SYSTEM, Role
from registry.patches import Member
from registry.points import NewPoint
from registry.systems import System
from registry.tours import Group, NewTour
from registry.units import NewUnit

pytest_plugins = ["databases"]
__all__ = ["district", "trunk"]


def sets(kind: str, id_: str, field: str, value: Any) -> Step:
    return Step(kind=kind, id=id_, field=field, value=value)


def level(registry: Registry, name: str, *plan: Step, **values: Any) -> Level:
    new = NewLevel(**{"name": name, "organization": "d", "plan": plan, **values})
    return registry(levels.create, SYSTEM, new)


def on(registry: Registry, patch_id: str) -> bool:
    return bool(registry(patches.get, SYSTEM, patch_id).enabled)


def test_raising_and_lowering_the_level_restores_what_was_there(
    district: Registry, trunk: System
) -> None:
    a, b = channel(district, trunk, "a", priority=3), channel(district, trunk, "b")
    calm = patch(district, Member(channel_id=a.id), name="calm")
    crisis = patch(district, Member(channel_id=a.id), Member(channel_id=b.id), enabled=False)
    unit = district(units.create, SYSTEM, NewUnit(alias="Li", organization="d", priority=7))
    normal = level(district, "normal")
    high = level(
        district,
        "heightened",
        sets("patch", crisis.id, "enabled", True),  # only when the other one is off
        sets("patch", calm.id, "enabled", False),
        sets("patch", crisis.id, "max_talk_s", 20),
        sets("channel", a.id, "priority", 50),
        sets("unit", unit.id, "priority", 90),
        rank=1,
    )
    applied = district(levels.apply, SYSTEM, high.id)
    assert (len(applied.done), applied.skipped) == (5, ())
    assert applied.level is not None
    assert applied.level.applied is not None
    assert (on(district, calm.id), on(district, crisis.id)) == (False, True)
    assert district(channels.get, SYSTEM, a.id).priority == 50
    assert district(units.get, SYSTEM, unit.id).priority == 90
    district(levels.apply, SYSTEM, normal.id)
    assert (on(district, calm.id), on(district, crisis.id)) == (True, False)
    assert district(patches.get, SYSTEM, crisis.id).max_talk_s == 60
    assert district(channels.get, SYSTEM, a.id).priority == 3
    assert district(units.get, SYSTEM, unit.id).priority == 7
    by_name = {each.name: each.applied for each in district(levels.page, SYSTEM).items}
    assert by_name["heightened"] is None
    assert by_name["normal"] is not None


def test_what_was_changed_by_hand_meanwhile_stays(district: Registry, trunk: System) -> None:
    a, b = channel(district, trunk, "a"), channel(district, trunk, "b")
    high = level(
        district,
        "high",
        sets("channel", a.id, "priority", 50),
        sets("channel", b.id, "priority", 50),
    )
    district(levels.apply, SYSTEM, high.id)
    district(channels.update, SYSTEM, a.id, {"priority": 9})
    restored = district(levels.restore, SYSTEM, high.id)
    assert [step.id for step in restored.done] == [b.id]
    assert [step.id for step in restored.skipped] == [a.id]
    assert district(channels.get, SYSTEM, a.id).priority == 9
    assert district(channels.get, SYSTEM, b.id).priority == 0
    with pytest.raises(Conflict, match="not in force"):
        district(levels.restore, SYSTEM, high.id)


def test_a_level_puts_tours_on_duty_and_restoring_takes_them_off(district: Registry) -> None:
    camera = district(points.create, SYSTEM, NewPoint(organization="d", name="gate")).id
    groups = (Group(name="gates", points=(camera,)),)
    night, day = (
        district(tours.create, SYSTEM, NewTour(name=name, organization="d", groups=groups))
        for name in ("night", "day")
    )
    high = level(
        district,
        "high",
        sets("tour", night.id, "on_duty", True),
        sets("tour", night.id, "dwell_s", 5),
        sets("tour", day.id, "on_duty", True),
    )
    assert len(district(levels.apply, SYSTEM, high.id).done) == 3
    shown = district(tours.get, SYSTEM, night.id)
    assert (shown.on_duty, shown.dwell_s, shown.groups) == (True, 5, groups)
    assert district(tours.get, SYSTEM, day.id).on_duty
    # Somebody has seen enough of one of them, and removes it.
    district(tours.update, SYSTEM, night.id, {"dwell_s": 20})
    district(tours.delete, SYSTEM, day.id)
    restored = district(levels.restore, SYSTEM, high.id)
    assert [(each.id, each.field) for each in restored.done] == [(night.id, "on_duty")]
    assert {(each.id, each.field) for each in restored.skipped} == {
        (night.id, "dwell_s"),
        (day.id, "on_duty"),
    }
    shown = district(tours.get, SYSTEM, night.id)
    assert (shown.on_duty, shown.dwell_s) == (False, 20)
    for step, words in (
        (sets("tour", night.id, "on_duty", 1), "is no on_duty"),
        (sets("tour", night.id, "dwell_s", 4), "5 to 3600"),
        (sets("tour", night.id, "groups", 1), "cannot set groups"),
        (sets("tour", day.id, "on_duty", True), "there is no tour"),
    ):
        with pytest.raises(Invalid, match=words):
            level(district, "other", step)


def test_a_level_that_would_give_a_channel_two_keyers_changes_nothing(
    district: Registry, trunk: System
) -> None:
    a, b = channel(district, trunk, "a"), channel(district, trunk, "b")
    patch(district, Member(channel_id=a.id), name="held")
    other = patch(district, Member(channel_id=a.id), enabled=False)
    high = level(
        district,
        "high",
        sets("channel", b.id, "priority", 50),
        sets("patch", other.id, "enabled", True),
    )
    with pytest.raises(Conflict, match="held"):
        district(levels.apply, SYSTEM, high.id)
    assert district(channels.get, SYSTEM, b.id).priority == 0
    assert district(levels.get, SYSTEM, high.id).applied is None


def test_raising_further_needs_nothing_of_the_calm_that_lies_between(
    district: Registry, trunk: System
) -> None:
    a, b, c = (channel(district, trunk, name) for name in "abc")
    calm = patch(district, Member(channel_id=a.id), Member(channel_id=b.id), name="calm")
    second = patch(district, Member(channel_id=c.id), name="second", enabled=False)
    high = level(
        district,
        "high",
        sets("patch", calm.id, "enabled", False),
        sets("channel", c.id, "priority", 10),
        sets(
            "unit",
            district(units.create, SYSTEM, NewUnit(alias="Li", organization="d")).id,
            "priority",
            5,
        ),
    )
    highest = level(
        district,
        "highest",
        sets("patch", calm.id, "enabled", False),
        sets("patch", second.id, "enabled", True),
        sets("channel", c.id, "priority", 20),
    )
    district(levels.apply, SYSTEM, high.id)
    meanwhile = patch(district, Member(channel_id=b.id), name="meanwhile")
    applied = district(levels.apply, SYSTEM, highest.id)
    assert (len(applied.done), applied.skipped) == (3, ())
    assert not on(district, calm.id)
    assert [u.priority for u in district(units.page, SYSTEM).items] == [0], "that is taken back"
    with pytest.raises(Conflict, match="meanwhile"):
        district(levels.restore, SYSTEM, highest.id)
    district(patches.delete, SYSTEM, meanwhile.id)
    district(levels.restore, SYSTEM, highest.id)
    assert (on(district, calm.id), on(district, second.id)) == (True, False)
    assert district(channels.get, SYSTEM, c.id).priority == 0


def test_what_is_gone_is_skipped_and_said(district: Registry, trunk: System) -> None:
    a = channel(district, trunk, "a")
    high = level(district, "high", sets("channel", a.id, "priority", 50))
    district(channels.delete, SYSTEM, a.id)
    assert [step.id for step in district(levels.apply, SYSTEM, high.id).skipped] == [a.id]


@ON_SQLITE
def test_plans_that_cannot_be_are_named(district: Registry, trunk: System) -> None:
    a = channel(district, trunk, "a")
    new = NewOrganization(kind="station", name="s2", slug="s2", parent="d")
    district(organizations.create, SYSTEM, new)
    for step, words in (
        (sets("channel", a.id, "name", "x"), "cannot set name"),
        (sets("camera", a.id, "priority", 1), "of a camera"),
        (sets("channel", a.id, "priority", 255), "0 to 254"),
        (sets("channel", a.id, "priority", True), "is no priority"),
        (sets("channel", "x", "priority", 1), "there is no channel"),
        (sets("patch", a.id, "enabled", True), "there is no patch"),
        (sets("patch", a.id, "enabled", 1), "is no enabled"),
        (sets("patch", a.id, "max_talk_s", 0), "1 to 3600"),
    ):
        with pytest.raises(Invalid, match=words):
            level(district, "high", step)
    one = sets("channel", a.id, "priority", 1)
    with pytest.raises(Invalid, match="set already"):
        level(district, "high", one, one)
    with pytest.raises(Invalid, match="not of this organisation"):
        level(district, "high", one, organization="d/s2")
    level(district, "high")
    with pytest.raises(Conflict):
        level(district, "high")


@ON_SQLITE
def test_who_may_and_what_is_in_force_stays(district: Registry, trunk: System) -> None:
    high = level(district, "high")
    viewer, other = somebody(Role.VIEWER, "d"), somebody(Role.DISPATCHER, "d/s1")
    with pytest.raises(Forbidden):
        district(levels.apply, viewer, high.id)
    with pytest.raises(NotFound):
        district(levels.apply, other, high.id)
    district(levels.apply, somebody(Role.DISPATCHER, "d"), high.id)
    with pytest.raises(Conflict, match="in force"):
        district(levels.delete_level, SYSTEM, high.id)
    changed = district(levels.update, SYSTEM, high.id, {"name": "higher", "rank": 2})
    assert (changed.name, changed.rank) == ("higher", 2)
    district(levels.restore, SYSTEM, high.id)
    district(levels.delete_level, SYSTEM, high.id)
    assert district(levels.page, SYSTEM).items == ()
