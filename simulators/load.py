"""Scenarios that are too many to write by hand: a province at its busiest, and a storm.

Source of the province's figures: Xinjiang's PDT network at the end of 2013 carried 51,000 calls a
day, 0.6 a second on average. Here are ten of it, in a busy hour of five times the mean, and once a
minute a peak of ten seconds with 200 presses a second. Its calls are 48 s long; talks here are as
long as is asked for, because every one of them is sent packet by packet.
"""

from typing import Any

MEAN_CALLS_S = 0.6
TIMES, BUSY_HOUR = 10, 5
PEAK_PRESSES_S, PEAK_S = 200.0, 10.0
FIRST_REPEATER, FIRST_RADIO, FIRST_TALKGROUP = 460001, 3_100_001, 1001


def province(
    *, master: dict[str, Any], passphrase: str, channels: int, talk_s: float, seed: int | None
) -> dict[str, Any]:
    """30 presses a second, and a peak of 200 in the last ten seconds of the first minute."""
    return {
        **_people(master=master, passphrase=passphrase, channels=channels),
        "traffic": {
            "presses_s": MEAN_CALLS_S * TIMES * BUSY_HOUR,
            "talk_s": talk_s,
            "talkgroups": _talkgroups(channels),
            "peaks": [{"at_s": 50, "for_s": PEAK_S, "presses_s": PEAK_PRESSES_S}],
            "seed": seed,
        },
    }


def storm(
    *, master: dict[str, Any], passphrase: str, channels: int, talk_s: float, seed: int | None
) -> dict[str, Any]:
    """Everybody presses at random, each channel once a second."""
    return {
        **_people(master=master, passphrase=passphrase, channels=channels),
        "traffic": {
            "presses_s": float(channels),
            "talk_s": talk_s,
            "talkgroups": _talkgroups(channels),
            "seed": seed,
        },
    }


def _talkgroups(channels: int) -> list[int]:
    """Half of the channels are talkgroups, the other half groups of phones."""
    return list(range(FIRST_TALKGROUP, FIRST_TALKGROUP + (channels + 1) // 2))


def _people(*, master: dict[str, Any], passphrase: str, channels: int) -> dict[str, Any]:
    """For each talkgroup a repeater with two radios, for each group of phones two phones."""
    repeaters = [
        {
            "id": FIRST_REPEATER + number,
            "passphrase": passphrase,
            "radios": [
                {"id": FIRST_RADIO + 2 * number + side, "talkgroups": [talkgroup]}
                for side in range(2)
            ],
        }
        for number, talkgroup in enumerate(_talkgroups(channels))
    ]
    groups = [f"group-{number:03d}" for number in range(channels // 2)]
    phones = [
        {"name": f"phone-{name}-{side}", "channels": [name]} for name in groups for side in "ab"
    ]
    zello = {"accounts": {"gateway": passphrase}, "channels": groups, "phones": phones}
    return {
        "homebrew": {"master": master, "repeaters": repeaters},
        "zello": [zello] if groups else [],
    }
