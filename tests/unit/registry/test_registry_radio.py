"""Systems, channels, patches and units; on both databases."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from databases import ON_SQLITE, Registry

from registry import channels, organizations, patches, systems, units
from registry.channels import Channel, NewChannel
from registry.errors import Conflict, Forbidden, Invalid, NotFound, VersionMismatch
from registry.organizations import NewOrganization
from registry.partition import SYSTEM, Grant, Principal, Role
from registry.patches import Member, NewPatch, Patch
from registry.systems import NewSystem, System
from registry.units import NewUnit, UnitAddress

pytest_plugins = ["databases"]
NIGHT = {"timezone": "Asia/Shanghai", "from": "18:00", "to": "06:00"}


def somebody(role: Role, path: str) -> Principal:
    return Principal(
        user_id="01890000-0000-7000-8000-000000000001",
        name="somebody",
        grants=(Grant(role=role, organization_id="", path=path),),
    )


@pytest.fixture
def district(registry: Registry) -> Registry:
    for kind, parent, slug in (("district", None, "d"), ("station", "d", "s1")):
        new = NewOrganization(kind=kind, name=slug, slug=slug, parent=parent)
        registry(organizations.create, SYSTEM, new)
    return registry


@pytest.fixture
def trunk(district: Registry) -> System:
    new = NewSystem(
        adapter="homebrew", name="trunk", organization="d", settings={"port": 1}, secrets=b"\x01"
    )
    return district(systems.create, SYSTEM, new)


def channel(registry: Registry, system: System, address: str, **values: Any) -> Channel:
    new = NewChannel(
        **{"system": system.id, "address": address, "name": address, "kind": "trunk", **values}
    )
    return registry(channels.create, SYSTEM, new)


def patch(registry: Registry, *members: Member, **values: Any) -> Patch:
    new = NewPatch(**{"name": "joined", "organization": "d", "members": members, **values})
    return registry(patches.create, SYSTEM, new)


def test_a_system_with_its_channels_as_agents_see_it(district: Registry, trunk: System) -> None:
    one = channel(district, trunk, "1/9", hold_s=1.5, gateway_unit_id="1234")
    two = channel(district, trunk, "2/9", organization="d/s1")
    (run,) = district(systems.running)
    assert (run.system, run.secrets, run.channels) == (trunk, b"\x01", (one, two))
    assert district(systems.run, trunk.id) == run
    assert two.organization.path == "d/s1"
    off = district(systems.update, SYSTEM, trunk.id, {"enabled": False}, 1)
    assert (off.enabled, off.version) == (False, 2)
    assert district(systems.running) == ()
    assert district(systems.run, trunk.id).channels == (one, two)
    assert district(channels.every, trunk.id) == district(channels.every) == (one, two)


def test_a_system_goes_when_its_channels_have_gone(district: Registry, trunk: System) -> None:
    one = channel(district, trunk, "1/9")
    new = NewUnit(
        alias="Li", organization="d", addresses=(UnitAddress(system_id=trunk.id, address="7"),)
    )
    unit = district(units.create, SYSTEM, new)
    with pytest.raises(Conflict, match="1 channels"):
        district(systems.delete, SYSTEM, trunk.id)
    district(channels.delete, SYSTEM, one.id)
    with pytest.raises(VersionMismatch):
        district(systems.delete, SYSTEM, trunk.id, 2)
    district(systems.delete, SYSTEM, trunk.id, 1)
    assert district(units.get, SYSTEM, unit.id).addresses == ()
    with pytest.raises(NotFound):
        district(systems.get, SYSTEM, trunk.id)


def test_addresses_and_names_are_unique_where_they_must_be(
    district: Registry, trunk: System
) -> None:
    one = channel(district, trunk, "1/9")
    with pytest.raises(Conflict, match="1/9 already") as refused:
        channel(district, trunk, "1/9")
    assert refused.value.other == one.id
    with pytest.raises(Conflict, match="named trunk"):
        district(systems.create, SYSTEM, NewSystem(adapter="zello", name="trunk", organization="d"))
    other = district(
        systems.create, SYSTEM, NewSystem(adapter="zello", name="trunk", organization="d/s1")
    )
    assert channel(district, other, "1/9", kind="ptt").id != one.id
    page = district(channels.page, SYSTEM, kind="ptt", organization="d/s1", q="1/9")
    assert page.total == 1


@ON_SQLITE
def test_wrong_channels_are_refused_with_every_place(district: Registry, trunk: System) -> None:
    with pytest.raises(Invalid) as refused:
        channel(district, trunk, " ", kind="radio", priority=256, hold_s=-1.0)
    assert [reason.field for reason in refused.value.reasons] == [
        "address",
        "name",
        "kind",
        "priority",
        "hold_s",
    ]


def test_who_sees_and_edits_channels(district: Registry, trunk: System) -> None:
    one = channel(district, trunk, "1/9", organization="d/s1")
    for role in Role:
        principal = somebody(role, "d/s1")
        if role is Role.AUDITOR:
            with pytest.raises(NotFound):
                district(channels.get, principal, one.id)
            continue
        assert district(channels.get, principal, one.id) == one
        if role in (Role.INTEGRATOR, Role.ADMIN):
            assert district(channels.update, principal, one.id, {"name": role.value}).name == role
            one = district(channels.get, SYSTEM, one.id)
        else:
            with pytest.raises(Forbidden):
                district(channels.update, principal, one.id, {"name": "x"})
    integrator = somebody(Role.INTEGRATOR, "d")
    with pytest.raises(Forbidden, match="admin"):
        district(channels.update, integrator, one.id, {"organization": "d"})
    moved = district(channels.update, SYSTEM, one.id, {"organization": "d"})
    assert moved.organization.path == "d"
    with pytest.raises(NotFound):
        district(channels.get, somebody(Role.ADMIN, "d/s1"), one.id)


def test_a_patch_comes_back_as_it_was_written(district: Registry, trunk: System) -> None:
    a, b = channel(district, trunk, "a"), channel(district, trunk, "b")
    until = datetime(2999, 1, 1, 0, 0, 0, 123_456, tzinfo=UTC)
    members = (
        Member(channel_id=b.id, direction="talk", priority=5),
        Member(channel_id=a.id, direction="both"),
    )
    made = patch(district, *members, until=until, schedule=NIGHT, queue=True, voice="silence")
    assert made.members == members
    assert made.until == until.replace(microsecond=123_000)
    assert district(patches.get, SYSTEM, made.id) == made
    assert district(patches.every) == district(patches.running) == (made,)
    assert district(patches.page, SYSTEM).items == (made,)
    changed = district(patches.update, SYSTEM, made.id, {"members": members[1:], "hang_s": 0.5}, 1)
    assert (changed.members, changed.hang_s, changed.version) == (members[1:], 0.5, 2)
    with pytest.raises(Conflict) as refused:
        district(channels.delete, SYSTEM, a.id)
    assert refused.value.others == ("joined",)
    district(channels.delete, SYSTEM, b.id)
    district(patches.delete, SYSTEM, made.id)
    assert district(patches.every) == ()


@pytest.mark.parametrize(
    ("first", "second", "clash"),
    [
        ("both", "both", True),
        ("both", "talk", True),
        ("both", "listen", True),
        ("listen", "talk", True),
        ("talk", "listen", True),
        ("talk", "both", True),
        ("talk", "talk", False),
    ],
)
def test_no_channel_has_two_keyers(
    district: Registry, trunk: System, first: str, second: str, clash: bool
) -> None:
    one = channel(district, trunk, "a")
    held = patch(district, Member(channel_id=one.id, direction=first), name="held")
    member = Member(channel_id=one.id, direction=second)
    if not clash:
        patch(district, member)
        return
    with pytest.raises(Conflict, match="in the patch held") as refused:
        patch(district, member)
    assert refused.value.other == held.id
    # A patch that is off clashes with nothing until it is switched on.
    off = patch(district, member, enabled=False)
    with pytest.raises(Conflict, match="held"):
        district(patches.update, SYSTEM, off.id, {"enabled": True})
    district(patches.update, SYSTEM, held.id, {"enabled": False})
    assert district(patches.update, SYSTEM, off.id, {"enabled": True}).enabled
    with pytest.raises(Conflict):
        district(patches.update, SYSTEM, held.id, {"enabled": True})


def test_a_patch_that_is_over_holds_nothing(district: Registry, trunk: System) -> None:
    one = channel(district, trunk, "a")
    past = datetime.now(UTC) - timedelta(seconds=1)
    over = patch(district, Member(channel_id=one.id), until=past)
    now = patch(district, Member(channel_id=one.id))
    assert district(patches.running) == (now,)
    assert district(patches.every) == (over, now)


@ON_SQLITE
def test_members_that_cannot_be(district: Registry, trunk: System) -> None:
    one = channel(district, trunk, "a")
    nowhere = Member(channel_id="01890000-0000-7000-8000-000000000000")
    with pytest.raises(Invalid, match=r"members\[1\].channel: there is no channel"):
        patch(district, Member(channel_id=one.id), nowhere)
    with pytest.raises(Invalid, match=r"members\[0\].channel: there is no channel"):
        patch(district, Member(channel_id="x"))
    with pytest.raises(Invalid, match=r"members\[1\].channel: is in the patch already"):
        patch(district, Member(channel_id=one.id), Member(channel_id=one.id, direction="talk"))
    with pytest.raises(Invalid) as refused:
        patch(district, Member(channel_id=one.id, direction="up", priority=300), hang_s=99.0)
    assert len(refused.value.reasons) == 3


def test_a_dispatcher_joins_only_channels_of_their_own(district: Registry, trunk: System) -> None:
    theirs = channel(district, trunk, "a", organization="d/s1")
    above = channel(district, trunk, "b")
    dispatcher = somebody(Role.DISPATCHER, "d/s1")

    def join(principal: Principal, *ids: str) -> Patch:
        members = tuple(Member(channel_id=each) for each in ids)
        new = NewPatch(name="p", organization="d/s1", members=members)
        return district(patches.create, principal, new)

    with pytest.raises(Invalid, match="no channel"):
        join(dispatcher, theirs.id, above.id)
    both = Principal(
        user_id="",
        name="",
        grants=(*dispatcher.grants, *somebody(Role.VIEWER, "d").grants),
    )
    with pytest.raises(Forbidden, match="dispatcher at d, which"):
        join(both, theirs.id, above.id)
    assert join(dispatcher, theirs.id).organization.path == "d/s1"
    with pytest.raises(Forbidden):
        join(somebody(Role.VIEWER, "d/s1"))
    with pytest.raises(Forbidden):
        join(somebody(Role.INTEGRATOR, "d/s1"))


def test_a_unit_is_one_person_with_many_addresses(district: Registry, trunk: System) -> None:
    zello = district(
        systems.create, SYSTEM, NewSystem(adapter="zello", name="ptt", organization="d")
    )
    addresses = (
        UnitAddress(system_id=trunk.id, address="3101001"),
        UnitAddress(system_id=zello.id, address="village-01"),
    )
    new = NewUnit(alias="赵敏", organization="d/s1", priority=7, addresses=addresses)
    unit = district(units.create, SYSTEM, new)
    assert set(unit.addresses) == set(addresses)
    assert district(units.every) == district(units.page, SYSTEM, q="赵").items == (unit,)
    with pytest.raises(Conflict, match="another unit's") as refused:
        district(
            units.create, SYSTEM, NewUnit(alias="x", organization="d", addresses=addresses[:1])
        )
    assert refused.value.other == unit.id
    changed = district(units.update, SYSTEM, unit.id, {"addresses": addresses[1:]}, 1)
    assert (changed.addresses, changed.version) == (addresses[1:], 2)
    taken = district(
        units.create, SYSTEM, NewUnit(alias="x", organization="d", addresses=addresses[:1])
    )
    with pytest.raises(Invalid, match="there twice"):
        district(units.update, SYSTEM, unit.id, {"addresses": (*addresses[1:], *addresses[1:])})
    stray = UnitAddress(system_id="x", address="1")
    with pytest.raises(Invalid, match="no system"):
        district(units.update, SYSTEM, unit.id, {"addresses": (stray,)})
    with pytest.raises(NotFound):
        district(units.get, somebody(Role.VIEWER, "d"), unit.id)
    assert district(units.get, somebody(Role.DISPATCHER, "d"), unit.id).alias == "赵敏"
    district(units.delete, SYSTEM, unit.id)
    district(units.delete, SYSTEM, taken.id)
    assert district(units.every) == ()
