"""Files of units: a row is a person, and each radio system that they are on has a column.

`alias` (name, 姓名, 名称), `organization` (组织), `priority` (优先级) and `id` are ours; a column
that is headed by the name or id of a system holds what that system calls the person, several parted
by semicolons. Pure, but for reading the file.
"""

import dataclasses
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from registry.errors import Invalid
from registry.exchange.files import Format, read_records
from registry.exchange.records import Record
from registry.exchange.row_values import FORMULA, ErrorCell, text_of
from registry.identity import parse_id

MOST_ROWS = 50_000
MOST_SHOWN = 200
ALIASES: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "unit id", "编号"),
    "alias": ("alias", "name", "unit", "unit name", "姓名", "名称", "别名", "人员", "警员"),
    "organization": ("organization", "organisation", "org", "组织", "所属组织", "所属警务室"),
    "priority": ("priority", "优先级"),
}
TEXTS: Mapping[str, tuple[str, str]] = {
    "missing": ("must not be empty", "不能为空"),
    "too_long": ("has more than 200 characters", "超过 200 个字符"),
    "unreadable": (
        "is a formula without a stored value, or an error",
        "是没有结果的公式，或错误值",
    ),
    "control": ("holds a character that cannot be stored", "含有无法保存的字符"),
    "not_priority": ("must be a whole number from 0 to 254", "必须是 0 到 254 之间的整数"),
    "no_such_organization": (
        "there is no such organization in the one that is imported into",
        "导入的组织内没有这个组织",
    ),
    "no_such_unit": ("there is no such unit", "没有这个人员"),
    "taken": ("is another unit's, which you may not change", "已属于您无权修改的其他人员"),
    "two_units": ("the row's addresses are those of two units", "本行号码分属两个人员"),
    "twice": ("is also in row {row}", "与第 {row} 行重复"),
    "same_unit": ("row {row} means the same unit", "与第 {row} 行指向同一人员"),
    "moves": (
        "the unit is of {path}: an import moves nobody",
        "该人员属于 {path}：导入不会改变所属组织",
    ),
    "without_address": ("no address on any system", "没有任何系统的号码"),
}
_NOISE = re.compile(r"[\s_\-*:：]+")
_PARTED = re.compile(r"[;；、\n]+")
_UNSTORABLE = re.compile("[\x00-\x1f\ud800-\udfff]")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a row is not taken. column: its header as it stands. reason: a key of `TEXTS`."""

    row: int
    column: str
    value: str
    reason: str
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def text(self, language: str) -> str:
        return TEXTS[self.reason][1 if language == "zh" else 0].format(**self.details)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UnitRow:
    """What a row says of a unit; None, or no addresses on a system, where it says nothing.
    addresses: on each system by its id. columns: where each was read, by field or system id."""

    row: int
    id: str | None
    alias: str | None
    organization: str | None
    priority: int | None
    addresses: Mapping[str, tuple[str, ...]]
    columns: Mapping[str, str]

    def refuse(self, field: str, reason: str, value: str = "", **details: Any) -> Refusal:
        column = self.columns.get(field, field)
        shown = value[:MOST_SHOWN]
        return Refusal(row=self.row, column=column, value=shown, reason=reason, details=details)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UnitFile:
    """rows: those that can be understood. count: of all."""

    rows: tuple[UnitRow, ...]
    refusals: tuple[Refusal, ...]
    count: int
    ignored_columns: tuple[str, ...]


def _plain(header: str) -> str:
    return _NOISE.sub("", unicodedata.normalize("NFKC", header).casefold())


_BY_ALIAS = {_plain(alias): field for field, aliases in ALIASES.items() for alias in aliases}


def read_units(path: Path, kind: Format, systems: Iterable[tuple[str, str]]) -> UnitFile:
    """systems: ids and names of those that columns may be headed by. Raises: Invalid for a file
    that cannot be read, that has no column of a system, or one of which nobody can say which
    system it means."""
    named: dict[str, list[str]] = {}
    for system_id, name in systems:
        named.setdefault(_plain(system_id), []).append(system_id)
        named.setdefault(_plain(name), []).append(system_id)
    rows: list[UnitRow] = []
    refusals: list[Refusal] = []
    count = 0
    headers: tuple[str, ...] | None = None
    fields: dict[int, str] = {}
    ignored: dict[str, None] = {}

    def names(cells: Sequence[str]) -> int:
        return sum(_plain(cell) in _BY_ALIAS or _plain(cell) in named for cell in cells)

    for record in read_records(path, kind, names):
        if record.headers is not headers:
            headers = record.headers
            fields, unknown = _columns(headers, named)
            ignored |= dict.fromkeys(unknown)
        count += 1
        if count > MOST_ROWS:
            raise Invalid.at("file", f"more than {MOST_ROWS} rows")
        found, wrong = _row(record, fields)
        refusals += wrong
        if not wrong:
            rows.append(found)
    return UnitFile(
        rows=tuple(rows), refusals=tuple(refusals), count=count, ignored_columns=tuple(ignored)
    )


def _columns(
    headers: Sequence[str], named: Mapping[str, Sequence[str]]
) -> tuple[dict[int, str], list[str]]:
    """Our field or a system's id by column, and the headers that say nothing to us."""
    fields: dict[int, str] = {}
    unknown = []
    for index, header in enumerate(headers):
        plain = _plain(header)
        meant = _BY_ALIAS.get(plain)
        found = sorted(set(named.get(plain, ())))
        if meant is None and len(found) > 1:
            raise Invalid.at("file", f"two systems are named {header}: head the column by an id")
        field = meant or (found[0] if found else None)
        if field is not None and field not in fields.values():
            fields[index] = field
        elif header.strip():
            unknown.append(header)
    if not any(field not in ALIASES for field in fields.values()):
        raise Invalid.at(
            "file", "no column is headed by the name or id of a radio or PTT system that you see"
        )
    return fields, unknown


def _row(record: Record, fields: Mapping[int, str]) -> tuple[UnitRow, list[Refusal]]:
    columns = {field: record.headers[index] for index, field in fields.items()}
    texts: dict[str, str] = {}
    wrong: list[Refusal] = []

    def refuse(field: str, reason: str, value: str = "") -> None:
        shown = value[:MOST_SHOWN]
        wrong.append(Refusal(row=record.row, column=columns[field], value=shown, reason=reason))

    for index, field in fields.items():
        cell = record.cells[index] if index < len(record.cells) else None
        if cell is None:
            continue
        if cell is FORMULA or isinstance(cell, ErrorCell):
            refuse(field, "unreadable")
            continue
        text = text_of(cell)
        if _UNSTORABLE.search(text.replace("\n", "")):
            refuse(field, "control")
        elif text:
            texts[field] = text
    for field in texts.keys() & {"alias", "organization"}:
        if len(texts[field]) > 200:
            refuse(field, "too_long", texts[field])
    if "id" in texts and parse_id(texts["id"]) is None:
        refuse("id", "no_such_unit", texts["id"])
    priority = texts.get("priority")
    is_number = priority is not None and re.fullmatch("[0-9]{1,3}", priority)
    if priority is not None and not (is_number and int(priority) <= 254):
        refuse("priority", "not_priority", priority)
    addresses = {}
    for field in texts.keys() - ALIASES.keys():
        given = tuple(dict.fromkeys(part.strip() for part in _PARTED.split(texts[field])))
        if any(given):
            addresses[field] = tuple(each for each in given if each)
        if any(len(each) > 200 for each in given):
            refuse(field, "too_long", texts[field])
    row = UnitRow(
        row=record.row,
        id=parse_id(texts["id"]) if "id" in texts else None,
        alias=texts.get("alias"),
        organization=texts.get("organization"),
        priority=int(priority) if priority is not None and not wrong else None,
        addresses=addresses,
        columns=columns,
    )
    return row, wrong
