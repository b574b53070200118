"""The attributes of *one machine, one file* (一机一档): which there are and what each may hold.

Sixteen are mandatory. Six of them are columns of a point (code, name, place, longitude, latitude,
category); the others stand in `attributes` under the names here, and may hold nothing else than
this says. Names that are not here are free.
Source: what the upload programs of the field demand; the standard's own text was not at hand.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from registry.errors import Reason
from registry.regions import regions

MAX_TEXT = 400
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MAC = re.compile(r"[0-9A-F]{2}(-[0-9A-F]{2}){5}")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """kind: text, integer, number, date (``2024-05-01``), region (GB/T 2260), mac, choice (one
    number) or choices (a list of numbers). low, high: of integer and number, both included."""

    name: str
    chinese: str
    initials: str
    kind: str = "text"
    mandatory: bool = False
    choices: frozenset[int] = frozenset()
    low: float = 0
    high: float = 0


def _numbers(*ranges: tuple[int, int]) -> frozenset[int]:
    return frozenset(number for low, high in ranges for number in range(low, high + 1))


MANDATORY_COLUMNS = ("code", "name", "place", "longitude", "latitude", "category")
ATTRIBUTES: Mapping[str, Attribute] = {
    each.name: each
    for each in (
        Attribute(name="manufacturer", chinese="设备厂商", initials="SBCS", mandatory=True),
        Attribute(
            name="region", chinese="行政区域", initials="XZQY", kind="region", mandatory=True
        ),
        Attribute(
            name="position_types",
            chinese="摄像机位置类型",
            initials="SXJWZLX",
            kind="choices",
            choices=_numbers((1, 15), (96, 99)),
            mandatory=True,
        ),
        Attribute(
            name="network",
            chinese="联网属性",
            initials="LWSX",
            kind="choice",
            choices=_numbers((0, 1)),
            mandatory=True,
        ),
        Attribute(
            name="police_unit", chinese="所属辖区公安机关", initials="SSXQGAJG", mandatory=True
        ),
        Attribute(
            name="installed_on", chinese="安装时间", initials="AZSJ", kind="date", mandatory=True
        ),
        Attribute(name="managed_by", chinese="管理单位", initials="GLDW", mandatory=True),
        Attribute(
            name="manager_contact", chinese="管理单位联系方式", initials="GLDWLXFS", mandatory=True
        ),
        Attribute(
            name="storage_days",
            chinese="录像保存天数",
            initials="LXBCTS",
            kind="integer",
            low=0,
            high=36_500,
            mandatory=True,
        ),
        Attribute(
            name="device_state",
            chinese="设备状态",
            initials="SBZT",
            kind="choice",
            choices=_numbers((1, 3)),
            mandatory=True,
        ),
        Attribute(name="model", chinese="设备型号", initials="SBXH"),
        Attribute(name="mac", chinese="MAC地址", initials="MACDZ", kind="mac"),
        Attribute(
            name="camera_type",
            chinese="摄像机类型",
            initials="SXJLX",
            kind="choice",
            choices=_numbers((1, 5), (99, 99)),
        ),
        Attribute(
            name="functions",
            chinese="摄像机功能类型",
            initials="SXJGNLX",
            kind="choices",
            choices=_numbers((1, 6), (99, 99)),
        ),
        Attribute(
            name="fill_light",
            chinese="补光属性",
            initials="BGSX",
            kind="choice",
            choices=frozenset({1, 2, 3, 9}),
        ),
        Attribute(
            name="direction",
            chinese="监视方位",
            initials="JSFW",
            kind="choice",
            choices=_numbers((1, 9)),
        ),
        Attribute(
            name="department",
            chinese="所属部门行业",
            initials="SSBMHY",
            kind="choices",
            choices=_numbers((1, 18)),
        ),
        Attribute(
            name="room",
            chinese="室内外",
            initials="SNW",
            kind="choice",
            choices=frozenset({1, 2}),
        ),
        Attribute(
            name="height_m",
            chinese="安装高度",
            initials="AZGD",
            kind="number",
            low=-1_000,
            high=10_000,
        ),
    )
}


def wrong(attribute: Attribute, value: Any) -> str | None:
    """Why a value cannot stand in the attribute, or None where it can."""
    match attribute.kind:
        case "integer" | "number":
            types = int if attribute.kind == "integer" else (int, float)
            if isinstance(value, bool) or not isinstance(value, types):
                return f"must be a {attribute.kind}"
            if not attribute.low <= value <= attribute.high:
                return f"must be {attribute.low:g} to {attribute.high:g}"
            return None
        case "choice":
            ok = type(value) is int and value in attribute.choices
        case "choices":
            ok = isinstance(value, list) and all(
                type(each) is int and each in attribute.choices for each in value
            )
        case _:
            return None if _text_is_right(attribute.kind, value) else _TEXT_RULES[attribute.kind]
    return None if ok else f"must be among {_listed(attribute.choices)}"


_TEXT_RULES = {
    "text": f"must be text of at most {MAX_TEXT} characters",
    "date": "must be a date such as 2024-05-01",
    "region": "must be a region of GB/T 2260",
    "mac": "must be written as 00-1A-2B-3C-4D-5E",
}


def _text_is_right(kind: str, value: Any) -> bool:
    if not isinstance(value, str):
        return False
    match kind:
        case "date":
            return _is_date(value)
        case "region":
            return value[:6] in regions() and len(value) in (6, 8) and value.isdigit()
        case "mac":
            return bool(_MAC.fullmatch(value))
    return len(value) <= MAX_TEXT


def _is_date(value: str) -> bool:
    if not _DATE.fullmatch(value):
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def _listed(choices: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(choices)))


def attribute_reasons(attributes: Mapping[str, Any]) -> list[Reason]:
    """What is wrong with the known ones among a point's attributes. An attribute that is None is
    one that nobody knows."""
    reasons = []
    for name, attribute in ATTRIBUTES.items():
        value = attributes.get(name)
        if value is not None and (why := wrong(attribute, value)) is not None:
            reasons.append(Reason(field=f"attributes.{name}", reason=why))
    return reasons
