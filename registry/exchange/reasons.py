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
    "swapped": (
        "must be {low} to {high}; longitude and latitude may have changed places",
        "必须在 {low} 到 {high} 之间，经度和纬度可能填反了",
    ),
    "no_point": (
        "is no geometry of a point: a Point with two coordinates is expected",
        "不是点：几何类型应为 Point，并有两个坐标",
    ),
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
    "error_cell": (
        "is an error of the spreadsheet: put its formula right, or paste values",
        "是表格中的错误值：请修正公式，或粘贴为数值",
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
FILE_TEXTS: Mapping[str, tuple[str, str]] = {
    "too_large": ("larger than {most} MiB", "超过 {most} MiB"),
    "no_such_format": (
        "its name must end with .csv, .xlsx or .geojson, not {suffix}",
        "文件名应以 .csv、.xlsx 或 .geojson 结尾，而不是 {suffix}",
    ),
    "no_header": (
        "none of the first rows has a column name that is known, such as name or 名称",
        "前几行中没有可识别的列名，例如 名称 或 name",
    ),
    "too_many_columns": ("more than {most} columns", "超过 {most} 列"),
    "two_systems": (
        "the coordinate system is stated twice, and not the same",
        "坐标系有两种不同的说明",
    ),
    "empty": ("is empty", "没有内容"),
    "is_workbook": (
        "is a workbook, which its name must say: .xlsx",
        "是工作簿，文件名应以 .xlsx 结尾",
    ),
    "no_mark": (
        "is UTF-16 without a byte order mark, or no text: save it as UTF-8",
        "是没有字节顺序标记的 UTF-16，或者不是文本：请另存为 UTF-8",
    ),
    "two_encodings": (
        "line {line} is UTF-8 and line {other} is not: save it anew in one encoding",
        "第 {line} 行是 UTF-8 编码，第 {other} 行不是：请用同一种编码重新保存",
    ),
    "long_row": (
        "the row that begins in line {line} is far too long; perhaps a quote is never closed",
        "从第 {line} 行开始的一行过长，可能是引号没有闭合",
    ),
    "no_csv": (
        "the row that begins in line {line} is no CSV: {why}",
        "从第 {line} 行开始的一行不是 CSV：{why}",
    ),
    "no_encoding": ("line {line} is {encodings}", "第 {line} 行不是 {encodings} 编码"),
    "no_workbook": ("no workbook that can be read: {why}", "不是可读取的工作簿：{why}"),
    "no_sheets": ("no workbook: it has no sheets", "不是工作簿：没有工作表"),
    "unreadable": ("cannot be read: {why}", "无法读取：{why}"),
    "too_many_parts": ("more than {most} parts", "包含超过 {most} 个部分"),
    "unpacks_to_too_much": ("unpacks to more than {most} GiB", "解压后超过 {most} GiB"),
    "parts_of_one_name": ("two parts have the same name", "有两个部分同名"),
    "protected": ("protected by a password", "有密码保护"),
    "packed_too_tightly": (
        "{part} is packed more than {most} to 1",
        "{part} 的压缩比超过 {most} 比 1",
    ),
    "too_much_text": (
        "its texts unpack to more than {most} MiB",
        "文本解压后超过 {most} MiB",
    ),
    "doctype": (
        "holds a document type, which no spreadsheet program writes",
        "含有文档类型声明，正常的表格软件不会写入",
    ),
    "old_workbook": (
        "an old workbook (.xls), or one with a password: save it as .xlsx without one",
        "是旧版工作簿（.xls）或有密码保护：请另存为没有密码的 .xlsx",
    ),
    "too_many_blank": (
        "more than {most} blank rows one after another",
        "连续的空行超过 {most} 行",
    ),
    "too_many_rows": (
        "a row says that it is below row {most}, where sheets end",
        "有一行的行号大于 {most}，超出工作表的范围",
    ),
    "too_many_peculiar": (
        "more than {most} cells are formulas without a stored value, or errors: open and save the"
        " file, or paste values",
        "超过 {most} 个单元格是没有结果的公式或错误值：请打开并保存文件，或粘贴为数值",
    ),
    "too_many_merged": ("more than {most} merged cells", "合并单元格超过 {most} 个"),
    "no_feature": (
        "item {number} of features is no Feature",
        "features 的第 {number} 项不是 Feature",
    ),
    "no_properties": (
        "feature {number}: properties must be an object",
        "第 {number} 个要素：properties 必须是对象",
    ),
    "not_utf8": ("not UTF-8 near byte {at}", "第 {at} 字节附近不是 UTF-8"),
    "expected": (
        "{where}: expected {wanted}, found {found}",
        "{where}：应为 {wanted}，实际为 {found}",
    ),
    "nested_too_deeply": ("{where}: nested too deeply", "{where}：嵌套过深"),
    "no_json": ("{where}: no JSON: {why}", "{where}：不是 JSON：{why}"),
    "too_long_json": (
        "{where}: larger than {most} characters, or no JSON: {why}",
        "{where}：超过 {most} 个字符，或不是 JSON：{why}",
    ),
    "no_collection": (
        "a FeatureCollection is expected, this is a {found}",
        "应为 FeatureCollection，实际为 {found}",
    ),
    "no_end": ("the collection does not end with }}", "集合没有以 }} 结尾"),
    "no_features": (
        "a FeatureCollection has a list features; here is none",
        "FeatureCollection 应有 features 列表，这里没有",
    ),
}
"""Why a whole file is refused."""

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


def file_text(reason: str, language: str, sheet: str, details: Mapping[str, Any]) -> str:
    """Why a file is refused. details: for the sentence; a pair is English and Chinese."""
    number = 1 if language == "zh" else 0
    said = {
        name: value[number] if isinstance(value, tuple) else value
        for name, value in details.items()
    }
    where = (f"sheet {sheet}: ", f"工作表 {sheet}：")[number] if sheet else ""
    return where + FILE_TEXTS[reason][number].format(**said)


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
