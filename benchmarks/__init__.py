"""Figures: each room's bench prints a table and keeps it as JSON for comparison.

A bench is a module with `rows() -> list[Row]`; `report` prints and writes what it found.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

RESULTS = Path(__file__).parent / "results"


class Row(TypedDict):
    """One figure.

    bound: what is demanded, as ``>= 60`` or ``<= 5``; empty where nothing is. limit: what was
    measured in the same run as the best that could be had, None where nothing was. ok: the
    bound holds.
    """

    name: str
    value: float
    unit: str
    bound: str
    limit: float | None
    ok: bool


def row(
    name: str,
    value: float,
    unit: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    limit: float | None = None,
) -> Row:
    """A row whose `ok` follows from its bounds."""
    bounds = []
    if at_least is not None:
        bounds.append(f">= {at_least:g}")
    if at_most is not None:
        bounds.append(f"<= {at_most:g}")
    ok = (at_least is None or value >= at_least) and (at_most is None or value <= at_most)
    return Row(name=name, value=value, unit=unit, bound=", ".join(bounds), limit=limit, ok=ok)


def report(room: str, rows: Sequence[Row]) -> bool:
    """Print a table and write ``results/<room>.json``. True when every bound holds."""
    header = ("what", "value", "unit", "bound", "limit", "")
    lines = [
        (
            each["name"],
            shown(each["value"]),
            each["unit"],
            each["bound"],
            "" if each["limit"] is None else shown(each["limit"]),
            ("ok" if each["ok"] else "MISSED") if each["bound"] else "",
        )
        for each in rows
    ]
    widths = [max(len(line[column]) for line in (header, *lines)) for column in range(len(header))]
    print(f"\n{room}")
    for line in (header, *lines):
        cells = [
            cell.rjust(width) if column in (1, 4) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  " + "  ".join(cells).rstrip())
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(list(rows), indent=2, ensure_ascii=False)
    (RESULTS / f"{room}.json").write_text(f"{text}\n", "utf-8")
    return all(each["ok"] for each in rows)


def shown(value: float) -> str:
    """Three digits."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
