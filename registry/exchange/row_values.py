"""What one cell says of a point, or the reason why it cannot. No I/O."""

import dataclasses
import json
import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

import msgspec

from registry.identity import parse_id
from registry.machine_file import ATTRIBUTES, Attribute, wrong
from registry.point_rules import CATEGORIES, OWNERSHIPS

Cell = str | int | float | bool | date | datetime | None
FORMULA = object()
"""A cell that holds a formula whose result was not stored."""


@dataclasses.dataclass(frozen=True, slots=True)
class ErrorCell:
    """A cell of a workbook that holds an error. text: such as ``#REF!``."""

    text: str

    def __str__(self) -> str:
        return self.text


_OWNERSHIP_NAMES = {
    "public_security": ("公安", "公安机关", "一类"),
    "community": ("社区", "村居"),
    "property": ("物业", "小区"),
    "enterprise": ("企业", "单位", "企事业单位"),
    "other": ("其他", "其它"),
}
_OWNERSHIP_BY_NAME = {
    name: ownership for ownership, names in _OWNERSHIP_NAMES.items() for name in (ownership, *names)
}
_CATEGORY_BY_NAME = {
    **{str(number): number for number in CATEGORIES},
    **{
        f"{name}{end}": number
        for name, number in zip("一二三", (1, 2, 3), strict=True)
        for end in ("类", "类点", "类点位", "类视频监控点")
    },
    "其他": 9,
    "其它": 9,
}
_TRUE = frozenset({"1", "true", "yes", "y", "是"})
_FALSE = frozenset({"0", "false", "no", "n", "否"})
_GUARDED = re.compile(r"'+[=+\-@\t\r]")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}(\.0+)?")
_SCIENTIFIC = re.compile(r"[0-9](\.[0-9]+)?[eE]\+?[0-9]{2}")
_DATE = re.compile(r"([0-9]{4})[-/.年]?([0-9]{1,2})[-/.月]?([0-9]{1,2})日?([ T].*)?")


@dataclasses.dataclass(frozen=True, slots=True)
class NoPoint:
    """What stands for longitude and latitude where a geometry is none of a point. kind: its own
    word for what it is."""

    kind: str

    def __str__(self) -> str:
        return self.kind


class CellRefused(Exception):
    """reason: a key of `reasons.TEXTS`. details: what its sentence needs."""

    def __init__(self, reason: str, **details: Any) -> None:
        super().__init__(reason)
        self.reason = reason
        self.details = details


def read_cell(field: str, cell: Any) -> Any:
    """What a cell that is not empty says of the field: None for nothing; of `attributes` an object.

    Raises: CellRefused.
    """
    if cell is FORMULA:
        raise CellRefused("formula")
    if isinstance(cell, ErrorCell):
        raise CellRefused("error_cell")
    if isinstance(cell, NoPoint):
        raise CellRefused("no_point")
    if field == "attributes" and isinstance(cell, dict):
        return _attributes(cell)
    if field == "code":
        return _code(cell)
    text = text_of(cell)
    if _UNSTORABLE.search(text):
        raise CellRefused("control")
    if not text:
        return None
    if field.startswith("attributes."):
        return _attribute(ATTRIBUTES[field.partition(".")[2]], text, cell)
    return _READERS[field](text)


def text_of(cell: Any) -> str:
    """A cell as text: trimmed, in Unicode NFC, whole numbers without a point, and without the
    quote that an export put before what a spreadsheet would run as a formula."""
    if isinstance(cell, str):
        text = cell[1:] if _GUARDED.match(cell) else cell
        return unicodedata.normalize("NFC", text).strip()
    if isinstance(cell, bool):
        return "1" if cell else "0"
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    if isinstance(cell, datetime):
        return cell.date().isoformat()
    if isinstance(cell, list | dict):
        return json.dumps(cell, ensure_ascii=False)
    return str(cell)


def _code(cell: Any) -> str | None:
    if isinstance(cell, int | float) and not isinstance(cell, bool) and abs(cell) >= 1e15:
        raise CellRefused("code_is_number")
    text = text_of(cell)
    if not text:
        return None
    if _SCIENTIFIC.fullmatch(text):
        raise CellRefused("code_is_number")
    if not (len(text) == 20 and text.isascii() and text.isdigit()):
        raise CellRefused("code_not_20_digits")
    return text


def _id(text: str) -> str:
    parsed = parse_id(text)
    if parsed is None:
        raise CellRefused("not_an_id")
    return parsed


def _limited(most: int) -> Callable[[str], str]:
    def read(text: str) -> str:
        if len(text) > most:
            raise CellRefused("too_long", most=most)
        return text

    return read


def _degrees(most: int) -> Callable[[str], float]:
    def read(text: str) -> float:
        value = _number(text)
        if not -most <= value <= most:
            swapped = most < 180 and abs(value) <= 180
            raise CellRefused("swapped" if swapped else "out_of_range", low=-most, high=most)
        return value

    return read


def _number(text: str) -> float:
    try:
        value = float(unicodedata.normalize("NFKC", text))
    except ValueError:
        raise CellRefused("not_a_number") from None
    if not math.isfinite(value):
        raise CellRefused("not_a_number")
    return value


def _whole(text: str) -> int:
    plain = unicodedata.normalize("NFKC", text)
    if not _INTEGER.fullmatch(plain):
        raise CellRefused("not_whole")
    return int(plain.partition(".")[0])


def _channel(text: str) -> int:
    number = _whole(text)
    if not 1 <= number <= 65_535:
        raise CellRefused("out_of_range", low=1, high=65_535)
    return number


def _category(text: str) -> int:
    plain = text.removesuffix(".0")
    if plain not in _CATEGORY_BY_NAME:
        raise CellRefused("not_a_choice", choices="1, 2, 3, 9")
    return _CATEGORY_BY_NAME[plain]


def _ownership(text: str) -> str:
    found = _OWNERSHIP_BY_NAME.get(text.lower())
    if found is None:
        raise CellRefused("not_a_choice", choices=", ".join(OWNERSHIPS))
    return found


def _yes_or_no(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise CellRefused("not_a_choice", choices="1, 0")


def _assigned_by(text: str) -> str:
    if text not in ("explicit", "polygon", "none"):
        raise CellRefused("not_a_choice", choices="explicit, polygon, none")
    return text


def _attributes(document: Mapping[str, Any]) -> dict[str, Any]:
    if any(not isinstance(name, str) for name in document):
        raise CellRefused("not_json")
    try:
        escaped = json.dumps(document, allow_nan=False)
        msgspec.json.encode(document)
    except (ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        # No number that JSON has, or a whole one of more than 64 bits.
        raise CellRefused("not_json") from None
    if "\\u0000" in escaped or _UNSTORABLE.search(json.dumps(document, ensure_ascii=False)):
        raise CellRefused("control")
    for name, attribute in ATTRIBUTES.items():
        value = document.get(name)
        if value is not None and (why := wrong(attribute, value)) is not None:
            raise CellRefused("invalid", detail=f"{name} {why}")
    return dict(document)


def _json(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise CellRefused("not_json") from None
    if not isinstance(document, dict):
        raise CellRefused("not_json")
    return _attributes(document)


def _attribute(attribute: Attribute, text: str, cell: Any) -> Any:
    match attribute.kind:
        case "integer" | "number":
            number = _whole(text) if attribute.kind == "integer" else _number(text)
            if not attribute.low <= number <= attribute.high:
                raise CellRefused(
                    "out_of_range", low=f"{attribute.low:g}", high=f"{attribute.high:g}"
                )
            return number
        case "choice" | "choices":
            return _choice(attribute, text, cell)
        case "date":
            return _date(text)
        case "mac":
            value = re.sub("[:. ]", "-", text).upper()
            if wrong(attribute, value) is not None:
                raise CellRefused("not_a_mac")
            return value
        case "region":
            if wrong(attribute, text) is not None:
                raise CellRefused("not_a_region")
            return text
    return _limited(400)(text)


def _choice(attribute: Attribute, text: str, cell: Any) -> Any:
    parts = cell if isinstance(cell, list) else re.split("[/,;、，；]", text)
    allowed = ", ".join(map(str, sorted(attribute.choices)))
    numbers = []
    for part in parts:
        try:
            number = _whole(text_of(part))
        except CellRefused:
            number = -1
        if number not in attribute.choices:
            raise CellRefused("not_a_choice", choices=allowed)
        numbers.append(number)
    if attribute.kind == "choices":
        return numbers
    if len(numbers) != 1:
        raise CellRefused("not_a_choice", choices=allowed)
    return numbers[0]


def _date(text: str) -> str:
    found = _DATE.fullmatch(unicodedata.normalize("NFKC", text))
    try:
        if found is None:
            raise ValueError
        return date(*(int(part) for part in found.groups()[:3])).isoformat()
    except ValueError:
        raise CellRefused("not_a_date") from None


_READERS: Mapping[str, Callable[[str], Any]] = {
    "id": _id,
    "name": _limited(200),
    "place": _limited(400),
    "longitude": _degrees(180),
    "latitude": _degrees(90),
    "category": _category,
    "ownership": _ownership,
    "host": lambda text: _limited(255)(text).lower(),
    "channel_number": _channel,
    "masked": _yes_or_no,
    "organization": _limited(1000),
    "assigned_by": _assigned_by,
    "attributes": _json,
}
