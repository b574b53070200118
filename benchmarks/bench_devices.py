"""Everything about video devices: registering, listening, coming back, and judging pictures."""

from benchmarks import Row, bench_diagnosis, bench_events, bench_fleet, bench_onvif, bench_power


def rows() -> list[Row]:
    """Each part is a bench of its own: ``python -m benchmarks.bench_fleet``, and so on."""
    parts = (bench_onvif, bench_events, bench_power, bench_fleet, bench_diagnosis)
    return [each for part in parts for each in part.rows()]
