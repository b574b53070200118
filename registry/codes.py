"""20-digit codes of GB/T 28181: reading, checking, issuing."""

import dataclasses
import re
from collections.abc import Iterator

from sqlalchemy import Connection, func, select, text

from registry.errors import Conflict, Invalid
from registry.models import POINTS
from registry.regions import prefectures, regions

CAMERA, NETWORK_CAMERA = "131", "132"
BUSINESS_GROUP, VIRTUAL_ORGANIZATION = "215", "216"
LAST_SERIAL = 999_999
_INDUSTRIES = frozenset({*range(15), *range(40, 46)})
_TYPES = ((111, 139), (200, 216), (300, 343), (400, 499), (500, 599))
_DIGIT = re.compile(r"[0-9]")
_ORGANIZATION = re.compile(r"[0-9]{12}")
_REGION = re.compile(r"[0-9]{6}(?:[0-9]{6})?")
_MINISTRY = "01"


class InvalidCode(Invalid):
    """position: 1-based, of the first digit that is wrong; reason: why."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(Invalid.at("code", f"position {position}: {reason}").reasons[0])
        self.position = position
        self.reason = reason


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PointCode:
    """region: six digits of GB/T 2260. grassroots: 00 for none. type: 131 camera, 132 network
    camera, 215 business group, 216 virtual organisation, … network: 0 to 9. serial: 0 to 999999."""

    region: str
    grassroots: str
    industry: str
    type: str
    network: str
    serial: int

    def __str__(self) -> str:
        return f"{self.prefix}{self.serial:06d}"

    @property
    def prefix(self) -> str:
        """The first 14 digits, within which a serial is unique."""
        return f"{self.region}{self.grassroots}{self.industry}{self.type}{self.network}"


def parse_point_code(text: str) -> PointCode:
    """Split a 20-digit GB/T 28181 code into its parts.

    text: 20 ASCII digits; surrounding blanks are ignored.
    Raises: InvalidCode naming the first offending position (1-based).
    Source: GB/T 28181-2022 annex E, rule A.
    """
    digits = text.strip()
    for position, character in enumerate(digits[:20], 1):
        if not _DIGIT.fullmatch(character):
            raise InvalidCode(position, f"must be a digit, not {character!r}")
    if len(digits) != 20:
        raise InvalidCode(min(len(digits), 20) + 1, f"must be 20 digits, these are {len(digits)}")
    return PointCode(
        region=digits[:6],
        grassroots=digits[6:8],
        industry=digits[8:10],
        type=digits[10:13],
        network=digits[13],
        serial=int(digits[14:]),
    )


def check_point_code(text: str) -> PointCode:
    """`parse_point_code` of a code whose parts the standards know.

    Raises: InvalidCode where the region is not in GB/T 2260, or industry or type are reserved.
    Codes in the field break these rules, so what others issued is only parsed.
    """
    code = parse_point_code(text)
    known = regions()
    if code.region not in known:
        wrong = 5 if f"{code.region[:4]}00" in known else 3
        wrong = wrong if f"{code.region[:2]}0000" in known else 1
        raise InvalidCode(wrong, f"GB/T 2260 has no region {code.region}")
    if int(code.industry) not in _INDUSTRIES:
        raise InvalidCode(9, f"industry {code.industry} is reserved")
    if not any(low <= int(code.type) <= high for low, high in _TYPES):
        raise InvalidCode(11, f"type {code.type} is reserved")
    return code


def check_group_code(text: str, expected: str) -> PointCode:
    """`check_point_code` of a catalogue node. expected: `BUSINESS_GROUP` or `VIRTUAL_ORGANIZATION`.

    Raises: InvalidCode where it is of another type.
    """
    code = check_point_code(text)
    if code.type != expected:
        raise InvalidCode(11, f"must be of type {expected}, this is {code.type}")
    return code


def check_organization_code(text: str) -> None:
    """A 12-digit code of a public security organ: its first four digits are a prefecture of GB/T
    2260, or ``01`` for the ministry's own. The fifth and sixth are not looked up: bureaus of
    development zones have numbers there that are no county's.

    Raises: Invalid.
    """
    if not _ORGANIZATION.fullmatch(text):
        raise Invalid.at("code", "must be 12 digits")
    if not text.startswith(_MINISTRY) and text[:4] not in prefectures():
        raise Invalid.at("code", f"GB/T 2260 has no prefecture {text[:4]}")


def check_region(text: str) -> None:
    """A region of GB/T 2260: six digits of any level, or twelve, whose last six are the national
    statistics' number of a town and a village.

    Raises: Invalid.
    """
    if not _REGION.fullmatch(text):
        raise Invalid.at("region", "must be 6 or 12 digits")
    if text[:6] not in regions():
        raise Invalid.at("region", f"GB/T 2260 has no region {text[:6]}")


def issue(connection: Connection, first: PointCode, count: int = 1) -> tuple[PointCode, ...]:
    """The next free codes that begin like `first`: after the highest in use, and from its serial
    on where the end is reached.

    They are free until the transaction ends, which has to store them: whoever else issues under
    the same prefix waits for that.
    Raises: InvalidCode; Conflict when fewer than count are left.
    """
    check_point_code(str(first))
    if connection.dialect.name == "postgresql":
        # SQLite has one writer anyway. The lock goes with the transaction.
        connection.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended(:prefix, 28181))"),
            {"prefix": first.prefix},
        )
    code = POINTS.c.code
    within = code.between(str(first), f"{first.prefix}{LAST_SERIAL}")
    highest = connection.scalar(select(func.max(code)).where(within))
    begin = int(highest[14:]) + 1 if highest else first.serial
    if begin + count - 1 <= LAST_SERIAL:
        serials = list(range(begin, begin + count))
    else:
        used = connection.scalars(select(code).where(within).order_by(code))
        serials = list(_gaps((int(each[14:]) for each in used), first.serial, count))
    if len(serials) < count:
        raise Conflict(f"only {len(serials)} serials are left under {first.prefix}")
    return tuple(dataclasses.replace(first, serial=serial) for serial in serials)


def _gaps(used: Iterator[int], begin: int, count: int) -> Iterator[int]:
    """The lowest numbers from begin on that are not in used, which ascends; count at most."""
    following = begin
    for taken in (*used, LAST_SERIAL + 1):
        for free in range(following, taken):
            if count == 0:
                return
            yield free
            count -= 1
        following = taken + 1
