"""Talks: by state of the list, over several sites and recorders, in emergencies and patches."""

import pytest
from recorder_feed import START, SYSTEM, Air, call

from adapters.events import (
    EMERGENCY_PRIORITY,
    ChannelsPatched,
    EmergencyCleared,
    EmergencyRaised,
    FloorIdle,
    FloorRefreshed,
    FloorTaken,
    Malformed,
    Online,
    UnitAffiliated,
    UnitDeregistered,
    UnitLocation,
    UnitRegistered,
)

TAKEN, REFRESHED, RELEASED = (
    ("FloorTaken", "804329"),
    ("FloorRefreshed", "804329"),
    ("FloorIdle", "released"),
)


def test_a_talk_from_grant_to_idle_and_the_same_unit_again() -> None:
    air = Air()
    air.grant()
    for _ in range(3):
        air.after(1)
        air.active(call())
    assert air.floor() == [TAKEN, REFRESHED, REFRESHED, REFRESHED]
    air.after(1)
    air.active(call(rec_state=4))
    assert air.floor() == [RELEASED]
    air.after(1)
    air.active(call(rec_state=4))
    assert air.floor() == []
    air.after(1)
    air.active(call())  # no `call` is sent when the same unit talks again
    assert air.floor() == [TAKEN]
    assert air.taken()[-1].late_entry
    assert air.taken()[-1].stream != air.taken()[0].stream


def test_it_is_refreshed_once_a_second_whatever_comes() -> None:
    air = Air()
    air.grant()
    for _ in range(40):
        air.after(0.25)
        air.active(call())
    refreshes = [e for e in air.events if isinstance(e, FloorRefreshed)]
    assert len(refreshes) == 10


def test_the_recorder_may_be_idle_between_grant_and_first_voice() -> None:
    air = Air()
    air.grant()
    air.after(0.5)
    air.active(call(rec_state=4))
    assert air.floor() == [TAKEN]
    air.after(2)
    air.active(call(rec_state=4))
    assert air.floor() == [RELEASED]


@pytest.mark.parametrize(
    "state",
    [{"call_state": -1}, {"call_state": 6}, {"call_state": 8}, {"rec_state": 6}, {"rec_state": 2}],
)
def test_a_call_that_is_listed_and_over_is_over(state: dict[str, int]) -> None:
    air = Air()
    air.active(call())
    air.after(1)
    air.active(call(**state))
    assert air.floor() == [TAKEN, RELEASED]


@pytest.mark.parametrize("state", [{"call_state": -1}, {"rec_state": 4}, {"rec_state": 7}])
def test_a_call_that_is_first_seen_idle_is_no_talk(state: dict[str, int]) -> None:
    air = Air()
    air.active(call(**state))
    assert air.floor() == []


def test_a_call_without_a_recorder_lasts_while_it_is_listed() -> None:
    air = Air()
    monitored = call(call_state=0, mon_state=5, rec_state=-1)
    air.active(monitored)
    assert air.taken()[0].encrypted
    air.after(1)
    air.active(monitored)
    air.after(1)
    air.active()
    assert air.floor() == [TAKEN, REFRESHED, RELEASED]


def test_a_list_written_before_the_grant_does_not_end_it() -> None:
    air = Air()
    air.after(10)
    air.grant()
    air.active(ts=START + 9)
    assert air.floor() == [TAKEN]
    air.active(ts=START + 10)
    assert air.floor() == [RELEASED]


def test_what_comes_late_or_twice_is_counted_and_not_believed() -> None:
    air = Air()
    air.grant()
    air.after(3)
    air.active(call())
    air.active()
    assert air.floor() == [TAKEN, REFRESHED, RELEASED]
    air.active(call(), ts=START + 1)  # held up on its way
    air.grant()  # told twice
    assert air.floor() == []
    assert air.feed.late == 2


def test_a_grant_that_is_overtaken_by_the_next_changes_nothing() -> None:
    air = Air()
    air.after(5)
    air.grant(111)
    air.say("call", "call", call(222), ts=START + 3)
    assert air.floor() == [("FloorTaken", "111")]


def test_a_clock_that_is_set_back_does_not_make_us_deaf() -> None:
    air = Air()
    air.active(call(), ts=START + 1000)
    for _ in range(6):
        air.after(1)
        air.active(ts=START)
    assert air.floor()[-1] == RELEASED


def test_it_ends_by_the_units_end_when_no_list_says_so() -> None:
    air = Air()
    air.grant()
    air.say("end", "end", call(stop_time=START + 2))
    assert air.floor() == [TAKEN, RELEASED]
    air.say("end", "end", call(stop_time=START + 2))
    assert air.floor() == []


def test_a_call_says_who_talks_even_without_unit_topics() -> None:
    air = Air()
    air.say("call_start", "call", call(0))
    air.after(1)
    air.active(call(804329, unit_alpha_tag="Port. 329"))
    assert air.floor() == [("FloorTaken", ""), ("FloorRefreshed", "804329")]
    air.after(1)
    air.active(call(804330))
    assert air.floor() == [RELEASED, ("FloorTaken", "804330")]


# --- sites and recorders ----------------------------------------------------------------------


def two_sites() -> Air:
    air = Air()
    air.systems(
        {"sys_name": "north", "type": "p25", "sysid": "1AE", "wacn": "BEE00", "site_id": 1},
        {"sys_name": "south", "type": "p25", "sysid": "1AE", "wacn": "BEE00", "site_id": 2},
    )
    return air


def duplicate(**fields: object) -> dict[str, object]:
    return call(sys_name="south", call_num=7, call_state=0, mon_state=6, rec_state=-1, **fields)


def test_two_sites_that_hear_one_talk_are_one_talk() -> None:
    air = two_sites()
    air.grant(sys_name="north")
    air.after(0.2)
    air.grant(sys_name="south", call_num=7)
    air.after(1)
    air.active(call(sys_name="north"), duplicate())
    assert air.floor() == [TAKEN, REFRESHED]
    air.after(1)
    air.active(call(sys_name="north", rec_state=4), duplicate())
    assert air.floor() == [RELEASED], "the site that records knows that it is over"
    air.after(1)
    air.active(call(sys_name="north", rec_state=4), duplicate())
    assert air.floor() == [], "and the other one does not begin it again"


def test_a_site_that_is_late_does_not_bring_the_last_talker_back() -> None:
    air = two_sites()
    air.grant(111, sys_name="north")
    air.after(1)
    air.grant(222, sys_name="north")
    air.after(0.1)
    air.grant(111, sys_name="south", call_num=7)
    air.after(0.1)
    air.grant(222, sys_name="south", call_num=7)
    assert air.floor() == [("FloorTaken", "111"), RELEASED, ("FloorTaken", "222")]


def test_two_recorders_on_one_system_are_one_system_and_either_may_go() -> None:
    air = Air(f"{SYSTEM}/301")
    air.systems({"sys_name": "b", "type": "p25", "sysid": "1ae", "wacn": "bee00"}, instance="west")
    air.active(call())
    air.active(call(sys_name="b", call_num=3), instance="west")
    assert air.floor() == [TAKEN]
    for _ in range(16):
        air.after(1)
        air.active(call(sys_name="b", call_num=3), instance="west")
        assert air.tick() is None
    assert {kind for kind, _ in air.floor()} == {"FloorRefreshed"}
    assert air.health() == []
    air.after(1)
    air.active(instance="west")
    assert air.floor() == [RELEASED]


def test_two_systems_in_one_feed_keep_their_talkgroups_and_units_apart() -> None:
    air = Air()
    air.systems(
        {"sys_name": "p25trunk", "type": "p25", "sysid": "1AE", "wacn": "BEE00"},
        {"sys_name": "metro", "type": "p25", "sysid": "2F", "wacn": "91F14"},
        {"sys_name": "airport", "type": "conventional", "sysid": "0", "wacn": "0"},
    )
    air.active(
        call(),
        call(sys_name="metro", call_num=2),
        call(sys_name="airport", call_num=3, unit=-1, conventional=True),
    )
    assert [(t.address, t.talker) for t in air.taken()] == [
        ("BEE00-1AE/301", "BEE00-1AE/804329"),
        ("91F14-2F/301", "91F14-2F/804329"),
        ("east:airport/301", ""),
    ]


def test_a_system_that_has_not_said_who_it_is_yet_is_waited_for() -> None:
    air = Air(identified=False)
    air.systems({"sys_name": "p25trunk", "type": "p25", "sysid": "0", "wacn": "0"})
    air.grant()
    assert air.floor() == []
    air.after(1)
    body = {"sys_name": "p25trunk", "type": "p25", "sysid": "1AE", "wacn": "BEE00"}
    air.say("system", "system", body)
    air.active(call())
    assert air.taken()[0].address == f"{SYSTEM}/301"
    air.systems({"sys_name": "p25trunk", "type": "p25", "sysid": "0", "wacn": "0"})
    air.active(call())
    assert len(air.taken()) == 1


def test_a_system_that_a_broker_has_forgotten_goes_by_the_name_it_was_given() -> None:
    air = Air(identified=False, systems={"east:p25trunk": SYSTEM})
    air.grant()
    assert air.taken()[0].address == f"{SYSTEM}/301"
    air.systems({"sys_name": "p25trunk", "type": "p25", "sysid": "2", "wacn": "3"})
    air.active(call())
    assert air.taken()[-1].address == "3-2/301", "what it says itself is truer"


def test_a_system_that_never_says_it_goes_by_its_recorders_name() -> None:
    air = Air(identified=False)
    for _ in range(7):
        air.active(call())
        air.after(1)
    assert air.taken()[0].address == "east:p25trunk/301"


# --- emergencies, patches, units --------------------------------------------------------------


def test_an_emergency_is_raised_once_and_cleared_by_a_later_call_that_is_none() -> None:
    air = Air()
    air.grant()
    for _ in range(2):
        air.active(call(emergency=True))
        air.after(1)
    raised = [e for e in air.events if isinstance(e, EmergencyRaised)]
    assert [(e.address, e.unit) for e in raised] == [(f"{SYSTEM}/301", f"{SYSTEM}/804329")]
    told = [e for e in air.events if isinstance(e, FloorTaken)]
    assert (told[-1].emergency, told[-1].priority) == (True, EMERGENCY_PRIORITY)
    air.active(call())  # a later message of the same call clears nothing
    assert not any(isinstance(e, EmergencyCleared) for e in air.events)
    air.after(1)
    air.active()
    air.active(call(call_num=51870, start_time=START + 4))
    assert [e.unit for e in air.events if isinstance(e, EmergencyCleared)] == [f"{SYSTEM}/804329"]


def test_a_patched_talk_ends_on_the_others_first() -> None:
    air = Air()
    air.grant(talkgroup=1, talkgroup_patches="1,2,3")
    air.after(1)
    air.active()
    ends = [e.address.rpartition("/")[2] for e in air.events if isinstance(e, FloorIdle)]
    assert ends == ["3", "2", "1"]


def test_a_talk_of_its_own_goes_before_what_a_patch_brings() -> None:
    air = Air()
    air.grant(111, talkgroup=1, talkgroup_patches="1,2")
    air.grant(222, talkgroup=2, call_num=2)
    air.after(1)
    air.active(call(111, talkgroup=1), call(222, talkgroup=2, call_num=2))
    on_two = [
        type(e).__name__
        for e in air.events
        if isinstance(e, FloorTaken | FloorIdle) and e.address.endswith("/2")
    ]
    assert on_two == ["FloorTaken", "FloorIdle", "FloorTaken", "FloorRefreshed"]
    air.after(1)
    air.new()
    air.active(call(222, talkgroup=2, call_num=2))
    ends = [e.address.rpartition("/")[2] for e in air.new() if isinstance(e, FloorIdle)]
    assert ends == ["1"], "only the talk that was patched is over"


def test_a_patch_is_told_when_it_begins_changes_and_ends() -> None:
    air = Air()
    for number, patches in enumerate(["", "1,2", "1,2", "1,2,3", ""]):
        air.grant(talkgroup=1, call_num=number, talkgroup_patches=patches)
        air.after(1)
        air.active()
    told = [
        ([a.rpartition("/")[2] for a in e.addresses], e.active)
        for e in air.events
        if isinstance(e, ChannelsPatched)
    ]
    assert told == [
        (["1", "2"], True),
        (["1", "2"], False),
        (["1", "2", "3"], True),
        (["1", "2", "3"], False),
    ]


def test_units_register_affiliate_move_and_leave() -> None:
    air = Air()
    body = {"sys_name": "p25trunk", "unit": 806308, "unit_alpha_tag": "Port. 308"}
    air.say("on", "on", body)
    air.say("join", "join", body | {"talkgroup": 401})
    air.say("location", "location", body | {"talkgroup": 401})
    air.say("data", "data", body)
    air.say("ackresp", "ackresp", body)
    air.say("ans_req", "ans_req", body | {"talkgroup": 12582912})
    air.say("off", "off", body)
    online, on, join, location, off = air.new()
    assert isinstance(online, Online)
    assert isinstance(on, UnitRegistered)
    assert isinstance(join, UnitAffiliated)
    assert join.address == f"{SYSTEM}/401"
    assert isinstance(location, UnitLocation)
    assert "east/p25trunk" in location.site
    assert isinstance(off, UnitDeregistered)
    assert on.unit == join.unit == location.unit == off.unit == f"{SYSTEM}/806308"


# --- health -----------------------------------------------------------------------------------


def test_a_recorder_that_falls_silent_takes_its_talks_and_channels_with_it() -> None:
    air = Air(f"{SYSTEM}/301")
    air.active(call())
    air.systems({"sys_name": "x", "type": "p25", "sysid": "9", "wacn": "9"}, instance="west")
    for _ in range(16):
        air.after(1)
        air.active(instance="west")
        assert air.tick() is None
    events = air.new()
    assert [(e.health, e.reason) for e in events if hasattr(e, "health")] == [
        ("down", "its trunk-recorder is silent")
    ]
    assert any(isinstance(e, FloorIdle) and e.reason == "lost" for e in events)
    air.active()
    assert air.health() == [(f"{SYSTEM}/301", "ok", "")]


def test_a_feed_in_which_nobody_speaks_is_away() -> None:
    air = Air()
    air.active()
    air.after(14)
    assert air.tick() is None
    air.after(1)
    failure = air.tick()
    assert failure is not None
    assert "15 s" in str(failure)


def test_a_control_channel_that_is_not_decoded_degrades_its_channels() -> None:
    air = Air(f"{SYSTEM}/301", f"{SYSTEM}/302")
    for second in range(40):
        air.after(1)
        rate = 39.67 if second < 12 or second > 35 else 0
        air.say("rates", "rates", [{"sys_name": "p25trunk", "decoderate": rate}])
        air.tick()
    assert air.health() == [
        (f"{SYSTEM}/301", "degraded", "its control channel is not decoded"),
        (f"{SYSTEM}/302", "degraded", "its control channel is not decoded"),
        (f"{SYSTEM}/301", "ok", ""),
        (f"{SYSTEM}/302", "ok", ""),
    ]


def test_a_channel_of_a_system_that_is_not_in_the_feed_says_so() -> None:
    air = Air("BEE00-1AF/301")
    for _ in range(16):
        air.after(1)
        air.active()
        air.tick()
    (told,) = air.health()
    assert told[1] == "degraded"
    assert "BEE00-1AF" in told[2]


def test_retained_leftovers_are_counted_and_not_believed() -> None:
    air = Air()
    air.active(call(emergency=True), retained=True)
    air.say("call", "call", call(), retained=True)
    assert air.new() == []
    assert air.feed.leftovers == 2


def test_one_bad_call_does_not_take_the_others_with_it() -> None:
    air = Air()
    air.active({"sys_name": "p25trunk", "call_num": "?", "talkgroup": 1}, call())
    kinds = [type(event) for event in air.new()]
    assert kinds == [Online, Malformed, FloorTaken]
