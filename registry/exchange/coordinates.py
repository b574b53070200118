"""From the coordinate systems of Chinese maps to WGS-84, in degrees.

GCJ-02 is WGS-84 displaced by a known function of the place; BD-09 is GCJ-02 displaced once more.
Neither has a closed inverse, so the inverses are found by iteration, to a hundredth of a
millimetre.
"""

import math
from typing import Literal, get_args

System = Literal["wgs84", "gcj02", "bd09"]
SYSTEMS: tuple[System, ...] = get_args(System)

_AXIS_M = 6_378_245.0  # Krasovsky 1940
_ECCENTRICITY_SQUARED = 0.006_693_421_622_965_943
_BD_STEP = math.pi * 3000.0 / 180.0
_ENOUGH_DEG = 1e-10
_MOST_ROUNDS = 30


def to_wgs84(longitude_deg: float, latitude_deg: float, system: System) -> tuple[float, float]:
    """A position of any of the systems in WGS-84, longitude first."""
    if system == "wgs84":
        return longitude_deg, latitude_deg
    if system == "bd09":
        longitude_deg, latitude_deg = bd09_to_gcj02(longitude_deg, latitude_deg)
    return gcj02_to_wgs84(longitude_deg, latitude_deg)


def from_wgs84(longitude_deg: float, latitude_deg: float, system: System) -> tuple[float, float]:
    """A WGS-84 position in any of the systems, longitude first."""
    if system == "wgs84":
        return longitude_deg, latitude_deg
    shifted = wgs84_to_gcj02(longitude_deg, latitude_deg)
    return gcj02_to_bd09(*shifted) if system == "bd09" else shifted


def displaced(longitude_deg: float, latitude_deg: float) -> bool:
    """Whether GCJ-02 differs from WGS-84 there: in a box around China, nowhere else."""
    return 72.004 < longitude_deg < 137.8347 and 0.8293 < latitude_deg < 55.8271


def wgs84_to_gcj02(longitude_deg: float, latitude_deg: float) -> tuple[float, float]:
    if not displaced(longitude_deg, latitude_deg):
        return longitude_deg, latitude_deg
    east, north = _offset_deg(longitude_deg, latitude_deg)
    return longitude_deg + east, latitude_deg + north


def gcj02_to_wgs84(longitude_deg: float, latitude_deg: float) -> tuple[float, float]:
    if not displaced(longitude_deg, latitude_deg):
        return longitude_deg, latitude_deg
    longitude, latitude = longitude_deg, latitude_deg
    for _ in range(_MOST_ROUNDS):
        east, north = _offset_deg(longitude, latitude)
        wrong_east, wrong_north = longitude + east - longitude_deg, latitude + north - latitude_deg
        longitude -= wrong_east
        latitude -= wrong_north
        if abs(wrong_east) < _ENOUGH_DEG and abs(wrong_north) < _ENOUGH_DEG:
            break
    return longitude, latitude


def gcj02_to_bd09(longitude_deg: float, latitude_deg: float) -> tuple[float, float]:
    radius = math.hypot(longitude_deg, latitude_deg)
    radius += 0.00002 * math.sin(latitude_deg * _BD_STEP)
    angle = math.atan2(latitude_deg, longitude_deg)
    angle += 0.000003 * math.cos(longitude_deg * _BD_STEP)
    return radius * math.cos(angle) + 0.0065, radius * math.sin(angle) + 0.006


def bd09_to_gcj02(longitude_deg: float, latitude_deg: float) -> tuple[float, float]:
    longitude, latitude = longitude_deg - 0.0065, latitude_deg - 0.006
    for _ in range(_MOST_ROUNDS):
        east, north = gcj02_to_bd09(longitude, latitude)
        wrong_east, wrong_north = east - longitude_deg, north - latitude_deg
        longitude -= wrong_east
        latitude -= wrong_north
        if abs(wrong_east) < _ENOUGH_DEG and abs(wrong_north) < _ENOUGH_DEG:
            break
    return longitude, latitude


def _offset_deg(longitude_deg: float, latitude_deg: float) -> tuple[float, float]:
    """How far GCJ-02 is displaced there, east and north."""
    x, y = longitude_deg - 105.0, latitude_deg - 35.0
    root, pi = math.sqrt(abs(x)), math.pi
    ripple = (20.0 * math.sin(6.0 * x * pi) + 20.0 * math.sin(2.0 * x * pi)) * 2.0 / 3.0
    north = -100.0 + 2.0 * x + 3.0 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * root + ripple
    north += (20.0 * math.sin(y * pi) + 40.0 * math.sin(y / 3.0 * pi)) * 2.0 / 3.0
    north += (160.0 * math.sin(y / 12.0 * pi) + 320.0 * math.sin(y * pi / 30.0)) * 2.0 / 3.0
    east = 300.0 + x + 2.0 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * root + ripple
    east += (20.0 * math.sin(x * pi) + 40.0 * math.sin(x / 3.0 * pi)) * 2.0 / 3.0
    east += (150.0 * math.sin(x / 12.0 * pi) + 300.0 * math.sin(x / 30.0 * pi)) * 2.0 / 3.0
    latitude = math.radians(latitude_deg)
    magic = 1 - _ECCENTRICITY_SQUARED * math.sin(latitude) ** 2
    meridian = _AXIS_M * (1 - _ECCENTRICITY_SQUARED) / (magic * math.sqrt(magic))
    parallel = _AXIS_M / math.sqrt(magic) * math.cos(latitude)
    return math.degrees(east / parallel), math.degrees(north / meridian)
