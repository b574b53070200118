"""From the coordinate systems of Chinese maps to WGS-84, in degrees.

GCJ-02 is WGS-84 displaced by a known function of the place; BD-09 is GCJ-02 displaced once more.
Neither has a closed inverse, so the inverses are found by iteration, to a hundredth of a
millimetre. What is not a number stays so.
"""

import math
from collections.abc import Callable
from typing import Literal, get_args

import numpy
from numpy.typing import NDArray

System = Literal["wgs84", "gcj02", "bd09"]
SYSTEMS: tuple[System, ...] = get_args(System)
Degrees = NDArray[numpy.float64]
_Positions = tuple[Degrees, Degrees]

_AXIS_M = 6_378_245.0  # Krasovsky 1940
_ECCENTRICITY_SQUARED = 0.006_693_421_622_965_943
_BD_STEP = math.pi * 3000.0 / 180.0
_BD_SHIFT_DEG = (0.0065, 0.006)
_ENOUGH_DEG = 1e-10
_MOST_ROUNDS = 30


def to_wgs84_all(longitudes_deg: Degrees, latitudes_deg: Degrees, system: System) -> _Positions:
    """Positions of any of the systems in WGS-84, longitudes first."""
    if system == "wgs84":
        return longitudes_deg, latitudes_deg
    x, y = longitudes_deg, latitudes_deg
    if system == "bd09":
        x, y = _undone(_to_bd09, x, y, (x - _BD_SHIFT_DEG[0], y - _BD_SHIFT_DEG[1]))
    moved = displaced(x, y)
    x, y = x.copy(), y.copy()
    if moved.any():
        inside = x[moved], y[moved]
        x[moved], y[moved] = _undone(_to_gcj02, *inside, inside)
    return x, y


def from_wgs84_all(longitudes_deg: Degrees, latitudes_deg: Degrees, system: System) -> _Positions:
    """WGS-84 positions in any of the systems, longitudes first."""
    if system == "wgs84":
        return longitudes_deg, latitudes_deg
    x, y = longitudes_deg.copy(), latitudes_deg.copy()
    moved = displaced(x, y)
    x[moved], y[moved] = _to_gcj02(x[moved], y[moved])
    return _to_bd09(x, y) if system == "bd09" else (x, y)


def to_wgs84(longitude_deg: float, latitude_deg: float, system: System) -> tuple[float, float]:
    """`to_wgs84_all` of one position."""
    return _one(to_wgs84_all(*_arrays(longitude_deg, latitude_deg), system))


def from_wgs84(longitude_deg: float, latitude_deg: float, system: System) -> tuple[float, float]:
    """`from_wgs84_all` of one position."""
    return _one(from_wgs84_all(*_arrays(longitude_deg, latitude_deg), system))


def gcj02_to_bd09(longitude_deg: float, latitude_deg: float) -> tuple[float, float]:
    return _one(_to_bd09(*_arrays(longitude_deg, latitude_deg)))


def displaced(longitudes_deg: Degrees, latitudes_deg: Degrees) -> NDArray[numpy.bool_]:
    """Whether GCJ-02 differs from WGS-84 there: in a box around China, nowhere else."""
    return (
        (longitudes_deg > 72.004)
        & (longitudes_deg < 137.8347)
        & (latitudes_deg > 0.8293)
        & (latitudes_deg < 55.8271)
    )


def _arrays(longitude_deg: float, latitude_deg: float) -> _Positions:
    return numpy.array([longitude_deg], dtype=float), numpy.array([latitude_deg], dtype=float)


def _one(positions: _Positions) -> tuple[float, float]:
    return float(positions[0][0]), float(positions[1][0])


def _undone(
    there: Callable[[Degrees, Degrees], _Positions],
    longitudes_deg: Degrees,
    latitudes_deg: Degrees,
    first: _Positions,
) -> _Positions:
    """The positions that `there` moves to the given ones. first: where the search begins."""
    x, y = first[0].copy(), first[1].copy()
    far = numpy.ones(x.shape, dtype=bool)
    for _ in range(_MOST_ROUNDS):
        moved_x, moved_y = there(x, y)
        east, north = moved_x - longitudes_deg, moved_y - latitudes_deg
        # One that was near enough stays: what it becomes must not depend on its neighbours.
        x -= numpy.where(far, east, 0.0)
        y -= numpy.where(far, north, 0.0)
        far &= (abs(east) >= _ENOUGH_DEG) | (abs(north) >= _ENOUGH_DEG)
        if not far.any():
            break
    return x, y


def _to_gcj02(x: Degrees, y: Degrees) -> _Positions:
    east, north = _offset_deg(x, y)
    return x + east, y + north


def _to_bd09(x: Degrees, y: Degrees) -> _Positions:
    radius = numpy.hypot(x, y) + 0.00002 * numpy.sin(y * _BD_STEP)
    angle = numpy.arctan2(y, x) + 0.000003 * numpy.cos(x * _BD_STEP)
    return (
        radius * numpy.cos(angle) + _BD_SHIFT_DEG[0],
        radius * numpy.sin(angle) + _BD_SHIFT_DEG[1],
    )


def _offset_deg(longitudes_deg: Degrees, latitudes_deg: Degrees) -> _Positions:
    """How far GCJ-02 is displaced there, east and north."""
    x, y = longitudes_deg - 105.0, latitudes_deg - 35.0
    root, pi, sin = numpy.sqrt(abs(x)), math.pi, numpy.sin
    ripple = (20.0 * sin(6.0 * x * pi) + 20.0 * sin(2.0 * x * pi)) * 2.0 / 3.0
    north = -100.0 + 2.0 * x + 3.0 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * root + ripple
    north += (20.0 * sin(y * pi) + 40.0 * sin(y / 3.0 * pi)) * 2.0 / 3.0
    north += (160.0 * sin(y / 12.0 * pi) + 320.0 * sin(y * pi / 30.0)) * 2.0 / 3.0
    east = 300.0 + x + 2.0 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * root + ripple
    east += (20.0 * sin(x * pi) + 40.0 * sin(x / 3.0 * pi)) * 2.0 / 3.0
    east += (150.0 * sin(x / 12.0 * pi) + 300.0 * sin(x / 30.0 * pi)) * 2.0 / 3.0
    latitudes = numpy.radians(latitudes_deg)
    magic = 1 - _ECCENTRICITY_SQUARED * sin(latitudes) ** 2
    meridian = _AXIS_M * (1 - _ECCENTRICITY_SQUARED) / (magic * numpy.sqrt(magic))
    parallel = _AXIS_M / numpy.sqrt(magic) * numpy.cos(latitudes)
    return numpy.degrees(east / parallel), numpy.degrees(north / meridian)
