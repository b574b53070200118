"""The finer rules of patches: options, schedules, muting, moving, one talkgroup heard twice."""

from typing import Any

import pytest
from databases import ON_SQLITE, Registry
from test_registry_radio import NIGHT, channel, district, patch, somebody, trunk

from registry import channels, patches
from registry.errors import Conflict, Forbidden, Invalid, NotFound
from registry.partition import SYSTEM, Role
from registry.patch_options import Listed, PatchOptions
from registry.patches import Member
from registry.systems import System

pytest_plugins = ["databases"]
__all__ = ["district", "trunk"]

DAY = {**NIGHT, "from": "06:00", "to": "18:00"}


def test_the_options_of_a_patch_come_back_and_change_one_by_one(
    district: Registry, trunk: System
) -> None:
    options = PatchOptions(
        queue_timeout_s=9.0,
        revoke_grace_s=2.0,
        encrypted=True,
        units=Listed(allow=("a",), deny=("b", "c")),
        calls=Listed(deny=("dispatch",)),
    )
    made = patch(district, options=options)
    assert made.options == options
    changed = district(
        patches.update, SYSTEM, made.id, {"penalty_s": 30.0, "units": Listed(deny=("x",))}
    )
    assert changed.options.penalty_s == 30.0
    assert changed.options.units == Listed(deny=("x",))
    assert changed.options.encrypted
    assert district(patches.running) == (changed,)


@ON_SQLITE
@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"options": PatchOptions(queue_timeout_s=0)}, "queue_timeout_s"),
        ({"options": PatchOptions(revoke_grace_s=11)}, "revoke_grace_s"),
        ({"options": PatchOptions(penalty_s=-1)}, "penalty_s"),
        ({"options": PatchOptions(emergency_hold_s=1e9)}, "emergency_hold_s"),
        ({"options": PatchOptions(calls=Listed(allow=("song",)))}, r"calls.allow\[0\]"),
        ({"options": PatchOptions(units=Listed(deny=("",)))}, r"units.deny\[0\]"),
        ({"options": PatchOptions(units=Listed(allow=("u",) * 2001))}, "units.allow"),
        ({"schedule": {**NIGHT, "to": "25:00"}}, "schedule.to"),
    ],
)
def test_rules_that_cannot_be_are_named(
    district: Registry, values: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid, match=field):
        patch(district, **values)


def test_two_patches_share_a_channel_when_they_are_never_on_together(
    district: Registry, trunk: System
) -> None:
    one = Member(channel_id=channel(district, trunk, "a").id)
    by_night = patch(district, one, name="by night", schedule=NIGHT)
    by_day = patch(district, one, name="by day", schedule=DAY)
    with pytest.raises(Conflict, match="by night"):
        patch(district, one)
    with pytest.raises(Conflict, match="by day"):
        district(patches.update, SYSTEM, by_night.id, {"schedule": {**NIGHT, "to": "06:01"}})
    with pytest.raises(Conflict):
        district(patches.update, SYSTEM, by_day.id, {"schedule": None})


def test_a_member_is_muted_and_heard_again(district: Registry, trunk: System) -> None:
    a, b = channel(district, trunk, "a"), channel(district, trunk, "b")
    made = patch(district, Member(channel_id=a.id), Member(channel_id=b.id))
    muted = district(patches.mute, SYSTEM, made.id, b.id, muted=True)
    assert [each.muted for each in muted.members] == [False, True]
    assert district(patches.mute, SYSTEM, made.id, b.id, muted=False).members == made.members
    with pytest.raises(NotFound):
        district(patches.mute, SYSTEM, made.id, made.id, muted=True)
    with pytest.raises(Forbidden):
        district(patches.mute, somebody(Role.VIEWER, "d"), made.id, b.id, muted=True)


def test_a_channel_moves_to_another_patch_or_stays_where_it_is(
    district: Registry, trunk: System
) -> None:
    a, b, c = (channel(district, trunk, name) for name in "abc")
    one = patch(district, Member(channel_id=a.id), Member(channel_id=b.id), name="one")
    two = patch(district, Member(channel_id=c.id), name="two")
    left, joined = district(patches.move, SYSTEM, one.id, b.id, two.id)
    assert [each.channel_id for each in left.members] == [a.id]
    assert [each.channel_id for each in joined.members] == [c.id, b.id]
    with pytest.raises(Invalid, match="move_to"):
        district(patches.move, SYSTEM, two.id, b.id, two.id)
    with pytest.raises(NotFound):
        district(patches.move, SYSTEM, two.id, b.id, b.id)
    assert district(patches.get, SYSTEM, two.id) == joined


def test_what_only_talks_must_not_listen_to_what_is_keyed(
    district: Registry, trunk: System
) -> None:
    keyed = channel(district, trunk, "1/7", air="BEE00.1A2/7")
    feed = channel(district, trunk, "2/7", air=" bee00.1a2/7 ")
    assert feed.air == keyed.air == "bee00.1a2/7"
    with pytest.raises(Conflict, match="listens to bee00") as refused:
        patch(district, Member(channel_id=keyed.id), Member(channel_id=feed.id, direction="talk"))
    assert refused.value.other == keyed.id
    for direction in ("both", "listen"):
        members = Member(channel_id=keyed.id, direction=direction), Member(channel_id=feed.id)
        with pytest.raises(Conflict, match="listens to bee00"):
            patch(district, *members)
    district(channels.update, SYSTEM, feed.id, {"air": "bee00.1a2/8"})
    patch(district, Member(channel_id=keyed.id), Member(channel_id=feed.id, direction="talk"))
    with pytest.raises(Conflict, match="what we key would come back"):
        district(channels.update, SYSTEM, feed.id, {"air": "bee00.1a2/7"})
    assert district(channels.get, SYSTEM, feed.id).air == "bee00.1a2/8"
    district(channels.update, SYSTEM, feed.id, {"air": "", "name": "elsewhere"})
