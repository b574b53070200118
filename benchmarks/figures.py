"""The figures that are kept: a page for each room, beside how quick the machine was meanwhile."""

import subprocess
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from benchmarks import Row, shown

FIGURES = Path(__file__).parent / "figures"


def loop_s() -> float:
    """How long ten million turns of nothing take, which says how quick the machine is now: shared
    ones are three times as quick in one hour as in another."""
    began_s = time.perf_counter()
    for _ in range(10_000_000):
        pass
    return time.perf_counter() - began_s


def keep(room: str, rows: Sequence[Row], loops_s: tuple[float, float]) -> None:
    """Write ``figures/<room>.md``. loops_s: before and after the bench."""
    FIGURES.mkdir(exist_ok=True)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=True,
        cwd=FIGURES,
    )
    text = page(room, rows, loops_s, datetime.now(UTC).date(), commit.stdout.strip())
    (FIGURES / f"{room}.md").write_text(text, "utf-8")


def page(
    room: str, rows: Sequence[Row], loops_s: tuple[float, float], on: date, commit: str
) -> str:
    """Markdown. What misses its bound is bold."""
    lines = [
        f"# {room}",
        "",
        f"`python -m benchmarks {room}` on {on} at {commit}. An empty loop of ten million turns"
        f" took {loops_s[0]:.2f} s before and {loops_s[1]:.2f} s after.",
        "",
        "| what | measured | bound | limit in the same run |",
        "|---|---|---|---|",
    ]
    for each in rows:
        value = f"{shown(each['value'])} {each['unit']}"
        value = value if each["ok"] else f"**{value}**"
        limit = "" if each["limit"] is None else shown(each["limit"])
        lines.append(f"| {each['name']} | {value} | {each['bound']} | {limit} |")
    return "\n".join(lines) + "\n"
