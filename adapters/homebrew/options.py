"""What a repeater's owner asks for in RPTO: which talkgroups, on which timeslot. Pure.

Source: the options of HBlink4, FreeDMR and their relatives: ``TS1=3101,3102;TS2=9``, where other
words stand between the semicolons too. They differ among masters, so whatever is not understood
asks for nothing in particular.
"""

import re
from collections.abc import Mapping

MOST_TALKGROUPS = 500
LARGEST_TALKGROUP = 0xFFFFFF

Wanted = Mapping[int, frozenset[int]]
"""Talkgroups by timeslot; a timeslot that is not there takes all of them."""

_SLOT = re.compile(r"\s*TS([12])(?:_[1-9])?\s*=\s*([0-9,\s*]*)", re.ASCII | re.IGNORECASE)


def wanted(text: str) -> Wanted:
    """``TS1=3101,3102;TS2=`` takes two talkgroups on timeslot 1, and none on 2; ``TS1=*`` all.

    A list in which something is not a talkgroup counts for nothing: better all than too few.
    """
    found: dict[int, set[int]] = {}
    for part in text.split(";"):
        match = _SLOT.fullmatch(part)
        if match is None or "*" in match[2]:
            continue
        numbers = [each.strip() for each in match[2].split(",") if each.strip()]
        if len(numbers) > MOST_TALKGROUPS or not all(map(_is_talkgroup, numbers)):
            continue
        found.setdefault(int(match[1]), set()).update(map(int, numbers))
    return {slot: frozenset(numbers) for slot, numbers in found.items()}


def _is_talkgroup(text: str) -> bool:
    return text.isdecimal() and len(text) <= 8 and 1 <= int(text) <= LARGEST_TALKGROUP
