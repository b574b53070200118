"""How long `hutong demo` takes from the command to the address, after installing."""

from statistics import median

from benchmarks import Row, row
from benchmarks.gateway import running

RUNS = 3


def rows() -> list[Row]:
    times_s = []
    for _ in range(RUNS):
        with running() as gateway:
            times_s.append(gateway.seconds)
    return [
        row(f"`hutong demo` ready, median of {RUNS}", median(times_s), "s", at_most=15),
        row("`hutong demo` ready, slowest", max(times_s), "s"),
    ]
