"""`python -m benchmarks [--keep] [ROOM…]`: measure rooms one after the other and print.

With --keep, the figures become the room's page in `figures/`.
"""

import importlib
import sys

from benchmarks import figures, report

ROOMS = {
    "demo": "benchmarks.bench_demo",
    "floor": "benchmarks.bench_floor",
    "radio": "benchmarks.bench_radio",
    "journal": "benchmarks.bench_journal",
    "voice": "benchmarks.bench_voice",
    "interop": "benchmarks.bench_interop",
    "devices": "benchmarks.bench_devices",
    "live": "benchmarks.bench_live",
    "registry": "benchmarks.bench_registry",
}
"""The one visible table of rooms; each module has `rows()`."""


def main(wanted: list[str], keep: bool) -> int:
    unknown = [name for name in wanted if name not in ROOMS]
    if unknown:
        print(f"no bench is called {unknown[0]!r}; there are {', '.join(ROOMS)}", file=sys.stderr)
        return 2
    held = [_measured(name, keep) for name in wanted or list(ROOMS)]
    return 0 if all(held) else 1


def _measured(name: str, keep: bool) -> bool:
    before_s = figures.loop_s()
    rows = importlib.import_module(ROOMS[name]).rows()
    held = report(name, rows)
    if keep:
        figures.keep(name, rows, (before_s, figures.loop_s()))
    return held


if __name__ == "__main__":
    given = sys.argv[1:]
    sys.exit(main([each for each in given if each != "--keep"], "--keep" in given))
