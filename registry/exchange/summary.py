"""What became of a file, in a few lines for a person."""

from collections.abc import Iterator, Mapping
from typing import Any

from registry.exchange.reasons import NAMES

SHOWN = 20
"""Refused rows that are listed."""

_TEXTS: Mapping[str, tuple[str, str]] = {
    "row": (
        "{sheet}row {row}, {column}{value}: {reason}",
        "{sheet}第 {row} 行，{column}{value}：{reason}",
    ),
    "more": (
        "and {count} more rows; --report FILE and --copy FILE list all",
        "另有 {count} 行；--report 和 --copy 可列出全部",
    ),
    "ignored": ("columns left out: {columns}", "未导入的列：{columns}"),
    "repeated": (
        "columns left out, as another says the same: {columns}",
        "未导入的重复列：{columns}",
    ),
    "outside": (
        "{count} rows lie outside the box of {whose}, the first in row {row}{hint}",
        "{count} 行在 {whose} 的范围之外，首先是第 {row} 行{hint}",
    ),
    "hint": (
        "; inside, were they in another system: {others}",
        "；若按其他坐标系则在范围之内：{others}",
    ),
    "counts": (
        "{created} created, {updated} updated, {unchanged} unchanged, {refused} refused",
        "新增 {created}，更新 {updated}，未变 {unchanged}，拒绝 {refused}",
    ),
    "dry_run": (" (nothing was written)", "（试运行，没有写入）"),
    "nothing": (" (nothing was written)", "（没有写入）"),
    "refused": (
        "; --partial writes the rows that are not refused",
        "；使用 --partial 可写入其余的行",
    ),
}


def summary(shape: Mapping[str, Any], language: str, *, dry_run: bool) -> Iterator[str]:
    """shape: of the report, the first `SHOWN` of its refused rows listed."""
    number = 1 if language == "zh" else 0

    def say(what: str, **details: Any) -> str:
        return _TEXTS[what][number].format(**details)

    rows = {(each["sheet"], each["row"]) for each in shape["refusals"]}
    for each in shape["refusals"]:
        field = NAMES.get(each["field"], each["field"]) if number else each["field"]
        yield say(
            "row",
            sheet=f"{each['sheet']} " if each["sheet"] else "",
            row=each["row"],
            column=each["column"] or field,
            value=f" {each['value']!r}" if each["value"] else "",
            reason=each["reason"],
        )
    if shape["refused"] > len(rows):
        yield say("more", count=shape["refused"] - len(rows))
    for what in ("ignored", "repeated"):
        if columns := shape[f"{what}_columns"]:
            yield say(what, columns=", ".join(columns))
    if (outside := shape["outside"])["count"]:
        others = ", ".join(f"{name}: {n}" for name, n in outside["would_be_inside"].items())
        hint = say("hint", others=others) if others else ""
        yield say(
            "outside",
            count=outside["count"],
            whose=outside["whose"],
            row=outside["rows"][0],
            hint=hint,
        )
    counted = say(
        "counts", **{each: shape[each] for each in ("created", "updated", "unchanged", "refused")}
    )
    if dry_run:
        counted += say("dry_run")
    elif not shape["applied"]:
        counted += say("nothing") + (say("refused") if shape["refused"] else "")
    yield counted
