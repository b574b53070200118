"""`python -m benchmarks [ROOM…]`: measure rooms one after the other, print, keep the figures."""

import importlib
import sys

from benchmarks import report

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


def main(wanted: list[str]) -> int:
    unknown = [name for name in wanted if name not in ROOMS]
    if unknown:
        print(f"no bench is called {unknown[0]!r}; there are {', '.join(ROOMS)}", file=sys.stderr)
        return 2
    held = [
        report(name, importlib.import_module(ROOMS[name]).rows()) for name in wanted or list(ROOMS)
    ]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
