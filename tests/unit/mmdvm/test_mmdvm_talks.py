"""Talks of a host: pairs that carry no ids, what is no talk, and what is measured."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.events import (
    ChannelHealth,
    ChannelMeasured,
    EmergencyRaised,
    Event,
    FloorIdle,
    FloorRefreshed,
    FloorTaken,
    Malformed,
    PrivateTalk,
    TalkRefused,
)
from adapters.mmdvm import wire
from adapters.mmdvm.talks import Talks

AT = datetime(2026, 7, 13, 2, 41, 33, tzinfo=UTC)
WHOLE = {"duration": 5.1, "ber": 0.4, "rssi": {"min": -70, "max": -60, "ave": -64}}
NETWORK_WHOLE = {"duration": 2.0, "ber": 0.1, "loss": 0.0}


class Host:
    """A host by hand, with a clock of its own."""

    def __init__(self) -> None:
        self.talks = Talks(hold_s=5.0, tag="t-")
        self.now_s = 100.0
        self.events: list[Event] = []
        self._number = 0

    def say(self, kind: str, **body: Any) -> list[Event]:
        self._number += 1
        stamp = f"2026-07-13T02:41:33.{self._number:03d}Z"
        document = json.dumps({kind: {"timestamp": stamp, **body}}).encode()
        fresh = self.talks.take(wire.decode(document), self.now_s, AT)
        self.events += fresh
        return fresh

    def start(
        self, unit: int = 3180202, to: int = 9, *, slot: int = 2, source: str = "rf", **more: Any
    ) -> list[Event]:
        body = {
            "source": source,
            "action": "start",
            "slot": slot,
            "source_id": unit,
            "source_info": str(unit),
            "destination_id": to,
            "destination_type": "group",
        }
        return self.say("DMR", **body | more)

    def end(self, *, slot: int = 2, action: str = "end", **more: Any) -> list[Event]:
        return self.say("DMR", action=action, slot=slot, **(more or WHOLE))

    def level(self, kind: str = "RSSI", value: float = -64, slot: int = 2) -> list[Event]:
        return self.say(kind, mode="DMR", slot=slot, value=value)

    def after(self, seconds: float) -> None:
        self.now_s += seconds


def floor(events: list[Event]) -> list[tuple[str, str, str]]:
    """(what, address, talker or reason)"""
    return [
        (type(e).__name__, e.address, e.talker if isinstance(e, FloorTaken) else e.reason)
        for e in events
        if isinstance(e, FloorTaken | FloorIdle)
    ]


def test_a_talk_from_start_to_an_end_that_names_nobody() -> None:
    host = Host()
    host.start(source_info="KN4OQW Clint")
    host.after(1)
    host.level()
    host.level("BER", 0.3)
    host.after(1)
    host.level()
    host.end()
    assert floor(host.events) == [
        ("FloorTaken", "DMR/2/9", "3180202"),
        ("FloorRefreshed", "DMR/2/9", "3180202"),
        ("FloorRefreshed", "DMR/2/9", "3180202"),
        ("FloorIdle", "DMR/2/9", "released"),
    ]
    (taken,) = [e for e in host.events if type(e) is FloorTaken]
    assert taken.talker_alias == "KN4OQW Clint"
    (measured,) = [e for e in host.events if isinstance(e, ChannelMeasured)]
    assert (measured.rssi_dbm, measured.bit_error_percent) == (-64.0, 0.4)


def test_the_network_is_never_a_talker() -> None:
    host = Host()
    host.start(source="network")
    host.say("DMR", source="network", action="late_entry", slot=1, src_id=1, dst_id=2)
    host.end(**NETWORK_WHOLE)
    host.end(slot=1, **NETWORK_WHOLE)
    assert host.events == []


def test_ends_are_paired_by_slot() -> None:
    host = Host()
    host.start(1, 31121, slot=1)
    host.start(2, 9, slot=2)
    assert floor(host.end(slot=1)) == [("FloorIdle", "DMR/1/31121", "released")]
    assert floor(host.end(slot=2)) == [("FloorIdle", "DMR/2/9", "released")]


def test_ends_are_paired_by_mode() -> None:
    host = Host()
    host.start()
    host.say("P25", source="rf", action="start", source_id=1, destination_id=10200)
    assert floor(host.say("P25", action="end", **WHOLE))[0][1] == "P25/10200"
    assert floor(host.end())[0][1] == "DMR/2/9"


@pytest.mark.parametrize(
    ("network_end", "radio_end"),
    [
        (NETWORK_WHOLE, WHOLE),
        (NETWORK_WHOLE, {"duration": 5.0, "ber": 0.2}),
        ({"duration": 2.0}, WHOLE),
    ],
)
def test_radio_and_network_on_one_slot_are_told_apart_by_what_was_measured(
    network_end: dict[str, Any], radio_end: dict[str, Any]
) -> None:
    host = Host()
    host.start(source="network")
    host.start()
    assert floor(host.end(**network_end)) == []
    assert floor(host.end(**radio_end)) == [("FloorIdle", "DMR/2/9", "released")]
    host = Host()
    host.start()
    host.start(source="network")
    assert (
        floor(host.end(**radio_end))
        == [
            ("FloorTaken", "DMR/2/9", "3180202"),
            ("FloorIdle", "DMR/2/9", "released"),
        ][1:]
    )
    assert floor(host.end(**network_end)) == []
    assert host.talks.orphans == 0


def test_an_end_without_a_start_is_counted() -> None:
    host = Host()
    assert host.end() == [], "it began before we came"
    (counted,) = host.end()
    assert isinstance(counted, Malformed)
    assert "DMR slot 2" in counted.reason
    assert host.talks.orphans == 1


def test_a_start_without_an_end_before_it_is_another_talk() -> None:
    host = Host()
    host.start(1)
    assert floor(host.start(2)) == [
        ("FloorIdle", "DMR/2/9", "lost"),
        ("FloorTaken", "DMR/2/9", "2"),
    ]


def test_a_start_that_is_told_twice_is_one_talk() -> None:
    host = Host()
    host.start()
    host._number -= 1
    assert host.start() == []


def test_an_end_that_is_told_twice_is_one_end() -> None:
    host = Host()
    host.start()
    host.end()
    host._number -= 1
    assert host.end() == []
    assert host.talks.orphans == 0


def test_a_talk_that_is_not_heard_of_is_lost_and_its_late_end_is_no_orphan() -> None:
    host = Host()
    host.start()
    assert host.talks.next_expiry_s() == 105.0
    host.after(4)
    host.level()
    host.after(4.9)
    assert host.talks.expire(host.now_s, AT) == []
    host.after(0.1)
    assert floor(host.talks.expire(host.now_s, AT)) == [("FloorIdle", "DMR/2/9", "lost")]
    assert host.talks.next_expiry_s() is None
    assert host.end() == []
    assert host.talks.orphans == 0


def test_a_talk_that_is_too_long_is_cut_once() -> None:
    host = Host()
    host.start()
    cut = host.say("DMR", action="timeout", slot=2)
    assert floor(cut) == [("FloorIdle", "DMR/2/9", "timeout")]
    assert host.end() == []
    assert host.talks.orphans == 0


def test_data_is_no_talk_and_breaks_none() -> None:
    host = Host()
    host.start(frames=4)
    assert host.say("DMR", action="end", slot=2) == []
    host.start()
    host.start(4, slot=1, frames=2)
    host.say("DMR", action="end", slot=1)
    assert floor(host.end()) == [("FloorIdle", "DMR/2/9", "released")]
    assert host.talks.orphans == 0


def test_a_private_call_is_told_and_never_bridged() -> None:
    host = Host()
    host.start(1, 2, destination_type="individual")
    host.end()
    assert [(e.unit, e.to, e.active) for e in host.events if isinstance(e, PrivateTalk)] == [
        ("1", "2", True),
        ("1", "2", False),
    ]
    assert floor(host.events) == []


def test_an_alias_that_comes_in_pieces_names_the_talker() -> None:
    host = Host()
    host.start()
    for text in ("Li", "Li Na", "Li Na"):
        host.say("Text", mode="DMR", slot=2, value=text)
    names = [e.talker_alias for e in host.events if isinstance(e, FloorRefreshed)]
    assert names == ["Li", "Li Na"]
    host.end()
    assert host.say("Text", mode="DMR", slot=2, value="from the network") == []


def test_a_call_for_help_without_a_talk_is_an_emergency() -> None:
    host = Host()
    for description in ("Call Alert", "Call Emergency"):
        host.start(action="csbk", csbk_desc=description)
    host.start(action="csbk", csbk_desc="Call Emergency", source="network")
    assert [(type(e), e.address, e.unit) for e in host.events if hasattr(e, "unit")] == [
        (EmergencyRaised, "DMR/2/9", "3180202")
    ]


def test_who_the_hosts_own_lists_refuse_is_told() -> None:
    host = Host()
    (refused,) = host.start(action="rejected")
    assert isinstance(refused, TalkRefused)
    assert (refused.unit, refused.address) == ("3180202", "DMR/2/9")
    assert host.start(action="rejected", source="network") == []


def test_bad_reception_degrades_a_channel_until_a_good_talk() -> None:
    host = Host()
    for errors in (1.0, 7.2, 8.0, 0.5):
        host.start()
        host.end(**WHOLE | {"ber": errors})
    told = [(e.health, e.reason) for e in host.events if isinstance(e, ChannelHealth)]
    assert told == [("degraded", "the last talk was received with 7.2 % bit errors"), ("ok", "")]


def test_a_long_talk_is_measured_every_five_seconds() -> None:
    host = Host()
    host.start()
    for _ in range(12):
        host.after(1)
        host.level()
    assert len([e for e in host.events if isinstance(e, ChannelMeasured)]) == 2
    refreshes = [e for e in host.events if isinstance(e, FloorRefreshed)]
    assert len(refreshes) == 12


def test_the_clock_of_a_host_is_compared_and_orders_nothing() -> None:
    host = Host()
    host.start()
    away = "2026-07-14T02:41:35.000Z"  # a day ahead, and two seconds since AT
    fresh = host.say("DMR", action="end", slot=2, timestamp=away)
    assert [type(each) for each in fresh] == [FloorIdle, ChannelMeasured]
    (measured,) = [each for each in fresh if isinstance(each, ChannelMeasured)]
    assert measured.clock_offset_s == 86_402.0
    assert (measured.rssi_dbm, measured.bit_error_percent) == (None, None)
    host.start(timestamp="2026-07-12T02:41:33.000Z")  # set back two days: a talk like any other
    assert floor(host.end()) == [("FloorIdle", "DMR/2/9", "released")]


def test_other_modes_by_their_own_names() -> None:
    host = Host()
    host.say("D-Star", source="rf", action="start", source_cs="KN4OQW  ", destination_cs="CQCQCQ  ")
    host.say("D-Star", action="end", **WHOLE)
    host.say("YSF", source="rf", action="start", src_callsign="KM4SSB", **{"dg-id": 31})
    host.say("YSF", action="lost", **WHOLE)
    host.say("NXDN", source="rf", action="start", source_id=7, destination_id=65000)
    host.say("NXDN", action="end", **WHOLE)
    assert [(address, who) for _, address, who in floor(host.events)] == [
        ("D-Star/CQCQCQ", "KN4OQW"),
        ("D-Star/CQCQCQ", "released"),
        ("YSF/31", "KM4SSB"),
        ("YSF/31", "lost"),
        ("NXDN/65000", "7"),
        ("NXDN/65000", "released"),
    ]


def test_the_analogue_repeater_knows_nobody() -> None:
    host = Host()
    for state in ("listening", "kerchunk_rf", "relaying_rf", "relaying_wait_rf", "hang"):
        host.after(1)
        host.say("FM", state=state)
    assert floor(host.events) == [
        ("FloorTaken", "FM", ""),
        ("FloorRefreshed", "FM", ""),
        ("FloorIdle", "FM", "released"),
    ]
    host.say("FM", state="relaying_ext")
    assert len(host.events) == 3


def test_modes_that_nobody_knows_are_forgotten_at_once() -> None:
    host = Host()
    for number in range(100):
        host.say("RSSI", mode=f"mode-{number}", value=-1)
        host.say(f"Mode-{number}", value=-1)
    assert not host.talks._places
