"""Why a row is refused, in English and Chinese."""

import dataclasses
from collections.abc import Mapping
from typing import Any

LANGUAGES = ("en", "zh")
MAX_SHOWN = 200

TEXTS: Mapping[str, tuple[str, str]] = {
    "missing": ("must not be empty", "不能为空"),
    "too_long": ("has more than {most} characters", "超过 {most} 个字符"),
    "control": ("holds a character that cannot be stored", "含有无法保存的字符"),
    "not_a_number": ("is no number", "不是数字"),
    "not_whole": ("is no whole number", "不是整数"),
    "out_of_range": ("must be {low} to {high}", "必须在 {low} 到 {high} 之间"),
    "not_a_choice": ("must be one of {choices}", "必须是以下之一：{choices}"),
    "not_a_date": ("is no date such as 2024-05-01", "不是日期，应如 2024-05-01"),
    "not_a_region": ("is no region of GB/T 2260", "不是 GB/T 2260 行政区划代码"),
    "not_a_mac": (
        "is no address such as 00-1A-2B-3C-4D-5E",
        "不是 MAC 地址，应如 00-1A-2B-3C-4D-5E",
    ),
    "not_an_id": ("is no id that an export wrote", "不是导出文件中的编号"),
    "not_json": ("is no JSON object", "不是 JSON 对象"),
    "code_not_20_digits": ("must be 20 digits", "必须是 20 位数字"),
    "code_is_number": (
        "was stored as a number, which loses digits: format the column as text and fill it again",
        "以数字格式保存，已丢失末位：请把该列设为文本格式后重新填写",
    ),
    "formula": (
        "is a formula without a stored value: open and save the file, or paste values",
        "是没有结果的公式：请打开并保存文件，或粘贴为数值",
    ),
    "half_position": ("longitude and latitude go together", "经度和纬度必须同时填写"),
    "twice": ("is also in row {rows}", "与第 {rows} 行重复"),
    "ambiguous": (
        "{count} points could be meant: give the id or the code",
        "对应 {count} 个点位，无法确定：请填写编号或国标编码",
    ),
    "claimed": ("row {rows} means the same point", "与第 {rows} 行指向同一点位"),
    "no_such_point": ("there is no such point", "没有这个点位"),
    "code_in_use": ("code in use", "编码已被使用"),
    "may_not_write": ("you may not change this point", "没有修改该点位的权限"),
    "may_not_mask": ("changing this needs the role admin", "修改此项需要管理员角色"),
    "no_such_organization": (
        "there is no such organization within {organization}",
        "{organization} 内没有这个组织",
    ),
    "other_owner": (
        "belongs to {owner}: an import moves no point to another organization",
        "属于 {owner}：导入不会把点位移到其他组织",
    ),
    "invalid": ("{detail}", "{detail}"),
    "short_row": ("has more cells than the header", "单元格多于表头"),
    "unreadable": ("cannot be read: {detail}", "无法读取：{detail}"),
}
NAMES: Mapping[str, str] = {
    "id": "编号",
    "code": "国标编码",
    "name": "名称",
    "place": "地址",
    "longitude": "经度",
    "latitude": "纬度",
    "category": "点位类型",
    "ownership": "权属",
    "host": "IP地址",
    "channel_number": "通道号",
    "masked": "隐私遮挡",
    "organization": "组织",
    "row": "行",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """field: ours. column: the header as it stands in the file, empty where none is meant.
    value: as read, cut to 200 characters. reason: a key of `TEXTS`."""

    field: str
    column: str = ""
    value: str = ""
    reason: str
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def text(self, language: str = "en") -> str:
        """The sentence, without field and value."""
        english, chinese = TEXTS[self.reason]
        return (chinese if language == "zh" else english).format(**self.details)

    def line(self, language: str = "en") -> str:
        """The sentence with its column in front, for a cell of the copy."""
        named = self.column or (
            NAMES.get(self.field, self.field) if language == "zh" else self.field
        )
        return (
            f"{named}: {self.text(language)}"
            if language == "en"
            else f"{named}：{self.text(language)}"
        )


def refuse(field: str, reason: str, column: str = "", value: Any = "", **details: Any) -> Refusal:
    shown = str(value)[:MAX_SHOWN]
    return Refusal(field=field, column=column, value=shown, reason=reason, details=details)


def language_of(header: str) -> str:
    """zh or en, whichever an Accept-Language header or a locale name puts first."""
    best = ("en", 0.0)
    for part in header.split(","):
        tag, _, quality = part.strip().partition(";q=")
        language = tag.lower()[:2]
        try:
            weight = float(quality) if quality else 1.0
        except ValueError:
            continue
        if language in LANGUAGES and weight > best[1]:
            best = (language, weight)
    return best[0]
