"""The ten traps of the trunk-recorder feed, each by its number in the facts."""

import json

from recorder_feed import START, SYSTEM, Air, call

from adapters.events import (
    ChannelMeasured,
    ChannelsPatched,
    FloorIdle,
    FloorTaken,
    Malformed,
    Online,
    TalkRefused,
)
from adapters.trunk_recorder import wire


def test_trap_1_numbers_and_truth_values_may_be_strings() -> None:
    air = Air()
    strings = {
        "call_num": "51869",
        "talkgroup": "301",
        "unit": "804329",
        "call_state": "1",
        "mon_state": "0",
        "rec_state": "1",
        "encrypted": "true",
        "emergency": "false",
        "start_time": str(START),
    }
    air.active(call(**strings))
    assert air.taken()[0].talker == f"{SYSTEM}/804329"
    assert air.taken()[0].encrypted
    air.active(call(**strings | {"rec_state": "4"}))
    assert isinstance(air.events[-1], FloorIdle)


def test_trap_2_a_retained_disconnected_means_nothing_while_data_flows() -> None:
    air = Air(f"{SYSTEM}/301")
    air.raw(b'{"client_id":"c","instance_id":"east","status":"disconnected"}', retained=True)
    assert air.new() == []
    air.active(call())
    assert air.floor() == [("FloorTaken", "804329")]
    air.raw(b'{"client_id":"c","instance_id":"east","status":"disconnected"}')
    air.after(1)
    assert air.tick() is None
    assert air.new() == []


def test_trap_2_a_retained_connected_is_no_sign_of_life() -> None:
    air = Air()
    air.raw(b'{"client_id":"c","instance_id":"east","status":"connected"}', retained=True)
    air.raw(b'{"client_id":"c","instance_id":"east","status":"connected"}')
    assert not any(isinstance(event, Online) for event in air.new())
    air.after(15)
    failure = air.tick()
    assert failure is not None
    assert "no trunk-recorder" in str(failure)


def test_trap_3_a_talk_whose_messages_are_dropped_is_lost_and_enters_late_again() -> None:
    air = Air()
    air.grant()
    air.after(5)
    assert air.tick() is None
    air.active(call())
    assert air.floor() == [
        ("FloorTaken", "804329"),
        ("FloorIdle", "lost"),
        ("FloorTaken", "804329"),
    ]
    first, second = air.taken()
    assert second.late_entry
    assert first.stream != second.stream


def test_trap_4_only_the_first_message_of_a_batch_is_there_so_nothing_relies_on_them() -> None:
    """Patches, grants and ends come without any of these; a refusal alone is told from one."""
    air = Air(message_topic="messages")
    for opcode, kind in (("00", "GRANT"), ("30", "PATCH_ADD"), ("39", "CONTROL_CHANNEL")):
        body = {"sys_name": "p25trunk", "trunk_msg_type": kind, "opcode": opcode, "meta": "m"}
        air.say("message", "message", body)
    assert [type(e) for e in air.new()] == [Online]
    for opcode in ("21", "27"):
        body = {"sys_name": "p25trunk", "opcode": opcode, "opcode_desc": "Response", "meta": ""}
        air.say("message", "message", body)
    refusals = air.new()
    assert [e.queued for e in refusals if isinstance(e, TalkRefused)] == [True, False]


def test_trap_5_no_active_calls_is_null_and_ends_what_was() -> None:
    air = Air()
    air.active(call())
    air.after(1)
    air.raw(
        json.dumps(
            {"type": "calls_active", "calls": None, "timestamp": START + 1, "instance_id": "east"}
        ).encode()
    )
    assert air.floor() == [("FloorTaken", "804329"), ("FloorIdle", "released")]
    assert not any(isinstance(event, Malformed) for event in air.events)


def test_trap_6_call_end_ends_nothing_and_tells_how_late_ends_are() -> None:
    air = Air()
    air.grant()
    air.after(6)
    air.active(call(unit=8308181, call_num=51870))  # somebody else's call, on the same talkgroup
    air.new()
    late = call(call_state=-1, rec_state=6, stop_time=START + 2, signal=-40.5, noise=999)
    air.say("call_end", "call", late)
    assert air.floor() == []
    measured = air.events[-1]
    assert isinstance(measured, ChannelMeasured)
    assert (measured.address, measured.lag_s) == (f"{SYSTEM}/301", 4.0)


def test_trap_7_each_new_talker_of_a_call_is_a_talk_of_its_own() -> None:
    """As captured: 8308181, 8308208, 8308181 under one call_num."""
    air = Air()
    for unit in (8308181, 8308208, 8308181):
        air.grant(unit, call_num=1009)
        air.say("call_start", "call", call(unit, call_num=1009))
        air.after(2)
    assert air.floor() == [
        ("FloorTaken", "8308181"),
        ("FloorIdle", "released"),
        ("FloorTaken", "8308208"),
        ("FloorIdle", "released"),
        ("FloorTaken", "8308181"),
    ]
    assert len({taken.stream for taken in air.taken()}) == 3


def test_trap_7_a_call_that_is_repeated_for_the_same_unit_changes_nothing() -> None:
    air = Air()
    for _ in range(3):
        air.grant()
    assert air.floor() == [("FloorTaken", "804329")]


def test_trap_8_a_talkgroup_is_not_patched_to_itself() -> None:
    air = Air()
    air.grant(talkgroup=48685, talkgroup_patches="48685,54623")
    assert [t.address for t in air.taken()] == [f"{SYSTEM}/48685", f"{SYSTEM}/54623"]
    (patch,) = [e for e in air.events if isinstance(e, ChannelsPatched)]
    assert patch.addresses == (f"{SYSTEM}/48685", f"{SYSTEM}/54623")
    air = Air()
    air.grant(talkgroup=48685, talkgroup_patches="48685")
    assert [t.address for t in air.taken()] == [f"{SYSTEM}/48685"]


def test_trap_9_a_power_of_999_is_unknown() -> None:
    air = Air()
    air.say("call_end", "call", call(signal=999.0, noise="999.00"))
    unknown = air.events[-1]
    assert isinstance(unknown, ChannelMeasured)
    assert unknown.rssi_dbm is unknown.noise_dbm is None
    air.say("call_end", "call", call(signal=-23, noise=-50))
    known = air.events[-1]
    assert isinstance(known, ChannelMeasured)
    assert (known.rssi_dbm, known.noise_dbm) == (-23.0, -50.0)


def test_trap_10_an_end_finds_its_call_though_the_start_has_shifted() -> None:
    for shift_s in (0, 1, 2, 6):
        air = Air()
        air.grant()
        air.after(3)
        air.say("end", "end", call(start_time=START - shift_s, stop_time=START + 2))
        assert air.floor() == [("FloorTaken", "804329"), ("FloorIdle", "released")], shift_s


def test_trap_10_without_its_number_a_call_is_found_by_talkgroup_and_start() -> None:
    air = Air()
    air.grant()
    air.say("end", "end", call(call_num=7, start_time=START + 2))
    assert air.floor()[-1] == ("FloorIdle", "released")
    air.after(20)
    air.grant(start_time=START + 20)
    air.new()
    air.say("end", "end", call(call_num=8, start_time=START + 2))
    assert air.floor() == []


def test_trap_10_systems_are_who_they_say_they_are_whatever_their_number() -> None:
    air = Air()
    air.grant(sys_num=2)
    air.say("end", "end", call(sys_num=0))
    assert [type(e) for e in air.events if isinstance(e, FloorTaken | FloorIdle)] == [
        FloorTaken,
        FloorIdle,
    ]
    assert wire.decode(b'{"type":"rates","rates":[{"sys_num":"x","sys_name":"n"}]}')


def test_trap_10_the_end_of_an_earlier_call_of_that_number_ends_nothing() -> None:
    air = Air()
    air.grant(start_time=START + 3600)
    air.say("end", "end", call(start_time=START))
    assert air.floor() == [("FloorTaken", "804329")]
    assert air.feed.late == 1
